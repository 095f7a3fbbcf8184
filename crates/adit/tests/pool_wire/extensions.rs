//! Extensions on the wire: negotiated, required, ignored; and workers behind a channel, down to the ledger.

use std::collections::BTreeMap;

use adit_wire::Seq0_64K;
use adit_wire::common::ChannelEndpointChanged;
use adit_wire::message::Message;
use adit_wire::negotiation::{RequestExtensions, ToClient};
use serde_json::Value;

use super::support::miner::{How, Miner, ask};
use super::support::peer::{Heard, Peer};
use super::support::{House, records};

fn request(request_id: u16, ids: &[u16]) -> RequestExtensions {
    RequestExtensions {
        request_id,
        requested_extensions: Seq0_64K::new(ids.to_vec()).unwrap(),
    }
}

/// What the pool answers: granted, or unsupported and required.
async fn negotiate(peer: &mut Peer, ids: &[u16]) -> Result<Vec<u16>, (Vec<u16>, Vec<u16>)> {
    peer.say(&request(5, ids)).await;
    match peer.hear().await {
        Heard::Extension(ToClient::RequestExtensionsSuccess(it)) => {
            assert_eq!(it.request_id, 5);
            Ok(it.supported_extensions.into_inner())
        }
        Heard::Extension(ToClient::RequestExtensionsError(it)) => {
            assert_eq!(it.request_id, 5);
            Err((
                it.unsupported_extensions.into_inner(),
                it.required_extensions.into_inner(),
            ))
        }
        other => panic!("expected an answer of extension 0x0001, heard {other:?}"),
    }
}

/// A `user_identity` as it stands behind a share.
fn identity(worker: &[u8]) -> Vec<u8> {
    let length = u16::try_from(worker.len()).unwrap();
    [&[2, 0, 1], &length.to_le_bytes()[..], worker].concat()
}

/// Shares in the ledger by the name of their worker.
fn by_worker(data: &std::path::Path) -> BTreeMap<String, usize> {
    let mut sums = BTreeMap::new();
    for record in records(data).iter().filter(|record| record["kind"] == "share") {
        assert_eq!(record["name"], "farm", "the account is paid, whoever works");
        let worker = record["worker"].as_str().unwrap_or("nobody");
        *sums.entry(worker.to_owned()).or_default() += 1;
    }
    sums
}

/// REQ-EXT-010, REQ-EXT-012, REQ-EXT-021, REQ-EXT-025, REQ-EXT-026, REQ-EXT-037: an aggregated channel whose shares name
/// their workers, before, while and after the extension is in use.
#[tokio::test]
async fn the_ledger_knows_the_workers_behind_a_channel() {
    let house = House::open(&[]).await;
    let mut peer = Peer::join(house.pool.url(), 0).await;
    assert_eq!(negotiate(&mut peer, &[0x4001]).await, Err((vec![0x4001], vec![])));
    let mut miner = Miner::open(peer, How::Extended, "farm").await;
    // Not in use: whatever follows a share is ignored, well formed or not.
    miner.trailer = identity(b"rig1");
    miner.mine(0..3).await;
    miner.trailer = b"garbage".to_vec();
    miner.mine(3..5).await;

    assert_eq!(negotiate(&mut miner.peer, &[2, 3]).await, Ok(vec![2]));
    for (worker, nonces) in [
        (&b"rig1"[..], 10..15),
        (b"rig2", 20..27),
        (b"rig1", 30..31),
        (b"", 40..42),
    ] {
        miner.trailer = identity(worker);
        miner.mine(nonces).await;
    }
    // Fields of others are skipped, in any order.
    miner.trailer = [&[9, 0, 1, 1, 0, 7][..], &identity(b"rig1")].concat();
    miner.mine(50..51).await;
    miner.trailer.clear();
    miner.mine(60..61).await;

    let status = house
        .picture("the workers are shown", |now| {
            now.workers
                .iter()
                .any(|worker| worker.name == "farm.rig2" && worker.accepted == 7)
        })
        .await;
    let farm = status
        .workers
        .iter()
        .find(|worker| worker.name == "farm")
        .unwrap();
    assert_eq!((farm.accepted, farm.channels), (22, 1), "the account has the sum");
    let data = house.data.path().to_owned();
    let House { data: _folder, pool } = house;
    drop(miner);
    pool.stop().await.unwrap();
    let expected = [("farm.rig1", 7), ("farm.rig2", 7), ("nobody", 8)];
    assert_eq!(
        by_worker(&data),
        expected.map(|(name, count)| (name.to_owned(), count)).into()
    );
    let named: Vec<Value> = records(&data)
        .into_iter()
        .filter(|record| record["kind"] == "worker")
        .collect();
    assert_eq!(named.len(), 2, "a name is written once: {named:?}");
    let top = adit_ledger::verify::top(&data, 10, 10).unwrap();
    let workers: Vec<_> = top[0]
        .workers
        .iter()
        .map(|line| (line.name.clone(), line.sums.shares))
        .collect();
    assert_eq!((top.len(), top[0].sums.shares), (1, 22));
    assert!(
        workers
            .iter()
            .all(|(name, shares)| name.is_some() && *shares == 7)
    );
}

