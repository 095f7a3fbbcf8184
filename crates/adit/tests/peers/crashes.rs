//! Killed pools and killed nodes: what was acknowledged stays, and mining goes on.

use std::time::Duration;

use adit_testkit::{BitcoinNode, until};

use crate::BLOCK_WORK;
use crate::pool::{Pool, device, report};
use crate::program::wait;

/// `kill -9` of the pool: the node does not notice, nothing acknowledged is lost, and the device finds its way back.
#[test]
fn a_killed_pool_goes_on_where_it_was() {
    let Some(mut node) = BitcoinNode::start() else {
        return;
    };
    let mut pool = Pool::on(&node, BLOCK_WORK);
    let mut miner = device(pool.folder(), &pool.url(), "miner", "extended", &[]);
    let told = pool.reaches("/blocks/accepted", 3, &[&miner]);
    pool.kill();

    assert!(node.is_running(), "the node went with the pool");
    let (height, before) = (node.height(), pool.shares());
    // Two blocks of one height are both accepted, and one of them is in the chain.
    assert!(
        height > 0 && before >= told,
        "{height} blocks, {before} shares, {told} were told"
    );

    pool.start_again();
    pool.reaches("/blocks/accepted", 2, &[&miner]);
    wait("a longer chain", &[&pool.program, &miner], || {
        (node.height() > height).then_some(())
    });
    miner.stop();
    let acknowledged = report(&miner)["shares_accepted"].as_u64().expect("a count");
    let after = pool.shares();
    assert!(
        after > before && after >= acknowledged,
        "{before} shares, then {after}; {acknowledged} were acknowledged"
    );
    assert_eq!(pool.verify()["starts"], 2);
    assert_eq!(pool.top().len(), 1);
    wait("our tip", &[&pool.program], || {
        pool.blocks().contains(&node.tip()).then_some(())
    });
    assert!(node.is_running());
    pool.program.stop();
}

/// Pools that are killed one after the other, and how long each may live, in milliseconds.
const KILLS: u64 = 100;
const LIFE_MAX_MS: u64 = 400;

/// `kill -9` of a hundred pools, each at another moment after its start, with a device at work: the node does not
/// notice, and the last pool finds all in order.
#[test]
fn a_hundred_killed_pools_leave_the_node_running() {
    let Some(mut node) = BitcoinNode::start() else {
        return;
    };
    let mut pool = Pool::on(&node, BLOCK_WORK);
    let mut miner = device(pool.folder(), &pool.url(), "miner", "extended", &[]);
    pool.reaches("/blocks/accepted", 1, &[&miner]);
    for kill in 0..KILLS {
        // Spread over the whole range, in no order.
        let life = Duration::from_millis(kill * 61 % LIFE_MAX_MS);
        let ended = until(life, || pool.program.has_ended().then_some(()));
        assert!(
            ended.is_none(),
            "pool {kill} ended by itself{}",
            pool.program.said()
        );
        pool.kill();
        assert!(node.is_running(), "the node died after {} kills", kill + 1);
        if kill % 10 == 9 {
            node.mine(1);
        }
        pool.start_again();
    }
    node.mine(1);
    assert!(node.is_running());
    let before = pool.count("/blocks/accepted").unwrap_or_default();
    pool.reaches("/blocks/accepted", before + 1, &[&miner]);
    miner.stop();
    // One that was killed in the moment in which it said its address may not have written that it had started.
    let starts = pool.verify()["starts"].as_u64().expect("a count");
    assert!((KILLS * 9 / 10..=KILLS + 1).contains(&starts), "{starts} starts");
    let report = report(&miner);
    assert!(
        report["shares_accepted"]
            .as_u64()
            .is_some_and(|shares| shares > 0),
        "{report}"
    );
    pool.program.stop();
    assert!(node.is_running());
}

/// A node killed under the pool: the devices stay connected, and blocks come again when the node does.
#[test]
fn a_killed_node_costs_nobody_the_connection() {
    let Some(mut node) = BitcoinNode::start() else {
        return;
    };
    let pool = Pool::on(&node, BLOCK_WORK);
    let mut miners = [
        device(pool.folder(), &pool.url(), "header", "standard", &[]),
        device(pool.folder(), &pool.url(), "rolled", "extended", &[]),
    ];
    let [header, rolled] = &miners;
    let peers = [header, rolled];
    pool.reaches("/connections/open", 2, &peers);
    pool.reaches("/blocks/accepted", 2, &peers);

    node.kill();
    let node_is = |state: &str| {
        let is = pool.status()?.pointer("/node/state")?.as_str()? == state;
        is.then_some(())
    };
    wait("a pool that notices", &[&pool.program], || node_is("down"));
    // Nobody loses work that is still good: shares are accepted without a node.
    let accepted = pool.count("/shares/accepted").expect("a count");
    pool.reaches("/shares/accepted", accepted + 1, &peers);

    node.launch();
    let height = node.height();
    wait("the node", &[&pool.program], || node_is("up"));
    wait("blocks again", &[&pool.program, header, rolled], || {
        (node.height() > height + 1).then_some(())
    });
    let status = pool.status().expect("a status");
    assert_eq!(status["connections"]["open"], 2, "{status}");
    assert_eq!(
        status["connections"]["accepted"], 2,
        "nobody had to come again: {status}"
    );
    miners.iter_mut().for_each(|miner| miner.stop());
    wait("our tip", &[&pool.program], || {
        pool.blocks().contains(&node.tip()).then_some(())
    });
    pool.shares();
}
