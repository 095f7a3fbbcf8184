//! Several upstreams at once, each with its part of the work.

use std::time::Duration;

use adit::observe::Uplink;
use tokio::time::Instant;

use crate::hose::{Flow, Hose};
use crate::support::lines::Rig;
use crate::support::miner::{How, Miner};
use crate::support::{House, shares};
use crate::{Between, EASY, hasty, old};

/// The same with a part of the work.
fn weighed(url: &str, weight: u32) -> String {
    url.replacen(',', &format!(",weight={weight},"), 1)
}

/// Mines for so many slices, wherever it is moved.
async fn mine(miner: &mut Miner, nonces: &mut impl Iterator<Item = u32>, slices: u32) {
    let start = Instant::now();
    while start.elapsed() < hasty().slice * slices {
        miner.submit(nonces.next()).await;
        miner.settle().await;
    }
    let others = miner.refused.iter().filter(|(_, code)| code != "stale-share");
    assert_eq!(others.count(), 0, "{:?}", miner.refused);
}

/// In percent, of the work that was sent up.
fn parts(now: &Uplink, before: &Uplink) -> Vec<f64> {
    let both = now.upstreams.iter().zip(&before.upstreams);
    let since: Vec<f64> = both.map(|(now, then)| (now.work - then.work) as f64).collect();
    let whole: f64 = since.iter().sum();
    since.iter().map(|part| part * 100.0 / whole).collect()
}

/// One device on two pools with chains of their own; one of them dies and comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_device_works_for_two_pools() {
    let houses = [House::open(&[]).await, House::open(&[]).await];
    let hose = Hose::to(houses[1].pool.url()).await;
    let there = format!("{}:{}", houses[1].pool.url().host, houses[1].pool.url().port);
    let urls = [
        weighed(&old(&houses[0].pool, "main.farm"), 70),
        weighed(&old(&houses[1].pool, "rest.farm"), 30).replace(&there, &hose.place()),
    ];
    let between = Between::open_with(&urls, &[], hasty()).await;
    between
        .state("both", |now| {
            now.upstreams.iter().all(|it| it.ready) && now.upstream == "several"
        })
        .await;
    let mut nonces = 1..;
    let mut miner = between.miner(How::Extended, "only").await;
    let start = between.proxy.picture().borrow().clone();
    mine(&mut miner, &mut nonces, 60).await;
    let now = between.proxy.picture().borrow().clone();
    let is = parts(&now, &start);
    assert!((is[0] - 70.0).abs() < 6.0, "{is:?}");
    // What was on its way when a pool changed its mind about the difficulty may be refused.
    let (sent, refused) = (now.figures.shares_sent, now.figures.shares_refused);
    assert!(refused * 100 < sent, "{refused} of {sent} refused");

    hose.set(Flow::Cut);
    between.state("one is dead", |now| !now.upstreams[1].ready).await;
    let before = between.proxy.picture().borrow().clone();
    mine(&mut miner, &mut nonces, 5).await;
    let is = parts(&between.proxy.picture().borrow().clone(), &before);
    assert_eq!(is, [100.0, 0.0]);
    hose.set(Flow::Open);
    between.state("and back", |now| now.upstreams[1].ready).await;
    let before = between.proxy.picture().borrow().clone();
    mine(&mut miner, &mut nonces, 60).await;
    let is = parts(&between.proxy.picture().borrow().clone(), &before);
    assert!((is[1] - 30.0).abs() < 6.0, "{is:?}");

    // What is on its way arrives.
    let sent = between.proxy.picture().borrow().figures.shares_sent;
    let lost = {
        let picture = between.proxy.picture();
        let picture = picture.borrow();
        sent - picture.figures.shares_accepted
    };
    assert!(lost < 50, "{lost} had no answer, of the connection that was cut");
    let last = between.proxy.stop().await.unwrap();
    assert_eq!((last.connections.accepted, last.connections.faulted), (1, 0));
    for (house, account) in houses.into_iter().zip(["main", "rest"]) {
        let data = house.data.path().to_owned();
        let booked = shares(&data);
        assert!(!booked.is_empty() && booked.iter().all(|(name, _)| name == account));
        house.close().await;
    }
}

/// Many devices of both protocols: each is where it is wanted, and nobody is cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn miners_of_both_protocols_are_dealt_out() {
    let houses = [House::open(EASY).await, House::open(EASY).await];
    let urls = [
        format!("{},weight=1", houses[0].pool.url()),
        format!("{},weight=1", houses[1].pool.url()),
    ];
    let between = Between::open_with(&urls, &[], hasty()).await;
    between
        .state("both", |now| now.upstreams.iter().all(|it| it.ready))
        .await;
    let mut nonces = 1u32..;
    let (mut miners, mut rigs) = (Vec::new(), Vec::new());
    for (how, name) in [(How::HeaderOnly, "a"), (How::Grouped, "b"), (How::Extended, "c")] {
        miners.push(between.miner(how, name).await);
    }
    for name in ["d.1", "d.2"] {
        rigs.push(Rig::start(between.proxy.pool().url(), name).await);
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(120);
    loop {
        for miner in &mut miners {
            miner.submit(nonces.by_ref().take(3)).await;
            miner.settle().await;
            assert!(miner.refused.iter().all(|(_, code)| code == "stale-share"));
        }
        for rig in &mut rigs {
            let from = nonces.by_ref().nth(3).unwrap() - 3;
            rig.submit(from..from + 3).await;
            while !rig.waiting.is_empty() {
                assert!(rig.hear().await);
            }
            assert!(
                rig.refused.iter().all(|error| error[0] == 21),
                "{:?}",
                rig.refused
            );
        }
        let picture = between.proxy.picture();
        let picture = picture.borrow();
        let work: Vec<u64> = picture.upstreams.iter().map(|it| it.work).collect();
        let even = work[0].abs_diff(work[1]) * 10 < work.iter().sum();
        if picture.figures.shares_accepted > 200
            && even
            && picture.upstreams.iter().all(|it| it.connections > 0)
        {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{work:?}");
    }
    let last = between.proxy.stop().await.unwrap();
    assert_eq!((last.connections.accepted, last.connections.faulted), (5, 0));
    for house in houses {
        house.close().await;
    }
}
