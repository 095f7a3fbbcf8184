//! Properties of the machine as a whole: replay, garbage, prefixes.

mod pool;

use adit_proto::Time;
use adit_proto::extranonce::PREFIX_BYTES;
use adit_proto::mining::server::{Input, Ledger, Output, Settings};
use adit_proto::target::Target;
use adit_wire::mining::*;
use adit_wire::{B0_32, Header, U256, refusal};
use core::time::Duration;
use pool::*;
use proptest::prelude::*;
use std::collections::HashMap;

fn settings_of_a_small_pool() -> Settings {
    Settings {
        vardiff: true,
        work_min: 1,
        channels_max: 6,
        pending_max: 20,
        seen_max: 200,
        shares_per_second: 5,
        refused_in_a_row_max: 0,
        ..Settings::default()
    }
}

fn any_id() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0u32..12, 1 => Just(u32::MAX), 1 => any::<u32>()]
}

fn any_target() -> impl Strategy<Value = U256> {
    prop_oneof![
        Just(U256::MAX),
        (0u32..66).prop_map(|bits| U256(Target::from_work(1u64.checked_shl(bits).unwrap_or(0)).0)),
        any::<[u8; 32]>().prop_map(U256),
    ]
}

fn any_rate() -> impl Strategy<Value = f32> {
    prop_oneof![Just(0.0), 0.0f32..1e6, any::<f32>()]
}

fn any_ntime() -> impl Strategy<Value = u32> {
    prop_oneof![4 => NTIME..NTIME + 100, 1 => any::<u32>()]
}

fn any_version() -> impl Strategy<Value = u32> {
    prop_oneof![4 => Just(0x2000_0000u32), 1 => any::<u32>()]
}

fn any_message() -> impl Strategy<Value = ToServer> {
    let standard = (
        any_id(),
        any::<u32>(),
        any_id(),
        any::<u32>(),
        any_ntime(),
        any_version(),
    )
        .prop_map(|(channel_id, sequence_number, job_id, nonce, ntime, version)| {
            SubmitSharesStandard {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
            }
            .into()
        });
    let rolled = prop_oneof![4 => Just(8usize), 1 => 0usize..=32];
    let extended = (
        any_id(),
        any::<u32>(),
        any_id(),
        any::<u32>(),
        any_ntime(),
        any_version(),
        rolled,
    )
        .prop_map(
            |(channel_id, sequence_number, job_id, nonce, ntime, version, rolled)| {
                let extranonce = B0_32::new(&vec![3; rolled]).unwrap_or_default();
                SubmitSharesExtended {
                    channel_id,
                    sequence_number,
                    job_id,
                    nonce,
                    ntime,
                    version,
                    extranonce,
                }
                .into()
            },
        );
    prop_oneof![
        2 => (any::<u32>(), any_rate(), any_target())
            .prop_map(|(id, rate, target)| open_standard(id, rate, target).into()),
        2 => (any::<u32>(), any_rate(), any_target(), prop_oneof![Just(0u16), 0u16..40, any::<u16>()])
            .prop_map(|(id, rate, target, min)| open_extended(id, rate, target, min).into()),
        2 => (any_id(), any_rate(), any_target()).prop_map(|(channel_id, nominal_hash_rate, maximum_target)| {
            UpdateChannel { channel_id, nominal_hash_rate, maximum_target }.into()
        }),
        1 => any_id().prop_map(|channel_id| CloseChannel { channel_id, reason_code: text("x") }.into()),
        8 => standard,
        8 => extended,
    ]
}

