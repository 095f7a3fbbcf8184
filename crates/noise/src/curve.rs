//! secp256k1 as this suite uses it: secrets, ElligatorSwift encodings and the ECDH of BIP324.

use alloc::boxed::Box;
use once_cell::race::OnceBox;
use secp256k1::ellswift::{ElligatorSwift, ElligatorSwiftParty};
use secp256k1::{All, PublicKey, Secp256k1, SecretKey};
use zeroize::Zeroizing;

use crate::keys::KeyError;
use crate::symmetric::Key;

/// Bytes of an encoded public key (`u || t`).
pub(crate) const ENCODING: usize = 64;

/// One context for everybody: making one costs as much as a signature.
pub(crate) fn context() -> &'static Secp256k1<All> {
    static CONTEXT: OnceBox<Secp256k1<All>> = OnceBox::new();
    CONTEXT.get_or_init(|| Box::new(Secp256k1::new()))
}

/// A scalar 0 < d < n, overwritten when dropped; no `Debug`, no `Clone`.
pub(crate) struct Secret(Key);

impl Secret {
    /// Refuses 0 and everything from n on (REQ-SEC-029).
    pub(crate) fn new(bytes: [u8; 32]) -> Result<Self, KeyError> {
        let bytes = Zeroizing::new(bytes);
        let mut key = SecretKey::from_slice(bytes.as_slice()).map_err(|_| KeyError::Secret)?;
        key.non_secure_erase();
        Ok(Self(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Runs `f` with the key in the form the library wants, then wipes that form.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&SecretKey) -> T) -> T {
        let mut key = SecretKey::from_slice(self.0.as_slice()).expect("checked when it was made");
        let value = f(&key);
        key.non_secure_erase();
        value
    }
}

/// A secret with the one encoding of its public key that this handshake uses. Encodings are not unique, so
/// the same 64 bytes must go on the wire, into the hash and into every ECDH.
pub(crate) struct EncodedKey {
    secret: Secret,
    encoding: [u8; ENCODING],
}

impl EncodedKey {
    /// Derives the encoding from the secret alone; libsecp256k1 makes it look uniformly random.
    pub(crate) fn new(context: &Secp256k1<All>, secret: [u8; 32]) -> Result<Self, KeyError> {
        let secret = Secret::new(secret)?;
        let encoding = secret.with(|key| ElligatorSwift::from_seckey(context, *key, None).to_array());
        Ok(Self { secret, encoding })
    }

    /// A second holder of the same secret and encoding.
    pub(crate) fn duplicate(&self) -> Self {
        Self {
            secret: Secret(self.secret.0.clone()),
            encoding: self.encoding,
        }
    }

    /// A given encoding, for vectors that were made with another choice among the encodings.
    #[cfg(test)]
    pub(crate) fn from_parts(secret: [u8; 32], encoding: [u8; ENCODING]) -> Self {
        Self {
            secret: Secret::new(secret).unwrap(),
            encoding,
        }
    }

    pub(crate) fn encoding(&self) -> &[u8; ENCODING] {
        &self.encoding
    }

    /// Shared secret when this key is the initiator's and `theirs` the responder's.
    pub(crate) fn ecdh_as_initiator(&self, theirs: &[u8; ENCODING]) -> Key {
        self.ecdh(&self.encoding, theirs, ElligatorSwiftParty::A)
    }

    /// Shared secret when `theirs` is the initiator's and this key the responder's.
    pub(crate) fn ecdh_as_responder(&self, theirs: &[u8; ENCODING]) -> Key {
        self.ecdh(theirs, &self.encoding, ElligatorSwiftParty::B)
    }

    /// The hash takes the initiator's encoding first, whoever computes it (REQ-SEC-027).
    fn ecdh(&self, initiator: &[u8; 64], responder: &[u8; 64], party: ElligatorSwiftParty) -> Key {
        let (a, b) = (
            ElligatorSwift::from_array(*initiator),
            ElligatorSwift::from_array(*responder),
        );
        self.secret.with(|key| {
            let shared = ElligatorSwift::shared_secret(a, b, *key, party, None);
            Zeroizing::new(shared.to_secret_bytes())
        })
    }
}

/// X coordinate that a 64-byte encoding stands for; every 64 bytes stand for one.
pub(crate) fn decode_x(encoding: &[u8; ENCODING]) -> [u8; 32] {
    let point = PublicKey::from_ellswift(ElligatorSwift::from_array(*encoding));
    point.x_only_public_key().0.serialize()
}
