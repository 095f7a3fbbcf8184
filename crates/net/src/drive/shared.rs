//! A driven connection that others on its thread may give mail to, without a wake-up of its task.
//!
//! A wake-up costs a place in the runtime's queue, a look at the socket, the mailbox and the timer, and all of it again to
//! find nothing. What goes to thousands of connections at once is made, sealed and written in rows instead: first what
//! each is told, then all writes.

use std::cell::RefCell;
use std::future::poll_fn;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::{Bounds, Driver, End, Protocol, SCRATCH, Scratch, State, seal};
use crate::{Clock, Link};
use adit_proto::Time;

/// A connection on its thread: driven by one task, given mail by others.
pub struct Shared<P>(RefCell<Inner<P>>);

struct Inner<P> {
    link: Link,
    protocol: P,
    clock: Clock,
    bounds: Bounds,
    state: State,
    /// Of the task that drives it.
    waker: Option<Waker>,
}

impl<P: Protocol> Shared<P> {
    /// A connection that nobody drives yet.
    pub fn new(link: Link, protocol: P, clock: Clock, bounds: Bounds) -> Rc<Self> {
        Rc::new(Self(RefCell::new(Inner {
            link,
            protocol,
            clock,
            bounds,
            state: State::default(),
            waker: None,
        })))
    }

    /// Drives the connection until it ends, as [`drive()`](super::drive()) does.
    pub async fn drive(&self) -> End {
        poll_fn(|cx| SCRATCH.with_borrow_mut(|scratch| self.0.borrow_mut().poll(cx, scratch))).await
    }

    /// The protocol, for a moment. Must not be called by the protocol itself.
    pub fn with<R>(&self, look: impl FnOnce(&mut P) -> R) -> R {
        look(&mut self.0.borrow_mut().protocol)
    }
}

/// Takes the mail of all these connections now and sends what comes of it. A connection whose socket does not take it,
/// or that has anything else to do, goes on in its task. Must not be called by a protocol.
pub fn push_all<P: Protocol>(connections: &[Rc<Shared<P>>]) {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut told = Vec::with_capacity(connections.len());
        for connection in connections {
            let mut inner = connection.0.borrow_mut();
            let now = inner.clock.now();
            match inner.take_mail(now, scratch) {
                Ok(sealed) => told.push((connection, sealed)),
                Err(end) => inner.end(end),
            }
        }
        for (connection, sealed) in told {
            connection.0.borrow_mut().push(&scratch.sealed[sealed]);
        }
        scratch.clear_output();
    });
}

impl<P: Protocol> Inner<P> {
    fn poll(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<End> {
        match &mut self.waker {
            Some(known) => known.clone_from(cx.waker()),
            None => self.waker = Some(cx.waker().clone()),
        }
        let mut driver = Driver {
            link: &mut self.link,
            protocol: &mut self.protocol,
            clock: &self.clock,
            bounds: self.bounds,
            state: &mut self.state,
        };
        driver.poll(cx, scratch)
    }

    /// Seals what the mail comes to behind what is sealed already, and says where it stands.
    fn take_mail(&mut self, now: Time, scratch: &mut Scratch) -> Result<Range<usize>, End> {
        let start = scratch.sealed.len();
        // Who is behind takes its mail when its queue is short again, and who has ended takes none.
        if self.link.queued() > 0 || self.state.ended.is_some() {
            return Ok(start..start);
        }
        let taken = self.protocol.mail(now, &mut scratch.frames);
        let sealed = seal(&mut self.link, scratch);
        scratch.frames.clear();
        if let Err(error) = sealed {
            scratch.sealed.truncate(start);
            return Err(End::Session(error));
        }
        if let Err(fault) = taken {
            // What was said before the end still goes out if the socket takes it.
            let _ = self.link.push(&scratch.sealed[start..]);
            scratch.sealed.truncate(start);
            return Err(End::Fault(fault));
        }
        Ok(start..scratch.sealed.len())
    }

    fn push(&mut self, sealed: &[u8]) {
        if let Err(error) = self.link.push(sealed) {
            return self.end(End::Io(error));
        }
        let earlier = match (self.protocol.deadline(), self.state.armed) {
            (Some(due), Some(armed)) => due < armed,
            (due, None) => due.is_some(),
            (None, Some(_)) => false,
        };
        if self.link.queued() > 0 || earlier || self.protocol.finished() {
            self.wake();
        }
    }

    /// The task finds out when it is woken.
    fn end(&mut self, end: End) {
        self.state.ended = Some(end);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}
