//! The first message decides: who is refused is told why, and then left.

use adit_wire::Message;
use adit_wire::U256;
use adit_wire::common::{self, SetupConnection, flags};
use adit_wire::mining::OpenStandardMiningChannel;

use super::support::House;
use super::support::miner::{How, Miner};
use super::support::peer::{Heard, Peer, setup};

async fn refusal(house: &House, request: SetupConnection) -> (u32, String) {
    let mut peer = Peer::greet(house.pool.url()).await;
    peer.say(&request).await;
    let heard = peer.hear_all().await;
    let [Heard::Common(common::ToClient::SetupConnectionError(error))] = heard.as_slice() else {
        panic!("expected one SetupConnection.Error and the end, heard {heard:?}")
    };
    (
        error.flags,
        String::from_utf8(error.error_code.as_bytes().to_vec()).unwrap(),
    )
}

/// REQ-COM-012, REQ-COM-013, REQ-COM-014, REQ-COM-016, REQ-COM-017, REQ-COM-020.
#[tokio::test]
async fn what_cannot_be_served_is_refused_and_closed() {
    let house = House::open(&[]).await;
    let good =
        flags::REQUIRES_STANDARD_JOBS | flags::REQUIRES_WORK_SELECTION | flags::REQUIRES_VERSION_ROLLING;
    assert_eq!(
        refusal(&house, setup(u32::MAX)).await,
        (!good, "unsupported-feature-flags".to_owned())
    );
    let other = SetupConnection {
        protocol: 9,
        ..setup(0)
    };
    assert_eq!(
        refusal(&house, other).await,
        (0, "unsupported-protocol".to_owned())
    );
    for (min_version, max_version) in [(3, 3), (0, 1), (3, 2)] {
        let other = SetupConnection {
            min_version,
            max_version,
            ..setup(0)
        };
        assert_eq!(
            refusal(&house, other).await,
            (0, "protocol-version-mismatch".to_owned())
        );
    }
    let mut polite = Peer::greet(house.pool.url()).await;
    polite.set_up(good).await;
    house.close().await;
}

/// REQ-COM-004: anything else first is no beginning.
#[tokio::test]
async fn whatever_comes_before_setup_ends_the_connection() {
    let house = House::open(&[]).await;
    let mut early = Peer::greet(house.pool.url()).await;
    let max_target = U256::MAX;
    let user_identity = "early".try_into().unwrap();
    early
        .say(&OpenStandardMiningChannel {
            request_id: 1,
            user_identity,
            nominal_hash_rate: 1.0,
            max_target,
        })
        .await;
    assert_eq!(early.hear_all().await, []);
    let mut strange = Peer::greet(house.pool.url()).await;
    strange.say_any(0x4abc, false, 0x01, b"hello").await;
    assert_eq!(strange.hear_all().await, []);
    house.close().await;
}

/// REQ-COM-005, REQ-COM-006: nothing is said before SetupConnection; a second one changes nothing.
#[tokio::test]
async fn a_second_setup_changes_nothing() {
    let house = House::open(&[]).await;
    let mut peer = Peer::greet(house.pool.url()).await;
    peer.set_up(0).await;
    peer.say(&setup(0)).await;
    let mut miner = Miner::open(peer, How::Extended, "twice").await;
    miner.mine(0..5).await;
    house.close().await;
}

/// REQ-FRM-023, REQ-EXT-003, REQ-EXT-004, REQ-FRM-026: unknown messages and extensions are discarded, with the channel
/// bit or without; the wrong channel bit on a known message is no reason to refuse it.
#[tokio::test]
async fn the_unknown_is_discarded() {
    let house = House::open(&[]).await;
    let mut miner = Miner::start(house.pool.url(), How::Grouped, "odd").await;
    let id = miner.channel_id.to_le_bytes();
    for (extension, channel, msg_type) in [
        (0, false, 0x7f),
        (0, true, 0xff),
        (0x4001, false, 0),
        (0x4001, true, 0),
        (0x0002, true, 0x1b),
        (0, false, 0x03),
    ] {
        miner
            .peer
            .say_any(extension, channel, msg_type, &[&id[..], &[0xa5; 300]].concat())
            .await;
        miner.peer.say_any(extension, channel, msg_type, &[]).await;
    }
    miner.mine(0..5).await;
    let mut payload = Vec::new();
    let (channel_id, job_id, version) = (miner.channel_id, miner.job_id, miner.version);
    let ntime = miner.tip.min_ntime;
    let share = adit_wire::mining::SubmitSharesStandard {
        channel_id,
        sequence_number: 1_000,
        job_id,
        nonce: 77,
        ntime,
        version,
    };
    share.encode(&mut payload);
    miner.waiting.push((1_000, 77));
    miner
        .peer
        .say_any(0, false, adit_wire::mining::SubmitSharesStandard::TYPE, &payload)
        .await;
    miner.settle().await;
    assert!(miner.acknowledged.contains(&77));
    assert_eq!(house.close().await.shares.accepted, 6);
}

/// REQ-FRM-021: a message that ends too early ends the connection.
#[tokio::test]
async fn a_message_cut_short_is_malformed() {
    let house = House::open(&[]).await;
    let mut miner = Miner::start(house.pool.url(), How::Grouped, "short").await;
    miner
        .peer
        .say_any(0, true, adit_wire::mining::SubmitSharesStandard::TYPE, &[1, 2, 3])
        .await;
    assert_eq!(miner.peer.hear_all().await, []);
    house.picture("a fault", |now| now.connections.faulted == 1).await;
    house.close().await;
}
