//! The Mining Proxy: our miners, however many and of whatever kind, on somebody else's pool.
//!
//! ```text
//!   upstreams ──► uplink::Lines ──► Proxy (supervisor, relay) ──► orders ──► pool::Hub ──► everybody below
//!       ▲                              │  ▲                                                   │
//!       └──────────── shares ──────────┘  └───────────────── accepted shares ◄────────────────┘
//! ```
//!
//! It aggregates: all miners share one extended channel of the upstream in use. With a distributor (`upstream.jobs`) they mine
//! its jobs over that channel, and the upstream's own whenever there is none. Below it is a pool in every respect
//! ([`crate::pool::branch`]), with its own journal, so that a farm has exact accounts of its own devices.

mod distributed;
mod relay;
pub mod transparent;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use adit_net::{Clock, Url, random};
use adit_proto::Time;
use adit_proto::extranonce::Layout;
use adit_proto::mining::client::Work;
use tokio::sync::{mpsc, watch};

use crate::config::Settings;
use crate::exit::Exit;
use crate::observe::{Figures, Status, Uplink};
use crate::pool::branch::{Branch, Mined, Orders};
use crate::pool::{self, Pool};
use crate::receiver::Todo;
use crate::shutdown::Shutdown;
use crate::uplink::mining::{self, Channel, Command, Told};
use crate::uplink::supervisor::{self, Choice, Input, Output, Supervisor};
use crate::uplink::{BRANCH_BYTES, Cause, Lines, Report, Said, lines};
use distributed::Distributed;
use relay::{Origin, Relay, Way};

/// How a proxy works, for people.
const MODE: &str = "aggregate";
/// Batches of accepted shares that may wait.
const MINED_MAX: usize = 1024;
/// Between two looks at who mines here, and how fast; an upstream is told of changes at most that often (spec 5.3.7).
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks between two at the hash rate, while nobody comes or goes.
const RATE_LOOKS: u32 = 10;
/// A hash rate is news to the upstream when it changed by this factor.
const RATE_FACTOR: f64 = 1.25;
/// How long an upstream is waited for at the start, before we mine for ourselves.
const SOLO_AFTER: Duration = Duration::from_secs(5);
/// Shares in a row that an upstream refuses until it is left.
const REFUSED_IN_A_ROW_MAX: u32 = 64;

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
    pub async fn start(settings: &Settings, patience: supervisor::Settings) -> Result<Self, Exit> {
        let upstreams = settings.upstream.pools.list().to_vec();
        if upstreams.is_empty() {
            return Err(Exit::usage("there is no upstream to mine on")
                .help("give a pool: --upstream stratum2+tcp://HOST:PORT/KEY"));
        }
        let layout = Layout::branch(BRANCH_BYTES)
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
        let clock = Clock::system();
        let distributor = settings.upstream.jobs.0.clone();
        let lines = lines::Settings {
            dialling: settings.dialling(),
            mining: mining::Settings {
                user: settings.upstream.user.clone(),
                hash_rate: settings.upstream.hash_rate as f32,
                extranonce_min: BRANCH_BYTES as u16,
                work_selection: distributor.is_some(),
                selection_optional: true,
                answer_timeout: patience.connect_timeout,
            },
            declare: None,
        };
        let count = upstreams.len();
        let (lines, reports) = Lines::new(upstreams, lines, clock.clone());
        let distributed = distributor.map(|distributor| {
            let user = settings.upstream.user.clone();
            Distributed::new(distributor, user, settings.dialling(), clock.clone())
        });
        let hub = Hub {
            clock,
            supervisor: Supervisor::new(patience, count),
            works: (0..count).map(|_| None).collect(),
            lines,
            distributed,
            relay: Relay::default(),
            orders,
            solo: !settings.nodeless,
            solo_from: None,
            choice: Choice::Solo,
            refused_in_a_row: vec![0; count],
            claim: Claim::default(),
            looks: 0,
            status: pool.status(),
            picture,
        };
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
        self.task.abort();
        last
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
    let proxy = Proxy::start(settings, supervisor::Settings::default()).await?;
    started(&proxy);
    let Proxy { pool, task, .. } = proxy;
    let last = pool::serve(pool, settings, drain, shutdown).await;
    task.abort();
    hangups.abort();
    last
}

/// Owns what stands between upstreams and the pool below.
struct Hub {
    clock: Clock,
    supervisor: Supervisor,
    lines: Lines,
    /// The newest job of each upstream.
    works: Vec<Option<(Origin, Box<Work>)>>,
    /// Where jobs of a distributor are mined.
    distributed: Option<Distributed>,
    relay: Relay,
    orders: watch::Sender<Orders>,
    solo: bool,
    /// When to begin for ourselves, if no upstream comes before.
    solo_from: Option<Time>,
    choice: Choice,
    refused_in_a_row: Vec<u32>,
    claim: Claim,
    looks: u32,
    status: watch::Receiver<Arc<Status>>,
    picture: watch::Sender<Uplink>,
}

