//! One custom job, and how it is made.

use std::collections::VecDeque;
use std::sync::Arc;

use adit_node::Template;
use adit_proto::Time;
use adit_proto::coinbase::{Body, Halves};
use adit_proto::declare::Coinbase;
use adit_proto::declare::client::Declaration;
use adit_proto::job::Fields;
use adit_proto::target::Target;
use adit_wire::declare::PushSolution;
use adit_wire::mining::SetCustomMiningJob;
use adit_wire::{B0_32, B0_64K, B0_255, Seq0_255, U256};
use bitcoin::consensus::deserialize;
use bitcoin::hashes::Hash;
use bitcoin::{Amount, ScriptBuf, Transaction, TxOut};

use super::door::{Keep, Mined};
use crate::uplink::mining::Channel;

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    AwaitToken,
    AwaitTransactions,
    AwaitVerdict,
    AwaitTake,
    Taken { job_id: u32, target: U256 },
    Refused,
}

/// A share that waits for the pool's word, or is on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) hash: [u8; 32],
    pub(super) nonce: u32,
    pub(super) ntime: u32,
    pub(super) version: u32,
    /// Behind the pool's prefix.
    pub(super) extranonce: B0_32,
}

#[derive(Debug)]
pub(super) struct Record {
    pub(super) template: Arc<Template>,
    pub(super) state: State,
    pub(super) parts: Option<Coinbase>,
    pub(super) halves: Option<Halves>,
    /// The pool's extranonce prefix that it was made with.
    prefix: B0_32,
    /// When the miners got it.
    pub(super) since: Time,
    /// The declaration server has acknowledged it: it can rebuild the block.
    pub(super) acknowledged: bool,
    pub(super) pending: VecDeque<Pending>,
    pub(super) retries: u32,
    pub(super) retry_at: Option<Time>,
    /// Of an earlier tip.
    pub(super) stale: bool,
}

impl Record {
    pub(super) fn new(template: Arc<Template>, now: Time) -> Self {
        Self {
            template,
            state: State::AwaitToken,
            parts: None,
            halves: None,
            prefix: B0_32::default(),
            since: now,
            acknowledged: false,
            pending: VecDeque::new(),
            retries: 0,
            retry_at: None,
            stale: false,
        }
    }

    /// Whether an answer, or the next try, is still to come.
    pub(super) fn is_under_way(&self) -> bool {
        match self.state {
            State::Taken { .. } => false,
            State::Refused => self.retry_at.is_some(),
            _ => true,
        }
    }

    /// Whether its token was named to nobody yet.
    pub(super) const fn is_undeclared(&self) -> bool {
        matches!(self.state, State::AwaitToken | State::AwaitTransactions)
    }

    /// Whether a share was found on this job: the template may serve several upstreams in turn, so the coinbase counts.
    pub(super) fn is(&self, mined: &Mined) -> bool {
        let fields = mined.job.fields();
        let Body::Given(halves) = &fields.coinbase else {
            return false;
        };
        fields.template == self.template.id.0 && self.halves.as_ref() == Some(halves)
    }

    /// The job as the pool is told it.
    pub(super) fn custom(&self, job: u32, channel_id: u32, token: B0_255) -> Option<SetCustomMiningJob> {
        let (template, parts) = (&self.template, self.parts.as_ref()?);
        let path = template.merkle_path.iter().copied().map(U256).collect();
        Some(SetCustomMiningJob {
            channel_id,
            request_id: job,
            mining_job_token: token,
            version: template.version,
            prev_hash: U256(template.prev_hash.to_byte_array()),
            min_ntime: template.header_timestamp.max(template.min_ntime),
            nbits: template.nbits.to_consensus(),
            coinbase_tx_version: parts.version,
            coinbase_prefix: B0_255::new(&parts.script_prefix).ok()?,
            coinbase_tx_input_n_sequence: parts.sequence,
            coinbase_tx_outputs: B0_64K::new(&parts.serialized_outputs()).ok()?,
            coinbase_tx_locktime: parts.locktime,
            merkle_path: Seq0_255::new(path).ok()?,
        })
    }

    /// A block, for the declaration server: the extranonce is the whole one (REQ-JD-046).
    pub(super) fn solution(&self, share: &Pending) -> PushSolution {
        let whole = [&self.prefix[..], &share.extranonce[..]].concat();
        PushSolution {
            extranonce: B0_32::new(&whole).unwrap_or_default(),
            prev_hash: U256(self.template.prev_hash.to_byte_array()),
            nonce: share.nonce,
            ntime: share.ntime,
            nbits: self.template.nbits.to_consensus(),
            version: share.version,
        }
    }

    pub(super) fn made_with(&mut self, prefix: B0_32) {
        self.prefix = prefix;
    }
}

/// Bytes of the pool's whole extranonce.
pub(super) fn full_size(channel: &Channel) -> usize {
    channel.prefix.len() + usize::from(channel.size)
}

