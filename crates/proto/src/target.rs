//! Targets and the work they stand for.
//!
//! A hash meets a target if, read as a little-endian number, it is not above it. The work of a target
//! is the expected number of hashes to meet it, `floor(2^256 / (target + 1))`: an integer, so that
//! work can be added up for ever without rounding.

use bitcoin::CompactTarget;
use core::fmt;

/// Largest number that still counts as a share or block, 256 bits little endian (spec 3.1 U256).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Target(pub [u8; 32]);

impl Target {
    /// The easiest target: every hash meets it. Its work is 1.
    pub const MAX: Self = Self([0xff; 32]);

    /// The target of the compact form in block headers. Negative and overflowing forms give zero, as
    /// consensus treats them: nothing meets them.
    pub fn from_nbits(nbits: u32) -> Self {
        Self(bitcoin::Target::from_compact(CompactTarget::from_consensus(nbits)).to_le_bytes())
    }

    /// The easiest target whose work is `work`: `floor(2^256 / work) - 1`. No work counts as 1.
    ///
    /// [`Target::work`] of the result is `work` again, exactly.
    pub fn from_work(work: u64) -> Self {
        let divisor = u128::from(work.max(1));
        let mut quotient = [0u8; 32];
        let mut rest = 0u128;
        // Long division of 2^256 - 1, most significant limb first.
        for limb in quotient.as_chunks_mut::<8>().0.iter_mut().rev() {
            let part = (rest << 64) | u128::from(u64::MAX);
            *limb = ((part / divisor) as u64).to_le_bytes();
            rest = part % divisor;
        }
        let quotient = Self(quotient);
        // floor(2^256 / work) is one more than what was divided exactly where work divides 2^256.
        if rest + 1 == divisor {
            quotient
        } else {
            quotient.decremented()
        }
    }

    /// Expected number of hashes to meet this target, capped at `u128::MAX`.
    pub fn work(&self) -> u128 {
        let work = bitcoin::Target::from_le_bytes(self.0).to_work().to_le_bytes();
        let (low, high) = work.split_at(16);
        match (high.iter().all(|byte| *byte == 0), low.first_chunk::<16>()) {
            (true, Some(low)) => u128::from_le_bytes(*low).max(1),
            _ => u128::MAX,
        }
    }

    /// As [`Target::work`], capped at `u64::MAX`: the work of one share in records.
    pub fn share_work(&self) -> u64 {
        u64::try_from(self.work()).unwrap_or(u64::MAX)
    }

    /// Whether a header hash (raw SHA-256 output) is good enough.
    #[inline]
    pub fn is_met_by(&self, hash: &[u8; 32]) -> bool {
        // Nearly always decided by the most significant limb.
        limbs(hash).rev().le(limbs(&self.0).rev())
    }

    fn decremented(mut self) -> Self {
        for byte in &mut self.0 {
            let (less, borrow) = byte.overflowing_sub(1);
            *byte = less;
            if !borrow {
                break;
            }
        }
        self
    }
}

/// The four 64-bit limbs, least significant first.
#[inline]
fn limbs(bytes: &[u8; 32]) -> impl DoubleEndedIterator<Item = u64> {
    bytes
        .as_chunks::<8>()
        .0
        .iter()
        .map(|limb| u64::from_le_bytes(*limb))
}

impl Ord for Target {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        limbs(&self.0).rev().cmp(limbs(&other.0).rev())
    }
}

impl PartialOrd for Target {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Big endian, as people write targets.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().rev().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Work that `hash_rate` (hashes a second) does in `seconds`, rounded down and kept within 1 and
/// `u64::MAX`. What is no number, or below zero, does no work. For estimates only.
pub fn work_of(hash_rate: f64, seconds: f64) -> u64 {
    // A cast from float to integer saturates, and NaN becomes zero.
    ((hash_rate * seconds) as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn knows_the_corners() {
        assert_eq!(Target::MAX.work(), 1);
        assert_eq!(Target::from_work(1), Target::MAX);
        assert_eq!(Target::from_work(0), Target::MAX);
        assert_eq!(Target([0; 32]).work(), u128::MAX);
        let mut half = [0xff; 32];
        half[31] = 0x7f;
        assert_eq!(Target::from_work(2), Target(half));
        // Difficulty 1: 2^32 hashes and a little.
        assert_eq!(Target::from_nbits(0x1d00_ffff).work(), 0x1_0001_0001);
        assert_eq!(Target::from_nbits(0x207f_ffff).work(), 2);
        assert_eq!(Target::from_nbits(0x1d80_ffff), Target([0; 32]), "negative");
    }

    /// REQ-MIN-095: a hash equal to the target is good, one more is not.
    #[test]
    fn a_hash_equal_to_the_target_meets_it() {
        let target = Target::from_work(1_000);
        let mut hash = target.0;
        assert!(target.is_met_by(&hash));
        hash[31] += 1;
        assert!(!target.is_met_by(&hash));
        let above = Target(target.0).decremented();
        assert!(!above.is_met_by(&target.0));
        assert!(above.is_met_by(&above.0));
    }

    #[test]
    fn work_of_strange_rates_is_bounded() {
        for rate in [f64::NAN, f64::NEG_INFINITY, -1.0, 0.0, f64::MIN_POSITIVE] {
            assert_eq!(work_of(rate, 5.0), 1, "{rate}");
        }
        assert_eq!(work_of(f64::INFINITY, 5.0), u64::MAX);
        assert_eq!(work_of(1e6, 5.0), 5_000_000);
    }

    proptest! {
        #[test]
        fn work_survives_the_way_to_a_target_and_back(work in 1u64..) {
            prop_assert_eq!(Target::from_work(work).share_work(), work);
        }

        #[test]
        fn order_is_that_of_numbers(a: [u8; 32], b: [u8; 32]) {
            let number = |bytes| bitcoin::Target::from_le_bytes(bytes);
            prop_assert_eq!(Target(a).cmp(&Target(b)), number(a).cmp(&number(b)));
            prop_assert_eq!(Target(a).is_met_by(&b), number(b) <= number(a));
        }

        #[test]
        fn more_work_is_a_lower_target(a in 1u64.., b in 1u64..) {
            prop_assert_eq!(Target::from_work(a) < Target::from_work(b), a > b);
        }
    }
}
