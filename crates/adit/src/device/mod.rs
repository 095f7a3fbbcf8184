//! The role *device*: a CPU miner for standard and extended channels.
//!
//! Threads hash; one task speaks with the pool. Work goes to the threads over a board that they look at
//! some thousand times a second; shares come back in batches through a bounded channel. A lost
//! connection is made again for ever, with jittered back-off; a Reconnect is followed within the same authority.

mod board;
pub mod hash;
mod lanes;
mod live;
mod miner;
mod session;
pub mod space;
pub mod upstream;

use std::sync::Arc;
use std::time::Duration;

use adit_net::drive::Bounds;
use adit_net::{Clock, DialError, Dialling, End, Itinerary, Url, dial_with, drive};
use adit_proto::Time;
use adit_proto::extension::{Patience, Wishes};
use adit_wire::Str0_255;
use adit_wire::extension::{NEGOTIATION, TABLE, WORKER_HASH_RATE};
use adit_wire::tlv::WorkerName;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::config;
use crate::exit::Exit;
use crate::receiver::{Following, Slot};
use crate::shutdown::Shutdown;
use miner::{BATCHES_MAX, Batch, Miners};
use session::{Next, Session};

pub use live::Live;
pub use miner::measure_hash_rate;

/// Extranonce bytes a device wants to roll: with 2^32 nonces each, enough for any number of threads.
pub(crate) const EXTRANONCE_BYTES_MIN: u16 = 4;

/// Kind of channel that is mined (spec 5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Channel {
    /// Header-only mining.
    #[default]
    Standard,
    /// The extranonce is rolled here.
    Extended,
}

/// What a device needs to know, all of it right.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The pool.
    pub upstream: Url,
    /// Whom the pool shall pay, in its own terms.
    pub user: String,
    /// Threads that hash; 0 counts as 1.
    pub threads: usize,
    /// Kind of channel.
    pub channel: Channel,
    /// Ends when this many shares are accepted.
    pub until_shares: Option<u64>,
    /// How the pool is dialled.
    pub dialling: Dialling,
    /// Hashes a second to tell the pool; measured if not given.
    pub hash_rate: Option<f64>,
    /// What is asked for beyond the protocol itself.
    pub extensions: Extensions,
}

/// Extensions as a client wants them (spec 3.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// Ids to ask for; 0x0002 is one of them wherever there is a `worker`.
    pub wanted: Vec<u16>,
    /// Ids without which a server is left.
    pub required: Vec<u16>,
    /// Our own name behind an extended channel (extension 0x0002).
    pub worker: Option<WorkerName>,
}

impl Extensions {
    /// As configured.
    #[must_use]
    pub fn of(settings: &config::Settings) -> Self {
        let worker = &settings.device.worker;
        Self {
            wanted: settings.extensions.wanted.ids().to_vec(),
            required: settings.extensions.required.ids().to_vec(),
            // The configuration has checked its length.
            worker: (!worker.is_empty())
                .then(|| WorkerName::new(worker).ok())
                .flatten(),
        }
    }

    /// What to ask for on a connection that took `connect` to make.
    pub(crate) fn wishes(&self, connect: Duration, patience: &Patience) -> Wishes {
        let Some(answer_timeout) = patience.answer_timeout(connect, !self.required.is_empty()) else {
            return Wishes::default();
        };
        let mut wanted = self.wanted.clone();
        wanted.extend(self.worker.map(|_| WORKER_HASH_RATE));
        let implemented = TABLE.iter().filter(|row| row.implemented).map(|row| row.id);
        let listed = self.wanted.iter().chain(&self.required).copied();
        Wishes {
            wanted,
            required: self.required.clone(),
            able: implemented
                .filter(|id| *id != NEGOTIATION)
                .chain(listed)
                .collect(),
            answer_timeout,
        }
    }
}

/// What a device did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Shares that the pool accepted.
    pub shares_accepted: u64,
    /// Shares that the pool refused.
    pub shares_rejected: u64,
    /// Hashes a second, on average.
    pub hash_rate: f64,
    /// The pool.
    pub upstream: String,
    /// Longest time without work between two connections, in milliseconds.
    pub away_longest_ms: u64,
    /// Milliseconds from start to end.
    pub elapsed_ms: u64,
}

/// Mines until `shutdown` or until enough shares are accepted. `live` can be read all the while.
///
/// # Errors
/// When the URL needs a key and has none, or threads cannot be started. A pool that is away or says no is tried again
/// for ever.
pub async fn run(settings: Settings, live: Arc<Live>, shutdown: Shutdown) -> Result<Report, Exit> {
    run_with(settings, None, live, shutdown).await
}

