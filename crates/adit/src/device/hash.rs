//! The header search: a midstate made once, then two compressions a nonce, or sixteen nonces at a time.

use fearless_simd::Level;
use sha2::compress256;

use super::lanes;

/// The six fields of a block header without its nonce, as they stand on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// nVersion, rolled bits included.
    pub version: u32,
    /// Hash of the previous block, raw SHA-256 output order.
    pub prev_hash: [u8; 32],
    /// Merkle root, raw SHA-256 output order.
    pub merkle_root: [u8; 32],
    /// Seconds since the Unix epoch.
    pub ntime: u32,
    /// Compact network target.
    pub nbits: u32,
}

/// SHA-256 state after the first 64 bytes of a header: everything but the end of the root, ntime, nbits and nonce.
#[derive(Clone, Copy, Debug)]
pub(super) struct Midstate(pub(super) [u32; 8]);

/// The words of the second header block that stand before the nonce, as SHA-256 reads them (big endian).
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    pub(super) merkle_root_end: u32,
    pub(super) ntime: u32,
    pub(super) nbits: u32,
}

/// A header made ready for searching.
#[derive(Clone, Copy, Debug)]
pub struct Prepared {
    midstate: Midstate,
    tail: Tail,
}

impl Header {
    /// Hashes the first block once for all nonces.
    #[must_use]
    pub fn prepare(&self) -> Prepared {
        let (start, end) = self.merkle_root.split_at(28);
        let mut block = [0u8; 64];
        block[..4].copy_from_slice(&self.version.to_le_bytes());
        block[4..36].copy_from_slice(&self.prev_hash);
        block[36..].copy_from_slice(start);
        let mut state = lanes::INITIAL;
        compress256(&mut state, &[block.into()]);
        let merkle_root_end = end.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
        let (ntime, nbits) = (self.ntime.swap_bytes(), self.nbits.swap_bytes());
        Prepared {
            midstate: Midstate(state),
            tail: Tail {
                merkle_root_end,
                ntime,
                nbits,
            },
        }
    }
}

impl Prepared {
    /// Double SHA-256 of the header with this nonce: raw output order, so little endian as an integer.
    #[must_use]
    pub fn hash(&self, nonce: u32) -> [u8; 32] {
        let words = digest(&self.midstate, self.tail, nonce);
        let mut hash = [0u8; 32];
        for (bytes, word) in hash.chunks_exact_mut(4).zip(words) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        hash
    }
}

fn digest(midstate: &Midstate, tail: Tail, nonce: u32) -> [u32; 8] {
    let mut block = [0u8; 64];
    block[..4].copy_from_slice(&tail.merkle_root_end.to_be_bytes());
    block[4..8].copy_from_slice(&tail.ntime.to_be_bytes());
    block[8..12].copy_from_slice(&tail.nbits.to_be_bytes());
    block[12..16].copy_from_slice(&nonce.to_le_bytes());
    block[16] = 0x80;
    block[62..].copy_from_slice(&640u16.to_be_bytes());
    let mut state = midstate.0;
    compress256(&mut state, &[block.into()]);

    let mut block = [0u8; 64];
    for (bytes, word) in block.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    block[32] = 0x80;
    block[62..].copy_from_slice(&256u16.to_be_bytes());
    let mut state = lanes::INITIAL;
    compress256(&mut state, &[block.into()]);
    state
}

/// What hashes: chosen once for the machine the program runs on.
#[derive(Clone, Copy, Debug)]
pub enum Engine {
    /// One header at a time through `sha2`, which uses SHA-NI where the machine has it.
    Single,
    /// Sixteen headers at a time in SIMD lanes.
    Lanes(Level),
}

impl Engine {
    /// The fastest engine here: lanes where registers hold 16 words, or where SHA-NI is missing but AVX2 is there.
    #[must_use]
    pub fn best() -> Self {
        let level = Level::new();
        if wide(level) {
            Self::Lanes(level)
        } else {
            Self::Single
        }
    }

    /// Appends to `found` each nonce of `first .. first + count` whose hash is at or below `target` (a little-endian
    /// integer, spec 3.1). `count` is rounded up to whole passes of 16; nonces wrap at 2^32.
    pub fn scan(self, header: &Prepared, first: u32, count: u32, target: &[u8; 32], found: &mut Vec<u32>) {
        let known = found.len();
        let top = most_significant(target);
        match self {
            Self::Lanes(level) => {
                let passes = count.div_ceil(lanes::LANES);
                lanes::scan(level, &header.midstate, header.tail, first, passes, top, found);
            }
            Self::Single => found.extend(
                (0..count)
                    .map(|offset| first.wrapping_add(offset))
                    .filter(|nonce| digest(&header.midstate, header.tail, *nonce)[7].swap_bytes() <= top),
            ),
        }
        if !is_all_ones(target) {
            let fresh = found.split_off(known);
            found.extend(
                fresh
                    .into_iter()
                    .filter(|nonce| at_most(&header.hash(*nonce), target)),
            );
        }
    }

