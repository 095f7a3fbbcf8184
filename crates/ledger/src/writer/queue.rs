//! What lanes have handed over and the writer has not taken yet.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Settings;
use super::lane::{Full, LaneShared};
use super::state::Status;
use crate::record::{AccountId, Entry, NAME_PARTS_MAX, Share, WorkerNamed};

/// Empty buffers kept for lanes.
const SPARE_MAX: usize = 1024;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) status: Status,
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    batches: Vec<Batch>,
    /// Records in `batches`.
    waiting: usize,
    /// Records handed over and not durable, `waiting` included.
    held: usize,
    spare: Vec<Vec<Share>>,
    stopping: bool,
}

#[derive(Debug)]
pub(super) struct Batch {
    pub(super) lane: Arc<LaneShared>,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Shares(Vec<Share>),
    Account(AccountId, Box<str>),
    Worker(WorkerNamed),
    /// Anything else; neither share nor name.
    Note(Entry),
}

impl What {
    fn records(&self) -> usize {
        match self {
            Self::Shares(shares) => shares.len(),
            Self::Account(..) => usize::from(NAME_PARTS_MAX),
            Self::Worker(_) | Self::Note(_) => 1,
        }
    }
}

impl Shared {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            status: Status::default(),
            queue: Mutex::default(),
            wake: Condvar::new(),
        }
    }

    pub(super) fn push_shares(&self, lane: &Arc<LaneShared>, shares: &mut Vec<Share>) -> Result<(), Full> {
        let mut queue = self.lock();
        self.admit(&mut queue, shares.len())?;
        let empty = queue.spare.pop().unwrap_or_default();
        let what = What::Shares(std::mem::replace(shares, empty));
        self.add(
            queue,
            Batch {
                lane: Arc::clone(lane),
                what,
            },
        );
        Ok(())
    }

    pub(super) fn push(&self, batch: Batch) -> Result<(), Full> {
        let mut queue = self.lock();
        self.admit(&mut queue, batch.what.records())?;
        self.add(queue, batch);
        Ok(())
    }

    /// A batch that is larger than all there may be is still taken when nothing else is held.
    fn admit(&self, queue: &mut Queue, records: usize) -> Result<(), Full> {
        let fits = queue.held == 0 || queue.held + records <= self.settings.pending_max;
        if queue.stopping || !fits {
            return Err(Full);
        }
        queue.held += records;
        queue.waiting += records;
        Ok(())
    }

    fn add(&self, mut queue: MutexGuard<'_, Queue>, batch: Batch) {
        let first = queue.batches.is_empty();
        queue.batches.push(batch);
        let gathered = queue.waiting >= self.settings.gather_records;
        drop(queue);
        if first || gathered {
            self.wake.notify_one();
        }
    }

    /// Waits for work and takes all of it into `into` (empty). Returns how many records that are,
    /// or `None` when there is nothing left and the writer is to stop.
    pub(super) fn take(&self, into: &mut Vec<Batch>) -> Option<usize> {
        let mut queue = self.lock();
        if queue.batches.is_empty() {
            let idle = |queue: &mut Queue| queue.batches.is_empty() && !queue.stopping;
            queue = self
                .wake
                .wait_while(queue, idle)
                .unwrap_or_else(PoisonError::into_inner);
        } else if self.settings.group_max_ms > 0 {
            let longest = Duration::from_millis(self.settings.group_max_ms);
            let few = |queue: &mut Queue| queue.waiting < self.settings.gather_records && !queue.stopping;
            queue = self
                .wake
                .wait_timeout_while(queue, longest, few)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        std::mem::swap(&mut queue.batches, into);
        let records = std::mem::take(&mut queue.waiting);
        (!into.is_empty()).then_some(records)
    }

    /// Gives an emptied buffer back.
    pub(super) fn recycle(&self, emptied: &mut Vec<Vec<Share>>) {
        let mut queue = self.lock();
        let room = SPARE_MAX.saturating_sub(queue.spare.len()).min(emptied.len());
        queue.spare.extend(emptied.drain(..room));
        drop(queue);
        emptied.clear();
    }

    /// These records are durable.
    pub(super) fn release(&self, records: usize) {
        let mut queue = self.lock();
        queue.held = queue.held.saturating_sub(records);
    }

    /// Waits before the next try. `false`: the writer is to stop.
    pub(super) fn pause(&self) -> bool {
        let longest = Duration::from_millis(self.settings.retry_ms);
        let waited = self
            .wake
            .wait_timeout_while(self.lock(), longest, |queue| !queue.stopping);
        !waited.unwrap_or_else(PoisonError::into_inner).0.stopping
    }

    pub(super) fn stop(&self) {
        self.lock().stopping = true;
        self.wake.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
