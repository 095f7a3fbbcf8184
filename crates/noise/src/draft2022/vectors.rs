//! The worked examples of docs/spec/security-draft-2022.md section 10, byte for byte.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::*;
use crate::certificate::CertificateError;

const AUTHORITY_SEED: &str = "3a21000a1c790daf7c5ce6535d20c97adcdffd0e98ac0e94eb7dbe219f80f1f5";
const AUTHORITY: &str = "9aff8a3fd64c467dd391c7b0bdb0c8035bb5f6ae82c2a25cdf7777dc90b31977";
const STATIC: &str = "b5680fce02defb9dc20949baae48ae1f63615c9601642d2c9b2db8daaa756a45";
const STATIC_PUBLIC: &str = "dcf0571c46c468762e5872509e41bb96911a622abad5b171f316ffcadc5b8e57";
const SIGNATURE: &str = "5d8eafe1239a74a2ecd9de3fd9b386faca4fe4a1969494b66195c2250d152cc0\
                         bcaf3647396a156cbb7db74799571a48c12122971afe995d676d374f23970405";
const HEAD: &str = "00009c5006639cc09f77";

fn hex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

fn array<const N: usize>(text: &str) -> [u8; N] {
    hex(text).try_into().unwrap()
}

fn authority() -> Authority {
    Authority::new(AuthorityKeypair::from_secret(array(AUTHORITY_SEED)).unwrap(), 0)
}

fn identity() -> ServerIdentity {
    let certificate = authority().issue_between(&array(STATIC_PUBLIC), 1_661_358_236, 2_006_958_236);
    ServerIdentity::with_certificate(array(STATIC), certificate).unwrap()
}

/// REQ-SEC-014, REQ-SEC-016: the certificate that the reference of 2022 printed, signed again with the same bytes.
#[test]
fn certificate() {
    let public = authority().public();
    assert_eq!(public.to_bytes(), array(AUTHORITY));
    let text = "2BGDpgySfGGF5tsDdXGqwC9qyUkbyPLkgqTWB55tA3vobbsXbq";
    assert_eq!(public.to_string(), text);
    let identity = identity();
    assert_eq!(identity.public_key(), &array(STATIC_PUBLIC));
    let certificate = *identity.certificate();
    let signed = [HEAD, "2000", STATIC_PUBLIC, "2000", AUTHORITY].concat();
    assert_eq!(
        certificate.message(identity.public_key(), &public).to_vec(),
        hex(&signed)
    );
    assert_eq!(certificate.to_bytes().to_vec(), hex(&[HEAD, SIGNATURE].concat()));
    let prefixed = hex(&[HEAD, "4000", SIGNATURE].concat());
    assert_eq!(certificate.to_bytes_prefixed().to_vec(), prefixed);
}

/// C-100: whatever stands before the signature in the older form.
#[test]
fn both_forms_are_read() {
    let certificate = *identity().certificate();
    assert_eq!(Certificate::from_bytes(&certificate.to_bytes()), certificate);
    for prefix in ["4000", "4a00", "ffff"] {
        let bytes = array(&[HEAD, prefix, SIGNATURE].concat());
        assert_eq!(Certificate::from_bytes_prefixed(&bytes), certificate);
    }
}

