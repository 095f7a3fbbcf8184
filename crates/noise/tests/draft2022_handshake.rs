//! The 2022 draft: what is agreed on, who is believed, and what damage on the way does to a handshake.
#![allow(clippy::unwrap_used, reason = "a scenario that cannot be set up fails")]

mod common;

use adit_noise::draft2022::{
    Aead, Aeads, Authority, AuthorityKeypair, Certificate, Initiator, Responder, ServerIdentity,
    SignatureForm, Terms, Trust,
};
use adit_noise::{CertificateError, HandshakeError, Session, SessionError, Suite};
use common::draft::{authority, identity, negotiated, trust};
use common::{NOW, frame, opened, sealed};
use proptest::prelude::*;

/// A list of codes as an offer.
fn offer(codes: &[[u8; 4]]) -> Vec<u8> {
    let body = [b"STR3".as_slice(), &[codes.len() as u8], &codes.concat()].concat();
    [&(body.len() as u16).to_le_bytes(), body.as_slice()].concat()
}

fn answer(offer: &[u8], aeads: Aeads) -> Result<Vec<u8>, HandshakeError> {
    let terms = Terms {
        aeads,
        ..Terms::default()
    };
    Responder::new(terms).answer(offer).map(|(_, choice)| choice)
}

/// Our client against a server with this certificate, at a time.
fn finish(certificate: Certificate, trust: &Trust, now: u64) -> Result<Session, HandshakeError> {
    let identity = ServerIdentity::with_certificate([0x33; 32], certificate).unwrap();
    let (awaiting, answering, act1) = negotiated(Aeads::default(), Terms::default());
    let (act2, _) = answering.respond(&identity, &act1, [0x22; 32]).unwrap();
    awaiting.finish(&act2, trust, now)
}

fn refusal(certificate: Certificate, trust: &Trust, now: u64) -> Option<CertificateError> {
    match finish(certificate, trust, now) {
        Ok(_) => None,
        Err(HandshakeError::Certificate(error)) => Some(error),
        Err(error) => panic!("{error}"),
    }
}

/// REQ-SEC-005, REQ-SEC-007, REQ-SEC-023: every pair of lists that has something in common ends in two sessions of the
/// responder's choice.
#[test]
fn whatever_both_speak_is_spoken() {
    let lists = [
        Aeads::preferring(Aead::ChaChaPoly),
        Aeads::preferring(Aead::AesGcm),
        Aeads::only(Aead::ChaChaPoly),
        Aeads::only(Aead::AesGcm),
    ];
    for offered in lists {
        for aeads in lists {
            let expected = aeads.iter().find(|aead| offered.iter().any(|it| it == *aead));
            let (initiator, offer) = Initiator::new(offered, [0x11; 32]).unwrap();
            let terms = Terms {
                aeads,
                ..Terms::default()
            };
            let Some(aead) = expected else {
                let error = Responder::new(terms).answer(&offer).err();
                assert_eq!(error, Some(HandshakeError::NoCommonAlgorithm));
                continue;
            };
            let (answering, choice) = Responder::new(terms).answer(&offer).unwrap();
            let (awaiting, act1) = initiator.chosen(&choice).unwrap();
            let (act2, mut server) = answering.respond(&identity(), &act1, [0x22; 32]).unwrap();
            let mut client = awaiting.finish(&act2, &trust(), NOW).unwrap();
            assert_eq!(
                (client.suite(), server.suite()),
                (Suite::Draft2022(aead), Suite::Draft2022(aead))
            );
            for _ in 0..2 {
                let bytes = sealed(&mut client, &[frame(0, 30)]);
                assert_eq!(opened(&mut server, &bytes), frame(0, 30));
                let bytes = sealed(&mut server, &[frame(1, 6)]);
                assert_eq!(opened(&mut client, &bytes), frame(1, 6));
            }
        }
    }
}

/// REQ-SEC-008: a list of strangers, an empty one, and one that stands alone.
#[test]
fn no_common_algorithm_is_no_answer() {
    for codes in [&[][..], &[*b"XXXX"], &[*b"AESH", *b"\0\0\0\0"], &[*b"AESG"]] {
        let error = answer(&offer(codes), Aeads::only(Aead::ChaChaPoly)).err();
        assert_eq!(error, Some(HandshakeError::NoCommonAlgorithm), "{codes:?}");
    }
}

/// REQ-SEC-007: unknown codes are passed over, whatever their number, and stay in what both sides hash.
#[test]
fn unknown_codes_do_no_harm() {
    let mut codes = vec![*b"ZZZZ"; 254];
    codes.push(*b"AESG");
    assert_eq!(answer(&offer(&codes), Aeads::default()).unwrap(), b"\x04\0AESG");
    let both = [*b"ZZZZ", *b"AESG", *b"CHCH"];
    assert_eq!(answer(&offer(&both), Aeads::default()).unwrap(), b"\x04\0CHCH");
    let preferred = Aeads::preferring(Aead::AesGcm);
    assert_eq!(answer(&offer(&both), preferred).unwrap(), b"\x04\0AESG");
}

