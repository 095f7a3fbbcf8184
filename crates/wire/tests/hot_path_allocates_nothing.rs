//! The messages of the share and job path are decoded and encoded without touching the heap.

use adit_wire::mining::{self, ToClient, ToServer};
use adit_wire::{B0_32, DecodeError, Header, Message, U256};

/// Allocations of one encode into a buffer with room and one decode.
fn allocations<M: Message>(message: &M, decode: impl Fn(&Header, &[u8]) -> Result<(), DecodeError>) -> u64 {
    let mut out = Vec::with_capacity(256);
    let counted = allocation_counter::measure(|| {
        message.encode_frame(&mut out);
        let (head, payload) = out.split_first_chunk::<{ Header::LEN }>().expect("a header");
        decode(&Header::parse(*head), payload).expect("decodes");
    });
    counted.count_total
}

fn to_server(header: &Header, payload: &[u8]) -> Result<(), DecodeError> {
    ToServer::decode_with_rest(header, payload).map(|decoded| drop(std::hint::black_box(decoded)))
}

fn to_client(header: &Header, payload: &[u8]) -> Result<(), DecodeError> {
    ToClient::decode(header, payload).map(|decoded| drop(std::hint::black_box(decoded)))
}

#[test]
fn shares_and_their_answers() {
    let (channel_id, sequence_number, job_id, nonce, ntime, version) = (1, 2, 3, 4, 5, 6);
    let standard = mining::SubmitSharesStandard {
        channel_id,
        sequence_number,
        job_id,
        nonce,
        ntime,
        version,
    };
    let extranonce = B0_32::new(&[7; 32]).expect("fits");
    let extended = mining::SubmitSharesExtended {
        channel_id,
        sequence_number,
        job_id,
        nonce,
        ntime,
        version,
        extranonce,
    };
    let success = mining::SubmitSharesSuccess {
        channel_id,
        last_sequence_number: 9,
        new_submits_accepted_count: 7,
        new_shares_sum: 1 << 40,
    };
    assert_eq!(allocations(&standard, to_server), 0);
    assert_eq!(allocations(&extended, to_server), 0);
    assert_eq!(allocations(&success, to_client), 0);
}

#[test]
fn jobs_tips_and_targets() {
    let (channel_id, job_id, hash) = (1, 2, U256([3; 32]));
    let job = mining::NewMiningJob {
        channel_id,
        job_id,
        min_ntime: Some(4),
        version: 5,
        merkle_root: hash,
    };
    let tip = mining::SetNewPrevHash {
        channel_id,
        job_id,
        prev_hash: hash,
        min_ntime: 4,
        nbits: 5,
    };
    let target = mining::SetTarget {
        channel_id,
        maximum_target: hash,
    };
    let prefix = mining::SetExtranoncePrefix {
        channel_id,
        extranonce_prefix: B0_32::new(&[1; 7]).expect("fits"),
    };
    assert_eq!(allocations(&job, to_client), 0);
    assert_eq!(allocations(&tip, to_client), 0);
    assert_eq!(allocations(&target, to_client), 0);
    assert_eq!(allocations(&prefix, to_client), 0);
}

/// The counter counts: a message that owns text is seen.
#[test]
fn the_counter_sees_an_allocation() {
    let error = mining::SubmitSharesError {
        channel_id: 1,
        sequence_number: 2,
        error_code: adit_wire::refusal::SubmitShares::StaleShare.into(),
    };
    assert_eq!(allocations(&error, to_client), 1);
}
