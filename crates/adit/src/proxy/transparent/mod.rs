//! The transparent mining proxy: each channel of a device has a channel of its own at the upstream, over connections that
//! many devices share.
//!
//! ```text
//!   listener ──► device (handshake, setup, extensions) ──► proto::relay::Relay ──► upward (the same, as a client) ──► pool
//!                                                               ▲
//!                                 uplink::supervisor ──► which upstream
//! ```
//!
//! Nothing is judged and nothing is booked here: the upstream gives each channel its difficulty and answers each share.
//! One thread serves them all; what a share costs is two seals and a few look-ups.

mod device;
mod mailbox;
mod room;
mod tally;
mod upstreams;
mod upward;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use adit_ledger::{DataLock, FileDisk};
use adit_net::drive::Bounds;
use adit_net::{Clock, Listener, Url};
use adit_proto::extension;
use adit_proto::relay::{self, Relay};
use tokio::sync::{mpsc, watch};

use crate::config::Settings;
use crate::exit::Exit;
use crate::http;
use crate::keys::Ring;
use crate::observe::{self, Roster, Status, Uplink};
use crate::pool;
use crate::pool::open::{listen, raise_file_limit, shown_host};
use crate::shutdown::{Shutdown, Stop};
use crate::uplink::{Speech, Upstream, supervisor};
use room::{Incoming, Parts, Plan};

/// How a proxy works, for people.
const MODE: &str = "transparent";
/// Accepted connections that may wait for the proxy's attention.
const INCOMING_MAX: usize = 4_096;
/// What a miner of Stratum V1 is told.
const HINT: &str = "this port hands Stratum V2 on as it is: start the proxy with --mode aggregate, which serves Stratum V1 \
                    too, or use firmware that speaks V2 (stratum2+tcp://)";

/// A running proxy. Dropping it stops it without waiting; [`Transparent::stop`] stops it in order.
#[derive(Debug)]
pub struct Transparent {
    url: Url,
    url_draft2022: Url,
    http: Option<SocketAddr>,
    status: watch::Receiver<Arc<Status>>,
    picture: watch::Receiver<Uplink>,
    stop: Stop,
    accepting: tokio::task::JoinHandle<()>,
    thread: JoinHandle<()>,
    http_task: Option<tokio::task::JoinHandle<()>>,
    _lock: DataLock,
}

impl Transparent {
    /// Opens the data folder and serves from then on; upstreams are connected meanwhile, for ever. Must be called inside a
    /// tokio runtime.
    ///
    /// # Errors
    /// Whatever keeps it from starting, and when there is no upstream. Upstreams that are away are no such thing.
    pub async fn start(settings: &Settings, patience: supervisor::Settings) -> Result<Self, Exit> {
        let upstreams = settings.upstream.pools.list();
        if upstreams.is_empty() {
            return Err(Exit::usage("there is no upstream to mine on")
                .help("give a pool: --upstream stratum2+tcp://HOST:PORT/KEY"));
        }
        if let Some(odd) = upstreams.iter().find(|it| !is_plain(it)) {
            return Err(Exit::usage(format!("a transparent proxy cannot use {odd} in this way")).help(
                "each device's channel goes to one pool of Stratum V2 under the device's own name: give stratum2+tcp:// without \
                 weight= and user=, or take --mode aggregate",
            ));
        }
        if settings.upstream.jobs.0.is_some() {
            return Err(Exit::usage(
                "a transparent proxy mines no jobs of a distributor (--jobs, upstream.jobs)",
            )
            .help("devices set custom jobs themselves; or take --mode aggregate"));
        }
        raise_file_limit();
        let clock = Clock::system();
        let (lock, ring) = open(settings, &clock)?;
        let listener = Arc::new(listen(settings, false)?);
        let local = listener
            .local_addr()
            .map_err(|error| Exit::failed(format!("no local address: {error}")))?;
        let url = Url {
            host: shown_host(local),
            port: local.port(),
            key: Some(ring.authority().current.into()),
        };
        let url_draft2022 = Url {
            key: Some(ring.authority().draft2022.into()),
            ..url.clone()
        };
        let http = http::bind(&settings.http, false).await?;
        let (stop, shutdown) = Shutdown::new();
        let endpoints = pool::endpoints(&url, &url_draft2022, settings, local, false, None);
        let first = first_picture(settings, &clock, &url, local, endpoints);
        let (status_tx, status) = watch::channel(Arc::new(first.clone()));
        let (picture_tx, picture) = watch::channel(Uplink {
            mode: MODE,
            ..Uplink::default()
        });
        let (roster_tx, roster) = watch::channel(Arc::new(Roster::default()));
        let door = Arc::clone(&listener);
        let parts = Parts {
            plan: plan(settings, clock, shutdown.clone()),
            relay: Relay::new(relay_settings(settings)),
            upstreams: upstreams.to_vec(),
            patience,
            ring,
            certificate_warning_days: settings.keys.certificate_warning_days,
            status: status_tx,
            picture: picture_tx,
            roster: roster_tx,
            first,
            refused_at_the_door: Box::new(move || door.refused()),
        };
        let (incoming, arrivals) = mpsc::channel(INCOMING_MAX);
        let thread = spawn(parts, arrivals)?;
        let accepting = tokio::spawn(accept(listener, incoming, shutdown.clone()));
        let http_addr = http.as_ref().map(http::Server::addr);
        let views = http::Views {
            roster,
            ..http::Views::of(status.clone(), settings)
        };
        let http_task = http.map(|server| tokio::spawn(server.serve(views, shutdown)));
        Ok(Self {
            url,
            url_draft2022,
            http: http_addr,
            status,
            picture,
            stop,
            accepting,
            thread,
            http_task,
            _lock: lock,
        })
    }

