//! The Pool Service: miners in, shares to the ledger, blocks to the node.
//!
//! ```text
//!   listener ──► worker 0..n (connections, machines, share checking) ──► lanes ──► ledger writer
//!                    ▲  work            │ blocks, reports
//!                    └────── hub ◄──────┘
//!                             ▲ templates, submits
//!                            node
//! ```

pub mod admin;
pub(crate) mod blocks;
pub mod branch;
mod cashier;
pub(crate) mod coinbase;
pub(crate) mod connection;
mod control;
mod customs;
mod declaring;
mod desk;
pub mod distributing;
mod drain;
mod front_end;
mod gallery;
mod hub;
pub(crate) mod inspect;
mod lanes;
mod live;
pub(crate) mod mailbox;
mod negotiation;
pub(crate) mod open;
mod parking;
mod paying;
mod peers;
mod records;
mod report;
mod sessions;
mod tend;
mod totals;
mod worker;

pub(crate) use hub::Published;
pub(crate) use open::shown_host;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use adit_ledger::payout::Snapshot;
use adit_ledger::{DataLock, Writer};
use adit_net::drive::Bounds;
use adit_net::{Clock, Listener, Rules, Url};
use adit_proto::extranonce::{Layout, Space};
use adit_proto::plan::UserRules;
use adit_proto::sv1::difficulty::Difficulty;
use adit_proto::vardiff::Steps;
use adit_proto::{extension, mining, setup, sv1};
use adit_wire::common::{flags, protocol};
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::task::JoinHandle;

use crate::books::{Books, Consumer, Keeper};
use crate::config::table::PoolKeys;
use crate::config::{Place, Settings};
use crate::exit::Exit;
use crate::fleet::{self, Common};
use crate::http;
use crate::observe::{self as status, Roster, Status};
use crate::payout;
use crate::payout::prove::OpenChannels;
use crate::payout::treasury::{Looks, Treasury};
use crate::payout::{Names, Prover, Purse};
use crate::shutdown::{Shutdown, Stop};
use admin::Errands;
use blocks::BlockPath;
use branch::Branch;
use cashier::Cashier;
use control::{Told, Wish};
use drain::Order;
use front_end::FrontEnd;
use gallery::Gallery;
use hub::Hub;
use paying::Paying;
use totals::Totals;
use worker::{Incoming, Plan, WorkerHandle};

pub use control::{SOCKET, ask, drain as ask_to_drain};
pub use drain::Progress;
pub use live::Live;

/// Reports and blocks that may wait for the hub.
const REPORTS_MAX: usize = 4096;
/// News of blocks that may wait for the hub.
const NEWS_MAX: usize = 256;
/// Orders to close connections that may wait for a worker.
const KICKS_MAX: usize = 256;

/// A running pool. Dropping it stops it without waiting; [`Pool::stop`] stops it in order.
#[derive(Debug)]
pub struct Pool {
    url: Url,
    url_draft2022: Url,
    url_stratum_v1: Option<String>,
    tls: Option<SocketAddr>,
    http: Option<SocketAddr>,
    status: watch::Receiver<Arc<Status>>,
    roster: watch::Receiver<Arc<Roster>>,
    node: adit_node::Handle,
    stop: Stop,
    keys: PoolKeys,
    drain: watch::Sender<Option<Order>>,
    progress: watch::Sender<Progress>,
    /// Connections of each worker.
    loads: Vec<Arc<AtomicUsize>>,
    /// Turns of each worker.
    beats: Vec<Arc<AtomicU64>>,
    live: Live,
    errands: Errands,
    /// What callers of the control socket wish.
    wishes: mpsc::Receiver<Wish>,
    control: Option<JoinHandle<()>>,
    accepting: JoinHandle<Vec<WorkerHandle>>,
    hub: JoinHandle<()>,
    http_task: Option<JoinHandle<()>>,
    writer: Arc<Writer>,
    consumer: Option<Consumer>,
    front_end: Option<FrontEnd>,
    books: Option<Books>,
    keeper: Option<Keeper>,
    lock: DataLock,
    prover: Prover,
}

