//! Upstreams that die, drain, or are not there.

use std::time::Duration;

use adit_wire::common::{Reconnect, ToClient, flags};
use adit_wire::mining::{OpenStandardMiningChannel, OpenStandardMiningChannelSuccess};
use adit_wire::{B0_32, U256};

use super::Between;
use super::support::miner::{How, Miner};
use super::support::peer::{Heard, Peer, setup};
use super::support::{self, House, shares};
use super::wire::{PLAIN, Stage, Wire};

/// Listens until the channel stands on another upstream and has work there.
async fn follow(miner: &mut Miner) {
    let moves = miner.moved;
    while miner.moved == moves {
        assert!(miner.hear().await, "the proxy hung up on {}", miner.name);
    }
    miner.next_job().await;
}

/// The pool in use dies: every channel is opened again on the next one, with every socket below as it was; and back again.
/// Each share stands in one ledger, and once.
#[tokio::test]
async fn a_dead_upstream_is_replaced_and_no_socket_ends() {
    let spare = House::open(&[]).await;
    let first = House::open(&[]).await;
    let (url, data) = (first.pool.url().clone(), first.data);
    let listen = format!("{}:{}", url.host, url.port);
    let between = Between::open(&[&url, spare.pool.url()]).await;
    let mut miners = Vec::new();
    for (how, name) in [(How::HeaderOnly, "a"), (How::Grouped, "b"), (How::Extended, "c")] {
        let mut miner = between.miner(how, name).await;
        miner.mine([1]).await;
        miners.push(miner);
    }
    assert_eq!(between.proxy.picture().borrow().place, Some(0));

    let mut first_pool = first.pool;
    for round in 0..3u32 {
        first_pool.stop().await.unwrap();
        let died = tokio::time::Instant::now();
        for miner in &mut miners {
            follow(miner).await;
        }
        assert!(died.elapsed() < Duration::from_secs(5), "{:?}", died.elapsed());
        for miner in &mut miners {
            miner.mine([100 + round]).await;
        }
        assert_eq!(between.proxy.picture().borrow().place, Some(1));

        first_pool = support::pool(data.path(), &[("listen", &listen)]).await;
        for miner in &mut miners {
            follow(miner).await;
            miner.mine([200 + round]).await;
        }
        assert_eq!(between.proxy.picture().borrow().place, Some(0));
    }
    let last = between.close().await;
    assert_eq!(last.connections.accepted, 3, "nobody had to come again");
    assert_eq!(last.shares.accepted, 21);
    first_pool.stop().await.unwrap();
    let at_first = shares(data.path());
    let at_spare = spare.close().await.shares.accepted;
    assert_eq!(
        (at_first.len(), at_spare),
        (12, 9),
        "each in one ledger, and once"
    );
}

/// With one upstream only, devices wait for it, and go on when it is back.
#[tokio::test]
async fn devices_wait_for_the_only_upstream() {
    let house = House::open(&[]).await;
    let (url, data) = (house.pool.url().clone(), house.data);
    let listen = format!("{}:{}", url.host, url.port);
    let between = Between::open(&[&url]).await;
    let mut miner = between.miner(How::Extended, "a").await;
    miner.mine([1]).await;
    house.pool.stop().await.unwrap();
    between.state("nobody", |now| now.place.is_none()).await;
    // A share of the last job is refused, not kept for somebody who did not give it.
    miner.submit([2]).await;
    miner.settle().await;
    assert_eq!(miner.refused.len(), 1);
    assert_eq!(miner.refused[0].1, "stale-share");
    let pool = support::pool(data.path(), &[("listen", &listen)]).await;
    follow(&mut miner).await;
    miner.mine([3]).await;
    between.close().await;
    pool.stop().await.unwrap();
    assert_eq!(shares(data.path()).len(), 2);
}

/// REQ-COM-034: an upstream that drains is left for the next one; nobody below is told to go anywhere.
#[tokio::test]
async fn a_reconnect_from_above_goes_no_further() {
    let (first, second) = (House::open(&[]).await, House::open(&[]).await);
    let between = Between::open(&[first.pool.url(), second.pool.url()]).await;
    let mut miner = between.miner(How::Extended, "a").await;
    assert_eq!(between.proxy.picture().borrow().place, Some(0));
    first.pool.drain(&adit::config::Place::default()).await;
    follow(&mut miner).await;
    miner.mine([1]).await;
    assert_eq!(between.proxy.picture().borrow().place, Some(1));
    assert!(miner.sent_away.is_none() && miner.closed.is_none());
    between.close().await;
    second.close().await;
    first.close().await;
}

