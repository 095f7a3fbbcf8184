//! The judge: is this share good, is it a block, was it seen before.
//!
//! Cheap questions come first, hashing after them, and only a hash that would be credited is
//! remembered. Nothing here allocates, but for [`Seen`] when it grows.

mod head;
mod seen;

pub use head::Head;
pub use seen::Seen;

use crate::extranonce::Extranonce;
use crate::job::Job;
use crate::target::Target;
use adit_wire::refusal::SubmitShares as Refusal;

/// How far a header's time may run ahead of ours, in seconds (consensus).
pub const NTIME_AHEAD_MAX: u64 = 7_200;

/// The header fields that a miner chooses (spec 5.3.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Header nonce.
    pub nonce: u32,
    /// Header time, seconds since the Unix epoch.
    pub ntime: u32,
    /// Header version, full nVersion.
    pub version: u32,
}

/// What a share is judged by: all of it as it was when its job was sent.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The job that was solved.
    pub job: &'a Job,
    /// Target in force for that job on that channel.
    pub target: &'a Target,
    /// [`Target::share_work`] of it, at hand.
    pub work: u64,
    /// Smallest header time, from the job or the SetNewPrevHash that started it.
    pub ntime_min: u32,
    /// Largest header time: now and [`NTIME_AHEAD_MAX`].
    pub ntime_max: u32,
}

/// A good share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Header hash, raw hash order.
    pub hash: [u8; 32],
    /// Expected hashes of the share.
    pub work: u64,
    /// Whether it solves a block.
    pub block: bool,
}

/// Judges a share whose Merkle root is known: two compressions, and a third when its version is not
/// the one before.
///
/// `head` was made for the same job.
#[inline]
pub fn judge_standard(
    terms: &Terms<'_>,
    head: &mut Head,
    claim: &Claim,
    seen: &mut Seen,
) -> Result<Judged, Refusal> {
    check(terms, claim)?;
    judge_hash(terms, head.hash(terms.job, claim), seen)
}

/// Judges a share by its extranonce: coinbase, three compressions a branch, header.
#[inline]
pub fn judge_extended(
    terms: &Terms<'_>,
    extranonce: &Extranonce,
    claim: &Claim,
    seen: &mut Seen,
) -> Result<Judged, Refusal> {
    check(terms, claim)?;
    let merkle_root = terms.job.merkle_root(extranonce);
    judge_hash(
        terms,
        Head::new(terms.job, merkle_root, claim.version).hash(terms.job, claim),
        seen,
    )
}

/// The 80 bytes of a block header.
#[inline]
pub fn header(job: &Job, merkle_root: &[u8; 32], claim: &Claim) -> [u8; 80] {
    let fields = job.fields();
    let mut bytes = [0u8; 80];
    let mut end = 0;
    for part in [
        &claim.version.to_le_bytes()[..],
        &fields.prev_hash,
        merkle_root,
        &claim.ntime.to_le_bytes(),
        &fields.nbits.to_le_bytes(),
        &claim.nonce.to_le_bytes(),
    ] {
        let start = end;
        end += part.len();
        if let Some(place) = bytes.get_mut(start..end) {
            place.copy_from_slice(part);
        }
    }
    bytes
}

/// What can be known without hashing (REQ-MIN-046, REQ-MIN-051).
#[inline]
fn check(terms: &Terms<'_>, claim: &Claim) -> Result<(), Refusal> {
    if (claim.version ^ terms.job.fields().version) & !terms.job.version_mask() != 0 {
        return Err(refused_version(terms.job));
    }
    if claim.ntime < terms.ntime_min || claim.ntime > terms.ntime_max {
        return Err(Refusal::InvalidNtime);
    }
    Ok(())
}

#[cold]
fn refused_version(job: &Job) -> Refusal {
    if job.version_mask() != 0 {
        Refusal::InvalidNonRollableVersionBit
    } else {
        Refusal::VersionRollingNotAllowed
    }
}

#[inline]
fn judge_hash(terms: &Terms<'_>, hash: [u8; 32], seen: &mut Seen) -> Result<Judged, Refusal> {
    let block = terms.job.network().is_met_by(&hash);
    let work = match (terms.target.is_met_by(&hash), block) {
        (true, _) => terms.work,
        // A client may insist on a target below the network's; the block counts as what it took.
        (false, true) => terms.job.network_work(),
        (false, false) => return Err(Refusal::DifficultyTooLow),
    };
    seen.insert(&hash)?;
    Ok(Judged { hash, work, block })
}
