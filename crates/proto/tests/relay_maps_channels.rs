//! A transparent proxy between devices and an upstream that stays: every id is mapped both ways, and nothing else changes.
#![allow(clippy::unwrap_used, reason = "a test fails where it breaks")]

mod relay;

use std::time::Duration;

use adit_proto::relay::{BRANCHES_MAX, Conn, Event, FRAME_BYTES_MAX, Input, Line, Settings};
use adit_wire::common::flags::{REQUIRES_STANDARD_JOBS, REQUIRES_WORK_SELECTION};
use adit_wire::mining::*;
use adit_wire::tlv::WorkerName;
use adit_wire::{B0_64K, B0_255, Seq0_64K, Seq0_255, U256};
use bitcoin::hashes::{Hash, sha256d};
use relay::*;

/// REQ-MIN-102, REQ-MIN-021: two devices ask with one request id; above they are two, and each gets its own answer.
#[test]
fn request_ids_are_kept_apart() {
    let mut between = Between::new();
    let line = between.connect(1, 0).unwrap();
    assert_eq!(between.connect(2, 0), None, "both share a connection");
    let first = asked(&between.say(1, open_standard(7)));
    let second = asked(&between.say(2, open_extended(7, 8)));
    assert_eq!((first.0, second.0), (line, line));
    assert_ne!(first.1, second.1);
    // The upstream answers in the other order.
    let heard = between.hear(line, success(second.1, Some(8), 41, 1));
    let [ToClient::OpenExtendedMiningChannelSuccess(open)] = heard.to(2)[..] else {
        panic!("{heard:?}")
    };
    assert_eq!(
        (open.request_id, open.extranonce_size, open.extranonce_prefix),
        (7, 8, prefix(41))
    );
    assert!(heard.to(1).is_empty());
    let heard = between.hear(line, success(first.1, None, 40, 1));
    let [ToClient::OpenStandardMiningChannelSuccess(open)] = heard.to(1)[..] else {
        panic!("{heard:?}")
    };
    assert_eq!((open.request_id, open.target), (7, U256::MAX));
    // A request id that waits for its answer cannot be used again.
    between.say(1, open_standard(8));
    let heard = between.say(1, open_standard(8));
    let [ToClient::OpenMiningChannelError(error)] = heard.to(1)[..] else {
        panic!("{heard:?}")
    };
    assert_eq!(error.error_code.to_string(), "duplicate-request-id");
}

/// More requests than sixteen bits can number, and a wrap of thirty-two, one of them unanswered all the time.
#[test]
fn request_ids_wrap_without_a_collision() {
    let settings = Settings {
        first_request: u32::MAX - 65_600,
        ..Settings::default()
    };
    let mut between = Between::with(settings);
    let line = between.connect(1, 0).unwrap();
    let waits = asked(&between.say(1, open_standard(99)));
    assert_eq!(waits, (line, u32::MAX - 65_600));
    let mut wrapped = false;
    for round in 0..70_000u32 {
        let (_, request) = asked(&between.say(1, open_standard(7)));
        assert_ne!(request, waits.1);
        wrapped |= request == 0;
        let seat = between.seat(1, line, request, None, 1_000 + round, 1);
        let heard = between.say(1, close(seat.id, "done"));
        let [ToServer::CloseChannel(closed)] = heard.up(line)[..] else {
            panic!("{heard:?}")
        };
        assert_eq!(closed.channel_id, 1_000 + round);
        between.now = between.now + Duration::from_micros(100);
    }
    assert!(wrapped);
    let seat = between.seat(1, line, waits.1, None, 5, 1);
    assert_eq!(seat.id, 1, "it kept the id that it had from the start");
}

