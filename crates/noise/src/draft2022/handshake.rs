//! The acts of the 2022 draft as states that consume each other (docs/spec/security-draft-2022.md sections 2 to 5).

use alloc::vec::Vec;

use snow::HandshakeState;
use zeroize::Zeroizing;

use super::certificate::{Certificate, SignatureForm};
use super::identity::ServerIdentity;
use super::negotiation::{self, Aeads, code};
use super::{Trust, primitives};
use crate::aead::{Aead, TAG};
use crate::certificate::LEEWAY_S_DEFAULT;
use crate::handshake::HandshakeError;
use crate::session::Session;
use crate::symmetric::Key;

/// Bytes of the length before every frame.
pub const LENGTH_BYTES: usize = 2;
/// Bytes of a public key.
const KEY: usize = 32;
/// Act 2 before the certificate: ephemeral key, sealed static key.
const KEYS: usize = KEY + KEY + TAG;
/// Body of act 2.
const ACT2: usize = KEYS + Certificate::BYTES + TAG;
/// Body of act 2 with the older form of the certificate.
const ACT2_PREFIXED: usize = KEYS + Certificate::BYTES_PREFIXED + TAG;

/// Bytes of act 1 as a frame.
pub const ACT1_FRAME_BYTES: usize = LENGTH_BYTES + KEY;
/// Bytes of the choice as a frame.
pub const CHOICE_FRAME_BYTES: usize = LENGTH_BYTES + 4;
/// Bytes of the longest frame of a handshake: an offer of 255 codes.
pub const FRAME_BYTES_MAX: usize = LENGTH_BYTES + 5 + 255 * 4;

/// An initiator that has offered its algorithms and awaits the responder's choice.
pub struct Initiator {
    offered: Aeads,
    ephemeral: Key,
}

impl Initiator {
    /// Starts a handshake from 32 random bytes, never to be used again, and gives the offer as a frame.
    ///
    /// Errors: [`HandshakeError::Randomness`] if the bytes are all 0.
    pub fn new(offer: Aeads, random: [u8; 32]) -> Result<(Self, Vec<u8>), HandshakeError> {
        let initiator = Self {
            offered: offer,
            ephemeral: ephemeral(random)?,
        };
        let frame = frame(&negotiation::offer(&offer.list()));
        Ok((initiator, frame))
    }

    /// Starts a handshake with a responder that knows no negotiation (section 8): ChaChaPoly, empty prologue. Gives act 1
    /// as a frame. Errors: [`HandshakeError::Randomness`].
    pub fn without_negotiation(random: [u8; 32]) -> Result<(Awaiting, Vec<u8>), HandshakeError> {
        Awaiting::new(Aead::ChaChaPoly, &[], &ephemeral(random)?)
    }

    /// Length in bytes of the frame that starts with these two: the choice, 4 bytes and nothing else.
    pub fn frame_bytes(&self, head: [u8; LENGTH_BYTES]) -> Result<usize, HandshakeError> {
        expect(head, |body| body == 4)
    }

    /// Reads the choice and gives act 1 as a frame.
    ///
    /// Errors: [`HandshakeError::NotOffered`] if it is none of ours (REQ-SEC-009), [`HandshakeError::Frame`].
    pub fn chosen(self, choice: &[u8]) -> Result<(Awaiting, Vec<u8>), HandshakeError> {
        let chosen = body(choice)?;
        let chosen = chosen
            .try_into()
            .map_err(|_| HandshakeError::Frame(chosen.len()))?;
        let aead = self
            .offered
            .with_code(chosen)
            .ok_or(HandshakeError::NotOffered(chosen))?;
        let prologue = negotiation::prologue(&self.offered.list(), aead);
        Awaiting::new(aead, &prologue, &self.ephemeral)
    }
}

/// An initiator that has sent act 1 and awaits act 2.
pub struct Awaiting {
    aead: Aead,
    pub(super) state: HandshakeState,
    leeway_s: u32,
}

impl Awaiting {
    fn new(aead: Aead, prologue: &[u8], ephemeral: &Key) -> Result<(Self, Vec<u8>), HandshakeError> {
        let mut state = primitives::state(aead, prologue, ephemeral, None)?;
        // snow wants room for a tag even where there is none.
        let mut act1 = [0; KEY + TAG];
        let length = state
            .write_message(&[], &mut act1)
            .map_err(HandshakeError::from_snow)?;
        let act1 = frame(&act1[..length]);
        let leeway_s = LEEWAY_S_DEFAULT;
        Ok((
            Self {
                aead,
                state,
                leeway_s,
            },
            act1,
        ))
    }

