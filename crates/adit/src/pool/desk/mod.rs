//! The desk: where custom jobs are negotiated (spec 6).
//!
//! One task on a thread of its own owns the tokens, the declared jobs and every question to the node. Connections ask it
//! over one bounded queue and are answered over theirs, so that neither a large declaration nor a slow node is felt by
//! those who mine.

mod cache;
mod custom;
mod declared;
mod exposure;
mod turns;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use adit_net::Clock;
use adit_node::Handle;
use adit_proto::Time;
use adit_proto::declare::server::{self as declare, Lookup};
use adit_proto::declare::{Budget, Declared, Policy, Solved, Token, Tokens, TokensSettings};
use adit_proto::mining::server::{AccountId, Asked, Input as MiningInput};
use bitcoin::TxOut;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::hub::Published;
use super::report::ToHub;
use crate::exit::Exit;
use cache::Cache;
pub(super) use custom::Judged;
use declared::{Done, Looking, Question};
use exposure::{Exposure, Store};
use turns::Turns;

/// Questions that may wait for the desk; a connection whose question finds no room is not answered.
const ASKS_MAX: usize = 4096;
/// Answers that may wait for one connection: more than it can have questions.
pub(super) const ANSWERS_MAX: usize = 128;
/// Longest wait for a turn and the node's answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a job on a block that our node has not seen waits for it (spec 5.3.14).
const NEWER_WAIT: Duration = Duration::from_secs(3);
/// Jobs that wait so.
const WAITING_MAX: usize = 256;
/// Former tips that are known as such.
const TIPS_MAX: usize = 16;
/// Between two looks at what is due.
const BEAT: Duration = Duration::from_millis(250);
/// Beats between two writings of uncovered credit, if it has changed: what a crash can forgive.
const KEEP_EVERY: u32 = 8;

/// The template ids of custom jobs have this bit; no source of templates counts so far.
pub(super) const CUSTOM: u64 = 1 << 63;
/// And this one, when nobody here has seen their transactions (coinbase-only mode).
pub(super) const UNSEEN: u64 = 1 << 62;

/// What the desk goes by.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// The data folder, where uncovered credit is kept.
    pub(super) data: PathBuf,
    pub(super) coinbase_only: bool,
    /// Whether one token is good on many connections of its owner.
    pub(super) shared_tokens: bool,
    pub(super) tokens: TokensSettings,
    pub(super) policy: Policy,
    /// Most uncovered credit of one identity, and of all, for jobs that nobody can check: in blocks' worth of work, times
    /// a thousand.
    pub(super) exposure_millis: u64,
    pub(super) exposure_total_millis: u64,
}

/// Who asks, and where the answer goes.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) connection: u64,
    pub(super) answers: mpsc::Sender<Answer>,
}

/// From the desk to a connection.
#[derive(Debug)]
pub(super) enum Answer {
    Declare(declare::Input),
    Mining(MiningInput),
}

impl Caller {
    fn declare(&self, input: declare::Input) {
        // Who has gone, or asks without reading, needs no answer.
        let _ = self.answers.try_send(Answer::Declare(input));
    }

    fn mining(&self, input: MiningInput) {
        let _ = self.answers.try_send(Answer::Mining(input));
    }
}

/// To the desk.
#[derive(Debug)]
pub(super) enum ToDesk {
    /// AllocateMiningJobToken.
    Allocate {
        caller: Caller,
        request_id: u32,
        account: AccountId,
    },
    /// Use a token up and look transactions up.
    Lookup(Caller, Box<Lookup>),
    /// Check a block.
    Check(Caller, u64, Arc<Declared>),
    /// A solved block of a declared job.
    Solution(Box<Solved>),
    /// SetCustomMiningJob.
    Custom(Caller, Box<Asked>),
    /// A connection is over.
    Gone(u64),
    /// Work that was credited on jobs that nobody can check.
    Credited(Vec<(AccountId, u64)>),
    /// A block of such a job is in the chain.
    Covered(AccountId),
}

/// What the desk has done so far; for the page and the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) tokens: u64,
    pub(super) tokens_live: u64,
    pub(super) declared: u64,
    pub(super) declarations_refused: u64,
    pub(super) custom_accepted: u64,
    pub(super) custom_refused: u64,
    pub(super) solutions: u64,
    pub(super) node_calls: u64,
    pub(super) bytes: u64,
    pub(super) bytes_max: u64,
}

