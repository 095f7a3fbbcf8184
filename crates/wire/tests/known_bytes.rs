//! Frames written out by hand from the spec's tables.

use adit_wire::{B0_32, B0_64K, DecodeError, Header, Message, Reason, Seq0_64K, Seq0_255, Str0_255, U256};
use adit_wire::{common, declare, mining, negotiation, template};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] << 4 | pair[1]) as u8)
        .collect()
}

/// The message has these bytes, and these bytes are the message.
fn check<M: Message + PartialEq + std::fmt::Debug>(message: &M, text: &str) {
    let mut frame = Vec::new();
    message.encode_frame(&mut frame);
    assert_eq!(frame, hex(text), "{}", M::NAME);
    let header = Header::parse(frame[..6].try_into().expect("six bytes"));
    assert_eq!((header.extension(), header.msg_type), (M::EXTENSION, M::TYPE));
    assert_eq!(header.msg_length as usize, frame.len() - 6);
    assert_eq!(M::decode(&frame[6..]).as_ref(), Ok(message));
}

fn text(s: &str) -> Str0_255 {
    Str0_255::try_from(s).expect("short")
}

/// REQ-FRM-001, REQ-FRM-004, REQ-FRM-015.
#[test]
fn setup_connection() {
    let message = common::SetupConnection {
        protocol: common::protocol::MINING,
        min_version: 2,
        max_version: 2,
        flags: common::flags::REQUIRES_STANDARD_JOBS | common::flags::REQUIRES_VERSION_ROLLING,
        endpoint_host: text("a.b"),
        endpoint_port: 3333,
        vendor: text("V"),
        hardware_version: text(""),
        firmware: text("f1"),
        device_id: text(""),
    };
    check(
        &message,
        "0000 00 160000 | 00 0200 0200 05000000 03 612e62 050d 01 56 00 02 6631 00",
    );
}

/// REQ-FRM-005, REQ-FRM-016, REQ-FRM-018: `00 80`, and the channel id counts in the length.
#[test]
fn submit_shares_extended() {
    let message = mining::SubmitSharesExtended {
        channel_id: 1,
        sequence_number: 2,
        job_id: 3,
        nonce: 0xdead_beef,
        ntime: 0x6553_f100,
        version: 0x2000_0000,
        extranonce: B0_32::new(&[0xaa, 0xbb]).expect("short"),
    };
    check(
        &message,
        "0080 1b 1b0000 | 01000000 02000000 03000000 efbeadde 00f15365 00000020 02 aabb",
    );
}

/// REQ-FRM-008: a future job has an empty min_ntime.
#[test]
fn new_mining_job_future_and_active() {
    let job = |min_ntime| mining::NewMiningJob {
        channel_id: 7,
        job_id: 8,
        min_ntime,
        version: 0x2000_0000,
        merkle_root: U256([0x11; 32]),
    };
    let root = "11".repeat(32);
    check(
        &job(None),
        &format!("0080 15 2d0000 | 07000000 08000000 00 00000020 {root}"),
    );
    check(
        &job(Some(5)),
        &format!("0080 15 310000 | 07000000 08000000 01 05000000 00000020 {root}"),
    );
}

/// REQ-FRM-006, REQ-FRM-009.
#[test]
fn new_extended_mining_job() {
    let job = mining::NewExtendedMiningJob {
        channel_id: 1,
        job_id: 2,
        min_ntime: None,
        version: 3,
        version_rolling_allowed: true,
        merkle_path: Seq0_255::new(vec![U256([0x22; 32])]).expect("short"),
        coinbase_tx_prefix: B0_64K::new(&[0xc0]).expect("short"),
        coinbase_tx_suffix: B0_64K::new(&[0xc1, 0xc2]).expect("short"),
    };
    let item = "22".repeat(32);
    check(
        &job,
        &format!("0080 1f 360000 | 01000000 02000000 00 03000000 01 01 {item} 0100 c0 0200 c1c2"),
    );
}

#[test]
fn submit_shares_success() {
    let message = mining::SubmitSharesSuccess {
        channel_id: 1,
        last_sequence_number: 9,
        new_submits_accepted_count: 3,
        new_shares_sum: 0x0102_0304_0506_0708,
    };
    check(
        &message,
        "0080 1c 140000 | 01000000 09000000 03000000 0807060504030201",
    );
}

