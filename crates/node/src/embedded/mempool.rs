//! Transactions that wait for a block, each checked against the tip and those before it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bitcoin::{OutPoint, Transaction, Txid, Wtxid};

use super::chain::{Chain, Change};
use super::check;
use super::coins::{self, Coin};
use super::{BlockError, rules};

/// Unconfirmed transactions that a transaction may depend on, itself included.
const ANCESTORS_MAX: usize = 25;

/// One waiting transaction.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) tx: Arc<Transaction>,
    pub(super) txid: Txid,
    /// Satoshis.
    pub(super) fee: u64,
    /// Weight units.
    pub(super) weight: u64,
    /// Cost of its signature operations.
    pub(super) sigops: u64,
    /// Arrival numbers of the waiting transactions it spends.
    pub(super) parents: Vec<u64>,
}

/// Why a transaction does not get in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It could not stand in the next block.
    Invalid(BlockError),
    /// It spends what a waiting transaction spends, or hangs on too many of them.
    Crowded,
}

/// The waiting transactions, in order of arrival: parents before children.
#[derive(Debug, Default)]
pub(super) struct Mempool {
    waiting: BTreeMap<u64, Waiting>,
    by_txid: HashMap<Txid, u64>,
    spent: HashSet<OutPoint>,
    next: u64,
}

