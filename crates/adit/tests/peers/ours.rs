//! Our job negotiator on our pool with Bitcoin Core, in both modes: both ends are ours, the blocks are the node's.

use adit_testkit::{BitcoinNode, MINE_TO};
use serde_json::Value;

use crate::negotiator::{BLOCKS, Negotiator};
use crate::pool::{Pool, device};
use crate::program::wait;
use crate::templates::node;

/// Expected hashes of a share on our pool, as below the negotiator: on regtest each is a block.
const SHARE_WORK: u64 = 300_000;

/// One mode, and what of the revenue the miner keeps.
struct Case {
    mode: &'static str,
    keep_bp: u32,
    /// What the ledger says of each accepted job.
    promise: &'static str,
}

/// REQ-JD-022, REQ-JD-029, REQ-JD-036: declared, checked by the node, set, mined, and published from both sides; the coinbase
/// pays the pool and the miner, in the proportion in which the pool credits work.
#[test]
fn our_negotiator_declares_to_our_pool() {
    holds(&Case {
        mode: "full-template",
        keep_bp: 1_000,
        promise: "accepted full-template credit 9000 of 10000",
    });
}

/// REQ-JD-037, REQ-JD-045: the pool never sees the transactions, so that the miner's node alone can publish.
#[test]
fn our_negotiator_keeps_its_templates_to_itself_on_our_pool() {
    holds(&Case {
        mode: "coinbase-only",
        keep_bp: 1_000,
        promise: "accepted coinbase-only credit 9000 of 10000",
    });
}

fn holds(case: &Case) {
    let Some((node, spent)) = node() else { return };
    let base = node.height();
    let more = [
        "negotiation.mode=both",
        // On regtest a block is two hashes, and credit is counted in blocks.
        "negotiation.credit_millis=1000000000000",
        "negotiation.credit_total_millis=1000000000000",
    ];
    let mut pool = Pool::start_with(&format!("ipc:{}", node.socket().display()), SHARE_WORK, &more);
    let keep = format!("negotiator.keep_bp={}", case.keep_bp);
    let mut negotiator = Negotiator::start(
        pool.folder(),
        &node,
        &[pool.url()],
        &["--mode", case.mode, "--set", &keep],
    );
    pool.reaches("/negotiation/custom_accepted", 1, &[&negotiator.program]);
    let miner = device(pool.folder(), &negotiator.url.to_string(), "us", "extended", &[]);
    wait(
        "blocks of our negotiator",
        &[&pool.program, &negotiator.program, &miner],
        || (node.height() >= base + BLOCKS).then_some(()),
    );
    pool.reaches("/shares/accepted", 1, &[&negotiator.program]);
    let declared = pool.count("/negotiation/declared").expect("a count");
    assert_eq!(declared > 0, case.mode == "full-template", "{declared} declared");
    drop(miner);
    negotiator.program.stop();
    pool.program.stop();
    assert!(
        !negotiator.program.said().contains("block refused"),
        "{}",
        negotiator.program.said()
    );

    // The first block has the miner's transaction, and both sides' outputs: the pool's has nine tenths, rounded up.
    let block = block_at(&node, base + 1);
    let text = |pointer: &str| block.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    assert_eq!(text("/tx/1/txid"), spent);
    assert_eq!(text("/tx/0/vout/0/scriptPubKey/address"), MINE_TO);
    assert_eq!(
        text("/tx/0/vout/1/scriptPubKey/hex"),
        "51",
        "the miner's own payout"
    );
    let satoshis = |pointer: &str| {
        let coins = block.pointer(pointer).and_then(Value::as_f64).expect("an amount");
        bitcoin::Amount::from_btc(coins).expect("an amount").to_sat()
    };
    let (paid, kept) = (satoshis("/tx/0/vout/0/value"), satoshis("/tx/0/vout/1/value"));
    assert_eq!(kept, (paid + kept) * u64::from(case.keep_bp) / 10_000);
    assert_eq!(paid + kept, 5_000_005_000, "subsidy and the transaction's fee");

    let records = pool.ledger("export");
    let promised = |record: &Value| {
        let note = record["note"].as_str().unwrap_or_default();
        record["kind"] == "custom" && note.contains(case.promise)
    };
    assert!(records.iter().any(promised), "{}", pool.program.said());
    let hash = text("/hash");
    let known = pool.blocks();
    assert!(
        known.iter().any(|it| it == hash),
        "the pool's ledger has the block {hash}: {known:?}"
    );
}

fn block_at(node: &BitcoinNode, height: u64) -> Value {
    let hash = node.cli(&["getblockhash", &height.to_string()]).expect("a block");
    node.json(&["getblock", &hash, "2"])
}
