//! Bitcoin Core 30 or later over its Cap'n Proto unix socket (`bitcoin-node -ipcbind=unix`).
//!
//! One connection at a time (`connect`); on it one task waits for templates (`watch`), one asks
//! every second whether the node still answers (`ping`), three desks submit solutions, submit blocks and
//! ask for their state (`submit`, `status`), and two look up transactions and have blocks checked
//! (`inquire`). Each has server threads of its own on the node (*lanes*), so that none queues behind another.
//!
//! **Every call has a deadline** (`call`): when it passes, [`Event::Down`] says which call the node
//! owes; when patience ends too, the connection is given up and made again, for ever, with back-off.
//! Losing a connection loses nothing of ours: the last templates are kept with their transactions
//! (`kept`), and a solution that comes later is sent as a whole block.
//!
//! **Versions** find themselves: `Init.makeMining` has another number since version 31, so a node that does not know that
//! one is asked as version 30 (`core30`), and a solution goes to the method that tells a reason, which is newer than 31,
//! wherever the node knows it (`submit`).
//!
//! **Initial download**: on a real network there are no templates while the node is in initial
//! download or behind the headers it knows. A chain made for tests calls itself in initial download
//! whenever its last block is a day old, which for a regtest is the normal case: there only missing
//! blocks count (`ready`).
//!
//! **`min_ntime`** is the header time of the node's template. Median time past + 1 would be lower, but
//! the mining interface does not tell it, and a rule that the node knows and we do not (BIP94) may lie
//! above it. A template's own time is always valid.

mod call;
mod chain;
mod connect;
mod core30;
#[cfg(test)]
mod fake;
#[rustfmt::skip]
#[allow(
    dead_code, missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used, clippy::unimplemented,
    reason = "made by `cargo xtask capnp` from Bitcoin Core's schemas; not ours to polish"
)]
mod generated;
mod inquire;
mod parse;
mod ping;
mod ready;
mod rooms;
mod status;
mod submit;
mod transactions;
mod watch;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch as signal};
use tokio::task::JoinHandle;

use self::connect::Session;
use crate::accepted::Accepted;
use crate::health::Health;
use crate::kept::Store;
use crate::{Constraints, Event, Request, Requests, SubmitError, TemplateId, TemplateSource};

/// First and longest wait before another attempt to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Requests of one kind that may wait for the one before them.
const DESK_QUEUE_MAX: usize = 64;
/// How long an orderly end may take, submissions under way included.
const CLOSE_LIMIT: Duration = Duration::from_secs(12);

/// Where Bitcoin Core is and what templates shall be like.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The node's socket, usually `DATADIR/node.sock` or `DATADIR/regtest/node.sock`.
    pub path: PathBuf,
    /// What the node must call its chain (`main`, `signet`, `regtest`, ..); none takes any.
    pub chain: Option<String>,
    /// On an unchanged tip a new template must bring this many satoshis more in fees.
    pub fee_delta_sat: u64,
    /// On an unchanged tip templates are at least this far apart, milliseconds.
    pub interval_ms: u64,
    /// Room for the outputs that we add to the coinbase (spec 7.1), until another is asked for.
    pub constraints: Constraints,
}

impl Settings {
    /// Bitcoin Core's own reserves; templates every 30 seconds that bring 1000 satoshis more.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            chain: None,
            fee_delta_sat: 1_000,
            interval_ms: 30_000,
            constraints: Constraints::default(),
        }
    }
}

/// Templates from, and blocks to, one Bitcoin Core over IPC.
#[derive(Clone, Debug)]
pub struct Ipc {
    settings: Settings,
}

impl Ipc {
    /// A source that connects when it runs.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }
}

impl TemplateSource for Ipc {
    async fn run(self, requests: Requests, events: mpsc::Sender<Event>) {
        let shared = Rc::new(Shared::new(self.settings, events));
        let connecting = tokio::task::spawn_local(stay_connected(Rc::clone(&shared)));
        let desks = serve(&shared, requests).await;
        // Nobody asks any more. Blocks under way are still submitted, then the node is left politely.
        let _ = tokio::time::timeout(CLOSE_LIMIT, async {
            for desk in desks {
                let _ = desk.await;
            }
            shared.stop.send_replace(true);
            let _ = connecting.await;
        })
        .await;
    }
}

