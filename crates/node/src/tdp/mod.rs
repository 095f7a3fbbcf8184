//! Anybody's template provider over the Template Distribution Protocol (spec 7), as a source.
//!
//! One connection for each set of constraints (`upstream`), made again for ever with back-off. The provider numbers its
//! templates anew on every connection; they get ids of ours and are remembered with the connection that they came on
//! (`store`).
//!
//! **What the protocol does not tell.** SubmitSolution has no answer: a solution counts as accepted when its block
//! becomes the tip, and as refused when another block of its height does. A template that came on a connection that is
//! gone cannot be solved any more, and a whole block cannot be sent at all ([`SubmitError::Unsupported`]): who needs that
//! gives a second node. Whether a block is in the chain is known of the last [`TIPS_MAX`] tips only. `min_ntime` is the
//! header time of the provider, which is always valid.
//!
//! **A provider that hangs** is asked for a sign of life and left within ten seconds (`upstream`). A Reconnect is followed to a
//! place of the same authority, and not for ever in circles ([`Itinerary`]).

mod inquire;
mod outbox;
mod store;
mod submit;
mod upstream;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use adit_net::{Backoff, Clock, Dialling, End, Itinerary, Url, dial_with, drive};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::outbox::Outbox;
use self::store::Store;
pub use self::store::TIPS_MAX;
use self::upstream::{Line, Move, Upstream};
use crate::lookup::Recent;
use crate::{
    CONSTRAINTS_MAX, Constraints, Event, Request, Requests, SubmitError, TemplateId, TemplateSource,
};

/// First and longest wait before another attempt to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How long a connection outlives the wish for its templates.
const LINGER: Duration = Duration::from_secs(60);
/// With more connections than these none outlives it.
const LINES_MAX: usize = 2 * CONSTRAINTS_MAX;
/// Solutions that may wait for the tip to change.
const SUBMITS_MAX: usize = 64;
/// Questions of job declarators under way at a time; each is answered from memory.
const INQUIRIES_MAX: usize = 4;
/// How long an orderly end waits for solutions under way.
const CLOSE_LIMIT: Duration = Duration::from_secs(6);

/// Which template provider, and what templates shall be like.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it is, and the authority that vouches for it.
    pub url: Url,
    /// Room for the outputs that we add to the coinbase (spec 7.1), until another is asked for.
    pub constraints: Constraints,
    /// How it is dialled.
    pub dialling: Dialling,
    /// The clock.
    pub clock: Clock,
}

/// Templates from, and solutions to, one template provider.
#[derive(Clone, Debug)]
pub struct Tdp {
    settings: Settings,
}

impl Tdp {
    /// A source that connects when it runs.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }
}

impl TemplateSource for Tdp {
    async fn run(self, requests: Requests, events: mpsc::Sender<Event>) {
        let shared = Rc::new(Shared::new(self.settings));
        let telling = tokio::task::spawn_local(outbox::tell(Rc::clone(&shared), events));
        let connecting = tokio::task::spawn_local(rooms(Rc::clone(&shared)));
        serve(&shared, requests).await;
        // Nobody asks any more.
        shared.lines.borrow().values().for_each(|line| line.close());
        connecting.abort();
        telling.abort();
    }
}

/// What the tasks of one source share; borrowed for moments, never across an await.
struct Shared {
    settings: Settings,
    outbox: Outbox,
    store: RefCell<Store>,
    recent: RefCell<Recent>,
    /// Marked as changed at every tip.
    tips: watch::Sender<()>,
    /// What templates are made for.
    constraints: watch::Sender<Vec<Constraints>>,
    /// Open connections by their number.
    lines: RefCell<BTreeMap<u64, Rc<Line>>>,
    last_id: Cell<u64>,
    last_line: Cell<u64>,
    /// Connections that have given a template.
    alive: Cell<usize>,
    /// Why there is none; empty before the first attempt.
    trouble: RefCell<String>,
}

