//! The Template Provider: templates from our node to other people's pools and job negotiators, their blocks to our node.
//!
//! ```text
//!   listener ──► connection (handshake, setup, proto::template::Server) ──► hub: groups, shelf, blocks ──► node
//!                     ▲                     newest offer of its group          │
//!                     └────────────────────────────────────────────────────────┘
//! ```
//!
//! Clients are few and what they get is large: one thread serves them all. Clients that need the same room in the
//! coinbase are a group, for which the node makes each template once.

mod connection;
mod hub;
mod open;
mod shelf;
mod verdicts;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use adit_ledger::DataLock;
use adit_net::{Clock, Listener, Url};
use adit_node::Event;
use adit_proto::{setup, template};
use adit_wire::common::protocol;
use tokio::sync::{mpsc, watch};

use crate::config::{NodeSpec, Settings};
use crate::exit::Exit;
use crate::http;
use crate::observe::Status;
use crate::pool::open::{raise_file_limit, shown_host};
use crate::shutdown::{Shutdown, Stop};
use hub::Plan;

/// How long a stopping provider waits for its source: as long as that may submit its last blocks.
const NODE_PATIENCE: Duration = Duration::from_secs(15);
/// Accepted connections that may wait for the provider's attention.
const INCOMING_MAX: usize = 256;

/// A running template provider. Dropping it stops it without waiting; [`Provider::stop`] stops it in order.
#[derive(Debug)]
pub struct Provider {
    url: Url,
    url_draft2022: Url,
    http: Option<SocketAddr>,
    status: watch::Receiver<Arc<Status>>,
    node: adit_node::Handle,
    stop: Stop,
    accepting: tokio::task::JoinHandle<()>,
    /// Gives back what the node says, for whoever waits for its end.
    thread: JoinHandle<mpsc::Receiver<Event>>,
    http_task: Option<tokio::task::JoinHandle<()>>,
    _lock: DataLock,
}

impl Provider {
    /// Opens its folder, connects the node, and serves from then on. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Whatever keeps it from starting, with what to do about it. A node that is away is no such thing.
    pub async fn start(settings: &Settings) -> Result<Self, Exit> {
        raise_file_limit();
        let clock = Clock::system();
        let opened = open::open(settings, &clock)?;
        let listener = open::listen(settings)?;
        let listen = local(&listener)?;
        let url = Url {
            host: shown_host(listen),
            port: listen.port(),
            key: Some(opened.ring.authority().current.into()),
        };
        let url_draft2022 = Url {
            key: Some(opened.ring.authority().draft2022.into()),
            ..url.clone()
        };
        let http = http::bind_if_asked(&settings.http).await?;
        let (stop, shutdown) = Shutdown::new();
        let constraints = adit_node::Constraints::default();
        let node = crate::source::spawn(settings, &opened.folder, constraints, &clock)?;
        let picture = open::picture(settings, &clock, &url, listen);
        let (status_tx, status) = watch::channel(Arc::new(picture.clone()));
        let plan = Plan {
            clock,
            setup: Arc::new(setup_settings(settings)),
            template: template::server::Settings::default(),
            rules: settings.security.rules(),
            handshake: Duration::from_millis(settings.limits.handshake_ms),
            messages_per_second: settings.limits.messages_per_second,
            shutdown: shutdown.clone(),
        };
        let handle = node.handle.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Exit::failed(format!("cannot start the provider: {error}")))?;
        let listener = Arc::new(listener);
        let door = Arc::clone(&listener);
        let parts = hub::Parts {
            plan,
            node,
            default: constraints,
            inspects: settings.node.iter().any(|node| !matches!(node, NodeSpec::Ipc(_))),
            ring: opened.ring,
            store: opened.blocks,
            status: status_tx,
            picture,
            refused_at_the_door: Box::new(move || door.refused()),
        };
        let (incoming, arrivals) = mpsc::channel(INCOMING_MAX);
        let thread = std::thread::Builder::new()
            .name("adit-provider".into())
            .spawn(move || {
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime, hub::run(parts, arrivals))
            })
            .map_err(|error| Exit::failed(format!("cannot start the provider's thread: {error}")))?;
        let accepting = tokio::spawn(accept(listener, incoming, shutdown.clone()));
        let http_addr = http.as_ref().map(http::Server::addr);
        let http_task = http
            .map(|server| tokio::spawn(server.serve(http::Views::of(status.clone(), settings), shutdown)));
        Ok(Self {
            url,
            url_draft2022,
            http: http_addr,
            status,
            node: handle,
            stop,
            accepting,
            thread,
            http_task,
            _lock: opened.lock,
        })
    }

    /// Where pools and job negotiators connect.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The same for those that speak the 2022 draft: another key behind the same address.
    #[must_use]
    pub fn url_draft2022(&self) -> &Url {
        &self.url_draft2022
    }

    /// Where the page is, if it is served.
    #[must_use]
    pub fn http(&self) -> Option<SocketAddr> {
        self.http
    }

    /// The picture, twice a second and at every block.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Arc<Status>> {
        self.status.clone()
    }

    /// The node behind the provider.
    #[must_use]
    pub fn node(&self) -> &adit_node::Handle {
        &self.node
    }

    /// Stops in order: no more connections, the last blocks handed over and on disk. Gives the last picture.
    ///
    /// # Errors
    /// When a part of it broke.
    pub async fn stop(self) -> Result<Arc<Status>, Exit> {
        self.stop.stop();
        let Self {
            accepting,
            thread,
            http_task,
            node,
            status,
            ..
        } = self;
        let _ = accepting.await;
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        let Ok(Ok(mut events)) = joined else {
            return Err(Exit::failed("the provider broke while stopping"));
        };
        // The node's side ends when nobody can ask it any more; its files are free then.
        drop(node);
        let ended = async { while events.recv().await.is_some() {} };
        if tokio::time::timeout(NODE_PATIENCE, ended).await.is_err() {
            tracing::warn!("stopped without waiting for the node's side to end");
        }
        if let Some(task) = http_task {
            let _ = task.await;
        }
        let last = Arc::clone(&status.borrow());
        Ok(last)
    }
}

/// Runs a template provider until `shutdown`. `started` is told where it listens.
///
/// # Errors
/// See [`Provider::start`] and [`Provider::stop`].
pub async fn run(
    settings: &Settings,
    mut shutdown: Shutdown,
    started: impl FnOnce(&Provider),
) -> Result<Arc<Status>, Exit> {
    let provider = Provider::start(settings).await?;
    started(&provider);
    shutdown.requested().await;
    provider.stop().await
}

/// Hands accepted connections to the provider's thread; those that find no place are closed.
async fn accept(listener: Arc<Listener>, incoming: mpsc::Sender<hub::Incoming>, mut shutdown: Shutdown) {
    loop {
        let (stream, peer, permit) = tokio::select! {
            () = shutdown.requested() => return,
            accepted = listener.accept() => accepted,
        };
        if let Ok(stream) = stream.into_std() {
            let _ = incoming.try_send(hub::Incoming { stream, peer, permit });
        }
    }
}

fn local(listener: &Listener) -> Result<SocketAddr, Exit> {
    listener
        .local_addr()
        .map_err(|error| Exit::failed(format!("no local address: {error}")))
}

fn setup_settings(settings: &Settings) -> setup::Settings {
    setup::Settings {
        protocols: vec![setup::Served {
            protocol: protocol::TEMPLATE_DISTRIBUTION,
            supported_flags: 0,
            required_flags: 0,
            success_flags: 0,
        }],
        timeout: Duration::from_millis(settings.limits.setup_ms),
    }
}
