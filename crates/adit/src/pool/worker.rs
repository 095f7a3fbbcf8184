//! A worker: one thread, one single-threaded runtime, and the connections that it owns for life.
//!
//! What a share touches lives here and nowhere else, so there is no lock on its path. Shares of all
//! connections that were read in one turn of the runtime go to the ledger as one batch; news comes back as flags
//! in mailboxes. Only batches, jobs and reports cross threads.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use adit_ledger::record::{SessionClosed, SessionOpened};
use adit_ledger::{Lane, Share};
use adit_net::drive::Bounds;
use adit_net::{Clock, End, Identities, Link, LinkError, Permit, Rules, Shared, Tls, push_all};
use adit_proto::extranonce::{Slot, Space};
use adit_proto::mining::server::{AccountId, WorkerName};
use adit_proto::{Fault, extension, mining, setup, sv1};
use tokio::sync::{Notify, Semaphore, broadcast, mpsc, watch};

use super::branch::{HELD_MAX, Mined};
use super::connection::Connection;
use super::desk::{Door, ToDesk};
use super::distributing;
use super::drain::Order;
use super::hub::Published;
use super::mailbox::{CLOSING, COMMITTED, DISTRIBUTED, DRAIN, KICK, LEDGER, Mailbox, WORK};
use super::parking::Parking;
use super::peers::{Door as CameBy, Kick, Kicks, PeerId};
use super::records;
use super::report::{ByAccount, ByWorker, Report, ToHub, WorkerKey};
use super::sessions::{Client, Counted, Refused};
use super::totals::{STRATUM_V1, STRATUM_V1_TLS};
use crate::exit::Exit;
use crate::payout::prove::OpenChannels;
use crate::shutdown::Shutdown;

/// Accepted connections that may wait for a worker's attention.
const INCOMING_MAX: usize = 1024;
/// Accounts, and workers of theirs, whose names a worker remembers; any more are known in the ledger by their id only.
const NAMES_MAX: usize = 1_000_000;
/// Tips whose heights are remembered.
const HEIGHTS_MAX: usize = 32;
/// How often a worker tells the hub what happened.
const REPORT_EVERY: Duration = Duration::from_millis(500);
/// Connections that are told of new work in one turn of the runtime, those who mine meanwhile in between.
const ROW: usize = 64;
/// How long a stopping worker waits for its last shares to become durable and its last answers to be sent.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// A connection on its way to its worker.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) stream: std::net::TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) permit: Permit,
    /// It came to the port for TLS.
    pub(super) tls: bool,
}

/// What all workers are made with.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) clock: Clock,
    pub(super) mining: Arc<mining::server::Settings>,
    pub(super) setup: Arc<setup::Settings>,
    /// What is distributed here, if anything is.
    pub(super) distribution: Option<Arc<distributing::Desk>>,
    pub(super) sv1: Arc<sv1::server::Settings>,
    pub(super) parking: Arc<Parking>,
    /// Open channels, for whoever asks about their coinbases.
    pub(super) open: Arc<OpenChannels>,
    pub(super) tls: Option<Tls>,
    pub(super) identities: watch::Receiver<Arc<Identities>>,
    pub(super) rules: Rules,
    pub(super) extensions: Arc<extension::ServerSettings>,
    pub(super) work: watch::Receiver<Option<Published>>,
    /// Marked as changed when the ledger went down or came up.
    pub(super) ledger: watch::Receiver<()>,
    pub(super) hub: mpsc::Sender<ToHub>,
    /// Where jobs are negotiated, if they are.
    pub(super) desk: Option<Door>,
    /// Where accepted shares go besides the ledger, below an upstream.
    pub(super) mined: Option<mpsc::Sender<Vec<Mined>>>,
    pub(super) handshake: Duration,
    pub(super) handshakes_max: usize,
    pub(super) messages_per_second: u32,
    pub(super) bounds: Bounds,
    /// Set once, when everybody is to leave.
    pub(super) drain: watch::Receiver<Option<Order>>,
    /// How long refused shares are summed up before they are noted.
    pub(super) rejects_every_us: u64,
    /// Who is to be closed from this side.
    pub(super) kicks: broadcast::Sender<Kick>,
    pub(super) shutdown: Shutdown,
}

