//! `adit proxy --jobs`: the proxy as it runs, with a distributor, its pool above and miners below.

use std::sync::Arc;
use std::time::Duration;

use adit::proxy::{Patience, Proxy};
use adit::uplink::supervisor;
use adit_net::Url;
use adit_proto::distribute::board;
use adit_wire::refusal::WithdrawJob;
use tempfile::TempDir;

use super::support::miner::{How, Miner};
use super::support::{self, House, SOON, folder, settings, shares, solve_alone};
use super::{Distributor, FARM, RECEIVERS, SEQUENCE, miner, named, negotiate};
use adit::config::Receivers;

/// A proxy of this process, below `pool`, with jobs from `jobs`.
struct Between {
    _data: TempDir,
    proxy: Proxy,
}

impl Between {
    async fn open(pools: &str, jobs: &Url) -> Self {
        Self::with(pools, jobs, Patience::default().slice).await
    }

    /// `slice`: between two deals, where pools share the work.
    async fn with(pools: &str, jobs: &Url, slice: Duration) -> Self {
        let data = folder();
        let jobs = jobs.to_string();
        let keys = [
            ("upstream.pools", pools),
            ("upstream.jobs", jobs.as_str()),
            ("upstream.user", FARM),
            // Every hash is a share of the pool, too.
            ("upstream.hash_rate", "1"),
            ("pool.workers", "1"),
        ];
        let settings = adit::config::Settings {
            nodeless: true,
            ..settings(data.path(), &keys)
        };
        let upstreams = supervisor::Settings {
            settle: Duration::from_millis(300),
            start_grace: Duration::from_millis(100),
            retry: Duration::from_millis(50),
            ..supervisor::Settings::default()
        };
        let patience = Patience {
            upstreams,
            slice,
            ..Patience::default()
        };
        let proxy = Proxy::start(&settings, patience).await.unwrap();
        let mut picture = proxy.picture();
        let used = tokio::time::timeout(SOON, picture.wait_for(|now| !now.upstream.is_empty()));
        used.await.expect("an upstream").unwrap();
        Self { _data: data, proxy }
    }

    async fn device(&self, name: &str) -> Miner {
        Miner::start(self.proxy.pool().url(), How::Extended, name).await
    }
}

/// Whether the job that is mined is the negotiated one, by its coinbase.
fn is_distributed(device: &Miner) -> bool {
    let parts = device.parts.as_ref().expect("a job");
    parts.coinbase_tx_suffix.starts_with(&SEQUENCE.to_le_bytes())
}

/// Listens until the device mines the distributed job, or does not.
async fn until_distributed(device: &mut Miner, wanted: bool) {
    let reached = async {
        while is_distributed(device) != wanted || device.waits_for_tip {
            device.next_job().await;
        }
    };
    let reached = tokio::time::timeout(SOON, reached).await;
    assert!(reached.is_ok(), "distributed job mined: {wanted} does not come");
}

/// A nonce with which the device's present job is a block.
fn block(device: &Miner) -> u32 {
    let parts = device.parts.as_ref().expect("a job");
    let rolled = vec![0x5a; device.size];
    let coinbase = [
        &parts.coinbase_tx_prefix[..],
        &device.prefix,
        &rolled,
        &parts.coinbase_tx_suffix,
    ]
    .concat();
    let tip = (device.tip.prev_hash, device.ntime, device.tip.nbits);
    solve_alone(device.version, tip, &coinbase).nonce
}

/// The proxy mines the pool's own job, the distributed one on the same channel when there is one, and the pool's own again when
/// that is withdrawn, at another block, and when its distributor is gone; its devices get all of that as jobs. A block that one of
/// them finds goes to the distributor as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_mines_distributed_jobs_and_falls_back() {
    let house = House::open(&[("negotiation.shared_tokens", "true")]).await;
    let pool = house.pool.url().clone();
    let mut distributor = Distributor::open(Receivers::Loopback).await;
    let jobs = distributor.house.pool.url().clone();
    let own = miner(&pool).await;
    let between = Between::open(&pool.to_string(), &jobs).await;
    let mut device = between.device("below").await;
    device.mine([1]).await;
    assert!(!is_distributed(&device));

    distributor.say(board::Input::Pool(Some(named(&pool))));
    let (job, tip, _, _declarer) = negotiate(&pool, &own).await;
    distributor.say(board::Input::Job(Box::new(job), tip));
    until_distributed(&mut device, true).await;
    device.mine([2, 3]).await;

    distributor.say(board::Input::End(WithdrawJob::RefusedByPool));
    until_distributed(&mut device, false).await;
    device.mine([10_001]).await;

    let (job, tip, _, _declarer) = negotiate(&pool, &own).await;
    distributor.say(board::Input::Job(Box::new(job), tip));
    until_distributed(&mut device, true).await;
    let nonce = block(&device);
    device.submit([nonce]).await;
    let solved = tokio::time::timeout(SOON, distributor.solutions.recv());
    let solved = solved.await.expect("the distributor is told").unwrap();
    assert_eq!(solved.solution.nonce, nonce);
    house
        .picture("the pool has published it", |now| now.blocks.accepted == 1)
        .await;
    until_distributed(&mut device, false).await;
    device.settle().await;
    assert_eq!(device.refused, []);
    device.mine([10_002]).await;
    let figures = between.proxy.picture().borrow().figures;
    assert_eq!(figures.shares_refused, 0);
    distributor.house.close().await;
    device.mine([10_003]).await;
    let last = between.proxy.stop().await.unwrap();
    assert_eq!((last.connections.accepted, last.connections.faulted), (1, 0));
    house.close().await;
}

