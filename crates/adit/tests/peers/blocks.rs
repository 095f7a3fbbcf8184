//! Found blocks become the tip of Bitcoin Core.

use std::collections::HashSet;

use adit_testkit::{BitcoinNode, MINE_TO, peers};

use crate::BLOCK_WORK;
use crate::pool::{Pool, device};
use crate::program::wait;
use crate::reference;

/// Blocks that everybody has to find.
const BLOCKS: u64 = 2;

/// Their device and ours, standard and extended, on our pool over a node with a transaction in its mempool.
#[test]
fn blocks_of_their_device_and_ours_become_the_tip_of_the_node() {
    if peers::need(["mining_device"]).is_none() {
        return;
    }
    let Some(node) = BitcoinNode::start() else { return };
    node.mine(adit_testkit::COINBASE_MATURITY + 1);
    let base = node.height();
    let spent = node.spend(1, 5_000).to_string();
    let pool = Pool::on(&node, BLOCK_WORK);
    let folder = pool.folder();
    let mut devices = [
        reference::mining_device(&pool, "them"),
        device(folder, &pool.url(), "header", "standard", &[]),
        device(folder, &pool.url(), "rolled", "extended", &[]),
    ];
    let [them, header, rolled] = &devices;
    wait(
        "blocks of everybody",
        &[&pool.program, them, header, rolled],
        || {
            let names = pool.top();
            let enough = names.iter().filter(|(_, _, blocks)| *blocks >= BLOCKS).count();
            (enough == devices.len()).then_some(())
        },
    );
    devices.iter_mut().for_each(|device| device.kill());
    wait("answers of the node", &[&pool.program], || {
        pool.count("/blocks/pending").filter(|&pending| pending == 0)
    });

    let ours: HashSet<String> = wait("our tip", &[&pool.program], || {
        let ours: HashSet<String> = pool.blocks().into_iter().collect();
        ours.contains(&node.tip()).then_some(ours)
    });
    let height = node.height();
    assert!(height > base);
    for height in base + 1..=height {
        let hash = node.cli(&["getblockhash", &height.to_string()]).expect("a block");
        assert!(ours.contains(&hash), "block {height} is not in the ledger");
    }
    assert_eq!(pool.count("/blocks/rejected"), Some(0), "{}", pool.program.said());

    // Who was paid, and whether the transaction got in.
    let first = node
        .cli(&["getblockhash", &(base + 1).to_string()])
        .expect("a block");
    let block = node.json(&["getblock", &first, "2"]);
    let paid = block.pointer("/tx/0/vout/0/scriptPubKey/address");
    assert_eq!(paid.and_then(|address| address.as_str()), Some(MINE_TO));
    assert_eq!(
        block.pointer("/tx/1/txid").and_then(|id| id.as_str()),
        Some(&*spent)
    );
    pool.shares();
}