impl Pool {
    /// Opens the data folder, connects the node, and serves from then on. Must be called inside a tokio runtime.
    ///
    /// `or_free_port`: a busy default port is replaced by a free one.
    ///
    /// # Errors
    /// Whatever keeps a pool from starting, with what to do about it. A node that is away is no such thing: the
    /// pool waits for it and its miners may connect already.
    pub async fn start(settings: &Settings, or_free_port: bool) -> Result<Self, Exit> {
        Self::start_from(settings, or_free_port, None).await
    }

    /// As [`Pool::start`], below an upstream.
    ///
    /// # Errors
    /// As [`Pool::start`].
    pub async fn start_branch(settings: &Settings, or_free_port: bool, branch: Branch) -> Result<Self, Exit> {
        Self::start_from(settings, or_free_port, Some(branch)).await
    }

    async fn start_from(
        settings: &Settings,
        or_free_port: bool,
        branch: Option<Branch>,
    ) -> Result<Self, Exit> {
        open::raise_file_limit();
        let clock = Clock::system();
        // Its number stands in every extranonce, so that it is held before anything is given out.
        let joined = front_end::join(settings, branch.is_some()).await?;
        let opened = open::open(settings, &clock)?;
        let listener = open::listen(settings, or_free_port)?;
        let (tls_listener, tls_pair) = open::tls(settings)?.unzip();
        let tls = tls_listener
            .as_ref()
            .and_then(|listener| listener.local_addr().ok());
        let listen = listener
            .local_addr()
            .map_err(|error| Exit::failed(format!("no local address: {error}")))?;
        let url = Url {
            host: open::shown_host(listen),
            port: listen.port(),
            key: Some(opened.ring.authority().current.into()),
        };
        let http = http::bind(&settings.http, or_free_port).await?;
        let control = open::control(settings)?;
        let (stop, shutdown) = Shutdown::new();

        let url_draft2022 = Url {
            key: Some(opened.ring.authority().draft2022.into()),
            ..url.clone()
        };
        let url_stratum_v1 = settings
            .sv1
            .enabled
            .then(|| format!("stratum+tcp://{}:{}", url.host, url.port));
        let (identities, identities_rx) = watch::channel(opened.ring.identities());
        let (work, work_rx) = watch::channel(None);
        let (reports, reports_rx) = mpsc::channel(REPORTS_MAX);
        let (news, news_rx) = mpsc::channel(NEWS_MAX);
        let (ledger, ledger_rx) = watch::channel(());
        let (drain, drain_rx) = watch::channel(None);
        let (progress, progress_rx) = watch::channel(Progress::default());
        let (kicks, _) = broadcast::channel(KICKS_MAX);
        opened.writer.watch(Arc::new(move || ledger.send_replace(())));
        // Below an upstream nobody here is paid by name.
        let pays_users = settings.payouts.pays_users() && branch.is_none();
        let names = pays_users.then(|| Arc::new(Names::of(settings)));
        let (purses, purses_rx) = watch::channel(None);
        let open_channels = Arc::new(OpenChannels::default());
        let prover = Prover {
            open: Arc::clone(&open_channels),
            newest: purses_rx,
            work: work_rx.clone(),
            names: names.clone(),
            network: settings.network,
        };
        let negotiation = negotiation::Plan::of(settings, branch.is_none());
        let (asks, asks_rx) = desk::queue();
        let desk_work = work_rx.clone();
        let desk_reports = reports.clone();
        let asks_weak = asks.downgrade();
        let machine = mining::server::Settings {
            tell_mined: branch.is_some(),
            custom: negotiation.is_some(),
            start_epoch: opened.epoch,
            users: names.clone().map(|names| UserRules(names)),
            ..machine_settings(settings)
        };
        let setup = setup_settings(settings, negotiation.is_some());
        let distribution = branch.as_ref().and_then(|branch| branch.distribution.clone());
        let distribution = distribution.map(|it| Arc::new(distributing::Desk::new(it, &setup)));
        let plan = Plan {
            desk: negotiation.as_ref().map(|plan| plan.door(asks)),
            clock: clock.clone(),
            mining: Arc::new(machine.clone()),
            mined: branch.as_ref().map(|branch| branch.mined.clone()),
            distribution: distribution.clone(),
            setup: Arc::new(setup),
            sv1: Arc::new(sv1_settings(settings, machine)),
            parking: Arc::default(),
            open: open_channels,
            tls: tls_pair,
            identities: identities_rx,
            rules: Rules {
                stratum_v1: settings.sv1.enabled,
                ..settings.security.rules()
            },
            extensions: Arc::new(extension::ServerSettings {
                supported: settings.extensions.supported.ids().to_vec(),
                required: settings.extensions.required.ids().to_vec(),
            }),
            work: work_rx,
            ledger: ledger_rx,
            hub: reports,
            handshake: Duration::from_millis(settings.limits.handshake_ms),
            handshakes_max: settings.limits.handshakes_max as usize,
            messages_per_second: settings.limits.messages_per_second,
            bounds: Bounds {
                queue_max_bytes: settings.limits.queue_bytes_max as usize,
                ..Bounds::default()
            },
            drain: drain_rx.clone(),
            rejects_every_us: settings.ledger.rejects_every_s * 1_000_000,
            kicks: kicks.clone(),
            shutdown: shutdown.clone(),
        };
        let layout = branch.as_ref().map_or(Layout::POOL, |branch| branch.layout);
        let workers = start_workers(settings, layout, &plan, &opened.writer)?;
        let loads = workers.iter().map(|worker| Arc::clone(&worker.load)).collect();
        let beats = workers.iter().map(|worker| Arc::clone(&worker.beats)).collect();
        drop(plan);

        let node = if settings.nodeless {
            crate::source::none()?
        } else {
            crate::source::spawn(settings, &settings.data, constraints(settings), &clock)?
        };
        if let Some(plan) = negotiation {
            let (node, clock) = (node.handle.clone(), clock.clone());
            desk::start(
                plan.desk,
                clock,
                node,
                desk_reports,
                desk_work,
                plan.budget,
                asks_rx,
            )?;
        }
        let endpoints = endpoints(&url, &url_draft2022, settings, listen, settings.sv1.enabled, tls);
        let picture = picture(settings, &clock, &url, listen, endpoints);
        let (status_tx, status) = watch::channel(Arc::new(picture.clone()));
        let (roster_tx, roster) = watch::channel(Arc::new(Roster::default()));
        let refused = listener.refusals();
        let live = Live::new(settings, node.handle.clone());
        let (common, carrier) = fleet::exchange::pair(&clock);
        let together = joined.is_some() && settings.payouts.shares_out();
        let common = together.then_some(common);
        let paying = pay(settings, &clock, &opened.writer, names, common.clone(), purses);
        let wake = Arc::clone(&paying.wake);
        let rules = paying.rules.subscribe();
        let cashier = Cashier::new(&opened.writer, rules, settings.network, wake, common);
        let durable = opened.writer.durable();
        let front_end = joined
            .map(|held| {
                let values = live.subscribe();
                let policy = Box::new(move || values.borrow().policy.clone());
                FrontEnd::start(
                    held,
                    settings,
                    durable,
                    url.to_string(),
                    policy,
                    status.clone(),
                    carrier,
                )
            })
            .transpose()?;
        let mut hub = Hub {
            front_end: front_end.as_ref().map(FrontEnd::view),
            paying,
            tag: settings.coinbase.tag.as_bytes().to_vec(),
            fixed_version: settings.pool.fixed_version,
            start_epoch: opened.epoch,
            ring: opened.ring,
            certificate_warning_days: settings.keys.certificate_warning_days,
            identities,
            work,
            status: status_tx,
            picture,
            roster: roster_tx,
            gallery: Gallery::new(settings.network),
            totals: Totals::starting(clock.now(), settings.shares.per_minute),
            blocks: BlockPath::new(node.handle.clone(), clock.clone(), opened.blocks, news),
            lane: opened.writer.lane(Arc::new(|| {})),
            ledger: Arc::clone(&opened.writer),
            books: opened.consumer.as_ref().map(Consumer::view),
            refused_at_the_door: Box::new(refused),
            drain: progress_rx.clone(),
            branch: branch.map(|branch| hub::Uplink {
                orders: branch.orders,
                events: branch.events,
                picture: branch.picture,
            }),
            desk: asks_weak,
            distribution,
            inspector: inspect::Inspector::new(node.handle.clone()),
            live: live.subscribe(),
            state: hub::Mining::default(),
            clock,
        };
        hub.key_picture(hub.clock.now().unix_s());
        let hub = tokio::spawn(hub.run(node.events, reports_rx, news_rx));
        let accepting = tokio::spawn(accept(
            listener,
            tls_listener,
            workers,
            drain_rx,
            shutdown.clone(),
        ));
        let (wish, wishes) = mpsc::channel(1);
        let errands = Errands::default();
        let admin = admin::Desk::new(wish.clone(), progress_rx.clone(), kicks, errands.clone());
        let told = Told {
            prover: prover.clone(),
            cashier,
        };
        let control = control.map(|control| tokio::spawn(control.serve(wish, progress_rx, told)));
        let http_addr = http.as_ref().map(http::Server::addr);
        let token = match &http {
            Some(_) => Some(http::Token::of_data(&settings.data)?),
            None => None,
        };
        let views = http::Views {
            roster: roster.clone(),
            admin: token.map(|token| Arc::new((token, admin))),
            books: opened.books.clone(),
            prover: Some(prover.clone()),
            ..http::Views::of(status.clone(), settings)
        };
        if !settings.http.ckpool_files.is_empty() {
            let folder = std::path::PathBuf::from(&settings.http.ckpool_files);
            let kept = http::ckpool::keep(folder, status.clone(), roster.clone(), shutdown.clone());
            tokio::spawn(kept);
        }
        let http_task = http.map(|server| tokio::spawn(server.serve(views, shutdown)));
        Ok(Self {
            url,
            url_draft2022,
            url_stratum_v1,
            tls,
            http: http_addr,
            status,
            roster,
            node: node.handle,
            stop,
            keys: settings.pool.clone(),
            drain,
            progress,
            loads,
            beats,
            live,
            errands,
            wishes,
            control,
            accepting,
            hub,
            http_task,
            writer: opened.writer,
            consumer: opened.consumer,
            front_end,
            books: opened.books,
            keeper: opened.keeper,
            lock: opened.lock,
            prover,
        })
    }

