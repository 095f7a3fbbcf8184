//! How the worker tells one of its connections that there is news.
//!
//! News is a set of flags, not a queue: newer work replaces older work and a later commit covers an earlier one,
//! so a connection that is slow to look loses nothing and costs nothing.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};

/// There is other work on the board.
pub(crate) const WORK: u8 = 1;
/// More of the worker's records are durable.
pub(crate) const COMMITTED: u8 = 2;
/// The ledger went down or came up.
pub(crate) const LEDGER: u8 = 4;
/// The pool is stopping.
pub(crate) const CLOSING: u8 = 8;

/// The pool is being drained: this peer is to go elsewhere.
pub(super) const DRAIN: u8 = 16;
/// There is another job to distribute.
pub(super) const DISTRIBUTED: u8 = 32;
/// A channel of this peer, or all of it, is to be closed from this side.
pub(super) const KICK: u8 = 64;

/// One connection's flags; worker and connection are on the same thread.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    news: Cell<u8>,
    waker: RefCell<Option<Waker>>,
}

impl Mailbox {
    /// Raises flags; whoever does has the mail taken himself.
    pub(crate) fn raise(&self, news: u8) {
        self.news.set(self.news.get() | news);
    }

    /// Raises flags and wakes the connection.
    pub(crate) fn ring(&self, news: u8) {
        self.raise(news);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Lowers all flags and tells which were up.
    pub(crate) fn take(&self) -> u8 {
        self.news.replace(0)
    }

    /// Ready while a flag is up.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.news.get() != 0 {
            return Poll::Ready(());
        }
        let mut waker = self.waker.borrow_mut();
        match waker.as_mut() {
            Some(known) => known.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_add_up_until_taken() {
        let mailbox = Mailbox::default();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(mailbox.poll(&mut cx).is_pending());
        mailbox.ring(WORK);
        mailbox.ring(COMMITTED);
        assert!(mailbox.poll(&mut cx).is_ready());
        assert_eq!(mailbox.take(), WORK | COMMITTED);
        assert!(mailbox.poll(&mut cx).is_pending());
    }
}
