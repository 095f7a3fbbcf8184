//! Two hundred blocks while nodes are killed, stopped and started again at random: none of them is lost.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod ipc_support;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use adit_node::ipc::Ipc;
use adit_node::rpc::{Login, Rpc};
use adit_node::several::{Member, Prefer, Several};
use adit_node::{BlockStatus, Event, Node, SubmitError, Template, Verdict, ipc, rpc, spawn};
use adit_testkit::{BitcoinNode, COINBASE_MATURITY, until};
use bitcoin::BlockHash;
use ipc_support::{LIMIT, solve};

/// Blocks that are found.
const BLOCKS: u32 = 200;
/// Blocks that somebody else finds, each a template and its transactions to tell.
const NEWS: u32 = 80;
/// Blocks between two deeds.
const CALM_BLOCKS: u64 = 12;
/// One block in so many is raced: by a second one of ours, or by one that somebody else finds.
const RACED_ONE_IN: u64 = 6;
/// What a failed run printed, to see it again; none takes another one each time.
const SEED: Option<u64> = None;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// What is done to a node.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Kill,
    Stop,
    Pause,
}

/// A block that the source said the node has, and what it was built on.
struct Found {
    hash: BlockHash,
    parent: BlockHash,
    height: u32,
}

struct Chaos {
    random: Random,
    cores: [BitcoinNode; 2],
    node: Node,
    found: Vec<Found>,
    /// Who is away, how, and for how many more blocks.
    away: Option<(usize, Deed, u64)>,
    deeds: HashMap<String, u32>,
    /// Height of the last block that was found.
    height: u32,
    refused: Vec<String>,
}

/// The first over IPC, the second by RPC.
fn both([first, second]: &[BitcoinNode; 2]) -> Node {
    let over_ipc = Ipc::new(ipc::Settings::new(first.socket()));
    let login = Login::Cookie(second.cookie());
    let by_rpc = Rpc::new(rpc::Settings::new(second.rpc_address(), login));
    let member = |name: &str, node| Member {
        name: name.into(),
        node,
        templates: true,
    };
    let members = vec![
        member("first", spawn(over_ipc).unwrap()),
        member("second", spawn(by_rpc).unwrap()),
    ];
    spawn(Several::new(members, Prefer::Order)).unwrap()
}

impl Chaos {
    /// A template of a height that was not solved yet.
    async fn template(&mut self) -> Arc<Template> {
        let height = self.height;
        let wanted = async {
            loop {
                match self.node.events.recv().await.expect("the source runs") {
                    Event::Template(template) if template.height > height => return template,
                    _ => {}
                }
            }
        };
        let found = tokio::time::timeout(LIMIT, wanted).await;
        found.unwrap_or_else(|_| panic!("no template above {height} while {:?}", self.away))
    }

    /// Solves a template and hands it in; sometimes a rival stands beside the block.
    async fn find(&mut self) {
        let template = self.template().await;
        self.height = template.height;
        println!("height {}, away: {:?}", template.height, self.away);
        let rival = self.random.below(RACED_ONE_IN * 2);
        if rival == 0
            && let Some(alive) = self.alive()
        {
            // Somebody else was faster; ours is the late one, unless that node is behind.
            self.cores[alive].mine(1);
        }
        let extra = self.random.below(u64::MAX);
        let mut submitted = vec![self.submit(&template, extra)];
        if rival == 1 {
            submitted.push(self.submit(&template, extra ^ 1));
        }
        if self.away.is_none() && self.random.below(CALM_BLOCKS) == 0 {
            // In the middle of the submission.
            self.strike();
        }
        println!("{} submitted, away: {:?}", submitted.len(), self.away);
        for (block, verdict) in submitted {
            match verdict.await.unwrap() {
                Ok(Verdict::Accepted | Verdict::Duplicate) => self.found.push(block),
                other => self
                    .refused
                    .push(format!("{} at {}: {other:?}", block.hash, block.height)),
            }
        }
        self.pass();
    }