/// REQ-SEC-011: what is no offer is refused, and a length that none can have already from its two bytes.
#[test]
fn what_is_no_offer_is_refused() {
    let good = offer(&[*b"CHCH"]);
    let mut magic = good.clone();
    magic[5] = b'2';
    let mut count = good.clone();
    count[6] = 2;
    for bad in [magic, count] {
        assert_eq!(answer(&bad, Aeads::default()), Err(HandshakeError::Offer));
    }
    for bad in [&good[..10], &[good.as_slice(), &[0]].concat(), &[][..], &[9]] {
        assert!(matches!(
            answer(bad, Aeads::default()),
            Err(HandshakeError::Frame(_))
        ));
    }
    let responder = Responder::new(Terms::default());
    for length in 0..=u16::MAX {
        let fits = responder.frame_bytes(length.to_le_bytes()).is_ok();
        let right = (5..=1_025).contains(&length) && (length - 5) % 4 == 0;
        assert_eq!(fits, right, "{length}");
    }
}

/// REQ-SEC-009: an answer of four bytes that were offered, and of nothing else.
#[test]
fn a_choice_that_was_not_offered_ends_it() {
    let chosen = |choice: &[u8]| {
        let (initiator, _) = Initiator::new(Aeads::only(Aead::ChaChaPoly), [0x11; 32]).unwrap();
        initiator.chosen(choice).err()
    };
    assert_eq!(chosen(b"\x04\0CHCH"), None);
    assert_eq!(chosen(b"\x04\0AESG"), Some(HandshakeError::NotOffered(*b"AESG")));
    assert_eq!(chosen(b"\x04\0ZZZZ"), Some(HandshakeError::NotOffered(*b"ZZZZ")));
    for bad in [
        b"\x05\0CHCHx".as_slice(),
        b"\x03\0CHC",
        b"\x04\0CHC",
        b"\x04\0CHCHx",
        b"",
    ] {
        assert!(matches!(chosen(bad), Some(HandshakeError::Frame(_))), "{bad:?}");
    }
    let (initiator, _) = Initiator::new(Aeads::default(), [0x11; 32]).unwrap();
    assert!(
        (0..=u16::MAX).all(|length| initiator.frame_bytes(length.to_le_bytes()).is_ok() == (length == 4))
    );
}

