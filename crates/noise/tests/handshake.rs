//! Who is believed, when, and what damage on the way does to a handshake.
#![allow(clippy::unwrap_used, reason = "a scenario that cannot be set up fails")]

mod common;

use adit_noise::{
    Authority, AuthorityKeypair, Certificate, CertificateError, HandshakeError, Initiator, ServerIdentity,
    Session, SessionError, Trust, respond,
};
use common::{NOW, any, authority, frame, identity, opened, sealed, sessions, trust};

/// Our client against a server with this certificate, at a time.
fn finish(certificate: Certificate, trust: &Trust, now: u64) -> Result<Session, HandshakeError> {
    let identity = ServerIdentity::with_certificate([0x33; 32], certificate).unwrap();
    let (initiator, act1) = Initiator::new([0x11; 32]).unwrap();
    let (act2, _) = respond(&identity, &act1, [0x22; 32]).unwrap();
    initiator.finish(&act2, trust, now)
}

fn refusal(certificate: Certificate, trust: &Trust, now: u64) -> Option<CertificateError> {
    match finish(certificate, trust, now) {
        Ok(_) => None,
        Err(HandshakeError::Certificate(error)) => Some(error),
        Err(error) => panic!("{error}"),
    }
}

fn between(from: u32, to: u32) -> Certificate {
    authority().issue_between(identity().public_key(), from, to, [0; 32])
}

/// REQ-SEC-023, REQ-SEC-024: each direction has its own key and counter.
#[test]
fn both_ends_understand_each_other() {
    let (mut client, mut server) = sessions();
    let frames = [frame(0, 30), frame(1, 6), frame(2, 0)];
    for (from, to) in [(0, 1), (1, 0), (0, 1)] {
        let ends = &mut [&mut client, &mut server];
        let bytes = sealed(ends[from], &frames[..1]);
        assert_eq!(opened(ends[to], &bytes), frames[0]);
    }
}

/// REQ-SEC-017: both ends of the validity are inclusive and widened by the leeway of 60 s.
#[test]
fn validity_is_inclusive_with_leeway() {
    let certificate = between(NOW as u32, NOW as u32 + 100);
    for (now, valid) in [
        (NOW - 61, false),
        (NOW - 60, true),
        (NOW - 1, true),
        (NOW, true),
        (NOW + 100, true),
        (NOW + 160, true),
        (NOW + 161, false),
        (0, false),
        (u64::MAX, false),
    ] {
        assert_eq!(finish(certificate, &trust(), now).is_ok(), valid, "at {now}");
    }
    let (initiator, act1) = Initiator::new([0x11; 32]).unwrap();
    let identity = ServerIdentity::with_certificate([0x33; 32], certificate).unwrap();
    let (act2, _) = respond(&identity, &act1, [0x22; 32]).unwrap();
    assert!(initiator.with_leeway(0).finish(&act2, &trust(), NOW - 1).is_err());
}

/// REQ-SEC-017: a certificate without end, as other servers issue it, and the end of 32-bit time.
#[test]
fn validity_saturates() {
    let endless = between(0, u32::MAX);
    assert!(finish(endless, &trust(), u64::from(u32::MAX) + 60).is_ok());
    assert!(finish(endless, &trust(), u64::from(u32::MAX) + 61).is_err());
    let late = authority().issue(identity().public_key(), u64::MAX, [0; 32]);
    assert_eq!(late.not_valid_after(), u32::MAX);
    assert_eq!(
        authority()
            .issue(identity().public_key(), 5, [0; 32])
            .valid_from(),
        0
    );
    assert!(!late.needs_renewal(0));
    assert!(late.needs_renewal(u64::MAX));
}