/// Channel ids, job ids and sequence numbers, through both kinds of share and both kinds of answer. REQ-MIN-049: a header
/// time above the minimum is nobody's business here.
#[test]
fn shares_find_their_channel_and_answers_their_device() {
    let mut between = Between::new();
    let line = between.connect(1, 0).unwrap();
    between.connect(2, 0);
    let standard = between.open(1, None, 70, 1);
    let extended = between.open(2, Some(8), 71, 1);
    assert_eq!(
        (standard.id, extended.id),
        (1, 1),
        "each connection has ids of its own"
    );
    let job_standard = between.start(standard, false, 500);
    let job_extended = between.start(extended, true, 500);
    assert_ne!(job_standard, job_extended, "names of jobs are used once");

    let heard = between.say(1, share(1, 33, job_standard));
    let [ToServer::SubmitSharesStandard(up)] = heard.up(line)[..] else {
        panic!("{heard:?}")
    };
    assert_eq!(*up, share(70, 33, 500), "only the names differ");
    let late = SubmitSharesExtended {
        ntime: u32::MAX,
        ..share_extended(1, 34, job_extended, &[4; 8])
    };
    let heard = between.say(2, late.clone());
    let [ToServer::SubmitSharesExtended(up)] = heard.up(line)[..] else {
        panic!("{heard:?}")
    };
    let expected = SubmitSharesExtended {
        channel_id: 71,
        job_id: 500,
        ..late
    };
    assert_eq!(*up, expected);

    let heard = between.hear(line, accepted(71, 34, 1));
    assert!(heard.to(1).is_empty());
    assert_eq!(heard.to(2), [&ToClient::from(accepted(1, 34, 1))]);
    let heard = between.hear(line, rejected(70, 33, "zz-odd-code"));
    assert_eq!(heard.to(1), [&ToClient::from(rejected(1, 33, "zz-odd-code"))]);

    // What cannot be told to the upstream is refused here, at once.
    for (conn, message, code) in [
        (
            1,
            ToServer::from(share(9, 35, job_standard)),
            "invalid-channel-id",
        ),
        (1, share(1, 36, job_extended + 100).into(), "invalid-job-id"),
        (1, share(1, 37, job_extended).into(), "stale-share"),
        (2, share(1, 38, 0).into(), "invalid-job-id"),
    ] {
        let heard = between.say(conn, message);
        assert!(heard.above.is_empty(), "{heard:?}");
        assert_eq!(refused(&heard, conn)[0].2, code);
    }
    // A share of the other kind is the upstream's to refuse.
    let heard = between.say(2, share(1, 39, job_extended));
    assert_eq!(heard.up(line), [&ToServer::from(share(71, 39, 500))]);
}

/// REQ-EXT-039, REQ-EXT-034, REQ-EXT-036: a worker's name goes with its share as far as it was negotiated, and no further
/// than that; that is for the two connections to know.
#[test]
fn a_worker_goes_with_its_share() {
    let mut between = Between::new();
    let line = between.connect(1, 0).unwrap();
    let seat = between.open(1, Some(8), 71, 1);
    let job_id = between.start(seat, true, 1);
    let name = WorkerName::new("rack7.unit3").unwrap();
    for worker in [Some(name), None] {
        let (conn, message) = (Conn(1), share_extended(1, 1, job_id, &[4; 8]).into());
        let heard = between.give(Input::Below {
            conn,
            message,
            worker,
        });
        assert_eq!(heard.above.len(), 1);
        assert_eq!((heard.above[0].0, heard.above[0].2), (line, worker));
    }
    let (conn, channel_id, sequence_number) = (Conn(1), 1, 5);
    let heard = between.give(Input::Malformed {
        conn,
        channel_id,
        sequence_number,
    });
    assert!(heard.above.is_empty());
    assert_eq!(refused(&heard, 1)[0].2, "invalid-user-identity");
}

