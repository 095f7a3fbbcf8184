//! Lines come and go: who waits for one is let in, and whose line is lost gets another.

use adit_wire::mining::{SetCustomMiningJobError, SubmitSharesError};
use adit_wire::refusal;

use super::channel::Key;
use super::line::Above;
use super::seats::{Class, DENIED_FOR};
use super::{Event, Hang, Line, Output, Relay};
use crate::{Fault, Time};

impl Relay {
    /// A line stands: who waited for it is let in. Who was told less than the upstream requires now must come again.
    pub(super) fn up(&mut self, now: Time, line: Line, success_flags: u32, out: &mut Vec<Output>) {
        let Some(above) = self.lines.get_mut(&line) else {
            return;
        };
        (above.success_flags, above.heard) = (Some(success_flags), now);
        let flags = above.flags;
        let Some(class) = self.classes.get_mut(&flags) else {
            return;
        };
        (class.dial_at, class.denied) = (None, None);
        for conn in class.members.clone() {
            match self.conns.get(&conn).and_then(|below| below.told) {
                None => self.admit(now, conn, success_flags, out),
                Some(told) if success_flags & !told != 0 => {
                    let fault = Fault::Incompatible("the upstream now requires what it was not told");
                    self.cut(now, conn, fault, out);
                }
                Some(_) => {}
            }
        }
    }

    /// The upstream lacks a feature: devices that need it are not served.
    pub(super) fn refused_line(&mut self, now: Time, line: Line, lacking: u32, out: &mut Vec<Output>) {
        let Some(above) = self.lines.remove(&line) else {
            return;
        };
        let Some(class) = self.classes.get_mut(&above.flags) else {
            return;
        };
        class.lines.remove(&line);
        class.denied = Some((lacking, now + DENIED_FOR));
        for conn in class.members.clone() {
            match self.conns.get(&conn).is_some_and(|below| below.told.is_some()) {
                false => self.deny(conn, lacking, out),
                true => {
                    let fault = Fault::Incompatible("the upstream lacks a feature that it needs");
                    self.cut(now, conn, fault, out);
                }
            }
        }
    }

    /// A line has ended, or was never made.
    pub(super) fn gone(&mut self, now: Time, line: Line, out: &mut Vec<Output>) {
        let Some(above) = self.take_line(now, line, out) else {
            return;
        };
        // One that was of no use is not made again at once.
        if above.channels.is_empty()
            && let Some(class) = self.classes.get_mut(&above.flags)
        {
            let at = class.failed(now);
            self.wake(at);
        }
    }

    /// Another upstream: nothing of the last one is of use.
    pub(super) fn turn(&mut self, now: Time, out: &mut Vec<Output>) {
        let lines: Vec<Line> = self.lines.keys().copied().collect();
        for line in lines {
            let why = Hang::Turned;
            out.push(Output::Hang { line, why });
            self.take_line(now, line, out);
        }
        self.classes.values_mut().for_each(Class::forget);
    }

    /// Ends a line for its own fault, or because nobody needs it.
    pub(super) fn hang(&mut self, now: Time, line: Line, why: Hang, out: &mut Vec<Output>) {
        if self.lines.contains_key(&line) {
            out.push(Output::Hang { line, why });
            self.gone(now, line, out);
        }
    }

    /// Takes a line away: its channels wait for another, and what waited on it is refused.
    fn take_line(&mut self, now: Time, line: Line, out: &mut Vec<Output>) -> Option<Above> {
        let above = self.lines.remove(&line)?;
        let class = self.classes.entry(above.flags).or_default();
        class.lines.remove(&line);
        let asked = above.asked.values().filter_map(|asked| asked.key);
        let seated: Vec<Key> = above.channels.values().copied().chain(asked).collect();
        class.queue.extend(&seated);
        for key in seated {
            self.unseat(now, key, out);
        }
        for custom in above.customs.values() {
            let message = SetCustomMiningJobError {
                channel_id: custom.channel_id,
                request_id: custom.request,
                error_code: refusal::SetCustomMiningJob::StaleChainTip.into(),
            };
            self.tell(custom.conn, message, out);
        }
        Some(above)
    }

    /// Shares without an answer get one, so that no device waits for ever.
    fn unseat(&mut self, now: Time, key: Key, out: &mut Vec<Output>) {
        let Some(channel) = self.channels.get_mut(&key) else {
            return;
        };
        let since = channel.since;
        let unanswered = channel.unseat(now);
        if !channel.is_known_below() {
            // Its device has waited since it asked.
            channel.since = since;
        }
        let (conn, channel_id) = (channel.conn, channel.id);
        for sequence_number in unanswered {
            let message = SubmitSharesError {
                channel_id,
                sequence_number,
                error_code: refusal::SubmitShares::StaleShare.into(),
            };
            out.push(Output::Event(Event::Withheld));
            self.tell(conn, message, out);
        }
    }
}