/// REQ-EXT-013: messages of an extension carry its id. The frame is the spec's example.
#[test]
fn request_extensions() {
    let requested_extensions = Seq0_64K::new(vec![2]).expect("short");
    let message = negotiation::RequestExtensions {
        request_id: 1,
        requested_extensions,
    };
    check(&message, "0100 00 060000 | 0100 0100 0200");
}

/// REQ-FRM-019, REQ-FRM-020.
#[test]
fn declaration_and_template() {
    let wanted = Seq0_64K::new(vec![1, 0x0203]).expect("short");
    let missing = declare::ProvideMissingTransactions {
        request_id: 5,
        unknown_tx_position_list: wanted,
    };
    check(&missing, "0000 55 0a0000 | 05000000 0200 0100 0302");
    let constraints = template::CoinbaseOutputConstraints {
        coinbase_output_max_additional_size: 43,
        coinbase_output_max_additional_sigops: 4,
    };
    check(&constraints, "0000 70 060000 | 2b000000 0400");
    let request = template::RequestTransactionData { template_id: 1 };
    check(&request, "0000 73 080000 | 0100000000000000");
}

/// REQ-FRM-017, REQ-FRM-026: the channel bit alone decides nothing.
#[test]
fn a_core_message_is_taken_with_and_without_channel_bit() {
    let payload = hex("01000000 02000000 03000000");
    for head in ["0000 23 0c0000", "0080 23 0c0000"] {
        let header = Header::parse(hex(head).try_into().expect("six bytes"));
        let message = mining::ToClient::decode(&header, &payload).expect("either form");
        assert_eq!(message.name(), "SetCustomMiningJob.Success");
    }
}

/// REQ-FRM-023, the part of this room: unknown numbers, other extensions and wrong directions are told apart from bad payloads.
#[test]
fn what_a_table_does_not_hold_is_unknown() {
    let unknown = |extension, msg_type| {
        let header = Header::new(extension, false, msg_type, 12);
        assert_eq!(mining::ToClient::length_max(&header), None);
        mining::ToClient::decode(&header, &[0; 12]) == Err(DecodeError::Unknown { extension, msg_type })
    };
    assert!(unknown(0, 0x7f), "no such number");
    assert!(unknown(0, 0x1e), "reserved");
    assert!(unknown(0x4001, 0x23), "another extension");
    assert!(unknown(0, 0x1a), "shares do not come from a server");
    assert!(unknown(0, 0x71), "another protocol");
}

/// REQ-FRM-002, REQ-FRM-008, REQ-FRM-014: errors name message and field.
#[test]
fn malformed_fields_are_named() {
    let option = hex("01000000 02000000 02");
    let error = mining::NewMiningJob::decode(&option).expect_err("count 2");
    assert_eq!(
        error.to_string(),
        "NewMiningJob.min_ntime: an OPTION holds 0 or 1 values, not 2"
    );
    let nan = hex("01000000 0000c07f");
    let error = mining::UpdateChannel::decode(&nan).expect_err("NaN");
    let reason = Reason::NotAQuantity(0x7fc0_0000);
    assert_eq!(
        error,
        DecodeError::Malformed {
            message: "UpdateChannel",
            field: "nominal_hash_rate",
            reason
        }
    );
    let mut long = hex("01000000 21");
    long.extend([0; 33]);
    let error = mining::SetExtranoncePrefix::decode(&long).expect_err("33 bytes");
    assert_eq!(
        error.to_string(),
        "SetExtranoncePrefix.extranonce_prefix: length 33 is above the limit of 32"
    );
}

/// REQ-FRM-024, the part of this room: a link knows from the header alone how much a message may take.
#[test]
fn length_limits_are_known_before_the_payload() {
    let limit = |msg_type| mining::ToServer::length_max(&Header::new(0, true, msg_type, 0));
    assert_eq!(limit(0x1a), Some(24 + 512));
    assert_eq!(limit(0x22), Some(74_274 + 512));
    let job = declare::ToServer::length_max(&Header::new(0, false, 0x57, 0)).expect("known");
    assert!(job > 65_535 * 32 && job < 2_411_724, "{job}");
    let block = template::ToClient::length_max(&Header::new(0, false, 0x74, 0)).expect("known");
    assert!(block > 4_000_000 && block < 4_404_019, "{block}");
    let setup = common::ToServer::length_max(&Header::new(0, false, 0x00, 0)).expect("known");
    assert!((1_291..=2_048).contains(&setup), "{setup}");
}
