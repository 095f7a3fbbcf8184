//! What the pool has credited on jobs that nobody can check (spec 6.3.1).
//!
//! In coinbase-only mode fees may be invented and transactions invalid; the pool pays for the work all the same. Only
//! blocks that are found on them and enter the chain prove that they were not. So credit that no block has
//! covered is bounded, for each identity and for all of them; and it is kept on disk, so that a restart forgives nothing.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use adit_ledger::disk::{Disk, FileDisk, read_whole, replace};
use adit_proto::mining::server::AccountId;

/// Identities whose exposure is known; a further one has to wait for a block of another.
const ACCOUNTS_MAX: usize = 65_536;
/// The file in the data folder: a line for each identity, its account and expected hashes.
const FILE: &str = "uncovered-credit";
/// Longest file that is read: every identity with the longest number.
const BYTES_MAX: u64 = ACCOUNTS_MAX as u64 * 80;

/// Uncovered credit, in expected hashes.
#[derive(Debug)]
pub(super) struct Exposure {
    millis: u64,
    total_millis: u64,
    uncovered: HashMap<AccountId, u128>,
    total: u128,
    /// Not as it is on disk.
    changed: bool,
}

impl Exposure {
    /// Bounds in thousandths of a block's expected hashes; `uncovered` is what was there before.
    pub(super) fn new(millis: u64, total_millis: u64, uncovered: HashMap<AccountId, u128>) -> Self {
        let total = uncovered
            .values()
            .fold(0u128, |sum, work| sum.saturating_add(*work));
        Self {
            millis,
            total_millis,
            uncovered,
            total,
            changed: false,
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
        self.changed = true;
    }

    /// A block of this identity is in the chain.
    pub(super) fn cover(&mut self, account: &AccountId) {
        let covered = self.uncovered.remove(account).unwrap_or_default();
        self.total = self.total.saturating_sub(covered);
        self.changed = true;
    }

    /// Identities with uncovered credit.
    fn lines(&self) -> String {
        let mut text = String::with_capacity(self.uncovered.len() * 48);
        for (account, work) in &self.uncovered {
            for byte in account.0 {
                // Writing to a String cannot fail.
                let _ = write!(text, "{byte:02x}");
            }
            let _ = writeln!(text, " {work}");
        }
        text
    }
}

/// Where uncovered credit is kept.
#[derive(Debug)]
pub(super) struct Store {
    disk: FileDisk,
}

impl Store {
    /// The store in the data folder, and what it holds.
    ///
    /// # Errors
    /// When the disk fails, or the file is not what we write; the error says what to do.
    pub(super) fn open(data: &Path) -> io::Result<(Self, HashMap<AccountId, u128>)> {
        let disk = FileDisk::create(data)?;
        let file = match disk.open_read(FILE) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((Self { disk }, HashMap::new()));
            }
            Err(error) => return Err(error),
        };
        let bytes = read_whole(&file, BYTES_MAX)?;
        let uncovered = std::str::from_utf8(&bytes)
            .ok()
            .and_then(|text| text.lines().map(read_line).collect());
        let uncovered = uncovered.ok_or_else(|| {
            let place = disk.describe(FILE);
            let what = format!(
                "{place} is damaged; mend the line that is not `account work`, or remove the file to forgive \
                 the credit that no block has covered"
            );
            io::Error::new(io::ErrorKind::InvalidData, what)
        })?;
        Ok((Self { disk }, uncovered))
    }

    /// Writes what has changed since the last time.
    ///
    /// # Errors
    /// When the disk fails: the last file is still there, and the next call tries again.
    pub(super) fn keep(&self, exposure: &mut Exposure) -> io::Result<()> {
        if exposure.changed {
            replace(&self.disk, FILE, exposure.lines().as_bytes())?;
            exposure.changed = false;
        }
        Ok(())
    }
}

fn read_line(line: &str) -> Option<(AccountId, u128)> {
    let (account, work) = line.split_once(' ')?;
    let mut bytes = [0; 16];
    if account.len() != 32 || !account.is_ascii() {
        return None;
    }
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(account.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some((AccountId(bytes), work.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh(millis: u64, total_millis: u64) -> Exposure {
        Exposure::new(millis, total_millis, HashMap::new())
    }

    /// REQ-JD-045: credit without a block ends, for one identity and for all; a block in the chain covers it.
    #[test]
    fn credit_that_no_block_covers_is_bounded() {
        let [alice, bob, carol] = [1, 2, 3].map(|n| AccountId([n; 16]));
        let mut exposure = fresh(2_000, 3_000);
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

    #[test]
    fn a_restart_forgives_nothing() {
        let data = tempfile::tempdir().unwrap();
        let (store, before) = Store::open(data.path()).unwrap();
        assert!(before.is_empty());
        let [alice, bob] = [AccountId([0xa1; 16]), AccountId([2; 16])];
        let mut exposure = fresh(1_000, 1_000_000);
        exposure.credit(alice, u64::MAX);
        exposure.credit(bob, 7);
        exposure.credit(alice, u64::MAX);
        store.keep(&mut exposure).unwrap();
        assert!(!exposure.changed);
        let (store, before) = Store::open(data.path()).unwrap();
        assert_eq!(before, exposure.uncovered);
        let mut again = Exposure::new(1_000, 1_000_000, before);
        assert_eq!(again.total, exposure.total);
        assert!(!again.allows(&alice, u64::MAX) && again.allows(&bob, u64::MAX));
        again.cover(&alice);
        store.keep(&mut again).unwrap();
        let (_, last) = Store::open(data.path()).unwrap();
        assert_eq!(last, HashMap::from([(bob, 7)]));
    }

    #[test]
    fn a_damaged_file_is_not_taken_for_an_empty_one() {
        let data = tempfile::tempdir().unwrap();
        for bad in [
            "x",
            "00 1",
            "zz0102030405060708090a0b0c0d0e0f 1",
            &"a".repeat(40),
            "\u{e4}",
        ] {
            std::fs::write(data.path().join(FILE), bad).unwrap();
            let refused = Store::open(data.path()).unwrap_err().to_string();
            assert!(
                refused.contains("uncovered-credit") && refused.contains("remove"),
                "{refused}"
            );
        }
    }
}
