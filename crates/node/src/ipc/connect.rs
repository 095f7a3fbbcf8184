//! One connection: from the socket to the mining interface, and the tasks that live on it.

use std::cell::Cell;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use capnp::message::ReaderOptions;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, twoparty};
use tokio::net::UnixStream;
use tokio::sync::{Mutex, watch as signal};
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use super::Shared;
use super::call::{LOAD, PATIENCE, QUERY, Trouble, WORK, watched};
use super::generated::init_capnp::init;
use super::generated::mining_capnp::mining;
use super::generated::proxy_capnp::{thread, thread_map};
use super::generated::rpc_capnp::rpc;

/// Longest message taken from the node, in 8-byte words: [`super::inquire::CHUNK`] transactions of 4 MB each, and room.
/// A longer one would end the connection, so nobody may be able to ask for it.
const MESSAGE_WORDS_MAX: usize = (super::inquire::CHUNK + 1) * (4 << 20) / 8;
/// A node that loads its chain answers its first call when it is done; a long one takes this long.
const LOADING: Duration = Duration::from_secs(30 * 60);

/// A server thread of the node. One call at a time is made on it: Bitcoin Core 31 refuses a second one.
pub(super) type Lane = thread::Client;

/// The interfaces of a connected node and the lanes to use them on.
pub(super) struct Session {
    pub(super) mining: mining::Client,
    pub(super) version: Version,
    /// Whether submitSolution tells a reason (after version 31); taken for granted until the node does not know it.
    pub(super) tells_reasons: Cell<bool>,
    /// The node's RPC methods, where it offers them over IPC.
    pub(super) rpc: Option<rpc::Client>,
    pub(super) lanes: Lanes,
    /// Makes more lanes.
    pub(super) threads: thread_map::Client,
    /// Held while a template is read, for its lanes.
    pub(super) reading: Mutex<()>,
    /// Held while templates are destroyed, for that lane.
    pub(super) destroying: Mutex<()>,
}

/// Which numbers the node's methods have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// Bitcoin Core 30.
    Core30,
    /// Bitcoin Core 31 and later.
    Core31,
}

/// One lane for everything that may be under way at the same time.
pub(super) struct Lanes {
    pub(super) make: Lane,
    pub(super) header: Lane,
    pub(super) coinbase: Lane,
    pub(super) path: Lane,
    pub(super) fees: Lane,
    pub(super) transactions: Lane,
    pub(super) destroy: Lane,
    pub(super) submit: Lane,
    pub(super) block: Lane,
    pub(super) status: Lane,
    pub(super) ping: Lane,
    pub(super) lookup: Lane,
    pub(super) check: Lane,
}

/// Connects and works until the connection ends (`Err`) or `stop` is set (`Ok`).
pub(super) async fn run(shared: &Rc<Shared>, stop: &mut signal::Receiver<bool>) -> Result<(), Trouble> {
    let stream = open(&shared.settings.path).await?;
    let (read, write) = stream.into_split();
    let options = ReaderOptions {
        traversal_limit_in_words: Some(MESSAGE_WORDS_MAX),
        ..ReaderOptions::new()
    };
    let network = twoparty::VatNetwork::new(read.compat(), write.compat_write(), Side::Client, options);
    let mut system = RpcSystem::new(Box::new(network), None);
    let init: init::Client = system.bootstrap(Side::Server);
    let disconnect = system.get_disconnector();
    let mut system = tokio::task::spawn_local(system);
    let ended = tokio::select! {
        end = &mut system => Err(lost(end)),
        end = work(shared, &init) => end,
        _ = stop.wait_for(|stop| *stop) => Ok(()),
    };
    if ended.is_ok() {
        super::watch::leave(shared).await;
    }
    // What still refers to the connection keeps its socket open; all of it goes before the next attempt.
    shared.session.take();
    drop(shared.waiting.take());
    drop(shared.store.borrow_mut().disconnect());
    drop(init);
    let _ = tokio::time::timeout(QUERY, disconnect).await;
    system.abort();
    ended
}

fn lost(end: Result<Result<(), capnp::Error>, tokio::task::JoinError>) -> Trouble {
    Trouble::Lost(match end {
        Ok(Ok(())) => "closed by the node".into(),
        Ok(Err(error)) => error.extra,
        Err(error) => error.to_string(),
    })
}

/// Everything that happens on a connection; the first task to end ends it.
async fn work(shared: &Rc<Shared>, init: &init::Client) -> Result<(), Trouble> {
    let session = Rc::new(introduce(shared, init).await?);
    let node = super::ready::wait(shared, &session).await?;
    shared.session.replace(Some(Rc::clone(&session)));
    tokio::select! {
        end = super::rooms::run(shared, &session, &node) => end,
        end = super::ping::run(shared, &session) => end,
        end = super::transactions::run(shared, &session) => end,
    }
}

