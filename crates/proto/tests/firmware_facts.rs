//! Facts about real firmware, read from its sources, and what they ask of us: one test each.
#![allow(clippy::unwrap_used, reason = "a test fails where it breaks")]

mod sv1;

use adit_proto::coinbase::{Coinbase, SCRIPT_SIG_MAX, TAG_MAX};
use adit_proto::extranonce::FullSize;
use adit_proto::job::{Fields, Job};
use bitcoin::{Amount, ScriptBuf, TxOut};
use std::sync::Arc;
use sv1::*;

/// Branches of the Merkle path in the largest block there can be: 4,000,000 weight units, at least 240 a transaction.
const BRANCHES_MOST: usize = 15;
/// Largest frame that small devices take: a longer one and they disconnect.
const FRAME_BYTES_MAX: usize = 8 * 1024;
/// Largest frame of the strictest: an older limit.
const FRAME_BYTES_STRICT: usize = 2 * 1024;

/// The largest job that a pool with one payout can make: all branches, the longest tag, height and script.
fn largest() -> Job {
    let output = |value, script: Vec<u8>| TxOut {
        value: Amount::from_sat(value),
        script_pubkey: ScriptBuf::from_bytes(script),
    };
    let fields = sv1::pool::fields(1, 1);
    Job::new(Fields {
        merkle_path: vec![[0xff; 32]; BRANCHES_MOST],
        coinbase: Coinbase {
            version: 2,
            script_prefix: vec![7; 8],
            tag: vec![b'x'; TAG_MAX],
            start_epoch: u32::MAX,
            sequence: 0xffff_fffe,
            value: 5_000_000_000,
            outputs: vec![output(5_000_000_000, vec![0x51; 34])],
            required_outputs: vec![output(0, vec![0x6a; 38])],
            locktime: u32::MAX,
            witness: Some([0; 32]),
        }
        .into(),
        ..fields
    })
    .unwrap()
}

/// A larger frame disconnects an ESP-Miner; 2,048 bytes broke older ones.
#[test]
fn job_frames_are_small_enough_for_devices() {
    let mut frame = Vec::new();
    largest().encode_extended(FullSize::DEFAULT, 1, 1, Some(1), &mut frame);
    assert!(
        frame.len() <= FRAME_BYTES_STRICT && frame.len() <= FRAME_BYTES_MAX,
        "{} bytes",
        frame.len()
    );
}

/// The same for lines: bmminer had a stack of 8,192 bytes for one.
#[test]
fn notify_lines_are_small_enough_for_devices() {
    let mut line = Vec::new();
    largest().encode_notify(FullSize::DEFAULT, u32::MAX, u32::MAX, false, &mut line);
    assert!(line.len() <= FRAME_BYTES_STRICT, "{} bytes", line.len());
}

/// Devices have room for 20 branches. No block has more than 2^15 transactions.
#[test]
fn no_job_has_more_branches_than_devices_hold() {
    const TRANSACTION_WEIGHT_MIN: usize = 240;
    let most = 4_000_000 / TRANSACTION_WEIGHT_MIN;
    assert_eq!(most.next_power_of_two().ilog2() as usize, BRANCHES_MOST);
    const { assert!(BRANCHES_MOST <= 20) };
}

/// Devices and proxies that check payouts parse the second half alone: it starts with the sequence, and the whole
/// scriptSig stands before it.
#[test]
fn the_script_stands_whole_before_the_extranonce() {
    let mut line = Line::new();
    line.work(&Arc::new(largest()));
    line.enter("alice", "x");
    let notify = line.notified();
    let (first, second) = (
        bytes(notify[2].as_str().unwrap()),
        bytes(notify[3].as_str().unwrap()),
    );
    // Version, number of inputs, outpoint, length of the script.
    let (head, script) = first.split_at(4 + 1 + 36 + 1);
    let length = usize::from(head[41]);
    assert!(length <= SCRIPT_SIG_MAX);
    assert_eq!(
        script.len() + FullSize::DEFAULT.bytes(),
        length,
        "the extranonce is its end"
    );
    assert_eq!(second[..4], 0xffff_fffe_u32.to_le_bytes(), "the sequence");
    assert!(
        first.len() + second.len() <= 512,
        "{} bytes of coinbase",
        first.len() + second.len()
    );
}

/// A payout of its own is what a device looks for: the first output pays it, and the zero output is no payout.
#[test]
fn the_payout_is_the_first_output() {
    let mut line = Line::new();
    line.work(&Arc::new(largest()));
    line.enter("alice", "x");
    let second = bytes(line.notified()[3].as_str().unwrap());
    assert_eq!(second[4], 2, "two outputs");
    assert_eq!(second[5..13], 5_000_000_000u64.to_le_bytes());
}

