//! Whose turn it is to make a batch of payments: one front end's after the other, and none before what the last one has
//! booked was heard. So a debt that two ledgers have a part of is paid once.

use std::time::Duration;

use adit_proto::Time;
use async_nats::jetstream::kv;
use serde::{Deserialize, Serialize};

use super::bus::{Bus, BusError};

/// Stands in the table of statements, beside the numbers.
const KEY: &str = "turn";
/// How long a batch may take until it is on disk, or is not made: whoever died meanwhile has booked it by then or never will.
pub const BOOKED_WITHIN: Duration = Duration::from_secs(30);
/// Nobody waits longer for a front end that says nothing after its turn.
const FORGOTTEN: Duration = Duration::from_secs(3_600);

/// The last turn that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Turn {
    /// Whose it is.
    pub(super) front_end: u16,
    /// When it began, or ended where it has, by that front end's clock: Unix microseconds.
    pub(super) at_us: u64,
    /// Whether it has ended: what was made is booked.
    pub(super) ended: bool,
}

impl Turn {
    /// Whether `own` has to wait, who has heard what that front end said at `heard_us` by its clock.
    fn keeps_waiting(&self, own: u16, heard_us: Option<u64>, now_us: u64) -> bool {
        let (at, now) = (Time(self.at_us), Time(now_us));
        let booked = if self.ended { at } else { at + BOOKED_WITHIN };
        let heard = heard_us.is_some_and(|heard_us| Time(heard_us) > booked);
        self.front_end != own && !heard && now - at <= FORGOTTEN
    }

    /// Takes the turn for `front_end`, or says which one has to be heard of before.
    pub(super) async fn take(
        store: &kv::Store,
        front_end: u16,
        now_us: u64,
        heard_us: impl Fn(u16) -> Option<u64>,
    ) -> Result<Result<(), u16>, BusError> {
        let (revision, last) = last(store).await?;
        if let Some(last) = last
            && last.keeps_waiting(front_end, heard_us(last.front_end), now_us)
        {
            return Ok(Err(last.front_end));
        }
        let turn = Self {
            front_end,
            at_us: now_us,
            ended: false,
        };
        if turn.write(store, revision).await?.is_some() {
            return Ok(Ok(()));
        }
        // Somebody was faster.
        let (_, faster) = self::last(store).await?;
        Ok(Err(faster.map_or(front_end, |faster| faster.front_end)))
    }

    /// Ends the turn of `front_end`, if it is its turn still.
    pub(super) async fn end(store: &kv::Store, front_end: u16, now_us: u64) -> Result<(), BusError> {
        let (revision, last) = last(store).await?;
        if last.is_some_and(|last| last.front_end == front_end) {
            let turn = Self {
                front_end,
                at_us: now_us,
                ended: true,
            };
            turn.write(store, revision).await?;
        }
        Ok(())
    }

    async fn write(&self, store: &kv::Store, revision: u64) -> Result<Option<u64>, BusError> {
        let json = serde_json::to_vec(self).unwrap_or_default();
        Bus::swap(store, KEY, json, revision, "the turn to pay was not taken").await
    }
}

/// The last turn and its revision; what nobody can read is nobody's.
async fn last(store: &kv::Store) -> Result<(u64, Option<Turn>), BusError> {
    let entry = Bus::entry(store, KEY, "whose turn it is to pay").await?;
    let read = |entry: kv::Entry| (entry.revision, serde_json::from_slice(&entry.value).ok());
    Ok(entry.map_or((0, None), read))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_over_when_its_front_end_was_heard_after_it() {
        let second = 1_000_000;
        let ended = Turn {
            front_end: 7,
            at_us: 100 * second,
            ended: true,
        };
        assert!(!ended.keeps_waiting(7, None, 0), "its own next one");
        assert!(ended.keeps_waiting(8, None, 101 * second));
        assert!(ended.keeps_waiting(8, Some(100 * second), 101 * second));
        assert!(!ended.keeps_waiting(8, Some(100 * second + 1), 101 * second));
        // Who has not said that it is over may book for half a minute.
        let open = Turn {
            ended: false,
            ..ended
        };
        assert!(open.keeps_waiting(8, Some(130 * second), 131 * second));
        assert!(!open.keeps_waiting(8, Some(130 * second + 1), 131 * second));
        // Who is gone for good is waited for an hour.
        assert!(open.keeps_waiting(8, None, 3_700 * second));
        assert!(!open.keeps_waiting(8, None, 3_701 * second));
    }
}
