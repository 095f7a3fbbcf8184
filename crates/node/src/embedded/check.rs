//! Checks of a block that need no unspent outputs: header, shape, merkle trees, limits.

use std::collections::HashSet;

use bitcoin::block::Header;
use bitcoin::hashes::{Hash, sha256d};
use bitcoin::locktime::absolute::LOCK_TIME_THRESHOLD;
use bitcoin::script::Builder;
use bitcoin::{Block, BlockHash, CompactTarget, OutPoint, Sequence, Target, Transaction, Txid};

use super::BlockError;
use super::rules::{BLOCK_SIGOPS_MAX, BLOCK_WEIGHT_MAX, FUTURE_MAX_S, MONEY_MAX};
use crate::merkle;

/// `OP_RETURN`, push of 36 bytes, and the tag of BIP141.
pub(super) const COMMITMENT_PREFIX: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
/// Bytes of a commitment output's script at least.
const COMMITMENT_BYTES: usize = 38;
/// Smallest nVersion since BIP65.
const VERSION_MIN: i32 = 4;

/// What a block's place in the chain asks of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Its height.
    pub(super) height: u32,
    /// Median time past of the block before, seconds.
    pub(super) median_time: u32,
    /// Its compact target.
    pub(super) nbits: CompactTarget,
}

/// Checks a header at its place.
pub(super) fn header(header: &Header, hash: BlockHash, place: &Place, now: u64) -> Result<(), BlockError> {
    if header.bits == place.nbits && !Target::from_compact(place.nbits).is_met_by(hash) {
        return Err(BlockError::HighHash);
    }
    header_without_work(header, place, now)
}

/// Checks a header at its place that nobody has solved yet.
pub(super) fn header_without_work(header: &Header, place: &Place, now: u64) -> Result<(), BlockError> {
    if header.bits != place.nbits {
        return Err(BlockError::BadBits);
    }
    if header.time <= place.median_time {
        return Err(BlockError::TimeTooOld);
    }
    if u64::from(header.time) > now.saturating_add(FUTURE_MAX_S) {
        return Err(BlockError::TimeTooNew);
    }
    if header.version.to_consensus() < VERSION_MIN {
        return Err(BlockError::BadVersion);
    }
    Ok(())
}

/// Checks everything of a block at its place that needs neither its parents nor the clock.
/// `txids` are those of its transactions.
pub(super) fn body(block: &Block, txids: &[Txid], place: &Place) -> Result<(), BlockError> {
    let leaves = txids.iter().map(|txid| txid.to_byte_array()).collect();
    let (root, doubled) = merkle::root(leaves);
    if root != block.header.merkle_root.to_byte_array() {
        return Err(BlockError::MerkleRoot);
    }
    if doubled {
        return Err(BlockError::DuplicateTransaction);
    }
    let coinbase = coinbase(block, place.height)?;
    for tx in block.txdata.iter().skip(1) {
        transaction(tx)?;
    }
    legacy_sigops(block)?;
    if block.txdata.iter().any(|tx| !is_final(tx, place)) {
        return Err(BlockError::NonFinal);
    }
    witness_commitment(block, coinbase)?;
    if block.weight().to_wu() > BLOCK_WEIGHT_MAX {
        return Err(BlockError::Weight);
    }
    Ok(())
}

fn coinbase(block: &Block, height: u32) -> Result<&Transaction, BlockError> {
    let (coinbase, others) = block.txdata.split_first().ok_or(BlockError::CoinbaseMissing)?;
    if !coinbase.is_coinbase() {
        return Err(BlockError::CoinbaseMissing);
    }
    if others.iter().any(Transaction::is_coinbase) {
        return Err(BlockError::CoinbaseMultiple);
    }
    outputs(coinbase)?;
    let script = coinbase.input.first().map(|input| input.script_sig.as_bytes());
    let script = script.unwrap_or_default();
    if !(2..=100).contains(&script.len()) {
        return Err(BlockError::CoinbaseLength);
    }
    if !script.starts_with(&height_push(height)) {
        return Err(BlockError::CoinbaseHeight);
    }
    Ok(coinbase)
}

/// The start of a coinbase scriptSig (BIP34).
pub(super) fn height_push(height: u32) -> Vec<u8> {
    Builder::new().push_int(i64::from(height)).into_bytes()
}

