//! Everybody below shares one channel of one upstream, which may die.

use std::time::Duration;

use adit::observe::Figures;

use crate::support::lines::Rig;
use crate::support::miner::How;
use crate::support::{self, House, shares};
use crate::{Between, EASY};

/// REQ-MIN-006, REQ-MIN-103, REQ-EXT-008: miners of every kind share one channel of the pool, no two of them search the
/// same, and each share that they find stands in its ledger once.
#[tokio::test]
async fn every_kind_of_miner_is_one_channel_of_the_pool() {
    let pool = House::open(&[]).await;
    let between = Between::open(&[pool.pool.url().to_string()]).await;
    between.state("an upstream", |state| state.place == Some(0)).await;
    let mut nonces = 1u32..;
    let mut sent = 0;
    for how in [How::HeaderOnly, How::Grouped, How::Extended] {
        for number in 0..3 {
            let mut miner = between.miner(how, &format!("device{number}")).await;
            let some: Vec<u32> = nonces.by_ref().take(5).collect();
            sent += some.len() as u64;
            miner.mine(some).await;
        }
    }
    // The faster we are, the harder are the shares that the pool wants.
    let answered = |it: &Figures| it.shares_accepted + it.shares_refused + it.shares_too_easy;
    let figures = between
        .state("all are answered", |now| answered(&now.figures) >= sent)
        .await;
    assert_eq!((figures.shares_refused, figures.shares_stale), (0, 0));
    let accepted = figures.shares_accepted;
    assert!(accepted > 0);
    let now = pool
        .picture("one channel", |now| now.shares.accepted == accepted)
        .await;
    assert_eq!((now.channels.extended, now.channels.standard), (1, 0));
    let last = between.proxy.stop().await.unwrap();
    assert_eq!(last.shares.accepted, sent, "the farm's own books have them too");
    let data = pool.data.path().to_owned();
    let booked: Vec<(String, u32)> = shares(&data);
    assert_eq!(booked.len() as u64, accepted);
    assert!(booked.iter().all(|(name, _)| name == "the.farm"), "{booked:?}");
    pool.close().await;
}

/// A proxy that stops in order has sent up what it has acknowledged below, and has waited for the answers.
#[tokio::test]
async fn whoever_stops_has_sent_everything_up() {
    // The answers come in large lots, and late.
    let keys = [EASY, &[("shares.ack_delay_max_ms", "900")]].concat();
    let pool = House::open(&keys).await;
    let between = Between::open(&[pool.pool.url().to_string()]).await;
    between.state("an upstream", |state| state.place == Some(0)).await;
    let mut miner = between.miner(How::Extended, "alice").await;
    miner.mine(0..3_000).await;
    let (acknowledged, picture) = (miner.acknowledged.len() as u64, between.proxy.picture());
    between.proxy.stop().await.unwrap();
    let figures = picture.borrow().figures;
    assert_eq!(figures.shares_sent + figures.shares_too_easy, acknowledged);
    assert_eq!(
        (
            figures.shares_accepted,
            figures.shares_refused,
            figures.shares_stale
        ),
        (figures.shares_sent, 0, 0)
    );
    assert_eq!(shares(pool.data.path()).len() as u64, figures.shares_sent);
    pool.close().await;
}