/// What a small device shows as accepted it shows at once: there is nothing that gathers answers.
#[test]
fn shares_of_small_devices_are_answered_one_by_one() {
    let mut line = Line::new();
    line.work(&job(1, 1));
    line.enter("alice", "x");
    for number in 0..3 {
        line.submit("alice", &format!("{number:016x}"));
        assert_eq!(kinds(&line.commit()), ["answer"]);
    }
}

/// Spec and firmware: the first frame after an opening is its answer, here as on frames.
#[test]
fn the_first_frame_after_an_opening_is_its_answer() {
    use adit_proto::mining::server::Output;
    use adit_wire::mining::ToClient;
    let mut pool = sv1::pool::Pool::new(0);
    pool.work(&job(1, 1));
    let out = pool.say(sv1::pool::open_extended(1, 0.0, adit_wire::U256::MAX, 0));
    let first = out.iter().find(|output| !matches!(output, Output::Event(_)));
    assert!(
        matches!(
            first,
            Some(Output::Send(ToClient::OpenExtendedMiningChannelSuccess(_)))
        ),
        "{first:?}"
    );
}

/// Whatsminer writes up to 127 bytes of a name, Avalon cuts at 63, and the field has room for 255: each is an account, and
/// no two are the same.
#[test]
fn names_of_every_length_are_accounts_of_their_own() {
    use adit_proto::mining::server::{Event, Output};
    use adit_wire::Str0_255;
    use adit_wire::mining::OpenStandardMiningChannel;
    let mut pool = sv1::pool::Pool::new(0);
    pool.work(&job(1, 1));
    let mut accounts = Vec::new();
    for (request_id, length) in (1..).zip([1usize, 63, 64, 127, 128, 255]) {
        let name = "n".repeat(length);
        let out = pool.say(OpenStandardMiningChannel {
            user_identity: Str0_255::try_from(&*name).unwrap(),
            ..sv1::pool::open_standard(request_id, 0.0, adit_wire::U256::MAX)
        });
        accounts.extend(out.into_iter().filter_map(|output| match output {
            Output::Event(Event::Opened {
                account,
                user_identity,
                ..
            }) => {
                assert_eq!(user_identity.as_bytes(), name.as_bytes());
                Some(account)
            }
            _ => None,
        }));
    }
    accounts.sort();
    accounts.dedup();
    assert_eq!(accounts.len(), 6);
    // The same over lines: what a device cuts off is another account, and it may mine on it.
    for length in [63, 127, 255] {
        let mut line = Line::new();
        line.work(&job(1, 1));
        line.enter(&"n".repeat(length), "x");
        line.notified();
    }
}

/// The same first frame for a header-only channel, and nothing but job and tip behind it: what else there is, some firmware
/// takes for the answer.
#[test]
fn a_header_only_channel_begins_with_its_answer_job_and_tip() {
    use adit_proto::mining::server::Output;
    use adit_wire::common::flags::REQUIRES_STANDARD_JOBS;
    let mut pool = sv1::pool::Pool::new(REQUIRES_STANDARD_JOBS);
    pool.work(&job(1, 1));
    let out = pool.say(sv1::pool::open_standard(1, 0.0, adit_wire::U256::MAX));
    let names: Vec<&str> = out
        .iter()
        .filter_map(|output| match output {
            Output::Send(message) => Some(message.name()),
            _ => None,
        })
        .collect();
    assert_eq!(
        names,
        [
            "OpenStandardMiningChannel.Success",
            "NewMiningJob",
            "SetNewPrevHash"
        ]
    );
}

/// Below an upstream the scriptSig stands before the extranonce as a whole, too: the upstream's own prefix is its end.
#[test]
fn an_aggregating_proxy_keeps_the_script_in_one_piece() {
    use adit_proto::coinbase::{Body, Halves};
    let head = [&[2, 0, 0, 0, 1][..], &[0; 32], &[0xff; 4], &[20]].concat();
    let script = [3, 1, 2, 3, b'p', b'o', b'o', b'l'];
    let upstream = [9, 9, 9, 9];
    let body = Body::Given(Halves {
        prefix: [&head, &script[..], &upstream].concat(),
        suffix: [
            &0xffff_ffffu32.to_le_bytes()[..],
            &[1],
            &[0; 8],
            &[1, 0x51],
            &[0; 4],
        ]
        .concat(),
        size: 8,
        value: 0,
        witness: None,
    });
    let job = Job::new(Fields {
        coinbase: body,
        ..sv1::pool::fields(1, 1)
    })
    .unwrap();
    let size = FullSize::DEFAULT;
    let mut frame = Vec::new();
    job.encode_extended(size, 1, 1, Some(1), &mut frame);
    let whole = [&head, &script[..], &upstream].concat();
    assert!(frame.windows(whole.len()).any(|part| part == whole));
    assert!(frame.len() <= FRAME_BYTES_STRICT);
}
