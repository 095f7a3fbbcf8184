//! The Ed25519 certificate of the 2022 draft: `SIGNATURE_NOISE_MESSAGE`, what it signs, and who issues it (seeds 3.3.5).

use crate::certificate::{CertificateError, Window};

use super::Trust;
use super::keys::{AuthorityKeypair, AuthorityPublicKey};

/// The only version there is.
const VERSION: u16 = 0;
/// Version, window, and the two keys, each behind its length as U16.
const SIGNED_BYTES: usize = 10 + 2 + 32 + 2 + 32;
/// Bytes before the signature.
const HEAD_BYTES: usize = 10;
/// U16 length of the signature, as the older text puts it before it.
const SIGNATURE_PREFIX: [u8; 2] = [64, 0];

/// How the signature stands on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignatureForm {
    /// 64 bytes, 74 in all: the text of 2022-09.
    #[default]
    Raw,
    /// Its length as U16 and 64 bytes, 76 in all: the text of 2022-05 and older peers.
    Prefixed,
}

/// Version, validity and Ed25519 signature. The server key that is signed travels beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate {
    version: u16,
    valid_from: u32,
    not_valid_after: u32,
    signature: [u8; 64],
}

impl Certificate {
    /// Length on the wire in the form [`SignatureForm::Raw`], in bytes.
    pub const BYTES: usize = HEAD_BYTES + 64;

    /// Length on the wire in the form [`SignatureForm::Prefixed`], in bytes.
    pub const BYTES_PREFIXED: usize = Self::BYTES + 2;

    /// What the first two bytes say; only 0 is ever believed.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// The 64 bytes of the Ed25519 signature.
    pub fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    /// First second of validity, Unix time.
    pub fn valid_from(&self) -> u32 {
        self.valid_from
    }

    /// Last second of validity, Unix time.
    pub fn not_valid_after(&self) -> u32 {
        self.not_valid_after
    }

    /// Half of the life after the issue is over; see [`crate::Certificate::needs_renewal`].
    pub fn needs_renewal(&self, now_unix_s: u64) -> bool {
        self.window().needs_renewal(now_unix_s)
    }

    /// The 74 bytes of the wire, integers little-endian.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..HEAD_BYTES].copy_from_slice(&self.head());
        bytes[HEAD_BYTES..].copy_from_slice(&self.signature);
        bytes
    }

    /// The 76 bytes of [`SignatureForm::Prefixed`].
    pub fn to_bytes_prefixed(&self) -> [u8; Self::BYTES_PREFIXED] {
        let mut bytes = [0; Self::BYTES_PREFIXED];
        bytes[..HEAD_BYTES].copy_from_slice(&self.head());
        bytes[HEAD_BYTES..HEAD_BYTES + 2].copy_from_slice(&SIGNATURE_PREFIX);
        bytes[HEAD_BYTES + 2..].copy_from_slice(&self.signature);
        bytes
    }

    /// Reads the 74 bytes of the wire. Any 74 bytes are a certificate; whether it is worth anything, the check tells.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let [v0, v1, f0, f1, f2, f3, a0, a1, a2, a3, signature @ ..] = *bytes;
        Self {
            version: u16::from_le_bytes([v0, v1]),
            valid_from: u32::from_le_bytes([f0, f1, f2, f3]),
            not_valid_after: u32::from_le_bytes([a0, a1, a2, a3]),
            signature,
        }
    }

    /// Reads the 76 bytes of the older form. Peers differ in what they put before the signature, so those two bytes are
    /// skipped unread (C-100).
    pub fn from_bytes_prefixed(bytes: &[u8; Self::BYTES_PREFIXED]) -> Self {
        let mut plain = [0; Self::BYTES];
        plain[..HEAD_BYTES].copy_from_slice(&bytes[..HEAD_BYTES]);
        plain[HEAD_BYTES..].copy_from_slice(&bytes[HEAD_BYTES + 2..]);
        Self::from_bytes(&plain)
    }

    /// Checks version, signature and validity for a server's X25519 key, in this order.
    ///
    /// With [`Trust::AnyKey`] nothing signs the dates, so only the version is looked at.
    ///
    /// [`Trust::AnyKey`]: crate::Trust::AnyKey
    pub fn check(
        &self,
        server_key: &[u8; 32],
        trust: &Trust,
        now_unix_s: u64,
        leeway_s: u32,
    ) -> Result<(), CertificateError> {
        if self.version != VERSION {
            return Err(CertificateError::Version(self.version));
        }
        let Trust::Authority(authority) = trust else {
            return Ok(());
        };
        if !authority.verifies(&self.message(server_key, authority), &self.signature) {
            return Err(CertificateError::Signature);
        }
        self.window().check(now_unix_s, leeway_s)
    }

    fn window(&self) -> Window {
        Window {
            from: self.valid_from,
            to: self.not_valid_after,
        }
    }

    fn head(&self) -> [u8; HEAD_BYTES] {
        let mut head = [0; HEAD_BYTES];
        head[..2].copy_from_slice(&self.version.to_le_bytes());
        head[2..6].copy_from_slice(&self.valid_from.to_le_bytes());
        head[6..].copy_from_slice(&self.not_valid_after.to_le_bytes());
        head
    }

    /// What is signed: the ten bytes before the signature, the server's key and the authority's, each key behind its
    /// length (REQ-SEC-016, C-88). The tables of the text leave the server's key out, which would let anybody show
    /// anybody's certificate; no peer ever signed that.
    pub(crate) fn message(
        &self,
        server_key: &[u8; 32],
        authority: &AuthorityPublicKey,
    ) -> [u8; SIGNED_BYTES] {
        let mut message = [0; SIGNED_BYTES];
        message[..10].copy_from_slice(&self.head());
        message[10..12].copy_from_slice(&[32, 0]);
        message[12..44].copy_from_slice(server_key);
        message[44..46].copy_from_slice(&[32, 0]);
        message[46..].copy_from_slice(&authority.to_bytes());
        message
    }
}

/// The operator's side: signs certificates for server keys. Ed25519 needs no randomness to sign.
pub struct Authority {
    keypair: AuthorityKeypair,
    valid_for_s: u32,
}

impl Authority {
    /// Certificates of this authority end `valid_for_s` seconds after their issue.
    pub fn new(keypair: AuthorityKeypair, valid_for_s: u32) -> Self {
        Self { keypair, valid_for_s }
    }

    /// The key that clients are told.
    pub fn public(&self) -> AuthorityPublicKey {
        self.keypair.public()
    }

    /// Signs a server's X25519 key, valid from an hour before `now_unix_s`. Times beyond what 32 bits hold are cut.
    pub fn issue(&self, server_key: &[u8; 32], now_unix_s: u64) -> Certificate {
        let Window { from, to } = Window::issued(now_unix_s, self.valid_for_s);
        self.issue_between(server_key, from, to)
    }

    /// Signs a server key for exactly these seconds, both inclusive.
    pub fn issue_between(&self, server_key: &[u8; 32], valid_from: u32, not_valid_after: u32) -> Certificate {
        let mut certificate = Certificate {
            version: VERSION,
            valid_from,
            not_valid_after,
            signature: [0; 64],
        };
        let message = certificate.message(server_key, &self.public());
        certificate.signature = self.keypair.sign(&message);
        certificate
    }
}
