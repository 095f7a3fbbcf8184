//! The reference implementation's job negotiator chooses the transactions of its blocks, on our pool.

use adit_net::{Clock, Url};
use adit_testkit::{BitcoinNode, MINE_TO, peers};
use serde_json::Value;

use crate::pool::Pool;
use crate::program::{Program, wait};
use crate::reference;
use crate::templates::{node, provider_with};

/// Expected hashes of a share on our pool: fewer than of one on their negotiator, so that every share of its device comes
/// to us. On regtest each of them is a block.
const SHARE_WORK: u64 = 1 << 10;
/// Coins for further transactions, one a second. In coinbase-only mode their negotiator sets jobs only when a template
/// changes within one tip: those that it makes for a new tip have outputs without value, and it keeps them to itself.
const COINS: u32 = 80;

/// REQ-JD-021, REQ-JD-022, REQ-JD-023, REQ-JD-029, REQ-JD-036: declared, checked by the node, set, mined; the pool
/// publishes the whole block, too.
#[test]
fn their_negotiator_declares_its_templates_to_our_pool() {
    let Some(scene) = Scene::mine("full-template", "FULLTEMPLATE") else {
        return;
    };
    assert!(scene.count("declared") > 0, "{}", scene.pool.program.said());
    scene.holds("accepted full-template credit 10000 of 10000");
}

/// REQ-JD-037: the token of the allocation is set at once; nobody but the miner has the transactions. The reference
/// implementation's own server does not serve this.
#[test]
fn their_negotiator_keeps_its_templates_to_itself_on_our_pool() {
    let Some(scene) = Scene::mine("coinbase-only", "COINBASEONLY") else {
        return;
    };
    assert_eq!(scene.count("declared"), 0);
    scene.holds("accepted coinbase-only credit 10000 of 10000");
}

struct Scene {
    pool: Pool,
    node: BitcoinNode,
    spent: Vec<String>,
}

impl Scene {
    /// Mines until the node's tip is a block of the negotiator's device, and one of its blocks holds a transaction.
    /// Nothing when the programs are not there.
    fn mine(ours: &str, theirs: &str) -> Option<Self> {
        peers::need(["jd_client_sv2", "mining_device"])?;
        let (node, first) = node()?;
        node.mine(COINS);
        let mode = format!("negotiation.mode={ours}");
        // On regtest a block is two hashes, and credit is counted in blocks.
        let more = [
            &*mode,
            "negotiation.credit_millis=1000000000000",
            "negotiation.credit_total_millis=1000000000000",
        ];
        let pool = Pool::start_with(&format!("ipc:{}", node.socket().display()), SHARE_WORK, &more);
        let folder = tempfile::tempdir().expect("a folder");
        let quick = ["ipc.fee_delta_sat=0", "ipc.interval_ms=100"];
        let (provider, templates) = provider_with(folder.path(), &node, &quick);
        let (negotiator, place) = reference::negotiator(folder.path(), &templates, &pool, theirs);
        let place: Url = place.parse().expect("a URL");
        let key = place.key.as_ref().expect("a key").to_string();
        let address = format!("{}:{}", place.host, place.port);
        let miner = reference::device_on(folder.path(), &address, &key, "them");
        let spent = vec![first];
        let mut this = Self { pool, node, spent };
        this.wait_for_blocks(&[&provider, &negotiator, &miner]);
        Some(this)
    }

    fn wait_for_blocks(&mut self, peers: &[&Program]) {
        let (clock, mut last) = (Clock::system(), 0);
        let Self { pool, node, spent } = self;
        let programs: Vec<&Program> = peers.iter().copied().chain([&pool.program]).collect();
        wait("a block of their device is the tip", &programs, || {
            let now = clock.unix_s();
            if now > last && spent.len() < COINS as usize {
                last = now;
                let coin = 1 + spent.len() as u64;
                spent.push(node.spend(coin, 5_000).to_string());
            }
            let ours = pool.blocks();
            let found = ours.iter().any(|hash| holds_one_of(node, hash, spent));
            (found && ours.contains(&node.tip())).then_some(())
        });
    }

    fn count(&self, of: &str) -> u64 {
        self.pool.count(&format!("/negotiation/{of}")).expect("a count")
    }

    /// One of the blocks has a transaction, the pool's output and the negotiator's signature; and the ledger has what was
    /// promised.
    fn holds(self, promise: &str) {
        let said = || self.pool.program.said();
        assert_eq!(self.pool.count("/blocks/rejected"), Some(0), "{}", said());
        let ours = self.pool.blocks();
        let block = ours
            .iter()
            .find(|hash| holds_one_of(&self.node, hash, &self.spent));
        let block = self
            .node
            .json(&["getblock", block.expect("a block with a transaction"), "2"]);
        let text = |pointer: &str| block.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        assert_eq!(text("/tx/0/vout/0/scriptPubKey/address"), MINE_TO);
        let signature: String = b"their negotiator"
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert!(text("/tx/0/vin/0/coinbase").contains(&signature));
        assert!(self.count("custom_accepted") > 0);
        let records = self.pool.ledger("export");
        let promised = |record: &Value| {
            let note = record["note"].as_str().unwrap_or_default();
            record["kind"] == "custom" && note.contains(promise)
        };
        assert!(records.iter().any(promised), "{}", said());
        assert!(self.pool.shares() > 0);
    }
}

/// Whether a block that the node knows has one of these transactions.
fn holds_one_of(node: &BitcoinNode, hash: &str, txids: &[String]) -> bool {
    let Ok(block) = node.cli(&["getblock", hash, "1"]) else {
        return false;
    };
    txids.iter().any(|txid| block.contains(txid.as_str()))
}