    /// Where devices connect.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The same for devices that speak the 2022 draft: another key behind the same address.
    #[must_use]
    pub fn url_draft2022(&self) -> &Url {
        &self.url_draft2022
    }

    /// The same for miners of Stratum V1, if they are served.
    #[must_use]
    pub fn url_stratum_v1(&self) -> Option<&str> {
        self.url_stratum_v1.as_deref()
    }

    /// What to type into a miner that is no Stratum V2 device, as lines to print.
    pub fn more_urls(&self) -> Vec<String> {
        let plain = self
            .url_stratum_v1
            .iter()
            .map(|url| format!("      {url}  Stratum V1, not encrypted"));
        let tls = self.tls.iter().map(|at| {
            let host = open::shown_host(*at);
            format!("      stratum+ssl://{host}:{}  Stratum V1 over TLS", at.port())
        });
        plain.chain(tls).collect()
    }

    /// Where they are served over TLS, if they are.
    #[must_use]
    pub fn tls(&self) -> Option<SocketAddr> {
        self.tls
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

    /// Who is here, about once a second.
    #[must_use]
    pub fn roster(&self) -> watch::Receiver<Arc<Roster>> {
        self.roster.clone()
    }

    /// The node behind the pool.
    #[must_use]
    pub fn node(&self) -> &adit_node::Handle {
        &self.node
    }

    /// Where the pool's history can be asked for, if there is a database.
    #[must_use]
    pub fn books(&self) -> Option<&Books> {
        self.books.as_ref()
    }

    /// Whether its parts are alive.
    #[must_use]
    pub fn pulse(&self) -> crate::service::Pulse {
        crate::service::Pulse::new(self.beats.clone(), self.status())
    }

    /// What can be changed while it runs.
    #[must_use]
    pub fn live(&self) -> Live {
        self.live.clone()
    }

    /// What coinbases pay, channel by channel, without disturbing anybody.
    #[must_use]
    pub fn prover(&self) -> &Prover {
        &self.prover
    }

    /// Errands of operators for whoever looks after the process; only the first who asks gets them.
    #[must_use]
    pub fn errands(&self) -> mpsc::Receiver<admin::Errand> {
        self.errands.hear()
    }

    /// Connections that are there.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.loads.iter().map(|load| load.load(Ordering::Relaxed)).sum()
    }

