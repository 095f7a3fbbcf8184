//! One port of a running pool: both handshakes, frames in the clear and Stratum V1 side by side, byte for byte.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

#[path = "support/mod.rs"]
mod support;

use std::net::Ipv4Addr;

use adit::device::{self, Channel};
use adit::shutdown::Shutdown;
use adit_net::{Dialling, Url, random};
use adit_noise::draft2022::{self, Aeads};
use adit_noise::{AuthorityKey, Suite};
use adit_wire::common::{self, PROTOCOL_VERSION};
use support::peer::{Heard, Peer, draft2022_frame, setup, shake_hands_draft2022, tcp};
use support::{House, SOON};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const OPEN: &[(&str, &str)] = &[("security.plaintext", "loopback"), ("sv1.enabled", "false")];

fn without_key(url: &Url) -> Url {
    Url {
        key: None,
        ..url.clone()
    }
}

/// First bytes of a connection to the pool, as they stood on the wire, and what the pool answered.
async fn capture(url: &Url, first: &[u8], answer_bytes: usize) -> Vec<u8> {
    let mut stream = tcp(url, Ipv4Addr::LOCALHOST).await.unwrap();
    stream.write_all(first).await.unwrap();
    let mut answer = vec![0; answer_bytes];
    timeout(SOON, stream.read_exact(&mut answer))
        .await
        .expect("an answer")
        .unwrap();
    answer
}

/// The four kinds of first bytes on one port: each is answered in kind, and SetupConnection over the three that are
/// Stratum V2. REQ-SEC-005, REQ-SEC-011, REQ-SEC-024, REQ-SEC-025, REQ-SEC-026.
#[tokio::test]
async fn four_kinds_of_callers_on_one_port() {
    let house = House::open(OPEN).await;
    let (url, draft) = (house.pool.url().clone(), house.pool.url_draft2022().clone());
    assert_eq!((url.port, &url.host), (draft.port, &draft.host), "one port");

    // The current handshake: 64 bytes that say nothing, 234 that answer.
    let (_, act1) = adit_noise::Initiator::new(random::bytes()).unwrap();
    assert_eq!(capture(&url, &act1, 234).await.len(), 234);
    // The draft's: the offer, and the choice of its first algorithm.
    let offer = b"\x0d\0STR3\x02CHCHAESG";
    assert_eq!(capture(&url, offer, 6).await, b"\x04\0CHCH");
    assert_eq!(capture(&url, b"\x09\0STR3\x01AESG", 6).await, b"\x04\0AESG");
    // In the clear: SetupConnection, and SetupConnection.Success with version 2 and no flags.
    let mut frame = Vec::new();
    adit_wire::message::Message::encode_frame(&setup(0), &mut frame);
    assert_eq!(frame[..3], [0, 0, 0]);
    let success = [0, 0, 1, 6, 0, 0, 2, 0, 0, 0, 0, 0];
    assert_eq!(capture(&url, &frame, 12).await, success);
    // Stratum V1: one line that says where it has come to.
    let mut v1 = tcp(&url, Ipv4Addr::LOCALHOST).await.unwrap();
    v1.write_all(b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n")
        .await
        .unwrap();
    let mut line = String::new();
    timeout(SOON, v1.read_to_string(&mut line))
        .await
        .unwrap()
        .unwrap();
    let answer: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&answer["id"], &answer["error"][0]), (&1.into(), &20.into()));
    assert!(line.contains("Stratum V2"), "{line}");

    for url in [&url, &draft, &without_key(&url)] {
        let mut peer = Peer::greet(url).await;
        peer.set_up(0).await;
    }
    let seen = house
        .picture("all suites are counted", |now| {
            let count = |suite: Suite| now.connections.by_suite.get(suite.name()).copied().unwrap_or(0);
            count(Suite::Current) == 2
                && count(Suite::Draft2022(adit_noise::Aead::ChaChaPoly)) == 1
                && count(Suite::Plain) == 2
        })
        .await;
    let sum: u64 = seen.connections.by_suite.values().sum();
    assert_eq!(sum, seen.connections.accepted);
    house.close().await;
}

