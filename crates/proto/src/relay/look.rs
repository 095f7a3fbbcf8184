//! What is due: requests without an answer, connections that say nothing, devices that have waited long enough.

use std::time::Duration;

use adit_wire::mining::{OpenMiningChannelError, SetCustomMiningJobError, UpdateChannel};
use adit_wire::{U256, refusal};

use super::below::up;
use super::channel::{Key, Seat};
use super::{Conn, Hang, Line, Output, Relay};
use crate::{Fault, Time};

/// How long a connection above may be without a channel while others serve the same devices.
pub(super) const IDLE: Duration = Duration::from_secs(60);
/// A channel that no upstream has: asking about it must be answered (spec 5.3.8), and changes nothing.
const NOBODY: u32 = u32::MAX;

impl Relay {
    /// Does what is due, and finds out when to look again.
    pub(super) fn look(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.next_look.is_none_or(|at| at > now) {
            return;
        }
        self.next_look = None;
        self.look_at_conns(now, out);
        self.look_at_channels(now, out);
        self.look_at_lines(now, out);
        let dials = self.classes.values().filter_map(|class| class.dial_at);
        if let Some(at) = dials.filter(|at| *at > now).min() {
            self.wake(at);
        }
    }

    fn look_at_conns(&mut self, now: Time, out: &mut Vec<Output>) {
        let mut over: Vec<(Conn, Fault)> = Vec::new();
        let mut next: Option<Time> = None;
        for (conn, below) in &self.conns {
            let (until, fault) = match below.told {
                None => (
                    below.since + self.settings.patience,
                    Fault::Expired("no upstream in time"),
                ),
                Some(_) if below.has_channels() => continue,
                Some(_) => (
                    below.since + self.settings.no_channel_timeout,
                    Fault::Expired("no channel was opened"),
                ),
            };
            match until <= now {
                true => over.push((*conn, fault)),
                false => next = Some(next.map_or(until, |at| at.min(until))),
            }
        }
        next.into_iter().for_each(|at| self.wake(at));
        for (conn, fault) in over {
            self.cut(now, conn, fault, out);
        }
    }

    /// Openings that have waited too long, and changes that may be told now.
    fn look_at_channels(&mut self, now: Time, out: &mut Vec<Output>) {
        let (mut late, mut changed): (Vec<(Key, Conn, u32)>, Vec<Key>) = (Vec::new(), Vec::new());
        let mut next: Option<Time> = None;
        let mut later = |at: Time| next = Some(next.map_or(at, |next: Time| next.min(at)));
        for (key, channel) in &self.channels {
            if let Some(request) = channel.request {
                let until = channel.since + self.settings.patience;
                match until <= now {
                    true => late.push((*key, channel.conn, request)),
                    false => later(until),
                }
            }
            if let (Some(at), Seat::Open { .. }) = (channel.tell_at(), channel.seat) {
                match at <= now {
                    true => changed.push(*key),
                    false => later(at),
                }
            }
        }
        next.into_iter().for_each(|at| self.wake(at));
        for (key, conn, request_id) in late {
            let error_code = refusal::OpenMiningChannel::NotReady.into();
            let message = OpenMiningChannelError {
                request_id,
                error_code,
            };
            self.tell(conn, message, out);
            self.drop_channel(now, key, None, out);
        }
        for key in changed {
            self.tell_update(now, key, out);
        }
    }

    fn look_at_lines(&mut self, now: Time, out: &mut Vec<Output>) {
        let mut ended: Vec<(Line, Hang)> = Vec::new();
        let mut asked: Vec<Line> = Vec::new();
        let mut next: Option<Time> = None;
        for (line, above) in &self.lines {
            let mut due = |at: Time| {
                if at > now {
                    next = Some(next.map_or(at, |next: Time| next.min(at)));
                }
                at <= now
            };
            if above.asked.values().any(|asked| due(asked.until)) {
                ended.push((*line, Hang::Silent));
                continue;
            }
            if let Some(since) = above.unanswered_since {
                let quiet = above.heard.max(since) + self.settings.quiet;
                let silent = due(since + self.settings.silence);
                let gone = above.asked_if_there && due(quiet + self.settings.quiet);
                if silent || gone {
                    ended.push((*line, Hang::Silent));
                } else if !above.asked_if_there && due(quiet) {
                    asked.push(*line);
                }
            }
            let spare = self
                .classes
                .get(&above.flags)
                .is_some_and(|class| class.lines.len() > 1 || !class.is_wanted());
            if above.success_flags.is_some() && above.is_idle() && spare && due(above.heard + IDLE) {
                ended.push((*line, Hang::Idle));
            }
        }
        next.into_iter().for_each(|at| self.wake(at));
        for line in asked {
            self.ask_if_there(now, line, out);
        }
        for (line, why) in ended {
            self.hang(now, line, why, out);
        }
        self.look_at_customs(now, out);
    }

    /// Whoever lives must refuse this (REQ-MIN-036), and be heard.
    fn ask_if_there(&mut self, now: Time, line: Line, out: &mut Vec<Output>) {
        let quiet = self.settings.quiet;
        if let Some(above) = self.lines.get_mut(&line) {
            above.asked_if_there = true;
            let message = UpdateChannel {
                channel_id: NOBODY,
                nominal_hash_rate: 0.0,
                maximum_target: U256::MAX,
            };
            up(line, message, out);
            self.wake(now + quiet);
        }
    }

    /// Jobs of devices' own that the upstream has not answered.
    fn look_at_customs(&mut self, now: Time, out: &mut Vec<Output>) {
        let mut refused = Vec::new();
        let mut next: Option<Time> = None;
        for above in self.lines.values_mut() {
            above.customs.retain(|_, custom| {
                if custom.until > now {
                    next = Some(next.map_or(custom.until, |at: Time| at.min(custom.until)));
                    return true;
                }
                refused.push(*custom);
                false
            });
        }
        next.into_iter().for_each(|at| self.wake(at));
        for custom in refused {
            let message = SetCustomMiningJobError {
                channel_id: custom.channel_id,
                request_id: custom.request,
                error_code: refusal::SetCustomMiningJob::StaleChainTip.into(),
            };
            self.tell(custom.conn, message, out);
        }
    }
}
