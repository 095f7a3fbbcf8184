//! Whom blocks pay, over real encrypted sockets: solo, shared in the coinbase, and booked.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

mod addresses;
mod custody;
mod process;
mod shared;
mod solo;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;

use adit::config::Payout;
use adit_proto::mining::server::AccountId;
use bitcoin::block::{Header, Version};
use bitcoin::consensus::deserialize;
use bitcoin::hashes::{Hash, sha256d};
use bitcoin::{BlockHash, CompactTarget, Transaction, TxMerkleNode};

use support::miner::Miner;
use support::{House, until};

/// Somebody's address on regtest.
pub(crate) fn address(n: u64) -> Payout {
    Payout::throw_away(1_000 + n)
}

/// The pool's own.
pub(crate) fn pool_address() -> Payout {
    Payout::throw_away(999)
}

/// Who found a block that the chain has, and what it pays.
#[derive(Clone, Debug)]
pub(crate) struct Mined {
    pub(crate) height: u32,
    pub(crate) finder: [u8; 16],
    pub(crate) coinbase: Transaction,
}

impl Mined {
    /// Script and satoshis of the outputs but for the commitment, in order.
    pub(crate) fn outputs(&self) -> Vec<(Vec<u8>, u64)> {
        outputs(&self.coinbase)
    }

    pub(crate) fn is_of(&self, name: &str) -> bool {
        self.finder == AccountId::of(name.as_bytes()).0
    }
}

/// Script and satoshis of outputs but for the commitment, in order.
pub(crate) fn outputs(coinbase: &Transaction) -> Vec<(Vec<u8>, u64)> {
    let paid = coinbase
        .output
        .iter()
        .filter(|output| !output.script_pubkey.is_op_return());
    paid.map(|output| (output.script_pubkey.to_bytes(), output.value.to_sat()))
        .collect()
}

/// The blocks of ours that the chain has, from their files (docs/ledger.md: magic, hash, height, time, value, channel,
/// account, header, then the coinbase behind its length).
pub(crate) fn mined(data: &Path) -> Vec<Mined> {
    let files = std::fs::read_dir(data.join("blocks"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let confirmed = files.filter(|path| path.extension().is_some_and(|end| end == "confirmed"));
    let mut mined: Vec<Mined> = confirmed
        .map(|path| {
            let bytes = std::fs::read(path).unwrap();
            assert_eq!(&bytes[..8], b"ADITBLK2");
            let length = u32::from_le_bytes(bytes[164..168].try_into().unwrap()) as usize;
            Mined {
                height: u32::from_le_bytes(bytes[40..44].try_into().unwrap()),
                finder: bytes[68..84].try_into().unwrap(),
                coinbase: deserialize(&bytes[168..168 + length]).unwrap(),
            }
        })
        .collect();
    mined.sort_by_key(|block| block.height);
    mined
}

/// The coinbase of a miner's present job, as it would mine it.
pub(crate) fn coinbase(miner: &Miner) -> (Vec<u8>, Transaction) {
    let job = miner.parts.as_ref().expect("an extended job");
    let rolled = vec![0x5a; miner.size];
    let (before, after) = (
        job.coinbase_tx_prefix.as_bytes(),
        job.coinbase_tx_suffix.as_bytes(),
    );
    let bytes = [before, &miner.prefix, &rolled, after].concat();
    let transaction = deserialize(&bytes).unwrap();
    (bytes, transaction)
}

/// The header of the miner's present job, by another library.
fn header(miner: &Miner) -> Header {
    let (bytes, _) = coinbase(miner);
    let mut root = sha256d::Hash::hash(&bytes);
    for branch in miner.parts.as_ref().unwrap().merkle_path.iter() {
        root = sha256d::Hash::hash(&[&root.to_byte_array()[..], &branch.0].concat());
    }
    Header {
        version: Version::from_consensus(miner.version as i32),
        prev_blockhash: BlockHash::from_byte_array(miner.tip.prev_hash.0),
        merkle_root: TxMerkleNode::from_raw_hash(root),
        time: miner.ntime,
        bits: CompactTarget::from_consensus(miner.tip.nbits),
        nonce: 0,
    }
}

/// The first nonces that make a block of the miner's present job, or that do not.
fn nonces(miner: &Miner, blocks: bool, count: usize) -> Vec<u32> {
    let header = header(miner);
    let target = header.target();
    let with = |nonce| Header { nonce, ..header };
    let nonces = (0..).filter(|nonce| with(*nonce).validate_pow(target).is_ok() == blocks);
    nonces.take(count).collect()
}

/// So many accepted shares that are no blocks.
pub(crate) async fn work(miner: &mut Miner, shares: usize) {
    let nonces = nonces(miner, false, shares);
    miner.mine(nonces).await;
}

/// Mines one block on purpose and waits until the chain has it; gives it.
pub(crate) async fn find_block(house: &House, miner: &mut Miner) -> Mined {
    let (before, tip) = (mined(house.data.path()).len(), miner.tip.prev_hash);
    let nonces = nonces(miner, true, 1);
    miner.mine(nonces).await;
    let data = house.data.path().to_owned();
    until("the chain has the block", || mined(&data).len() > before).await;
    // Whoever opens a channel from now on mines on it.
    while miner.tip.prev_hash == tip {
        assert!(miner.hear().await);
    }
    mined(&data).pop().unwrap()
}

/// A block's credits, once the ledger has so many: name, earned, and the note.
pub(crate) async fn credits(data: &Path, block: &Mined, lines: usize) -> Vec<(String, u64, String)> {
    until("the credits are in the ledger", || {
        booked(data, block).len() >= lines
    })
    .await;
    booked(data, block)
}

fn booked(data: &Path, block: &Mined) -> Vec<(String, u64, String)> {
    let records = support::records(data);
    let credits = records.iter().filter(|record| record["kind"] == "credit");
    let credits = credits.filter(|record| record["height"].as_u64() == Some(block.height.into()));
    credits
        .map(|record| {
            (
                record["name"].as_str().unwrap().to_owned(),
                record["value"].as_u64().unwrap(),
                record["note"].as_str().unwrap().to_owned(),
            )
        })
        .collect()
}
