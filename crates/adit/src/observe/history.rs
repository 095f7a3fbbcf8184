//! What the pool did over time, where no database keeps it: a day by the minute, a week by ten minutes.

use std::collections::VecDeque;

use serde::Serialize;
use utoipa::ToSchema;

use super::pace::Estimate;

/// Widths of slots in seconds, and how many of each are kept: a day, and a week.
const RINGS: [(u64, usize); 2] = [(60, 1440), (600, 1008)];

/// What happened in one slot of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Slot {
    /// When it began, seconds since the Unix epoch.
    pub start_s: u64,
    /// Expected hashes of the shares accepted in it.
    pub work: f64,
    /// Sum of the squares of the works of its shares.
    pub squares: f64,
    /// Shares accepted.
    pub accepted: u64,
    /// Shares refused.
    pub rejected: u64,
    /// Channels at its end.
    pub channels: u64,
}

impl Slot {
    fn absorb(&mut self, other: &Self) {
        self.work += other.work;
        self.squares += other.squares;
        self.accepted += other.accepted;
        self.rejected += other.rejected;
        self.channels = other.channels;
    }
}

/// One point of a curve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Point {
    /// When its time began, seconds since the Unix epoch.
    pub start_s: u64,
    /// How much time it stands for.
    pub seconds: u64,
    /// Hashes a second in it.
    pub hash_rate: f64,
    /// How far luck may have moved that, as a part of it; nothing where no share was counted.
    pub error: Option<f64>,
    /// Shares accepted.
    pub accepted: u64,
    /// Shares refused.
    pub rejected: u64,
    /// Channels at its end.
    pub channels: u64,
}

/// Slots of time, closed ones and the one that is open.
#[derive(Clone, Debug)]
pub struct History {
    started_s: u64,
    rings: [VecDeque<Slot>; RINGS.len()],
}

impl History {
    /// Starts at `now_s`, seconds since the Unix epoch.
    pub fn starting(now_s: u64) -> Self {
        Self {
            started_s: now_s,
            rings: Default::default(),
        }
    }

    /// When it started, seconds since the Unix epoch.
    pub fn started_s(&self) -> u64 {
        self.started_s
    }

    /// Adds what happened at `now_s`.
    pub fn add(&mut self, now_s: u64, what: &Slot) {
        for (ring, (width_s, kept)) in self.rings.iter_mut().zip(RINGS) {
            let start_s = now_s - now_s % width_s;
            match ring.back_mut() {
                // A clock that stepped back adds to the newest slot.
                Some(newest) if newest.start_s >= start_s => newest.absorb(what),
                _ => ring.push_back(Slot { start_s, ..*what }),
            }
            while ring.len() > kept {
                ring.pop_front();
            }
        }
    }

    /// The pool's rate over the last `window_s` seconds, or since the start.
    pub fn over(&self, now_s: u64, window_s: u64) -> Estimate {
        let sum = self.sum(now_s, window_s);
        let from_s = sum.start_s.max(self.started_s);
        Estimate::of(sum.work, sum.squares, now_s.saturating_sub(from_s) as f64)
    }

    /// Shares accepted and refused in the last `window_s` seconds.
    pub fn shares(&self, now_s: u64, window_s: u64) -> (u64, u64) {
        let sum = self.sum(now_s, window_s);
        (sum.accepted, sum.rejected)
    }

    fn sum(&self, now_s: u64, window_s: u64) -> Slot {
        let from_s = now_s.saturating_sub(window_s);
        let (width_s, _) = RINGS[0];
        let recent = self.rings[0].iter().rev();
        let recent = recent.take_while(|slot| slot.start_s + width_s > from_s);
        let mut sum = Slot {
            start_s: from_s - from_s % width_s,
            ..Slot::default()
        };
        recent.for_each(|slot| sum.absorb(slot));
        sum
    }

