//! Jobs: future, active and dropped; targets and prefixes that change in between (spec 5.3.10, 5.3.15 to 5.3.21).

mod miner;

use adit_proto::Fault;
use adit_proto::mining::client::{Event, FUTURE_JOBS_MAX, Input, Output, Root, Settings, Share};
use adit_wire::U256;
use adit_wire::common::flags;
use adit_wire::mining::{NewMiningJob, SetExtranoncePrefix, SetTarget, ToServer};
use bitcoin::hashes::{Hash, sha256d};
use miner::*;

/// REQ-MIN-069, REQ-MIN-080: a future job is kept until SetNewPrevHash names it, the others are dropped.
#[test]
fn a_future_job_waits_for_its_previous_block() {
    let mut miner = Miner::new(settings());
    miner.open_standard(1, 100);
    assert_eq!(miner.hear(job(1, 1, None)), []);
    assert_eq!(miner.hear(job(1, 2, None)), []);
    let work = miner.work(prev_hash(1, 2, 0xaa));
    let [work] = &work[..] else { panic!("{work:?}") };
    assert_eq!((work.channel, work.job_id, work.version), (1, 2, 0x2000_0000));
    assert_eq!(
        (work.prev_hash, &work.root),
        (U256([0xaa; 32]), &Root::Fixed(U256([2; 32])))
    );
    assert_eq!(
        (work.min_ntime, work.nbits, work.target),
        (NTIME, 0x207f_ffff, target(1))
    );
    assert!(work.new_tip && work.since == START);
    assert!(
        matches!(miner.fault(prev_hash(1, 1, 0xbb)), Fault::Misbehaved(_)),
        "job 1 was dropped"
    );
}

/// REQ-MIN-068: any other job is mined at once, on the last previous block, from its own min_ntime.
#[test]
fn a_job_for_now_is_mined_at_once() {
    let mut miner = Miner::mining_standard(settings());
    miner.wait(5);
    let work = miner.work(job(1, 2, Some(NTIME + 5)));
    assert_eq!(
        (work[0].job_id, work[0].prev_hash, work[0].min_ntime),
        (2, U256([0xaa; 32]), NTIME + 5)
    );
    assert!(!work[0].new_tip && work[0].since == miner.now);
    // The tip's own time is untouched: a future job starts from the min_ntime of its SetNewPrevHash.
    miner.hear(job(1, 3, None));
    let work = miner.work(prev_hash(1, 3, 0xbb));
    assert_eq!(
        (work[0].job_id, work[0].min_ntime, work[0].new_tip),
        (3, NTIME, true)
    );
}

/// REQ-MIN-082.
#[test]
fn a_previous_block_for_an_unknown_job_is_a_fault() {
    let mut miner = Miner::mining_standard(settings());
    assert!(matches!(miner.fault(prev_hash(1, 9, 0xbb)), Fault::Misbehaved(_)));
}

#[test]
fn a_job_for_now_needs_a_previous_block() {
    let mut miner = Miner::new(settings());
    miner.open_standard(1, 100);
    assert!(matches!(
        miner.fault(job(1, 1, Some(NTIME))),
        Fault::Misbehaved(_)
    ));
}

/// REQ-MIN-070, REQ-MIN-071: jobs of the wrong kind.
#[test]
fn jobs_of_the_wrong_kind_are_faults() {
    let mut miner = Miner::mining_standard(settings());
    assert!(matches!(
        miner.fault(extended_job(1, 2, None)),
        Fault::Misbehaved(_)
    ));
    let mut miner = Miner::mining_extended(settings());
    assert!(matches!(miner.fault(job(1, 2, None)), Fault::Misbehaved(_)));
}

/// Memory is bounded: the oldest future job gives way.
#[test]
fn future_jobs_are_bounded() {
    let mut miner = Miner::new(settings());
    miner.open_standard(1, 100);
    for id in 0..=FUTURE_JOBS_MAX as u32 {
        miner.hear(job(1, id, None));
    }
    let mut other = Miner {
        client: miner.client.clone(),
        now: miner.now,
    };
    assert!(matches!(other.fault(prev_hash(1, 0, 1)), Fault::Misbehaved(_)));
    assert_eq!(miner.work(prev_hash(1, 1, 1)).len(), 1);
}

/// REQ-MIN-096: SetTarget is for later jobs and for future jobs that are not active yet.
#[test]
fn a_target_holds_for_what_comes_later() {
    let mut miner = Miner::mining_standard(settings());
    miner.hear(job(1, 2, None));
    let told = Event::Target {
        channel: 1,
        target: target(4),
    };
    assert_eq!(
        miner.hear(SetTarget {
            channel_id: 1,
            maximum_target: target(4)
        }),
        [Output::Event(told)],
        "it is told, and no work changes"
    );
    assert_eq!(miner.work(job(1, 3, Some(NTIME)))[0].target, target(4));
    assert_eq!(miner.work(prev_hash(1, 2, 0xbb))[0].target, target(4));
}

