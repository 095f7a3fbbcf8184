//! Against `snow` alone, with its own primitives: it does the pattern, the test does the rest, as a peer of 2022 would.
#![allow(clippy::unwrap_used, reason = "a scenario that cannot be set up fails")]

mod common;

use adit_noise::Aead;
use adit_noise::draft2022::{Aeads, Initiator, Responder, SignatureForm, Terms};
use common::draft::{authority, identity, trust};
use common::{NOW, frame, opened, sealed};
use snow::{Builder, HandshakeState, TransportState};

const BOTH: [(Aead, &str, [u8; 4]); 2] = [
    (Aead::ChaChaPoly, "Noise_NX_25519_ChaChaPoly_BLAKE2s", *b"CHCH"),
    (Aead::AesGcm, "Noise_NX_25519_AESGCM_BLAKE2s", *b"AESG"),
];

fn builder<'a>(name: &str, prologue: &'a [u8]) -> Builder<'a> {
    Builder::new(name.parse().unwrap()).prologue(prologue).unwrap()
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u16).to_le_bytes(), body].concat()
}

fn write(state: &mut HandshakeState, payload: &[u8]) -> Vec<u8> {
    let mut message = vec![0; 256];
    let length = state.write_message(payload, &mut message).unwrap();
    framed(&message[..length])
}

/// Frames both ways, the longest in two records of theirs.
fn exchange(ours: &mut adit_noise::Session, theirs: &mut TransportState) {
    for plain in [0, 30, 6, 65_513] {
        let record = sealed(ours, &[frame(4, plain)]);
        let mut text = vec![0; record.len()];
        let length = theirs.read_message(&record[2..], &mut text).unwrap();
        assert_eq!(text[..length], frame(4, plain));
        let mut record = vec![0; plain + 6 + 16];
        theirs.write_message(&frame(5, plain), &mut record).unwrap();
        assert_eq!(opened(ours, &framed(&record)), frame(5, plain));
    }
}

/// REQ-SEC-005, REQ-SEC-013: our responder answers an independent initiator, with and without negotiation.
#[test]
fn our_responder_answers_snow() {
    for (aead, name, code) in BOTH {
        for negotiated in [true, false] {
            if !negotiated && aead == Aead::AesGcm {
                continue;
            }
            let responder = Responder::new(Terms {
                signature: SignatureForm::Raw,
                aeads: Aeads::default(),
            });
            let (answering, prologue) = if negotiated {
                let list = [&[1], code.as_slice()].concat();
                let offer = framed(&[b"STR3", list.as_slice()].concat());
                let (answering, choice) = responder.answer(&offer).unwrap();
                assert_eq!(choice, framed(&code));
                (answering, [list.as_slice(), &code].concat())
            } else {
                (responder.without_negotiation().unwrap(), Vec::new())
            };
            let mut theirs = builder(name, &prologue).build_initiator().unwrap();
            let act1 = write(&mut theirs, &[]);
            let (act2, mut ours) = answering.respond(&identity(), &act1, [0x22; 32]).unwrap();
            let mut certificate = [0; 128];
            let length = theirs.read_message(&act2[2..], &mut certificate).unwrap();
            let shown = identity().certificate().to_bytes();
            let older = identity().certificate().to_bytes_prefixed();
            let expected = if negotiated { shown.as_slice() } else { &older };
            assert_eq!(&certificate[..length], expected);
            assert_eq!(theirs.get_remote_static().unwrap(), identity().public_key());
            exchange(&mut ours, &mut theirs.into_transport_mode().unwrap());
        }
    }
}

/// REQ-SEC-006, REQ-SEC-012, REQ-SEC-015: our initiator accepts an independent responder that shows a good certificate.
#[test]
fn our_initiator_accepts_snow() {
    for (aead, name, code) in BOTH {
        let (initiator, offer) = Initiator::new(Aeads::only(aead), [0x11; 32]).unwrap();
        assert_eq!(offer, framed(&[b"STR3\x01", code.as_slice()].concat()));
        let (awaiting, act1) = initiator.chosen(&framed(&code)).unwrap();
        assert_eq!(act1.len(), 34);
        let prologue = [&[1], code.as_slice(), &code].concat();
        let secret = [0x66; 32];
        let mut theirs = builder(name, &prologue)
            .local_private_key(&secret)
            .unwrap()
            .build_responder()
            .unwrap();
        theirs.read_message(&act1[2..], &mut []).unwrap();
        let key = x25519_dalek::PublicKey::from(&x25519_dalek::StaticSecret::from(secret));
        let certificate = authority().issue(key.as_bytes(), NOW);
        let act2 = write(&mut theirs, &certificate.to_bytes());
        let mut ours = awaiting.finish(&act2, &trust(), NOW).unwrap();
        exchange(&mut ours, &mut theirs.into_transport_mode().unwrap());
    }
}
