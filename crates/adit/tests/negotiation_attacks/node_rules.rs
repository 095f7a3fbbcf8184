//! Blocks that only a node can judge: Bitcoin Core checks what is declared to our pool, coinbase included.

use adit_proto::declare::Coinbase;
use adit_testkit::{BitcoinNode, COINBASE_MATURITY, MINE_TO};
use adit_wire::common::flags;
use adit_wire::declare::ToClient;
use adit_wire::{B0_64K, Seq0_64K};
use bitcoin::block::{Header, Version};
use bitcoin::consensus::encode::{deserialize, serialize, serialize_hex};
use bitcoin::hashes::Hash;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode,
    TxOut, Txid, Weight, Witness, WitnessMerkleNode, absolute, merkle_tree, transaction,
};
use tokio::sync::{Mutex, MutexGuard};

use crate::lists::{provided, spend, wtxid};
use crate::support::House;
use crate::support::negotiator::{EXTRANONCE, Negotiator, SUBSIDY, output};

/// One node at a time: the machine may be small.
static TURN: Mutex<()> = Mutex::const_new(());

/// OP_CHECKSIG OP_DROP OP_TRUE: one signature operation where it is spent.
const SIGNED: [u8; 3] = [0xac, 0x75, 0x51];
/// OP_DROP OP_TRUE: whatever is pushed is witness and nothing else.
const PADDED: [u8; 2] = [0x75, 0x51];
/// Of each coin.
const COIN: u64 = 100_000_000;

/// A pool on Bitcoin Core, a miner with jobs of its own, and three coins: of OP_TRUE, [`SIGNED`] and [`PADDED`].
struct Core {
    _turn: MutexGuard<'static, ()>,
    node: BitcoinNode,
    house: House,
    alice: Negotiator,
    coins: Txid,
}

impl Core {
    /// Nothing where Bitcoin Core is not installed.
    async fn open() -> Option<Self> {
        let turn = TURN.lock().await;
        let node = BitcoinNode::start()?;
        node.mine(COINBASE_MATURITY + 1);
        let coins = fund(&node);
        let place = format!("ipc:{}", node.socket().display());
        let house = House::open(&[("node", &place), ("payout.address", MINE_TO)]).await;
        let alice = Negotiator::start(house.pool.url(), "alice", flags::DECLARE_TX_DATA).await;
        Some(Self {
            _turn: turn,
            node,
            house,
            alice,
            coins,
        })
    }

    const fn coin(&self, vout: u32) -> OutPoint {
        OutPoint {
            txid: self.coins,
            vout,
        }
    }

    async fn coinbase(&mut self, transactions: &[Transaction]) -> (Vec<u8>, Coinbase) {
        let token = self.alice.allocate().await;
        let coinbase = self.alice.coinbase(&token, SUBSIDY);
        (token.mining_job_token.to_vec(), committed(coinbase, transactions))
    }

    /// Declares a block of these transactions and provides those that the pool asks for; how many these were, and the verdict.
    async fn declare(&mut self, transactions: &[Transaction]) -> (usize, Result<(), String>) {
        let (token, coinbase) = self.coinbase(transactions).await;
        let mut job = self.alice.declaration(&token, &coinbase);
        job.coinbase_tx_prefix = B0_64K::new(&coinbase.declared_prefix()).unwrap();
        job.coinbase_tx_suffix = B0_64K::new(&coinbase.declared_suffix()).unwrap();
        job.wtxid_list = Seq0_64K::new(transactions.iter().map(wtxid).collect()).unwrap();
        self.alice.declarer.say(&job).await;
        let mut asked = 0;
        loop {
            match self.alice.declarer.hear_declare().await {
                ToClient::ProvideMissingTransactions(ask) => {
                    let wanted = ask.unknown_tx_position_list.iter();
                    let list: Vec<Vec<u8>> = wanted
                        .map(|place| serialize(&transactions[usize::from(*place)]))
                        .collect();
                    asked = list.len();
                    self.alice.declarer.say(&provided(job.request_id, &list)).await;
                }
                ToClient::DeclareMiningJobSuccess(_) => return (asked, Ok(())),
                ToClient::DeclareMiningJobError(error) => {
                    let details = String::from_utf8(error.error_details.to_vec()).unwrap();
                    return (asked, Err(format!("{}: {details}", error.error_code)));
                }
                other @ ToClient::AllocateMiningJobTokenSuccess(_) => panic!("unexpected {other:?}"),
            }
        }
    }

    /// The verdict on these transactions, which the pool must ask for.
    async fn verdict(&mut self, transactions: &[Transaction]) -> Result<(), String> {
        self.declare(transactions).await.1
    }

    async fn close(self) {
        drop(self.alice);
        self.house
            .picture("nothing is held but what was good", |now| {
                now.negotiation.bytes < 9 << 20
            })
            .await;
        self.house.close().await;
        drop(self.node);
    }
}