/// REQ-MIN-043: SetExtranoncePrefix is for jobs sent after it, not for a future job sent before.
#[test]
fn a_prefix_holds_for_jobs_sent_later() {
    let mut miner = Miner::mining_extended(settings());
    let prefix = |work: &adit_proto::mining::client::Work| match &work.root {
        Root::Coinbase {
            extranonce_prefix, ..
        } => extranonce_prefix.to_vec(),
        Root::Fixed(_) => panic!("an extended job"),
    };
    miner.hear(extended_job(1, 2, None));
    miner.hear(SetExtranoncePrefix {
        channel_id: 1,
        extranonce_prefix: bytes(&[0xee; 7]),
    });
    miner.hear(extended_job(1, 3, None));
    let mut other = Miner {
        client: miner.client.clone(),
        now: miner.now,
    };
    assert_eq!(prefix(&miner.work(prev_hash(1, 2, 1))[0]), [1; 7]);
    assert_eq!(prefix(&other.work(prev_hash(1, 3, 1))[0]), [0xee; 7]);
    assert_eq!(prefix(&miner.work(extended_job(1, 4, Some(NTIME)))[0]), [0xee; 7]);
    let long = SetExtranoncePrefix {
        channel_id: 1,
        extranonce_prefix: bytes(&[0; 25]),
    };
    assert!(matches!(miner.fault(long), Fault::Misbehaved(_)));
}

/// REQ-MIN-076, REQ-MIN-079: the root is that of the coinbase with prefix and rolled extranonce.
#[test]
fn extended_work_gives_a_root_for_every_extranonce() {
    let mut miner = Miner::mining_extended(settings());
    let work = miner.work(extended_job(1, 2, Some(NTIME)));
    assert_eq!(
        (work[0].extranonce_size(), work[0].version_mask),
        (8, 0x1fff_e000)
    );
    let coinbase = [&[2; 60][..], &[1; 7], &[6; 8], &[2; 90]].concat();
    let txid = sha256d::Hash::hash(&coinbase).to_byte_array();
    let root = sha256d::Hash::hash(&[txid, [5; 32]].concat()).to_byte_array();
    assert_eq!(work[0].merkle_root(&[6; 8]), U256(root));
}

/// REQ-MIN-017, REQ-MIN-052, REQ-MIN-054: which version bits may be rolled.
#[test]
fn version_bits_are_rolled_only_where_allowed() {
    let mut miner = Miner::mining_extended(settings());
    let fixed = adit_wire::mining::NewExtendedMiningJob {
        version_rolling_allowed: false,
        ..extended_job(1, 2, Some(NTIME))
    };
    assert_eq!(miner.work(fixed)[0].version_mask, 0);
    assert_eq!(
        miner.work(extended_job(1, 3, Some(NTIME)))[0].version_mask,
        0x1fff_e000
    );

    let success_flags = flags::REQUIRES_FIXED_VERSION;
    let mut miner = Miner::mining_standard(Settings {
        success_flags,
        ..settings()
    });
    assert_eq!(miner.work(job(1, 2, Some(NTIME)))[0].version_mask, 0);
}

/// REQ-MIN-046: the largest header time grows with the clock.
#[test]
fn header_time_may_be_rolled_by_the_seconds_gone_by() {
    let mut miner = Miner::mining_standard(settings());
    let work = miner.work(job(1, 2, Some(NTIME)));
    assert_eq!(work[0].max_ntime(miner.now), NTIME);
    miner.wait(3);
    assert_eq!(work[0].max_ntime(miner.now), NTIME + 3);
}

/// Messages for channels that are not there are ignored: they may have crossed our CloseChannel.
#[test]
fn unknown_channels_are_ignored() {
    let mut miner = Miner::mining_standard(settings());
    let before = format!("{:?}", miner.client);
    let out: Vec<Output> = [
        miner.hear(job(9, 2, Some(NTIME))),
        miner.hear(extended_job(9, 2, None)),
        miner.hear(prev_hash(9, 2, 1)),
        miner.hear(SetTarget {
            channel_id: 9,
            maximum_target: U256::MAX,
        }),
        miner.hear(SetExtranoncePrefix {
            channel_id: 9,
            extranonce_prefix: bytes(&[1]),
        }),
    ]
    .concat();
    assert_eq!(out, []);
    assert_eq!(format!("{:?}", miner.client), before);
}

/// REQ-MIN-053: whatever stands in the bits that may be rolled, each of them may be set or not.
#[test]
fn bits_that_may_be_rolled_have_no_value_of_their_own() {
    for version in [u32::MAX, 0x2000_0000, 0x2aaa_a000] {
        let mut miner = Miner::mining_standard(settings());
        let job = NewMiningJob {
            version,
            ..job(1, 2, Some(NTIME))
        };
        let mask = miner.work(job)[0].version_mask;
        for rolled in [0, mask, 0x0555_4000 & mask] {
            let version = (version & !mask) | rolled;
            let out = miner.well(Input::Share(Share {
                version,
                ..share(2, &[])
            }));
            let [Output::Send(ToServer::SubmitSharesStandard(sent))] = &out[..] else {
                panic!("{out:?}")
            };
            assert_eq!(sent.version, version, "sent as it was hashed");
        }
    }
}
