//! Bitcoin Core takes blocks whose coinbase pays many.

use std::collections::BTreeMap;

use adit::config::Payout;
use adit_testkit::BitcoinNode;
use serde_json::Value;

use crate::pool::Pool;
use crate::program::wait;
use crate::stratum_v1::mine;

/// Miners who share a coinbase.
const MINERS: u64 = 12;
/// Expected hashes of a share. On regtest every one is a block; the window of a thousand blocks' worth, two thousand hashes,
/// holds one of everybody.
const WORK: u64 = 64;

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

/// A block that pays a dozen miners and the pool becomes the tip, and pays to the satoshi what the template was worth.
#[test]
fn a_block_that_pays_many_becomes_the_tip() {
    let Some(node) = BitcoinNode::start() else { return };
    let keys = [
        "payout.scheme=pplns",
        "payout.fee_bp=100",
        "payout.window_blocks=1000",
        "payout.refresh_ms=100",
        "payout.minimum_sat=546",
    ];
    let pool = Pool::start_with(&format!("ipc:{}", node.socket().display()), WORK, &keys);
    let addresses: Vec<String> = (0..MINERS).map(|n| Payout::throw_away(100 + n).text).collect();
    for address in &addresses {
        let tally = mine(pool.address(), &format!("{address}.rig"), 1);
        assert_eq!(tally.refused, Vec::<Value>::new());
    }
    let block = wait("a block that pays everybody", &[&pool.program], || {
        mine(pool.address(), &addresses[0], 1);
        let block = node.json(&["getblock", &node.tip(), "2"]);
        let paid = paid(&block);
        addresses
            .iter()
            .all(|address| paid.contains_key(address))
            .then_some(block)
    });
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
