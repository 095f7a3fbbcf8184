//! The tree of headers, and which of them are the best chain.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bitcoin::block::Header;
use bitcoin::{Block, BlockHash, Txid};

use super::coins::Undo;

/// Blocks whose times the median is taken of.
const MEDIAN_BLOCKS: usize = 11;

/// A block with what is kept beside it.
#[derive(Clone, Debug)]
pub(super) struct Body {
    pub(super) block: Arc<Block>,
    pub(super) txids: Arc<Vec<Txid>>,
    /// How to take it back; present while it is in the best chain.
    pub(super) undo: Option<Undo>,
}

/// One known header.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) header: Header,
    pub(super) height: u32,
    /// Expected hashes of the chain up to here.
    pub(super) work: u128,
    /// Present near the tip only.
    pub(super) body: Option<Body>,
}

/// Every known header and the best chain among them. The genesis is always there.
#[derive(Clone, Debug)]
pub(super) struct Headers {
    known: HashMap<BlockHash, Entry>,
    /// The best chain, by height.
    best: Vec<BlockHash>,
    /// Known blocks outside the best chain, the lowest first.
    side: BTreeSet<(u32, BlockHash)>,
    genesis: BlockHash,
}

impl Headers {
    pub(super) fn new(genesis: Header) -> Self {
        let hash = genesis.block_hash();
        let entry = Entry {
            header: genesis,
            height: 0,
            work: 0,
            body: None,
        };
        Self {
            known: HashMap::from([(hash, entry)]),
            best: vec![hash],
            side: BTreeSet::new(),
            genesis: hash,
        }
    }

    pub(super) fn tip(&self) -> BlockHash {
        self.best.last().copied().unwrap_or(self.genesis)
    }

    pub(super) fn height(&self) -> u32 {
        u32::try_from(self.best.len())
            .unwrap_or(u32::MAX)
            .saturating_sub(1)
    }

    pub(super) fn at(&self, height: u32) -> Option<BlockHash> {
        self.best.get(usize::try_from(height).ok()?).copied()
    }

    pub(super) fn entry(&self, hash: &BlockHash) -> Option<&Entry> {
        self.known.get(hash)
    }

    pub(super) fn is_best(&self, hash: &BlockHash) -> bool {
        self.known.get(hash).and_then(|entry| self.at(entry.height)) == Some(*hash)
    }

    pub(super) fn side_len(&self) -> usize {
        self.side.len()
    }

    /// Median time of the last eleven blocks up to `hash`, seconds; the chain's `min_ntime` is
    /// one more.
    pub(super) fn median_time(&self, hash: &BlockHash) -> u32 {
        let mut times = Vec::with_capacity(MEDIAN_BLOCKS);
        let mut next = self.known.get(hash);
        while let Some(entry) = next {
            times.push(entry.header.time);
            if times.len() == MEDIAN_BLOCKS {
                break;
            }
            next = self.known.get(&entry.header.prev_blockhash);
        }
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or(0)
    }

    /// Median time at a height of the best chain.
    pub(super) fn median_time_at(&self, height: u32) -> u32 {
        self.at(height).map_or(0, |hash| self.median_time(&hash))
    }

    /// Adds a block outside the best chain.
    pub(super) fn add_side(&mut self, hash: BlockHash, entry: Entry) {
        self.side.insert((entry.height, hash));
        self.known.insert(hash, entry);
    }

    /// Forgets a block outside the best chain.
    pub(super) fn forget_side(&mut self, hash: &BlockHash) {
        if let Some(entry) = self.known.get(hash)
            && self.side.remove(&(entry.height, *hash))
        {
            self.known.remove(hash);
        }
    }

    /// Makes a side block the tip.
    pub(super) fn push(&mut self, hash: BlockHash, undo: Undo) {
        if let Some(entry) = self.known.get_mut(&hash) {
            self.side.remove(&(entry.height, hash));
            if let Some(body) = &mut entry.body {
                body.undo = Some(undo);
            }
            self.best.push(hash);
        }
    }

    /// Makes the tip a side block and gives its body, with the undo taken out of the tree;
    /// `None` when the body is no longer kept.
    pub(super) fn pop(&mut self) -> Option<Body> {
        let hash = self.tip();
        let entry = self.known.get_mut(&hash)?;
        let body = entry.body.as_mut()?;
        let taken = Body {
            block: body.block.clone(),
            txids: body.txids.clone(),
            undo: Some(body.undo.take()?),
        };
        self.best.pop();
        self.side.insert((entry.height, hash));
        Some(taken)
    }

    /// The blocks from the best chain (exclusive) up to `hash`, the lowest first.
    pub(super) fn branch(&self, hash: BlockHash) -> Vec<BlockHash> {
        let mut branch = Vec::new();
        let mut next = hash;
        while !self.is_best(&next) {
            branch.push(next);
            match self.known.get(&next) {
                Some(entry) => next = entry.header.prev_blockhash,
                None => break,
            }
        }
        branch.reverse();
        branch
    }

    /// Drops side blocks below `height`, and the body of the best chain's block just below it.
    pub(super) fn prune(&mut self, height: u32) {
        while let Some((side_height, hash)) = self.side.first().copied()
            && side_height < height
        {
            self.side.pop_first();
            self.known.remove(&hash);
        }
        let below = height.checked_sub(1).and_then(|below| self.at(below));
        if let Some(entry) = below.and_then(|hash| self.known.get_mut(&hash)) {
            entry.body = None;
        }
    }
}
