//! Who the node is, and whether its chain is far enough to mine on.

use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::Shared;
use super::call::{PATIENCE, QUERY, Trouble, watched};
use super::chain::{Reply, execute};
use super::connect::Session;

/// How often a node that is not ready is asked again.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// Headers whose blocks do not come hold templates up for this long only: anybody can invent headers
/// on a test network. Bitcoin Core itself waits as long.
const STALL: Duration = Duration::from_secs(20);

/// What decides whether there may be templates.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Progress {
    chain: String,
    test_chain: bool,
    initial_download: bool,
    /// Height of the tip and of the best header, where the node tells.
    heights: Option<(u64, u64)>,
}

impl Progress {
    /// On a real network initial download means no templates. On a test chain the flag only says that
    /// the last block is old. Missing blocks count everywhere but on regtest, where no peers bring them.
    fn behind(&self) -> Behind {
        let missing = self.heights.is_some_and(|(blocks, headers)| headers > blocks);
        match (
            self.initial_download && !self.test_chain,
            missing && self.chain != "regtest",
        ) {
            (true, _) => Behind::Download,
            (false, true) => Behind::CatchingUp,
            (false, false) => Behind::No,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    No,
    CatchingUp,
    Download,
}

/// Waits until templates make sense; returns the node's name for people.
pub(super) async fn wait(shared: &Shared, session: &Rc<Session>) -> Result<String, Trouble> {
    let mut moved = Instant::now();
    let mut last = None;
    loop {
        let progress = ask(shared, session).await?;
        if last != progress.heights {
            (last, moved) = (progress.heights, Instant::now());
        }
        let (kind, reason) = match progress.behind() {
            Behind::No => return name(shared, session, &progress).await,
            Behind::CatchingUp if moved.elapsed() > STALL => return name(shared, session, &progress).await,
            Behind::CatchingUp => ("catching-up", catching_up(&progress)),
            Behind::Download => ("download", downloading(&progress)),
        };
        shared.health.down(kind, reason).await;
        sleep(ASK_EVERY).await;
    }
}

fn downloading(progress: &Progress) -> String {
    let at = progress
        .heights
        .map(|(blocks, headers)| format!(", block {blocks} of {headers}"));
    format!(
        "Bitcoin Core is in its initial download of {}{}: a block on an old tip is worth nothing, so there are no \
         templates until it is done. Let it finish",
        progress.chain,
        at.unwrap_or_default()
    )
}

fn catching_up(progress: &Progress) -> String {
    let (blocks, headers) = progress.heights.unwrap_or_default();
    format!(
        "Bitcoin Core is catching up with {} (block {blocks} of {headers}); wait a little",
        progress.chain
    )
}

async fn ask(shared: &Shared, session: &Rc<Session>) -> Result<Progress, Trouble> {
    let health = &shared.health;
    let mut request = session.mining.is_test_chain_request();
    request
        .get()
        .init_context()
        .set_thread(session.lanes.wait.clone());
    let answer = watched(
        health,
        "Mining.isTestChain",
        QUERY,
        PATIENCE,
        request.send().promise,
    )
    .await?;
    let test_chain = answer
        .get()
        .map_err(|e| Trouble::of("Mining.isTestChain", e))?
        .get_result();
    let mut request = session.mining.is_initial_block_download_request();
    request
        .get()
        .init_context()
        .set_thread(session.lanes.wait.clone());
    let call = "Mining.isInitialBlockDownload";
    let answer = watched(health, call, QUERY, PATIENCE, request.send().promise).await?;
    let initial_download = answer.get().map_err(|e| Trouble::of(call, e))?.get_result();
    let unnamed = if test_chain { "a test chain" } else { "main" };
    let mut progress = Progress {
        chain: unnamed.into(),
        test_chain,
        initial_download,
        heights: None,
    };
    let info = execute(
        shared,
        session,
        &session.lanes.status,
        "getblockchaininfo",
        json!([]),
    )
    .await;
    if let Some(info) = optional(info)? {
        let number = |name: &str| info.get(name).and_then(serde_json::Value::as_u64);
        progress.heights = number("blocks").zip(number("headers"));
        if let Some(chain) = info.get("chain").and_then(serde_json::Value::as_str) {
            progress.chain = chain.to_owned();
        }
    }
    Ok(progress)
}

async fn name(shared: &Shared, session: &Rc<Session>, progress: &Progress) -> Result<String, Trouble> {
    let info = execute(
        shared,
        session,
        &session.lanes.status,
        "getnetworkinfo",
        json!([]),
    )
    .await;
    let info = optional(info)?;
    let version = info.as_ref().and_then(|info| info.get("subversion")?.as_str());
    let version = version.map_or("Bitcoin Core", |version| version.trim_matches('/'));
    Ok(format!(
        "{version} on {} over {}",
        progress.chain,
        shared.settings.path.display()
    ))
}

/// The result, where this node has RPC over IPC and allows the method.
fn optional(reply: Result<Reply, Trouble>) -> Result<Option<serde_json::Value>, Trouble> {
    match reply {
        Ok(Reply::Result(value)) => Ok(Some(value)),
        Ok(Reply::Error(..)) | Err(Trouble::Unimplemented(_) | Trouble::Failed(..) | Trouble::Strange(_)) => {
            Ok(None)
        }
        Err(trouble) => Err(trouble),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(chain: &str, initial_download: bool, heights: Option<(u64, u64)>) -> Progress {
        Progress {
            chain: chain.into(),
            test_chain: chain != "main",
            initial_download,
            heights,
        }
    }

    #[test]
    fn real_networks_wait_for_the_download_and_test_chains_for_blocks_only() {
        assert_eq!(progress("main", true, Some((9, 9))).behind(), Behind::Download);
        assert_eq!(progress("main", true, None).behind(), Behind::Download);
        assert_eq!(progress("main", false, Some((8, 9))).behind(), Behind::CatchingUp);
        assert_eq!(progress("main", false, Some((9, 9))).behind(), Behind::No);
        assert_eq!(progress("main", false, None).behind(), Behind::No);
        assert_eq!(
            progress("signet", true, Some((8, 9))).behind(),
            Behind::CatchingUp
        );
        assert_eq!(progress("signet", true, Some((9, 9))).behind(), Behind::No);
        assert_eq!(progress("regtest", true, Some((8, 9))).behind(), Behind::No);
    }
}
