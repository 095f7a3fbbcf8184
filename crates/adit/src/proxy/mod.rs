//! The Mining Proxy: our miners, however many and of whatever kind, on somebody else's pools.
//!
//! ```text
//!   upstreams ──► uplink::Lines ──► hub (supervisor, split, relay) ──► orders ──► pool::Hub ──► everybody below
//!       ▲                              │  ▲                                                   │
//!       └──────────── shares ──────────┘  └───────────────── accepted shares ◄────────────────┘
//! ```
//!
//! It aggregates: all miners share one extended channel of each upstream in use. With a distributor (`upstream.jobs`) they mine
//! its jobs over the channel of the upstream that these are for, and the upstream's own whenever there is none. Below it is a pool in every respect
//! ([`crate::pool::branch`]), with its own journal, so that a farm has exact accounts of its own devices.

mod distributed;
mod health;
mod hub;
mod relay;
mod room;
pub mod split;
pub mod transparent;
pub mod welcome;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adit_net::{Clock, TlsDialling};
use adit_proto::extranonce::{BRANCH_BYTES_MIN, FULL_SIZE_MAX, Layout};
use tokio::sync::{mpsc, watch};

use crate::config::Settings;
use crate::exit::Exit;
use crate::observe::{Status, Uplink};
use crate::pool::branch::{Branch, Orders};
use crate::pool::{self, Pool};
use crate::shutdown::Shutdown;
use crate::uplink::{
    BRANCH_BYTES, FAREWELL, Lines, Speech, Upstream, lines, mining, quiet, stratum_v1, supervisor,
};
use distributed::Distributed;
use hub::Hub;

/// How a proxy works, for people.
const MODE: &str = "aggregate";
/// Batches of accepted shares that may wait.
const MINED_MAX: usize = 1024;

/// How patient a proxy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// With upstreams that come and go.
    pub upstreams: supervisor::Settings,
    /// With upstreams that say nothing.
    pub quiet: quiet::Patience,
    /// Time between two deals, where upstreams share the work.
    pub slice: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            upstreams: supervisor::Settings::default(),
            quiet: quiet::Patience::default(),
            slice: split::SLICE,
        }
    }
}

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    pool: Pool,
    task: tokio::task::JoinHandle<()>,
    picture: watch::Receiver<Uplink>,
}

impl Proxy {
    /// Opens the data folder and serves from then on; upstreams are connected meanwhile, for ever.
    ///
    /// # Errors
    /// As [`Pool::start`], and when there is no upstream. Upstreams that are away are no such thing.
    pub async fn start(settings: &Settings, patience: Patience) -> Result<Self, Exit> {
        let upstreams = settings.upstream.pools.list().to_vec();
        if upstreams.is_empty() {
            return Err(Exit::usage("there is no upstream to mine on")
                .help("give a pool: --upstream stratum2+tcp://HOST:PORT/KEY, or stratum+tcp://HOST:PORT"));
        }
        if settings.upstream.jobs.0.is_some() && !upstreams.iter().any(|it| it.speech == Speech::StratumV2) {
            return Err(Exit::usage("no upstream takes jobs of a distributor (--jobs, upstream.jobs)")
                .help("Stratum V1 knows no jobs of a miner's own: give the pool's URL of Stratum V2, stratum2+tcp://"));
        }
        let clock = Clock::system();
        let mut lines = lines_settings(settings, &upstreams, patience)?;
        let branch_bytes = branch_bytes(settings, &upstreams, &lines, &clock).await?;
        lines.mining.extranonce_min = u16::try_from(branch_bytes).unwrap_or(u16::MAX);
        let layout = Layout::branch(branch_bytes)
            .ok_or_else(|| Exit::failed("an extranonce of this size cannot be shared out"))?;
        let (orders, orders_rx) = watch::channel(Orders::Wait);
        let (mined, mined_rx) = mpsc::channel(MINED_MAX);
        let (picture, picture_rx) = watch::channel(Uplink {
            mode: MODE,
            ..Uplink::default()
        });
        let branch = Branch {
            layout,
            orders: orders_rx,
            mined,
            events: None,
            picture: Some(picture_rx.clone()),
            distribution: None,
        };
        let pool = Pool::start_branch(settings, false, branch).await?;
        let distributed = upstreams.iter().map(|it| distributed(settings, it, &clock));
        let distributed = distributed.collect();
        let (lines, reports) = Lines::new(upstreams, lines, clock.clone());
        let hub = Hub::new(
            clock,
            lines,
            distributed,
            patience,
            (layout, branch_bytes),
            !settings.nodeless,
            (orders, pool.status(), picture),
        );
        let task = tokio::spawn(hub.run(reports, mined_rx));
        Ok(Self {
            pool,
            task,
            picture: picture_rx,
        })
    }