impl Plan {
    /// What a peer is offered.
    pub(super) fn setup_for(&self, peer: IpAddr) -> Arc<setup::Settings> {
        let distribution = self.distribution.as_ref();
        distribution
            .and_then(|desk| desk.setup_for(peer))
            .unwrap_or_else(|| Arc::clone(&self.setup))
    }
}

/// The way to a running worker.
#[derive(Debug)]
pub(super) struct WorkerHandle {
    pub(super) incoming: mpsc::Sender<Incoming>,
    /// Connections that it has or is about to have.
    pub(super) load: Arc<AtomicUsize>,
    /// Turns of its loop that ended a report: whether it lives.
    pub(super) beats: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl WorkerHandle {
    /// Starts a worker thread. `lane` is made on the spot with the wake-up that it must call after commits.
    pub(super) fn start(
        number: u32,
        plan: Plan,
        space: Space,
        lane: impl FnOnce(Arc<dyn Fn() + Send + Sync>) -> Lane,
    ) -> Result<Self, Exit> {
        let (incoming, arrivals) = mpsc::channel(INCOMING_MAX);
        let load = Arc::new(AtomicUsize::new(0));
        let committed = Arc::new(Notify::new());
        let wake = Arc::clone(&committed);
        let lane = lane(Arc::new(move || wake.notify_one()));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Exit::failed(format!("cannot start a worker: {error}")))?;
        let worker_load = Arc::clone(&load);
        let beats = Arc::new(AtomicU64::new(0));
        let worker_beats = Arc::clone(&beats);
        let thread = std::thread::Builder::new()
            .name(format!("adit-worker-{number}"))
            .spawn(move || {
                let worker = Rc::new(Worker::new(number, plan, space, lane, worker_load));
                tokio::task::LocalSet::new()
                    .block_on(&runtime, worker.run(arrivals, committed, worker_beats));
            })
            .map_err(|error| Exit::failed(format!("cannot start a worker thread: {error}")))?;
        Ok(Self {
            incoming,
            load,
            beats,
            thread,
        })
    }

    /// Waits for the thread to end.
    pub(super) fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("a worker thread panicked");
        }
    }
}

/// What the connections of a thread share. Everything is used for moments only, never across an await.
pub(super) struct Worker {
    number: u32,
    pub(super) plan: Plan,
    space: RefCell<Space>,
    lane: RefCell<Lane>,
    /// Shares of this turn, on their way to the lane.
    batch: RefCell<Vec<Share>>,
    /// Work on jobs that nobody here can check, since the last report.
    unseen: RefCell<ByAccount<u64>>,
    /// Shares of this turn, on their way to the upstream.
    mined: RefCell<Vec<Mined>>,
    /// Shares ever pushed to `batch`: positions in the lane's count of records.
    pushed: Cell<u64>,
    /// Who waits for which position, in rising order.
    waiting: RefCell<VecDeque<(u64, Rc<Mailbox>)>>,
    flush: Notify,
    seats: RefCell<Seats>,
    /// Connections that came so far.
    came: Cell<u64>,
    /// What is to be closed of whom.
    kicks: RefCell<Kicks>,
    /// Somebody left.
    left: Notify,
    /// The work everybody is on, and the ledger's state, as last looked at.
    pub(super) work: RefCell<Option<Work>>,
    /// There is newer work than somebody here has.
    newer: Notify,
    /// Heights of the last tips.
    heights: RefCell<VecDeque<(u64, u32)>>,
    /// Accounts whose channels were opened here, with their name until the ledger has it.
    names: RefCell<ByAccount<Option<Box<str>>>>,
    /// The same for the workers behind channels (extension 0x0002).
    worker_names: RefCell<ByWorker<Option<WorkerName>>>,
    /// Refused shares on their way to the ledger.
    refused: RefCell<Refused>,
    /// Sessions that began here.
    sessions: Cell<u64>,
    pub(super) ledger_up: Cell<bool>,
    committed: Cell<u64>,
    /// One buffer for the outputs of whichever machine is running.
    pub(super) outputs: RefCell<Vec<mining::server::Output>>,
    pub(super) report: RefCell<Report>,
    handshakes: Cell<usize>,
    /// Who comes now is sent on at once.
    draining: Cell<bool>,
    /// One handshake is computed per turn of the runtime: those who mine come first.
    gate: Semaphore,
    load: Arc<AtomicUsize>,
}

