//! MAC, PUBKEY and SIGNATURE: fixed bytes of the security chapter (spec 3.1, chapter 4).

use alloc::vec::Vec;
use core::fmt;

use super::write_hex;
use crate::codec::{Field, Reader, Reason};

macro_rules! fixed_bytes {
    ($($(#[$doc:meta])* $T:ident: $len:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $T(pub [u8; $len]);

        impl fmt::Debug for $T {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}(", stringify!($T))?;
                write_hex(f, self.0.iter())?;
                write!(f, ")")
            }
        }

        impl Field for $T {
            const MIN_LEN: u32 = $len;
            const MAX_LEN: u32 = $len;

            #[inline(always)]
            fn decode(reader: &mut Reader<'_>) -> Result<Self, Reason> {
                reader.array().map(Self)
            }

            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.0);
            }
        }
    )*};
}

fixed_bytes! {
    /// MAC: the 16-byte tag of the AEAD.
    Mac: 16;
    /// PUBKEY: 32 bytes. BIP340 x-only in the current spec, Ed25519 or X25519 in the seeds (C-19, C-101).
    Pubkey: 32;
    /// SIGNATURE: 64 raw bytes. BIP340 in the current spec, Ed25519 in the seed of 2022-09.
    Signature: 64;
}

/// SIGNATURE as the seed of 2022-05 has it: an alias of B0_64K, so a U16 length (64) stands before the 64 bytes (C-11).
///
/// The length is written right and skipped unread: peers of that time sent wrong ones (C-100).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignaturePrefixed(pub Signature);

impl Field for SignaturePrefixed {
    const MIN_LEN: u32 = 2 + Signature::MIN_LEN;
    const MAX_LEN: u32 = 2 + Signature::MAX_LEN;

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Reason> {
        u16::decode(reader)?;
        Signature::decode(reader).map(Self)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        (Signature::MIN_LEN as u16).encode(out);
        self.0.encode(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// REQ-FRM-012: 64 bytes, or a U16 length and 64 bytes.
    #[test]
    fn signature_has_two_forms() {
        let signature = Signature([0xab; 64]);
        let (mut raw, mut prefixed) = (Vec::new(), Vec::new());
        signature.encode(&mut raw);
        SignaturePrefixed(signature).encode(&mut prefixed);
        assert_eq!(raw, [0xab; 64]);
        assert_eq!((&prefixed[..2], &prefixed[2..]), (&[0x40, 0x00][..], &raw[..]));
        prefixed[0] = 0x4a;
        assert_eq!(
            SignaturePrefixed::decode(&mut Reader::new(&prefixed)),
            Ok(SignaturePrefixed(signature))
        );
    }
}
