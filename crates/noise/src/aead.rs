//! ChaCha20-Poly1305 with the counter that Noise gives it.

#[cfg(feature = "ring")]
use ring_backend as backend;
#[cfg(all(feature = "rustcrypto", not(feature = "ring")))]
use rustcrypto_backend as backend;

/// Bytes of an authentication tag.
pub(crate) const TAG: usize = 16;

/// The counter has come to its end, or the tag does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AeadError {
    /// n = 2^64-1 is reserved by Noise and there is no rekey (REQ-SEC-036).
    Exhausted,
    /// The tag is wrong, or there is no room for one.
    Authentication,
}

/// One direction: a key and the number of the next record. Not `Clone`, so a counter cannot be used twice.
pub(crate) struct Cipher {
    key: backend::Key,
    n: u64,
}

impl Cipher {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self {
            key: backend::Key::new(key),
            n: 0,
        }
    }

    /// Puts the counter near its end, which no test could reach by counting.
    #[cfg(test)]
    pub(crate) fn with_counter(key: &[u8; 32], n: u64) -> Self {
        Self {
            key: backend::Key::new(key),
            n,
        }
    }

    /// Records that may still be sealed or opened.
    pub(crate) fn remaining(&self) -> u64 {
        u64::MAX - self.n
    }

    /// Encrypts `data` in place and gives the tag that belongs behind it.
    #[inline]
    pub(crate) fn seal(&mut self, ad: &[u8], data: &mut [u8]) -> Result<[u8; TAG], AeadError> {
        let nonce = self.nonce()?;
        let tag = self.key.seal(nonce, ad, data).ok_or(AeadError::Authentication)?;
        self.n += 1;
        Ok(tag)
    }

    /// Decrypts `data` (ciphertext and tag) in place; the plaintext is what stands before the last 16 bytes.
    /// After a failure the content of `data` is undefined and the counter stays (REQ-SEC-022).
    #[inline]
    pub(crate) fn open(&mut self, ad: &[u8], data: &mut [u8]) -> Result<(), AeadError> {
        let nonce = self.nonce()?;
        if !self.key.open(nonce, ad, data) {
            return Err(AeadError::Authentication);
        }
        self.n += 1;
        Ok(())
    }

    /// Four zero bytes, then n little-endian.
    #[inline]
    fn nonce(&self) -> Result<[u8; 12], AeadError> {
        if self.n == u64::MAX {
            return Err(AeadError::Exhausted);
        }
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.n.to_le_bytes());
        Ok(nonce)
    }
}

#[cfg(feature = "ring")]
mod ring_backend {
    use super::TAG;
    use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

    pub(super) struct Key(LessSafeKey);

    impl Key {
        pub(super) fn new(key: &[u8; 32]) -> Self {
            let key = UnboundKey::new(&CHACHA20_POLY1305, key).expect("the key has 32 bytes");
            Self(LessSafeKey::new(key))
        }

        #[inline]
        pub(super) fn seal(&self, nonce: [u8; 12], ad: &[u8], data: &mut [u8]) -> Option<[u8; TAG]> {
            let nonce = Nonce::assume_unique_for_key(nonce);
            let tag = self
                .0
                .seal_in_place_separate_tag(nonce, Aad::from(ad), data)
                .ok()?;
            tag.as_ref().try_into().ok()
        }

        #[inline]
        pub(super) fn open(&self, nonce: [u8; 12], ad: &[u8], data: &mut [u8]) -> bool {
            let nonce = Nonce::assume_unique_for_key(nonce);
            self.0.open_in_place(nonce, Aad::from(ad), data).is_ok()
        }
    }
}

#[cfg(all(feature = "rustcrypto", any(test, not(feature = "ring"))))]
mod rustcrypto_backend {
    use super::TAG;
    use chacha20poly1305::aead::AeadInPlace;
    use chacha20poly1305::{ChaCha20Poly1305, KeyInit};

    pub(super) struct Key(ChaCha20Poly1305);

    impl Key {
        pub(super) fn new(key: &[u8; 32]) -> Self {
            Self(ChaCha20Poly1305::new(key.into()))
        }

        pub(super) fn seal(&self, nonce: [u8; 12], ad: &[u8], data: &mut [u8]) -> Option<[u8; TAG]> {
            let tag = self.0.encrypt_in_place_detached(&nonce.into(), ad, data).ok()?;
            Some(tag.into())
        }

        pub(super) fn open(&self, nonce: [u8; 12], ad: &[u8], data: &mut [u8]) -> bool {
            let Some((text, tag)) = data.split_last_chunk_mut::<TAG>() else {
                return false;
            };
            self.0
                .decrypt_in_place_detached(&nonce.into(), ad, text, (&*tag).into())
                .is_ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// REQ-SEC-036: the last usable number is 2^64-2.
    #[test]
    fn the_last_counter_is_never_used() {
        let mut cipher = Cipher::with_counter(&[7; 32], u64::MAX - 1);
        assert_eq!(cipher.remaining(), 1);
        assert!(cipher.seal(&[], &mut [1, 2, 3]).is_ok());
        assert_eq!(cipher.remaining(), 0);
        assert_eq!(cipher.seal(&[], &mut [1, 2, 3]), Err(AeadError::Exhausted));
        assert_eq!(cipher.open(&[], &mut [0; 19]), Err(AeadError::Exhausted));
    }

    /// REQ-SEC-022: the counter of a direction stays where a failure found it.
    #[test]
    fn a_failed_open_leaves_the_counter() {
        let mut sealer = Cipher::new(&[7; 32]);
        let mut opener = Cipher::new(&[7; 32]);
        let mut record = *b"text................";
        let tag = sealer.seal(b"ad", &mut record[..4]).unwrap();
        record[4..].copy_from_slice(&tag);
        let mut broken = record;
        broken[0] ^= 1;
        assert_eq!(opener.open(b"ad", &mut broken), Err(AeadError::Authentication));
        assert_eq!(opener.open(b"ad", &mut [0; 15]), Err(AeadError::Authentication));
        assert_eq!(opener.open(b"ad", &mut record), Ok(()));
        assert_eq!(&record[..4], b"text");
    }

    #[cfg(all(feature = "ring", feature = "rustcrypto"))]
    #[test]
    fn both_back_ends_agree() {
        let (a, b) = (
            ring_backend::Key::new(&[9; 32]),
            rustcrypto_backend::Key::new(&[9; 32]),
        );
        for length in [0, 1, 6, 33, 64, 65, 1000] {
            let nonce = [3; 12];
            let (mut x, mut y) = (alloc::vec![5; length], alloc::vec![5; length]);
            let tag = a.seal(nonce, b"ad", &mut x);
            assert_eq!(tag, b.seal(nonce, b"ad", &mut y));
            assert_eq!(x, y);
            x.extend_from_slice(&tag.unwrap());
            assert!(b.open(nonce, b"ad", &mut x));
            assert_eq!(x[..length], alloc::vec![5; length]);
        }
    }
}