/// What waits for a block that our node has not seen yet.
enum Waiting {
    Lookup(Looking),
    Custom(Caller, Box<Asked>),
}

/// The way to the desk, for connections.
#[derive(Clone, Debug)]
pub(super) struct Door {
    pub(super) asks: mpsc::Sender<ToDesk>,
    pub(super) budget: Budget,
    pub(super) machine: Arc<declare::Settings>,
}

impl Door {
    /// Asks; a desk that is far behind, or gone, is not waited for.
    pub(super) fn ask(&self, ask: ToDesk) {
        if self.asks.try_send(ask).is_err() {
            tracing::debug!("the desk is behind: a question of job negotiation was dropped");
        }
    }
}

/// The desk.
pub(super) struct Desk {
    settings: Settings,
    clock: Clock,
    node: Handle,
    hub: mpsc::Sender<ToHub>,
    work: watch::Receiver<Option<Published>>,
    tip: Option<Published>,
    former: VecDeque<[u8; 32]>,
    tokens: Tokens<Arc<Declared>>,
    outputs: Arc<[u8]>,
    budget: Budget,
    cache: Cache,
    exposure: Exposure,
    store: Store,
    waiting: VecDeque<(Time, Waiting)>,
    calls: JoinSet<Done>,
    turns: Turns<Question>,
    customs: u64,
    counts: Counts,
    told: Counts,
}