/// Checks the shape of a transaction that is no coinbase.
pub(super) fn transaction(tx: &Transaction) -> Result<(), BlockError> {
    if tx.input.is_empty() {
        return Err(BlockError::InputsEmpty);
    }
    outputs(tx)?;
    let mut seen = HashSet::with_capacity(tx.input.len());
    for input in &tx.input {
        if input.previous_output == OutPoint::null() {
            return Err(BlockError::PrevoutNull);
        }
        if !seen.insert(input.previous_output) {
            return Err(BlockError::InputTwice);
        }
    }
    Ok(())
}

fn outputs(tx: &Transaction) -> Result<(), BlockError> {
    if tx.output.is_empty() {
        return Err(BlockError::OutputsEmpty);
    }
    let mut sum = 0u64;
    for output in &tx.output {
        let value = output.value.to_sat();
        sum = sum.saturating_add(value);
        if value > MONEY_MAX || sum > MONEY_MAX {
            return Err(BlockError::OutputValue);
        }
    }
    Ok(())
}

/// Four units a legacy operation may not exceed the limit, before any input is looked up.
fn legacy_sigops(block: &Block) -> Result<(), BlockError> {
    let cost = block.txdata.iter().map(|tx| tx.total_sigop_cost(|_| None) as u64);
    let cost = cost.fold(0u64, u64::saturating_add);
    if cost > BLOCK_SIGOPS_MAX {
        return Err(BlockError::Sigops(cost));
    }
    Ok(())
}

/// Whether the lock time is over: height below this block's, or time below the median time past
/// (BIP113), or every input final.
pub(super) fn is_final(tx: &Transaction, place: &Place) -> bool {
    let lock = tx.lock_time.to_consensus_u32();
    let limit = if lock < LOCK_TIME_THRESHOLD {
        place.height
    } else {
        place.median_time
    };
    lock == 0 || lock < limit || tx.input.iter().all(|input| input.sequence == Sequence::MAX)
}

fn witness_commitment(block: &Block, coinbase: &Transaction) -> Result<(), BlockError> {
    let Some(commitment) = commitment(coinbase) else {
        let bare = block
            .txdata
            .iter()
            .all(|tx| tx.input.iter().all(|i| i.witness.is_empty()));
        return if bare {
            Ok(())
        } else {
            Err(BlockError::UnexpectedWitness)
        };
    };
    let witness = coinbase.input.first().map(|input| &input.witness);
    let reserved = witness
        .filter(|items| items.len() == 1)
        .and_then(|items| items.last());
    let reserved: [u8; 32] = reserved
        .and_then(|item| item.try_into().ok())
        .ok_or(BlockError::WitnessReserved)?;
    if commitment == witness_hash(&block.txdata, reserved) {
        Ok(())
    } else {
        Err(BlockError::WitnessCommitment)
    }
}

/// What the last commitment output of a coinbase commits to.
fn commitment(coinbase: &Transaction) -> Option<[u8; 32]> {
    let mut scripts = coinbase
        .output
        .iter()
        .rev()
        .map(|output| output.script_pubkey.as_bytes());
    let script =
        scripts.find(|script| script.len() >= COMMITMENT_BYTES && script.starts_with(&COMMITMENT_PREFIX))?;
    script
        .get(COMMITMENT_PREFIX.len()..COMMITMENT_BYTES)?
        .try_into()
        .ok()
}

/// The commitment hash over a block's transactions, the coinbase first (BIP141).
pub(super) fn witness_hash(transactions: &[Transaction], reserved: [u8; 32]) -> [u8; 32] {
    let others = transactions
        .iter()
        .skip(1)
        .map(|tx| tx.compute_wtxid().to_byte_array());
    commit(std::iter::once([0; 32]).chain(others).collect(), reserved)
}

/// The commitment hash over wtxids, the coinbase's zero first.
pub(super) fn commit(wtxids: Vec<[u8; 32]>, reserved: [u8; 32]) -> [u8; 32] {
    let (root, _) = merkle::root(wtxids);
    merkle::fold(root, &[reserved])
}

/// Double SHA-256, as the header's hash.
pub(super) fn hash80(bytes: &[u8; 80]) -> BlockHash {
    BlockHash::from_raw_hash(sha256d::Hash::hash(bytes))
}
