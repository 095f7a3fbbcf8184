//! Authority keys and the text forms in which people pass them around (spec 4.7).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use secp256k1::{Keypair, XOnlyPublicKey};
use zeroize::Zeroizing;

use crate::curve::{Secret, context};
use crate::draft2022;

/// First bytes of the base58check payload of a public key: "secp256k1, x only".
const PREFIX: [u8; 2] = [1, 0];
/// No text form of 34 bytes plus checksum is longer; longer input is not looked at.
const TEXT_BYTES_MAX: usize = 64;
/// Payload and checksum of the longest form.
const PAYLOAD_BYTES_MAX: usize = 48;

/// The 32-byte x-only key that an operator publishes and miners put into their URL.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorityPublicKey([u8; 32]);

impl AuthorityPublicKey {
    /// Takes an x coordinate, 32 bytes big-endian; one that is not on the curve is [`KeyError::NotOnCurve`].
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, KeyError> {
        XOnlyPublicKey::from_slice(&bytes).map_err(|_| KeyError::NotOnCurve)?;
        Ok(Self(bytes))
    }

    /// The x coordinate, 32 bytes big-endian.
    pub fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    pub(crate) fn point(&self) -> Result<XOnlyPublicKey, KeyError> {
        XOnlyPublicKey::from_slice(&self.0).map_err(|_| KeyError::NotOnCurve)
    }
}

impl fmt::Display for AuthorityPublicKey {
    /// base58check of `01 00` and the 32 bytes (REQ-SEC-035).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut payload = [0; 34];
        payload[..2].copy_from_slice(&PREFIX);
        payload[2..].copy_from_slice(&self.0);
        f.write_str(&bs58::encode(payload).with_check().into_string())
    }
}

impl fmt::Debug for AuthorityPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthorityPublicKey({self})")
    }
}

impl FromStr for AuthorityPublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let payload = decode(text)?;
        let (prefix, key) = match payload.split_first_chunk::<2>() {
            Some((prefix, key)) if payload.len() == 34 => (*prefix, key),
            _ if payload.len() == 32 => return Err(KeyError::Draft2022),
            _ => {
                return Err(KeyError::Length {
                    found: payload.len(),
                    wanted: 34,
                });
            }
        };
        if prefix != PREFIX {
            return Err(KeyError::Prefix(prefix));
        }
        let key = key.try_into().map_err(|_| KeyError::NotOnCurve)?;
        Self::from_bytes(key)
    }
}

/// An authority key of either suite, as it stands in a URL: its form says which handshake to speak (C-93).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuthorityKey {
    /// secp256k1, for the current handshake: 34 bytes, of which the first two are `01 00`.
    Current(AuthorityPublicKey),
    /// Ed25519, for the handshake of the 2022 draft: 32 bytes.
    Draft2022(draft2022::AuthorityPublicKey),
}

impl AuthorityKey {
    /// The bytes of the key itself.
    pub fn to_bytes(&self) -> [u8; 32] {
        match self {
            Self::Current(key) => key.to_bytes(),
            Self::Draft2022(key) => key.to_bytes(),
        }
    }
}

impl fmt::Display for AuthorityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current(key) => key.fmt(f),
            Self::Draft2022(key) => key.fmt(f),
        }
    }
}

impl FromStr for AuthorityKey {
    type Err = KeyError;

    /// Decides by the decoded length; every other mistake is named as that of the form it is nearest to.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        match decode(text)?.len() {
            32 => text.parse().map(Self::Draft2022),
            34 => text.parse().map(Self::Current),
            found => Err(KeyError::NoForm { found }),
        }
    }
}

impl From<AuthorityPublicKey> for AuthorityKey {
    fn from(key: AuthorityPublicKey) -> Self {
        Self::Current(key)
    }
}

impl From<draft2022::AuthorityPublicKey> for AuthorityKey {
    fn from(key: draft2022::AuthorityPublicKey) -> Self {
        Self::Draft2022(key)
    }
}

/// The operator's long-lived pair that signs certificates. Overwritten when dropped; no `Debug`, no `Clone`.
pub struct AuthorityKeypair {
    secret: Secret,
    public: AuthorityPublicKey,
}