/// Mines a transaction with one coin of each kind; its txid.
fn fund(node: &BitcoinNode) -> Txid {
    let hash = node.cli(&["getblockhash", "1"]).expect("a block");
    let block = node.json(&["getblock", &hash, "1"]);
    let coinbase: Txid = block["tx"][0].as_str().expect("a txid").parse().expect("a txid");
    let anyone = ScriptBuf::from_bytes(vec![0x51]);
    let kinds = [
        anyone.clone(),
        ScriptBuf::from_bytes(SIGNED.to_vec()).to_p2wsh(),
        ScriptBuf::from_bytes(PADDED.to_vec()).to_p2wsh(),
    ];
    let value = Amount::from_sat(COIN);
    let fund = Transaction {
        input: vec![input(
            OutPoint::new(coinbase, 0),
            Witness::from_slice(&[anyone.as_bytes()]),
        )],
        output: kinds.map(|script_pubkey| TxOut { value, script_pubkey }).to_vec(),
        ..empty()
    };
    node.cli(&[
        "generateblock",
        MINE_TO,
        &format!("[\"{}\"]", serialize_hex(&fund)),
    ])
    .expect("generateblock");
    fund.compute_txid()
}

const fn empty() -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: Vec::new(),
        output: Vec::new(),
    }
}

fn input(previous_output: OutPoint, witness: Witness) -> TxIn {
    TxIn {
        previous_output,
        script_sig: ScriptBuf::new(),
        sequence: Sequence::MAX,
        witness,
    }
}

