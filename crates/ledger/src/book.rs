//! The book: the exact sum of the journal's records.
//!
//! Integers only, and every field is a sum, a minimum or a maximum: the book of two journals is
//! the [`Book::merge`] of their books, and the order of shares does not matter.

use std::collections::{HashMap, VecDeque};

use crate::money::Money;
use crate::record::{
    AccountId, AccountPart, BlockFound, Entry, Hash, NAME_PARTS_MAX, OutcomeNote, PART_BYTES, Payout,
    PayoutState, Record, Rejects, Share, WorkerId, WorkerNamed,
};
use crate::window::Window;

/// Blocks that the book lists; older ones stay counted in [`Book::blocks`] and in the journal.
pub const BLOCKS_LISTED_MAX: usize = 10_000;

/// The sum of all records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Book {
    /// Accepted shares.
    pub shares: u64,
    /// Expected hashes of all accepted shares.
    pub work: u128,
    /// Blocks found.
    pub blocks: u64,
    /// Starts of a process.
    pub starts: u64,
    /// Refused shares, as far as they were counted in records; more than the sum of the accounts' where some were
    /// nobody's.
    pub rejected: u64,
    accounts: HashMap<AccountId, AccountBook>,
    /// Parts of their accounts' sums, never added to them.
    workers: HashMap<(AccountId, WorkerId), AccountBook>,
    listed: VecDeque<BlockLine>,
    money: Money,
    window: Window,
}

/// The sum of one account's records, or of those of one of its workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountBook {
    /// Accepted shares.
    pub shares: u64,
    /// Their expected hashes.
    pub work: u128,
    /// Time of the first share, Unix microseconds; `u64::MAX` before there is one.
    pub first_us: u64,
    /// Time of the last share, Unix microseconds; 0 before there is one.
    pub last_us: u64,
    /// The hardest target met, in expected hashes.
    pub best_work: u64,
    /// The smallest header hash (as a number); all ones before there is a share.
    pub best_hash: Hash,
    /// Blocks found.
    pub blocks: u64,
    /// Refused shares.
    pub rejected: u64,
    /// Payouts that were sent, satoshis.
    pub paid: u64,
    /// Those of them that will never confirm, satoshis.
    pub unpaid: u64,
    pub(crate) name: Name,
}

/// A name put together from its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) parts: [Vec<u8>; NAME_PARTS_MAX as usize],
    pub(crate) expected: u8,
    pub(crate) seen: u8,
}

/// A found block and the last that is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockLine {
    /// What was found, by whom.
    pub found: BlockFound,
    /// When, Unix microseconds.
    pub time_us: u64,
    /// The last note on it.
    pub outcome: Option<OutcomeNote>,
}

impl Default for AccountBook {
    fn default() -> Self {
        Self {
            shares: 0,
            work: 0,
            first_us: u64::MAX,
            last_us: 0,
            best_work: 0,
            best_hash: [0xff; 32],
            blocks: 0,
            rejected: 0,
            paid: 0,
            unpaid: 0,
            name: Name::default(),
        }
    }
}

impl Book {
    /// Adds one record.
    pub fn apply(&mut self, record: &Record) {
        self.add(record.time_us, &record.entry);
    }

    /// Adds the entry of a record that was written at `time_us` (Unix microseconds).
    pub(crate) fn add(&mut self, time_us: u64, entry: &Entry) {
        match entry {
            Entry::Share(share) => self.share(share),
            Entry::Account(part) => self.accounts.entry(part.account).or_default().name.learn(part),
            Entry::Worker(named) => self.worker(named),
            Entry::Block(block) => self.block(*block, time_us),
            Entry::Outcome(note) => self.outcome(*note),
            Entry::Credit(credit) => self.money.credit(credit),
            Entry::Start(_) => self.starts += 1,
            Entry::Rejects(rejects) => self.rejects(rejects),
            Entry::Payout(payout) => self.payout(payout),
            Entry::Stop | Entry::Custom(_) | Entry::Session(_) | Entry::Closed(_) => {}
        }
    }

    /// One account's sums.
    pub fn account(&self, account: &AccountId) -> Option<&AccountBook> {
        self.accounts.get(account)
    }

    /// All accounts, in no order.
    pub fn accounts(&self) -> impl ExactSizeIterator<Item = (&AccountId, &AccountBook)> {
        self.accounts.iter()
    }

    /// The `n` accounts with the most work, most first.
    pub fn top(&self, n: usize) -> Vec<(&AccountId, &AccountBook)> {
        let mut all: Vec<_> = self.accounts.iter().collect();
        all.sort_by(|a, b| b.1.work.cmp(&a.1.work).then(a.0.cmp(b.0)));
        all.truncate(n);
        all
    }

    /// One worker's sums: a part of its account's.
    pub fn worker_of(&self, account: &AccountId, worker: &WorkerId) -> Option<&AccountBook> {
        self.workers.get(&(*account, *worker))
    }

