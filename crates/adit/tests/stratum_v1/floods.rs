//! Rude lines cost their sender, and nobody else.

use serde_json::json;

use super::support::House;
use super::support::lines::{Lines, Rig};
use super::support::miner::{How, Miner};

/// Starts a pool with two honest miners, lets `rude` happen, and sees that it cost one connection and that both still
/// mine.
async fn costs_its_sender(changes: &[(&str, &str)], first: &[u8], flood: &[u8], times: usize) {
    let house = House::open(changes).await;
    let mut old = Rig::start(house.pool.url(), "old").await;
    let mut new = Miner::start(house.pool.url(), How::Extended, "new").await;
    let mut rude = Lines::connect(house.pool.url()).await;
    rude.raw(first).await;
    for _ in 0..times {
        if !rude.raw(flood).await {
            break;
        }
    }
    rude.hear_all().await;
    house
        .picture("one fault", |now| {
            (now.connections.open, now.connections.faulted) == (2, 1)
        })
        .await;
    tokio::join!(old.mine(0..50), new.mine(0..50));
    house.close().await;
}

const PING: &[u8] = b"{\"id\":1,\"method\":\"mining.ping\",\"params\":[]}\n";

#[tokio::test]
async fn a_flood_of_requests_ends_the_flooder() {
    let changes = [
        ("limits.messages_per_second", "50"),
        ("limits.shares_per_second", "50"),
    ];
    costs_its_sender(&changes, PING, &PING.repeat(100), 200).await;
}

#[tokio::test]
async fn a_flood_of_garbage_ends_the_flooder() {
    costs_its_sender(&[], PING, b"garbage\n", 1_000).await;
}

#[tokio::test]
async fn a_line_without_an_end_ends_the_flooder() {
    costs_its_sender(&[], PING, &[b'x'; 1_024], 1_000).await;
}

#[tokio::test]
async fn brackets_without_an_end_end_the_flooder() {
    costs_its_sender(&[], PING, &[&[b'['; 6_000][..], b"\n"].concat(), 100).await;
}

/// Who asks and never reads is dropped once its answers pile up.
#[tokio::test]
async fn who_never_reads_is_dropped() {
    let changes = [
        ("limits.messages_per_second", "0"),
        ("limits.queue_bytes_max", "16384"),
    ];
    let house = House::open(&changes).await;
    let mut old = Rig::start(house.pool.url(), "old").await;
    let mut deaf = Lines::connect(house.pool.url()).await;
    let subscribe = b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n".repeat(200);
    let pushed = async {
        // Our side stops reading long before this is all sent; the pool then waits, and drops nobody for that.
        for _ in 0..2_000 {
            let sent =
                tokio::time::timeout(std::time::Duration::from_millis(500), deaf.raw(&subscribe)).await;
            if !matches!(sent, Ok(true)) {
                break;
            }
        }
    };
    tokio::join!(pushed, old.mine(0..200));
    assert!(old.acknowledged.len() == 200, "nobody else notices");
    house.close().await;
}

/// A miner that says nothing after its first line has as long as any other connection without a channel.
#[tokio::test]
async fn who_never_authorizes_is_dropped() {
    let house = House::open(&[("limits.first_channel_ms", "200")]).await;
    let mut lines = Lines::connect(house.pool.url()).await;
    assert!(lines.ask("mining.subscribe", json!([])).await["result"].is_array());
    assert!(lines.hear().await.is_none(), "the end");
    house.close().await;
}
