//! Money in the book: what blocks earned for whom, and what was paid.
//!
//! A block counts from when all its credits are here, until it is refused or loses its place in the chain; once
//! [`MATURITY`] blocks stand on it, what it earned may be spent, and it is folded into the sums. Of each block the sums of
//! earned and received are equal, so that all balances are zero together, before batches of payments.

mod batch;

use std::collections::{BTreeMap, HashMap, VecDeque};

pub use batch::{Batch, BatchId, Batches, LINES_KEPT_MAX};

use crate::record::{AccountId, Credit, Hash, Outcome, OutcomeNote, Payout, PayoutState};

/// Blocks, its own included, that make the outputs of a coinbase spendable (consensus).
pub const MATURITY: u32 = 100;
/// Blocks whose credits are kept apart; with more, the oldest are held to be mature: only a chain for tests has them.
pub const OPEN_BLOCKS_MAX: usize = 4_096;
/// Folded blocks that are remembered, so that their credits are not counted again.
const FOLDED_MAX: usize = 10_000;

/// What everybody has earned and received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Money {
    balances: HashMap<AccountId, Balance>,
    /// Blocks that are not mature, by height and hash.
    open: BTreeMap<(u32, Hash), OpenBlock>,
    folded: VecDeque<Hash>,
    batches: Batches,
}

/// Sums of one account, satoshis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Parts of the values of coinbases.
    pub earned_sat: u64,
    /// Outputs of coinbases.
    pub received_sat: u64,
    /// Batches of payments.
    pub paid_sat: u64,
}

/// The credits of a block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenBlock {
    lines: BTreeMap<u32, Credit>,
    outcome: Option<Outcome>,
}

impl Balance {
    /// Earned and not received; negative where more was received.
    pub fn owed_sat(&self) -> i64 {
        let signed = |sat: u64| i64::try_from(sat).unwrap_or(i64::MAX);
        signed(self.earned_sat)
            .saturating_sub(signed(self.received_sat))
            .saturating_sub(signed(self.paid_sat))
    }

    fn add(&mut self, credit: &Credit) {
        self.earned_sat = self.earned_sat.saturating_add(credit.earned_sat);
        self.received_sat = self.received_sat.saturating_add(credit.received_sat);
    }

    fn merge(&mut self, other: &Self) {
        self.earned_sat = self.earned_sat.saturating_add(other.earned_sat);
        self.received_sat = self.received_sat.saturating_add(other.received_sat);
        self.paid_sat = self.paid_sat.saturating_add(other.paid_sat);
    }
}

impl OpenBlock {
    /// Whether all lines are here.
    pub fn is_whole(&self) -> bool {
        let first = self.lines.values().next();
        first.is_some_and(|first| self.lines.len() as u64 == u64::from(first.lines))
    }

    /// Whether it counts: whole, and neither refused nor without its place.
    pub fn counts(&self) -> bool {
        self.is_whole() && !matches!(self.outcome, Some(Outcome::Rejected | Outcome::Stale))
    }

    /// The last that is known of it.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// Its credits, in their order.
    pub fn credits(&self) -> impl Iterator<Item = &Credit> {
        self.lines.values()
    }
}

impl Money {
    pub(crate) fn credit(&mut self, credit: &Credit) {
        if self.folded.contains(&credit.block) {
            return;
        }
        let block = self.open.entry((credit.height, credit.block)).or_default();
        block.lines.insert(credit.line, *credit);
        while self.open.len() > OPEN_BLOCKS_MAX {
            self.fold_oldest();
        }
    }

    pub(crate) fn outcome(&mut self, note: &OutcomeNote) {
        let key = (note.height, note.hash);
        let Some(block) = self.open.get_mut(&key) else {
            return;
        };
        block.outcome = Some(note.outcome);
        if note.outcome == Outcome::Confirmed && note.confirmations >= MATURITY {
            self.fold(key);
        }
    }

    /// A step of a batch: what is sent is paid, what is cancelled is owed again.
    pub(crate) fn payout(&mut self, payout: &Payout) {
        self.batches.note(payout);
        let paid = &mut self.balances.entry(payout.account).or_default().paid_sat;
        match payout.state {
            PayoutState::Sent => *paid = paid.saturating_add(payout.satoshis),
            PayoutState::Cancelled => *paid = paid.saturating_sub(payout.satoshis),
            PayoutState::Planned | PayoutState::Confirmed => {}
        }
    }