    /// Lets nobody in any more, tells every peer to go to `place`, serves them until they do, and closes the connections
    /// of those who do not in time. Returns when all have left; [`Pool::stop`] is what comes next.
    pub async fn drain(&self, place: &Place) {
        let order = Order::new(place, &self.keys);
        let (longest, start, mut told) = (order.longest(), tokio::time::Instant::now(), 0);
        let total = self.peers();
        self.drain.send_replace(Some(order));
        tracing::info!(to = %place, peers = total, "draining: every peer is sent away");
        loop {
            let (left, elapsed) = (self.peers(), start.elapsed());
            let done = left == 0 || elapsed > longest;
            let now = Progress {
                to: Some(place.clone()),
                total: total.max(left),
                left,
                done,
            };
            self.progress.send_if_modified(|last| {
                let news = *last != now;
                *last = now;
                news
            });
            if done {
                tracing::info!(left, "drained");
                return;
            }
            if elapsed.as_secs() / drain::TELL.as_secs() > told {
                told += 1;
                tracing::info!(left, total, "draining");
            }
            tokio::time::sleep(drain::LOOK).await;
        }
    }

    /// Drains to `place`, or where the configuration says; `shutdown` cuts it short.
    pub(crate) async fn leave(&self, place: Option<Place>, settings: &Settings, shutdown: &mut Shutdown) {
        let configured = || settings.pool.drain_to.0.clone();
        let place = place.or_else(configured).unwrap_or_default();
        tokio::select! {
            () = self.drain(&place) => {}
            () = shutdown.requested() => tracing::warn!(left = self.peers(), "the drain is cut short"),
        }
    }

