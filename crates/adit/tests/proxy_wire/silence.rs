//! Upstreams that die in every way there is, while everybody below mines on.

use std::time::Duration;

use adit::uplink::Cause;
use tokio::time::Instant;

use crate::hose::{Flow, Hose};
use crate::support::miner::{How, Miner};
use crate::support::{House, shares};
use crate::{Between, EASY, Patience, hasty, patience};

/// Mines until so many are accepted; what was found on a job that a failover has ended meanwhile is no mistake.
async fn mine(miner: &mut Miner, nonces: &mut impl Iterator<Item = u32>, count: usize) {
    let goal = miner.acknowledged.len() + count;
    while miner.acknowledged.len() < goal {
        miner.submit(nonces.next()).await;
        miner.settle().await;
    }
    let others: Vec<&(u32, String)> = miner
        .refused
        .iter()
        .filter(|(_, code)| code != "stale-share")
        .collect();
    assert_eq!(others, [] as [&(u32, String); 0]);
}

/// Waits until nothing is on a wire any more: what is when it is cut is lost.
async fn all_answered(between: &Between) {
    between
        .state("all are answered", |now| {
            now.figures.shares_accepted >= now.figures.shares_sent
        })
        .await;
}

/// Waits for the change and says how long it took.
async fn turned(between: &Between, place: usize) -> Duration {
    let start = Instant::now();
    between
        .state("the other one", |now| now.place == Some(place))
        .await;
    start.elapsed()
}

/// A reset, a closed socket and nobody at the door are known at once; a black hole, when it does not answer in time.
/// Three upstreams, fifty rounds, and not one socket below is closed; each share stands in one ledger above, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_rounds_over_three_upstreams() {
    let houses = [
        House::open(EASY).await,
        House::open(EASY).await,
        House::open(EASY).await,
    ];
    let mut hoses = Vec::new();
    for house in &houses {
        hoses.push(Hose::to(house.pool.url()).await);
    }
    let urls = hoses
        .iter()
        .zip(&houses)
        .map(|(hose, house)| hose.url(house.pool.url()).to_string());
    let urls: Vec<String> = urls.collect();
    let between = Between::open_with(&urls, &[], hasty()).await;
    between.state("the first", |now| now.place == Some(0)).await;
    let mut miners = Vec::new();
    for (how, name) in [(How::HeaderOnly, "a"), (How::Grouped, "b"), (How::Extended, "c")] {
        miners.push(between.miner(how, name).await);
    }
    let mut nonces = 1..;
    let dead_within = Duration::from_secs(5);
    for round in 0..50 {
        let flow = if round % 5 == 4 { Flow::Swallow } else { Flow::Cut };
        let within = match flow {
            Flow::Swallow => hasty().quiet.ask_after + hasty().quiet.answer_within + dead_within,
            _ => dead_within,
        };
        between
            .state("all are well", |now| {
                now.upstreams.iter().take(2).all(|it| it.ready)
            })
            .await;
        all_answered(&between).await;
        hoses[0].set(flow);
        let took = turned(&between, 1).await;
        assert!(took < within, "{flow:?}: {took:?}");
        for miner in &mut miners {
            mine(miner, &mut nonces, 1).await;
        }
        if round % 2 == 0 {
            between.state("a third one", |now| now.upstreams[2].ready).await;
            all_answered(&between).await;
            hoses[1].set(flow);
            let took = turned(&between, 2).await;
            assert!(took < within, "{flow:?}: {took:?}");
            for miner in &mut miners {
                mine(miner, &mut nonces, 1).await;
            }
        }
        hoses.iter().for_each(|hose| hose.set(Flow::Open));
        turned(&between, 0).await;
        for miner in &mut miners {
            mine(miner, &mut nonces, 1).await;
        }
    }
    all_answered(&between).await;
    let acknowledged: usize = miners.iter().map(|miner| miner.acknowledged.len()).sum();
    let picture = between.proxy.picture();
    let last = between.proxy.stop().await.unwrap();
    let picture = picture.borrow().clone();
    assert!(picture.causes[&Cause::Silent] >= 10, "{:?}", picture.causes);
    assert!(picture.causes[&Cause::Lost] >= 40, "{:?}", picture.causes);
    assert_eq!(picture.figures.shares_refused, 0);
    assert_eq!(last.shares.accepted, acknowledged as u64, "the farm's own books");
    assert_eq!(
        (last.connections.accepted, last.connections.faulted),
        (3, 0),
        "nobody below was cut"
    );
    drop(hoses);
    let mut above = std::collections::BTreeSet::new();
    let mut count = 0;
    for house in houses {
        let data = house.data.path().to_owned();
        for (name, nonce) in shares(&data) {
            assert_eq!(name, "the.farm");
            above.insert(nonce);
            count += 1;
        }
        house.close().await;
    }
    assert_eq!(above.len(), count, "no share is in two ledgers, or twice in one");
    let sent = picture.figures.shares_sent as usize;
    assert_eq!(count, sent, "what was sent up stands there");
    let easy = picture.figures.shares_too_easy + picture.figures.shares_stale;
    assert_eq!(sent as u64 + easy, acknowledged as u64);
}

/// With the patience that there is by default: a black hole is left within 40 seconds, and who is well but has nothing to
/// say is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_is_left_within_forty_seconds() {
    let (first, second) = (House::open(EASY).await, House::open(EASY).await);
    let hose = Hose::to(first.pool.url()).await;
    let urls = [
        hose.url(first.pool.url()).to_string(),
        second.pool.url().to_string(),
    ];
    let usual = Patience {
        quiet: Patience::default().quiet,
        ..patience()
    };
    let between = Between::open_with(&urls, &[], usual).await;
    between.state("the first", |now| now.place == Some(0)).await;
    let mut miner = between.miner(How::Extended, "a").await;
    miner.mine([1]).await;
    hose.set(Flow::Swallow);
    let start = Instant::now();
    let mut picture = between.proxy.picture();
    let left = picture.wait_for(|now| now.place == Some(1));
    tokio::time::timeout(Duration::from_secs(40), left)
        .await
        .expect("within forty seconds")
        .unwrap();
    assert!(start.elapsed() > Duration::from_secs(10), "it had its chance");
    drop(picture);
    mine(&mut miner, &mut (2..), 1).await;
    let picture = between.proxy.picture().borrow().clone();
    assert_eq!(picture.causes.get(&Cause::Silent), Some(&1));
    assert!(picture.upstreams[1].ready, "the quiet one has answered");
    assert_eq!(picture.changes, 2);
    between.proxy.stop().await.unwrap();
    second.close().await;
    first.close().await;
}