/// REQ-MIN-073, REQ-MIN-009: one message to a group above is one message to each connection below that is in it as a whole.
#[test]
fn one_group_message_reaches_everybody_once() {
    let mut between = Between::new();
    let line = between.connect(1, 0).unwrap();
    between.connect(2, 0);
    between.connect(3, REQUIRES_STANDARD_JOBS).unwrap();
    let a = between.open(1, None, 70, 1);
    let b = between.open(1, None, 71, 1);
    let c = between.open(2, Some(8), 72, 1);
    let apart = between.open(2, Some(8), 73, 2);
    assert_eq!(a.group, b.group, "one group there, one group here");
    assert_ne!(c.group, apart.group);
    assert!(
        ![a.id, b.id].contains(&a.group) && ![c.id, apart.id].contains(&c.group),
        "REQ-MIN-008"
    );

    let heard = between.hear(line, extended_job(1, 9, None));
    assert_eq!(
        names(&heard),
        [((1, "NewExtendedMiningJob"), 1), ((2, "NewExtendedMiningJob"), 1)].into()
    );
    let [ToClient::NewExtendedMiningJob(first)] = heard.to(1)[..] else {
        panic!()
    };
    let ours = first.job_id;
    assert_eq!(*first, extended_job(a.group, ours, None));
    assert_eq!(heard.to(2), [&ToClient::from(extended_job(c.group, ours, None))]);
    let heard = between.hear(line, prev_hash(1, 9));
    assert_eq!(heard.to(1), [&ToClient::from(prev_hash(a.group, ours))]);
    assert_eq!(heard.to(2), [&ToClient::from(prev_hash(c.group, ours))]);
    let target = SetTarget {
        channel_id: 1,
        maximum_target: U256([7; 32]),
    };
    let heard = between.hear(line, target.clone());
    let expected = SetTarget {
        channel_id: c.group,
        ..target
    };
    assert_eq!(heard.to(2), [&ToClient::from(expected)]);
    // Shares of both members find that job.
    let heard = between.say(1, share(b.id, 1, ours));
    assert_eq!(heard.up(line), [&ToServer::from(share(71, 1, 9))]);
    let heard = between.say(2, share_extended(apart.id, 1, ours, &[0; 8]));
    assert_eq!(
        refused(&heard, 2)[0].2,
        "stale-share",
        "it was not given to that group"
    );
}

/// A member that comes between a future job and its block gets the job before the block, whoever forgot it.
#[test]
fn who_comes_late_to_a_group_misses_nothing() {
    let mut between = Between::new();
    let line = between.connect(1, 0).unwrap();
    between.connect(2, 0);
    between.connect(3, 0);
    between.open(1, None, 70, 1);
    between.hear(line, extended_job(1, 9, None));
    let standard = between.open(2, None, 71, 1);
    let extended = between.open(3, Some(8), 72, 1);
    let heard = between.hear(line, prev_hash(1, 9));
    assert_eq!(names(&heard).get(&(1, "SetNewPrevHash")), Some(&1));
    let [ToClient::NewMiningJob(root), ToClient::SetNewPrevHash(tip)] = heard.to(2)[..] else {
        panic!("{heard:?}")
    };
    // REQ-MIN-074: the root is what another library finds, with the channel's own extranonce.
    let coinbase = [&[1; 60][..], prefix(71).as_bytes(), &[2; 90]].concat();
    let txid = sha256d::Hash::hash(&coinbase).to_byte_array();
    let folded = sha256d::Hash::hash(&[txid, [3; 32]].concat()).to_byte_array();
    assert_eq!((root.merkle_root, root.min_ntime), (U256(folded), None));
    assert_eq!((tip.channel_id, tip.job_id), (standard.id, root.job_id));
    let [ToClient::NewExtendedMiningJob(job), ToClient::SetNewPrevHash(tip)] = heard.to(3)[..] else {
        panic!("{heard:?}")
    };
    assert_eq!((job.channel_id, tip.channel_id), (extended.id, extended.id));
}

/// What small devices cannot hold goes to standard channels as a root; extended ones have no choice, and somebody is told.
#[test]
fn a_job_too_large_for_devices_is_made_small_where_that_is_possible() {
    let mut between = Between::new();
    let line = between.connect(1, 0).unwrap();
    between.connect(2, 0);
    between.open(1, None, 70, 1);
    let extended = between.open(2, Some(8), 71, 1);
    let large = NewExtendedMiningJob {
        coinbase_tx_suffix: B0_64K::new(&vec![2; FRAME_BYTES_MAX]).unwrap(),
        ..extended_job(1, 9, Some(1_800_000_000))
    };
    let deep = NewExtendedMiningJob {
        merkle_path: Seq0_255::new(vec![U256([3; 32]); BRANCHES_MAX + 1]).unwrap(),
        ..extended_job(1, 10, Some(1_800_000_000))
    };
    for job in [large, deep] {
        let heard = between.hear(line, job);
        assert!(
            matches!(heard.to(1)[..], [ToClient::NewMiningJob(_)]),
            "{:?}",
            names(&heard)
        );
        let [ToClient::NewExtendedMiningJob(job)] = heard.to(2)[..] else {
            panic!("{:?}", names(&heard))
        };
        assert_eq!(job.channel_id, extended.id);
        let told = |event: &Event| matches!(event, Event::Oversized { .. });
        assert_eq!(heard.events.iter().filter(|event| told(event)).count(), 1);
    }
}

