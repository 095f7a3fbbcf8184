//! One message for many channels (spec 5.2.3, 5.3.22).

mod miner;

use adit_proto::Fault;
use adit_proto::mining::client::{Root, Work};
use adit_wire::Seq0_64K;
use adit_wire::mining::{SetGroupChannel, SetTarget};
use miner::*;

fn group(group_channel_id: u32, channel_ids: &[u32]) -> SetGroupChannel {
    SetGroupChannel {
        group_channel_id,
        channel_ids: Seq0_64K::new(channel_ids.to_vec()).expect("few"),
    }
}

/// Two standard channels and an extended one in group 100.
fn three() -> Miner {
    let mut miner = Miner::new(settings());
    miner.open_standard(1, 100);
    miner.open_standard(2, 100);
    miner.open_extended(3, 100);
    miner
}

fn channels(work: &[Work]) -> Vec<u32> {
    work.iter().map(|work| work.channel).collect()
}

/// REQ-MIN-073, REQ-MIN-074, REQ-MIN-081: a group job has a root of its own for every standard member.
#[test]
fn one_job_and_one_previous_block_for_all() {
    let mut miner = three();
    miner.hear(extended_job(100, 5, None));
    let work = miner.work(prev_hash(100, 5, 0xaa));
    assert_eq!(channels(&work), [1, 2, 3]);
    let full = |prefix: &[u8], rolled: &[u8]| [prefix, rolled].concat();
    assert_eq!(
        full(&[3; 7], &[9; 8]).len(),
        15,
        "all members have one full size (REQ-MIN-010)"
    );
    let Root::Coinbase { coinbase, .. } = &work[2].root else {
        panic!("extended")
    };
    assert_eq!(work[0].root, Root::Fixed(coinbase.merkle_root(&[1; 15], &[])));
    assert_eq!(work[1].root, Root::Fixed(coinbase.merkle_root(&[2; 15], &[])));
    assert_ne!(work[0].root, work[1].root);

    let work = miner.work(extended_job(100, 6, Some(NTIME)));
    assert_eq!(channels(&work), [1, 2, 3]);
    assert!(work.iter().all(|work| work.job_id == 6 && !work.new_tip));
}

/// A channel that joins a group after the group's future job was sent still finds it.
#[test]
fn a_late_member_inherits_the_groups_future_job() {
    let mut miner = Miner::new(settings());
    miner.open_extended(1, 100);
    miner.hear(extended_job(100, 5, None));
    miner.open_extended(2, 100);
    // Its own first job and previous block, as the spec has it (REQ-MIN-028, REQ-MIN-030).
    miner.hear(extended_job(2, 4, None));
    assert_eq!(channels(&miner.work(prev_hash(2, 4, 0x99))), [2]);
    let work = miner.work(prev_hash(100, 5, 0xaa));
    assert_eq!(channels(&work), [1, 2]);
    assert!(work.iter().all(|work| work.job_id == 5));
}

/// A member without any previous block waits for its own; the others go on.
#[test]
fn a_group_job_for_now_skips_members_that_have_only_just_joined() {
    let mut miner = Miner::new(settings());
    miner.open_extended(1, 100);
    miner.hear(extended_job(1, 1, None));
    miner.hear(prev_hash(1, 1, 0xaa));
    miner.open_extended(2, 100);
    assert_eq!(channels(&miner.work(extended_job(100, 2, Some(NTIME)))), [1]);
}

/// REQ-MIN-097.
#[test]
fn a_target_for_the_group_covers_all_members() {
    let mut miner = three();
    miner.hear(extended_job(100, 5, None));
    miner.hear(SetTarget {
        channel_id: 100,
        maximum_target: target(6),
    });
    let work = miner.work(prev_hash(100, 5, 1));
    assert!(work.len() == 3 && work.iter().all(|work| work.target == target(6)));
}

/// REQ-MIN-082 for groups: nobody knows the job.
#[test]
fn a_previous_block_for_an_unknown_group_job_is_a_fault() {
    let mut miner = three();
    assert!(matches!(miner.fault(prev_hash(100, 5, 1)), Fault::Misbehaved(_)));
}

/// REQ-MIN-099, REQ-MIN-101: a regrouped channel hears its new group and no longer the old one.
#[test]
fn a_channel_leaves_its_old_group() {
    let mut miner = three();
    miner.hear(extended_job(100, 5, None));
    miner.work(prev_hash(100, 5, 1));
    assert_eq!(miner.hear(group(200, &[2, 3, 77])), []);
    assert_eq!(channels(&miner.work(extended_job(100, 6, Some(NTIME)))), [1]);
    assert_eq!(channels(&miner.work(extended_job(200, 7, Some(NTIME)))), [2, 3]);
    assert_eq!(miner.hear(group(200, &[2])), [], "said again, nothing changes");
    assert_eq!(channels(&miner.work(extended_job(200, 8, Some(NTIME)))), [2, 3]);
    assert!(
        matches!(miner.fault(group(1, &[2])), Fault::Misbehaved(_)),
        "1 is a channel"
    );
}