impl Shared {
    fn new(settings: Settings) -> Self {
        Self {
            outbox: Outbox::default(),
            store: RefCell::default(),
            recent: RefCell::default(),
            tips: watch::Sender::new(()),
            constraints: watch::Sender::new(vec![settings.constraints]),
            lines: RefCell::default(),
            last_id: Cell::new(0),
            last_line: Cell::new(0),
            alive: Cell::new(0),
            trouble: RefCell::default(),
            settings,
        }
    }

    fn next_id(&self) -> TemplateId {
        self.last_id.set(self.last_id.get().saturating_add(1));
        TemplateId(self.last_id.get())
    }

    /// A connection has given its first template.
    fn up(&self) {
        self.alive.set(self.alive.get() + 1);
        if self.alive.get() == 1 {
            self.trouble.borrow_mut().clear();
            let node = format!("template provider {}", self.settings.url);
            tracing::info!(%node, "templates come");
            self.outbox.say(Event::Up { node });
        }
    }

    /// A connection that had given templates has ended.
    fn lost(&self) {
        self.alive.set(self.alive.get().saturating_sub(1));
    }

    /// Says [`Event::Down`] when no connection is left, once for each reason.
    fn down(&self, what: &str) {
        if self.alive.get() > 0 {
            return;
        }
        let url = &self.settings.url;
        let reason = format!("the template provider {url}: {what}");
        if *self.trouble.borrow() != reason {
            tracing::warn!("{reason}");
            *self.trouble.borrow_mut() = reason.clone();
            self.outbox.say(Event::Down { reason });
        }
    }
}

/// Keeps one connection for each set of constraints that is wanted, for ever.
async fn rooms(shared: Rc<Shared>) {
    let mut wanted = shared.constraints.subscribe();
    let mut running = HashSet::new();
    let mut connections = FuturesUnordered::new();
    loop {
        for constraints in wanted.borrow_and_update().iter().copied() {
            if running.insert(constraints) {
                connections.push(stay_connected(&shared, constraints));
            }
        }
        tokio::select! {
            Ok(()) = wanted.changed() => {}
            Some(constraints) = connections.next() => {
                running.remove(&constraints);
            }
        }
    }
}

/// Connects, works until the connection ends, waits a little, again; until these constraints are wanted no more.
async fn stay_connected(shared: &Rc<Shared>, constraints: Constraints) -> Constraints {
    let mut wanted = shared.constraints.subscribe();
    let gone = |list: &Vec<Constraints>| !list.contains(&constraints);
    let backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
    let mut way = Itinerary::new(shared.settings.url.clone()).with_backoff(backoff);
    while !gone(&wanted.borrow()) {
        let ended = tokio::select! {
            biased;
            () = unwanted(shared, constraints) => break,
            ended = connect(shared, constraints, way.url()) => ended,
        };
        let now = shared.settings.clock.now();
        let wait = match ended.moved {
            Some((host, port)) => {
                let (wait, stay) = way.moved(now, host.as_deref(), port);
                if let Some(stay) = stay {
                    shared.down(&format!("it sent a Reconnect that is not followed: {stay}"));
                }
                wait
            }
            None => way.lost(now, ended.worked),
        };
        let wait = tokio::time::sleep(wait);
        tokio::select! { () = wait => {} _ = wanted.wait_for(gone) => break }
    }
    constraints
}

/// Ready when these constraints have not been wanted for a while. Templates of a connection die with it: blocks that
/// are found on the last of them shall still find their way.
async fn unwanted(shared: &Shared, constraints: Constraints) {
    let mut wanted = shared.constraints.subscribe();
    loop {
        let _ = wanted.wait_for(|list| !list.contains(&constraints)).await;
        if shared.lines.borrow().len() > LINES_MAX {
            return;
        }
        let again = wanted.wait_for(|list| list.contains(&constraints));
        if tokio::time::timeout(LINGER, again).await.is_err() {
            return;
        }
    }
}

