//! One connection under load: opens a channel, follows its work, keeps shares under way.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use adit_net::Protocol;
use adit_proto::extension::Patience;
use adit_proto::mining::client::{self as mining, Event, Kind, Open, Withheld, Work};
use adit_proto::{Fault, Time, sv1};
use adit_wire::{Header, U256};
use tokio::sync::{mpsc, oneshot};

use super::Settings;
use super::side::Side;
use super::solver::{HASHES_PER_WAKE, Solver};
use super::stats::Stats;
use super::waiting::Waiting;
use crate::device::hash::Engine;
use crate::device::upstream::{Heard, Upstream, setup_flags, text};
use crate::device::{Channel, EXTRANONCE_BYTES_MIN};

/// Shares put into one write.
const SHARES_PER_WRITE: u32 = 512;

/// How a connection shall load the pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// When this connection sends its first share.
    pub(super) start: Time,
    /// From when on latencies and rates are measured.
    pub(super) measure_from: Time,
    /// When it stops sending.
    pub(super) stop: Time,
    /// Time between two shares; none: as many as the window allows.
    pub(super) interval: Option<Duration>,
}

/// What a connection is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    /// Send shares.
    Run(Plan),
    /// Close.
    Stop,
}

/// The protocol on a link of the load generator.
pub(super) struct Connection {
    side: Side,
    settings: Rc<Settings>,
    engine: Engine,
    stats: Rc<RefCell<Stats>>,
    /// Told once, when the first work is there.
    ready: Option<oneshot::Sender<()>>,
    orders: mpsc::Receiver<Order>,
    plan: Option<Plan>,
    next_send: Option<Time>,
    solver: Option<Solver>,
    waiting: Waiting,
    /// Differs between all pieces of work of this connection.
    origin: u64,
    /// There is more to send than one write takes.
    more: bool,
    heard: Vec<Heard>,
    ended: bool,
    /// Ended because it was told to.
    stopped: bool,
}

impl Connection {
    pub(super) fn new(
        settings: Rc<Settings>,
        engine: Engine,
        stats: Rc<RefCell<Stats>>,
        ready: oneshot::Sender<()>,
        orders: mpsc::Receiver<Order>,
    ) -> Self {
        let side = if settings.upstream.lines {
            Side::lines(&settings.user, settings.hash_rate)
        } else {
            let wishes = settings.extensions.wishes(Duration::ZERO, &Patience::default());
            let flags = setup_flags(settings.channel);
            let upstream = Upstream::new(&settings.upstream.url, flags, mining::Settings::default());
            Side::Frames(Box::new(
                upstream.with_extensions(wishes, settings.extensions.worker),
            ))
        };
        Self {
            side,
            settings,
            engine,
            stats,
            ready: Some(ready),
            orders,
            plan: None,
            next_send: None,
            solver: None,
            waiting: Waiting::default(),
            origin: 0,
            more: false,
            heard: Vec::new(),
            ended: false,
            stopped: false,
        }
    }

    /// Shares that nobody answered.
    pub(super) const fn unanswered(&self) -> u32 {
        self.waiting.count()
    }

    /// Whether it ended because it was told to.
    pub(super) const fn stopped(&self) -> bool {
        self.stopped
    }

    fn open(&mut self, now: Time, out: &mut Vec<u8>, heard: &mut Vec<Heard>) -> Result<(), Fault> {
        let kind = match self.settings.channel {
            Channel::Standard => Kind::Standard,
            Channel::Extended => Kind::Extended {
                min_extranonce_size: EXTRANONCE_BYTES_MIN,
            },
        };
        let open = Open {
            kind,
            user_identity: text(&self.settings.user),
            nominal_hash_rate: self.settings.hash_rate,
            max_target: U256::MAX,
        };
        match &mut self.side {
            Side::Frames(upstream) => upstream.open(now, open, out, heard),
            // Who is let in has a channel.
            Side::Lines(_) => Ok(()),
        }
    }