    /// Waits until an operator asks for a drain, over the control socket or HTTP; where to, if they say so.
    pub(crate) async fn drain_wished(&mut self) -> Option<Place> {
        match self.wishes.recv().await {
            Some(Wish::Drain(place)) => place,
            None => std::future::pending().await,
        }
    }

    /// Waits until somebody else holds this front end's number, and says why the pool must stop; for ever, where nobody does.
    pub fn number_lost(&self) -> impl Future<Output = Exit> + use<> {
        let lost = self.front_end.as_ref().map(FrontEnd::lost);
        async {
            match lost {
                Some(lost) => front_end::no_more(&lost.await),
                None => std::future::pending().await,
            }
        }
    }

    /// Stops in order: no more connections, the last shares on disk and acknowledged, the journal closed. Gives the
    /// last picture.
    ///
    /// # Errors
    /// When the journal could not be closed: what was acknowledged is safe even then.
    pub async fn stop(self) -> Result<Arc<Status>, Exit> {
        self.stop.stop();
        let broke = |error| Exit::failed(format!("a part of the pool broke while stopping: {error}"));
        let workers = self.accepting.await.map_err(broke)?;
        tokio::task::spawn_blocking(|| workers.into_iter().for_each(WorkerHandle::join))
            .await
            .map_err(broke)?;
        self.hub.await.map_err(broke)?;
        if let Some(task) = self.http_task {
            task.await.map_err(broke)?;
        }
        let last = Arc::clone(&self.status.borrow());
        if let Some(writer) = Arc::into_inner(self.writer) {
            let closed = tokio::task::spawn_blocking(|| writer.stop())
                .await
                .map_err(broke)?;
            closed.map_err(|reason| {
                Exit::failed(format!("the journal was not closed in order: {reason}"))
                    .help("acknowledged shares are safe; check with `adit ledger verify`")
            })?;
        }
        // The end of the journal is shipped and counted, too.
        if let Some(front_end) = self.front_end {
            front_end.stop().await;
        }
        let (consumer, keeper) = (self.consumer, self.keeper);
        tokio::task::spawn_blocking(move || {
            drop(keeper);
            consumer.into_iter().for_each(Consumer::stop);
        })
        .await
        .map_err(broke)?;
        drop(self.lock);
        // Who waits at the control socket hears now that the folder is free.
        if let Some(control) = self.control {
            control.abort();
            let _ = control.await;
        }
        Ok(last)
    }
}

