//! The role *load*: a load generator against any pool, of Stratum V2 or V1.
//!
//! It opens many connections with one channel each, sends valid shares (each once, each meeting the channel's
//! target), and counts what comes back to the last share. Few single-threaded runtimes own all connections; many shares
//! go out in one write.
//!
//! * With a window (the default), every connection keeps so many shares unanswered: what can the pool take?
//! * With a rate, every connection sends so many shares a second, spread in time: how fast does the pool answer?
//! * With `hold`, nothing is sent: what does an idle connection cost, and when does it hear of a new block?

mod address;
mod connection;
mod listening;
mod report;
mod side;
mod solver;
mod stats;
mod waiting;
mod worker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use adit_net::{Clock, Dialling, Security};
use adit_proto::Time;
use adit_wire::tlv::WorkerName;
use clap::Args;
use tokio::sync::watch;

use crate::device::{Channel, Extensions};
use crate::exit::Exit;
use crate::shutdown::Shutdown;
use stats::Stats;
use worker::{Phase, Progress, Run, Worker};

pub use address::Address;
pub use report::{Latency, Report, TipReport};

/// Shares of one connection under way when nobody says otherwise.
pub const WINDOW_DEFAULT: u32 = 64;

/// Connections of one thread that are opened at the same time when nobody says otherwise.
pub const OPENING_DEFAULT: u32 = 64;

/// Hash rate claimed when nobody says otherwise: so low that a pool gives the easiest target it has, and shares cost
/// the generator little.
pub const CLAIM_DEFAULT: f32 = 1e-3;

/// How long connecting and the handshake may take, each: a pool under test is busy.
const DIAL_TIMEOUT: Duration = Duration::from_secs(20);

/// How often progress is looked at while connections open.
const LOOK: Duration = Duration::from_millis(2);

/// How long opening all connections of a wave may take before the run goes on with those that are open.
const OPEN_ALL_TIMEOUT: Duration = Duration::from_secs(180);

/// Flags of the load generator beside those that every user needs.
#[derive(Clone, Debug, PartialEq, Args)]
pub struct Options {
    /// Shares a second of each connection, spread in time [default: as many as the window allows]
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,
    /// Threads of the generator
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub threads: u32,
    /// Send no shares: hold the connections open and listen
    #[arg(long)]
    pub hold: bool,
    /// Open and close all connections this many times before the run
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    pub churn: u32,
    /// Connections of one thread that are opened at the same time
    #[arg(long, value_name = "N", default_value_t = OPENING_DEFAULT, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub opening: u32,
    /// Milliseconds before measuring starts [default: a fifth of the run, at most 2000]
    #[arg(long, value_name = "MS")]
    pub warm_up_ms: Option<u64>,
    /// Shares that an extended channel finds with one extranonce
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub shares_per_extranonce: u32,
    /// The name to mine under
    #[arg(long, value_name = "NAME", default_value = "adit.load")]
    pub user: String,
    /// Name to append to every share of an extended channel, where the pool agrees to extension 0x0002
    #[arg(long, value_name = "NAME", value_parser = worker_name)]
    pub worker: Option<WorkerName>,
    /// Hash rate to claim, in hashes a second: the lower, the easier the shares
    #[arg(long, value_name = "H", default_value_t = CLAIM_DEFAULT)]
    pub claim: f32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rate: None,
            threads: 1,
            hold: false,
            churn: 0,
            opening: OPENING_DEFAULT,
            warm_up_ms: None,
            shares_per_extranonce: 1,
            user: "adit.load".to_owned(),
            worker: None,
            claim: CLAIM_DEFAULT,
        }
    }
}

/// What the load generator shall do.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The pool.
    pub upstream: Address,
    /// How it is dialled.
    pub dialling: Dialling,
    /// Connections to open, each with one channel.
    pub connections: usize,
    /// How long shares are sent, warm-up included.
    pub duration: Duration,
    /// The part of it that is not measured: the start burst says nothing about steady state.
    pub warm_up: Duration,
    /// Kind of channel.
    pub channel: Channel,
    /// Shares of one connection that may wait for their answer.
    pub window: u32,
    /// Shares a second of each connection; none: as many as the window allows.
    pub rate: Option<f64>,
    /// Threads, each with its share of the connections.
    pub threads: usize,
    /// Send nothing.
    pub hold: bool,
    /// Waves of opening and closing all connections before the run.
    pub churn: u32,
    /// Connections of one thread that are opened at the same time.
    pub opening: usize,
    /// Shares that an extended channel finds with one extranonce.
    pub shares_per_extranonce: u32,
    /// Whom the pool shall pay.
    pub user: String,
    /// What is asked for beyond the protocol itself.
    pub extensions: Extensions,
    /// Hash rate to claim, in hashes a second.
    pub hash_rate: f32,
}

