//! What there is to mine, and a solution to it.

use std::time::Duration;

use adit_proto::target::Target;
use bitcoin::{BlockHash, CompactTarget, TxOut};

use crate::Constraints;

/// Names a template within one source; counts up strictly (spec 7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TemplateId(pub u64);

/// A block without its coinbase transaction: NewTemplate and SetNewPrevHash of the Template
/// Distribution Protocol (spec 7.2, 7.3) in one value, already paired with its tip.
#[derive(Clone, Debug)]
pub struct Template {
    /// This template's name.
    pub id: TemplateId,
    /// The room that it leaves for outputs of ours (spec 7.1).
    pub constraints: Constraints,
    /// Height of the block to be mined.
    pub height: u32,
    /// Header field: hash of the block to build on.
    pub prev_hash: BlockHash,
    /// Header field: version, full nVersion with signalling bits.
    pub version: u32,
    /// Header field: compact target of the network.
    pub nbits: CompactTarget,
    /// Largest header hash of a block, where the source asks for a smaller one than `nbits` stands for (spec 7.3).
    pub target: Option<Target>,
    /// Seconds since the Unix epoch to start the header's time from.
    pub header_timestamp: u32,
    /// Smallest header time the network accepts (median time past + 1), seconds.
    pub min_ntime: u32,
    /// Coinbase transaction version.
    pub coinbase_tx_version: u32,
    /// Start of the coinbase scriptSig (BIP34 height), at most 8 bytes.
    pub coinbase_prefix: Vec<u8>,
    /// nSequence of the coinbase input.
    pub coinbase_tx_input_sequence: u32,
    /// Satoshis that the pool's outputs may share: subsidy and fees less required outputs.
    pub coinbase_tx_value_remaining: u64,
    /// Outputs that must stay as they are, as the last ones (witness commitment).
    pub coinbase_tx_outputs: Vec<TxOut>,
    /// Lock time of the coinbase transaction.
    pub coinbase_tx_locktime: u32,
    /// The coinbase input's witness item (BIP141 reserved value, 32 zero bytes), where there is one.
    pub coinbase_witness: Option<[u8; 32]>,
    /// Merkle path of the coinbase, from the deepest, each in raw hash order.
    pub merkle_path: Vec<[u8; 32]>,
    /// Number of transactions besides the coinbase, where the source knows.
    pub transaction_count: Option<u32>,
    /// Sum of fees in satoshis, where the source knows.
    pub fees: Option<u64>,
}

impl Template {
    /// Largest header hash that solves it.
    pub fn block_target(&self) -> Target {
        let by_nbits = Target::from_nbits(self.nbits.to_consensus());
        self.target.map_or(by_nbits, |told| told.min(by_nbits))
    }

    /// Whether it is worth telling `age` after `old`: another tip or target at once; on the same one, fees that are
    /// `gain_min_sat` satoshis more, and no sooner than `interval`.
    pub(crate) fn is_worth_telling_after(
        &self,
        old: &Self,
        age: Duration,
        gain_min_sat: u64,
        interval: Duration,
    ) -> bool {
        let tip = |it: &Self| (it.prev_hash, it.nbits, it.target);
        if tip(self) != tip(old) {
            return true;
        }
        let gain = self
            .coinbase_tx_value_remaining
            .saturating_sub(old.coinbase_tx_value_remaining);
        gain >= gain_min_sat.max(1) && age >= interval
    }
}

/// A header and coinbase that solve a template (spec 7.7 SubmitSolution).
#[derive(Clone, Debug)]
pub struct Solution {
    /// The template that was solved.
    pub template: TemplateId,
    /// Header version as mined.
    pub version: u32,
    /// Header time as mined, seconds.
    pub header_timestamp: u32,
    /// Header nonce as mined.
    pub header_nonce: u32,
    /// The whole coinbase transaction with its BIP141 fields, consensus encoded.
    pub coinbase_tx: Vec<u8>,
}
