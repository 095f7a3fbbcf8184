//! The only place that asks for the time.
#![expect(clippy::disallowed_methods, reason = "this is the place they are allowed in")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use adit_proto::Time;

/// A step of the wall clock smaller than this is taken for noise between two readings.
const STEP_MIN_US: u64 = 2_000_000;

/// Gives [`Time`]: microseconds since the Unix epoch that never step back.
///
/// The wall clock is read once, then the monotonic clock counts on from it, so deadlines are safe from
/// clock changes. When the wall clock jumps *forward* (a board without a battery learns the date),
/// the jump is followed; a jump backward is not, until the next start.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Anchor>);

#[derive(Debug)]
struct Anchor {
    instant: Instant,
    unix_us: u64,
    forward_us: AtomicU64,
}

impl Clock {
    /// Anchors a clock to this machine's wall clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(Anchor {
            instant: Instant::now(),
            unix_us: wall_us(),
            forward_us: AtomicU64::new(0),
        }))
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Time {
        let anchor = &*self.0;
        let elapsed = u64::try_from(anchor.instant.elapsed().as_micros()).unwrap_or(u64::MAX);
        let steady = anchor.unix_us.saturating_add(elapsed);
        Time(steady.saturating_add(anchor.forward_us.load(Ordering::Relaxed)))
    }

    /// Compares with the wall clock and follows it forward; call it now and then (each second).
    pub fn follow_wall_clock(&self) {
        let ahead_us = wall_us().saturating_sub(self.now().0);
        if ahead_us > STEP_MIN_US {
            self.0.forward_us.fetch_add(ahead_us, Ordering::Relaxed);
        }
    }

    /// How far the wall clock is behind, where that is more than noise: somebody has set it back. This one goes on.
    #[must_use]
    pub fn ahead(&self) -> Option<Duration> {
        let ahead_us = self.now().0.saturating_sub(wall_us());
        (ahead_us > STEP_MIN_US).then(|| Duration::from_micros(ahead_us))
    }

    /// Seconds since the Unix epoch, for certificates and header times.
    #[must_use]
    pub fn unix_s(&self) -> u64 {
        self.now().0 / 1_000_000
    }
}

fn wall_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_steps_back_and_agrees_with_the_wall() {
        let clock = Clock::system();
        let mut last = clock.now();
        for _ in 0..10_000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
        assert!(wall_us().abs_diff(last.0) < STEP_MIN_US);
    }

    #[test]
    fn a_step_back_is_seen_and_not_followed() {
        assert_eq!(Clock::system().ahead(), None);
        let clock = Clock(Arc::new(Anchor {
            instant: Instant::now(),
            unix_us: wall_us() + 3_600_000_000,
            forward_us: AtomicU64::new(0),
        }));
        let before = clock.now();
        clock.follow_wall_clock();
        assert!(clock.now() >= before);
        assert!(clock.ahead() > Some(Duration::from_secs(3_590)));
    }

    #[test]
    fn follows_a_forward_step() {
        let clock = Clock(Arc::new(Anchor {
            instant: Instant::now(),
            unix_us: wall_us() - 3_600_000_000,
            forward_us: AtomicU64::new(0),
        }));
        let before = clock.now();
        clock.follow_wall_clock();
        assert!(clock.now().0 - before.0 >= 3_590_000_000);
    }
}