impl Mempool {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&u64, &Waiting)> {
        self.waiting.iter()
    }

    pub(super) fn waiting(&self, arrival: u64) -> Option<&Waiting> {
        self.waiting.get(&arrival)
    }

    /// Those of `wanted` that wait.
    pub(super) fn by_wtxid<'a>(
        &'a self,
        wanted: &'a HashSet<Wtxid>,
    ) -> impl Iterator<Item = (Wtxid, &'a Transaction)> {
        let all = self.waiting.values().map(|waiting| waiting.tx.as_ref());
        all.map(|tx| (tx.compute_wtxid(), tx))
            .filter(|(wtxid, _)| wanted.contains(wtxid))
    }

    /// What a next transaction could spend: unspent in the chain and here.
    pub(super) fn coin(&self, chain: &Chain, point: &OutPoint) -> Option<Coin> {
        if self.spent.contains(point) {
            return None;
        }
        self.any_coin(chain, point)
    }

    /// Checks a transaction in full and takes it.
    pub(super) fn add(&mut self, chain: &Chain, tx: Transaction) -> Result<(), Refusal> {
        check::transaction(&tx).map_err(Refusal::Invalid)?;
        let spent = self.coins_of(chain, &tx)?;
        let place = chain.next_place();
        if !check::is_final(&tx, &place) {
            return Err(Refusal::Invalid(BlockError::NonFinal));
        }
        let median_at = |height| chain.median_time_at(height);
        let fee = coins::spend(&tx, &spent, &place, &median_at).map_err(Refusal::Invalid)?;
        self.insert(Arc::new(tx), fee, &spent)
    }

    /// Drops what no longer fits after the chain changed and takes back what it gave up.
    /// True when a transaction was lost to another that spends the same.
    pub(super) fn follow(&mut self, chain: &Chain, change: &Change) -> bool {
        let confirmed: HashSet<Txid> = change
            .connected
            .iter()
            .flat_map(|block| block.txdata.iter().skip(1).map(|tx| tx.compute_txid()))
            .collect();
        let old = std::mem::take(self);
        self.next = old.next;
        for block in &change.disconnected {
            for tx in block.txdata.iter().skip(1) {
                if !confirmed.contains(&tx.compute_txid()) {
                    // One that spends a coinbase given up, or is not final yet, is gone.
                    let _ = self.add(chain, tx.clone());
                }
            }
        }
        let mut lost = false;
        for waiting in old.waiting.into_values() {
            if !confirmed.contains(&waiting.txid) {
                lost |= self.keep(chain, &waiting).is_err();
            }
        }
        lost
    }

    /// Drops the transaction with the lowest fee that none depends on, and gives it.
    pub(super) fn evict(&mut self) -> Option<Arc<Transaction>> {
        let parents: HashSet<u64> = self
            .waiting
            .values()
            .flat_map(|waiting| waiting.parents.iter().copied())
            .collect();
        let leaves = self
            .waiting
            .iter()
            .filter(|(arrival, _)| !parents.contains(arrival));
        let (arrival, _) = leaves.min_by_key(|(_, waiting)| waiting.fee)?;
        let waiting = self.waiting.remove(&arrival.clone())?;
        self.by_txid.remove(&waiting.txid);
        for input in &waiting.tx.input {
            self.spent.remove(&input.previous_output);
        }
        Some(waiting.tx)
    }

    /// Every waiting transaction this one hangs on and itself, in order of arrival.
    pub(super) fn ancestors(&self, arrival: u64) -> Vec<u64> {
        let mut found = std::collections::BTreeSet::new();
        let mut open = vec![arrival];
        while let Some(next) = open.pop() {
            if let Some(waiting) = self.waiting.get(&next)
                && found.insert(next)
            {
                open.extend(&waiting.parents);
            }
        }
        found.into_iter().collect()
    }

    /// Takes one that was checked before; its scripts cannot have become wrong.
    fn keep(&mut self, chain: &Chain, waiting: &Waiting) -> Result<(), Refusal> {
        let spent = self.coins_of(chain, &waiting.tx)?;
        let place = chain.next_place();
        let immature = spent
            .iter()
            .any(|coin| coin.coinbase && place.height.saturating_sub(coin.height) < rules::COINBASE_MATURITY);
        if immature || !check::is_final(&waiting.tx, &place) {
            return Err(Refusal::Invalid(BlockError::NonFinal));
        }
        self.insert(waiting.tx.clone(), waiting.fee, &spent)
    }

    fn insert(&mut self, tx: Arc<Transaction>, fee: u64, spent: &[Coin]) -> Result<(), Refusal> {
        let txid = tx.compute_txid();
        let mut parents: Vec<u64> = tx
            .input
            .iter()
            .filter_map(|input| self.by_txid.get(&input.previous_output.txid).copied())
            .collect();
        parents.sort_unstable();
        parents.dedup();
        let above: HashSet<u64> = parents.iter().flat_map(|p| self.ancestors(*p)).collect();
        if above.len() >= ANCESTORS_MAX || self.by_txid.contains_key(&txid) {
            return Err(Refusal::Crowded);
        }
        let arrival = self.next;
        self.next += 1;
        self.spent
            .extend(tx.input.iter().map(|input| input.previous_output));
        self.by_txid.insert(txid, arrival);
        let weight = tx.weight().to_wu();
        let sigops = coins::sigop_cost(&tx, spent);
        self.waiting.insert(
            arrival,
            Waiting {
                tx,
                txid,
                fee,
                weight,
                sigops,
                parents,
            },
        );
        Ok(())
    }

    fn coins_of(&self, chain: &Chain, tx: &Transaction) -> Result<Vec<Coin>, Refusal> {
        let mut coins = Vec::with_capacity(tx.input.len());
        for input in &tx.input {
            let point = input.previous_output;
            if self.spent.contains(&point) {
                return Err(Refusal::Crowded);
            }
            let missing = Refusal::Invalid(BlockError::MissingOrSpent(point));
            coins.push(self.any_coin(chain, &point).ok_or(missing)?);
        }
        Ok(coins)
    }

    fn any_coin(&self, chain: &Chain, point: &OutPoint) -> Option<Coin> {
        if let Some(coin) = chain.coin(point) {
            return Some(coin.clone());
        }
        let waiting = self.waiting.get(self.by_txid.get(&point.txid)?)?;
        let output = waiting.tx.output.get(usize::try_from(point.vout).ok()?)?.clone();
        Some(Coin {
            output,
            height: chain.height().saturating_add(1),
            coinbase: false,
        })
    }
}