    /// The batches of payments.
    pub fn batches(&self) -> &Batches {
        &self.batches
    }

    /// Whether all credits of a block were counted already.
    pub fn knows(&self, height: u32, block: &Hash) -> bool {
        self.folded.contains(block) || self.open.get(&(height, *block)).is_some_and(OpenBlock::is_whole)
    }

    /// What an account has earned and not received, in all blocks that count.
    pub fn carry_sat(&self, account: &AccountId) -> i64 {
        self.carries().get(account).copied().unwrap_or(0)
    }

    /// The same of all accounts that it is not zero for.
    pub fn carries(&self) -> HashMap<AccountId, i64> {
        let mut carries: HashMap<AccountId, i64> = self
            .balances
            .iter()
            .map(|(account, balance)| (*account, balance.owed_sat()))
            .collect();
        for credit in self.counting() {
            let mut balance = Balance::default();
            balance.add(credit);
            let carry = carries.entry(credit.account).or_default();
            *carry = carry.saturating_add(balance.owed_sat());
        }
        carries.retain(|_, carry| *carry != 0);
        carries
    }

    /// What mature blocks earned and paid, by account.
    pub fn mature(&self) -> impl ExactSizeIterator<Item = (&AccountId, &Balance)> {
        self.balances.iter()
    }

    /// What blocks that are not mature have earned for an account and not paid.
    pub fn immature_sat(&self, account: &AccountId) -> i64 {
        let of_account = self.counting().filter(|credit| credit.account == *account);
        let mut balance = Balance::default();
        of_account.for_each(|credit| balance.add(credit));
        balance.owed_sat()
    }

    /// Blocks that are not mature, lowest first.
    pub fn open(&self) -> impl Iterator<Item = (u32, &Hash, &OpenBlock)> {
        self.open
            .iter()
            .map(|((height, hash), block)| (*height, hash, block))
    }

    /// Adds the money of another book.
    pub fn merge(&mut self, other: &Self) {
        for (account, balance) in &other.balances {
            self.balances.entry(*account).or_default().merge(balance);
        }
        for (key, block) in &other.open {
            self.open.insert(*key, block.clone());
        }
        self.folded.extend(&other.folded);
        self.forget_folded();
        self.batches.merge(&other.batches);
    }

    fn counting(&self) -> impl Iterator<Item = &Credit> {
        let counting = self.open.values().filter(|block| block.counts());
        counting.flat_map(OpenBlock::credits)
    }

    fn fold_oldest(&mut self) {
        if let Some(key) = self.open.first_key_value().map(|(key, _)| *key) {
            self.fold(key);
        }
    }

    fn fold(&mut self, key: (u32, Hash)) {
        let Some(block) = self.open.remove(&key) else {
            return;
        };
        if block.counts() {
            for credit in block.credits() {
                self.balances.entry(credit.account).or_default().add(credit);
            }
        }
        self.folded.push_back(key.1);
        self.forget_folded();
        // What lost its place so deep below will not get it back.
        let lost = |(height, _): &(u32, Hash), block: &OpenBlock| *height < key.0 && !block.counts();
        self.open.retain(|key, block| !lost(key, block));
    }

    fn forget_folded(&mut self) {
        while self.folded.len() > FOLDED_MAX {
            self.folded.pop_front();
        }
    }

    pub(crate) fn parts(&self) -> Parts<'_> {
        Parts {
            balances: &self.balances,
            open: &self.open,
            folded: &self.folded,
        }
    }

    pub(crate) fn insert_balance(&mut self, account: AccountId, balance: Balance) {
        self.balances.insert(account, balance);
    }

    pub(crate) fn insert_open(&mut self, key: (u32, Hash), outcome: Option<Outcome>, lines: Vec<Credit>) {
        let lines = lines.into_iter().map(|credit| (credit.line, credit)).collect();
        self.open.insert(key, OpenBlock { lines, outcome });
    }

    pub(crate) fn batches_mut(&mut self) -> &mut Batches {
        &mut self.batches
    }

    pub(crate) fn insert_folded(&mut self, hash: Hash) {
        self.folded.push_back(hash);
    }
}

/// Everything of [`Money`], to be written down.
pub(crate) struct Parts<'a> {
    pub(crate) balances: &'a HashMap<AccountId, Balance>,
    pub(crate) open: &'a BTreeMap<(u32, Hash), OpenBlock>,
    pub(crate) folded: &'a VecDeque<Hash>,
}
