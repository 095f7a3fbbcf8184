//! Channels of all kinds on one connection: opening, refusing, updating, closing.

mod pool;

use adit_proto::Fault;
use adit_proto::extranonce::PREFIX_BYTES;
use adit_proto::mining::server::{Event, Input, Settings};
use adit_proto::target::Target;
use adit_wire::common::flags::*;
use adit_wire::mining::*;
use adit_wire::refusal;
use adit_wire::{B0_64K, B0_255, Seq0_255, U256};
use core::time::Duration;
use pool::*;
use std::collections::HashSet;

/// REQ-MIN-028, REQ-MIN-030, REQ-MIN-022, REQ-MIN-009
#[test]
fn a_standard_channel_starts_with_a_future_job_and_the_tip_that_starts_it() {
    for flags in [
        0,
        REQUIRES_STANDARD_JOBS,
        REQUIRES_STANDARD_JOBS | REQUIRES_VERSION_ROLLING,
    ] {
        let mut pool = Pool::new(flags);
        pool.work(&job(1, 1));
        let out = pool.say(open_standard(77, 0.0, U256::MAX));
        let sent = sent(&out);
        let [ToClient::OpenStandardMiningChannelSuccess(success), job, start] = &sent[..] else {
            panic!("{sent:?}")
        };
        assert_eq!(success.request_id, 77);
        assert_ne!(success.group_channel_id, success.channel_id);
        assert_eq!(success.target.0, Target::from_work(4).0);
        let ToClient::NewMiningJob(job) = job else {
            panic!("{job:?}")
        };
        let ToClient::SetNewPrevHash(start) = start else {
            panic!("{start:?}")
        };
        assert_eq!((job.channel_id, job.min_ntime), (success.channel_id, None));
        assert_eq!((start.channel_id, start.job_id), (success.channel_id, job.job_id));
        assert_eq!((start.min_ntime, start.nbits), (NTIME, NBITS));
    }
}

/// REQ-MIN-029, REQ-MIN-030, REQ-MIN-031, REQ-MIN-004, REQ-MIN-014
#[test]
fn an_extended_channel_starts_the_same_way() {
    let mut pool = Pool::new(REQUIRES_VERSION_ROLLING);
    pool.work(&job(1, 1));
    let out = pool.say(open_extended(5, 0.0, U256::MAX, 4));
    assert_eq!(
        names(&out),
        [
            "OpenExtendedMiningChannel.Success",
            "NewExtendedMiningJob",
            "SetNewPrevHash"
        ]
    );
    let ToClient::OpenExtendedMiningChannelSuccess(success) = &sent(&out)[0] else {
        panic!()
    };
    assert_eq!(
        (
            success.extranonce_size,
            success.extranonce_prefix.as_bytes().len()
        ),
        (8, PREFIX_BYTES)
    );
    assert_eq!(success.extranonce_prefix.as_bytes(), [1, 2, 3, 4, 5, 0, 0]);
    let ToClient::NewExtendedMiningJob(job) = &sent(&out)[1] else {
        panic!()
    };
    assert!(job.version_rolling_allowed && job.min_ntime.is_none());
}

/// REQ-MIN-028: as soon as there is work, if there was none.
#[test]
fn channels_opened_before_the_first_work_start_with_it() {
    let mut pool = Pool::new(0);
    assert_eq!(names(&pool.say(open_standard(1, 0.0, U256::MAX))).len(), 1);
    assert_eq!(names(&pool.say(open_extended(2, 0.0, U256::MAX, 8))).len(), 1);
    let out = pool.work(&job(1, 1));
    assert_eq!(
        names(&out),
        [
            "NewMiningJob",
            "SetNewPrevHash",
            "NewExtendedMiningJob",
            "SetNewPrevHash"
        ]
    );
    // From then on the group is enough.
    assert_eq!(names(&pool.work(&job(1, 2))), ["NewExtendedMiningJob"]);
}

