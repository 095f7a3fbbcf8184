//! Whose question the node is asked next: his who brought fewest bytes that nobody knew, and of equals, who came first.
//!
//! A whole block of unknown transactions takes the node as long as a hundred blocks of known ones, so a crowd that declares
//! such blocks waits for itself, and not the others for it.

use std::collections::BTreeMap;

use adit_proto::Time;

/// Questions to the node that are under way at once.
pub(super) const CALLS_MAX: usize = 2;

/// Questions that wait. A connection has one at a time, so that there are no more of them than connections.
#[derive(Debug)]
pub(super) struct Turns<Q> {
    waiting: BTreeMap<(usize, u64), (Time, Q)>,
    under_way: usize,
    number: u64,
}

impl<Q> Turns<Q> {
    pub(super) const fn new() -> Self {
        Self {
            waiting: BTreeMap::new(),
            under_way: 0,
            number: 0,
        }
    }

    /// A question that must be answered by `until`, and the bytes it brought.
    pub(super) fn push(&mut self, bytes: usize, until: Time, question: Q) {
        self.number += 1;
        self.waiting.insert((bytes, self.number), (until, question));
    }

    /// The next question to ask, with its deadline, if another may be asked now.
    pub(super) fn start(&mut self) -> Option<(Time, Q)> {
        if self.under_way >= CALLS_MAX {
            return None;
        }
        let (_, next) = self.waiting.pop_first()?;
        self.under_way += 1;
        Some(next)
    }

    /// A question was answered, or will never be.
    pub(super) const fn done(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// Questions whose time has passed before their turn came.
    pub(super) fn expire(&mut self, now: Time) -> Vec<Q> {
        let late = self.waiting.extract_if(.., |_, (until, _)| *until <= now);
        late.map(|(_, (_, question))| question).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_brought_least_is_next_and_equals_keep_their_order() {
        let mut turns = Turns::new();
        for (bytes, question) in [(9, 'a'), (9, 'b'), (0, 'c'), (9, 'd'), (5, 'e')] {
            turns.push(bytes, Time(10), question);
        }
        let mut asked = String::new();
        while let Some((_, question)) = turns.start() {
            asked.push(question);
            if asked.len() > 1 {
                turns.done();
            }
        }
        assert_eq!(asked, "ceabd");
        assert_eq!(turns.under_way, 1);
        turns.done();
        assert_eq!(turns.under_way, 0);
    }

    #[test]
    fn no_more_are_under_way_than_may_be_and_none_waits_for_ever() {
        let mut turns = Turns::new();
        for until in 1..=5 {
            turns.push(0, Time(until), until);
        }
        assert!(turns.start().is_some() && turns.start().is_some() && turns.start().is_none());
        assert_eq!(turns.expire(Time(4)), [3, 4]);
        turns.done();
        assert_eq!(turns.start(), Some((Time(5), 5)));
    }
}
