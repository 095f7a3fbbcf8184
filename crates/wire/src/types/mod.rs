//! The data types of spec 3.1, of both seeds and of the current text. Names are the spec's.

mod bytes;
mod keys;
mod numbers;
mod seq;
mod short_tx_id;

pub use bytes::{B0_16M, B0_32, B0_64K, B0_255, Str0_255};
pub use keys::{Mac, Pubkey, Signature, SignaturePrefixed};
pub use numbers::{U24, U256};
pub use seq::{Seq0_64K, Seq0_255, TransactionList};
pub use short_tx_id::{ShortTxId, ShortTxIdKeys};

use core::fmt;

/// A value that is longer than its wire type can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Bytes or elements offered.
    pub len: usize,
    /// Bytes or elements the type holds.
    pub max: usize,
}

impl TooLong {
    /// Refuses a length above `max`.
    pub(crate) const fn check(len: usize, max: usize) -> Result<(), Self> {
        if len > max { Err(Self { len, max }) } else { Ok(()) }
    }
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "length {} is above the limit of {}", self.len, self.max)
    }
}

impl core::error::Error for TooLong {}

/// Writes bytes as lower-case hexadecimal, in the order given.
fn write_hex<'a>(f: &mut fmt::Formatter<'_>, bytes: impl Iterator<Item = &'a u8>) -> fmt::Result {
    for byte in bytes {
        write!(f, "{byte:02x}")?;
    }
    Ok(())
}
