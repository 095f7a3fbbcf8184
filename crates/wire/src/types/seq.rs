//! OPTION, SEQ0_255 and SEQ0_64K: values after their count (spec 3.1).

use alloc::vec::Vec;
use core::ops::Deref;

use super::{B0_16M, TooLong};
use crate::codec::{Field, Reader, Reason};

/// OPTION: a count of 0 or 1, then the value (REQ-FRM-008).
impl<T: Field> Field for Option<T> {
    const MIN_LEN: u32 = 1;
    const MAX_LEN: u32 = 1u32.saturating_add(T::MAX_LEN);

    #[inline(always)]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Reason> {
        match u8::decode(reader)? {
            0 => Ok(None),
            1 => T::decode(reader).map(Some),
            count => Err(Reason::OptionCount(count)),
        }
    }

    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        if let Some(value) = self {
            value.encode(out);
        }
    }
}

/// Reads `count` values. Memory is taken for no more values than the bytes at hand can hold.
fn read_all<T: Field>(reader: &mut Reader<'_>, count: usize) -> Result<Vec<T>, Reason> {
    let possible = reader.rest().len() / (T::MIN_LEN.max(1) as usize);
    let mut values = Vec::with_capacity(count.min(possible));
    for _ in 0..count {
        values.push(T::decode(reader)?);
    }
    Ok(values)
}