    /// Nothing is mined, and the first work is there: whoever only listens needs no machine.
    pub(super) fn listens(&self) -> bool {
        self.settings.hold && self.ready.is_none()
    }

    fn attend(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.heard.is_empty() {
            return Ok(());
        }
        let mut heard = std::mem::take(&mut self.heard);
        let mut more = Vec::new();
        for it in heard.drain(..) {
            match it {
                Heard::Established => self.open(now, out, &mut more)?,
                Heard::Refused { code, .. } => {
                    self.stats.borrow_mut().error(format!("setup refused: {code}"))
                }
                Heard::Reconnect { .. } => self.end("the server sent Reconnect"),
                Heard::Work(work) => self.work(now, work),
                Heard::Event(event) => self.event(now, event),
            }
        }
        heard.append(&mut more);
        self.heard = heard;
        Ok(())
    }

    fn end(&mut self, why: &str) {
        self.ended = true;
        self.stats.borrow_mut().error(why.to_owned());
    }

    fn work(&mut self, now: Time, work: Work) {
        let mut stats = self.stats.borrow_mut();
        stats.jobs += 1;
        match self.ready.take() {
            // Nobody listens any more when the run is over.
            Some(ready) => drop(ready.send(())),
            None if work.new_tip => stats.tip(work.prev_hash, now),
            None => {}
        }
        self.origin = self.origin.wrapping_add(0x0000_0001_0001_0001);
        self.solver = Some(Solver::new(
            work,
            self.engine,
            self.settings.shares_per_extranonce,
            self.origin,
        ));
    }

    fn event(&mut self, now: Time, event: Event) {
        match event {
            Event::Accepted {
                last_sequence, count, ..
            } => self.accepted(now, last_sequence, count),
            Event::Rejected { sequence, code, .. } => {
                let mut stats = self.stats.borrow_mut();
                stats.reject(code.to_string());
                if self.waiting.remove(sequence).is_none() {
                    stats.miscounted += 1;
                }
            }
            Event::OpenRefused { code, .. } => self.end(&format!("channel refused: {code}")),
            Event::Closed { reason, .. } => self.end(&format!("channel closed: {reason}")),
            Event::Withheld(why) => self.end(&format!("channel not opened: {why:?}")),
            // A generator makes no jobs of its own.
            Event::Opened { .. }
            | Event::UpdateRefused { .. }
            | Event::Target { .. }
            | Event::ExtranoncePrefix { .. }
            | Event::CustomAccepted { .. }
            | Event::CustomRefused { .. }
            | Event::CustomUnanswered { .. }
            | Event::CustomUnasked => {}
        }
    }

    fn accepted(&mut self, now: Time, last_sequence: u32, count: u32) {
        let mut stats = self.stats.borrow_mut();
        let measured = self.plan.map(|plan| plan.measure_from..plan.stop);
        stats.accepted += u64::from(count);
        if measured.as_ref().is_some_and(|span| span.contains(&now)) {
            stats.accepted_measured += u64::from(count);
        }
        let mut named = 0u32;
        while let Some(sent) = self.waiting.pop_through(last_sequence) {
            named += 1;
            if measured.as_ref().is_some_and(|span| span.contains(&sent)) {
                let wait_us = u64::try_from((now - sent).as_micros()).unwrap_or(u64::MAX);
                stats.latency(wait_us);
            }
        }
        stats.miscounted += u64::from(named.abs_diff(count));
    }

    /// Sends what is due.
    fn send(&mut self, now: Time, out: &mut Vec<u8>) {
        self.more = false;
        let Some(plan) = self.plan.filter(|_| !self.ended) else {
            return;
        };
        if now < plan.start {
            return;
        }
        if now >= plan.stop {
            self.next_send = None;
            return;
        }
        match plan.interval {
            None => {
                let room = self.settings.window.saturating_sub(self.waiting.count());
                self.more = self.send_some(now, room, out);
            }
            Some(interval) => self.send_due(now, plan.start, interval, out),
        }
    }

