//! Who the node is, and whether its chain is far enough to mine on.

use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::Shared;
use super::call::{PATIENCE, QUERY, Trouble, watched};
use super::chain::{Reply, execute};
use super::connect::{Session, Version};
use crate::progress::{Gate, Progress, other_chain};

/// How often a node that is not ready is asked again.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// A chain that the node does not name: versions 30 and 31 do not.
const UNNAMED: &str = "a test chain";

/// Waits until templates make sense; returns the node's name for people.
pub(super) async fn wait(shared: &Shared, session: &Rc<Session>) -> Result<String, Trouble> {
    let mut gate = Gate::new("Bitcoin Core");
    loop {
        let progress = ask(shared, session).await?;
        if let Some(wanted) = shared.settings.chain.as_deref()
            && !is_on(&progress, wanted)
        {
            let node = format!("the Bitcoin Core at {}", shared.settings.path.display());
            let reason = other_chain(&node, &progress.chain, wanted);
            return Err(Trouble::Connect("chain", reason));
        }
        match gate.look(&progress) {
            Ok(()) => return name(shared, session, &progress).await,
            Err((kind, reason)) => shared.health.down(kind, reason).await,
        }
        sleep(ASK_EVERY).await;
    }
}

/// Whether it is on that chain, as far as it tells.
fn is_on(progress: &Progress, wanted: &str) -> bool {
    match progress.chain.as_str() {
        UNNAMED => wanted != "main",
        chain => chain == wanted,
    }
}

async fn ask(shared: &Shared, session: &Rc<Session>) -> Result<Progress, Trouble> {
    let health = &shared.health;
    let mut request = session.mining.is_test_chain_request();
    request
        .get()
        .init_context()
        .set_thread(session.lanes.make.clone());
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
        .set_thread(session.lanes.make.clone());
    let call = "Mining.isInitialBlockDownload";
    let answer = watched(health, call, QUERY, PATIENCE, request.send().promise).await?;
    let initial_download = answer.get().map_err(|e| Trouble::of(call, e))?.get_result();
    let unnamed = if test_chain { UNNAMED } else { "main" };
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
    let unnamed = match session.version {
        Version::Core30 => "Bitcoin Core 30",
        Version::Core31 => "Bitcoin Core",
    };
    let version = version.map_or(unnamed, |version| version.trim_matches('/'));
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
