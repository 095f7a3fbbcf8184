//! Counters that others may read while a device runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a device has done so far. Every number only grows.
#[derive(Debug, Default)]
pub struct Live {
    hashes: Arc<AtomicU64>,
    submitted: AtomicU64,
    accepted: AtomicU64,
    rejected: AtomicU64,
    connected: AtomicBool,
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

    pub(super) fn connect(&self) {
        self.connected.store(true, Ordering::Relaxed);
    }

    pub(super) fn disconnect(&self) {
        self.connected.store(false, Ordering::Relaxed);
    }
}
