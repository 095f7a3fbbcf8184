//! Channels below an upstream: what it leaves to roll is shared out, and jobs are made of its halves.

mod pool;

use std::sync::Arc;

use adit_proto::coinbase::Halves;
use adit_proto::extranonce::{FullSize, Layout, Space};
use adit_proto::job::{Fields, Job};
use adit_proto::mining::server::{Mined, Output, Server, Settings};
use adit_proto::target::Target;
use adit_wire::U256;
use adit_wire::common::flags::REQUIRES_STANDARD_JOBS;
use adit_wire::mining::ToClient;
use pool::*;

/// What the upstream put in front of the bytes that it leaves to us.
const UPSTREAM_PREFIX: [u8; 5] = [0xaa, 0xbb, 0xcc, 0xdd, 0xee];
/// What it leaves.
const LEFT: usize = 8;

/// A job of the upstream, which makes shares harder than `work` useless.
fn given(tip: u64, template: u64, work: Option<u64>) -> Arc<Job> {
    let fields = fields(tip, template);
    let mut prefix = fields.coinbase.prefix(FullSize::DEFAULT);
    // Room for the upstream's prefix and ours in place of our pool's 15 bytes.
    prefix[41] = prefix[41] - 15 + (UPSTREAM_PREFIX.len() + LEFT) as u8;
    prefix.extend_from_slice(&UPSTREAM_PREFIX);
    let halves = Halves {
        prefix,
        suffix: fields.coinbase.suffix(),
        size: LEFT,
        value: fields.coinbase.value(),
        witness: Some([0; 32]),
    };
    let fields = Fields {
        coinbase: halves.into(),
        share_work_max: work,
        block_target: None,
        publish: false,
        ..fields
    };
    Arc::new(Job::new(fields).expect("halves of a coinbase"))
}

fn branch(flags: u32) -> Pool {
    let layout = Layout::branch(LEFT).expect("room for prefixes");
    let mut space = Space::of(layout, 0, 0x01_0203..0x01_0204);
    let slot = space.lease(0).expect("a fresh slot");
    let settings = Settings {
        tell_mined: true,
        ..settings()
    };
    Pool {
        server: Server::new(START, Arc::new(settings), &established(flags, 0), slot),
        now: START,
        device: Device::default(),
    }
}

fn mined(out: &[Output]) -> Mined {
    let [mined] = &out
        .iter()
        .filter_map(|output| match output {
            Output::Mined(mined) => Some(mined.clone()),
            _ => None,
        })
        .collect::<Vec<_>>()[..]
    else {
        panic!("{out:?}")
    };
    mined.clone()
}

/// The share as the upstream would judge it: its own prefix, then all that it left to us.
fn upstream_root(job: &Job, extranonce: &[u8]) -> [u8; 32] {
    use bitcoin::hashes::{Hash, sha256d};
    let (prefix, suffix) = (
        job.fields().coinbase.prefix(FullSize::DEFAULT),
        job.fields().coinbase.suffix(),
    );
    let mut root = sha256d::Hash::hash(&[&prefix[..], extranonce, &suffix].concat()).to_byte_array();
    for branch in &job.fields().merkle_path {
        root = sha256d::Hash::hash(&[root, *branch].concat()).to_byte_array();
    }
    root
}

#[test]
fn what_the_upstream_leaves_is_shared_out() {
    for flags in [0, REQUIRES_STANDARD_JOBS] {
        let mut pool = branch(flags);
        pool.work(&given(1, 1, None));
        let mut channels = vec![pool.standard()];
        if flags == 0 {
            channels.push(pool.extended());
        }
        for (number, channel) in (0u8..).zip(channels) {
            let view = &pool.device.channels[&channel];
            assert_eq!(view.prefix[..4], [1, 2, 3, number]);
            assert_eq!(view.prefix.len() + view.rolled, LEFT);
            let active = pool.device.active(channel);
            let solved = pool.device.solve(channel, active, 0);
            let out = pool.say(solved);
            let share = *shares(&out).first().unwrap();
            let mined = mined(&out);
            assert_eq!(mined.extranonce.as_bytes()[..4], [1, 2, 3, number]);
            let root = upstream_root(&mined.job, mined.extranonce.as_bytes());
            let fields = mined.job.fields();
            let hash = header_hash(
                share.version,
                &U256(fields.prev_hash),
                &root,
                share.ntime,
                fields.nbits,
                share.nonce,
            );
            assert_eq!(hash, share.hash);
        }
    }
}

#[test]
fn nobody_gets_more_to_roll_than_there_is() {
    let mut pool = branch(0);
    pool.work(&given(1, 1, None));
    let out = pool.say(open_extended(1, 0.0, U256::MAX, 5));
    assert!(matches!(
        &sent(&out)[..],
        [ToClient::OpenMiningChannelError(error)]
            if error.error_code.as_bytes() == b"min-extranonce-size-too-large"
    ));
    let out = pool.say(open_extended(1, 0.0, U256::MAX, 4));
    assert_eq!(pool.device.channels[&id_of(&out)].rolled, 4);
}

#[test]
fn a_branch_has_as_many_channels_as_its_prefix_can_name() {
    let layout = Layout::branch(4).unwrap();
    let slot = Space::of(layout, 0, 0..1).lease(0).unwrap();
    let server = Server::new(START, Arc::new(settings()), &established(0, 0), slot);
    let mut pool = Pool {
        server,
        now: START,
        device: Device::default(),
    };
    pool.standard();
    let out = pool.say(open_standard(2, 0.0, U256::MAX));
    assert!(matches!(
        &sent(&out)[..],
        [ToClient::OpenMiningChannelError(error)]
            if error.error_code.as_bytes() == b"extranonce-space-exhausted"
    ));
}

#[test]
fn no_share_is_harder_than_the_upstream_takes() {
    let mut pool = branch(0);
    pool.work(&given(1, 1, Some(1 << 14)));
    // A claim far above all bounds.
    let out = pool.say(open_standard(1, 1e18, U256::MAX));
    let channel = id_of(&out);
    let work = |pool: &Pool| Target(pool.device.channels[&channel].target).share_work();
    assert_eq!(work(&pool), 1 << 14);
    // The upstream makes its shares easier, on the same tip.
    let past = pool.device.active(channel);
    pool.work(&given(1, 2, Some(1 << 10)));
    assert_eq!(work(&pool), 1 << 10);
    // Each share counts for what its job asked.
    let active = pool.device.active(channel);
    assert_eq!(pool.submit(channel, past).unwrap().work, 1 << 14);
    assert_eq!(pool.submit(channel, active).unwrap().work, 1 << 10);
}

#[test]
fn a_job_for_another_size_reaches_nobody() {
    let mut pool = Pool::new(0);
    pool.work(&job(1, 1));
    pool.standard();
    assert!(
        pool.work(&given(2, 2, None)).is_empty(),
        "a pool's channels have 15 bytes"
    );
}
