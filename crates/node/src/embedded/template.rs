//! Templates: built from the waiting transactions, kept until no miner can still answer them.

use std::collections::VecDeque;
use std::sync::Arc;

use bitcoin::block::{Header, Version};
use bitcoin::consensus::encode;
use bitcoin::hashes::Hash;
use bitcoin::{Block, Transaction, TxMerkleNode};

use super::assemble::{self, BLOCK_VERSION, COINBASE_SEQUENCE, RESERVED};
use super::chain::Chain;
use super::check;
use super::mempool::Mempool;
use super::rules::subsidy;
use super::select::{Room, select};
use crate::merkle;
use crate::{Constraints, Solution, Template, TemplateId};

/// Templates of each set of constraints that can still be solved; the oldest goes first.
const TEMPLATES_MAX: usize = 64;

/// What a template shall be like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    pub(super) constraints: Constraints,
    /// Transactions besides the coinbase, at most.
    pub(super) count: usize,
}

/// A template and its transactions.
#[derive(Clone, Debug)]
pub struct Kept {
    /// What goes out.
    pub template: Arc<Template>,
    /// Consensus-encoded transactions but the coinbase, in block order.
    pub encoded: Arc<Vec<Vec<u8>>>,
    transactions: Arc<Vec<Arc<Transaction>>>,
}

impl Kept {
    /// Builds the best template on the tip. `now` is in seconds.
    pub(super) fn build(id: TemplateId, chain: &Chain, mempool: &Mempool, want: Want, now: u64) -> Self {
        let Want { constraints, count } = want;
        let chosen = select(mempool, Room::beside(&constraints, count));
        let mut fees = 0u64;
        let mut leaves = Vec::with_capacity(chosen.len());
        let mut transactions = Vec::with_capacity(chosen.len());
        for waiting in chosen.iter().filter_map(|arrival| mempool.waiting(*arrival)) {
            fees = fees.saturating_add(waiting.fee);
            leaves.push(waiting.txid.to_byte_array());
            transactions.push(waiting.tx.clone());
        }
        let place = chain.next_place();
        let min_ntime = place.median_time.saturating_add(1);
        let wtxids = transactions.iter().map(|tx| tx.compute_wtxid().to_byte_array());
        let template = Template {
            id,
            constraints,
            height: place.height,
            prev_hash: chain.tip(),
            version: BLOCK_VERSION,
            nbits: place.nbits,
            header_timestamp: header_time(now, place.median_time),
            min_ntime,
            coinbase_tx_version: 2,
            coinbase_prefix: check::height_push(place.height),
            coinbase_tx_input_sequence: COINBASE_SEQUENCE,
            coinbase_tx_value_remaining: subsidy(place.height).saturating_add(fees),
            coinbase_tx_outputs: vec![assemble::commitment_output(wtxids)],
            coinbase_tx_locktime: assemble::coinbase_lock_time(place.height),
            coinbase_witness: Some(RESERVED),
            target: None,
            merkle_path: merkle::path(leaves),
            transaction_count: u32::try_from(transactions.len()).ok(),
            fees: Some(fees),
        };
        let encoded = transactions
            .iter()
            .map(|tx| encode::serialize(tx.as_ref()))
            .collect();
        Self {
            template: Arc::new(template),
            encoded: Arc::new(encoded),
            transactions: Arc::new(transactions),
        }
    }

    /// The block that a solution makes of this template.
    ///
    /// # Errors
    /// When the coinbase is no consensus-encoded transaction.
    pub(super) fn block(&self, solution: &Solution) -> Result<Block, encode::Error> {
        let coinbase: Transaction = encode::deserialize(&solution.coinbase_tx)?;
        let mut txdata = Vec::with_capacity(self.transactions.len() + 1);
        txdata.push(coinbase);
        txdata.extend(self.transactions.iter().map(|tx| tx.as_ref().clone()));
        let header = Header {
            version: Version::from_consensus(solution.version.cast_signed()),
            prev_blockhash: self.template.prev_hash,
            merkle_root: TxMerkleNode::all_zeros(),
            time: solution.header_timestamp,
            bits: self.template.nbits,
            nonce: solution.header_nonce,
        };
        Ok(assemble::block(header, &self.template.merkle_path, txdata))
    }
}

/// The time a header starts from: the clock, but later than the median time past.
pub(super) fn header_time(now: u64, median_time: u32) -> u32 {
    u32::try_from(now)
        .unwrap_or(u32::MAX)
        .max(median_time.saturating_add(1))
}

/// The templates that can still be solved, the newest last.
#[derive(Debug, Default)]
pub(super) struct Templates {
    kept: VecDeque<Kept>,
}

impl Templates {
    /// Keeps one more, of so many sets of constraints.
    pub(super) fn push(&mut self, kept: Kept, rooms: usize) {
        while self.kept.len() >= TEMPLATES_MAX.saturating_mul(rooms) {
            self.kept.pop_front();
        }
        self.kept.push_back(kept);
    }

    /// The newest one with this room.
    pub(super) fn newest(&self, constraints: &Constraints) -> Option<&Kept> {
        let mut from_newest = self.kept.iter().rev();
        from_newest.find(|kept| kept.template.constraints == *constraints)
    }

    pub(super) fn find(&self, id: TemplateId) -> Option<&Kept> {
        self.kept.iter().rev().find(|kept| kept.template.id == id)
    }
}
