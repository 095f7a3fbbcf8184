//! What waits for one connection: frames, bounded in bytes, and the last word about it.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use adit_proto::{Fault, Time};
use adit_wire::Header;

/// What waits shorter than this is no sign of slowness: a new tip for hundreds of channels comes at once.
const BURST: Duration = Duration::from_secs(1);
/// Nothing excuses more than this.
const BURST_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of whole frames that are taken at once: what is congested then is known before more is sealed.
const TAKE_BYTES: usize = 64 * 1024;
/// What an idle connection may hold on to.
const KEEP_BYTES: usize = 1024;

/// A word about the connection itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Answer its setup with Success and these flags.
    Admit(u32),
    /// Answer its setup with Error: the upstream lacks these features.
    Deny(u32),
    /// End it.
    Cut(Fault),
    /// End it in peace: we stop.
    Leave,
}

/// The mail of a connection; sender and connection are on the same thread.
#[derive(Debug)]
pub(super) struct Mailbox {
    frames: RefCell<Vec<u8>>,
    /// Since when the oldest of them waits.
    since: Cell<Time>,
    bytes_max: usize,
    order: RefCell<Option<Order>>,
    /// More was sent than may wait: it does not read.
    full: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Mailbox {
    pub(super) const fn new(bytes_max: usize) -> Self {
        Self {
            frames: RefCell::new(Vec::new()),
            since: Cell::new(Time(0)),
            bytes_max,
            order: RefCell::new(None),
            full: Cell::new(false),
            waker: RefCell::new(None),
        }
    }

    /// Appends whole frames. Past the bound nothing more is kept, and the connection has to end.
    pub(super) fn push(&self, now: Time, write: impl FnOnce(&mut Vec<u8>)) {
        if self.full.get() {
            return;
        }
        let mut frames = self.frames.borrow_mut();
        if frames.is_empty() {
            self.since.set(now);
        }
        write(&mut frames);
        let waits = now - self.since.get();
        if frames.len() > BURST_BYTES_MAX || (frames.len() > self.bytes_max && waits > BURST) {
            *frames = Vec::new();
            self.full.set(true);
        }
        drop(frames);
        self.wake();
    }

    pub(super) fn order(&self, order: Order) {
        self.order.replace(Some(order));
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Appends frames to `out`, the oldest first: all of them, or as many as are sent at once.
    pub(super) fn take(&self, now: Time, out: &mut Vec<u8>) {
        let mut frames = self.frames.borrow_mut();
        let end = whole_frames(&frames, TAKE_BYTES);
        out.extend(frames.drain(..end));
        self.since.set(now);
        if frames.is_empty() && frames.capacity() > KEEP_BYTES {
            *frames = Vec::new();
        }
    }

    pub(super) fn take_order(&self) -> Option<Order> {
        self.order.take()
    }

    /// Whether it must end without being asked to read on: a peer that reads nothing takes no mail.
    pub(super) fn is_over(&self) -> bool {
        self.full.get() || matches!(&*self.order.borrow(), Some(Order::Cut(_)))
    }

    /// Why, once [`is_over`](Self::is_over).
    pub(super) fn fault(&self) -> Fault {
        match self.order.take() {
            Some(Order::Cut(fault)) => fault,
            _ => Fault::Expired("it does not read what it is sent"),
        }
    }

    /// Ready while there is anything.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let some = !self.frames.borrow().is_empty() || self.order.borrow().is_some() || self.full.get();
        let mut waker = self.waker.borrow_mut();
        match waker.as_mut() {
            Some(known) => known.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
        match some {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

/// Bytes of the first frames of a queue: one at least, and no more than `most` otherwise.
fn whole_frames(frames: &[u8], most: usize) -> usize {
    let mut end = 0;
    while let Some(head) = frames.get(end..).and_then(|rest| rest.first_chunk()) {
        let next = end + Header::LEN + Header::parse(*head).msg_length as usize;
        if next > frames.len() || (end > 0 && next > most) {
            break;
        }
        end = next;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize) -> Vec<u8> {
        let header = Header::new(0, false, 1, u32::try_from(length).unwrap());
        [&header.encode()[..], &vec![7; length]].concat()
    }

    #[test]
    fn a_queue_is_bounded_and_a_burst_is_not_a_queue() {
        let mailbox = Mailbox::new(100);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(mailbox.poll(&mut cx).is_pending());
        let now = Time::from_unix_s(1_800_000_000);
        for _ in 0..50 {
            mailbox.push(now, |out| out.extend(frame(10)));
        }
        assert!(mailbox.poll(&mut cx).is_ready() && !mailbox.is_over());
        let mut out = Vec::new();
        mailbox.take(now, &mut out);
        assert_eq!(out.len(), 50 * 16);
        assert!(mailbox.poll(&mut cx).is_pending());
        mailbox.push(now, |out| out.extend(frame(90)));
        mailbox.push(now + BURST, |out| out.extend(frame(90)));
        assert!(!mailbox.is_over());
        mailbox.push(now + BURST * 2, |out| out.extend(frame(1)));
        assert!(mailbox.is_over() && mailbox.poll(&mut cx).is_ready());
        out.clear();
        mailbox.take(now, &mut out);
        assert!(out.is_empty());
        assert_eq!(mailbox.fault().kind(), "expired");
    }

    #[test]
    fn what_is_taken_at_once_is_whole_frames() {
        let frames = [frame(10), frame(20), frame(30)].concat();
        assert_eq!(whole_frames(&frames, 1), 16, "one at least");
        assert_eq!(whole_frames(&frames, 42), 42);
        assert_eq!(whole_frames(&frames, 77), 42);
        assert_eq!(whole_frames(&frames, 78), 78);
        assert_eq!(whole_frames(&[], 78), 0);
    }

    #[test]
    fn an_order_to_end_is_heard_whatever_waits() {
        let mailbox = Mailbox::new(10);
        mailbox.order(Order::Admit(3));
        assert!(!mailbox.is_over());
        assert_eq!(mailbox.take_order(), Some(Order::Admit(3)));
        mailbox.order(Order::Cut(Fault::Misbehaved("x")));
        assert!(mailbox.is_over());
        assert_eq!(mailbox.fault(), Fault::Misbehaved("x"));
    }
}
