//! What a batch of records changes: a pure sum, made before the database is asked for anything.
//!
//! There is no row for a share: at 5,000 shares a second that would be 430 million a day, each of which the journal has
//! already. A share adds to the sums of the pool, its account and its worker, and to the history of all three.

use std::collections::{BTreeMap, HashMap};

use adit_ledger::record::{
    AccountPart, BlockFound, Hash, OutcomeNote, Payout, PayoutState, Rejects, SessionClosed, SessionOpened,
    Start,
};
use adit_ledger::{AccountBook, AccountId, Book, Entry, Record, Share, WorkerId};

/// Stands for the pool among accounts and for the account among its workers.
pub(super) const ALL: [u8; 16] = [0; 16];
/// Seconds of the steps in which history is kept, finest first.
pub const RESOLUTIONS: [u64; 3] = [60, 600, 3_600];
/// Seconds of a day.
pub(super) const DAY_S: u64 = 86_400;

/// Whose sum: the pool, an account, or a worker.
pub(super) type Key = (AccountId, WorkerId);

/// A sum, as [`AccountBook`] has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Accepted shares.
    pub shares: u64,
    /// Their expected hashes.
    pub work: u128,
    /// Time of the first share, Unix microseconds; `u64::MAX` before there is one.
    pub first_us: u64,
    /// Time of the last share; 0 before there is one.
    pub last_us: u64,
    /// The hardest target met, in expected hashes.
    pub best_work: u64,
    /// The smallest header hash, highest byte first; all ones before there is a share.
    pub best_hash: Hash,
    /// When that was found; 0 where it is not known.
    pub best_us: u64,
    /// Expected hashes of the target that it met, and the height that it worked on.
    pub(super) best_share: (u64, u32),
    /// Blocks found.
    pub blocks: u64,
    /// Refused shares.
    pub rejected: u64,
    /// Payouts sent, satoshis.
    pub paid: u64,
    /// Those of them that will never confirm.
    pub unpaid: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            shares: 0,
            work: 0,
            first_us: u64::MAX,
            last_us: 0,
            best_work: 0,
            best_hash: [0xff; 32],
            best_us: 0,
            best_share: (0, 0),
            blocks: 0,
            rejected: 0,
            paid: 0,
            unpaid: 0,
        }
    }
}

impl Tally {
    /// The sums of a book.
    pub(super) fn of(sums: &AccountBook) -> Self {
        Self {
            shares: sums.shares,
            work: sums.work,
            first_us: sums.first_us,
            last_us: sums.last_us,
            best_work: sums.best_work,
            best_hash: turned(sums.best_hash),
            blocks: sums.blocks,
            rejected: sums.rejected,
            paid: sums.paid,
            unpaid: sums.unpaid,
            ..Self::default()
        }
    }

    fn share(&mut self, share: &Share) {
        self.add(&Self {
            shares: 1,
            work: u128::from(share.work),
            first_us: share.time_us,
            last_us: share.time_us,
            best_work: share.work,
            best_hash: turned(share.hash),
            best_us: share.time_us,
            best_share: (share.work, share.height),
            ..Self::default()
        });
    }

    /// Adds another sum.
    pub(super) fn add(&mut self, other: &Self) {
        self.shares += other.shares;
        self.work += other.work;
        self.first_us = self.first_us.min(other.first_us);
        self.last_us = self.last_us.max(other.last_us);
        self.best_work = self.best_work.max(other.best_work);
        if other.best_hash < self.best_hash {
            (self.best_hash, self.best_us, self.best_share) =
                (other.best_hash, other.best_us, other.best_share);
        }
        self.blocks += other.blocks;
        self.rejected = self.rejected.saturating_add(other.rejected);
        self.paid = self.paid.saturating_add(other.paid);
        self.unpaid = self.unpaid.saturating_add(other.unpaid);
    }
}

/// A hash with its highest byte first, so that bytes compare as numbers do.
pub(super) fn turned(mut hash: Hash) -> Hash {
    hash.reverse();
    hash
}

/// A session as far as a batch tells of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) opened: Option<SessionOpened>,
    pub(super) closed: Option<(u64, u8)>,
    pub(super) account: AccountId,
}

