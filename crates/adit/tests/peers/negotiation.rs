//! The reference implementation's job negotiator chooses the transactions of its blocks, on our pool.

use adit_net::Url;
use adit_testkit::{BitcoinNode, MINE_TO, peers};
use serde_json::Value;

use crate::BLOCK_WORK;
use crate::pool::Pool;
use crate::program::wait;
use crate::reference;
use crate::templates::{node, provider};

/// Blocks that its device has to find.
const BLOCKS: u64 = 2;

/// REQ-JD-021, REQ-JD-022, REQ-JD-023, REQ-JD-029, REQ-JD-036: declared, checked by the node, set, mined; the pool
/// publishes the whole block, too.
#[test]
fn their_negotiator_declares_its_templates_to_our_pool() {
    let Some(scene) = mine("full-template", "FULLTEMPLATE") else {
        return;
    };
    assert!(scene.count("declared") > 0, "{}", scene.pool.program.said());
    scene.holds("accepted full-template credit 10000 of 10000");
}

/// REQ-JD-037: the token of the allocation is set at once; nobody but the miner has the transactions. The reference
/// implementation's own server does not serve this.
#[test]
fn their_negotiator_keeps_its_templates_to_itself_on_our_pool() {
    let Some(scene) = mine("coinbase-only", "COINBASEONLY") else {
        return;
    };
    assert_eq!(scene.count("declared"), 0);
    scene.holds("accepted coinbase-only credit 10000 of 10000");
}

struct Scene {
    pool: Pool,
    node: BitcoinNode,
    base: u64,
    spent: String,
}

/// Mines until the node has blocks of the negotiator's device. Nothing when the programs are not there.
fn mine(ours: &str, theirs: &str) -> Option<Scene> {
    peers::need(["jd_client_sv2", "mining_device"])?;
    let (node, spent) = node()?;
    let base = node.height();
    let mode = format!("negotiation.mode={ours}");
    // On regtest a block is two hashes, and credit is counted in blocks.
    let more = [
        &*mode,
        "negotiation.credit_millis=1000000000000",
        "negotiation.credit_total_millis=1000000000000",
    ];
    let pool = Pool::start_with(&format!("ipc:{}", node.socket().display()), BLOCK_WORK, &more);
    let folder = tempfile::tempdir().expect("a folder");
    let (provider, templates) = provider(folder.path(), &node);
    let (negotiator, place) = reference::negotiator(folder.path(), &templates, &pool, theirs);
    let place: Url = place.parse().expect("a URL");
    let key = place.key.as_ref().expect("a key").to_string();
    let address = format!("{}:{}", place.host, place.port);
    let miner = reference::device_on(folder.path(), &address, &key, "them");
    let programs = [&pool.program, &provider, &negotiator, &miner];
    wait("blocks of their device", &programs, || {
        let found = pool.top().into_iter().find(|(name, ..)| name == "farmer");
        found.filter(|(_, _, blocks)| *blocks >= BLOCKS)
    });
    drop(miner);
    wait("answers of the node", &[&pool.program], || {
        pool.count("/blocks/pending").filter(|&pending| pending == 0)
    });
    drop((negotiator, provider));
    Some(Scene {
        pool,
        node,
        base,
        spent: spent.to_string(),
    })
}

impl Scene {
    fn count(&self, of: &str) -> u64 {
        self.pool.count(&format!("/negotiation/{of}")).expect("a count")
    }

    /// The blocks are in the chain and the ledger, the first of them with the transaction, the pool's output and the
    /// negotiator's signature; and the ledger has what was promised.
    fn holds(self, promise: &str) {
        let ours = self.pool.blocks();
        assert!(ours.contains(&self.node.tip()), "{}", self.pool.program.said());
        assert_eq!(
            self.pool.count("/blocks/rejected"),
            Some(0),
            "{}",
            self.pool.program.said()
        );
        let first = (self.node.cli(&["getblockhash", &(self.base + 1).to_string()])).expect("a block");
        let block = self.node.json(&["getblock", &first, "2"]);
        let text = |pointer: &str| block.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        assert_eq!(text("/tx/0/vout/0/scriptPubKey/address"), MINE_TO);
        assert!(
            block["tx"][0]["vout"][0]["value"].as_f64() > Some(50.0),
            "fees and all"
        );
        assert_eq!(text("/tx/1/txid"), self.spent);
        let signature: String = b"their negotiator"
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert!(text("/tx/0/vin/0/coinbase").contains(&signature));
        assert!(self.count("custom_accepted") > 0);
        let records = self.pool.ledger("export");
        let promised = |record: &&Value| {
            record["kind"] == "custom" && record["note"].as_str().is_some_and(|it| it.contains(promise))
        };
        assert!(records.iter().any(|record| promised(&record)), "{records:?}");
        assert!(self.pool.shares() > 0);
    }
}