    /// The workers of all accounts, in no order.
    pub fn workers(&self) -> impl ExactSizeIterator<Item = (&(AccountId, WorkerId), &AccountBook)> {
        self.workers.iter()
    }

    /// The last found blocks, oldest first, at most [`BLOCKS_LISTED_MAX`].
    pub fn listed(&self) -> impl ExactSizeIterator<Item = &BlockLine> {
        self.listed.iter()
    }

    /// Adds another book, for instance another front end's.
    pub fn merge(&mut self, other: &Self) {
        self.shares += other.shares;
        self.work += other.work;
        self.blocks += other.blocks;
        self.starts += other.starts;
        self.rejected += other.rejected;
        for (account, book) in &other.accounts {
            self.accounts.entry(*account).or_default().merge(book);
        }
        for (worker, book) in &other.workers {
            self.workers.entry(*worker).or_default().merge(book);
        }
        for line in &other.listed {
            self.list(line.clone());
        }
        self.money.merge(&other.money);
        self.window.merge(&other.window);
    }

    /// What blocks earned for whom, and what was paid.
    pub fn money(&self) -> &Money {
        &self.money
    }

    /// Who did the last work.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Forgets who did work that is older than the last `work` (expected hashes): see [`Window::keep`].
    pub fn keep_window(&mut self, work: u128) {
        self.window.keep(work);
    }

    /// Whether this book, kept by a running pool, is what the records say: `whole`, read from all of them, has a window that
    /// may go further back.
    pub fn agrees_with(&self, whole: &Self) -> bool {
        let sums = |book: &Self| Self {
            window: Window::default(),
            ..book.clone()
        };
        self.window.is_end_of(&whole.window) && sums(self) == sums(whole)
    }

    pub(crate) fn insert_window(&mut self, window: Window) {
        self.window = window;
    }

    pub(crate) fn money_mut(&mut self) -> &mut Money {
        &mut self.money
    }

    pub(crate) fn insert(&mut self, account: AccountId, book: AccountBook) {
        self.accounts.insert(account, book);
    }

    pub(crate) fn insert_worker(&mut self, worker: (AccountId, WorkerId), book: AccountBook) {
        self.workers.insert(worker, book);
    }

    pub(crate) fn list(&mut self, line: BlockLine) {
        if self.listed.len() == BLOCKS_LISTED_MAX {
            self.listed.pop_front();
        }
        self.listed.push_back(line);
    }

    fn share(&mut self, share: &Share) {
        self.shares += 1;
        self.work += u128::from(share.work);
        self.accounts.entry(share.account).or_default().share(share);
        self.window.share(share);
        if let Some(worker) = share.worker {
            self.workers
                .entry((share.account, worker))
                .or_default()
                .share(share);
        }
    }

    fn worker(&mut self, named: &WorkerNamed) {
        let name = &mut self
            .workers
            .entry((named.account, named.worker))
            .or_default()
            .name;
        *name = Name::default();
        (name.expected, name.seen) = (1, 1);
        let [first, ..] = &mut name.parts;
        first.extend_from_slice(named.name());
    }

    fn block(&mut self, found: BlockFound, time_us: u64) {
        self.blocks += 1;
        self.accounts.entry(found.account).or_default().blocks += 1;
        if let Some(worker) = found.worker {
            self.workers.entry((found.account, worker)).or_default().blocks += 1;
        }
        self.list(BlockLine {
            found,
            time_us,
            outcome: None,
        });
    }

    fn rejects(&mut self, rejects: &Rejects) {
        // Counts come from the journal, whose writers count one by one: they do not reach the end of 64 bits.
        self.rejected = self.rejected.saturating_add(rejects.count);
        let Some(account) = rejects.account else { return };
        let sums = self.accounts.entry(account).or_default();
        sums.rejected = sums.rejected.saturating_add(rejects.count);
        if let Some(worker) = rejects.worker {
            let sums = self.workers.entry((account, worker)).or_default();
            sums.rejected = sums.rejected.saturating_add(rejects.count);
        }
    }

    fn payout(&mut self, payout: &Payout) {
        self.money.payout(payout);
        let sums = self.accounts.entry(payout.account).or_default();
        let sum = match payout.state {
            PayoutState::Sent => &mut sums.paid,
            PayoutState::Cancelled => &mut sums.unpaid,
            PayoutState::Planned | PayoutState::Confirmed => return,
        };
        *sum = sum.saturating_add(payout.satoshis);
    }

    fn outcome(&mut self, note: OutcomeNote) {
        self.money.outcome(&note);
        if let Some(line) = self
            .listed
            .iter_mut()
            .rev()
            .find(|line| line.found.hash == note.hash)
        {
            line.outcome = Some(note);
        }
    }
}