/// Ending of a session whose process was killed; the others are those of [`adit_ledger::record::Ending`].
pub(super) const KILLED: u8 = 0;

/// A block as far as a batch tells of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) found: Option<(BlockFound, u64)>,
    pub(super) outcome: Option<(OutcomeNote, u64)>,
}

/// All that a batch of records of one front end changes. Keys are in order, so that writers of the same rows never wait for
/// each other in a circle.
#[derive(Debug, Default)]
pub(super) struct Delta {
    pub(super) tallies: BTreeMap<Key, Tally>,
    /// By owner, resolution and start.
    pub(super) history: BTreeMap<(Key, u64, u64), (u64, u128)>,
    /// By owner, resolution, start and reason.
    pub(super) rejects: BTreeMap<(Key, u64, u64, String), u64>,
    /// By day and finder.
    pub(super) best: BTreeMap<(u64, Key), Tally>,
    pub(super) parts: BTreeMap<(AccountId, u8), AccountPart>,
    pub(super) workers: BTreeMap<Key, String>,
    /// By epoch and number.
    pub(super) sessions: BTreeMap<(u32, u64), Session>,
    /// A process began: what sessions before this epoch are open ended at that time.
    pub(super) restart: Option<(u32, u64)>,
    pub(super) blocks: BTreeMap<Hash, Block>,
    pub(super) payouts: BTreeMap<([u8; 16], AccountId), (Payout, u64)>,
    pub(super) starts: u64,
    pub(super) software: Option<String>,
    /// Of the last record.
    pub(super) last_us: u64,
    pub(super) epoch: u32,
    cells: HashMap<(Key, u64), Tally>,
}

impl Delta {
    /// Sums records up. `last_us` is the time of the record before them.
    pub(super) fn of(records: &[Record], last_us: u64) -> Self {
        let mut delta = Self {
            last_us,
            ..Self::default()
        };
        records.iter().for_each(|record| delta.record(record));
        delta.spread();
        delta
    }

    /// The sums of a book, of which no single record is known any more.
    pub(super) fn of_book(book: &Book) -> Self {
        let mut delta = Self {
            starts: book.starts,
            ..Self::default()
        };
        let mut pool = Tally::default();
        for (account, sums) in book.accounts() {
            let tally = Tally::of(sums);
            pool.add(&tally);
            delta.tallies.insert((*account, ALL), tally);
            let parts = sums
                .name()
                .into_iter()
                .flat_map(|name| adit_ledger::record::account_parts(*account, &name).collect::<Vec<_>>());
            delta
                .parts
                .extend(parts.map(|part| ((part.account, part.part), part)));
        }
        for ((account, worker), sums) in book.workers() {
            delta.tallies.insert((*account, *worker), Tally::of(sums));
            if let Some(name) = sums.name() {
                delta.workers.insert((*account, *worker), name);
            }
        }
        // Some refused shares are nobody's.
        pool.rejected = book.rejected;
        delta.tallies.insert((ALL, ALL), pool);
        for line in book.listed() {
            let outcome = line.outcome.map(|note| (note, line.time_us));
            let found = Some((line.found, line.time_us));
            delta
                .blocks
                .insert(turned(line.found.hash), Block { found, outcome });
        }
        delta
    }

    fn record(&mut self, record: &Record) {
        let at = record.time_us;
        match &record.entry {
            Entry::Share(share) => self.share(share),
            Entry::Account(part) => drop(self.parts.insert((part.account, part.part), *part)),
            Entry::Worker(named) => {
                let name = String::from_utf8_lossy(named.name()).into_owned();
                self.workers.insert((named.account, named.worker), name);
            }
            Entry::Block(block) => self.block(block, at),
            Entry::Outcome(note) => {
                self.blocks.entry(turned(note.hash)).or_default().outcome = Some((*note, at));
            }
            Entry::Session(opened) => self.opened(record.epoch, opened),
            Entry::Closed(closed) => self.closed(record.epoch, closed, at),
            Entry::Rejects(rejects) => self.refused(rejects, at),
            Entry::Payout(payout) => self.payout(payout, at),
            Entry::Start(start) => self.start(record.epoch, start),
            Entry::Custom(_) | Entry::Credit(_) | Entry::Stop => {}
        }
        // A session brings the time of its channel's opening.
        if !matches!(record.entry, Entry::Session(_)) {
            self.last_us = at;
        }
        self.epoch = self.epoch.max(record.epoch);
    }

