//! Hashes already credited.

use crate::extranonce::TIPS_KEPT;
use adit_wire::refusal::SubmitShares as Refusal;
use core::hash::{BuildHasherDefault, Hasher};
use std::collections::{HashSet, VecDeque};

/// Header hashes of the shares of one connection that were good, for as long as any of them could be
/// good again.
///
/// A header names the block that it builds on, so a hash can only return while that block is the tip.
/// There is one generation for each of the last [`TIPS_KEPT`] tips, and only the current one is looked
/// into; a tip that returns finds its generation again. Nothing that could be credited is ever
/// evicted: a full set refuses.
#[derive(Debug)]
pub struct Seen {
    current: Generation,
    /// Former tips that had shares, oldest first.
    former: VecDeque<Generation>,
    /// How often the tip changed.
    turns: u64,
    /// Hashes in all generations.
    count: usize,
    count_max: usize,
    /// Memory of a generation that ended, for the next one.
    spare: Hashes,
}

#[derive(Debug, Default)]
struct Generation {
    prev_hash: [u8; 32],
    /// [`Seen::turns`] when it was the tip last.
    left: u64,
    hashes: Hashes,
}

type Hashes = HashSet<u64, BuildHasherDefault<AlreadyHashed>>;

impl Seen {
    /// Remembers up to `count_max` hashes, at 9 to 21 bytes each. Allocates nothing yet.
    pub fn new(count_max: usize) -> Self {
        Self {
            current: Generation::default(),
            former: VecDeque::new(),
            turns: 0,
            count: 0,
            count_max,
            spare: Hashes::default(),
        }
    }

    /// From now on shares build on `prev_hash`, raw hash order.
    pub fn turn_to(&mut self, prev_hash: &[u8; 32]) {
        if self.current.prev_hash == *prev_hash {
            return;
        }
        self.turns += 1;
        let place = self
            .former
            .iter()
            .position(|former| former.prev_hash == *prev_hash);
        let next = match place.and_then(|place| self.former.remove(place)) {
            Some(returned) => returned,
            None => Generation {
                prev_hash: *prev_hash,
                left: 0,
                hashes: core::mem::take(&mut self.spare),
            },
        };
        let mut former = core::mem::replace(&mut self.current, next);
        if former.hashes.is_empty() {
            self.spare = former.hashes;
        } else {
            former.left = self.turns;
            self.former.push_back(former);
        }
        self.forget_old();
    }

    /// Notes a hash that is to be credited. Refusals: `DuplicateShare`, or `RateLimited` if there is
    /// no room left to remember it.
    #[inline]
    pub fn insert(&mut self, hash: &[u8; 32]) -> Result<(), Refusal> {
        let key = key(hash);
        if self.count >= self.count_max {
            let known = self.current.hashes.contains(&key);
            return Err(if known {
                Refusal::DuplicateShare
            } else {
                Refusal::RateLimited
            });
        }
        if !self.current.hashes.insert(key) {
            return Err(Refusal::DuplicateShare);
        }
        self.count += 1;
        Ok(())
    }

    /// Takes back a hash of the current tip that was noted but could not be credited after all.
    pub fn forget(&mut self, hash: &[u8; 32]) {
        if self.current.hashes.remove(&key(hash)) {
            self.count -= 1;
        }
    }

    /// How many hashes are remembered.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing is remembered.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Drops generations whose tip is too far away to return. One at most is old: one left a turn.
    fn forget_old(&mut self) {
        let turns = self.turns;
        while let Some(oldest) = self.former.pop_front_if(|old| turns - old.left >= TIPS_KEPT) {
            let mut hashes = oldest.hashes;
            self.count -= hashes.len();
            // One busy tip must not hold its memory for ever.
            let generous = hashes.capacity() > 4 * hashes.len();
            hashes.clear();
            self.spare = if generous { Hashes::default() } else { hashes };
        }
    }
}

/// 64 bits of the hash that no target makes predictable. Small keys keep the set in the caches; among a million
/// shares of a connection two agree by chance once in 2^24 such millions, and whoever makes a pair on purpose
/// loses one share of its own.
#[inline]
fn key(hash: &[u8; 32]) -> u64 {
    hash.first_chunk().map_or(0, |part| u64::from_le_bytes(*part))
}

/// Keys are uniform already.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn write(&mut self, bytes: &[u8]) {
        // Only whole keys are hashed; kept correct for any other use.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    #[inline]
    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u32) -> [u8; 32] {
        crate::sha::double(&n.to_le_bytes())
    }

    /// REQ-MIN-066
    #[test]
    fn a_hash_is_credited_once_while_its_tip_can_return() {
        let mut seen = Seen::new(100);
        let tips: Vec<[u8; 32]> = (1..=8).map(|n| [n; 32]).collect();
        seen.turn_to(&tips[0]);
        assert_eq!(seen.insert(&hash(1)), Ok(()));
        assert_eq!(seen.insert(&hash(1)), Err(Refusal::DuplicateShare));
        for tip in &tips[1..6] {
            seen.turn_to(tip);
        }
        seen.turn_to(&tips[0]);
        assert_eq!(
            seen.insert(&hash(1)),
            Err(Refusal::DuplicateShare),
            "it returned after six tips"
        );
        for tip in &tips[1..7] {
            seen.turn_to(tip);
        }
        assert_eq!(seen.len(), 1, "six tips away");
        seen.turn_to(&tips[7]);
        assert_eq!(seen.len(), 0, "forgotten once the tip cannot return");
    }

    #[test]
    fn a_full_set_refuses_and_forgets_nothing() {
        let mut seen = Seen::new(2);
        seen.turn_to(&[1; 32]);
        assert_eq!((seen.insert(&hash(1)), seen.insert(&hash(2))), (Ok(()), Ok(())));
        assert_eq!(seen.insert(&hash(3)), Err(Refusal::RateLimited));
        seen.turn_to(&[2; 32]);
        assert_eq!(
            seen.insert(&hash(3)),
            Err(Refusal::RateLimited),
            "a former tip may return"
        );
        seen.turn_to(&[1; 32]);
        assert_eq!(seen.insert(&hash(1)), Err(Refusal::DuplicateShare));
        for tip in 2..=8 {
            seen.turn_to(&[tip; 32]);
        }
        assert_eq!(seen.insert(&hash(3)), Ok(()));
    }
}
