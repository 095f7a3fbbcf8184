//! The workers behind channels, by the names that shares carry (extension 0x0002).

use super::channel::Channel;
use super::{WorkerId, WorkerName};
use crate::Time;
use core::time::Duration;
use std::collections::HashMap;

/// Workers of a connection that are remembered. Shares of any more are booked to them all the same; they only do not
/// count for the difficulty.
pub(super) const WORKERS_MAX: usize = 4_096;

/// A worker that was silent for this long, and up to twice as long, is not counted.
const WINDOW: Duration = Duration::from_secs(600);

/// A channel finds shares so many times as fast as configured, at most, so that all its workers are seen.
pub(super) const WORKERS_COUNTED_MAX: u32 = 64;

/// Who was seen, in this window and the one before.
#[derive(Debug)]
pub(super) struct Workers {
    /// Channel and worker: the window in which the worker was last seen.
    seen: HashMap<(u32, WorkerId), u32>,
    window: u32,
    ends: Time,
}

/// How many workers one channel showed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Crowd {
    now: u16,
    before: u16,
}

impl Crowd {
    /// By how much to multiply the channel's share rate (REQ-EXT-038).
    pub(super) fn factor(self) -> u32 {
        u32::from(self.now.max(self.before)).clamp(1, WORKERS_COUNTED_MAX)
    }
}

impl Workers {
    pub(super) fn new(now: Time) -> Self {
        Self {
            seen: HashMap::new(),
            window: 0,
            ends: now + WINDOW,
        }
    }

    /// Notes a good share of a worker. Whether its name should be told to whoever watches: always when it is new, and
    /// each time when there is no room to remember that it is not.
    pub(super) fn note(&mut self, channel: &mut Channel, id: WorkerId) -> bool {
        let (key, room) = ((channel.id, id), self.seen.len() < WORKERS_MAX);
        let new = match self.seen.get_mut(&key) {
            Some(window) if *window == self.window => return false,
            Some(window) => {
                *window = self.window;
                false
            }
            None if !room => return true,
            None => {
                self.seen.insert(key, self.window);
                true
            }
        };
        channel.crowd.now = channel.crowd.now.saturating_add(1);
        new
    }

    /// Begins a new window when this one is over.
    pub(super) fn turn<'a>(&mut self, now: Time, channels: impl Iterator<Item = &'a mut Channel>) {
        if now < self.ends {
            return;
        }
        let idle = now >= self.ends + WINDOW;
        self.ends = now + WINDOW;
        self.window = self.window.wrapping_add(1);
        let window = self.window;
        self.seen
            .retain(|_, last| !idle && window.wrapping_sub(*last) <= 1);
        for channel in channels {
            let crowd = &mut channel.crowd;
            *crowd = Crowd {
                now: 0,
                before: if idle { 0 } else { crowd.now },
            };
        }
    }

    /// Forgets the workers of a channel: it is closed, or others stand behind it now (REQ-COM-032).
    pub(super) fn forget(&mut self, channel_id: u32) {
        self.seen.retain(|(channel, _), _| *channel != channel_id);
    }
}

/// An unnamed worker is none: the share is the account's alone.
pub(super) fn named(worker: Option<&WorkerName>) -> Option<(WorkerId, WorkerName)> {
    let name = *worker?;
    (!name.is_empty()).then(|| (WorkerId::of(&name), name))
}
