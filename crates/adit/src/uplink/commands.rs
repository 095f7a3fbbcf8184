//! What the role wants of a connection, taken when the connection can act on it.

use std::task::{Context, Poll};

use tokio::sync::mpsc;

/// Commands taken at one wake-up.
pub(super) const COMMANDS_PER_MAIL: usize = 256;

/// The connection's end of its commands.
#[derive(Debug)]
pub(super) struct Commands<T> {
    queue: mpsc::Receiver<T>,
    /// One that was found when the connection slept.
    next: Option<T>,
    /// Nobody wants the connection any more.
    ended: bool,
}

impl<T> Commands<T> {
    pub(super) const fn new(queue: mpsc::Receiver<T>) -> Self {
        Self {
            queue,
            next: None,
            ended: false,
        }
    }

    /// Ready when there is a command, and once when there will never be one again.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.next.is_some() {
            return Poll::Ready(());
        }
        match self.queue.poll_recv(cx) {
            Poll::Ready(Some(command)) => {
                self.next = Some(command);
                Poll::Ready(())
            }
            Poll::Ready(None) if !self.ended => {
                self.ended = true;
                Poll::Ready(())
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// The oldest command, if there is one now.
    pub(super) fn take(&mut self) -> Option<T> {
        self.next.take().or_else(|| self.queue.try_recv().ok())
    }

    /// Whether the connection may end.
    pub(super) const fn ended(&self) -> bool {
        self.ended
    }
}
