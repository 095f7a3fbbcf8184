//! One worker's way into the ledger.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::queue::{Batch, Shared, What};
use super::state::State;
use crate::record::{
    AccountId, BlockFound, Credit, CustomJob, Entry, OutcomeNote, Payout, Rejects, SessionClosed,
    SessionOpened, Share, WorkerId, WorkerNamed,
};

/// Called when something changed; looks up what by itself.
pub type Notify = Arc<dyn Fn() + Send + Sync>;

/// The writer holds as much as it may, or has stopped: keep the batch and try after the next notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the ledger takes no more records until the disk has caught up")
    }
}

impl std::error::Error for Full {}

/// Hands records over and tells how many became durable. Records of one lane keep their order.
#[derive(Debug)]
pub struct Lane {
    shared: Arc<Shared>,
    lane: Arc<LaneShared>,
    sent: u64,
}

pub(super) struct LaneShared {
    committed: AtomicU64,
    /// Shares in the group being written; only the writer's thread touches it.
    pub(super) in_group: AtomicU64,
    notify: Notify,
}

impl fmt::Debug for LaneShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneShared")
            .field("committed", &self.committed)
            .finish_non_exhaustive()
    }
}

impl LaneShared {
    pub(super) fn new(notify: Notify) -> Self {
        Self {
            committed: AtomicU64::new(0),
            in_group: AtomicU64::new(0),
            notify,
        }
    }

    /// The group is durable.
    pub(super) fn settle(&self) {
        let shares = self.in_group.swap(0, Ordering::Relaxed);
        if shares > 0 {
            self.committed.fetch_add(shares, Ordering::Release);
            (self.notify)();
        }
    }
}

impl Lane {
    pub(super) fn new(shared: Arc<Shared>, lane: Arc<LaneShared>) -> Self {
        Self {
            shared,
            lane,
            sent: 0,
        }
    }

    /// Hands a batch over and leaves an empty buffer in its place. Returns how many shares this
    /// lane has sent in all: they are durable when [`Lane::committed`] has reached that number.
    ///
    /// # Errors
    /// [`Full`], with `shares` untouched, when the writer holds as much as it may.
    pub fn send(&mut self, shares: &mut Vec<Share>) -> Result<u64, Full> {
        if !shares.is_empty() {
            let count = shares.len() as u64;
            self.shared.push_shares(&self.lane, shares)?;
            self.sent += count;
        }
        Ok(self.sent)
    }

    /// Names an account; must come before its first share. Names the journal has already cost
    /// nothing. Call it at the first share, not when a channel opens: then a name costs work.
    ///
    /// # Errors
    /// [`Full`], like [`Lane::send`].
    pub fn account(&mut self, account: AccountId, name: &str) -> Result<(), Full> {
        self.push(What::Account(account, name.into()))
    }

    /// Names a worker of an account, as [`Lane::account`] names accounts; cut at
    /// [`WORKER_BYTES_MAX`](crate::record::WORKER_BYTES_MAX) bytes.
    ///
    /// # Errors
    /// [`Full`], like [`Lane::send`].
    pub fn worker(&mut self, account: AccountId, worker: WorkerId, name: &str) -> Result<(), Full> {
        self.push(What::Worker(WorkerNamed::new(account, worker, name)))
    }

    /// Notes a found block.
    ///
    /// # Errors
    /// [`Full`], like [`Lane::send`].
    pub fn block(&mut self, block: BlockFound) -> Result<(), Full> {
        self.note(Entry::Block(block))
    }

    /// Notes what became of a block.
    ///
    /// # Errors
    /// [`Full`], like [`Lane::send`].
    pub fn outcome(&mut self, note: OutcomeNote) -> Result<(), Full> {
        self.note(Entry::Outcome(note))
    }

    /// Notes a verdict on a custom job.
    ///
    /// # Errors
    /// [`Full`], like [`Lane::send`].
    pub fn custom(&mut self, job: CustomJob) -> Result<(), Full> {
        self.note(Entry::Custom(job))
    }

    /// Notes a session. As names, after its first accepted share: then it costs work.
    ///
    /// # Errors
    /// [`Full`], like [`Lane::send`].
    pub fn opened(&mut self, session: SessionOpened) -> Result<(), Full> {
        self.note(Entry::Session(session))
    }

    /// Notes the end of a session.
    ///
    /// # Errors
    /// [`Full`], like [`Lane::send`].
    pub fn closed(&mut self, session: SessionClosed) -> Result<(), Full> {
        self.note(Entry::Closed(session))
    }

    /// Notes refused shares, summed up over a while.
    ///
    /// # Errors
    /// [`Full`], like [`Lane::send`].
    pub fn rejects(&mut self, rejects: Rejects) -> Result<(), Full> {
        self.note(Entry::Rejects(rejects))
    }

    /// Notes a step of a payout.
    ///
    /// # Errors
    /// [`Full`], like [`Lane::send`].
    pub fn payout(&mut self, payout: Payout) -> Result<(), Full> {
        self.note(Entry::Payout(payout))
    }

    /// Notes what a block earned for an account.
    ///
    /// # Errors
    /// [`Full`], like [`Lane::send`].
    pub fn credit(&mut self, credit: Credit) -> Result<(), Full> {
        self.note(Entry::Credit(credit))
    }

    /// Shares of this lane that are durable, in all; never falls. Names and blocks do not count.
    pub fn committed(&self) -> u64 {
        self.lane.committed.load(Ordering::Acquire)
    }

    /// Shares handed over by this lane, in all.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether records become durable, and if not why.
    pub fn state(&self) -> State {
        self.shared.status.state()
    }

    /// Whether records become durable: [`Lane::state`] without its words, for the hot path.
    pub fn is_up(&self) -> bool {
        self.shared.status.is_up()
    }

    fn note(&mut self, entry: Entry) -> Result<(), Full> {
        self.push(What::Note(entry))
    }

    fn push(&mut self, what: What) -> Result<(), Full> {
        self.shared.push(Batch {
            lane: Arc::clone(&self.lane),
            what,
        })
    }
}