fn any_input() -> impl Strategy<Value = Input> {
    prop_oneof![
        20 => any_message().prop_map(Input::Message),
        4 => (1u64..6, 0u64..8, any::<bool>()).prop_map(|(tip, template, easy)| {
            Input::Work(if easy { easy_job(tip, template) } else { job(tip, template) })
        }),
        2 => prop_oneof![0u64..60, any::<u64>()].prop_map(|through| Input::Committed { through }),
        2 => Just(Input::Deadline),
        1 => any_id().prop_map(|channel_id| Input::MoveExtranonce { channel_id }),
        1 => any_id().prop_map(|channel_id| {
            Input::CloseChannel { channel_id, reason: refusal::CloseChannel::Idle }
        }),
        1 => prop_oneof![Just(Ledger::Up), Just(Ledger::Down)].prop_map(Input::Ledger),
    ]
}

fn any_history() -> impl Strategy<Value = Vec<(Time, Input)>> {
    let step = prop_oneof![4 => 0u64..200, 1 => 0u64..40_000].prop_map(Duration::from_millis);
    proptest::collection::vec((step, any_input()), 1..150).prop_map(|steps| {
        let mut now = START;
        steps
            .into_iter()
            .map(|(step, input)| {
                now = now + step;
                (now, input)
            })
            .collect()
    })
}

