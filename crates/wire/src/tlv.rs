//! TLVs: fields that extensions append to messages of others (spec 3.4.3), and the one in use,
//! `user_identity` of extension 0x0002 (worker-specific hash rate).
//!
//! A TLV is a U16 extension id, a U8 field number, a U16 length and the value. The spec's example writes the
//! numbers big-endian against its own rule; we send little-endian and take either (C-35).

use alloc::vec::Vec;
use core::fmt;

use crate::codec::{Field, Reader};
use crate::extension::{self, USER_IDENTITY, USER_IDENTITY_MAX, WORKER_HASH_RATE};
use crate::message::{Message, TLV_ROOM, append_frame};
use crate::types::TooLong;

/// Bytes of a TLV before its value.
pub const HEAD_LEN: usize = 5;

/// One appended field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// Extension that defines the field.
    pub extension: u16,
    /// Number of the field inside its extension.
    pub field_type: u8,
    /// The field's bytes; at most 65,535.
    pub value: &'a [u8],
}

impl<'a> Tlv<'a> {
    /// The `user_identity` of a worker. Error: longer than [`USER_IDENTITY_MAX`] bytes (REQ-EXT-035).
    pub const fn user_identity(worker: &'a str) -> Result<Self, TooLong> {
        let value = worker.as_bytes();
        if value.len() > USER_IDENTITY_MAX {
            return Err(TooLong {
                len: value.len(),
                max: USER_IDENTITY_MAX,
            });
        }
        Ok(Self {
            extension: WORKER_HASH_RATE,
            field_type: USER_IDENTITY,
            value,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.extension.encode(out);
        self.field_type.encode(out);
        (self.value.len() as u16).encode(out);
        out.extend_from_slice(self.value);
    }
}

/// The name of a worker as `user_identity` carries it: at most 32 bytes of UTF-8, without padding (REQ-EXT-035). Held in
/// place, so that reading one allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerName {
    length: u8,
    bytes: [u8; USER_IDENTITY_MAX],
}

impl WorkerName {
    /// A name. Error: longer than [`USER_IDENTITY_MAX`] bytes.
    pub fn new(name: &str) -> Result<Self, TooLong> {
        TooLong::check(name.len(), USER_IDENTITY_MAX)?;
        let mut bytes = [0; USER_IDENTITY_MAX];
        bytes
            .iter_mut()
            .zip(name.bytes())
            .for_each(|(to, from)| *to = from);
        Ok(Self {
            length: name.len() as u8,
            bytes,
        })
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let used = self.bytes.get(..self.length.into()).unwrap_or_default();
        core::str::from_utf8(used).unwrap_or_default()
    }

    /// Whether it names nobody: a legal value of length 0 (REQ-EXT-020).
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl fmt::Debug for WorkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Appends a frame of `message` with `tlvs` at its end, ordered by extension; those of one extension keep the order
/// given (REQ-EXT-015, 016, 018). The header stays the message's own (REQ-EXT-014).
///
/// Error: together they exceed [`TLV_ROOM`], and nothing is written.
pub fn encode_frame_with<M: Message>(
    message: &M,
    tlvs: &[Tlv<'_>],
    out: &mut Vec<u8>,
) -> Result<(), TooLong> {
    let len = tlvs.iter().fold(0usize, |sum, tlv| {
        sum.saturating_add(HEAD_LEN).saturating_add(tlv.value.len())
    });
    TooLong::check(len, TLV_ROOM as usize)?;
    append_frame::<M>(out, |out| {
        message.encode(out);
        let mut after = None;
        while let Some(next) = next_extension(tlvs, after) {
            tlvs.iter()
                .filter(|tlv| tlv.extension == next)
                .for_each(|tlv| tlv.write(out));
            after = Some(next);
        }
    });
    Ok(())
}

/// The smallest extension id above `after`.
fn next_extension(tlvs: &[Tlv<'_>], after: Option<u16>) -> Option<u16> {
    tlvs.iter()
        .map(|tlv| tlv.extension)
        .filter(|id| after.is_none_or(|after| *id > after))
        .min()
}

/// Why appended bytes are not TLVs, or not the one asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlvError {
    /// The bytes end inside a TLV.
    Truncated,
    /// The value is longer than its extension allows (REQ-EXT-019).
    TooLong {
        /// Bytes sent.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Text that is not UTF-8 (REQ-EXT-035).
    NotUtf8,
    /// A field that may stand once stands twice.
    Repeated,
}

impl fmt::Display for TlvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => write!(f, "the payload ends inside a TLV"),
            Self::TooLong { len, max } => write!(f, "a TLV value of {len} bytes is above the limit of {max}"),
            Self::NotUtf8 => write!(f, "a TLV text is not UTF-8"),
            Self::Repeated => write!(f, "a TLV stands twice"),
        }
    }
}

impl core::error::Error for TlvError {}

/// Iterates over the TLVs after a message, in the order sent (REQ-EXT-017). After an error it ends.
#[derive(Clone, Debug)]
pub struct Tlvs<'a> {
    reader: Reader<'a>,
    negotiated: &'a [u16],
}

