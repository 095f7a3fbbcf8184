//! Shares up, answers down.

use adit_wire::mining::{
    SubmitSharesError, SubmitSharesExtended, SubmitSharesStandard, SubmitSharesSuccess, ToServer,
};
use adit_wire::tlv::WorkerName;
use adit_wire::{B0_32, refusal};

use super::channel::{Key, Seat};
use super::{Conn, Event, Line, Output, Relay};
use crate::{Fault, Time};

/// What both kinds of share begin with.
#[derive(Clone, Copy)]
struct Claim {
    channel_id: u32,
    sequence_number: u32,
    job_id: u32,
}

/// Where a share goes.
struct Way {
    line: Line,
    id: u32,
    job_id: u32,
    fill: u8,
}

impl Relay {
    pub(super) fn share_standard(
        &mut self,
        now: Time,
        conn: Conn,
        it: SubmitSharesStandard,
        out: &mut Vec<Output>,
    ) {
        let claim = Claim {
            channel_id: it.channel_id,
            sequence_number: it.sequence_number,
            job_id: it.job_id,
        };
        let Some(way) = self.way(now, conn, claim, out) else {
            return;
        };
        let message = SubmitSharesStandard {
            channel_id: way.id,
            job_id: way.job_id,
            ..it
        };
        self.send(way.line, message.into(), None, out);
    }

    pub(super) fn share_extended(
        &mut self,
        now: Time,
        conn: Conn,
        it: SubmitSharesExtended,
        worker: Option<WorkerName>,
        out: &mut Vec<Output>,
    ) {
        let claim = Claim {
            channel_id: it.channel_id,
            sequence_number: it.sequence_number,
            job_id: it.job_id,
        };
        let Some(way) = self.way(now, conn, claim, out) else {
            return;
        };
        // A share whose extranonce does not even fit goes up as it is, and is refused there.
        let filled = [
            &[0; B0_32::MAX][..usize::from(way.fill).min(B0_32::MAX)],
            &it.extranonce,
        ]
        .concat();
        let message = SubmitSharesExtended {
            channel_id: way.id,
            job_id: way.job_id,
            extranonce: B0_32::new(&filled).unwrap_or(it.extranonce),
            ..it
        };
        self.send(way.line, message.into(), worker, out);
    }

    fn send(&self, line: Line, message: ToServer, worker: Option<WorkerName>, out: &mut Vec<Output>) {
        out.push(Output::Above {
            line,
            message,
            worker,
        });
        out.push(Output::Event(Event::Sent));
    }

    /// The upstream that gave the share's job, and what it calls channel and job; otherwise the share is refused.
    fn way(&mut self, now: Time, conn: Conn, claim: Claim, out: &mut Vec<Output>) -> Option<Way> {
        match self.find(now, conn, claim) {
            Ok(way) => Some(way),
            Err((key, refusal)) => {
                self.refuse(now, conn, claim, key, refusal, out);
                None
            }
        }
    }

    fn find(
        &mut self,
        now: Time,
        conn: Conn,
        claim: Claim,
    ) -> Result<Way, (Option<Key>, refusal::SubmitShares)> {
        use refusal::SubmitShares as Code;
        let below = self.conns.get(&conn);
        let key = below
            .and_then(|below| below.channels.get(&claim.channel_id))
            .copied();
        let key = key.ok_or((None, Code::InvalidChannelId))?;
        let refused = |code| (Some(key), code);
        let channel = self
            .channels
            .get_mut(&key)
            .ok_or((None, Code::InvalidChannelId))?;
        if !channel.spend_share(now, &self.settings) {
            return Err(refused(Code::RateLimited));
        }
        let never_given = claim.job_id == 0 || claim.job_id > self.last_job;
        let unknown = match never_given {
            true => Code::InvalidJobId,
            false => Code::StaleShare,
        };
        let Seat::Open {
            line,
            id,
            group,
            fill,
        } = channel.seat
        else {
            return Err(refused(unknown));
        };
        let above = self.lines.get_mut(&line).ok_or(refused(unknown))?;
        let of_group = above.groups.get(&group).map(|group| &group.jobs);
        let job_id = channel
            .jobs
            .theirs(claim.job_id)
            .or_else(|| of_group?.theirs(claim.job_id))
            .ok_or(refused(unknown))?;
        channel.sent(claim.sequence_number);
        above.sent(now);
        let quiet = above.heard.max(now) + self.settings.quiet;
        self.wake(quiet);
        self.not_stray(conn);
        Ok(Way {
            line,
            id,
            job_id,
            fill,
        })
    }

