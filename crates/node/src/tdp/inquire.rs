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
