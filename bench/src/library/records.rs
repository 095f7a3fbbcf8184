//! Encrypted records of one share frame.

use std::hint::black_box;
use std::time::Duration;

use adit_noise::{
    Authority, AuthorityKeypair, Feed, HEADER_RECORD_BYTES, Header, Initiator, ServerIdentity, Session,
    TAG_BYTES, Trust, respond,
};
use adit_wire::Message;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use stratum_core::codec_sv2::{
    Decrypted, EncodableFrame, Handshake, NoiseDecoder, NoiseEncoder, TransportDecryptState,
    TransportEncryptState,
};
use stratum_core::framing_sv2::Error;
use stratum_core::noise_sv2;

use super::{Certain, frames};
use crate::measure::{Case, Goal, Work};

const COUNT: u32 = 1_000;
/// A time inside the certificates made here.
const NOW: u64 = 1_700_000_000;
const SECRET: [u8; 32] = [0x44; 32];

pub(super) fn cases() -> Vec<Case> {
    let frame = share();
    let case = |what: &str, reference, ours, raw| Case {
        what: what.to_owned(),
        count: COUNT,
        items: 1,
        reference,
        ours,
        floor: Some(("two raw records", raw)),
        goal: Goal::OfFloor(1.15),
    };
    vec![
        case(
            "seal one share frame",
            Box::new(TheirSeal::new(&frame)),
            Box::new(seal(&frame)),
            Box::new(raw_seal(&frame)),
        ),
        case(
            "open one share frame",
            Box::new(TheirOpen::new(&frame)),
            Box::new(Open::new(&frame)),
            Box::new(RawOpen::new(&frame)),
        ),
    ]
}

/// A plain SubmitSharesExtended.
fn share() -> Vec<u8> {
    let mut frame = Vec::new();
    frames::extended().encode_frame(&mut frame);
    frame
}

/// A client's and a server's session.
pub(crate) fn sessions() -> (Session, Session) {
    let (initiator, act1) = Initiator::new([0x11; 32]).certain();
    let (act2, server) = respond(&identity(), &act1, [0x22; 32]).certain();
    let trust = Trust::Authority(authority().public());
    (initiator.finish(&act2, &trust, NOW).certain(), server)
}

fn authority() -> Authority {
    Authority::new(AuthorityKeypair::from_secret(SECRET).certain(), 86_400)
}

fn identity() -> ServerIdentity {
    ServerIdentity::issued_by(&authority(), [0x33; 32], NOW, [0; 32]).certain()
}

fn seal(frame: &[u8]) -> impl FnMut(u32) + use<> {
    let ((mut session, _), frame) = (sessions(), frame.to_vec());
    let mut out = Vec::with_capacity(1 << 20);
    move |count| {
        out.clear();
        for _ in 0..count {
            session.seal(black_box(&frame), &mut out).certain();
        }
        black_box(&out);
    }
}

struct Open {
    client: Session,
    server: Session,
    frame: Vec<u8>,
    stream: Vec<u8>,
}

impl Open {
    fn new(frame: &[u8]) -> Self {
        let (client, server) = sessions();
        let (frame, stream) = (frame.to_vec(), Vec::new());
        Self {
            client,
            server,
            frame,
            stream,
        }
    }
}

impl Work for Open {
    fn prepare(&mut self, count: u32) {
        self.stream.clear();
        for _ in 0..count {
            self.client.seal(&self.frame, &mut self.stream).certain();
        }
    }

    fn run(&mut self, count: u32) {
        let mut start = 0;
        for _ in 0..count {
            let rest = self.stream.get_mut(start..).certain();
            match self.server.feed(rest, |_| u32::MAX).certain() {
                Feed::Frame { used, payload, .. } => {
                    black_box(payload);
                    start += used;
                }
                Feed::Need(_) => panic!("the benchmark is wrong: the stream ends early"),
            }
        }
    }
}

fn key() -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).certain())
}

fn nonce(counter: &mut u64) -> Nonce {
    let mut bytes = [0; 12];
    if let Some(end) = bytes.last_chunk_mut() {
        *end = counter.to_le_bytes();
    }
    *counter += 1;
    Nonce::assume_unique_for_key(bytes)
}

/// Both records of a frame with the library's own calls and nothing around them.
fn raw_seal(frame: &[u8]) -> impl FnMut(u32) + use<> {
    let (key, mut counter, frame) = (key(), 0, frame.to_vec());
    let mut out = vec![0; frame.len()];
    move |count| {
        for _ in 0..count {
            out.copy_from_slice(black_box(&frame));
            let (head, payload) = out.split_at_mut(Header::LEN);
            for part in [head, payload] {
                let tag = key.seal_in_place_separate_tag(nonce(&mut counter), Aad::empty(), part);
                let _ = black_box(tag.certain());
            }
        }
    }
}

