//! The chain itself: takes whole blocks, keeps the one with most work. No input or output, no
//! clock: time is an argument.

use std::sync::Arc;

use bitcoin::{Block, BlockHash, Network, OutPoint, Transaction, Txid, constants};

use super::check::{self, Place};
use super::coins::{Coin, Coins};
use super::headers::{Body, Entry, Headers};
use super::rules::{HEIGHT_MAX, Rules, work_of};
use super::{BlockError, bootstrap};
use crate::BlockStatus;

/// Blocks below the tip where a fork may still begin; deeper bodies are dropped.
pub const FORK_DEPTH_MAX: u32 = 100;
/// Known blocks outside the best chain.
pub const SIDE_BLOCKS_MAX: usize = 1024;

/// What became of a block that breaks no rule.
#[derive(Clone, Debug)]
pub enum Connected {
    /// It is the new tip.
    Tip(Change),
    /// Kept beside the best chain, which has as much work or more. Its inputs are judged when
    /// its branch becomes the best.
    Side,
    /// It was known already.
    Duplicate,
}

/// How the best chain changed.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Blocks given up, the lowest first. Empty unless the chain reorganised.
    pub disconnected: Vec<Arc<Block>>,
    /// Blocks gained, the lowest first.
    pub connected: Vec<Arc<Block>>,
}

/// A chain of fully checked blocks and its unspent outputs.
#[derive(Clone, Debug)]
pub struct Chain {
    rules: Rules,
    headers: Headers,
    coins: Coins,
}

impl Chain {
    /// A chain with nothing but regtest's genesis block.
    pub fn genesis(rules: Rules) -> Self {
        let genesis = constants::genesis_block(Network::Regtest);
        Self {
            rules,
            headers: Headers::new(genesis.header),
            coins: Coins::default(),
        }
    }

    /// A chain with its bootstrap blocks, the same ones whatever the rules.
    ///
    /// # Errors
    /// Never with the bootstrap this crate makes; each of its blocks is checked like any other.
    pub fn bootstrapped(rules: Rules) -> Result<Self, BlockError> {
        let mut chain = Self::genesis(rules);
        bootstrap::extend(&mut chain)?;
        Ok(chain)
    }

    /// The rules it was made with.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Hash of the best block.
    pub fn tip(&self) -> BlockHash {
        self.headers.tip()
    }

    /// Height of the best block.
    pub fn height(&self) -> u32 {
        self.headers.height()
    }

    /// Hash of the best chain's block at a height.
    pub fn block_hash(&self, height: u32) -> Option<BlockHash> {
        self.headers.at(height)
    }

    /// Median time past at the tip, seconds; a next block must be later.
    pub fn median_time(&self) -> u32 {
        self.headers.median_time(&self.tip())
    }

    /// An unspent output at the tip.
    pub fn coin(&self, point: &OutPoint) -> Option<&Coin> {
        self.coins.coin(point)
    }

    /// Every unspent output at the tip, in no order.
    pub fn coins(&self) -> impl Iterator<Item = (&OutPoint, &Coin)> {
        self.coins.iter()
    }

    /// Where a block stands; a block given up more than [`FORK_DEPTH_MAX`] blocks ago is unknown.
    pub fn status(&self, hash: &BlockHash) -> BlockStatus {
        match self.headers.entry(hash) {
            None => BlockStatus::Unknown,
            Some(entry) if self.headers.is_best(hash) => {
                let above = self.height().saturating_sub(entry.height);
                BlockStatus::Confirmed(above.saturating_add(1))
            }
            Some(_) => BlockStatus::Stale,
        }
    }

    /// A block of the best chain or beside it, while its body is kept.
    pub fn block(&self, hash: &BlockHash) -> Option<Arc<Block>> {
        let body = self.headers.entry(hash)?.body.as_ref()?;
        Some(body.block.clone())
    }

    /// Checks a block in full and takes it. `now` is in seconds since the Unix epoch.
    ///
    /// # Errors
    /// The first rule that is broken; the chain has not changed then.
    pub fn connect(&mut self, block: Block, now: u64) -> Result<Connected, BlockError> {
        let hash = block.block_hash();
        if self.headers.entry(&hash).is_some() {
            return Ok(Connected::Duplicate);
        }
        let entry = self.check(block, hash, now)?;
        let on_tip = entry.header.prev_blockhash == self.tip();
        if !on_tip && self.headers.side_len() >= SIDE_BLOCKS_MAX {
            return Err(BlockError::SideFull);
        }
        let more_work = entry.work > self.work();
        self.headers.add_side(hash, entry);
        if !more_work {
            return Ok(Connected::Side);
        }
        let change = self.switch(hash)?;
        self.headers.prune(self.height().saturating_sub(FORK_DEPTH_MAX));
        Ok(Connected::Tip(change))
    }

