//! The writer's thread.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use super::Clock;
use super::lane::LaneShared;
use super::queue::{Batch, Shared, What};
use super::state::State;
use crate::disk::Disk;
use crate::journal::Journal;
use crate::record::{AccountId, Entry, Share, WorkerId, account_parts};

pub(super) struct Run<D: Disk> {
    journal: Journal<D>,
    shared: Arc<Shared>,
    clock: Clock,
    named: HashSet<AccountId>,
    named_workers: HashSet<(AccountId, WorkerId)>,
    /// Lanes with shares in the group.
    lanes: Vec<Arc<LaneShared>>,
    emptied: Vec<Vec<Share>>,
}

impl<D: Disk> Run<D> {
    pub(super) fn new(journal: Journal<D>, shared: Arc<Shared>, clock: Clock) -> Self {
        let book = journal.book();
        let book = book.lock().unwrap_or_else(PoisonError::into_inner);
        let named = book
            .accounts()
            .filter(|(_, sums)| sums.name.whole().is_some())
            .map(|(id, _)| *id)
            .collect();
        let named_workers = book
            .workers()
            .filter(|(_, sums)| sums.name.whole().is_some())
            .map(|(id, _)| *id)
            .collect();
        drop(book);
        Self {
            journal,
            shared,
            clock,
            named,
            named_workers,
            lanes: Vec::new(),
            emptied: Vec::new(),
        }
    }

    pub(super) fn run(mut self) -> Result<(), String> {
        let mut batches = Vec::new();
        self.commit(0)?;
        while let Some(held) = self.shared.take(&mut batches) {
            let now = (self.clock)();
            batches.drain(..).for_each(|batch| self.append(now, batch));
            self.shared.recycle(&mut self.emptied);
            self.commit(held)?;
        }
        let now = (self.clock)();
        self.journal.stop(now).map_err(|error| error.to_string())
    }

    fn append(&mut self, now: u64, batch: Batch) {
        match batch.what {
            What::Shares(mut shares) => {
                self.count(batch.lane, shares.len() as u64);
                for share in shares.drain(..) {
                    self.journal.append(now, &Entry::Share(share));
                }
                self.emptied.push(shares);
            }
            What::Account(account, name) => {
                if self.named.insert(account) {
                    account_parts(account, &name).for_each(|part| {
                        self.journal.append(now, &Entry::Account(part));
                    });
                }
            }
            What::Worker(named) => {
                if self.named_workers.insert((named.account, named.worker)) {
                    self.journal.append(now, &Entry::Worker(named));
                }
            }
            What::Note(entry) => {
                self.journal.append(now, &entry);
            }
        }
    }

    fn count(&mut self, lane: Arc<LaneShared>, shares: u64) {
        use std::sync::atomic::Ordering::Relaxed;
        if lane.in_group.fetch_add(shares, Relaxed) == 0 {
            self.lanes.push(lane);
        }
    }

    /// Makes the group durable, however long the disk takes to get well.
    fn commit(&mut self, held: usize) -> Result<(), String> {
        let records = self.journal.pending_records();
        loop {
            let before = (self.clock)();
            match self.journal.commit() {
                Ok(_) => {
                    if records > 0 {
                        self.shared
                            .status
                            .committed(records, (self.clock)().saturating_sub(before));
                    }
                    self.shared.release(held);
                    self.shared.status.set(State::Up);
                    self.lanes.drain(..).for_each(|lane| lane.settle());
                    return Ok(());
                }
                Err(error) => {
                    let reason = error.to_string();
                    self.shared.status.failed();
                    self.shared.status.set(State::Down(reason.as_str().into()));
                    if !self.shared.pause() {
                        return Err(reason);
                    }
                }
            }
        }
    }
}
