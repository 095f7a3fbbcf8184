//! Pools that speak Stratum V1 above.

use std::path::PathBuf;
use std::time::Duration;

use adit::uplink::{Cause, quiet};
use serde_json::json;

use crate::old_pool::OldPool;
use crate::support::lines::Rig;
use crate::support::miner::How;
use crate::support::{House, SOON, records, shares};
use crate::{Between, Patience, old, patience};

/// Miners of every kind on a pool that has not moved yet: what they find stands in its ledger, under the user's own name
/// there; and back and forth between it and one that has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_miner_works_on_an_old_pool() {
    let (first, second) = (House::open(&[]).await, House::open(&[]).await);
    let between = Between::open_with(
        &[old(&first.pool, "old.farm"), second.pool.url().to_string()],
        &[],
        patience(),
    )
    .await;
    between.state("the old one", |now| now.place == Some(0)).await;
    let mut nonces = 1u32..;
    let mut miners = Vec::new();
    for (how, name) in [(How::HeaderOnly, "a"), (How::Grouped, "b"), (How::Extended, "c")] {
        let mut miner = between.miner(how, name).await;
        miner.mine(nonces.by_ref().take(5)).await;
        miners.push(miner);
    }
    let mut rig = Rig::start_with(between.proxy.pool().url(), "d.rig", "00000001").await;
    rig.mine(100..105).await;
    let figures = between.answered(20).await;
    assert_eq!(
        figures.shares_accepted, 20,
        "all that were found are worth something there"
    );
    let shown = between.proxy.picture().borrow().upstreams[0].clone();
    assert_eq!((shown.protocol, shown.extranonce_bytes), ("stratum-v1", 8));
    assert_eq!(shown.version_mask, "1fffffe0");
    assert!(!shown.worker_names && shown.work >= 20);

    let (booked, names) = (shares(first.data.path()), records(first.data.path()));
    first.close().await;
    between.state("the other", |now| now.place == Some(1)).await;
    for miner in &mut miners {
        miner.next_job().await;
        miner.mine(nonces.by_ref().take(1)).await;
    }
    between.answered(23).await;
    let last = between.proxy.stop().await.unwrap();
    assert_eq!((last.connections.accepted, last.connections.faulted), (4, 0));
    assert_eq!(booked.len(), 20);
    assert!(booked.iter().all(|(name, _)| name == "old"), "{booked:?}");
    let named = names
        .iter()
        .filter(|it| it["kind"] == "share" && it["worker"] == "old.farm");
    assert_eq!(named.count(), 20);
    second.close().await;
}

/// A new tip of the old pool reaches everybody below, and what they find on it counts.
#[tokio::test]
async fn a_new_tip_of_an_old_pool_reaches_everybody() {
    let pool = House::open(&[]).await;
    let between = Between::open_with(&[old(&pool.pool, "old.farm")], &[], patience()).await;
    between.state("the pool", |now| now.place == Some(0)).await;
    let mut miner = between.miner(How::Extended, "a").await;
    miner.mine([1]).await;
    // Somebody else finds a block.
    pool.pool.node().reorganise(0).await.unwrap();
    miner.next_tip().await;
    miner.mine([2]).await;
    assert_eq!(between.answered(2).await.shares_accepted, 2);
    between.proxy.stop().await.unwrap();
    pool.close().await;
}

fn pair(name: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/stratum_v1/tls", name]
        .iter()
        .collect();
    path.to_str().unwrap().to_owned()
}

/// Over TLS: a certificate that nobody vouches for is believed only where it is named.
#[tokio::test]
async fn a_pool_over_tls_is_who_it_says() {
    let (certificate, key) = (pair("certificate.pem"), pair("key.pem"));
    let pool = House::open(&[
        ("sv1.tls_listen", "127.0.0.1:0"),
        ("sv1.tls_certificate", &certificate),
        ("sv1.tls_key", &key),
    ])
    .await;
    let port = pool.pool.tls().unwrap().port();
    let url = format!("stratum+ssl://localhost:{port},password=x,d=0.0000000001");
    let doubtful = Between::open_with(std::slice::from_ref(&url), &[], patience()).await;
    doubtful
        .state("nobody believes it", |now| {
            now.causes.contains_key(&Cause::Unreachable)
        })
        .await;
    assert_eq!(doubtful.proxy.picture().borrow().place, None);
    doubtful.proxy.stop().await.unwrap();

    let trusting = Between::open_with(&[url], &[("upstream.tls_trusted", &certificate)], patience()).await;
    trusting.state("the pool", |now| now.place == Some(0)).await;
    assert_eq!(
        trusting.proxy.picture().borrow().upstreams[0].protocol,
        "stratum-v1-tls"
    );
    let mut miner = trusting.miner(How::Grouped, "a").await;
    miner.mine([1, 2, 3]).await;
    assert_eq!(trusting.answered(3).await.shares_accepted, 3);
    trusting.proxy.stop().await.unwrap();
    pool.close().await;
}

