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

/// BIP324 `packet_encoding_test_vectors.csv`: in_priv_ours, in_ellswift_ours, in_ellswift_theirs, in_initiating,
/// mid_x_ours, mid_shared_secret of rows 1, 999, 255 and 512.
const BIP324: [(&str, &str, &str, bool, &str, &str); 4] = [
    (
        "e79f04ad4c684525ff3e3cf7c19f4cdb11193d387d7f3fe82a948a0c3165f5fe",
        "4eff53ea1945e57b5d170565e760d771e5d496101c1005c302fd687af80d8b85\
         8c5a681c474fc4c0546ee464a1b95899ecb9d4f50c2c0854fe029fc054ae6777",
        "824a1da0530fa695b95b375fee2a56ec96ce375ddd2fcf8367cc8ec1c0b751a3\
         304bbef5dc96543acaac50c24be8cb39906ef8521727de0c6e96c2060a026bd7",
        true,
        "b63341693587b4944b865485cffcc34707b3e0760a6ba8d1d402fc1c996c4e91",
        "05ac09c882b2cddd57fd4a1a14f93ae78d78a2ab2adb8cb6d67176cdb3101e15",
    ),
    (
        "53a915e6d8f6c5bbb93e537081085e9e642dc525649acf05be74e3a825e20921",
        "715d7b8357dd4d15a07b3f8c6764ebd9927140f75047fb50478c33ea8889d710\
         511cdf39aa0fd6b1e94ea660d87f9d97bffc548646f9e2aaebc1468fe563fb97",
        "cea7abc3112397b894bd3e89a615248af473f897bbdd30997c20e53e7ce499a2\
         95e55c4c5655cd3d21191e76c8af0aa1bbea10fd1b540a42d0fbed388dc59877",
        false,
        "533bbaefc711f303be5e8271fdecfd31d03abd42128ff73479e2a427059e4a74",
        "08cbe6a86ff92a9757b2aeea92b8b2f4d78426786a2caec99c3cc73d7dda47ab",
    ),
    (
        "f360308206fb441c7713b1a24ba4096a2fa0d5401411198b7008f82ae85257fe",
        "3d4aa6a71a8a734e014b4d9e6b62989f022c1e2238ae476b11465cb86fe8cf72\
         43db6f9472e188590705cf9b35121e06e57cb106a6043ab147b7c73871da8222",
        "f0ebc3c872339622fbf2ab1b8aa2117c4d752b64eac9203962c03a47497a89c0\
         dd298348e5bb63d3433c48ed6da6bc2e2dbe78f7b91247dd29f1f51a858d464a",
        false,
        "29bf8fe2cbd12835d3e6652840b8b1a2acf99d7b44610e738aafd7fd207c9b25",
        "07eff272cd331aeb14db342b82f6df98303b01471f4dbe71028b127577216d9b",
    ),
    (
        "073f53403256e2b699e32cd4cebadfab63d9076a7cd541d9656e27b1baff66bb",
        "5c9c90c4e216f8a4c2642535d1f699364f9054ca01bca0239fa65bcaf0ec0278\
         e5a36bc85eae96850feff889b66c9106c170fe655f973f533ee3557bd3cb6e64",
        "e9221c9698cb69b63c5a4e224132389d346fd2f0f3262218301be51687b8de84\
         6c652ea8aa7425a5c08a7bd52078168d28ecf42196e33e155e215553ce6aee83",
        true,
        "0ce4860107efd6deb9e8fc71cfc2522b4a5a0dc171746fb995ce485570449ab5",
        "88cf0eb49ee4b7b46cd39fb3f4126b285750d897fdcba72b08d9da351167e227",
    ),
];

/// REQ-SEC-027: the ECDH is that of BIP324, in both roles.
#[test]
fn bip324_ecdh() {
    for (secret, ours, theirs, initiating, x, shared) in BIP324 {
        let key = EncodedKey::from_parts(array(secret), array(ours));
        assert_eq!(decode_x(key.encoding()), array(x));
        let theirs = array(theirs);
        let computed = if initiating {
            key.ecdh_as_initiator(&theirs)
        } else {
            key.ecdh_as_responder(&theirs)
        };
        assert_eq!(computed.to_vec(), hex(shared));
    }
}

/// BIP340: secret, public key, aux, message and signature of vectors 0, 1 and 2 of the proposal's table.
const BIP340: [[&str; 5]; 3] = [
    [
        "0000000000000000000000000000000000000000000000000000000000000003",
        "F9308A019258C31049344F85F89D5229B531C845836F99B08601F113BCE036F9",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "E907831F80848D1069A5371B402410364BDF1C5F8307B0084C55F1CE2DCA8215\
         25F66A4A85EA8B71E482A74F382D2CE5EBEEE8FDB2172F477DF4900D310536C0",
    ],
    [
        "B7E151628AED2A6ABF7158809CF4F3C762E7160F38B4DA56A784D9045190CFEF",
        "DFF1D77F2A671C5F36183726DB2341BE58FEAE1DA2DECED843240F7B502BA659",
        "0000000000000000000000000000000000000000000000000000000000000001",
        "243F6A8885A308D313198A2E03707344A4093822299F31D0082EFA98EC4E6C89",
        "6896BD60EEAE296DB48A229FF71DFE071BDE413E6D43F917DC8DCF8C78DE3341\
         8906D11AC976ABCCB20B091292BFF4EA897EFCB639EA871CFA95F6DE339E4B0A",
    ],
    [
        "C90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B14E5C9",
        "DD308AFEC5777E13121FA72B9CC1B7CC0139715309B086C960E18FD969774EB8",
        "C87AA53824B4D7AE2EB035A2B5BBBCCC080E76CDC6D1692C4B0B62D798E6D906",
        "7E2D58D8B3BCDF1ABADEC7829054F90DDA9805AAB56C77333024B9D0A508B75C",
        "5831AAEED7B44BB74E5EAB94BA9D4294C49BCF2A60728D8B4C200F50DD313C1B\
         AB745879A5AD954A72C45A91C3A51D3C7ADEA98D82F8481E0E1E03674A6F3FB7",
    ],
];

/// REQ-SEC-028: an authority's key and signature are those of BIP340, aux included.
#[test]
fn bip340_signatures() {
    let context = crate::curve::context();
    for [secret, public, aux, message, signature] in BIP340 {
        let pair = AuthorityKeypair::from_secret(array(secret)).unwrap();
        assert_eq!(pair.public().to_bytes(), array(public));
        let message = secp256k1::Message::from_digest(array(message));
        let signed = pair.with(|pair| context.sign_schnorr_with_aux_rand(&message, pair, &array(aux)));
        assert_eq!(signed.as_ref()[..], hex(signature));
    }
}

/// BIP340 vectors 5 and 14: no point, and beyond the field.
#[test]
fn bip340_public_keys_off_the_curve() {
    for key in [
        "EEFDEA4CDB677750A420FEE807EACF21EB9898AE79B9768766E4FAA04A2D4A34",
        "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFC30",
    ] {
        let key = crate::keys::AuthorityPublicKey::from_bytes(array(key));
        assert_eq!(key, Err(crate::keys::KeyError::NotOnCurve));
    }
}
