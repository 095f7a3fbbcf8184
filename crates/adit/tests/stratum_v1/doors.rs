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

/// A miner whose socket broke goes on with its session, on whichever worker it lands: same extranonce, same jobs, and a
/// share that was counted before is a duplicate.
#[tokio::test]
async fn a_broken_session_goes_on() {
    let house = House::open(&[]).await;
    let url = house.pool.url().clone();
    let mut last = None;
    for round in 0..6u32 {
        let mut lines = Lines::connect(&url).await;
        let session = last
            .as_ref()
            .map_or(json!([]), |(session, _)| json!(["rig/1.0", session]));
        let subscribed = lines.ask("mining.subscribe", session).await;
        let answer = &subscribed["result"];
        let now = (answer[0][0][1].clone(), answer[1].clone());
        assert!(
            last.is_none() || last.as_ref() == Some(&now),
            "round {round}: {now:?} is not {last:?}"
        );
        last = Some(now);
        lines
            .ask("mining.authorize", json!(["alice.rig", "d=0.0000000001"]))
            .await;
        let told = [lines.hear().await.unwrap(), lines.hear().await.unwrap()];
        assert_eq!(told[0]["method"], "mining.set_difficulty");
        let job = &told[1]["params"];
        let submit = |nonce: u32| json!(["alice.rig", job[0], "00000001", job[7], format!("{nonce:x}")]);
        assert_eq!(lines.ask("mining.submit", submit(round)).await["result"], true);
        if round > 0 {
            assert_eq!(
                lines.ask("mining.submit", submit(round - 1)).await["error"][0],
                22
            );
        }
        drop(lines);
        let came = u64::from(round) + 1;
        house
            .picture("it came and is gone", |now| {
                (now.connections.accepted, now.connections.open) == (came, 0)
            })
            .await;
    }
    let end = house.close().await;
    assert_eq!(end.shares.accepted, 6);
}