/// What the tasks of one source share; borrowed for moments, never across an await.
struct Shared {
    settings: Settings,
    health: Health,
    store: RefCell<Store<Rc<watch::Remote>>>,
    session: RefCell<Option<Rc<Session>>>,
    waiting: RefCell<BTreeMap<Constraints, watch::Waiting>>,
    accepted: RefCell<Accepted>,
    /// The newest template of each set of constraints, until its transactions are fetched.
    newest: RefCell<BTreeMap<Constraints, TemplateId>>,
    fetch: Notify,
    /// What templates are made for.
    constraints: signal::Sender<Vec<Constraints>>,
    stop: signal::Sender<bool>,
    last_id: Cell<u64>,
}

impl Shared {
    fn new(settings: Settings, events: mpsc::Sender<Event>) -> Self {
        Self {
            constraints: signal::Sender::new(vec![settings.constraints]),
            settings,
            health: Health::new("Bitcoin Core", events),
            store: RefCell::new(Store::default()),
            session: RefCell::new(None),
            waiting: RefCell::default(),
            accepted: RefCell::new(Accepted::default()),
            newest: RefCell::default(),
            fetch: Notify::new(),
            stop: signal::Sender::new(false),
            last_id: Cell::new(0),
        }
    }

    fn next_id(&self) -> TemplateId {
        self.last_id.set(self.last_id.get().saturating_add(1));
        TemplateId(self.last_id.get())
    }

    /// The connection, or why there is none.
    fn session(&self) -> Result<Rc<Session>, SubmitError> {
        self.session
            .borrow()
            .clone()
            .ok_or_else(|| SubmitError::Unavailable(self.health.reason()))
    }
}

/// Connects, works until the connection ends, waits a little, again; until told to stop.
async fn stay_connected(shared: Rc<Shared>) {
    let mut stop = shared.stop.subscribe();
    let mut wait = BACKOFF.0;
    while !*stop.borrow() {
        let before = shared.last_id.get();
        if let Err(trouble) = connect::run(&shared, &mut stop).await {
            shared
                .health
                .down(trouble.kind(), trouble.reason(&shared.settings.path))
                .await;
        }
        let worked = shared.last_id.get() != before;
        wait = if worked {
            BACKOFF.0
        } else {
            (wait * 2).min(BACKOFF.1)
        };
        let _ = tokio::time::timeout(wait, stop.wait_for(|stop| *stop)).await;
    }
}

/// Hands each request to the desk for its kind; ends when nobody can ask any more.
async fn serve(shared: &Rc<Shared>, mut requests: Requests) -> [JoinHandle<()>; 5] {
    let (solutions, queue) = mpsc::channel(DESK_QUEUE_MAX);
    let solving = tokio::task::spawn_local(submit::solutions(Rc::clone(shared), queue));
    let (blocks, queue) = mpsc::channel(DESK_QUEUE_MAX);
    let sending = tokio::task::spawn_local(submit::blocks(Rc::clone(shared), queue));
    let (questions, queue) = mpsc::channel(DESK_QUEUE_MAX);
    let asking = tokio::task::spawn_local(status::answer(Rc::clone(shared), queue));
    let (lookups, queue) = mpsc::channel(DESK_QUEUE_MAX);
    let looking = tokio::task::spawn_local(inquire::lookups(Rc::clone(shared), queue));
    let (checks, queue) = mpsc::channel(DESK_QUEUE_MAX);
    let checking = tokio::task::spawn_local(inquire::checks(Rc::clone(shared), queue));
    while let Some(request) = requests.recv().await {
        match request {
            Request::Submit(solution, answer) => hand(&solutions, (solution, answer)),
            Request::SubmitBlock(block, answer) => hand(&blocks, (block, answer)),
            Request::Status(block, answer) => hand(&questions, (block, answer)),
            Request::Transactions(wtxids, answer) => hand(&lookups, (wtxids, answer)),
            Request::CheckBlock(block, answer) => hand(&checks, (block, answer)),
            Request::Constraints(rooms, answer) => {
                shared.constraints.send_replace(rooms);
                let _ = answer.send(Ok(()));
            }
            Request::Reorganise(_, answer) => drop(answer.send(Err(SubmitError::Unsupported))),
        }
    }
    [solving, sending, asking, looking, checking]
}

/// A question and the way to answer it.
type Question<Q, A> = (Q, tokio::sync::oneshot::Sender<Result<A, SubmitError>>);

fn hand<Q, A>(desk: &mpsc::Sender<Question<Q, A>>, question: Question<Q, A>) {
    if let Err(full) = desk.try_send(question) {
        let (_, answer) = full.into_inner();
        let reason = format!("more than {DESK_QUEUE_MAX} requests wait for Bitcoin Core already");
        let _ = answer.send(Err(SubmitError::Unavailable(reason)));
    }
}
