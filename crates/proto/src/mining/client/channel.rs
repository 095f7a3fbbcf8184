//! One channel: its jobs, its target, its extranonce, and the count of its shares.

use std::collections::VecDeque;
use std::sync::Arc;

use adit_wire::mining::{NewMiningJob, SetNewPrevHash, SubmitSharesExtended, SubmitSharesStandard, ToServer};
use adit_wire::{B0_32, U256};

use super::custom::CUSTOM_JOBS_MAX;
use super::work::{Coinbase, Root, Work};
use super::{ACTIVE_JOBS_MAX, FUTURE_JOBS_MAX, Output, Share, Withheld};
use crate::{Fault, Time};

/// The block that is built on, as SetNewPrevHash told it (spec 5.3.17).
#[derive(Clone, Copy, Debug)]
pub(super) struct Tip {
    prev_hash: U256,
    min_ntime: u32,
    nbits: u32,
    since: Time,
}

impl Tip {
    pub(super) fn new(now: Time, it: &SetNewPrevHash) -> Self {
        Self {
            prev_hash: it.prev_hash,
            min_ntime: it.min_ntime,
            nbits: it.nbits,
            since: now,
        }
    }
}

/// A job as it was sent, with what was in force for the channel at that time.
#[derive(Clone, Debug)]
pub(super) struct Job {
    job_id: u32,
    body: Body,
    /// SetExtranoncePrefix changes only jobs that are sent after it (REQ-MIN-043).
    extranonce_prefix: B0_32,
}

#[derive(Clone, Debug)]
enum Body {
    HeaderOnly { version: u32, merkle_root: U256 },
    Coinbase(Arc<Coinbase>),
}

/// What is remembered of a job that is being mined: what its shares must keep to.
#[derive(Clone, Copy, Debug)]
struct Active {
    job_id: u32,
    version: u32,
    version_mask: u32,
    min_ntime: u32,
    since: Time,
}

#[derive(Clone, Debug)]
pub(super) struct Channel {
    pub(super) group: u32,
    id: u32,
    target: U256,
    extranonce_prefix: B0_32,
    /// None on a standard channel.
    extranonce_size: Option<u16>,
    version_mask: u32,
    tip: Option<Tip>,
    future: VecDeque<Job>,
    active: VecDeque<Active>,
    /// Jobs of our own that the server has taken. Which of them are stale is for whoever made them to know.
    custom: VecDeque<Active>,
    next_sequence: u32,
    outstanding: u32,
}

impl Channel {
    pub(super) fn new(
        id: u32,
        group: u32,
        target: U256,
        extranonce_prefix: B0_32,
        extranonce_size: Option<u16>,
        version_mask: u32,
        tip: Option<Tip>,
    ) -> Self {
        let (future, active) = (VecDeque::new(), VecDeque::new());
        Self {
            group,
            id,
            target,
            extranonce_prefix,
            extranonce_size,
            version_mask,
            tip,
            future,
            active,
            custom: VecDeque::new(),
            next_sequence: 1,
            outstanding: 0,
        }
    }

    pub(super) const fn is_standard(&self) -> bool {
        self.extranonce_size.is_none()
    }

    pub(super) const fn has_tip(&self) -> bool {
        self.tip.is_some()
    }

    /// NewMiningJob: only for standard channels (REQ-MIN-070).
    pub(super) fn job(&mut self, now: Time, it: &NewMiningJob, out: &mut Vec<Output>) -> Result<(), Fault> {
        if !self.is_standard() {
            return Err(Fault::Misbehaved("a header-only job for an extended channel"));
        }
        let body = Body::HeaderOnly {
            version: it.version,
            merkle_root: it.merkle_root,
        };
        self.take(now, it.job_id, it.min_ntime, body, out)
    }

    /// NewExtendedMiningJob, sent to the channel or to its group.
    pub(super) fn extended_job(
        &mut self,
        now: Time,
        job_id: u32,
        min_ntime: Option<u32>,
        coinbase: Arc<Coinbase>,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        self.take(now, job_id, min_ntime, Body::Coinbase(coinbase), out)
    }

    /// A future job is kept, any other is mined at once on the last previous block (REQ-MIN-068, REQ-MIN-069).
    fn take(
        &mut self,
        now: Time,
        job_id: u32,
        min_ntime: Option<u32>,
        body: Body,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        let job = Job {
            job_id,
            body,
            extranonce_prefix: self.extranonce_prefix,
        };
        let Some(min_ntime) = min_ntime else {
            self.future.retain(|other| other.job_id != job_id);
            if self.future.len() >= FUTURE_JOBS_MAX {
                self.future.pop_front();
            }
            self.future.push_back(job);
            return Ok(());
        };
        let Some(tip) = self.tip else {
            return Err(Fault::Misbehaved(
                "a job to be mined at once, before any previous block",
            ));
        };
        let work = self.start(
            job,
            Tip {
                min_ntime,
                since: now,
                ..tip
            },
            false,
        );
        out.push(Output::Work(work));
        Ok(())
    }

    /// Takes the future job that SetNewPrevHash names, or the one that `group` kept for members that came later.
    pub(super) fn named(&mut self, job_id: u32, group: Option<&Arc<Coinbase>>) -> Option<Job> {
        let own = self.future.iter().position(|job| job.job_id == job_id);
        own.and_then(|at| self.future.remove(at)).or_else(|| {
            let body = Body::Coinbase(Arc::clone(group?));
            Some(Job {
                job_id,
                body,
                extranonce_prefix: self.extranonce_prefix,
            })
        })
    }

