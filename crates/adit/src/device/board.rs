//! Where the connection hangs up work and the miners find it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use adit_proto::mining::client::Work;

/// A piece of work, shared by all miner threads.
#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) work: Work,
    /// The connection it came by; shares of an earlier one are worth nothing.
    pub(super) epoch: u64,
    /// Where counting starts in its search space.
    pub(super) origin: u64,
    next_unit: AtomicU64,
}

impl Assignment {
    pub(super) fn new(work: Work, epoch: u64, origin: u64) -> Self {
        Self {
            work,
            epoch,
            origin,
            next_unit: AtomicU64::new(0),
        }
    }

    /// Takes a unit that no other thread has.
    pub(super) fn take_unit(&self) -> u64 {
        self.next_unit.fetch_add(1, Ordering::Relaxed)
    }
}

/// One piece of work at a time, latest wins. Locked once for each change and each thread, never while hashing: a
/// thread looks at the generation, a relaxed load, some thousand times a second.
#[derive(Debug, Default)]
pub(super) struct Board {
    generation: AtomicU64,
    slot: Mutex<Slot>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Slot {
    assignment: Option<Arc<Assignment>>,
    closed: bool,
}

impl Board {
    /// Replaces the work; `None` lets the miners rest.
    pub(super) fn put(&self, assignment: Option<Arc<Assignment>>) {
        self.slot().assignment = assignment;
        self.announce();
    }

    /// Sends the miners home.
    pub(super) fn close(&self) {
        self.slot().closed = true;
        self.announce();
    }

    /// Counts up with every change.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Waits for work. `None` when the board is closed.
    pub(super) fn wait(&self) -> Option<(u64, Arc<Assignment>)> {
        let mut slot = self.slot();
        loop {
            if slot.closed {
                return None;
            }
            if let Some(assignment) = &slot.assignment {
                return Some((self.generation(), Arc::clone(assignment)));
            }
            slot = self.changed.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until the work changes, at most for `longest`.
    pub(super) fn wait_for_change(&self, generation: u64, longest: Duration) {
        let slot = self.slot();
        let same = |_: &mut Slot| self.generation() == generation;
        drop(self.changed.wait_timeout_while(slot, longest, same));
    }

    fn announce(&self) {
        // Under the lock, so that nobody goes to sleep between looking and waiting.
        let slot = self.slot();
        self.generation.fetch_add(1, Ordering::Relaxed);
        drop(slot);
        self.changed.notify_all();
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
