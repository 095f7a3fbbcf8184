//! Pauses that end early when a thread is to stop.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Whether a thread is to stop, since when, in microseconds.
#[derive(Debug, Default)]
pub(super) struct Bell {
    stop: Mutex<Option<u64>>,
    news: Condvar,
}

impl Bell {
    /// Asks the thread to stop.
    pub(super) fn ring(&self, now_us: u64) {
        let mut stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        stop.get_or_insert(now_us);
        self.news.notify_all();
    }

    /// When it was asked to stop.
    pub(super) fn rung(&self) -> Option<u64> {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits so long, or until it is to stop.
    pub(super) fn pause(&self, longest: Duration) {
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.news.wait_timeout_while(stop, longest, |stop| stop.is_none()));
    }
}
