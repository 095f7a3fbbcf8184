//! One scenario over every kind of source: the life of a block, from template to confirmation.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::sync::Arc;
use std::time::Duration;

use adit::config::Settings;
use adit::provider::Provider;
use adit_net::Clock;
use adit_node::rpc::{self, Login};
use adit_node::{
    BlockStatus, Constraints, Event, Node, Solution, SubmitError, Template, TemplateId, Verdict, assemble,
    check, embedded, ipc, spawn, tdp,
};
use adit_testkit::{BitcoinNode, COINBASE_MATURITY};
use bitcoin::consensus::encode::{deserialize, serialize};
use bitcoin::{
    Amount, Block, BlockHash, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness, absolute,
    transaction,
};

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);

/// What a kind of source cannot do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Limits {
    Nothing,
    /// Template distribution: no whole blocks, and only what its tips tell.
    Distribution,
}

async fn event<T>(node: &mut Node, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
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

async fn template(node: &mut Node, wish: impl Fn(&Template) -> bool) -> Arc<Template> {
    event(node, |event| match event {
        Event::Template(template) if wish(&template) => Some(template),
        _ => None,
    })
    .await
}

/// The newest template with this room and its transactions: those of one that was replaced meanwhile need not come.
async fn whole(node: &mut Node, room: Constraints) -> (Arc<Template>, Arc<Vec<Vec<u8>>>) {
    let mut newest: Option<Arc<Template>> = None;
    event(node, |event| match event {
        Event::Template(template) if template.constraints == room => {
            newest = Some(template);
            None
        }
        Event::Transactions {
            template,
            transactions,
        } => {
            let newest = newest.as_ref().filter(|newest| newest.id == template)?;
            Some((Arc::clone(newest), transactions))
        }
        _ => None,
    })
    .await
}

fn coinbase(template: &Template, extra: u8) -> Transaction {
    let mut script = template.coinbase_prefix.clone();
    script.extend([4, extra, 2, 3, 4]);
    let paid = TxOut {
        value: Amount::from_sat(template.coinbase_tx_value_remaining),
        script_pubkey: ScriptBuf::from_bytes(vec![0x51]).to_p2wsh(),
    };
    Transaction {
        version: transaction::Version(template.coinbase_tx_version.cast_signed()),
        lock_time: absolute::LockTime::from_consensus(template.coinbase_tx_locktime),
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: ScriptBuf::from_bytes(script),
            sequence: Sequence(template.coinbase_tx_input_sequence),
            witness: Witness::from_slice(&template.coinbase_witness.into_iter().collect::<Vec<_>>()),
        }],
        output: [paid]
            .into_iter()
            .chain(template.coinbase_tx_outputs.clone())
            .collect(),
    }
}

/// A solved coinbase, and its block.
fn solve(template: &Template, rest: &[Vec<u8>], extra: u8) -> (Solution, Block) {
    let mut solution = Solution {
        template: template.id,
        version: template.version,
        header_timestamp: template.header_timestamp,
        header_nonce: 0,
        coinbase_tx: serialize(&coinbase(template, extra)),
    };
    let mut header = assemble::header(template, &solution).unwrap();
    while !header.target().is_met_by(header.block_hash()) {
        header.nonce += 1;
    }
    solution.header_nonce = header.nonce;
    let block = deserialize(&assemble::block(&header, &solution, rest)).unwrap();
    (solution, block)
}

