//! Templates from a real Bitcoin Core, and blocks to it.

mod ipc_support;

use adit_node::{BlockStatus, Constraints, SubmitError, TemplateId, Verdict};
use adit_testkit::{BitcoinNode, COINBASE_MATURITY};
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, Transaction};
use ipc_support::*;

/// REQ-TDP-004, REQ-TDP-015, REQ-TDP-021, REQ-TDP-024, REQ-TDP-036, REQ-TDP-038, REQ-TDP-040: a template
/// with transactions and fees arrives, its solution becomes the node's tip, the next template follows.
#[tokio::test]
async fn a_solved_template_becomes_the_tip() {
    let Some(core) = BitcoinNode::start() else { return };
    core.mine(COINBASE_MATURITY + 1);
    let txid = core.spend(1, 5_000);
    let mut node = source(eager(core.socket()));
    let name = up(&mut node).await;
    assert!(
        name.contains("Satoshi:31.99") && name.contains("regtest"),
        "{name}"
    );

    let first = template(&mut node).await;
    assert_eq!(first.prev_hash.to_string(), core.tip());
    assert_eq!(
        (first.height, first.transaction_count, first.fees),
        (COINBASE_MATURITY + 2, Some(1), Some(5_000))
    );
    assert_eq!((first.merkle_path.len(), first.coinbase_tx_outputs.len()), (1, 1));
    assert!(first.coinbase_prefix.len() <= 8 && first.coinbase_witness == Some([0; 32]));
    let commitment = first
        .coinbase_tx_outputs
        .first()
        .unwrap()
        .script_pubkey
        .as_bytes();
    assert!(commitment.starts_with(&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed]));
    assert_eq!(first.coinbase_tx_value_remaining, 5_000_000_000 + 5_000);
    let transactions = transactions(&mut node, first.id).await;
    let transaction: Transaction = deserialize(transactions.first().unwrap()).unwrap();
    assert_eq!((transactions.len(), transaction.compute_txid()), (1, txid));

    let (solution, header) = solve(&first, 1);
    assert_eq!(
        node.handle.status(header.block_hash()).await,
        Ok(BlockStatus::Unknown)
    );
    assert_eq!(node.handle.submit(solution.clone()).await, Ok(Verdict::Accepted));
    assert_eq!(core.tip(), header.block_hash().to_string());
    let second = template_where(&mut node, |template| template.prev_hash == header.block_hash()).await;
    assert!(second.id > first.id);
    assert_eq!((second.height, second.fees), (first.height + 1, Some(0)));
    assert_eq!(
        node.handle.status(header.block_hash()).await,
        Ok(BlockStatus::Confirmed(1))
    );
    assert_eq!(node.handle.submit(solution).await, Ok(Verdict::Duplicate));
    core.mine(1);
    assert_eq!(
        node.handle.status(header.block_hash()).await,
        Ok(BlockStatus::Confirmed(2))
    );
    core.cli(&["invalidateblock", &header.block_hash().to_string()])
        .unwrap();
    assert_eq!(
        node.handle.status(header.block_hash()).await,
        Ok(BlockStatus::Stale)
    );
}

/// REQ-TDP-004: on the same tip more fees bring a new template.
#[tokio::test]
async fn more_fees_bring_a_new_template() {
    let Some(core) = BitcoinNode::start() else { return };
    core.mine(COINBASE_MATURITY + 1);
    let mut node = source(eager(core.socket()));
    let poor = template(&mut node).await;
    core.spend(1, 7_000);
    let rich = template(&mut node).await;
    assert_eq!((rich.prev_hash, rich.height), (poor.prev_hash, poor.height));
    assert_eq!(
        rich.coinbase_tx_value_remaining,
        poor.coinbase_tx_value_remaining + 7_000
    );
    // The older template of the same tip can still be solved.
    let (solution, header) = solve(&poor, 1);
    assert_eq!(node.handle.submit(solution).await, Ok(Verdict::Accepted));
    assert_eq!(core.tip(), header.block_hash().to_string());
}

/// REQ-TDP-006: a solution of an earlier tip is taken as a block beside the chain, not lost.
#[tokio::test]
async fn a_solution_of_an_earlier_tip_reaches_the_node() {
    let Some(core) = BitcoinNode::start() else { return };
    core.mine(1);
    let mut node = source(eager(core.socket()));
    let old = template(&mut node).await;
    let tip: BlockHash = core.mine(1).parse().unwrap();
    template_where(&mut node, |template| template.prev_hash == tip).await;
    let (solution, header) = solve(&old, 1);
    assert_eq!(node.handle.submit(solution).await, Ok(Verdict::Accepted));
    assert_eq!(core.tip(), tip.to_string());
    assert_eq!(
        node.handle.status(header.block_hash()).await,
        Ok(BlockStatus::Stale)
    );
}

