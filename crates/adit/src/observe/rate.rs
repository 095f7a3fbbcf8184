//! Hash rate from accepted work.

use std::collections::VecDeque;

use serde::Serialize;
use utoipa::ToSchema;

use super::pace::Estimate;

/// Width of one slot, in seconds.
const SLOT_S: u64 = 10;
/// Slots of the longest window.
const SLOTS_MAX: usize = 360;

/// Hashes a second over some windows. Estimates: work is exact, the luck in it is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
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
    /// Over the last day, or since the start.
    #[serde(rename = "24h")]
    pub d1: f64,
    /// How far luck may have moved each, as a part of it (one standard deviation); nothing where no share was counted.
    pub error: Errors,
}

/// How far luck may have moved [`Rates`], as a part of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Errors {
    /// Of the last minute.
    #[serde(rename = "1m")]
    pub m1: Option<f64>,
    /// Of the last ten minutes.
    #[serde(rename = "10m")]
    pub m10: Option<f64>,
    /// Of the last hour.
    #[serde(rename = "1h")]
    pub h1: Option<f64>,
    /// Of the last day.
    #[serde(rename = "24h")]
    pub d1: Option<f64>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    start_s: u64,
    work: u128,
    /// Sum of the squares of the works of its shares.
    squares: f64,
}

/// Sums accepted work in slots of ten seconds for one hour: 360 numbers however many shares.
#[derive(Clone, Debug, Default)]
pub struct HashRate {
    /// Oldest first.
    slots: VecDeque<Slot>,
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

    /// Adds accepted work, in expected hashes, and the sum of the squares of its shares, at `now_s`.
    pub fn add(&mut self, now_s: u64, work: u128, squares: f64) {
        self.started_s.get_or_insert(now_s);
        let slot = now_s - now_s % SLOT_S;
        match self.slots.back_mut() {
            // A clock that stepped back adds to the newest slot.
            Some(newest) if newest.start_s >= slot => {
                newest.work = newest.work.saturating_add(work);
                newest.squares += squares;
            }
            _ => self.slots.push_back(Slot {
                start_s: slot,
                work,
                squares,
            }),
        }
        while self.slots.len() > SLOTS_MAX {
            self.slots.pop_front();
        }
    }

    /// The estimates at `now_s`; `day` is that of the last one.
    pub fn rates(&self, now_s: u64, day: Estimate) -> Rates {
        let [m1, m10, h1] = [60, 600, 3600].map(|window_s| self.over(now_s, window_s));
        Rates {
            m1: m1.hash_rate,
            m10: m10.hash_rate,
            h1: h1.hash_rate,
            d1: day.hash_rate,
            error: Errors {
                m1: m1.error,
                m10: m10.error,
                h1: h1.error,
                d1: day.error,
            },
        }
    }

    fn over(&self, now_s: u64, window_s: u64) -> Estimate {
        let started = self.started_s.unwrap_or(now_s);
        let from = now_s.saturating_sub(window_s);
        let slots = self
            .slots
            .iter()
            .rev()
            .take_while(|slot| slot.start_s + SLOT_S > from);
        let (work, squares) = slots.fold((0u128, 0.0), |(work, squares), slot| {
            (work.saturating_add(slot.work), squares + slot.squares)
        });
        // The oldest slot taken may reach out of the window: the time counts from its start.
        let from_slot = from - from % SLOT_S;
        let seconds = now_s.saturating_sub(from_slot.max(started)).max(1);
        Estimate::of(work as f64, squares, seconds as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_miner_is_seen_as_it_is() {
        let mut rate = HashRate::starting(1_000_003);
        for second in 0..7200 {
            rate.add(1_000_003 + second, 5_000, 25e6);
        }
        let rates = rate.rates(1_000_003 + 7200, Estimate::default());
        for estimate in [rates.m1, rates.m10, rates.h1] {
            assert!((estimate - 5_000.0).abs() < 150.0, "{rates:?}");
        }
        // An hour of a share a second: one in 60.
        let error = rates.error.h1.unwrap();
        assert!((error - 1.0 / 60.0).abs() < 0.001, "{error}");
        assert!(rate.slots.len() <= SLOTS_MAX);
    }

    #[test]
    fn the_first_seconds_are_no_underestimate_and_silence_fades() {
        let mut rate = HashRate::starting(500);
        for second in 0..5 {
            rate.add(500 + second, 1_000, 1e6);
        }
        let rates = |rate: &HashRate, now_s| rate.rates(now_s, Estimate::default());
        assert_eq!(rates(&rate, 505).h1, 1_000.0);
        assert_eq!(rates(&rate, 505).m1, 1_000.0);
        assert_eq!(rates(&rate, 505 + 4_000).h1, 0.0);
        rate.add(400, 7, 49.0);
        assert!(
            rates(&rate, 505).m1 > 1_000.0,
            "a clock that steps back loses no work"
        );
    }
}
