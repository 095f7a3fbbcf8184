//! The connections to all upstreams: made and ended on the supervisor's word, each with tasks of its own.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use adit_net::drive::Bounds;
use adit_net::{
    Clock, DialError, Dialling, End, Itinerary, Link, Protocol, Url, dial_lines, dial_with, drive,
};
use adit_proto::declare::client as declare;
use adit_proto::extension;
use adit_proto::{Fault, Time};
use adit_wire::extension::WORKER_HASH_RATE;
use bitcoin::TxOut;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::mining::{Channel, Told};
use super::{Cause, Speech, Upstream, declaring, mining, quiet, stratum_v1};

/// Reports of all connections that may wait for the role.
const REPORTS_MAX: usize = 16_384;
/// Commands that may wait for a mining connection: all shares that are kept for one job, and some.
const COMMANDS_MAX: usize = 8192;
/// Commands that may wait for a declaration connection.
const DECLARATIONS_MAX: usize = 64;
/// A declared block's transactions may wait for a server that reads slowly.
const QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Times in a row that a server was left for its silence without ever having answered when it was asked whether it is
/// there: perhaps it is one of those that do not. It is not asked any more, and left when shares stay unanswered.
const UNHEARD_MAX: u32 = 2;
/// The patience with such a server.
const NEVER: quiet::Patience = quiet::Patience {
    ask_after: Duration::from_secs(365 * 24 * 3600),
    answer_within: Duration::ZERO,
};

/// What one connection reports, with whose it is.
#[derive(Debug)]
pub struct Report {
    /// Place in the list of upstreams.
    pub upstream: usize,
    /// Counts the connections of all upstreams up.
    pub generation: u64,
    /// What.
    pub said: Said,
}

/// What a connection reports.
#[derive(Debug)]
pub enum Said {
    /// The mining connection.
    Mining(Told),
    /// The declaration connection.
    Declaring(declare::Event),
    /// It has ended, both parts of it; the last word.
    Ended(Cause),
}

/// What is known of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The channel, once it is open, with its present target and prefix.
    pub channel: Option<Channel>,
    /// What each coinbase must pay, once there was a token.
    pub outputs: Option<Vec<TxOut>>,
}

/// What a report means for the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It can be worked on.
    Ready,
    /// It has ended.
    Down(Cause),
}

/// How connections are made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How servers are dialled.
    pub dialling: Dialling,
    /// The mining connection.
    pub mining: mining::Settings,
    /// The same to pools of Stratum V1.
    pub stratum_v1: stratum_v1::Settings,
    /// How long a connection may be without a word.
    pub quiet: quiet::Patience,
    /// The declaration connection, where there is one.
    pub declare: Option<declare::Settings>,
}

#[derive(Debug)]
struct Line {
    generation: u64,
    facts: Facts,
    ready: bool,
    mining: mpsc::Sender<mining::Command>,
    declaring: Option<mpsc::Sender<declaring::Command>>,
    task: JoinHandle<()>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// All connections upwards.
#[derive(Debug)]
pub struct Lines {
    upstreams: Vec<Upstream>,
    settings: Arc<Settings>,
    clock: Clock,
    reports: mpsc::Sender<Report>,
    lines: Vec<Option<Line>>,
    ways: Vec<Itinerary>,
    habits: Vec<Habits>,
    generation: u64,
}

/// What earlier connections have shown of a server.
#[derive(Clone, Copy, Debug, Default)]
struct Habits {
    /// How it takes requests for extensions.
    extensions: extension::Patience,
    /// It answers when it is asked whether it is there.
    answers: bool,
    /// Times in a row that it did not.
    unheard: u32,
    /// It takes no jobs of ours.
    plain: bool,
}

impl Habits {
    /// A channel is open: whatever it was asked for before, it has answered.
    fn opened(&mut self) {
        if self.extensions.answer_timeout(Duration::ZERO, false).is_some() {
            self.extensions.reset();
        }
    }

