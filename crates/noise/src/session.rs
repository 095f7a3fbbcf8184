//! What a handshake of either suite ends in: two keys, two counters, and nothing that a peer can do to them.

use alloc::vec::Vec;
use core::fmt;

use crate::Header;
use crate::aead::{Aead, AeadError, Cipher};
use crate::framed;
use crate::plain::Plain;
use crate::records::{Opener, Sealer};
use crate::symmetric::Symmetric;

/// What protects a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suite {
    /// `Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256`, the current one.
    Current,
    /// `Noise_NX_25519_*_BLAKE2s` of the 2022 drafts, with the AEAD that was agreed on.
    Draft2022(Aead),
    /// Nothing: for local networks, by the operator's explicit wish.
    Plain,
}

impl Suite {
    /// Every one there is.
    pub const ALL: [Self; 4] = [
        Self::Current,
        Self::Draft2022(Aead::ChaChaPoly),
        Self::Draft2022(Aead::AesGcm),
        Self::Plain,
    ];

    /// A short name, as metrics label it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Draft2022(Aead::ChaChaPoly) => "draft2022-chachapoly",
            Self::Draft2022(Aead::AesGcm) => "draft2022-aesgcm",
            Self::Plain => "plain",
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An encrypted connection: seals frames to send, opens bytes received. It knows no socket.
///
/// Not `Clone`, and `seal` needs `&mut`: no counter is used twice. After the first error the keys are dropped and
/// everything is [`SessionError::Poisoned`]; close the connection without an answer.
pub struct Session {
    suite: Suite,
    /// Gone once the session is poisoned.
    transport: Option<Transport>,
}

/// How frames travel.
enum Transport {
    /// Spec 4.6: header record and payload records.
    Records { sealer: Sealer, opener: Opener },
    /// Seeds 3.3.4: records behind their length.
    Framed {
        sealer: framed::Sealer,
        opener: framed::Opener,
    },
    /// As they are.
    Plain(Plain),
}

impl Session {
    pub(crate) fn initiator(symmetric: Symmetric) -> Self {
        let (to_responder, to_initiator) = symmetric.split();
        Self::with_ciphers(
            Cipher::new(Aead::ChaChaPoly, &to_responder),
            Cipher::new(Aead::ChaChaPoly, &to_initiator),
        )
    }

    pub(crate) fn responder(symmetric: Symmetric) -> Self {
        let (to_responder, to_initiator) = symmetric.split();
        Self::with_ciphers(
            Cipher::new(Aead::ChaChaPoly, &to_initiator),
            Cipher::new(Aead::ChaChaPoly, &to_responder),
        )
    }

    fn with_ciphers(send: Cipher, receive: Cipher) -> Self {
        Self {
            suite: Suite::Current,
            transport: Some(Transport::Records {
                sealer: Sealer(send),
                opener: Opener::new(receive),
            }),
        }
    }

    /// Of the 2022 draft; the key to send with, the key to receive with.
    pub(crate) fn framed(aead: Aead, send: &[u8; 32], receive: &[u8; 32]) -> Self {
        Self {
            suite: Suite::Draft2022(aead),
            transport: Some(Transport::Framed {
                sealer: framed::Sealer(Cipher::new(aead, send)),
                opener: framed::Opener::new(Cipher::new(aead, receive)),
            }),
        }
    }

    /// A connection without any protection: anybody on the way reads, changes and makes up every frame. For this
    /// machine and private networks only, by the operator's explicit wish (REQ-SEC-001).
    pub fn plain() -> Self {
        Self {
            suite: Suite::Plain,
            transport: Some(Transport::Plain(Plain::default())),
        }
    }

