//! The one loop: bytes to frames to a protocol and back, in one task, without a lock.
//!
//! Per wake-up: one read, all its frames, the mail, the deadline, one write. What a slow peer does not
//! read is bounded: past [`Bounds::queue_high_bytes`] nothing more is read from it and no mail is taken,
//! so newer work replaces older work before it is ever sealed; a peer that takes nothing for
//! [`Bounds::stall`] is disconnected.
//!
//! Mail for thousands of connections at once needs no thousands of wake-ups: see [`Shared`].

mod shared;

use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use adit_noise::{Feed, Session, SessionError};
use adit_proto::{Fault, Time};
use adit_wire::frame::Header;

use crate::link::Speech;
use crate::{Clock, Link};

pub use shared::{Shared, push_all};

/// Rounds one wake-up may take before other connections get their turn.
const ROUNDS_MAX: usize = 8;
/// A worker's buffers shrink back to this after a burst.
const SCRATCH_KEEP_BYTES: usize = 1024 * 1024;

/// What stands on a link: turns frames and mail into frames, or lines and mail into lines.
///
/// Every method may append plaintext frames to `out`; they are sealed and sent in that order.
pub trait Protocol {
    /// The longest payload acceptable under this header, in bytes; asked before anything is kept.
    fn length_max(&self, header: &Header) -> u32;
    /// Bytes have arrived; whether they are a whole frame or line is not known yet.
    fn received(&mut self, _now: Time) {}
    /// One frame has arrived.
    ///
    /// # Errors
    /// The fault that ends this connection.
    fn frame(&mut self, now: Time, header: &Header, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Fault>;
    /// A frame is not whole yet, and so many of its bytes are kept until it is; 0 when nothing is. Told after every read.
    ///
    /// # Errors
    /// The fault that ends this connection: there is no room for more.
    fn arriving(&mut self, _bytes: usize, _out: &mut Vec<u8>) -> Result<(), Fault> {
        Ok(())
    }
    /// One line has arrived, on a link of lines; without its newline. `out` gets whole lines with theirs.
    ///
    /// # Errors
    /// The fault that ends this connection.
    fn line(&mut self, _now: Time, _line: &[u8], _out: &mut Vec<u8>) -> Result<(), Fault> {
        Err(Fault::Incompatible("no lines are spoken here"))
    }
    /// The longest line, in bytes.
    fn line_max(&self) -> usize {
        0
    }
    /// All frames of one read were given.
    ///
    /// # Errors
    /// The fault that ends this connection.
    fn batch_end(&mut self, _now: Time, _out: &mut Vec<u8>) -> Result<(), Fault> {
        Ok(())
    }
    /// Ready when [`mail`](Self::mail) has something to do.
    fn poll_mail(&mut self, cx: &mut Context<'_>) -> Poll<()>;
    /// Takes the mail. Not called while the peer's queue is long: mail must be cumulative or latest-wins.
    ///
    /// # Errors
    /// The fault that ends this connection.
    fn mail(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault>;
    /// When to call [`expire`](Self::expire).
    fn deadline(&self) -> Option<Time>;
    /// The deadline has passed.
    ///
    /// # Errors
    /// The fault that ends this connection.
    fn expire(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault>;
    /// True when the connection shall end once everything is sent.
    fn finished(&self) -> bool {
        false
    }
}

/// Bounds of one driven connection.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Above this many queued bytes the peer is neither read nor told more.
    pub queue_high_bytes: usize,
    /// Above this many queued bytes the connection ends, unless they met an empty queue.
    pub queue_max_bytes: usize,
    /// A peer that takes no queued byte for this long is disconnected.
    pub stall: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            queue_high_bytes: 32 * 1024,
            queue_max_bytes: 256 * 1024,
            stall: Duration::from_secs(20),
        }
    }
}

/// How a driven connection ended.
#[derive(Debug)]
pub enum End {
    /// The peer closed it.
    Closed,
    /// The protocol had finished.
    Finished,
    /// The protocol found a fault.
    Fault(Fault),
    /// A record failed authentication or a frame was too long.
    Session(SessionError),
    /// The socket failed.
    Io(io::Error),
    /// The peer did not read what it was sent.
    Slow,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed by the peer"),
            Self::Finished => f.write_str("finished"),
            Self::Fault(fault) => write!(f, "{fault}"),
            Self::Session(error) => write!(f, "session: {error}"),
            Self::Io(error) => write!(f, "socket: {error}"),
            Self::Slow => f.write_str("the peer does not read what it is sent"),
        }
    }
}

