//! Our device on their pool, which has its templates from Bitcoin Core.

use adit_testkit::{BitcoinNode, peers, until};

use crate::pool::{device, report};
use crate::program::LIMIT;
use crate::reference::{self, says};

/// Shares of each channel.
const SHARES: u64 = 5;

/// REQ-MIN-017: both kinds of channel, judged by somebody else's pool.
#[test]
fn our_device_mines_on_their_pool() {
    if peers::need(["pool_sv2"]).is_none() {
        return;
    }
    let Some(node) = BitcoinNode::start() else { return };
    // Their pool wants a node that has left initial block download.
    node.mine(1);
    let folder = tempfile::tempdir().expect("a folder");
    let (pool, url) = reference::pool(folder.path(), &node);
    for (channel, message) in [
        ("standard", "SubmitSharesStandard"),
        ("extended", "SubmitSharesExtended"),
    ] {
        let goal = SHARES.to_string();
        let mut device = device(folder.path(), &url, channel, channel, &["--until-shares", &goal]);
        assert!(device.finish(), "{}{}", device.said(), pool.said());
        let report = report(&device);
        let accepted = report["shares_accepted"].as_u64();
        assert!(accepted.is_some_and(|accepted| accepted >= SHARES), "{report}");
        // Every share is a block on regtest.
        says(&pool, &format!("{message}: 💰 Block Found!!!"));
    }
    // A share found while a block is on its way is stale; nothing else may be wrong with any.
    let output = pool.output();
    let mut refused = output.lines().filter(|line| line.contains("SubmitSharesError"));
    assert!(
        refused.all(|line| line.contains("error_code: stale-share")),
        "{}",
        pool.said()
    );
    // Each kind of channel made the chain longer than the other one alone could.
    let grown = until(LIMIT, || (node.height() > 1 + SHARES).then_some(()));
    assert!(grown.is_some(), "height {}{}", node.height(), pool.said());
}
