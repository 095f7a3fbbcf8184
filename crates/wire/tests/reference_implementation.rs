//! Our bytes against the reference implementation's crates: every message, both ways.

mod support;

use adit_wire::tlv::{Tlv, Tlvs, encode_frame_with};
use adit_wire::{B0_32, Message, mining};
use proptest::prelude::*;
use stratum_core::framing_sv2::framing::{EncodableFrame, MessageFrame};
use stratum_core::framing_sv2::header::Header as TheirHeader;
use stratum_core::parsers_sv2::{AnyMessage, IsSv2Message, Tlv as TheirTlv, parse_message_frame_with_tlvs};

/// Job distribution is defined by this project only (C-02).
fn is_ours(row: &adit_wire::message::Row) -> bool {
    adit_wire::distribute::ROWS
        .iter()
        .any(|it| (it.extension, it.msg_type) == (row.extension, row.msg_type))
}

/// Their decoding and re-encoding of a frame of ours.
fn through_theirs(frame: &mut [u8]) -> Result<Vec<u8>, String> {
    let header = TheirHeader::from_bytes(frame).map_err(|e| format!("header: {e:?}"))?;
    let message = AnyMessage::try_from((header, &mut frame[6..])).map_err(|e| format!("payload: {e:?}"))?;
    let (number, extension, channel) = (
        message.message_type(),
        message.extension_type(),
        message.channel_bit(),
    );
    let theirs =
        MessageFrame::from_message(message, number, extension, channel).map_err(|e| format!("{e:?}"))?;
    let mut out = vec![0; theirs.encoded_length()];
    theirs
        .encode_into(&mut out)
        .map_err(|e| format!("encode: {e:?}"))?;
    Ok(out)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// We encode, they decode and encode, we decode: header, channel bit and every byte are the same.
    #[test]
    fn every_message_survives_the_reference_implementation((row, fields) in support::any_message()) {
        // They know the protocols 0 to 2 only, and refuse the payload for another.
        prop_assume!(row.name != "SetupConnection" || fields[0][0] <= 2);
        prop_assume!(!is_ours(row));
        let payload = fields.concat();
        let ours = support::decode(&support::header(row, &payload), &payload).expect("a legal payload");
        let theirs = through_theirs(&mut ours.frame.clone());
        prop_assert_eq!(theirs.as_ref(), Ok(&ours.frame), "{}", row.name);
    }
}

/// The same for the shortest payload of every message, so that none is missed by chance.
#[test]
fn no_message_is_unknown_to_the_reference_implementation() {
    for row in support::rows().filter(|row| !is_ours(row)) {
        let payload: Vec<_> = row
            .fields
            .iter()
            .flat_map(|(_, ty)| support::extreme(ty, false))
            .collect();
        let frame = support::frame(row, &payload);
        assert_eq!(through_theirs(&mut frame.clone()), Ok(frame), "{}", row.name);
    }
}

fn share() -> mining::SubmitSharesExtended {
    mining::SubmitSharesExtended {
        channel_id: 1,
        sequence_number: 2,
        job_id: 3,
        nonce: 4,
        ntime: 5,
        version: 6,
        extranonce: B0_32::new(&[7; 8]).expect("short"),
    }
}

/// Bytes alone would not show two swapped fields of one type; names do.
#[test]
fn fields_have_the_same_meaning() {
    let mut payload = Vec::new();
    share().encode(&mut payload);
    let theirs: stratum_core::mining_sv2::SubmitSharesExtended<'_> =
        stratum_core::binary_sv2::from_bytes(&mut payload).expect("they decode");
    assert_eq!(
        (theirs.channel_id, theirs.sequence_number, theirs.job_id),
        (1, 2, 3)
    );
    assert_eq!((theirs.nonce, theirs.ntime, theirs.version), (4, 5, 6));
}

/// REQ-EXT-015, C-35: both sides read the other's TLV bytes.
#[test]
fn tlvs_are_read_by_the_reference_implementation() {
    let worker = Tlv::user_identity("Worker_001").expect("short");
    let mut frame = Vec::new();
    encode_frame_with(&share(), &[worker], &mut frame).expect("room");
    let header = TheirHeader::from_bytes(&frame).expect("six bytes");
    let (_, tlvs) = parse_message_frame_with_tlvs(header, &mut frame[6..], &[2]).expect("they decode");
    let theirs = TheirTlv::new(2, 1, b"Worker_001".to_vec());
    let theirs_bytes = theirs.encode().expect("they encode");
    assert_eq!(tlvs, Some(vec![theirs]));
    assert_eq!(Tlvs::new(&theirs_bytes, &[2]).collect::<Vec<_>>(), [Ok(worker)]);
}
