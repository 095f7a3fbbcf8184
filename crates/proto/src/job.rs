//! Jobs: what there is to mine, made once and shared by every connection.

use crate::coinbase::{Body, CoinbaseError, Hasher};
use crate::extranonce::{Extranonce, FULL_SIZE_MAX, FullSize};
use crate::merkle;
use crate::plan::{Payouts, Plan};
use crate::sv1::say;
use crate::target::Target;
use adit_wire::frame::Header as FrameHeader;
use adit_wire::message::Message;
use adit_wire::mining::NewExtendedMiningJob;
use adit_wire::types::{B0_64K, Seq0_255, U256};
use core::fmt;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Header version bits that a miner may roll (BIP323, conflict C-48).
pub const VERSION_MASK: u32 = 0x1fff_ffe0;

/// Most branches of a Merkle path: SEQ0_255.
pub const BRANCHES_MAX: usize = 255;

/// Plans whose jobs one job remembers; connections that need any more make them for themselves.
const PLANS_MAX: usize = 65_536;

/// What a job is made of: a template and the pool's part of the coinbase.
#[derive(Clone, Debug)]
pub struct Fields {
    /// Generation of the tip: counts up with every new `prev_hash` and never down, also when a tip
    /// returns.
    pub tip: u64,
    /// The template at its source (spec 7.2), handed back with a found block.
    pub template: u64,
    /// Header version, full nVersion.
    pub version: u32,
    /// Whether miners may roll bits of the version; not where the server fixes it (spec 5.3.1).
    pub version_rolling_allowed: bool,
    /// Header field: hash of the block to build on, raw hash order.
    pub prev_hash: [u8; 32],
    /// Header field: compact target of the network.
    pub nbits: u32,
    /// Largest hash of a block, where the source asks for a smaller one than `nbits` stands for (spec 7.3).
    pub block_target: Option<Target>,
    /// Header time to start from, seconds since the Unix epoch.
    pub header_timestamp: u32,
    /// Smallest header time that consensus accepts, seconds since the Unix epoch.
    pub min_ntime: u32,
    /// Hashes beside the coinbase's branch, deepest first, raw hash order.
    pub merkle_path: Vec<[u8; 32]>,
    /// The coinbase but for its extranonce.
    pub coinbase: Body,
    /// Most expected hashes of a share, where an upstream would not get shares that are rarer; none but
    /// those of a block otherwise.
    pub share_work_max: Option<u64>,
    /// Whether a block is ours to publish: `template` is one of our own source. Otherwise whoever gave us the
    /// job publishes it when the share arrives.
    pub publish: bool,
}

/// Immutable content of a job. It has no id: every connection numbers its jobs itself.
///
/// One job serves every full extranonce size, unless its coinbase was given in halves: then it serves the
/// one that they were made for. The coinbase holds that size as a length, so bytes and
/// midstate differ by size: the default is made at once, any other when the first connection needs it,
/// and then serves all.
pub struct Job {
    fields: Fields,
    network: Target,
    network_work: u64,
    /// Version bits that may differ from those of the job.
    version_mask: u32,
    /// Bytes of the full extranonce of `default`.
    default_bytes: usize,
    default: Variant,
    others: [OnceLock<Box<Variant>>; FULL_SIZE_MAX + 1],
    plan: Plan,
    payouts: Option<Arc<dyn Payouts>>,
    /// The same work under other plans, as far as somebody needed it.
    of_plans: Mutex<HashMap<Plan, Arc<Job>>>,
}

/// Why no job can be made of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobError {
    /// The coinbase cannot be mined.
    Coinbase(CoinbaseError),
    /// The Merkle path has more than [`BRANCHES_MAX`] branches.
    PathTooLong {
        /// Its branches.
        branches: usize,
    },
}

impl Job {
    /// Checks `fields` and makes the default form of the job.
    pub fn new(fields: Fields) -> Result<Self, JobError> {
        fields.coinbase.check().map_err(JobError::Coinbase)?;
        if fields.merkle_path.len() > BRANCHES_MAX {
            return Err(JobError::PathTooLong {
                branches: fields.merkle_path.len(),
            });
        }
        let by_nbits = Target::from_nbits(fields.nbits);
        let network = fields.block_target.map_or(by_nbits, |told| told.min(by_nbits));
        let size = fields.coinbase.size().map_or(FullSize::DEFAULT, FullSize::whole);
        Ok(Self {
            network,
            network_work: network.share_work(),
            version_mask: match fields.version_rolling_allowed {
                true => VERSION_MASK,
                false => 0,
            },
            default_bytes: size.bytes(),
            default: Variant::new(&fields, size),
            others: [const { OnceLock::new() }; _],
            plan: Plan::Pooled,
            payouts: None,
            of_plans: Mutex::default(),
            fields,
        })
    }

