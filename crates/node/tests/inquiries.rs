//! What a job declarator asks of a node: transactions by their witness ids, and whether a block would be valid.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod ipc_support;

use adit_node::rpc::{Login, Rpc};
use adit_node::several::{Member, Prefer, Several};
use adit_node::{
    BlockCheck, Node, SubmitError, TRANSACTIONS_BYTES_MAX, Template, WTXIDS_MAX, embedded, rpc, spawn,
};
use adit_testkit::{BitcoinNode, COINBASE_MATURITY};
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::{Amount, Block, BlockHash, ScriptBuf, Transaction, TxOut, Wtxid};
use ipc_support::{block, eager, solve, source, template_where, transactions};

/// Legacy signature operations cost four each: one more than a block may have.
const CHECKSIGS: usize = 20_001;

fn by_rpc(core: &BitcoinNode) -> Node {
    let settings = rpc::Settings::new(core.rpc_address(), Login::Cookie(core.cookie()));
    spawn(Rpc::new(settings)).unwrap()
}

fn chain() -> Node {
    let settings = embedded::Settings::new(8, || 1_800_000_000);
    spawn(embedded::Embedded::new(settings).unwrap()).unwrap()
}

fn wtxid(transaction: &[u8]) -> Wtxid {
    let transaction: Transaction = deserialize(transaction).unwrap();
    transaction.compute_wtxid()
}

/// The block of a template that nobody has solved, with `change` made to its coinbase.
fn unsolved(template: &Template, rest: &[Vec<u8>], change: impl FnOnce(&mut Transaction)) -> Block {
    let (solution, header) = solve(template, 1);
    let mut block = block(&solution, header, rest);
    change(block.txdata.first_mut().unwrap());
    block.header.merkle_root = block.compute_merkle_root().unwrap();
    while block.header.validate_pow(block.header.target()).is_ok() {
        block.header.nonce += 1;
    }
    block
}

