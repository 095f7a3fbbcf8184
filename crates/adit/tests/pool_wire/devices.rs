//! Who is here, with which device, and what becomes of an operator's orders.

use adit::http::TOKEN_FILE;
use adit::observe::{Fate, Roster, State};
use serde_json::Value;

use super::http::{self, Answer};
use super::support::lines::Rig;
use super::support::miner::{How, Miner};
use super::support::{House, SOON};

async fn roster(house: &House, what: &str, mut wish: impl FnMut(&Roster) -> bool) -> Roster {
    let mut roster = house.pool.roster();
    let wished = async { Roster::clone(&*roster.wait_for(|now| wish(now)).await.unwrap()) };
    match tokio::time::timeout(SOON, wished).await {
        Ok(roster) => roster,
        Err(_) => panic!(
            "{what}: not within {SOON:?}; at the end {:#?}",
            house.pool.roster().borrow()
        ),
    }
}

/// Each device is shown with what it says that it is, what it speaks, and what it did, by channel and by name.
#[tokio::test]
async fn devices_are_shown_with_what_they_do() {
    let house = House::open(&[]).await;
    let mut modern = Miner::start(house.pool.url(), How::Extended, "alice").await;
    let mut old = Rig::start(house.pool.url(), "bob.rig").await;
    modern.mine(0..5).await;
    modern.submit([3]).await;
    modern.settle().await;
    old.mine(0..7).await;
    let now = roster(&house, "all shares", |now| {
        let of = |name: &str| now.name(name).map_or((0, 0), |row| (row.accepted, row.rejected));
        of("alice") == (5, 1) && of("bob.rig") == (7, 0)
    })
    .await;
    let alice = now.name("alice").unwrap();
    assert_eq!(
        (alice.state, alice.protocol, alice.channels),
        (State::Mining, "current", 1)
    );
    assert_eq!(alice.device.as_ref().unwrap().vendor, "adit tests");
    assert_eq!(alice.by_reason, [("duplicate-share", 1)].into());
    assert_eq!((alice.work, alice.workers, &alice.account), (5, 0, &None));
    assert!(alice.pace.hash_rate > 0.0 && alice.pace.error.unwrap() < 0.6);
    let rig = now.name("bob.rig").unwrap();
    assert_eq!(
        (rig.protocol, rig.account.as_deref()),
        ("stratum-v1", Some("bob"))
    );
    let device = rig.device.as_ref().unwrap();
    assert_eq!((device.vendor.as_str(), device.firmware.as_str()), ("rig", "1.0"));
    assert_eq!(now.name("bob").unwrap().workers, 1);
    let peer = |name: &str| {
        let has = |channel: &adit::observe::Channel| &*channel.name == name;
        now.peers
            .iter()
            .find(|peer| peer.channels.iter().any(has))
            .unwrap()
    };
    assert_eq!(
        (peer("alice").role, peer("alice").channels[0].kind),
        ("mining", "extended")
    );
    assert_eq!(
        (
            peer("alice").channels[0].accepted,
            peer("alice").channels[0].rejected
        ),
        (5, 1)
    );
    assert_eq!(
        (peer("bob.rig").role, peer("bob.rig").protocol),
        ("mining", "stratum-v1")
    );
    assert!(peer("bob.rig").address.starts_with("127.0.0.1:"));
    assert_eq!(now.shares.iter().map(|shares| shares.count).sum::<u64>(), 12);
    let coinbase = now.coinbase.as_ref().unwrap();
    assert_eq!(coinbase.outputs[0].value_sat, coinbase.value_sat);
    assert!(coinbase.outputs[0].address.as_ref().unwrap().starts_with("bcrt1"));

    drop((modern, old));
    let now = roster(&house, "nobody", |now| now.peers.is_empty()).await;
    assert_eq!(now.name("alice").unwrap().state, State::Offline);
    house.close().await;
}

/// A block is shown with what became of it.
#[tokio::test]
async fn blocks_are_shown_with_their_fate() {
    let house = House::open(&[("node", "embedded:1")]).await;
    let mut miner = Miner::start(house.pool.url(), How::Extended, "alice").await;
    let confirmed = |now: &Roster| now.blocks.iter().any(|block| block.fate == Fate::Confirmed);
    // Every second hash is a block.
    miner.submit(0..64).await;
    miner.settle().await;
    let now = roster(&house, "a block", confirmed).await;
    let block = now
        .blocks
        .iter()
        .find(|block| block.fate == Fate::Confirmed)
        .unwrap();
    assert_eq!((block.worker.as_str(), block.hash.len()), ("alice", 64));
    assert!(block.value_sat.unwrap() >= 5_000_000_000 && block.height > 0);
    house.close().await;
}

