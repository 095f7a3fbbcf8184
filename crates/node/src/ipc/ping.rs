//! The heartbeat: a node that was stopped or hangs is noticed within seconds, whatever else is going on.

use std::rc::Rc;
use std::time::Duration;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use tokio::time::sleep;

use super::Shared;
use super::call::{PATIENCE, QUERY, Trouble, watched};
use super::connect::{Lane, Session};

/// Time between an answer and the next question.
const EVERY: Duration = Duration::from_secs(1);

/// Asks for the tip every second; ends when the node owes an answer for too long.
pub(super) async fn run(shared: &Shared, session: &Rc<Session>) -> Result<(), Trouble> {
    loop {
        tip(shared, session, &session.lanes.ping).await?;
        sleep(EVERY).await;
    }
}

/// Hash of the node's tip.
pub(super) async fn tip(
    shared: &Shared,
    session: &Rc<Session>,
    lane: &Lane,
) -> Result<Option<BlockHash>, Trouble> {
    let call = "Mining.getTip";
    let mut request = session.mining.get_tip_request();
    request.get().init_context().set_thread(lane.clone());
    let answer = watched(&shared.health, call, QUERY, PATIENCE, request.send().promise).await?;
    let answer = answer.get().map_err(|e| Trouble::of(call, e))?;
    if !answer.get_has_result() {
        return Ok(None);
    }
    let hash = answer
        .get_result()
        .and_then(|tip| tip.get_hash())
        .map_err(|e| Trouble::of(call, e))?;
    let hash =
        BlockHash::from_slice(hash).map_err(|_| Trouble::Strange("a tip that is no block hash".into()))?;
    Ok(Some(hash))
}