/// Runs a pool until `shutdown`, or until `drain` or a caller at the control socket wants it drained; `shutdown` cuts
/// that short. `started` is told where it listens.
///
/// # Errors
/// See [`Pool::start`] and [`Pool::stop`].
pub async fn run(
    settings: &Settings,
    drain: Shutdown,
    shutdown: Shutdown,
    started: impl FnOnce(&Pool),
) -> Result<Arc<Status>, Exit> {
    // Before anybody can know that it runs.
    let hangups = tokio::spawn(survive_hangups()?);
    let pool = Pool::start(settings, false).await?;
    started(&pool);
    let last = serve(pool, settings, drain, shutdown).await;
    hangups.abort();
    last
}

/// Serves with a pool that runs, until it is to stop or is drained; see [`run`].
///
/// # Errors
/// See [`Pool::stop`].
pub async fn serve(
    mut pool: Pool,
    settings: &Settings,
    mut drain: Shutdown,
    mut shutdown: Shutdown,
) -> Result<Arc<Status>, Exit> {
    let lost = pool.number_lost();
    let wish = tokio::select! {
        () = shutdown.requested() => None,
        exit = lost => {
            pool.stop().await?;
            return Err(exit);
        }
        () = drain.requested() => Some(None),
        place = pool.drain_wished() => Some(place),
    };
    if let Some(place) = wish {
        pool.leave(place, settings, &mut shutdown).await;
    }
    pool.stop().await
}

/// `systemctl reload` and old habits: it must not end the pool. Who has something to read again listens as well (`reload`).
pub(crate) fn survive_hangups() -> Result<impl Future<Output = ()>, Exit> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangup = signal(SignalKind::hangup())
        .map_err(|error| Exit::failed(format!("cannot listen to SIGHUP: {error}")))?;
    Ok(async move {
        while hangup.recv().await.is_some() {
            tracing::debug!("SIGHUP");
        }
    })
}

/// Gives each accepted connection to the worker with the fewest.
///
/// When the pool is drained the socket is closed: another process may have the port.
async fn accept(
    listener: Listener,
    tls_listener: Option<Listener>,
    workers: Vec<WorkerHandle>,
    mut drain: watch::Receiver<Option<Order>>,
    mut shutdown: Shutdown,
) -> Vec<WorkerHandle> {
    loop {
        let over_tls = async {
            match &tls_listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        let ((stream, peer, permit), tls) = tokio::select! {
            () = shutdown.requested() => return workers,
            _ = drain.wait_for(Option::is_some) => return workers,
            accepted = listener.accept() => (accepted, false),
            accepted = over_tls => (accepted, true),
        };
        let Ok(stream) = stream.into_std() else { continue };
        let idlest = workers
            .iter()
            .min_by_key(|worker| worker.load.load(Ordering::Relaxed));
        let Some(worker) = idlest else { continue };
        worker.load.fetch_add(1, Ordering::Relaxed);
        let incoming = Incoming {
            stream,
            peer,
            permit,
            tls,
        };
        // A worker that is behind is waited for, and the kernel keeps who comes meanwhile: a storm of reconnects turns
        // nobody away.
        let (way, load) = (worker.incoming.clone(), Arc::clone(&worker.load));
        tokio::select! {
            () = shutdown.requested() => return workers,
            sent = way.send(incoming) => if sent.is_err() {
                load.fetch_sub(1, Ordering::Relaxed);
            },
        }
    }
}

fn start_workers(
    settings: &Settings,
    layout: Layout,
    plan: &Plan,
    writer: &Writer,
) -> Result<Vec<WorkerHandle>, Exit> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let count = match settings.pool.workers {
        0 => cores,
        workers => workers as usize,
    };
    let slots = layout.slots_end() / u32::try_from(count).unwrap_or(1);
    (0u32..)
        .take(count)
        .map(|number| {
            let slots = number * slots..(number + 1) * slots;
            let space = Space::of(layout, settings.pool.front_end, slots);
            WorkerHandle::start(number, plan.clone(), space, |notify| writer.lane(notify))
        })
        .collect()
}

