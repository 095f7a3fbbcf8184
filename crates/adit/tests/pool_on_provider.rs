//! Our pool on our template provider on the embedded chain: every leg over an encrypted socket.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use adit::config::Settings;
use adit::device::{self, Channel, Live};
use adit::observe::NodeState;
use adit::pool::Pool;
use adit::provider::Provider;
use adit::shutdown::Shutdown;
use adit_net::Clock;
use adit_node::{Solution, TemplateId, Verdict};
use adit_proto::target::Target;
use adit_testkit::MINE_TO;
use adit_wire::template::SubmitSolution;
use bitcoin::block::{Header, Version};
use bitcoin::consensus::deserialize;
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, CompactTarget, Transaction, TxMerkleNode};
use support::miner::{How, Miner};
use support::template_provider::{NBITS, TemplateProvider};
use support::{SOON, picture};

/// A block takes so many hashes, as a power of two.
const NODE: &str = "embedded:16";
/// Blocks that are to be found.
const BLOCKS: u64 = 5;

async fn provider(data: &std::path::Path, listen: &str) -> Provider {
    let keys = [
        ("data", data.to_str().unwrap()),
        ("provider.listen", listen),
        ("node", NODE),
        ("log.level", "error"),
    ];
    Provider::start(&Settings::with(&keys).unwrap()).await.unwrap()
}

async fn pool(data: &std::path::Path, url: &str) -> Pool {
    let node = format!("tdp:{url}");
    support::pool(data, &[("node", &node), ("payout.address", MINE_TO)]).await
}

async fn mine(pool: &Pool, channel: Channel, shares: u64) {
    let (_stop, shutdown) = Shutdown::new();
    let settings = device::Settings {
        upstream: pool.url().clone(),
        user: "miner".into(),
        threads: 1,
        channel,
        until_shares: Some(shares),
        dialling: adit_net::Dialling::default(),
        extensions: device::Extensions::default(),
        // Claimed low, so that shares are as easy as blocks.
        hash_rate: Some(100.0),
    };
    device::run(settings, Arc::new(Live::default()), shutdown)
        .await
        .unwrap();
}

/// REQ-TDP-016, REQ-TDP-018, REQ-TDP-022, REQ-TDP-028, REQ-TDP-039, REQ-TDP-040: blocks of our pool on our provider are in the chain
/// of its node, both say so, and none is refused.
#[tokio::test]
async fn blocks_found_on_a_provider_are_in_its_chain() {
    let data = tempfile::tempdir().unwrap();
    let provider = provider(data.path(), "127.0.0.1:0").await;
    let pool = pool(data.path(), &provider.url().to_string()).await;
    let up = picture(&pool, "templates", |now| {
        now.node.state == NodeState::Up && now.node.height > 0
    });
    let start = up.await.node.height;
    let mut channels = [Channel::Standard, Channel::Extended].into_iter().cycle();
    let mut status = pool.status();
    while status.borrow_and_update().node.height < start + BLOCKS {
        mine(&pool, channels.next().unwrap(), 10).await;
    }
    let grown = picture(&pool, "a higher tip", |now| {
        now.blocks.pending == 0 && now.node.height >= start + BLOCKS
    });
    let grown = grown.await;
    // Nobody else mines here: the tip is a block of this pool.
    let tip = grown.node.tip.parse().unwrap();
    let at_the_node = provider.node().status(tip).await.unwrap();
    assert!(
        matches!(at_the_node, adit_node::BlockStatus::Confirmed(_)),
        "{at_the_node:?}"
    );
    let last = pool.stop().await.unwrap();
    let theirs = provider.stop().await.unwrap();
    assert_eq!((theirs.blocks.rejected, last.blocks.rejected), (0, 0));
    assert!(theirs.blocks.accepted >= BLOCKS && last.blocks.accepted >= BLOCKS);
}

