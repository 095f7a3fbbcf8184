//! Which AEAD: the initiator's list, the responder's choice, and both of them as the prologue (seeds 3.3.3, C-89).

use alloc::vec::Vec;

use crate::HandshakeError;
use crate::aead::Aead;

/// First bytes of an offer, behind its length.
pub const MAGIC: [u8; 4] = *b"STR3";
/// Bytes of a code.
const CODE_BYTES: usize = 4;
/// Magic and count.
const OFFER_BYTES_MIN: usize = 5;
/// As many codes as the count can say.
const OFFER_BYTES_MAX: usize = OFFER_BYTES_MIN + 255 * CODE_BYTES;

/// The four bytes that stand for an AEAD on the wire.
pub const fn code(aead: Aead) -> [u8; CODE_BYTES] {
    match aead {
        Aead::ChaChaPoly => *b"CHCH",
        Aead::AesGcm => *b"AESG",
    }
}

/// The Noise name that goes with a choice.
pub(super) const fn protocol_name(aead: Aead) -> &'static str {
    match aead {
        Aead::ChaChaPoly => "Noise_NX_25519_ChaChaPoly_BLAKE2s",
        Aead::AesGcm => "Noise_NX_25519_AESGCM_BLAKE2s",
    }
}

/// One or both AEADs, the preferred one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aeads {
    first: Aead,
    second: Option<Aead>,
}

impl Default for Aeads {
    /// ChaChaPoly, then AESGCM, as the reference of 2022.
    fn default() -> Self {
        Self::preferring(Aead::ChaChaPoly)
    }
}

impl Aeads {
    /// Both, this one first.
    pub const fn preferring(first: Aead) -> Self {
        let second = Some(match first {
            Aead::ChaChaPoly => Aead::AesGcm,
            Aead::AesGcm => Aead::ChaChaPoly,
        });
        Self { first, second }
    }

    /// This one and no other.
    pub const fn only(first: Aead) -> Self {
        Self { first, second: None }
    }

    /// In order of preference.
    pub fn iter(self) -> impl Iterator<Item = Aead> {
        core::iter::once(self.first).chain(self.second)
    }

    /// As SEQ0_255\[U32\].
    pub(super) fn list(self) -> Vec<u8> {
        let mut list = alloc::vec![0];
        for aead in self.iter() {
            list[0] += 1;
            list.extend_from_slice(&code(aead));
        }
        list
    }

    /// The first of ours that stands in `list`; what nobody knows is passed over.
    pub(super) fn first_in(self, list: &[u8]) -> Option<Aead> {
        let codes = list.get(1..)?;
        self.iter()
            .find(|aead| codes.chunks(CODE_BYTES).any(|offered| offered == code(*aead)))
    }

    pub(super) fn with_code(self, code_found: [u8; CODE_BYTES]) -> Option<Aead> {
        self.iter().find(|aead| code(*aead) == code_found)
    }
}

/// The offer as a frame body.
pub(super) fn offer(list: &[u8]) -> Vec<u8> {
    [MAGIC.as_slice(), list].concat()
}

/// Can a body of so many bytes be an offer?
pub(super) fn is_offer_length(bytes: usize) -> bool {
    (OFFER_BYTES_MIN..=OFFER_BYTES_MAX).contains(&bytes)
        && (bytes - OFFER_BYTES_MIN).is_multiple_of(CODE_BYTES)
}

/// The list in an offer, byte for byte as the prologue needs it.
pub(super) fn read_offer(body: &[u8]) -> Result<&[u8], HandshakeError> {
    let list = body.strip_prefix(&MAGIC).ok_or(HandshakeError::Offer)?;
    match list.split_first() {
        Some((count, codes)) if codes.len() == usize::from(*count) * CODE_BYTES => Ok(list),
        _ => Err(HandshakeError::Offer),
    }
}

/// What both sides mix in before the first key: who edits list or choice on the way breaks the handshake
/// (REQ-SEC-010).
pub(super) fn prologue(list: &[u8], choice: Aead) -> Vec<u8> {
    [list, &code(choice)].concat()
}
