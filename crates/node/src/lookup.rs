//! Transactions looked up by their witness ids: what was asked for, what was found, and what recent templates hold.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bitcoin::consensus::deserialize;
use bitcoin::{Transaction, Wtxid};

use crate::{Found, SubmitError, TRANSACTIONS_BYTES_MAX};

/// Templates whose transactions are remembered; with a block's worth of bytes each.
const SETS_MAX: usize = 4;

/// One question and its answer so far. Bounded in bytes: who asks for more than a block holds is told so.
pub(crate) struct Lookup {
    wanted: Vec<Wtxid>,
    found: HashMap<Wtxid, Vec<u8>>,
    bytes: usize,
}

impl Lookup {
    pub(crate) fn new(wanted: Vec<Wtxid>) -> Self {
        Self {
            wanted,
            found: HashMap::new(),
            bytes: 0,
        }
    }

    /// What is not found yet, in the order asked.
    pub(crate) fn missing(&self) -> Vec<Wtxid> {
        let missing = self
            .wanted
            .iter()
            .filter(|wtxid| !self.found.contains_key(*wtxid));
        missing.copied().collect()
    }

    /// One was found.
    pub(crate) fn fill(&mut self, wtxid: Wtxid, transaction: Vec<u8>) -> Result<(), SubmitError> {
        self.bytes = self.bytes.saturating_add(transaction.len());
        if self.bytes > TRANSACTIONS_BYTES_MAX {
            return Err(SubmitError::TooMuch);
        }
        self.found.insert(wtxid, transaction);
        Ok(())
    }

    /// The answer in the order asked. One that was asked for twice is given twice, and counted twice.
    pub(crate) fn finish(self) -> Result<Found, SubmitError> {
        let found = self.wanted.iter().map(|wtxid| self.found.get(wtxid));
        let bytes = found
            .clone()
            .flatten()
            .map(Vec::len)
            .fold(0, usize::saturating_add);
        if bytes > TRANSACTIONS_BYTES_MAX {
            return Err(SubmitError::TooMuch);
        }
        Ok(found.map(Option::<&Vec<u8>>::cloned).collect())
    }
}

/// A template's transactions, consensus encoded, in block order.
type Transactions = Arc<Vec<Vec<u8>>>;
/// Their places by witness id.
type Places = Arc<HashMap<Wtxid, usize>>;

/// The transactions of the last templates.
#[derive(Default)]
pub(crate) struct Recent(VecDeque<Set>);

struct Set {
    transactions: Transactions,
    /// Made when somebody asks for the first time: most sets are never asked for.
    places: Option<Places>,
}

impl Recent {
    pub(crate) fn learn(&mut self, transactions: &Transactions) {
        if self.0.len() >= SETS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Set {
            transactions: Arc::clone(transactions),
            places: None,
        });
    }

    /// Whether any transactions were ever learned.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Fills in what recent templates hold, the newest first.
pub(crate) async fn in_templates(recent: &RefCell<Recent>, lookup: &mut Lookup) -> Result<(), SubmitError> {
    let sets: Vec<Transactions> = recent
        .borrow()
        .0
        .iter()
        .rev()
        .map(|set| Arc::clone(&set.transactions))
        .collect();
    for transactions in sets {
        let missing = lookup.missing();
        if missing.is_empty() {
            return Ok(());
        }
        let places = places(recent, &transactions).await;
        for wtxid in missing {
            if let Some(bytes) = places.get(&wtxid).and_then(|place| transactions.get(*place)) {
                lookup.fill(wtxid, bytes.clone())?;
            }
        }
    }
    Ok(())
}

async fn places(recent: &RefCell<Recent>, transactions: &Transactions) -> Places {
    let of = |set: &&Set| Arc::ptr_eq(&set.transactions, transactions);
    let known = recent
        .borrow()
        .0
        .iter()
        .find(of)
        .and_then(|set| set.places.clone());
    if let Some(places) = known {
        return places;
    }
    let all = Arc::clone(transactions);
    // Megabytes are hashed elsewhere: a new tip must not wait for that.
    let made = tokio::task::spawn_blocking(move || Arc::new(index(&all))).await;
    let made = made.unwrap_or_default();
    let mut recent = recent.borrow_mut();
    if let Some(set) = recent
        .0
        .iter_mut()
        .find(|set| Arc::ptr_eq(&set.transactions, transactions))
    {
        set.places = Some(Arc::clone(&made));
    }
    made
}

fn index(transactions: &[Vec<u8>]) -> HashMap<Wtxid, usize> {
    let ids = transactions.iter().map(|bytes| wtxid(bytes)).enumerate();
    ids.filter_map(|(place, wtxid)| Some((wtxid?, place))).collect()
}

/// The witness id of an encoded transaction.
pub(crate) fn wtxid(transaction: &[u8]) -> Option<Wtxid> {
    let transaction: Transaction = deserialize(transaction).ok()?;
    Some(transaction.compute_wtxid())
}

#[cfg(test)]
mod tests {
    use bitcoin::Network;
    use bitcoin::consensus::serialize;
    use bitcoin::hashes::Hash;

    use super::*;

    #[test]
    fn answers_come_in_the_order_asked_and_never_longer_than_a_block() {
        let id = |number| Wtxid::from_byte_array([number; 32]);
        let mut lookup = Lookup::new(vec![id(2), id(1), id(3), id(2)]);
        lookup.fill(id(1), vec![1]).unwrap();
        lookup.fill(id(2), vec![2, 2]).unwrap();
        assert_eq!(lookup.missing(), [id(3)]);
        let answer = lookup.finish().unwrap();
        assert_eq!(answer, [Some(vec![2, 2]), Some(vec![1]), None, Some(vec![2, 2])]);

        let mut lookup = Lookup::new(vec![id(1), id(2)]);
        lookup.fill(id(1), vec![0; TRANSACTIONS_BYTES_MAX]).unwrap();
        assert_eq!(lookup.fill(id(2), vec![0]), Err(SubmitError::TooMuch));
        let mut twice = Lookup::new(vec![id(1), id(1)]);
        twice
            .fill(id(1), vec![0; TRANSACTIONS_BYTES_MAX / 2 + 1])
            .unwrap();
        assert_eq!(twice.finish(), Err(SubmitError::TooMuch));
    }

    #[tokio::test]
    async fn the_last_templates_are_searched() {
        let genesis = bitcoin::constants::genesis_block(Network::Regtest);
        let transaction = |number| {
            let mut transaction = genesis.txdata.first().unwrap().clone();
            transaction.lock_time = bitcoin::absolute::LockTime::from_consensus(number);
            (transaction.compute_wtxid(), serialize(&transaction))
        };
        let recent = RefCell::new(Recent::default());
        for number in 0..=SETS_MAX as u32 {
            recent.borrow_mut().learn(&Arc::new(vec![transaction(number).1]));
        }
        let (gone, _) = transaction(0);
        for _ in 0..2 {
            let wanted = vec![gone, transaction(1).0, transaction(SETS_MAX as u32).0];
            let mut lookup = Lookup::new(wanted);
            in_templates(&recent, &mut lookup).await.unwrap();
            let answer = lookup.finish().unwrap();
            let expected = [None, Some(transaction(1).1), Some(transaction(SETS_MAX as u32).1)];
            assert_eq!(answer, expected);
        }
    }
}
