//! Counters that others may read while a device runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use adit_proto::Time;

/// What a device has done so far. Every number only grows.
#[derive(Debug, Default)]
pub struct Live {
    hashes: Arc<AtomicU64>,
    submitted: AtomicU64,
    accepted: AtomicU64,
    rejected: AtomicU64,
    connected: AtomicBool,
    /// When work was lost, in microseconds; 0 while there is work, and before the first.
    away_since_us: AtomicU64,
    away_longest_us: AtomicU64,
}

impl Live {
    /// Header hashes tried. Two readings and the time between them give the hash rate.
    #[must_use]
    pub fn hashes(&self) -> u64 {
        self.hashes.load(Ordering::Relaxed)
    }

    /// Shares sent.
    #[must_use]
    pub fn submitted(&self) -> u64 {
        self.submitted.load(Ordering::Relaxed)
    }

    /// Shares that the pool accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Shares that the pool refused.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Longest time without work, from losing it to having it again.
    #[must_use]
    pub fn away_longest(&self) -> Duration {
        Duration::from_micros(self.away_longest_us.load(Ordering::Relaxed))
    }

    /// Whether there is work from a pool.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    pub(super) const fn hash_counter(&self) -> &Arc<AtomicU64> {
        &self.hashes
    }

    pub(super) fn submit(&self, count: u64) {
        self.submitted.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts, and gives the new number.
    pub(super) fn accept(&self, count: u64) -> u64 {
        self.accepted.fetch_add(count, Ordering::Relaxed) + count
    }

    pub(super) fn reject(&self, count: u64) {
        self.rejected.fetch_add(count, Ordering::Relaxed);
    }

    /// There is work.
    pub(super) fn connect(&self, now: Time) {
        self.connected.store(true, Ordering::Relaxed);
        let since = self.away_since_us.swap(0, Ordering::Relaxed);
        if since != 0 {
            let away = now.0.saturating_sub(since);
            self.away_longest_us.fetch_max(away, Ordering::Relaxed);
        }
    }

    /// There is none any more; said twice, the first time counts.
    pub(super) fn disconnect(&self, now: Time) {
        if self.connected.swap(false, Ordering::Relaxed) {
            self.away_since_us.store(now.0, Ordering::Relaxed);
        }
    }
}
