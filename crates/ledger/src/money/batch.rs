//! Batches of payments, as far as records tell of them.

use std::collections::BTreeMap;

use crate::record::{AccountId, Payout, PayoutState};

/// Names a batch: chosen by who pays.
pub type BatchId = [u8; 16];

/// Lines of batches that are kept; with more, those of the oldest batches that are over go. Their names stay.
pub const LINES_KEPT_MAX: usize = 100_000;

/// The batches, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batches {
    all: BTreeMap<BatchId, Batch>,
    lines: usize,
}

/// A batch: the last record of each account in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Counts batches up, from 1.
    pub number: u64,
    lines: BTreeMap<AccountId, Payout>,
}

impl Batch {
    /// What is paid, by account; nothing of a batch that is over and was long ago.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = &Payout> {
        self.lines.values()
    }

    /// The line of an account.
    pub fn line(&self, account: &AccountId) -> Option<&Payout> {
        self.lines.get(account)
    }

    /// What all lines have come to; `None` where they are not alike, because a step was broken off.
    pub fn state(&self) -> Option<PayoutState> {
        let first = self.lines.values().next()?.state;
        self.lines
            .values()
            .all(|line| line.state == first)
            .then_some(first)
    }

    fn is_over(&self) -> bool {
        let is_over = |line: &Payout| matches!(line.state, PayoutState::Confirmed | PayoutState::Cancelled);
        self.lines.values().all(is_over)
    }
}

impl Batches {
    /// One of them.
    pub fn find(&self, batch: &BatchId) -> Option<&Batch> {
        self.all.get(batch)
    }

    /// All, the first begun first.
    pub fn all(&self) -> Vec<(&BatchId, &Batch)> {
        let mut all: Vec<_> = self.all.iter().collect();
        all.sort_by_key(|(id, batch)| (batch.number, **id));
        all
    }

    /// Lines of all that are not over, and of those that are over as far as they are kept.
    pub const fn lines(&self) -> usize {
        self.lines
    }

    /// How many batches there were.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    pub(super) fn note(&mut self, payout: &Payout) {
        let number = self.all.len() as u64 + 1;
        let batch = self.all.entry(payout.batch).or_insert_with(|| Batch {
            number,
            ..Batch::default()
        });
        if batch.lines.insert(payout.account, *payout).is_none() {
            self.lines += 1;
        }
        while self.lines > LINES_KEPT_MAX && self.forget_oldest() {}
    }

    /// Lets the lines of the oldest batch go that is over; `false` where none is.
    fn forget_oldest(&mut self) -> bool {
        let over = self
            .all
            .iter_mut()
            .filter(|(_, batch)| !batch.lines.is_empty() && batch.is_over());
        let Some((_, oldest)) = over.min_by_key(|(id, batch)| (batch.number, **id)) else {
            return false;
        };
        self.lines -= oldest.lines.len();
        oldest.lines.clear();
        true
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (id, batch) in other.all() {
            self.insert(*id, batch.number);
            batch.lines().for_each(|line| self.note(line));
        }
    }

    /// A line as it stood in a checkpoint.
    pub(crate) fn restore(&mut self, line: &Payout) {
        self.note(line);
    }

    /// A batch as it stood in a checkpoint; its lines follow.
    pub(crate) fn insert(&mut self, id: BatchId, number: u64) {
        self.all.entry(id).or_insert_with(|| Batch {
            number,
            ..Batch::default()
        });
    }
}
