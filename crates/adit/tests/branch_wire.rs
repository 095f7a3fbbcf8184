//! A pool below an upstream, over real sockets: miners keep their sockets whatever happens above them.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

#[path = "support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use adit::pool::branch::{Assigned, Branch, Mined, Orders};
use adit_proto::coinbase::{Coinbase, Halves};
use adit_proto::extranonce::{FullSize, Layout};
use adit_proto::job::Fields;
use bitcoin::hashes::{Hash, sha256d};
use bitcoin::{Amount, ScriptBuf, TxOut};
use support::miner::{How, Miner};
use support::{House, SOON};
use tokio::sync::{mpsc, watch};

/// Bytes that every upstream here leaves.
const LEFT: usize = 8;

/// A job as an upstream with this extranonce prefix gives it.
fn job(prefix_of_upstream: &[u8], tip: u8, template: u64) -> Orders {
    let own = Coinbase {
        version: 2,
        script_prefix: vec![3, 1, 2, 3],
        tag: b"upstream".to_vec(),
        start_epoch: 0,
        sequence: 0xffff_ffff,
        value: 50,
        outputs: vec![TxOut {
            value: Amount::from_sat(50),
            script_pubkey: ScriptBuf::from_bytes(vec![0x51]),
        }],
        required_outputs: Vec::new(),
        locktime: 0,
        witness: None,
    };
    let mut prefix = own.prefix(FullSize::DEFAULT);
    let script = prefix.get_mut(41).unwrap();
    *script = *script - 15 + u8::try_from(prefix_of_upstream.len() + LEFT).unwrap();
    prefix.extend_from_slice(prefix_of_upstream);
    let halves = Halves {
        prefix,
        suffix: own.suffix(),
        size: LEFT,
        value: 50,
        witness: None,
    };
    let fields = Fields {
        tip: 0,
        template,
        version: 0x2000_0000,
        version_rolling_allowed: true,
        prev_hash: [tip; 32],
        // Nobody here finds a block of it.
        nbits: 0x1d00_ffff,
        header_timestamp: 1_700_000_000,
        min_ntime: 1_700_000_000,
        merkle_path: vec![[7; 32], [8; 32]],
        coinbase: halves.into(),
        share_work_max: None,
        block_target: None,
        publish: false,
    };
    Orders::Job(Assigned::new(Arc::new(fields), 1_000 + u32::from(tip)))
}

/// The hash of the header that an upstream would make of a share.
fn hash_above(mined: &Mined) -> [u8; 32] {
    let (fields, share) = (mined.with.job.fields(), &mined.share);
    let (prefix, suffix) = (
        fields.coinbase.prefix(FullSize::DEFAULT),
        fields.coinbase.suffix(),
    );
    let coinbase = [&prefix, mined.with.extranonce.as_bytes(), &suffix].concat();
    let mut root = sha256d::Hash::hash(&coinbase).to_byte_array();
    for branch in &fields.merkle_path {
        root = sha256d::Hash::hash(&[root, *branch].concat()).to_byte_array();
    }
    let header = [
        &share.version.to_le_bytes()[..],
        &fields.prev_hash,
        &root,
        &share.ntime.to_le_bytes(),
        &fields.nbits.to_le_bytes(),
        &share.nonce.to_le_bytes(),
    ];
    sha256d::Hash::hash(&header.concat()).to_byte_array()
}

/// So many mined shares.
async fn take(mined: &mut mpsc::Receiver<Vec<Mined>>, count: usize) -> Vec<Mined> {
    let mut all = Vec::new();
    while all.len() < count {
        let more = tokio::time::timeout(SOON, mined.recv()).await.expect("in time");
        all.extend(more.expect("the pool runs"));
    }
    assert_eq!(all.len(), count);
    all
}

#[tokio::test]
async fn upstreams_come_and_go_and_no_miner_notices() {
    let (orders, work) = watch::channel(Orders::Wait);
    let (up, mut mined) = mpsc::channel(16);
    let (events, mut seen) = mpsc::channel(64);
    let branch = Branch {
        layout: Layout::branch(LEFT).unwrap(),
        orders: work,
        mined: up,
        events: Some(events),
        distribution: None,
        picture: None,
    };
    let house = House::open_branch(&[], branch).await;
    orders.send_replace(job(&[0xaa; 3], 1, 1));
    let mut miners = Vec::new();
    for (how, name) in [
        (How::HeaderOnly, "header.only"),
        (How::Grouped, "in.group"),
        (How::Extended, "rolling.itself"),
    ] {
        let mut miner = Miner::start(house.pool.url(), how, name).await;
        miner.mine([1, 2]).await;
        miners.push(miner);
    }
    for share in take(&mut mined, 6).await {
        assert_eq!(hash_above(&share), share.share.hash, "{}", share.identity);
        assert!(["header.only", "in.group", "rolling.itself"].contains(&&*share.identity));
    }

    // Another upstream, with another prefix, on the same tip; and later a new tip.
    for (number, orders_now) in [(2u64, job(&[0xbb; 5], 1, 2)), (3, job(&[0xbb; 5], 2, 3))] {
        orders.send_replace(orders_now);
        for miner in &mut miners {
            miner.next_job().await;
            miner.mine([10 * u32::try_from(number).unwrap()]).await;
        }
        for share in take(&mut mined, 3).await {
            assert_eq!(share.with.job.fields().template, number);
            assert_eq!(hash_above(&share), share.share.hash, "{}", share.identity);
        }
    }

    // None is left: solo, on the own node.
    orders.send_replace(Orders::Solo);
    for miner in &mut miners {
        if miner.tip.prev_hash.0 == [2; 32] {
            miner.next_tip().await;
        }
        miner.mine([99]).await;
    }
    for share in take(&mut mined, 3).await {
        assert!(share.with.job.fields().publish, "a block of it is ours");
    }
    // And back.
    orders.send_replace(job(&[0xaa; 3], 3, 4));
    for miner in &mut miners {
        miner.next_tip().await;
        miner.mine([100]).await;
    }
    assert_eq!(take(&mut mined, 3).await.len(), 3);
    let template = async {
        while let Some(event) = seen.recv().await {
            if matches!(event, adit_node::Event::Template(_)) {
                return true;
            }
        }
        false
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(5), template)
            .await
            .unwrap()
    );
    let last = house.close().await;
    assert_eq!((last.shares.accepted, last.shares.rejected), (18, 0));
}
