//! Shares that wait for their answer, oldest first.

use std::collections::VecDeque;

use adit_proto::Time;

/// Sequence numbers and sending times, without gaps: a share that was refused in the middle keeps its place until those
/// before it are answered.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Sequence number of the first.
    first: u32,
    sent: VecDeque<Option<Time>>,
    /// How many are not answered.
    count: u32,
}

impl Waiting {
    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    /// Sequence numbers count up by one.
    pub(super) fn push(&mut self, sequence: u32, now: Time) {
        if self.sent.is_empty() {
            self.first = sequence;
        }
        self.sent.push_back(Some(now));
        self.count += 1;
    }

    /// Takes the oldest share up to and with number `last`.
    pub(super) fn pop_through(&mut self, last: u32) -> Option<Time> {
        loop {
            // Numbers wrap: what lies less than half the circle behind `last` is older.
            if last.wrapping_sub(self.first) > u32::MAX / 2 {
                return None;
            }
            let oldest = self.sent.pop_front()?;
            self.first = self.first.wrapping_add(1);
            if let Some(sent) = oldest {
                self.count -= 1;
                return Some(sent);
            }
        }
    }

    /// Takes one share out; nothing if it is not waiting.
    pub(super) fn remove(&mut self, sequence: u32) -> Option<Time> {
        let at = usize::try_from(sequence.wrapping_sub(self.first)).ok()?;
        let sent = self.sent.get_mut(at)?.take()?;
        self.count -= 1;
        Some(sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_take_what_they_name() {
        let mut waiting = Waiting::default();
        let first = u32::MAX - 2;
        for offset in 0..6 {
            waiting.push(first.wrapping_add(offset), Time(u64::from(offset)));
        }
        assert_eq!(waiting.remove(first.wrapping_add(1)), Some(Time(1)));
        assert_eq!(waiting.remove(first.wrapping_add(1)), None);
        assert_eq!(waiting.remove(first.wrapping_add(9)), None);
        let last = first.wrapping_add(3);
        let popped: Vec<_> = std::iter::from_fn(|| waiting.pop_through(last)).collect();
        assert_eq!(popped, [Time(0), Time(2), Time(3)]);
        assert_eq!(waiting.count(), 2);
        assert_eq!(waiting.pop_through(last), None);
        assert_eq!(waiting.pop_through(last.wrapping_add(9)), Some(Time(4)));
    }
}
