//! TLVs after a message: order, byte order, limits (spec 3.4.3, extension 0x0002).

use adit_wire::mining::SubmitSharesExtended;
use adit_wire::tlv::{Tlv, TlvError, Tlvs, encode_frame_with, user_identity};
use adit_wire::{B0_32, Header, Message, TooLong};
use proptest::prelude::*;

/// C-35: little-endian as we send it, and big-endian as the spec's example prints it.
const LITTLE: &[u8] = b"\x02\x00\x01\x0a\x00Worker_001";
const BIG: &[u8] = b"\x00\x02\x01\x00\x0aWorker_001";

fn share() -> SubmitSharesExtended {
    let extranonce = B0_32::new(&[0xee; 8]).expect("short");
    SubmitSharesExtended {
        channel_id: 1,
        sequence_number: 2,
        job_id: 3,
        nonce: 4,
        ntime: 5,
        version: 6,
        extranonce,
    }
}

/// REQ-EXT-014, REQ-EXT-015, REQ-EXT-035: at the end, unpadded, under the message's own header.
#[test]
fn user_identity_stands_at_the_end_of_a_share() {
    let (mut plain, mut extended) = (Vec::new(), Vec::new());
    share().encode_frame(&mut plain);
    let worker = Tlv::user_identity("Worker_001").expect("short");
    encode_frame_with(&share(), &[worker], &mut extended).expect("room");
    assert_eq!(extended[..3], [0x00, 0x80, 0x1b]);
    assert_eq!(
        Header::parse([0, 0, 0, extended[3], extended[4], extended[5]]).msg_length,
        33 + 15
    );
    assert_eq!(extended[6..], [&plain[6..], LITTLE].concat());
    let (_, rest) = SubmitSharesExtended::decode_with_rest(&extended[6..]).expect("decodes");
    assert_eq!(user_identity(rest, &[2]), Ok(Some("Worker_001")));
}

/// REQ-EXT-021: the worker is found in either byte order.
#[test]
fn both_byte_orders_are_read() {
    assert_eq!(user_identity(LITTLE, &[2]), Ok(Some("Worker_001")));
    assert_eq!(user_identity(BIG, &[2]), Ok(Some("Worker_001")));
    let read: Vec<_> = Tlvs::new(BIG, &[0x0200]).collect();
    assert_eq!(
        read,
        [Err(TlvError::Truncated)],
        "little-endian wins if its id is in use"
    );
}

/// REQ-EXT-037: without the extension nothing that follows matters.
#[test]
fn fields_that_were_not_negotiated_are_ignored() {
    for rest in [LITTLE, BIG, b"garbage", b"\x02"] {
        assert_eq!(user_identity(rest, &[]), Ok(None));
        assert_eq!(user_identity(rest, &[0x0003]), Ok(None));
    }
    let other = [b"\x09\x00\x01\x02\x00zz", LITTLE].concat();
    assert_eq!(user_identity(&other, &[2]), Ok(Some("Worker_001")));
}

/// REQ-EXT-019, REQ-EXT-020, REQ-EXT-035.
#[test]
fn a_malformed_identity_is_refused() {
    let tlv = |value: &[u8]| [&[2, 0, 1], &(value.len() as u16).to_le_bytes()[..], value].concat();
    assert_eq!(
        user_identity(&tlv(&[b'w'; 33]), &[2]),
        Err(TlvError::TooLong { len: 33, max: 32 })
    );
    assert_eq!(
        user_identity(&tlv(&[b'w'; 32]), &[2]).map(|w| w.map(str::len)),
        Ok(Some(32))
    );
    assert_eq!(user_identity(&tlv(b""), &[2]), Ok(Some("")));
    assert_eq!(user_identity(&tlv(b"\xff"), &[2]), Err(TlvError::NotUtf8));
    assert_eq!(
        user_identity(&[tlv(b"a"), tlv(b"b")].concat(), &[2]),
        Err(TlvError::Repeated)
    );
    assert_eq!(user_identity(&LITTLE[..9], &[2]), Err(TlvError::Truncated));
    assert_eq!(
        Tlv::user_identity(&"w".repeat(33)),
        Err(TooLong { len: 33, max: 32 })
    );
}

/// REQ-EXT-016, REQ-EXT-017, REQ-EXT-018: sent in order of extensions, read in any.
#[test]
fn fields_are_sent_in_order_and_read_in_any() {
    let field = |extension, field_type| Tlv {
        extension,
        field_type,
        value: b"v",
    };
    let given = [field(3, 1), field(2, 9), field(2, 1), field(0x4001, 0)];
    let mut out = Vec::new();
    encode_frame_with(&share(), &given, &mut out).expect("room");
    let (_, rest) = SubmitSharesExtended::decode_with_rest(&out[6..]).expect("decodes");
    let read: Vec<_> = Tlvs::new(rest, &[])
        .map(|tlv| tlv.expect("well formed"))
        .collect();
    assert_eq!(read, [field(2, 9), field(2, 1), field(3, 1), field(0x4001, 0)]);
    let shuffled = [b"\x03\x00\x01\x00\x00", LITTLE].concat();
    assert_eq!(user_identity(&shuffled, &[2, 3]), Ok(Some("Worker_001")));
}

#[test]
fn more_than_the_room_for_tlvs_is_refused_and_writes_nothing() {
    let value = [0; 508];
    let mut out = Vec::new();
    let refused = encode_frame_with(
        &share(),
        &[Tlv {
            extension: 2,
            field_type: 1,
            value: &value,
        }],
        &mut out,
    );
    assert_eq!((refused, out.len()), (Err(TooLong { len: 513, max: 512 }), 0));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever follows a message, reading it ends and does not panic.
    #[test]
    fn any_bytes_are_read_to_an_end(rest in prop::collection::vec(any::<u8>(), 0..200), ids in prop::collection::vec(any::<u16>(), 0..4)) {
        let read = Tlvs::new(&rest, &ids).count();
        prop_assert!(read <= rest.len() / 5 + 1);
        let worker = user_identity(&rest, &[2]);
        prop_assert!(worker.is_err() || worker.is_ok_and(|w| w.is_none_or(|w| w.len() <= 32)));
    }
}