/// How a connection ended.
struct Ended {
    /// It gave templates.
    worked: bool,
    /// The provider sent us to another place.
    moved: Option<Move>,
}

/// Counts a connection as alive and lets it go however it ends.
struct Registered<'a> {
    shared: &'a Shared,
    line: Rc<Line>,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.shared.lines.borrow_mut().remove(&self.line.number);
        if self.line.worked.get() {
            self.shared.lost();
        }
    }
}

async fn connect(shared: &Rc<Shared>, constraints: Constraints, place: &Url) -> Ended {
    let Settings { clock, dialling, .. } = &shared.settings;
    let mut link = match dial_with(place, clock, dialling).await {
        Ok(link) => link,
        Err(error) => {
            shared.down(&format!(
                "{error}; is it running, and is node = \"tdp:URL\" its URL? Trying again"
            ));
            return Ended {
                worked: false,
                moved: None,
            };
        }
    };
    shared.last_line.set(shared.last_line.get() + 1);
    let line = Rc::new(Line::new(shared.last_line.get()));
    shared.lines.borrow_mut().insert(line.number, Rc::clone(&line));
    let registered = Registered {
        shared,
        line: Rc::clone(&line),
    };
    let mut upstream = Upstream::new(Rc::clone(shared), line, constraints, place);
    let end = drive(&mut link, &mut upstream, clock, upstream::BOUNDS).await;
    let worked = registered.line.worked.get();
    let (moved, refused) = (upstream.moved.take(), upstream.refused.take());
    drop(registered);
    if moved.is_none() {
        shared.down(&match (refused, &end) {
            (Some(code), _) => {
                format!("it refused the connection ({code}): is that a template provider?")
            }
            (None, End::Closed) => "it closed the connection; was it stopped? Connecting again".into(),
            (None, end) => format!("the connection ended ({end}); connecting again"),
        });
    }
    Ended { worked, moved }
}

/// Answers requests until nobody can ask any more, and the solutions under way after that.
async fn serve(shared: &Rc<Shared>, mut requests: Requests) {
    let mut submits = JoinSet::new();
    let mut inquiries = JoinSet::new();
    while let Some(request) = requests.recv().await {
        while submits.try_join_next().is_some() {}
        while inquiries.try_join_next().is_some() {}
        if inquiries.len() >= INQUIRIES_MAX {
            let _ = inquiries.join_next().await;
        }
        match request {
            Request::Submit(_, answer) if submits.len() >= SUBMITS_MAX => {
                let reason =
                    format!("more than {SUBMITS_MAX} solutions wait for the template provider already");
                let _ = answer.send(Err(SubmitError::Unavailable(reason)));
            }
            Request::Submit(solution, answer) => {
                let shared = Rc::clone(shared);
                submits.spawn_local(async move {
                    let _ = answer.send(submit::solution(&shared, solution).await);
                });
            }
            Request::Status(hash, answer) => {
                let _ = answer.send(Ok(shared.store.borrow().status(&hash)));
            }
            Request::Constraints(rooms, answer) => {
                shared.constraints.send_replace(rooms);
                let _ = answer.send(Ok(()));
            }
            Request::Transactions(wtxids, answer) => {
                let shared = Rc::clone(shared);
                inquiries.spawn_local(async move {
                    let _ = answer.send(inquire::transactions(&shared, wtxids).await);
                });
            }
            Request::CheckBlock(block, answer) => {
                let shared = Rc::clone(shared);
                inquiries.spawn_local(async move {
                    let _ = answer.send(inquire::check(&shared, block).await);
                });
            }
            Request::SubmitBlock(_, answer) => drop(answer.send(Err(SubmitError::Unsupported))),
            Request::Reorganise(_, answer) => drop(answer.send(Err(SubmitError::Unsupported))),
        }
    }
    let _ = tokio::time::timeout(CLOSE_LIMIT, async {
        while submits.join_next().await.is_some() {}
    })
    .await;
}