/// A Reconnect is followed to the place that it names, by us alone.
#[tokio::test]
async fn a_reconnect_is_followed_where_it_leads() {
    let (here, there) = (Stage::open().await, Stage::open().await);
    let between = Between::with(&[&here.url()], &PLAIN).await;
    let mut device = Wire::device(between.proxy.url(), 0).await;
    let (mut above, _) = here.accept(0).await;
    device.expect::<adit_wire::common::SetupConnectionSuccess>().await;
    let open = OpenStandardMiningChannel {
        request_id: 1,
        user_identity: "a".try_into().unwrap(),
        nominal_hash_rate: 1.0,
        max_target: U256::MAX,
    };
    device.say(&open).await;
    above.expect::<OpenStandardMiningChannel>().await;
    above
        .say(&Reconnect {
            new_host: "127.0.0.1".try_into().unwrap(),
            new_port: there.url().port,
        })
        .await;
    let (mut above, _) = there.accept(0).await;
    let again = above.expect::<OpenStandardMiningChannel>().await;
    above
        .say(&OpenStandardMiningChannelSuccess {
            request_id: again.request_id,
            channel_id: 5,
            target: U256::MAX,
            extranonce_prefix: B0_32::new(&[1; 8]).unwrap(),
            group_channel_id: 6,
        })
        .await;
    let opened = device.expect::<OpenStandardMiningChannelSuccess>().await;
    assert_eq!(opened.request_id, 1, "and nothing was said about the way");
    between.close().await;
}

/// What the upstream requires and lacks is what devices are told, each kind on a connection of its own.
#[tokio::test]
async fn devices_are_told_what_the_upstream_requires() {
    let stage = Stage::open().await;
    let between = Between::with(&[&stage.url()], &PLAIN).await;
    let mut plain = Wire::device(between.proxy.url(), 0).await;
    // The first connection shows that the upstream is there; it may have come before the device did.
    let (_above, asked) = stage.accept(flags::REQUIRES_FIXED_VERSION).await;
    assert_eq!(asked, 0);
    let told = plain.expect::<adit_wire::common::SetupConnectionSuccess>().await;
    assert_eq!(
        (told.used_version, told.flags),
        (2, flags::REQUIRES_FIXED_VERSION)
    );
    let mut headers = Wire::device(between.proxy.url(), flags::REQUIRES_STANDARD_JOBS).await;
    let (_above, asked) = stage.accept(flags::REQUIRES_FIXED_VERSION).await;
    assert_eq!(asked, flags::REQUIRES_STANDARD_JOBS);
    let told = headers
        .expect::<adit_wire::common::SetupConnectionSuccess>()
        .await;
    assert_eq!(told.flags, flags::REQUIRES_FIXED_VERSION);
    // An answer that contradicts what was asked for refuses that, and disturbs nobody else.
    let mut rolling = Wire::device(between.proxy.url(), flags::REQUIRES_VERSION_ROLLING).await;
    let (_contradicts, _) = stage.accept(flags::REQUIRES_FIXED_VERSION).await;
    let refused = rolling.expect::<adit_wire::common::SetupConnectionError>().await;
    assert_eq!(refused.flags, flags::REQUIRES_VERSION_ROLLING);
    assert!(between.proxy.picture().borrow().causes.is_empty());
    // A pool of ours refuses version rolling where it fixes versions: the device that needs it is told that bit.
    let house = House::open(&[("pool.fixed_version", "true")]).await;
    let other = Between::open(&[house.pool.url()]).await;
    let asked = flags::REQUIRES_VERSION_ROLLING | 1 << 31;
    let mut rolling = Peer::greet(other.proxy.url()).await;
    rolling.say(&setup(asked)).await;
    let ToClient::SetupConnectionError(refused) = rolling.hear().await.common() else {
        panic!("expected SetupConnection.Error")
    };
    assert_eq!(
        refused.flags, asked,
        "what the upstream lacks, and what nobody knows"
    );
    assert_eq!(rolling.hear().await, Heard::End);
    other.close().await;
    house.close().await;
    between.close().await;
}