struct RawOpen {
    key: LessSafeKey,
    sealed: u64,
    opened: u64,
    frame: Vec<u8>,
    stream: Vec<u8>,
}

impl RawOpen {
    fn new(frame: &[u8]) -> Self {
        let frame = frame.to_vec();
        Self {
            key: key(),
            sealed: 0,
            opened: 0,
            frame,
            stream: Vec::new(),
        }
    }
}

impl Work for RawOpen {
    fn prepare(&mut self, count: u32) {
        self.stream.clear();
        let (head, payload) = self.frame.split_at(Header::LEN);
        for _ in 0..count {
            for part in [head, payload] {
                let mut record = part.to_vec();
                let sealed =
                    self.key
                        .seal_in_place_append_tag(nonce(&mut self.sealed), Aad::empty(), &mut record);
                sealed.certain();
                self.stream.extend_from_slice(&record);
            }
        }
    }

    fn run(&mut self, count: u32) {
        let payload = self.frame.len() - Header::LEN + TAG_BYTES;
        let mut rest = self.stream.as_mut_slice();
        for _ in 0..count {
            for length in [HEADER_RECORD_BYTES, payload] {
                let (record, behind) = rest.split_at_mut(length);
                let plain = self
                    .key
                    .open_in_place(nonce(&mut self.opened), Aad::empty(), record);
                black_box(plain.certain());
                rest = behind;
            }
        }
    }
}

/// Bytes that the reference seals as they are, as it would an encoded message.
struct Plain<'a>(&'a [u8]);

impl EncodableFrame for Plain<'_> {
    fn encoded_length(&self) -> usize {
        self.0.len()
    }

    fn encode_into(self, dst: &mut [u8]) -> Result<(), Error> {
        dst.copy_from_slice(self.0);
        Ok(())
    }
}

fn their_responder() -> Handshake<noise_sv2::Responder> {
    let public = authority().public().to_bytes();
    let day = Duration::from_secs(86_400);
    Handshake::responder(noise_sv2::Responder::from_authority_kp(&public, &SECRET, day).certain())
}

fn their_sessions() -> (TransportEncryptState, TransportDecryptState) {
    let public = authority().public().to_bytes();
    let initiator = Handshake::initiator(noise_sv2::Initiator::from_raw_k(public).certain());
    let (act1, initiator) = initiator.step_0().certain();
    let (act2, server) = their_responder()
        .step_1(act1.payload().try_into().certain())
        .certain();
    let client = initiator.step_2(act2.payload().try_into().certain()).certain();
    (client.split().0, server.split().1)
}

struct TheirSeal {
    encoder: NoiseEncoder,
    state: TransportEncryptState,
    frame: Vec<u8>,
}

impl TheirSeal {
    fn new(frame: &[u8]) -> Self {
        let frame = frame.to_vec();
        Self {
            encoder: NoiseEncoder::new(),
            state: their_sessions().0,
            frame,
        }
    }

    fn one(&mut self) -> impl AsRef<[u8]> + use<> {
        self.encoder
            .encode_transport(Plain(black_box(&self.frame)), &mut self.state)
            .certain()
    }
}

impl Work for TheirSeal {
    fn run(&mut self, count: u32) {
        for _ in 0..count {
            black_box(self.one().as_ref());
        }
    }
}

struct TheirOpen {
    encoder: TheirSeal,
    decoder: NoiseDecoder,
    /// Moved in and out by every call.
    state: Option<TransportDecryptState>,
    stream: Vec<u8>,
}

impl TheirOpen {
    fn new(frame: &[u8]) -> Self {
        let (encrypt, decrypt) = their_sessions();
        let mut encoder = TheirSeal::new(frame);
        encoder.state = encrypt;
        Self {
            encoder,
            decoder: NoiseDecoder::new(),
            state: Some(decrypt),
            stream: Vec::new(),
        }
    }
}

impl Work for TheirOpen {
    fn prepare(&mut self, count: u32) {
        self.stream.clear();
        for _ in 0..count {
            self.stream.extend_from_slice(self.encoder.one().as_ref());
        }
    }

    fn run(&mut self, count: u32) {
        let (mut rest, mut opened) = (self.stream.as_slice(), 0);
        let mut state = self.state.take().certain();
        while opened < count {
            match self.decoder.next_transport_frame(state).certain() {
                Decrypted::Frame(mut frame, next) => {
                    black_box(frame.payload());
                    (state, opened) = (next, opened + 1);
                }
                Decrypted::Incomplete(missing, next) => {
                    let (now, later) = rest.split_at(missing);
                    self.decoder.writable().copy_from_slice(now);
                    (rest, state) = (later, next);
                }
            }
        }
        self.state = Some(state);
    }
}