/// REQ-SEC-015: every signed or signing bit counts, and so do both keys.
#[test]
fn any_changed_bit_is_refused() {
    let trust = Trust::Authority(authority().public());
    let (key, certificate): ([u8; 32], _) = (array(STATIC_PUBLIC), *identity().certificate());
    let check =
        |certificate: &Certificate, key: &[u8; 32]| certificate.check(key, &trust, 1_700_000_000, u32::MAX);
    assert_eq!(check(&certificate, &key), Ok(()));
    for bit in 0..Certificate::BYTES * 8 {
        let mut bytes = certificate.to_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(
            check(&Certificate::from_bytes(&bytes), &key).is_err(),
            "bit {bit}"
        );
    }
    for bit in 0..256 {
        let mut other = key;
        other[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(check(&certificate, &other), Err(CertificateError::Signature));
    }
}

const E_I: [u8; 32] = [0x11; 32];
const E_R: [u8; 32] = [0x22; 32];
const NOW: u64 = 1_700_000_000;
const ACT1: &str = "20007b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13";
const A1_OFFER: &str = "0d0053545233024348434841455347";
const A1_CHOICE: &str = "040043484348";
const A1_PROLOGUE: &str = "02434843484145534743484348";
const A1_H_START: &str = "c000726d54da96f7a4b923e7e485c6182d33875a08b5aaf176057a05caf64c6c";
const A1_H_ACT1: &str = "57fd79ad93582e6488afcfefe1f1fee94e02cf93c96ee49cf16c83651e5f5f69";
const A1_ACT2: &str = "aa000faa684ed28867b97f4a6a2dee5df8ce974e76b7018e3f22a1c4cf2678570f20\
     84a818c989d4d6ee4160ca3d2e674b6e0432ccf765820cc14ab46f993bb9736fb928ec1e2fcde87cbffd65a2094968b7\
     90397cc6daf7ea177600ac6feea2c5f9bab2474f14c1c24e840642d90d97e20d1b7b54419aa8cd69cce7efa1ea9001dc\
     0f124b9bd03a8189c8424dbfa2c0bbd8f3a47145d883c11bac38bd53f10f0448614a38c33c1a4ce02c0b";
const A1_H: &str = "d4f8fbb6ccb3d420d786f6d928e175b33af6bf6b268643fa1aa4fe3dd96ef59f";
const A1_K1: &str = "cb35468ca416a0e50eb4a531d83acf0e0b5061314873601a154d2f0fbb5b1228";
const A1_K2: &str = "8d4b89657d6f62a34d1b4763ca18af0352718c2a039cdd730dc0d03e9f80af25";
const A2_OFFER: &str = "0900535452330141455347";
const A2_CHOICE: &str = "040041455347";
const A2_PROLOGUE: &str = "014145534741455347";
const A2_H_START: &str = "9aae169f608d70ebef3d58aa5079f7365352229af83721af5f74dc7379aef4bd";
const A2_H_ACT1: &str = "2bed3d475d14a3db8223ecc5ce4040c529d2f585a86f27e1445a77e1f851556d";
const A2_ACT2: &str = "aa000faa684ed28867b97f4a6a2dee5df8ce974e76b7018e3f22a1c4cf2678570f20\
     9e1b54bf8a83a4e7562837f163c1570744f7397828252a70a2cf5d49cecb2509c1be6fb8ac8bb4d6b7c5ce575e4fa759\
     d36408126dfad943a4cb84f470efa30acc40c65ebc1e95ea0e1e683f7250893d9963afe8eac98a7434336917c6c09b84\
     5f05f37d9a869dbf11c8fe8f69adb4dc4e2ade9530d90559f58e57cf527f8cdf4d9b2bb5862c491da8f5";
const A2_H: &str = "9ab1f9f4d305ffdd829200f4935275639b893ef3c43387241f94e21bd59de7b4";
const A2_K1: &str = "128f97e6262e8ec573977a0d321a409704f4bcf073f9c616df965a7a8156bd36";
const A2_K2: &str = "36924aa149cf6e43c31cc21da8e2d2b7cd041cbe878cc4bb95d81592055f2b2d";
const A3_H_START: &str = "b3f9e96b1494c2e552ae5097709c095a379ed4e0a12f56f1a48f1498c2bb6d6d";
const A3_H: &str = "ab37e1a577f99ba376a74546266e7ae3af62499e2322cef770ba31a88837c52e";

fn trust() -> Trust {
    Trust::Authority(authority().public())
}

fn keys(state: &mut snow::HandshakeState) -> (Vec<u8>, Vec<u8>) {
    let (k1, k2) = handshake::split(state);
    (k1.to_vec(), k2.to_vec())
}

/// One vector with negotiation, on both sides.
fn acts(aeads: Aeads, [offer, choice, prologue, start, h1, act2, h, k1, k2]: [&str; 9]) {
    let aead = aeads.iter().next().unwrap();
    assert_eq!(negotiation::prologue(&aeads.list(), aead), hex(prologue));
    let key = zeroize::Zeroizing::new(E_I);
    let fresh = primitives::state(aead, &hex(prologue), &key, None).unwrap();
    assert_eq!(fresh.get_handshake_hash(), hex(start));

    let (initiator, sent) = Initiator::new(aeads, E_I).unwrap();
    assert_eq!(sent, hex(offer));
    let (answering, sent) = Responder::new(Terms::default()).answer(&sent).unwrap();
    assert_eq!(sent, hex(choice));
    let (awaiting, sent) = initiator.chosen(&sent).unwrap();
    assert_eq!(sent, hex(ACT1));
    assert_eq!(awaiting.state.get_handshake_hash(), hex(h1));
    let (sent, mut state) = answering.act2(&identity(), &sent, E_R).unwrap();
    assert_eq!(sent, hex(act2));
    assert_eq!(state.get_handshake_hash(), hex(h));
    assert_eq!(keys(&mut state), (hex(k1), hex(k2)));
    assert_eq!(
        &keys(&mut { after_act2(awaiting, &sent, h) }),
        &(hex(k1), hex(k2))
    );
}

/// The initiator's state after act 2, whose hash is looked at.
fn after_act2(mut awaiting: Awaiting, act2: &[u8], h: &str) -> snow::HandshakeState {
    let mut payload = [0; 128];
    awaiting.state.read_message(&act2[2..], &mut payload).unwrap();
    assert_eq!(awaiting.state.get_handshake_hash(), hex(h));
    awaiting.state
}

/// REQ-SEC-005, REQ-SEC-006, REQ-SEC-007, REQ-SEC-010, REQ-SEC-011, REQ-SEC-012, REQ-SEC-013: vector A1.
#[test]
fn a1_chachapoly() {
    let parts = [
        A1_OFFER,
        A1_CHOICE,
        A1_PROLOGUE,
        A1_H_START,
        A1_H_ACT1,
        A1_ACT2,
        A1_H,
        A1_K1,
        A1_K2,
    ];
    acts(Aeads::default(), parts);
}

/// REQ-SEC-005, REQ-SEC-006, REQ-SEC-007, REQ-SEC-010, REQ-SEC-011, REQ-SEC-012, REQ-SEC-013: vector A2.
#[test]
fn a2_aesgcm() {
    let parts = [
        A2_OFFER,
        A2_CHOICE,
        A2_PROLOGUE,
        A2_H_START,
        A2_H_ACT1,
        A2_ACT2,
        A2_H,
        A2_K1,
        A2_K2,
    ];
    acts(Aeads::only(Aead::AesGcm), parts);
}

/// REQ-SEC-013, C-90: vector A3, a peer without negotiation.
#[test]
fn a3_without_negotiation() {
    let key = zeroize::Zeroizing::new(E_I);
    let fresh = primitives::state(Aead::ChaChaPoly, &[], &key, None).unwrap();
    assert_eq!(fresh.get_handshake_hash(), hex(A3_H_START));
    let (awaiting, act1) = Initiator::without_negotiation(E_I).unwrap();
    assert_eq!(act1, hex(ACT1));
    let answering = Responder::new(Terms::default()).without_negotiation().unwrap();
    let (act2, mut state) = answering.act2(&identity(), &act1, E_R).unwrap();
    assert_eq!((act2.len(), &act2[..2]), (2 + 172, hex("ac00").as_slice()));
    assert_eq!(state.get_handshake_hash(), hex(A3_H));
    assert_eq!(keys(&mut state), (hex(A1_K1), hex(A1_K2)));
    assert_eq!(
        awaiting.frame_bytes([act2[0], act2[1]]).unwrap(),
        act2.len(),
        "the older form is expected"
    );
    after_act2(awaiting, &act2, A3_H);
}

/// Both ends of a finished handshake.
fn sessions(aeads: Aeads) -> (crate::Session, crate::Session) {
    let (initiator, offer) = Initiator::new(aeads, E_I).unwrap();
    let (answering, choice) = Responder::new(Terms::default()).answer(&offer).unwrap();
    let (awaiting, act1) = initiator.chosen(&choice).unwrap();
    let (act2, server) = answering.respond(&identity(), &act1, E_R).unwrap();
    (awaiting.finish(&act2, &trust(), NOW).unwrap(), server)
}

fn sealed(session: &mut crate::Session, frame: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    session.seal(frame, &mut out).unwrap();
    out
}

/// `SetupConnection.Success` of both directions, n = 0 and 1.
fn success_records(aeads: Aeads, [first, second, back]: [&str; 3]) -> (crate::Session, crate::Session) {
    let frame = [0, 0, 1, 6, 0, 0, 2, 0, 0, 0, 0, 0];
    let (mut client, mut server) = sessions(aeads);
    for expected in [first, second] {
        let mut record = sealed(&mut server, &frame);
        assert_eq!(record, hex(expected));
        match client.feed(&mut record, |_| 6).unwrap() {
            crate::Feed::Frame { used, payload, .. } => assert_eq!((used, payload), (30, &frame[6..])),
            need => panic!("{need:?}"),
        }
    }
    assert_eq!(sealed(&mut client, &frame), hex(back));
    (client, server)
}

/// REQ-SEC-020, REQ-SEC-023, REQ-SEC-036: the transport of A1, the frame of two records included.
#[test]
fn a1_records() {
    let records = [
        "1c00ed466a4dc34f9c911ab9ac5cc6eeb178c06a03acd42a66fb724fc992",
        "1c0092f7b98674e49a35fc9fe326cd2cad1d38900f2d7955e4cc838367e8",
        "1c008f98edd605aadb26f0b1e4de0e22a0af246bdfb2cd2534f7abe96f06",
    ];
    let (mut client, mut server) = success_records(Aeads::default(), records);
    let frame = [&[0, 0, 0x74, 0x70, 0x11, 0x01], [0xab; 70_000].as_slice()].concat();
    let mut two = sealed(&mut server, &frame);
    assert_eq!(two.len(), 70_042);
    assert_eq!(
        (&two[..2], &two[65_537..65_539]),
        (&[0xff, 0xff][..], &4_503u16.to_le_bytes()[..])
    );
    use sha2::{Digest, Sha256};
    let digest = "8f1e1037fa19cbd6185d3e8c11a01286b1007652c464202f14214fde393b9a42";
    assert_eq!(Sha256::digest(&two).to_vec(), hex(digest));
    match client.feed(&mut two, |_| 70_000).unwrap() {
        crate::Feed::Frame { used, payload, .. } => assert_eq!((used, payload), (70_042, &frame[6..])),
        need => panic!("{need:?}"),
    }
}

/// REQ-SEC-036: the transport of A2; its second record shows the big-endian counter.
#[test]
fn a2_records() {
    let records = [
        "1c00c3c287edf839b806f87cc205cec21151064a648ae4ef42dfe65c7713",
        "1c00a24bd5d70881718eedcbc89266d82d0f9b8621b3e55b1c0038bd9836",
        "1c00d47f57f74831711c4b15365188e7bdfe2ee47e000346f6444c359610",
    ];
    success_records(Aeads::only(Aead::AesGcm), records);
}
