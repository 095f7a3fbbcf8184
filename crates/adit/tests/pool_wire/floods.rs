//! Floods end those who send them.

use adit_wire::mining::{SubmitSharesStandard, ToClient, UpdateChannel};
use adit_wire::{Message, U256, common::flags};

use super::support::House;
use super::support::miner::{How, Miner, ask};
use super::support::peer::{Heard, Peer};

/// More messages than a connection may send end it; everybody else mines on.
#[tokio::test]
async fn a_flood_of_messages_ends_the_flooder() {
    let house = House::open(&[("limits.messages_per_second", "50")]).await;
    let mut honest = Miner::start(house.pool.url(), How::Extended, "honest").await;
    let mut flooder = Miner::start(house.pool.url(), How::Extended, "flooder").await;
    let mut frames = Vec::new();
    let (channel_id, maximum_target) = (flooder.channel_id, U256::MAX);
    for _ in 0..5_000 {
        UpdateChannel {
            channel_id,
            nominal_hash_rate: 0.0,
            maximum_target,
        }
        .encode_frame(&mut frames);
    }
    flooder.peer.say_frames(&frames).await;
    flooder.peer.hear_all().await;
    honest.mine(0..100).await;
    house
        .picture("one fault", |now| {
            (now.connections.open, now.connections.faulted) == (1, 1)
        })
        .await;
    house.close().await;
}

/// The same for messages that nobody knows.
#[tokio::test]
async fn a_flood_of_unknown_messages_ends_the_flooder() {
    let house = House::open(&[("limits.messages_per_second", "50")]).await;
    let mut honest = Miner::start(house.pool.url(), How::HeaderOnly, "honest").await;
    let mut flooder = Peer::join(house.pool.url(), 0).await;
    for _ in 0..1_000 {
        flooder.say_any(0x4001, false, 1, &[0; 40]).await;
    }
    assert_eq!(flooder.hear_all().await, []);
    honest.mine(0..100).await;
    house.close().await;
}

/// Shares are not counted as messages, but each refused one is told so, and thousands in a row are no accident.
#[tokio::test]
async fn a_flood_of_bad_shares_ends_the_flooder() {
    let house = House::open(&[]).await;
    let mut honest = Miner::start(house.pool.url(), How::HeaderOnly, "honest").await;
    let mut flooder = Peer::join(house.pool.url(), 0).await;
    let mut frames = Vec::new();
    for sequence_number in 0..6_000 {
        let share = SubmitSharesStandard {
            channel_id: 99,
            sequence_number,
            job_id: 1,
            nonce: 0,
            ntime: 0,
            version: 0,
        };
        share.encode_frame(&mut frames);
    }
    let mut said = 0;
    for some in frames.chunks(30 * 500) {
        flooder.say_frames(some).await;
        for _ in 0..500 {
            match flooder.hear().await {
                Heard::Mining(ToClient::SubmitSharesError(error)) => {
                    assert_eq!(error.error_code.as_bytes(), b"invalid-channel-id");
                    said += 1;
                }
                Heard::End => break,
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(said, 5_000, "and the last of them was answered too");
    honest.mine(0..100).await;
    house.close().await;
}

/// `limits.shares_per_second`: what comes too fast is refused by name, and credited to nobody.
#[tokio::test]
async fn shares_beyond_the_rate_are_refused() {
    let house = House::open(&[("limits.shares_per_second", "2")]).await;
    let mut honest = Miner::start(house.pool.url(), How::Extended, "honest").await;
    let mut greedy = Miner::start(house.pool.url(), How::Extended, "greedy").await;
    greedy.submit(0..500).await;
    greedy.settle().await;
    assert!(
        greedy.acknowledged.len() < 100,
        "{} of 500 were taken",
        greedy.acknowledged.len()
    );
    assert!(greedy.refused.iter().all(|(_, code)| code == "rate-limited"));
    honest.mine(0..10).await;
    let last = house.close().await;
    assert_eq!(last.shares.accepted, 10 + greedy.acknowledged.len() as u64);
}

/// `limits.channels_max` holds for each connection by itself, and the refused request is answered (REQ-MIN-022).
#[tokio::test]
async fn one_connection_has_so_many_channels() {
    let house = House::open(&[("limits.channels_max", "4")]).await;
    let mut peer = Peer::join(house.pool.url(), flags::REQUIRES_STANDARD_JOBS).await;
    for request_id in 0..4 {
        ask(&mut peer, How::HeaderOnly, "many", request_id).await;
        assert!(matches!(
            peer.hear_mining().await,
            ToClient::OpenStandardMiningChannelSuccess(_)
        ));
        assert!(matches!(peer.hear_mining().await, ToClient::NewMiningJob(_)));
        assert!(matches!(peer.hear_mining().await, ToClient::SetNewPrevHash(_)));
    }
    ask(&mut peer, How::HeaderOnly, "many", 4).await;
    let ToClient::OpenMiningChannelError(error) = peer.hear_mining().await else {
        panic!("no fifth")
    };
    assert_eq!(
        (error.request_id, error.error_code.as_bytes()),
        (4, &b"too-many-channels"[..])
    );
    Miner::start(house.pool.url(), How::HeaderOnly, "other")
        .await
        .mine(0..3)
        .await;
    house.close().await;
}
