//! How long a new tip takes from the node's own log line to our event.
#![allow(
    clippy::disallowed_methods,
    reason = "compares with the time of day in the node's log"
)]

mod ipc_support;

use std::io::Write;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use adit_testkit::{BitcoinNode, COINBASE_MATURITY, MINE_TO};
use ipc_support::*;

const TRANSACTIONS: u32 = 200;
const TIPS: usize = 20;
const DAY_MS: f64 = 86_400_000.0;

/// REQ-TDP-024: with 200 transactions in the template, from "UpdateTip" in the node's log to
/// `Event::Template` in our hands. Prints the figures; the bound only catches a wait of a whole second.
#[tokio::test]
async fn a_new_tip_is_a_template_in_milliseconds() {
    let Some(core) = BitcoinNode::start() else { return };
    core.mine(COINBASE_MATURITY + TRANSACTIONS);
    for height in 1..=TRANSACTIONS {
        core.spend(height.into(), 1_000);
    }
    let core = Arc::new(core);
    let mut node = source(eager(core.socket()));
    let mut last = template_where(&mut node, |template| {
        template.transaction_count == Some(TRANSACTIONS)
    })
    .await;
    let mut taken = Vec::new();
    for _ in 0..TIPS {
        let miner = Arc::clone(&core);
        // An empty block, so that the transactions stay for the next template.
        let mined = tokio::task::spawn_blocking(move || miner.json(&["generateblock", MINE_TO, "[]"]));
        let old = last.prev_hash;
        last = template_where(&mut node, |template| template.prev_hash != old).await;
        let received = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs_f64()
            * 1_000.0
            % DAY_MS;
        let mined = mined.await.unwrap();
        let tip = mined.get("hash").and_then(|hash| hash.as_str()).unwrap();
        assert_eq!(
            (last.prev_hash.to_string().as_str(), last.transaction_count),
            (tip, Some(TRANSACTIONS))
        );
        taken.push((received - logged(&core.log(), tip)).rem_euclid(DAY_MS));
    }
    taken.sort_by(f64::total_cmp);
    let (median, worst) = (taken[TIPS / 2], taken[TIPS - 1]);
    let _ = writeln!(
        std::io::stderr(),
        "tip to template with {TRANSACTIONS} transactions, {TIPS} tips: median {median:.2} ms, worst {worst:.2} ms"
    );
    assert!(median < 500.0, "{taken:?}");
}

/// Time of day in milliseconds of the log line that tells of a tip.
fn logged(log: &str, tip: &str) -> f64 {
    let tells = format!("UpdateTip: new best={tip}");
    let line = log
        .lines()
        .find(|line| line.contains(&tells))
        .expect("the node logs its tips");
    let clock = line.split(['T', 'Z']).nth(1).expect("a time");
    let parts = clock
        .split(':')
        .map(|part| part.parse::<f64>().expect("a number"));
    parts.fold(0.0, |sum, part| sum * 60.0 + part) * 1_000.0
}
