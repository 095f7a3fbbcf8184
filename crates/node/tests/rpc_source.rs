//! Templates from a real Bitcoin Core by getblocktemplate, and blocks to it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod common;
mod ipc_support;

use adit_node::rpc::{Login, Rpc, Settings};
use adit_node::{BlockStatus, Node, Verdict, spawn};
use adit_testkit::{BitcoinNode, COINBASE_MATURITY};
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::{Transaction, Txid};
use ipc_support::{block, down, solve, solve_paying, template, template_where, transactions, up};

fn settings(core: &BitcoinNode) -> Settings {
    Settings {
        fee_delta_sat: 1,
        interval_ms: 0,
        ..Settings::new(core.rpc_address(), Login::Cookie(core.cookie()))
    }
}

fn by_password(core: &BitcoinNode, password: &str) -> Settings {
    let (user, password) = ("u".into(), password.into());
    Settings::new(core.rpc_address(), Login::Password { user, password })
}

fn source(settings: Settings) -> Node {
    spawn(Rpc::new(settings)).expect("a thread")
}

/// What every source must do.
#[tokio::test]
async fn it_is_a_source_like_the_others() {
    let Some(core) = BitcoinNode::start_with_rpc() else {
        return;
    };
    core.mine(COINBASE_MATURITY + 1);
    core.spend(1, 700);
    common::conformance(Rpc::new(settings(&core))).await;
}

/// REQ-TDP-021, REQ-TDP-036, REQ-TDP-038, REQ-TDP-040: a block with witness transactions becomes the tip.
#[tokio::test]
async fn a_solved_template_with_witnesses_becomes_the_tip() {
    let Some(core) = BitcoinNode::start_with_rpc() else {
        return;
    };
    core.mine(COINBASE_MATURITY + 3);
    let sent: Vec<Txid> = (1..=3).map(|height| core.spend(height, 1_000 * height)).collect();
    let mut node = source(by_password(&core, "p"));
    let name = up(&mut node).await;
    assert!(
        name.contains("Satoshi:31.99") && name.contains("regtest"),
        "{name}"
    );
    let first = template(&mut node).await;
    assert_eq!((first.transaction_count, first.fees), (Some(3), Some(6_000)));
    assert_eq!(first.coinbase_tx_value_remaining, 5_000_006_000);
    let inside = transactions(&mut node, first.id).await;
    let decode = |bytes: &Vec<u8>| deserialize::<Transaction>(bytes).unwrap();
    let mut ids: Vec<Txid> = inside.iter().map(|bytes| decode(bytes).compute_txid()).collect();
    assert!(
        inside
            .iter()
            .all(|bytes| !decode(bytes).input[0].witness.is_empty())
    );
    ids.sort();
    let mut sent = sent;
    sent.sort();
    assert_eq!(ids, sent);

    let (solution, header) = solve(&first, 1);
    let hash = header.block_hash();
    assert_eq!(node.handle.status(hash).await, Ok(BlockStatus::Unknown));
    assert_eq!(node.handle.submit(solution.clone()).await, Ok(Verdict::Accepted));
    assert_eq!(core.tip(), hash.to_string());
    let next = template_where(&mut node, |template| template.prev_hash == hash).await;
    assert_eq!((next.height, next.transaction_count), (first.height + 1, Some(0)));
    let again = serialize(&block(&solution, header, &inside));
    assert_eq!(node.handle.submit_block(again).await, Ok(Verdict::Duplicate));
    core.cli(&["invalidateblock", &hash.to_string()]).unwrap();
    assert_eq!(node.handle.status(hash).await, Ok(BlockStatus::Stale));
    let back = template_where(&mut node, |template| template.prev_hash == first.prev_hash).await;
    assert!(back.id > next.id);
}

#[tokio::test]
async fn a_bad_block_is_refused_with_the_nodes_reason() {
    let Some(core) = BitcoinNode::start_with_rpc() else {
        return;
    };
    core.mine(1);
    let mut node = source(settings(&core));
    let template = template(&mut node).await;
    let (greedy, _) = solve_paying(&template, template.coinbase_tx_value_remaining + 1, 1);
    let verdict = node.handle.submit(greedy).await;
    assert_eq!(verdict, Ok(Verdict::Rejected("bad-cb-amount".into())));
    let garbage = node.handle.submit_block(vec![0; 90]).await;
    assert!(matches!(garbage, Ok(Verdict::Rejected(_))), "{garbage:?}");
}

/// REQ-TDP-004
#[tokio::test]
async fn more_fees_bring_a_new_template() {
    let Some(core) = BitcoinNode::start_with_rpc() else {
        return;
    };
    core.mine(COINBASE_MATURITY + 1);
    let mut node = source(settings(&core));
    let poor = template(&mut node).await;
    core.spend(1, 9_000);
    let rich = template_where(&mut node, |template| template.fees > poor.fees).await;
    assert_eq!((rich.prev_hash, rich.fees), (poor.prev_hash, Some(9_000)));
}

#[tokio::test]
async fn a_node_that_hangs_dies_and_returns_is_noticed_each_time() {
    let Some(mut core) = BitcoinNode::start_with_rpc() else {
        return;
    };
    core.mine(1);
    let mut node = source(settings(&core));
    up(&mut node).await;
    core.pause();
    let reason = down(&mut node).await;
    assert!(reason.contains("has not answered"), "{reason}");
    core.resume();
    up(&mut node).await;
    core.kill();
    let reason = down(&mut node).await;
    assert!(
        reason.contains("no node answers") || reason.contains("cookie"),
        "{reason}"
    );
    core.launch();
    up(&mut node).await;
    let template = template_where(&mut node, |template| template.prev_hash.to_string() == core.tip()).await;
    let (solution, header) = solve(&template, 1);
    assert_eq!(node.handle.submit(solution).await, Ok(Verdict::Accepted));
    assert_eq!(core.tip(), header.block_hash().to_string());
}

#[tokio::test]
async fn each_mistake_says_what_would_be_right() {
    let Some(core) = BitcoinNode::start_with_rpc() else {
        return;
    };
    let wrong = |change: fn(&mut Settings)| {
        let mut settings = settings(&core);
        change(&mut settings);
        settings
    };
    let login = |settings: &mut Settings| settings.login = Login::Cookie("/nowhere/.cookie".into());
    for (settings, says) in [
        (by_password(&core, "wrong"), "rpcauth"),
        (wrong(login), "/nowhere/.cookie"),
        (
            wrong(|settings| settings.chain = Some("main".into())),
            "\"regtest\", but adit is set to \"main\"",
        ),
        (
            wrong(|settings| settings.address = "127.0.0.1:1".into()),
            "server=1",
        ),
    ] {
        let mut node = source(settings);
        let reason = down(&mut node).await;
        assert!(reason.contains(says), "{reason}");
        assert!(
            !reason.contains("wrong\" with"),
            "the password stays out of it: {reason}"
        );
    }
}
