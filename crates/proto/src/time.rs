//! Points in time as machines see them: arguments, never asked for.

use core::ops::{Add, Sub};
use core::time::Duration;

/// Microseconds since the Unix epoch, from a clock that never steps back.
///
/// Arithmetic saturates: no clock and no peer can make a machine panic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// The point in time `seconds` after the Unix epoch.
    pub const fn from_unix_s(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Whole seconds since the Unix epoch, as block headers count them.
    pub const fn unix_s(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Seconds from `earlier` to here, zero if `earlier` is later. For estimates only.
    pub fn seconds_since(self, earlier: Self) -> f64 {
        self.0.saturating_sub(earlier.0) as f64 / 1e6
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

impl Sub for Time {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let end = Time(u64::MAX);
        assert_eq!(end + Duration::MAX, end);
        assert_eq!(Time(5) - Time(7), Duration::ZERO);
        assert_eq!(Time::from_unix_s(u64::MAX), end);
        assert_eq!(Time::from_unix_s(7).unix_s(), 7);
        assert_eq!(Time(3_500_000).seconds_since(Time(1_000_000)), 2.5);
    }
}
