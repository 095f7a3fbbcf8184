//! Found blocks, on their way to the node.
//!
//! A solution goes to the node's own template (`submitSolution`), which is a few hundred bytes. When
//! that template is gone with its connection, or the call fails, the whole block goes instead
//! (`submitBlock`), from the transactions that were fetched when the template was announced.

use std::rc::Rc;
use std::time::Duration;

use bitcoin::consensus::deserialize;
use bitcoin::{Block, BlockHash};
use capnp::capability::FromClientHook;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::call::{PATIENCE, QUERY, Trouble, WORK, watched};
use super::chain::{Reply, execute};
use super::connect::{Lane, Session, Version};
use super::generated::core32_capnp;
use super::watch::Remote;
use super::{Question, Shared, core30, ping, transactions};
use crate::{BlockCheck, Solution, SubmitError, Verdict, assemble};

/// When a submission without an answer is given back to its caller; the call itself goes on.
const ANSWER: Duration = WORK;
/// No block is longer.
const BLOCK_BYTES_MAX: usize = 4_000_000;
/// The node's reason for a block that it refused before; it does not say that reason again.
const KNOWN_BAD: &str = "duplicate-invalid";
/// The node's reason for a block whose parent it does not have.
const NO_PARENT: &str = "prev-blk-not-found";

/// Submits one solution after the other; ends when nobody can ask any more.
pub(super) async fn solutions(shared: Rc<Shared>, mut queue: mpsc::Receiver<Question<Solution, Verdict>>) {
    while let Some((solution, answer)) = queue.recv().await {
        let shared = Rc::clone(&shared);
        let verdict = in_time(async move { solve(&shared, &solution).await }).await;
        tracing::info!(?verdict, "solution submitted");
        let _ = answer.send(verdict);
    }
}

/// Submits one whole block after the other; ends when nobody can ask any more.
pub(super) async fn blocks(shared: Rc<Shared>, mut queue: mpsc::Receiver<Question<Vec<u8>, Verdict>>) {
    while let Some((block, answer)) = queue.recv().await {
        let shared = Rc::clone(&shared);
        let verdict = in_time(async move {
            let session = shared.session()?;
            whole(&shared, &session, &session.lanes.block, &block).await
        });
        let verdict = verdict.await;
        tracing::info!(?verdict, "block submitted");
        let _ = answer.send(verdict);
    }
}

/// The answer within [`ANSWER`]; later the submission goes on by itself, nobody takes it back.
async fn in_time(
    submission: impl Future<Output = Result<Verdict, SubmitError>> + 'static,
) -> Result<Verdict, SubmitError> {
    match timeout(ANSWER, tokio::task::spawn_local(submission)).await {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(end)) => Err(SubmitError::Unavailable(end.to_string())),
        Err(_) => Err(SubmitError::Unavailable(
            "Bitcoin Core has the block but has not answered yet".into(),
        )),
    }
}

async fn solve(shared: &Rc<Shared>, solution: &Solution) -> Result<Verdict, SubmitError> {
    let kept = shared.store.borrow().find(solution.template);
    let kept = kept.ok_or(SubmitError::UnknownTemplate)?;
    let header = match assemble::header(&kept.template, solution) {
        Ok(header) => header,
        Err(reason) => return Ok(Verdict::Rejected(reason)),
    };
    if kept.remote.is_none() && kept.transactions.is_none() {
        return Err(SubmitError::UnknownTemplate);
    }
    let session = shared.session()?;
    let trouble = match &kept.remote {
        None => Trouble::Lost("the template is of an earlier connection".into()),
        Some(remote) => match on_template(shared, &session, remote, solution).await {
            Ok(outcome) => {
                let hash = header.block_hash();
                return Ok(judge(shared, &session, remote, hash, outcome).await);
            }
            Err(trouble) => trouble,
        },
    };
    match &kept.transactions {
        Some(transactions) => {
            let block = assemble::block(&header, solution, transactions);
            whole(shared, &session, &session.lanes.submit, &block).await
        }
        None => Err(SubmitError::Unavailable(trouble.reason(&shared.settings.path))),
    }
}

/// What the node said to a solution.
enum Outcome {
    /// It processed the block, or did not; no more (up to version 31).
    Processed(bool),
    Said(Sent),
}