/// What the hub pays from, and the treasury that makes it beside the hub: of the own book, and of those of the other front
/// ends where there are some.
fn pay(
    settings: &Settings,
    clock: &Clock,
    writer: &Writer,
    names: Option<Arc<Names>>,
    common: Option<Common>,
    newest: watch::Sender<Option<Arc<Purse>>>,
) -> Paying {
    let rules = payout::rules(settings);
    let keys = &settings.payouts;
    let (block_work, block_works) = watch::channel(0);
    let wake = Arc::new(Notify::new());
    let nobody = Snapshot::new(0, rules.clone(), Vec::new(), 0, 0);
    let (rules, live_rules) = watch::channel(rules);
    let shares_out = keys.shares_out() && names.is_some();
    let refresh = Duration::from_millis(keys.refresh_ms);
    let pool = payout::name(&settings.payout, settings.network);
    let (to, snapshots) = watch::channel(Arc::new(nobody));
    let treasury = Treasury {
        book: writer.book(),
        names: names.clone().unwrap_or_else(|| Arc::new(Names::of(settings))),
        rules: live_rules,
        window_blocks: keys.window_blocks,
        clock: clock.clone(),
        pools: shares_out,
        known: HashMap::new(),
    };
    let looks = Looks {
        block_work: block_works,
        wake: Arc::clone(&wake),
        every: refresh,
        to,
    };
    match common.filter(|_| shares_out) {
        Some(common) => drop(tokio::spawn(treasury.run_together(common, looks))),
        None => drop(tokio::spawn(treasury.run(looks))),
    }
    Paying {
        snapshots,
        network: settings.network,
        outputs_max: keys.outputs_max,
        rules,
        pool: VecDeque::from([pool.into()]),
        books: names.is_some(),
        shares_out,
        refresh,
        block_work,
        wake,
        purses: VecDeque::new(),
        newest,
        made: None,
    }
}

/// The room that our payouts need in the coinbase (spec 7.1), signature operations by their cost.
pub(crate) fn constraints(settings: &Settings) -> adit_node::Constraints {
    let (max_additional_size, max_additional_sigops) = payout::largest(settings);
    adit_node::Constraints {
        max_additional_size,
        max_additional_sigops,
    }
}

fn machine_settings(settings: &Settings) -> mining::server::Settings {
    let (shares, limits) = (&settings.shares, &settings.limits);
    mining::server::Settings {
        vardiff: shares.vardiff,
        shares_per_minute: shares.per_minute,
        work_min: shares.work_min,
        ack_delay_max_ms: u32::try_from(shares.ack_delay_max_ms).unwrap_or(u32::MAX),
        seen_max: shares.seen_max as usize,
        shares_per_second: limits.shares_per_second,
        channels_max: limits.channels_max as usize,
        no_channel_timeout_ms: u32::try_from(limits.first_channel_ms).unwrap_or(u32::MAX),
        ..mining::server::Settings::default()
    }
}

/// The same for Stratum V1, whose works are its difficulties.
fn sv1_settings(settings: &Settings, machine: mining::server::Settings) -> sv1::server::Settings {
    sv1::server::Settings {
        mining: Arc::new(mining::server::Settings {
            steps: Steps::Difficulties,
            channels_max: 1,
            ..machine
        }),
        start: Difficulty::nearest(settings.sv1.start_difficulty.into()).unwrap_or(Difficulty::ONE),
    }
}

