//! Which upstream is worked for, and the connections to it.
//!
//! The supervisor chooses as it does for every role. What shows it that an upstream is there is one connection: it becomes
//! the first line when that upstream is turned to. A connection without channels that an upstream closes is no loss, and is
//! made again when somebody needs it.

use std::rc::Rc;
use std::time::Duration;

use adit_net::{Itinerary, random};
use adit_proto::extension::{Patience, Wishes};
use adit_proto::relay::{Input, Line};

use super::room::{Later, Room};
use super::upward::{self, Upward};
use crate::uplink::supervisor::{self, Choice, Output, Supervisor};
use crate::uplink::{Cause, Upstream};

/// What waits for an upstream that reads slowly; more, and it is lost.
const QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// All upstreams.
pub(super) struct Upstreams {
    pub(super) supervisor: Supervisor,
    ways: Vec<Itinerary>,
    patience: Vec<Patience>,
    choice: Option<usize>,
    /// Connections that are there or on their way.
    ups: Vec<Rc<Upward>>,
}

impl Upstreams {
    pub(super) fn new(upstreams: &[Upstream], patience: supervisor::Settings) -> Self {
        // A connection without channels is no standby: upstreams close it.
        let settings = supervisor::Settings {
            standby: 0,
            ..patience
        };
        Self {
            supervisor: Supervisor::new(settings, upstreams.len()),
            ways: upstreams
                .iter()
                .map(|it| Itinerary::new(it.url.clone()))
                .collect(),
            patience: vec![Patience::default(); upstreams.len()],
            choice: None,
            ups: Vec::new(),
        }
    }

    /// It is of no interest any more; false if it was not.
    pub(super) fn forget(&mut self, up: &Rc<Upward>) -> bool {
        let before = self.ups.len();
        self.ups.retain(|other| !Rc::ptr_eq(other, up));
        self.ups.len() < before
    }

    /// The upstream, for people.
    fn name(&self, upstream: usize) -> String {
        self.ways
            .get(upstream)
            .map(|way| format!("{}:{}", way.url().host, way.url().port))
            .unwrap_or_default()
    }

    /// A connection that shows only that the upstream is there.
    fn scout(&self, upstream: usize, flags: u32) -> Option<Rc<Upward>> {
        let mut own = self.ups.iter().filter(|up| up.upstream == upstream);
        own.find(|up| up.line.get().is_none() && up.flags == flags)
            .cloned()
    }
}

impl Room {
    pub(super) fn begin(self: &Rc<Self>) {
        self.decide(supervisor::Input::Start);
    }

    /// Asks the supervisor, and does what it says.
    pub(super) fn decide(self: &Rc<Self>, input: supervisor::Input) {
        let mut outputs = Vec::new();
        let now = self.plan.clock.now();
        self.upstreams
            .borrow_mut()
            .supervisor
            .handle(now, input, &mut outputs);
        for output in outputs {
            match output {
                Output::Connect { upstream } => {
                    let flags = self.relay.borrow().demand().unwrap_or(0);
                    self.connect(upstream, flags, None);
                }
                Output::Disconnect { upstream } => self.leave(upstream),
                Output::Use(choice) => self.turn_to(choice),
            }
        }
    }

    fn turn_to(self: &Rc<Self>, choice: Choice) {
        let place = match choice {
            Choice::Upstream(place) => Some(place),
            // Nobody has a weight here.
            Choice::Split | Choice::Solo => None,
        };
        let name = {
            let mut upstreams = self.upstreams.borrow_mut();
            upstreams.choice = place;
            place.map(|place| upstreams.name(place)).unwrap_or_default()
        };
        tracing::info!(upstream = name, "devices mine on");
        self.tally.borrow_mut().turned_to(place, name);
        if place.is_some() {
            self.relay(Input::Turn);
        }
    }

    fn connect(self: &Rc<Self>, upstream: usize, flags: u32, line: Option<Line>) {
        let mut upstreams = self.upstreams.borrow_mut();
        let Some(url) = upstreams.ways.get(upstream).map(|way| way.url().clone()) else {
            return;
        };
        let up = Rc::new(Upward::new(upstream, flags, line, QUEUE_BYTES_MAX));
        upstreams.ups.push(Rc::clone(&up));
        if let Some(line) = line {
            self.lines.borrow_mut().insert(line, Rc::clone(&up));
        }
        let serving = upward::serve(Rc::clone(self), Rc::clone(&up), url);
        let task = tokio::task::spawn_local(serving);
        up.driven_by(task.abort_handle());
    }

    /// The relay wants a line. Without an upstream it has to wait for one: it will be told to turn to it then.
    pub(super) fn dial(self: &Rc<Self>, line: Line, flags: u32) {
        let (choice, scout) = {
            let upstreams = self.upstreams.borrow();
            let choice = upstreams.choice;
            (choice, choice.and_then(|place| upstreams.scout(place, flags)))
        };
        match (choice, scout) {
            (None, _) => {}
            (Some(_), Some(scout)) => {
                scout.line.set(Some(line));
                self.lines.borrow_mut().insert(line, Rc::clone(&scout));
                if let Some(success_flags) = scout.stood.get() {
                    self.later.borrow_mut().push_back(Later::Up(line, success_flags));
                }
            }
            (Some(place), None) => self.connect(place, flags, Some(line)),
        }
    }

