//! The two acts of `Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256` (spec 4.5).
//!
//! Neither act has a length prefix, and nothing is negotiated. Act 1 is any 64 bytes: that they are noise shows when the
//! first record does not authenticate. Act 2 is 234 bytes; the 170 in the text is left over from 32-byte keys (C-94).

use core::fmt;

use crate::aead::{AeadError, TAG};
use crate::certificate::{Certificate, CertificateError, LEEWAY_S_DEFAULT, Trust};
use crate::curve::{ENCODING, EncodedKey, context, decode_x};
use crate::identity::ServerIdentity;
use crate::session::Session;
use crate::symmetric::Symmetric;

/// Bytes of act 1: the initiator's encoded ephemeral key.
pub const ACT1_BYTES: usize = ENCODING;

/// Bytes of act 2: ephemeral key, sealed static key, sealed certificate.
pub const ACT2_BYTES: usize = ENCODING + STATIC + CERTIFICATE;

const STATIC: usize = ENCODING + TAG;
const CERTIFICATE: usize = Certificate::BYTES + TAG;

/// An initiator that has sent act 1 and awaits act 2.
pub struct Initiator {
    ephemeral: EncodedKey,
    pub(crate) symmetric: Symmetric,
    leeway_s: u32,
}

impl Initiator {
    /// Starts a handshake from 32 random bytes, never to be used again, and gives the 64 bytes of act 1.
    ///
    /// Errors: [`HandshakeError::Randomness`] if the bytes are no scalar, which random ones never are.
    pub fn new(random: [u8; 32]) -> Result<(Self, [u8; ACT1_BYTES]), HandshakeError> {
        let ephemeral = ephemeral(random)?;
        let act1 = *ephemeral.encoding();
        Ok((Self::awaiting(ephemeral), act1))
    }

    pub(crate) fn awaiting(ephemeral: EncodedKey) -> Self {
        let symmetric = after_act1(ephemeral.encoding());
        Self {
            ephemeral,
            symmetric,
            leeway_s: LEEWAY_S_DEFAULT,
        }
    }

    /// How far our clock may be off at either end of the certificate's validity, in seconds.
    pub fn with_leeway(mut self, leeway_s: u32) -> Self {
        self.leeway_s = leeway_s;
        self
    }

    /// Reads act 2 and ends in a session, or in the reason why the server is not believed. Nothing may be sent
    /// before this (REQ-SEC-038), and after an error the connection must be closed without an answer.
    pub fn finish(
        self,
        act2: &[u8; ACT2_BYTES],
        trust: &Trust,
        now_unix_s: u64,
    ) -> Result<Session, HandshakeError> {
        self.examine(act2)?.believe(trust, now_unix_s)
    }

    /// The first half of [`finish`](Self::finish): reads act 2 and shows the certificate, believed or not, to tools that
    /// explain why a server is not believed. There is no session before [`Examined::believe`].
    pub fn examine(self, act2: &[u8; ACT2_BYTES]) -> Result<Examined, HandshakeError> {
        let leeway_s = self.leeway_s;
        let opened = self.open(act2)?;
        Ok(Examined { opened, leeway_s })
    }

    pub(crate) fn open(mut self, act2: &[u8; ACT2_BYTES]) -> Result<Act2, HandshakeError> {
        let (theirs, mut server, mut certificate) = split(act2);
        let state = &mut self.symmetric;
        state.mix_hash(&theirs);
        state.mix_key(&self.ephemeral.ecdh_as_initiator(&theirs));
        state.decrypt_and_hash(&mut server)?;
        let server = text(&server);
        state.mix_key(&self.ephemeral.ecdh_as_initiator(&server));
        state.decrypt_and_hash(&mut certificate)?;
        Ok(Act2 {
            server,
            certificate: Certificate::from_bytes(&text(&certificate)),
            symmetric: self.symmetric,
        })
    }
}

/// A server that has shown its certificate and is not yet believed.
pub struct Examined {
    opened: Act2,
    leeway_s: u32,
}

impl Examined {
    /// What the server shows.
    pub fn certificate(&self) -> &Certificate {
        &self.opened.certificate
    }

    /// The server's static key, 32 bytes, x-only.
    pub fn server_key(&self) -> [u8; 32] {
        decode_x(&self.opened.server)
    }

    /// Ends in a session, or in the reason why the server is not believed (see [`Initiator::finish`]).
    pub fn believe(self, trust: &Trust, now_unix_s: u64) -> Result<Session, HandshakeError> {
        self.opened
            .certificate
            .check(&self.server_key(), trust, now_unix_s, self.leeway_s)
            .map_err(HandshakeError::Certificate)?;
        Ok(Session::initiator(self.opened.symmetric))
    }
}

/// Act 2 as the initiator finds it once every tag was right.
pub(crate) struct Act2 {
    server: [u8; ENCODING],
    certificate: Certificate,
    pub(crate) symmetric: Symmetric,
}