    fn share(&mut self, share: &Share) {
        let owner = (share.account, share.worker.unwrap_or(ALL));
        let minute = step(share.time_us, RESOLUTIONS[0]);
        self.cells.entry((owner, minute)).or_default().share(share);
    }

    /// Shares were summed up by owner and minute: now by everything else.
    fn spread(&mut self) {
        for ((owner, minute), cell) in std::mem::take(&mut self.cells) {
            let day = minute / DAY_S;
            self.best.entry((day, owner)).or_default().add(&cell);
            for key in scopes(owner) {
                self.tallies.entry(key).or_default().add(&cell);
                for resolution in RESOLUTIONS {
                    let start = minute - minute % resolution;
                    let sum = self.history.entry((key, resolution, start)).or_default();
                    sum.0 += cell.shares;
                    sum.1 += cell.work;
                }
            }
        }
    }

    fn block(&mut self, block: &BlockFound, at: u64) {
        self.blocks.entry(turned(block.hash)).or_default().found = Some((*block, at));
        for key in scopes((block.account, block.worker.unwrap_or(ALL))) {
            self.tallies.entry(key).or_default().blocks += 1;
        }
    }

    fn refused(&mut self, rejects: &Rejects, at: u64) {
        let owner = (
            rejects.account.unwrap_or(ALL),
            rejects
                .worker
                .filter(|_| rejects.account.is_some())
                .unwrap_or(ALL),
        );
        for key in scopes(owner) {
            let tally = self.tallies.entry(key).or_default();
            tally.rejected = tally.rejected.saturating_add(rejects.count);
            for resolution in RESOLUTIONS {
                let cell = (key, resolution, step(at, resolution), rejects.reason());
                let sum = self.rejects.entry(cell).or_default();
                *sum = sum.saturating_add(rejects.count);
            }
        }
    }

    fn payout(&mut self, payout: &Payout, at: u64) {
        self.payouts.insert((payout.batch, payout.account), (*payout, at));
        for key in scopes((payout.account, ALL)) {
            let tally = self.tallies.entry(key).or_default();
            match payout.state {
                PayoutState::Sent => tally.paid = tally.paid.saturating_add(payout.satoshis),
                PayoutState::Cancelled => tally.unpaid = tally.unpaid.saturating_add(payout.satoshis),
                PayoutState::Planned | PayoutState::Confirmed => {}
            }
        }
    }

    fn opened(&mut self, epoch: u32, opened: &SessionOpened) {
        let session = self.sessions.entry((epoch, opened.session)).or_default();
        (session.opened, session.account) = (Some(*opened), opened.account);
    }

    fn closed(&mut self, epoch: u32, closed: &SessionClosed, at: u64) {
        let session = self.sessions.entry((epoch, closed.session)).or_default();
        (session.closed, session.account) = (Some((at, closed.ending as u8)), closed.account);
    }

    /// Whatever is open ended with the process before, no later than its last record.
    fn start(&mut self, epoch: u32, start: &Start) {
        self.starts += 1;
        self.software = Some(start.software());
        let ended = self.last_us;
        for ((of, _), session) in &mut self.sessions {
            if *of < epoch && session.closed.is_none() {
                session.closed = Some((ended, KILLED));
            }
        }
        self.restart = Some((epoch, self.restart.map_or(ended, |(_, first)| first)));
    }
}

/// Whose sums something belongs to: the pool's, the account's, and the worker's if there is one.
fn scopes(owner: Key) -> impl Iterator<Item = Key> {
    let (account, worker) = owner;
    let all = [
        Some((ALL, ALL)),
        (account != ALL).then_some((account, ALL)),
        (account != ALL && worker != ALL).then_some(owner),
    ];
    all.into_iter().flatten()
}

/// Beginning of the step that holds a time, in seconds.
fn step(at_us: u64, resolution: u64) -> u64 {
    let s = at_us / 1_000_000;
    s - s % resolution
}