    /// A share that nobody above can judge is answered here, at once (REQ-MIN-064).
    fn refuse(
        &mut self,
        now: Time,
        conn: Conn,
        claim: Claim,
        key: Option<Key>,
        refusal: refusal::SubmitShares,
        out: &mut Vec<Output>,
    ) {
        out.push(Output::Event(Event::Withheld));
        let message = SubmitSharesError {
            channel_id: claim.channel_id,
            sequence_number: claim.sequence_number,
            error_code: refusal.into(),
        };
        self.tell(conn, message, out);
        match key {
            None => self.stray(now, conn, out),
            // Nobody can help it that an upstream is away.
            Some(_) if refusal == refusal::SubmitShares::StaleShare => {}
            Some(key) => {
                if let Some(channel) = self.channels.get_mut(&key) {
                    channel.refused_in_a_row = channel.refused_in_a_row.saturating_add(1);
                }
                self.judge(now, key, out);
            }
        }
    }

    /// Shares were accepted: numbers are the device's own, so they are handed down as they are.
    pub(super) fn accepted(&mut self, now: Time, line: Line, it: SubmitSharesSuccess, out: &mut Vec<Output>) {
        let Some(above) = self.lines.get_mut(&line) else {
            return;
        };
        let channel = above
            .channels
            .get(&it.channel_id)
            .and_then(|key| self.channels.get_mut(key));
        // Answers may still be under way when a channel is closed.
        let Some(channel) = channel else { return };
        let answered = channel.accepted(it.last_sequence_number);
        above.answered(now, answered);
        let (conn, channel_id) = (channel.conn, channel.id);
        out.push(Output::Event(Event::Accepted {
            count: it.new_submits_accepted_count,
            difficulty_sum: it.new_shares_sum,
        }));
        self.tell(conn, SubmitSharesSuccess { channel_id, ..it }, out);
    }

    /// A share was refused.
    pub(super) fn rejected(&mut self, now: Time, line: Line, it: SubmitSharesError, out: &mut Vec<Output>) {
        let Some(above) = self.lines.get_mut(&line) else {
            return;
        };
        let key = above.channels.get(&it.channel_id).copied();
        let Some((key, channel)) = key.and_then(|key| Some((key, self.channels.get_mut(&key)?))) else {
            return;
        };
        let answered = channel.rejected(it.sequence_number);
        above.answered(now, answered);
        let (conn, channel_id) = (channel.conn, channel.id);
        out.push(Output::Event(Event::Rejected {
            code: it.error_code.to_string(),
        }));
        self.tell(conn, SubmitSharesError { channel_id, ..it }, out);
        self.judge(now, key, out);
    }

    /// Shares that are never good: a device must not cost its neighbours their connection to the upstream, and one that
    /// does not follow a new prefix has to come again.
    fn judge(&mut self, now: Time, key: Key, out: &mut Vec<Output>) {
        let Some(channel) = self.channels.get(&key) else {
            return;
        };
        let over = |count: u32, most: u32| most > 0 && count >= most;
        let after_move = channel.refused_after_move.unwrap_or(0);
        let fault = if over(after_move, self.settings.refused_after_move_max) {
            Fault::Incompatible("it does not follow SetExtranoncePrefix")
        } else if over(channel.refused_in_a_row, self.settings.refused_in_a_row_max) {
            Fault::Misbehaved("too many refused shares in a row")
        } else {
            return;
        };
        let conn = channel.conn;
        self.cut(now, conn, fault, out);
    }
}
