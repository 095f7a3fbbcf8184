//! The role *device*: a CPU miner for standard and extended channels.
//!
//! Threads hash; one task speaks with the pool. Work goes to the threads over a board that they look at
//! some thousand times a second; shares come back in batches through a bounded channel. A lost
//! connection is made again for ever, with jittered back-off.

mod board;
pub mod hash;
mod lanes;
mod live;
mod miner;
mod session;
pub mod space;
pub mod upstream;

use std::sync::Arc;

use adit_net::drive::Bounds;
use adit_net::{Backoff, Clock, DialError, Dialling, End, Url, dial_with, drive};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::exit::Exit;
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
    /// Milliseconds from start to end.
    pub elapsed_ms: u64,
}

/// Mines until `shutdown` or until enough shares are accepted. `live` can be read all the while.
///
/// # Errors
/// When the URL needs a key and has none, or threads cannot be started. A pool that is away or says no is tried again
/// for ever.
pub async fn run(settings: Settings, live: Arc<Live>, mut shutdown: Shutdown) -> Result<Report, Exit> {
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
    let mut device = Connecting {
        settings: &settings,
        live: &live,
        miners: &miners,
        clock: &clock,
        hash_rate: hash_rate as f32,
    };
    let result = tokio::select! {
        result = device.mine(&mut batches) => result,
        () = shutdown.requested() => Ok(()),
    };
    live.disconnect();
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
    settings: &'a Settings,
    live: &'a Live,
    miners: &'a Miners,
    clock: &'a Clock,
    hash_rate: f32,
}

impl Connecting<'_> {
    /// Connects for ever; returns when there is nothing left to do.
    async fn mine(&mut self, batches: &mut mpsc::Receiver<Batch>) -> Result<(), Exit> {
        let mut backoff = Backoff::default();
        let mut url = self.settings.upstream.clone();
        for epoch in 0.. {
            let (next, fruitful) = self.connection(&url, epoch, batches).await?;
            self.live.disconnect();
            self.miners.board.put(None);
            if fruitful {
                backoff.reset();
            }
            url = match next {
                Next::Done => return Ok(()),
                Next::Move { host, port } => moved(&url, host, port),
                // A place that we were sent to and that does not answer is left for the configured one.
                Next::Again => self.settings.upstream.clone(),
            };
            tokio::time::sleep(backoff.next_wait()).await;
        }
        Ok(())
    }

    /// One connection from dialling to its end; also says whether it earned anything.
    async fn connection(
        &self,
        url: &Url,
        epoch: u64,
        batches: &mut mpsc::Receiver<Batch>,
    ) -> Result<(Next, bool), Exit> {
        let mut link = match dial_with(url, self.clock, &self.settings.dialling).await {
            Ok(link) => link,
            Err(error @ DialError::NoKey { .. }) if *url == self.settings.upstream => {
                return Err(Exit::usage(error.to_string()));
            }
            Err(error) => {
                tracing::warn!(%url, %error, "no connection; trying again");
                return Ok((Next::Again, false));
            }
        };
        tracing::info!(%url, suite = %link.suite(), "connected");
        let board = &*self.miners.board;
        let mut session = Session::new(
            url,
            self.settings,
            self.live,
            board,
            batches,
            epoch,
            self.hash_rate,
        );
        let end = drive(&mut link, &mut session, self.clock, Bounds::default()).await;
        match &end {
            End::Finished => {}
            end => tracing::warn!(%url, %end, "connection lost"),
        }
        Ok((session.next.unwrap_or(Next::Again), session.accepted > 0))
    }
}

/// The URL after a Reconnect: what it does not name stays, the key always does (REQ-COM-033, REQ-COM-036).
fn moved(url: &Url, host: Option<String>, port: Option<u16>) -> Url {
    let host = host.unwrap_or_else(|| url.host.clone());
    Url {
        host,
        port: port.unwrap_or(url.port),
        key: url.key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// REQ-COM-033, REQ-COM-036.
    #[test]
    fn a_move_keeps_what_it_does_not_name() {
        let url: Url = "stratum2+tcp://127.0.0.1:3333".parse().unwrap();
        let to = |host: Option<&str>, port| moved(&url, host.map(str::to_owned), port).to_string();
        assert_eq!(to(None, None), url.to_string());
        assert_eq!(to(Some("b"), None), "stratum2+tcp://b:3333");
        assert_eq!(to(None, Some(5)), "stratum2+tcp://127.0.0.1:5");
        assert_eq!(to(Some("b"), Some(5)), "stratum2+tcp://b:5");
    }
}
