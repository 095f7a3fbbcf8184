//! Shares upwards: kept until the pool takes their job, then sent, and watched.

use adit_proto::Time;
use adit_proto::target::Target;
use adit_wire::U256;

use super::Negotiation;
use super::door::{Mined, Output, UpShare};
use super::record::{self, Pending, Record, State};
use crate::observe::Figures;
use crate::uplink::Cause;

/// Shares kept for one job until the pool's answer; the oldest gives way.
pub const PENDING_MAX: usize = 4096;
/// Refused shares of acknowledged jobs on a tip that make an offence. One may be a race of ours.
pub const SHARES_REFUSED_MAX: u32 = 3;

impl Negotiation {
    /// Each accepted share of the miners below.
    pub(super) fn mined(&mut self, mined: &Mined, out: &mut Vec<Output>) {
        let found = self.records.iter_mut().rev().find(|(_, record)| record.is(mined));
        let Some((_, record)) = found else {
            self.figures.shares_stale += 1;
            return;
        };
        let Some(share) = record::pending(mined, &self.channel) else {
            return;
        };
        if mined.is_block {
            self.figures.blocks += 1;
            // Not only for the pool's sake: its node may be closer to others (REQ-JD-040).
            if record.acknowledged {
                out.push(Output::Push(record.solution(&share)));
            }
        }
        // A block may be the very one that made the tip: the pool takes its share all the same, or says no.
        if record.stale && !mined.is_block {
            self.figures.shares_stale += 1;
            return;
        }
        match record.state {
            State::Taken { job_id, target } => {
                if Target(target.0).is_met_by(&share.hash) {
                    self.figures.shares_sent += 1;
                    out.push(Output::Share(share.up(job_id)));
                }
            }
            _ => {
                if Target(self.channel.target.0).is_met_by(&share.hash) {
                    if record.pending.len() >= PENDING_MAX {
                        record.pending.pop_front();
                        self.figures.shares_dropped += 1;
                    }
                    record.pending.push_back(share);
                }
            }
        }
    }

    /// The pool pays for it: what was kept goes up, in the order in which it was found (REQ-MIN-092, REQ-MIN-094).
    pub(super) fn taken(&mut self, now: Time, job: u32, job_id: u32, target: U256, out: &mut Vec<Output>) {
        let Some(record) = self.records.get_mut(&job) else {
            return;
        };
        if record.state != State::AwaitTake {
            return;
        }
        record.state = State::Taken { job_id, target };
        self.figures.jobs_taken += 1;
        let kept = std::mem::take(&mut record.pending);
        for share in kept {
            if Target(target.0).is_met_by(&share.hash) {
                self.figures.shares_sent += 1;
                out.push(Output::Share(share.up(job_id)));
            }
        }
        if self.current == Some(job) {
            self.suspicion = None;
            if let Some(template) = self.waiting.take() {
                self.begin(now, template, out);
            }
        }
    }

    /// Whether the pool has still to answer for a share, or to take the job of one.
    #[must_use]
    pub fn is_owed_answers(&self) -> bool {
        let Figures {
            shares_sent,
            shares_accepted,
            shares_refused,
            ..
        } = self.figures;
        let waits = |record: &Record| !record.stale && !record.pending.is_empty();
        shares_sent > shares_accepted + shares_refused || self.records.values().any(waits)
    }

    pub(super) fn share_refused(&mut self, now: Time, job_id: Option<u32>) {
        self.figures.shares_refused += 1;
        let of_this_tip = self.records.values().any(|record| {
            !record.stale && matches!(record.state, State::Taken { job_id: it, .. } if Some(it) == job_id)
        });
        if of_this_tip {
            self.refused_on_tip += 1;
            if self.refused_on_tip >= SHARES_REFUSED_MAX {
                self.suspect(Cause::SharesRefused, now);
            }
        }
    }
}

impl Pending {
    pub(super) fn up(&self, job_id: u32) -> UpShare {
        UpShare {
            job_id,
            nonce: self.nonce,
            ntime: self.ntime,
            version: self.version,
            extranonce: self.extranonce,
        }
    }
}
