//! What people and their tools are shown is what happened.

use serde_json::Value;

use super::http;
use super::support::House;
use super::support::miner::{How, Miner};

/// The live page's numbers and Prometheus' are those of the wire and of the ledger.
#[tokio::test]
async fn status_and_metrics_agree_with_what_was_done() {
    let house = House::open(&[("http.listen", "127.0.0.1:0")]).await;
    let site = house.pool.http().expect("a site");
    let mut standard = Miner::start(house.pool.url(), How::HeaderOnly, "alice").await;
    let mut extended = Miner::start(house.pool.url(), How::Extended, "bob").await;
    standard.mine(0..12).await;
    extended.mine(0..30).await;
    extended.submit([3, 4]).await;
    extended.settle().await;
    let old = standard.job_id;
    house.pool.node().reorganise(0).await.unwrap();
    standard.next_tip().await;
    standard.submit_on(old, [50]).await;
    standard.settle().await;
    house
        .picture("all shares", |now| {
            (now.shares.accepted, now.shares.rejected) == (42, 3)
        })
        .await;

    let page = http::get(site, "/api/v1/status").await;
    assert_eq!(page.code, 200);
    let status: Value = serde_json::from_str(&page.body).unwrap();
    assert_eq!(status["pool"]["url"], house.pool.url().to_string());
    assert_eq!(status["shares"]["accepted"], 42);
    assert_eq!(status["shares"]["by_reason"]["duplicate-share"], 2);
    assert_eq!(status["shares"]["by_reason"]["stale-share"], 1);
    assert_eq!(
        (&status["channels"]["standard"], &status["channels"]["extended"]),
        (&1.into(), &1.into())
    );
    assert_eq!(status["connections"]["open"], 2);
    assert_eq!(
        (&status["node"]["state"], &status["ledger"]["state"]),
        (&"up".into(), &"up".into())
    );
    let mut tip = tip_bytes(&status);
    tip.reverse();
    assert_eq!(tip, standard.tip.prev_hash.0);
    let worker = |name: &str| {
        let workers = status["workers"].as_array().unwrap();
        workers
            .iter()
            .find(|worker| worker["name"] == name)
            .cloned()
            .expect("a worker")
    };
    assert_eq!(
        (&worker("alice")["accepted"], &worker("alice")["rejected"]),
        (&12.into(), &1.into())
    );
    assert_eq!(
        (&worker("bob")["accepted"], &worker("bob")["rejected"]),
        (&30.into(), &2.into())
    );

    let metrics = http::get(site, "/metrics").await.body;
    for line in [
        "adit_shares_accepted_total 42",
        "adit_shares_rejected_total{reason=\"duplicate-share\"} 2",
        "adit_shares_rejected_total{reason=\"stale-share\"} 1",
        "adit_connections 2",
        "adit_channels{kind=\"standard\"} 1",
        "adit_ledger_up 1",
        "adit_node_up 1",
    ] {
        let said = metrics
            .lines()
            .any(|said| said == line || said == format!("{line}.0"));
        assert!(said, "no {line:?} in\n{metrics}");
    }
    let last = house.close().await;
    assert_eq!((last.shares.accepted, last.shares.work), (42, 42));
}

/// The tip's hash as explorers write it, in bytes.
fn tip_bytes(status: &Value) -> Vec<u8> {
    let text = status["node"]["tip"].as_str().unwrap();
    assert_eq!(text.len(), 64);
    (0..32)
        .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
        .collect()
}

/// Channels and connections that end are gone from the picture.
#[tokio::test]
async fn who_leaves_is_not_shown_any_more() {
    let house = House::open(&[]).await;
    let mut miners = Vec::new();
    for number in 0..10 {
        miners.push(Miner::start(house.pool.url(), How::HeaderOnly, &format!("w{number}")).await);
    }
    house
        .picture("ten", |now| {
            (now.connections.open, now.channels.standard) == (10, 10)
        })
        .await;
    miners.truncate(3);
    house
        .picture("three", |now| {
            (now.connections.open, now.channels.standard) == (3, 3)
        })
        .await;
    drop(miners);
    let picture = house
        .picture("none", |now| {
            (now.connections.open, now.channels.standard) == (0, 0)
        })
        .await;
    assert_eq!(
        (picture.connections.accepted, picture.connections.faulted),
        (10, 0)
    );
    house.close().await;
}
