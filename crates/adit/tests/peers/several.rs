//! A pool on two nodes: its miners do not notice when the first one dies, hangs or returns.

use std::time::Duration;

use adit_testkit::{BitcoinNode, until};

use crate::BLOCK_WORK;
use crate::pool::{Pool, device};
use crate::program::wait;

/// How long a node may need to hear of another's block.
const LIMIT: Duration = Duration::from_secs(60);

/// The second node is mined on while the first is dead, and while it hangs; nobody is disconnected, and in the end
/// both nodes have our blocks.
#[test]
fn the_second_node_takes_over_without_a_miner_noticing() {
    let Some([mut first, second]) = BitcoinNode::start_pair() else {
        return;
    };
    let spec = format!(
        "ipc:{},rpc:{}?cookie={}",
        first.socket().display(),
        second.rpc_address(),
        second.cookie().display()
    );
    let pool = Pool::start(&spec, BLOCK_WORK);
    let mut miners = [
        device(pool.folder(), &pool.url(), "header", "standard", &[]),
        device(pool.folder(), &pool.url(), "rolled", "extended", &[]),
    ];
    let [header, rolled] = &miners;
    let peers = [header, rolled];
    let mined_on = |mark: &str| {
        wait(
            "the node that is mined on",
            &[&pool.program, header, rolled],
            || {
                let status = pool.status()?;
                status
                    .pointer("/node/name")?
                    .as_str()?
                    .contains(mark)
                    .then_some(())
            },
        );
    };
    let blocks = |more: u64| {
        let accepted = pool.count("/blocks/accepted").unwrap_or_default();
        pool.reaches("/blocks/accepted", accepted + more, &peers);
    };
    mined_on("node.sock");
    pool.reaches("/connections/open", 2, &peers);
    blocks(2);

    first.kill();
    mined_on("127.0.0.1");
    let height = second.height();
    blocks(2);
    // What was counted as accepted meanwhile may have been found before: the second node may hear of a block first.
    let alone = until(LIMIT, || (second.height() > height).then_some(()));
    alone.expect("the second node has blocks that were found without the first");
    first.launch();
    mined_on("node.sock");
    blocks(2);

    first.pause();
    mined_on("127.0.0.1");
    blocks(2);
    first.resume();
    mined_on("node.sock");
    blocks(1);

    let status = pool.status().expect("a status");
    assert_eq!(status["connections"]["open"], 2, "{status}");
    assert_eq!(
        status["connections"]["accepted"], 2,
        "nobody had to come again: {status}"
    );
    miners.iter_mut().for_each(|miner| miner.stop());
    let same = until(LIMIT, || (first.tip() == second.tip()).then(|| first.tip()));
    let tip = same.expect("the nodes agree in the end");
    wait("our tip", &[&pool.program], || {
        pool.blocks().contains(&tip).then_some(())
    });
    pool.shares();
}
