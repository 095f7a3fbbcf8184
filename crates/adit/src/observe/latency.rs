//! How long things take: counts in fixed buckets, cheap to add to and to merge.

use serde::{Serialize, Serializer, ser::SerializeStruct};
use utoipa::ToSchema;

/// Upper bounds of the buckets, in microseconds; the last bucket has none.
const BOUNDS_US: [u64; 20] = [
    50, 100, 200, 300, 500, 750, 1_000, 1_500, 2_500, 5_000, 7_500, 10_000, 25_000, 50_000, 100_000, 250_000,
    500_000, 1_000_000, 5_000_000, 30_000_000,
];

/// A histogram of durations in microseconds. Worker threads keep their own and send it; the hub merges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    buckets: [u64; BOUNDS_US.len() + 1],
    sum_us: u64,
    max_us: u64,
}

impl Latency {
    /// Counts one duration.
    pub fn record(&mut self, us: u64) {
        self.record_many(us, 1);
    }

    /// Counts `count` equal durations, such as those of all shares of one batch.
    pub fn record_many(&mut self, us: u64, count: u64) {
        let at = BOUNDS_US.partition_point(|bound| *bound < us);
        if let Some(bucket) = self.buckets.get_mut(at) {
            *bucket = bucket.saturating_add(count);
        }
        self.sum_us = self.sum_us.saturating_add(us.saturating_mul(count));
        self.max_us = self.max_us.max(us);
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine = mine.saturating_add(theirs);
        }
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
        self.max_us = self.max_us.max(other.max_us);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets
            .iter()
            .fold(0, |sum, bucket| sum.saturating_add(*bucket))
    }

    /// Sum of all durations in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// The duration that `per_mille` of 1000 do not exceed, in microseconds, as the upper bound of its
    /// bucket (never above the longest one seen); 0 when nothing was counted.
    pub fn quantile_us(&self, per_mille: u64) -> u64 {
        let rank = u128::from(self.count()) * u128::from(per_mille.min(1000));
        let mut seen = 0u128;
        for (at, bucket) in self.buckets.iter().enumerate() {
            seen += u128::from(*bucket) * 1000;
            if seen >= rank && *bucket > 0 {
                return BOUNDS_US.get(at).copied().unwrap_or(u64::MAX).min(self.max_us);
            }
        }
        0
    }

    /// Each bucket's upper bound in seconds, infinity last, and its count, not cumulated.
    pub fn buckets_s(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::INFINITY]);
        bounds.zip(self.buckets).collect()
    }
}

/// How long something takes, in microseconds; quantiles are upper bounds of their buckets.
#[derive(ToSchema)]
#[schema(as = Latency)]
#[expect(
    dead_code,
    reason = "the shape of what is serialized, for the OpenAPI document"
)]
pub(super) struct LatencyShape {
    /// How many were counted.
    count: u64,
    /// What half of them do not exceed.
    p50_us: u64,
    /// What 99 of 100 do not exceed.
    p99_us: u64,
    /// The longest.
    max_us: u64,
    /// All together.
    sum_us: u64,
}

impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Latency", 5)?;
        fields.serialize_field("count", &self.count())?;
        fields.serialize_field("p50_us", &self.quantile_us(500))?;
        fields.serialize_field("p99_us", &self.quantile_us(990))?;
        fields.serialize_field("max_us", &self.max_us)?;
        fields.serialize_field("sum_us", &self.sum_us)?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_upper_bounds() {
        let mut latency = Latency::default();
        assert_eq!(latency.quantile_us(500), 0);
        for _ in 0..99 {
            latency.record(900);
        }
        latency.record(40_000_000);
        assert_eq!(latency.quantile_us(500), 1_000);
        assert_eq!(latency.quantile_us(990), 1_000);
        assert_eq!(latency.quantile_us(1000), 40_000_000);
        assert_eq!(latency.count(), 100);
    }

    #[test]
    fn merging_is_counting_together() {
        let (mut one, mut two, mut both) = (Latency::default(), Latency::default(), Latency::default());
        for us in [1, 70, 5_000, 123_456] {
            one.record(us);
            both.record(us);
            two.record_many(us + 1, 3);
            both.record_many(us + 1, 3);
        }
        one.merge(&two);
        assert_eq!(one, both);
        assert_eq!(
            one.buckets_s().iter().map(|(_, count)| count).sum::<u64>(),
            one.count()
        );
    }
}