/// REQ-MIN-037, REQ-MIN-038, REQ-MIN-042: of a channel, of a group, in both directions; and only of one's own.
#[test]
fn channels_are_closed_on_both_sides() {
    let mut between = Between::new();
    let line = between.connect(1, 0).unwrap();
    between.connect(2, 0);
    let a = between.open(1, None, 70, 1);
    between.open(1, None, 71, 1);
    let c = between.open(2, None, 72, 1);
    // A group below is a part of one above: its own channels are closed, one by one.
    let heard = between.say(1, close(a.group, "done"));
    let closed: Vec<_> = heard.up(line).into_iter().cloned().collect();
    assert_eq!(closed, [close(70, "done").into(), close(71, "done").into()]);
    assert!(heard.below.is_empty(), "there is no answer");
    assert!(between.hear(line, job(70, 1, None)).below.is_empty());
    assert!(between.say(1, close(a.id, "done")).above.is_empty(), "once");
    let again = between.open(1, None, 73, 1);
    // The upstream closes the whole group.
    let heard = between.hear(line, close(1, "odd-reason"));
    assert_eq!(heard.to(1), [&ToClient::from(close(again.group, "odd-reason"))]);
    assert_eq!(heard.to(2), [&ToClient::from(close(c.group, "odd-reason"))]);
    let heard = between.say(2, share(c.id, 1, 1));
    assert_eq!(refused(&heard, 2)[0].2, "invalid-channel-id");
    assert_eq!(between.relay.channel_counts(), (0, 0));
}

/// REQ-MIN-039, REQ-MIN-041: the upstream is told of every channel of a device that is gone, of those that are still being
/// opened as well.
#[test]
fn a_lost_device_closes_all_its_channels() {
    let mut between = Between::new();
    let line = between.connect(1, 0).unwrap();
    between.open(1, None, 70, 1);
    between.open(1, Some(8), 71, 1);
    let (_, coming) = asked(&between.say(1, open_standard(9)));
    let heard = between.give(Input::Left { conn: Conn(1) });
    let closed: Vec<_> = heard.up(line).into_iter().cloned().collect();
    assert_eq!(closed, [close(70, "done").into(), close(71, "done").into()]);
    let heard = between.hear(line, success(coming, None, 72, 1));
    assert_eq!(heard.up(line), [&ToServer::from(close(72, "done"))]);
    assert!(heard.below.is_empty() && between.relay.is_idle(Line(line)));
}

/// REQ-MIN-032, REQ-MIN-033, REQ-MIN-040: a change is told at once, then at most once a second, and the last one counts.
#[test]
fn changes_are_told_once_a_second() {
    let mut between = Between::new();
    let line = between.connect(1, 0).unwrap();
    let seat = between.open(1, None, 70, 1);
    let update = |rate: f32| UpdateChannel {
        channel_id: seat.id,
        nominal_hash_rate: rate,
        maximum_target: U256::MAX,
    };
    let told = |rate: f32| {
        ToServer::from(UpdateChannel {
            channel_id: 70,
            ..update(rate)
        })
    };
    assert_eq!(between.say(1, update(1.0)).up(line), [&told(1.0)]);
    for rate in [2.0, 3.0, 4.0] {
        assert!(between.say(1, update(rate)).above.is_empty());
    }
    assert!(between.wait(Duration::from_millis(900)).above.is_empty());
    assert_eq!(between.wait(Duration::from_millis(200)).up(line), [&told(4.0)]);
    assert!(between.wait(Duration::from_secs(5)).above.is_empty(), "once");
    let refused = UpdateChannelError {
        channel_id: 70,
        error_code: text("max-target-out-of-range"),
    };
    let heard = between.hear(line, refused.clone());
    let expected = UpdateChannelError {
        channel_id: seat.id,
        ..refused
    };
    assert_eq!(heard.to(1), [&ToClient::from(expected)]);
    let nobody = UpdateChannel {
        channel_id: 99,
        ..update(1.0)
    };
    let heard = between.say(1, nobody);
    assert!(matches!(heard.to(1)[..], [ToClient::UpdateChannelError(_)]) && heard.above.is_empty());
}

