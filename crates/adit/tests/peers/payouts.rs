//! Bitcoin Core takes blocks whose coinbase pays many.

use std::collections::BTreeMap;

use adit::config::Payout;
use adit_testkit::BitcoinNode;
use serde_json::Value;

use crate::pool::Pool;
use crate::program::wait;
use crate::support::miner::{How, Miner};

/// Miners who share a coinbase.
const MINERS: u64 = 12;
/// Shares, one at a time, until the node has a block that pays everybody; every other share is a block.
const ROUNDS_MAX: u32 = 200;
/// Shares of each. On regtest a block takes two hashes, and here every hash is a share: the window of a thousand blocks' worth
/// holds those of everybody.
const SHARES: u32 = 8;

/// Addresses and satoshis of a block's coinbase, but for outputs without address.
fn paid(block: &Value) -> BTreeMap<String, u64> {
    let outputs = block
        .pointer("/tx/0/vout")
        .and_then(Value::as_array)
        .expect("outputs");
    let paid = outputs.iter().filter_map(|output| {
        let address = output.pointer("/scriptPubKey/address")?.as_str()?;
        // Core writes coins with eight decimals.
        let text = output["value"].as_f64().map(|coins| format!("{coins:.8}"))?;
        Some((address.to_owned(), text.replace('.', "").parse().ok()?))
    });
    paid.collect()
}

/// A miner has done some work: some of its shares are blocks, and others are late for the tip that those made. Who was late with all
/// of them tries again.
async fn work(pool: &Pool, name: &str, shares: u32) {
    let url = pool.url().parse().expect("a URL");
    let mut miner = Miner::start(&url, How::Extended, name).await;
    let mut nonces = (0..ROUNDS_MAX).map(|round| round * shares..(round + 1) * shares);
    while miner.acknowledged.is_empty() {
        miner.submit(nonces.next().expect("a share in time")).await;
        miner.settle().await;
    }
    assert!(
        miner.refused.iter().all(|(_, code)| code == "stale-share"),
        "{:?}",
        miner.refused
    );
}

/// A block that pays a dozen miners and the pool becomes the tip, and pays to the satoshi what the template was worth.
#[tokio::test]
async fn a_block_that_pays_many_becomes_the_tip() {
    let Some(node) = BitcoinNode::start() else { return };
    let keys = [
        "payout.scheme=pplns",
        "payout.fee_bp=100",
        "payout.window_blocks=1000",
        "payout.refresh_ms=100",
        "payout.minimum_sat=546",
        "shares.vardiff=false",
    ];
    let pool = Pool::start_with(&format!("ipc:{}", node.socket().display()), 1, &keys);
    let addresses: Vec<String> = (0..MINERS).map(|n| Payout::throw_away(100 + n).text).collect();
    for address in &addresses {
        work(&pool, &format!("{address}.rig"), SHARES).await;
    }
    let mut block = None;
    for _ in 0..ROUNDS_MAX {
        work(&pool, &addresses[0], 1).await;
        let tip = node.json(&["getblock", &node.tip(), "2"]);
        let paid = paid(&tip);
        if addresses.iter().all(|address| paid.contains_key(address)) {
            block = Some(tip);
            break;
        }
    }
    let block = block.expect("a block that pays everybody");
    let paid = paid(&block);
    assert!(paid.len() as u64 > MINERS, "the pool has its fee: {paid:?}");
    let subsidy = 5_000_000_000 >> (block["height"].as_u64().expect("a height") / 150);
    assert_eq!(paid.values().sum::<u64>(), subsidy, "no transactions, no fees");
    wait("answers of the node", &[&pool.program], || {
        pool.count("/blocks/pending").filter(|&pending| pending == 0)
    });
    assert_eq!(pool.count("/blocks/rejected"), Some(0), "{}", pool.program.said());
    pool.shares();
}
