//! What every message can do, and its row in the table.

use alloc::vec::Vec;

use crate::codec::DecodeError;
use crate::frame::{Header, MSG_LENGTH_MAX};

/// Payload bytes that a receiver allows beyond the known fields of a message: room for the TLVs of
/// extensions (spec 3.4.3). The one TLV in use takes 37.
pub const TLV_ROOM: u32 = 512;

/// A Stratum V2 message. All of them are rows of the tables in [`common`](crate::common),
/// [`mining`](crate::mining), [`declare`](crate::declare), [`template`](crate::template),
/// [`distribute`](crate::distribute) and [`negotiation`](crate::negotiation).
pub trait Message: Sized {
    /// Name in the spec, such as `SubmitShares.Success`.
    const NAME: &'static str;
    /// Extension id, without the channel bit; 0 is the core protocol.
    const EXTENSION: u16;
    /// Number of the message inside its extension.
    const TYPE: u8;
    /// Whether the payload starts with a channel id and bit 15 of `extension_type` is set.
    const CHANNEL_MSG: bool;
    /// Bytes of the shortest payload.
    const MIN_LEN: u32;
    /// Bytes of the longest payload, without TLVs.
    const MAX_LEN: u32;
    /// Name and type of each field, in the order of the wire.
    const FIELDS: &'static [(&'static str, &'static str)];

    /// Reads a payload and returns what follows the known fields: room for TLVs, never an error
    /// (REQ-FRM-022). Error: the first malformed field.
    fn decode_with_rest(payload: &[u8]) -> Result<(Self, &[u8]), DecodeError>;

    /// Appends the payload.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads a payload, ignoring bytes after the last known field. Error: the first malformed field.
    #[inline(always)]
    fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        Self::decode_with_rest(payload).map(|(message, _)| message)
    }

    /// Appends header and payload.
    #[inline]
    fn encode_frame(&self, out: &mut Vec<u8>) {
        append_frame::<Self>(out, |out| self.encode(out));
    }
}

/// Appends a header for `M` and what `payload` writes, then fills the length in.
#[inline]
pub(crate) fn append_frame<M: Message>(out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) {
    const {
        assert!(
            M::MAX_LEN <= MSG_LENGTH_MAX - TLV_ROOM,
            "a payload must fit the U24 length"
        )
    };
    out.reserve(Header::LEN + M::MIN_LEN as usize);
    let start = out.len();
    out.extend_from_slice(&Header::new(M::EXTENSION, M::CHANNEL_MSG, M::TYPE, 0).encode());
    payload(out);
    let length = (out.len() - start - Header::LEN) as u32;
    if let Some(header) = out
        .get_mut(start..)
        .and_then(|frame| frame.first_chunk_mut::<{ Header::LEN }>())
    {
        *header = Header::new(M::EXTENSION, M::CHANNEL_MSG, M::TYPE, length).encode();
    }
}

/// Who sends a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Client to server ("upstream").
    ToServer,
    /// Server to client ("downstream").
    ToClient,
    /// Either.
    Both,
}

/// A message's row, for tools and for the test that holds the tables against `docs/spec/messages.md`.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// [`Message::NAME`].
    pub name: &'static str,
    /// [`Message::EXTENSION`].
    pub extension: u16,
    /// [`Message::TYPE`].
    pub msg_type: u8,
    /// [`Message::CHANNEL_MSG`].
    pub channel_msg: bool,
    /// Who sends it.
    pub direction: Direction,
    /// [`Message::MIN_LEN`], in bytes.
    pub min_len: u32,
    /// [`Message::MAX_LEN`], in bytes.
    pub max_len: u32,
    /// [`Message::FIELDS`].
    pub fields: &'static [(&'static str, &'static str)],
}

impl Row {
    pub(crate) const fn of<M: Message>(direction: Direction) -> Self {
        Self {
            name: M::NAME,
            extension: M::EXTENSION,
            msg_type: M::TYPE,
            channel_msg: M::CHANNEL_MSG,
            direction,
            min_len: M::MIN_LEN,
            max_len: M::MAX_LEN,
            fields: M::FIELDS,
        }
    }
}