/// REQ-SEC-001, REQ-SEC-002, REQ-SEC-003, REQ-SEC-038: on a port that is not open for it, frames in the clear get no answer,
/// not even an error, and no channel.
#[tokio::test]
async fn frames_in_the_clear_are_refused_by_default() {
    let house = House::open(&[]).await;
    let mut peer = Peer::greet(&without_key(house.pool.url())).await;
    peer.say(&setup(0)).await;
    assert_eq!(peer.hear().await, Heard::End);
    house.close().await;
}

/// REQ-SEC-005, REQ-MIN-004: a device given the draft's URL mines, and its shares are in the ledger; over the clear too,
/// when both sides were told so.
#[tokio::test]
async fn shares_reach_the_ledger_over_every_suite() {
    let house = House::open(OPEN).await;
    let plain = Dialling {
        keyless: adit_net::Keyless::Plain,
        ..Dialling::default()
    };
    for (url, dialling, user) in [
        (
            house.pool.url_draft2022().clone(),
            Dialling::default(),
            "over.draft",
        ),
        (house.pool.url().clone(), Dialling::default(), "over.current"),
        (without_key(house.pool.url()), plain, "over.nothing"),
    ] {
        let settings = device::Settings {
            upstream: url,
            user: user.to_owned(),
            threads: 1,
            channel: Channel::Extended,
            until_shares: Some(2),
            dialling,
            hash_rate: Some(1e3),
            extensions: device::Extensions::default(),
        };
        let (_stop, shutdown) = Shutdown::new();
        let mined = device::run(settings, std::sync::Arc::default(), shutdown);
        let report = timeout(SOON, mined).await.expect("shares in time").unwrap();
        assert!(report.shares_accepted >= 2);
    }
    let data = house.data.path().to_owned();
    let expected = ["over.draft", "over.current", "over.nothing"];
    let last = house.pool.stop().await.unwrap();
    let shares = support::shares(&data);
    assert_eq!(shares.len() as u64, last.shares.accepted);
    for user in expected {
        assert!(
            shares.iter().filter(|(name, _)| name == user).count() >= 2,
            "{user}"
        );
    }
}

/// REQ-SEC-008, REQ-SEC-010: no common algorithm, and a list that somebody edits on the way.
#[tokio::test]
async fn negotiations_that_fail_end_only_themselves() {
    let house = House::open(&[]).await;
    let url = house.pool.url_draft2022().clone();
    let mut neighbour = Peer::join(&url, 0).await;

    let mut stranger = tcp(&url, Ipv4Addr::LOCALHOST).await.unwrap();
    stranger.write_all(b"\x09\0STR3\x01XXXX").await.unwrap();
    assert_eq!(timeout(SOON, draft2022_frame(&mut stranger)).await.unwrap(), None);

    let mut edited = tcp(&url, Ipv4Addr::LOCALHOST).await.unwrap();
    let (initiator, _) = draft2022::Initiator::new(Aeads::default(), random::bytes()).unwrap();
    edited.write_all(b"\x09\0STR3\x01CHCH").await.unwrap();
    let choice = draft2022_frame(&mut edited).await.unwrap();
    let (awaiting, act1) = initiator.chosen(&choice).unwrap();
    edited.write_all(&act1).await.unwrap();
    let act2 = draft2022_frame(&mut edited).await.unwrap();
    assert!(awaiting.examine(&act2).is_err(), "the tag tells");

    alive(&mut neighbour).await;
    house.close().await;
}

