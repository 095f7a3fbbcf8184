//! Every reason to refuse a share, and that nothing else is one.

mod pool;

use adit_proto::mining::server::{Event, Input, Ledger, Settings};
use adit_proto::target::Target;
use adit_proto::{Fault, Time};
use adit_wire::B0_32;
use adit_wire::mining::*;
use adit_wire::refusal::SubmitShares as Refusal;
use core::time::Duration;
use pool::*;

fn two_channels() -> (Pool, u32, u32) {
    let mut pool = Pool::new(0);
    pool.work(&job(1, 1));
    let (standard, extended) = (pool.standard(), pool.extended());
    (pool, standard, extended)
}

fn standard_of(share: ToServer) -> SubmitSharesStandard {
    let ToServer::SubmitSharesStandard(share) = share else {
        panic!("{share:?}")
    };
    share
}

fn extended_of(share: ToServer) -> SubmitSharesExtended {
    let ToServer::SubmitSharesExtended(share) = share else {
        panic!("{share:?}")
    };
    share
}

/// A good share without the pool having seen it.
fn solved(pool: &mut Pool, id: u32) -> ToServer {
    let job = pool.device.active(id);
    pool.device.solve(id, job, 0)
}

/// REQ-MIN-066, REQ-MIN-064
#[test]
fn a_share_is_credited_once_whatever_job_names_it() {
    let (mut pool, standard, extended) = two_channels();
    for id in [standard, extended] {
        let share = solved(&mut pool, id);
        assert!(pool.offer(share.clone()).is_ok());
        for _ in 0..3 {
            assert_eq!(pool.offer(share.clone()), code(Refusal::DuplicateShare));
        }
    }
    // The same work under another job id: the job sent again with a new target.
    let share = extended_of(solved(&mut pool, extended));
    assert!(pool.offer(share.clone().into()).is_ok());
    let update = UpdateChannel {
        channel_id: extended,
        nominal_hash_rate: 0.0,
        maximum_target: hard(5),
    };
    pool.say(update);
    let again = SubmitSharesExtended {
        job_id: pool.device.active(extended),
        ..share.clone()
    };
    assert_ne!(again.job_id, share.job_id);
    let verdict = pool.offer(again.into());
    assert!(
        verdict == code(Refusal::DuplicateShare) || verdict == code(Refusal::DifficultyTooLow),
        "{verdict:?}"
    );
    // Nor after the tip left and came back.
    for (generation, tip) in [(2, 2), (3, 1)] {
        let mut fields = fields(tip, 1);
        fields.tip = generation;
        pool.work(&std::sync::Arc::new(adit_proto::job::Job::new(fields).unwrap()));
    }
    let job_id = pool.device.active(extended);
    let returned = SubmitSharesExtended { job_id, ..share };
    let verdict = pool.offer(returned.into());
    assert!(
        verdict == code(Refusal::DuplicateShare) || verdict == code(Refusal::DifficultyTooLow),
        "{verdict:?}"
    );
}

/// REQ-MIN-066: also a share that solves a block, and no second block for it.
#[test]
fn a_block_is_found_once() {
    let mut pool = Pool::new(0);
    pool.work(&easy_job(1, 1));
    let id = pool.standard();
    let network = Target::from_nbits(NBITS_EASY);
    let block = pool
        .device
        .search(id, pool.device.active(id), 0, |hash| network.is_met_by(hash));
    assert_eq!(pool.say(block.clone()).len(), 2);
    let out = pool.say(block);
    assert_eq!(errors(&out), ["duplicate-share"]);
    assert!(
        out.iter()
            .all(|it| !matches!(it, adit_proto::mining::server::Output::Block(_)))
    );
}

/// A device that insists on a target below the network's still finds blocks.
#[test]
fn a_block_above_the_target_of_the_share_is_found_and_credited_as_what_it_took() {
    let mut pool = Pool::new(0);
    pool.work(&easy_job(1, 1));
    let id = id_of(&pool.say(open_standard(1, 0.0, hard(1 << 20))));
    let network = Target::from_nbits(NBITS_EASY);
    let own = Target(pool.device.channels[&id].target);
    assert!(own < network);
    let block = pool.device.search(id, pool.device.active(id), 0, |hash| {
        network.is_met_by(hash) && !own.is_met_by(hash)
    });
    assert_eq!(pool.offer(block).unwrap().work, 256);
}

/// REQ-MIN-095
#[test]
fn a_hash_above_the_target_is_refused() {
    let (mut pool, standard, extended) = two_channels();
    for id in [standard, extended] {
        let target = Target(pool.device.channels[&id].target);
        let bad = pool
            .device
            .search(id, pool.device.active(id), 0, |hash| !target.is_met_by(hash));
        assert_eq!(pool.offer(bad), code(Refusal::DifficultyTooLow));
    }
}

