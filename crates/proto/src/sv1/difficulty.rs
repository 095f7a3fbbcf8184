//! Difficulty as Stratum V1 counts it: powers of two of a hash below `0xffff * 2^208`.
//!
//! Powers of two only, and for three reasons: chips can only mask bits, and firmware that rounds any other number its
//! own way sends shares that are too easy; above one they are integers, which every parser reads; below one they are
//! finite decimals, which every parser reads exactly.

use crate::target::Target;
use core::fmt;

/// Smallest exponent: any hash is a share.
const SMALLEST: i8 = -32;
/// Largest exponent: its work still fits a record.
const LARGEST: i8 = 31;

/// The difficulty `2^exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difficulty(i8);

impl Difficulty {
    /// Difficulty 1.
    pub const ONE: Self = Self(0);
    /// The smallest there is: `2^-32`.
    pub const MIN: Self = Self(SMALLEST);
    /// The largest there is: `2^31`.
    pub const MAX: Self = Self(LARGEST);

    /// All there are, the smallest first.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        (SMALLEST..=LARGEST).map(Self)
    }

    /// The one nearest to a number, by ratio; nothing if it is no number above zero.
    pub fn nearest(number: f64) -> Option<Self> {
        Self::rounded(number, f64::round)
    }

    /// The smallest one that is not below a number; nothing if it is no number above zero.
    pub fn at_least(number: f64) -> Option<Self> {
        Self::rounded(number, f64::ceil)
    }

    fn rounded(number: f64, round: fn(f64) -> f64) -> Option<Self> {
        (number.is_finite() && number > 0.0).then(|| {
            let exponent = round(number.log2()).clamp(SMALLEST.into(), LARGEST.into());
            Self(exponent as i8)
        })
    }

    /// The one that `work` belongs to: the largest whose work is not above it, or the smallest.
    pub fn of_work(work: u64) -> Self {
        Self::all()
            .rev()
            .find(|it| it.work() <= work)
            .unwrap_or(Self::MIN)
    }

    /// The one nearest to the work, by ratio.
    pub fn nearest_work(work: u64) -> Self {
        Self::nearest(work as f64 / Self::ONE.work() as f64).unwrap_or(Self::MIN)
    }

    /// Expected hashes of a share, rounded down: `2^(48 + exponent) / 65535`.
    ///
    /// [`Target::from_work`] of it is never harder than what the miner computes from the difficulty.
    pub const fn work(self) -> u64 {
        ((1u128 << (48 + self.0)) / 0xffff) as u64
    }

    /// The target that shares are judged by.
    pub fn target(self) -> Target {
        Target::from_work(self.work())
    }

    /// As a float, exactly.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0).exp2()
    }
}

/// An integer, or a decimal without an exponent: old parsers know no `1e-5`.
impl fmt::Display for Difficulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            exponent @ 0.. => write!(f, "{}", 1u64 << exponent),
            exponent => {
                // 2^-k = 5^k / 10^k
                let places = u32::from(exponent.unsigned_abs());
                write!(f, "0.{:0>width$}", 5u128.pow(places), width = places as usize)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Below one a decimal that every parser reads exactly, integers from one on.
    #[test]
    fn difficulties_are_written_for_old_parsers() {
        let text = |exponent| Difficulty(exponent).to_string();
        assert_eq!(text(0), "1");
        assert_eq!(text(10), "1024");
        assert_eq!(text(31), "2147483648");
        assert_eq!(text(-1), "0.5");
        assert_eq!(text(-4), "0.0625");
        assert_eq!(text(-13), "0.0001220703125");
        for it in Difficulty::all() {
            assert_eq!(it.to_string().parse::<f64>().unwrap(), it.as_f64());
            assert!(it.to_string().len() <= 34);
        }
    }

    /// No share that the miner finds good is too easy for us: `floor(0xffff * 2^208 / d)` is what it compares with.
    #[test]
    fn our_target_is_never_harder_than_the_miners() {
        for it in Difficulty::all() {
            // 0xffff * 2^(208 - exponent), and all bits below it as the most careless rounding.
            let mut theirs = [0u8; 32];
            let shift = (208 - i32::from(it.0)) as usize;
            for bit in shift..(shift + 16).min(256) {
                theirs[bit / 8] |= 1 << (bit % 8);
            }
            let theirs = Target(theirs);
            assert!(it.target() >= theirs, "{it}");
            assert_eq!(theirs.share_work(), it.work(), "{it}");
            assert_eq!(Difficulty::of_work(it.work()), it);
            assert_eq!(Difficulty::nearest_work(it.work()), it);
        }
        assert_eq!(Difficulty::ONE.work(), 0x1_0001_0001);
    }

    #[test]
    fn numbers_find_their_difficulty() {
        assert_eq!(Difficulty::nearest(1000.0), Some(Difficulty(10)));
        assert_eq!(Difficulty::nearest(0.001), Some(Difficulty(-10)));
        assert_eq!(Difficulty::at_least(1025.0), Some(Difficulty(11)));
        assert_eq!(Difficulty::at_least(1024.0), Some(Difficulty(10)));
        assert_eq!(Difficulty::nearest(1e300), Some(Difficulty::MAX));
        assert_eq!(Difficulty::nearest(f64::MIN_POSITIVE), Some(Difficulty::MIN));
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Difficulty::nearest(bad), None);
        }
    }
}
