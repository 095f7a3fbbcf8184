//! What all connections of a transparent proxy share: the relay between them, and the way to each of them.
//!
//! All of it lives on one thread and is borrowed for moments, never across an await.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use adit_net::drive::Bounds;
use adit_net::{Clock, Dialling, Identities, Link, Permit, Rules, drive};
use adit_proto::relay::{Conn, Hang, Input, Line, Output, Relay, readdress};
use adit_proto::{Time, extension};
use tokio::sync::{Notify, Semaphore, mpsc, watch};

use super::device::Device;
use super::mailbox::{Mailbox, Order};
use super::tally::Tally;
use super::upstreams::Upstreams;
use super::upward::Upward;
use crate::keys::{Ring, Tended};
use crate::observe::{Roster, Status, Uplink};
use crate::shutdown::Shutdown;
use crate::uplink::{Cause, Upstream, supervisor};

/// Between two pictures.
const PICTURE_EVERY: Duration = Duration::from_millis(250);
/// Pictures between two looks at certificate and wall clock.
const HOUSEKEEPING_EVERY: u32 = 8;
/// How long devices may take to read their last words when the proxy stops.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// A connection on its way to the proxy's thread.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) stream: std::net::TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) permit: Permit,
}

/// What all connections are made with.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) clock: Clock,
    pub(super) rules: Rules,
    pub(super) handshake: Duration,
    pub(super) handshakes_max: usize,
    pub(super) setup_timeout: Duration,
    pub(super) messages_per_second: u32,
    pub(super) extensions: Arc<extension::ServerSettings>,
    pub(super) bounds: Bounds,
    pub(super) bounds_above: Bounds,
    pub(super) dialling: Dialling,
    /// Which extensions are asked for above.
    pub(super) wishes: crate::device::Extensions,
    pub(super) shutdown: Shutdown,
}

/// What a proxy is made of.
pub(super) struct Parts {
    pub(super) plan: Plan,
    pub(super) relay: Relay,
    pub(super) upstreams: Vec<Upstream>,
    pub(super) patience: supervisor::Settings,
    pub(super) ring: Ring,
    pub(super) certificate_warning_days: u32,
    pub(super) status: watch::Sender<Arc<Status>>,
    pub(super) picture: watch::Sender<Uplink>,
    pub(super) roster: watch::Sender<Arc<Roster>>,
    pub(super) first: Status,
    pub(super) refused_at_the_door: Box<dyn Fn() -> u64 + Send>,
}

/// What has to wait until the relay is no longer being asked.
pub(super) enum Later {
    Up(Line, u32),
    /// An upstream is of no use: it does not answer, or breaks the protocol.
    Down(usize, Cause),
}

/// What the connections share.
pub(super) struct Room {
    pub(super) plan: Plan,
    pub(super) relay: RefCell<Relay>,
    /// Kept between calls for its memory.
    outputs: RefCell<Vec<Output>>,
    devices: RefCell<HashMap<Conn, Rc<Mailbox>>>,
    pub(super) lines: RefCell<HashMap<Line, Rc<Upward>>>,
    pub(super) upstreams: RefCell<Upstreams>,
    pub(super) later: RefCell<VecDeque<Later>>,
    pub(super) tally: RefCell<Tally>,
    identities: RefCell<Arc<Identities>>,
    /// One handshake is computed per turn of the runtime.
    gate: Semaphore,
    handshakes: Cell<usize>,
    last_conn: Cell<u64>,
    /// Something is due earlier than it was.
    sooner: Notify,
    /// Somebody left.
    left: Notify,
}