    /// The same job where somebody else says which version bits may be rolled. Miners that are told of a mask get exactly
    /// this one; `version_rolling_allowed` is what all others hear.
    #[must_use]
    pub fn with_version_mask(self, mask: u32) -> Self {
        Self {
            version_mask: mask & VERSION_MASK,
            ..self
        }
    }

    /// The pooled job of work whose coinbases `payouts` decides on: the outputs of `fields` are replaced.
    pub fn paying(fields: Fields, payouts: Arc<dyn Payouts>) -> Result<Self, JobError> {
        Self::under(Plan::Pooled, fields, payouts)
    }

    fn under(plan: Plan, mut fields: Fields, payouts: Arc<dyn Payouts>) -> Result<Self, JobError> {
        if let Body::Own(own) = &mut fields.coinbase {
            own.outputs = payouts.outputs(&plan, own.value);
        }
        Ok(Self {
            plan,
            payouts: Some(payouts),
            ..Self::new(fields)?
        })
    }

    /// The same work as it is paid under `plan`: made once, then shared by all who need it. Work whose coinbase is given is
    /// the same for everybody. `None`: no job can be made of that plan's outputs.
    pub fn of_plan(self: &Arc<Self>, plan: &Plan) -> Option<Arc<Self>> {
        let Some(payouts) = self.payouts.as_ref().filter(|_| *plan != self.plan) else {
            return Some(Arc::clone(self));
        };
        // Whoever makes a job is waited for: making it again would take as long.
        let mut made = self.of_plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(job) = made.get(plan) {
            return Some(Arc::clone(job));
        }
        let job = Self::under(plan.clone(), self.fields.clone(), Arc::clone(payouts)).ok()?;
        let job = Arc::new(job);
        if made.len() < PLANS_MAX {
            made.insert(plan.clone(), Arc::clone(&job));
        }
        Some(job)
    }

    /// Who decided on its coinbase, by number ([`Payouts::number`]); nobody where it was given.
    pub fn payouts(&self) -> Option<u64> {
        self.payouts.as_ref().map(|payouts| payouts.number())
    }

    /// How a block of it is paid.
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What the job is made of.
    pub const fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Generation of the job's tip: larger than that of every job on an earlier one.
    pub const fn tip(&self) -> u64 {
        self.fields.tip
    }

    /// Target of a block.
    pub const fn network(&self) -> &Target {
        &self.network
    }

    /// Expected hashes of a block, capped. A share is never harder.
    pub const fn network_work(&self) -> u64 {
        self.network_work
    }

    /// Expected hashes of the hardest share: of a block, or what an upstream still takes.
    pub fn share_work_max(&self) -> u64 {
        let most = self.fields.share_work_max.unwrap_or(u64::MAX);
        most.min(self.network_work).max(1)
    }

    /// Whether channels whose full extranonce has `size` can work on this job.
    pub fn serves(&self, size: FullSize) -> bool {
        self.fields
            .coinbase
            .size()
            .is_none_or(|bytes| bytes == size.bytes())
    }

    /// Header time for miners to start from, seconds: current, and inside consensus.
    pub fn start_ntime(&self) -> u32 {
        self.fields.header_timestamp.max(self.fields.min_ntime)
    }

    /// Version bits that may differ from those of the job.
    pub const fn version_mask(&self) -> u32 {
        self.version_mask
    }

    /// Merkle root of a block with this extranonce, raw hash order. Without allocation.
    #[inline]
    pub fn merkle_root(&self, extranonce: &Extranonce) -> [u8; 32] {
        let leaf = self.variant(extranonce.size()).hasher.txid(extranonce);
        merkle::fold(leaf, &self.fields.merkle_path)
    }

    /// The whole coinbase transaction of a block, with its BIP141 fields (spec 3.7.1).
    pub fn coinbase_tx(&self, extranonce: &Extranonce) -> Vec<u8> {
        self.fields.coinbase.transaction(extranonce)
    }

    /// Appends the frame of NewExtendedMiningJob (spec 5.3.16) for a channel or group whose full
    /// extranonce has `size`. No `min_ntime`: a future job. Two copies, no encoding.
    pub fn encode_extended(
        &self,
        size: FullSize,
        channel_id: u32,
        job_id: u32,
        min_ntime: Option<u32>,
        out: &mut Vec<u8>,
    ) {
        let tail = &self.variant(size).tail;
        let option = 1 + min_ntime.map_or(0, |_| 4);
        let length = 8 + option + tail.len();
        out.reserve(FrameHeader::LEN + length);
        let header = FrameHeader::new(
            NewExtendedMiningJob::EXTENSION,
            NewExtendedMiningJob::CHANNEL_MSG,
            NewExtendedMiningJob::TYPE,
            length as u32,
        );
        out.extend_from_slice(&header.encode());
        out.extend_from_slice(&channel_id.to_le_bytes());
        out.extend_from_slice(&job_id.to_le_bytes());
        out.push(u8::from(min_ntime.is_some()));
        if let Some(seconds) = min_ntime {
            out.extend_from_slice(&seconds.to_le_bytes());
        }
        out.extend_from_slice(tail);
    }