    /// How long it may be without a word.
    const fn quiet(&self, usual: quiet::Patience) -> quiet::Patience {
        if !self.answers && self.unheard >= UNHEARD_MAX {
            NEVER
        } else {
            usual
        }
    }
}

impl Lines {
    /// No connection yet, and where reports will come from.
    #[must_use]
    pub fn new(upstreams: Vec<Upstream>, settings: Settings, clock: Clock) -> (Self, mpsc::Receiver<Report>) {
        let (reports, heard) = mpsc::channel(REPORTS_MAX);
        let way = |it: &Upstream| match it.speech {
            Speech::StratumV2 => Itinerary::new(it.url.clone()),
            // The machine has looked every place up.
            Speech::StratumV1 | Speech::StratumV1Tls => Itinerary::new(it.url.clone()).among_known_places(),
        };
        let ways = upstreams.iter().map(way).collect();
        let lines = upstreams.iter().map(|_| None).collect();
        let habits = vec![Habits::default(); upstreams.len()];
        let lines = Self {
            upstreams,
            settings: Arc::new(settings),
            clock,
            reports,
            lines,
            ways,
            habits,
            generation: 0,
        };
        (lines, heard)
    }

    /// How many upstreams there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.upstreams.len()
    }

    /// The upstream, for people.
    #[must_use]
    pub fn name(&self, upstream: usize) -> String {
        self.upstreams
            .get(upstream)
            .map(Upstream::name)
            .unwrap_or_default()
    }

    /// The upstreams as they were configured.
    #[must_use]
    pub fn upstreams(&self) -> &[Upstream] {
        &self.upstreams
    }

    /// Where the upstream is at the moment.
    #[must_use]
    pub fn url(&self, upstream: usize) -> Option<&Url> {
        self.ways.get(upstream).map(Itinerary::url)
    }

    /// Whether jobs of our own may be sent to the upstream, as far as that is known.
    #[must_use]
    pub fn selects(&self, upstream: usize) -> bool {
        let speech = self.upstreams.get(upstream).map(|it| it.speech);
        let plain = self.habits.get(upstream).is_none_or(|habits| habits.plain);
        self.settings.mining.work_selection && speech == Some(Speech::StratumV2) && !plain
    }

    /// Connects.
    pub fn connect(&mut self, upstream: usize) {
        let (Some(it), Some(way)) = (self.upstreams.get(upstream), self.ways.get(upstream)) else {
            return;
        };
        self.generation += 1;
        let url = way.url().clone();
        // Where both are one server, both move together.
        let jds = if it.jds.is_none() {
            url.clone()
        } else {
            it.jds_url()
        };
        let outbox = || Outbox {
            upstream,
            generation: self.generation,
            reports: self.reports.clone(),
            cause: Parked::default(),
            full: false,
        };
        let (mining, mining_commands) = mpsc::channel(COMMANDS_MAX);
        let (declaring, declaring_commands) = mpsc::channel(DECLARATIONS_MAX);
        let declares = self.settings.declare.is_some();
        let selects = self.selects(upstream);
        let task = Attempt {
            settings: Arc::clone(&self.settings),
            selects,
            clock: self.clock.clone(),
            habits: self.habits.get(upstream).copied().unwrap_or_default(),
            upstream: it.clone(),
            url,
            jds,
            outbox: (outbox(), outbox()),
            commands: (mining_commands, declaring_commands),
        };
        let line = Line {
            generation: self.generation,
            facts: Facts::default(),
            ready: false,
            mining,
            declaring: declares.then_some(declaring),
            task: tokio::spawn(task.run()),
        };
        if let Some(place) = self.lines.get_mut(upstream) {
            *place = Some(line);
        }
    }

    /// Ends the connection, if there is one.
    pub fn disconnect(&mut self, upstream: usize) {
        if let Some(place) = self.lines.get_mut(upstream) {
            *place = None;
        }
    }

    /// What is known of a connection.
    #[must_use]
    pub fn facts(&self, upstream: usize) -> Option<&Facts> {
        self.line(upstream).map(|line| &line.facts)
    }