/// A pool that leaves four bytes: the proxy finds out before the first miner comes, and shares those out. The pool here is
/// a proxy itself, on a pool that checks what arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_bytes_of_extranonce_are_shared_out() {
    let pool = House::open(&[]).await;
    let keys = [("upstream.extranonce_bytes", "8")];
    let above = Between::open_with(&[pool.pool.url().to_string()], &keys, patience()).await;
    above.state("the pool", |now| now.place == Some(0)).await;
    let url = above.proxy.pool().url().clone();
    let upstream = format!(
        "stratum+tcp://{}:{},password=x,d=0.0000000001",
        url.host, url.port
    );
    let below = Between::open_with(&[upstream], &[], patience()).await;
    below.state("the proxy above", |now| now.place == Some(0)).await;
    assert_eq!(below.proxy.picture().borrow().upstreams[0].extranonce_bytes, 4);
    let (mut nonces, mut sent) = (1u32.., 0);
    for how in [How::HeaderOnly, How::Grouped] {
        for number in 0..3 {
            let mut miner = below.miner(how, &format!("device{number}")).await;
            miner.mine(nonces.by_ref().take(4)).await;
            sent += 4;
        }
    }
    let mut rig = Rig::start_with(below.proxy.pool().url(), "d.rig", "0001").await;
    rig.mine(100..104).await;
    sent += 4;
    below.answered(sent).await;
    above.answered(sent).await;
    below.proxy.stop().await.unwrap();
    above.proxy.stop().await.unwrap();
    pool.close().await;
}

/// What old pools say besides jobs: masks, difficulties, another extranonce, words for people, and where they would like
/// to have us.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_pool_changes_its_mind_about_everything() {
    let mut pool = OldPool::open("1fffe000", 4).await;
    let keys = [("upstream.reconnect_hosts", "127.0.0.1:1")];
    let asks = Patience {
        quiet: quiet::Patience {
            ask_after: Duration::from_secs(1),
            answer_within: SOON,
        },
        ..patience()
    };
    let url = pool.url();
    let opening = tokio::spawn(async move { Between::open_with(&[url], &keys, asks).await });
    pool.enter().await;
    pool.notify("job1", "11", true).await;
    let between = opening.await.unwrap();
    between.state("the pool", |now| now.place == Some(0)).await;
    let shown = between.proxy.picture().borrow().upstreams[0].clone();
    assert_eq!((shown.extranonce_bytes, &*shown.version_mask), (4, "1fffe000"));
    let mut lines = Rig::start_with(between.proxy.pool().url(), "e.rig", "0001").await;
    let granted = lines
        .lines
        .ask(
            "mining.configure",
            json!([["version-rolling"], {"version-rolling.mask": "ffffffff"}]),
        )
        .await;
    assert_eq!(
        granted["result"]["version-rolling.mask"], "1fffe000",
        "the pool's own permission"
    );
    lines.submit(1..2).await;
    let share = pool.hear("mining.submit").await;
    assert_eq!(share["params"][0], "the.farm");
    assert_eq!(share["params"][1], "job1");
    assert_eq!(share["params"][2].as_str().unwrap().len(), 8, "{share}");
    pool.answer(&share, json!(true)).await;
    while !lines.waiting.is_empty() {
        assert!(lines.hear().await);
    }

    // Another extranonce, other bits, another difficulty: for the next job.
    let known = lines.job.clone();
    pool.move_to("bbbbbbbbbb", 6).await;
    pool.say("mining.set_version_mask", json!(["00c00000"])).await;
    pool.say("client.show_message", json!(["we move\u{7} tomorrow"]))
        .await;
    pool.notify("job2", "11", false).await;
    while lines.job == known {
        assert!(lines.hear().await);
    }
    let coinbase = lines.job[2].as_str().unwrap().to_owned();
    assert!(coinbase.contains("bbbbbbbbbb"), "{coinbase}");
    lines.submit(2..3).await;
    let share = pool.hear("mining.submit").await;
    assert_eq!(
        (&share["params"][1], share["params"][2].as_str().unwrap().len()),
        (&json!("job2"), 12)
    );
    pool.answer(&share, json!(true)).await;
    while !lines.waiting.is_empty() {
        assert!(lines.hear().await);
    }

    // It may not send us anywhere but where we were told; and is asked whether it is there.
    pool.say("client.reconnect", json!(["evil.example", 3333])).await;
    let asked = pool.hear("mining.authorize").await;
    pool.answer(&asked, json!(true)).await;
    assert_eq!(between.proxy.picture().borrow().place, Some(0));
    pool.say("client.reconnect", json!(["127.0.0.1", 1])).await;
    between
        .state("it went", |now| now.causes.contains_key(&Cause::Moved))
        .await;
    // There is nobody: it comes home.
    pool.enter().await;
    pool.notify("job3", "22", true).await;
    between
        .state("home", |now| now.place == Some(0) && now.changes >= 2)
        .await;
    assert!(lines.refused.is_empty());
    let last = between.proxy.stop().await.unwrap();
    assert_eq!((last.connections.accepted, last.connections.faulted), (1, 0));
}

/// A pool that leaves too little is left alone, and the log says why; one that lets nobody in as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_leaves_too_little_is_not_used() {
    let mut pool = OldPool::open("1fffe000", 2).await;
    let good = House::open(&[]).await;
    let urls = [pool.url(), good.pool.url().to_string()];
    let opening = tokio::spawn(async move { Between::open_with(&urls, &[], patience()).await });
    pool.configure().await;
    pool.subscribe().await;
    // It was hung up on: that is looked at once more when everything runs.
    pool.configure_again().await;
    pool.subscribe().await;
    let between = opening.await.unwrap();
    between
        .state("the other", |now| {
            now.place == Some(1) && now.causes.contains_key(&Cause::Refused)
        })
        .await;
    // One has not said what it leaves: the other is not used to its full width.
    assert_eq!(between.proxy.picture().borrow().upstreams[1].extranonce_bytes, 8);
    between.proxy.stop().await.unwrap();
    good.close().await;
}