fn worker_name(name: &str) -> Result<WorkerName, String> {
    WorkerName::new(name).map_err(|error| error.to_string())
}

impl Settings {
    /// Settings from the command line.
    ///
    /// # Errors
    /// When a number makes no sense.
    pub fn new(
        upstream: Address,
        connections: u32,
        seconds: u64,
        channel: Channel,
        window: Option<u32>,
        options: &Options,
    ) -> Result<Self, Exit> {
        if options.rate.is_some_and(|rate| !(rate > 0.0 && rate <= 1e6)) {
            return Err(Exit::usage("--rate is not a number of shares a second")
                .help("give a number above 0 and up to 1000000"));
        }
        if !(options.claim.is_finite() && options.claim > 0.0) {
            return Err(
                Exit::usage("--claim is not a hash rate").help("give a number of hashes a second above 0")
            );
        }
        let duration = Duration::from_secs(seconds);
        let warm_up = match options.warm_up_ms {
            Some(ms) => Duration::from_millis(ms),
            None => (duration / 5).min(Duration::from_secs(2)),
        };
        if warm_up >= duration {
            return Err(Exit::usage("the warm-up is as long as the run").help("give a smaller --warm-up-ms"));
        }
        Ok(Self {
            upstream,
            dialling: Dialling {
                timeout: DIAL_TIMEOUT,
                ..Dialling::default()
            },
            connections: connections as usize,
            duration,
            warm_up,
            channel,
            window: window.unwrap_or(WINDOW_DEFAULT).max(1),
            rate: options.rate,
            threads: (options.threads as usize).clamp(1, connections.max(1) as usize),
            hold: options.hold,
            churn: options.churn,
            opening: options.opening as usize,
            shares_per_extranonce: options.shares_per_extranonce,
            user: options.user.clone(),
            extensions: Extensions {
                worker: options.worker,
                ..Extensions::default()
            },
            hash_rate: options.claim,
        })
    }

    fn interval(&self) -> Option<Duration> {
        self.rate.map(|rate| Duration::from_secs_f64(1.0 / rate))
    }
}

/// Loads the pool and says what came of it. Ends by itself, or earlier with `shutdown`. Says on stderr when all
/// connections are open, for whoever wants to do something to the pool then.
///
/// # Errors
/// When the pool cannot be found, or no connection could be opened.
pub async fn run(settings: Settings, mut shutdown: Shutdown) -> Result<Report, Exit> {
    if !settings.upstream.lines {
        Security::of(&settings.upstream.url, &settings.dialling)
            .map_err(|error| Exit::usage(error.to_string()))?;
    }
    let addr = resolve(&settings.upstream.url).await?;
    let clock = Clock::system();
    let (phase, watch) = watch::channel(Phase::Wait);
    let mut conductor = Conductor {
        settings: &settings,
        clock: clock.clone(),
        phase,
        progress: Arc::default(),
    };
    let threads = conductor.spawn(addr, &watch)?;
    drop(watch);
    let opened = tokio::select! {
        opened = conductor.conduct() => opened,
        () = shutdown.requested() => Opened::default(),
    };
    let threads = collect(threads);
    tokio::pin!(threads);
    let stats = tokio::select! {
        stats = &mut threads => stats?,
        () = shutdown.requested() => {
            conductor.phase.send_replace(Phase::End);
            threads.await?
        }
    };
    if stats.opened == 0 {
        let why = stats.errors.keys().next().cloned().unwrap_or_default();
        return Err(Exit::failed(format!("no connection could be opened: {why}"))
            .help("check the URL and that the pool is running"));
    }
    Ok(Report::new(&settings, &opened, stats))
}

/// Finds the address once for all connections.
async fn resolve(url: &adit_net::Url) -> Result<SocketAddr, Exit> {
    let mut found = tokio::net::lookup_host((url.host.as_str(), url.port))
        .await
        .map_err(|error| Exit::failed(format!("cannot find {}: {error}", url.host)))?;
    found
        .next()
        .ok_or_else(|| Exit::failed(format!("{} has no address", url.host)))
}

/// How opening went.
#[derive(Clone, Copy, Debug, Default)]
struct Opened {
    /// Connections of the last wave that are open or have failed.
    settled: u64,
    took: Duration,
    run: Option<Run>,
}

