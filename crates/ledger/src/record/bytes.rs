//! Little-endian reading and writing inside one record; widths are fixed, so nothing can run over.

use super::RECORD_BYTES;

/// Writes fields one after the other; what is left at the end becomes zero.
pub(super) struct Filler<'a> {
    bytes: &'a mut [u8; RECORD_BYTES],
    at: usize,
}

impl<'a> Filler<'a> {
    pub(super) fn new(bytes: &'a mut [u8; RECORD_BYTES]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn put(&mut self, field: &[u8]) {
        let end = self.at + field.len();
        self.bytes[self.at..end].copy_from_slice(field);
        self.at = end;
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.put(&value.to_le_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }

    pub(super) fn finish(self) {
        self.bytes[self.at..].fill(0);
    }
}

/// Reads fields one after the other.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8; RECORD_BYTES],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8; RECORD_BYTES]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut field = [0; N];
        field.copy_from_slice(&self.bytes[self.at..self.at + N]);
        self.at += N;
        field
    }

    pub(super) fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.take())
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}
