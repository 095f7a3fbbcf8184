//! Jobs of upstreams on their way down, and shares on their way back to whoever gave the job.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use adit_proto::coinbase::{Body, Halves};
use adit_proto::extranonce::{BRANCH_BYTES_MIN, FULL_SIZE_MAX};
use adit_proto::job::Fields;
use adit_proto::mining::client::{Root, Work};
use adit_proto::sv1::user;
use adit_proto::target::Target;
use adit_wire::B0_32;
use adit_wire::tlv::WorkerName;

use crate::pool::branch::{Assigned, Mined};
use crate::uplink::mining::Command;

/// Jobs that are remembered: more than any sixteen upstreams keep good at a time.
const JOBS_MAX: usize = 1024;
/// Version bits that every device may roll that is told that it may (BIP320).
const ROLLED_BY_ALL: u32 = 0x1fff_e000;

/// A connection to an upstream: shares go back to the one that gave their job, and to no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Origin {
    /// Place in the list of upstreams.
    pub(super) upstream: usize,
    /// Which of its connections.
    pub(super) generation: u64,
}

/// Why a job of an upstream cannot be mined here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// It has no coinbase to roll.
    HeaderOnly,
    /// It leaves less to roll than is shared out here, or more than an extranonce can have.
    Extranonce {
        /// What it leaves.
        bytes: usize,
        /// What is shared out here.
        needed: usize,
    },
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HeaderOnly => f.write_str("the upstream gives jobs without a coinbase"),
            Self::Extranonce { bytes, needed } => write!(
                f,
                "the upstream leaves {bytes} bytes of extranonce, where {needed} to {FULL_SIZE_MAX} are needed: start with \
                 upstream.extranonce_bytes = {bytes} to use it, if that is not less than {BRANCH_BYTES_MIN}"
            ),
        }
    }
}

/// What becomes of an accepted share.
#[derive(Debug)]
pub(super) enum Way {
    /// It goes up, and is worth so many expected hashes there.
    Up(usize, Command, u64),
    /// It is too easy for the upstream: it counts here only.
    TooEasy,
    /// It was mined on our own template.
    Own,
    /// The connection that gave its job is gone, and its work with it.
    Gone,
}

/// A job as the upstream knows it.
#[derive(Clone, Copy, Debug)]
struct Known {
    template: u64,
    origin: Origin,
    job_id: u32,
    target: Target,
    /// Zeros between the upstream's prefix and the extranonce that is shared out below.
    fill: usize,
}

/// The jobs that were handed down.
#[derive(Debug)]
pub(super) struct Relay {
    /// Bytes of the extranonce that is shared out below.
    branch_bytes: usize,
    /// In the order of `template`.
    jobs: VecDeque<Known>,
    last: u64,
}

impl Relay {
    pub(super) const fn new(branch_bytes: usize) -> Self {
        Self {
            branch_bytes,
            jobs: VecDeque::new(),
            last: 0,
        }
    }

    /// A job for everybody below.
    pub(super) fn assign(&mut self, origin: Origin, work: &Work) -> Result<Assigned, Unusable> {
        let Root::Coinbase {
            coinbase,
            extranonce_prefix,
            extranonce_size,
        } = &work.root
        else {
            return Err(Unusable::HeaderOnly);
        };
        let bytes = usize::from(*extranonce_size);
        let needed = self.branch_bytes;
        if !(needed..=FULL_SIZE_MAX).contains(&bytes) {
            return Err(Unusable::Extranonce { bytes, needed });
        }
        let fill = bytes - needed;
        let zeros = [0; FULL_SIZE_MAX];
        let prefix = [
            &coinbase.prefix,
            extranonce_prefix.as_bytes(),
            zeros.get(..fill).unwrap_or_default(),
        ];
        let body = Body::Given(Halves {
            prefix: prefix.concat(),
            suffix: coinbase.suffix.clone(),
            size: needed,
            value: 0,
            witness: None,
        });
        let target = Target(work.target.0);
        self.last += 1;
        if self.jobs.len() >= JOBS_MAX {
            self.jobs.pop_front();
        }
        self.jobs.push_back(Known {
            template: self.last,
            origin,
            job_id: work.job_id,
            target,
            fill,
        });
        Ok(Assigned {
            height: body.height().unwrap_or_default(),
            version_mask: work.version_mask,
            fields: Arc::new(Fields {
                tip: 0,
                template: self.last,
                version: work.version,
                version_rolling_allowed: work.version_mask & ROLLED_BY_ALL == ROLLED_BY_ALL,
                prev_hash: work.prev_hash.0,
                nbits: work.nbits,
                header_timestamp: work.min_ntime,
                min_ntime: work.min_ntime,
                merkle_path: coinbase.path.clone(),
                coinbase: body,
                share_work_max: Some(target.share_work()),
                block_target: None,
                publish: false,
            }),
        })
    }

    /// Expected hashes of a share of one of its jobs.
    pub(super) fn work_of(&self, origin: Origin, job_id: u32) -> Option<u64> {
        let mut jobs = self.jobs.iter().rev();
        let known = jobs.find(|job| job.origin == origin && job.job_id == job_id);
        known.map(|job| job.target.share_work())
    }

    /// Where an accepted share goes. `lives`: whether a connection is still there.
    pub(super) fn way(&self, mined: &Mined, lives: impl FnOnce(Origin) -> bool) -> Way {
        let fields = mined.with.job.fields();
        if fields.publish {
            return Way::Own;
        }
        let at = self
            .jobs
            .binary_search_by_key(&fields.template, |job| job.template);
        let known = at.ok().and_then(|at| self.jobs.get(at));
        let Some(known) = known.filter(|known| lives(known.origin)) else {
            return Way::Gone;
        };
        if !known.target.is_met_by(&mined.share.hash) {
            return Way::TooEasy;
        }
        let zeros = [0; FULL_SIZE_MAX];
        let fill = zeros.get(..known.fill).unwrap_or_default();
        let whole = [fill, mined.with.extranonce.as_bytes()].concat();
        let Ok(extranonce) = B0_32::new(&whole) else {
            return Way::Gone;
        };
        let share = &mined.share;
        let command = Command::Share {
            job_id: known.job_id,
            nonce: share.nonce,
            ntime: share.ntime,
            version: share.version,
            extranonce,
            worker: worker(mined),
        };
        Way::Up(known.origin.upstream, command, known.target.share_work())
    }
}

/// `account.worker`, by which a pool that wants to know can tell our devices apart.
fn worker(mined: &Mined) -> Option<WorkerName> {
    let account = &*mined.identity;
    match &mined.with.worker {
        Some(worker) if !worker.is_empty() => user::short(&format!("{account}.{}", worker.as_str())),
        _ => user::short(account),
    }
}