async fn order(house: &House, path: &str, token: &str, body: &str) -> Answer {
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    http::say(house.pool.http().unwrap(), request.as_bytes()).await
}

async fn until_closed(miner: &mut Miner) {
    while miner.closed.is_none() {
        assert!(miner.hear().await, "{} is told first", miner.name);
    }
}

/// Who shows the token may close a channel and a connection; who does not may not, and nobody else is disturbed.
#[tokio::test]
async fn an_operator_closes_channels_and_connections() {
    let house = House::open(&[("http.listen", "127.0.0.1:0")]).await;
    let token = std::fs::read_to_string(house.data.path().join(TOKEN_FILE)).unwrap();
    let token = token.trim();
    let mut one = Miner::start(house.pool.url(), How::HeaderOnly, "one").await;
    let mut two = Miner::start(house.pool.url(), How::Extended, "two").await;
    let mut stays = Miner::start(house.pool.url(), How::Extended, "stays").await;
    let mut old = Rig::start(house.pool.url(), "old").await;
    let now = roster(&house, "four", |now| {
        now.peers.iter().map(|peer| peer.channels.len()).sum::<usize>() == 4
    })
    .await;
    let id = |name: &str| {
        let has = |peer: &&adit::observe::Peer| &*peer.channels[0].name == name;
        now.peers.iter().find(has).unwrap().id
    };
    let close = |name: &str| format!("/api/v1/admin/peers/{}/close", id(name));

    for wrong in ["", "x", &token[1..], &token.to_uppercase()] {
        let refused = order(&house, &close("one"), wrong, "").await;
        assert_eq!(
            (refused.code, refused.header("www-authenticate")),
            (401, Some("Bearer"))
        );
        assert!(!refused.body.contains(token) && refused.body.contains("admin.token"));
    }
    assert_eq!(
        order(&house, "/api/v1/admin/peers/999/close", token, "")
            .await
            .code,
        404
    );
    assert_eq!(
        order(&house, "/api/v1/admin/peers/x/close", token, "").await.code,
        400
    );

    assert_eq!(order(&house, &close("one"), token, "").await.code, 202);
    until_closed(&mut one).await;
    assert_eq!(one.closed.as_deref(), Some("closed-by-operator"));
    let channel = format!(
        "/api/v1/admin/peers/{}/channels/{}/close",
        id("two"),
        two.channel_id
    );
    assert_eq!(order(&house, &channel, token, "").await.code, 202);
    until_closed(&mut two).await;
    assert_eq!(two.closed.as_deref(), Some("closed-by-operator"));
    assert_eq!(order(&house, &close("old"), token, "").await.code, 202);
    while old.hear().await {}
    let now = roster(&house, "two connections", |now| now.peers.len() == 2).await;
    assert_eq!(
        now.peers.iter().filter(|peer| peer.channels.is_empty()).count(),
        1,
        "a closed channel only"
    );
    stays.mine(0..3).await;
    house.close().await;
}

/// A drain that is ordered over HTTP is taken once, with a place that can be one.
#[tokio::test]
async fn an_operator_orders_a_drain() {
    let house = House::open(&[("http.listen", "127.0.0.1:0")]).await;
    let token = std::fs::read_to_string(house.data.path().join(TOKEN_FILE)).unwrap();
    let token = token.trim();
    let path = "/api/v1/admin/drain";
    for (body, code) in [
        ("{\"to\": \"a b\"}", 400),
        ("{\"too\": \":1\"}", 400),
        ("[", 400),
        (&*format!("\"{}\"", "x".repeat(20_000)), 413),
    ] {
        let refused = order(&house, path, token, body).await;
        assert_eq!(refused.code, code, "{}", refused.body);
        let error: Value = serde_json::from_str(&refused.body).unwrap();
        assert!(!error["error"]["help"].as_str().unwrap().is_empty());
    }
    assert_eq!(order(&house, path, token, "{\"to\": \":3334\"}").await.code, 202);
    assert_eq!(
        order(&house, path, token, "").await.code,
        409,
        "nobody has taken the first order yet"
    );
    house.close().await;
}