macro_rules! sequence {
    ($($(#[$doc:meta])* $Seq:ident: count $Count:ty;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $Seq<T>(Vec<T>);

        impl<T> $Seq<T> {
            /// Most values it holds.
            pub const MAX: usize = <$Count>::MAX as usize;

            /// A sequence without values.
            pub const fn empty() -> Self {
                Self(Vec::new())
            }

            /// Takes the values. Error: more than [`Self::MAX`].
            pub fn new(values: Vec<T>) -> Result<Self, TooLong> {
                TooLong::check(values.len(), Self::MAX)?;
                Ok(Self(values))
            }

            /// Gives the values back.
            pub fn into_inner(self) -> Vec<T> {
                self.0
            }
        }

        impl<T> Default for $Seq<T> {
            fn default() -> Self {
                Self::empty()
            }
        }

        impl<T> TryFrom<Vec<T>> for $Seq<T> {
            type Error = TooLong;

            fn try_from(values: Vec<T>) -> Result<Self, TooLong> {
                Self::new(values)
            }
        }

        impl<T: Clone> TryFrom<&[T]> for $Seq<T> {
            type Error = TooLong;

            fn try_from(values: &[T]) -> Result<Self, TooLong> {
                Self::new(values.to_vec())
            }
        }

        impl<T> IntoIterator for $Seq<T> {
            type Item = T;
            type IntoIter = alloc::vec::IntoIter<T>;

            fn into_iter(self) -> Self::IntoIter {
                self.0.into_iter()
            }
        }

        impl<'a, T> IntoIterator for &'a $Seq<T> {
            type Item = &'a T;
            type IntoIter = core::slice::Iter<'a, T>;

            fn into_iter(self) -> Self::IntoIter {
                self.0.iter()
            }
        }

        impl<T> Deref for $Seq<T> {
            type Target = [T];

            #[inline]
            fn deref(&self) -> &[T] {
                &self.0
            }
        }

        impl<T: Field> Field for $Seq<T> {
            const MIN_LEN: u32 = <$Count>::MIN_LEN;
            const MAX_LEN: u32 = <$Count>::MIN_LEN.saturating_add((<$Count>::MAX as u32).saturating_mul(T::MAX_LEN));

            fn decode(reader: &mut Reader<'_>) -> Result<Self, Reason> {
                let count = <$Count>::decode(reader)?;
                read_all(reader, count.into()).map(Self)
            }

            fn encode(&self, out: &mut Vec<u8>) {
                out.reserve(Self::MIN_LEN as usize + self.0.len() * T::MIN_LEN as usize);
                (self.0.len() as $Count).encode(out);
                for value in &self.0 {
                    value.encode(out);
                }
            }
        }
    )*};
}

sequence! {
    /// SEQ0_255: up to 255 values after a U8 count (REQ-FRM-009).
    Seq0_255: count u8;
    /// SEQ0_64K: up to 65,535 values after a U16 count (REQ-FRM-009).
    Seq0_64K: count u16;
}

/// SEQ0_64K of B0_16M: the transactions of a block, as they are handed over in one message.
///
/// The bare type would allow a terabyte. A block holds at most 4,000,000 bytes, so with its count and length
/// prefixes a list takes at most [`TransactionList::LEN_MAX`] bytes; more is refused, and every list fits a frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionList(Seq0_64K<B0_16M>);

impl TransactionList {
    /// Most bytes on the wire: a block of 4,000,000 bytes, the three-byte length of 65,535 transactions, the count.
    pub const LEN_MAX: u32 = 4_000_000 + 3 * 65_535 + 2;

    /// Takes the transactions, each serialized with witness. Error: too many, or too many bytes.
    pub fn new(transactions: Vec<B0_16M>) -> Result<Self, TooLong> {
        let list = Self(Seq0_64K::new(transactions)?);
        TooLong::check(list.wire_len(), Self::LEN_MAX as usize)?;
        Ok(list)
    }

    /// Gives the transactions back.
    pub fn into_inner(self) -> Vec<B0_16M> {
        self.0.into_inner()
    }

    fn wire_len(&self) -> usize {
        let prefix = B0_16M::MIN_LEN as usize;
        self.0.iter().fold(2, |sum, transaction| {
            sum.saturating_add(prefix).saturating_add(transaction.len())
        })
    }
}

impl Deref for TransactionList {
    type Target = [B0_16M];

    fn deref(&self) -> &[B0_16M] {
        &self.0
    }
}

impl TryFrom<Vec<B0_16M>> for TransactionList {
    type Error = TooLong;

    fn try_from(transactions: Vec<B0_16M>) -> Result<Self, TooLong> {
        Self::new(transactions)
    }
}

impl Field for TransactionList {
    const MIN_LEN: u32 = 2;
    const MAX_LEN: u32 = Self::LEN_MAX;

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Reason> {
        let list = Self(Seq0_64K::decode(reader)?);
        match TooLong::check(list.wire_len(), Self::LEN_MAX as usize) {
            Ok(()) => Ok(list),
            Err(_) => Err(Reason::TooLong {
                len: list.wire_len() as u32,
                max: Self::LEN_MAX,
            }),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(self.wire_len());
        self.0.encode(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// REQ-FRM-008.
    #[test]
    fn option_counts_to_one() {
        assert_eq!(Option::<u16>::decode(&mut Reader::new(&[0, 9])), Ok(None));
        assert_eq!(Option::<u16>::decode(&mut Reader::new(&[1, 9, 0])), Ok(Some(9)));
        assert_eq!(
            Option::<u16>::decode(&mut Reader::new(&[2, 9, 0])),
            Err(Reason::OptionCount(2))
        );
    }

    /// REQ-FRM-007, REQ-FRM-009: variable elements stand inline, one of them above 65,535 bytes.
    #[test]
    fn sequences_nest() {
        let elements = vec![vec![1; 3], vec![2; 70_000]];
        let list: Vec<_> = elements
            .into_iter()
            .map(|e| B0_16M::try_from(e).expect("fits"))
            .collect();
        let list = TransactionList::new(list).expect("fits");
        let mut out = Vec::new();
        list.encode(&mut out);
        assert_eq!(out[..8], [2, 0, 3, 0, 0, 1, 1, 1]);
        assert_eq!(out[8..11], [0x70, 0x11, 0x01]);
        assert_eq!(TransactionList::decode(&mut Reader::new(&out)), Ok(list));
    }

    #[test]
    fn a_count_without_elements_takes_no_memory() {
        assert_eq!(Seq0_64K::<[u8; 0]>::MAX, 65_535);
        assert_eq!(
            Seq0_64K::<u32>::decode(&mut Reader::new(&[0xff, 0xff, 1])),
            Err(Reason::Truncated)
        );
        assert!(Seq0_255::new(vec![0u8; 256]).is_err() && Seq0_255::new(vec![0u8; 255]).is_ok());
    }

    #[test]
    fn more_than_a_block_is_refused() {
        let huge = B0_16M::try_from(vec![0; 4_200_000]).expect("fits the type");
        assert!(TransactionList::new(vec![huge.clone()]).is_err());
        let mut out = vec![1, 0];
        huge.encode(&mut out);
        assert!(matches!(
            TransactionList::decode(&mut Reader::new(&out)),
            Err(Reason::TooLong { .. })
        ));
    }
}
