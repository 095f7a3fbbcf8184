//! Hash rate from accepted work.

use std::collections::VecDeque;

use serde::Serialize;

/// Width of one slot, in seconds.
const SLOT_S: u64 = 10;
/// Slots of the longest window.
const SLOTS_MAX: usize = 360;

/// Hashes a second over three windows. Estimates: work is exact, the luck in it is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    /// Over the last minute.
    #[serde(rename = "1m")]
    pub m1: f64,
    /// Over the last ten minutes.
    #[serde(rename = "10m")]
    pub m10: f64,
    /// Over the last hour.
    #[serde(rename = "1h")]
    pub h1: f64,
}

/// Sums accepted work in slots of ten seconds for one hour: 360 numbers however many shares.
#[derive(Clone, Debug, Default)]
pub struct HashRate {
    /// Start of slot and work in it, oldest first.
    slots: VecDeque<(u64, u128)>,
    started_s: Option<u64>,
}

impl HashRate {
    /// Starts to watch at `now_s`, seconds since the Unix epoch: a window that began before counts
    /// from here, so that the first minute is not an underestimate.
    pub fn starting(now_s: u64) -> Self {
        Self {
            slots: VecDeque::new(),
            started_s: Some(now_s),
        }
    }

    /// Adds accepted work, in expected hashes, at `now_s`.
    pub fn add(&mut self, now_s: u64, work: u128) {
        self.started_s.get_or_insert(now_s);
        let slot = now_s - now_s % SLOT_S;
        match self.slots.back_mut() {
            // A clock that stepped back adds to the newest slot.
            Some((start, sum)) if *start >= slot => *sum = sum.saturating_add(work),
            _ => self.slots.push_back((slot, work)),
        }
        while self.slots.len() > SLOTS_MAX {
            self.slots.pop_front();
        }
    }

    /// The three estimates at `now_s`.
    pub fn rates(&self, now_s: u64) -> Rates {
        Rates {
            m1: self.over(now_s, 60),
            m10: self.over(now_s, 600),
            h1: self.over(now_s, 3600),
        }
    }

    fn over(&self, now_s: u64, window_s: u64) -> f64 {
        let started = self.started_s.unwrap_or(now_s);
        let from = now_s.saturating_sub(window_s);
        let slots = self
            .slots
            .iter()
            .rev()
            .take_while(|(start, _)| *start + SLOT_S > from);
        let work: u128 = slots.map(|(_, work)| work).sum();
        // The oldest slot taken may reach out of the window: the time counts from its start.
        let from_slot = from - from % SLOT_S;
        let seconds = now_s.saturating_sub(from_slot.max(started)).max(1);
        work as f64 / seconds as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_miner_is_seen_as_it_is() {
        let mut rate = HashRate::starting(1_000_003);
        for second in 0..7200 {
            rate.add(1_000_003 + second, 5_000);
        }
        let rates = rate.rates(1_000_003 + 7200);
        for estimate in [rates.m1, rates.m10, rates.h1] {
            assert!((estimate - 5_000.0).abs() < 150.0, "{rates:?}");
        }
        assert!(rate.slots.len() <= SLOTS_MAX);
    }

    #[test]
    fn the_first_seconds_are_no_underestimate_and_silence_fades() {
        let mut rate = HashRate::starting(500);
        for second in 0..5 {
            rate.add(500 + second, 1_000);
        }
        assert_eq!(rate.rates(505).h1, 1_000.0);
        assert_eq!(rate.rates(505).m1, 1_000.0);
        assert_eq!(rate.rates(505 + 4_000).h1, 0.0);
        rate.add(400, 7);
        assert!(
            rate.rates(505).m1 > 1_000.0,
            "a clock that steps back loses no work"
        );
    }
}