    /// How far our clock may be off at either end of the certificate's validity, in seconds.
    pub fn with_leeway(mut self, leeway_s: u32) -> Self {
        self.leeway_s = leeway_s;
        self
    }

    /// Length in bytes of the frame that starts with these two: act 2, with either form of the certificate.
    pub fn frame_bytes(&self, head: [u8; LENGTH_BYTES]) -> Result<usize, HandshakeError> {
        expect(head, |body| body == ACT2 || body == ACT2_PREFIXED)
    }

    /// Reads act 2 and ends in a session, or in the reason why the server is not believed. Nothing may be sent before
    /// this (REQ-SEC-038), and after an error the connection must be closed without an answer.
    pub fn finish(self, act2: &[u8], trust: &Trust, now_unix_s: u64) -> Result<Session, HandshakeError> {
        self.examine(act2)?.believe(trust, now_unix_s)
    }

    /// The first half of [`finish`](Self::finish): shows the certificate, believed or not, to tools that explain why a
    /// server is not believed. There is no session before [`Examined::believe`].
    pub fn examine(mut self, act2: &[u8]) -> Result<Examined, HandshakeError> {
        let act2 = body(act2)?;
        let mut payload = [0; Certificate::BYTES_PREFIXED];
        let length = match act2.len() {
            ACT2 | ACT2_PREFIXED => self.state.read_message(act2, &mut payload),
            other => return Err(HandshakeError::Frame(other)),
        };
        let certificate = match length.map_err(HandshakeError::from_snow)? {
            Certificate::BYTES_PREFIXED => Certificate::from_bytes_prefixed(&payload),
            _ => {
                let [certificate @ .., _, _] = payload;
                Certificate::from_bytes(&certificate)
            }
        };
        let server = self
            .state
            .get_remote_static()
            .and_then(|key| key.first_chunk())
            .ok_or(HandshakeError::Authentication)?;
        Ok(Examined {
            certificate,
            server: *server,
            handshake: self,
        })
    }
}

/// A server that has shown its certificate and is not yet believed.
pub struct Examined {
    certificate: Certificate,
    server: [u8; KEY],
    handshake: Awaiting,
}

impl Examined {
    /// What the server shows.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The server's X25519 key.
    pub fn server_key(&self) -> [u8; 32] {
        self.server
    }

    /// The algorithm that the server chose.
    pub fn aead(&self) -> Aead {
        self.handshake.aead
    }

    /// Ends in a session, or in the reason why the server is not believed (see [`Awaiting::finish`]).
    pub fn believe(self, trust: &Trust, now_unix_s: u64) -> Result<Session, HandshakeError> {
        let Awaiting {
            aead,
            mut state,
            leeway_s,
        } = self.handshake;
        self.certificate
            .check(&self.server, trust, now_unix_s, leeway_s)
            .map_err(HandshakeError::Certificate)?;
        let (to_responder, to_initiator) = split(&mut state);
        Ok(Session::framed(aead, &to_responder, &to_initiator))
    }
}

/// What a responder agrees to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// The AEADs it speaks, the preferred one first.
    pub aeads: Aeads,
    /// How it writes its certificate.
    pub signature: SignatureForm,
}

/// A responder that awaits an offer.
pub struct Responder(Terms);

impl Responder {
    /// For one connection.
    pub fn new(terms: Terms) -> Self {
        Self(terms)
    }

    /// Length in bytes of the frame that starts with these two: an offer.
    pub fn frame_bytes(&self, head: [u8; LENGTH_BYTES]) -> Result<usize, HandshakeError> {
        expect(head, negotiation::is_offer_length)
    }

    /// Reads an offer and gives the choice as a frame.
    ///
    /// Errors, after which the connection is closed without an answer: [`HandshakeError::Offer`] if it is none,
    /// [`HandshakeError::NoCommonAlgorithm`] (REQ-SEC-008), [`HandshakeError::Frame`].
    pub fn answer(self, offer: &[u8]) -> Result<(Answering, Vec<u8>), HandshakeError> {
        let list = negotiation::read_offer(body(offer)?)?;
        let aead = self
            .0
            .aeads
            .first_in(list)
            .ok_or(HandshakeError::NoCommonAlgorithm)?;
        let answering = Answering {
            aead,
            prologue: negotiation::prologue(list, aead),
            signature: self.0.signature,
        };
        Ok((answering, frame(&code(aead))))
    }

