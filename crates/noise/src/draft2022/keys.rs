//! Ed25519 authority keys and their text form (seeds 3.3.6): base58check of the 32 bytes, without a prefix.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::keys::{KeyError, decode};

/// The 32-byte Ed25519 key that an operator publishes and clients of the 2022 draft put into their URL.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorityPublicKey([u8; 32]);

impl AuthorityPublicKey {
    /// Takes an encoded point; what decodes to none, or to one of small order, is [`KeyError::NotEd25519`].
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, KeyError> {
        match VerifyingKey::from_bytes(&bytes) {
            Ok(point) if !point.is_weak() => Ok(Self(bytes)),
            _ => Err(KeyError::NotEd25519),
        }
    }

    /// The encoded point.
    pub fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    /// Is this the key's signature of `message`? Strict: one encoding only, no point of small order.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| {
            key.verify_strict(message, &Signature::from_bytes(signature))
                .is_ok()
        })
    }
}

impl fmt::Display for AuthorityPublicKey {
    /// base58check of the 32 bytes (REQ-SEC-019).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(self.0).with_check().into_string())
    }
}

impl fmt::Debug for AuthorityPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "draft2022::AuthorityPublicKey({self})")
    }
}

impl FromStr for AuthorityPublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let payload = decode(text)?;
        if payload.len() == 34 && payload.starts_with(&[1, 0]) {
            return Err(KeyError::Current);
        }
        let bytes = payload.as_slice().try_into();
        Self::from_bytes(bytes.map_err(|_| KeyError::Length {
            found: payload.len(),
            wanted: 32,
        })?)
    }
}

/// The operator's long-lived Ed25519 pair that signs certificates. Overwritten when dropped; no `Debug`, no `Clone`.
pub struct AuthorityKeypair(SigningKey);

impl AuthorityKeypair {
    /// Takes 32 random bytes as the secret. Any are one, but 32 zeros are nobody's choice: [`KeyError::Secret`].
    pub fn from_secret(secret: [u8; 32]) -> Result<Self, KeyError> {
        let secret = Zeroizing::new(secret);
        if *secret == [0; 32] {
            return Err(KeyError::Secret);
        }
        Ok(Self(SigningKey::from_bytes(&secret)))
    }

    /// Reads the text form of a secret: base58check of the 32 bytes. It cannot be told from a public key's.
    pub fn from_secret_text(text: &str) -> Result<Self, KeyError> {
        let payload = decode(text)?;
        let secret = payload.as_slice().try_into();
        Self::from_secret(secret.map_err(|_| KeyError::Length {
            found: payload.len(),
            wanted: 32,
        })?)
    }

    /// Text form of the secret. Keep it in a file that only the operator reads.
    pub fn secret_text(&self) -> Zeroizing<String> {
        let text = bs58::encode(self.0.as_bytes()).with_check();
        Zeroizing::new(text.into_string())
    }

    /// The half that is published.
    pub fn public(&self) -> AuthorityPublicKey {
        AuthorityPublicKey(self.0.verifying_key().to_bytes())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    /// REQ-SEC-019: the example of the seeds, both ways.
    #[test]
    fn the_example_of_the_seeds() {
        let text = "u95GEReVMjK6k5YqiSFNqqTnKU4ypU2Wm8awa6tmbmDmk1bWt";
        let key: AuthorityPublicKey = text.parse().unwrap();
        assert_eq!(key.to_bytes()[..4], [0x76, 0x63, 0x70, 0x00]);
        assert_eq!(key.to_string(), text);
    }

    fn text(payload: &[u8]) -> String {
        bs58::encode(payload).with_check().into_string()
    }

    #[test]
    fn each_wrong_text_is_named() {
        let parse = |s: &str| s.parse::<AuthorityPublicKey>();
        let current = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";
        assert_eq!(parse(current), Err(KeyError::Current));
        let mistyped = "u95GEReVMjK6k5YqiSFNqqTnKU4ypU2Wm8awa6tmbmDmk1bWu";
        assert_eq!(parse(mistyped), Err(KeyError::Checksum));
        let length = |found| KeyError::Length { found, wanted: 32 };
        assert_eq!(parse(&text(&[1; 31])), Err(length(31)));
        assert_eq!(parse(&text(&[2; 34])), Err(length(34)));
        let small_order = [[0; 32], core::array::from_fn(|at| u8::from(at == 0))];
        for bytes in small_order.into_iter().chain([[0x02; 32]]) {
            assert_eq!(parse(&text(&bytes)), Err(KeyError::NotEd25519), "{bytes:?}");
        }
    }

    #[test]
    fn a_secret_comes_back_from_its_text() {
        let pair = AuthorityKeypair::from_secret([0x44; 32]).unwrap();
        let again = AuthorityKeypair::from_secret_text(&pair.secret_text()).unwrap();
        assert_eq!(again.public(), pair.public());
        assert_eq!(
            AuthorityKeypair::from_secret([0; 32]).err(),
            Some(KeyError::Secret)
        );
        assert!(AuthorityKeypair::from_secret_text(&text(&[1; 31])).is_err());
    }
}
