//! Frames as records (spec 4.6): the header alone, then the payload in chunks, each with its own counter.

use alloc::vec::Vec;

use crate::Header;
use crate::aead::{AeadError, Cipher, TAG};
use crate::session::{Feed, SessionError};

/// Bytes of a plain frame header.
pub const HEADER_BYTES: usize = 6;

/// Bytes of an authentication tag, one behind every record.
pub const TAG_BYTES: usize = TAG;

/// Bytes of a sealed frame header.
pub const HEADER_RECORD_BYTES: usize = HEADER_BYTES + TAG;

/// Plaintext bytes of one payload record at most: a record never exceeds 65,535 bytes.
pub const CHUNK_BYTES_MAX: usize = RECORD_BYTES_MAX - TAG;

const RECORD_BYTES_MAX: usize = 65_535;

/// Bytes that a payload of `payload` bytes takes when sealed; 0 for an empty one, which has no record (C-102).
pub const fn payload_records_bytes(payload: u32) -> usize {
    let payload = payload as usize;
    payload + TAG * payload.div_ceil(CHUNK_BYTES_MAX)
}

/// Header and payload of a frame, if its header tells the truth about its length.
#[inline]
pub(crate) fn check(frame: &[u8]) -> Result<(&[u8; HEADER_BYTES], &[u8]), SessionError> {
    let (head, payload) = frame
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or(SessionError::Malformed)?;
    if Header::parse(*head).msg_length as usize != payload.len() {
        return Err(SessionError::Malformed);
    }
    Ok((head, payload))
}

/// Seals one direction.
pub(crate) struct Sealer(pub(crate) Cipher);

impl Sealer {
    /// Appends the records of `frame` to `out`; after an error `out` is as before.
    pub(crate) fn seal(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<(), SessionError> {
        let (head, payload) = check(frame)?;
        let records = 1 + payload.len().div_ceil(CHUNK_BYTES_MAX) as u64;
        if self.0.remaining() < records {
            return Err(SessionError::Exhausted);
        }
        let start = out.len();
        out.reserve(HEADER_RECORD_BYTES + payload_records_bytes(payload.len() as u32));
        let sealed = self.append(head, payload, out);
        if sealed.is_err() {
            out.truncate(start);
        }
        Ok(sealed?)
    }

    #[inline]
    fn append(&mut self, head: &[u8], payload: &[u8], out: &mut Vec<u8>) -> Result<(), AeadError> {
        self.record(head, out)?;
        payload
            .chunks(CHUNK_BYTES_MAX)
            .try_for_each(|chunk| self.record(chunk, out))
    }

    #[inline]
    fn record(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), AeadError> {
        let start = out.len();
        out.extend_from_slice(text);
        let tag = self.0.seal(&[], &mut out[start..])?;
        out.extend_from_slice(&tag);
        Ok(())
    }
}

/// Opens one direction.
pub(crate) struct Opener {
    cipher: Cipher,
    /// A header that was opened while its payload was not all there: its record must not be opened twice.
    header: Option<Header>,
}

impl Opener {
    pub(crate) fn new(cipher: Cipher) -> Self {
        Self { cipher, header: None }
    }

    /// See [`crate::Session::feed`].
    pub(crate) fn feed<'b>(
        &mut self,
        buf: &'b mut [u8],
        limit: impl FnOnce(&Header) -> u32,
    ) -> Result<Feed<'b>, SessionError> {
        let header = match self.header {
            Some(header) => header,
            None => match buf.first_chunk_mut::<HEADER_RECORD_BYTES>() {
                Some(record) => self.open_header(record, limit)?,
                None => return Ok(Feed::Need(HEADER_RECORD_BYTES)),
            },
        };
        let length = header.msg_length as usize;
        let used = HEADER_RECORD_BYTES + payload_records_bytes(header.msg_length);
        let Some(records) = buf.get_mut(HEADER_RECORD_BYTES..used) else {
            self.header = Some(header);
            return Ok(Feed::Need(used));
        };
        self.header = None;
        self.open_payload(records)?;
        let payload = records.get(..length).ok_or(SessionError::Malformed)?;
        Ok(Feed::Frame {
            used,
            header,
            payload,
        })
    }

    /// Asks for the limit before anybody waits for the payload or makes room for it.
    #[inline]
    fn open_header(
        &mut self,
        record: &mut [u8; HEADER_RECORD_BYTES],
        limit: impl FnOnce(&Header) -> u32,
    ) -> Result<Header, SessionError> {
        self.cipher.open(&[], record)?;
        let [b0, b1, b2, b3, b4, b5, ..] = *record;
        let header = Header::parse([b0, b1, b2, b3, b4, b5]);
        let limit = limit(&header);
        if header.msg_length > limit {
            return Err(SessionError::TooLong {
                length: header.msg_length,
                limit,
            });
        }
        Ok(header)
    }

    /// Opens all records of a payload in place and moves the chunks together.
    #[inline]
    fn open_payload(&mut self, records: &mut [u8]) -> Result<(), AeadError> {
        if records.is_empty() {
            return Ok(());
        }
        if records.len() <= RECORD_BYTES_MAX {
            return self.cipher.open(&[], records);
        }
        let (mut read, mut written) = (0, 0);
        while read < records.len() {
            let end = records.len().min(read + RECORD_BYTES_MAX);
            self.cipher.open(&[], &mut records[read..end])?;
            records.copy_within(read..end - TAG, written);
            written += end - TAG - read;
            read = end;
        }
        Ok(())
    }
}