/// REQ-MIN-007, REQ-MIN-008, REQ-MIN-010, REQ-MIN-002, REQ-MIN-099
#[test]
fn ids_and_prefixes_are_unique_and_groups_have_one_full_size() {
    let mut pool = Pool::new(0);
    pool.work(&job(1, 1));
    for n in 0..60u16 {
        let message = open_extended(n.into(), 0.0, U256::MAX, n % 26);
        pool.say(message);
        pool.say(open_standard(1_000 + u32::from(n), 0.0, U256::MAX));
    }
    let views = &pool.device.channels;
    assert_eq!(views.len(), 120);
    let groups: HashSet<u32> = views.values().map(|view| view.group).collect();
    assert!(groups.iter().all(|group| !views.contains_key(group)));
    for group in groups {
        let sizes: HashSet<usize> = views
            .values()
            .filter(|view| view.group == group)
            .map(|view| view.prefix.len() + view.rolled)
            .collect();
        assert_eq!(sizes.len(), 1);
        assert!(sizes.iter().all(|size| (15..=32).contains(size)));
    }
    let prefixes: HashSet<&[u8]> = views.values().map(|view| &view.prefix[..PREFIX_BYTES]).collect();
    assert_eq!(prefixes.len(), 120, "prefix-free");
}

/// REQ-MIN-027: up to 25 bytes to roll, and work on all of them.
#[test]
fn every_extranonce_size_that_fits_is_given_and_mined() {
    let mut pool = Pool::new(0);
    pool.work(&job(1, 1));
    for min in 0..=25 {
        let id = id_of(&pool.say(open_extended(1, 0.0, U256::MAX, min)));
        let view = &pool.device.channels[&id];
        assert!(view.rolled >= min.into() && view.rolled + view.prefix.len() <= 32);
        pool.submit(id, pool.device.active(id)).unwrap();
    }
    for min in [26, 32, 33, u16::MAX] {
        let out = pool.say(open_extended(9, 0.0, U256::MAX, min));
        assert_eq!(refusal_of(&out), (9, "min-extranonce-size-too-large".into()));
    }
}

/// REQ-MIN-011, REQ-MIN-018, REQ-MIN-023, REQ-MIN-026
#[test]
fn what_cannot_be_opened_is_refused_with_its_request_id() {
    let mut hard = U256([0; 32]);
    hard.0[20] = 1;
    let nobody = adit_wire::Str0_255::new(&[0xff, 0xfe]).unwrap();
    let mut header_only = Pool::new(REQUIRES_STANDARD_JOBS);
    let out = header_only.say(open_extended(1, 0.0, U256::MAX, 8));
    assert_eq!(
        refusal_of(&out),
        (1, "extended-channels-not-supported-for-standard-jobs".into())
    );
    let mut pool = Pool::new(0);
    for max_target in [U256([0; 32]), hard] {
        let out = pool.say(open_standard(3, 0.0, max_target));
        assert_eq!(refusal_of(&out), (3, "max-target-out-of-range".into()));
    }
    for rate in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0] {
        let out = pool.say(open_standard(4, rate, U256::MAX));
        assert_eq!(refusal_of(&out), (4, "invalid-nominal-hashrate".into()));
    }
    let out = pool.say(OpenStandardMiningChannel {
        user_identity: nobody,
        ..open_standard(5, 0.0, U256::MAX)
    });
    assert_eq!(refusal_of(&out), (5, "invalid-user-identity".into()));
    let mut extended_only = Pool::new(0);
    extended_only.server = server(settings(), 0, REQUIRES_EXTENDED_CHANNELS);
    let out = extended_only.say(open_standard(6, 0.0, U256::MAX));
    assert_eq!(refusal_of(&out), (6, "standard-channels-not-supported".into()));
    assert_eq!(pool.server.channel_count(), 0);
}

#[test]
fn channels_are_bounded_and_a_draining_pool_opens_none() {
    let mut pool = Pool::with(
        Settings {
            channels_max: 3,
            ..settings()
        },
        0,
    );
    let first = pool.standard();
    pool.standard();
    pool.extended();
    let out = pool.say(open_standard(4, 0.0, U256::MAX));
    assert_eq!(refusal_of(&out), (4, "too-many-channels".into()));
    pool.say(CloseChannel {
        channel_id: first,
        reason_code: text("done"),
    });
    pool.standard();
    pool.give(Input::Drain);
    assert_eq!(
        refusal_of(&pool.say(open_standard(5, 0.0, U256::MAX))).1,
        "not-ready"
    );
}