/// REQ-MIN-058, REQ-MIN-105
#[test]
fn kinds_do_not_mix_and_strange_channels_are_named() {
    let (mut pool, standard, extended) = two_channels();
    let share = standard_of(solved(&mut pool, standard));
    let other = extended_of(solved(&mut pool, extended));
    let group = pool.device.channels[&standard].group;
    for channel_id in [0, group, 999, u32::MAX] {
        let wrong = SubmitSharesStandard {
            channel_id,
            ..share.clone()
        };
        assert_eq!(pool.offer(wrong.into()), code(Refusal::InvalidChannelId));
        let wrong = SubmitSharesExtended {
            channel_id,
            ..other.clone()
        };
        assert_eq!(pool.offer(wrong.into()), code(Refusal::InvalidChannelId));
    }
    let crossed = SubmitSharesStandard {
        channel_id: extended,
        ..share
    };
    assert_eq!(pool.offer(crossed.into()), code(Refusal::InvalidShare));
    let crossed = SubmitSharesExtended {
        channel_id: standard,
        ..other
    };
    assert_eq!(pool.offer(crossed.into()), code(Refusal::InvalidShare));
}

/// REQ-MIN-057
#[test]
fn the_extranonce_has_exactly_the_size_of_the_channel() {
    let (mut pool, _, extended) = two_channels();
    let share = extended_of(solved(&mut pool, extended));
    for length in (0..=32).filter(|length| *length != 8) {
        let extranonce = B0_32::new(&vec![0; length]).unwrap();
        let wrong = SubmitSharesExtended {
            extranonce,
            ..share.clone()
        };
        assert_eq!(
            pool.offer(wrong.into()),
            code(Refusal::BadExtranonceSize),
            "{length}"
        );
    }
    assert!(pool.offer(share.into()).is_ok());
}

/// REQ-MIN-051, REQ-MIN-052, REQ-MIN-106: each of 32 bits. So no solution that a pool hands to its template provider has
/// other bits than the template outside the mask (REQ-TDP-041).
#[test]
fn version_bits_roll_inside_the_mask_only() {
    let (mut pool, _, extended) = two_channels();
    let job = pool.device.active(extended);
    let target = Target(pool.device.channels[&extended].target);
    for bit in 0..32u32 {
        let share = extended_of(pool.device.search(extended, job, 0, |_| true));
        let version = share.version ^ (1 << bit);
        if 0x1fff_ffe0u32 & (1 << bit) == 0 {
            let wrong = SubmitSharesExtended { version, ..share };
            assert_eq!(
                pool.offer(wrong.into()),
                code(Refusal::InvalidNonRollableVersionBit),
                "bit {bit}"
            );
        } else {
            let rolled = pool
                .device
                .search(extended, job, 1 << bit, |hash| target.is_met_by(hash));
            assert_eq!(pool.offer(rolled).unwrap().version, version, "bit {bit}");
        }
    }
}

/// REQ-MIN-003, REQ-MIN-047: one job lasts: with 24 version bits and the nonce a header-only device has 2^56 headers a
/// second, 72 PH/s, and every second gives it as many more. Jobs need not come faster than templates do.
#[test]
fn a_header_only_device_never_runs_dry() {
    let (mut pool, standard, _) = two_channels();
    let job = pool.device.active(standard);
    let target = Target(pool.device.channels[&standard].target);
    let first = NTIME.max(START.unix_s() as u32);
    pool.now = START;
    for second in 0..24u32 {
        let bit = [5, 13, 28][second as usize % 3];
        let rolled = standard_of(
            pool.device
                .search(standard, job, 1 << bit, |hash| target.is_met_by(hash)),
        );
        // Header and hash change with the time: of some nonces a few meet the target.
        let found = (0..1_000).find_map(|nonce| {
            let share = SubmitSharesStandard {
                ntime: first + second,
                nonce: rolled.nonce.wrapping_add(nonce),
                ..rolled.clone()
            };
            pool.offer(share.into()).ok()
        });
        let found = found.unwrap_or_else(|| panic!("second {second}"));
        assert_eq!((found.job_id, found.ntime), (job, first + second));
        pool.now = pool.now + Duration::from_secs(1);
    }
}

/// REQ-MIN-046, REQ-MIN-047, REQ-MIN-048
#[test]
fn ntime_runs_from_the_job_to_the_limit_of_consensus() {
    let (mut pool, standard, _) = two_channels();
    pool.now = START + Duration::from_secs(100);
    let last = pool.now.unix_s() as u32 + 7_200;
    let target = Target(pool.device.channels[&standard].target);
    let job = pool.device.active(standard);
    let share = standard_of(
        pool.device
            .search(standard, job, 0, |hash| target.is_met_by(hash)),
    );
    for (ntime, allowed) in [
        (NTIME - 1, false),
        (NTIME, true),
        (NTIME + 100, true),
        (NTIME + 700, true),
        (last, true),
        (last + 1, false),
    ]
    .into_iter()
    .chain([(0, false), (u32::MAX, false)])
    {
        let verdict = pool.offer(
            SubmitSharesStandard {
                ntime,
                ..share.clone()
            }
            .into(),
        );
        let refused = verdict == code(Refusal::InvalidNtime);
        assert_eq!(refused, !allowed, "{ntime}: {verdict:?}");
    }
}

