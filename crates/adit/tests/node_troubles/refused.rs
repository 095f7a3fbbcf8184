//! A node that would refuse a block of its own template.

use adit_testkit::MINE_TO;
use adit_wire::mining::NewExtendedMiningJob;

use super::http;
use super::support::House;
use super::support::miner::{How, Miner};
use super::support::rpc_node::{Fault, RpcNode};

/// More hashes than any block of 2^8 takes.
const HASHES_MAX: u32 = 20_000;
/// Hashes that are tried at a time.
const BATCH: u32 = 64;

async fn house(node: &RpcNode) -> House {
    let spec = node.spec();
    let changes = [
        ("node", &*spec),
        ("payout.address", MINE_TO),
        ("http.listen", "127.0.0.1:0"),
        ("ipc.fee_delta_sat", "1"),
        ("ipc.interval_ms", "100"),
    ];
    House::open(&changes).await
}

/// Listens until the job is as wished.
async fn job(miner: &mut Miner, wish: impl Fn(&NewExtendedMiningJob) -> bool) -> NewExtendedMiningJob {
    loop {
        if let Some(job) = miner.parts.as_ref().filter(|job| wish(job))
            && !miner.waits_for_tip
        {
            return job.clone();
        }
        assert!(miner.hear().await, "the pool hung up");
    }
}

/// Mines on the miner's jobs until the node has a block as wished, by the number of its transactions.
async fn block(node: &RpcNode, miner: &mut Miner, wish: impl Fn(usize) -> bool) {
    for batch in 0..HASHES_MAX / BATCH {
        let taken = node.state.lock().unwrap().taken.clone();
        if taken.iter().any(|(_, count)| wish(*count)) {
            return;
        }
        miner.submit(batch * BATCH..(batch + 1) * BATCH).await;
        miner.settle().await;
    }
    panic!("no such block in {HASHES_MAX} hashes");
}

/// The alarm is shown, the job is replaced by a block without transactions, the miners stay and find it, and everything is
/// counted; when the node is well again, so is the pool.
#[tokio::test]
async fn a_refused_job_is_replaced_and_the_miners_go_on() {
    let node = RpcNode::start(Fault::Refuses(0)).await;
    let house = house(&node).await;
    let mut miner = Miner::start(house.pool.url(), How::Extended, "miner").await;
    job(&mut miner, |job| job.merkle_path.is_empty()).await;
    let now = house.picture("the alarm", |now| !now.node.alarm.is_empty()).await;
    for part in ["would refuse a block of its own template", "bad-blk-sigops"] {
        assert!(now.node.alarm.contains(part), "{}", now.node.alarm);
    }
    assert!(now.node.jobs_refused >= 1 && now.node.jobs_valid >= 1, "{now:?}");
    block(&node, &mut miner, |transactions| transactions == 0).await;
    let accepted = |now: &adit::observe::Status| {
        now.blocks.accepted >= 1 && now.blocks.pending == 0 && now.connections.accepted == 1
    };
    let now = house.picture("the block", accepted).await;
    assert_eq!(now.blocks.rejected, 0);
    let page = http::get(house.pool.http().expect("a site"), "/metrics").await;
    let metric = |name: &str| {
        let mut lines = page.body.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value
            .and_then(|value| value.parse::<f64>().ok())
            .unwrap_or_default()
    };
    assert!(metric("adit_jobs_checked_refused_total") >= 1.0, "{}", page.body);
    assert!(metric("adit_jobs_checked_valid_total") >= 1.0, "{}", page.body);
    assert!(metric("adit_node_alarm") >= 1.0, "{}", page.body);

    node.has(Fault::None);
    // The next template passes: on a new tip, which the last block or the next one makes.
    node.state.lock().unwrap().chain.reorganise(0).unwrap();
    house
        .picture("no alarm any more", |now| now.node.alarm.is_empty())
        .await;
    job(&mut miner, |job| !job.merkle_path.is_empty()).await;
    let before = node.state.lock().unwrap().taken.len();
    block(&node, &mut miner, |transactions| transactions > 0).await;
    assert!(node.state.lock().unwrap().taken.len() > before);
    assert_eq!(
        miner
            .refused
            .iter()
            .filter(|(_, code)| code != "stale-share")
            .count(),
        0
    );
    let last = house.close().await;
    assert_eq!((last.connections.accepted, last.blocks.rejected), (1, 0));
}

/// Where an earlier template of the same tip has passed, that one is mined again.
#[tokio::test]
async fn a_refused_job_gives_way_to_the_last_good_one() {
    let node = RpcNode::start(Fault::None).await;
    let house = house(&node).await;
    let mut miner = Miner::start(house.pool.url(), How::Extended, "miner").await;
    let good = job(&mut miner, |job| !job.merkle_path.is_empty()).await;
    house.picture("a good job", |now| now.node.jobs_valid >= 1).await;
    {
        let mut state = node.state.lock().unwrap();
        let count = state.chain.template().unwrap().encoded.len();
        state.fault = Fault::Refuses(count);
        // More and more users pay.
        while state.chain.template().unwrap().encoded.len() <= count {
            state.chain.tick();
        }
    }
    let bad = job(&mut miner, |job| job.merkle_path != good.merkle_path).await;
    assert!(!bad.merkle_path.is_empty());
    let again = job(&mut miner, |job| job.merkle_path == good.merkle_path).await;
    assert_ne!(again.job_id, good.job_id);
    let now = house.picture("the alarm", |now| !now.node.alarm.is_empty()).await;
    assert!(now.node.jobs_refused >= 1, "{now:?}");
    miner.mine(0..10).await;
    house.close().await;
}
