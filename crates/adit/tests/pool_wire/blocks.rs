//! Found blocks: to the node at once, into the chain, into the ledger; and again after a restart.

use std::fs;
use std::path::{Path, PathBuf};

use adit::observe::Status;
use adit_node::BlockStatus;
use bitcoin::BlockHash;
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
        let (confirmed, stale) = (files(&data, "confirmed").len(), files(&data, "stale").len());
        assert!(
            confirmed > 0 && (confirmed + stale) as u64 == now.blocks.found,
            "{confirmed} {stale}"
        );

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

/// A block whose file was still there when the pool ended is sent again until the chain has it: here to a node that
/// has lost its whole chain.
#[tokio::test]
async fn a_pending_block_is_sent_again_after_a_restart() {
    let house = House::open(EASY).await;
    let mut miner = Miner::start(house.pool.url(), How::HeaderOnly, "finder").await;
    let now = find(&house, &mut miner, 1).await;
    assert_eq!(now.blocks.found, 1);
    let data = house.data.path().to_owned();
    until("it is settled", || !files(&data, "confirmed").is_empty()).await;
    let House {
        data: folder,
        pool: first,
    } = house;
    let hash: BlockHash = now.blocks.last.unwrap().hash.parse().unwrap();
    first.stop().await.unwrap();

    // As if the process had died before it saw the block in the chain, and the node's disk with it.
    for file in files(&data, "confirmed") {
        fs::rename(&file, file.with_extension("block")).unwrap();
    }
    fs::remove_dir_all(data.join("chain")).unwrap();

    let second = pool(&data, EASY).await;
    picture(&second, "it is accepted", |now| now.blocks.accepted == 1).await;
    assert!(matches!(
        second.node().status(hash).await,
        Ok(BlockStatus::Confirmed(_))
    ));
    until("it is settled again", || files(&data, "block").is_empty()).await;
    assert_eq!(files(&data, "confirmed").len(), 1);
    second.stop().await.unwrap();
    drop(folder);
}
