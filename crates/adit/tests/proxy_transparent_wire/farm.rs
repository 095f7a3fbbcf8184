//! Many devices, few connections.

use std::net::SocketAddr;

use adit_net::Url;
use adit_wire::common::flags;
use adit_wire::mining::ToClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Between;
use super::support::miner::{How, Miner, ask};
use super::support::peer::Peer;
use super::support::{House, SOON, shares};

/// REQ-MIN-006, REQ-MIN-102: devices of every kind, with both handshakes, each with a channel of its own at the pool under
/// its own name, over two connections; the pool judges, pays and counts each of their shares once.
#[tokio::test]
async fn every_device_has_a_channel_of_its_own() {
    let house = House::open(&[]).await;
    let between = Between::open(&[house.pool.url()]).await;
    let mut miners = Vec::new();
    let mut nonces = 1u32..;
    for how in [How::HeaderOnly, How::Grouped, How::Extended] {
        for url in [between.proxy.url(), between.proxy.url_draft2022()] {
            let name = format!("device{}", miners.len());
            let mut miner = Miner::start(url, how, &name).await;
            assert_eq!(miner.channel_id, 1, "each connection has ids of its own");
            miner.mine(nonces.by_ref().take(5)).await;
            miners.push(miner);
        }
    }
    let now = house
        .picture("all are there", |now| {
            now.channels.standard == 4 && now.channels.extended == 2 && now.shares.accepted == 30
        })
        .await;
    assert_eq!(
        now.connections.open, 2,
        "one for who mines headers only, one for the others"
    );
    // A new tip reaches them all.
    let old = miners[0].job_id;
    house.pool.node().reorganise(0).await.unwrap();
    for miner in &mut miners {
        miner.next_tip().await;
        miner.mine(nonces.by_ref().take(2)).await;
    }
    // Those of the old job are stale; the pool says so, not we.
    let mut first = miners.remove(0);
    first.submit_on(old, [1]).await;
    first.settle().await;
    assert_eq!(first.refused[0].1, "stale-share");
    let seen = between
        .status("it has counted", |now| now.shares.accepted == 42)
        .await;
    assert_eq!(
        (
            seen.connections.open,
            seen.channels.standard,
            seen.channels.extended
        ),
        (6, 4, 2)
    );
    assert_eq!(
        seen.uplink.map(|uplink| (uplink.mode, uplink.lines)),
        Some(("transparent", 2))
    );
    let last = between.close().await;
    assert_eq!(last.shares.accepted, 42);
    let data = house.data.path().to_owned();
    let mut names: Vec<String> = shares(&data).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 42);
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 6, "{names:?}");
    house.close().await;
}

