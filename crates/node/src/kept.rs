//! The templates that a solution may still come for, bounded in number, bytes and tips.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::{Template, TemplateId};

/// Most templates kept; each costs the node memory, too.
const KEPT_MAX: usize = 64;
/// Most bytes of transactions kept over all templates.
const KEPT_BYTES_MAX: usize = 256 << 20;
/// Templates are kept while at most this many tips have followed theirs: as long as a reorganisation
/// may make their block worth something.
const TIPS_MAX: u64 = 6;

/// Templates from the oldest to the newest. `R` is the node's own object for a template.
pub(crate) struct Store<R> {
    kept: VecDeque<Kept<R>>,
    /// Counts the tips seen.
    tip: u64,
    bytes: usize,
}

/// A template, what the node calls it while that connection lives, and its transactions once known.
#[derive(Clone)]
pub(crate) struct Kept<R> {
    pub(crate) template: Arc<Template>,
    pub(crate) remote: Option<R>,
    pub(crate) transactions: Option<Arc<Vec<Vec<u8>>>>,
    tip: u64,
    bytes: usize,
}

impl<R> Default for Store<R> {
    fn default() -> Self {
        Self {
            kept: VecDeque::new(),
            tip: 0,
            bytes: 0,
        }
    }
}

impl<R: Clone> Store<R> {
    /// Keeps a new template as the newest; returns those that the node may forget.
    pub(crate) fn insert(&mut self, template: Arc<Template>, remote: R) -> Vec<R> {
        // Templates for other constraints may come a little after a new tip has been seen.
        let mut from_newest = self.kept.iter().rev();
        let known = from_newest.find(|kept| kept.template.prev_hash == template.prev_hash);
        let tip = match known {
            Some(kept) if self.tip.saturating_sub(kept.tip) <= 1 => kept.tip,
            _ => {
                self.tip = self.tip.saturating_add(1);
                self.tip
            }
        };
        let kept = Kept {
            template,
            remote: Some(remote),
            transactions: None,
            tip,
            bytes: 0,
        };
        self.kept.push_back(kept);
        self.evict()
    }

    /// Notes the transactions of a template; returns those that the node may forget.
    pub(crate) fn learn(&mut self, id: TemplateId, transactions: &Arc<Vec<Vec<u8>>>) -> Vec<R> {
        if let Some(kept) = self.kept.iter_mut().find(|kept| kept.template.id == id) {
            let bytes: usize = transactions.iter().map(Vec::len).sum();
            self.bytes = self.bytes.saturating_sub(kept.bytes).saturating_add(bytes);
            (kept.bytes, kept.transactions) = (bytes, Some(Arc::clone(transactions)));
        }
        self.evict()
    }

    pub(crate) fn find(&self, id: TemplateId) -> Option<Kept<R>> {
        self.kept
            .iter()
            .rev()
            .find(|kept| kept.template.id == id)
            .cloned()
    }

    /// The connection is gone: the node's objects with it, our copies stay.
    pub(crate) fn disconnect(&mut self) -> Vec<R> {
        self.kept
            .iter_mut()
            .filter_map(|kept| kept.remote.take())
            .collect()
    }

    /// Drops from the oldest on, but never the newest.
    fn evict(&mut self) -> Vec<R> {
        let mut dropped = Vec::new();
        while self.kept.len() > 1 {
            let stale = self
                .kept
                .front()
                .is_some_and(|oldest| self.tip.saturating_sub(oldest.tip) > TIPS_MAX);
            if !(stale || self.kept.len() > KEPT_MAX || self.bytes > KEPT_BYTES_MAX) {
                break;
            }
            if let Some(oldest) = self.kept.pop_front() {
                self.bytes = self.bytes.saturating_sub(oldest.bytes);
                dropped.extend(oldest.remote);
            }
        }
        dropped
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use bitcoin::hashes::Hash;
    use bitcoin::{BlockHash, CompactTarget};

    use super::*;

    pub(crate) fn template(id: u64, tip: u8) -> Template {
        Template {
            id: TemplateId(id),
            constraints: crate::Constraints::default(),
            height: u32::from(tip),
            prev_hash: BlockHash::from_byte_array([tip; 32]),
            version: 0x2000_0000,
            nbits: CompactTarget::from_consensus(0x207f_ffff),
            header_timestamp: 1_700_000_000,
            min_ntime: 1_700_000_000,
            coinbase_tx_version: 2,
            coinbase_prefix: vec![1, tip],
            coinbase_tx_input_sequence: 0xffff_fffe,
            coinbase_tx_value_remaining: 5_000_000_000,
            coinbase_tx_outputs: Vec::new(),
            coinbase_tx_locktime: 0,
            coinbase_witness: None,
            target: None,
            merkle_path: Vec::new(),
            transaction_count: None,
            fees: None,
        }
    }

    fn ids(store: &Store<u64>) -> Vec<u64> {
        store.kept.iter().map(|kept| kept.template.id.0).collect()
    }

    #[test]
    fn templates_stay_for_six_tips() {
        let mut store = Store::default();
        for tip in 0..7 {
            assert!(
                store
                    .insert(Arc::new(template(u64::from(tip), tip)), u64::from(tip))
                    .is_empty()
            );
        }
        assert_eq!(store.insert(Arc::new(template(7, 7)), 7), [0]);
        assert_eq!(ids(&store), [1, 2, 3, 4, 5, 6, 7]);
        assert!(store.find(TemplateId(0)).is_none());
    }

    #[test]
    fn number_and_bytes_are_bounded_but_the_newest_stays() {
        let mut store = Store::default();
        for id in 0..100 {
            store.insert(Arc::new(template(id, 1)), id);
        }
        assert_eq!((ids(&store).len(), ids(&store).last()), (KEPT_MAX, Some(&99)));
        let half = Arc::new(vec![vec![0; KEPT_BYTES_MAX / 2 + 1]]);
        assert!(store.learn(TemplateId(98), &half).is_empty());
        assert_eq!(store.learn(TemplateId(99), &half).len(), KEPT_MAX - 1);
        assert_eq!(ids(&store), [99]);
        assert_eq!(store.bytes, KEPT_BYTES_MAX / 2 + 1);
    }

    #[test]
    fn a_lost_connection_leaves_our_copies() {
        let mut store = Store::default();
        store.insert(Arc::new(template(1, 1)), 1);
        store.learn(TemplateId(1), &Arc::new(vec![vec![1, 2]]));
        assert_eq!(store.disconnect(), [1]);
        let kept = store.find(TemplateId(1)).unwrap();
        assert!(kept.remote.is_none() && kept.transactions.is_some());
    }
}
