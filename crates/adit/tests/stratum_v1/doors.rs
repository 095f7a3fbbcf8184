//! Coming and going: where they are not wanted, and where they are sent.

use serde_json::json;

use super::support::House;
use super::support::lines::{Lines, Rig};
use super::support::miner::{How, Miner};

/// `sv1.enabled = false`: a line that says where the miner has come to, and the end.
#[tokio::test]
async fn where_they_are_not_served_they_are_told_so() {
    let house = House::open(&[("sv1.enabled", "false")]).await;
    let mut lines = Lines::connect(house.pool.url()).await;
    let answer = lines.ask("mining.subscribe", json!([])).await;
    assert_eq!(answer["error"][0], 20);
    assert!(answer.to_string().contains("Stratum V2"), "{answer}");
    assert!(lines.hear().await.is_none());
    Miner::start(house.pool.url(), How::Extended, "new")
        .await
        .mine(0..5)
        .await;
    house.close().await;
}

/// A drained pool sends its miners of lines away, too, and acknowledges what they had under way.
#[tokio::test]
async fn a_drained_pool_sends_them_on() {
    let house = House::open(&[("pool.drain_deadline_ms", "300")]).await;
    let mut rig = Rig::start(house.pool.url(), "old").await;
    let place = "next.example:3334".parse().unwrap();
    let drained = async {
        rig.mine(0..20).await;
        while rig.sent_away.is_none() {
            assert!(rig.hear().await, "told before it ends");
        }
        rig.submit(20..30).await;
        while rig.hear().await {}
        rig
    };
    let ((), rig) = tokio::join!(house.pool.drain(&place), drained);
    assert_eq!(rig.sent_away, Some(json!(["next.example", 3334, 0])));
    let last = house.close().await;
    assert_eq!(last.shares.accepted, rig.acknowledged.len() as u64);
}

/// Lines may come in pieces of any size, several at once, and with the line ends of another system.
#[tokio::test]
async fn lines_come_in_any_pieces() {
    let house = House::open(&[]).await;
    let mut lines = Lines::connect(house.pool.url()).await;
    for piece in [
        &b"{\"id\":1,\"meth"[..],
        b"od\":\"mining.ping\"}\r\n{\"id\":2,\"method\":\"mining.ping\"}\n{",
        b"\"id\":3,",
    ] {
        assert!(lines.raw(piece).await);
        tokio::task::yield_now().await;
    }
    assert!(lines.raw(b"\"method\":\"mining.ping\"}\n").await);
    for id in 1..=3 {
        assert_eq!(lines.hear().await.unwrap()["id"], id);
    }
    house.close().await;
}
