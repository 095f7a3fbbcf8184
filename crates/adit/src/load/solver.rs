//! Valid shares as fast as they are wanted, none of them twice.

use adit_proto::Time;
use adit_proto::mining::client::{Share, Work};
use adit_wire::U256;

use crate::device::hash::{Engine, Prepared};
use crate::device::space::{self, Rolled, UNIT_NONCES, UNITS_PER_HEADER};

/// Nonces tried between two looks at what was found.
const LOOK_NONCES: u32 = 16;

/// Hashes spent at one wake-up of a connection, so that hard targets of one do not stop the others.
pub(super) const HASHES_PER_WAKE: u32 = 1 << 16;

/// Finds shares of one piece of work.
///
/// A standard channel rolls the nonce, then the version. An extended channel takes a new extranonce every
/// `shares_per_extranonce` shares, as real shares have one each: the pool must hash the coinbase and the branches anew.
#[derive(Debug)]
pub(super) struct Solver {
    work: Work,
    engine: Engine,
    /// Every hash meets the target: nothing needs to be hashed.
    any_hash: bool,
    shares_per_extranonce: u32,
    origin: u64,
    unit: u64,
    rolled: Rolled,
    header: Option<Prepared>,
    /// Nonces of the unit that are used up.
    tried: u32,
    /// Shares given of this extranonce.
    given: u32,
    /// Found and not yet given, last first.
    found: Vec<u32>,
}

impl Solver {
    /// `origin` shall differ between pieces of work that may have the same header.
    pub(super) fn new(work: Work, engine: Engine, shares_per_extranonce: u32, origin: u64) -> Self {
        let rolled = space::rolled(&work, 0, origin);
        let any_hash = work.target == U256::MAX;
        let shares_per_extranonce = shares_per_extranonce.max(1);
        Self {
            work,
            engine,
            any_hash,
            shares_per_extranonce,
            origin,
            unit: 0,
            rolled,
            header: None,
            tried: 0,
            given: 0,
            found: Vec::new(),
        }
    }

    /// The next share. `None` when `budget` hashes are spent or the clock has to open more of the search space.
    pub(super) fn next(&mut self, now: Time, budget: &mut u32) -> Option<Share> {
        loop {
            if self.rolled.ntime > self.work.max_ntime(now) {
                return None;
            }
            if let Some(nonce) = self.nonce(budget)? {
                let share = self.share(nonce);
                self.given += 1;
                if self.work.extranonce_size() > 0 && self.given >= self.shares_per_extranonce {
                    self.skip_to(self.unit - self.unit % UNITS_PER_HEADER + UNITS_PER_HEADER);
                }
                return Some(share);
            }
            self.skip_to(self.unit + 1);
        }
    }

    /// A good nonce of this unit: `Some(None)` when it has no more, `None` when the budget is spent.
    fn nonce(&mut self, budget: &mut u32) -> Option<Option<u32>> {
        if self.any_hash {
            let nonce = self.rolled.first_nonce.wrapping_add(self.tried);
            let left = self.tried < UNIT_NONCES;
            self.tried += u32::from(left);
            return Some(left.then_some(nonce));
        }
        while self.found.is_empty() {
            if self.tried >= UNIT_NONCES {
                return Some(None);
            }
            *budget = budget.checked_sub(LOOK_NONCES)?;
            let header = self.header.get_or_insert_with(|| {
                // Only now, as the root costs hashes.
                space::unit(&self.work, self.unit, self.origin).header.prepare()
            });
            let first = self.rolled.first_nonce.wrapping_add(self.tried);
            self.engine
                .scan(header, first, LOOK_NONCES, &self.work.target.0, &mut self.found);
            self.found.reverse();
            self.tried += LOOK_NONCES;
        }
        Some(self.found.pop())
    }

    fn skip_to(&mut self, unit: u64) {
        if unit / UNITS_PER_HEADER != self.unit / UNITS_PER_HEADER {
            self.header = None;
            self.given = 0;
        }
        self.unit = unit;
        self.tried = 0;
        self.found.clear();
        self.rolled = space::rolled(&self.work, unit, self.origin);
    }

    fn share(&self, nonce: u32) -> Share {
        let Rolled {
            version,
            ntime,
            extranonce,
            ..
        } = self.rolled;
        Share {
            channel: self.work.channel,
            job_id: self.work.job_id,
            nonce,
            ntime,
            version,
            extranonce,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_proto::mining::client::{Coinbase, Root};
    use adit_proto::target::Target;
    use adit_wire::B0_32;
    use std::collections::HashSet;
    use std::sync::Arc;

    fn work(size: Option<u16>, share_work: u64) -> Work {
        let root = match size {
            None => Root::Fixed(U256([3; 32])),
            Some(extranonce_size) => Root::Coinbase {
                coinbase: Arc::new(Coinbase {
                    version: 0,
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
            version: 0x2000_0000,
            version_mask: 0x1fff_e000,
            prev_hash: U256([5; 32]),
            root,
            min_ntime: 1_000,
            since: Time(0),
            nbits: 0x207f_ffff,
            target: U256(Target::from_work(share_work).0),
            new_tip: true,
        }
    }

    /// Every share meets the target with the header that a pool rebuilds from it, and none comes twice.
    #[test]
    fn shares_are_valid_and_never_given_twice() {
        for (size, share_work, per_extranonce) in [
            (None, 1, 1),
            (None, 40, 1),
            (Some(8), 1, 1),
            (Some(8), 40, 1),
            (Some(4), 3, 5),
        ] {
            let work = work(size, share_work);
            let mut solver = Solver::new(work.clone(), Engine::best(), per_extranonce, 11);
            let (mut seen, mut extranonces) = (HashSet::new(), HashSet::new());
            let mut budget = u32::MAX;
            for _ in 0..500 {
                let share = solver.next(Time(0), &mut budget).unwrap();
                let header = crate::device::hash::Header {
                    version: share.version,
                    prev_hash: work.prev_hash.0,
                    merkle_root: work.merkle_root(&share.extranonce).0,
                    ntime: share.ntime,
                    nbits: work.nbits,
                };
                let hash = header.prepare().hash(share.nonce);
                assert!(Target(work.target.0).is_met_by(&hash));
                assert!(seen.insert(hash), "{size:?} {share_work}");
                extranonces.insert(share.extranonce);
            }
            let expected = if size.is_some() {
                500 / per_extranonce as usize
            } else {
                1
            };
            assert_eq!(extranonces.len(), expected);
        }
    }

    #[test]
    fn a_hard_target_ends_with_the_budget() {
        let mut solver = Solver::new(work(None, u64::MAX), Engine::best(), 1, 0);
        let mut budget = HASHES_PER_WAKE;
        assert_eq!(solver.next(Time(0), &mut budget), None);
        assert_eq!(budget, 0);
    }

    #[test]
    fn an_exhausted_second_waits_for_the_clock() {
        let mut narrow = work(None, 1);
        narrow.version_mask = 0;
        let mut solver = Solver::new(narrow, Engine::best(), 1, 0);
        let mut budget = 0;
        solver.skip_to(UNITS_PER_HEADER);
        assert_eq!(solver.next(Time(0), &mut budget), None);
        let share = solver.next(Time(1_000_000), &mut budget).unwrap();
        assert_eq!((share.ntime, share.nonce), (1_001, 0));
    }
}