/// The pool in use dies: the next one is mined on, with every socket below as it was; and back again.
#[tokio::test]
async fn a_dead_upstream_is_replaced_and_no_miner_notices() {
    let spare = House::open(&[]).await;
    let first = House::open(&[]).await;
    let (url, data) = (first.pool.url().clone(), first.data);
    let listen = format!("{}:{}", url.host, url.port);
    let between = Between::open(&[url.to_string(), spare.pool.url().to_string()]).await;
    between.state("the first", |state| state.place == Some(0)).await;
    let mut miners = Vec::new();
    for (how, name) in [(How::HeaderOnly, "a"), (How::Grouped, "b"), (How::Extended, "c")] {
        let mut miner = between.miner(how, name).await;
        miner.mine([1]).await;
        miners.push(miner);
    }
    between
        .state("at the first", |state| {
            state.figures.shares_accepted + state.figures.shares_too_easy == 3
        })
        .await;

    let mut first_pool = first.pool;
    for round in 0..3u32 {
        first_pool.stop().await.unwrap();
        let died = tokio::time::Instant::now();
        between.state("the second", |state| state.place == Some(1)).await;
        assert!(died.elapsed() < Duration::from_secs(5), "{:?}", died.elapsed());
        for miner in &mut miners {
            miner.next_job().await;
            miner.mine([100 + round]).await;
        }
        // The faster we are, the harder are the shares that the upstream wants.
        let so_far = u64::from(round) * 6 + 6;
        between
            .state("the second has them", |state| {
                state.figures.shares_accepted + state.figures.shares_too_easy >= so_far
            })
            .await;

        first_pool = support::pool(data.path(), &[("listen", &listen)]).await;
        between
            .state("back at the first", |state| state.place == Some(0))
            .await;
        for miner in &mut miners {
            miner.next_job().await;
            miner.mine([200 + round]).await;
        }
        let after = u64::from(round + 1) * 6 + 3;
        let figures = between
            .state("all are answered", |state| {
                state.figures.shares_accepted + state.figures.shares_too_easy >= after
            })
            .await;
        assert_eq!((figures.shares_refused, figures.shares_stale), (0, 0));
    }
    let accepted = between.proxy.picture().borrow().figures.shares_accepted;
    let last = between.proxy.stop().await.unwrap();
    assert_eq!(last.shares.accepted, 21);
    assert_eq!(last.connections.faulted, 0, "nobody below was cut");
    assert_eq!(last.connections.accepted, 3, "nobody had to come again");
    first_pool.stop().await.unwrap();
    let at_first = shares(data.path()).len() as u64;
    let at_spare = spare.close().await.shares.accepted;
    assert!(accepted > 0);
    assert_eq!(at_first + at_spare, accepted, "each in one ledger, and once");
}

/// A farm's proxy below another one, of which it gets the eight bytes that a device of its own would roll: what is found below both
/// is in the ledger of the pool above both, and in each proxy's.
#[tokio::test]
async fn a_proxy_stands_below_a_proxy() {
    let pool = House::open(EASY).await;
    let upper = Between::open(&[pool.pool.url().to_string()]).await;
    upper.state("the pool", |now| now.place == Some(0)).await;
    let lower = Between::open(&[upper.proxy.pool().url().to_string()]).await;
    lower.state("the proxy", |now| now.place == Some(0)).await;
    assert_eq!(lower.proxy.picture().borrow().upstreams[0].extranonce_bytes, 8);
    assert_eq!(upper.proxy.picture().borrow().upstreams[0].extranonce_bytes, 12);
    let mut nonces = 1u32..;
    let mut miners = Vec::new();
    for (how, name) in [(How::HeaderOnly, "a"), (How::Grouped, "b")] {
        let mut miner = lower.miner(how, name).await;
        miner.mine(nonces.by_ref().take(5)).await;
        miners.push(miner);
    }
    let mut rig = Rig::start_with(lower.proxy.pool().url(), "c.rig", "00000001").await;
    rig.mine(100..105).await;
    let figures = lower.answered(15).await;
    let figures_above = upper.answered(figures.shares_accepted).await;
    assert!(figures_above.shares_accepted > 0);
    // Had two of them searched the same, the proxy above would have refused one.
    assert_eq!(lower.proxy.stop().await.unwrap().shares.accepted, 15);
    let last = upper.proxy.stop().await.unwrap();
    assert_eq!(last.shares.accepted, figures.shares_accepted);
    assert_eq!(last.shares.rejected, 0);
    let booked = shares(pool.data.path());
    assert_eq!(booked.len() as u64, figures_above.shares_accepted);
    pool.close().await;
}

/// REQ-COM-034: an upstream that drains is left for the next one; nobody below is told to go anywhere.
#[tokio::test]
async fn a_reconnect_from_above_goes_no_further() {
    let (first, second) = (House::open(&[]).await, House::open(&[]).await);
    let between = Between::open(&[first.pool.url().to_string(), second.pool.url().to_string()]).await;
    between.state("the first", |now| now.place == Some(0)).await;
    let mut miner = between.miner(How::Extended, "a").await;
    first.pool.drain(&adit::config::Place::default()).await;
    between.state("the second", |now| now.place == Some(1)).await;
    miner.next_job().await;
    miner.mine([1]).await;
    assert!(miner.sent_away.is_none() && miner.closed.is_none());
    between.proxy.stop().await.unwrap();
    second.close().await;
    first.close().await;
}
