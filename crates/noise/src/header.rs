//! The plain frame header (spec 3.2), as far as records need it.

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Extension id in bits 0-14, the channel bit in bit 15: as on the wire.
    pub extension_type: u16,
    /// Number of the message inside its extension.
    pub msg_type: u8,
    /// Bytes of payload, header excluded; below 2^24.
    pub msg_length: u32,
}

impl Header {
    /// Reads a header. Any six bytes are one.
    pub const fn parse(bytes: [u8; 6]) -> Self {
        let [e0, e1, msg_type, l0, l1, l2] = bytes;
        Self {
            extension_type: u16::from_le_bytes([e0, e1]),
            msg_type,
            msg_length: u32::from_le_bytes([l0, l1, l2, 0]),
        }
    }
}