/// Several channels on one connection below, and request ids that are the same on two of them.
#[tokio::test]
async fn one_connection_below_may_have_many_channels() {
    let house = House::open(&[]).await;
    let between = Between::open(&[house.pool.url()]).await;
    let mut peers = Vec::new();
    for number in 0..2 {
        let mut peer = Peer::join(between.proxy.url(), 0).await;
        for request_id in 0..40 {
            ask(&mut peer, How::Grouped, &format!("farm{number}"), request_id).await;
        }
        peers.push(peer);
    }
    for peer in &mut peers {
        let (mut opened, mut tips) = (std::collections::BTreeMap::new(), 0);
        while tips < 40 {
            match peer.hear_mining().await {
                ToClient::OpenStandardMiningChannelSuccess(it) => {
                    assert_eq!(opened.insert(it.request_id, it.channel_id), None);
                }
                ToClient::NewMiningJob(_) | ToClient::NewExtendedMiningJob(_) => {}
                ToClient::SetNewPrevHash(_) => tips += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(opened.keys().copied().eq(0..40));
        let ids: std::collections::BTreeSet<u32> = opened.values().copied().collect();
        assert_eq!(ids.len(), 40);
    }
    house
        .picture("all of them", |now| {
            now.channels.standard == 80 && now.connections.open == 1
        })
        .await;
    // REQ-MIN-039: one of the two is cut; the pool hears of each of its channels.
    peers.pop();
    house
        .picture("half of them", |now| {
            now.channels.standard == 40 && now.connections.open == 1
        })
        .await;
    between.close().await;
    house.close().await;
}

/// REQ-MIN-006: a pool that takes so many channels on a connection gets as many connections as are needed.
#[tokio::test]
async fn a_full_connection_is_not_the_last() {
    let house = House::open(&[("limits.channels_max", "16")]).await;
    let between = Between::open(&[house.pool.url()]).await;
    let mut miners = Vec::new();
    for number in 0..50 {
        miners.push(between.miner(How::HeaderOnly, &format!("m{number}")).await);
    }
    for (nonce, miner) in (1u32..).zip(&mut miners) {
        miner.mine([nonce]).await;
    }
    let now = house
        .picture("all of them", |now| now.channels.standard == 50)
        .await;
    assert_eq!(now.connections.open, 4);
    assert_eq!(now.shares.accepted, 50);
    between.close().await;
    house.close().await;
}

/// A miner of Stratum V1 is told what to do, and a rude one disturbs nobody.
#[tokio::test]
async fn a_miner_of_stratum_v1_is_told_what_to_do() {
    let house = House::open(&[]).await;
    let between = Between::open(&[house.pool.url()]).await;
    let url = between.proxy.url().clone();
    let mut stream = tokio::net::TcpStream::connect((url.host.as_str(), url.port))
        .await
        .unwrap();
    let line = b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n";
    stream.write_all(line).await.unwrap();
    let mut answer = String::new();
    let heard = tokio::time::timeout(SOON, stream.read_to_string(&mut answer)).await;
    heard.expect("an answer").unwrap();
    assert!(
        answer.starts_with("{\"id\":1,") && answer.contains("--mode aggregate"),
        "{answer}"
    );
    let mut miner = between.miner(How::Extended, "modern").await;
    miner.mine([1]).await;
    between.close().await;
    house.close().await;
}

/// A connection with many channels and the smallest buffer that the kernel gives.
async fn hoarder(url: &Url, channels: u32) -> Peer {
    let to: SocketAddr = format!("{}:{}", url.host, url.port).parse().unwrap();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2_048).unwrap();
    let mut peer = Peer::greet_on(url, socket.connect(to).await.unwrap())
        .await
        .expect("a handshake");
    peer.set_up(flags::REQUIRES_STANDARD_JOBS).await;
    for request_id in 0..channels {
        ask(&mut peer, How::HeaderOnly, "hoarder", request_id).await;
        for _ in 0..3 {
            peer.hear_mining().await;
        }
    }
    peer
}

/// Who does not read loses its own connection, and its channels at the pool are closed; others get every job meanwhile.
#[tokio::test]
async fn a_device_that_never_reads_is_left() {
    const TIPS: u32 = 120;
    let house = House::open(&[("node", "embedded:12"), ("embedded.transactions", "0")]).await;
    let between = Between::with(&[house.pool.url()], &[("limits.queue_bytes_max", "16384")]).await;
    let mut honest = between.miner(How::HeaderOnly, "honest").await;
    let hoarder = hoarder(between.proxy.url(), 200).await;
    for _ in 0..TIPS {
        house.pool.node().reorganise(0).await.unwrap();
        honest.next_tip().await;
    }
    honest.mine(0..20).await;
    between
        .status("it is left", |now| {
            (
                now.connections.faulted,
                now.connections.open,
                now.channels.standard,
            ) == (1, 1, 1)
        })
        .await;
    house
        .picture("the pool knows", |now| now.channels.standard == 1)
        .await;
    drop(hoarder);
    between.close().await;
    house.close().await;
}

/// Whoever breaks the protocol below is cut; the shared connection above stays, and so does everybody else.
#[tokio::test]
async fn a_rude_device_disturbs_nobody() {
    let house = House::open(&[]).await;
    let between = Between::open(&[house.pool.url()]).await;
    let mut honest = between.miner(How::Grouped, "honest").await;
    for rudeness in 0..4 {
        let mut peer = Peer::greet(between.proxy.url()).await;
        match rudeness {
            // Another message first.
            0 => ask(&mut peer, How::Grouped, "x", 1).await,
            // A message that cannot be read.
            1 => {
                peer.set_up(0).await;
                peer.say_any(0, false, 0x10, &[1, 2, 3]).await;
            }
            // Far too many messages.
            2 => {
                peer.set_up(0).await;
                for _ in 0..3_000 {
                    peer.say_any(0x4001, false, 9, &[0; 8]).await;
                }
            }
            // Garbage instead of records.
            _ => {
                peer.set_up(0).await;
                peer.say_bytes(&[0xa5; 4_096]).await;
            }
        }
        peer.hear_all().await;
    }
    honest.mine(1..10).await;
    let now = house.picture("it is there", |now| now.shares.accepted == 9).await;
    assert_eq!(now.connections.accepted, 1, "the one connection that all share");
    let causes = between.proxy.picture().borrow().causes.clone();
    assert!(causes.is_empty(), "{causes:?}");
    between.close().await;
    house.close().await;
}
