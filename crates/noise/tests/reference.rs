//! Against the published reference implementation: handshakes in both roles, frames in both directions.
#![allow(clippy::unwrap_used, reason = "a scenario that cannot be set up fails")]

mod common;

use adit_noise::{ACT2_BYTES, Initiator, Session, respond};
use common::{NOW, authority, frame, identity, opened, sealed, trust};
use stratum_core::{codec_sv2, framing_sv2, noise_sv2};

use codec_sv2::{Decrypted, EncodableFrame, Handshake, NoiseDecoder, NoiseEncoder, Transport};

/// Bytes that the reference seals as they are.
struct Plain<'a>(&'a [u8]);

impl EncodableFrame for Plain<'_> {
    fn encoded_length(&self) -> usize {
        self.0.len()
    }

    fn encode_into(self, dst: &mut [u8]) -> Result<(), framing_sv2::Error> {
        dst.copy_from_slice(self.0);
        Ok(())
    }
}

/// Frames of all kinds of length, the largest in two chunks.
fn frames() -> Vec<Vec<u8>> {
    [24, 33, 1, 65_519, 70_000, 65_520, 6]
        .map(|length| frame(0x1a, length))
        .to_vec()
}

/// Ours to theirs, then theirs to ours. REQ-SEC-020, REQ-SEC-030, REQ-SEC-031.
fn exchange(mut ours: Session, theirs: Transport) {
    let (mut encrypt, mut decrypt) = theirs.split();
    let stream = sealed(&mut ours, &frames());
    let (mut decoder, mut rest, mut got) = (NoiseDecoder::new(), stream.as_slice(), Vec::new());
    while got.len() < frames().len() {
        match decoder.next_transport_frame(decrypt).unwrap() {
            Decrypted::Frame(frame, state) => {
                got.push(frame.as_bytes().to_vec());
                decrypt = state;
            }
            Decrypted::Incomplete(missing, state) => {
                let (now, later) = rest.split_at(missing);
                decoder.writable().copy_from_slice(now);
                (rest, decrypt) = (later, state);
            }
        }
    }
    assert_eq!(got, frames());
    assert!(rest.is_empty());

    let mut encoder = NoiseEncoder::new();
    for frame in frames() {
        let records = encoder.encode_transport(Plain(&frame), &mut encrypt).unwrap();
        assert_eq!(opened(&mut ours, records.as_ref()), frame);
    }
}

/// REQ-SEC-024, REQ-SEC-025, REQ-SEC-026, REQ-SEC-028: our act 2 and certificate are believed.
#[test]
fn the_reference_initiator_accepts_our_responder() {
    let key = authority().public().to_bytes();
    let theirs = Handshake::initiator(noise_sv2::Initiator::from_raw_k(key).unwrap());
    let (act1, theirs) = theirs.step_0().unwrap();
    let act1 = act1.payload().try_into().unwrap();
    let (act2, ours) = respond(&identity(), &act1, [0x22; 32]).unwrap();
    let theirs = theirs.step_2_with_now(act2, NOW as u32).unwrap();
    exchange(ours, theirs);
}

/// The other way round. The reference dates its certificate by the clock of this machine, hence the leeway.
#[test]
fn our_initiator_accepts_the_reference_responder() {
    let public = authority().public().to_bytes();
    let day = core::time::Duration::from_secs(86_400);
    let theirs = noise_sv2::Responder::from_authority_kp(&public, &[0x44; 32], day).unwrap();
    let (initiator, act1) = Initiator::new([0x11; 32]).unwrap();
    let (act2, theirs) = Handshake::responder(theirs).step_1(act1).unwrap();
    let act2: [u8; ACT2_BYTES] = act2.payload().try_into().unwrap();
    let ours = initiator
        .with_leeway(u32::MAX)
        .finish(&act2, &trust(), NOW)
        .unwrap();
    exchange(ours, theirs);
}
