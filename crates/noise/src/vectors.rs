//! The handshake of docs/spec/security-current.md section 7, line by line, and the public vectors below it.

use alloc::string::ToString;
use alloc::vec::Vec;

use crate::certificate::{Authority, Trust};
use crate::curve::{EncodedKey, decode_x};
use crate::handshake::{Initiator, answer};
use crate::identity::ServerIdentity;
use crate::keys::AuthorityKeypair;
use crate::session::{Feed, Session};
use crate::symmetric::{PROTOCOL_NAME, Symmetric};

const E_I: &str = "20da16c4dff08b762ea812254a5ef07552284638000d7ce84c339bb3c5b006a6\
                   f0b7effb125e88dc687cfa3f91b2522aa80cf74e4464927105e331663d30017d";
const E_R: &str = "68128820af64acaf0979c94a215c6da103a887fe511ad2b66e897344617b02a8\
                   28fb57b45d83d133179bc6e10662773089aecb2dc91495ff562ad212aed4aba4";
const S: &str = "ea510938461855c17ef9c307462986d31b08f3914fd0a4a94171195af4f7334d\
                 6b3985a7e5f2a5277551497001d098008ebae4e52404ca9ac8c9f2a805726117";
const S_X: &str = "3c72addb4fdf09af94f0c94d7fe92a386a7e70cf8a1d85916386bb2535c7b1b1";
const H_ACT1: &str = "6d450a280177a2775cb2208f79c048379fb0bb96e83520a9ef86856daa38cbb8";
const EE: &str = "1e1c392d84307c2f8624bc5c6e679656f0539c679ac801bd5adfa71b4d35feae";
const ES: &str = "3c3efbc001db8665f41f4d08e238076581b233e6e3addae83ae338ca08235387";
const SIGNATURE: &str = "245fd5eebbecf59fc323a48c4b68a60d8487eae114d77f89432e2ff3a24f8582\
                         2b1f567a973fb0e85171f6f13beba0ec0b44595baa086f548fa0736b083c6942";
const ACT2_SEALED: &str = "5615e247840f2e0e79c95ca29acc54793b49741e96dc510243e95bfffde5cf52a09e9db3ba4d7842b086957800256164\
     b65bba7fa15287cd581d5f14ffb047518cefbada125e948b0597330071088f54\
     d95e504765243c63dc92c3a26fca9d4ddfed5934ce6ca817b52ace3a362b15fbb229a06d3bccfe16d24ea45b9dafa4e3\
     e5015c2e4491a249e7085ae5d23e183fd0fd69ab2d89bce4fd91a435c84374a907ec0e98484cc8a34980";
const H: &str = "f04d53c16ce6d39165e7e555c209986515ea3360f48dd1393fbbb2c97ef1597b";
const K1: &str = "b0c2f4425a65fcfed9939d2a036b77b0f8c4d7aca81a5bdf341ae301ff1da7a6";
const K2: &str = "516fd52afd21084cd33aa69533827783eb7acf5bce6676dea9c97b0736ed2ae6";
const RECORDS: &str = "ee7b1a2271edbb342e151439292e87e26fa0b8ef621c\
                       5e5a7c69fdb86b79869a8f4285e46cc899cdd23347ee";

fn hex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

fn array<const N: usize>(text: &str) -> [u8; N] {
    hex(text).try_into().unwrap()
}

fn key(secret: u8, encoding: &str) -> EncodedKey {
    EncodedKey::from_parts([secret; 32], array(encoding))
}

fn authority() -> Authority {
    Authority::new(AuthorityKeypair::from_secret([0x44; 32]).unwrap(), 0)
}

fn identity() -> ServerIdentity {
    let certificate = authority().issue_between(&array(S_X), 1_661_358_236, 2_006_958_236, [0; 32]);
    ServerIdentity::from_parts(key(0x33, S), certificate)
}

/// REQ-SEC-024
#[test]
fn the_hash_starts_from_the_protocol_name() {
    use sha2::{Digest, Sha256};
    assert_eq!(PROTOCOL_NAME.len(), 45);
    let ck = "2eb47881208e9eee1f669f67c66ee70ea9ea88090d503fe830dc4bc83e29bf10";
    assert_eq!(Sha256::digest(PROTOCOL_NAME).to_vec(), hex(ck));
    let h = "922fa32e4f487c0d59caa3bed7899ce3d98db7e13dbd3b7cf2d23dd433dc6104";
    assert_eq!(Symmetric::new().hash().to_vec(), hex(h));
}