    /// Agrees to a peer that starts with act 1 (section 8): ChaChaPoly, empty prologue, the older certificate form.
    /// Nobody vouches for the choice of algorithm then, so ask the operator first.
    /// Errors: [`HandshakeError::NoCommonAlgorithm`] if ChaChaPoly is not among the terms.
    pub fn without_negotiation(self) -> Result<Answering, HandshakeError> {
        let aead = self.0.aeads.with_code(code(Aead::ChaChaPoly));
        Ok(Answering {
            aead: aead.ok_or(HandshakeError::NoCommonAlgorithm)?,
            prologue: Vec::new(),
            signature: SignatureForm::Prefixed,
        })
    }
}

/// A responder that has made its choice and awaits act 1.
pub struct Answering {
    aead: Aead,
    prologue: Vec<u8>,
    signature: SignatureForm,
}

impl Answering {
    /// Length in bytes of the frame that starts with these two: act 1.
    pub fn frame_bytes(&self, head: [u8; LENGTH_BYTES]) -> Result<usize, HandshakeError> {
        expect(head, |body| body == KEY)
    }

    /// Answers act 1 with act 2 as a frame and the session that follows it. `random` are 32 random bytes, never to be
    /// used again. This is the expensive step: one key and two X25519.
    ///
    /// Errors: [`HandshakeError::Randomness`], [`HandshakeError::Frame`], [`HandshakeError::KeyExchange`] for a key of
    /// small order.
    pub fn respond(
        self,
        identity: &ServerIdentity,
        act1: &[u8],
        random: [u8; 32],
    ) -> Result<(Vec<u8>, Session), HandshakeError> {
        let aead = self.aead;
        let (act2, mut state) = self.act2(identity, act1, random)?;
        let (to_responder, to_initiator) = split(&mut state);
        Ok((act2, Session::framed(aead, &to_initiator, &to_responder)))
    }

    pub(super) fn act2(
        self,
        identity: &ServerIdentity,
        act1: &[u8],
        random: [u8; 32],
    ) -> Result<(Vec<u8>, HandshakeState), HandshakeError> {
        let act1 = body(act1)?;
        if act1.len() != KEY {
            return Err(HandshakeError::Frame(act1.len()));
        }
        let mut state = primitives::state(self.aead, &self.prologue, &ephemeral(random)?, Some(identity))?;
        state
            .read_message(act1, &mut [])
            .map_err(HandshakeError::from_snow)?;
        let (raw, prefixed) = (
            identity.certificate().to_bytes(),
            identity.certificate().to_bytes_prefixed(),
        );
        let (certificate, length) = match self.signature {
            SignatureForm::Raw => (raw.as_slice(), ACT2),
            SignatureForm::Prefixed => (prefixed.as_slice(), ACT2_PREFIXED),
        };
        let mut act2 = [0; ACT2_PREFIXED];
        let written = state
            .write_message(certificate, &mut act2[..length])
            .map_err(HandshakeError::from_snow)?;
        if written != length {
            return Err(HandshakeError::Authentication);
        }
        Ok((frame(&act2[..length]), state))
    }
}

/// The two transport keys: initiator to responder, responder to initiator.
pub(super) fn split(state: &mut HandshakeState) -> (Key, Key) {
    let (first, second) = state.dangerously_get_raw_split();
    (Zeroizing::new(first), Zeroizing::new(second))
}

fn ephemeral(random: [u8; 32]) -> Result<Key, HandshakeError> {
    if random == [0; 32] {
        return Err(HandshakeError::Randomness);
    }
    Ok(Zeroizing::new(random))
}

/// A body behind its length (REQ-SEC-011). Bodies of handshakes have 1,025 bytes at most.
fn frame(body: &[u8]) -> Vec<u8> {
    let length = body.len() as u16;
    [&length.to_le_bytes(), body].concat()
}

/// The body of a frame that is there whole, and nothing behind it.
fn body(frame: &[u8]) -> Result<&[u8], HandshakeError> {
    match frame.split_first_chunk() {
        Some((head, body)) if body.len() == usize::from(u16::from_le_bytes(*head)) => Ok(body),
        _ => Err(HandshakeError::Frame(frame.len().saturating_sub(LENGTH_BYTES))),
    }
}

/// Length of a frame whose body may have such a length here.
fn expect(head: [u8; LENGTH_BYTES], fits: impl Fn(usize) -> bool) -> Result<usize, HandshakeError> {
    let body = usize::from(u16::from_le_bytes(head));
    if !fits(body) {
        return Err(HandshakeError::Frame(body));
    }
    Ok(LENGTH_BYTES + body)
}