type Threads = Vec<std::thread::JoinHandle<std::io::Result<Stats>>>;

struct Conductor<'a> {
    settings: &'a Settings,
    clock: Clock,
    phase: watch::Sender<Phase>,
    progress: Arc<Progress>,
}

impl Conductor<'_> {
    fn spawn(&self, addr: SocketAddr, phase: &watch::Receiver<Phase>) -> Result<Threads, Exit> {
        let (threads, connections) = (self.settings.threads, self.settings.connections);
        (0..threads)
            .map(|number| {
                let worker = Worker {
                    settings: self.settings.clone(),
                    addr,
                    range: connections * number / threads..connections * (number + 1) / threads,
                    clock: self.clock.clone(),
                    phase: phase.clone(),
                    progress: Arc::clone(&self.progress),
                };
                let thread = std::thread::Builder::new().name(format!("load-{number}"));
                thread
                    .spawn(move || worker.run())
                    .map_err(|error| Exit::failed(format!("cannot start thread {number}: {error}")))
            })
            .collect()
    }

    /// Waves first, then the run that counts.
    async fn conduct(&mut self) -> Opened {
        for wave in 0..self.settings.churn {
            let opened = self.open(wave).await;
            eprintln!(
                "wave {}: {} connections in {} ms",
                wave + 1,
                opened.settled,
                opened.took.as_millis()
            );
            self.progress.closed.store(0, Ordering::Relaxed);
            self.phase.send_replace(Phase::Close(wave));
            while self.progress.closed.load(Ordering::Relaxed) < self.settings.threads as u64 {
                tokio::time::sleep(LOOK).await;
            }
        }
        let mut opened = self.open(self.settings.churn).await;
        eprintln!(
            "ready: {} connections in {} ms",
            opened.settled,
            opened.took.as_millis()
        );
        let start = self.clock.now();
        let run = Run {
            start,
            measure_from: start + self.settings.warm_up,
            stop: start + self.settings.duration,
        };
        self.phase.send_replace(Phase::Run(run));
        opened.run = Some(run);
        opened
    }

    async fn open(&self, wave: u32) -> Opened {
        let start = self.clock.now();
        self.progress.settled.store(0, Ordering::Relaxed);
        self.phase.send_replace(Phase::Open(wave));
        let settled = || self.progress.settled.load(Ordering::Relaxed);
        let took = || self.clock.now() - start;
        while settled() < self.settings.connections as u64 && took() < OPEN_ALL_TIMEOUT {
            tokio::time::sleep(LOOK).await;
        }
        Opened {
            settled: settled(),
            took: took(),
            run: None,
        }
    }
}

/// Waits for the threads, off the runtime.
async fn collect(threads: Threads) -> Result<Stats, Exit> {
    let joined = tokio::task::spawn_blocking(move || {
        let mut sum = Stats::new();
        for thread in threads {
            match thread.join() {
                Ok(Ok(stats)) => sum.add(stats),
                Ok(Err(error)) => return Err(Exit::failed(format!("a thread failed: {error}"))),
                Err(_) => return Err(Exit::failed("a thread panicked")),
            }
        }
        Ok(sum)
    });
    joined
        .await
        .map_err(|error| Exit::failed(format!("the threads could not be waited for: {error}")))?
}

/// Microseconds since the Unix epoch.
const fn unix_us(time: Time) -> u64 {
    time.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(options: &Options) -> Result<Settings, Exit> {
        let url = "stratum2+tcp://127.0.0.1:3333".parse().unwrap();
        Settings::new(url, 10, 4, Channel::Standard, None, options)
    }

    #[test]
    fn defaults_measure_after_the_start_burst() {
        let it = settings(&Options::default()).unwrap();
        assert_eq!(
            (it.warm_up, it.window, it.threads),
            (Duration::from_millis(800), 64, 1)
        );
        let rate = settings(&Options {
            rate: Some(200.0),
            ..Options::default()
        })
        .unwrap();
        assert_eq!(rate.interval(), Some(Duration::from_millis(5)));
    }

    #[test]
    fn nonsense_is_refused() {
        for options in [
            Options {
                rate: Some(0.0),
                ..Options::default()
            },
            Options {
                rate: Some(f64::NAN),
                ..Options::default()
            },
            Options {
                claim: f32::INFINITY,
                ..Options::default()
            },
            Options {
                warm_up_ms: Some(4_000),
                ..Options::default()
            },
        ] {
            assert!(settings(&options).is_err(), "{options:?}");
        }
    }
}