/// Opening and closing for ever ends with an answer, not with a prefix given twice.
#[test]
fn extranonce_numbers_run_out_with_a_refusal_and_come_back_when_old_work_is_stale() {
    let mut pool = Pool::new(0);
    pool.work(&job(1, 1));
    let mut out = Vec::new();
    for _ in 0..1u32 << 16 {
        out.clear();
        let open = Input::Message(open_extended(1, 0.0, U256::MAX, 8).into());
        pool.server.handle(pool.now, open, &mut out).unwrap();
        let channel_id = id_of(&out);
        let close = CloseChannel {
            channel_id,
            reason_code: text("done"),
        };
        pool.server
            .handle(pool.now, Input::Message(close.into()), &mut out)
            .unwrap();
    }
    assert_eq!(
        refusal_of(&pool.say(open_standard(2, 0.0, U256::MAX))).1,
        "extranonce-space-exhausted"
    );
    pool.work(&job(7, 1));
    assert_eq!(
        refusal_of(&pool.say(open_standard(3, 0.0, U256::MAX))).1,
        "extranonce-space-exhausted"
    );
    pool.work(&job(8, 1));
    pool.standard();
}

/// REQ-MIN-034, REQ-MIN-035, REQ-MIN-096, REQ-MIN-098
#[test]
fn an_update_below_the_target_is_followed_by_a_harder_target_and_a_job_under_it() {
    let mut pool = Pool::new(0);
    pool.work(&job(1, 1));
    let id = pool.extended();
    let old_job = pool.device.active(id);
    assert_eq!(
        names(&pool.say(update(id, 0.0, U256::MAX))),
        [] as [&str; 0],
        "nothing to follow"
    );
    let wanted = U256(Target::from_work(50).0);
    let out = pool.say(update(id, 0.0, wanted));
    assert_eq!(names(&out), ["SetTarget", "NewExtendedMiningJob"]);
    let view = &pool.device.channels[&id];
    assert!(Target(view.target) <= Target(wanted.0));
    let new_job = pool.device.active(id);
    assert_ne!(new_job, old_job);
    assert_eq!(
        pool.submit(id, old_job).unwrap().work,
        4,
        "the old job keeps its target"
    );
    assert_eq!(pool.submit(id, new_job).unwrap().work, 50);
}

/// REQ-MIN-036, REQ-MIN-105
#[test]
fn a_bad_update_is_answered_and_changes_nothing() {
    let mut pool = Pool::new(0);
    pool.work(&job(1, 1));
    let id = pool.standard();
    let group = pool.device.channels[&id].group;
    for (message, expected) in [
        (update(999, 0.0, U256::MAX), "invalid-channel-id"),
        (update(group, 0.0, U256::MAX), "invalid-channel-id"),
        (update(id, 0.0, U256([0; 32])), "max-target-out-of-range"),
        (update(id, f32::NAN, U256::MAX), "invalid-nominal-hashrate"),
    ] {
        let sent = sent(&pool.say(message));
        let [ToClient::UpdateChannelError(error)] = &sent[..] else {
            panic!("{sent:?}")
        };
        assert_eq!(error.error_code.as_str(), Some(expected));
    }
    let active = pool.device.active(id);
    assert_eq!(pool.submit(id, active).unwrap().work, 4);
}

/// REQ-MIN-037, REQ-MIN-042
#[test]
fn a_closed_channel_is_silent_and_a_group_closes_with_all_its_channels() {
    let mut pool = Pool::new(0);
    pool.work(&job(1, 1));
    let (a, b, c) = (pool.standard(), pool.standard(), pool.extended());
    let other = id_of(&pool.say(open_extended(1, 0.0, U256::MAX, 16)));
    let solved = pool.submit(a, pool.device.active(a)).unwrap();
    let out = pool.say(CloseChannel {
        channel_id: a,
        reason_code: text("done"),
    });
    assert_eq!(events(&out), [Event::Closed { channel_id: a }]);
    assert_eq!(names(&out), [] as [&str; 0]);
    assert_eq!(
        names(&pool.give(Input::Committed {
            through: solved.index
        })),
        [] as [&str; 0]
    );
    let group = pool.device.channels[&b].group;
    assert_eq!(group, pool.device.channels[&c].group);
    pool.say(CloseChannel {
        channel_id: group,
        reason_code: text("done"),
    });
    assert_eq!(pool.server.channel_count(), 1);
    pool.device.channels.retain(|id, _| *id == other);
    for message in sent(&pool.work(&job(2, 1))) {
        let (ToClient::NewExtendedMiningJob(NewExtendedMiningJob { channel_id, .. })
        | ToClient::SetNewPrevHash(SetNewPrevHash { channel_id, .. })) = message
        else {
            panic!("{message:?}")
        };
        assert_eq!(channel_id, other);
    }
    assert!(
        pool.say(CloseChannel {
            channel_id: 4_321,
            reason_code: text("?")
        })
        .is_empty()
    );
}