    fn submit(
        &self,
        template: &Arc<Template>,
        extra: u64,
    ) -> (Found, tokio::task::JoinHandle<Result<Verdict, SubmitError>>) {
        let (solution, header) = solve(template, extra);
        let block = Found {
            hash: header.block_hash(),
            parent: template.prev_hash,
            height: template.height,
        };
        let handle = self.node.handle.clone();
        // Like the pool: again and again until there is a verdict.
        let verdict = tokio::spawn(async move {
            let patience = tokio::time::Instant::now() + LIMIT;
            loop {
                let answer = handle.submit(solution.clone()).await;
                let is_final = matches!(answer, Ok(_) | Err(SubmitError::UnknownTemplate));
                if is_final || tokio::time::Instant::now() > patience {
                    return answer;
                }
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        });
        (block, verdict)
    }

    /// A node that is not away.
    fn alive(&self) -> Option<usize> {
        (0..self.cores.len()).find(|place| self.away.is_none_or(|(away, ..)| away != *place))
    }

    /// Takes a node away for some blocks. What a killed node had not on disk is gone, so the other one is let
    /// catch up first: a block that only one node ever had, and that node forgot, is nobody's to keep.
    fn strike(&mut self) {
        agree(&self.cores);
        let victim = usize::from(self.random.below(2) == 1);
        let deed = [Deed::Kill, Deed::Stop, Deed::Pause][self.random.below(3) as usize];
        println!("{deed:?} {victim}");
        let core = &mut self.cores[victim];
        match deed {
            Deed::Kill => core.kill(),
            Deed::Stop => core.stop(),
            Deed::Pause => core.pause(),
        }
        *self.deeds.entry(format!("{deed:?} {victim}")).or_default() += 1;
        self.away = Some((victim, deed, 1 + self.random.below(6)));
    }

    /// A block was found: whoever was away long enough comes back.
    fn pass(&mut self) {
        self.away = match self.away {
            Some((victim, deed, 0)) => {
                match deed {
                    Deed::Kill | Deed::Stop => self.cores[victim].launch(),
                    Deed::Pause => self.cores[victim].resume(),
                }
                None
            }
            Some((victim, deed, blocks)) => Some((victim, deed, blocks - 1)),
            None => None,
        };
    }
}

/// Waits until both nodes have the same number of blocks. One that was just started may not answer yet.
fn agree([first, second]: &[BitcoinNode; 2]) {
    let height = |node: &BitcoinNode| node.cli(&["getblockcount"]);
    let same = until(LIMIT, || {
        let (first, second) = (height(first).ok()?, height(second).ok()?);
        (first == second).then_some(())
    });
    assert!(same.is_some(), "{:?} and {:?}", height(first), height(second));
}

/// Who waits for an answer reads no events meanwhile: that must not keep it from coming.
#[tokio::test]
async fn answers_come_though_nobody_reads_events() {
    let Some(cores) = BitcoinNode::start_pair() else {
        return;
    };
    let mut node = both(&cores);
    ipc_support::template(&mut node).await;
    // Far more news than the queue of events holds.
    for _ in 0..NEWS {
        let tip = cores[0].mine(1);
        let there = until(LIMIT, || (cores[1].tip() == tip).then_some(()));
        assert!(there.is_some(), "the second node follows");
    }
    let tip = cores[0].tip().parse().unwrap();
    let status = tokio::time::timeout(LIMIT, node.handle.status(tip)).await;
    assert_eq!(status, Ok(Ok(BlockStatus::Confirmed(1))));
}

/// REQ-TDP-040: every block that the source called taken is in the chain of the nodes, or another one on the same parent
/// is: it lost a real race.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_blocks_under_random_deaths_are_in_the_chain_or_lost_a_race() {
    let Some(cores) = BitcoinNode::start_pair() else {
        return;
    };
    cores[0].mine(COINBASE_MATURITY + 1);
    cores[0].spend(1, 2_000);
    // A node that is still catching up gives templates that nobody knows a moment later.
    agree(&cores);
    let seed = SEED.unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("seed {seed}");
    let mut chaos = Chaos {
        random: Random(seed),
        node: both(&cores),
        cores,
        found: Vec::new(),
        away: None,
        deeds: HashMap::new(),
        height: 0,
        refused: Vec::new(),
    };
    for _ in 0..BLOCKS {
        chaos.find().await;
    }
    while chaos.away.is_some() {
        chaos.pass();
    }
    // One more from elsewhere, so that both nodes choose the same branch.
    let [first, second] = &chaos.cores;
    first.mine(1);
    let same = until(LIMIT, || (first.tip() == second.tip()).then_some(()));
    assert!(same.is_some(), "the nodes have one chain");
    judge(&chaos);
}

fn judge(chaos: &Chaos) {
    let [first, _] = &chaos.cores;
    let mut raced = 0;
    for block in &chaos.found {
        let in_chain = first
            .cli(&["getblockhash", &block.height.to_string()])
            .expect("the chain is as high as any block that was taken");
        if in_chain == block.hash.to_string() {
            continue;
        }
        let sibling = first.json(&["getblockheader", &in_chain]);
        let parent = sibling["previousblockhash"].as_str().unwrap();
        // The parent itself may have lost its race: then the block lost with it.
        let parent_lost = parent != block.parent.to_string();
        assert!(
            !parent_lost || chaos.found.iter().any(|lost| lost.hash == block.parent),
            "{} at {} is gone, and {in_chain} in its place is no rival of it",
            block.hash,
            block.height
        );
        raced += 1;
    }
    println!(
        "{} blocks were taken, {} of them are in the chain, {raced} lost a race; refused: {:?}; deeds: {:?}",
        chaos.found.len(),
        chaos.found.len() - raced,
        chaos.refused,
        chaos.deeds
    );
    assert!(chaos.refused.is_empty(), "{:?}", chaos.refused);
    assert!(chaos.found.len() >= BLOCKS as usize && raced < chaos.found.len() / 3);
    assert!(!chaos.deeds.is_empty());
}