/// Serves until shutdown.
pub(super) async fn run(parts: Parts, mut arrivals: mpsc::Receiver<Incoming>) {
    let Parts {
        plan,
        relay,
        upstreams,
        patience,
        mut ring,
        certificate_warning_days,
        status,
        picture,
        roster,
        first,
        refused_at_the_door,
    } = parts;
    let mut shutdown = plan.shutdown.clone();
    let room = Rc::new(Room {
        tally: RefCell::new(Tally::new(plan.clock.now(), first, status, picture, roster)),
        plan,
        relay: RefCell::new(relay),
        outputs: RefCell::default(),
        devices: RefCell::default(),
        lines: RefCell::default(),
        upstreams: RefCell::new(Upstreams::new(&upstreams, patience)),
        later: RefCell::default(),
        identities: RefCell::new(ring.identities()),
        gate: Semaphore::new(1),
        handshakes: Cell::new(0),
        last_conn: Cell::new(0),
        sooner: Notify::new(),
        left: Notify::new(),
    });
    room.begin();
    let mut beat = tokio::time::interval(PICTURE_EVERY);
    let mut beats = 0u32;
    loop {
        let due = room.due();
        tokio::select! {
            biased;
            () = shutdown.requested() => break,
            () = due => room.expire(),
            () = room.sooner.notified() => {}
            Some(incoming) = arrivals.recv() => room.admit(incoming),
            _ = beat.tick() => {
                if beats.is_multiple_of(HOUSEKEEPING_EVERY) {
                    room.tend(&mut ring, certificate_warning_days);
                }
                beats = beats.wrapping_add(1);
                room.show(refused_at_the_door());
            }
        }
    }
    room.wind_up().await;
    room.show(refused_at_the_door());
}

