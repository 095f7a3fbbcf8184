//! A real node with the rules of the real network that has not downloaded its chain: no templates, and the reason.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod ipc_support;

use adit_node::rpc::{Login, Rpc, Settings};
use adit_node::{Node, spawn};
use adit_testkit::BitcoinNode;
use ipc_support::{down, eager, source};

/// Header of the first block on the genesis block of the main chain.
const FIRST: &str = "010000006fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000\
                     982051fd1e4ba744bbbe680e1fee14677ba1a3c3540bf7b1cdb606e857233e0e\
                     61bc6649ffff001d01e36299";

/// It has the header of a block, but not the block.
fn behind() -> Option<BitcoinNode> {
    let core = BitcoinNode::start_on_main()?;
    core.cli(&["submitheader", FIRST]).unwrap();
    Some(core)
}

async fn says_that_it_downloads(mut node: Node) {
    let reason = down(&mut node).await;
    assert!(
        reason.contains("initial download of main, block 0 of 1") && reason.contains("Let it finish"),
        "{reason}"
    );
    // Nothing was said before that, and no template comes after it.
    assert!(node.events.try_recv().is_err());
}

#[tokio::test]
async fn a_node_in_initial_download_gives_no_templates_over_ipc() {
    let Some(core) = behind() else { return };
    says_that_it_downloads(source(eager(core.socket()))).await;
}

#[tokio::test]
async fn a_node_in_initial_download_gives_no_templates_by_rpc() {
    let Some(core) = behind() else { return };
    let settings = Settings::new(core.rpc_address(), Login::Cookie(core.cookie()));
    says_that_it_downloads(spawn(Rpc::new(settings)).unwrap()).await;
}
