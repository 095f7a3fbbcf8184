//! Handing every peer to another server: Reconnect, spread in time, and a limit to waiting (spec 3.6.5, docs/operations.md).

use std::time::Duration;

use adit_wire::Str0_255;
use adit_wire::common::Reconnect;

use crate::config::{Place, table::PoolKeys};

/// Longest pause between two Reconnects of one worker, so that a small pool is not drained in slow motion.
pub(super) const GAP_MAX: Duration = Duration::from_millis(10);
/// How long a peer whose time is up is kept for the shares that are still on their way to the disk.
pub(super) const SETTLE_MAX: Duration = Duration::from_secs(5);
/// Beyond what was promised to peers: for the last acknowledgements, and for timers that are late.
pub(super) const SLACK: Duration = Duration::from_secs(10);
/// How often is looked who has left.
pub(super) const LOOK: Duration = Duration::from_millis(20);
/// How often the log hears of it.
pub(super) const TELL: Duration = Duration::from_secs(5);

/// What every worker is told.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) message: Reconnect,
    /// Over this long the messages are spread.
    pub(super) spread: Duration,
    /// How long a peer may stay after it was told to leave.
    pub(super) patience: Duration,
}

impl Order {
    pub(super) fn new(place: &Place, keys: &PoolKeys) -> Self {
        Self {
            message: Reconnect {
                // The configuration holds host names to the length of the field.
                new_host: Str0_255::try_from(place.host.as_str()).unwrap_or_default(),
                new_port: place.port,
            },
            spread: Duration::from_millis(keys.drain_ms),
            patience: Duration::from_millis(keys.drain_deadline_ms),
        }
    }

    /// The longest that all of it should take.
    pub(super) fn longest(&self) -> Duration {
        self.spread + self.patience + SLACK
    }

    /// The pause between two messages of a worker that has `peers` of them.
    pub(super) fn gap(&self, peers: usize) -> Duration {
        let peers = u32::try_from(peers.max(1)).unwrap_or(u32::MAX);
        (self.spread / peers).min(GAP_MAX)
    }
}

/// How far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Where peers are sent; `None` while the pool is not being drained.
    pub to: Option<Place>,
    /// Peers when it began.
    pub total: usize,
    /// Peers that are still here.
    pub left: usize,
    /// Nobody is waited for any more.
    pub done: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn order(changes: &[(&str, &str)]) -> Order {
        let place = Place {
            host: "b.example".into(),
            port: 0,
        };
        Order::new(&place, &Settings::with(changes).unwrap().pool)
    }

    #[test]
    fn messages_are_spread_over_the_time_given_and_no_longer_than_need_be() {
        let order = order(&[("pool.drain_ms", "20000")]);
        assert_eq!(order.gap(100_000), Duration::from_micros(200));
        assert_eq!(order.gap(3), GAP_MAX, "three peers do not take twenty seconds");
        assert_eq!(order.gap(0), GAP_MAX);
        assert_eq!(
            (&*order.message.new_host, order.message.new_port),
            (&b"b.example"[..], 0)
        );
    }
}
