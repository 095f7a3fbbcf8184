//! The role *job negotiator*: our own templates on other people's pools (spec 6).
//!
//! ```text
//!   devices, proxies ──► pool below (listener, workers, ledger, page) ──► own node
//!                            ▲ orders      │ mined, templates
//!                            └─── desk ◄───┘
//!                                  ▲ │   supervisor: whom to work for
//!                                  │ ▼   negotiation: templates to custom jobs, shares upwards
//!                            upstream's pool and declaration server
//! ```
//!
//! What faces miners is the pool's machinery as it stands. One task, the `desk`, owns everything that faces upstreams.

mod desk;
mod distribution;
pub mod negotiation;
mod room;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_net::{Clock, Url};
use adit_proto::declare::client::{self as declare, Mode};
use adit_proto::extranonce::Layout;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::config::Settings;
use crate::device::upstream::text;
use crate::exit::Exit;
use crate::observe::{Status, Uplink};
use crate::pool::Pool;
use crate::pool::branch::{Branch, Orders};
use crate::pool::distributing::Distribution;
use crate::shutdown::{Shutdown, Stop};
use crate::uplink::{BRANCH_BYTES, Lines, Speech, lines, mining, quiet, stratum_v1, supervisor};
use desk::Desk;
use distribution::Distributor;

/// Batches of shares that may wait for the desk.
const MINED_MAX: usize = 4096;
/// Events of the node that may wait for the desk.
const EVENTS_MAX: usize = 256;
/// Blocks of receivers that may wait for the desk.
const SOLUTIONS_MAX: usize = 64;
/// How long a pool may take to answer about a custom job (spec 5.3.19).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A running negotiator. Dropping it stops it without waiting; [`Negotiator::stop`] stops it in order.
#[derive(Debug)]
pub struct Negotiator {
    pool: Pool,
    picture: watch::Receiver<Uplink>,
    stop: Stop,
    desk: JoinHandle<()>,
}

impl Negotiator {
    /// Starts it: miners may connect at once. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Whatever keeps a pool from starting, or when there is no upstream. Upstreams that are away are no such thing.
    pub async fn start(settings: &Settings, or_free_port: bool) -> Result<Self, Exit> {
        let upstreams = settings.upstream.pools.list().to_vec();
        if upstreams.is_empty() {
            return Err(Exit::usage("there is no upstream to negotiate with")
                .help("give a pool: --upstream stratum2+tcp://HOST:PORT/KEY, with ,jds=HOST:PORT where it declares elsewhere"));
        }
        if let Some(odd) = upstreams
            .iter()
            .find(|it| it.speech != Speech::StratumV2 || it.weight.is_some() || it.user.is_some())
        {
            return Err(Exit::usage(format!("no jobs can be negotiated with {odd}"))
                .help("Stratum V1 knows no jobs of a miner's own, one job cannot be split, and tokens are for one name \
                       (--user): take adit proxy for such upstreams"));
        }
        let layout = Layout::branch(BRANCH_BYTES)
            .ok_or_else(|| Exit::failed("the extranonce cannot be shared out"))?;
        let (orders, orders_rx) = watch::channel(Orders::Wait);
        let (mined, mined_rx) = mpsc::channel(MINED_MAX);
        let (picture, picture_rx) = watch::channel(Uplink::default());
        let (events, events_rx) = mpsc::channel(EVENTS_MAX);
        let (states, states_rx) = watch::channel(Arc::default());
        let (solutions, solutions_rx) = mpsc::channel(SOLUTIONS_MAX);
        let branch = Branch {
            layout,
            orders: orders_rx,
            mined,
            events: Some(events),
            picture: Some(picture_rx.clone()),
            distribution: Some(Distribution {
                states: states_rx,
                solutions,
                receivers: settings.negotiator.distribute,
            }),
        };
        let pool = Pool::start_branch(settings, or_free_port, branch).await?;
        let clock = Clock::system();
        let mode = settings.negotiator.mode;
        let (lines, reports) = Lines::new(upstreams, lines_settings(settings, mode), clock.clone());
        let (stop, shutdown) = Shutdown::new();
        let own = crate::pool::constraints(settings);
        let (room, wanted) = watch::channel(own);
        tokio::spawn(room::ask(pool.node().clone(), wanted));
        let keep = settings.negotiator.keep_bp;
        let work = negotiation::Settings {
            mode,
            branch_bytes: BRANCH_BYTES,
            keep: (keep > 0).then(|| negotiation::Keep {
                parts_bp: keep,
                script: settings.payout.script.clone(),
            }),
        };
        let desk = Desk::new(lines, work, orders, (own, room), (pool.status(), picture), clock);
        let desk = desk.distributing(Distributor::new(
            &settings.upstream.user,
            pool.node().clone(),
            states,
        ));
        let desk = tokio::spawn(desk.run(events_rx, mined_rx, (reports, solutions_rx), shutdown));
        Ok(Self {
            pool,
            picture: picture_rx,
            stop,
            desk,
        })
    }