/// A pool that takes no jobs of others is mined on all the same: with its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_mines_the_pools_own_jobs_where_no_others_are_taken() {
    let house = House::open(&[("negotiation.mode", "off")]).await;
    let distributor = Distributor::open(Receivers::Loopback).await;
    let between = Between::open(&house.pool.url().to_string(), distributor.house.pool.url()).await;
    let mut device = between.device("below").await;
    device.mine([1, 2]).await;
    between.proxy.stop().await.unwrap();
    house.close().await;
}

/// Where two pools share the work, the job is mined by who mines for the pool that it is for: the other one's own is mined
/// there, and each share goes to whoever knows its job.
#[tokio::test(flavor = "multi_thread")]
async fn a_distributed_job_is_mined_on_the_lane_of_its_pool() {
    let houses = [
        House::open(&[("negotiation.shared_tokens", "true")]).await,
        House::open(&[]).await,
    ];
    let pool = houses[0].pool.url().clone();
    let mut distributor = Distributor::open(Receivers::Loopback).await;
    let jobs = distributor.house.pool.url().clone();
    let own = miner(&pool).await;
    let pools = format!("{pool},weight=1 {},weight=1", houses[1].pool.url());
    let between = Between::with(&pools, &jobs, Duration::from_millis(150)).await;
    let mut picture = between.proxy.picture();
    let both = picture.wait_for(|now| now.upstreams.iter().all(|it| it.ready));
    tokio::time::timeout(SOON, both)
        .await
        .expect("both are there")
        .unwrap();
    let mut device = between.device("below").await;
    distributor.say(board::Input::Pool(Some(named(&pool))));
    let (job, tip, _, _declarer) = negotiate(&pool, &own).await;
    distributor.say(board::Input::Job(Box::new(job), tip));
    let (mut nonces, mut turns) = (1u32.., 0);
    let dealt = async {
        for distributed in [true, false, true, false, true] {
            while is_distributed(&device) != distributed || device.waits_for_tip {
                device.submit(nonces.next()).await;
                device.settle().await;
            }
            turns += 1;
        }
    };
    let dealt = tokio::time::timeout(SOON, dealt).await;
    assert!(dealt.is_ok(), "only {turns} of 5 turns");
    let late = |(_, code): &(u32, String)| code == "stale-share";
    assert!(device.refused.iter().all(late), "{:?}", device.refused);
    let all = |now: &adit::observe::Uplink| now.figures.shares_accepted == now.figures.shares_sent;
    let figures = tokio::time::timeout(SOON, picture.wait_for(all)).await;
    let figures = figures.expect("every share has its answer").unwrap().figures;
    assert_eq!(figures.shares_refused, 0);
    between.proxy.stop().await.unwrap();
    distributor.house.close().await;
    drop(own);
    for house in houses {
        assert!(!shares(house.data.path()).is_empty());
        house.close().await;
    }
}

/// A farm: fifty proxies, each with its own books and one connection to the pool, work from one declaration; devices below all of
/// them mine it, and the pool credits each proxy's shares.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_proxies_work_from_one_declaration() {
    let house = House::open(&[("negotiation.shared_tokens", "true")]).await;
    let pool = house.pool.url().clone();
    let mut distributor = Distributor::open(Receivers::Loopback).await;
    let jobs = distributor.house.pool.url().clone();
    let own = miner(&pool).await;
    distributor.say(board::Input::Pool(Some(named(&pool))));
    let mut farm = Vec::new();
    for number in 0..RECEIVERS {
        let between = Between::open(&pool.to_string(), &jobs).await;
        let device = between.device(&format!("device{number}")).await;
        farm.push((between, device));
    }
    let (job, tip, negotiation, _declarer) = negotiate(&pool, &own).await;
    distributor.say(board::Input::Job(Box::new(job), tip));
    let mut roots = std::collections::HashSet::new();
    for (_, device) in &mut farm {
        until_distributed(device, true).await;
        device.mine([1, 2]).await;
        // The upstream's prefix is a constant part of each proxy's coinbase: no two search the same space.
        let parts = device.parts.as_ref().unwrap();
        roots.insert(parts.coinbase_tx_prefix.to_vec());
    }
    assert_eq!(roots.len() as u64, RECEIVERS);
    let counts = house.picture("all have set it", |now| {
        now.negotiation.custom_accepted >= RECEIVERS
    });
    let counts = counts.await.negotiation;
    assert_eq!(
        (counts.declared, counts.custom_accepted, counts.custom_refused),
        (1, RECEIVERS, 0)
    );
    assert_eq!(negotiation.messages, 4);
    for (between, device) in farm {
        drop(device);
        let figures = between.proxy.picture().borrow().figures;
        assert_eq!(figures.shares_refused, 0);
        let last: Arc<_> = between.proxy.stop().await.unwrap();
        assert_eq!(last.shares.accepted, 2);
    }
    let last = support::picture(&house.pool, "every channel is gone", |now| {
        now.channels.extended == 1
    })
    .await;
    assert_eq!(last.shares.rejected, 0);
    house.close().await;
}
