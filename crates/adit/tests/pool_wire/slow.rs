//! Peers that do not read: their backlog is bounded, and nobody waits for them.

use std::net::SocketAddr;

use adit::observe::Status;
use adit_net::Url;
use adit_wire::common::flags;
use adit_wire::mining::ToClient;

use super::support::House;
use super::support::miner::{How, Miner, ask};
use super::support::peer::{Heard, Peer};

/// Channels of a peer that reads nothing: every tip is so many jobs for it.
const CHANNELS: u32 = 256;
/// Tips after which the kernel's buffers are full for certain: 45 kB each.
const TIPS: u32 = 120;
/// Tips are made at once, and nobody mines one by accident.
const CHAIN: [(&str, &str); 2] = [("node", "embedded:12"), ("embedded.transactions", "0")];

/// A connection with many channels and the smallest buffer that the kernel gives.
async fn hoarder(url: &Url) -> Peer {
    let to: SocketAddr = format!("{}:{}", url.host, url.port).parse().unwrap();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2_048).unwrap();
    let mut peer = Peer::greet_on(url, socket.connect(to).await.unwrap())
        .await
        .expect("a handshake");
    peer.set_up(flags::REQUIRES_STANDARD_JOBS).await;
    for request_id in 0..CHANNELS {
        ask(&mut peer, How::HeaderOnly, "hoarder", request_id).await;
        for _ in 0..3 {
            peer.hear_mining().await;
        }
    }
    peer
}

/// Past `limits.queue_bytes_max` a peer is left; the others get every job and every answer meanwhile.
#[tokio::test]
async fn a_peer_that_never_reads_is_left() {
    let house = House::open(&[CHAIN[0], CHAIN[1], ("limits.queue_bytes_max", "16384")]).await;
    let mut honest = Miner::start(house.pool.url(), How::Extended, "honest").await;
    let hoarder = hoarder(house.pool.url()).await;
    for _ in 0..TIPS {
        house.pool.node().reorganise(0).await.unwrap();
        honest.next_tip().await;
    }
    honest.mine(0..20).await;
    let left = |now: &Status| {
        (
            now.connections.faulted,
            now.channels.standard,
            now.channels.extended,
        ) == (1, 0, 1)
    };
    house.picture("it is left", left).await;
    drop(hoarder);
    house.close().await;
}

/// Who is merely slow finds the newest work at the end of a short queue: work that was replaced meanwhile was never
/// queued.
#[tokio::test]
async fn a_slow_reader_gets_the_newest_job_and_no_backlog() {
    let house = House::open(&CHAIN).await;
    let mut honest = Miner::start(house.pool.url(), How::Extended, "honest").await;
    let mut slow = hoarder(house.pool.url()).await;
    let frozen = hoarder(house.pool.url()).await;
    for _ in 0..TIPS {
        house.pool.node().reorganise(0).await.unwrap();
        honest.next_tip().await;
    }
    let (mut heard, mut newest) = (0, 0);
    while newest < CHANNELS {
        match slow.hear().await {
            Heard::Mining(ToClient::SetNewPrevHash(tip)) => {
                heard += 1;
                newest += u32::from(tip.prev_hash == honest.tip.prev_hash);
            }
            Heard::Mining(ToClient::NewMiningJob(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(heard < TIPS * CHANNELS, "all {TIPS} tips were kept for it");
    honest.mine(0..20).await;
    // Who never reads is not waited for in the end either.
    assert_eq!(house.close().await.connections.faulted, 0);
    drop(frozen);
}
