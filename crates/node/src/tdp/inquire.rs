//! What can be told of transactions and unsolved blocks without asking: the protocol has no such questions.
//!
//! Transactions are known from the last templates. A block is judged as far as it can be: what is wrong with it for
//! certain is said; that it is valid only where its transactions are those of a template that the provider gave on the
//! present tip. Of any other block nobody can tell here ([`SubmitError::Unsupported`]).

use std::sync::Arc;

use adit_proto::template::{BLOCK_SIGOPS_MAX, BLOCK_WEIGHT_MAX};
use bitcoin::consensus::deserialize;
use bitcoin::hashes::Hash;
use bitcoin::{Block, Wtxid};

use super::Shared;
use crate::lookup::{self, Lookup};
use crate::{BlockCheck, Found, SubmitError, Template, check as checks, height, merkle};

/// Looks transactions up in the last templates.
pub(super) async fn transactions(shared: &Shared, wtxids: Vec<Wtxid>) -> Result<Found, SubmitError> {
    if shared.recent.borrow().is_empty() {
        return Err(SubmitError::Unavailable(
            "the template provider has not given any transactions yet".into(),
        ));
    }
    let mut lookup = Lookup::new(wtxids);
    lookup::in_templates(&shared.recent, &mut lookup).await?;
    lookup.finish()
}

/// Judges a block that nobody has solved yet.
pub(super) async fn check(shared: &Shared, block: Vec<u8>) -> Result<BlockCheck, SubmitError> {
    let templates: Vec<Arc<Template>> = shared.store.borrow().on_tip().cloned().collect();
    let judged = tokio::task::spawn_blocking(move || judge(&templates, &block)).await;
    judged.unwrap_or_else(|end| Err(SubmitError::Unavailable(end.to_string())))
}

fn judge(templates: &[Arc<Template>], block: &[u8]) -> Result<BlockCheck, SubmitError> {
    let Some(newest) = templates.first() else {
        return Err(SubmitError::Unavailable(
            "the template provider has not given a template yet".into(),
        ));
    };
    let invalid = |reason: &str| Ok(BlockCheck::Invalid(reason.to_owned()));
    let Ok(block) = deserialize::<Block>(block) else {
        return invalid("the block does not decode");
    };
    if block.header.prev_blockhash != newest.prev_hash {
        return invalid(BlockCheck::NOT_ON_TIP);
    }
    let Some((coinbase, others)) = block
        .txdata
        .split_first()
        .filter(|(first, _)| first.is_coinbase())
    else {
        return invalid("bad-cb-missing");
    };
    if block.header.bits != newest.nbits {
        return invalid("bad-diffbits");
    }
    let script = coinbase.input.first().map(|input| input.script_sig.as_bytes());
    let script = script.unwrap_or_default();
    if !(2..=100).contains(&script.len()) {
        return invalid("bad-cb-length");
    }
    let start = script
        .get(..script.len().min(height::PREFIX_BYTES_MAX))
        .unwrap_or_default();
    if height::of_prefix(start) != Some(newest.height) {
        return invalid("bad-cb-height");
    }
    if !block.check_merkle_root() {
        return invalid("bad-txnmrklroot");
    }
    if !block.check_witness_commitment() {
        return invalid("bad-witness-merkle-match");
    }
    if block.weight().to_wu() > BLOCK_WEIGHT_MAX {
        return invalid("bad-blk-weight");
    }
    if block
        .txdata
        .iter()
        .map(checks::sigops)
        .fold(0, u64::saturating_add)
        > BLOCK_SIGOPS_MAX
    {
        return invalid("bad-blk-sigops");
    }
    let txids = others
        .iter()
        .map(|tx| tx.compute_txid().to_byte_array())
        .collect();
    let path = merkle::path(txids);
    let Some(template) = templates.iter().find(|template| template.merkle_path == path) else {
        return Err(SubmitError::Unsupported);
    };
    // The provider's template leaves so much to whoever makes the coinbase.
    let required = template
        .coinbase_tx_outputs
        .iter()
        .map(|output| output.value.to_sat());
    let allowed = template
        .coinbase_tx_value_remaining
        .saturating_add(required.sum());
    let paid = coinbase.output.iter().map(|output| output.value.to_sat());
    if paid.fold(0, u64::saturating_add) > allowed {
        return invalid("bad-cb-amount");
    }
    // Nobody but the node knows how much there was to spare.
    if checks::sigops(coinbase) > template.constraints.max_additional_sigops.into()
        || block.header.time < template.min_ntime
    {
        return Err(SubmitError::Unsupported);
    }
    Ok(BlockCheck::Valid)
}

#[cfg(test)]
mod tests {
    use bitcoin::consensus::{deserialize, serialize};
    use bitcoin::{Amount, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness, absolute, transaction};

    use super::*;
    use crate::embedded::{Provider, Settings};
    use crate::{Constraints, Solution, assemble};

