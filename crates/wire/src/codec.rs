//! Reading and writing fields: [`Reader`], the trait [`Field`], and the error that names the field.

use alloc::vec::Vec;
use core::fmt;

/// A cursor over a payload. Every read is checked against what is left; nothing here panics.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the first byte of `bytes`.
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next `count` bytes. Error: [`Reason::Truncated`].
    #[inline(always)]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Reason> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Reason::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes as an array. Error: [`Reason::Truncated`].
    #[inline(always)]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Reason> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Reason::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// The bytes not read yet.
    #[inline]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

/// A data type of spec 3.1: how it is read, how it is written, and how many bytes it may take.
///
/// Encoding never fails: whatever a value cannot hold on the wire it cannot hold in memory.
pub trait Field: Sized {
    /// Fewest bytes on the wire.
    const MIN_LEN: u32;
    /// Most bytes on the wire (saturated at `u32::MAX`).
    const MAX_LEN: u32;

    /// Reads one value. Error: why the bytes are not a value of this type.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Reason>;

    /// Appends the value's bytes.
    fn encode(&self, out: &mut Vec<u8>);
}

/// Why the bytes of a field are not a value of its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The payload ends before the field does (REQ-FRM-021).
    Truncated,
    /// The length prefix is above what the type may hold.
    TooLong {
        /// Bytes or elements announced.
        len: u32,
        /// Bytes or elements allowed.
        max: u32,
    },
    /// The count of an OPTION is neither 0 nor 1 (REQ-FRM-008).
    OptionCount(u8),
    /// An F32 that is NaN, infinite or negative (REQ-FRM-014); the bits as received.
    NotAQuantity(u32),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => write!(f, "the payload ends inside it"),
            Self::TooLong { len, max } => write!(f, "length {len} is above the limit of {max}"),
            Self::OptionCount(count) => write!(f, "an OPTION holds 0 or 1 values, not {count}"),
            Self::NotAQuantity(bits) => write!(f, "0x{bits:08x} is not a finite number of at least zero"),
        }
    }
}

/// Why a payload is not a message. It says which message and which field, and prints without peer text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// A field of a known message is malformed: spec 3.2, the connection ends.
    Malformed {
        /// The message, by its name in the spec.
        message: &'static str,
        /// The field, in snake case.
        field: &'static str,
        /// What is wrong with it.
        reason: Reason,
    },
    /// No message of this number in this protocol and direction (REQ-FRM-023: ignore and log).
    Unknown {
        /// Extension id without bit 15.
        extension: u16,
        /// Message number.
        msg_type: u8,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed {
                message,
                field,
                reason,
            } => write!(f, "{message}.{field}: {reason}"),
            Self::Unknown { extension, msg_type } => {
                write!(
                    f,
                    "no message 0x{msg_type:02x} of extension 0x{extension:04x} in this direction"
                )
            }
        }
    }
}

impl core::error::Error for DecodeError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn reader_takes_what_is_there_and_no_more() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.array::<2>(), Ok([1, 2]));
        assert_eq!(reader.take(2), Err(Reason::Truncated));
        assert_eq!(reader.rest(), &[3], "a failed read takes nothing");
        assert_eq!(reader.take(usize::MAX), Err(Reason::Truncated));
    }

    #[test]
    fn error_names_message_and_field() {
        let error = DecodeError::Malformed {
            message: "SetTarget",
            field: "channel_id",
            reason: Reason::Truncated,
        };
        assert_eq!(
            error.to_string(),
            "SetTarget.channel_id: the payload ends inside it"
        );
    }
}