/// The work of a worker's connections.
pub(super) struct Work {
    /// Counts up from 1.
    pub(super) number: u64,
    pub(super) published: Published,
}

/// The connections that are there.
#[derive(Default)]
struct Seats {
    taken: Vec<Option<Seat>>,
    free: Vec<usize>,
}

struct Seat {
    peer: PeerId,
    mailbox: Rc<Mailbox>,
    connection: Rc<Shared<Connection>>,
}

impl Seats {
    fn take(&mut self, taken: Seat) -> usize {
        match self.free.pop() {
            Some(seat) => {
                self.taken[seat] = Some(taken);
                seat
            }
            None => {
                self.taken.push(Some(taken));
                self.taken.len() - 1
            }
        }
    }

    fn of(&self, wanted: PeerId) -> Option<&Mailbox> {
        let taken = self.taken.iter().flatten();
        let mut of = taken.filter(|seat| seat.peer == wanted);
        of.next().map(|seat| &*seat.mailbox)
    }

    fn leave(&mut self, seat: usize) {
        self.taken[seat] = None;
        self.free.push(seat);
    }

    fn ring(&self, news: u8) {
        for seat in self.taken.iter().flatten() {
            seat.mailbox.ring(news);
        }
    }

    /// Puts news into the mailboxes of one row, without a wake-up, and gives its connections; nothing behind the last.
    fn row(&self, from: usize, news: u8) -> Option<Vec<Rc<Shared<Connection>>>> {
        let row = self.taken.get(from..)?.iter().take(ROW).flatten();
        let connections = row.map(|seat| {
            seat.mailbox.raise(news);
            Rc::clone(&seat.connection)
        });
        (from < self.taken.len()).then(|| connections.collect())
    }

    fn len(&self) -> usize {
        self.taken.len() - self.free.len()
    }
}

impl Worker {
    fn new(number: u32, plan: Plan, space: Space, lane: Lane, load: Arc<AtomicUsize>) -> Self {
        let ledger_up = lane.is_up();
        Self {
            number,
            plan,
            space: RefCell::new(space),
            lane: RefCell::new(lane),
            batch: RefCell::default(),
            unseen: RefCell::default(),
            mined: RefCell::default(),
            pushed: Cell::new(0),
            waiting: RefCell::default(),
            flush: Notify::new(),
            seats: RefCell::default(),
            came: Cell::new(0),
            kicks: RefCell::default(),
            left: Notify::new(),
            work: RefCell::new(None),
            newer: Notify::new(),
            heights: RefCell::default(),
            names: RefCell::default(),
            worker_names: RefCell::default(),
            refused: RefCell::default(),
            sessions: Cell::new(0),
            ledger_up: Cell::new(ledger_up),
            committed: Cell::new(0),
            outputs: RefCell::default(),
            report: RefCell::default(),
            handshakes: Cell::new(0),
            draining: Cell::new(false),
            gate: Semaphore::new(1),
            load,
        }
    }

    async fn run(
        self: Rc<Self>,
        mut arrivals: mpsc::Receiver<Incoming>,
        committed: Arc<Notify>,
        beats: Arc<AtomicU64>,
    ) {
        tokio::task::spawn_local(Rc::clone(&self).flusher());
        tokio::task::spawn_local(Rc::clone(&self).spread_work());
        tokio::task::spawn_local(Rc::clone(&self).see_off());
        let mut work = self.plan.work.clone();
        let mut ledger = self.plan.ledger.clone();
        let distribution = self.plan.distribution.as_ref();
        let mut distributed = distribution.map(|desk| desk.distribution.states.clone());
        let mut shutdown = self.plan.shutdown.clone();
        let mut kicks = self.plan.kicks.subscribe();
        let mut beat = tokio::time::interval(REPORT_EVERY);
        work.mark_changed();
        loop {
            tokio::select! {
                biased;
                Ok(()) = work.changed() => {
                    let work = work.borrow_and_update().clone();
                    self.take_work(work);
                }
                () = committed.notified() => self.spread_commits(),
                () = distributing::changed(&mut distributed) => self.seats.borrow().ring(DISTRIBUTED),
                Ok(()) = ledger.changed() => {
                    self.ledger_up.set(self.lane.borrow().is_up());
                    self.flush.notify_one();
                    self.seats.borrow().ring(LEDGER);
                }
                Some(incoming) = arrivals.recv() => self.admit(incoming),
                // Who asked too often at once may ask again.
                Ok(kick) = kicks.recv() => self.kick(kick),
                _ = beat.tick() => {
                    self.hand_up();
                    self.collect();
                    self.note_refused(self.plan.rejects_every_us);
                    self.send_report();
                    beats.fetch_add(1, Ordering::Relaxed);
                }
                () = shutdown.requested() => break,
            }
        }
        self.wind_up(&committed).await;
        // Connections hold the worker: those that did not leave are let go with the tasks that drive them.
        self.seats.take();
        tracing::debug!(worker = self.number, "worker stopped");
    }