/// All outputs as text: comparing them compares everything.
fn run(flags: u32, history: &[(Time, Input)]) -> Vec<String> {
    let mut server = server(settings_of_a_small_pool(), flags, 0);
    let mut all = Vec::new();
    for (now, input) in history {
        let mut out = Vec::new();
        let end = server.handle(*now, input.clone(), &mut out);
        all.push(format!("{out:?} {end:?} {:?}", server.deadline()));
        if end.is_err() {
            break;
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The same inputs give the same outputs, and none of them a panic.
    #[test]
    fn replaying_a_history_gives_the_same_outputs(flags in 0u32..2, history in any_history()) {
        prop_assert_eq!(run(flags, &history), run(flags, &history));
    }

    /// REQ-MIN-002, REQ-MIN-008, REQ-MIN-010: on one connection no prefix is live twice, no id means
    /// two things, and a strict device understands every message (its own assertions).
    #[test]
    fn no_prefix_is_live_or_creditable_twice(flags in 0u32..2, history in any_history()) {
        let mut pool = Pool::with(settings_of_a_small_pool(), flags);
        let mut ids: Vec<u32> = Vec::new();
        // Prefix -> the channel that had it last, and the tip at which it was given up.
        let mut held: HashMap<Vec<u8>, (u32, Option<u64>)> = HashMap::new();
        for (now, input) in history {
            pool.now = now;
            if let Input::Message(ToServer::CloseChannel(close)) = &input {
                let id = close.channel_id;
                pool.device.channels.retain(|channel, view| *channel != id && view.group != id);
            }
            let Ok(out) = pool.try_give(input) else { break };
            let tip = pool.server.tip();
            for message in sent(&out) {
                match message {
                    ToClient::OpenStandardMiningChannelSuccess(it) => ids.push(it.channel_id),
                    ToClient::OpenExtendedMiningChannelSuccess(it) => ids.push(it.channel_id),
                    ToClient::NewExtendedMiningJob(_) => prop_assert_eq!(flags, 0, "REQ-MIN-011"),
                    _ => {}
                }
            }
            let live: HashMap<Vec<u8>, u32> = pool
                .device
                .channels
                .iter()
                .map(|(id, view)| (view.prefix[..PREFIX_BYTES].to_vec(), *id))
                .collect();
            prop_assert_eq!(live.len(), pool.device.channels.len(), "one prefix, one channel");
            for (prefix, (owner, until)) in &mut held {
                let gone = live.get(prefix) != Some(owner);
                if gone && until.is_none() {
                    *until = Some(tip);
                }
            }
            for (prefix, id) in live {
                match held.get(&prefix) {
                    Some((owner, _)) if *owner == id => {}
                    Some((_, Some(given_up))) => prop_assert!(tip > given_up + 6, "still creditable"),
                    Some((_, None)) => prop_assert!(false, "live twice"),
                    None => {}
                }
                held.insert(prefix, (id, None));
            }
            let mut sorted = ids.clone();
            sorted.dedup();
            prop_assert_eq!(sorted.len(), ids.len(), "ids count up");
            prop_assert!(ids.is_sorted());
        }
    }

    /// REQ-COM-027, REQ-COM-028, REQ-COM-029: whatever happens, the only codes said are those of the table.
    #[test]
    fn every_code_is_one_of_the_table(flags in 0u32..2, history in any_history()) {
        let mut server = server(settings_of_a_small_pool(), flags, 0);
        for (now, input) in history {
            let mut out = Vec::new();
            let end = server.handle(now, input, &mut out);
            for message in sent(&out) {
                let (known, code) = match message {
                    ToClient::OpenMiningChannelError(it) => {
                        (refusal::OpenMiningChannel::of_code(&it.error_code).map(|it| it.code()), it.error_code)
                    }
                    ToClient::UpdateChannelError(it) => {
                        (refusal::UpdateChannel::of_code(&it.error_code).map(|it| it.code()), it.error_code)
                    }
                    ToClient::SubmitSharesError(it) => {
                        (refusal::SubmitShares::of_code(&it.error_code).map(|it| it.code()), it.error_code)
                    }
                    ToClient::CloseChannel(it) => {
                        (refusal::CloseChannel::of_code(&it.reason_code).map(|it| it.code()), it.reason_code)
                    }
                    _ => continue,
                };
                prop_assert_eq!(known, code.as_str(), "{}", code);
            }
            if end.is_err() {
                break;
            }
        }
    }

    /// Bytes that decode at all are safe to handle.
    #[test]
    fn garbage_that_decodes_is_safe(
        frames in proptest::collection::vec((0x10u8..0x26, proptest::collection::vec(any::<u8>(), 0..200)), 1..60),
    ) {
        let mut pool = Pool::with(settings_of_a_small_pool(), 0);
        pool.work(&job(1, 1));
        pool.standard();
        pool.extended();
        let mut decoded = 0;
        for (msg_type, payload) in frames {
            let header = Header::new(0, true, msg_type, payload.len() as u32);
            if let Ok(message) = ToServer::decode(&header, &payload) {
                decoded += 1;
                let mut out = Vec::new();
                let _ = pool.server.handle(pool.now, Input::Message(message), &mut out);
            }
        }
        prop_assert!(pool.server.channel_count() <= 2 + decoded);
    }
}

/// What a device hears is what the machine put out, whichever way it was written.
#[test]
fn a_job_frame_is_the_message_that_the_table_encodes() {
    let job = job(1, 1);
    for size in adit_proto::extranonce::FullSize::all() {
        for min_ntime in [None, Some(NTIME)] {
            let mut frame = Vec::new();
            job.encode_extended(size, 7, 9, min_ntime, &mut frame);
            let header = Header::parse(*frame.first_chunk().unwrap());
            let message = ToClient::decode(&header, &frame[Header::LEN..]).unwrap();
            let ToClient::NewExtendedMiningJob(it) = &message else {
                panic!()
            };
            assert_eq!((it.channel_id, it.job_id, it.min_ntime), (7, 9, min_ntime));
            assert!(it.coinbase_tx_prefix.as_bytes().len() + size.bytes() <= 4 + 1 + 36 + 1 + 100);
            let mut again = Vec::new();
            message.encode_frame(&mut again);
            assert_eq!(frame, again);
        }
    }
}

/// A sink is appended to, so that one serves many machines.
#[test]
fn outputs_are_appended_after_what_is_there() {
    let mut server = server(settings(), 0, 0);
    let mut out = Vec::new();
    server
        .handle(
            START,
            Input::Message(open_standard(1, 0.0, U256::MAX).into()),
            &mut out,
        )
        .unwrap();
    let before = out.len();
    server.handle(START, Input::Work(job(1, 1)), &mut out).unwrap();
    assert!(out.len() > before);
    assert!(matches!(
        out[0],
        Output::Send(ToClient::OpenStandardMiningChannelSuccess(_))
    ));
}