    /// Takes note of a report. `None`: it is of a connection that we have done with, and must not be looked at.
    pub fn note(&mut self, now: Time, report: &Report) -> Option<Option<News>> {
        let line = self.lines.get_mut(report.upstream)?.as_mut()?;
        if line.generation != report.generation {
            return None;
        }
        match &report.said {
            Said::Mining(Told::Opened(channel)) => {
                line.facts.channel = Some(*channel);
                if let Some(habits) = self.habits.get_mut(report.upstream) {
                    habits.opened();
                }
            }
            Said::Mining(Told::Target(target)) => {
                if let Some(channel) = &mut line.facts.channel {
                    channel.target = *target;
                }
            }
            Said::Mining(Told::Prefix(prefix)) => {
                if let Some(channel) = &mut line.facts.channel {
                    channel.prefix = *prefix;
                }
            }
            Said::Mining(Told::Alive) => {
                if let Some(habits) = self.habits.get_mut(report.upstream) {
                    (habits.answers, habits.unheard) = (true, 0);
                }
            }
            Said::Mining(Told::ExtensionsUnanswered) => {
                if let Some(habits) = self.habits.get_mut(report.upstream) {
                    habits.extensions.silent();
                }
            }
            Said::Declaring(declare::Event::Outputs(outputs)) => line.facts.outputs = Some(outputs.clone()),
            Said::Mining(Told::NoSelection) => {
                tracing::warn!(
                    upstream = self.name(report.upstream),
                    "it takes no jobs of ours: its own are mined there"
                );
                if let Some(habits) = self.habits.get_mut(report.upstream) {
                    habits.plain = true;
                }
                self.disconnect(report.upstream);
                return Some(Some(News::Down(Cause::Moved)));
            }
            Said::Mining(Told::Reconnect { host, port }) => {
                let host = host.as_ref().map(|host| host.as_bytes());
                if let Some(way) = self.ways.get_mut(report.upstream) {
                    way.moved(now, host, *port);
                }
                self.disconnect(report.upstream);
                return Some(Some(News::Down(Cause::Moved)));
            }
            Said::Ended(cause) => {
                let (cause, ready) = (*cause, line.ready);
                if cause == Cause::Silent
                    && ready
                    && let Some(habits) = self.habits.get_mut(report.upstream)
                {
                    habits.unheard = habits.unheard.saturating_add(1);
                }
                if cause != Cause::Moved
                    && let Some(way) = self.ways.get_mut(report.upstream)
                {
                    way.lost(now, ready);
                }
                self.disconnect(report.upstream);
                return Some(Some(News::Down(cause)));
            }
            Said::Mining(_) | Said::Declaring(_) => {}
        }
        let declared = line.declaring.is_none() || line.facts.outputs.is_some();
        let ready = !line.ready && declared && line.facts.channel.is_some();
        line.ready |= ready;
        Some(ready.then_some(News::Ready))
    }

    /// Tells a mining connection something; false when it does not keep up or is gone.
    pub fn mining(&self, upstream: usize, command: mining::Command) -> bool {
        self.line(upstream)
            .is_some_and(|line| line.mining.try_send(command).is_ok())
    }

    /// Tells a declaration connection something; false when it does not keep up or is gone.
    pub fn declaring(&self, upstream: usize, command: declaring::Command) -> bool {
        let line = self.line(upstream).and_then(|line| line.declaring.as_ref());
        line.is_some_and(|line| line.try_send(command).is_ok())
    }

    fn line(&self, upstream: usize) -> Option<&Line> {
        self.lines.get(upstream)?.as_ref()
    }
}

/// A connection's way to the role.
#[derive(Debug)]
pub(super) struct Outbox {
    upstream: usize,
    generation: u64,
    reports: mpsc::Sender<Report>,
    /// Why the connection will end, where the way it ends does not say it.
    cause: Parked,
    full: bool,
}

/// A cause that is kept for the end; the first one counts.
#[derive(Clone, Debug, Default)]
struct Parked(Arc<OnceLock<Cause>>);

impl Outbox {
    pub(super) fn say(&mut self, said: Said) {
        let report = Report {
            upstream: self.upstream,
            generation: self.generation,
            said,
        };
        self.full |= self.reports.try_send(report).is_err();
    }

    pub(super) fn cause(&self, cause: Cause) {
        let _ = self.cause.0.set(cause);
    }

    /// Nothing may be lost: a connection whose reports are not taken ends.
    pub(super) const fn check(&self) -> Result<(), Fault> {
        if self.full {
            return Err(Fault::Misbehaved("it says more than can be taken"));
        }
        Ok(())
    }
}

/// One connection from dialling to its end.
struct Attempt {
    settings: Arc<Settings>,
    /// Whether jobs of ours will be sent.
    selects: bool,
    clock: Clock,
    habits: Habits,
    upstream: Upstream,
    url: Url,
    jds: Url,
    outbox: (Outbox, Outbox),
    commands: (
        mpsc::Receiver<mining::Command>,
        mpsc::Receiver<declaring::Command>,
    ),
}