/// The scenario. The node must have an easy target and, besides the coinbase, a transaction with witness.
async fn conforms(mut node: Node, limits: Limits) {
    let room = Constraints {
        max_additional_size: 43,
        max_additional_sigops: 0,
    };
    node.handle.constrain(vec![room]).await.unwrap();
    let (first, rest) = whole(&mut node, room).await;
    assert!(!rest.is_empty());
    let made = coinbase(&first, 1);
    assert_eq!(check::coinbase(&first, &made), []);
    assert_eq!(check::block(&first, &made, &rest).1, []);

    let (solution, block) = solve(&first, &rest, 1);
    let hash = block.block_hash();
    assert!(block.check_merkle_root() && block.check_witness_commitment());
    assert_eq!(node.handle.status(hash).await, Ok(BlockStatus::Unknown));
    assert_eq!(node.handle.submit(solution.clone()).await, Ok(Verdict::Accepted));
    let next = template(&mut node, |it| it.prev_hash == hash).await;
    assert_eq!(next.height, first.height + 1);
    assert!(next.id > first.id);
    assert_eq!(node.handle.status(hash).await, Ok(BlockStatus::Confirmed(1)));
    assert_eq!(node.handle.submit(solution.clone()).await, Ok(Verdict::Duplicate));

    // Another block of the same height is handed over too, and is not in the chain.
    let (late, other) = solve(&first, &rest, 2);
    let verdict = node.handle.submit(late).await;
    assert!(
        matches!(verdict, Ok(Verdict::Accepted | Verdict::Duplicate)),
        "{verdict:?}"
    );
    assert_eq!(
        node.handle.status(other.block_hash()).await,
        Ok(BlockStatus::Stale)
    );

    let unknown = Solution {
        template: TemplateId(u64::MAX),
        ..solution
    };
    assert_eq!(
        node.handle.submit(unknown).await,
        Err(SubmitError::UnknownTemplate)
    );
    let whole = node.handle.submit_block(serialize(&block)).await;
    match limits {
        Limits::Nothing => assert_eq!(whole, Ok(Verdict::Duplicate)),
        Limits::Distribution => assert_eq!(whole, Err(SubmitError::Unsupported)),
    }
    assert_eq!(
        node.handle.constrain(Vec::new()).await,
        Err(SubmitError::Unsupported)
    );
    let nobody: BlockHash = "00".repeat(32).parse().unwrap();
    assert_eq!(node.handle.status(nobody).await, Ok(BlockStatus::Unknown));
}

fn chain() -> embedded::Embedded {
    let clock = Clock::system();
    embedded::Embedded::new(embedded::Settings::new(8, move || clock.unix_s())).unwrap()
}

/// A node with a transaction in its mempool.
fn core(started: Option<BitcoinNode>) -> Option<BitcoinNode> {
    let node = started?;
    node.mine(COINBASE_MATURITY + 1);
    node.spend(1, 5_000);
    Some(node)
}

fn by_ipc(core: &BitcoinNode) -> Node {
    spawn(ipc::Ipc::new(ipc::Settings::new(core.socket()))).unwrap()
}

fn by_distribution(provider: &Provider) -> Node {
    let settings = tdp::Settings {
        url: provider.url().clone(),
        constraints: Constraints::default(),
        dialling: adit_net::Dialling::default(),
        clock: Clock::system(),
    };
    spawn(tdp::Tdp::new(settings)).unwrap()
}

async fn provider(data: &std::path::Path, node: &str) -> Provider {
    let mut sources = adit::config::Sources {
        pays_nobody: true,
        ..Default::default()
    };
    for (key, value) in [
        ("data", data.to_str().unwrap()),
        ("provider.listen", "127.0.0.1:0"),
        ("node", node),
    ] {
        sources.flag(key, value, "test");
    }
    let settings = Settings::load(&sources).unwrap();
    Provider::start(&settings).await.unwrap()
}

#[tokio::test]
async fn the_embedded_chain_conforms() {
    conforms(spawn(chain()).unwrap(), Limits::Nothing).await;
}

#[tokio::test]
async fn bitcoin_core_over_ipc_conforms() {
    let Some(core) = core(BitcoinNode::start()) else {
        return;
    };
    conforms(by_ipc(&core), Limits::Nothing).await;
}

#[tokio::test]
async fn a_provider_on_the_embedded_chain_conforms() {
    let data = tempfile::tempdir().unwrap();
    let provider = provider(data.path(), "embedded:8").await;
    conforms(by_distribution(&provider), Limits::Distribution).await;
}

#[tokio::test]
async fn a_provider_on_bitcoin_core_conforms() {
    let Some(core) = core(BitcoinNode::start()) else {
        return;
    };
    let data = tempfile::tempdir().unwrap();
    let provider = provider(data.path(), &format!("ipc:{}", core.socket().display())).await;
    conforms(by_distribution(&provider), Limits::Distribution).await;
}

/// A provider on a provider: nothing is lost on the second leg.
#[tokio::test]
async fn a_provider_on_a_provider_conforms() {
    let data = tempfile::tempdir().unwrap();
    let first = provider(&data.path().join("first"), "embedded:8").await;
    let second = provider(&data.path().join("second"), &format!("tdp:{}", first.url())).await;
    conforms(by_distribution(&second), Limits::Distribution).await;
}

#[tokio::test]
async fn bitcoin_core_by_getblocktemplate_conforms() {
    let Some(core) = core(BitcoinNode::start_with_rpc()) else {
        return;
    };
    let settings = rpc::Settings::new(core.rpc_address(), Login::Cookie(core.cookie()));
    conforms(spawn(rpc::Rpc::new(settings)).unwrap(), Limits::Nothing).await;
}