/// REQ-SEC-010: whoever in between takes an algorithm off the list, adds one, or changes their order is found out.
#[test]
fn an_edited_list_breaks_the_handshake() {
    let edits = [
        offer(&[*b"CHCH"]),
        offer(&[*b"AESG", *b"CHCH"]),
        offer(&[*b"CHCH", *b"AESG", *b"ZZZZ"]),
        offer(&[*b"CHCH", *b"AESH"]),
    ];
    for edited in edits {
        let (initiator, sent) = Initiator::new(Aeads::default(), [0x11; 32]).unwrap();
        assert_ne!(sent, edited);
        let (answering, choice) = Responder::new(Terms::default()).answer(&edited).unwrap();
        let (awaiting, act1) = initiator.chosen(&choice).unwrap();
        let (act2, mut server) = answering.respond(&identity(), &act1, [0x22; 32]).unwrap();
        let error = awaiting.finish(&act2, &trust(), NOW).err();
        assert_eq!(error, Some(HandshakeError::Authentication));
        let noise = server
            .feed(
                &mut [16, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
                common::any,
            )
            .err();
        assert_eq!(noise, Some(SessionError::Authentication));
    }
}

/// REQ-SEC-010: so is an edited choice, though both algorithms were offered.
#[test]
fn an_edited_choice_breaks_the_handshake() {
    let (initiator, offer) = Initiator::new(Aeads::default(), [0x11; 32]).unwrap();
    let (answering, _) = Responder::new(Terms::default()).answer(&offer).unwrap();
    let (awaiting, act1) = initiator.chosen(b"\x04\0AESG").unwrap();
    let (act2, _) = answering.respond(&identity(), &act1, [0x22; 32]).unwrap();
    let error = awaiting.finish(&act2, &trust(), NOW).err();
    assert_eq!(error, Some(HandshakeError::Authentication));
}

/// REQ-SEC-013, C-100: both forms of the certificate are written as asked for, and read.
#[test]
fn both_forms_of_the_certificate_are_spoken() {
    for (signature, length) in [(SignatureForm::Raw, 172), (SignatureForm::Prefixed, 174)] {
        let terms = Terms {
            signature,
            ..Terms::default()
        };
        let (awaiting, answering, act1) = negotiated(Aeads::default(), terms);
        let (act2, _) = answering.respond(&identity(), &act1, [0x22; 32]).unwrap();
        assert_eq!(act2.len(), length);
        let examined = awaiting.examine(&act2).unwrap();
        assert_eq!(examined.certificate(), identity().certificate());
        assert_eq!(&examined.server_key(), identity().public_key());
        assert_eq!(examined.aead(), Aead::ChaChaPoly);
        assert!(examined.believe(&trust(), NOW).is_ok());
    }
    let (awaiting, ..) = negotiated(Aeads::default(), Terms::default());
    let fits = |length: u16| awaiting.frame_bytes(length.to_le_bytes()).is_ok();
    assert!((0..=u16::MAX).all(|length| fits(length) == matches!(length, 170 | 172)));
}

/// C-90: peers without negotiation, both of them ours; and the responder can be asked not to.
#[test]
fn peers_without_negotiation_meet() {
    let (awaiting, act1) = Initiator::without_negotiation([0x11; 32]).unwrap();
    let answering = Responder::new(Terms::default()).without_negotiation().unwrap();
    assert_eq!(answering.frame_bytes([act1[0], act1[1]]), Ok(act1.len()));
    let (act2, mut server) = answering.respond(&identity(), &act1, [0x22; 32]).unwrap();
    assert_eq!(act2.len(), 174);
    let mut client = awaiting.finish(&act2, &trust(), NOW).unwrap();
    let bytes = sealed(&mut client, &[frame(0, 30)]);
    assert_eq!(opened(&mut server, &bytes), frame(0, 30));
    assert_eq!(server.suite(), Suite::Draft2022(Aead::ChaChaPoly));
    let only_aes = Terms {
        aeads: Aeads::only(Aead::AesGcm),
        ..Terms::default()
    };
    let error = Responder::new(only_aes).without_negotiation().err();
    assert_eq!(error, Some(HandshakeError::NoCommonAlgorithm));
}

/// A client that negotiates and a server that does not hash different prologues.
#[test]
fn half_a_negotiation_is_none() {
    let (awaiting, _, act1) = negotiated(Aeads::default(), Terms::default());
    let answering = Responder::new(Terms::default()).without_negotiation().unwrap();
    let (act2, _) = answering.respond(&identity(), &act1, [0x22; 32]).unwrap();
    let error = awaiting.finish(&act2, &trust(), NOW).err();
    assert_eq!(error, Some(HandshakeError::Authentication));
}

/// REQ-SEC-017: both ends of the validity are inclusive and widened by the leeway of 60 s.
#[test]
fn validity_is_inclusive_with_leeway() {
    let certificate = authority().issue_between(identity().public_key(), NOW as u32, NOW as u32 + 100);
    for (now, valid) in [
        (NOW - 61, false),
        (NOW - 60, true),
        (NOW, true),
        (NOW + 100, true),
        (NOW + 160, true),
        (NOW + 161, false),
        (0, false),
        (u64::MAX, false),
    ] {
        assert_eq!(finish(certificate, &trust(), now).is_ok(), valid, "at {now}");
    }
    let identity = ServerIdentity::with_certificate([0x33; 32], certificate).unwrap();
    let (awaiting, answering, act1) = negotiated(Aeads::default(), Terms::default());
    let (act2, _) = answering.respond(&identity, &act1, [0x22; 32]).unwrap();
    assert!(awaiting.with_leeway(0).finish(&act2, &trust(), NOW - 1).is_err());
}

/// REQ-SEC-017: the operator is told that it is the clock, and by how much.
#[test]
fn a_wrong_clock_is_named() {
    let from = 1_661_358_236;
    let certificate = authority().issue_between(identity().public_key(), from, from + 86_400);
    let early = refusal(certificate, &trust(), u64::from(from) - 7_200)
        .unwrap()
        .to_string();
    assert!(early.contains("is 7200 s before: check the clock"), "{early}");
}

/// REQ-SEC-018
#[test]
fn an_unknown_version_is_refused_whoever_is_trusted() {
    let mut bytes = identity().certificate().to_bytes();
    bytes[0] = 1;
    let certificate = Certificate::from_bytes(&bytes);
    for trust in [trust(), Trust::AnyKey] {
        assert_eq!(
            refusal(certificate, &trust, NOW),
            Some(CertificateError::Version(1))
        );
    }
}

/// REQ-SEC-004, REQ-SEC-015, REQ-SEC-016, REQ-SEC-038: only the configured operator's signature for this very server key
/// counts. A certificate that somebody saw is of no use to him.
#[test]
fn only_the_trusted_authority_and_this_server_key() {
    let other = Authority::new(AuthorityKeypair::from_secret([0x55; 32]).unwrap(), 86_400);
    let signed_by_other = other.issue(identity().public_key(), NOW);
    assert_eq!(
        refusal(signed_by_other, &trust(), NOW),
        Some(CertificateError::Signature)
    );
    assert_eq!(
        refusal(signed_by_other, &Trust::Authority(other.public()), NOW),
        None
    );
    let for_another_key = authority().issue(&[7; 32], NOW);
    assert_eq!(
        refusal(for_another_key, &trust(), NOW),
        Some(CertificateError::Signature)
    );
    let expired = authority().issue_between(identity().public_key(), 0, 1);
    assert_eq!(
        refusal(expired, &Trust::AnyKey, NOW),
        None,
        "nothing signs these dates"
    );
}

/// A key that would make the shared secret anybody's is refused on both sides.
#[test]
fn keys_of_small_order_are_refused() {
    let one = core::array::from_fn::<u8, 32, _>(|at| u8::from(at == 0));
    for key in [[0; 32], one] {
        let act1 = [[32, 0].as_slice(), &key].concat();
        let (awaiting, answering, _) = negotiated(Aeads::default(), Terms::default());
        let error = answering.respond(&identity(), &act1, [0x22; 32]).err();
        assert_eq!(error, Some(HandshakeError::KeyExchange));
        let act2 = [[170, 0].as_slice(), &key, &[0; 138]].concat();
        let error = awaiting.finish(&act2, &trust(), NOW).err();
        assert_eq!(error, Some(HandshakeError::KeyExchange));
    }
}

/// Broken randomness is refused, not repaired.
#[test]
fn randomness_of_zeros_is_refused() {
    assert_eq!(
        Initiator::new(Aeads::default(), [0; 32]).err(),
        Some(HandshakeError::Randomness)
    );
    let (_, answering, act1) = negotiated(Aeads::default(), Terms::default());
    let error = answering.respond(&identity(), &act1, [0; 32]).err();
    assert_eq!(error, Some(HandshakeError::Randomness));
    assert!(ServerIdentity::issued_by(&authority(), [0; 32], NOW).is_err());
}

/// REQ-SEC-022: all 1,376 single-bit flips of act 2, its length included, end the handshake.
#[test]
fn any_changed_bit_of_act_2_ends_the_handshake() {
    for aead in [Aead::ChaChaPoly, Aead::AesGcm] {
        let (_, answering, act1) = negotiated(Aeads::only(aead), Terms::default());
        let (act2, _) = answering.respond(&identity(), &act1, [0x22; 32]).unwrap();
        for bit in 0..act2.len() * 8 {
            let mut act2 = act2.clone();
            act2[bit / 8] ^= 1 << (bit % 8);
            let (awaiting, ..) = negotiated(Aeads::only(aead), Terms::default());
            assert!(awaiting.finish(&act2, &Trust::AnyKey, NOW).is_err(), "bit {bit}");
        }
    }
}

/// REQ-SEC-022, REQ-SEC-010: a flipped bit in the offer, the choice or act 1 ends at one peer or the other, at the
/// latest with the first tag.
#[test]
fn any_changed_bit_before_act_2_ends_the_handshake() {
    let frames = 3;
    for damaged in 0..frames {
        for bit in 0.. {
            let mut length = 0;
            let mut pass = |number: usize, bytes: &[u8]| {
                let mut bytes = bytes.to_vec();
                if number == damaged {
                    length = bytes.len() * 8;
                    if bit < length {
                        bytes[bit / 8] ^= 1 << (bit % 8);
                    }
                }
                bytes
            };
            let mut meet = || -> Result<(), HandshakeError> {
                let (initiator, offer) = Initiator::new(Aeads::default(), [0x11; 32])?;
                let (answering, choice) = Responder::new(Terms::default()).answer(&pass(0, &offer))?;
                let (awaiting, act1) = initiator.chosen(&pass(1, &choice))?;
                let (act2, _) = answering.respond(&identity(), &pass(2, &act1), [0x22; 32])?;
                awaiting.finish(&act2, &trust(), NOW).map(drop)
            };
            let met = meet();
            if bit >= length && length > 0 {
                break;
            }
            // The last bit of a key of X25519 is not looked at, but it is hashed.
            assert!(met.is_err(), "frame {damaged}, bit {bit}");
        }
    }
}

proptest! {
    /// Whatever a peer says, nobody panics and nobody is believed.
    #[test]
    fn noise_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Responder::new(Terms::default()).answer(&bytes).is_err());
        let (awaiting, answering, _) = negotiated(Aeads::default(), Terms::default());
        prop_assert!(awaiting.finish(&bytes, &Trust::AnyKey, NOW).is_err());
        prop_assert!(answering.respond(&identity(), &bytes, [0x22; 32]).is_err());
        let (initiator, _) = Initiator::new(Aeads::default(), [0x11; 32]).unwrap();
        prop_assert!(initiator.chosen(&bytes).is_err());
    }
}
