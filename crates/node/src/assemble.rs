//! Header and whole block of a solution: what a node makes of it, and whoever keeps a block.

use bitcoin::block::{Header, Version};
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::{Hash, HashEngine, sha256d};
use bitcoin::{CompactTarget, Transaction, TxMerkleNode, VarInt};

use crate::{Solution, Template};

/// A node that crashed has forgotten its last blocks and learns them again: no reason to give up ours.
pub(crate) const NO_PARENT_YET: &str =
    "the node does not have the block before this one: it is behind, or on another branch; trying again";

/// The header that was mined.
///
/// # Errors
/// For people, when the coinbase is no transaction.
pub fn header(template: &Template, solution: &Solution) -> Result<Header, String> {
    let coinbase: Transaction = deserialize(&solution.coinbase_tx)
        .map_err(|e| format!("the coinbase transaction does not decode: {e}"))?;
    let root = fold(coinbase.compute_txid().to_byte_array(), &template.merkle_path);
    Ok(Header {
        version: Version::from_consensus(solution.version.cast_signed()),
        prev_blockhash: template.prev_hash,
        merkle_root: TxMerkleNode::from_byte_array(root),
        time: solution.header_timestamp,
        bits: CompactTarget::from_consensus(template.nbits.to_consensus()),
        nonce: solution.header_nonce,
    })
}

fn fold(leaf: [u8; 32], path: &[[u8; 32]]) -> [u8; 32] {
    path.iter().fold(leaf, |left, right| {
        let mut engine = sha256d::Hash::engine();
        engine.input(&left);
        engine.input(right);
        sha256d::Hash::from_engine(engine).to_byte_array()
    })
}

/// The whole block, consensus encoded.
pub fn block(header: &Header, solution: &Solution, transactions: &[Vec<u8>]) -> Vec<u8> {
    let mut block = serialize(header);
    block.extend(serialize(&VarInt::from(transactions.len().saturating_add(1))));
    block.extend_from_slice(&solution.coinbase_tx);
    transactions
        .iter()
        .for_each(|transaction| block.extend_from_slice(transaction));
    block
}

#[cfg(test)]
mod tests {
    use bitcoin::{Block, Network};

    use super::*;
    use crate::TemplateId;
    use crate::kept::tests::template;

    #[test]
    fn an_assembled_block_has_the_merkle_root_of_its_transactions() {
        let genesis = bitcoin::constants::genesis_block(Network::Regtest);
        let coinbase = genesis.txdata.first().unwrap().clone();
        let mut second = coinbase.clone();
        second.lock_time = bitcoin::absolute::LockTime::from_consensus(7);
        let mut template = template(1, 1);
        template.merkle_path = vec![second.compute_txid().to_byte_array()];
        let mut solution = Solution {
            template: TemplateId(1),
            version: 0x2000_0000,
            header_timestamp: 1_700_000_001,
            header_nonce: 5,
            coinbase_tx: serialize(&coinbase),
        };
        let header = header(&template, &solution).unwrap();
        let block: Block = deserialize(&block(&header, &solution, &[serialize(&second)])).unwrap();
        assert!(block.check_merkle_root());
        assert_eq!((block.header, block.txdata.len()), (header, 2));
        solution.coinbase_tx.pop();
        assert!(super::header(&template, &solution).is_err());
    }
}