impl Hub {
    async fn run(mut self, mut reports: mpsc::Receiver<Report>, mut mined: mpsc::Receiver<Vec<Mined>>) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        self.decide(Input::Start);
        loop {
            let deadline = self.sleep();
            tokio::select! {
                biased;
                report = reports.recv() => match report {
                    Some(report) => self.report(report),
                    None => return,
                },
                batch = mined.recv() => match batch {
                    Some(batch) => batch.iter().for_each(|mined| self.mined(mined)),
                    // The pool has stopped.
                    None => return,
                },
                () = poll_fn(|cx| poll_distributed(&self.distributed, cx)) => self.distributed(Distributed::look),
                () = deadline => self.expire(),
                _ = look.tick() => self.look(),
            }
        }
    }

    /// Until something is due.
    fn sleep(&self) -> impl Future<Output = ()> + use<> {
        let due = [self.supervisor.deadline(), self.solo_from]
            .into_iter()
            .flatten()
            .min();
        let wait = due.map(|due| due - self.clock.now());
        async move {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        }
    }

    fn expire(&mut self) {
        if self.solo_from.is_some_and(|from| from <= self.clock.now()) {
            self.solo_from = None;
            if self.choice == Choice::Solo {
                tracing::warn!("no upstream: mining for ourselves");
                self.orders.send_replace(Orders::Solo);
            }
        }
        self.decide(Input::Deadline);
    }

    fn decide(&mut self, input: Input) {
        let mut outputs = Vec::new();
        self.supervisor.handle(self.clock.now(), input, &mut outputs);
        for output in outputs {
            match output {
                Output::Connect { upstream } => self.lines.connect(upstream),
                Output::Disconnect { upstream } => {
                    self.lines.disconnect(upstream);
                    self.forget(upstream);
                }
                Output::Use(choice) => self.turn_to(choice),
            }
        }
    }

    fn turn_to(&mut self, choice: Choice) {
        self.choice = choice;
        let place = match choice {
            Choice::Upstream(place) => Some(place),
            Choice::Solo => None,
        };
        let upstream = place.map(|place| self.lines.name(place)).unwrap_or_default();
        tracing::info!(upstream, "mining on");
        self.picture.send_modify(|picture| {
            picture.changes += u64::from(place.is_some());
            picture.place = place;
            picture.upstream = upstream;
        });
        match choice {
            Choice::Upstream(place) => {
                self.solo_from = None;
                self.hand_down(place);
                let line = self.line_of(place);
                self.distributed(|it| it.turn_to(line));
                self.claim = Claim::default();
                self.look();
            }
            // What is mined is mined on for a moment: the next upstream may be a handshake away.
            Choice::Solo => {
                if let Some(distributed) = &mut self.distributed {
                    distributed.turn_to(None);
                }
                self.solo_from = self.solo.then(|| self.clock.now() + SOLO_AFTER);
            }
        }
    }

    /// What a distributor's jobs on this upstream need; nothing where it takes none.
    fn line_of(&self, upstream: usize) -> Option<(Url, Channel, Option<Work>)> {
        let channel = self.lines.facts(upstream)?.channel?;
        let url = self.lines.url(upstream)?.clone();
        let work = self.works.get(upstream)?.as_ref();
        let work = work.map(|(_, work)| Work::clone(work));
        self.lines.selects(upstream).then_some((url, channel, work))
    }

    /// Lets the distributor's part act, and does what it wants.
    fn distributed(&mut self, act: impl FnOnce(&mut Distributed) -> Vec<Todo>) {
        let (Some(distributed), Choice::Upstream(upstream)) = (&mut self.distributed, self.choice) else {
            return;
        };
        for it in act(distributed) {
            match it {
                Todo::Set(message) => {
                    let since = self.clock.now();
                    self.lines.mining(upstream, Command::Custom { message, since });
                }
                Todo::Mine(work) => self.mine(upstream, &work),
            }
        }
    }

    fn forget(&mut self, upstream: usize) {
        if let Some(work) = self.works.get_mut(upstream) {
            *work = None;
        }
    }

    fn report(&mut self, report: Report) {
        let now = self.clock.now();
        let Some(news) = self.lines.note(now, &report) else {
            return;
        };
        let upstream = report.upstream;
        let origin = Origin {
            upstream,
            generation: report.generation,
        };
        if let Said::Mining(told) = report.said {
            let concerns = self.distributed.is_some() && self.choice == Choice::Upstream(upstream);
            let heard = concerns.then(|| told.clone());
            self.told(origin, told);
            if let Some(told) = heard {
                self.distributed(|it| it.told(&told));
            }
        }
        match news {
            Some(lines::News::Ready) => self.decide(Input::Ready { upstream }),
            Some(lines::News::Down(cause)) => self.down(upstream, cause),
            None => {}
        }
    }

    fn down(&mut self, upstream: usize, cause: Cause) {
        self.forget(upstream);
        self.picture
            .send_modify(|picture| *picture.causes.entry(cause).or_default() += 1);
        let dice = u64::from_le_bytes(random::bytes());
        self.decide(Input::Down {
            upstream,
            cause,
            dice,
        });
    }

    fn told(&mut self, origin: Origin, told: Told) {
        match told {
            Told::Work(work) => {
                if let Some(place) = self.works.get_mut(origin.upstream) {
                    *place = Some((origin, work));
                }
                let chosen = self.choice == Choice::Upstream(origin.upstream);
                if chosen && !self.distributed.as_ref().is_some_and(Distributed::is_on) {
                    self.hand_down(origin.upstream);
                }
            }
            Told::SharesAccepted { count } => {
                self.figure(|figures| figures.shares_accepted += u64::from(count));
                if let Some(count) = self.refused_in_a_row.get_mut(origin.upstream) {
                    *count = 0;
                }
            }
            Told::ShareRefused { code, .. } => self.refused(origin, &code.to_string()),
            Told::ShareWithheld(why) => {
                tracing::debug!(?why, "a share was not sent up");
                self.figure(|figures| figures.shares_stale += 1);
            }
            // Facts that `Lines` keeps, and answers about jobs of our own, of which there are none.
            _ => {}
        }
    }

    fn refused(&mut self, origin: Origin, code: &str) {
        tracing::debug!(code, "the upstream refused a share");
        self.figure(|figures| figures.shares_refused += 1);
        let upstream = origin.upstream;
        let Some(count) = self.refused_in_a_row.get_mut(upstream) else {
            return;
        };
        *count += 1;
        if *count >= REFUSED_IN_A_ROW_MAX {
            *count = 0;
            self.lines.disconnect(upstream);
            self.down(upstream, Cause::SharesRefused);
        }
    }

    /// The newest job of an upstream becomes everybody's.
    fn hand_down(&mut self, upstream: usize) {
        let own = self.works.get(upstream).and_then(Option::as_ref);
        if let Some(work) = own.map(|(_, work)| work.clone()) {
            self.mine(upstream, &work);
        }
    }

    /// A job for everybody: the upstream's own, or one that it has taken.
    fn mine(&mut self, upstream: usize, work: &Work) {
        let Some(Some((origin, _))) = self.works.get(upstream) else {
            return;
        };
        match self.relay.assign(*origin, work) {
            Ok(assigned) => {
                self.orders.send_replace(Orders::Job(assigned));
                self.figure(|figures| figures.jobs_published += 1);
            }
            Err(why) => {
                tracing::error!(upstream = self.lines.name(upstream), %why, "an upstream is of no use");
                self.lines.disconnect(upstream);
                self.down(upstream, Cause::Refused);
            }
        }
    }

    fn mined(&mut self, mined: &Mined) {
        let works = &self.works;
        let lives = |origin: Origin| {
            let work = works.get(origin.upstream).and_then(Option::as_ref);
            work.is_some_and(|(now, _)| *now == origin)
        };
        let sent = match self.relay.way(mined, lives) {
            Way::Up(upstream, command) => {
                if let Some(distributed) = &self.distributed {
                    distributed.sent(&command, mined);
                }
                self.lines.mining(upstream, command)
            }
            Way::Gone => false,
            Way::TooEasy => return self.figure(|figures| figures.shares_too_easy += 1),
            Way::Own => return,
        };
        self.figure(|figures| {
            figures.shares_sent += u64::from(sent);
            figures.shares_stale += u64::from(!sent);
        });
    }

    fn figure(&self, change: impl FnOnce(&mut Figures)) {
        self.picture.send_modify(|picture| change(&mut picture.figures));
    }

    /// The upstream sets its target by what it is told: at once when devices come or go, and when they are faster or
    /// slower than it knows (spec 5.3.7).
    fn look(&mut self) {
        let Choice::Upstream(upstream) = self.choice else {
            return;
        };
        self.looks = self.looks.wrapping_add(1);
        let status = self.status.borrow().clone();
        let claim = Claim {
            channels: status.channels.standard + status.channels.extended,
            rate: status.hash_rate.m1,
        };
        let moved = claim.rate > self.claim.rate * RATE_FACTOR || claim.rate * RATE_FACTOR < self.claim.rate;
        let due = moved && self.looks.is_multiple_of(RATE_LOOKS);
        if claim.channels != self.claim.channels || due {
            self.claim = claim;
            self.lines.mining(upstream, Command::HashRate(claim.rate as f32));
        }
    }
}

/// For ever, where there is no distributor.
fn poll_distributed(distributed: &Option<Distributed>, cx: &Context<'_>) -> Poll<()> {
    distributed.as_ref().map_or(Poll::Pending, |it| it.poll(cx))
}

/// What an upstream was told of us.
#[derive(Clone, Copy, Debug, Default)]
struct Claim {
    channels: u64,
    rate: f64,
}