/// With the commitment to their witnesses, where they have any (BIP141).
fn committed(mut coinbase: Coinbase, transactions: &[Transaction]) -> Coinbase {
    if transactions
        .iter()
        .all(|it| it.input.iter().all(|input| input.witness.is_empty()))
    {
        return coinbase;
    }
    let ids = transactions.iter().map(|it| it.compute_wtxid().to_raw_hash());
    let zeros = bitcoin::Wtxid::all_zeros().to_raw_hash();
    let root = merkle_tree::calculate_root(std::iter::once(zeros).chain(ids)).expect("a root");
    let root = WitnessMerkleNode::from_raw_hash(root);
    let commitment = Block::compute_witness_commitment(&root, &[0; 32]);
    let mut script = vec![0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
    script.extend_from_slice(commitment.as_byte_array());
    coinbase.outputs.push(output(0, script));
    coinbase.witness = Some([0; 32]);
    coinbase
}

/// So many signature operations in an output, and a spend of `coin` with `witness`.
fn signing(coin: OutPoint, witness: Witness, count: usize) -> Transaction {
    Transaction {
        input: vec![input(coin, witness)],
        output: vec![output(COIN, vec![0xac; count])],
        ..empty()
    }
}

/// REQ-JD-030: 80,000 signature operations are what a block may cost, 80,001 are one too many (F2Pool, block 783426). Those
/// outside of witnesses cost four.
#[tokio::test]
async fn a_block_of_80001_signature_operations_is_refused() {
    let Some(mut core) = Core::open().await else {
        return;
    };
    let just = signing(core.coin(0), Witness::new(), 20_000);
    assert_eq!(core.verdict(&[just]).await, Ok(()));
    let witness = Witness::from_slice(&[&[][..], &[2; 33], &SIGNED]);
    let over = signing(core.coin(1), witness, 20_000);
    let refused = core.verdict(&[over]).await.unwrap_err();
    assert!(
        refused.starts_with("invalid-job: ") && refused.contains("sigops"),
        "{refused}"
    );
    core.close().await;
}

/// A spend of the padded coin: `filler` bytes that weigh four, and `pad` that weigh one.
fn heavy(coin: OutPoint, filler: usize, pad: usize) -> Transaction {
    let mut script = vec![0; filler];
    script[0] = 0x6a;
    Transaction {
        input: vec![input(coin, Witness::from_slice(&[&vec![0; pad][..], &PADDED]))],
        output: vec![output(COIN, script)],
        ..empty()
    }
}

/// A block as the pool puts it before its node.
fn weight(coinbase: &Coinbase, transaction: &Transaction) -> u64 {
    let first: Transaction = deserialize(&coinbase.transaction(&[0; EXTRANONCE])).unwrap();
    let header = Header {
        version: Version::TWO,
        prev_blockhash: BlockHash::all_zeros(),
        merkle_root: TxMerkleNode::all_zeros(),
        time: 0,
        bits: CompactTarget::from_consensus(0),
        nonce: 0,
    };
    let block = Block {
        header,
        txdata: vec![first, transaction.clone()],
    };
    block.weight().to_wu()
}

/// REQ-JD-030: the coinbase weighs, too: 4,000,000 in all is a block, 4,000,001 is none.
#[tokio::test]
async fn a_block_of_4000001_weight_is_refused() {
    let Some(mut core) = Core::open().await else {
        return;
    };
    let coin = core.coin(2);
    let (_, coinbase) = core.coinbase(&[heavy(coin, 1, 0)]).await;
    let most = Weight::MAX_BLOCK.to_wu();
    // A length may take more bytes as it grows: a little less filler than would fit, and the padding makes up for it.
    let filler = usize::try_from((most - weight(&coinbase, &heavy(coin, 1, 0))) / 4 - 60).unwrap();
    let exactly = |target: u64| {
        let fits = |pad: &usize| weight(&coinbase, &heavy(coin, filler, *pad)) == target;
        heavy(coin, filler, (1..=520).find(fits).expect("a padding"))
    };
    let (just, over) = (exactly(most), exactly(most + 1));
    assert_eq!(core.verdict(&[just]).await, Ok(()));
    let refused = core.verdict(&[over]).await.unwrap_err();
    assert!(
        refused.starts_with("invalid-job: ") && refused.contains("weight"),
        "{refused}"
    );
    core.close().await;
}

/// REQ-JD-030: a transaction stands behind the one whose coin it spends (MARA, block 809478); in the other order it is no block.
#[tokio::test]
async fn a_spend_before_its_coin_is_made_is_refused() {
    let Some(mut core) = Core::open().await else {
        return;
    };
    let parent = spend(core.coin(0), 1);
    let child = spend(OutPoint::new(parent.compute_txid(), 0), 0);
    let refused = core.verdict(&[child.clone(), parent.clone()]).await.unwrap_err();
    assert!(
        refused.starts_with("invalid-job: ") && refused.contains("missingorspent"),
        "{refused}"
    );
    assert_eq!(core.verdict(&[parent, child]).await, Ok(()));
    core.close().await;
}

/// One transaction with two witnesses has two wtxids and is one spend all the same.
#[tokio::test]
async fn one_transaction_under_two_wtxids_is_refused() {
    let Some(mut core) = Core::open().await else {
        return;
    };
    let [a, b] = [1, 2].map(|pad| heavy(core.coin(2), 1, pad));
    assert!(a.compute_txid() == b.compute_txid() && a.compute_wtxid() != b.compute_wtxid());
    let refused = core.verdict(&[a.clone(), b]).await.unwrap_err();
    assert!(refused.starts_with("invalid-job: "), "{refused}");
    assert_eq!(core.verdict(&[a]).await, Ok(()));
    core.close().await;
}

/// REQ-JD-030: more than subsidy and fees (Antpool, block 584802), by one satoshi; and the fee that a transaction pays may be
/// claimed.
#[tokio::test]
async fn a_satoshi_more_than_the_revenue_is_refused() {
    let Some(mut core) = Core::open().await else {
        return;
    };
    let paying = spend(core.coin(0), u32::try_from(COIN - 1_000).unwrap());
    for (fee, good) in [(1_001, false), (1_000, true)] {
        let token = core.alice.allocate().await;
        let coinbase = core.alice.coinbase(&token, SUBSIDY + fee);
        let mut job = core.alice.declaration(&token.mining_job_token, &coinbase);
        job.wtxid_list = Seq0_64K::new(vec![wtxid(&paying)]).unwrap();
        core.alice.declarer.say(&job).await;
        let mut answer = core.alice.declarer.hear_declare().await;
        if matches!(answer, ToClient::ProvideMissingTransactions(_)) {
            let list = provided(job.request_id, &[serialize(&paying)]);
            core.alice.declarer.say(&list).await;
            answer = core.alice.declarer.hear_declare().await;
        }
        match answer {
            ToClient::DeclareMiningJobSuccess(_) => assert!(good, "claims {fee}"),
            ToClient::DeclareMiningJobError(error) => {
                let details = error.error_details.as_bytes();
                assert!(
                    !good && details.windows(3).any(|it| it == b"amo"),
                    "claims {fee}: {error:?}"
                );
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    core.close().await;
}

/// Ten thousand spends of one real coin fit into a block and are none; nothing of it is remembered, so that it is asked for
/// once more. One of them is good.
#[tokio::test]
async fn ten_thousand_spends_of_one_real_coin_are_refused_and_forgotten() {
    let Some(mut core) = Core::open().await else {
        return;
    };
    let all: Vec<Transaction> = (0..10_000).map(|n| spend(core.coin(0), n)).collect();
    for _ in 0..2 {
        let (asked, verdict) = core.declare(&all).await;
        let refused = verdict.unwrap_err();
        assert_eq!(asked, all.len());
        assert!(refused.starts_with("invalid-job: "), "{refused}");
    }
    assert_eq!(core.verdict(&all[..1]).await, Ok(()));
    core.close().await;
}