impl Attempt {
    async fn run(self) {
        let Self {
            settings,
            selects,
            clock,
            habits,
            upstream,
            url,
            jds,
            outbox: (mining_outbox, declaring_outbox),
            commands: (mining_commands, declaring_commands),
        } = self;
        let (place, generation) = (mining_outbox.upstream, mining_outbox.generation);
        let reports = mining_outbox.reports.clone();
        let dialling = &settings.dialling;
        let patience = habits.quiet(settings.quiet);
        let mining = async {
            let cause = mining_outbox.cause.clone();
            let mine = mining::Settings {
                user: upstream
                    .user
                    .clone()
                    .unwrap_or_else(|| settings.mining.user.clone()),
                work_selection: selects,
                ..settings.mining.clone()
            };
            if upstream.speech == Speech::StratumV2 {
                let dialled = dial_with(&url, &clock, dialling);
                let session = |took| {
                    let wishes = wishes(&mine, &habits, took);
                    mining::Session::new(&url, mine, wishes, patience, (mining_commands, mining_outbox))
                };
                return serve(&url, dialled, &clock, session, &cause).await;
            }
            let machine = stratum_v1::machine(&upstream, &settings.stratum_v1, &mine);
            let session = |_| stratum_v1::Session::new(machine, patience, mining_commands, mining_outbox);
            let tls = match upstream.speech {
                Speech::StratumV1Tls => settings.stratum_v1.tls.as_ref(),
                _ => None,
            };
            let dialled = dial_lines(&url.host, url.port, tls, dialling.timeout);
            serve(&url, dialled, &clock, session, &cause).await
        };
        let declaring = async {
            let Some(declare) = settings.declare.clone() else {
                return std::future::pending().await;
            };
            let cause = declaring_outbox.cause.clone();
            let session = |_| declaring::Session::new(&jds, declare, declaring_commands, declaring_outbox);
            let dialled = dial_with(&jds, &clock, dialling);
            serve(&jds, dialled, &clock, session, &cause).await
        };
        let cause = tokio::select! {
            cause = mining => cause,
            cause = declaring => cause,
        };
        let report = Report {
            upstream: place,
            generation,
            said: Said::Ended(cause),
        };
        // The role is gone only when the process is.
        let _ = reports.send(report).await;
    }
}

/// The extensions to ask for, when connecting took so long.
fn wishes(mining: &mining::Settings, habits: &Habits, took: Duration) -> extension::Wishes {
    let timeout = habits.extensions.answer_timeout(took, false);
    match timeout.filter(|_| mining.worker_names) {
        None => extension::Wishes::default(),
        Some(answer_timeout) => extension::Wishes {
            wanted: vec![WORKER_HASH_RATE],
            able: vec![WORKER_HASH_RATE],
            answer_timeout,
            ..extension::Wishes::default()
        },
    }
}

fn bounds() -> Bounds {
    Bounds {
        queue_max_bytes: QUEUE_BYTES_MAX,
        ..Bounds::default()
    }
}

/// Waits for one of the two connections and drives it; says why it ended.
async fn serve<S: Protocol>(
    url: &Url,
    dialled: impl Future<Output = Result<Link, DialError>>,
    clock: &Clock,
    session: impl FnOnce(Duration) -> S,
    parked: &Parked,
) -> Cause {
    let start = tokio::time::Instant::now();
    let mut link = match dialled.await {
        Ok(link) => link,
        Err(error) => {
            let at = format_args!("{}:{}", url.host, url.port);
            tracing::warn!(upstream = %at, %error, "no connection to the upstream");
            return Cause::Unreachable;
        }
    };
    let mut session = session(start.elapsed());
    let end = drive(&mut link, &mut session, clock, bounds()).await;
    let cause = parked.0.get().copied().unwrap_or(match &end {
        End::Fault(Fault::Malformed(_) | Fault::Misbehaved(_)) | End::Session(_) => Cause::Misbehaved,
        End::Fault(Fault::Incompatible(_)) => Cause::Refused,
        End::Fault(Fault::Expired(_)) => Cause::Silent,
        End::Closed | End::Finished | End::Io(_) | End::Slow => Cause::Lost,
    });
    let at = format_args!("{}:{}", url.host, url.port);
    tracing::warn!(upstream = %at, %end, %cause, "connection to the upstream ended");
    cause
}