/// Buffers that all connections of a thread use in turn.
#[derive(Default)]
struct Scratch {
    input: Vec<u8>,
    frames: Vec<u8>,
    sealed: Vec<u8>,
}

impl Scratch {
    /// What was said is sent or lost.
    fn clear_output(&mut self) {
        self.frames.clear();
        self.sealed.clear();
        if self.sealed.capacity() > SCRATCH_KEEP_BYTES {
            self.sealed = Vec::new();
        }
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Drives one connection until it ends. Dropping the future ends it at once.
pub async fn drive<P: Protocol>(link: &mut Link, protocol: &mut P, clock: &Clock, bounds: Bounds) -> End {
    let mut state = State::default();
    let mut driver = Driver {
        link,
        protocol,
        clock,
        bounds,
        state: &mut state,
    };
    poll_fn(|cx| SCRATCH.with_borrow_mut(|scratch| driver.poll(cx, scratch))).await
}

/// What a driven connection remembers between two wake-ups.
#[derive(Default)]
struct State {
    timer: Option<Pin<Box<tokio::time::Sleep>>>,
    armed: Option<Time>,
    /// Since when the queue has stood at which number of sent bytes.
    queued_since: Option<(Time, u64)>,
    /// How it ended while its task slept.
    ended: Option<End>,
}

struct Driver<'a, P> {
    link: &'a mut Link,
    protocol: &'a mut P,
    clock: &'a Clock,
    bounds: Bounds,
    state: &'a mut State,
}

impl<P: Protocol> Driver<'_, P> {
    fn poll(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<End> {
        if let Some(end) = self.state.ended.take() {
            self.last_words(cx, scratch);
            return Poll::Ready(end);
        }
        for _ in 0..ROUNDS_MAX {
            match self.round(cx, scratch) {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(end) => {
                    self.last_words(cx, scratch);
                    return Poll::Ready(end);
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// One round; false when there was nothing to do.
    fn round(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<bool, End> {
        let flushed = self.link.poll_flush(cx).map_err(End::Io)?.is_ready();
        let congested = !flushed && self.link.queued() > self.bounds.queue_high_bytes;
        let now = self.clock.now();
        let mut busy = false;
        if !congested {
            busy |= self.read(cx, now, scratch)?;
            if self.protocol.poll_mail(cx).is_ready() {
                busy = true;
                self.protocol.mail(now, &mut scratch.frames).map_err(End::Fault)?;
            }
        }
        busy |= self.timers(cx, now, scratch)?;
        self.write(cx, scratch)?;
        if self.protocol.finished() && self.link.queued() == 0 {
            return Err(End::Finished);
        }
        Ok(busy)
    }

    fn read(&mut self, cx: &mut Context<'_>, now: Time, scratch: &mut Scratch) -> Result<bool, End> {
        let Scratch { input, frames, .. } = scratch;
        let filled = match self.link.poll_fill(cx, input) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Err(error)) => return Err(End::Io(error)),
            Poll::Ready(Ok(None)) => return Err(End::Closed),
            Poll::Ready(Ok(Some(filled))) => &mut input[..filled],
        };
        self.protocol.received(now);
        let (used, need) = match &mut self.link.speech {
            Speech::Frames(session) => take_frames(session, self.protocol, now, filled, frames)?,
            Speech::Lines => (
                take_lines(self.protocol, now, filled, frames).map_err(End::Fault)?,
                0,
            ),
        };
        let kept = filled.len() - used;
        self.protocol.arriving(kept, frames).map_err(End::Fault)?;
        self.link.keep(&filled[used..], need);
        if input.capacity() > SCRATCH_KEEP_BYTES {
            *input = Vec::new();
        }
        self.protocol.batch_end(now, frames).map_err(End::Fault)?;
        Ok(true)
    }

    fn timers(&mut self, cx: &mut Context<'_>, now: Time, scratch: &mut Scratch) -> Result<bool, End> {
        let mut busy = false;
        if self.protocol.deadline().is_some_and(|at| at <= now) {
            self.protocol
                .expire(now, &mut scratch.frames)
                .map_err(End::Fault)?;
            busy = true;
        }
        let stall_at = self.stall_deadline(now);
        if stall_at.is_some_and(|at| at <= now) {
            return Err(End::Slow);
        }
        let next = match (self.protocol.deadline(), stall_at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.arm(cx, now, next);
        Ok(busy)
    }

    /// The queue must move within the stall time for as long as there is one.
    fn stall_deadline(&mut self, now: Time) -> Option<Time> {
        if self.link.queued() == 0 {
            self.state.queued_since = None;
            return None;
        }
        let sent = self.link.bytes_out;
        let since = match self.state.queued_since {
            Some((since, at)) if at == sent => since,
            _ => now,
        };
        self.state.queued_since = Some((since, sent));
        Some(since + self.bounds.stall)
    }

    fn arm(&mut self, cx: &mut Context<'_>, now: Time, next: Option<Time>) {
        let Some(at) = next else {
            self.state.armed = None;
            return;
        };
        if self.state.armed != Some(at) {
            let due = tokio::time::Instant::now() + (at - now);
            match &mut self.state.timer {
                Some(timer) => timer.as_mut().reset(due),
                None => self.state.timer = Some(Box::pin(tokio::time::sleep_until(due))),
            }
            self.state.armed = Some(at);
        }
        if let Some(timer) = &mut self.state.timer
            && timer.as_mut().poll(cx).is_ready()
        {
            // Rounded down a little by the timer wheel, or due already: look again.
            self.state.armed = None;
            cx.waker().wake_by_ref();
        }
    }

    fn write(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<(), End> {
        if scratch.frames.is_empty() {
            return Ok(());
        }
        let queued_before = self.link.queued();
        let sent = match seal(self.link, scratch) {
            Ok(()) => self.link.send(cx, &scratch.sealed).map_err(End::Io),
            Err(error) => Err(End::Session(error)),
        };
        scratch.clear_output();
        sent?;
        // What one wake-up produced may be large (a new tip for thousands of channels) and is no sign of slowness
        // when nothing was waiting; a queue that was there already must not grow past its bound.
        if queued_before > 0 && self.link.queued() > self.bounds.queue_max_bytes {
            return Err(End::Slow);
        }
        Ok(())
    }

    /// What was said before the end (a refusal, a Reconnect) still goes out if the socket takes it.
    fn last_words(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) {
        let said = self.write(cx, scratch).is_ok();
        scratch.frames.clear();
        scratch.sealed.clear();
        if said {
            let _ = self.link.poll_flush(cx);
        }
    }
}

/// Seals the frames of `scratch`, behind what is sealed already.
fn seal(link: &mut Link, scratch: &mut Scratch) -> Result<(), SessionError> {
    let mut rest = scratch.frames.as_slice();
    let session = match &mut link.speech {
        Speech::Frames(session) => session,
        Speech::Lines => {
            scratch.sealed.extend_from_slice(rest);
            return Ok(());
        }
    };
    while let Some(header) = rest.first_chunk::<{ Header::LEN }>() {
        let length = Header::LEN + Header::parse(*header).msg_length as usize;
        let Some((frame, others)) = rest.split_at_checked(length) else {
            break;
        };
        session.seal(frame, &mut scratch.sealed)?;
        rest = others;
    }
    debug_assert!(rest.is_empty(), "a protocol appends whole frames");
    Ok(())
}

/// Gives every whole frame to the protocol; how many bytes they were, and how many the next one needs.
fn take_frames<P: Protocol>(
    session: &mut Session,
    protocol: &mut P,
    now: Time,
    filled: &mut [u8],
    out: &mut Vec<u8>,
) -> Result<(usize, usize), End> {
    let mut at = 0;
    loop {
        let limit = |header: &Header| protocol.length_max(header);
        match session.feed(&mut filled[at..], limit).map_err(End::Session)? {
            Feed::Need(total) => return Ok((at, total)),
            Feed::Frame {
                used,
                header,
                payload,
            } => {
                protocol.frame(now, &header, payload, out).map_err(End::Fault)?;
                at += used;
            }
        }
    }
}

/// Gives every whole line to the protocol; how many bytes they were.
fn take_lines<P: Protocol>(
    protocol: &mut P,
    now: Time,
    filled: &[u8],
    out: &mut Vec<u8>,
) -> Result<usize, Fault> {
    const TOO_LONG: Fault = Fault::Malformed("a line is too long");
    let mut at = 0;
    while let Some(length) = filled[at..].iter().position(|&byte| byte == b'\n') {
        if length > protocol.line_max() {
            return Err(TOO_LONG);
        }
        let line = &filled[at..at + length];
        protocol.line(now, line.strip_suffix(b"\r").unwrap_or(line), out)?;
        at += length + 1;
    }
    match filled.len() - at > protocol.line_max() {
        true => Err(TOO_LONG),
        false => Ok(at),
    }
}
