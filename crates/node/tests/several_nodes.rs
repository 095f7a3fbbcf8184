//! Two real nodes as one source: the second takes over when the first dies or hangs, and blocks reach both.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod ipc_support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_node::ipc::Ipc;
use adit_node::rpc::{Login, Rpc};
use adit_node::several::{Member, Prefer, Several};
use adit_node::{Event, Node, Template, Verdict, ipc, rpc, spawn};
use adit_testkit::{BitcoinNode, COINBASE_MATURITY, until};
use bitcoin::BlockHash;
use ipc_support::{LIMIT, event, solve, template_where};

/// How soon another node is mined on when the first is gone.
const FAILOVER: Duration = Duration::from_secs(10);

fn member(name: &str, node: Node) -> Member {
    Member {
        name: name.into(),
        node,
        templates: true,
    }
}

/// The first over IPC, the second by RPC.
fn both([first, second]: &[&BitcoinNode; 2]) -> Node {
    let over_ipc = Ipc::new(ipc::Settings::new(first.socket()));
    let by_rpc = Rpc::new(rpc::Settings::new(
        second.rpc_address(),
        Login::Cookie(second.cookie()),
    ));
    let members = vec![
        member("first", spawn(over_ipc).unwrap()),
        member("second", spawn(by_rpc).unwrap()),
    ];
    spawn(Several::new(members, Prefer::Order)).unwrap()
}

/// Waits until templates come from the node whose description holds `mark`; gives how long that took. Whatever
/// happens in between, it never says that no node is there.
async fn mined_on(node: &mut Node, mark: &str) -> Duration {
    #[expect(
        clippy::disallowed_methods,
        reason = "the time of a failover is what is tested"
    )]
    let start = Instant::now();
    let name = event(node, |event| match event {
        Event::Up { node } if node.contains(mark) => Some(node),
        Event::Down { reason } => panic!("down: {reason}"),
        _ => None,
    })
    .await;
    assert!(name.contains(mark));
    start.elapsed()
}

/// Solves a template of the present tip; the block is at the tip of all nodes named.
async fn mine_one(node: &mut Node, tip: BlockHash, nodes: &[&BitcoinNode]) -> (Arc<Template>, BlockHash) {
    let template = template_where(node, |template| template.prev_hash == tip).await;
    let (solution, header) = solve(&template, u64::from(template.height));
    let hash = header.block_hash();
    let verdict = node.handle.submit(solution).await;
    assert!(
        matches!(verdict, Ok(Verdict::Accepted | Verdict::Duplicate)),
        "{verdict:?}"
    );
    for core in nodes {
        let there = until(LIMIT, || (core.tip() == hash.to_string()).then_some(()));
        assert!(there.is_some(), "the block reaches every node");
    }
    (template, hash)
}

#[tokio::test]
async fn the_second_takes_over_when_the_first_dies_and_gives_way_when_it_returns() {
    let Some(mut cores) = BitcoinNode::start_pair() else {
        return;
    };
    cores[0].mine(COINBASE_MATURITY + 1);
    cores[0].spend(1, 2_000);
    let tip = cores[0].tip();
    assert!(
        until(LIMIT, || (cores[1].tip() == tip).then_some(())).is_some(),
        "they are connected"
    );
    let mut node = both(&cores.each_ref());
    mined_on(&mut node, "node.sock").await;
    let (_, hash) = mine_one(&mut node, tip.parse().unwrap(), &[&cores[0], &cores[1]]).await;
    let next = template_where(&mut node, |template| template.prev_hash == hash).await;

    cores[0].kill();
    let took = mined_on(&mut node, "127.0.0.1").await;
    assert!(took < FAILOVER, "{took:?}");
    // What was found on the dead node's template is not lost: the other one has the whole block.
    let (late, header) = solve(&next, 77);
    assert_eq!(node.handle.submit(late).await, Ok(Verdict::Accepted));
    assert_eq!(cores[1].tip(), header.block_hash().to_string());
    let (_, hash) = mine_one(&mut node, header.block_hash(), &[&cores[1]]).await;

    cores[0].launch();
    mined_on(&mut node, "node.sock").await;
    mine_one(&mut node, hash, &[&cores[0], &cores[1]]).await;
}

#[tokio::test]
async fn a_hanging_first_node_is_left_in_time() {
    let Some(cores) = BitcoinNode::start_pair() else {
        return;
    };
    let tip = cores[0].mine(2);
    assert!(
        until(LIMIT, || (cores[1].tip() == tip).then_some(())).is_some(),
        "they are connected"
    );
    let mut node = both(&cores.each_ref());
    mined_on(&mut node, "node.sock").await;
    mine_one(&mut node, tip.parse().unwrap(), &[&cores[0], &cores[1]]).await;
    cores[0].pause();
    let took = mined_on(&mut node, "127.0.0.1").await;
    assert!(took < FAILOVER, "{took:?}");
    let tip = cores[1].tip().parse().unwrap();
    mine_one(&mut node, tip, &[&cores[1]]).await;
    cores[0].resume();
    mined_on(&mut node, "node.sock").await;
}

/// REQ-TDP-040: nodes that do not know each other each get the block, also the one that was away.
#[tokio::test]
async fn a_node_that_was_away_gets_the_blocks_it_missed() {
    let (Some(first), Some(mut second)) = (BitcoinNode::start(), BitcoinNode::start_with_rpc()) else {
        return;
    };
    let mut node = both(&[&first, &second]);
    mined_on(&mut node, "node.sock").await;
    let (_, hash) = mine_one(&mut node, first.tip().parse().unwrap(), &[&first, &second]).await;
    second.kill();
    let (_, hash) = mine_one(&mut node, hash, &[&first]).await;
    let (_, hash) = mine_one(&mut node, hash, &[&first]).await;
    second.launch();
    let there = until(LIMIT, || (second.tip() == hash.to_string()).then_some(()));
    assert!(there.is_some(), "both blocks, in their order");
}
