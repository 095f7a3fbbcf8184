//! Sessions of Stratum V1 miners whose socket broke: kept for a while, so that they go on where they were.
//!
//! A miner that comes back names its session in `mining.subscribe` (docs/sv1.md). It may come to another worker than it
//! left, so this is the one place where workers meet; only comings and goings pass here, never a share. The slot of the
//! extranonce space stays with the session, and goes back to the worker that it is of.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use adit_proto::extranonce::Slot;
use adit_proto::{Time, sv1};

/// How long a session is kept.
const PATIENCE: Duration = Duration::from_secs(120);
/// Sessions that are kept at once; of more, the oldest is forgotten.
const PARKED_MAX: usize = 4_096;

/// A session without a connection.
pub(super) struct Parked {
    pub(super) server: Box<sv1::Server>,
    /// The worker whose slot it has.
    pub(super) home: u32,
    until: Time,
}

/// A slot, and the newest tip that work was made for with it.
pub(super) type Returned = (Slot, u64);

/// All of them.
#[derive(Default)]
pub(super) struct Parking(Mutex<Lot>);

#[derive(Default)]
struct Lot {
    parked: HashMap<Box<str>, Parked>,
    /// When each was parked to leave, the oldest first; some have left.
    leaving: VecDeque<(Time, Box<str>)>,
    /// Slots on their way home.
    returned: HashMap<u32, Vec<Returned>>,
}

impl Parking {
    /// Keeps a session.
    pub(super) fn park(&self, now: Time, home: u32, server: Box<sv1::Server>) {
        let mut lot = self.lot();
        let (until, session) = (now + PATIENCE, Box::<str>::from(server.session()));
        lot.leaving.push_back((until, session.clone()));
        let parked = Parked { server, home, until };
        if let Some(former) = lot.parked.insert(session, parked) {
            lot.give_up(former);
        }
        lot.sweep(now);
    }

    /// Takes a session out, if it is there.
    pub(super) fn take(&self, now: Time, session: &str) -> Option<Parked> {
        let mut lot = self.lot();
        lot.sweep(now);
        lot.parked.remove(session)
    }

    /// Sends a slot home to another worker.
    pub(super) fn send_home(&self, home: u32, slot: Slot, tip: u64) {
        self.lot().returned.entry(home).or_default().push((slot, tip));
    }

    /// The slots that came home.
    pub(super) fn collect(&self, now: Time, home: u32) -> Vec<Returned> {
        let mut lot = self.lot();
        lot.sweep(now);
        lot.returned.remove(&home).unwrap_or_default()
    }

    fn lot(&self) -> MutexGuard<'_, Lot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lot {
    /// Forgets who stayed too long, and who is too many.
    fn sweep(&mut self, now: Time) {
        while self
            .leaving
            .front()
            .is_some_and(|(until, _)| *until <= now || self.leaving.len() > PARKED_MAX)
        {
            let Some((until, session)) = self.leaving.pop_front() else {
                return;
            };
            // It may have gone on, and have been parked again since.
            if self
                .parked
                .get(&session)
                .is_some_and(|parked| parked.until <= until)
                && let Some(parked) = self.parked.remove(&session)
            {
                self.give_up(parked);
            }
        }
    }

    fn give_up(&mut self, parked: Parked) {
        let tip = parked.server.mining().tip();
        let slot = parked.server.into_slot();
        self.returned.entry(parked.home).or_default().push((slot, tip));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_proto::extranonce::Space;
    use adit_proto::mining::server::Settings;
    use adit_proto::sv1::difficulty::Difficulty;
    use std::sync::Arc;

    fn server(space: &mut Space, session: u8) -> Box<sv1::Server> {
        let settings = sv1::server::Settings {
            mining: Arc::new(Settings::default()),
            start: Difficulty::ONE,
        };
        let slot = space.lease(0).unwrap();
        Box::new(sv1::Server::new(Time(0), Arc::new(settings), slot, [session; 8]))
    }

    /// No slot is lost, whoever leaves when: all of them come home.
    #[test]
    fn sessions_are_kept_for_a_while_and_their_slots_come_home() {
        let (parking, mut space) = (Parking::default(), Space::new(0, 0..8));
        let at = Time::from_unix_s;
        parking.park(at(1), 0, server(&mut space, 1));
        parking.park(at(2), 1, server(&mut space, 2));
        assert!(parking.take(at(3), "0303030303030303").is_none());
        let back = parking.take(at(3), "0101010101010101").unwrap();
        assert_eq!(back.home, 0);
        assert!(parking.take(at(3), "0101010101010101").is_none(), "once");
        parking.park(at(100), 0, back.server);
        assert_eq!(
            parking.collect(at(121), 0).len(),
            0,
            "parked again, and for long enough"
        );
        assert_eq!(parking.collect(at(122), 1).len(), 1);
        assert!(parking.take(at(219), "0101010101010101").is_some());
        parking.send_home(0, space.lease(0).unwrap(), 1);
        assert_eq!(parking.collect(at(500), 0).len(), 1);
    }

    #[test]
    fn of_too_many_the_oldest_leaves() {
        let (parking, mut space) = (Parking::default(), Space::new(0, 0..8_000));
        let settings = sv1::server::Settings {
            mining: Arc::new(Settings::default()),
            start: Difficulty::ONE,
        };
        let settings = Arc::new(settings);
        for number in 0..=PARKED_MAX as u64 {
            let slot = space.lease(0).unwrap();
            let server = sv1::Server::new(Time(0), Arc::clone(&settings), slot, number.to_be_bytes());
            parking.park(Time(number), 0, Box::new(server));
        }
        assert!(parking.take(Time(5_000), "0000000000000000").is_none());
        assert!(parking.take(Time(5_000), "0000000000000001").is_some());
        assert_eq!(parking.collect(Time(5_000), 0).len(), 1);
    }
}