    /// The last shares become durable, the last answers go out, and everybody is sent home.
    async fn wind_up(&self, committed: &Notify) {
        let last = async {
            while self.committed.get() < self.pushed.get() && self.ledger_up.get() {
                self.hand_over();
                committed.notified().await;
                self.spread_commits();
            }
            self.seats.borrow().ring(CLOSING);
            while self.seats.borrow().len() > 0 {
                self.left.notified().await;
            }
            self.hand_up_last().await;
        };
        if tokio::time::timeout(STOP_PATIENCE, last).await.is_err() {
            tracing::warn!(
                worker = self.number,
                "stopped without waiting for every last answer"
            );
        }
        self.note_refused(0);
        self.send_report();
    }

    /// Somebody of ours is to be closed.
    fn kick(&self, kick: Kick) {
        if kick.peer.worker() == self.number
            && let Some(mailbox) = self.seats.borrow().of(kick.peer)
        {
            let mut kicks = self.kicks.borrow_mut();
            kicks.entry(kick.peer).or_default().push(kick.channel_id);
            mailbox.ring(KICK);
        }
    }

    /// What is to be closed of a connection: channels, or all of it.
    pub(super) fn kicked(&self, peer: PeerId) -> Vec<Option<u32>> {
        self.kicks.borrow_mut().remove(&peer).unwrap_or_default()
    }

    /// Hands each turn's shares to the ledger once every connection that was ready has had its turn.
    async fn flusher(self: Rc<Self>) {
        loop {
            self.flush.notified().await;
            tokio::task::yield_now().await;
            self.hand_over();
            self.hand_up();
        }
    }

    /// When the pool is drained: tells one peer after the other, so that they do not all arrive at once elsewhere.
    async fn see_off(self: Rc<Self>) {
        let mut drain = self.plan.drain.clone();
        // An error means that the pool has stopped without it.
        let Ok(order) = drain.wait_for(Option::is_some).await.map(|order| order.clone()) else {
            return;
        };
        let Some(order) = order else { return };
        self.draining.set(true);
        let peers: Vec<Rc<Mailbox>> = {
            let seats = self.seats.borrow();
            let seats = seats.taken.iter().flatten();
            seats.map(|seat| Rc::clone(&seat.mailbox)).collect()
        };
        let (gap, start) = (order.gap(peers.len()), tokio::time::Instant::now());
        for (number, peer) in (0u32..).zip(peers) {
            tokio::time::sleep_until(start + gap * number).await;
            peer.ring(DRAIN);
        }
    }

    fn hand_over(&self) {
        let mut batch = self.batch.borrow_mut();
        if !batch.is_empty() && self.lane.borrow_mut().send(&mut batch).is_err() {
            // The ledger is down and its queue is full: what is here stays here, unacknowledged, until it is up.
            tracing::debug!(
                worker = self.number,
                shares = batch.len(),
                "the ledger takes no more shares for now"
            );
        }
    }

    /// An accepted share goes to the upstream as well, at the end of this turn.
    pub(super) fn send_up(&self, mined: Mined) {
        let mut waiting = self.mined.borrow_mut();
        if waiting.len() < HELD_MAX {
            waiting.push(mined);
        } else {
            self.report.borrow_mut().not_sent_up += 1;
        }
    }

    /// Gives the uplink what was mined; what it has no room for waits for the next turn.
    fn hand_up(&self) {
        let Some(uplink) = &self.plan.mined else { return };
        if self.mined.borrow().is_empty() {
            return;
        }
        if let Ok(place) = uplink.try_reserve() {
            place.send(std::mem::take(&mut *self.mined.borrow_mut()));
        }
    }

