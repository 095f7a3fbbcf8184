//! What an operator may order over HTTP: drain the pool, close a connection or a channel, read the configuration again.

use std::sync::{Arc, OnceLock};

use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::control::Wish;
use super::drain::Progress;
use super::peers::{Kick, PeerId};
use crate::config::Place;
use crate::config::table::NotifyKeys;
use crate::exit::Exit;

/// Errands that may wait.
const ERRANDS_MAX: usize = 8;

/// What only whoever looks after the process can do (`reload`).
#[derive(Debug)]
pub enum Errand {
    /// Read the configuration again.
    Reload(oneshot::Sender<Result<Reloaded, Exit>>),
    /// Say how others are told, as it is in force.
    Notify(oneshot::Sender<NotifyKeys>),
}

/// What a reload has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Keys that count from now on.
    pub changed: Vec<&'static str>,
    /// Keys that count from the next start.
    pub later: Vec<&'static str>,
}

/// The way of errands; nobody may be at its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Errands(Arc<OnceLock<mpsc::Sender<Errand>>>);

impl Errands {
    /// Whoever calls this first gets them all; nobody else gets any.
    pub(super) fn hear(&self) -> mpsc::Receiver<Errand> {
        let (sender, errands) = mpsc::channel(ERRANDS_MAX);
        let _ = self.0.set(sender);
        errands
    }
}

/// Takes orders for a running pool.
#[derive(Clone, Debug)]
pub struct Desk {
    wishes: mpsc::Sender<Wish>,
    progress: watch::Receiver<Progress>,
    kicks: broadcast::Sender<Kick>,
    errands: Errands,
}

impl Desk {
    pub(super) fn new(
        wishes: mpsc::Sender<Wish>,
        progress: watch::Receiver<Progress>,
        kicks: broadcast::Sender<Kick>,
        errands: Errands,
    ) -> Self {
        Self {
            wishes,
            progress,
            kicks,
            errands,
        }
    }

    /// Has the configuration read again. `None`: nobody does that here.
    pub async fn reload(&self) -> Option<Result<Reloaded, Exit>> {
        self.send(Errand::Reload).await
    }

    /// How others are told. `None`: nobody is told anything here.
    pub async fn notify_keys(&self) -> Option<NotifyKeys> {
        self.send(Errand::Notify).await
    }

    async fn send<T>(&self, errand: impl FnOnce(oneshot::Sender<T>) -> Errand) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.errands.0.get()?.try_send(errand(answer)).ok()?;
        answered.await.ok()
    }

    /// Sends every peer to `place`, or where the configuration says, and ends the pool then. False: it is ending already.
    pub fn drain(&self, place: Option<Place>) -> bool {
        self.progress.borrow().to.is_none() && self.wishes.try_send(Wish::Drain(place)).is_ok()
    }

    /// Closes a channel of a connection, or the whole of it; numbers are those of a [`Roster`](crate::observe::Roster).
    /// Who is gone already is no error.
    pub fn close(&self, peer: u64, channel_id: Option<u32>) {
        let peer = PeerId::from_number(peer);
        // An error means that no worker runs any more.
        let _ = self.kicks.send(Kick { peer, channel_id });
    }
}