/// REQ-EXT-005, REQ-EXT-006, REQ-EXT-007, REQ-EXT-009: a message of an extension that nobody knows changes its channel id
/// and nothing else, in both directions; for a channel that nobody has it is dropped.
#[test]
fn unknown_extensions_go_through_as_they_are() {
    let mut between = Between::new();
    let line = between.connect(1, 0).unwrap();
    between.connect(2, 0);
    between.open(1, None, 70, 1);
    between.open(2, None, 71, 1);
    for rest in [&[][..], &[0xff; 1], &[7; 3_000]] {
        let (header, payload) = unknown(1, rest);
        let heard = between.give(Input::BelowOther {
            conn: Conn(2),
            header,
            payload: &payload,
        });
        let expected = frame_of(&header, &unknown(71, rest).1);
        assert_eq!(heard.above_frames, [(line, expected)]);
        let (header, payload) = unknown(70, rest);
        let heard = between.give(Input::AboveOther {
            line: Line(line),
            header,
            payload: &payload,
        });
        assert_eq!(heard.below_frames, [(1, frame_of(&header, &unknown(1, rest).1))]);
        assert!(heard.above_frames.is_empty());
    }
    for id in [0, 2, 70, 999] {
        let (header, payload) = unknown(id, &[1, 2, 3]);
        let heard = between.give(Input::BelowOther {
            conn: Conn(1),
            header,
            payload: &payload,
        });
        assert!(heard.above_frames.is_empty(), "{id}");
    }
    let (header, payload) = unknown(999, &[1]);
    let heard = between.give(Input::AboveOther {
        line: Line(line),
        header,
        payload: &payload,
    });
    assert!(heard.below_frames.is_empty());
    let short = adit_wire::Header::new(0x4abc, true, 1, 3);
    let heard = between.give(Input::BelowOther {
        conn: Conn(1),
        header: short,
        payload: &[1, 0, 0],
    });
    assert!(heard.above_frames.is_empty());
}

/// REQ-COM-031: who has spoken with the other end in words that nobody here knows is told when that end is another one; a
/// word from a proxy above or below is handed on, to those only.
#[test]
fn a_changed_endpoint_is_told_to_who_has_spoken_with_it() {
    let mut between = Between::new();
    let line = between.connect(1, 0).unwrap();
    between.open(1, None, 70, 1);
    between.open(1, None, 71, 1);
    let changed = |between: &mut Between, id| {
        between.give(Input::AboveChanged {
            line: Line(line),
            channel_id: id,
        })
    };
    assert!(changed(&mut between, 70).below_frames.is_empty());
    let (header, payload) = unknown(1, &[1]);
    between.give(Input::BelowOther {
        conn: Conn(1),
        header,
        payload: &payload,
    });
    assert_eq!(changed(&mut between, 70).below_frames, [(1, endpoint_changed(1))]);
    assert!(changed(&mut between, 71).below_frames.is_empty());
    let below = Input::BelowChanged {
        conn: Conn(1),
        channel_id: 1,
    };
    assert_eq!(between.give(below).above_frames, [(line, endpoint_changed(70))]);
}