#[test]
fn a_channel_that_submits_too_fast_is_slowed_down_and_comes_back() {
    let mut pool = Pool::with(
        Settings {
            shares_per_second: 2,
            burst_s: 3,
            ..settings()
        },
        0,
    );
    pool.work(&job(1, 1));
    let (id, other) = (pool.extended(), pool.extended());
    let job = pool.device.active(id);
    let good = (0..20).filter(|_| pool.submit(id, job).is_ok()).count();
    assert_eq!(good, 7, "three seconds' worth, and the one that is due");
    assert_eq!(pool.submit(id, job), code(Refusal::RateLimited));
    assert!(pool.submit(other, job).is_ok(), "each channel for itself");
    pool.now = pool.now + Duration::from_secs(2);
    assert_eq!((0..20).filter(|_| pool.submit(id, job).is_ok()).count(), 4);
}

#[test]
fn a_peer_that_sends_nothing_but_bad_shares_is_disconnected() {
    let mut pool = Pool::with(
        Settings {
            refused_in_a_row_max: 50,
            ..settings()
        },
        0,
    );
    pool.work(&job(1, 1));
    let id = pool.standard();
    let share = standard_of(solved(&mut pool, id));
    let bad = SubmitSharesStandard {
        job_id: 77,
        ..share.clone()
    };
    for _ in 0..49 {
        assert_eq!(pool.offer(bad.clone().into()), code(Refusal::InvalidJobId));
    }
    assert!(pool.offer(share.into()).is_ok(), "one good share forgives");
    for _ in 0..49 {
        assert!(pool.try_give(Input::Message(bad.clone().into())).is_ok());
    }
    let end = pool.try_give(Input::Message(bad.into()));
    assert!(matches!(end, Err(Fault::Misbehaved(_))));
}

/// What cannot be written down cannot be credited; what was refused for that may come again.
#[test]
fn while_the_ledger_is_down_a_bounded_number_of_shares_waits() {
    let mut pool = Pool::with(
        Settings {
            pending_max: 3,
            ..settings()
        },
        0,
    );
    pool.work(&easy_job(1, 1));
    let id = pool.extended();
    pool.give(Input::Ledger(Ledger::Down));
    for _ in 0..3 {
        pool.submit(id, pool.device.active(id)).unwrap();
    }
    let share = solved(&mut pool, id);
    let out = pool.say(share.clone());
    assert_eq!(errors(&out), ["ledger-unavailable"]);
    assert!(events(&out).contains(&Event::Refused {
        channel_id: id,
        refusal: Refusal::LedgerUnavailable
    }));
    assert_eq!(
        names(&pool.work(&easy_job(1, 2))),
        ["NewExtendedMiningJob"],
        "jobs go on"
    );
    let network = Target::from_nbits(NBITS_EASY);
    let block = pool
        .device
        .search(id, pool.device.active(id), 0, |hash| network.is_met_by(hash));
    let out = pool.say(block);
    assert!(
        matches!(&out[0], adit_proto::mining::server::Output::Block(_)),
        "blocks are published"
    );
    pool.give(Input::Ledger(Ledger::Up));
    assert_eq!(
        names(&pool.give(Input::Committed { through: 3 })),
        ["SubmitShares.Success"]
    );
    assert!(pool.offer(share).is_ok());
}

#[test]
fn a_full_memory_of_hashes_refuses() {
    let mut pool = Pool::with(
        Settings {
            seen_max: 2,
            ..settings()
        },
        0,
    );
    pool.work(&job(1, 1));
    let id = pool.extended();
    let first = solved(&mut pool, id);
    assert!(pool.offer(first.clone()).is_ok());
    assert!(pool.submit(id, pool.device.active(id)).is_ok());
    assert_eq!(
        pool.submit(id, pool.device.active(id)),
        code(Refusal::RateLimited)
    );
    assert_eq!(pool.offer(first), code(Refusal::DuplicateShare));
}

/// The clock may say anything.
#[test]
fn extreme_clocks_do_not_panic() {
    let (mut pool, standard, extended) = two_channels();
    for now in [Time(0), Time(u64::MAX)] {
        pool.now = now;
        for id in [standard, extended] {
            let share = solved(&mut pool, id);
            let _ = pool.offer(share);
        }
        let _ = pool.server.deadline();
        let _ = pool.try_give(Input::Deadline);
    }
    assert_eq!(pool.server.channel_count(), 2);
}

fn hard(work: u64) -> adit_wire::U256 {
    adit_wire::U256(Target::from_work(work).0)
}
