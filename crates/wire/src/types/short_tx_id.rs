//! SHORT_TX_ID of the 2022-09 seed: six bytes of SipHash-2-4 (spec 3.1, 5.1.4 of that time; as in BIP152).

use core::hash::Hasher;

use alloc::vec::Vec;
use sha2::{Digest, Sha256};
use siphasher::sip::SipHasher24;

use super::U256;
use crate::codec::{Field, Reader, Reason};

/// SHORT_TX_ID: the low six bytes of the hash, little-endian (REQ-FRM-013).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShortTxId(pub [u8; 6]);

impl Field for ShortTxId {
    const MIN_LEN: u32 = 6;
    const MAX_LEN: u32 = 6;

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Reason> {
        reader.array().map(Self)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}

/// The SipHash keys that a job's nonce gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortTxIdKeys {
    /// First key of SipHash.
    pub k0: u64,
    /// Second key of SipHash.
    pub k1: u64,
}

impl ShortTxIdKeys {
    /// The keys of `tx_short_hash_nonce`: the first two little-endian u64 of SHA-256 over its eight bytes.
    pub fn of_nonce(tx_short_hash_nonce: u64) -> Self {
        let digest: [u8; 32] = Sha256::digest(tx_short_hash_nonce.to_le_bytes()).into();
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = digest;
        Self {
            k0: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            k1: u64::from_le_bytes([i, j, k, l, m, n, o, p]),
        }
    }

    /// The short id of a transaction: SipHash-2-4 of its id (raw hash order), the two most significant bytes dropped.
    pub fn short_id(&self, txid: &U256) -> ShortTxId {
        let mut hasher = SipHasher24::new_with_keys(self.k0, self.k1);
        hasher.write(&txid.0);
        let [a, b, c, d, e, f, _, _] = hasher.finish().to_le_bytes();
        ShortTxId([a, b, c, d, e, f])
    }
}