impl AuthorityKeypair {
    /// Takes 32 random bytes as the secret; 0 and values from n on are [`KeyError::Secret`] (REQ-SEC-029).
    pub fn from_secret(secret: [u8; 32]) -> Result<Self, KeyError> {
        let secret = Secret::new(secret)?;
        let public = secret.with(|key| key.x_only_public_key(context()).0.serialize());
        Ok(Self {
            secret,
            public: AuthorityPublicKey(public),
        })
    }

    /// Reads the text form of a secret: base58check of the 32 bytes, without prefix.
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
        let text = bs58::encode(self.secret.bytes()).with_check();
        Zeroizing::new(text.into_string())
    }

    /// The half that is published.
    pub fn public(&self) -> AuthorityPublicKey {
        self.public
    }

    pub(crate) fn with<T>(&self, f: impl FnOnce(&Keypair) -> T) -> T {
        self.secret.with(|key| {
            let mut pair = key.keypair(context());
            let value = f(&pair);
            pair.non_secure_erase();
            value
        })
    }
}

/// Base58check payload of `text`, at most 44 bytes, wiped when dropped since it may be a secret.
pub(crate) fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(KeyError::TooLong);
    }
    let mut payload = Zeroizing::new(Vec::with_capacity(PAYLOAD_BYTES_MAX));
    payload.resize(PAYLOAD_BYTES_MAX, 0);
    let decoded = bs58::decode(text).with_check(None).onto(payload.as_mut_slice());
    let length = decoded.map_err(KeyError::from_base58)?;
    payload.truncate(length);
    Ok(payload)
}

/// Why a key is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// Longer than any key.
    TooLong,
    /// A character that base58 does not have, and the byte where it stands.
    Character(char, usize),
    /// The checksum does not fit: a mistyped or cut key.
    Checksum,
    /// A payload of another length.
    Length {
        /// Bytes found.
        found: usize,
        /// Bytes that such a key has.
        wanted: usize,
    },
    /// A payload of a length that no authority key has.
    NoForm {
        /// Bytes found.
        found: usize,
    },
    /// A public key starts with `01 00`.
    Prefix([u8; 2]),
    /// The x coordinate belongs to no point of secp256k1.
    NotOnCurve,
    /// The 32-byte Ed25519 form of the 2022 draft, where the secp256k1 form is asked for.
    Draft2022,
    /// The 34-byte secp256k1 form, where the Ed25519 form of the 2022 draft is asked for.
    Current,
    /// The 32 bytes stand for no point of Ed25519, or for one of the few that anybody can sign for.
    NotEd25519,
    /// A secret that is 0 or not below the group order.
    Secret,
}

impl KeyError {
    fn from_base58(error: bs58::decode::Error) -> Self {
        use bs58::decode::Error;
        match error {
            Error::InvalidCharacter { character, index } => Self::Character(character, index),
            Error::NonAsciiCharacter { index } => Self::Character('\u{fffd}', index),
            Error::BufferTooSmall => Self::TooLong,
            _ => Self::Checksum,
        }
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "longer than any key"),
            Self::Character(c, at) => write!(f, "character {c:?} at byte {at} is not base58"),
            Self::Checksum => write!(f, "the checksum is wrong: the key was mistyped or cut"),
            Self::Length { found, wanted } => {
                write!(f, "the key holds {found} bytes instead of {wanted}")
            }
            Self::NoForm { found } => write!(
                f,
                "the key holds {found} bytes; one of secp256k1 has 34, one of Ed25519 (2022 draft) 32"
            ),
            Self::Prefix([a, b]) => {
                write!(f, "a public key starts with 01 00, this with {a:02x} {b:02x}")
            }
            Self::NotOnCurve => write!(f, "no point of secp256k1 has this x coordinate"),
            Self::Draft2022 => write!(
                f,
                "32 bytes without prefix: an Ed25519 key of the 2022 draft, or a secret key; \
                 ask the operator for the secp256k1 key (it starts with 9)"
            ),
            Self::Current => write!(
                f,
                "34 bytes: a secp256k1 key; ask the operator for the Ed25519 key of the 2022 draft (32 bytes)"
            ),
            Self::NotEd25519 => write!(f, "these 32 bytes are no usable Ed25519 point"),
            Self::Secret => write!(f, "a secret key is neither 0 nor as large as the group order"),
        }
    }
}

