//! The part of a header that most shares of a job have in common.

use super::Claim;
use crate::job::Job;
use crate::sha::{self, START, State};

/// The first 64 of a header's 80 bytes: version, previous block and all but the end of the Merkle
/// root, hashed ahead for one version.
///
/// A device that does not roll the version costs two compressions a share instead of three; one that does changes
/// four bytes of a block that is laid out already.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head {
    bytes: sha::Block,
    /// The last four bytes of the Merkle root, as a number.
    root_end: u32,
    version: u32,
    state: State,
}

impl Head {
    /// The head of `job` with this Merkle root (raw hash order), ready for `version`.
    #[inline]
    pub fn new(job: &Job, merkle_root: [u8; 32], version: u32) -> Self {
        let mut bytes = [0; sha::BLOCK_BYTES];
        let (prev_hash, root) = bytes[4..].split_at_mut(32);
        prev_hash.copy_from_slice(&job.fields().prev_hash);
        root.copy_from_slice(&merkle_root[..28]);
        let [.., a, b, c, d] = merkle_root;
        let mut head = Self {
            bytes: sha::block(bytes),
            root_end: u32::from_le_bytes([a, b, c, d]),
            version,
            state: START,
        };
        head.roll(version);
        head
    }

    /// The Merkle root, raw hash order.
    pub fn merkle_root(&self) -> [u8; 32] {
        let mut root = [0; 32];
        root[..28].copy_from_slice(&self.bytes[36..]);
        root[28..].copy_from_slice(&self.root_end.to_le_bytes());
        root
    }

    /// Hash of the whole header with what the miner chose, raw hash order. `job` is that of
    /// [`Head::new`].
    #[inline]
    pub fn hash(&mut self, job: &Job, claim: &Claim) -> [u8; 32] {
        if claim.version != self.version {
            self.roll(claim.version);
        }
        sha::header_end(
            self.state,
            [self.root_end, claim.ntime, job.fields().nbits, claim.nonce],
        )
    }

    #[inline]
    fn roll(&mut self, version: u32) {
        self.version = version;
        self.bytes[..4].copy_from_slice(&version.to_le_bytes());
        self.state = START;
        sha::compress(&mut self.state, core::slice::from_ref(&self.bytes));
    }
}
