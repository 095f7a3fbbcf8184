//! The certificate that ties a server's static key to its operator (spec 4.5.3), who may issue it, and who trusts it.

use core::fmt;

use secp256k1::schnorr::Signature;
use secp256k1::{Message, XOnlyPublicKey};
use sha2::{Digest, Sha256};

use crate::curve::context;
use crate::keys::{AuthorityKeypair, AuthorityPublicKey};
use crate::utc::Utc;

/// How far `valid_from` lies before the moment of issue, in seconds: miners' clocks are often behind.
pub const BACKDATE_S: u32 = 3_600;

/// How far a clock may be off at either end of the validity, in seconds, unless the caller says otherwise.
pub const LEEWAY_S_DEFAULT: u32 = 60;

/// The only version there is.
const VERSION: u16 = 0;

/// `SIGNATURE_NOISE_MESSAGE`: version, validity and signature. The server key that is signed travels beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate {
    version: u16,
    valid_from: u32,
    not_valid_after: u32,
    signature: [u8; 64],
}

impl Certificate {
    /// Length on the wire, in bytes.
    pub const BYTES: usize = 74;

    /// Version of the certificate's form; 0 is the only one there is.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// The 64 bytes of the BIP340 signature.
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

    /// Half of the life after the issue is over, so a new one should be issued. The hour that
    /// [`Authority::issue`] back-dates does not count as life.
    pub fn needs_renewal(&self, now_unix_s: u64) -> bool {
        self.window().needs_renewal(now_unix_s)
    }

    /// The 74 bytes of the wire, integers little-endian.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..10].copy_from_slice(&self.head());
        bytes[10..].copy_from_slice(&self.signature);
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

    /// Checks version, signature and validity for a server key (32 bytes, x-only), in this order.
    ///
    /// With [`Trust::AnyKey`] nothing signs the dates, so only the version is looked at.
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
        let point = authority.point().map_err(|_| CertificateError::Signature)?;
        self.check_signature(server_key, &point)?;
        self.window().check(now_unix_s, leeway_s)
    }

    fn window(&self) -> Window {
        Window {
            from: self.valid_from,
            to: self.not_valid_after,
        }
    }

    fn check_signature(
        &self,
        server_key: &[u8; 32],
        authority: &XOnlyPublicKey,
    ) -> Result<(), CertificateError> {
        let signature = Signature::from_slice(&self.signature).map_err(|_| CertificateError::Signature)?;
        context()
            .verify_schnorr(&signature, &self.message(server_key), authority)
            .map_err(|_| CertificateError::Signature)
    }

    fn head(&self) -> [u8; 10] {
        let mut head = [0; 10];
        head[..2].copy_from_slice(&self.version.to_le_bytes());
        head[2..6].copy_from_slice(&self.valid_from.to_le_bytes());
        head[6..].copy_from_slice(&self.not_valid_after.to_le_bytes());
        head
    }

    /// What is signed: SHA-256 of the ten bytes before the signature and the server key (REQ-SEC-028).
    pub(crate) fn message(&self, server_key: &[u8; 32]) -> Message {
        let digest = Sha256::new().chain_update(self.head()).chain_update(server_key);
        Message::from_digest(digest.finalize().into())
    }
}

/// Seconds for which a certificate of either suite is valid, both ends inclusive (C-97).
pub(crate) struct Window {
    pub(crate) from: u32,
    pub(crate) to: u32,
}

impl Window {
    /// From an hour before `now_unix_s` to `valid_for_s` after it, cut to what 32 bits hold.
    pub(crate) fn issued(now_unix_s: u64, valid_for_s: u32) -> Self {
        let now = u32::try_from(now_unix_s).unwrap_or(u32::MAX);
        Self {
            from: now.saturating_sub(BACKDATE_S),
            to: now.saturating_add(valid_for_s),
        }
    }

    pub(crate) fn needs_renewal(&self, now_unix_s: u64) -> bool {
        let window = self.to.saturating_sub(self.from);
        let backdate = if window > BACKDATE_S { BACKDATE_S } else { 0 };
        let issued = u64::from(self.from) + u64::from(backdate);
        now_unix_s >= issued + u64::from(window - backdate) / 2
    }

