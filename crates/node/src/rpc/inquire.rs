//! What a job declarator asks the node: transactions by their witness ids, and whether a block would be valid.
//!
//! JSON-RPC knows transactions by their txid only. Most that are asked for stand in one of our last templates; for the
//! rest the node's waiting transactions are listed, and each that is new is asked for its witness id once ([`Waiting`]).

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use bitcoin::hex::{DisplayHex, FromHex};
use bitcoin::{Txid, Wtxid};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::Shared;
use super::client::{METHOD_NOT_FOUND, NOT_FOUND, Trouble};
use crate::lookup::{self, Lookup};
use crate::{BlockCheck, Found, SubmitError};

/// Deadline of a check: scripts of a full block that nobody has seen before, on a slow machine.
const CHECK: Duration = Duration::from_secs(10);
/// How long a question waits for the list of waiting transactions; making it goes on without it.
const LIST: Duration = Duration::from_secs(4);
/// Deadline of each call for it.
const QUERY: Duration = Duration::from_secs(3);
/// The list is not made anew more often.
const LIST_AGAIN: Duration = Duration::from_millis(500);
/// Waiting transactions that are remembered; a node's default memory holds fewer.
const WAITING_MAX: usize = 1 << 19;
/// Witness ids asked for in one request.
const IDS_CHUNK: usize = 1_000;
/// Transactions asked for in one request: with 400 kB each, the longest that nodes relay, their hexadecimal is below
/// the bound of an answer.
const CHUNK: usize = 64;

/// The node's waiting transactions by their ids.
#[derive(Default)]
pub(super) struct Waiting {
    txids: RefCell<HashMap<Wtxid, Txid>>,
    listed: Cell<Option<Instant>>,
    listing: Mutex<()>,
}

/// Looks transactions up.
pub(super) async fn transactions(shared: &Rc<Shared>, wtxids: Vec<Wtxid>) -> Result<Found, SubmitError> {
    let mut lookup = Lookup::new(wtxids);
    lookup::in_templates(&shared.recent, &mut lookup).await?;
    if lookup.missing().is_empty() {
        return lookup.finish();
    }
    let mut known = shared.waiting.among(&lookup.missing());
    if known.len() < lookup.missing().len() {
        let list = tokio::task::spawn_local(list(Rc::clone(shared)));
        match timeout(LIST, list).await {
            Ok(Ok(listed)) => listed.map_err(|trouble| unavailable(shared, &trouble))?,
            Ok(Err(end)) => return Err(SubmitError::Unavailable(end.to_string())),
            Err(_) => tracing::debug!("the node's waiting transactions are not all known yet"),
        }
        known = shared.waiting.among(&lookup.missing());
    }
    for chunk in known.chunks(CHUNK) {
        fetch(shared, chunk, &mut lookup).await?;
    }
    lookup.finish()
}

async fn fetch(shared: &Shared, wanted: &[(Wtxid, Txid)], lookup: &mut Lookup) -> Result<(), SubmitError> {
    let params = wanted.iter().map(|(_, txid)| json!([txid.to_string(), false]));
    let answers = shared.client.batch("getrawtransaction", params, QUERY).await;
    let answers = answers.map_err(|trouble| unavailable(shared, &trouble))?;
    let read = tokio::task::spawn_blocking(move || {
        let hex = answers.into_iter().filter_map(Result::ok);
        let bytes = hex.filter_map(|hex| Vec::from_hex(hex.as_str()?).ok());
        let named = bytes.filter_map(|bytes| Some((lookup::wtxid(&bytes)?, bytes)));
        named.collect::<HashMap<_, _>>()
    });
    let mut read = read.await.unwrap_or_default();
    for (wtxid, _) in wanted {
        // Another one with the same txid and another witness is not what was asked for.
        if let Some(bytes) = read.remove(wtxid) {
            lookup.fill(*wtxid, bytes)?;
        }
    }
    Ok(())
}

impl Waiting {
    /// Those of `wtxids` that wait, as far as is known.
    fn among(&self, wtxids: &[Wtxid]) -> Vec<(Wtxid, Txid)> {
        let txids = self.txids.borrow();
        let known = wtxids
            .iter()
            .filter_map(|wtxid| Some((*wtxid, *txids.get(wtxid)?)));
        known.collect()
    }

