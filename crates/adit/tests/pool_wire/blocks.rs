//! Found blocks: to the node at once, into the chain, into the ledger; and again after a restart.

use std::fs;
use std::path::{Path, PathBuf};

use adit::observe::Status;
use adit_ledger::{BlockStore, FileDisk, FoundBlock};
use adit_node::BlockStatus;
use bitcoin::block::{Header, Version};
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::{Block, BlockHash, CompactTarget, Transaction, TxMerkleNode};
use serde_json::Value;

use super::support::miner::{How, Miner};
use super::support::{House, picture, pool, records, until};

/// A block takes 16 hashes.
const EASY: &[(&str, &str)] = &[("node", "embedded:4")];

/// Mines one share after the other until the node has so many blocks of ours.
async fn find(house: &House, miner: &mut Miner, blocks: u64) -> Status {
    for nonce in 0.. {
        assert!(nonce < 5_000, "no block in {nonce} hashes of 16 each");
        if house.pool.status().borrow().blocks.accepted >= blocks {
            break;
        }
        // A share may be late for the tip that the last one made.
        miner.submit([nonce]).await;
        miner.settle().await;
    }
    house
        .picture("found and answered", |now| {
            now.blocks.accepted >= blocks && now.blocks.pending == 0
        })
        .await
}

fn files(data: &Path, ending: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(data.join("blocks"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = all
        .filter(|path| path.extension().is_some_and(|end| end == ending))
        .collect();
    files.sort();
    files
}

/// Every kind of channel finds blocks; the node takes them; its chain and our ledger have them.
#[tokio::test]
async fn blocks_of_every_kind_of_channel_are_in_the_chain_and_in_the_ledger() {
    for how in [How::HeaderOnly, How::Grouped, How::Extended] {
        let house = House::open(EASY).await;
        let mut miner = Miner::start(house.pool.url(), how, "finder").await;
        let now = find(&house, &mut miner, 3).await;
        assert_eq!(
            (now.blocks.rejected, now.blocks.found),
            (0, now.blocks.accepted),
            "{how:?}"
        );
        let last = now.blocks.last.clone().unwrap();
        house
            .picture("its finder's name", |now| {
                now.blocks.last.as_ref().unwrap().worker == "finder"
            })
            .await;
        let hash: BlockHash = last.hash.parse().unwrap();
        // So easy are they that a second may be found for a height before the first is the tip.
        let status = house.pool.node().status(hash).await.unwrap();
        assert_ne!(status, BlockStatus::Unknown);
        let data = house.data.path().to_owned();
        until("all are settled", || files(&data, "block").is_empty()).await;

        let kept = house.data.path().to_owned();
        let House { data: _folder, pool } = house;
        let last = pool.stop().await.unwrap();
        let records = records(&kept);
        let of = |kind: &str| {
            records
                .iter()
                .filter(|record| record["kind"] == kind)
                .collect::<Vec<_>>()
        };
        let shares_with_block = of("share")
            .into_iter()
            .filter(|share| share["block"] == Value::Bool(true))
            .count();
        assert_eq!(of("block").len() as u64, last.blocks.found);
        assert_eq!(
            shares_with_block as u64, last.blocks.found,
            "the share of a block says so"
        );
        assert_eq!(of("share").len() as u64, last.shares.accepted);
    }
}

/// Solves the miner's job without a word to the pool.
fn solve(miner: &Miner) -> Block {
    let job = miner.parts.as_ref().unwrap();
    assert!(job.merkle_path.is_empty(), "a block of its coinbase alone");
    let rolled = vec![0; miner.size];
    let (before, after) = (
        job.coinbase_tx_prefix.as_bytes(),
        job.coinbase_tx_suffix.as_bytes(),
    );
    let mut coinbase: Transaction = deserialize(&[before, &miner.prefix, &rolled, after].concat()).unwrap();
    coinbase.input[0].witness.push([0; 32]);
    let mut header = Header {
        version: Version::from_consensus(i32::from_le_bytes(job.version.to_le_bytes())),
        prev_blockhash: BlockHash::from_byte_array(miner.tip.prev_hash.0),
        merkle_root: TxMerkleNode::from_byte_array(coinbase.compute_txid().to_byte_array()),
        time: miner.tip.min_ntime,
        bits: CompactTarget::from_consensus(miner.tip.nbits),
        nonce: 0,
    };
    while !header.target().is_met_by(header.block_hash()) {
        header.nonce += 1;
    }
    Block {
        header,
        txdata: vec![coinbase],
    }
}

/// A block whose file is there when the pool starts, because its last life ended before the node had it, is sent until
/// the chain has it.
#[tokio::test]
async fn a_pending_block_is_sent_after_a_restart() {
    let changes = [EASY[0], ("embedded.transactions", "0")];
    let House { data, pool: first } = House::open(&changes).await;
    let miner = Miner::start(first.url(), How::Extended, "finder").await;
    let block = solve(&miner);
    first.stop().await.unwrap();

    let store = BlockStore::open(FileDisk::create(&data.path().join("blocks")).unwrap()).unwrap();
    let found = FoundBlock {
        hash: block.block_hash().to_byte_array(),
        height: 111,
        time_us: 1,
        value: 1,
        account: [1; 16],
        channel: 1,
        header: serialize(&block.header).try_into().unwrap(),
        coinbase: serialize(&block.txdata[0]),
        block: serialize(&block),
        template: "1".to_owned(),
        credits: String::new(),
    };
    store.put(&found).unwrap();
    assert_eq!(files(data.path(), "block").len(), 1);

    let second = pool(data.path(), &changes).await;
    picture(&second, "it is accepted and the tip", |now| {
        now.blocks.accepted == 1 && now.node.tip == block.block_hash().to_string()
    })
    .await;
    let status = second.node().status(block.block_hash()).await;
    assert!(matches!(status, Ok(BlockStatus::Confirmed(1))), "{status:?}");
    until("it is settled", || files(data.path(), "confirmed").len() == 1).await;
    assert!(files(data.path(), "block").is_empty());
    second.stop().await.unwrap();
}