    pub(crate) fn check(&self, now_unix_s: u64, leeway_s: u32) -> Result<(), CertificateError> {
        if now_unix_s.saturating_add(leeway_s.into()) < self.from.into() {
            return Err(CertificateError::NotYetValid {
                valid_from: self.from,
                now_unix_s,
            });
        }
        if now_unix_s > u64::from(self.to) + u64::from(leeway_s) {
            return Err(CertificateError::Expired {
                not_valid_after: self.to,
                now_unix_s,
            });
        }
        Ok(())
    }
}

/// What an initiator accepts as proof of who answers; `K` is the authority key of the suite spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust<K = AuthorityPublicKey> {
    /// A certificate signed by this key, valid now. The only choice for a remote upstream (REQ-SEC-004).
    Authority(K),
    /// Anybody: the connection is encrypted, but whoever is in between may be the one who answers.
    /// For local networks only, by the operator's explicit wish.
    AnyKey,
}

/// The operator's side: signs certificates for server keys.
pub struct Authority {
    keypair: AuthorityKeypair,
    valid_for_s: u32,
}

impl Authority {
    /// Certificates of this authority end `valid_for_s` seconds after their issue.
    pub fn new(keypair: AuthorityKeypair, valid_for_s: u32) -> Self {
        Self { keypair, valid_for_s }
    }

    /// The key that miners are told.
    pub fn public(&self) -> AuthorityPublicKey {
        self.keypair.public()
    }

    /// Signs a server key (32 bytes, x-only), valid from an hour before `now_unix_s`. `aux` are 32 random bytes for
    /// BIP340, which protect the secret against faults and side channels; zeros are allowed. Times beyond what
    /// 32 bits hold are cut to `u32::MAX`.
    pub fn issue(&self, server_key: &[u8; 32], now_unix_s: u64, aux: [u8; 32]) -> Certificate {
        let Window { from, to } = Window::issued(now_unix_s, self.valid_for_s);
        self.issue_between(server_key, from, to, aux)
    }

    /// Signs a server key for exactly these seconds, both inclusive.
    pub fn issue_between(
        &self,
        server_key: &[u8; 32],
        valid_from: u32,
        not_valid_after: u32,
        aux: [u8; 32],
    ) -> Certificate {
        let mut certificate = Certificate {
            version: VERSION,
            valid_from,
            not_valid_after,
            signature: [0; 64],
        };
        let message = certificate.message(server_key);
        certificate.signature = self.keypair.with(|pair| {
            context()
                .sign_schnorr_with_aux_rand(&message, pair, &aux)
                .serialize()
        });
        certificate
    }
}

/// Why a certificate is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateError {
    /// A version that nobody has defined yet.
    Version(u16),
    /// Not signed by the trusted authority for this server key.
    Signature,
    /// Our clock is before the validity.
    NotYetValid {
        /// First second of validity.
        valid_from: u32,
        /// What our clock said.
        now_unix_s: u64,
    },
    /// Our clock is after the validity.
    Expired {
        /// Last second of validity.
        not_valid_after: u32,
        /// What our clock said.
        now_unix_s: u64,
    },
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Version(v) => write!(f, "certificate version {v} is unknown, 0 is expected"),
            Self::Signature => write!(
                f,
                "the certificate is not signed by the configured authority key: \
                 check the key in the URL, or somebody else answers"
            ),
            Self::NotYetValid {
                valid_from,
                now_unix_s,
            } => write!(
                f,
                "certificate valid from {}, our clock {} is {} s before: check the clock",
                Utc(valid_from.into()),
                Utc(now_unix_s),
                u64::from(valid_from).saturating_sub(now_unix_s),
            ),
            Self::Expired {
                not_valid_after,
                now_unix_s,
            } => write!(
                f,
                "certificate valid until {}, our clock {} is {} s after: check the clock, \
                 or the server must renew it",
                Utc(not_valid_after.into()),
                Utc(now_unix_s),
                now_unix_s.saturating_sub(not_valid_after.into()),
            ),
        }
    }
}

impl core::error::Error for CertificateError {}
