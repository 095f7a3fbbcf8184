//! Templates that may still be solved, and the tips that were seen.

use std::collections::VecDeque;
use std::sync::Arc;

use bitcoin::BlockHash;

use crate::{BlockStatus, Template, TemplateId};

/// Templates remembered.
const TEMPLATES_MAX: usize = 512;
/// Tips remembered: what is buried deeper is [`BlockStatus::Unknown`].
pub const TIPS_MAX: usize = 128;
/// Blocks of ours whose height is remembered.
const BLOCKS_MAX: usize = 128;

/// A template and where it came from.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) template: Arc<Template>,
    /// Number of the connection.
    pub(super) line: u64,
    /// What the provider calls it there.
    pub(super) template_id: u64,
}

/// Templates and tips, oldest first.
#[derive(Debug, Default)]
pub(super) struct Store {
    kept: VecDeque<Kept>,
    /// Height and hash, the height rising.
    tips: VecDeque<(u32, BlockHash)>,
    /// Blocks that were submitted.
    blocks: VecDeque<(u32, BlockHash)>,
}

impl Store {
    /// Remembers a template; true when it shows a tip that was not the last one.
    pub(super) fn keep(&mut self, kept: Kept) -> bool {
        let (height, prev_hash) = (kept.template.height.saturating_sub(1), kept.template.prev_hash);
        if self.kept.len() >= TEMPLATES_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(kept);
        self.see(height, prev_hash)
    }

    fn see(&mut self, height: u32, hash: BlockHash) -> bool {
        if self.tips.back() == Some(&(height, hash)) {
            return false;
        }
        while self.tips.back().is_some_and(|(last, _)| *last >= height) {
            self.tips.pop_back();
        }
        if self.tips.len() >= TIPS_MAX {
            self.tips.pop_front();
        }
        self.tips.push_back((height, hash));
        true
    }

    pub(super) fn find(&self, id: TemplateId) -> Option<&Kept> {
        self.kept.iter().rev().find(|kept| kept.template.id == id)
    }

    /// The templates on the present tip, the newest first.
    pub(super) fn on_tip(&self) -> impl Iterator<Item = &Arc<Template>> {
        let tip = self.tips.back().map(|(_, hash)| *hash);
        let from_newest = self.kept.iter().rev().map(|kept| &kept.template);
        from_newest.filter(move |template| Some(template.prev_hash) == tip)
    }

    /// What the provider calls a template of a connection, as ours.
    pub(super) fn of_line(&self, line: u64, template_id: u64) -> Option<&Kept> {
        let mut from_newest = self.kept.iter().rev();
        from_newest.find(|kept| kept.line == line && kept.template_id == template_id)
    }

    /// A block is submitted now.
    pub(super) fn submitted(&mut self, height: u32, hash: BlockHash) {
        if self.blocks.len() >= BLOCKS_MAX {
            self.blocks.pop_front();
        }
        self.blocks.push_back((height, hash));
    }

    /// Whether a block was submitted here.
    pub(super) fn is_ours(&self, hash: &BlockHash) -> bool {
        self.blocks.iter().any(|(_, block)| block == hash)
    }

    /// The block that is known to have a height.
    pub(super) fn at(&self, height: u32) -> Option<BlockHash> {
        let mut tips = self.tips.iter();
        tips.find(|(at, _)| *at == height).map(|(_, hash)| *hash)
    }

    /// What is known of a block from the tips alone.
    pub(super) fn status(&self, hash: &BlockHash) -> BlockStatus {
        let Some((top, _)) = self.tips.back() else {
            return BlockStatus::Unknown;
        };
        if let Some((height, _)) = self.tips.iter().find(|(_, seen)| seen == hash) {
            return BlockStatus::Confirmed(top.saturating_sub(*height).saturating_add(1));
        }
        let ours = self.blocks.iter().find(|(_, block)| block == hash);
        match ours.and_then(|(height, _)| self.at(*height)) {
            Some(_) => BlockStatus::Stale,
            None => BlockStatus::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;

    use super::*;

    fn hash(number: u8) -> BlockHash {
        BlockHash::from_byte_array([number; 32])
    }

    #[test]
    fn tips_tell_where_blocks_stand() {
        let mut store = Store::default();
        assert_eq!(store.status(&hash(1)), BlockStatus::Unknown);
        assert!(store.see(10, hash(1)));
        assert!(!store.see(10, hash(1)));
        store.submitted(11, hash(2));
        assert_eq!(store.status(&hash(2)), BlockStatus::Unknown);
        assert!(store.see(11, hash(2)));
        assert!(store.see(12, hash(3)));
        assert_eq!(store.status(&hash(2)), BlockStatus::Confirmed(2));
        // Another branch takes over.
        assert!(store.see(11, hash(9)));
        assert_eq!(store.status(&hash(2)), BlockStatus::Stale);
        assert_eq!(
            store.status(&hash(3)),
            BlockStatus::Unknown,
            "nobody knows its height"
        );
        assert_eq!(store.at(11), Some(hash(9)));
        for height in 0..=u8::MAX {
            store.see(20 + u32::from(height), hash(height));
        }
        assert_eq!(store.tips.len(), TIPS_MAX);
    }
}