    /// Where devices connect.
    #[must_use]
    pub fn url(&self) -> &Url {
        self.pool.url()
    }

    /// Where else they do, for people: see [`Pool::more_urls`].
    #[must_use]
    pub fn more_urls(&self) -> Vec<String> {
        self.pool.more_urls()
    }

    /// Where the page is, if it is served.
    #[must_use]
    pub fn http(&self) -> Option<SocketAddr> {
        self.pool.http()
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> &adit_node::Handle {
        self.pool.node()
    }

    /// The pool below: miners, shares, blocks.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Arc<Status>> {
        self.pool.status()
    }

    /// What faces upstreams.
    #[must_use]
    pub fn picture(&self) -> watch::Receiver<Uplink> {
        self.picture.clone()
    }

    /// Stops in order; gives the last picture of the pool below.
    ///
    /// # Errors
    /// As [`Pool::stop`].
    pub async fn stop(self) -> Result<Arc<Status>, Exit> {
        let last = self.pool.stop().await;
        self.stop.stop();
        // It ends of itself now; a panic in it was logged.
        let _ = self.desk.await;
        last
    }
}

fn lines_settings(settings: &Settings, mode: Mode) -> lines::Settings {
    let upstream = &settings.upstream;
    lines::Settings {
        dialling: settings.dialling(),
        mining: mining::Settings {
            user: upstream.user.clone(),
            hash_rate: upstream.hash_rate as f32,
            extranonce_min: BRANCH_BYTES as u16,
            work_selection: true,
            selection_optional: false,
            worker_names: false,
            answer_timeout: ANSWER_TIMEOUT,
        },
        stratum_v1: stratum_v1::Settings {
            tls: None,
            reconnect_to: Vec::new(),
        },
        quiet: quiet::Patience::default(),
        declare: Some(declare::Settings {
            mode,
            user_identifier: text(&upstream.user),
            ..declare::Settings::default()
        }),
    }
}

/// How upstreams are chosen.
fn supervisor_settings() -> supervisor::Settings {
    supervisor::Settings::default()
}

/// Runs a negotiator until `shutdown`, or until an operator drains it. `started` is told where it listens.
///
/// # Errors
/// See [`Negotiator::start`] and [`Negotiator::stop`].
pub async fn run(
    settings: &Settings,
    mut shutdown: Shutdown,
    started: impl FnOnce(&Negotiator),
) -> Result<Arc<Status>, Exit> {
    let mut negotiator = Negotiator::start(settings, false).await?;
    started(&negotiator);
    let wish = tokio::select! {
        () = shutdown.requested() => None,
        place = negotiator.pool.drain_wished() => Some(place),
    };
    if let Some(place) = wish {
        negotiator.pool.leave(place, settings, &mut shutdown).await;
    }
    negotiator.stop().await
}