    /// What protects this connection.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Appends the ciphertext of one plain frame (6-byte header and payload) to `out`, which is grown once at most.
    /// After an error `out` is as it was.
    ///
    /// Errors: [`SessionError::Malformed`] if the header's `msg_length` is not the payload's length,
    /// [`SessionError::Exhausted`], [`SessionError::Poisoned`].
    pub fn seal(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<(), SessionError> {
        let sealed = match &mut self.transport {
            Some(Transport::Records { sealer, .. }) => sealer.seal(frame, out),
            Some(Transport::Framed { sealer, .. }) => sealer.seal(frame, out),
            Some(Transport::Plain(plain)) => plain.seal(frame, out),
            None => Err(SessionError::Poisoned),
        };
        self.poison_if(sealed.is_err());
        sealed
    }

    /// Opens the first frame in `buf`, in place.
    ///
    /// `buf` holds what was received and not yet used: its first byte is the first byte after the last frame. On
    /// [`Feed::Need`] call again with the same bytes, as this call left them, and more behind them. On [`Feed::Frame`] drop
    /// `used` bytes. `limit` is asked once a frame, on the decrypted header, for the longest payload in bytes that the
    /// reader is willing to take of such a message: before anybody waits for it or makes room for it.
    ///
    /// Errors: [`SessionError::Authentication`], [`SessionError::TooLong`], [`SessionError::Crumbs`],
    /// [`SessionError::Exhausted`], [`SessionError::Poisoned`].
    pub fn feed<'b>(
        &mut self,
        buf: &'b mut [u8],
        limit: impl FnOnce(&Header) -> u32,
    ) -> Result<Feed<'b>, SessionError> {
        let fed = match &mut self.transport {
            Some(Transport::Records { opener, .. }) => opener.feed(buf, limit),
            Some(Transport::Framed { opener, .. }) => opener.feed(buf, limit),
            Some(Transport::Plain(plain)) => plain.feed(buf, limit),
            None => Err(SessionError::Poisoned),
        };
        self.poison_if(fed.is_err());
        fed
    }

    #[inline]
    fn poison_if(&mut self, failed: bool) {
        if failed {
            self.transport = None;
        }
    }
}

/// What [`Session::feed`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Feed<'b> {
    /// `buf` must hold this many bytes in total before the call can say more.
    Need(usize),
    /// One whole frame.
    Frame {
        /// Bytes of `buf` that this frame took.
        used: usize,
        /// Its decrypted header.
        header: Header,
        /// Its decrypted payload, `header.msg_length` bytes.
        payload: &'b [u8],
    },
}

/// Why a session has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionError {
    /// A record was damaged, repeated, left out or moved; or the peer never had the key.
    Authentication,
    /// The peer announced a longer payload than this message may have here.
    TooLong {
        /// What the header says, in bytes.
        length: u32,
        /// What the reader allows, in bytes.
        limit: u32,
    },
    /// A frame given to [`Session::seal`] is no frame.
    Malformed,
    /// The peer cuts its frames into so many records, or sends so many empty ones, that they would fill our memory.
    Crumbs,
    /// The counter has reached 2^64-1, which must not be used; there is no rekey.
    Exhausted,
    /// An earlier call failed.
    Poisoned,
}

impl From<AeadError> for SessionError {
    fn from(error: AeadError) -> Self {
        match error {
            AeadError::Exhausted => Self::Exhausted,
            AeadError::Authentication => Self::Authentication,
        }
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authentication => write!(f, "a record does not authenticate"),
            Self::TooLong { length, limit } => {
                write!(f, "a payload of {length} bytes, {limit} are allowed here")
            }
            Self::Crumbs => write!(f, "a frame comes in too many small records"),
            Self::Malformed => write!(f, "the frame to seal has a wrong length"),
            Self::Exhausted => write!(f, "the record counter is used up"),
            Self::Poisoned => write!(f, "the session has failed before"),
        }
    }
}

impl core::error::Error for SessionError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// A session whose counters stand at `n` in both directions.
    fn session(n: u64) -> Session {
        let cipher = || Cipher::starting_at(Aead::ChaChaPoly, &[1; 32], n);
        Session::with_ciphers(cipher(), cipher())
    }

    fn any(_: &Header) -> u32 {
        u32::MAX
    }

    /// REQ-SEC-036: frames of two records from n = 2^64-4 on: one fits, the next would need n = 2^64-1 and is refused
    /// whole, so no half frame is left.
    #[test]
    fn the_counter_ends_before_its_last_value() {
        let (mut sender, mut receiver) = (session(u64::MAX - 3), session(u64::MAX - 3));
        let frame = [0, 0, 1, 1, 0, 0, 42];
        let mut out = Vec::new();
        sender.seal(&frame, &mut out).unwrap();
        let whole = out.clone();
        assert_eq!(sender.seal(&frame, &mut out), Err(SessionError::Exhausted));
        assert_eq!(out, whole);
        assert_eq!(sender.seal(&frame, &mut out), Err(SessionError::Poisoned));
        assert!(matches!(receiver.feed(&mut out, any), Ok(Feed::Frame { .. })));
        let mut noise = [0; 22];
        let last = receiver.feed(&mut noise, any);
        assert_eq!(
            last,
            Err(SessionError::Authentication),
            "n = 2^64-2 is still a counter"
        );
        let none = session(u64::MAX).feed(&mut noise, any);
        assert_eq!(none, Err(SessionError::Exhausted));
    }
}
