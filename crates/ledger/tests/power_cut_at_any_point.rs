//! Power goes at 10,000 seeded points of runs with failing disks, rotations and restarts; any
//! subset of the unsynced pages is lost, any page torn: every acknowledged share is there.

mod common;

use adit_ledger::MemDisk;
use adit_ledger::disk::{Fault, FaultKind};
use common::{Random, append, book, book_of, open};

const CRASHES: u64 = 10_000;
const LIVES_A_RUN: u64 = 10;

/// One life: opens, appends groups of random size on a disk that may fail, dies anywhere.
/// Returns the disk as the next life finds it.
fn live(disk: &MemDisk, random: &mut Random, acknowledged: &mut u64, what: &str) -> MemDisk {
    let (mut journal, _) = open(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut appended = journal.next_sequence() - 1;
    assert!(
        appended >= *acknowledged,
        "{what}: {acknowledged} acknowledged, {appended} kept"
    );
    assert_eq!(book(&journal), book_of(appended), "{what}");
    *acknowledged = appended;
    if random.below(3) == 0 {
        let kind = [FaultKind::Io, FaultKind::Full, FaultKind::Short][random.below(3) as usize];
        disk.inject(Some(Fault {
            at: random.below(40),
            calls: 1 + random.below(5),
            kind,
        }));
    }
    let dies_at = random.below(60);
    while disk.calls() < dies_at {
        let until = appended + 1 + random.below(70);
        append(&mut journal, appended..until);
        appended = until;
        if let Ok(next) = journal.commit() {
            *acknowledged = next - 1;
        }
    }
    // Dying inside a commit: the call it had reached fails and so does everything behind it.
    disk.inject(Some(Fault {
        at: random.below(6),
        calls: u64::MAX,
        kind: FaultKind::Short,
    }));
    append(&mut journal, appended..appended + 1 + random.below(100));
    if let Ok(next) = journal.commit() {
        *acknowledged = next - 1;
    }
    disk.inject(None);
    if random.below(8) == 0 {
        disk.clone()
    } else {
        disk.power_cut(random.below(u64::MAX))
    }
}

#[test]
fn every_acknowledged_share_is_there() {
    for run in 0..CRASHES / LIVES_A_RUN {
        let mut random = Random::new(run);
        let mut disk = MemDisk::new(run);
        let mut acknowledged = 0;
        for life in 0..LIVES_A_RUN {
            disk = live(
                &disk,
                &mut random,
                &mut acknowledged,
                &format!("run {run}, life {life}"),
            );
        }
        let (journal, _) = open(&disk).unwrap_or_else(|error| panic!("run {run}: {error}"));
        assert!(journal.next_sequence() > acknowledged, "run {run}");
    }
}