/// A whole block goes in; again it is a duplicate.
#[tokio::test]
async fn a_whole_block_becomes_the_tip() {
    let Some(core) = BitcoinNode::start() else { return };
    core.mine(COINBASE_MATURITY + 1);
    core.spend(1, 5_000);
    let mut node = source(eager(core.socket()));
    let template = template(&mut node).await;
    let transactions = transactions(&mut node, template.id).await;
    let (solution, header) = solve(&template, 1);
    let block = serialize(&block(&solution, header, &transactions));
    assert_eq!(
        node.handle.submit_block(block.clone()).await,
        Ok(Verdict::Accepted)
    );
    assert_eq!(core.tip(), header.block_hash().to_string());
    assert_eq!(node.handle.submit_block(block).await, Ok(Verdict::Duplicate));
}

/// What the node refuses comes back with the node's reason; the node and the connection stay.
#[tokio::test]
async fn refused_blocks_come_with_a_reason() {
    let Some(core) = BitcoinNode::start() else { return };
    core.mine(1);
    let mut node = source(eager(core.socket()));
    let template = template(&mut node).await;
    let greedy = solve_paying(&template, template.coinbase_tx_value_remaining + 1, 1).0;
    let refused = node.handle.submit(greedy).await;
    assert!(
        matches!(&refused, Ok(Verdict::Rejected(reason)) if reason.contains("bad-cb-amount")),
        "{refused:?}"
    );

    let (mut unlucky, mut header) = solve(&template, 2);
    while header.validate_pow(header.target()).is_ok() {
        header.nonce += 1;
    }
    unlucky.header_nonce = header.nonce;
    let refused = node.handle.submit(unlucky.clone()).await;
    assert!(
        matches!(&refused, Ok(Verdict::Rejected(reason)) if reason.contains("high-hash")),
        "{refused:?}"
    );

    unlucky.coinbase_tx.truncate(20);
    let refused = node.handle.submit(unlucky.clone()).await;
    assert!(
        matches!(&refused, Ok(Verdict::Rejected(reason)) if reason.contains("decode")),
        "{refused:?}"
    );
    unlucky.template = TemplateId(u64::MAX);
    assert_eq!(
        node.handle.submit(unlucky).await,
        Err(SubmitError::UnknownTemplate)
    );
    let refused = node.handle.submit_block(vec![0; 100]).await;
    assert!(
        matches!(&refused, Ok(Verdict::Rejected(reason)) if reason.contains("decode")),
        "{refused:?}"
    );
    assert_eq!(node.handle.reorganise(1).await, Err(SubmitError::Unsupported));
    let nobody = BlockHash::from_byte_array([9; 32]);
    assert_eq!(node.handle.status(nobody).await, Ok(BlockStatus::Unknown));

    let (solution, header) = solve(&template, 3);
    assert_eq!(node.handle.submit(solution).await, Ok(Verdict::Accepted));
    assert_eq!(core.tip(), header.block_hash().to_string());
}

/// REQ-TDP-009, REQ-TDP-011: the room for the pool's outputs that was asked for is kept free.
#[tokio::test]
async fn reserved_weight_is_the_nodes_business() {
    let Some(core) = BitcoinNode::start_with(&["-blockmaxweight=8700"]) else {
        return;
    };
    core.mine(COINBASE_MATURITY + 1);
    core.spend(1, 5_000);
    let room = |max_additional_size| Constraints {
        max_additional_size,
        max_additional_sigops: 4,
    };
    let mut node = source(adit_node::ipc::Settings {
        constraints: room(0),
        ..eager(core.socket())
    });
    let small = template(&mut node).await;
    assert_eq!(
        (small.transaction_count, small.constraints),
        (Some(1), room(0)),
        "2000 weight units are kept free"
    );

    // Two rooms at once, on one connection: each has its templates and their transactions, on each tip.
    let both = vec![room(0), room(1_858)];
    assert_eq!(node.handle.constrain(both).await, Ok(()));
    let large = template_where(&mut node, |it| it.constraints == room(1_858)).await;
    assert_eq!(
        large.transaction_count,
        Some(0),
        "8600 weight units are kept free"
    );
    assert_eq!(transactions(&mut node, large.id).await.len(), 0);
    let (solution, header) = solve(&large, 1);
    assert_eq!(node.handle.submit(solution).await, Ok(Verdict::Accepted));
    let mut rooms = Vec::new();
    while rooms.len() < 2 {
        let on = |it: &adit_node::Template| it.prev_hash == header.block_hash();
        rooms.push(template_where(&mut node, on).await.constraints);
    }
    rooms.sort();
    assert_eq!(rooms, [room(0), room(1_858)]);

    // One of them is wanted no more.
    assert_eq!(node.handle.constrain(vec![room(1_858)]).await, Ok(()));
    core.mine(1);
    let tip = core.tip();
    template_where(&mut node, |it| {
        it.prev_hash.to_string() == tip && it.constraints == room(1_858)
    })
    .await;
    let none = node.handle.constrain(Vec::new()).await;
    assert_eq!(none, Err(SubmitError::Unsupported));
}
