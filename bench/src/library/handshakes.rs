//! What a handshake costs a server, of every suite, beside the reference's own.
//!
//! The reference speaks the current suite only, so that one stands beside each of ours. It makes key and certificate
//! anew for every connection; we make them once.

use std::hint::black_box;
use std::time::Duration;

use adit_noise::draft2022::{self, Aeads, Responder, Terms};
use adit_noise::{ACT1_BYTES, Aead, Authority, AuthorityKeypair, Initiator, ServerIdentity, respond};
use stratum_core::codec_sv2::Handshake;
use stratum_core::noise_sv2;

use super::Certain;
use crate::measure::{Case, Goal, Work};

const HANDSHAKES: u32 = 4;
/// A time inside the certificates made here.
const NOW: u64 = 1_700_000_000;
const SECRET: [u8; 32] = [0x44; 32];

pub(super) fn cases() -> Vec<Case> {
    let case = |what: &str, ours, goal| Case {
        what: format!("responder handshake: {what}"),
        count: HANDSHAKES,
        items: 1,
        reference: Box::new(reference()),
        ours,
        floor: None,
        goal,
    };
    vec![
        case("create and answer", Box::new(current()), Goal::Faster(2.0)),
        case(
            "2022 draft, ChaChaPoly",
            Box::new(draft(Aead::ChaChaPoly)) as Box<dyn Work>,
            Goal::Faster(2.0),
        ),
        case(
            "2022 draft, AESGCM",
            Box::new(draft(Aead::AesGcm)),
            Goal::Faster(2.0),
        ),
    ]
}

/// Randomness that is another for every call.
struct Random(u64);

impl Random {
    fn bytes(&mut self) -> [u8; 32] {
        self.0 += 1;
        let mut bytes = [5; 32];
        bytes[..8].copy_from_slice(&self.0.to_le_bytes());
        bytes
    }
}

/// Act 1 of a stranger, as the current suite has it.
fn act1() -> [u8; ACT1_BYTES] {
    Initiator::new([0x11; 32]).certain().1
}

fn reference() -> impl FnMut(u32) {
    let authority = AuthorityKeypair::from_secret(SECRET)
        .certain()
        .public()
        .to_bytes();
    let day = Duration::from_secs(86_400);
    let act1 = act1();
    move |count| {
        for _ in 0..count {
            let responder = noise_sv2::Responder::from_authority_kp(&authority, &SECRET, day).certain();
            let answered = Handshake::responder(responder).step_1(black_box(act1)).certain();
            black_box(answered.0.payload());
        }
    }
}

fn current() -> impl FnMut(u32) {
    let authority = Authority::new(AuthorityKeypair::from_secret(SECRET).certain(), 86_400);
    let identity = ServerIdentity::issued_by(&authority, [0x33; 32], NOW, [0; 32]).certain();
    let (act1, mut random) = (act1(), Random(0));
    move |count| {
        for _ in 0..count {
            black_box(respond(&identity, black_box(&act1), random.bytes()).certain());
        }
    }
}

/// From the offer to act 2 and a session.
fn draft(aead: Aead) -> impl FnMut(u32) {
    let keypair = draft2022::AuthorityKeypair::from_secret(SECRET).certain();
    let authority = draft2022::Authority::new(keypair, 86_400);
    let identity = draft2022::ServerIdentity::issued_by(&authority, [0x33; 32], NOW).certain();
    let (initiator, offer) = draft2022::Initiator::new(Aeads::only(aead), [0x11; 32]).certain();
    let (_, choice) = Responder::new(Terms::default()).answer(&offer).certain();
    let (_, act1) = initiator.chosen(&choice).certain();
    let mut random = Random(0);
    move |count| {
        for _ in 0..count {
            let responder = Responder::new(Terms::default());
            let (answering, choice) = responder.answer(black_box(&offer)).certain();
            black_box(choice);
            black_box(
                answering
                    .respond(&identity, black_box(&act1), random.bytes())
                    .certain(),
            );
        }
    }
}
