//! What every template source must do, and a miner small enough to try it.
#![allow(dead_code, reason = "each test binary uses its own part")]

use adit_node::{
    BlockStatus, Event, Node, Solution, SubmitError, Template, TemplateId, TemplateSource, Verdict, spawn,
};
use bitcoin::block::{Header, Version};
use bitcoin::consensus::encode;
use bitcoin::hashes::Hash;
use bitcoin::{
    Amount, Block, BlockHash, OutPoint, ScriptBuf, Sequence, Target, Transaction, TxIn, TxMerkleNode, TxOut,
    Witness, absolute, merkle_tree, transaction,
};

/// Events read while waiting for one kind before giving up.
const EVENTS_MAX: usize = 100;

/// Runs any source through the life of one block: up, template, transactions that match the
/// merkle path, a solution accepted, the new tip's template, duplicate, unknown template, status.
/// The source must have an easy target. Gives the running node, and the block that was found.
pub(crate) async fn conformance(source: impl TemplateSource) -> (Node, Block) {
    let mut node = spawn(source).unwrap();
    let first = node.events.recv().await.unwrap();
    assert!(matches!(first, Event::Up { .. }), "{first:?}");

    let (template, transactions) = template_with_transactions(&mut node).await;
    well_formed(&template, &transactions);

    let (solution, block) = solve(&template, &transactions);
    let hash = block.block_hash();
    assert_eq!(node.handle.status(hash).await, Ok(BlockStatus::Unknown));
    assert_eq!(node.handle.submit(solution.clone()).await, Ok(Verdict::Accepted));

    let next = tip_change(&mut node, template.prev_hash).await;
    assert_eq!(next.prev_hash, hash);
    assert_eq!(next.height, template.height + 1);
    assert!(next.id > template.id, "template ids count up (REQ-TDP-015)");

    assert_eq!(node.handle.submit(solution.clone()).await, Ok(Verdict::Duplicate));
    let again = node.handle.submit_block(encode::serialize(&block)).await;
    assert_eq!(again, Ok(Verdict::Duplicate));
    let unknown = Solution {
        template: TemplateId(u64::MAX),
        ..solution
    };
    assert_eq!(
        node.handle.submit(unknown).await,
        Err(SubmitError::UnknownTemplate)
    );
    assert_eq!(node.handle.status(hash).await, Ok(BlockStatus::Confirmed(1)));
    let before = node.handle.status(template.prev_hash).await;
    assert_eq!(before, Ok(BlockStatus::Confirmed(2)));
    (node, block)
}

/// Waits for a template and then for its transactions.
pub(crate) async fn template_with_transactions(
    node: &mut Node,
) -> (std::sync::Arc<Template>, Vec<Transaction>) {
    let mut newest = None;
    for _ in 0..EVENTS_MAX {
        match node.events.recv().await.unwrap() {
            Event::Template(template) => newest = Some(template),
            Event::Transactions {
                template,
                transactions,
            } => {
                let decode = |bytes: &Vec<u8>| encode::deserialize(bytes).unwrap();
                match &newest {
                    Some(newest) if newest.id == template => {
                        return (newest.clone(), transactions.iter().map(decode).collect());
                    }
                    _ => {}
                }
            }
            Event::Up { .. } | Event::Down { .. } | Event::Alarm { .. } => {}
        }
    }
    panic!("no template with transactions in {EVENTS_MAX} events");
}

/// Waits for a template on another tip.
pub(crate) async fn tip_change(node: &mut Node, old: BlockHash) -> std::sync::Arc<Template> {
    for _ in 0..EVENTS_MAX {
        if let Event::Template(template) = node.events.recv().await.unwrap()
            && template.prev_hash != old
        {
            return template;
        }
    }
    panic!("no new tip in {EVENTS_MAX} events");
}