    /// A template whose coinbase may hold one more output of this size, and its transactions.
    fn template() -> (Arc<Template>, Arc<Vec<Vec<u8>>>) {
        let mut settings = Settings::new(8, || 1_800_000_000);
        settings.constraints = Constraints {
            max_additional_size: 43,
            max_additional_sigops: 0,
        };
        let provider = Provider::new(settings).unwrap();
        let kept = provider.template().unwrap();
        (Arc::clone(&kept.template), Arc::clone(&kept.encoded))
    }

    /// The block of a template, unsolved, whose coinbase pays `value` to `script`.
    fn block(template: &Template, transactions: &[Vec<u8>], value: u64, script: Vec<u8>) -> Block {
        let mut start = template.coinbase_prefix.clone();
        start.extend([2, 1, 1]);
        let paid = TxOut {
            value: Amount::from_sat(value),
            script_pubkey: ScriptBuf::from_bytes(script),
        };
        let coinbase = Transaction {
            version: transaction::Version::TWO,
            lock_time: absolute::LockTime::ZERO,
            input: vec![TxIn {
                script_sig: ScriptBuf::from_bytes(start),
                sequence: Sequence::MAX,
                witness: Witness::from_slice(&[template.coinbase_witness.unwrap()]),
                ..TxIn::default()
            }],
            output: [vec![paid], template.coinbase_tx_outputs.clone()].concat(),
        };
        let solution = Solution {
            template: template.id,
            version: template.version,
            header_timestamp: template.header_timestamp,
            header_nonce: 0,
            coinbase_tx: serialize(&coinbase),
        };
        let header = assemble::header(template, &solution).unwrap();
        deserialize(&assemble::block(&header, &solution, transactions)).unwrap()
    }

    /// The same with other transactions than the template's, and the roots that they have.
    fn without_the_last(template: &Template, transactions: &[Vec<u8>], value: u64) -> Block {
        let mut block = block(template, transactions, value, vec![0x51]);
        block.txdata.pop();
        let reserved = template.coinbase_witness.unwrap();
        let root = block.witness_root().unwrap();
        let commitment = Block::compute_witness_commitment(&root, &reserved);
        let last = block.txdata[0].output.last_mut().unwrap();
        last.script_pubkey = ScriptBuf::from_bytes(
            [
                &[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed],
                commitment.as_byte_array().as_slice(),
            ]
            .concat(),
        );
        block.header.merkle_root = block.compute_merkle_root().unwrap();
        block
    }

    /// REQ-TDP-030: the provider's header time is where to start, so that nobody can tell of an earlier one.
    #[test]
    fn a_block_is_judged_as_far_as_can_be_told_for_certain() {
        let (template, transactions) = template();
        let value = template.coinbase_tx_value_remaining;
        let judge = |block: &Block| judge(&[Arc::clone(&template)], &serialize(block));
        let refused = |block: &Block, why: &str| match judge(block) {
            Ok(BlockCheck::Invalid(reason)) => assert_eq!(reason, why),
            other => panic!("{why}: {other:?}"),
        };
        let good = block(&template, &transactions, value, vec![0x51]);
        assert_eq!(judge(&good), Ok(BlockCheck::Valid));
        refused(
            &block(&template, &transactions, value + 1, vec![0x51]),
            "bad-cb-amount",
        );
        refused(
            &block(&template, &transactions, value, vec![0xac; 20_001]),
            "bad-blk-sigops",
        );
        // Nobody has promised room for one more signature operation.
        let costly = block(&template, &transactions, value, vec![0xac]);
        assert_eq!(judge(&costly), Err(SubmitError::Unsupported));
        let other = without_the_last(&template, &transactions, value);
        assert_eq!(judge(&other), Err(SubmitError::Unsupported));
        let wrong = |change: fn(&mut Block)| {
            let mut block = good.clone();
            change(&mut block);
            block
        };
        refused(
            &wrong(|it| it.header.merkle_root = bitcoin::TxMerkleNode::all_zeros()),
            "bad-txnmrklroot",
        );
        refused(
            &wrong(|it| it.header.bits = bitcoin::CompactTarget::from_consensus(1)),
            "bad-diffbits",
        );
        let elsewhere = wrong(|it| it.header.prev_blockhash = bitcoin::BlockHash::all_zeros());
        assert!(judge(&elsewhere).unwrap().is_off_tip());
        refused(&wrong(|it| drop(it.txdata.remove(0))), "bad-cb-missing");
        let early = wrong(|it| it.header.time = 1);
        assert_eq!(judge(&early), Err(SubmitError::Unsupported));
        let height = wrong(|it| it.txdata[0].input[0].script_sig = ScriptBuf::from_bytes(vec![1, 1, 1]));
        refused(&height, "bad-cb-height");
        assert!(matches!(
            super::judge(&[], &serialize(&good)),
            Err(SubmitError::Unavailable(_))
        ));
    }
}