    /// SetNewPrevHash: every job but the named one is worth nothing any more (REQ-MIN-080).
    pub(super) fn new_tip(&mut self, tip: Tip, job: Option<Job>, out: &mut Vec<Output>) {
        self.future.clear();
        self.active.clear();
        self.tip = Some(tip);
        if let Some(job) = job {
            let work = self.start(job, tip, true);
            out.push(Output::Work(work));
        }
    }

    /// Makes work of a job, at the target that is in force now (REQ-MIN-096).
    fn start(&mut self, job: Job, tip: Tip, new_tip: bool) -> Work {
        let (version, rolling) = match &job.body {
            Body::HeaderOnly { version, .. } => (*version, true),
            Body::Coinbase(coinbase) => (coinbase.version, coinbase.version_rolling_allowed),
        };
        let version_mask = if rolling { self.version_mask } else { 0 };
        if self.active.len() >= ACTIVE_JOBS_MAX {
            self.active.pop_front();
        }
        let Tip {
            prev_hash,
            min_ntime,
            nbits,
            since,
        } = tip;
        self.active.push_back(Active {
            job_id: job.job_id,
            version,
            version_mask,
            min_ntime,
            since,
        });
        Work {
            channel: self.id,
            job_id: job.job_id,
            version,
            version_mask,
            prev_hash,
            root: self.root(job),
            min_ntime,
            since,
            nbits,
            target: self.target,
            new_tip,
        }
    }

    fn root(&self, job: Job) -> Root {
        match (job.body, self.extranonce_size) {
            (Body::HeaderOnly { merkle_root, .. }, _) => Root::Fixed(merkle_root),
            // A standard channel has one extranonce, so a job of its group has one root for it (REQ-MIN-074).
            (Body::Coinbase(coinbase), None) => {
                Root::Fixed(coinbase.merkle_root(&job.extranonce_prefix, &[]))
            }
            (Body::Coinbase(coinbase), Some(extranonce_size)) => Root::Coinbase {
                coinbase,
                extranonce_prefix: job.extranonce_prefix,
                extranonce_size,
            },
        }
    }

    /// The server has taken a job of our own: its shares may be sent. Gives their target.
    pub(super) fn custom(&mut self, job_id: u32, version: u32, min_ntime: u32, since: Time) -> U256 {
        if self.custom.len() >= CUSTOM_JOBS_MAX {
            self.custom.pop_front();
        }
        self.custom.push_back(Active {
            job_id,
            version,
            version_mask: self.version_mask,
            min_ntime,
            since,
        });
        self.target
    }

    /// For jobs sent from now on and future jobs that are not yet active (spec 5.3.21).
    pub(super) fn set_target(&mut self, target: U256) {
        self.target = target;
    }

    /// For jobs sent from now on (spec 5.3.10).
    pub(super) fn set_extranonce_prefix(&mut self, prefix: B0_32) -> Result<(), Fault> {
        let size = usize::from(self.extranonce_size.unwrap_or(0));
        if prefix.len() + size > B0_32::MAX {
            return Err(Fault::Misbehaved(
                "the channel's extranonce is longer than 32 bytes",
            ));
        }
        self.extranonce_prefix = prefix;
        Ok(())
    }

    /// Numbers a share and counts it, unless the server could only refuse it.
    /// Its time may lie `time_ahead_s` further ahead than the clock has moved.
    pub(super) fn share(
        &mut self,
        now: Time,
        share: &Share,
        time_ahead_s: u32,
    ) -> Result<ToServer, Withheld> {
        let size = usize::from(self.extranonce_size.unwrap_or(0));
        let customs = self.custom.iter().rev();
        let job = customs
            .chain(self.active.iter().rev())
            .find(|job| job.job_id == share.job_id)
            .ok_or(Withheld::StaleJob)?;
        if share.extranonce.len() != size {
            return Err(Withheld::ExtranonceSize);
        }
        if (share.version ^ job.version) & !job.version_mask != 0 {
            return Err(Withheld::Version);
        }
        let rolled_s = share.ntime.checked_sub(job.min_ntime).ok_or(Withheld::Time)?;
        if u64::from(rolled_s) > (now - job.since).as_secs() + u64::from(time_ahead_s) {
            return Err(Withheld::Time);
        }
        let sequence = self.next_sequence;
        self.next_sequence = sequence.wrapping_add(1);
        self.outstanding = self.outstanding.saturating_add(1);
        Ok(self.message(sequence, share))
    }

    fn message(&self, sequence_number: u32, share: &Share) -> ToServer {
        let Share {
            channel: channel_id,
            job_id,
            nonce,
            ntime,
            version,
            extranonce,
        } = *share;
        if self.is_standard() {
            SubmitSharesStandard {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
            }
            .into()
        } else {
            SubmitSharesExtended {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
                extranonce,
            }
            .into()
        }
    }

    /// Books answers to `count` shares. Returns how many more these are than were waiting.
    pub(super) fn answered(&mut self, count: u32) -> u32 {
        let surplus = count.saturating_sub(self.outstanding);
        self.outstanding = self.outstanding.saturating_sub(count);
        surplus
    }

    pub(super) const fn outstanding(&self) -> u32 {
        self.outstanding
    }
}
