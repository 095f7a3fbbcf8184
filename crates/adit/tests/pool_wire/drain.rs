//! A pool that is being drained, as its peers see it.

use std::net::Ipv4Addr;
use std::time::Duration;

use adit::config::Place;
use adit_wire::common::{self, Reconnect};
use adit_wire::mining::ToClient;

use super::support::miner::{How, Miner, ask};
use super::support::peer::{Heard, Peer, setup, tcp};
use super::support::{House, until};

fn elsewhere() -> Place {
    "b.example:4444".parse().unwrap()
}

async fn is_sent_away(peer: &mut Peer) -> Reconnect {
    loop {
        match peer.hear().await {
            Heard::Common(common::ToClient::Reconnect(message)) => return message,
            Heard::Mining(_) => {}
            other => panic!("expected Reconnect, heard {other:?}"),
        }
    }
}

/// Told where to go, served until it goes; no new channel, no new connection. Who was shaking hands is told as soon as it is
/// set up, and not before (REQ-COM-005).
#[tokio::test]
async fn peers_are_told_and_served_until_they_leave() {
    let house = House::open(&[("pool.drain_ms", "0"), ("pool.drain_deadline_ms", "60000")]).await;
    let url = house.pool.url().clone();
    let mut miner = Miner::start(&url, How::Extended, "stays").await;
    let mut late = Peer::greet(&url).await;
    house
        .picture("both are known", |now| now.connections.open == 2)
        .await;
    let place = elsewhere();
    let peers = async {
        while miner.sent_away.is_none() {
            assert!(miner.hear().await);
        }
        let to = miner.sent_away.clone().unwrap();
        assert_eq!((&*to.new_host, to.new_port), (&b"b.example"[..], 4444));
        miner.mine(0..20).await;
        ask(&mut miner.peer, How::Extended, "another", 9).await;
        let heard = miner.peer.hear_mining().await;
        assert!(matches!(heard, ToClient::OpenMiningChannelError(_)), "{heard:?}");
        let mut refused = false;
        while !refused {
            refused = tcp(&url, Ipv4Addr::LOCALHOST).await.is_err();
        }
        late.say(&setup(0)).await;
        let first = late.hear().await;
        assert!(
            matches!(first, Heard::Common(common::ToClient::SetupConnectionSuccess(_))),
            "{first:?}"
        );
        assert_eq!(is_sent_away(&mut late).await, to);
        let status = house.picture("the page says so", |now| now.drain.is_some()).await;
        let drain = status.drain.clone().unwrap();
        assert_eq!(
            (drain.to.as_str(), drain.left, drain.total),
            ("b.example:4444", 2, 2)
        );
        assert!(status.health().reason.contains("draining to b.example:4444"));
        drop((miner, late));
    };
    tokio::join!(house.pool.drain(&place), peers);
    assert_eq!(house.pool.peers(), 0);
    house.close().await;
}

/// Messages are spread over time, so that peers do not all arrive at once elsewhere.
#[tokio::test]
async fn peers_are_told_one_after_the_other() {
    const PEERS: u32 = 12;
    let keys = [
        ("pool.workers", "1"),
        ("pool.drain_ms", "100000"),
        ("pool.drain_deadline_ms", "60000"),
    ];
    let house = House::open(&keys).await;
    let mut peers = Vec::new();
    for _ in 0..PEERS {
        peers.push(Peer::join(house.pool.url(), 0).await);
    }
    until("all are there", || house.pool.peers() == PEERS as usize).await;
    let start = tokio::time::Instant::now();
    let place = elsewhere();
    let told = async {
        let mut last = Duration::ZERO;
        for peer in &mut peers {
            is_sent_away(peer).await;
            last = last.max(start.elapsed());
        }
        drop(peers);
        last
    };
    let ((), last) = tokio::join!(house.pool.drain(&place), told);
    // Ten milliseconds each, and not the hundred seconds that a large pool would take.
    assert!(last >= Duration::from_millis(10) * (PEERS - 1), "{last:?}");
    assert!(last < Duration::from_secs(20), "{last:?}");
    house.close().await;
}