    /// The same at the end, when there is no next turn: waits for room.
    async fn hand_up_last(&self) {
        let Some(uplink) = &self.plan.mined else { return };
        let mined = std::mem::take(&mut *self.mined.borrow_mut());
        if !mined.is_empty() {
            // Without an uplink there is nobody who wants them.
            let _ = uplink.send(mined).await;
        }
    }

    fn spread_commits(&self) {
        let committed = self.lane.borrow().committed();
        self.committed.set(committed);
        let mut waiting = self.waiting.borrow_mut();
        while waiting
            .front()
            .is_some_and(|(position, _)| *position <= committed)
        {
            if let Some((_, mailbox)) = waiting.pop_front() {
                mailbox.ring(COMMITTED);
            }
        }
        drop(waiting);
        if !self.batch.borrow().is_empty() {
            self.hand_over();
        }
    }

    /// An accepted share goes on its way to the disk.
    pub(super) fn push(&self, share: &mining::server::Share, is_block: bool) {
        self.introduce(share.account);
        if let Some(worker) = share.worker {
            self.introduce_worker((share.account, worker));
        }
        let mut batch = self.batch.borrow_mut();
        if batch.is_empty() {
            self.flush.notify_one();
        }
        batch.push(records::share(share, self.height(share.tip), is_block));
        self.pushed.set(self.pushed.get() + 1);
    }

    /// A share of a job that nobody here can check was credited.
    pub(super) fn credit_unseen(&self, account: AccountId, work: u64) {
        let mut unseen = self.unseen.borrow_mut();
        let sum = unseen.entry(account).or_default();
        *sum = sum.saturating_add(work);
    }

    /// Remembers what an account calls itself until its first share.
    pub(super) fn name(&self, account: AccountId, name: &[u8]) {
        let mut names = self.names.borrow_mut();
        if names.len() < NAMES_MAX || names.contains_key(&account) {
            names
                .entry(account)
                .or_insert_with(|| Some(String::from_utf8_lossy(name).into()));
        }
    }

    /// The ledger learns an account's name before its first share.
    #[inline]
    fn introduce(&self, account: AccountId) {
        if let Some(name) = self.names.borrow_mut().get_mut(&account)
            && name
                .as_ref()
                .is_some_and(|name| self.lane.borrow_mut().account(account.0, name).is_ok())
        {
            *name = None;
        }
    }

    /// A number that no other session of this start has.
    pub(super) fn next_session(&self) -> u64 {
        let count = self.sessions.get();
        self.sessions.set(count + 1);
        u64::from(self.number) << 40 | count
    }

    /// A channel has had its first share accepted.
    pub(super) fn note_opened(&self, session: SessionOpened) {
        if self.lane.borrow_mut().opened(session).is_err() {
            tracing::debug!(worker = self.number, "the ledger has no room to note a session");
        }
    }

    /// A noted session is over.
    pub(super) fn note_closed(&self, session: SessionClosed) {
        if self.lane.borrow_mut().closed(session).is_err() {
            tracing::debug!(
                worker = self.number,
                "the ledger has no room to note the end of a session"
            );
        }
    }

    /// A share of `account` was refused.
    pub(super) fn refused(&self, account: Option<AccountId>, reason: &'static str) {
        let named = |account: &AccountId| matches!(self.names.borrow().get(account), Some(None));
        let owner = account.map(|account| (account, named(&account)));
        let now = self.plan.clock.now();
        let counted = self.refused.borrow_mut().count(now, owner, reason);
        if let (Some(account), Counted::Stranger) = (account, counted) {
            self.introduce(account);
        }
    }

    fn note_refused(&self, every_us: u64) {
        let now = self.plan.clock.now();
        let mut refused = self.refused.borrow_mut();
        refused.write(now, every_us, &mut self.lane.borrow_mut());
    }

    /// Remembers what a worker behind a channel is called until its first share.
    pub(super) fn name_worker(&self, worker: WorkerKey, name: WorkerName) {
        let mut names = self.worker_names.borrow_mut();
        if names.len() < NAMES_MAX || names.contains_key(&worker) {
            names.entry(worker).or_insert(Some(name));
        }
    }

