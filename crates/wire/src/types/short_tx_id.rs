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

#[cfg(test)]
mod tests {
    use super::*;

    fn counting() -> U256 {
        let mut bytes = [0; 32];
        (0u8..).zip(&mut bytes).for_each(|(n, byte)| *byte = n);
        U256(bytes)
    }

    /// REQ-FRM-013, with the key and the 32-byte input of SipHash's own test vectors.
    #[test]
    fn short_id_is_siphash_without_its_top_bytes() {
        let keys = ShortTxIdKeys {
            k0: 0x0706_0504_0302_0100,
            k1: 0x0f0e_0d0c_0b0a_0908,
        };
        assert_eq!(
            keys.short_id(&counting()),
            ShortTxId([0xce, 0x7c, 0xf2, 0x72, 0x2f, 0x51])
        );
    }

    /// REQ-FRM-013: keys from SHA-256 of the nonce; values computed with another implementation.
    #[test]
    fn keys_come_from_the_nonce() {
        let keys = ShortTxIdKeys::of_nonce(0x0123_4567_89ab_cdef);
        assert_eq!(
            keys,
            ShortTxIdKeys {
                k0: 0xdcd0_6162_b3a2_5ba8,
                k1: 0xa4a8_0f84_bccb_b6a4
            }
        );
        assert_eq!(
            keys.short_id(&counting()),
            ShortTxId([0x01, 0x27, 0x87, 0xd0, 0x1d, 0xcc])
        );
    }
}