    /// Hashes that take a quarter to half of a millisecond on a machine of this kind.
    #[must_use]
    pub const fn look_nonces(self) -> u32 {
        match self {
            Self::Single => 4_096,
            Self::Lanes(_) => 8_192,
        }
    }

    /// A short name for logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Lanes(_) => "lanes",
        }
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
fn wide(level: Level) -> bool {
    level.as_avx512().is_some() || (level.as_avx2().is_some() && !std::is_x86_feature_detected!("sha"))
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "x86")))]
fn wide(_: Level) -> bool {
    false
}

/// Compares two 256-bit little-endian integers.
#[must_use]
pub fn at_most(hash: &[u8; 32], target: &[u8; 32]) -> bool {
    hash.iter().rev().le(target.iter().rev())
}

fn most_significant(target: &[u8; 32]) -> u32 {
    let [.., a, b, c, d] = *target;
    u32::from_le_bytes([a, b, c, d])
}

fn is_all_ones(target: &[u8; 32]) -> bool {
    target.iter().all(|byte| *byte == 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::consensus::serialize;
    use bitcoin::hashes::Hash as _;
    use proptest::prelude::*;

    fn block_hash(header: &Header, nonce: u32) -> [u8; 32] {
        let mut bytes = Vec::with_capacity(80);
        bytes.extend(header.version.to_le_bytes());
        bytes.extend(header.prev_hash);
        bytes.extend(header.merkle_root);
        bytes.extend([header.ntime, header.nbits, nonce].map(u32::to_le_bytes).concat());
        let parsed: bitcoin::block::Header = bitcoin::consensus::deserialize(&bytes).unwrap();
        assert_eq!(serialize(&parsed), bytes);
        parsed.block_hash().to_byte_array()
    }

    fn header() -> impl Strategy<Value = Header> {
        (
            any::<u32>(),
            any::<[u8; 32]>(),
            any::<[u8; 32]>(),
            any::<u32>(),
            any::<u32>(),
        )
            .prop_map(|(version, prev_hash, merkle_root, ntime, nbits)| Header {
                version,
                prev_hash,
                merkle_root,
                ntime,
                nbits,
            })
    }

    proptest! {
        #[test]
        fn hash_is_the_block_hash(header in header(), nonce: u32) {
            prop_assert_eq!(header.prepare().hash(nonce), block_hash(&header, nonce));
        }

        #[test]
        fn every_engine_finds_exactly_the_same(header in header(), first: u32, top in 0u8..=255, low: u8) {
            let mut target = [low; 32];
            target[31] = top;
            let prepared = header.prepare();
            let expected: Vec<u32> = (0..256u32)
                .map(|offset| first.wrapping_add(offset))
                .filter(|nonce| at_most(&block_hash(&header, *nonce), &target))
                .collect();
            for engine in [Engine::Single, Engine::Lanes(Level::new())] {
                let mut found = vec![7];
                engine.scan(&prepared, first, 256, &target, &mut found);
                prop_assert_eq!(&found[1..], &expected[..]);
            }
        }
    }

    #[test]
    fn genesis_is_found() {
        let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Bitcoin).header;
        let header = Header {
            version: genesis.version.to_consensus() as u32,
            prev_hash: genesis.prev_blockhash.to_byte_array(),
            merkle_root: genesis.merkle_root.to_byte_array(),
            ntime: genesis.time,
            nbits: genesis.bits.to_consensus(),
        };
        let mut found = Vec::new();
        let target = genesis.target().to_le_bytes();
        Engine::best().scan(
            &header.prepare(),
            genesis.nonce - 5_000,
            10_000,
            &target,
            &mut found,
        );
        assert_eq!(found, [genesis.nonce]);
    }

    #[test]
    fn targets_compare_as_integers() {
        let mut small = [0xff; 32];
        small[31] = 0;
        let mut large = [0; 32];
        large[31] = 1;
        assert!(at_most(&small, &large) && !at_most(&large, &small) && at_most(&large, &large));
    }
}
