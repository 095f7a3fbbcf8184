//! Old history goes: how long each resolution is kept.

use super::delta::{DAY_S, RESOLUTIONS};
use super::error::StoreError;
use super::store::{Purpose, Store, Value, at_most, int, transaction};

/// How long things are kept, in days; 0 is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Steps of a minute, of ten minutes, of an hour.
    pub history: [u32; 3],
    /// Sessions that have ended, and the best shares of days.
    pub sessions: u32,
}

impl dyn Store + '_ {
    /// Removes what is older than `keep` says at `now_s` (Unix time). Sums, blocks and payouts stay for ever.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn prune(&mut self, keep: Keep, now_s: u64) -> Result<u64, StoreError> {
        let store: &mut dyn Store = &mut *self;
        transaction(store, Purpose::Write, |store| {
            let mut gone = 0;
            for (resolution, days) in RESOLUTIONS.into_iter().zip(keep.history) {
                let Some(before) = cutoff(days, now_s) else {
                    continue;
                };
                let values = [int(resolution)?, int(before)?];
                for table in ["history", "rejects"] {
                    let statement = format!("DELETE FROM {table} WHERE resolution = $1 AND start_s < $2");
                    gone += store.run(&statement, &values)?;
                }
            }
            if let Some(before) = cutoff(keep.sessions, now_s) {
                gone += store.run(
                    "DELETE FROM sessions WHERE closed_us > 0 AND closed_us < $1",
                    &[at_most(before.saturating_mul(1_000_000))],
                )?;
                gone += store.run(
                    "DELETE FROM best_shares WHERE day < $1",
                    &[Value::Int((before / DAY_S) as i64)],
                )?;
            }
            Ok(gone)
        })
    }
}

fn cutoff(days: u32, now_s: u64) -> Option<u64> {
    (days > 0).then(|| now_s.saturating_sub(u64::from(days) * DAY_S))
}