    /// Appends `mining.notify` of Stratum V1 for a channel whose full extranonce has `size`: the halves are those of the
    /// extended job, extranonce1 the channel's prefix. Two copies, no encoding.
    pub fn encode_notify(&self, size: FullSize, job_id: u32, ntime: u32, clean: bool, out: &mut Vec<u8>) {
        let work = self.variant(size).notify.get_or_init(|| {
            let (prefix, suffix) = halves(&self.fields, size);
            let work = say::Work {
                prev_hash: &self.fields.prev_hash,
                halves: (&prefix, &suffix),
                merkle_path: &self.fields.merkle_path,
                version: self.fields.version,
                nbits: self.fields.nbits,
            };
            work.encode()
        });
        say::notify(job_id, work, ntime, clean, out);
    }

    fn variant(&self, size: FullSize) -> &Variant {
        // Halves serve one size only: whoever asks for another was not to (`serves`).
        if size.bytes() == self.default_bytes || self.fields.coinbase.size().is_some() {
            return &self.default;
        }
        let place = self.others.get(size.bytes());
        place.map_or(&self.default, |cell| {
            cell.get_or_init(|| Box::new(Variant::new(&self.fields, size)))
        })
    }
}

/// A job for one full extranonce size.
struct Variant {
    /// Payload of NewExtendedMiningJob after `min_ntime`.
    tail: Box<[u8]>,
    hasher: Hasher,
    /// Parameters of `mining.notify` of Stratum V1, once one of its miners was there.
    notify: OnceLock<Box<[u8]>>,
}

/// The stripped coinbase up to the extranonce, and after it.
fn halves(fields: &Fields, size: FullSize) -> (Vec<u8>, Vec<u8>) {
    (fields.coinbase.prefix(size), fields.coinbase.suffix())
}

impl Variant {
    fn new(fields: &Fields, size: FullSize) -> Self {
        let (prefix, suffix) = halves(fields, size);
        let path = fields.merkle_path.iter().copied().map(U256).collect();
        let message = NewExtendedMiningJob {
            channel_id: 0,
            job_id: 0,
            min_ntime: None,
            version: fields.version,
            version_rolling_allowed: fields.version_rolling_allowed,
            // `Job::new` has checked the lengths: nothing is too long here.
            merkle_path: Seq0_255::new(path).unwrap_or_else(|_| Seq0_255::empty()),
            coinbase_tx_prefix: B0_64K::new(&prefix).unwrap_or_default(),
            coinbase_tx_suffix: B0_64K::new(&suffix).unwrap_or_default(),
        };
        let mut payload = Vec::new();
        message.encode(&mut payload);
        Self {
            tail: payload.split_off(9).into_boxed_slice(),
            hasher: Hasher::new(&prefix, size, &suffix),
            notify: OnceLock::new(),
        }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fields {
            tip,
            template,
            version,
            nbits,
            ..
        } = &self.fields;
        write!(
            f,
            "Job {{ tip: {tip}, template: {template}, version: {version:#x}, nbits: {nbits:#x} }}"
        )
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coinbase(error) => error.fmt(f),
            Self::PathTooLong { branches } => {
                write!(
                    f,
                    "the template's merkle path has {branches} branches, more than {BRANCHES_MAX}"
                )
            }
        }
    }
}

impl std::error::Error for JobError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coinbase::Coinbase;

    fn network(told: Option<u64>) -> u64 {
        let coinbase = Coinbase {
            version: 2,
            script_prefix: vec![1, 1],
            tag: Vec::new(),
            start_epoch: 0,
            sequence: 0,
            value: 0,
            outputs: Vec::new(),
            required_outputs: Vec::new(),
            locktime: 0,
            witness: None,
        };
        let job = Job::new(Fields {
            tip: 1,
            template: 1,
            version: 0,
            version_rolling_allowed: true,
            prev_hash: [1; 32],
            nbits: 0x1f00_ffff,
            block_target: told.map(Target::from_work),
            header_timestamp: 0,
            min_ntime: 0,
            merkle_path: Vec::new(),
            coinbase: coinbase.into(),
            share_work_max: None,
            publish: true,
        });
        job.unwrap().network_work()
    }

    /// REQ-TDP-031: a provider may ask for more than the compact target in the header says, not for less: what does not
    /// meet that is no block for anybody.
    #[test]
    fn the_harder_of_two_targets_makes_a_block() {
        let by_nbits = Target::from_nbits(0x1f00_ffff).share_work();
        assert_eq!(network(None), by_nbits);
        assert_eq!(network(Some(4 * by_nbits)), 4 * by_nbits);
        assert_eq!(network(Some(2)), by_nbits);
    }
}
