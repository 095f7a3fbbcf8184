//! The part of a header that most shares of a job have in common.

use super::Claim;
use crate::job::Job;
use crate::sha::{self, START, State};

/// The first 64 of a header's 80 bytes: version, previous block and all but the end of the Merkle
/// root, hashed ahead for one version.
///
/// A device that does not roll the version costs two compressions a share instead of three.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head {
    merkle_root: [u8; 32],
    version: u32,
    state: State,
}

impl Head {
    /// The head of `job` with this Merkle root (raw hash order), ready for `version`.
    #[inline]
    pub fn new(job: &Job, merkle_root: [u8; 32], version: u32) -> Self {
        Self {
            merkle_root,
            version,
            state: state(job, &merkle_root, version),
        }
    }

    /// The Merkle root, raw hash order.
    pub const fn merkle_root(&self) -> &[u8; 32] {
        &self.merkle_root
    }

    /// Hash of the whole header with what the miner chose, raw hash order. `job` is that of
    /// [`Head::new`].
    #[inline]
    pub fn hash(&mut self, job: &Job, claim: &Claim) -> [u8; 32] {
        if claim.version != self.version {
            self.version = claim.version;
            self.state = state(job, &self.merkle_root, claim.version);
        }
        let [.., a, b, c, d] = self.merkle_root;
        let root = u32::from_le_bytes([a, b, c, d]);
        sha::header_end(self.state, [root, claim.ntime, job.fields().nbits, claim.nonce])
    }
}

#[inline]
fn state(job: &Job, merkle_root: &[u8; 32], version: u32) -> State {
    let mut bytes = [0; sha::BLOCK_BYTES];
    let (first, rest) = bytes.split_at_mut(4);
    let (prev_hash, root) = rest.split_at_mut(32);
    first.copy_from_slice(&version.to_le_bytes());
    prev_hash.copy_from_slice(&job.fields().prev_hash);
    root.copy_from_slice(&merkle_root[..28]);
    let mut state = START;
    sha::compress(&mut state, &[sha::block(bytes)]);
    state
}