    /// Checks a block in full as the next one, but for its proof of work. The chain does not change.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check_next(&mut self, block: &Block, now: u64) -> Result<(), BlockError> {
        if block.header.prev_blockhash != self.tip() {
            return Err(BlockError::NotOnTip);
        }
        if self.height() >= HEIGHT_MAX {
            return Err(BlockError::ChainFull);
        }
        let place = self.next_place();
        check::header_without_work(&block.header, &place, now)?;
        let txids: Vec<Txid> = block.txdata.iter().map(Transaction::compute_txid).collect();
        check::body(block, &txids, &place)?;
        let headers = &self.headers;
        let median_at = |height| headers.median_time_at(height);
        let undo = self.coins.connect(block, &txids, &place, &median_at)?;
        self.coins.disconnect(block, &txids, undo);
        Ok(())
    }

    /// What the next block on the tip must fit.
    pub(super) fn next_place(&self) -> Place {
        self.place_on(&self.tip(), self.height())
    }

    /// What the next block on a known block must fit.
    pub(super) fn place_after(&self, parent: &BlockHash) -> Option<Place> {
        let height = self.headers.entry(parent)?.height;
        Some(self.place_on(parent, height))
    }

    /// Median time past at a height of the best chain.
    pub(super) fn median_time_at(&self, height: u32) -> u32 {
        self.headers.median_time_at(height)
    }

    fn work(&self) -> u128 {
        self.headers.entry(&self.tip()).map_or(0, |entry| entry.work)
    }

    fn place_on(&self, parent: &BlockHash, parent_height: u32) -> Place {
        let height = parent_height.saturating_add(1);
        Place {
            height,
            median_time: self.headers.median_time(parent),
            nbits: self.rules.nbits_at(height),
        }
    }

    /// Checks all but the inputs.
    fn check(&self, block: Block, hash: BlockHash, now: u64) -> Result<Entry, BlockError> {
        let parent_hash = block.header.prev_blockhash;
        let parent = self.headers.entry(&parent_hash).ok_or(BlockError::PrevUnknown)?;
        if parent.height.saturating_add(FORK_DEPTH_MAX) < self.height() {
            return Err(BlockError::ForkTooDeep);
        }
        if parent.height >= HEIGHT_MAX {
            return Err(BlockError::ChainFull);
        }
        let place = self.place_on(&parent_hash, parent.height);
        check::header(&block.header, hash, &place, now)?;
        let txids: Vec<Txid> = block.txdata.iter().map(|tx| tx.compute_txid()).collect();
        check::body(&block, &txids, &place)?;
        Ok(Entry {
            header: block.header,
            height: place.height,
            work: parent.work.saturating_add(work_of(block.header.bits)),
            body: Some(Body {
                block: Arc::new(block),
                txids: Arc::new(txids),
                undo: None,
            }),
        })
    }

    /// Makes `hash`, a side block with most work, the tip. On error all is as before, but for
    /// the broken block and those on it, which are forgotten.
    fn switch(&mut self, hash: BlockHash) -> Result<Change, BlockError> {
        let branch = self.headers.branch(hash);
        let fork = branch.first().and_then(|first| self.headers.entry(first));
        let fork_height = fork.map_or(0, |entry| entry.height.saturating_sub(1));
        let mut given_up = Vec::new();
        while self.height() > fork_height {
            given_up.push(self.tip());
            if !self.disconnect_tip() {
                given_up.pop();
                self.restore(&given_up);
                return Err(BlockError::ForkTooDeep);
            }
        }
        for (done, next) in branch.iter().enumerate() {
            if let Err(error) = self.connect_tip(*next) {
                for _ in 0..done {
                    self.disconnect_tip();
                }
                self.restore(&given_up);
                branch
                    .iter()
                    .skip(done)
                    .for_each(|bad| self.headers.forget_side(bad));
                return Err(error);
            }
        }
        let blocks = |hashes: &[BlockHash]| hashes.iter().filter_map(|h| self.block(h)).collect();
        let connected = blocks(&branch);
        given_up.reverse();
        Ok(Change {
            disconnected: blocks(&given_up),
            connected,
        })
    }

    /// Connects blocks again that were connected before, given the highest first.
    fn restore(&mut self, given_up: &[BlockHash]) {
        for hash in given_up.iter().rev() {
            if let Err(error) = self.connect_tip(*hash) {
                tracing::error!(%hash, %error, "a block that was connected before does not connect again");
                return;
            }
        }
    }

    fn connect_tip(&mut self, hash: BlockHash) -> Result<(), BlockError> {
        let entry = self.headers.entry(&hash).ok_or(BlockError::PrevUnknown)?;
        // A branch whose foot was forgotten must not land on another block.
        if entry.header.prev_blockhash != self.tip() {
            return Err(BlockError::PrevUnknown);
        }
        let body = entry.body.clone().ok_or(BlockError::PrevUnknown)?;
        let place = self.next_place();
        let headers = &self.headers;
        let median_at = |height| headers.median_time_at(height);
        let undo = self.coins.connect(&body.block, &body.txids, &place, &median_at)?;
        self.headers.push(hash, undo);
        Ok(())
    }

    /// False when the tip's body is gone, and nothing has changed.
    fn disconnect_tip(&mut self) -> bool {
        match self.headers.pop() {
            Some(Body {
                block,
                txids,
                undo: Some(undo),
            }) => {
                self.coins.disconnect(&block, &txids, undo);
                true
            }
            _ => false,
        }
    }
}
