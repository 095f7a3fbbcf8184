//! Transactions of the last declared jobs, so that the node is not asked again for what everybody has.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use adit_proto::declare::Transaction;

/// Tips after which a transaction that no job named goes.
const TIPS: u8 = 2;

/// Transactions that the node gave or has checked; nothing else gets in. Their bytes are counted in the budget from
/// which they were taken, whoever holds them.
#[derive(Debug)]
pub(super) struct Cache {
    bytes_max: usize,
    bytes: usize,
    known: HashMap<[u8; 32], Entry>,
    /// Oldest first; may name what is gone.
    order: VecDeque<[u8; 32]>,
}

#[derive(Debug)]
struct Entry {
    transaction: Arc<Transaction>,
    tips_left: u8,
}

impl Cache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            bytes: 0,
            known: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    pub(super) fn find(&mut self, wtxid: &[u8; 32]) -> Option<Arc<Transaction>> {
        let entry = self.known.get_mut(wtxid)?;
        entry.tips_left = TIPS;
        Some(Arc::clone(&entry.transaction))
    }

    pub(super) fn keep(&mut self, transaction: &Arc<Transaction>) {
        let entry = Entry {
            transaction: Arc::clone(transaction),
            tips_left: TIPS,
        };
        if self.known.insert(*transaction.wtxid(), entry).is_some() {
            return;
        }
        self.order.push_back(*transaction.wtxid());
        self.bytes += transaction.counted();
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.forget(&oldest);
        }
    }

    /// Another tip: what no job has named for a while goes.
    pub(super) fn turn(&mut self) {
        let mut gone = Vec::new();
        for (wtxid, entry) in &mut self.known {
            match entry.tips_left.checked_sub(1) {
                Some(left) => entry.tips_left = left,
                None => gone.push(*wtxid),
            }
        }
        gone.iter().for_each(|wtxid| self.forget(wtxid));
        let known = &self.known;
        self.order.retain(|wtxid| known.contains_key(wtxid));
    }

    /// Everything goes: others need the bytes more.
    pub(super) fn clear(&mut self) {
        self.known.clear();
        self.order.clear();
        self.bytes = 0;
    }

    fn forget(&mut self, wtxid: &[u8; 32]) {
        if let Some(entry) = self.known.remove(wtxid) {
            self.bytes -= entry.transaction.counted();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_proto::declare::Budget;
    use bitcoin::hashes::Hash;
    use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, TxIn, TxOut, Txid, Witness, absolute, transaction};

    fn some(n: u8, budget: &Budget) -> Arc<Transaction> {
        let tx = bitcoin::Transaction {
            version: transaction::Version::TWO,
            lock_time: absolute::LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint::new(Txid::from_byte_array([n; 32]), 0),
                script_sig: ScriptBuf::new(),
                sequence: Sequence::MAX,
                witness: Witness::new(),
            }],
            output: vec![TxOut {
                value: Amount::from_sat(1),
                script_pubkey: ScriptBuf::from_bytes(vec![0x51; 40]),
            }],
        };
        Arc::new(Transaction::read(&bitcoin::consensus::serialize(&tx), budget).unwrap())
    }

    #[test]
    fn the_cache_holds_what_it_may_and_forgets_what_nobody_names() {
        let budget = Budget::new(1 << 20);
        let one = some(0, &budget).counted();
        let mut cache = Cache::new(3 * one);
        for n in 0..5 {
            cache.keep(&some(n, &budget));
        }
        assert_eq!(
            (cache.known.len(), cache.bytes, budget.used()),
            (3, 3 * one, 3 * one)
        );
        let named = *some(4, &budget).wtxid();
        for _ in 0..5 {
            assert!(cache.find(&named).is_some());
            cache.turn();
        }
        assert_eq!((cache.known.len(), cache.order.len(), budget.used()), (1, 1, one));
        cache.clear();
        assert_eq!(budget.used(), 0);
    }
}