/// As [`run`], mining the jobs of a distributor (docs/job-distribution.md) over our own extended channel at the pool, and the
/// pool's own jobs whenever there are none.
///
/// # Errors
/// As [`run`], and when the channel is a standard one.
pub async fn run_with(
    settings: Settings,
    distributor: Option<Url>,
    live: Arc<Live>,
    mut shutdown: Shutdown,
) -> Result<Report, Exit> {
    if distributor.is_some() && settings.channel == Channel::Standard {
        return Err(Exit::usage("distributed jobs need an extended channel").help("add --channel extended"));
    }
    let clock = Clock::system();
    let threads = settings.threads.max(1);
    let hash_rate = match settings.hash_rate {
        Some(rate) => rate,
        None => calibrate(threads, &clock).await,
    };
    tracing::info!(
        threads,
        hash_rate = format_args!("{hash_rate:.0}"),
        "device ready"
    );
    let (found, mut batches) = mpsc::channel(BATCHES_MAX);
    let start = clock.now();
    let miners = Miners::start(threads, &clock, live.hash_counter(), &found)
        .map_err(|error| Exit::failed(format!("cannot start {threads} threads: {error}")))?;
    let slot = distributor.as_ref().map(|_| Arc::new(Slot::default()));
    let _following = distributor.zip(slot.clone()).map(|(distributor, slot)| {
        let (pool, user) = (settings.upstream.clone(), settings.user.clone());
        let dialling = settings.dialling;
        Following::start(distributor, pool, user, dialling, clock.clone(), slot)
    });
    let mut device = Connecting {
        jobs: slot,
        settings: &settings,
        live: &live,
        miners: &miners,
        clock: &clock,
        hash_rate: hash_rate as f32,
        way: Itinerary::new(settings.upstream.clone()),
        patience: Patience::default(),
    };
    let result = tokio::select! {
        result = device.mine(&mut batches) => result,
        () = shutdown.requested() => Ok(()),
    };
    live.disconnect(clock.now());
    // Threads may be waiting for room in the channel: it must be gone before they are waited for.
    drop(batches);
    drop(miners);
    result?;
    let elapsed = clock.now() - start;
    Ok(Report {
        shares_accepted: live.accepted(),
        shares_rejected: live.rejected(),
        hash_rate: live.hashes() as f64 / elapsed.as_secs_f64().max(1e-3),
        upstream: settings.upstream.to_string(),
        away_longest_ms: u64::try_from(live.away_longest().as_millis()).unwrap_or(u64::MAX),
        elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
    })
}

/// Measures beside the runtime, not on it: other tasks of this process go on.
async fn calibrate(threads: usize, clock: &Clock) -> f64 {
    let clock = clock.clone();
    let measured = tokio::task::spawn_blocking(move || miner::measure(threads, &clock)).await;
    measured.unwrap_or(0.0)
}

struct Connecting<'a> {
    jobs: Option<Arc<Slot>>,
    settings: &'a Settings,
    live: &'a Live,
    miners: &'a Miners,
    clock: &'a Clock,
    hash_rate: f32,
    way: Itinerary,
    patience: Patience,
}

impl Connecting<'_> {
    /// Connects for ever; returns when there is nothing left to do.
    async fn mine(&mut self, batches: &mut mpsc::Receiver<Batch>) -> Result<(), Exit> {
        for epoch in 0.. {
            let (next, fruitful) = self.connection(epoch, batches).await?;
            let now = self.clock.now();
            self.live.disconnect(now);
            self.miners.board.put(None);
            let wait = match next {
                Next::Done => return Ok(()),
                Next::Move { host, port } => self.follow(now, host.as_ref(), port),
                Next::Again => self.way.lost(now, fruitful),
            };
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// Follows a Reconnect, within the same authority (REQ-COM-036).
    fn follow(&mut self, now: Time, host: Option<&Str0_255>, port: Option<u16>) -> Duration {
        let from = self.way.url().clone();
        let (wait, stay) = self.way.moved(now, host.map(|host| host.as_bytes()), port);
        match stay {
            None => tracing::info!(%from, to = %self.way.url(), "moved by the server"),
            Some(why) => tracing::warn!(%from, %why, "a Reconnect is not followed"),
        }
        if *self.way.url() != from {
            self.patience.reset();
        }
        wait
    }

    /// One connection from dialling to its end; also says whether it earned anything.
    async fn connection(
        &mut self,
        epoch: u64,
        batches: &mut mpsc::Receiver<Batch>,
    ) -> Result<(Next, bool), Exit> {
        let url = self.way.url().clone();
        let start = self.clock.now();
        let mut link = match dial_with(&url, self.clock, &self.settings.dialling).await {
            Ok(link) => link,
            Err(error @ DialError::NoKey { .. }) if self.way.is_home() => {
                return Err(Exit::usage(error.to_string()));
            }
            Err(error) => {
                tracing::warn!(%url, %error, "no connection; trying again");
                return Ok((Next::Again, false));
            }
        };
        tracing::info!(%url, suite = %link.suite(), "connected");
        let connect = self.clock.now() - start;
        let wishes = self.settings.extensions.wishes(connect, &self.patience);
        let board = &*self.miners.board;
        let mut session = Session::new(
            &url,
            self.settings,
            self.live,
            board,
            batches,
            epoch,
            self.hash_rate,
            wishes,
            self.jobs.clone(),
        );
        let end = drive(&mut link, &mut session, self.clock, Bounds::default()).await;
        match &end {
            End::Finished => {}
            end => tracing::warn!(%url, %end, "connection lost"),
        }
        if session.silent() {
            self.patience.silent();
        }
        Ok((session.next.unwrap_or(Next::Again), session.accepted > 0))
    }
}
