//! Properties that hold for every row of every table.

mod support;

use adit_wire::{DecodeError, Header, Reason};
use proptest::prelude::*;
use support::{any_message, decode, decode_all, extreme, header, rows};

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Decode of encode is the identity, and encode of decode gives the same bytes (REQ-FRM-001, REQ-FRM-004, REQ-FRM-006, REQ-FRM-007, REQ-FRM-009).
    #[test]
    fn decode_and_encode_are_inverse((row, fields) in any_message()) {
        let payload = fields.concat();
        let decoded = decode(&header(row, &payload), &payload).expect("a legal payload");
        prop_assert_eq!(&decoded.frame, &support::frame(row, &payload));
        prop_assert_eq!(decoded.rest, 0);
    }

    /// REQ-FRM-022: bytes after the last field are no error, and are handed on.
    #[test]
    fn trailing_bytes_are_room_for_tlvs((row, fields) in any_message(), more in prop::collection::vec(any::<u8>(), 1..40)) {
        let payload = [fields.concat(), more.clone()].concat();
        let decoded = decode(&header(row, &payload), &payload).expect("room for TLVs");
        prop_assert_eq!(decoded.rest, more.len());
    }

    /// REQ-FRM-021: a payload cut anywhere is an error that names the field where it was cut.
    #[test]
    fn a_cut_payload_names_the_field((row, fields) in any_message(), at in any::<prop::sample::Index>()) {
        let payload = fields.concat();
        let cut = at.index(payload.len());
        check_cut(row, &fields, &payload, cut)?;
    }

    /// Random bytes under any header never panic, whatever they decode to.
    #[test]
    fn random_bytes_never_panic(head in any::<[u8; 6]>(), payload in prop::collection::vec(any::<u8>(), 0..600)) {
        let header = Header::parse(head);
        prop_assert!(decode_all(&header, &payload).len() <= 2);
        for row in rows() {
            let known = decode_all(&support::header(row, &payload), &payload);
            prop_assert!(!known.is_empty());
        }
    }
}

fn check_cut(
    row: &adit_wire::message::Row,
    fields: &[Vec<u8>],
    payload: &[u8],
    cut: usize,
) -> Result<(), TestCaseError> {
    let mut end = 0;
    let at = fields.iter().position(|field| {
        end += field.len();
        cut < end
    });
    let (name, _) = row.fields[at.expect("a cut is inside the payload")];
    let expected = DecodeError::Malformed {
        message: row.name,
        field: name,
        reason: Reason::Truncated,
    };
    prop_assert_eq!(decode(&header(row, payload), &payload[..cut]), Err(expected));
    Ok(())
}

/// REQ-FRM-021, at every byte of one payload of every message.
#[test]
fn every_cut_of_every_message_names_the_field() {
    for row in rows() {
        let fields: Vec<_> = row.fields.iter().map(|(_, ty)| short(ty)).collect();
        let payload = fields.concat();
        for cut in 0..payload.len() {
            check_cut(row, &fields, &payload, cut).expect("an error that names the field");
        }
    }
}

/// A value with something in every variable part.
fn short(ty: &str) -> Vec<u8> {
    match ty {
        "B0_32" | "B0_255" | "Str0_255" => vec![3, 7, 8, 9],
        "B0_64K" => vec![3, 0, 7, 8, 9],
        "TransactionList" => vec![2, 0, 1, 0, 0, 9, 2, 0, 0, 8, 8],
        "Option<u32>" => vec![1, 1, 2, 3, 4],
        "Seq0_255<U256>" => [vec![2], vec![5; 64]].concat(),
        "Seq0_64K<U256>" => [vec![2, 0], vec![5; 64]].concat(),
        "Seq0_64K<u16>" => vec![2, 0, 1, 1, 2, 2],
        "Seq0_64K<u32>" => vec![1, 0, 1, 1, 2, 2],
        fixed => extreme(fixed, true),
    }
}

/// The bounds of a row are those of its shortest and longest payload, and both decode.
#[test]
fn bounds_are_exact() {
    for row in rows() {
        for (longest, bound) in [(false, row.min_len), (true, row.max_len)] {
            let payload: Vec<_> = row
                .fields
                .iter()
                .flat_map(|(_, ty)| extreme(ty, longest))
                .collect();
            assert_eq!(payload.len(), bound as usize, "{} longest: {longest}", row.name);
            let decoded = decode(&header(row, &payload), &payload).expect("a legal payload");
            assert_eq!(decoded.frame, support::frame(row, &payload), "{}", row.name);
        }
    }
}

/// No two messages share a number, and a channel message starts with the id of a channel (REQ-FRM-018, REQ-FRM-019, REQ-FRM-020).
#[test]
fn numbers_and_channel_bits_are_sound() {
    let mut numbers: Vec<_> = rows().map(|row| (row.extension, row.msg_type)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), rows().count());
    for row in rows().filter(|row| row.channel_msg) {
        assert_eq!(row.fields[0], ("channel_id", "u32"), "{}", row.name);
        assert!(row.extension == 0 && row.msg_type < 0x50, "{}", row.name);
    }
}
