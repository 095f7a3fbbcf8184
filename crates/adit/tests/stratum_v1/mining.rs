//! Mining: shares in the ledger, a block in the chain, and both generations of devices on one port.

use serde_json::json;

use super::device;
use super::support::lines::{Lines, Rig};
use super::support::miner::{How, Miner};
use super::support::{House, records, shares};

/// A device that hashes for real, version rolling included: no share is bad, and blocks are found: two dozen shares take a
/// dozen blocks' work. The ledger knows account and worker.
#[tokio::test]
async fn a_device_finds_shares_and_a_block() {
    let house = House::open(&[("shares.work_min", "16384")]).await;
    let url = house.pool.url();
    let address = format!("{}:{}", url.host, url.port);
    let tally = tokio::task::spawn_blocking(move || device::mine(&address, "alice.rig1", 24));
    let tally = tally.await.unwrap();
    // A share that was under way when a block was found is stale, and nothing else is wrong with any.
    assert!(
        tally.refused.iter().all(|error| error[0] == 21),
        "{:?}",
        tally.refused
    );
    let seen = house.picture("a block", |now| now.blocks.accepted > 0).await;
    // It may have left already.
    assert_eq!((seen.connections.accepted, seen.connections.faulted), (1, 0));
    let records = records(house.data.path());
    let share = records.iter().find(|record| record["kind"] == "share").unwrap();
    assert_eq!(
        (&share["name"], &share["worker"]),
        (&json!("alice"), &json!("alice.rig1")),
        "{share}"
    );
    house.close().await;
}

/// Devices of both generations beside each other: each share once, under its own name.
#[tokio::test]
async fn both_generations_mine_on_one_port() {
    let house = House::open(&[]).await;
    let url = house.pool.url().clone();
    let mut old = Rig::start(&url, "old").await;
    let mut named = Rig::start(&url, "farm.shed7").await;
    let mut new = Miner::start(&url, How::Extended, "new").await;
    let mut header_only = Miner::start(&url, How::HeaderOnly, "small").await;
    for round in 0..5 {
        let nonces = round * 40..(round + 1) * 40;
        tokio::join!(
            old.mine(nonces.clone()),
            named.mine(nonces.clone()),
            new.mine(nonces.clone()),
            header_only.mine(nonces)
        );
    }
    let last = house
        .picture("all shares", |now| now.shares.accepted == 800)
        .await;
    assert_eq!(last.shares.rejected, 0);
    let found = shares(house.data.path());
    for name in ["old", "farm", "new", "small"] {
        assert_eq!(
            found.iter().filter(|(known, _)| known == name).count(),
            200,
            "{name}"
        );
    }
    house.close().await;
}

/// A new tip reaches lines as it reaches frames, as a clean job; shares of the old one are stale.
#[tokio::test]
async fn a_new_tip_is_a_clean_job() {
    let house = House::open(&[("node", "embedded:1")]).await;
    let mut rig = Rig::start(house.pool.url(), "old").await;
    let (job, tip) = (rig.job[0].clone(), rig.job[1].clone());
    // Every other hash is a block.
    rig.submit(0..20).await;
    while rig.job[1] == tip {
        assert!(rig.hear().await);
    }
    assert_eq!(rig.job[8], true);
    assert_ne!(rig.job[0], job);
    while !rig.waiting.is_empty() {
        assert!(rig.hear().await);
    }
    rig.job[0] = job;
    rig.submit(100..101).await;
    while !rig.waiting.is_empty() {
        assert!(rig.hear().await);
    }
    assert_eq!(rig.refused.last().unwrap()[0], 21, "{:?}", rig.refused);
    house.close().await;
}

/// What a wish for a difficulty becomes: a power of two not below the pool's floor.
#[tokio::test]
async fn wishes_are_honoured_above_the_floor() {
    let house = House::open(&[("node", "embedded:60"), ("shares.work_min", "65536")]).await;
    for (password, expected) in [
        ("d=1024", 1024.0),
        ("x,diff=900", 1024.0),
        ("d=0.000000001", 0.000_015_258_789_062_5),
    ] {
        let mut lines = Lines::connect(house.pool.url()).await;
        lines.ask("mining.subscribe", json!([])).await;
        lines.ask("mining.authorize", json!(["alice", password])).await;
        let told = lines.hear().await.unwrap();
        assert_eq!(told["method"], "mining.set_difficulty");
        assert_eq!(told["params"][0].as_f64(), Some(expected), "{password}");
    }
    house.close().await;
}
