//! What everybody may know about the writer.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::lane::Notify;

/// Whether records become durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// They do.
    #[default]
    Up,
    /// They do not: why, and what to do. Tried again by itself.
    Down(Arc<str>),
}

/// What the writer has done since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Groups made durable.
    pub groups: u64,
    /// Records made durable.
    pub records: u64,
    /// Failed tries.
    pub failures: u64,
    /// How long the last group's write and sync took, in microseconds.
    pub last_commit_us: u64,
    /// How long all groups' writes and syncs took, in microseconds.
    pub commit_us: u64,
}

#[derive(Default)]
pub(super) struct Status {
    down: AtomicBool,
    state: Mutex<State>,
    watchers: Mutex<Vec<Notify>>,
    groups: AtomicU64,
    records: AtomicU64,
    failures: AtomicU64,
    last_commit_us: AtomicU64,
    commit_us: AtomicU64,
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Status {
    pub(super) fn state(&self) -> State {
        lock(&self.state).clone()
    }

    pub(super) fn is_up(&self) -> bool {
        !self.down.load(Ordering::Acquire)
    }

    pub(super) fn watch(&self, notify: Notify) {
        lock(&self.watchers).push(notify);
    }

    /// Takes a new state and, when it differs, tells the watchers.
    pub(super) fn set(&self, state: State) {
        let mut current = lock(&self.state);
        if *current == state {
            return;
        }
        self.down.store(state != State::Up, Ordering::Release);
        *current = state;
        drop(current);
        let watchers = lock(&self.watchers).clone();
        watchers.iter().for_each(|notify| notify());
    }

    pub(super) fn committed(&self, records: u64, took_us: u64) {
        self.groups.fetch_add(1, Ordering::Relaxed);
        self.records.fetch_add(records, Ordering::Relaxed);
        self.last_commit_us.store(took_us, Ordering::Relaxed);
        self.commit_us.fetch_add(took_us, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            groups: self.groups.load(Ordering::Relaxed),
            records: self.records.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            last_commit_us: self.last_commit_us.load(Ordering::Relaxed),
            commit_us: self.commit_us.load(Ordering::Relaxed),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