    /// The ledger learns a worker's name before its first share.
    fn introduce_worker(&self, worker: WorkerKey) {
        if let Some(known) = self.worker_names.borrow_mut().get_mut(&worker)
            && let Some(name) = known
            && let (account, id) = (worker.0.0, worker.1.0)
            && self.lane.borrow_mut().worker(account, id, name.as_str()).is_ok()
        {
            *known = None;
        }
    }

    /// Height of the blocks of a tip.
    fn height(&self, tip: u64) -> u32 {
        let heights = self.heights.borrow();
        heights
            .iter()
            .rev()
            .find(|(known, _)| *known == tip)
            .map_or(0, |(_, height)| *height)
    }

    fn take_work(&self, work: Option<Published>) {
        let Some(work) = work else { return };
        let mut heights = self.heights.borrow_mut();
        let lanes = work.lanes.iter().flat_map(|lanes| lanes.all());
        let tips = lanes.map(|lane| (lane.job.tip(), lane.height));
        for (tip, height) in tips.chain([(work.job.tip(), work.height)]) {
            if heights.iter().rev().any(|(known, _)| *known == tip) {
                continue;
            }
            heights.push_back((tip, height));
            if heights.len() > HEIGHTS_MAX {
                heights.pop_front();
            }
        }
        let number = self.work.borrow().as_ref().map_or(0, |work| work.number) + 1;
        self.work.replace(Some(Work {
            number,
            published: work,
        }));
        self.newer.notify_one();
    }

    /// Tells everybody of new work, row by row. Newer work that comes meanwhile goes to all of them in another round.
    async fn spread_work(self: Rc<Self>) {
        loop {
            self.newer.notified().await;
            let mut from = 0;
            loop {
                let row = self.seats.borrow().row(from, WORK);
                let Some(row) = row else { break };
                push_all(&row);
                from += ROW;
                tokio::task::yield_now().await;
            }
        }
    }

    /// The position of the last share that was pushed; `mailbox` is rung when it is durable.
    pub(super) fn await_commit(&self, mailbox: &Rc<Mailbox>) -> u64 {
        let position = self.pushed.get();
        self.waiting
            .borrow_mut()
            .push_back((position, Rc::clone(mailbox)));
        position
    }

    /// Records of this worker that are durable.
    pub(super) fn committed(&self) -> u64 {
        self.committed.get()
    }

    /// A connection slot of the extranonce space, if one is free.
    pub(super) fn lease(&self) -> Option<Slot> {
        self.space.borrow_mut().lease(self.tip())
    }

    /// Gives a slot back; it is used again when all work of now is stale.
    pub(super) fn release(&self, slot: Slot, tip: u64) {
        self.space.borrow_mut().release(slot, tip.max(self.tip()));
    }

    /// The same for a slot that may be of another worker.
    pub(super) fn release_to(&self, home: Option<u32>, slot: Slot, tip: u64) {
        match home.filter(|home| *home != self.number) {
            None => self.release(slot, tip),
            Some(home) => self.plan.parking.send_home(home, slot, tip.max(self.tip())),
        }
    }

    /// Keeps a session of Stratum V1 whose socket broke.
    pub(super) fn park(&self, home: Option<u32>, server: Box<sv1::Server>) {
        let now = self.plan.clock.now();
        self.plan.parking.park(now, home.unwrap_or(self.number), server);
    }

    /// Takes back the slots of sessions that ended elsewhere, or never went on.
    fn collect(&self) {
        for (slot, tip) in self.plan.parking.collect(self.plan.clock.now(), self.number) {
            self.release(slot, tip);
        }
    }

    /// Generation of the newest tip.
    fn tip(&self) -> u64 {
        self.work.borrow().as_ref().map_or(0, |work| work.published.tip())
    }

    /// Tells the hub what happened since the last time; skipped when the hub is behind.
    fn send_report(&self) {
        if let Some(desk) = &self.plan.desk
            && !self.unseen.borrow().is_empty()
            && let Ok(place) = desk.asks.try_reserve()
        {
            place.send(ToDesk::Credited(self.unseen.take().into_iter().collect()));
        }
        let mut report = self.report.borrow_mut();
        if let Ok(place) = self.plan.hub.try_reserve() {
            place.send(ToHub::Report(Box::new(std::mem::take(&mut report))));
        }
    }

