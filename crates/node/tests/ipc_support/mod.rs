//! What the `ipc:` tests share: a source on a node, waiting for its events, and solving a template.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file is a crate of its own and uses a part"
)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use adit_node::ipc::{Ipc, Settings};
use adit_node::{Event, Node, Solution, Template, TemplateId, spawn};
use bitcoin::block::{Header, Version};
use bitcoin::consensus::serialize;
use bitcoin::hashes::{Hash, HashEngine, sha256d};
use bitcoin::{
    Amount, Block, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode, TxOut, Witness, absolute,
    transaction,
};

/// Longest wait for any event; far more than any of them takes.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A source that tells every gain in fees at once.
pub fn eager(socket: PathBuf) -> Settings {
    Settings {
        fee_delta_sat: 1,
        interval_ms: 0,
        ..Settings::new(socket)
    }
}

pub fn source(settings: Settings) -> Node {
    spawn(Ipc::new(settings)).expect("a thread")
}

/// The next event that `wanted` takes; the others are passed over.
pub async fn event<T>(node: &mut Node, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
    let found = async {
        loop {
            let event = node.events.recv().await.expect("the source runs");
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    };
    tokio::time::timeout(LIMIT, found)
        .await
        .expect("an event in time")
}

pub async fn template(node: &mut Node) -> Arc<Template> {
    template_where(node, |_| true).await
}

pub async fn template_where(node: &mut Node, wanted: impl Fn(&Template) -> bool) -> Arc<Template> {
    event(node, |event| match event {
        Event::Template(template) if wanted(&template) => Some(template),
        _ => None,
    })
    .await
}

pub async fn transactions(node: &mut Node, id: TemplateId) -> Arc<Vec<Vec<u8>>> {
    event(node, |event| match event {
        Event::Transactions {
            template,
            transactions,
        } if template == id => Some(transactions),
        _ => None,
    })
    .await
}

pub async fn down(node: &mut Node) -> String {
    event(node, |event| match event {
        Event::Down { reason } => Some(reason),
        _ => None,
    })
    .await
}

pub async fn up(node: &mut Node) -> String {
    event(node, |event| match event {
        Event::Up { node } => Some(node),
        _ => None,
    })
    .await
}

/// The coinbase of a template that pays `value` to anyone; `extra` makes it another one.
pub fn coinbase(template: &Template, value: u64, extra: u64) -> Transaction {
    let mut script = template.coinbase_prefix.clone();
    script.push(8);
    script.extend(extra.to_be_bytes());
    let paid = TxOut {
        value: Amount::from_sat(value),
        script_pubkey: ScriptBuf::from_bytes(vec![0x51]).to_p2wsh(),
    };
    let mut output = vec![paid];
    output.extend(template.coinbase_tx_outputs.iter().cloned());
    Transaction {
        version: transaction::Version(template.coinbase_tx_version.cast_signed()),
        lock_time: absolute::LockTime::from_consensus(template.coinbase_tx_locktime),
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: ScriptBuf::from_bytes(script),
            sequence: Sequence(template.coinbase_tx_input_sequence),
            witness: template
                .coinbase_witness
                .map_or_else(Witness::new, |item| Witness::from_slice(&[item])),
        }],
        output,
    }
}

/// A solution that takes all there is.
pub fn solve(template: &Template, extra: u64) -> (Solution, Header) {
    solve_paying(template, template.coinbase_tx_value_remaining, extra)
}

/// A solution whose coinbase pays `value`.
pub fn solve_paying(template: &Template, value: u64, extra: u64) -> (Solution, Header) {
    let coinbase = coinbase(template, value, extra);
    let root = template
        .merkle_path
        .iter()
        .fold(coinbase.compute_txid().to_byte_array(), |left, right| {
            let mut engine = sha256d::Hash::engine();
            engine.input(&left);
            engine.input(right);
            sha256d::Hash::from_engine(engine).to_byte_array()
        });
    let mut header = Header {
        version: Version::from_consensus(template.version.cast_signed()),
        prev_blockhash: template.prev_hash,
        merkle_root: TxMerkleNode::from_byte_array(root),
        time: template.header_timestamp,
        bits: template.nbits,
        nonce: 0,
    };
    while header.validate_pow(header.target()).is_err() {
        header.nonce += 1;
    }
    let solution = Solution {
        template: template.id,
        version: template.version,
        header_timestamp: header.time,
        header_nonce: header.nonce,
        coinbase_tx: serialize(&coinbase),
    };
    (solution, header)
}

/// The whole block of a solution.
pub fn block(solution: &Solution, header: Header, transactions: &[Vec<u8>]) -> Block {
    let decode = |bytes: &Vec<u8>| bitcoin::consensus::deserialize(bytes).expect("a transaction");
    let mut txdata = vec![decode(&solution.coinbase_tx)];
    txdata.extend(transactions.iter().map(decode));
    Block { header, txdata }
}
