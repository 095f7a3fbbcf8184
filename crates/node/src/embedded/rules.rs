//! The rules of this chain that are numbers.
//!
//! Regtest addresses, Bitcoin's limits, and a difficulty that never changes: the first
//! [`BOOTSTRAP_HEIGHT`] blocks cost two hashes each, every later one 2^LOG2.

use bitcoin::{CompactTarget, Target};

/// Height of the last bootstrap block; its first ten coinbases are mature right away.
pub const BOOTSTRAP_HEIGHT: u32 = 110;
/// Blocks before a coinbase output may be spent.
pub const COINBASE_MATURITY: u32 = 100;
/// Largest weight of a block (BIP141), weight units.
pub const BLOCK_WEIGHT_MAX: u64 = 4_000_000;
/// Largest cost of a block's signature operations (BIP141).
pub const BLOCK_SIGOPS_MAX: u64 = 80_000;
/// Seconds that a header may be ahead of the clock.
pub const FUTURE_MAX_S: u64 = 2 * 60 * 60;
/// Largest number of satoshis.
pub const MONEY_MAX: u64 = 21_000_000 * 100_000_000;
/// Smallest and largest exponent of a block's work.
pub const WORK_LOG2_RANGE: std::ops::RangeInclusive<u8> = 1..=60;
/// Largest height: bounds the header index to about a gigabyte.
pub const HEIGHT_MAX: u32 = 1 << 22;

/// Regtest's proof-of-work limit, a little below 2^255: two hashes a block.
const NBITS_EASIEST: u32 = 0x207f_ffff;
/// Blocks between halvings: mainnet's, because regtest's 150 would end the subsidy within a day.
const HALVING_INTERVAL: u32 = 210_000;
const SUBSIDY_FIRST: u64 = 50 * 100_000_000;

/// The proof of work of one chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    work_log2: u8,
    nbits: CompactTarget,
}

impl Rules {
    /// Rules for blocks of 2^`work_log2` expected hashes; `None` outside [`WORK_LOG2_RANGE`].
    ///
    /// The target is 2^(256 - `work_log2`), which the compact form holds exactly; for 1 it is
    /// regtest's limit.
    pub fn new(work_log2: u8) -> Option<Self> {
        if !WORK_LOG2_RANGE.contains(&work_log2) {
            return None;
        }
        if work_log2 == 1 {
            return Some(Self {
                work_log2,
                nbits: CompactTarget::from_consensus(NBITS_EASIEST),
            });
        }
        let bit = 256 - usize::from(work_log2);
        let mut bytes = [0u8; 32];
        if let Some(byte) = bytes.get_mut(bit / 8) {
            *byte = 1 << (bit % 8);
        }
        let nbits = Target::from_le_bytes(bytes).to_compact_lossy();
        Some(Self { work_log2, nbits })
    }

    /// The exponent these rules were made from.
    pub fn work_log2(&self) -> u8 {
        self.work_log2
    }

    /// nBits of the block at `height`.
    pub fn nbits_at(&self, height: u32) -> CompactTarget {
        if height <= BOOTSTRAP_HEIGHT {
            CompactTarget::from_consensus(NBITS_EASIEST)
        } else {
            self.nbits
        }
    }

    /// Expected hashes of a block after the bootstrap: floor(2^256 / (target + 1)).
    pub fn work(&self) -> u128 {
        work_of(self.nbits)
    }
}

/// Expected hashes of one block: floor(2^256 / (target + 1)), saturating.
pub fn work_of(nbits: CompactTarget) -> u128 {
    let bytes = Target::from_compact(nbits).to_work().to_be_bytes();
    let (high, low) = bytes.split_at(16);
    if high.iter().any(|byte| *byte != 0) {
        return u128::MAX;
    }
    low.iter().fold(0, |sum, byte| sum << 8 | u128::from(*byte))
}

/// Satoshis a block at `height` creates.
pub fn subsidy(height: u32) -> u64 {
    SUBSIDY_FIRST.checked_shr(height / HALVING_INTERVAL).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_the_power_of_two_asked_for() {
        for log2 in WORK_LOG2_RANGE {
            let rules = Rules::new(log2).unwrap();
            let work = rules.work();
            assert!(work == 1 << log2 || work + 1 == 1 << log2, "{log2}: {work}");
            let target = Target::from_compact(rules.nbits);
            assert_eq!(target.to_compact_lossy(), rules.nbits, "{log2}");
        }
        assert!(Rules::new(0).is_none() && Rules::new(61).is_none());
    }

    #[test]
    fn subsidy_halves_and_ends() {
        assert_eq!(subsidy(0), 5_000_000_000);
        assert_eq!(subsidy(210_000), 2_500_000_000);
        assert_eq!(subsidy(HEIGHT_MAX), 5_000_000_000 >> 19);
        assert_eq!(subsidy(u32::MAX), 0);
    }
}
