//! A mining proxy between miners and pools of ours, over real encrypted sockets.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

#[path = "support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use adit::proxy::{Options, Proxy, State};
use adit::uplink::{Upstream, supervisor};
use adit_net::Url;
use support::miner::{How, Miner};
use support::{House, SOON, folder, settings, shares};
use tempfile::TempDir;

/// A proxy of this process with its data folder.
struct Between {
    _data: TempDir,
    proxy: Proxy,
}

/// No patience, so that a test is quick.
fn patience() -> supervisor::Settings {
    supervisor::Settings {
        connect_timeout: Duration::from_secs(5),
        retry: Duration::from_millis(20),
        retry_max: Duration::from_millis(200),
        settle: Duration::from_millis(300),
        start_grace: Duration::from_millis(100),
        ..supervisor::Settings::default()
    }
}

impl Between {
    async fn open(upstreams: &[&Url]) -> Self {
        let data = folder();
        let options = Options {
            upstreams: upstreams
                .iter()
                .map(|url| url.to_string().parse::<Upstream>().unwrap())
                .collect(),
            user: "the.farm".into(),
            supervisor: patience(),
        };
        let settings = adit::config::Settings {
            nodeless: true,
            ..settings(data.path(), &[])
        };
        let proxy = Proxy::start(&settings, options).await.unwrap();
        Self { _data: data, proxy }
    }

    async fn miner(&self, how: How, name: &str) -> Miner {
        Miner::start(self.proxy.pool().url(), how, name).await
    }

    /// Waits until the proxy does as wished.
    async fn state(&self, what: &str, wish: impl FnMut(&State) -> bool) -> State {
        let mut state = self.proxy.state();
        let wished = tokio::time::timeout(SOON, state.wait_for(wish)).await;
        match wished {
            Ok(state) => state.unwrap().clone(),
            Err(_) => panic!(
                "{what}: not within {SOON:?}; at the end {:?}",
                self.proxy.state().borrow()
            ),
        }
    }
}

/// Listens until a job came that was not known before.
async fn next_job(miner: &mut Miner) {
    let before = miner.job_id;
    while miner.job_id == before {
        assert!(miner.hear().await, "the proxy hung up on {}", miner.name);
    }
    if miner.tip.job_id < miner.job_id && miner.tip.prev_hash.0 == [0; 32] {
        miner.next_tip().await;
    }
}

/// Miners of every kind share one channel of the pool, and each share that they find stands in its ledger once.
#[tokio::test]
async fn every_kind_of_miner_is_one_channel_of_the_pool() {
    let pool = House::open(&[]).await;
    let between = Between::open(&[pool.pool.url()]).await;
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
    let state = between
        .state("all are answered", |state| state.accepted + state.refused >= sent)
        .await;
    assert_eq!((state.accepted, state.refused, state.lost), (sent, 0, 0));
    let now = pool
        .picture("one channel", |now| now.shares.accepted == sent)
        .await;
    assert_eq!(now.channels.extended, 1);
    assert_eq!(now.channels.standard, 0);
    let last = between.proxy.stop().await.unwrap();
    assert_eq!(last.shares.accepted, sent, "the farm's own books have them too");
    let data = pool.data.path().to_owned();
    let booked: Vec<(String, u32)> = shares(&data);
    assert_eq!(booked.len() as u64, sent);
    assert!(booked.iter().all(|(name, _)| name == "the.farm"), "{booked:?}");
    pool.close().await;
}

/// The pool in use dies: the next one is mined on, with every socket below as it was; and back again.
#[tokio::test]
async fn a_dead_upstream_is_replaced_and_no_miner_notices() {
    let spare = House::open(&[]).await;
    let first = House::open(&[]).await;
    let (url, data) = (first.pool.url().clone(), first.data);
    let listen = format!("{}:{}", url.host, url.port);
    let between = Between::open(&[&url, spare.pool.url()]).await;
    between.state("the first", |state| state.place == Some(0)).await;
    let mut miners = Vec::new();
    for (how, name) in [(How::HeaderOnly, "a"), (How::Grouped, "b"), (How::Extended, "c")] {
        let mut miner = between.miner(how, name).await;
        miner.mine([1]).await;
        miners.push(miner);
    }
    between.state("at the first", |state| state.accepted == 3).await;

    let mut first_pool = first.pool;
    for round in 0..3u32 {
        first_pool.stop().await.unwrap();
        let died = Instant::now();
        between.state("the second", |state| state.place == Some(1)).await;
        assert!(died.elapsed() < Duration::from_secs(5), "{:?}", died.elapsed());
        for miner in &mut miners {
            next_job(miner).await;
            miner.mine([100 + round]).await;
        }
        let at_spare = u64::from(round + 1) * 3;
        let now = spare
            .picture("the second has them", |now| now.shares.accepted >= at_spare)
            .await;
        assert_eq!(now.shares.accepted, at_spare);

        first_pool = support::pool(data.path(), &[("listen", &listen)]).await;
        between
            .state("back at the first", |state| state.place == Some(0))
            .await;
        for miner in &mut miners {
            next_job(miner).await;
            miner.mine([200 + round]).await;
        }
        let after = u64::from(round + 1) * 6 + 3;
        let state = between
            .state("all are answered", |state| state.accepted >= after)
            .await;
        assert_eq!((state.refused, state.lost), (0, 0));
    }
    let last = between.proxy.stop().await.unwrap();
    assert_eq!(last.shares.accepted, 21);
    assert_eq!(last.connections.ended, 0, "nobody below was cut before the end");
    first_pool.stop().await.unwrap();
    spare.close().await;
}