/// Answers act 1 with the 234 bytes of act 2 and the session that follows it.
///
/// `random` are 32 random bytes, never to be used again. Costs two ECDH and one key; the certificate is at hand in
/// `identity`. Errors: [`HandshakeError::Randomness`]. Whatever act 1 holds, it is answered: that it came from nobody
/// shows when the first record does not authenticate.
pub fn respond(
    identity: &ServerIdentity,
    act1: &[u8; ACT1_BYTES],
    random: [u8; 32],
) -> Result<([u8; ACT2_BYTES], Session), HandshakeError> {
    let (act2, symmetric) = answer(identity, act1, &ephemeral(random)?)?;
    Ok((act2, Session::responder(symmetric)))
}

pub(crate) fn answer(
    identity: &ServerIdentity,
    act1: &[u8; ACT1_BYTES],
    ephemeral: &EncodedKey,
) -> Result<([u8; ACT2_BYTES], Symmetric), HandshakeError> {
    let mut state = after_act1(act1);
    state.mix_hash(ephemeral.encoding());
    state.mix_key(&ephemeral.ecdh_as_responder(act1));
    let mut server = [0; STATIC];
    server[..ENCODING].copy_from_slice(identity.encoding());
    state.encrypt_and_hash(&mut server)?;
    state.mix_key(&identity.ecdh(act1));
    let mut certificate = [0; CERTIFICATE];
    certificate[..Certificate::BYTES].copy_from_slice(&identity.certificate().to_bytes());
    state.encrypt_and_hash(&mut certificate)?;

    let mut act2 = [0; ACT2_BYTES];
    act2[..ENCODING].copy_from_slice(ephemeral.encoding());
    act2[ENCODING..ENCODING + STATIC].copy_from_slice(&server);
    act2[ENCODING + STATIC..].copy_from_slice(&certificate);
    Ok((act2, state))
}

fn ephemeral(random: [u8; 32]) -> Result<EncodedKey, HandshakeError> {
    EncodedKey::new(context(), random).map_err(|_| HandshakeError::Randomness)
}

/// State of both sides after act 1, whose payload is empty.
fn after_act1(initiator: &[u8; ENCODING]) -> Symmetric {
    let mut state = Symmetric::new();
    state.mix_hash(initiator);
    state.mix_hash(&[]);
    state
}

fn split(act2: &[u8; ACT2_BYTES]) -> ([u8; ENCODING], [u8; STATIC], [u8; CERTIFICATE]) {
    let mut key = [0; ENCODING];
    let mut server = [0; STATIC];
    let mut certificate = [0; CERTIFICATE];
    key.copy_from_slice(&act2[..ENCODING]);
    server.copy_from_slice(&act2[ENCODING..ENCODING + STATIC]);
    certificate.copy_from_slice(&act2[ENCODING + STATIC..]);
    (key, server, certificate)
}

/// The plaintext of an opened part, without the room of its tag.
fn text<const SEALED: usize, const TEXT: usize>(sealed: &[u8; SEALED]) -> [u8; TEXT] {
    const { assert!(TEXT + TAG == SEALED) };
    let mut text = [0; TEXT];
    text.copy_from_slice(&sealed[..TEXT]);
    text
}

/// Why there is no session. The connection must be closed, and no answer given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The "random" bytes are 0 or not below the group order: the source of randomness is broken.
    Randomness,
    /// Act 2 does not authenticate: damaged on the way, or the server speaks something else.
    Authentication,
    /// The server's certificate is not believed.
    Certificate(CertificateError),
    /// 2022 draft: a frame with a body of so many bytes does not belong here.
    Frame(usize),
    /// 2022 draft: no list of algorithms where one belongs.
    Offer,
    /// 2022 draft: none of the algorithms offered is ours.
    NoCommonAlgorithm,
    /// 2022 draft: the responder chose an algorithm that it was not offered.
    NotOffered([u8; 4]),
    /// 2022 draft: the peer's key has small order, so there is no secret to share.
    KeyExchange,
}

impl HandshakeError {
    /// What `snow` found. Lengths and turns were looked at before it was asked, so what is left is mostly the tag.
    pub(crate) fn from_snow(error: snow::Error) -> Self {
        match error {
            snow::Error::Dh => Self::KeyExchange,
            snow::Error::Rng => Self::Randomness,
            _ => Self::Authentication,
        }
    }
}

impl From<AeadError> for HandshakeError {
    fn from(_: AeadError) -> Self {
        Self::Authentication
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Randomness => write!(f, "the random bytes given are no secret key"),
            Self::Authentication => write!(
                f,
                "act 2 does not authenticate: damaged, or not a Stratum V2 server"
            ),
            Self::Certificate(error) => error.fmt(f),
            Self::Frame(bytes) => write!(f, "a handshake frame of {bytes} bytes does not belong here"),
            Self::Offer => write!(f, "no list of algorithms (STR3) where one belongs"),
            Self::NoCommonAlgorithm => write!(
                f,
                "no algorithm in common: both sides must speak ChaChaPoly (CHCH) or AESGCM (AESG)"
            ),
            Self::NotOffered(code) => write!(
                f,
                "the server chose {:?}, which it was not offered",
                alloc::string::String::from_utf8_lossy(code)
            ),
            Self::KeyExchange => write!(f, "the peer's key is of small order"),
        }
    }
}

impl core::error::Error for HandshakeError {}