/// A provider that goes and comes again: the pool says what is wrong, keeps its miners, and goes on by itself.
#[tokio::test]
async fn a_pool_waits_for_its_provider() {
    let data = tempfile::tempdir().unwrap();
    // An address of its own, so that nobody takes the port meanwhile.
    let first = provider(data.path(), "127.0.7.9:0").await;
    let (url, port) = (first.url().to_string(), first.url().port);
    let pool = pool(data.path(), &url).await;
    picture(&pool, "templates", |now| now.node.state == NodeState::Up).await;
    mine(&pool, Channel::Extended, 5).await;
    first.stop().await.unwrap();
    let down = picture(&pool, "trouble", |now| now.node.state == NodeState::Down).await;
    assert!(down.node.reason.contains(&url), "{}", down.node.reason);
    let again = provider(data.path(), &format!("127.0.7.9:{port}")).await;
    picture(&pool, "templates again", |now| now.node.state == NodeState::Up).await;
    again.node().reorganise(0).await.unwrap();
    let tip = async {
        loop {
            let theirs = again.status().borrow().node.tip.clone();
            if !theirs.is_empty() && pool.status().borrow().node.tip == theirs {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, tip).await.expect("one tip");
    mine(&pool, Channel::Extended, 5).await;
    pool.stop().await.unwrap();
    again.stop().await.unwrap();
}

/// Nothing listens there: the reason says what to look at, and the miners may connect already.
#[tokio::test]
async fn a_provider_that_is_not_there_is_named() {
    let data = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let pool = pool(data.path(), &format!("stratum2+tcp://127.0.0.1:{port}")).await;
    let down = picture(&pool, "trouble", |now| now.node.state == NodeState::Down).await;
    assert!(
        down.node.reason.contains("is it running") && down.node.reason.contains(&port.to_string()),
        "{}",
        down.node.reason
    );
    pool.stop().await.unwrap();
}

/// Hashes of a block, where the header says two.
const WORK: u64 = 64;
/// Shares that are handed in, each of which any hash is good for.
const SHARES: u32 = 2_000;

/// The hash of the header that a solution makes of a template without transactions.
fn hash(provider: &TemplateProvider, solution: &SubmitSolution) -> BlockHash {
    let coinbase: Transaction = deserialize(solution.coinbase_tx.as_bytes()).unwrap();
    let header = Header {
        version: Version::from_consensus(solution.version.cast_signed()),
        prev_blockhash: BlockHash::from_byte_array(provider.tip.prev_hash.0),
        merkle_root: TxMerkleNode::from_byte_array(coinbase.compute_txid().to_byte_array()),
        time: solution.header_timestamp,
        bits: CompactTarget::from_consensus(NBITS),
        nonce: solution.header_nonce,
    };
    header.block_hash()
}

/// REQ-TDP-031, REQ-TDP-039: the provider's target decides what a block is, also where the header's bits would make one of
/// every second share; REQ-TDP-042: nothing goes out that is older than the provider's header time.
#[tokio::test]
async fn a_target_below_that_of_the_bits_is_followed() {
    let data = tempfile::tempdir().unwrap();
    let now = u32::try_from(Clock::system().unix_s()).unwrap();
    let mut provider = TemplateProvider::start(WORK, now).await;
    let node = format!("tdp:{}", provider.url);
    let keys = [
        ("node", &*node),
        ("payout.address", MINE_TO),
        ("upstream.keyless", "plain"),
    ];
    let pool = support::pool(data.path(), &keys).await;
    picture(&pool, "templates", |now| now.node.state == NodeState::Up).await;
    let mut miner = Miner::start(pool.url(), How::Extended, "miner").await;
    for batch in 0..SHARES / 100 {
        miner.mine(batch * 100..batch * 100 + 100).await;
    }
    let found = picture(&pool, "all shares", |now| {
        now.shares.accepted == u64::from(SHARES)
    });
    let found = found.await.blocks.found;
    // Some 31 of 2,000: by the bits alone there would be a thousand.
    assert!((3..200).contains(&found), "{found} blocks");
    let mut solved = std::collections::BTreeSet::new();
    while (solved.len() as u64) < found {
        let solution = tokio::time::timeout(SOON, provider.solutions.recv());
        let solution = solution.await.expect("every block is handed in").unwrap();
        assert!(solution.header_timestamp >= now);
        let hash = hash(&provider, &solution);
        assert!(Target::from_work(WORK).is_met_by(&hash.to_byte_array()), "{hash}");
        // Until the tip shows one, each is handed in again.
        solved.insert(hash);
    }
    let early = Solution {
        template: TemplateId(1),
        version: 0x2000_0000,
        header_timestamp: now - 1,
        header_nonce: 0,
        coinbase_tx: Vec::new(),
    };
    let verdict = pool.node().submit(early).await;
    assert!(matches!(verdict, Ok(Verdict::Rejected(_))), "{verdict:?}");
    pool.stop().await.unwrap();
}