/// REQ-MIN-038
#[test]
fn the_pool_may_close_channels_too() {
    let mut pool = Pool::new(0);
    pool.work(&job(1, 1));
    let (a, b) = (pool.standard(), pool.extended());
    let out = pool.give(Input::CloseChannel {
        channel_id: a,
        reason: refusal::CloseChannel::Idle,
    });
    assert_eq!(names(&out), ["CloseChannel"]);
    assert!(
        pool.give(Input::CloseChannel {
            channel_id: a,
            reason: refusal::CloseChannel::Idle
        })
        .is_empty()
    );
    let share = pool.submit(b, pool.device.active(b)).unwrap();
    pool.give(Input::Committed { through: share.index });
    let out = pool.give(Input::Close {
        reason: refusal::CloseChannel::ShuttingDown,
    });
    assert_eq!(names(&out), ["CloseChannel"]);
    assert_eq!(pool.server.channel_count(), 0);
}

/// REQ-MIN-020
#[test]
fn a_connection_without_channels_ends_after_a_while() {
    let mut pool = Pool::new(0);
    let limit = Duration::from_millis(settings().no_channel_timeout_ms.into());
    assert_eq!(pool.server.deadline(), Some(START + limit));
    let id = pool.standard();
    assert_eq!(pool.server.deadline(), None);
    pool.now = START + limit * 10;
    pool.say(CloseChannel {
        channel_id: id,
        reason_code: text("done"),
    });
    assert_eq!(pool.server.deadline(), Some(pool.now + limit));
    assert!(pool.try_give(Input::Deadline).is_ok(), "too early");
    pool.now = pool.now + limit;
    assert!(matches!(pool.try_give(Input::Deadline), Err(Fault::Expired(_))));
}

/// REQ-MIN-088 (refused until job declaration is here), REQ-MIN-105
#[test]
fn custom_jobs_are_refused_with_their_ids() {
    let mut pool = Pool::new(0);
    let out = pool.say(SetCustomMiningJob {
        channel_id: 3,
        request_id: 8,
        mining_job_token: B0_255::new(&[1]).unwrap(),
        version: 0,
        prev_hash: U256([0; 32]),
        min_ntime: 0,
        nbits: 0,
        coinbase_tx_version: 2,
        coinbase_prefix: B0_255::default(),
        coinbase_tx_input_n_sequence: 0,
        coinbase_tx_outputs: B0_64K::default(),
        coinbase_tx_locktime: 0,
        merkle_path: Seq0_255::empty(),
    });
    let sent = sent(&out);
    let [ToClient::SetCustomMiningJobError(error)] = &sent[..] else {
        panic!("{sent:?}")
    };
    assert_eq!((error.channel_id, error.request_id), (3, 8));
    assert_eq!(error.error_code.as_str(), Some("jd-not-supported"));
}

fn update(channel_id: u32, nominal_hash_rate: f32, maximum_target: U256) -> UpdateChannel {
    UpdateChannel {
        channel_id,
        nominal_hash_rate,
        maximum_target,
    }
}

fn refusal_of(out: &[adit_proto::mining::server::Output]) -> (u32, String) {
    let sent = sent(out);
    let [ToClient::OpenMiningChannelError(error)] = &sent[..] else {
        panic!("{sent:?}")
    };
    (
        error.request_id,
        error.error_code.as_str().unwrap_or("no text").to_owned(),
    )
}