fn setup_settings(settings: &Settings, negotiates: bool) -> setup::Settings {
    let required = |wanted: bool, flag: u32| if wanted { flag } else { 0 };
    let mining = setup::Served {
        protocol: protocol::MINING,
        supported_flags: flags::REQUIRES_STANDARD_JOBS
            | flags::REQUIRES_VERSION_ROLLING
            | required(negotiates, flags::REQUIRES_WORK_SELECTION),
        required_flags: 0,
        success_flags: required(settings.pool.fixed_version, flags::REQUIRES_FIXED_VERSION)
            | required(settings.pool.extended_only, flags::REQUIRES_EXTENDED_CHANNELS),
    };
    let mut protocols = vec![mining];
    if negotiates {
        protocols.push(negotiation::served(settings.negotiation.mode));
    }
    setup::Settings {
        protocols,
        timeout: Duration::from_millis(settings.limits.setup_ms),
    }
}

/// What to type into which miner. `lines`: Stratum V1 is served, too.
pub(crate) fn endpoints(
    url: &Url,
    draft2022: &Url,
    settings: &Settings,
    listen: SocketAddr,
    lines: bool,
    tls: Option<SocketAddr>,
) -> Vec<status::Endpoint> {
    // Whoever listens everywhere can be dialled by whatever name leads here.
    let host = |at: SocketAddr| match at.ip().is_unspecified() {
        true => String::new(),
        false => at.ip().to_string(),
    };
    let of = |kind, scheme: &str, at: SocketAddr, key: Option<String>| {
        let shown = open::shown_host(at);
        let shown = if shown.contains(':') {
            format!("[{shown}]")
        } else {
            shown
        };
        let tail = key.as_ref().map(|key| format!("/{key}")).unwrap_or_default();
        status::Endpoint {
            kind,
            url: format!("{scheme}://{shown}:{}{tail}", at.port()),
            host: host(at),
            port: at.port(),
            key,
        }
    };
    let key = |url: &Url| url.key.as_ref().map(ToString::to_string);
    let mut all = vec![of("stratum-v2", "stratum2+tcp", listen, key(url))];
    if settings.security.draft2022 {
        all.push(of("stratum-v2-draft2022", "stratum2+tcp", listen, key(draft2022)));
    }
    if lines {
        all.push(of("stratum-v1", "stratum+tcp", listen, None));
    }
    if let Some(at) = tls {
        all.push(of("stratum-v1-tls", "stratum+ssl", at, None));
    }
    all
}

fn picture(
    settings: &Settings,
    clock: &Clock,
    url: &Url,
    listen: SocketAddr,
    endpoints: Vec<status::Endpoint>,
) -> Status {
    let now = clock.now().0;
    Status {
        version: env!("CARGO_PKG_VERSION"),
        taken_at_us: now,
        started_at_us: now,
        pool: status::PoolStatus {
            url: url.to_string(),
            key: url.key.as_ref().map(ToString::to_string).unwrap_or_default(),
            listen: listen.to_string(),
            endpoints,
            ..status::PoolStatus::default()
        },
        node: status::NodeStatus {
            spec: match settings.nodeless {
                true => "none".into(),
                false => settings.node.to_string(),
            },
            network: settings.network.to_core_arg().to_owned(),
            ..status::NodeStatus::default()
        },
        ..Status::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// REQ-TDP-007, REQ-TDP-008: the room that is asked for is what our output takes, byte and signature operation.
    #[test]
    fn the_constraints_are_those_of_the_payout() {
        let room = |payout: &str| {
            let settings = Settings::with(&[("payout.address", payout)]).unwrap();
            let room = constraints(&settings);
            (room.max_additional_size, room.max_additional_sigops)
        };
        // Value, length and script: 8 + 1 + 34 bytes; nothing to sign in the output itself.
        assert_eq!(
            room("bcrt1qft5p2uhsdcdc3l2ua4ap5qqfg4pjaqlp250x7us7a8qqhrxrxfsqseac85"),
            (43, 0)
        );
        // Pay to a key hash: one OP_CHECKSIG, of cost four.
        let key_hash = "raw(76a914000000000000000000000000000000000000000088ac)";
        assert_eq!(room(key_hash), (34, 4));
    }
}
