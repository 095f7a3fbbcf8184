//! Found blocks to the node, and what became of them.

use std::rc::Rc;
use std::time::Duration;

use bitcoin::consensus::deserialize;
use bitcoin::hex::DisplayHex;
use bitcoin::{Block, BlockHash};
use serde_json::{Value, json};

use super::Shared;
use super::client::{NOT_FOUND, Trouble};
use crate::{BlockStatus, Solution, SubmitError, Verdict, assemble};

/// A node checks a full block within seconds, on a slow disk too.
const SUBMIT: Duration = Duration::from_secs(10);
const QUERY: Duration = Duration::from_secs(4);
/// The node's reason for a block whose parent it does not have.
const NO_PARENT: &str = "prev-blk-not-found";
/// No block is longer.
const BLOCK_BYTES_MAX: usize = 4_000_000;

/// A solution of one of our templates, as a whole block.
pub(super) async fn solution(shared: &Rc<Shared>, solution: &Solution) -> Result<Verdict, SubmitError> {
    let kept = shared.store.borrow().find(solution.template);
    let kept = kept.ok_or(SubmitError::UnknownTemplate)?;
    let transactions = kept.transactions.ok_or(SubmitError::UnknownTemplate)?;
    match assemble::header(&kept.template, solution) {
        Ok(header) => {
            send(
                shared,
                header.block_hash(),
                &assemble::block(&header, solution, &transactions),
            )
            .await
        }
        Err(reason) => Ok(Verdict::Rejected(reason)),
    }
}

/// A whole block from somewhere else.
pub(super) async fn block(shared: &Rc<Shared>, block: &[u8]) -> Result<Verdict, SubmitError> {
    if block.len() > BLOCK_BYTES_MAX {
        return Ok(Verdict::Rejected(format!("a block of {} bytes", block.len())));
    }
    match deserialize::<Block>(block) {
        Ok(decoded) => send(shared, decoded.block_hash(), block).await,
        Err(error) => Ok(Verdict::Rejected(format!("the block does not decode: {error}"))),
    }
}

async fn send(shared: &Rc<Shared>, hash: BlockHash, block: &[u8]) -> Result<Verdict, SubmitError> {
    let params = json!([block.to_lower_hex_string()]);
    let verdict = match shared.client.call("submitblock", params, SUBMIT).await {
        Ok(Value::String(reason)) if reason == NO_PARENT => {
            return Err(SubmitError::Unavailable(assemble::NO_PARENT_YET.into()));
        }
        Ok(Value::Null) => Ok(shared.accepted.borrow_mut().verdict(hash)),
        Ok(Value::String(reason)) => Ok(judge(shared, hash, reason)),
        Ok(other) => Err(Trouble::Strange(format!("submitblock answered {other}"))),
        // Bitcoin Core's errors of decoding and the like: it will not change its mind.
        Err(Trouble::Node(code, said)) if code < -20 && code > -28 => Ok(Verdict::Rejected(said)),
        Err(trouble) => Err(trouble),
    };
    tracing::info!(%hash, ?verdict, "block submitted");
    verdict.map_err(|trouble| unavailable(shared, &trouble))
}

/// Reasons of BIP22. "inconclusive" is a good block beside a better tip: the node has it.
fn judge(shared: &Shared, hash: BlockHash, reason: String) -> Verdict {
    match reason.as_str() {
        "duplicate" | "duplicate-inconclusive" => Verdict::Duplicate,
        "inconclusive" => shared.accepted.borrow_mut().verdict(hash),
        _ => Verdict::Rejected(reason),
    }
}

/// Where a block stands in the node's chain.
pub(super) async fn status(shared: &Rc<Shared>, block: BlockHash) -> Result<BlockStatus, SubmitError> {
    let answer = shared
        .client
        .call("getblockheader", json!([block.to_string()]), QUERY)
        .await;
    match answer {
        Ok(header) => match header.get("confirmations").and_then(Value::as_i64) {
            Some(depth) if depth > 0 => Ok(BlockStatus::Confirmed(u32::try_from(depth).unwrap_or(u32::MAX))),
            Some(_) => Ok(BlockStatus::Stale),
            None => Err(unavailable(
                shared,
                &Trouble::Strange("getblockheader without confirmations".into()),
            )),
        },
        Err(Trouble::Node(NOT_FOUND, _)) => Ok(BlockStatus::Unknown),
        Err(trouble) => Err(unavailable(shared, &trouble)),
    }
}

fn unavailable(shared: &Shared, trouble: &Trouble) -> SubmitError {
    SubmitError::Unavailable(trouble.reason(&shared.settings.address, &shared.settings.login))
}