/// REQ-MIN-101: channels that the upstream puts into another group are told so, each connection of its own; their old
/// group's jobs are still theirs. REQ-MIN-011: who mines headers only is not.
#[test]
fn regrouped_channels_follow_their_group() {
    let mut between = Between::new();
    let line = between.connect(1, 0).unwrap();
    let a = between.open(1, None, 70, 1);
    let b = between.open(1, None, 71, 1);
    let heard = between.hear(line, extended_job(1, 9, Some(1)));
    let [ToClient::NewExtendedMiningJob(old)] = heard.to(1)[..] else {
        panic!()
    };
    let old = old.job_id;
    let regroup = SetGroupChannel {
        group_channel_id: 5,
        channel_ids: Seq0_64K::new(vec![71, 999]).unwrap(),
    };
    let heard = between.hear(line, regroup);
    let [ToClient::SetGroupChannel(told)] = heard.to(1)[..] else {
        panic!("{heard:?}")
    };
    let group = told.group_channel_id;
    assert_eq!(told.channel_ids.iter().copied().collect::<Vec<_>>(), [b.id]);
    assert!(![a.group, a.id, b.id].contains(&group));
    let heard = between.hear(line, extended_job(5, 10, Some(1)));
    let [ToClient::NewExtendedMiningJob(job)] = heard.to(1)[..] else {
        panic!()
    };
    assert_eq!(job.channel_id, group);
    let heard = between.hear(line, extended_job(1, 11, Some(1)));
    let [ToClient::NewExtendedMiningJob(job)] = heard.to(1)[..] else {
        panic!()
    };
    assert_eq!(job.channel_id, a.group);
    let heard = between.say(1, share(b.id, 1, old));
    assert_eq!(heard.up(line), [&ToServer::from(share(71, 1, 9))]);

    let other = between.connect(2, REQUIRES_STANDARD_JOBS).unwrap();
    between.open(2, None, 3, 1);
    let regroup = SetGroupChannel {
        group_channel_id: 5,
        channel_ids: Seq0_64K::new(vec![3]).unwrap(),
    };
    assert!(between.hear(other, regroup).below.is_empty());
}

fn custom(channel_id: u32, request_id: u32) -> SetCustomMiningJob {
    SetCustomMiningJob {
        channel_id,
        request_id,
        mining_job_token: B0_255::new(&[8; 16]).unwrap(),
        version: 0x2000_0000,
        prev_hash: U256([5; 32]),
        min_ntime: 1,
        nbits: 0x1d00_ffff,
        coinbase_tx_version: 2,
        coinbase_prefix: B0_255::new(&[1; 4]).unwrap(),
        coinbase_tx_input_n_sequence: u32::MAX,
        coinbase_tx_outputs: B0_64K::new(&[0]).unwrap(),
        coinbase_tx_locktime: 0,
        merkle_path: Seq0_255::empty(),
    }
}

/// REQ-MIN-087, REQ-MIN-088: jobs of a device's own go up where the device has said that it would send them, under request
/// ids and names that are mapped like all others.
#[test]
fn jobs_of_a_devices_own_go_up_where_that_was_agreed() {
    let mut between = Between::new();
    let line = between.connect(1, REQUIRES_WORK_SELECTION).unwrap();
    between.connect(2, REQUIRES_WORK_SELECTION);
    let a = between.open(1, Some(8), 70, 1);
    between.open(2, Some(8), 71, 1);
    let mut requests = Vec::new();
    for (conn, above) in [(1, 70), (2, 71)] {
        let heard = between.say(conn, custom(1, 4));
        let [ToServer::SetCustomMiningJob(up)] = heard.up(line)[..] else {
            panic!("{heard:?}")
        };
        assert_eq!(*up, custom(above, up.request_id));
        requests.push(up.request_id);
    }
    assert_ne!(requests[0], requests[1]);
    let taken = SetCustomMiningJobSuccess {
        channel_id: 70,
        request_id: requests[0],
        job_id: 900,
    };
    let heard = between.hear(line, taken);
    let [ToClient::SetCustomMiningJobSuccess(told)] = heard.to(1)[..] else {
        panic!("{heard:?}")
    };
    assert_eq!((told.channel_id, told.request_id), (a.id, 4));
    let heard = between.say(1, share_extended(a.id, 1, told.job_id, &[0; 8]));
    assert_eq!(
        heard.up(line),
        [&ToServer::from(share_extended(70, 1, 900, &[0; 8]))]
    );
    let refusal = SetCustomMiningJobError {
        channel_id: 71,
        request_id: requests[1],
        error_code: text("stale-chain-tip"),
    };
    let heard = between.hear(line, refusal);
    assert!(matches!(heard.to(2)[..], [ToClient::SetCustomMiningJobError(it)] if it.request_id == 4));

    // REQ-MIN-085: a group with one extended channel means it; REQ-MIN-086: standard ones do not count.
    between.open(1, None, 72, 1);
    assert_eq!(between.say(1, custom(a.group, 5)).up(line).len(), 1);
    between.open(1, Some(8), 73, 1);
    let heard = between.say(1, custom(a.group, 6));
    assert!(matches!(heard.to(1)[..], [ToClient::SetCustomMiningJobError(_)]) && heard.above.is_empty());
    // Silence is refused, too.
    let heard = between.wait(Duration::from_secs(11));
    assert!(
        heard
            .to(1)
            .iter()
            .any(|it| matches!(it, ToClient::SetCustomMiningJobError(it) if it.request_id == 5))
    );

    between.connect(3, 0).unwrap();
    between.open(3, Some(8), 74, 9);
    let heard = between.say(3, custom(1, 7));
    let [ToClient::SetCustomMiningJobError(error)] = heard.to(3)[..] else {
        panic!("{heard:?}")
    };
    assert_eq!(error.error_code.to_string(), "jd-not-supported");
    assert!(heard.above.is_empty());
}

