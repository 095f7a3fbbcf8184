//! Frames as records of the 2022 draft (seeds 3.3.4): each a U16 length and one AEAD message; header and payload are
//! sealed together, and a frame that is too long for one record is cut.

use alloc::vec::Vec;

use crate::Header;
use crate::aead::{Cipher, TAG};
use crate::records::{CHUNK_BYTES_MAX, HEADER_BYTES, check};
use crate::session::{Feed, SessionError};

/// Bytes of the length before a record.
const LENGTH_BYTES: usize = 2;

/// Lengths and tags that may pile up before a frame is whole. The longest frame there is, cut as it should be, has 5 kB
/// of them; a peer that sends crumbs, or records without text and no end, would otherwise fill our memory.
const DEAD_BYTES_MAX: usize = 65_536;

/// Seals one direction.
pub(crate) struct Sealer(pub(crate) Cipher);

impl Sealer {
    /// Appends the records of `frame` to `out`; after an error `out` is as before.
    pub(crate) fn seal(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<(), SessionError> {
        check(frame)?;
        let records = frame.len().div_ceil(CHUNK_BYTES_MAX);
        if self.0.remaining() < records as u64 {
            return Err(SessionError::Exhausted);
        }
        let start = out.len();
        out.reserve(frame.len() + records * (LENGTH_BYTES + TAG));
        let sealed = frame
            .chunks(CHUNK_BYTES_MAX)
            .try_for_each(|piece| self.record(piece, out));
        if sealed.is_err() {
            out.truncate(start);
        }
        sealed
    }

    #[inline]
    fn record(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), SessionError> {
        let length = u16::try_from(piece.len() + TAG).map_err(|_| SessionError::Malformed)?;
        out.extend_from_slice(&length.to_le_bytes());
        let start = out.len();
        out.extend_from_slice(piece);
        let tag = self.0.seal(&[], &mut out[start..])?;
        out.extend_from_slice(&tag);
        Ok(())
    }
}

/// Opens one direction. The text of the records is one stream: a record may hold a part of a frame, or several
/// (REQ-SEC-021). In the reader's buffer it looks like this, between calls too:
///
/// ```text
/// | used up |  opened text, not yet given out  |  gap: lengths, tags  |  sealed records
/// 0         start                              start + text           start + text + gap
/// ```
pub(crate) struct Opener {
    cipher: Cipher,
    start: usize,
    text: usize,
    gap: usize,
    /// Header of the frame at `start`, so that its limit is asked for once.
    header: Option<Header>,
}

impl Opener {
    pub(crate) fn new(cipher: Cipher) -> Self {
        Self {
            cipher,
            start: 0,
            text: 0,
            gap: 0,
            header: None,
        }
    }

    /// See [`crate::Session::feed`].
    pub(crate) fn feed<'b>(
        &mut self,
        buf: &'b mut [u8],
        limit: impl FnOnce(&Header) -> u32,
    ) -> Result<Feed<'b>, SessionError> {
        let mut limit = Some(limit);
        loop {
            if self.header.is_none() && self.text >= HEADER_BYTES {
                let opened = buf.get(self.start..).and_then(|text| text.first_chunk());
                let header = Header::parse(*opened.ok_or(SessionError::Malformed)?);
                if let Some(limit) = limit.take() {
                    header_within(&header, limit(&header))?;
                }
                self.header = Some(header);
            }
            match self.header {
                Some(header) if self.text >= HEADER_BYTES + header.msg_length as usize => {
                    return self.give(header, buf);
                }
                _ => {}
            }
            if let Some(need) = self.open_next(buf)? {
                return Ok(Feed::Need(need));
            }
        }
    }

    /// Takes the next record in, or says up to where its bytes must be there.
    #[inline]
    fn open_next(&mut self, buf: &mut [u8]) -> Result<Option<usize>, SessionError> {
        let end_of_text = self.start + self.text;
        let from = end_of_text + self.gap;
        let Some([low, high]) = buf
            .get(from..)
            .and_then(|rest| rest.first_chunk::<LENGTH_BYTES>())
        else {
            return Ok(Some(from + LENGTH_BYTES + TAG));
        };
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        if length < TAG {
            return Err(SessionError::Authentication);
        }
        let from = from + LENGTH_BYTES;
        let Some(record) = buf.get_mut(from..from + length) else {
            return Ok(Some(from + length));
        };
        self.cipher.open(&[], record)?;
        let text = length - TAG;
        if self.text == 0 {
            (self.start, self.text, self.gap) = (from, text, TAG);
        } else {
            buf.copy_within(from..from + text, end_of_text);
            self.text += text;
            self.gap += LENGTH_BYTES + TAG;
        }
        if self.start + self.gap > DEAD_BYTES_MAX {
            return Err(SessionError::Crumbs);
        }
        Ok(None)
    }

    /// The frame at `start`, whose text is all there.
    #[inline]
    fn give<'b>(&mut self, header: Header, buf: &'b mut [u8]) -> Result<Feed<'b>, SessionError> {
        let from = self.start + HEADER_BYTES;
        let to = from + header.msg_length as usize;
        let rest = self.start + self.text - to;
        // What is left moves up to the sealed records, so that the gap goes with this frame and never grows.
        let used = to + self.gap;
        if rest > 0 && self.gap > 0 {
            buf.copy_within(to..to + rest, used);
        }
        self.header = None;
        (self.start, self.text, self.gap) = (0, rest, 0);
        let payload = buf.get(from..to).ok_or(SessionError::Malformed)?;
        Ok(Feed::Frame {
            used,
            header,
            payload,
        })
    }
}

/// Refuses a header that announces more than the reader takes.
pub(crate) fn header_within(header: &Header, limit: u32) -> Result<(), SessionError> {
    if header.msg_length > limit {
        return Err(SessionError::TooLong {
            length: header.msg_length,
            limit,
        });
    }
    Ok(())
}
