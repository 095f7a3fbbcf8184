//! A Stratum V1 miner that somebody else wrote (`para miner`), straight on our pool's one port.

use std::path::Path;
use std::process::Command;

use adit_testkit::{BitcoinNode, MINE_TO, peers};

use crate::pool::{Pool, device};
use crate::program::{Program, wait};

/// Expected hashes of a share, and so of a block: para does some 100,000 a second.
const WORK: u64 = 1 << 17;
/// Shares and blocks that it has to find.
const BLOCKS: u64 = 3;

/// Its user name must be an address; the password asks for the smallest difficulty.
fn para(program: &Path, pool: &Pool, worker: &str) -> Program {
    let mut command = Command::new(program);
    command
        .args(["miner", "--username", &format!("{MINE_TO}.{worker}")])
        .args(["--password", "d=0.00001", "--cpu-cores", "1", pool.address()]);
    Program::start("para", pool.folder(), &mut command)
}

/// Its shares are in the ledger, under account and worker, and its blocks are the node's; a device of ours mines on the
/// same port.
#[test]
fn a_stratum_v1_miner_finds_blocks_of_the_node() {
    let Some([program]) = peers::need(["para"]) else {
        return;
    };
    let Some(node) = BitcoinNode::start() else { return };
    node.mine(1);
    let base = node.height();
    let pool = Pool::on(&node, WORK);
    let mut miner = para(&program, &pool, "para");
    let enough = |name: &str| {
        let names = pool.top();
        names
            .iter()
            .any(|(known, _, blocks)| known == name && *blocks >= BLOCKS)
    };
    wait("its blocks", &[&pool.program, &miner], || {
        enough(MINE_TO).then_some(())
    });
    // Nobody else has mined until now: the chain's new blocks are its.
    wait("the node's tip", &[&pool.program, &miner], || {
        (node.height() > base && pool.blocks().contains(&node.tip())).then_some(())
    });
    let mut ours = device(pool.folder(), &pool.url(), "ours", "extended", &[]);
    wait("blocks of ours", &[&pool.program, &miner, &ours], || {
        enough("ours").then_some(())
    });
    miner.kill();
    ours.kill();
    wait("answers of the node", &[&pool.program], || {
        pool.count("/blocks/pending").filter(|&pending| pending == 0)
    });
    assert_eq!(pool.count("/blocks/rejected"), Some(0), "{}", pool.program.said());
    pool.reaches("/connections/by_suite/stratum-v1", 1, &[&pool.program]);
    let status = pool.status().expect("a status");
    // Nothing else than lateness is wrong with any share.
    let reasons = status["shares"]["by_reason"].as_object().expect("reasons");
    assert!(
        reasons.keys().all(|reason| reason == "stale-share"),
        "{reasons:?}"
    );
    pool.shares();
}
