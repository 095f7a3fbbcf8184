//! Shares: from a line to the machine behind, and its verdicts back to the requests.

use super::{Out, Server};
use crate::mining::server as mining;
use crate::sv1::refusal::Refusal;
use crate::sv1::request::Submit;
use crate::sv1::{Id, hex, say, user};
use crate::{Fault, Time};
use adit_wire::mining::{SubmitSharesError, SubmitSharesExtended};
use adit_wire::refusal;
use adit_wire::types::B0_32;
use std::collections::VecDeque;

/// Jobs whose version is remembered: more than any that can still be good.
const JOBS_MAX: usize = 64;

/// A job as the miner was told it.
#[derive(Clone, Copy, Debug)]
struct Sent {
    id: u32,
    version: u32,
    /// Bits that may be rolled.
    mask: u32,
}

/// The last jobs that were sent.
#[derive(Debug, Default)]
pub(super) struct Jobs(VecDeque<Sent>);

impl Jobs {
    pub(super) fn sent(&mut self, id: u32, version: u32, mask: u32) {
        if self.0.len() >= JOBS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Sent { id, version, mask });
    }

    /// Header version of a share. Without bits it is that of the job; bits outside of the mask are none, or those of
    /// the job, as some firmware sends the whole version. Any others make a version that nobody allows.
    fn version(&self, id: u32, bits: Option<u32>) -> u32 {
        let sent = self.0.iter().rev().find(|sent| sent.id == id);
        match (sent, bits) {
            // The machine behind knows no such job either.
            (None, _) => 0,
            (Some(sent), None) => sent.version,
            (Some(sent), Some(bits)) => {
                let fixed = sent.version & !sent.mask;
                match bits & !sent.mask {
                    outside if outside == 0 || outside == fixed => fixed | bits & sent.mask,
                    outside => sent.version ^ outside,
                }
            }
        }
    }
}

/// Shares that wait for their answer, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Pending {
    requests: VecDeque<(u32, Id)>,
    last: u32,
}

impl Pending {
    fn push(&mut self, id: Id) -> u32 {
        self.last = self.last.wrapping_add(1);
        self.requests.push_back((self.last, id));
        self.last
    }

    /// The share that was refused.
    fn take(&mut self, sequence_number: u32) -> Option<Id> {
        // Nearly always the newest: refusals come at once.
        let at = self
            .requests
            .iter()
            .rposition(|(number, _)| *number == sequence_number)?;
        self.requests.remove(at).map(|(_, id)| id)
    }

    /// The oldest share, if it is not newer than `through`. Numbers go round after four thousand million shares.
    fn take_through(&mut self, through: u32) -> Option<Id> {
        let (number, _) = self.requests.front()?;
        if through.wrapping_sub(*number) > u32::MAX / 2 {
            return None;
        }
        self.requests.pop_front().map(|(_, id)| id)
    }
}

impl Server {
    pub(super) fn submit(
        &mut self,
        now: Time,
        id: Id,
        share: &Submit,
        out: &mut Out<'_>,
    ) -> Result<(), Fault> {
        let Some(channel) = &self.channel else {
            let refusal = match self.subscribed {
                true => Refusal::unauthorized("Unauthorized worker"),
                false => Refusal::NOT_SUBSCRIBED,
            };
            say::refused(&id, refusal, out.lines);
            return Ok(());
        };
        let (account, worker) = user::split(&share.user);
        if *account != *channel.account {
            say::refused(&id, Refusal::unauthorized("Unauthorized worker"), out.lines);
            return Ok(());
        }
        let job_id = share.job_id.unwrap_or(0);
        // One of the wrong size is refused as such by the machine behind.
        let rolled = hex::bytes(&share.extranonce2, self.rolled).unwrap_or_default();
        let share = SubmitSharesExtended {
            channel_id: channel.id,
            sequence_number: self.pending.push(id),
            job_id,
            nonce: share.nonce,
            ntime: share.ntime,
            version: self.jobs.version(job_id, share.version_bits),
            extranonce: B0_32::new(&rolled).unwrap_or_default(),
        };
        let input = match worker {
            Some(worker) => mining::Input::WorkerShare { share, worker },
            None => mining::Input::Message(share.into()),
        };
        self.feed(now, input, out)
    }

    /// All good shares up to this one are on disk.
    pub(super) fn accepted(&mut self, last_sequence_number: u32, lines: &mut Vec<u8>) {
        while let Some(id) = self.pending.take_through(last_sequence_number) {
            say::yes_or_no(&id, true, lines);
        }
    }

    pub(super) fn share_refused(&mut self, error: &SubmitSharesError, lines: &mut Vec<u8>) {
        let why = refusal::SubmitShares::of_code(error.error_code.as_bytes());
        let refusal = why.map_or(Refusal::other("Invalid share"), Refusal::from);
        if let Some(id) = self.pending.take(error.sequence_number) {
            say::refused(&id, refusal, lines);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BIP310, and what firmware makes of it.
    #[test]
    fn version_bits_are_those_of_the_mask() {
        let mut jobs = Jobs::default();
        jobs.sent(7, 0x2000_4000, 0x1fff_e000);
        assert_eq!(jobs.version(7, None), 0x2000_4000);
        assert_eq!(
            jobs.version(7, Some(0x0000_a000)),
            0x2000_a000,
            "the job's bits in the mask are replaced"
        );
        assert_eq!(jobs.version(7, Some(0x2000_a000)), 0x2000_a000, "a whole version");
        let outside = jobs.version(7, Some(0x4000_a000));
        assert_ne!(
            (outside ^ 0x2000_4000) & !0x1fff_e000,
            0,
            "{outside:#x} is refused"
        );
        assert_eq!(jobs.version(8, Some(1)), 0);
        for id in 10..10 + JOBS_MAX as u32 {
            jobs.sent(id, 1, 0);
        }
        assert_eq!(jobs.version(7, None), 0, "long gone");
    }

    #[test]
    fn verdicts_find_their_requests_and_numbers_go_round() {
        let id = |number: u32| Id::Number(number.into());
        let mut pending = Pending {
            last: u32::MAX - 1,
            ..Pending::default()
        };
        let numbers: Vec<u32> = (0..4).map(|number| pending.push(id(number))).collect();
        assert_eq!(numbers, [u32::MAX, 0, 1, 2]);
        assert_eq!(pending.take(0), Some(id(1)));
        assert_eq!(pending.take(0), None);
        assert_eq!(pending.take_through(1), Some(id(0)));
        assert_eq!(pending.take_through(1), Some(id(2)));
        assert_eq!(pending.take_through(1), None, "the last waits");
    }
}
