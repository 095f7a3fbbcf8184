//! What a job declarator asks the node: transactions by their witness ids, and whether a block would be valid.
//!
//! Both are questions about what strangers declare, so a late answer is no sign that the node hangs (the heartbeat looks
//! for that) and never takes the node down. The call is not given up, though: a lane takes one call at a time, so the
//! next question waits for it, or is told that the node is busy.

use std::rc::Rc;
use std::time::Duration;

use bitcoin::Wtxid;
use bitcoin::hashes::Hash;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::call::Trouble;
use super::connect::{Session, Version};
use super::submit::text;
use super::{Question, Shared, core30};
use crate::lookup::Lookup;
use crate::{BlockCheck, Found, SubmitError};

/// Transactions asked for in one call: the longest answer has to fit into one message.
pub(super) const CHUNK: usize = 32;
/// Deadline of a look-up of all that a block may hold.
const LOOKUP: Duration = Duration::from_secs(8);
/// Deadline of a check: scripts of a full block that nobody has seen before, on a slow machine.
const CHECK: Duration = Duration::from_secs(10);

/// Looks transactions up; ends when nobody can ask any more.
pub(super) async fn lookups(shared: Rc<Shared>, queue: mpsc::Receiver<Question<Vec<Wtxid>, Found>>) {
    desk(shared, queue, LOOKUP, async |shared, wtxids| {
        lookup(&shared, wtxids).await
    })
    .await;
}

/// Has blocks checked; ends when nobody can ask any more.
pub(super) async fn checks(shared: Rc<Shared>, queue: mpsc::Receiver<Question<Vec<u8>, BlockCheck>>) {
    desk(shared, queue, CHECK, async |shared, block| {
        check(&shared, &block).await
    })
    .await;
}

/// One question after the other, each answered within twice `limit`.
async fn desk<Q: 'static, A: 'static>(
    shared: Rc<Shared>,
    mut queue: mpsc::Receiver<Question<Q, A>>,
    limit: Duration,
    work: impl AsyncFn(Rc<Shared>, Q) -> Result<A, SubmitError> + Copy + 'static,
) {
    let mut under_way: Option<JoinHandle<Result<A, SubmitError>>> = None;
    while let Some((question, answer)) = queue.recv().await {
        if answer.is_closed() {
            continue;
        }
        if let Some(task) = &mut under_way
            && timeout(limit, task).await.is_err()
        {
            let _ = answer.send(Err(SubmitError::Unavailable(
                "Bitcoin Core is still busy with an earlier question of this kind".into(),
            )));
            continue;
        }
        let shared = Rc::clone(&shared);
        let mut task = tokio::task::spawn_local(async move { work(shared, question).await });
        let said = match timeout(limit, &mut task).await {
            Ok(Ok(said)) => said,
            Ok(Err(end)) => Err(SubmitError::Unavailable(end.to_string())),
            Err(_) => {
                under_way = Some(task);
                Err(SubmitError::Unavailable(format!(
                    "Bitcoin Core has not answered for {} s",
                    limit.as_secs()
                )))
            }
        };
        let _ = answer.send(said);
    }
}

async fn lookup(shared: &Shared, wtxids: Vec<Wtxid>) -> Result<Found, SubmitError> {
    let session = shared.session()?;
    let call = "Mining.getTransactionsByWitnessID";
    let mut lookup = Lookup::new(wtxids);
    for chunk in lookup.missing().chunks(CHUNK) {
        let mut request = session.mining.get_transactions_by_witness_i_d_request();
        let mut params = request.get();
        params
            .reborrow()
            .init_context()
            .set_thread(session.lanes.lookup.clone());
        let mut list = params.init_wtxids(chunk.len() as u32);
        for (place, wtxid) in (0..).zip(chunk) {
            list.set(place, wtxid.as_byte_array());
        }
        let failed = |error| unavailable(shared, Trouble::of(call, error));
        let answer = request.send().promise.await.map_err(failed)?;
        let found = answer
            .get()
            .and_then(|answer| answer.get_result())
            .map_err(failed)?;
        if found.len() as usize != chunk.len() {
            // A node without a memory pool answers with an empty list.
            return Err(SubmitError::Unsupported);
        }
        for (wtxid, transaction) in chunk.iter().zip(found) {
            let transaction = transaction.map_err(failed)?;
            if !transaction.is_empty() {
                lookup.fill(*wtxid, transaction.to_vec())?;
            }
        }
    }
    lookup.finish()
}

async fn check(shared: &Shared, block: &[u8]) -> Result<BlockCheck, SubmitError> {
    let session = shared.session()?;
    let call = "Mining.checkBlock";
    match ask(&session, block).await {
        Ok(said) => Ok(said),
        // Core's word for bytes that are no block; it closes nothing for that.
        Err(error) if error.kind == capnp::ErrorKind::Failed && is_undecodable(block) => {
            Ok(BlockCheck::Invalid("the block does not decode".into()))
        }
        Err(error) => Err(unavailable(shared, Trouble::of(call, error))),
    }
}

async fn ask(session: &Session, block: &[u8]) -> Result<BlockCheck, capnp::Error> {
    if session.version == Version::Core30 {
        return core30::check(&session.mining, block, false).await;
    }
    let mut request = session.mining.check_block_request();
    let mut params = request.get();
    params
        .reborrow()
        .init_context()
        .set_thread(session.lanes.check.clone());
    params.set_block(block);
    let mut options = params.init_options();
    options.set_check_merkle_root(true);
    options.set_check_pow(false);
    let answer = request.send().promise.await?;
    let answer = answer.get()?;
    Ok(said(answer.get_result(), answer.get_reason(), answer.get_debug()))
}

type Text<'a> = capnp::Result<capnp::text::Reader<'a>>;

/// What the node says to a block, in one value.
pub(super) fn said(valid: bool, reason: Text<'_>, debug: Text<'_>) -> BlockCheck {
    if valid {
        return BlockCheck::Valid;
    }
    let (reason, debug) = (text(reason), text(debug));
    BlockCheck::Invalid(match (reason.is_empty(), debug.is_empty()) {
        (true, true) => "without a reason".into(),
        (_, true) => reason,
        _ => format!("{reason}: {debug}"),
    })
}

fn is_undecodable(block: &[u8]) -> bool {
    bitcoin::consensus::deserialize::<bitcoin::Block>(block).is_err()
}

fn unavailable(shared: &Shared, trouble: Trouble) -> SubmitError {
    match trouble {
        Trouble::Unimplemented(_) => SubmitError::Unsupported,
        trouble => SubmitError::Unavailable(trouble.reason(&shared.settings.path)),
    }
}