/// An upstream's new prefix is handed on; an extranonce longer than 32 bytes is its fault.
#[test]
fn a_new_prefix_is_handed_on() {
    let mut between = Between::new();
    let line = between.connect(1, 0).unwrap();
    let seat = between.open(1, Some(8), 70, 1);
    let set = |id: u32, bytes: &[u8]| SetExtranoncePrefix {
        channel_id: id,
        extranonce_prefix: adit_wire::B0_32::new(bytes).unwrap(),
    };
    let heard = between.hear(line, set(70, &[6; 24]));
    assert_eq!(heard.to(1), [&ToClient::from(set(seat.id, &[6; 24]))]);
    assert!(
        between.hear(line, set(1, &[6; 24])).below.is_empty(),
        "REQ-MIN-044"
    );
    assert_eq!(between.hear(line, set(70, &[6; 25])).hung, [line]);
}

/// Quotas, whoever asks.
#[test]
fn channels_and_shares_are_bounded() {
    let settings = Settings {
        channels_max: 2,
        channels_total_max: 3,
        shares_per_second: 1,
        burst_s: 3,
        refused_in_a_row_max: 5,
        ..Settings::default()
    };
    let mut between = Between::with(settings);
    let line = between.connect(1, 0).unwrap();
    between.connect(2, 0);
    let seat = between.open(1, None, 70, 1);
    between.say(1, open_standard(8));
    let too_many = |heard: &Heard, conn| matches!(heard.to(conn)[..], [ToClient::OpenMiningChannelError(it)] if it.error_code.to_string() == "too-many-channels");
    assert!(too_many(&between.say(1, open_standard(9)), 1));
    between.say(2, open_standard(8));
    assert!(too_many(&between.say(2, open_standard(9)), 2), "all together");
    let job_id = between.start(seat, false, 1);
    let mut sent = 0;
    for number in 0..8 {
        let heard = between.say(1, share(seat.id, number, job_id));
        sent += heard.up(line).len();
        if number < 4 {
            assert!(refused(&heard, 1).is_empty());
        }
    }
    assert_eq!(sent, 4, "three seconds' worth at once");
    let heard = between.say(1, share(seat.id, 9, job_id));
    assert_eq!(heard.cut.len(), 1, "and it costs its sender alone");
    assert!(between.say(2, open_standard(9)).to(2).is_empty());
}

/// Facts about firmware, through a transparent proxy: the first frame after an opening is its answer (`Between::seat` holds
/// every test to it), and names of 127, 63 and 255 bytes arrive as they are.
#[test]
fn names_of_every_length_go_through() {
    let mut between = Between::new();
    let line = between.connect(1, 0).unwrap();
    for (request_id, length) in (1..).zip([0usize, 1, 63, 127, 255]) {
        let name = "n".repeat(length);
        let open = OpenStandardMiningChannel {
            user_identity: text(&name),
            ..open_standard(request_id)
        };
        let heard = between.say(1, open);
        let [ToServer::OpenStandardMiningChannel(up)] = heard.up(line)[..] else {
            panic!("{heard:?}")
        };
        assert_eq!(up.user_identity, text(&name));
    }
}