async fn refused(node: &Node, block: &Block) -> String {
    match node.handle.check_block(serialize(block)).await {
        Ok(BlockCheck::Invalid(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

/// Valid blocks are told from invalid ones, and the node is none the worse for any of them.
async fn blocks_are_judged(node: &Node, template: &Template, rest: &[Vec<u8>]) {
    let good = unsolved(template, rest, |_| {});
    assert_eq!(
        node.handle.check_block(serialize(&good)).await,
        Ok(BlockCheck::Valid)
    );

    let greedy = unsolved(template, rest, |coinbase| {
        coinbase.output.first_mut().unwrap().value += Amount::ONE_SAT;
    });
    let reason = refused(node, &greedy).await;
    assert!(reason.starts_with("bad-cb-amount"), "{reason}");

    let signatures = unsolved(template, rest, |coinbase| {
        let script_pubkey = ScriptBuf::from_bytes(vec![0xac; CHECKSIGS]);
        let costly = TxOut {
            value: Amount::ZERO,
            script_pubkey,
        };
        coinbase.output.insert(1, costly);
    });
    let reason = refused(node, &signatures).await;
    assert!(reason.starts_with("bad-blk-sigops"), "{reason}");

    let mut other_root = good.clone();
    other_root.header.merkle_root = bitcoin::TxMerkleNode::all_zeros();
    let reason = refused(node, &other_root).await;
    assert!(reason.starts_with("bad-txnmrklroot"), "{reason}");

    let mut elsewhere = good.clone();
    elsewhere.header.prev_blockhash = BlockHash::from_byte_array([7; 32]);
    let check = node.handle.check_block(serialize(&elsewhere)).await.unwrap();
    assert!(check.is_off_tip(), "{check:?}");

    for junk in [vec![0; 90], vec![0; TRANSACTIONS_BYTES_MAX + 1]] {
        let check = node.handle.check_block(junk).await;
        assert!(matches!(check, Ok(BlockCheck::Invalid(_))), "{check:?}");
    }
    assert_eq!(
        node.handle.check_block(serialize(&good)).await,
        Ok(BlockCheck::Valid)
    );
}

/// Transactions are found by their witness ids, in the order asked, whether a template has them or not.
async fn transactions_are_found(node: &Node, wtxids: [Wtxid; 2]) {
    let unknown = Wtxid::from_byte_array([9; 32]);
    let wanted = vec![wtxids[1], unknown, wtxids[0]];
    let found = node.handle.transactions_by_wtxid(wanted).await.unwrap();
    let ids: Vec<_> = found.iter().map(|it| it.as_deref().map(wtxid)).collect();
    assert_eq!(ids, [Some(wtxids[1]), None, Some(wtxids[0])]);
    let many = node
        .handle
        .transactions_by_wtxid(vec![unknown; WTXIDS_MAX + 1])
        .await;
    assert_eq!(many, Err(SubmitError::TooMuch));
    assert_eq!(
        node.handle.transactions_by_wtxid(Vec::new()).await,
        Ok(Vec::new())
    );
    let more = node.handle.transactions_by_wtxid(vec![unknown; 100]).await;
    assert_eq!(more, Ok(vec![None; 100]));
}

/// A real node: one transaction stands in the template, the other arrives after it.
async fn a_node_answers(core: &BitcoinNode, mut node: Node) {
    core.mine(COINBASE_MATURITY + 2);
    let of = |txid: bitcoin::Txid| {
        let entry = core.json(&["getmempoolentry", &txid.to_string()]);
        entry["wtxid"].as_str().unwrap().parse::<Wtxid>().unwrap()
    };
    let tip = core.tip();
    let first = of(core.spend(1, 5_000));
    let template = template_where(&mut node, |it| {
        it.prev_hash.to_string() == tip && it.fees == Some(5_000)
    })
    .await;
    let rest = transactions(&mut node, template.id).await;
    let second = of(core.spend(2, 100));
    transactions_are_found(&node, [first, second]).await;
    let spend: Transaction = deserialize(&rest[0]).unwrap();
    assert_eq!(spend.compute_wtxid(), first);
    assert_ne!(
        spend.compute_txid().to_raw_hash(),
        first.to_raw_hash(),
        "it has a witness"
    );
    blocks_are_judged(&node, &template, &rest).await;
    assert_eq!(core.tip(), tip, "nothing of that was submitted");
}

/// A job's transactions by witness id, from the node's own pool, and its own checkBlock.
#[tokio::test]
async fn bitcoin_core_answers_over_ipc() {
    let Some(core) = BitcoinNode::start() else { return };
    let node = source(eager(core.socket()));
    a_node_answers(&core, node).await;
}

/// The same by JSON-RPC: getrawmempool, getmempoolentry and getrawtransaction, and getblocktemplate's proposals.
#[tokio::test]
async fn bitcoin_core_answers_over_rpc() {
    let Some(core) = BitcoinNode::start_with_rpc() else {
        return;
    };
    let mut settings = rpc::Settings::new(core.rpc_address(), Login::Cookie(core.cookie()));
    (settings.fee_delta_sat, settings.interval_ms) = (1, 0);
    a_node_answers(&core, spawn(Rpc::new(settings)).unwrap()).await;
}

async fn the_chain_answers(mut node: Node) {
    let template = template_where(&mut node, |_| true).await;
    let rest = transactions(&mut node, template.id).await;
    transactions_are_found(&node, [wtxid(&rest[0]), wtxid(&rest[1])]).await;
    blocks_are_judged(&node, &template, &rest).await;
    let (solution, _) = solve(&template, 1);
    assert_eq!(
        node.handle.submit(solution).await,
        Ok(adit_node::Verdict::Accepted)
    );
}

#[tokio::test]
async fn the_embedded_chain_answers() {
    the_chain_answers(chain()).await;
}

/// The member that is mined on is asked; one that is away is passed over.
#[tokio::test]
async fn the_first_of_several_that_can_answers() {
    let away = rpc::Settings::new("127.0.0.1:1", Login::Cookie("/nowhere/.cookie".into()));
    let members = [("away", spawn(Rpc::new(away)).unwrap()), ("chain", chain())];
    let members = members.map(|(name, node)| Member {
        name: name.into(),
        node,
        templates: true,
    });
    the_chain_answers(spawn(Several::new(members.into(), Prefer::Order)).unwrap()).await;
}

/// A node that hangs costs an answer, within the limit, and not the node's good name.
#[tokio::test]
async fn a_node_that_is_away_or_hangs_is_said_to_be() {
    let Some(core) = BitcoinNode::start_with_rpc() else {
        return;
    };
    core.mine(1);
    for mut node in [source(eager(core.socket())), by_rpc(&core)] {
        let template = template_where(&mut node, |_| true).await;
        let block = serialize(&unsolved(&template, &[], |_| {}));
        let unknown = vec![Wtxid::from_byte_array([9; 32])];
        core.pause();
        let (check, found) = tokio::join!(
            node.handle.check_block(block.clone()),
            node.handle.transactions_by_wtxid(unknown.clone())
        );
        core.resume();
        assert!(matches!(check, Err(SubmitError::Unavailable(_))), "{check:?}");
        assert!(matches!(found, Err(SubmitError::Unavailable(_))), "{found:?}");
        // Answers go on where they were, on the same connection or the next.
        let again = async {
            while node.handle.check_block(block.clone()).await != Ok(BlockCheck::Valid) {}
            while node.handle.transactions_by_wtxid(unknown.clone()).await != Ok(vec![None]) {}
        };
        tokio::time::timeout(ipc_support::LIMIT, again).await.unwrap();
    }
}