/// Starts a desk on a thread of its own. It ends when every [`Door`] is gone.
pub(super) fn start(
    settings: Settings,
    clock: Clock,
    node: Handle,
    hub: mpsc::Sender<ToHub>,
    work: watch::Receiver<Option<Published>>,
    budget: Budget,
    asks: mpsc::Receiver<ToDesk>,
) -> Result<(), Exit> {
    let broke = |error: std::io::Error| Exit::failed(format!("cannot start job negotiation: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(broke)?;
    let (store, uncovered) = Store::open(&settings.data).map_err(|error| {
        Exit::failed(format!(
            "cannot read what coinbase-only jobs were credited: {error}"
        ))
    })?;
    let exposure = Exposure::new(
        settings.exposure_millis,
        settings.exposure_total_millis,
        uncovered,
    );
    let desk = Desk::new(settings, clock, node, hub, work, (budget, exposure, store));
    std::thread::Builder::new()
        .name("adit-desk".into())
        .spawn(move || runtime.block_on(desk.run(asks)))
        .map(drop)
        .map_err(broke)
}

/// The queue to a desk.
pub(super) fn queue() -> (mpsc::Sender<ToDesk>, mpsc::Receiver<ToDesk>) {
    mpsc::channel(ASKS_MAX)
}

impl Desk {
    fn new(
        settings: Settings,
        clock: Clock,
        node: Handle,
        hub: mpsc::Sender<ToHub>,
        mut work: watch::Receiver<Option<Published>>,
        (budget, exposure, store): (Budget, Exposure, Store),
    ) -> Self {
        work.mark_changed();
        Self {
            tokens: Tokens::new(settings.tokens),
            outputs: outputs(&settings.policy.outputs),
            cache: Cache::new(budget.total() / 4),
            exposure,
            store,
            settings,
            clock,
            node,
            hub,
            work,
            tip: None,
            former: VecDeque::new(),
            budget,
            waiting: VecDeque::new(),
            calls: JoinSet::new(),
            turns: Turns::new(),
            customs: 0,
            counts: Counts::default(),
            told: Counts::default(),
        }
    }

    async fn run(mut self, mut asks: mpsc::Receiver<ToDesk>) {
        let mut beat = tokio::time::interval(BEAT);
        let mut beats = 0u32;
        loop {
            tokio::select! {
                Ok(()) = self.work.changed() => self.take_work(),
                ask = asks.recv() => match ask {
                    // The hub's work was there before the question: never judge by an older tip.
                    Some(ask) => {
                        self.take_work();
                        self.take(ask);
                    }
                    None => break,
                },
                Some(ended) = self.calls.join_next() => {
                    self.turns.done();
                    match ended {
                        Ok(done) => self.done(done),
                        Err(error) => tracing::error!(%error, "a question to the node broke"),
                    }
                    self.start_calls();
                }
                _ = beat.tick() => {
                    beats = beats.wrapping_add(1);
                    if beats.is_multiple_of(KEEP_EVERY) {
                        self.keep_credit();
                    }
                    self.due();
                }
            }
        }
        self.keep_credit();
        tracing::debug!("job negotiation stopped");
    }

    fn take(&mut self, ask: ToDesk) {
        let now = self.clock.now();
        match ask {
            ToDesk::Allocate {
                caller,
                request_id,
                account,
            } => self.allocate(now, &caller, request_id, account),
            ToDesk::Lookup(caller, lookup) => self.lookup(now, caller, *lookup),
            ToDesk::Check(caller, declaration, job) => self.check(caller, declaration, job),
            ToDesk::Solution(solved) => {
                self.counts.solutions += 1;
                if self.hub.try_send(ToHub::Solved(solved, now)).is_err() {
                    tracing::error!("a pushed solution was dropped: thousands of reports wait");
                }
            }
            ToDesk::Custom(caller, asked) => self.custom(now, caller, asked, now + NEWER_WAIT),
            ToDesk::Gone(connection) => self.tokens.forget(connection),
            ToDesk::Credited(work) => work
                .into_iter()
                .for_each(|(account, work)| self.exposure.credit(account, work)),
            ToDesk::Covered(account) => self.exposure.cover(&account),
        }
    }

    fn allocate(&mut self, now: Time, caller: &Caller, request_id: u32, account: AccountId) {
        let token = Token(adit_net::random::bytes());
        let granted = self.tokens.grant(now, token, caller.connection, account, None);
        self.counts.tokens += u64::from(granted.is_ok());
        caller.declare(declare::Input::Token {
            request_id,
            token: granted.ok().map(|()| token),
            outputs: Arc::clone(&self.outputs),
        });
    }

    /// A new template, and perhaps a new tip: who waited for it is judged now.
    fn take_work(&mut self) {
        let Some(work) = self.work.borrow_and_update().clone() else {
            return;
        };
        let last = self.tip.replace(work);
        let Some(tip) = self.tip_hash() else { return };
        let former = last.map(|last| last.job.fields().prev_hash);
        if former == Some(tip) {
            return;
        }
        self.former.extend(former);
        self.former.retain(|known| *known != tip);
        while self.former.len() > TIPS_MAX {
            self.former.pop_front();
        }
        self.cache.turn();
        for (until, waiting) in std::mem::take(&mut self.waiting) {
            self.resume(until, waiting);
        }
    }

    fn resume(&mut self, until: Time, waiting: Waiting) {
        match waiting {
            Waiting::Lookup(looking) => self.look(looking, until),
            Waiting::Custom(caller, asked) => self.custom(self.clock.now(), caller, asked, until),
        }
    }

    /// Waits for our node to see the block; false when that has lasted long enough, or too many wait.
    fn wait(&mut self, until: Time, waiting: Waiting) -> Result<(), Waiting> {
        if until <= self.clock.now() || self.waiting.len() >= WAITING_MAX {
            return Err(waiting);
        }
        self.waiting.push_back((until, waiting));
        Ok(())
    }

    fn keep_credit(&mut self) {
        if let Err(error) = self.store.keep(&mut self.exposure) {
            tracing::error!(%error, "uncovered credit cannot be written: a restart would forget the last of it");
        }
    }

    fn due(&mut self) {
        let now = self.clock.now();
        self.tokens.expire(now);
        for question in self.turns.expire(now) {
            self.done(question.late());
        }
        let waiting = std::mem::take(&mut self.waiting);
        let (late, early) = waiting.into_iter().partition(|(until, _)| *until <= now);
        self.waiting = early;
        let late: VecDeque<_> = late;
        for (until, waiting) in late {
            self.resume(until, waiting);
        }
        self.counts.tokens_live = self.tokens.len() as u64;
        self.counts.bytes = self.budget.used() as u64;
        self.counts.bytes_max = self.budget.total() as u64;
        if self.counts != self.told && self.hub.try_send(ToHub::Desk(Box::new(self.counts))).is_ok() {
            self.told = self.counts;
        }
    }

    fn tip_hash(&self) -> Option<[u8; 32]> {
        self.tip.as_ref().map(|tip| tip.job.fields().prev_hash)
    }
}

/// `coinbase_tx_outputs`: a count and the outputs without value.
fn outputs(outputs: &[TxOut]) -> Arc<[u8]> {
    bitcoin::consensus::serialize(&outputs.to_vec()).into()
}