/// REQ-SEC-017: the operator is told that it is the clock, and by how much.
#[test]
fn a_wrong_clock_is_named() {
    let certificate = between(1_661_358_236, 1_661_444_636);
    let early = refusal(certificate, &trust(), 1_661_358_236 - 7_200)
        .unwrap()
        .to_string();
    assert_eq!(
        early,
        "certificate valid from 2022-08-24T16:23:56Z, our clock 2022-08-24T14:23:56Z is 7200 s before: check the clock"
    );
    let late = refusal(certificate, &trust(), 1_661_444_636 + 7_200)
        .unwrap()
        .to_string();
    assert!(late.contains("7200 s after: check the clock"), "{late}");
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

/// REQ-SEC-004, REQ-SEC-028, REQ-SEC-038: only the configured operator's signature for this very server key counts.
#[test]
fn only_the_trusted_authority_and_this_server_key() {
    let other = Authority::new(AuthorityKeypair::from_secret([0x55; 32]).unwrap(), 86_400);
    let signed_by_other = other.issue(identity().public_key(), NOW, [0; 32]);
    assert_eq!(
        refusal(signed_by_other, &trust(), NOW),
        Some(CertificateError::Signature)
    );
    assert_eq!(
        refusal(signed_by_other, &Trust::Authority(other.public()), NOW),
        None
    );
    let for_another_key = authority().issue(&[7; 32], NOW, [0; 32]);
    assert_eq!(
        refusal(for_another_key, &trust(), NOW),
        Some(CertificateError::Signature)
    );
    let expired = between(0, 1);
    assert_eq!(
        refusal(expired, &Trust::AnyKey, NOW),
        None,
        "nothing signs these dates"
    );
}

/// Every signed or signing byte counts.
#[test]
fn any_changed_bit_of_a_certificate_is_refused() {
    let bytes = identity().certificate().to_bytes();
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes;
        bytes[bit / 8] ^= 1 << (bit % 8);
        let certificate = Certificate::from_bytes(&bytes);
        let key = *identity().public_key();
        assert!(
            certificate.check(&key, &trust(), NOW, u32::MAX).is_err(),
            "bit {bit}"
        );
    }
}

/// The hour of back-dating does not bring the renewal forward, and the renewed server is the same server.
#[test]
fn a_certificate_is_renewed_at_half_of_its_life() {
    let identity = identity();
    assert_eq!(u64::from(identity.certificate().valid_from()), NOW - 3_600);
    assert!(!identity.needs_renewal(NOW));
    assert!(!identity.needs_renewal(NOW + 43_199));
    assert!(identity.needs_renewal(NOW + 43_200));
    let renewed = identity.renewed(&authority(), NOW + 43_200, [1; 32]);
    assert!(!renewed.needs_renewal(NOW + 43_200));
    assert_eq!(renewed.public_key(), identity.public_key());
    assert!(finish(*renewed.certificate(), &trust(), NOW + 86_400 + 43_200).is_ok());
    let foreign = between(1_000, 1_100);
    assert!(!foreign.needs_renewal(1_049));
    assert!(foreign.needs_renewal(1_050));
    assert!(
        between(9, 1).needs_renewal(9),
        "a window that ends before it starts"
    );
}

/// REQ-SEC-029: broken randomness is refused, not repaired.
#[test]
fn randomness_that_is_no_scalar_is_refused() {
    for bytes in [[0; 32], [0xff; 32]] {
        assert_eq!(Initiator::new(bytes).err(), Some(HandshakeError::Randomness));
        let answer = respond(&identity(), &[9; 64], bytes);
        assert_eq!(answer.err(), Some(HandshakeError::Randomness));
        assert!(ServerIdentity::issued_by(&authority(), bytes, NOW, [0; 32]).is_err());
    }
}

/// REQ-SEC-022: all 1,872 single-bit flips of act 2 end the handshake.
#[test]
fn any_changed_bit_of_act_2_ends_the_handshake() {
    let act1 = Initiator::new([0x11; 32]).unwrap().1;
    let (act2, _) = respond(&identity(), &act1, [0x22; 32]).unwrap();
    for bit in 0..act2.len() * 8 {
        let mut act2 = act2;
        act2[bit / 8] ^= 1 << (bit % 8);
        let initiator = Initiator::new([0x11; 32]).unwrap().0;
        let error = initiator.finish(&act2, &Trust::AnyKey, NOW).err();
        assert_eq!(error, Some(HandshakeError::Authentication), "bit {bit}");
    }
}

/// REQ-SEC-022, REQ-SEC-025: any 64 bytes are answered, but a changed act 1 ends at both peers.
#[test]
fn any_changed_bit_of_act_1_ends_both_sides() {
    let act1 = Initiator::new([0x11; 32]).unwrap().1;
    let identity = identity();
    for bit in 0..act1.len() * 8 {
        let mut changed = act1;
        changed[bit / 8] ^= 1 << (bit % 8);
        let (act2, mut server) = respond(&identity, &changed, [0x22; 32]).unwrap();
        let initiator = Initiator::new([0x11; 32]).unwrap().0;
        let error = initiator.finish(&act2, &trust(), NOW).err();
        assert_eq!(error, Some(HandshakeError::Authentication), "bit {bit}");
        let mut noise = [0x5a; 64];
        assert_eq!(server.feed(&mut noise, any), Err(SessionError::Authentication));
        assert_eq!(server.feed(&mut noise, any), Err(SessionError::Poisoned));
    }
    for noise in [[0; 64], [0xff; 64]] {
        assert!(respond(&identity, &noise, [0x22; 32]).is_ok());
    }
}
