//! What an operator may order over HTTP: drain the pool, close a connection or a channel.

use tokio::sync::{broadcast, mpsc, watch};

use super::control::Wish;
use super::drain::Progress;
use super::peers::{Kick, PeerId};
use crate::config::Place;

/// Takes orders for a running pool.
#[derive(Clone, Debug)]
pub struct Desk {
    wishes: mpsc::Sender<Wish>,
    progress: watch::Receiver<Progress>,
    kicks: broadcast::Sender<Kick>,
}

impl Desk {
    pub(super) fn new(
        wishes: mpsc::Sender<Wish>,
        progress: watch::Receiver<Progress>,
        kicks: broadcast::Sender<Kick>,
    ) -> Self {
        Self {
            wishes,
            progress,
            kicks,
        }
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
