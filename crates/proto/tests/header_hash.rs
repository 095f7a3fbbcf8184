//! The hash that a share is judged by is the hash of its 80-byte header.

use adit_proto::share::{Claim, Head, header};
use bitcoin::hashes::{Hash, sha256d};
use proptest::prelude::*;

mod pool;

proptest! {
    /// Whatever the order of versions, for which part of the hash is kept.
    #[test]
    fn versions_come_in_any_order(
        root: [u8; 32],
        claims in proptest::collection::vec((any::<u32>(), any::<u32>(), 0u32..3), 1..8),
    ) {
        let job = pool::job(1, 1);
        let mut head = Head::new(&job, root, job.fields().version);
        for (nonce, ntime, version) in claims {
            let claim = Claim { nonce, ntime, version };
            let whole = sha256d::Hash::hash(&header(&job, &root, &claim)).to_byte_array();
            prop_assert_eq!(head.hash(&job, &claim), whole);
        }
    }
}
