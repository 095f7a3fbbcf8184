//! What the pool risks on jobs that nobody can check (coinbase-only mode, spec 6.3.1).
//!
//! A share of such a job is paid although its block may be worth nothing: the fees may be invented, a transaction may
//! be invalid. Blocks that are found on them and enter the chain prove that they were not. So credit that no block has
//! covered is bounded, for each identity and for all of them.

use std::collections::HashMap;

use adit_proto::mining::server::AccountId;

/// Identities whose exposure is known; a further one has to wait for a block of another.
const ACCOUNTS_MAX: usize = 65_536;

/// Uncovered credit, in expected hashes.
#[derive(Debug)]
pub(super) struct Exposure {
    millis: u64,
    total_millis: u64,
    uncovered: HashMap<AccountId, u128>,
    total: u128,
}

impl Exposure {
    /// Bounds in thousandths of a block's expected hashes.
    pub(super) fn new(millis: u64, total_millis: u64) -> Self {
        Self {
            millis,
            total_millis,
            uncovered: HashMap::new(),
            total: 0,
        }
    }

    /// Whether another job of this identity may be taken when a block takes `block_work` hashes.
    pub(super) fn allows(&self, account: &AccountId, block_work: u64) -> bool {
        let most = |millis: u64| u128::from(block_work) * u128::from(millis) / 1_000;
        let own = self.uncovered.get(account).copied();
        let known = own.is_some() || self.uncovered.len() < ACCOUNTS_MAX;
        known && own.unwrap_or(0) < most(self.millis) && self.total < most(self.total_millis)
    }

    /// Work was credited.
    pub(super) fn credit(&mut self, account: AccountId, work: u64) {
        let sum = self.uncovered.entry(account).or_default();
        *sum = sum.saturating_add(u128::from(work));
        self.total = self.total.saturating_add(u128::from(work));
    }

    /// A block of this identity is in the chain.
    pub(super) fn cover(&mut self, account: &AccountId) {
        let covered = self.uncovered.remove(account).unwrap_or_default();
        self.total = self.total.saturating_sub(covered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// REQ-JD-045: credit without a block ends, for one identity and for all; a block in the chain covers it.
    #[test]
    fn credit_that_no_block_covers_is_bounded() {
        let [alice, bob, carol] = [1, 2, 3].map(|n| AccountId([n; 16]));
        let mut exposure = Exposure::new(2_000, 3_000);
        exposure.credit(alice, 1_999);
        assert!(exposure.allows(&alice, 1_000));
        exposure.credit(alice, 1);
        assert!(!exposure.allows(&alice, 1_000) && exposure.allows(&bob, 1_000));
        exposure.credit(bob, 1_000);
        assert!(!exposure.allows(&carol, 1_000), "all of them together");
        exposure.cover(&alice);
        assert!(exposure.allows(&alice, 1_000) && exposure.allows(&carol, 1_000));
        exposure.cover(&bob);
        assert_eq!((exposure.total, exposure.uncovered.len()), (0, 0));
    }
}
