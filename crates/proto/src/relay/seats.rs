//! Which connection above carries a channel: made as needed, filled as far as the upstream lets them be, left together
//! when another upstream is turned to.

use std::collections::BTreeSet;
use std::time::Duration;

use adit_wire::mining::{OpenExtendedMiningChannel, OpenStandardMiningChannel};

use super::below::up;
use super::channel::{Key, Seat};
use super::line::{Above, Asked};
use super::{Conn, Line, Output, Relay};
use crate::Time;

/// Before a connection that could not be made is tried again; doubles from time to time.
const RETRY: Duration = Duration::from_millis(250);
/// Longest such wait.
const RETRY_MAX: Duration = Duration::from_secs(10);
/// How long an upstream's word holds that it lacks a feature.
pub(super) const DENIED_FOR: Duration = Duration::from_secs(60);

/// Devices with the same needs, and the lines that serve them.
#[derive(Clone, Debug, Default)]
pub(super) struct Class {
    pub(super) members: BTreeSet<Conn>,
    /// Channels that wait for a seat.
    pub(super) queue: BTreeSet<Key>,
    pub(super) lines: BTreeSet<Line>,
    /// Channels that a line of this upstream takes, where it has shown that.
    limit: Option<usize>,
    /// Features that the upstream does not have, and until when that is believed.
    pub(super) denied: Option<(u32, Time)>,
    /// Lines in a row that could not be made, and when the next one may be.
    failures: u32,
    pub(super) dial_at: Option<Time>,
}

impl Class {
    /// Whether anybody here needs an upstream.
    pub(super) fn is_wanted(&self) -> bool {
        !self.members.is_empty()
    }

    pub(super) fn denied_at(&self, now: Time) -> Option<u32> {
        self.denied
            .filter(|(_, until)| now < *until)
            .map(|(flags, _)| flags)
    }

    pub(super) fn failed(&mut self, now: Time) -> Time {
        let wait = RETRY.saturating_mul(1 << self.failures.min(10)).min(RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
        let at = now + wait;
        self.dial_at = Some(at);
        at
    }

    /// Another upstream is asked from now on: what the last one has shown says nothing.
    pub(super) fn forget(&mut self) {
        (self.limit, self.denied, self.failures, self.dial_at) = (None, None, 0, None);
    }
}

impl Relay {
    /// What the upstream requires of connections with these flags, where one stands.
    pub(super) fn required(&self, flags: u32) -> Option<u32> {
        let class = self.classes.get(&flags)?;
        let mut lines = class.lines.iter().filter_map(|line| self.lines.get(line));
        lines.find_map(|above| above.success_flags)
    }

    /// Asks for every channel that waits, as far as there is room, and for lines where there is none.
    pub(super) fn seat_all(&mut self, now: Time, out: &mut Vec<Output>) {
        let waiting: Vec<u32> = self
            .classes
            .iter()
            .filter(|(flags, class)| {
                let strangers = || self.required(**flags).is_none() && class.is_wanted();
                !class.queue.is_empty() || (class.lines.is_empty() && strangers())
            })
            .map(|(flags, _)| *flags)
            .collect();
        for flags in waiting {
            self.seat_class(now, flags, out);
        }
        self.classes.retain(|_, class| {
            class.is_wanted()
                || !class.lines.is_empty()
                || !class.queue.is_empty()
                || class.denied_at(now).is_some()
        });
    }

    fn seat_class(&mut self, now: Time, flags: u32, out: &mut Vec<Output>) {
        while let Some(key) = self
            .classes
            .get(&flags)
            .and_then(|class| class.queue.first().copied())
        {
            let Some(line) = self.room(flags, key) else { break };
            if let Some(class) = self.classes.get_mut(&flags) {
                class.queue.remove(&key);
            }
            self.ask(now, line, key, out);
        }
        if self.wants_line(now, flags) {
            self.dial(now, flags, out);
        }
    }

    /// A line that can be asked for one more channel. A channel that was refused elsewhere goes to the emptiest.
    fn room(&self, flags: u32, key: Key) -> Option<Line> {
        let class = self.classes.get(&flags)?;
        let standing = class.lines.iter().filter_map(|line| {
            let above = self.lines.get(line)?;
            above.success_flags.map(|_| (*line, above))
        });
        let mut free = standing
            .filter(|(_, above)| above.load() < above.limit && above.asked.len() < self.settings.asked_max);
        let retried = self
            .channels
            .get(&key)
            .is_some_and(|channel| channel.refusals > 0);
        let found = match retried {
            true => free.min_by_key(|(_, above)| above.load()),
            false => free.next(),
        };
        found.map(|(line, _)| line)
    }