/// Init.construct, the lanes, makeMining and, where there is one, makeRpc.
async fn introduce(shared: &Shared, init: &init::Client) -> Result<Session, Trouble> {
    let health = &shared.health;
    let construct = init.construct_request().send().promise;
    let first = watched(health, "Init.construct", QUERY, PATIENCE, construct);
    let answer = first
        .await
        .map_err(|trouble| not_core(&shared.settings.path, trouble))?;
    let map = answer.get().and_then(|answer| answer.get_thread_map());
    let map = map.map_err(|e| not_core(&shared.settings.path, Trouble::of("Init.construct", e)))?;
    let lanes = lanes(shared, &map).await?;
    let mut request = init.make_mining_request();
    request.get().init_context().set_thread(lanes.make.clone());
    let (mining, version) = match watched(health, LOAD, WORK, LOADING, request.send().promise).await {
        Ok(answer) => {
            let mining = answer.get().and_then(|answer| answer.get_result());
            (mining.map_err(|e| Trouble::of(LOAD, e))?, Version::Core31)
        }
        Err(Trouble::Unimplemented(_)) => {
            let make = super::core30::make_mining(init, &lanes.make);
            let mining = watched(health, LOAD, WORK, LOADING, make).await?;
            (mining, Version::Core30)
        }
        Err(trouble) => return Err(trouble),
    };
    tracing::debug!(?version, "the mining interface is there");
    let mut request = init.make_rpc_request();
    request.get().init_context().set_thread(lanes.status.clone());
    let rpc = match watched(health, "Init.makeRpc", QUERY, PATIENCE, request.send().promise).await {
        Ok(answer) => answer.get().and_then(|answer| answer.get_result()).ok(),
        Err(Trouble::Unimplemented(_) | Trouble::Failed(..)) => None,
        Err(trouble) => return Err(trouble),
    };
    Ok(Session {
        mining,
        version,
        tells_reasons: Cell::new(version != Version::Core30),
        rpc,
        lanes,
        threads: map,
        reading: Mutex::new(()),
        destroying: Mutex::new(()),
    })
}

/// A server thread on the node, under a name that its log can show.
pub(super) async fn lane(shared: &Shared, map: &thread_map::Client, name: &str) -> Result<Lane, Trouble> {
    let call = "ThreadMap.makeThread";
    let mut request = map.make_thread_request();
    request.get().set_name(name);
    let answer = watched(&shared.health, call, QUERY, PATIENCE, request.send().promise).await?;
    let thread = answer.get().and_then(|answer| answer.get_result());
    thread.map_err(|e| Trouble::of(call, e))
}

async fn lanes(shared: &Shared, map: &thread_map::Client) -> Result<Lanes, Trouble> {
    let make = async |name: &str| lane(shared, map, name).await;
    Ok(Lanes {
        make: make("adit make").await?,
        header: make("adit header").await?,
        coinbase: make("adit coinbase").await?,
        path: make("adit path").await?,
        fees: make("adit fees").await?,
        transactions: make("adit transactions").await?,
        destroy: make("adit destroy").await?,
        submit: make("adit submit").await?,
        block: make("adit block").await?,
        status: make("adit status").await?,
        ping: make("adit ping").await?,
        lookup: make("adit lookup").await?,
        check: make("adit check").await?,
    })
}

async fn open(path: &Path) -> Result<UnixStream, Trouble> {
    let opened = tokio::time::timeout(QUERY, UnixStream::connect(path)).await;
    match opened {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(refused(path, &error)),
        Err(_) => Err(Trouble::Connect(
            "silent",
            format!("{} does not take connections", path.display()),
        )),
    }
}

/// Why the socket cannot be opened, and what would be right.
fn refused(path: &Path, error: &std::io::Error) -> Trouble {
    let shown = path.display();
    let is_socket = std::fs::metadata(path).map(|file| file.file_type().is_socket());
    match (error.kind(), is_socket) {
        (ErrorKind::NotFound, _) => Trouble::Connect(
            "missing",
            format!(
                "no socket at {shown}: start Bitcoin Core 30 or later as `bitcoin-node -ipcbind=unix`; its socket \
                 is node.sock in its data folder (regtest/node.sock on regtest)"
            ),
        ),
        (ErrorKind::PermissionDenied, _) => Trouble::Connect(
            "permission",
            format!(
                "no permission for {shown}: run adit as the user of Bitcoin Core or give its group access"
            ),
        ),
        (_, Ok(false)) => Trouble::Connect(
            "socket",
            format!("{shown} is not a socket: give the path of node.sock in Bitcoin Core's data folder"),
        ),
        (ErrorKind::ConnectionRefused, _) => Trouble::Connect(
            "refused",
            format!("nobody listens on {shown}: Bitcoin Core has stopped or crashed; start it"),
        ),
        _ => Trouble::Connect("socket", format!("cannot connect to {shown}: {error}")),
    }
}

/// A first answer that makes no sense comes from something else; a silent one may be a busy Core.
fn not_core(path: &Path, trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Stuck(_) => trouble,
        other => Trouble::Connect(
            "stranger",
            format!(
                "what answers on {} is not a Bitcoin Core with the mining interface ({}): start Bitcoin Core 30 or \
                 later as `bitcoin-node -ipcbind=unix`",
                path.display(),
                other.reason(path)
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use tokio::sync::mpsc;

    use super::*;
    use crate::ipc::Settings;

    /// Reconnecting for ever must not cost a socket each time.
    #[tokio::test]
    async fn a_lost_connection_leaves_no_socket_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.sock");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            while let Ok(peer) = listener.accept() {
                drop(peer);
            }
        });
        let (events, _unread) = mpsc::channel(8);
        let shared = Rc::new(Shared::new(Settings::new(path), events));
        let mut stop = shared.stop.subscribe();
        let sockets = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let before = sockets();
        let attempts = 200;
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                for _ in 0..attempts {
                    assert!(run(&shared, &mut stop).await.is_err());
                    tokio::task::yield_now().await;
                }
            })
            .await;
        assert!(
            sockets() < before + attempts / 4,
            "{} descriptors, {} before",
            sockets(),
            before
        );
    }
}
