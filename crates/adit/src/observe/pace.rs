//! How fast a name or a channel is, in a few numbers, and how far luck may have moved them.

use serde::Serialize;
use utoipa::ToSchema;

/// After this long a share counts `1/e` of what it did, in seconds.
const MEMORY_S: f64 = 300.0;
/// An estimate begins with this much time: the first share after a moment says nothing yet.
const SPAN_MIN_S: f64 = 1.0;

/// Hashes a second, estimated from accepted work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Estimate {
    /// Hashes a second.
    pub hash_rate: f64,
    /// How far luck may have moved it, as a part of it: one standard deviation, `1/sqrt(n)` for `n` equal shares.
    /// Nothing where no share was counted.
    pub error: Option<f64>,
}

impl Estimate {
    /// Of `work` in `seconds`; `squares` is the sum of the squares of the works of its shares.
    ///
    /// Shares come as a Poisson process, so the variance of their sum is the sum of their squares.
    pub fn of(work: f64, squares: f64, seconds: f64) -> Self {
        Self {
            hash_rate: work / seconds.max(SPAN_MIN_S),
            error: (work > 0.0).then(|| (squares.sqrt() / work).min(1.0)),
        }
    }
}

/// Sums work that fades: 32 bytes for a name, however many shares.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    started_s: f64,
    at_s: f64,
    work: f64,
    squares: f64,
}

impl Pace {
    /// Starts to watch at `now_us`, microseconds since the Unix epoch.
    pub fn starting(now_us: u64) -> Self {
        let now_s = seconds(now_us);
        Self {
            started_s: now_s,
            at_s: now_s,
            work: 0.0,
            squares: 0.0,
        }
    }

    /// Adds accepted work, in expected hashes, and the sum of the squares of its shares.
    pub fn add(&mut self, now_us: u64, work: f64, squares: f64) {
        let fade = self.fade(now_us);
        self.work = self.work * fade + work;
        self.squares = self.squares * fade * fade + squares;
        self.at_s = self.at_s.max(seconds(now_us));
    }

    /// What it is at `now_us`.
    pub fn estimate(&self, now_us: u64) -> Estimate {
        let fade = self.fade(now_us);
        let age = (seconds(now_us) - self.started_s).max(0.0);
        // The same weights on time: a short watch is no underestimate.
        let span = MEMORY_S * (1.0 - (-age / MEMORY_S).exp());
        Estimate::of(self.work * fade, self.squares * fade * fade, span)
    }

    /// A clock that steps back fades nothing.
    fn fade(&self, now_us: u64) -> f64 {
        let age = (seconds(now_us) - self.at_s).max(0.0);
        (-age / MEMORY_S).exp()
    }
}

/// Hashes a second as they fade over several times: what a name did lately, and what it does as a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Averages {
    /// Over about a minute.
    #[serde(rename = "1m")]
    pub m1: f64,
    /// Over about five minutes.
    #[serde(rename = "5m")]
    pub m5: f64,
    /// Over about an hour.
    #[serde(rename = "1h")]
    pub h1: f64,
    /// Over about a day.
    #[serde(rename = "24h")]
    pub d1: f64,
    /// Over about a week.
    #[serde(rename = "7d")]
    pub d7: f64,
}

/// Times of [`Averages`], in seconds.
const TIMES_S: [f64; 5] = [60.0, 300.0, 3_600.0, 86_400.0, 604_800.0];

/// Sums work that fades over several times: 56 bytes for a name.
#[derive(Clone, Copy, Debug)]
pub struct Decays {
    started_s: f64,
    at_s: f64,
    work: [f64; TIMES_S.len()],
}

impl Decays {
    /// Starts to watch at `now_us`, microseconds since the Unix epoch.
    pub fn starting(now_us: u64) -> Self {
        Self {
            started_s: seconds(now_us),
            at_s: seconds(now_us),
            work: [0.0; TIMES_S.len()],
        }
    }

    /// Adds accepted work, in expected hashes.
    pub fn add(&mut self, now_us: u64, work: f64) {
        let age_s = (seconds(now_us) - self.at_s).max(0.0);
        for (sum, time_s) in self.work.iter_mut().zip(TIMES_S) {
            *sum = *sum * (-age_s / time_s).exp() + work;
        }
        self.at_s += age_s;
    }

    /// What they are at `now_us`.
    pub fn averages(&self, now_us: u64) -> Averages {
        let now_s = seconds(now_us);
        let (age_s, watched_s) = ((now_s - self.at_s).max(0.0), (now_s - self.started_s).max(0.0));
        let mut rates = self.work;
        for (rate, time_s) in rates.iter_mut().zip(TIMES_S) {
            let span_s = (time_s * (1.0 - (-watched_s / time_s).exp())).max(SPAN_MIN_S);
            *rate = *rate * (-age_s / time_s).exp() / span_s;
        }
        let [m1, m5, h1, d1, d7] = rates;
        Averages { m1, m5, h1, d1, d7 }
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;

    #[test]
    fn a_steady_miner_is_seen_as_it_is() {
        let mut pace = Pace::starting(0);
        for second in 1..=7200u64 {
            pace.add(second * S, 5_000.0, 5_000.0 * 5_000.0);
            if second == 20 || second == 7200 {
                let now = pace.estimate(second * S);
                assert!((now.hash_rate - 5_000.0).abs() < 150.0, "{second}: {now:?}");
            }
        }
        // 600 shares are what a memory of five minutes comes to: 4 %.
        let error = pace.estimate(7200 * S).error.unwrap();
        assert!((error - 0.041).abs() < 0.002, "{error}");
    }

    #[test]
    fn silence_fades_and_the_error_says_how_little_is_known() {
        let mut pace = Pace::starting(0);
        assert_eq!(pace.estimate(S).error, None);
        for second in 1..=100u64 {
            pace.add(second * S, 100.0, 10_000.0);
        }
        let (before, after) = (pace.estimate(100 * S), pace.estimate(2000 * S));
        assert!(after.hash_rate < before.hash_rate / 100.0);
        assert!((before.error.unwrap() - 0.1).abs() < 0.02);
        pace.add(50 * S, 100.0, 10_000.0);
        assert!(
            pace.estimate(100 * S).hash_rate > before.hash_rate,
            "a clock that steps back loses no work"
        );
    }

    #[test]
    fn averages_agree_while_nothing_changes_and_fade_one_after_the_other() {
        let mut decays = Decays::starting(0);
        for second in 1..=4000u64 {
            decays.add(second * S, 700.0);
        }
        let now = decays.averages(4000 * S);
        for rate in [now.m1, now.m5, now.h1, now.d1, now.d7] {
            assert!((rate - 700.0).abs() < 15.0, "{now:?}");
        }
        let later = decays.averages(4600 * S);
        assert!(
            later.m1 < 1.0 && later.m5 < 150.0 && later.h1 > 400.0,
            "{later:?}"
        );
    }

    #[test]
    fn one_large_share_among_small_ones_is_not_sure() {
        let mut pace = Pace::starting(0);
        pace.add(S, 100.0, 100.0);
        pace.add(S, 1_000_000.0, 1e12);
        assert!(pace.estimate(2 * S).error.unwrap() > 0.99);
    }
}
