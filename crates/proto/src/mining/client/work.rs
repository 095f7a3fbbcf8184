//! Work for a miner: a job bound to a channel, a previous block and a target.

use std::sync::Arc;

use adit_wire::mining::NewExtendedMiningJob;
use adit_wire::{B0_32, U256};

use crate::{Time, merkle, sha};

/// What to hash. All hashes are in raw order, as they stand in a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The channel.
    pub channel: u32,
    /// The job, to be named in shares.
    pub job_id: u32,
    /// Header version; the bits of `version_mask` may differ in shares.
    pub version: u32,
    /// Bits of the version that may be rolled.
    pub version_mask: u32,
    /// Hash of the previous block.
    pub prev_hash: U256,
    /// Where the Merkle root comes from.
    pub root: Root,
    /// Smallest header time, in seconds since the Unix epoch. The largest one grows with the clock: as many seconds
    /// later as have passed since `since`.
    pub min_ntime: u32,
    /// When `min_ntime` was heard.
    pub since: Time,
    /// Compact network target.
    pub nbits: u32,
    /// Largest hash of a share.
    pub target: U256,
    /// The previous block is new: no earlier work of this channel is worth anything.
    pub new_tip: bool,
}

/// Where the Merkle root of a header comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// Header-only mining: there is one root.
    Fixed(U256),
    /// Every extranonce has a root of its own.
    Coinbase {
        /// The transaction around the extranonce and the way to the root.
        coinbase: Arc<Coinbase>,
        /// Extranonce bytes that the server chose.
        extranonce_prefix: B0_32,
        /// Extranonce bytes to roll, exactly.
        extranonce_size: u16,
    },
}

impl Work {
    /// The Merkle root with this extranonce, which a standard channel has not. One double SHA-256 of the
    /// coinbase, one more a branch (REQ-MIN-076, REQ-MIN-079).
    #[must_use]
    pub fn merkle_root(&self, extranonce: &[u8]) -> U256 {
        match &self.root {
            Root::Fixed(root) => *root,
            Root::Coinbase {
                coinbase,
                extranonce_prefix,
                ..
            } => coinbase.merkle_root(extranonce_prefix, extranonce),
        }
    }

    /// Bytes of extranonce to roll; 0 on a standard channel.
    #[must_use]
    pub fn extranonce_size(&self) -> usize {
        match &self.root {
            Root::Fixed(_) => 0,
            Root::Coinbase { extranonce_size, .. } => usize::from(*extranonce_size),
        }
    }

    /// Largest header time that may be sent at `now`, in seconds since the Unix epoch (REQ-MIN-046).
    #[must_use]
    pub fn max_ntime(&self, now: Time) -> u32 {
        let elapsed = u32::try_from((now - self.since).as_secs()).unwrap_or(u32::MAX);
        self.min_ntime.saturating_add(elapsed)
    }
}

/// An extended job without what depends on the channel: shared by all members of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coinbase {
    /// Header version.
    pub version: u32,
    /// Whether the rollable bits of the version may change.
    pub version_rolling_allowed: bool,
    /// Coinbase bytes before the extranonce, without BIP141 fields.
    pub prefix: Vec<u8>,
    /// Coinbase bytes after the extranonce.
    pub suffix: Vec<u8>,
    /// Hashes beside the coinbase's branch, deepest first.
    pub path: Vec<[u8; 32]>,
}

impl Coinbase {
    /// The job without its ids and its time.
    pub(crate) fn new(job: NewExtendedMiningJob) -> Self {
        Self {
            version: job.version,
            version_rolling_allowed: job.version_rolling_allowed,
            prefix: job.coinbase_tx_prefix.into(),
            suffix: job.coinbase_tx_suffix.into(),
            path: job.merkle_path.into_iter().map(|hash| hash.0).collect(),
        }
    }

    /// The Merkle root for a whole extranonce: what the server chose and what was rolled.
    #[must_use]
    pub fn merkle_root(&self, extranonce_prefix: &[u8], extranonce: &[u8]) -> U256 {
        let transaction = [&self.prefix, extranonce_prefix, extranonce, &self.suffix].concat();
        U256(merkle::fold(sha::double(&transaction), &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::hashes::{Hash, sha256d};

    /// REQ-MIN-076, REQ-MIN-079: an empty path leaves the coinbase's own hash.
    #[test]
    fn the_root_is_folded_from_the_whole_coinbase() {
        let mut coinbase = Coinbase {
            version: 1,
            version_rolling_allowed: true,
            prefix: vec![1; 60],
            suffix: vec![2; 90],
            path: vec![],
        };
        let whole = [&[1; 60][..], &[3; 7], &[4; 8], &[2; 90]].concat();
        let txid = sha256d::Hash::hash(&whole).to_byte_array();
        assert_eq!(coinbase.merkle_root(&[3; 7], &[4; 8]), U256(txid));
        coinbase.path = vec![[9; 32]];
        let root = sha256d::Hash::hash(&[txid, [9; 32]].concat()).to_byte_array();
        assert_eq!(coinbase.merkle_root(&[3; 7], &[4; 8]), U256(root));
    }
}