    /// Sends at a steady rate. What the pool keeps waiting longer than the window allows is left out, not made up for.
    fn send_due(&mut self, now: Time, start: Time, interval: Duration, out: &mut Vec<u8>) {
        let mut next = self.next_send.unwrap_or(start);
        let mut due = 0;
        while next <= now && due < SHARES_PER_WRITE {
            next = next + interval;
            due += 1;
        }
        self.next_send = Some(next);
        let room = self.settings.window.saturating_sub(self.waiting.count());
        self.send_some(now, due.min(room), out);
    }

    /// Sends at most `room` shares; true when there is room for more than one write takes.
    fn send_some(&mut self, now: Time, room: u32, out: &mut Vec<u8>) -> bool {
        let Some(solver) = &mut self.solver else {
            return false;
        };
        let (mut budget, mut sent) = (HASHES_PER_WAKE, 0);
        let mut stats = self.stats.borrow_mut();
        let wanted = room.min(SHARES_PER_WRITE);
        while sent < wanted {
            let Some(share) = solver.next(now, &mut budget) else {
                break;
            };
            match self.side.share(now, share, out) {
                Ok(sequence) => {
                    self.waiting.push(sequence, now);
                    stats.sent += 1;
                    sent += 1;
                }
                Err(Withheld::StaleJob) => {
                    stats.withheld += 1;
                    break;
                }
                Err(why) => {
                    stats.error(format!("share not sent: {why:?}"));
                    break;
                }
            }
        }
        let spent = budget < HASHES_PER_WAKE / 2;
        room > sent && (sent == SHARES_PER_WRITE || spent)
    }
}

impl Protocol for Connection {
    fn length_max(&self, header: &Header) -> u32 {
        Upstream::length_max(header)
    }

    fn frame(&mut self, now: Time, header: &Header, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let result = self.side.frame(now, header, payload, out, &mut self.heard);
        self.attend(now, out)?;
        result
    }

    fn line(&mut self, now: Time, line: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let result = self.side.line(now, line, out, &mut self.heard);
        self.attend(now, out)?;
        result
    }

    fn line_max(&self) -> usize {
        sv1::client::LINE_BYTES_MAX
    }

    fn batch_end(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        // With a rate, shares go out when they are due and not when an answer comes.
        if self.plan.is_some_and(|plan| plan.interval.is_none()) {
            self.send(now, out);
        }
        Ok(())
    }

    fn poll_mail(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.side.started() || self.more {
            return Poll::Ready(());
        }
        match self.orders.poll_recv(cx) {
            Poll::Ready(Some(Order::Run(plan))) => {
                self.plan = Some(plan);
                self.next_send = Some(plan.start);
                Poll::Ready(())
            }
            Poll::Ready(Some(Order::Stop)) => {
                (self.ended, self.stopped) = (true, true);
                Poll::Ready(())
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn mail(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        if !self.side.started() {
            self.side.start(now, out, &mut self.heard)?;
            self.attend(now, out)?;
        }
        self.send(now, out);
        Ok(())
    }

    fn deadline(&self) -> Option<Time> {
        [self.side.deadline(), self.next_send].into_iter().flatten().min()
    }

    fn expire(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.next_send.is_some_and(|at| at <= now) {
            if self.plan.is_some_and(|plan| plan.interval.is_none()) {
                // With a window only the start is an appointment; from then on answers set the pace.
                self.next_send = None;
            }
            self.send(now, out);
        }
        if self.side.deadline().is_some_and(|at| at <= now) {
            let result = self.side.expire(now, out, &mut self.heard);
            self.attend(now, out)?;
            return result;
        }
        Ok(())
    }

    fn finished(&self) -> bool {
        self.ended || self.listens()
    }
}