    /// Where devices connect.
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

    /// The picture, four times a second.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Arc<Status>> {
        self.status.clone()
    }

    /// The side of the upstreams.
    #[must_use]
    pub fn picture(&self) -> watch::Receiver<Uplink> {
        self.picture.clone()
    }

    /// Stops: every connection is ended. Gives the last picture.
    ///
    /// # Errors
    /// When a part of it broke.
    pub async fn stop(self) -> Result<Arc<Status>, Exit> {
        self.stop.stop();
        let Self {
            accepting,
            thread,
            http_task,
            status,
            ..
        } = self;
        let _ = accepting.await;
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            return Err(Exit::failed("the proxy broke while stopping"));
        }
        if let Some(task) = http_task {
            let _ = task.await;
        }
        let last = Arc::clone(&status.borrow());
        Ok(last)
    }
}

/// Runs a transparent proxy until `shutdown`. `started` is told where it listens.
///
/// # Errors
/// See [`Transparent::start`] and [`Transparent::stop`].
pub async fn run(
    settings: &Settings,
    mut shutdown: Shutdown,
    started: impl FnOnce(&Transparent),
) -> Result<Arc<Status>, Exit> {
    let hangups = tokio::spawn(crate::pool::survive_hangups()?);
    let proxy = Transparent::start(settings, supervisor::Settings::default()).await?;
    started(&proxy);
    shutdown.requested().await;
    let last = proxy.stop().await;
    hangups.abort();
    last
}

/// Whether an upstream is nothing but a place where Stratum V2 is spoken.
fn is_plain(upstream: &Upstream) -> bool {
    upstream.speech == Speech::StratumV2 && upstream.weight.is_none() && upstream.user.is_none()
}

/// The data folder with its keys: those that an aggregating proxy on it shows, too.
fn open(settings: &Settings, clock: &Clock) -> Result<(DataLock, Ring), Exit> {
    let folder = settings.data.as_path();
    FileDisk::create(folder).map_err(|error| {
        Exit::failed(format!("cannot use {}: {error}", folder.display()))
            .help("adit must be able to write there; choose another folder with --data DIR")
    })?;
    let lock = DataLock::take(folder).map_err(|error| Exit::failed(error.to_string()))?;
    let ring = Ring::open(folder, settings.keys.certificate_days, clock.unix_s())?;
    Ok((lock, ring))
}

fn plan(settings: &Settings, clock: Clock, shutdown: Shutdown) -> Plan {
    let limits = &settings.limits;
    let bounds = Bounds {
        queue_max_bytes: limits.queue_bytes_max as usize,
        ..Bounds::default()
    };
    Plan {
        clock,
        rules: adit_net::Rules {
            stratum_v1_hint: HINT,
            ..settings.security.rules()
        },
        handshake: Duration::from_millis(limits.handshake_ms),
        handshakes_max: limits.handshakes_max as usize,
        setup_timeout: Duration::from_millis(limits.setup_ms),
        messages_per_second: limits.messages_per_second,
        extensions: Arc::new(extension::ServerSettings {
            supported: settings.extensions.supported.ids().to_vec(),
            required: settings.extensions.required.ids().to_vec(),
        }),
        bounds,
        bounds_above: Bounds {
            queue_high_bytes: 256 * 1024,
            queue_max_bytes: 4 * 1024 * 1024,
            ..bounds
        },
        dialling: settings.dialling(),
        wishes: crate::device::Extensions {
            worker: None,
            ..crate::device::Extensions::of(settings)
        },
        shutdown,
    }
}

fn relay_settings(settings: &Settings) -> relay::Settings {
    let limits = &settings.limits;
    relay::Settings {
        channels_max: limits.channels_max as usize,
        shares_per_second: limits.shares_per_second,
        no_channel_timeout: Duration::from_millis(limits.first_channel_ms),
        ..relay::Settings::default()
    }
}

fn spawn(parts: Parts, arrivals: mpsc::Receiver<Incoming>) -> Result<JoinHandle<()>, Exit> {
    let failed = |error: std::io::Error| Exit::failed(format!("cannot start the proxy's thread: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    std::thread::Builder::new()
        .name("adit-proxy".into())
        .spawn(move || {
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, room::run(parts, arrivals));
        })
        .map_err(failed)
}

/// Hands accepted connections to the proxy's thread; those that find no place are closed.
async fn accept(listener: Arc<Listener>, incoming: mpsc::Sender<Incoming>, mut shutdown: Shutdown) {
    loop {
        let (stream, peer, permit) = tokio::select! {
            () = shutdown.requested() => return,
            accepted = listener.accept() => accepted,
        };
        if let Ok(stream) = stream.into_std() {
            let _ = incoming.try_send(Incoming { stream, peer, permit });
        }
    }
}

fn first_picture(
    settings: &Settings,
    clock: &Clock,
    url: &Url,
    listen: SocketAddr,
    endpoints: Vec<observe::Endpoint>,
) -> Status {
    let now = clock.now().0;
    Status {
        version: env!("CARGO_PKG_VERSION"),
        taken_at_us: now,
        started_at_us: now,
        pool: observe::PoolStatus {
            url: url.to_string(),
            key: url.key.as_ref().map(ToString::to_string).unwrap_or_default(),
            listen: listen.to_string(),
            endpoints,
            ..observe::PoolStatus::default()
        },
        node: observe::NodeStatus {
            spec: "none".into(),
            network: settings.network.to_core_arg().to_owned(),
            ..observe::NodeStatus::default()
        },
        ..Status::default()
    }
}
