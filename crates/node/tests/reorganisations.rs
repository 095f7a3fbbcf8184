//! Blocks given up and other ones in their place, one to six deep: the source follows down and up again.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod ipc_support;

use std::sync::Arc;

use adit_node::rpc::{Login, Rpc};
use adit_node::{BlockStatus, Node, Template, TemplateId, Verdict, rpc, spawn};
use adit_testkit::{BitcoinNode, COINBASE_MATURITY};
use bitcoin::{Address, BlockHash, Network, ScriptBuf};
use ipc_support::{eager, event, solve, source};

/// Deepest reorganisation.
const DEPTH_MAX: u32 = 6;

/// A source and the last id it gave.
struct Followed {
    node: Node,
    last: TemplateId,
}

impl Followed {
    fn new(node: Node) -> Self {
        Self {
            node,
            last: TemplateId(0),
        }
    }

    /// Waits for a template on that tip. The ids on the way there only ever rise.
    async fn on(&mut self, tip: &str) -> Arc<Template> {
        let last = &mut self.last;
        event(&mut self.node, |event| match event {
            adit_node::Event::Template(template) => {
                assert!(template.id > *last, "{:?} after {last:?}", template.id);
                *last = template.id;
                (template.prev_hash.to_string() == tip).then_some(template)
            }
            adit_node::Event::Down { reason } => panic!("down: {reason}"),
            _ => None,
        })
        .await
    }

    async fn status(&self, block: &str) -> BlockStatus {
        let block: BlockHash = block.parse().unwrap();
        self.node.handle.status(block).await.unwrap()
    }
}

/// Mines blocks that no other call has made: to an address of its own.
fn mine_others(core: &BitcoinNode, blocks: u32, address: u8) -> String {
    // A number is true, so anybody could spend them.
    let script = ScriptBuf::from_bytes(vec![1, address]);
    let address = Address::p2wsh(&script, Network::Regtest).to_string();
    let hashes = core.json(&["generatetoaddress", &blocks.to_string(), &address]);
    hashes
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .as_str()
        .unwrap()
        .to_owned()
}

fn hash_at(core: &BitcoinNode, height: u64) -> String {
    core.cli(&["getblockhash", &height.to_string()]).unwrap()
}

async fn follows(core: &BitcoinNode, node: Node) {
    core.mine(COINBASE_MATURITY + 1);
    core.spend(1, 3_000);
    let mut source = Followed::new(node);
    for depth in 1..=DEPTH_MAX {
        let tag = 3 * u8::try_from(depth).unwrap();
        let tip = mine_others(core, DEPTH_MAX + 1, tag);
        let before = source.on(&tip).await;
        let height = core.height();
        let below = hash_at(core, height - u64::from(depth));
        let given_up = hash_at(core, height + 1 - u64::from(depth));

        // Down: the node gives up `depth` blocks.
        core.cli(&["invalidateblock", &given_up]).unwrap();
        let lower = source.on(&below).await;
        assert_eq!(lower.height + depth, before.height);
        assert_eq!(source.status(&tip).await, BlockStatus::Stale);
        assert_eq!(source.status(&given_up).await, BlockStatus::Stale);

        // Up again: it takes them back, and what was found before all that becomes the tip.
        core.cli(&["reconsiderblock", &given_up]).unwrap();
        let again = source.on(&tip).await;
        assert_eq!(again.height, before.height);
        assert_eq!(source.status(&tip).await, BlockStatus::Confirmed(1));
        let (late, header) = solve(&before, u64::from(depth));
        assert_eq!(source.node.handle.submit(late).await, Ok(Verdict::Accepted));
        let ours = header.block_hash().to_string();
        assert_eq!(core.tip(), ours);
        source.on(&ours).await;

        // Another branch overtakes ours in one step: depth blocks out, depth + 1 others in.
        let other = mine_others(core, depth + 1, tag + 1);
        source.on(&other).await;
        let first_other = hash_at(core, core.height() - u64::from(depth));
        core.cli(&["invalidateblock", &first_other]).unwrap();
        source.on(&ours).await;
        let lost = mine_others(core, depth, tag + 2);
        let on_lost = source.on(&lost).await;
        core.cli(&["reconsiderblock", &first_other]).unwrap();
        let on_other = source.on(&other).await;
        assert_eq!(on_other.height, on_lost.height + 1);
        assert_eq!(source.status(&lost).await, BlockStatus::Stale);
        assert_eq!(source.status(&ours).await, BlockStatus::Confirmed(depth + 2));
        // A solution for the branch that lost still reaches the node: a good block beside a better tip.
        let (late, header) = solve(&on_lost, 100);
        let verdict = source.node.handle.submit(late).await;
        let taken = matches!(verdict, Ok(Verdict::Accepted | Verdict::Duplicate));
        assert!(taken, "depth {depth}: {verdict:?}");
        let late = header.block_hash().to_string();
        assert_eq!(source.status(&late).await, BlockStatus::Stale);
        let (solution, header) = solve(&on_other, 200);
        assert_eq!(source.node.handle.submit(solution).await, Ok(Verdict::Accepted));
        assert_eq!(core.tip(), header.block_hash().to_string());
        source.on(&header.block_hash().to_string()).await;
    }
}

/// REQ-TDP-040: also on a tip of before.
#[tokio::test]
async fn over_ipc_the_source_follows_reorganisations_of_one_to_six_blocks() {
    let Some(core) = BitcoinNode::start() else { return };
    follows(&core, source(eager(core.socket()))).await;
}

/// REQ-TDP-040: also on a tip of before.
#[tokio::test]
async fn by_rpc_the_source_follows_reorganisations_of_one_to_six_blocks() {
    let Some(core) = BitcoinNode::start_with_rpc() else {
        return;
    };
    let settings = rpc::Settings {
        fee_delta_sat: 1,
        interval_ms: 0,
        ..rpc::Settings::new(core.rpc_address(), Login::Cookie(core.cookie()))
    };
    follows(&core, spawn(Rpc::new(settings)).unwrap()).await;
}