/// What the specification asks of any template.
pub(crate) fn well_formed(template: &Template, transactions: &[Transaction]) {
    assert!(template.coinbase_prefix.len() <= 8, "REQ-TDP-017");
    assert!(template.header_timestamp >= template.min_ntime);
    if let Some(count) = template.transaction_count {
        assert_eq!(count as usize, transactions.len(), "REQ-TDP-038");
    }
    let (_, block) = unsolved(template, transactions);
    let txids = block.txdata.iter().map(|tx| tx.compute_txid());
    let tree = merkle_tree::calculate_root(txids.map(|txid| txid.to_raw_hash())).unwrap();
    let path = fold(
        block.txdata[0].compute_txid().to_byte_array(),
        &template.merkle_path,
    );
    assert_eq!(
        tree.to_byte_array(),
        path,
        "merkle path is that of the transactions"
    );
    assert!(block.check_merkle_root());
    assert!(block.check_witness_commitment(), "REQ-TDP-021");
}

/// A solution of a template with an own coinbase, and the block it makes.
pub(crate) fn solve(template: &Template, transactions: &[Transaction]) -> (Solution, Block) {
    let (mut solution, mut block) = unsolved(template, transactions);
    mine(&mut block.header);
    solution.header_nonce = block.header.nonce;
    (solution, block)
}

/// The same with any nonce.
pub(crate) fn unsolved(template: &Template, transactions: &[Transaction]) -> (Solution, Block) {
    let coinbase = coinbase(template);
    let solution = Solution {
        template: template.id,
        version: template.version,
        header_timestamp: template.header_timestamp,
        header_nonce: 0,
        coinbase_tx: encode::serialize(&coinbase),
    };
    let root = fold(coinbase.compute_txid().to_byte_array(), &template.merkle_path);
    let header = Header {
        version: Version::from_consensus(template.version as i32),
        prev_blockhash: template.prev_hash,
        merkle_root: TxMerkleNode::from_byte_array(root),
        time: template.header_timestamp,
        bits: template.nbits,
        nonce: 0,
    };
    let mut txdata = vec![coinbase];
    txdata.extend_from_slice(transactions);
    (solution, Block { header, txdata })
}

/// A coinbase as a pool makes it: prefix, extranonce, payout first, required outputs last.
pub(crate) fn coinbase(template: &Template) -> Transaction {
    let mut script_sig = template.coinbase_prefix.clone();
    script_sig.extend([8, b'c', b'o', b'n', b'f', b'o', b'r', b'm', b's']);
    let payout = ScriptBuf::from_bytes([&[0x00, 0x14][..], &[7; 20]].concat());
    let mut output = vec![TxOut {
        value: Amount::from_sat(template.coinbase_tx_value_remaining),
        script_pubkey: payout,
    }];
    output.extend(template.coinbase_tx_outputs.iter().cloned());
    let witness: Vec<[u8; 32]> = template.coinbase_witness.into_iter().collect();
    Transaction {
        version: transaction::Version(template.coinbase_tx_version as i32),
        lock_time: absolute::LockTime::from_consensus(template.coinbase_tx_locktime),
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: ScriptBuf::from_bytes(script_sig),
            sequence: Sequence(template.coinbase_tx_input_sequence),
            witness: Witness::from_slice(&witness),
        }],
        output,
    }
}

/// Finds a nonce.
pub(crate) fn mine(header: &mut Header) {
    let target = Target::from_compact(header.bits);
    let nonce = (0..u32::MAX).find(|nonce| {
        header.nonce = *nonce;
        target.is_met_by(header.block_hash())
    });
    assert!(nonce.is_some(), "no nonce solves the header");
}

/// Finds a nonce that does not solve the header.
pub(crate) fn unmine(header: &mut Header) {
    let target = Target::from_compact(header.bits);
    let nonce = (0..u32::MAX).find(|nonce| {
        header.nonce = *nonce;
        !target.is_met_by(header.block_hash())
    });
    assert!(nonce.is_some(), "every nonce solves the header");
}

fn fold(txid: [u8; 32], path: &[[u8; 32]]) -> [u8; 32] {
    path.iter().fold(txid, |left, right| {
        let both = [left, *right].concat();
        bitcoin::hashes::sha256d::Hash::hash(&both).to_byte_array()
    })
}
