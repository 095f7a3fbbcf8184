//! Our job negotiator on their pool and declaration server, with their node; devices of both sides below it.

use std::path::Path;

use adit_net::Url;
use adit_testkit::{BitcoinNode, peers};

use crate::pool::{adit, device};
use crate::program::{Program, wait};
use crate::reference::{self, Translator};
use crate::stratum_v1;
use crate::templates::{first_block, node};

/// Blocks that are to be found.
pub(crate) const BLOCKS: u64 = 3;
/// Expected hashes of a share below our negotiator. On regtest any share is a block, so this sets the pace.
const WORK: &str = "300000";
/// Hashes a second that their pool is told; it wants a share a second.
const HASH_RATE: &str = "600000";
/// Hashes a second that their proxy claims for a Stratum V1 device.
const STRATUM_V1_RATE: u64 = 300_000;
/// Who earns the blocks that are found without a pool; nobody who matters here.
pub(crate) const ALONE: &str = "raw(51)";

/// A negotiator as a process.
pub(crate) struct Negotiator {
    pub(crate) program: Program,
    pub(crate) url: Url,
}

impl Negotiator {
    /// `HOST:PORT` and the key.
    fn place(&self) -> (String, String) {
        let key = self.url.key.as_ref().expect("a key").to_string();
        (format!("{}:{}", self.url.host, self.url.port), key)
    }

    pub(crate) fn start(folder: &Path, node: &BitcoinNode, upstreams: &[String], more: &[&str]) -> Self {
        let mut command = adit();
        command
            .args(["negotiator", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .args(["--payout", ALONE, "--node"])
            .arg(format!("ipc:{}", node.socket().display()))
            .args(["--set", &format!("upstream.hash_rate={HASH_RATE}")])
            .args(["--set", "shares.per_minute=600", "--set", "shares.vardiff=false"])
            .args(["--set", &format!("shares.work_min={WORK}")])
            .args(more)
            .arg("--data")
            .arg(folder.join("negotiator"));
        for upstream in upstreams {
            command.args(["--upstream", upstream]);
        }
        let program = Program::start("negotiator", folder, &mut command);
        let url = wait("the URL of the negotiator", &[&program], || {
            let said = program.output();
            said.split_whitespace().find_map(|word| word.parse().ok())
        });
        Self { program, url }
    }
}

/// Their pool with its declaration server, as an upstream.
fn upstream(folder: &Path, node: &BitcoinNode) -> (Program, String) {
    let (pool, url, jds) = reference::pool_with_declarations(folder, node);
    (pool, format!("{url},jds=127.0.0.1:{jds}"))
}

/// REQ-JD-020, REQ-JD-024, REQ-JD-029, REQ-JD-033, REQ-JD-036, REQ-JD-040, REQ-JD-043, REQ-COM-039, REQ-MIN-012: in Full-Template mode
/// their declaration server checks our template with its node, their pool pays for our custom jobs, and the blocks that our
/// device finds are the node's tip, with our transaction and their payout.
#[test]
fn our_negotiator_mines_on_their_pool() {
    if peers::need(["pool_sv2"]).is_none() {
        return;
    }
    let Some((node, spent)) = node() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let base = node.height();
    let (pool, upstream) = upstream(folder.path(), &node);
    let mut negotiator = Negotiator::start(folder.path(), &node, &[upstream], &[]);
    reference::says(&pool, "SetCustomMiningJob");
    let miner = device(folder.path(), &negotiator.url.to_string(), "us", "extended", &[]);
    wait(
        "blocks of our negotiator",
        &[&pool, &negotiator.program, &miner],
        || (node.height() >= base + BLOCKS).then_some(()),
    );
    first_block(&node, base, &spent);
    // Shares of the custom jobs are credited there too, and the block was told on every way.
    reference::says(&pool, "SubmitSharesExtended");
    reference::says(&pool, "PushSolution");
    drop(miner);
    negotiator.program.stop();
    let said = negotiator.program.said();
    assert!(!said.contains("block refused"), "{said}");
}

/// Their device on a standard channel and their proxy with a Stratum V1 device, below our negotiator on their pool.
#[test]
fn their_devices_mine_below_our_negotiator() {
    if peers::need(["pool_sv2", "mining_device", "translator_sv2"]).is_none() {
        return;
    }
    let Some((node, spent)) = node() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let base = node.height();
    let (pool, upstream) = upstream(folder.path(), &node);
    let negotiator = Negotiator::start(folder.path(), &node, &[upstream], &[]);
    reference::says(&pool, "SetCustomMiningJob");
    let (address, key) = negotiator.place();
    let miner = reference::device_on(folder.path(), &address, &key, "them");
    wait(
        "blocks of their device",
        &[&pool, &negotiator.program, &miner],
        || (node.height() >= base + BLOCKS).then_some(()),
    );
    first_block(&node, base, &spent);
    drop(miner);
    let (base, port) = (node.height(), negotiator.url.port.to_string());
    let proxy = Translator::on(folder.path(), &port, &key, false, STRATUM_V1_RATE);
    let tally = stratum_v1::mine(&proxy.address, "v1.device", 2);
    assert!(tally.refused.is_empty(), "{tally:?}{}", proxy.program.said());
    wait(
        "blocks of the Stratum V1 device",
        &[&pool, &negotiator.program, &proxy.program],
        || (node.height() > base).then_some(()),
    );
    // Whether one of so few shares is good enough for their pool is a matter of luck.
    reference::says(&pool, "PushSolution");
}

/// REQ-JD-038: their pool dies, and nobody below stands still: the node's next blocks are our own.
#[test]
fn their_pool_dies_and_we_mine_alone() {
    if peers::need(["pool_sv2"]).is_none() {
        return;
    }
    let Some((node, _)) = node() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (mut pool, upstream) = upstream(folder.path(), &node);
    let negotiator = Negotiator::start(folder.path(), &node, &[upstream], &[]);
    reference::says(&pool, "SetCustomMiningJob");
    let miner = device(folder.path(), &negotiator.url.to_string(), "us", "extended", &[]);
    let base = node.height();
    let alone = || {
        let block = node.json(&["getblock", &node.tip(), "2"]);
        let paid = block.pointer("/tx/0/vout/0/scriptPubKey/hex");
        paid.and_then(|it| it.as_str()) == Some("51")
    };
    let programs = [&negotiator.program, &miner];
    wait("a block for their pool", &programs, || {
        (node.height() > base && !alone()).then_some(())
    });
    pool.kill();
    wait("a block for ourselves", &programs, || alone().then_some(()));
    assert!(!miner.said().contains("connection lost"), "{}", miner.said());
}