/// The encodings of the vector stand for the keys of its secrets, and ours do too.
#[test]
fn encodings_stand_for_their_keys() {
    for (secret, encoding) in [(0x11, E_I), (0x22, E_R), (0x33, S)] {
        let own = EncodedKey::new(crate::curve::context(), [secret; 32]).unwrap();
        assert_eq!(decode_x(own.encoding()), decode_x(&array(encoding)));
    }
    assert_eq!(decode_x(&array(S)), array(S_X));
}

/// REQ-SEC-027: initiator's encoding first, on both sides.
#[test]
fn ecdh() {
    let (e_i, e_r, s) = (key(0x11, E_I), key(0x22, E_R), key(0x33, S));
    assert_eq!(e_i.ecdh_as_initiator(e_r.encoding()).to_vec(), hex(EE));
    assert_eq!(e_r.ecdh_as_responder(e_i.encoding()).to_vec(), hex(EE));
    assert_eq!(e_i.ecdh_as_initiator(s.encoding()).to_vec(), hex(ES));
    assert_eq!(s.ecdh_as_responder(e_i.encoding()).to_vec(), hex(ES));
}

/// REQ-SEC-028
#[test]
fn certificate() {
    let public = authority().public();
    let x = "2c0b7cf95324a07d05398b240174dc0c2be444d96b159aa6c7f7b1e668680991";
    assert_eq!(public.to_bytes(), array(x));
    let text = "9axyEG5bASfivgHzqZTvGPnforoki8Z1qXvSAe6CbAK3wFAVETn";
    assert_eq!(public.to_string(), text);
    let m = "561fcd5190f7bc5508984399a21e0165788c319b471c8e2382fa9f75b43fab12";
    let certificate = *identity().certificate();
    assert_eq!(certificate.message(&array(S_X)).as_ref(), &array::<32>(m));
    assert_eq!(certificate.to_bytes()[10..], hex(SIGNATURE));
}

/// REQ-SEC-024, REQ-SEC-025, REQ-SEC-026: both acts byte for byte, on both sides.
#[test]
fn acts() {
    let initiator = Initiator::awaiting(key(0x11, E_I));
    assert_eq!(initiator.symmetric.hash(), array(H_ACT1));
    let (act2, state) = answer(&identity(), &array(E_I), &key(0x22, E_R)).unwrap();
    assert_eq!(act2[..64], hex(E_R));
    assert_eq!(act2[64..], hex(ACT2_SEALED));
    assert_eq!(state.hash(), array(H));
    let (k1, k2) = state.split();
    assert_eq!((k1.to_vec(), k2.to_vec()), (hex(K1), hex(K2)));

    let opened = initiator.open(&act2).unwrap();
    assert_eq!(opened.symmetric.hash(), array(H));
    let (k1, k2) = opened.symmetric.split();
    assert_eq!((k1.to_vec(), k2.to_vec()), (hex(K1), hex(K2)));
}

/// REQ-SEC-023, REQ-SEC-030, REQ-SEC-036: `SetupConnection.Success` from responder to initiator, n = 0 and 1.
#[test]
fn records() {
    let (act2, state) = answer(&identity(), &array(E_I), &key(0x22, E_R)).unwrap();
    let mut server = Session::responder(state);
    let trust = Trust::Authority(authority().public());
    let mut client = Initiator::awaiting(key(0x11, E_I))
        .finish(&act2, &trust, 1_700_000_000)
        .unwrap();
    let frame = [0, 0, 1, 6, 0, 0, 2, 0, 0, 0, 0, 0];
    let mut sealed = Vec::new();
    server.seal(&frame, &mut sealed).unwrap();
    assert_eq!(sealed, hex(RECORDS));
    match client.feed(&mut sealed, |_| 6).unwrap() {
        Feed::Frame { used, payload, .. } => assert_eq!((used, payload), (44, &frame[6..])),
        need => panic!("{need:?}"),
    }
}
