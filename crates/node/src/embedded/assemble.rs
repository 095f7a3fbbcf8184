//! Making blocks: coinbase, commitment, header, and a nonce when the work is small.

use bitcoin::block::{Header, Version};
use bitcoin::consensus::encode;
use bitcoin::hashes::Hash;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Target, Transaction, TxIn,
    TxMerkleNode, TxOut, Witness, absolute, transaction,
};

use super::check::{self, COMMITMENT_PREFIX};
use crate::merkle;

/// nVersion of blocks: BIP9 with no deployment signalled.
pub(super) const BLOCK_VERSION: u32 = 0x2000_0000;
/// nSequence of coinbases: not final, so that the lock time counts.
pub(super) const COINBASE_SEQUENCE: u32 = 0xffff_fffe;
/// BIP141 reserved value.
pub(super) const RESERVED: [u8; 32] = [0; 32];

/// Where a header's nonce stands in its 80 bytes.
const NONCE_AT: usize = 76;

/// Lock time of the coinbase at a height: the height before, so that no two coinbases are alike.
pub(super) fn coinbase_lock_time(height: u32) -> u32 {
    height.saturating_sub(1)
}

/// The output that commits to the witnesses of all transactions but the coinbase, given their wtxids.
pub(super) fn commitment_output(wtxids: impl Iterator<Item = [u8; 32]>) -> TxOut {
    let all = std::iter::once([0; 32]).chain(wtxids).collect();
    let mut script = COMMITMENT_PREFIX.to_vec();
    script.extend(check::commit(all, RESERVED));
    TxOut {
        value: Amount::ZERO,
        script_pubkey: ScriptBuf::from_bytes(script),
    }
}

/// A block of our own making, without transactions but its coinbase, not yet solved.
/// `tag` follows the height in the scriptSig and tells blocks of one height apart.
pub(super) fn empty_block(
    height: u32,
    prev_hash: BlockHash,
    (time, nbits): (u32, CompactTarget),
    tag: u64,
    mut outputs: Vec<TxOut>,
) -> Block {
    outputs.push(commitment_output(std::iter::empty()));
    let mut script_sig = check::height_push(height);
    script_sig.push(8);
    script_sig.extend(tag.to_le_bytes());
    let coinbase = Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::from_consensus(coinbase_lock_time(height)),
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: ScriptBuf::from_bytes(script_sig),
            sequence: Sequence(COINBASE_SEQUENCE),
            witness: Witness::from_slice(&[RESERVED]),
        }],
        output: outputs,
    };
    let root = coinbase.compute_txid().to_byte_array();
    let header = Header {
        version: Version::from_consensus(BLOCK_VERSION.cast_signed()),
        prev_blockhash: prev_hash,
        merkle_root: TxMerkleNode::from_byte_array(root),
        time,
        bits: nbits,
        nonce: 0,
    };
    Block {
        header,
        txdata: vec![coinbase],
    }
}

/// A template's block from a coinbase and a header's rolled fields.
pub(super) fn block(header: Header, path: &[[u8; 32]], txdata: Vec<Transaction>) -> Block {
    let coinbase = txdata.first().map(|tx| tx.compute_txid().to_byte_array());
    let root = merkle::fold(coinbase.unwrap_or_default(), path);
    let merkle_root = TxMerkleNode::from_byte_array(root);
    Block {
        header: Header {
            merkle_root,
            ..header
        },
        txdata,
    }
}

/// Tries nonces from zero, at most `tries`; true when the header is solved.
pub(super) fn solve(header: &mut Header, tries: u64) -> bool {
    let target = Target::from_compact(header.bits);
    header.nonce = 0;
    let Ok(mut bytes) = <[u8; 80]>::try_from(encode::serialize(header).as_slice()) else {
        return false;
    };
    for nonce in 0..=u32::MAX {
        if u64::from(nonce) >= tries {
            return false;
        }
        if let Some(field) = bytes.get_mut(NONCE_AT..) {
            field.copy_from_slice(&nonce.to_le_bytes());
        }
        if target.is_met_by(check::hash80(&bytes)) {
            header.nonce = nonce;
            return true;
        }
    }
    false
}
