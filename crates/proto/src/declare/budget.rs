//! Bytes that strangers may make us hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of bytes that many share. What is taken goes back by itself when its [`Held`] is dropped, so that nothing
/// is counted that is gone, and nothing is held that is not counted.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    total: usize,
    used: AtomicUsize,
}

/// Bytes taken from a [`Budget`].
#[derive(Debug)]
pub struct Held {
    from: Budget,
    bytes: usize,
}

impl Budget {
    /// A budget of `total` bytes.
    pub fn new(total: usize) -> Self {
        let used = AtomicUsize::new(0);
        Self(Arc::new(Inner { total, used }))
    }

    /// Takes `bytes`, or nothing where they are not there.
    pub fn take(&self, bytes: usize) -> Option<Held> {
        let more = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.0.total);
        self.0
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()?;
        let from = self.clone();
        Some(Held { from, bytes })
    }

    /// Bytes that are taken now.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Bytes that there are.
    pub fn total(&self) -> usize {
        self.0.total
    }
}

impl Held {
    /// How many.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes more, up to `bytes` in all; false, and nothing changes, where they are not there. It never gives back.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let Some(mut more) = self.from.take(bytes.saturating_sub(self.bytes)) else {
            return false;
        };
        self.bytes += std::mem::take(&mut more.bytes);
        true
    }

    /// A part of it, held apart from now on; nothing where it has less.
    pub fn split(&mut self, bytes: usize) -> Option<Self> {
        self.bytes = self.bytes.checked_sub(bytes)?;
        let from = self.from.clone();
        Some(Self { from, bytes })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.from.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_comes_back_and_no_more_is_given_than_there_is() {
        let budget = Budget::new(100);
        let first = budget.take(60).unwrap();
        assert!(budget.take(41).is_none() && budget.take(usize::MAX).is_none());
        let second = budget.take(40).unwrap();
        assert_eq!((budget.used(), second.bytes()), (100, 40));
        drop((first, second));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_grows_is_counted_and_stops_at_the_end() {
        let budget = Budget::new(100);
        let mut held = budget.take(10).unwrap();
        assert!(held.grow(70) && held.grow(20) && !held.grow(101));
        assert_eq!((held.bytes(), budget.used()), (70, 70));
        let part = held.split(30).unwrap();
        assert!(held.split(41).is_none());
        assert_eq!((held.bytes(), part.bytes(), budget.used()), (40, 30, 70));
        drop((held, part));
        assert_eq!(budget.used(), 0);
    }
}