    /// The side of the miners.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The side of the upstreams.
    #[must_use]
    pub fn picture(&self) -> watch::Receiver<Uplink> {
        self.picture.clone()
    }

    /// Stops in order.
    ///
    /// # Errors
    /// As [`Pool::stop`].
    pub async fn stop(self) -> Result<Arc<Status>, Exit> {
        let last = self.pool.stop().await;
        ended(self.task).await;
        last
    }
}

/// Waits for what faces the upstreams: it ends of itself when the pool has, with the answers to the last shares.
async fn ended(mut task: tokio::task::JoinHandle<()>) {
    // A pool that broke may have left a part that holds the other end.
    if tokio::time::timeout(2 * FAREWELL, &mut task).await.is_err() {
        task.abort();
    }
}

/// Runs a proxy until `shutdown`, or until `drain` or a caller at the control socket wants it drained.
///
/// # Errors
/// As [`Proxy::start`] and [`Proxy::stop`].
pub async fn run(
    settings: &Settings,
    drain: Shutdown,
    shutdown: Shutdown,
    started: impl FnOnce(&Proxy),
) -> Result<Arc<Status>, Exit> {
    // Before anybody can know that it runs.
    let hangups = tokio::spawn(pool::survive_hangups()?);
    let proxy = Proxy::start(settings, Patience::default()).await?;
    started(&proxy);
    let Proxy { pool, task, .. } = proxy;
    let last = pool::serve(pool, settings, drain, shutdown).await;
    ended(task).await;
    hangups.abort();
    last
}

/// Where jobs come from that others have negotiated with this upstream, if they do.
fn distributed(settings: &Settings, upstream: &Upstream, clock: &Clock) -> Option<Distributed> {
    let distributor = settings.upstream.jobs.0.clone()?;
    let user = upstream.user.as_ref().unwrap_or(&settings.upstream.user);
    let distributed = Distributed::new(distributor, user.clone(), settings.dialling(), clock.clone());
    (upstream.speech == Speech::StratumV2).then_some(distributed)
}

fn lines_settings(
    settings: &Settings,
    upstreams: &[Upstream],
    patience: Patience,
) -> Result<lines::Settings, Exit> {
    let upstream = &settings.upstream;
    let tls = upstreams.iter().any(|it| it.speech == Speech::StratumV1Tls);
    let trusted = (!upstream.tls_trusted.is_empty()).then(|| Path::new(&upstream.tls_trusted));
    let tls = tls.then(|| TlsDialling::new(trusted)).transpose();
    Ok(lines::Settings {
        dialling: settings.dialling(),
        mining: mining::Settings {
            user: upstream.user.clone(),
            hash_rate: upstream.hash_rate as f32,
            extranonce_min: BRANCH_BYTES as u16,
            work_selection: upstream.jobs.0.is_some(),
            selection_optional: true,
            worker_names: true,
            answer_timeout: patience.upstreams.connect_timeout,
        },
        stratum_v1: stratum_v1::Settings {
            tls: tls.map_err(|error| {
                Exit::usage(format!("upstream.tls_trusted: {error}"))
                    .help("give a PEM file with the certificate that the pool shows, or none for the usual authorities")
            })?,
            reconnect_to: upstream.reconnect_hosts.list().to_vec(),
        },
        quiet: patience.quiet,
        declare: None,
    })
}

async fn branch_bytes(
    settings: &Settings,
    upstreams: &[Upstream],
    lines: &lines::Settings,
    clock: &Clock,
) -> Result<usize, Exit> {
    match settings.upstream.extranonce_bytes as usize {
        0 => Ok(room::left(upstreams, lines, clock).await),
        bytes if (BRANCH_BYTES_MIN..=FULL_SIZE_MAX).contains(&bytes) => Ok(bytes),
        bytes => Err(Exit::usage(format!(
            "upstream.extranonce_bytes = {bytes} is not enough to keep devices apart"
        ))
        .help("give 0, or a number from 4 to 32")),
    }
}
