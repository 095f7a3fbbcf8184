//! Short text inside a record.

use super::RecordError;

/// Bytes with a length, inline; the bytes behind the length are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text<const N: usize> {
    pub(super) length: u8,
    pub(super) bytes: [u8; N],
}

impl<const N: usize> Text<N> {
    pub(super) fn new(from: &[u8]) -> Self {
        let length = from.len().min(N);
        let mut bytes = [0; N];
        bytes[..length].copy_from_slice(&from[..length]);
        Self {
            length: length as u8,
            bytes,
        }
    }

    /// The longest beginning of `from` that fits and ends between characters.
    pub(super) fn cut(from: &str) -> Self {
        Self::new(&from.as_bytes()[..from.floor_char_boundary(N)])
    }

    pub(super) fn read(length: u8, bytes: [u8; N], field: &'static str) -> Result<Self, RecordError> {
        if usize::from(length) > N || bytes[usize::from(length)..].iter().any(|byte| *byte != 0) {
            return Err(RecordError::Field(field));
        }
        Ok(Self { length, bytes })
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}
