//! The search space of one piece of work, cut into units that threads take in turn.
//!
//! A unit is 2^24 nonces of one header. Units count through the nonces, then through what may be rolled besides: the
//! extranonce of an extended channel first, then version bits, then header time. Counting starts at a
//! random place, so that the same job heard twice (after a reconnect, say) does not give the same shares twice.

use adit_proto::mining::client::{Share, Work};
use adit_wire::B0_32;

use super::hash::Header;

/// Nonces of a unit.
pub(crate) const UNIT_NONCES: u32 = 1 << 24;

/// Units that have the same header but for the nonce.
pub(crate) const UNITS_PER_HEADER: u64 = (1 << 32) / UNIT_NONCES as u64;

/// Bytes of extranonce that are counted through: 2^56 headers are more than any machine hashes in a job's life.
const COUNTED_BYTES_MAX: usize = 7;

/// A header with the range of nonces to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The header, all fields rolled but the nonce.
    pub header: Header,
    /// First nonce; there are 2^24 of them.
    pub first_nonce: u32,
    /// What was rolled of the extranonce; empty on a standard channel.
    pub extranonce: B0_32,
}

/// How far the header time is rolled for a unit, in seconds; known before the header is made.
#[must_use]
pub fn ntime_offset(work: &Work, unit: u64) -> u32 {
    u32::try_from(unit / UNITS_PER_HEADER / extranonces(work) / versions(work)).unwrap_or(u32::MAX)
}

/// What is rolled in a unit, without the header's Merkle root, which costs hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rolled {
    /// The header's whole version.
    pub version: u32,
    /// Header time, in seconds since the Unix epoch.
    pub ntime: u32,
    /// First nonce; there are 2^24 of them.
    pub first_nonce: u32,
    /// What was rolled of the extranonce; empty on a standard channel.
    pub extranonce: B0_32,
}

/// What is rolled in unit number `unit`, counted from the place that `origin` gives.
#[must_use]
pub fn rolled(work: &Work, unit: u64, origin: u64) -> Rolled {
    let (extranonces, versions) = (extranonces(work), versions(work));
    let header = unit / UNITS_PER_HEADER;
    let version_index = (header / extranonces).wrapping_add(origin >> 32) % versions;
    Rolled {
        version: (work.version & !work.version_mask) | deposit(version_index, work.version_mask),
        ntime: work.min_ntime.saturating_add(ntime_offset(work, unit)),
        first_nonce: ((unit % UNITS_PER_HEADER) as u32).wrapping_mul(UNIT_NONCES),
        extranonce: extranonce(work, (header % extranonces).wrapping_add(origin) % extranonces),
    }
}

/// Unit number `unit`, counted from the place that `origin` gives.
#[must_use]
pub fn unit(work: &Work, unit: u64, origin: u64) -> Unit {
    let Rolled {
        version,
        ntime,
        first_nonce,
        extranonce,
    } = rolled(work, unit, origin);
    let merkle_root = work.merkle_root(&extranonce).0;
    let header = Header {
        version,
        prev_hash: work.prev_hash.0,
        merkle_root,
        ntime,
        nbits: work.nbits,
    };
    Unit {
        header,
        first_nonce,
        extranonce,
    }
}

impl Unit {
    /// The share that a nonce of this unit is.
    #[must_use]
    pub fn share(&self, work: &Work, nonce: u32) -> Share {
        let Header { ntime, version, .. } = self.header;
        Share {
            channel: work.channel,
            job_id: work.job_id,
            nonce,
            ntime,
            version,
            extranonce: self.extranonce,
        }
    }
}

fn extranonces(work: &Work) -> u64 {
    1 << (8 * work.extranonce_size().min(COUNTED_BYTES_MAX))
}

fn versions(work: &Work) -> u64 {
    1 << work.version_mask.count_ones()
}

/// The extranonce with this index: a counter at its end, zeros before.
fn extranonce(work: &Work, index: u64) -> B0_32 {
    let mut bytes = [0u8; B0_32::MAX];
    let size = work.extranonce_size().min(B0_32::MAX);
    let (used, _) = bytes.split_at_mut(size);
    for (byte, counted) in used.iter_mut().rev().zip(index.to_le_bytes()) {
        *byte = counted;
    }
    B0_32::new(used).unwrap_or_default()
}

/// Spreads the low bits of `index` over the bits of `mask`.
fn deposit(index: u64, mask: u32) -> u32 {
    let (mut rest, mut left, mut bits) = (index, mask, 0);
    while left != 0 {
        let lowest = left & left.wrapping_neg();
        if rest & 1 == 1 {
            bits |= lowest;
        }
        rest >>= 1;
        left ^= lowest;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_proto::Time;
    use adit_proto::mining::client::{Coinbase, Root};
    use adit_wire::U256;
    use proptest::prelude::*;
    use std::collections::HashSet;
    use std::sync::Arc;

    fn work(size: Option<u16>, version_mask: u32) -> Work {
        let root = match size {
            None => Root::Fixed(U256([3; 32])),
            Some(extranonce_size) => Root::Coinbase {
                coinbase: Arc::new(Coinbase {
                    version: 0x2000_0000,
                    version_rolling_allowed: true,
                    prefix: vec![1; 50],
                    suffix: vec![2; 60],
                    path: vec![[4; 32]],
                }),
                extranonce_prefix: B0_32::new(&[8; 7]).unwrap(),
                extranonce_size,
            },
        };
        Work {
            channel: 1,
            job_id: 2,
            version: 0x2000_0004,
            version_mask,
            prev_hash: U256([5; 32]),
            root,
            min_ntime: 1_000,
            since: Time(0),
            nbits: 0x207f_ffff,
            target: U256::MAX,
            new_tip: true,
        }
    }

    #[test]
    fn bits_are_spread_over_the_mask() {
        assert_eq!(deposit(0b101, 0x1fff_e000), 0b101 << 13);
        assert_eq!(deposit(u64::MAX, 0x8000_0011), 0x8000_0011);
        assert_eq!(deposit(0b10, 0x8000_0011), 0x10);
    }

    /// REQ-MIN-106: 2^(32+16) hashes of a standard channel before the header time must be rolled.
    #[test]
    fn time_is_rolled_last() {
        let standard = work(None, 0x1fff_e000);
        let units_a_second = UNITS_PER_HEADER << 16;
        assert_eq!(ntime_offset(&standard, units_a_second - 1), 0);
        assert_eq!(unit(&standard, units_a_second, 7).header.ntime, 1_001);
        assert_eq!(ntime_offset(&work(None, 0), UNITS_PER_HEADER * 3), 3);
        assert_eq!(
            ntime_offset(&work(Some(8), 0), u64::MAX),
            0,
            "an extended channel never gets there"
        );
    }

    proptest! {
        /// No two units overlap: neither header nor extranonce nor nonce range comes twice.
        #[test]
        fn units_are_disjoint(size in prop_oneof![Just(None), (0u16..10).prop_map(Some)],
                              mask in prop_oneof![Just(0u32), Just(0x1fff_e000), Just(0x0000_6000)], origin: u64) {
            let work = work(size, mask);
            let mut seen = HashSet::new();
            for index in 0..UNITS_PER_HEADER * 9 {
                let unit = unit(&work, index, origin);
                prop_assert_eq!(unit.extranonce.len(), work.extranonce_size());
                prop_assert_eq!((unit.header.version ^ work.version) & !mask, 0);
                let key = (unit.first_nonce, unit.header.version, unit.header.ntime, unit.header.merkle_root);
                prop_assert!(seen.insert(key));
            }
        }
    }
}
