//! What an upstream is told of those below: who they are, and when they come and go.

use std::collections::BTreeSet;
use std::time::Duration;

use adit_wire::Message;
use adit_wire::mining::UpdateChannel;
use tokio::time::Instant;

use crate::hose::Hose;
use crate::support::lines::Rig;
use crate::support::miner::How;
use crate::support::{House, records, until};
use crate::{Between, EASY};

/// REQ-EXT-034: the pool learns which of our devices found a share.
#[tokio::test]
async fn shares_name_their_worker_above() {
    let pool = House::open(EASY).await;
    let between = Between::open(&[pool.pool.url().to_string()]).await;
    between
        .state("a channel with names", |now| now.upstreams[0].worker_names)
        .await;
    let mut one = between.miner(How::Extended, "alice").await;
    one.mine(1..20).await;
    let mut other = Rig::start(between.proxy.pool().url(), "bob.rig7").await;
    other.mine(20..40).await;
    between.answered(39).await;
    between.proxy.stop().await.unwrap();
    let shares = records(pool.data.path());
    pool.close().await;
    let shares = shares.iter().filter(|record| record["kind"] == "share");
    let workers: BTreeSet<String> = shares
        .map(|share| share["worker"].as_str().unwrap_or("nobody").to_owned())
        .collect();
    let wanted = ["the.farm.alice", "the.farm.bob.rig7"].map(str::to_owned);
    assert_eq!(workers, BTreeSet::from(wanted));
}

/// UpdateChannel messages among plaintext frames.
fn updates(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while let Some((header, rest)) = bytes.split_at_checked(6) {
        let length = usize::from(header[3]) | usize::from(header[4]) << 8 | usize::from(header[5]) << 16;
        count += usize::from(header[..2] == [0, 0x80] && header[2] == UpdateChannel::TYPE);
        bytes = rest.get(length..).unwrap_or_default();
    }
    count
}

/// REQ-MIN-032, REQ-MIN-033, REQ-MIN-040, REQ-MIN-041: devices that come, go, and vanish are news to the upstream, once a
/// second at most.
#[tokio::test]
async fn the_upstream_hears_of_devices_that_come_and_go() {
    let pool = House::open(&[("security.plaintext", "loopback")]).await;
    let hose = Hose::to(pool.pool.url()).await;
    let url = adit_net::Url {
        key: None,
        ..hose.url(pool.pool.url())
    };
    let keys = [("upstream.keyless", "plain")];
    let between = Between::open_with(&[url.to_string()], &keys, crate::patience()).await;
    between.state("an upstream", |now| now.place == Some(0)).await;
    let start = Instant::now();
    let mut known = updates(&hose.heard());
    let mut miner = between.miner(How::Extended, "first").await;
    until("a device came", || updates(&hose.heard()) > known).await;
    // Many at once are one piece of news, or two.
    known = updates(&hose.heard());
    let mut many = Vec::new();
    for number in 0..20 {
        many.push(between.miner(How::Grouped, &format!("device{number}")).await);
    }
    until("twenty came", || updates(&hose.heard()) > known).await;
    // They vanish without a word.
    until("the picture has them", || {
        between.proxy.picture().borrow().upstreams[0].connections == 21
    })
    .await;
    known = updates(&hose.heard());
    drop(many);
    until("they went", || {
        let gone = between.proxy.picture().borrow().upstreams[0].connections == 1;
        gone && updates(&hose.heard()) > known
    })
    .await;
    let seconds = start.elapsed().as_secs() as usize;
    let told = updates(&hose.heard());
    assert!(told <= seconds + 2, "{told} in {seconds} s");
    miner.mine([1]).await;
    between.proxy.stop().await.unwrap();
    pool.close().await;
}

/// REQ-MIN-049: a header time above the smallest is as good as that, and reaches the upstream as it came.
#[tokio::test]
async fn a_rolled_time_goes_up_as_it_came() {
    let pool = House::open(EASY).await;
    let between = Between::open(&[pool.pool.url().to_string()]).await;
    between.state("an upstream", |now| now.place == Some(0)).await;
    let mut miner = between.miner(How::Extended, "roller").await;
    let (start, first) = (Instant::now(), miner.ntime);
    until("two seconds have passed", || {
        start.elapsed() > Duration::from_secs(2)
    })
    .await;
    for later in [0, 1, 2] {
        miner.ntime = first + later;
        miner.mine([later + 1]).await;
    }
    between.answered(3).await;
    between.proxy.stop().await.unwrap();
    let shares = records(pool.data.path());
    pool.close().await;
    let times = shares.iter().filter(|record| record["kind"] == "share");
    let times: Vec<u64> = times.map(|share| share["ntime"].as_u64().unwrap()).collect();
    assert_eq!(times, [0, 1, 2].map(|later| u64::from(first + later)));
}
