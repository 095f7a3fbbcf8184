//! ChaCha20-Poly1305 and AES-256-GCM with the counter that Noise gives them.

#[cfg(feature = "ring")]
use ring_backend as backend;
#[cfg(all(feature = "rustcrypto", not(feature = "ring")))]
use rustcrypto_backend as backend;

/// How records are encrypted and authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Aead {
    /// ChaCha20-Poly1305 (RFC 8439): the only one of the current suite.
    ChaChaPoly,
    /// AES-256-GCM: the other choice of the 2022 draft.
    AesGcm,
}

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
    aead: Aead,
    key: backend::Key,
    n: u64,
}

impl Cipher {
    pub(crate) fn new(aead: Aead, key: &[u8; 32]) -> Self {
        Self::starting_at(aead, key, 0)
    }

    /// A cipher for one record, whose number somebody else keeps.
    pub(crate) fn starting_at(aead: Aead, key: &[u8; 32], n: u64) -> Self {
        Self {
            aead,
            key: backend::Key::new(aead, key),
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

    /// Four zero bytes, then n: little-endian for ChaChaPoly, big-endian for AESGCM (REQ-SEC-036, C-98).
    #[inline]
    fn nonce(&self) -> Result<[u8; 12], AeadError> {
        if self.n == u64::MAX {
            return Err(AeadError::Exhausted);
        }
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&match self.aead {
            Aead::ChaChaPoly => self.n.to_le_bytes(),
            Aead::AesGcm => self.n.to_be_bytes(),
        });
        Ok(nonce)
    }
}

#[cfg(feature = "ring")]
mod ring_backend {
    use super::{Aead, TAG};
    use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

    pub(super) struct Key(LessSafeKey);

    impl Key {
        pub(super) fn new(aead: Aead, key: &[u8; 32]) -> Self {
            let algorithm = match aead {
                Aead::ChaChaPoly => &CHACHA20_POLY1305,
                Aead::AesGcm => &AES_256_GCM,
            };
            let key = UnboundKey::new(algorithm, key).expect("the key has 32 bytes");
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
    use super::{Aead, TAG};
    use aes_gcm::Aes256Gcm;
    use alloc::boxed::Box;
    use chacha20poly1305::aead::AeadInPlace;
    use chacha20poly1305::{ChaCha20Poly1305, KeyInit};

    pub(super) enum Key {
        ChaChaPoly(ChaCha20Poly1305),
        /// Its round keys take several hundred bytes.
        AesGcm(Box<Aes256Gcm>),
    }

    impl Key {
        pub(super) fn new(aead: Aead, key: &[u8; 32]) -> Self {
            match aead {
                Aead::ChaChaPoly => Self::ChaChaPoly(ChaCha20Poly1305::new(key.into())),
                Aead::AesGcm => Self::AesGcm(Box::new(Aes256Gcm::new(key.into()))),
            }
        }

        pub(super) fn seal(&self, nonce: [u8; 12], ad: &[u8], data: &mut [u8]) -> Option<[u8; TAG]> {
            let nonce = nonce.into();
            let tag = match self {
                Self::ChaChaPoly(key) => key.encrypt_in_place_detached(&nonce, ad, data).ok()?,
                Self::AesGcm(key) => key.encrypt_in_place_detached(&nonce, ad, data).ok()?,
            };
            Some(tag.into())
        }

        pub(super) fn open(&self, nonce: [u8; 12], ad: &[u8], data: &mut [u8]) -> bool {
            let Some((text, tag)) = data.split_last_chunk_mut::<TAG>() else {
                return false;
            };
            let (nonce, tag) = (nonce.into(), (&*tag).into());
            match self {
                Self::ChaChaPoly(key) => key.decrypt_in_place_detached(&nonce, ad, text, tag),
                Self::AesGcm(key) => key.decrypt_in_place_detached(&nonce, ad, text, tag),
            }
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
        for aead in [Aead::ChaChaPoly, Aead::AesGcm] {
            let mut cipher = Cipher::starting_at(aead, &[7; 32], u64::MAX - 1);
            assert_eq!(cipher.remaining(), 1);
            assert!(cipher.seal(&[], &mut [1, 2, 3]).is_ok());
            assert_eq!(cipher.remaining(), 0);
            assert_eq!(cipher.seal(&[], &mut [1, 2, 3]), Err(AeadError::Exhausted));
            assert_eq!(cipher.open(&[], &mut [0; 19]), Err(AeadError::Exhausted));
        }
    }

    /// REQ-SEC-036: little-endian for the one, big-endian for the other.
    #[test]
    fn the_byte_order_of_the_nonce() {
        let nonce = |aead| Cipher::starting_at(aead, &[7; 32], 0x0102).nonce();
        assert_eq!(nonce(Aead::ChaChaPoly), Ok([0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0]));
        assert_eq!(nonce(Aead::AesGcm), Ok([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]));
    }

    /// REQ-SEC-022: the counter of a direction stays where a failure found it.
    #[test]
    fn a_failed_open_leaves_the_counter() {
        for aead in [Aead::ChaChaPoly, Aead::AesGcm] {
            let mut sealer = Cipher::new(aead, &[7; 32]);
            let mut opener = Cipher::new(aead, &[7; 32]);
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
    }

    #[cfg(all(feature = "ring", feature = "rustcrypto"))]
    #[test]
    fn both_back_ends_agree() {
        for aead in [Aead::ChaChaPoly, Aead::AesGcm] {
            let (a, b) = (
                ring_backend::Key::new(aead, &[9; 32]),
                rustcrypto_backend::Key::new(aead, &[9; 32]),
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
}