    /// The curve of the last `window_s` seconds in at most `points_max` points, oldest first, without gaps.
    pub fn curve(&self, now_s: u64, window_s: u64, points_max: usize) -> Vec<Point> {
        let of_a_day = RINGS[0].0 * RINGS[0].1 as u64;
        let which = usize::from(window_s > of_a_day);
        let (width_s, kept) = RINGS[which];
        let window_s = window_s.min(width_s * kept as u64).max(width_s);
        let points_max = points_max.max(1) as u64;
        // A whole number of slots makes a point.
        let step_s = window_s.div_ceil(width_s).div_ceil(points_max) * width_s;
        let first = now_s.saturating_sub(window_s).max(self.started_s);
        let first = first - first % step_s;
        let mut points: Vec<Slot> = Vec::new();
        let mut at = first;
        while at <= now_s {
            points.push(Slot {
                start_s: at,
                ..Slot::default()
            });
            at += step_s;
        }
        for slot in self.rings[which].iter().filter(|slot| slot.start_s >= first) {
            let place = usize::try_from((slot.start_s - first) / step_s).unwrap_or(usize::MAX);
            if let Some(point) = points.get_mut(place) {
                point.absorb(slot);
            }
        }
        points
            .iter()
            .map(|slot| self.point(slot, step_s, now_s))
            .collect()
    }

    /// Time before the start and time to come are no silence.
    fn point(&self, slot: &Slot, step_s: u64, now_s: u64) -> Point {
        let from_s = slot.start_s.max(self.started_s);
        let to_s = (slot.start_s + step_s).min(now_s.max(from_s));
        let estimate = Estimate::of(slot.work, slot.squares, (to_s - from_s) as f64);
        Point {
            start_s: slot.start_s,
            seconds: step_s,
            hash_rate: estimate.hash_rate,
            error: estimate.error,
            accepted: slot.accepted,
            rejected: slot.rejected,
            channels: slot.channels,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(work: f64) -> Slot {
        Slot {
            work,
            squares: work * work,
            accepted: 1,
            channels: 2,
            ..Slot::default()
        }
    }

    #[test]
    fn a_curve_has_the_rate_and_no_gaps() {
        let start_s = 1_000_000;
        let mut history = History::starting(start_s);
        for second in 0..7200 {
            if !(3600..5400).contains(&second) {
                history.add(start_s + second, &share(1_000.0));
            }
        }
        let now_s = start_s + 7200;
        let curve = history.curve(now_s, 86_400, 300);
        assert!(curve.len() <= 301 && curve.len() >= 24, "{}", curve.len());
        assert!(
            curve
                .windows(2)
                .all(|pair| pair[1].start_s == pair[0].start_s + pair[0].seconds)
        );
        let silent = curve.iter().find(|point| point.start_s > start_s + 4000).unwrap();
        assert_eq!((silent.hash_rate, silent.error), (0.0, None));
        let busy = &curve[2];
        assert!((busy.hash_rate - 1_000.0).abs() < 1.0, "{busy:?}");
        assert_eq!(busy.channels, 2);
        // 5400 shares in 7200 s.
        let day = history.over(now_s, 86_400);
        assert!((day.hash_rate - 750.0).abs() < 10.0, "{day:?}");
    }

    #[test]
    fn it_is_bounded_and_a_week_is_coarser() {
        let mut history = History::starting(0);
        for minute in 0..20_000 {
            history.add(minute * 60, &share(60.0));
        }
        assert_eq!(
            history.rings.each_ref().map(VecDeque::len),
            RINGS.map(|(_, kept)| kept)
        );
        let week = history.curve(20_000 * 60, 7 * 86_400, 500);
        assert!(week.len() <= 501);
        assert!(
            week.iter()
                .skip(1)
                .take(400)
                .all(|point| (point.hash_rate - 1.0).abs() < 0.01)
        );
        assert_eq!(
            history.curve(20_000 * 60, u64::MAX, 1).len(),
            2,
            "whatever is asked for is bounded"
        );
    }

    #[test]
    fn the_first_minute_is_no_underestimate() {
        let mut history = History::starting(119);
        history.add(119, &share(10.0));
        history.add(121, &share(10.0));
        let curve = history.curve(121, 3600, 60);
        let rates: Vec<f64> = curve.iter().map(|point| point.hash_rate).collect();
        assert_eq!(rates, [10.0, 10.0]);
    }
}