/// `submitSolution`, in the newest form that the node knows.
async fn on_template(
    shared: &Shared,
    session: &Rc<Session>,
    remote: &Remote,
    solution: &Solution,
) -> Result<Outcome, Trouble> {
    // Whoever is busy with the template now is done in milliseconds; a block does not wait for a hang.
    let _busy = timeout(QUERY, remote.busy.lock()).await;
    let submission = async {
        if session.version == Version::Core30 {
            let processed = core30::submit(&remote.client, &session.lanes.submit, solution).await;
            return processed.map(Outcome::Processed);
        }
        if session.tells_reasons.get() {
            match with_reason(session, remote, solution).await {
                Err(error) if error.kind == capnp::ErrorKind::Unimplemented => {
                    session.tells_reasons.set(false)
                }
                said => return said.map(Outcome::Said),
            }
        }
        without_reason(session, remote, solution)
            .await
            .map(Outcome::Processed)
    };
    watched(
        &shared.health,
        "BlockTemplate.submitSolution",
        WORK,
        PATIENCE,
        submission,
    )
    .await
}

/// As after version 31.
async fn with_reason(session: &Session, remote: &Remote, solution: &Solution) -> Result<Sent, capnp::Error> {
    let client: core32_capnp::block_template::Client =
        FromClientHook::new(remote.client.as_client_hook().add_ref());
    let mut request = client.submit_solution_request();
    let mut params = request.get();
    params
        .reborrow()
        .init_context()
        .set_thread(session.lanes.submit.clone());
    params.set_version(solution.version);
    params.set_timestamp(solution.header_timestamp);
    params.set_nonce(solution.header_nonce);
    params.set_coinbase(&solution.coinbase_tx);
    let answer = request.send().promise.await?;
    let answer = answer.get()?;
    Ok(match answer.get_result() {
        true => Sent::Taken,
        false => sent(&text(answer.get_reason()), &text(answer.get_debug())),
    })
}

/// As in version 31.
async fn without_reason(
    session: &Session,
    remote: &Remote,
    solution: &Solution,
) -> Result<bool, capnp::Error> {
    let mut request = remote.client.submit_solution_request();
    let mut params = request.get();
    params
        .reborrow()
        .init_context()
        .set_thread(session.lanes.submit.clone());
    params.set_version(solution.version);
    params.set_timestamp(solution.header_timestamp);
    params.set_nonce(solution.header_nonce);
    params.set_coinbase(&solution.coinbase_tx);
    Ok(request.send().promise.await?.get()?.get_result())
}

/// Up to version 31 `submitSolution` tells neither whether a processed block is valid nor why another was refused. The
/// tip tells the first; for the rest the solved block, which now stands in the template, is sent once
/// more to the method that gives reasons.
async fn judge(
    shared: &Rc<Shared>,
    session: &Rc<Session>,
    remote: &Remote,
    hash: BlockHash,
    outcome: Outcome,
) -> Verdict {
    let lane = &session.lanes.submit;
    let processed = match outcome {
        Outcome::Processed(processed) => processed,
        Outcome::Said(Sent::Taken | Sent::Known) => return shared.accepted.borrow_mut().verdict(hash),
        Outcome::Said(Sent::Refused(reason)) if reason.starts_with(KNOWN_BAD) => false,
        Outcome::Said(Sent::Refused(reason)) => return Verdict::Rejected(reason),
    };
    let is_tip = || async { matches!(ping::tip(shared, session, lane).await, Ok(Some(tip)) if tip == hash) };
    if processed && is_tip().await {
        return shared.accepted.borrow_mut().verdict(hash);
    }
    let again = async {
        let block = transactions::block(shared, lane, remote).await?;
        if session.version == Version::Core30 {
            // It takes no whole blocks, but says of the next one what is wrong with it.
            return match check(shared, session, lane, &block).await? {
                Sent::Refused(reason) if processed && reason.starts_with(BlockCheck::NOT_ON_TIP) => {
                    Ok(Sent::Known)
                }
                sent => Ok(sent),
            };
        }
        match send(shared, session, lane, &block).await? {
            Sent::Refused(reason) if reason.starts_with(KNOWN_BAD) => {
                check(shared, session, lane, &block).await
            }
            sent => Ok(sent),
        }
    };
    match again.await {
        Ok(Sent::Taken | Sent::Known) => shared.accepted.borrow_mut().verdict(hash),
        Ok(Sent::Refused(reason)) => Verdict::Rejected(reason),
        Err(_) if processed => shared.accepted.borrow_mut().verdict(hash),
        Err(trouble) => Verdict::Rejected(format!(
            "without a reason ({})",
            trouble.reason(&shared.settings.path)
        )),
    }
}

/// What the node said to a whole block.
enum Sent {
    Taken,
    Known,
    Refused(String),
}