impl<'a> Tlvs<'a> {
    /// The TLVs in `rest`, the second part of [`Message::decode_with_rest`]. `negotiated` are the extension ids in use
    /// on the connection: they decide which byte order an ambiguous TLV has (C-35).
    pub const fn new(rest: &'a [u8], negotiated: &'a [u16]) -> Self {
        Self {
            reader: Reader::new(rest),
            negotiated,
        }
    }

    /// Big-endian only if that makes the id a negotiated one, the little-endian id is not, and the value is all there.
    fn big_endian(&self, id: [u8; 2], len: [u8; 2], after: &Reader<'_>) -> bool {
        !self.negotiated.contains(&u16::from_le_bytes(id))
            && self.negotiated.contains(&u16::from_be_bytes(id))
            && after.rest().len() >= usize::from(u16::from_be_bytes(len))
    }

    fn read(&self, reader: &mut Reader<'a>) -> Result<Tlv<'a>, TlvError> {
        let [e0, e1, field_type, l0, l1] = reader.array().map_err(|_| TlvError::Truncated)?;
        let read = if self.big_endian([e0, e1], [l0, l1], reader) {
            u16::from_be_bytes
        } else {
            u16::from_le_bytes
        };
        let value = reader
            .take(read([l0, l1]).into())
            .map_err(|_| TlvError::Truncated)?;
        Ok(Tlv {
            extension: read([e0, e1]),
            field_type,
            value,
        })
    }
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Result<Tlv<'a>, TlvError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.rest().is_empty() {
            return None;
        }
        let mut reader = self.reader.clone();
        let tlv = self.read(&mut reader);
        self.reader = if tlv.is_ok() { reader } else { Reader::new(&[]) };
        Some(tlv)
    }
}

/// The worker that a SubmitSharesExtended names, if extension 0x0002 is in use; an empty name is a name.
///
/// Without the extension whatever follows the message is ignored (REQ-EXT-037). Errors: malformed TLVs, a name of
/// more than 32 bytes (REQ-EXT-019) or not in UTF-8, two names.
pub fn user_identity<'a>(rest: &'a [u8], negotiated: &'a [u16]) -> Result<Option<&'a str>, TlvError> {
    if rest.is_empty() || !negotiated.contains(&WORKER_HASH_RATE) {
        return Ok(None);
    }
    let mut worker = None;
    for tlv in Tlvs::new(rest, negotiated) {
        let tlv = tlv?;
        let Tlv {
            extension,
            field_type,
            value,
        } = tlv;
        if !negotiated.contains(&extension) {
            continue;
        }
        let most = extension::field_of(&tlv).map(|field| field.value_max);
        if let Some(max) = most.filter(|max| value.len() > *max) {
            return Err(TlvError::TooLong {
                len: value.len(),
                max,
            });
        }
        if (extension, field_type) != (WORKER_HASH_RATE, USER_IDENTITY) {
            continue;
        }
        let text = core::str::from_utf8(value).map_err(|_| TlvError::NotUtf8)?;
        if worker.replace(text).is_some() {
            return Err(TlvError::Repeated);
        }
    }
    Ok(worker)
}
