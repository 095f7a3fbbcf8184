//! The templates of the last tips with their transactions, for those who ask for them and for blocks found late.

use std::collections::VecDeque;
use std::sync::Arc;

use adit_node::{Constraints, Template, TemplateId};
use adit_proto::template::server::TIPS_MAX;

/// Templates kept, of all groups together.
const TEMPLATES_MAX: usize = 1024;
/// Bytes of transactions kept.
const BYTES_MAX: usize = 256 << 20;

/// Transactions but the coinbase, in block order, each consensus encoded with its witness.
pub(super) type Transactions = Arc<Vec<Vec<u8>>>;

/// A template of one of the last tips.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) template: Arc<Template>,
    /// They follow their template.
    pub(super) transactions: Option<Transactions>,
    bytes: usize,
    tip: u64,
}

/// The templates of the last tips, oldest first.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    kept: VecDeque<Kept>,
    tip: u64,
    bytes: usize,
}

impl Shelf {
    /// Puts the newest template on it; true when it is the first one of its tip.
    pub(super) fn put(&mut self, template: Arc<Template>) -> bool {
        let is_on = |kept: &&Kept| kept.template.prev_hash == template.prev_hash;
        let known = self.kept.iter().rev().find(is_on).map(|kept| kept.tip);
        let is_news = known != Some(self.tip);
        if is_news {
            self.tip += 1;
        }
        self.kept.push_back(Kept {
            template,
            transactions: None,
            bytes: 0,
            tip: self.tip,
        });
        self.evict();
        is_news
    }

    /// The transactions of a template have come.
    pub(super) fn learn(&mut self, id: TemplateId, transactions: Transactions) {
        let mut from_newest = self.kept.iter_mut().rev();
        if let Some(kept) = from_newest.find(|kept| kept.template.id == id) {
            let bytes = transactions.iter().map(Vec::len).sum();
            self.bytes = self.bytes.saturating_sub(kept.bytes).saturating_add(bytes);
            (kept.bytes, kept.transactions) = (bytes, Some(transactions));
        }
        self.evict();
    }

    pub(super) fn find(&self, id: TemplateId) -> Option<&Kept> {
        self.kept.iter().rev().find(|kept| kept.template.id == id)
    }

    /// The newest template of the present tip that leaves at least this room; the same room before a larger one.
    pub(super) fn newest(&self, constraints: &Constraints) -> Option<&Arc<Template>> {
        let present = || {
            let from_newest = self.kept.iter().rev().map(|kept| (kept.tip, &kept.template));
            from_newest
                .take_while(|(tip, _)| *tip == self.tip)
                .map(|(_, template)| template)
        };
        present()
            .find(|template| template.constraints == *constraints)
            .or_else(|| present().find(|template| template.constraints.cover(constraints)))
    }

    /// Drops from the oldest on, never the newest.
    fn evict(&mut self) {
        while self.kept.len() > 1 {
            let is_stale = |oldest: &Kept| self.tip.saturating_sub(oldest.tip) > TIPS_MAX;
            let full = self.kept.len() > TEMPLATES_MAX || self.bytes > BYTES_MAX;
            if !full && !self.kept.front().is_some_and(is_stale) {
                return;
            }
            if let Some(oldest) = self.kept.pop_front() {
                self.bytes = self.bytes.saturating_sub(oldest.bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;
    use bitcoin::{BlockHash, CompactTarget};

    use super::*;

    fn template(id: u64, tip: u8, max_additional_size: u32) -> Arc<Template> {
        Arc::new(Template {
            id: TemplateId(id),
            constraints: Constraints {
                max_additional_size,
                max_additional_sigops: 0,
            },
            height: 1,
            prev_hash: BlockHash::from_byte_array([tip; 32]),
            version: 0x2000_0000,
            nbits: CompactTarget::from_consensus(0x207f_ffff),
            header_timestamp: 1,
            min_ntime: 1,
            coinbase_tx_version: 2,
            coinbase_prefix: vec![1, 1],
            coinbase_tx_input_sequence: 0,
            coinbase_tx_value_remaining: 0,
            coinbase_tx_outputs: Vec::new(),
            coinbase_tx_locktime: 0,
            coinbase_witness: None,
            target: None,
            merkle_path: Vec::new(),
            transaction_count: None,
            fees: None,
        })
    }

    #[test]
    fn the_last_tips_are_kept_and_bytes_are_bounded() {
        let mut shelf = Shelf::default();
        assert!(shelf.put(template(1, 0, 0)));
        assert!(!shelf.put(template(2, 0, 5)));
        for tip in 1..=TIPS_MAX {
            assert!(shelf.put(template(2 + tip, tip as u8, 0)));
        }
        assert!(shelf.find(TemplateId(1)).is_some());
        shelf.put(template(100, 100, 0));
        assert!(shelf.find(TemplateId(1)).is_none());
        let large = Arc::new(vec![vec![0; BYTES_MAX / 2]]);
        for id in [7, 8, 100] {
            shelf.learn(TemplateId(id), Arc::clone(&large));
        }
        assert!(shelf.find(TemplateId(7)).is_none());
        assert!(shelf.bytes <= BYTES_MAX);
        assert!(shelf.find(TemplateId(100)).is_some());
    }

    #[test]
    fn the_same_room_goes_before_a_larger_one() {
        let mut shelf = Shelf::default();
        let room = |size| template(0, 0, size).constraints;
        shelf.put(template(1, 1, 50));
        shelf.put(template(2, 2, 10));
        shelf.put(template(3, 2, 90));
        let newest = |size| shelf.newest(&room(size)).map(|template| template.id.0);
        assert_eq!([newest(10), newest(11), newest(91)], [Some(2), Some(3), None]);
    }
}