    /// Whether another line is needed, none is on its way, and it may be tried now.
    fn wants_line(&self, now: Time, flags: u32) -> bool {
        let Some(class) = self.classes.get(&flags) else {
            return false;
        };
        let lines = || class.lines.iter().filter_map(|line| self.lines.get(line));
        let coming = lines().any(|above| above.success_flags.is_none());
        let full = lines().all(|above| above.load() >= above.limit);
        let needed = match class.queue.is_empty() {
            true => class.lines.is_empty(),
            false => full,
        };
        needed && !coming && class.dial_at.is_none_or(|at| at <= now)
    }

    fn dial(&mut self, now: Time, flags: u32, out: &mut Vec<Output>) {
        let Some(class) = self.classes.get_mut(&flags) else {
            return;
        };
        self.last_line += 1;
        let line = Line(self.last_line);
        let limit = class.limit.unwrap_or(self.settings.line_channels_max);
        class.lines.insert(line);
        let above = Above::new(now, flags, limit, self.settings.first_request);
        self.lines.insert(line, above);
        out.push(Output::Dial { line, flags });
    }

    /// Asks for a channel on a line.
    fn ask(&mut self, now: Time, line: Line, key: Key, out: &mut Vec<Output>) {
        let until = now + self.settings.answer_timeout;
        let (Some(channel), Some(above)) = (self.channels.get_mut(&key), self.lines.get_mut(&line)) else {
            return;
        };
        let request_id = above.request_id();
        above.asked.insert(
            request_id,
            Asked {
                key: Some(key),
                until,
            },
        );
        channel.seat = Seat::Asked {
            line,
            request: request_id,
        };
        channel.changed = false;
        let wish = channel.wish.clone();
        match wish.size {
            None => up(
                line,
                OpenStandardMiningChannel {
                    request_id,
                    user_identity: wish.user_identity,
                    nominal_hash_rate: wish.nominal_hash_rate,
                    max_target: wish.max_target,
                },
                out,
            ),
            Some(min_extranonce_size) => up(
                line,
                OpenExtendedMiningChannel {
                    request_id,
                    user_identity: wish.user_identity,
                    nominal_hash_rate: wish.nominal_hash_rate,
                    max_target: wish.max_target,
                    min_extranonce_size,
                },
                out,
            ),
        }
        self.wake(until);
    }

    /// A channel was opened: the upstream is of use.
    pub(super) fn note_use(&mut self, line: Line) {
        let flags = self.lines.get(&line).map(|above| above.flags);
        if let Some(class) = flags.and_then(|flags| self.classes.get_mut(&flags)) {
            class.failures = 0;
        }
    }

    /// A channel was refused. On a line that has others, that may be because it is full: another one is tried once.
    pub(super) fn may_be_full(&mut self, line: Line, key: Key) -> bool {
        let (Some(above), Some(channel)) = (self.lines.get_mut(&line), self.channels.get_mut(&key)) else {
            return false;
        };
        let Some(class) = self.classes.get_mut(&above.flags) else {
            return false;
        };
        if channel.refusals > 0 || above.channels.is_empty() {
            // It was not for want of room: the lines are as they were.
            let limit = class.limit.unwrap_or(self.settings.line_channels_max);
            for line in &class.lines {
                if let Some(above) = self.lines.get_mut(line) {
                    above.limit = limit;
                }
            }
            return false;
        }
        channel.refusals = 1;
        channel.seat = Seat::Queued;
        above.limit = above.channels.len();
        class.queue.insert(key);
        true
    }

    /// A channel that was refused on a full line was taken by another: that is how many a line takes.
    pub(super) fn note_limit(&mut self, line: Line) {
        let Some(flags) = self.lines.get(&line).map(|above| above.flags) else {
            return;
        };
        let Some(class) = self.classes.get_mut(&flags) else {
            return;
        };
        let limits = class.lines.iter().filter_map(|line| self.lines.get(line));
        class.limit = limits.map(|above| above.limit).min();
        let limit = class.limit.unwrap_or(self.settings.line_channels_max);
        if let Some(above) = self.lines.get_mut(&line) {
            above.limit = limit;
        }
    }
}
