//! A node that is away for long, under load: nobody loses the connection, and nothing that was found is lost.

use std::time::Duration;

use adit_testkit::{BitcoinNode, until};

use crate::BLOCK_WORK;
use crate::pool::{Pool, adit, device};
use crate::program::{Program, wait};

/// Longer than every deadline and all patience of a call to the node (10 and 30 s): the connection has been given up
/// when the node goes on.
const AWAY: Duration = Duration::from_secs(60);
/// Connections that hold still and listen.
const HELD: u64 = 50;
/// Devices that mine.
const DEVICES: u64 = 2;

/// The load generator, holding connections open for as long as the test may take.
fn crowd(pool: &Pool) -> Program {
    let mut command = adit();
    let held = HELD.to_string();
    command
        .args(["load", "--upstream", &pool.url(), "--connections", &held])
        .args(["--seconds", "600", "--hold"]);
    Program::start("crowd", pool.folder(), &mut command)
}

fn node_is(pool: &Pool, state: &str) {
    wait(&format!("a node that is {state}"), &[&pool.program], || {
        let is = pool.status()?.pointer("/node/state")?.as_str()? == state;
        is.then_some(())
    });
}

/// Everybody who came first is still there, and nobody had to come again.
fn all_stay(pool: &Pool) {
    let status = pool.status().expect("a status");
    let connections = &status["connections"];
    assert_eq!(connections["open"], HELD + DEVICES, "{status}");
    assert_eq!(connections["accepted"], HELD + DEVICES, "{status}");
}

/// Blocks found so far whose header the node has; those that are missing.
fn missing(node: &BitcoinNode, blocks: &[String]) -> Vec<String> {
    let unknown = |hash: &&String| node.cli(&["getblockheader", hash]).is_err();
    blocks.iter().filter(unknown).cloned().collect()
}

/// SIGSTOP for longer than every patience, then SIGCONT; then SIGKILL and a restart: miners stay, shares are accepted,
/// and every block that was found meanwhile reaches the node.
#[test]
fn a_node_that_is_away_for_long_gets_every_block_when_it_returns() {
    let Some(mut node) = BitcoinNode::start() else {
        return;
    };
    let pool = Pool::on(&node, BLOCK_WORK);
    let mut miners = [
        device(pool.folder(), &pool.url(), "header", "standard", &[]),
        device(pool.folder(), &pool.url(), "rolled", "extended", &[]),
    ];
    let _crowd = crowd(&pool);
    let [header, rolled] = &miners;
    pool.reaches("/connections/open", HELD + DEVICES, &[header, rolled]);
    pool.reaches("/blocks/accepted", 2, &[header, rolled]);
    // The node itself has judged what is mined.
    pool.reaches("/node/jobs_valid", 1, &[header, rolled]);
    assert_eq!(pool.count("/node/jobs_refused"), Some(0));

    node.pause();
    node_is(&pool, "down");
    let (mut accepted, found) = (pool.count("/shares/accepted"), pool.count("/blocks/found"));
    let mut seen = 0;
    let gone = until(AWAY, || {
        all_stay(&pool);
        let now = pool.count("/shares/accepted");
        seen += u64::from(now > accepted);
        accepted = now;
        is_up(&pool).then_some(())
    });
    assert!(gone.is_none(), "the node was called up while it was stopped");
    assert!(seen >= 3, "shares were accepted {seen} times in {AWAY:?}");
    assert!(
        pool.count("/blocks/found") > found,
        "blocks are found on the last template"
    );
    node.resume();
    node_is(&pool, "up");
    all_stay(&pool);
    let blocks = pool.blocks();
    wait("every block at the node", &[&pool.program], || {
        missing(&node, &blocks).is_empty().then_some(())
    });

    flush(&node);
    node.kill();
    node_is(&pool, "down");
    let found = pool.count("/blocks/found").expect("a count");
    pool.reaches("/blocks/found", found + 2, &[header, rolled]);
    all_stay(&pool);
    node.launch();
    node_is(&pool, "up");
    all_stay(&pool);
    miners.iter_mut().for_each(|miner| miner.stop());
    // The killed node may have forgotten what came after the flush: it gets it again, from the pool alone.
    let blocks = pool.blocks();
    wait("our tip", &[&pool.program], || {
        blocks.contains(&node.tip()).then_some(())
    });
    wait("the answers", &[&pool.program], || {
        pool.count("/blocks/pending").filter(|&pending| pending == 0)
    });
    assert_eq!(pool.count("/blocks/rejected"), Some(0), "{}", pool.program.said());
}

/// Has the node write its chain to disk. What came before that is not forgotten in a crash; Bitcoin Core does so about
/// once an hour, and has peers for what is older.
fn flush(node: &BitcoinNode) {
    node.cli(&["gettxoutsetinfo"]).expect("gettxoutsetinfo");
}

fn is_up(pool: &Pool) -> bool {
    let status = pool.status();
    status.is_some_and(|status| status["node"]["state"] == "up")
}

/// A node killed before its last blocks were on its disk, with nobody else who has them, gets them again.
#[test]
fn what_a_killed_node_has_forgotten_it_gets_again() {
    let Some(mut node) = BitcoinNode::start() else {
        return;
    };
    let pool = Pool::on(&node, BLOCK_WORK);
    let mut miner = device(pool.folder(), &pool.url(), "miner", "extended", &[]);
    pool.reaches("/blocks/accepted", 4, &[&miner]);
    miner.stop();
    wait("the last answer", &[&pool.program], || {
        pool.count("/blocks/pending").filter(|&pending| pending == 0)
    });
    let (height, tip) = (node.height(), node.tip());
    node.kill();
    node_is(&pool, "down");
    node.launch();
    assert!(
        node.height() < height,
        "it has forgotten some, or this shows nothing"
    );
    wait("the same chain", &[&pool.program], || {
        (node.tip() == tip).then_some(())
    });
    assert_eq!(node.height(), height);
}

/// Header of the first block on the genesis block of the main chain.
const FIRST: &str = "010000006fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000\
                     982051fd1e4ba744bbbe680e1fee14677ba1a3c3540bf7b1cdb606e857233e0e\
                     61bc6649ffff001d01e36299";
/// How long the initial download is watched.
const DOWNLOADS: Duration = Duration::from_secs(8);

/// A node of the real network that has not downloaded its chain: no template comes of it, whoever waits stays connected,
/// and the page says why.
#[test]
fn miners_wait_for_a_node_in_initial_download() {
    let Some(node) = BitcoinNode::start_on_main() else {
        return;
    };
    node.cli(&["submitheader", FIRST]).unwrap();
    let pool = Pool::on(&node, BLOCK_WORK);
    let miner = device(pool.folder(), &pool.url(), "waits", "standard", &[]);
    let _crowd = crowd(&pool);
    pool.reaches("/connections/open", HELD + 1, &[&miner]);
    node_is(&pool, "down");
    let over = until(DOWNLOADS, || {
        let status = pool.status().expect("a status");
        let reason = status["node"]["reason"].as_str().unwrap_or_default();
        assert!(
            reason.contains("initial download of main, block 0 of 1"),
            "{status}"
        );
        assert_eq!(
            status["node"]["template_age_ms"],
            serde_json::Value::Null,
            "{status}"
        );
        assert_eq!(status["connections"]["accepted"], HELD + 1, "{status}");
        assert_eq!(status["connections"]["open"], HELD + 1, "{status}");
        is_up(&pool).then_some(())
    });
    assert!(over.is_none());
    assert_eq!(pool.count("/shares/accepted"), Some(0));
}
