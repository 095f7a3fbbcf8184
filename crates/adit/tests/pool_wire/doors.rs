//! The door: handshakes, deadlines and limits cost a stranger more than they cost the pool.

use std::net::Ipv4Addr;

use adit_wire::Header;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::support::miner::{How, Miner};
use super::support::peer::{Peer, tcp};
use super::support::{House, SOON};

/// Sockets that hold a place at the door: more than handshakes may be in progress at once.
const STRANGERS: usize = 300;

async fn strangers(house: &House, first_bytes: &[u8]) -> Vec<TcpStream> {
    let mut sockets = Vec::new();
    for _ in 0..STRANGERS {
        let mut socket = tcp(house.pool.url(), Ipv4Addr::LOCALHOST).await.unwrap();
        socket.write_all(first_bytes).await.unwrap();
        sockets.push(socket);
    }
    sockets
}

async fn hung_up_on(mut socket: TcpStream) {
    let mut rest = Vec::new();
    // A reset is an end too.
    let _ = timeout(SOON, socket.read_to_end(&mut rest))
        .await
        .expect("the pool hangs up");
    assert!(rest.is_empty(), "no answer to half a handshake");
}

/// Hundreds that never finish their handshake, with all the time in the world: who does comes in meanwhile.
#[tokio::test]
async fn slow_handshakes_keep_nobody_out() {
    let house = House::open(&[("limits.handshake_ms", "600000")]).await;
    let mut held = Vec::new();
    for bytes in [&[][..], &[0x5a; 63]] {
        held.extend(strangers(&house, bytes).await);
        let mut honest = Miner::start(house.pool.url(), How::HeaderOnly, "honest").await;
        honest.mine(0..5).await;
    }
    // Nor do they keep the pool from ending.
    house.close().await;
}

/// REQ-SEC-037: one deadline for the whole handshake, however the bytes trickle in.
#[tokio::test]
async fn a_handshake_has_one_deadline() {
    let house = House::open(&[("limits.handshake_ms", "300")]).await;
    for socket in strangers(&house, &[1, 2, 3]).await {
        hung_up_on(socket).await;
    }
    // One byte at a time, for as long as somebody takes them: 64 would be a handshake.
    let mut trickle = tcp(house.pool.url(), Ipv4Addr::LOCALHOST).await.unwrap();
    trickle.set_nodelay(true).unwrap();
    let mut beat = tokio::time::interval(std::time::Duration::from_millis(20));
    for sent in 0.. {
        beat.tick().await;
        assert!(sent < 64, "the deadline starts over with every byte");
        let mut byte = [0];
        let gone = matches!(trickle.try_read(&mut byte), Ok(0)) || trickle.write_all(&[7]).await.is_err();
        if gone {
            break;
        }
    }
    house
        .picture("they are counted", |now| {
            now.connections.faulted >= STRANGERS as u64
        })
        .await;
    house.close().await;
}

/// Bytes that are no key, and text: the handshake ends in keys that nobody has, and the first record tells.
#[tokio::test]
async fn noise_that_is_not_noise_is_hung_up_on() {
    let house = House::open(&[]).await;
    for text in [
        &b"GET / HTTP/1.1\r\nHost: pool\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n"[..],
        &[0xff; 64],
    ] {
        let mut socket = tcp(house.pool.url(), Ipv4Addr::LOCALHOST).await.unwrap();
        socket.write_all(text).await.unwrap();
        socket.write_all(&[0; 4096]).await.unwrap();
        let mut answer = Vec::new();
        // A reset is an end too.
        let _ = timeout(SOON, socket.read_to_end(&mut answer))
            .await
            .expect("the pool hangs up");
        assert!(answer.len() <= 234, "act 2 and nothing more");
    }
    house.close().await;
}

/// REQ-SEC-022: one flipped bit ends the connection without an answer; nobody's address is held against them.
#[tokio::test]
async fn a_flipped_bit_ends_that_connection_only() {
    let house = House::open(&[]).await;
    let mut victim = Miner::start(house.pool.url(), How::Extended, "victim").await;
    let mut other = Miner::start(house.pool.url(), How::Extended, "other").await;
    victim.peer.say_bytes(&[0x11; 22]).await;
    assert_eq!(victim.peer.hear_all().await, []);
    Miner::start(house.pool.url(), How::Extended, "victim")
        .await
        .mine(0..3)
        .await;
    other.mine(0..3).await;
    house.close().await;
}

/// REQ-FRM-024: a frame that no message has is refused by its header, before anybody waits for its payload.
#[tokio::test]
async fn an_oversized_frame_is_refused_by_its_header() {
    let house = House::open(&[]).await;
    for (msg_type, set_up) in [(0x00, false), (0x10, true), (0x1a, true), (0x7f, true)] {
        let mut peer = Peer::greet(house.pool.url()).await;
        if set_up {
            peer.set_up(0).await;
        }
        let length = 0x000f_ffff;
        let header = Header::new(0, false, msg_type, length).encode();
        let frame = [&header[..], &vec![0; length as usize]].concat();
        peer.say_start(&frame, 22).await;
        assert_eq!(peer.hear_all().await, [], "{msg_type:#x}");
    }
    house.close().await;
}

/// REQ-MIN-020: who says nothing after the handshake, or opens no channel after the setup, is asked to leave.
#[tokio::test]
async fn silence_ends_in_time() {
    let house = House::open(&[("limits.setup_ms", "150"), ("limits.first_channel_ms", "300")]).await;
    let mut silent = Peer::greet(house.pool.url()).await;
    let mut idle = Peer::join(house.pool.url(), 0).await;
    let mut busy = Miner::start(house.pool.url(), How::HeaderOnly, "busy").await;
    assert_eq!(silent.hear_all().await, []);
    assert_eq!(idle.hear_all().await, []);
    busy.mine(0..3).await;
    house.close().await;
}

/// Places are counted before anything is done for a peer, and given back.
#[tokio::test]
async fn limits_of_connections_hold_and_places_come_back() {
    let house = House::open(&[
        ("limits.connections_max", "3"),
        ("limits.connections_per_address_max", "2"),
    ])
    .await;
    let url = house.pool.url();
    let (home, away, abroad) = (
        Ipv4Addr::LOCALHOST,
        Ipv4Addr::new(127, 0, 0, 2),
        Ipv4Addr::new(127, 0, 0, 3),
    );
    let first = Peer::greet_from(url, home).await.expect("a place");
    let _second = Peer::greet_from(url, home).await.expect("a place");
    assert!(
        Peer::greet_from(url, home).await.is_none(),
        "no third from one address"
    );
    let _third = Peer::greet_from(url, away).await.expect("a place");
    assert!(Peer::greet_from(url, abroad).await.is_none(), "no fourth in all");
    house
        .picture("two refused", |now| {
            (now.connections.open, now.connections.refused) == (3, 2)
        })
        .await;
    drop(first);
    house.picture("one left", |now| now.connections.open == 2).await;
    let again = Peer::greet_from(url, home)
        .await
        .expect("the place that was given back");
    drop(again);
    house.close().await;
}
