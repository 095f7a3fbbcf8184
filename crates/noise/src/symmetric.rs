//! The symmetric state of Noise (spec 4.5) on SHA-256: chaining key, handshake hash, and the key of the moment.

use crate::aead::{Aead, AeadError, Cipher, TAG};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The name that a handshake hash starts from; its bytes bind every choice of the suite.
pub(crate) const PROTOCOL_NAME: &[u8] = b"Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256";

/// A key that leaves no copy behind.
pub(crate) type Key = Zeroizing<[u8; 32]>;

/// `ck`, `h` and `k` of the Noise text.
pub(crate) struct Symmetric {
    chaining_key: Key,
    hash: Key,
    cipher: Option<Cipher>,
}

impl Symmetric {
    /// State before act 1, with the empty prologue mixed in.
    pub(crate) fn new() -> Self {
        let chaining_key: [u8; 32] = Sha256::digest(PROTOCOL_NAME).into();
        let hash: [u8; 32] = Sha256::digest(chaining_key).into();
        Self {
            chaining_key: Zeroizing::new(chaining_key),
            hash: Zeroizing::new(hash),
            cipher: None,
        }
    }

    pub(crate) fn mix_hash(&mut self, data: &[u8]) {
        let mut hasher = Sha256::new();
        hasher.update(*self.hash);
        hasher.update(data);
        hasher.finalize_into((&mut *self.hash).into());
    }

    /// Takes a shared secret in; the counter starts at 0 again.
    pub(crate) fn mix_key(&mut self, shared: &Key) {
        let (chaining_key, key) = self.derive(shared.as_slice());
        self.chaining_key = chaining_key;
        self.cipher = Some(Cipher::new(Aead::ChaChaPoly, &key));
    }

    /// Encrypts `data[..len-16]` in place, writes the tag into the last 16 bytes and mixes the ciphertext in.
    pub(crate) fn encrypt_and_hash(&mut self, data: &mut [u8]) -> Result<(), AeadError> {
        let cipher = self.cipher.as_mut().ok_or(AeadError::Authentication)?;
        let (text, tag) = data
            .split_last_chunk_mut::<TAG>()
            .ok_or(AeadError::Authentication)?;
        *tag = cipher.seal(self.hash.as_slice(), text)?;
        self.mix_hash(data);
        Ok(())
    }

    /// Decrypts `data` (ciphertext and tag) in place and mixes the ciphertext in.
    pub(crate) fn decrypt_and_hash(&mut self, data: &mut [u8]) -> Result<(), AeadError> {
        let ad = self.hash.clone();
        self.mix_hash(data);
        let cipher = self.cipher.as_mut().ok_or(AeadError::Authentication)?;
        cipher.open(ad.as_slice(), data)
    }

    /// The two transport keys: initiator to responder, responder to initiator.
    pub(crate) fn split(self) -> (Key, Key) {
        self.derive(&[])
    }

    /// HKDF of the Noise text, which is RFC 5869 with `ck` as salt, no info, and two blocks of output.
    fn derive(&self, input: &[u8]) -> (Key, Key) {
        let mut okm = Zeroizing::new([0; 64]);
        Hkdf::<Sha256>::new(Some(self.chaining_key.as_slice()), input)
            .expand(&[], okm.as_mut_slice())
            .expect("64 bytes are far below the limit of HKDF");
        let mut first = Key::default();
        let mut second = Key::default();
        first.copy_from_slice(&okm[..32]);
        second.copy_from_slice(&okm[32..]);
        (first, second)
    }

    #[cfg(test)]
    pub(crate) fn hash(&self) -> [u8; 32] {
        *self.hash
    }
}
