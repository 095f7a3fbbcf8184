//! BOOL, U8-U64, U256 and F32 (spec 3.1).

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;

use super::write_hex;
use crate::codec::{Field, Reader, Reason};

macro_rules! little_endian {
    ($($T:ty: $len:literal)*) => {$(
        impl Field for $T {
            const MIN_LEN: u32 = $len;
            const MAX_LEN: u32 = $len;

            #[inline(always)]
            fn decode(reader: &mut Reader<'_>) -> Result<Self, Reason> {
                reader.array::<$len>().map(<$T>::from_le_bytes)
            }

            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}

little_endian! { u8: 1 u16: 2 u32: 4 u64: 8 }

/// BOOL, 1 byte: bit 0 is the value, the other bits are the sender's own affair (REQ-FRM-002). Sent as 0 or 1.
impl Field for bool {
    const MIN_LEN: u32 = 1;
    const MAX_LEN: u32 = 1;

    #[inline(always)]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Reason> {
        reader.array::<1>().map(|[byte]| byte & 1 == 1)
    }

    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

/// F32, IEEE-754 single, little-endian: always a quantity. NaN, infinities and negative numbers are refused on
/// receipt, -0.0 becomes 0.0 (REQ-FRM-014, C-18). It is written as it stands: a sender keeps it a quantity.
impl Field for f32 {
    const MIN_LEN: u32 = 4;
    const MAX_LEN: u32 = 4;

    #[inline(always)]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Reason> {
        let value = Self::from_le_bytes(reader.array()?);
        if value.is_finite() && value >= 0.0 {
            return Ok(value.abs());
        }
        Err(Reason::NotAQuantity(value.to_bits()))
    }

    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
}

/// U24: three bytes, little-endian (REQ-FRM-010).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct U24(u32);

impl U24 {
    /// The largest value, 16,777,215.
    pub const MAX: Self = Self(0x00ff_ffff);

    /// The value, or `None` above [`U24::MAX`].
    #[inline]
    pub const fn new(value: u32) -> Option<Self> {
        if value <= Self::MAX.0 {
            Some(Self(value))
        } else {
            None
        }
    }

    /// The value.
    #[inline]
    pub const fn value(self) -> u32 {
        self.0
    }
}

impl Field for U24 {
    const MIN_LEN: u32 = 3;
    const MAX_LEN: u32 = 3;

    #[inline(always)]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Reason> {
        reader
            .array()
            .map(|[a, b, c]| Self(u32::from_le_bytes([a, b, c, 0])))
    }

    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        let [a, b, c, _] = self.0.to_le_bytes();
        out.extend_from_slice(&[a, b, c]);
    }
}

/// U256: 32 bytes, little-endian; hashes are carried in the order SHA-256 puts them out.
///
/// Ordered as an integer (REQ-FRM-011), so a hash meets a target if `hash <= target`. Printed as an integer in
/// hexadecimal, most significant digit first: the order in which people write block hashes and targets.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct U256(pub [u8; 32]);

impl U256 {
    /// Zero.
    pub const ZERO: Self = Self([0; 32]);
    /// All ones.
    pub const MAX: Self = Self([0xff; 32]);
}

impl Ord for U256 {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.iter().rev().cmp(other.0.iter().rev())
    }
}

impl PartialOrd for U256 {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for U256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, self.0.iter().rev())
    }
}

impl fmt::Debug for U256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "U256({self})")
    }
}

impl From<[u8; 32]> for U256 {
    #[inline]
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl Field for U256 {
    const MIN_LEN: u32 = 32;
    const MAX_LEN: u32 = 32;

    #[inline(always)]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Reason> {
        reader.array().map(Self)
    }

    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn read<T: Field>(bytes: &[u8]) -> Result<T, Reason> {
        T::decode(&mut Reader::new(bytes))
    }

    /// REQ-FRM-002, REQ-FRM-003: only bit 0 counts.
    #[test]
    fn bool_is_bit_zero() {
        assert_eq!(
            (read(&[0xfe]), read(&[0xff]), read(&[0x01])),
            (Ok(false), Ok(true), Ok(true))
        );
    }

    /// REQ-FRM-014.
    #[test]
    fn f32_is_a_quantity() {
        for bad in [
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            -1.0,
            -f32::MIN_POSITIVE,
        ] {
            assert_eq!(
                read::<f32>(&bad.to_le_bytes()),
                Err(Reason::NotAQuantity(bad.to_bits()))
            );
        }
        let zero = read::<f32>(&(-0.0f32).to_le_bytes()).expect("minus zero is zero");
        assert_eq!(zero.to_bits(), 0);
        assert_eq!(read(&f32::MAX.to_le_bytes()), Ok(f32::MAX));
    }

    /// REQ-FRM-011: little-endian, compared as an integer.
    #[test]
    fn u256_is_an_integer() {
        let mut one = [0; 32];
        one[0] = 1;
        let mut high = [0; 32];
        high[31] = 1;
        assert!(U256(one) < U256(high) && U256::ZERO < U256(one) && U256(high) < U256::MAX);
        assert!(U256(one).to_string().ends_with("0001"));
    }

    /// REQ-FRM-001, REQ-FRM-010.
    #[test]
    fn integers_are_little_endian() {
        assert_eq!(read::<U24>(&[1, 2, 3]).map(U24::value), Ok(0x03_02_01));
        assert_eq!(read::<u32>(&[1, 2, 3, 4]), Ok(0x04_03_02_01));
        assert_eq!((U24::new(1 << 24), U24::new(0xff_ffff)), (None, Some(U24::MAX)));
    }
}