/// REQ-EXT-019: a name that is too long or no text refuses the message it stands behind, and nothing else.
#[tokio::test]
async fn a_share_with_a_malformed_name_is_refused() {
    let house = House::open(&[]).await;
    let mut peer = Peer::join(house.pool.url(), 0).await;
    assert_eq!(negotiate(&mut peer, &[2]).await, Ok(vec![2]));
    let mut miner = Miner::open(peer, How::Extended, "farm").await;
    let bad = [
        identity(&[b'w'; 33]),
        identity(b"\xff\xfe"),
        identity(b"rig1")[..7].to_vec(),
        [identity(b"a"), identity(b"b")].concat(),
    ];
    for (nonce, trailer) in (0..).zip(bad) {
        miner.trailer = trailer;
        miner.submit([nonce]).await;
        miner.settle().await;
        assert_eq!(
            miner.refused.last(),
            Some(&(nonce, "invalid-user-identity".to_owned()))
        );
    }
    miner.trailer = identity(&[b'w'; 32]);
    miner.mine(0..4).await;
    assert_eq!(house.close().await.shares.rejected, 4);
}

/// REQ-EXT-027, REQ-EXT-029: what is required is named, and who goes on without it is left.
#[tokio::test]
async fn a_pool_that_requires_an_extension_insists_on_it() {
    let house = House::open(&[("extensions.required", "0x0002")]).await;
    let mut deaf = Peer::join(house.pool.url(), 0).await;
    ask(&mut deaf, How::Extended, "deaf", 1).await;
    assert_eq!(deaf.hear_all().await, []);
    let mut stubborn = Peer::join(house.pool.url(), 0).await;
    assert_eq!(negotiate(&mut stubborn, &[3]).await, Err((vec![3], vec![2])));
    ask(&mut stubborn, How::Extended, "stubborn", 1).await;
    assert_eq!(stubborn.hear_all().await, []);
    let mut polite = Peer::join(house.pool.url(), 0).await;
    assert_eq!(negotiate(&mut polite, &[3]).await, Err((vec![3], vec![2])));
    assert_eq!(negotiate(&mut polite, &[2]).await, Ok(vec![2]));
    let mut miner = Miner::open(polite, How::Extended, "farm").await;
    miner.trailer = identity(b"rig1");
    miner.mine(0..3).await;
    house.close().await;
}

/// C-39: ChannelEndpointChanged from below ends what was agreed on; shares are taken all the same, and it can be
/// negotiated again.
#[tokio::test]
async fn a_changed_endpoint_below_is_negotiated_with_again() {
    let house = House::open(&[]).await;
    let mut peer = Peer::join(house.pool.url(), 0).await;
    assert_eq!(negotiate(&mut peer, &[2]).await, Ok(vec![2]));
    let mut miner = Miner::open(peer, How::Extended, "farm").await;
    miner.trailer = identity(b"rig1");
    miner.mine(0..1).await;
    let mut frame = Vec::new();
    ChannelEndpointChanged {
        channel_id: miner.channel_id,
    }
    .encode_frame(&mut frame);
    miner.peer.say_frames(&frame).await;
    miner.mine(1..3).await;
    assert_eq!(negotiate(&mut miner.peer, &[2]).await, Ok(vec![2]));
    miner.mine(3..6).await;
    let data = house.data.path().to_owned();
    let House { data: _folder, pool } = house;
    pool.stop().await.unwrap();
    let expected = [("farm.rig1", 4), ("nobody", 2)];
    assert_eq!(
        by_worker(&data),
        expected.map(|(name, count)| (name.to_owned(), count)).into()
    );
}