impl core::error::Error for KeyError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    /// REQ-SEC-035: the vector of the spec, both ways.
    #[test]
    fn the_vector_of_the_spec() {
        let text = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";
        let key: AuthorityPublicKey = text.parse().unwrap();
        assert_eq!(key.to_bytes()[..4], [0x76, 0x63, 0x70, 0x00]);
        assert_eq!(key.to_string(), text);
    }

    #[test]
    fn the_pair_that_the_reference_publishes() {
        let secret = "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n";
        let pair = AuthorityKeypair::from_secret_text(secret).unwrap();
        let public = "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72";
        assert_eq!(pair.public().to_string(), public);
        assert_eq!(*pair.secret_text(), secret);
    }

    fn text(payload: &[u8]) -> String {
        bs58::encode(payload).with_check().into_string()
    }

    #[test]
    fn each_wrong_text_is_named() {
        let parse = |s: &str| s.parse::<AuthorityPublicKey>();
        let draft = "u95GEReVMjK6k5YqiSFNqqTnKU4ypU2Wm8awa6tmbmDmk1bWt";
        assert_eq!(parse(draft), Err(KeyError::Draft2022));
        let mistyped = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXi";
        assert_eq!(parse(mistyped), Err(KeyError::Checksum));
        assert_eq!(parse("0bXi"), Err(KeyError::Character('0', 0)));
        assert_eq!(parse("9bé"), Err(KeyError::Character('\u{fffd}', 2)));
        assert_eq!(parse(&"9".repeat(65)), Err(KeyError::TooLong));
        assert_eq!(parse(""), Err(KeyError::Checksum));
        let length = |found| KeyError::Length { found, wanted: 34 };
        assert_eq!(parse(&text(&[1; 33])), Err(length(33)));
        assert_eq!(parse(&text(&[1; 35])), Err(length(35)));
        assert_eq!(parse(&text(&[2; 34])), Err(KeyError::Prefix([2, 2])));
        let mut off_curve = [0; 34];
        off_curve[0] = 1;
        off_curve[33] = 5;
        assert_eq!(parse(&text(&off_curve)), Err(KeyError::NotOnCurve));
    }

    /// REQ-SEC-019, REQ-SEC-035: the same 32 bytes in both forms; the form decides.
    #[test]
    fn the_form_of_a_key_tells_its_suite() {
        let current = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";
        let draft = "u95GEReVMjK6k5YqiSFNqqTnKU4ypU2Wm8awa6tmbmDmk1bWt";
        let (a, b): (AuthorityKey, AuthorityKey) = (current.parse().unwrap(), draft.parse().unwrap());
        assert!(matches!(a, AuthorityKey::Current(key) if key.to_bytes()[..2] == [0x76, 0x63]));
        assert!(matches!(b, AuthorityKey::Draft2022(key) if key.to_bytes()[..2] == [0x76, 0x63]));
        assert_eq!((a.to_string().as_str(), b.to_string().as_str()), (current, draft));
        let parse = |payload: &[u8]| text(payload).parse::<AuthorityKey>();
        assert_eq!(parse(&[1; 33]), Err(KeyError::NoForm { found: 33 }));
        assert_eq!(parse(&[2; 34]), Err(KeyError::Prefix([2, 2])));
        assert_eq!(parse(&[0; 32]), Err(KeyError::NotEd25519));
        assert_eq!("u95G".parse::<AuthorityKey>(), Err(KeyError::Checksum));
    }

    /// REQ-SEC-029
    #[test]
    fn a_secret_of_zero_or_from_n_on_is_refused() {
        let n = secp256k1::constants::CURVE_ORDER;
        let mut below = n;
        below[31] -= 1;
        assert!(AuthorityKeypair::from_secret(below).is_ok());
        for bad in [[0; 32], n, [0xff; 32]] {
            assert_eq!(AuthorityKeypair::from_secret(bad).err(), Some(KeyError::Secret));
            assert!(AuthorityKeypair::from_secret_text(&text(&bad)).is_err());
        }
        assert!(AuthorityKeypair::from_secret_text(&text(&[1; 31])).is_err());
    }
}