/// A whole block, on a lane of the caller's.
async fn whole(
    shared: &Rc<Shared>,
    session: &Rc<Session>,
    lane: &Lane,
    block: &[u8],
) -> Result<Verdict, SubmitError> {
    if block.len() > BLOCK_BYTES_MAX {
        return Ok(Verdict::Rejected(format!("a block of {} bytes", block.len())));
    }
    let hash = match deserialize::<Block>(block) {
        Ok(block) => block.block_hash(),
        Err(error) => return Ok(Verdict::Rejected(format!("the block does not decode: {error}"))),
    };
    match send(shared, session, lane, block).await {
        Ok(Sent::Taken) => Ok(shared.accepted.borrow_mut().verdict(hash)),
        Ok(Sent::Known) => Ok(Verdict::Duplicate),
        Ok(Sent::Refused(reason)) if reason.starts_with(NO_PARENT) => {
            Err(SubmitError::Unavailable(assemble::NO_PARENT_YET.into()))
        }
        Ok(Sent::Refused(reason)) => Ok(Verdict::Rejected(reason)),
        Err(Trouble::Unimplemented(_)) => Err(SubmitError::Unsupported),
        Err(trouble) => Err(SubmitError::Unavailable(trouble.reason(&shared.settings.path))),
    }
}

/// `submitBlock`, or the RPC method of that name where the mining interface has none.
async fn send(shared: &Shared, session: &Rc<Session>, lane: &Lane, block: &[u8]) -> Result<Sent, Trouble> {
    let call = "Mining.submitBlock";
    let mut request = session.mining.submit_block_request();
    let mut params = request.get();
    params.reborrow().init_context().set_thread(lane.clone());
    params.set_block(block);
    let answer = match watched(&shared.health, call, WORK, PATIENCE, request.send().promise).await {
        Err(Trouble::Unimplemented(_)) => return send_rpc(shared, session, lane, block).await,
        answer => answer?,
    };
    let answer = answer.get().map_err(|e| Trouble::of(call, e))?;
    if answer.get_result() {
        return Ok(Sent::Taken);
    }
    Ok(sent(&text(answer.get_reason()), &text(answer.get_debug())))
}

async fn send_rpc(
    shared: &Shared,
    session: &Rc<Session>,
    lane: &Lane,
    block: &[u8],
) -> Result<Sent, Trouble> {
    let hex = bitcoin::hex::DisplayHex::to_lower_hex_string(block);
    match execute(shared, session, lane, "submitblock", json!([hex])).await? {
        Reply::Result(Value::Null) => Ok(Sent::Taken),
        Reply::Result(Value::String(reason)) => Ok(sent(&reason, "")),
        Reply::Result(other) => Err(Trouble::Strange(format!("submitblock answered {other}"))),
        Reply::Error(code, said) => Ok(Sent::Refused(format!("{said} ({code})"))),
    }
}

/// Why a block that would be the next one is bad: `checkBlock`, which says it every time.
async fn check(shared: &Shared, session: &Rc<Session>, lane: &Lane, block: &[u8]) -> Result<Sent, Trouble> {
    let call = "Mining.checkBlock";
    if session.version == Version::Core30 {
        let check = core30::check(&session.mining, block, true);
        return match watched(&shared.health, call, WORK, PATIENCE, check).await? {
            BlockCheck::Valid => Ok(Sent::Taken),
            BlockCheck::Invalid(reason) => Ok(sent(&reason, "")),
        };
    }
    let mut request = session.mining.check_block_request();
    let mut params = request.get();
    params.reborrow().init_context().set_thread(lane.clone());
    params.set_block(block);
    let mut options = params.init_options();
    options.set_check_merkle_root(true);
    options.set_check_pow(true);
    let answer = watched(&shared.health, call, WORK, PATIENCE, request.send().promise).await?;
    let answer = answer.get().map_err(|e| Trouble::of(call, e))?;
    Ok(sent(&text(answer.get_reason()), &text(answer.get_debug())))
}

pub(super) fn text(text: capnp::Result<capnp::text::Reader<'_>>) -> String {
    text.ok()
        .and_then(|text| text.to_string().ok())
        .unwrap_or_default()
}

/// Reasons of BIP22. "inconclusive" is a good block beside a better tip: the node has it.
fn sent(reason: &str, debug: &str) -> Sent {
    match reason {
        "duplicate" | "inconclusive" | "duplicate-inconclusive" => Sent::Known,
        "" => Sent::Refused("without a reason".into()),
        _ if debug.is_empty() => Sent::Refused(reason.to_owned()),
        _ => Sent::Refused(format!("{reason}: {debug}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_told_apart() {
        assert!(matches!(sent("duplicate", ""), Sent::Known));
        assert!(matches!(sent("inconclusive", ""), Sent::Known));
        assert!(
            matches!(sent("high-hash", "proof of work failed"), Sent::Refused(r) if r == "high-hash: proof of work failed")
        );
        assert!(matches!(sent("", ""), Sent::Refused(_)));
    }
}