/// The coinbase of a template for this channel; nothing when it cannot be mined.
pub(super) fn make(
    template: &Template,
    (imposed, keep): (&[TxOut], Option<&Keep>),
    channel: &Channel,
    branch_bytes: usize,
) -> Option<(Coinbase, Halves)> {
    let parts = parts_of(template, outputs_of(template, imposed, keep)?, full_size(channel));
    parts.check().ok()?;
    let mut prefix = parts.prefix();
    prefix.extend_from_slice(&constant_prefix(channel, branch_bytes)?);
    let halves = Halves {
        prefix,
        suffix: parts.suffix(),
        size: branch_bytes,
        value: template.coinbase_tx_value_remaining,
        witness: template.coinbase_witness,
    };
    halves.check().ok()?;
    Some((parts, halves))
}

/// The job for the miners below. Shares are never harder than what the pool takes.
pub(super) fn fields(template: &Template, halves: &Halves, channel: &Channel) -> Fields {
    Fields {
        tip: 0,
        template: template.id.0,
        version: template.version,
        version_rolling_allowed: channel.version_mask != 0,
        prev_hash: template.prev_hash.to_byte_array(),
        nbits: template.nbits.to_consensus(),
        header_timestamp: template.header_timestamp,
        min_ntime: template.min_ntime,
        merkle_path: template.merkle_path.clone(),
        coinbase: Body::from(halves.clone()),
        share_work_max: Some(Target(channel.target.0).share_work()),
        block_target: template.target,
        publish: true,
    }
}

/// A share with all that the pool must be told: zeros in front fill what is not shared out below.
pub(super) fn pending(mined: &Mined, channel: &Channel) -> Option<Pending> {
    let size = usize::from(channel.size);
    let fill = size.checked_sub(mined.extranonce.len())?;
    let mut extranonce = vec![0; fill];
    extranonce.extend_from_slice(&mined.extranonce);
    Some(Pending {
        hash: mined.hash,
        nonce: mined.nonce,
        ntime: mined.ntime,
        version: mined.version,
        extranonce: B0_32::new(&extranonce).ok()?,
    })
}

/// What is declared: witness ids of the transactions in block order, and the coinbase with its BIP141 fields. Nothing
/// when a transaction does not decode.
pub(super) fn declaration(
    version: u32,
    parts: &Coinbase,
    transactions: Arc<Vec<Vec<u8>>>,
) -> Option<Declaration> {
    let wtxid = |bytes: &Vec<u8>| {
        let transaction: Transaction = deserialize(bytes).ok()?;
        Some(U256(transaction.compute_wtxid().to_byte_array()))
    };
    let wtxids = transactions.iter().map(wtxid).collect::<Option<Vec<U256>>>()?;
    Some(Declaration {
        version,
        coinbase_tx_prefix: parts.declared_prefix(),
        coinbase_tx_suffix: parts.declared_suffix(),
        wtxids,
        transactions,
    })
}

/// The prefix of the full extranonce that is constant for everybody below: the pool's, and zeros up to what is shared
/// out here.
fn constant_prefix(channel: &Channel, branch_bytes: usize) -> Option<Vec<u8>> {
    let fill = usize::from(channel.size).checked_sub(branch_bytes)?;
    let mut bytes = channel.prefix.to_vec();
    bytes.resize(bytes.len() + fill, 0);
    (bytes.len() + branch_bytes <= B0_32::MAX).then_some(bytes)
}

/// Where the miners' outputs stand: the pool's payout gets the value, but for what we keep, in the pool's order; ours follows,
/// and what the template requires comes last.
fn outputs_of(template: &Template, imposed: &[TxOut], keep: Option<&Keep>) -> Option<Vec<TxOut>> {
    let (first, others) = imposed.split_first()?;
    let value = template.coinbase_tx_value_remaining;
    let kept = keep.map_or(0, |keep| keep.of(value));
    let paid = |satoshis: u64, script_pubkey: ScriptBuf| TxOut {
        value: Amount::from_sat(satoshis),
        script_pubkey,
    };
    let payout = paid(value.saturating_sub(kept), first.script_pubkey.clone());
    let own = keep
        .filter(|_| kept > 0)
        .map(|keep| paid(kept, keep.script.clone()));
    let others = others.iter().cloned();
    let required = template.coinbase_tx_outputs.iter().cloned();
    Some(
        std::iter::once(payout)
            .chain(others)
            .chain(own)
            .chain(required)
            .collect(),
    )
}

fn parts_of(template: &Template, outputs: Vec<TxOut>, size: usize) -> Coinbase {
    Coinbase {
        version: template.coinbase_tx_version,
        script_prefix: Coinbase::pushing(&template.coinbase_prefix, size),
        extranonce_size: size,
        sequence: template.coinbase_tx_input_sequence,
        outputs,
        locktime: template.coinbase_tx_locktime,
        witness: template.coinbase_witness,
    }
}
