//! A node that lacks the block before ours has not refused ours: a node that crashed learns its last blocks anew.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod ipc_support;

use adit_node::rpc::{Login, Rpc, Settings};
use adit_node::{Node, SubmitError, Verdict, spawn};
use adit_testkit::BitcoinNode;
use bitcoin::hex::FromHex;
use ipc_support::{eager, source, up};

/// Two blocks of another node.
fn two_blocks() -> Option<[Vec<u8>; 2]> {
    let elsewhere = BitcoinNode::start()?;
    elsewhere.mine(2);
    let block = |height: u32| {
        let hash = elsewhere.cli(&["getblockhash", &height.to_string()]).unwrap();
        Vec::from_hex(&elsewhere.cli(&["getblock", &hash, "0"]).unwrap()).unwrap()
    };
    Some([block(1), block(2)])
}

async fn takes_it_when_it_has_the_parent(mut node: Node) {
    let Some([parent, child]) = two_blocks() else {
        return;
    };
    up(&mut node).await;
    let early = node.handle.submit_block(child.clone()).await;
    assert!(
        matches!(&early, Err(SubmitError::Unavailable(reason)) if reason.contains("the block before this one")),
        "{early:?}"
    );
    assert_eq!(node.handle.submit_block(parent).await, Ok(Verdict::Accepted));
    assert_eq!(node.handle.submit_block(child).await, Ok(Verdict::Accepted));
}

#[tokio::test]
async fn a_block_without_its_parent_is_taken_later_over_ipc() {
    let Some(core) = BitcoinNode::start() else { return };
    takes_it_when_it_has_the_parent(source(eager(core.socket()))).await;
    assert_eq!(core.height(), 2);
}

#[tokio::test]
async fn a_block_without_its_parent_is_taken_later_by_rpc() {
    let Some(core) = BitcoinNode::start_with_rpc() else {
        return;
    };
    let settings = Settings::new(core.rpc_address(), Login::Cookie(core.cookie()));
    takes_it_when_it_has_the_parent(spawn(Rpc::new(settings)).unwrap()).await;
    assert_eq!(core.height(), 2);
}