impl Room {
    /// Asks the relay, and does what it says.
    pub(super) fn relay(self: &Rc<Self>, input: Input<'_>) {
        let before = self.relay.borrow().deadline();
        let mut outputs = self.outputs.take();
        let now = self.plan.clock.now();
        self.relay.borrow_mut().handle(now, input, &mut outputs);
        for output in outputs.drain(..) {
            self.carry(now, output);
        }
        self.outputs.replace(outputs);
        loop {
            let next = self.later.borrow_mut().pop_front();
            match next {
                None => break,
                Some(Later::Up(line, success_flags)) => self.relay(Input::Up { line, success_flags }),
                Some(Later::Down(upstream, cause)) => self.down(upstream, cause),
            }
        }
        let after = self.relay.borrow().deadline();
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.sooner.notify_one();
        }
    }

    fn carry(self: &Rc<Self>, now: Time, output: Output) {
        match output {
            Output::Below { conn, message } => self.below(now, conn, |out| message.encode_frame(out)),
            Output::BelowFrame { conn, frame } => self.below(now, conn, |out| out.extend_from_slice(&frame)),
            Output::Fan { frame, to } => {
                for (conn, id) in to {
                    self.below(now, conn, |out| readdress(&frame, id, out));
                }
            }
            Output::Above {
                line,
                message,
                worker,
            } => {
                if let Some(up) = self.lines.borrow().get(&line) {
                    up.say(now, &message, worker);
                }
            }
            Output::AboveFrame { line, frame } => {
                if let Some(up) = self.lines.borrow().get(&line) {
                    up.mailbox.push(now, |out| out.extend_from_slice(&frame));
                }
            }
            Output::Admit { conn, success_flags } => self.order(conn, Order::Admit(success_flags)),
            Output::Deny { conn, flags } => self.order(conn, Order::Deny(flags)),
            Output::Cut { conn, fault } => self.order(conn, Order::Cut(fault)),
            Output::Dial { line, flags } => self.dial(line, flags),
            Output::Hang { line, why } => self.hang(line, why),
            Output::Event(event) => self.tally.borrow_mut().note(now, event),
        }
    }

    fn below(&self, now: Time, conn: Conn, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(mailbox) = self.devices.borrow().get(&conn) {
            mailbox.push(now, write);
        }
    }

    fn order(&self, conn: Conn, order: Order) {
        if let Some(mailbox) = self.devices.borrow().get(&conn) {
            mailbox.order(order);
        }
    }

    fn hang(&self, line: Line, why: Hang) {
        let Some(up) = self.lines.borrow_mut().remove(&line) else {
            return;
        };
        self.upstreams.borrow_mut().forget(&up);
        up.hang_up();
        let cause = match why {
            Hang::Turned | Hang::Idle => return,
            Hang::Silent => Cause::Silent,
            Hang::Misbehaved(what) => {
                tracing::warn!(what, "the upstream breaks the protocol");
                Cause::Misbehaved
            }
        };
        self.later.borrow_mut().push_back(Later::Down(up.upstream, cause));
    }

    /// Until something is due.
    fn due(&self) -> impl Future<Output = ()> + use<> {
        let due = [
            self.relay.borrow().deadline(),
            self.upstreams.borrow().supervisor.deadline(),
        ];
        let wait = due
            .into_iter()
            .flatten()
            .min()
            .map(|due| due - self.plan.clock.now());
        async move {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        }
    }

    fn expire(self: &Rc<Self>) {
        self.relay(Input::Deadline);
        self.decide(supervisor::Input::Deadline);
    }

    fn admit(self: &Rc<Self>, incoming: Incoming) {
        if self.handshakes.get() >= self.plan.handshakes_max {
            self.tally.borrow_mut().turned_away();
            return;
        }
        self.handshakes.set(self.handshakes.get() + 1);
        tokio::task::spawn_local(Rc::clone(self).serve(incoming));
    }

    /// One connection below, from handshake to end.
    async fn serve(self: Rc<Self>, incoming: Incoming) {
        let Incoming { stream, peer, permit } = incoming;
        let identities = Arc::clone(&self.identities.borrow());
        let accepted = match tokio::net::TcpStream::from_std(stream) {
            Ok(stream) => {
                let (rules, patience) = (&self.plan.rules, self.plan.handshake);
                Link::accept(stream, &identities, rules, patience, &self.gate).await
            }
            Err(error) => Err(error.into()),
        };
        self.handshakes.set(self.handshakes.get() - 1);
        drop(identities);
        let mut link = match accepted {
            Ok(link) => link,
            Err(error) => {
                tracing::debug!(%peer, %error, "no handshake");
                return;
            }
        };
        self.tally.borrow_mut().entered(link.suite());
        self.last_conn.set(self.last_conn.get() + 1);
        let conn = Conn(self.last_conn.get());
        let mailbox = Rc::new(Mailbox::new(self.plan.bounds.queue_max_bytes));
        self.devices.borrow_mut().insert(conn, Rc::clone(&mailbox));
        let mut device = Device::new(Rc::clone(&self), conn, mailbox, peer);
        let end = drive(&mut link, &mut device, &self.plan.clock, self.plan.bounds).await;
        tracing::debug!(%peer, %end, "connection ended");
        self.devices.borrow_mut().remove(&conn);
        self.tally.borrow_mut().left(&end);
        self.relay(Input::Left { conn });
        self.left.notify_one();
        drop(permit);
    }

    /// New keys for new connections; those that are there keep their session.
    fn tend(&self, ring: &mut Ring, warning_days: u32) {
        self.plan.clock.follow_wall_clock();
        let now = self.plan.clock.unix_s();
        match ring.tend(now) {
            Tended::Quiet => {}
            Tended::Renewed | Tended::OtherAuthority => {
                tracing::info!("keys or certificates are other ones now");
                self.identities.replace(ring.identities());
            }
            Tended::Refused(exit) => {
                tracing::error!(reason = %exit.message, help = %exit.hint, "changed keys are of no use; the old ones are shown on");
            }
        }
        self.tally.borrow_mut().keys(ring, now, warning_days);
    }

    fn show(&self, refused_at_the_door: u64) {
        let relay = self.relay.borrow();
        let lines = self
            .lines
            .borrow()
            .values()
            .filter(|up| up.stood.get().is_some())
            .count();
        self.tally.borrow_mut().show(
            self.plan.clock.now(),
            self.devices.borrow().len(),
            relay.channel_counts(),
            lines,
            refused_at_the_door,
        );
    }

    /// Everybody is sent home.
    async fn wind_up(&self) {
        for mailbox in self.devices.borrow().values() {
            mailbox.order(Order::Leave);
        }
        let gone = async {
            while !self.devices.borrow().is_empty() {
                self.left.notified().await;
            }
        };
        if tokio::time::timeout(STOP_PATIENCE, gone).await.is_err() {
            tracing::warn!("stopped without waiting for every device");
        }
        for up in self.lines.borrow().values() {
            up.hang_up();
        }
    }
}