    /// Forgets what waits no more; gives those whose witness ids are not known.
    fn keep(&self, listed: HashSet<Txid>) -> Vec<Txid> {
        let mut txids = self.txids.borrow_mut();
        txids.retain(|_, txid| listed.contains(txid));
        let known: HashSet<Txid> = txids.values().copied().collect();
        let unknown = listed.into_iter().filter(|txid| !known.contains(txid));
        unknown.take(WAITING_MAX.saturating_sub(known.len())).collect()
    }
}

/// Brings the list of waiting transactions up to date.
async fn list(shared: Rc<Shared>) -> Result<(), Trouble> {
    let waiting = &shared.waiting;
    let _listing = waiting.listing.lock().await;
    if waiting
        .listed
        .get()
        .is_some_and(|last| last.elapsed() < LIST_AGAIN)
    {
        return Ok(());
    }
    let listed = shared.client.call("getrawmempool", json!([false]), QUERY).await?;
    let listed = listed.as_array().map(Vec::as_slice).unwrap_or_default();
    let listed = listed.iter().filter_map(|txid| txid.as_str()?.parse().ok());
    for chunk in waiting.keep(listed.collect()).chunks(IDS_CHUNK) {
        let params = chunk.iter().map(|txid| json!([txid.to_string()]));
        let entries = shared.client.batch("getmempoolentry", params, QUERY).await?;
        for (txid, entry) in chunk.iter().zip(entries) {
            match entry {
                Ok(entry) => {
                    let wtxid = entry
                        .get("wtxid")
                        .and_then(Value::as_str)
                        .and_then(|id| id.parse().ok());
                    let wtxid = wtxid.ok_or(Trouble::Node(METHOD_NOT_FOUND, "no witness ids".into()))?;
                    waiting.txids.borrow_mut().insert(wtxid, *txid);
                }
                // It left in between.
                Err(Trouble::Node(NOT_FOUND, _)) => {}
                Err(trouble) => return Err(trouble),
            }
        }
    }
    waiting.listed.set(Some(Instant::now()));
    Ok(())
}

/// Has the node check a block that nobody has solved yet, as a proposal (BIP23).
pub(super) async fn check(shared: &Rc<Shared>, block: Vec<u8>) -> Result<BlockCheck, SubmitError> {
    let Ok(_checking) = timeout(CHECK, shared.checking.lock()).await else {
        return Err(SubmitError::Unavailable(
            "the node still checks an earlier block".into(),
        ));
    };
    let proposal =
        json!({ "mode": "proposal", "data": block.to_lower_hex_string(), "rules": ["segwit", "signet"] });
    drop(block);
    match shared
        .client
        .call("getblocktemplate", json!([proposal]), CHECK)
        .await
    {
        Ok(Value::Null) => Ok(BlockCheck::Valid),
        Ok(Value::String(reason)) => Ok(BlockCheck::Invalid(reason)),
        Ok(other) => Err(unavailable(
            shared,
            &Trouble::Strange(format!("a proposed block was answered with {other}")),
        )),
        Err(Trouble::Node(UNDECODABLE, said)) => Ok(BlockCheck::Invalid(said)),
        Err(trouble) => Err(unavailable(shared, &trouble)),
    }
}

/// Bytes that are no block (Bitcoin Core's RPC_DESERIALIZATION_ERROR).
const UNDECODABLE: i64 = -22;
/// The node does not know this mode (RPC_INVALID_PARAMETER).
const INVALID_PARAMETER: i64 = -8;

fn unavailable(shared: &Shared, trouble: &Trouble) -> SubmitError {
    match trouble {
        Trouble::Node(METHOD_NOT_FOUND | INVALID_PARAMETER, _) => SubmitError::Unsupported,
        trouble => SubmitError::Unavailable(trouble.reason(&shared.settings.address, &shared.settings.login)),
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;

    use super::*;

    #[test]
    fn the_list_follows_what_waits() {
        let waiting = Waiting::default();
        let (txid, wtxid) = (
            |n| Txid::from_byte_array([n; 32]),
            |n| Wtxid::from_byte_array([n; 32]),
        );
        let mut unknown = waiting.keep([txid(1), txid(2)].into());
        unknown.sort();
        assert_eq!(unknown, [txid(1), txid(2)]);
        waiting.txids.borrow_mut().insert(wtxid(101), txid(1));
        waiting.txids.borrow_mut().insert(wtxid(102), txid(2));
        assert_eq!(waiting.keep([txid(2), txid(3)].into()), [txid(3)]);
        assert_eq!(waiting.among(&[wtxid(101), wtxid(102)]), [(wtxid(102), txid(2))]);
    }
}