    fn admit(self: &Rc<Self>, incoming: Incoming) {
        let worker = Rc::clone(self);
        if self.handshakes.get() >= self.plan.handshakes_max {
            self.report.borrow_mut().handshakes_refused += 1;
            self.load.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        self.handshakes.set(self.handshakes.get() + 1);
        tokio::task::spawn_local(async move {
            // In a box of its own: a handshake needs kilobytes, which a connection shall not keep for its life.
            let entered = Box::pin(Rc::clone(&worker).receive(incoming)).await;
            if let Some(entered) = entered {
                worker.serve(entered).await;
            }
            worker.load.fetch_sub(1, Ordering::Relaxed);
        });
    }

    /// A new connection up to the end of its handshake; nothing if it did not come so far.
    async fn receive(self: Rc<Self>, incoming: Incoming) -> Option<Entered> {
        let Incoming {
            stream,
            peer,
            permit,
            tls,
        } = incoming;
        let identities = Arc::clone(&self.plan.identities.borrow());
        let (rules, patience) = (&self.plan.rules, self.plan.handshake);
        let tls = self.plan.tls.as_ref().filter(|_| tls);
        let link = match (tokio::net::TcpStream::from_std(stream), tls) {
            (Ok(stream), Some(tls)) => Link::accept_tls(stream, tls, patience).await,
            (Ok(stream), None) => Link::accept(stream, &identities, rules, patience, &self.gate).await,
            (Err(error), _) => Err(error.into()),
        };
        self.handshakes.set(self.handshakes.get() - 1);
        drop(identities);
        let link = match link {
            Ok(link) => link,
            Err(error) => {
                self.report.borrow_mut().handshakes_failed += 1;
                turned_away(peer, &error);
                return None;
            }
        };
        let id = PeerId::new(self.number, self.came.get());
        self.came.set(self.came.get() + 1);
        self.enter(id, peer, &link);
        let mailbox = Rc::new(Mailbox::default());
        if self.draining.get() {
            mailbox.ring(DRAIN);
        }
        let client = Client::on(&link);
        let mut connection = Connection::new(Rc::clone(&self), Rc::clone(&mailbox), peer, id, client);
        let started = match link.is_lines() {
            true => connection.serve_lines(),
            false => Ok(()),
        };
        let connection = Shared::new(link, connection, self.plan.clock.clone(), self.plan.bounds);
        let seat = self.seats.borrow_mut().take(Seat {
            peer: id,
            mailbox,
            connection: Rc::clone(&connection),
        });
        Some(Entered {
            id,
            connection,
            seat,
            started,
            _permit: permit,
        })
    }

    /// One connection, from its handshake to its end.
    async fn serve(&self, entered: Entered) {
        let Entered {
            id,
            connection,
            seat,
            started,
            _permit,
        } = entered;
        let end = match started {
            Ok(()) => connection.drive().await,
            Err(fault) => End::Fault(fault),
        };
        connection.with(|connection| connection.ended(&end));
        self.report.borrow_mut().left(id);
        self.kicks.borrow_mut().remove(&id);
        self.seats.borrow_mut().leave(seat);
        self.left.notify_one();
    }
}

/// A connection that has its seat.
struct Entered {
    id: PeerId,
    connection: Rc<Shared<Connection>>,
    seat: usize,
    started: Result<(), Fault>,
    /// Held until it ends.
    _permit: Permit,
}

impl Worker {
    fn enter(&self, id: PeerId, address: SocketAddr, link: &Link) {
        let mut report = self.report.borrow_mut();
        let protocol = match (link.is_lines(), link.is_tls()) {
            (false, _) => link.suite().name(),
            (true, false) => STRATUM_V1,
            (true, true) => STRATUM_V1_TLS,
        };
        match link.is_lines() {
            true => report.entered_lines(link.is_tls()),
            false => report.entered(link.suite()),
        }
        let at = self.plan.clock.now();
        report.came(
            id,
            CameBy {
                address,
                protocol,
                at,
            },
        );
    }
}

/// Whoever comes with another protocol was set up wrongly: the operator should see it. Everything else is noise of the
/// Internet.
fn turned_away(peer: SocketAddr, error: &LinkError) {
    match error {
        LinkError::StratumV1 | LinkError::PlaintextRefused | LinkError::Draft2022Off => {
            tracing::info!(%peer, %error, "turned away");
        }
        _ => tracing::debug!(%peer, %error, "no handshake"),
    }
}