/// REQ-SEC-022: a flipped bit in any frame of the handshake or after it ends that connection, over either suite, and a
/// neighbour goes on.
#[tokio::test]
async fn a_flipped_bit_ends_one_connection() {
    let house = House::open(&[]).await;
    let url = house.pool.url_draft2022().clone();
    let Some(AuthorityKey::Draft2022(key)) = url.key else {
        panic!("a key of the draft")
    };
    let mut neighbour = Peer::join(&url, 0).await;
    let mut frame = Vec::new();
    adit_wire::message::Message::encode_frame(&setup(0), &mut frame);
    for place in [0usize, 7, 100, 333, 1_001] {
        for suite in [Suite::Current, Suite::Draft2022(adit_noise::Aead::AesGcm)] {
            let mut stream = tcp(&url, Ipv4Addr::LOCALHOST).await.unwrap();
            let mut session = match suite {
                Suite::Current => {
                    let (initiator, act1) = adit_noise::Initiator::new(random::bytes()).unwrap();
                    stream.write_all(&act1).await.unwrap();
                    let mut act2 = [0; 234];
                    stream.read_exact(&mut act2).await.unwrap();
                    initiator.finish(&act2, &adit_noise::Trust::AnyKey, 0).unwrap()
                }
                _ => shake_hands_draft2022(&mut stream, key, Aeads::only(adit_noise::Aead::AesGcm))
                    .await
                    .unwrap(),
            };
            let mut sealed = Vec::new();
            session.seal(&frame, &mut sealed).unwrap();
            let bit = place % (sealed.len() * 8);
            // A longer length would be waited for: the bytes behind it are there.
            sealed[bit / 8] ^= 1 << (bit % 8);
            sealed.resize(sealed.len() + 70_000, 0x5a);
            let mut peer = Peer::on(stream, session);
            peer.say_bytes(&sealed).await;
            assert_eq!(peer.hear().await, Heard::End, "{suite}, bit {bit}");
        }
        // In the act that the server reads, after the offer.
        let mut stream = tcp(&url, Ipv4Addr::LOCALHOST).await.unwrap();
        let (initiator, offer) = draft2022::Initiator::new(Aeads::default(), random::bytes()).unwrap();
        stream.write_all(&offer).await.unwrap();
        let choice = draft2022_frame(&mut stream).await.unwrap();
        let (awaiting, mut act1) = initiator.chosen(&choice).unwrap();
        let bit = 16 + place % 256;
        act1[bit / 8] ^= 1 << (bit % 8);
        stream.write_all(&act1).await.unwrap();
        let act2 = timeout(SOON, draft2022_frame(&mut stream))
            .await
            .unwrap()
            .unwrap();
        assert!(awaiting.examine(&act2).is_err());
        alive(&mut neighbour).await;
    }
    house.close().await;
}

/// The pool still answers a connection that is set up: a channel that nobody has is refused in words.
async fn alive(peer: &mut Peer) {
    use adit_wire::mining::{OpenStandardMiningChannel, ToClient};
    peer.say(&OpenStandardMiningChannel {
        request_id: 77,
        user_identity: "neighbour".try_into().unwrap(),
        nominal_hash_rate: 1e3,
        max_target: [0xff; 32].into(),
    })
    .await;
    loop {
        match peer.hear().await {
            Heard::Mining(ToClient::OpenStandardMiningChannelSuccess(opened)) => {
                assert_eq!(opened.request_id, 77);
                return;
            }
            Heard::Mining(_) => {}
            other => panic!("expected an open channel, heard {other:?}"),
        }
    }
}

/// REQ-COM-003: over the draft the versions are negotiated as anywhere.
#[tokio::test]
async fn setup_is_the_same_over_the_draft() {
    let house = House::open(&[]).await;
    let mut peer = Peer::greet(house.pool.url_draft2022()).await;
    peer.say(&common::SetupConnection {
        max_version: PROTOCOL_VERSION + 5,
        ..setup(0)
    })
    .await;
    let heard = peer.hear().await;
    let common::ToClient::SetupConnectionSuccess(success) = heard.common() else {
        panic!("expected SetupConnection.Success")
    };
    assert_eq!(success.used_version, PROTOCOL_VERSION);
    house.close().await;
}