impl AccountBook {
    /// The account's name, once all its parts were read.
    pub fn name(&self) -> Option<String> {
        self.name
            .whole()
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn share(&mut self, share: &Share) {
        self.shares += 1;
        self.work += u128::from(share.work);
        self.first_us = self.first_us.min(share.time_us);
        self.last_us = self.last_us.max(share.time_us);
        self.best_work = self.best_work.max(share.work);
        self.best_hash = smaller(self.best_hash, share.hash);
    }

    fn merge(&mut self, other: &Self) {
        self.shares += other.shares;
        self.work += other.work;
        self.blocks += other.blocks;
        self.rejected += other.rejected;
        self.paid += other.paid;
        self.unpaid += other.unpaid;
        self.first_us = self.first_us.min(other.first_us);
        self.last_us = self.last_us.max(other.last_us);
        self.best_work = self.best_work.max(other.best_work);
        self.best_hash = smaller(self.best_hash, other.best_hash);
        if self.name.whole().is_none() {
            self.name = other.name.clone();
        }
    }
}

impl Name {
    fn learn(&mut self, part: &AccountPart) {
        if part.parts != self.expected {
            *self = Self {
                expected: part.parts,
                ..Self::default()
            };
        }
        if let Some(slot) = self.parts.get_mut(usize::from(part.part)) {
            slot.clear();
            slot.extend_from_slice(&part.chunk()[..part.chunk().len().min(PART_BYTES)]);
            self.seen |= 1 << part.part;
        }
    }

    /// All bytes, when every part was seen.
    pub(crate) fn whole(&self) -> Option<Vec<u8>> {
        let all = (1u8 << self.expected.min(NAME_PARTS_MAX)) - 1;
        (self.expected > 0 && self.seen == all).then(|| self.parts.concat())
    }
}

/// The smaller of two little-endian numbers.
fn smaller(a: Hash, b: Hash) -> Hash {
    if a.iter().rev().lt(b.iter().rev()) { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::account_parts;

    fn record(entry: Entry) -> Record {
        Record::alone(5, entry)
    }

    #[test]
    fn a_name_is_whole_when_all_its_parts_were_read() {
        let name = "ä".repeat(120);
        let mut book = Book::default();
        let parts: Vec<_> = account_parts([1; 16], &name).collect();
        for part in &parts {
            assert_eq!(book.account(&[1; 16]).and_then(AccountBook::name), None);
            book.apply(&record(Entry::Account(*part)));
        }
        assert_eq!(book.account(&[1; 16]).and_then(AccountBook::name), Some(name));
    }

    /// A worker's sums are a part of its account's, and the same name under another account is another worker.
    #[test]
    fn workers_are_counted_beside_their_accounts() {
        let share = |account, worker| Share {
            account: [account; 16],
            worker,
            hash: [9; 32],
            work: 5,
            channel: 1,
            time_us: 7,
            ntime: 0,
            nonce: 0,
            version: 0,
            height: 0,
            is_block: false,
            solo: false,
        };
        let mut book = Book::default();
        book.apply(&record(Entry::Worker(WorkerNamed::new([1; 16], [7; 16], "rig"))));
        for (account, worker) in [
            (1, Some([7; 16])),
            (1, None),
            (2, Some([7; 16])),
            (1, Some([7; 16])),
        ] {
            book.apply(&record(Entry::Share(share(account, worker))));
        }
        let mut twice = book.clone();
        twice.merge(&book);
        for (book, times) in [(&book, 1), (&twice, 2)] {
            let account = book.account(&[1; 16]).unwrap();
            let worker = book.worker_of(&[1; 16], &[7; 16]).unwrap();
            assert_eq!(
                (account.shares, account.work),
                (3 * times, 15 * u128::from(times))
            );
            assert_eq!((worker.shares, worker.work), (2 * times, 10 * u128::from(times)));
            assert_eq!(worker.name().as_deref(), Some("rig"));
            let other = book.worker_of(&[2; 16], &[7; 16]).unwrap();
            assert_eq!((other.shares, other.name()), (times, None));
            assert_eq!(
                (book.shares, book.workers().len(), book.accounts().len()),
                (4 * times, 2, 2)
            );
        }
    }

    #[test]
    fn the_smaller_hash_is_decided_by_its_last_bytes() {
        let (mut a, mut b) = ([0; 32], [0xff; 32]);
        (a[31], b[31]) = (1, 0);
        assert_eq!(smaller(a, b), b);
    }

    #[test]
    fn the_list_of_blocks_is_bounded_and_the_count_is_not() {
        let found = BlockFound {
            hash: [0; 32],
            height: 1,
            value: 2,
            account: [1; 16],
            channel: 3,
            worker: None,
        };
        let mut book = Book::default();
        for _ in 0..BLOCKS_LISTED_MAX + 5 {
            book.apply(&record(Entry::Block(found)));
        }
        assert_eq!(
            (book.listed().len(), book.blocks),
            (BLOCKS_LISTED_MAX, BLOCKS_LISTED_MAX as u64 + 5)
        );
    }
}
