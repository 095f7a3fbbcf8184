//! Jobs of devices' own (spec 5.3.18 to 5.3.20).

use adit_wire::common::flags;
use adit_wire::mining::{SetCustomMiningJob, SetCustomMiningJobError, SetCustomMiningJobSuccess};
use adit_wire::refusal;

use super::below::up;
use super::channel::{Channel, Job, Seat};
use super::line::{CUSTOMS_MAX, Custom};
use super::{Conn, Line, Output, Relay};
use crate::Time;

impl Relay {
    /// Told on only where the device has said that it would (REQ-MIN-087). A group of several extended channels cannot be
    /// meant as one: it is shared with others above.
    pub(super) fn custom(
        &mut self,
        now: Time,
        conn: Conn,
        mut it: SetCustomMiningJob,
        out: &mut Vec<Output>,
    ) {
        use refusal::SetCustomMiningJob as Code;
        let (request, channel_id) = (it.request_id, it.channel_id);
        let refuse = |code: Code| SetCustomMiningJobError {
            channel_id,
            request_id: request,
            error_code: code.into(),
        };
        let Some(below) = self.conns.get(&conn) else {
            return;
        };
        if below.flags & flags::REQUIRES_WORK_SELECTION == 0 {
            return self.tell(conn, refuse(Code::JdNotSupported), out);
        }
        let mut extended = match below.groups.get(&channel_id) {
            Some(members) => members.iter().copied().collect(),
            None => below
                .channels
                .get(&channel_id)
                .copied()
                .into_iter()
                .collect::<Vec<_>>(),
        };
        extended.retain(|key| self.channels.get(key).is_some_and(Channel::is_extended));
        let seat = match extended.as_slice() {
            [key] => self.channels.get(key).map(|channel| (*key, channel.seat)),
            _ => None,
        };
        let Some((key, seat)) = seat else {
            return self.tell(conn, refuse(Code::InvalidChannelId), out);
        };
        let above = match seat {
            Seat::Open { line, id, .. } => self.lines.get_mut(&line).map(|above| (line, id, above)),
            _ => None,
        };
        let Some((line, id, above)) = above else {
            return self.tell(conn, refuse(Code::StaleChainTip), out);
        };
        let waiting = above.customs.values().filter(|custom| custom.conn == conn);
        if waiting.count() >= CUSTOMS_MAX {
            return self.tell(conn, refuse(Code::RateLimited), out);
        }
        (it.request_id, it.channel_id) = (above.request_id(), id);
        let until = now + self.settings.answer_timeout;
        let custom = Custom {
            conn,
            key,
            request,
            channel_id,
            until,
        };
        above.customs.insert(it.request_id, custom);
        self.wake(until);
        up(line, it, out);
    }

    /// A custom job has a name now: ours below, theirs above.
    pub(super) fn custom_accepted(
        &mut self,
        line: Line,
        it: &SetCustomMiningJobSuccess,
        out: &mut Vec<Output>,
    ) {
        let above = self.lines.get_mut(&line);
        let Some(custom) = above.and_then(|above| above.customs.remove(&it.request_id)) else {
            return;
        };
        let ours = self.name_job();
        if let Some(channel) = self.channels.get_mut(&custom.key) {
            channel.jobs.push(Job {
                ours,
                theirs: it.job_id,
            });
        }
        let message = SetCustomMiningJobSuccess {
            channel_id: custom.channel_id,
            request_id: custom.request,
            job_id: ours,
        };
        self.tell(custom.conn, message, out);
    }

    pub(super) fn custom_refused(&mut self, line: Line, it: SetCustomMiningJobError, out: &mut Vec<Output>) {
        let above = self.lines.get_mut(&line);
        if let Some(custom) = above.and_then(|above| above.customs.remove(&it.request_id)) {
            let message = SetCustomMiningJobError {
                channel_id: custom.channel_id,
                request_id: custom.request,
                error_code: it.error_code,
            };
            self.tell(custom.conn, message, out);
        }
    }
}
