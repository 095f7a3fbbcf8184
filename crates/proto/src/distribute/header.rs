//! From a distributed job to the header of a block.

use std::sync::Arc;

use adit_wire::distribute::{NewDistributedJob, SubmitSolution};

use super::Active;
use crate::coinbase::SCRIPT_SIG_MAX;
use crate::job::VERSION_MASK;
use crate::target::Target;
use crate::{merkle, sha};

/// Bytes of a stripped coinbase before its scriptSig: version, count of inputs, outpoint, length.
const FRONT_BYTES: usize = 4 + 1 + 36 + 1;

/// A block that a receiver found, proof of work checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Solved {
    /// The job and its tip.
    pub active: Active,
    /// What the receiver sent.
    pub solution: SubmitSolution,
    /// The block's header.
    pub header: [u8; 80],
    /// Its hash, raw hash order.
    pub hash: [u8; 32],
}

/// The stripped coinbase of a job before and after its full extranonce (spec 5.3.16). `None` when no such scriptSig may be.
#[must_use]
pub fn halves(job: &NewDistributedJob) -> Option<(Vec<u8>, Vec<u8>)> {
    let size = usize::from(job.full_extranonce_size);
    let whole = coinbase(job, &vec![0; size], None)?;
    let (front, _) = whole.split_at(FRONT_BYTES + job.coinbase_prefix.len());
    let (_, back) = whole.split_at(front.len() + size);
    Some((front.to_vec(), back.to_vec()))
}

/// The coinbase transaction of a job around a full extranonce: stripped, or with its BIP141 fields and this reserved value.
/// `None` when the extranonce has not the job's size, or no such scriptSig may be.
#[must_use]
pub fn coinbase(job: &NewDistributedJob, extranonce: &[u8], witness: Option<&[u8; 32]>) -> Option<Vec<u8>> {
    let script = job.coinbase_prefix.len() + extranonce.len();
    if extranonce.len() != usize::from(job.full_extranonce_size) || !(2..=SCRIPT_SIG_MAX).contains(&script) {
        return None;
    }
    let script_len = u8::try_from(script).ok()?;
    let marker_and_flag: &[u8] = if witness.is_some() { &[0x00, 0x01] } else { &[] };
    let one_item_of_32: &[u8] = if witness.is_some() { &[1, 32] } else { &[] };
    let parts: [&[u8]; 13] = [
        &job.coinbase_tx_version.to_le_bytes(),
        marker_and_flag,
        &[1],
        &[0; 32],
        &[0xff; 4],
        &[script_len],
        &job.coinbase_prefix,
        extranonce,
        &job.coinbase_tx_input_n_sequence.to_le_bytes(),
        &job.coinbase_tx_outputs,
        one_item_of_32,
        witness.map_or(&[], |witness| witness),
        &job.coinbase_tx_locktime.to_le_bytes(),
    ];
    Some(parts.concat())
}

/// The block that a solution makes. `None` when it makes none: wrong size, version, time, or too little work.
pub(super) fn solve(active: &Active, solution: &SubmitSolution) -> Option<Solved> {
    let (job, tip) = (&active.job, &active.tip);
    let rolled = (solution.version ^ job.version) & !VERSION_MASK == 0;
    if !rolled || solution.ntime < tip.min_ntime {
        return None;
    }
    let coinbase = coinbase(job, solution.extranonce.as_bytes(), None)?;
    let path: Vec<[u8; 32]> = job.merkle_path.iter().map(|branch| branch.0).collect();
    let root = merkle::fold(sha::double(&coinbase), &path);
    let mut header = [0; 80];
    let parts: [&[u8]; 6] = [
        &solution.version.to_le_bytes(),
        &tip.prev_hash.0,
        &root,
        &solution.ntime.to_le_bytes(),
        &tip.nbits.to_le_bytes(),
        &solution.nonce.to_le_bytes(),
    ];
    header.copy_from_slice(&parts.concat());
    let hash = sha::double(&header);
    Target::from_nbits(tip.nbits).is_met_by(&hash).then(|| Solved {
        active: Active {
            job: Arc::clone(job),
            tip: *tip,
        },
        solution: solution.clone(),
        header,
        hash,
    })
}