    /// A connection is set up.
    pub(super) fn stood(self: &Rc<Self>, up: &Rc<Upward>, success_flags: u32) {
        up.stood.set(Some(success_flags));
        if let Some(patience) = self.upstreams.borrow_mut().patience.get_mut(up.upstream) {
            patience.reset();
        }
        let upstream = up.upstream;
        if let Some(line) = up.line.get() {
            // What only showed that the upstream is there is of no use beside it.
            self.leave_those(|other| other.upstream == upstream && other.line.get().is_none());
            self.relay(Input::Up { line, success_flags });
        }
        self.decide(supervisor::Input::Ready { upstream });
    }

    /// The upstream is there, but lacks what was asked for.
    pub(super) fn lacking(self: &Rc<Self>, up: &Rc<Upward>, flags: u32) {
        if !self.upstreams.borrow_mut().forget(up) {
            return;
        }
        let upstream = up.upstream;
        if let Some(line) = up.line.get() {
            self.lines.borrow_mut().remove(&line);
            self.relay(Input::Refused { line, flags });
        }
        self.decide(supervisor::Input::Ready { upstream });
    }

    /// The upstream sends us to another place, with all our connections (spec 3.6.5).
    pub(super) fn moved(self: &Rc<Self>, up: &Rc<Upward>, host: Option<&[u8]>, port: Option<u16>) {
        let now = self.plan.clock.now();
        if !self
            .upstreams
            .borrow()
            .ups
            .iter()
            .any(|other| Rc::ptr_eq(other, up))
        {
            return;
        }
        if let Some(way) = self.upstreams.borrow_mut().ways.get_mut(up.upstream) {
            let (_, stay) = way.moved(now, host, port);
            tracing::info!(to = %way.url(), ?stay, "the upstream sends us elsewhere");
        }
        self.down(up.upstream, Cause::Moved);
    }

    /// A connection has ended, or was never made.
    pub(super) fn ended(self: &Rc<Self>, up: &Rc<Upward>, cause: Cause) {
        if cause == Cause::Refused && up.stood.get().is_none() && up.flags != 0 {
            // Refused for what one kind of device needs: no reason to leave it for all the others.
            return self.lacking(up, up.flags);
        }
        if !self.upstreams.borrow_mut().forget(up) {
            return;
        }
        let line = up.line.get();
        if let Some(line) = line {
            self.lines.borrow_mut().remove(&line);
        }
        let idle = line.is_none_or(|line| self.relay.borrow().is_idle(line));
        let needless = idle && up.stood.get().is_some();
        let lost = {
            let upstreams = self.upstreams.borrow();
            let mut others = upstreams.ups.iter().filter(|other| other.upstream == up.upstream);
            let serves = others.any(|other| other.stood.get().is_some());
            match cause {
                Cause::Misbehaved | Cause::Refused => true,
                _ if upstreams.choice != Some(up.upstream) => true,
                _ => !(serves || needless),
            }
        };
        if lost {
            self.down(up.upstream, cause);
        }
        if let Some(line) = line {
            self.relay(Input::Gone { line });
        }
    }

    /// An upstream is of no use for now.
    pub(super) fn down(self: &Rc<Self>, upstream: usize, cause: Cause) {
        let now = self.plan.clock.now();
        if cause != Cause::Moved
            && let Some(way) = self.upstreams.borrow_mut().ways.get_mut(upstream)
        {
            way.lost(now, true);
        }
        self.tally.borrow_mut().lost(cause);
        // What is there now; a new one may be on its way when all is decided.
        let mut old = self.upstreams.borrow().ups.clone();
        old.retain(|up| up.upstream == upstream);
        let dice = u64::from_le_bytes(random::bytes());
        self.decide(supervisor::Input::Down {
            upstream,
            cause,
            dice,
        });
        self.leave_those(|up| old.iter().any(|old| Rc::ptr_eq(old, up)));
    }

    fn leave(self: &Rc<Self>, upstream: usize) {
        self.leave_those(|up| up.upstream == upstream);
    }

    fn leave_those(self: &Rc<Self>, which: impl Fn(&Rc<Upward>) -> bool) {
        let mut left = Vec::new();
        self.upstreams.borrow_mut().ups.retain(|up| {
            let leaves = which(up);
            if leaves {
                left.push(Rc::clone(up));
            }
            !leaves
        });
        for up in left {
            up.hang_up();
            if let Some(line) = up.line.get() {
                self.lines.borrow_mut().remove(&line);
                self.relay(Input::Gone { line });
            }
        }
    }

    /// What to ask of an upstream that took `connect` to reach.
    pub(super) fn wishes(&self, upstream: usize, connect: Duration) -> Wishes {
        let upstreams = self.upstreams.borrow();
        let patience = upstreams.patience.get(upstream).copied().unwrap_or_default();
        self.plan.wishes.wishes(connect, &patience)
    }

    /// It did not answer RequestExtensions.
    pub(super) fn silent_about_extensions(&self, upstream: usize) {
        if let Some(patience) = self.upstreams.borrow_mut().patience.get_mut(upstream) {
            patience.silent();
        }
    }
}
