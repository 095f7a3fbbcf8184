//! Their pool and their job negotiator on our template provider, which has its templates from Bitcoin Core.

use std::path::Path;

use adit_net::Url;
use adit_testkit::{BitcoinNode, COINBASE_MATURITY, MINE_TO, peers};

use crate::pool::{adit, device};
use crate::program::{Program, wait};
use crate::reference;

/// Blocks that are to be found.
const BLOCKS: u64 = 3;

/// `adit provider` on a node, and its URL.
pub(crate) fn provider(folder: &Path, node: &BitcoinNode) -> (Program, Url) {
    provider_with(folder, node, &[])
}

/// The same with more keys of the configuration, as `key=value`.
pub(crate) fn provider_with(folder: &Path, node: &BitcoinNode, more: &[&str]) -> (Program, Url) {
    let mut command = adit();
    command
        .args(["provider", "--listen", "127.0.0.1:0", "--node"])
        .arg(format!("ipc:{}", node.socket().display()))
        .arg("--data")
        .arg(folder.join("data"));
    for key in more {
        command.args(["--set", key]);
    }
    let program = Program::start("provider", folder, &mut command);
    let url = wait("the URL of the provider", &[&program], || {
        let said = program.output();
        said.split_whitespace().find_map(|word| word.parse().ok())
    });
    (program, url)
}

/// A node with a transaction in its mempool; its txid.
pub(crate) fn node() -> Option<(BitcoinNode, String)> {
    let node = BitcoinNode::start()?;
    node.mine(COINBASE_MATURITY + 1);
    let spent = node.spend(1, 5_000).to_string();
    Some((node, spent))
}

/// The first block after `base` has the transaction and pays who it should; its coinbase's scriptSig in hexadecimal.
pub(crate) fn first_block(node: &BitcoinNode, base: u64, spent: &str) -> String {
    let first = node
        .cli(&["getblockhash", &(base + 1).to_string()])
        .expect("a block");
    let block = node.json(&["getblock", &first, "2"]);
    let text = |path: &str| block.pointer(path).and_then(|it| it.as_str()).map(str::to_owned);
    assert_eq!(
        text("/tx/0/vout/0/scriptPubKey/address").as_deref(),
        Some(MINE_TO)
    );
    assert_eq!(text("/tx/1/txid").as_deref(), Some(spent));
    text("/tx/0/vin/0/coinbase").expect("a coinbase")
}

/// Blocks came, the first has the transaction and pays who it should, and the provider stops in order without having
/// lost one.
fn holds(node: &BitcoinNode, base: u64, spent: &str, mut provider: Program, tag: &str) {
    let script = first_block(node, base, spent);
    let tag: String = tag.bytes().map(|byte| format!("{byte:02x}")).collect();
    assert!(script.contains(&tag), "{script}");
    provider.stop();
    let said = provider.said();
    assert!(!said.contains("block refused"), "{said}");
}

/// REQ-TDP-006, REQ-TDP-040: their pool mines with their device on our provider; the blocks become the node's tip.
#[test]
fn their_pool_mines_on_our_provider() {
    if peers::need(["pool_sv2", "mining_device"]).is_none() {
        return;
    }
    let Some((node, spent)) = node() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let base = node.height();
    let (provider, url) = provider(folder.path(), &node);
    let (pool, pool_url) = reference::pool_on_provider(folder.path(), &url);
    let place: Url = pool_url.parse().expect("a URL");
    let key = place.key.as_ref().expect("a key").to_string();
    let address = format!("{}:{}", place.host, place.port);
    let miner = reference::device_on(folder.path(), &address, &key, "them");
    wait("blocks of their pool", &[&provider, &pool, &miner], || {
        (node.height() >= base + BLOCKS).then_some(())
    });
    drop(miner);
    drop(pool);
    holds(&node, base, &spent, provider, "their pool");
}

/// REQ-TDP-006, REQ-TDP-040: their job negotiator, mining alone, with our device.
#[test]
fn their_negotiator_mines_on_our_provider() {
    if peers::need(["jd_client_sv2"]).is_none() {
        return;
    }
    let Some((node, spent)) = node() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let base = node.height();
    let (provider, url) = provider(folder.path(), &node);
    let (negotiator, place) = reference::negotiator_alone(folder.path(), &url);
    let miner = device(folder.path(), &place, "us", "extended", &[]);
    wait(
        "blocks of their negotiator",
        &[&provider, &negotiator, &miner],
        || (node.height() >= base + BLOCKS).then_some(()),
    );
    drop(miner);
    drop(negotiator);
    holds(&node, base, &spent, provider, "their negotiator");
}
