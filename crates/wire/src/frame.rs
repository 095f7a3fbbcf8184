//! The frame header, spec 3.2: six bytes before every payload.

use core::fmt;

/// Bit 15 of `extension_type`: the payload starts with a channel id (spec 3.2.1, erratum C-04).
const CHANNEL_MSG: u16 = 0x8000;

/// The largest `msg_length` a U24 can say.
pub const MSG_LENGTH_MAX: u32 = 0x00ff_ffff;

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Extension id in bits 0-14, the channel bit in bit 15: as on the wire.
    pub extension_type: u16,
    /// Number of the message inside its extension.
    pub msg_type: u8,
    /// Bytes of payload, header excluded. At most [`MSG_LENGTH_MAX`].
    pub msg_length: u32,
}

impl Header {
    /// Bytes of a header on the wire.
    pub const LEN: usize = 6;

    /// A header from its parts. `msg_length` counts payload bytes; bits above 24 are dropped.
    #[inline]
    pub const fn new(extension: u16, channel_msg: bool, msg_type: u8, msg_length: u32) -> Self {
        let bit = if channel_msg { CHANNEL_MSG } else { 0 };
        Self {
            extension_type: (extension & !CHANNEL_MSG) | bit,
            msg_type,
            msg_length: msg_length & MSG_LENGTH_MAX,
        }
    }

    /// Reads a header. Any six bytes are one, so this cannot fail; whether its message is known and its
    /// length allowed is asked of `ToServer::length_max` and `ToClient::length_max`.
    #[inline]
    pub const fn parse(bytes: [u8; Self::LEN]) -> Self {
        let [e0, e1, msg_type, l0, l1, l2] = bytes;
        Self {
            extension_type: u16::from_le_bytes([e0, e1]),
            msg_type,
            msg_length: u32::from_le_bytes([l0, l1, l2, 0]),
        }
    }

    /// The header's bytes. Bits of `msg_length` above 24 are dropped.
    #[inline]
    pub const fn encode(&self) -> [u8; Self::LEN] {
        let [e0, e1] = self.extension_type.to_le_bytes();
        let [l0, l1, l2, _] = self.msg_length.to_le_bytes();
        [e0, e1, self.msg_type, l0, l1, l2]
    }

    /// Whether bit 15 is set: the first four payload bytes are a channel id.
    #[inline]
    pub const fn channel_msg(&self) -> bool {
        self.extension_type & CHANNEL_MSG != 0
    }

    /// The extension id without bit 15; 0 is the core protocol (REQ-FRM-017).
    #[inline]
    pub const fn extension(&self) -> u16 {
        self.extension_type & !CHANNEL_MSG
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (extension, channel) = (self.extension(), if self.channel_msg() { " channel" } else { "" });
        write!(
            f,
            "extension 0x{extension:04x}{channel}, message 0x{:02x}, {} bytes",
            self.msg_type, self.msg_length
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// REQ-FRM-001, REQ-FRM-010, REQ-FRM-015, REQ-FRM-016.
    #[test]
    fn header_has_the_bytes_of_the_spec() {
        let header = Header::new(0, true, 0x1a, 24);
        assert_eq!(header.encode(), [0x00, 0x80, 0x1a, 0x18, 0, 0]);
        assert_eq!(Header::parse([0x00, 0x80, 0x1a, 0x18, 0, 0]), header);
        assert_eq!(
            Header::parse([0, 0, 0x71, 0x01, 0x02, 0x03]).msg_length,
            0x03_02_01
        );
    }

    /// REQ-FRM-017: 0x8abc is extension 0x0abc with the channel bit.
    #[test]
    fn the_channel_bit_is_no_part_of_the_extension() {
        let header = Header::parse([0xbc, 0x8a, 0, 0, 0, 0]);
        assert_eq!((header.extension(), header.channel_msg()), (0x0abc, true));
        assert_eq!(Header::parse([0xbc, 0x0a, 0, 0, 0, 0]).extension(), 0x0abc);
    }
}
