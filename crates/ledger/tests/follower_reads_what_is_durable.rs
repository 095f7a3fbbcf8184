//! A follower beside a writer: every durable record once and in order, from any sequence on, through rotation, failed
//! syncs, packed segments and restarts; never one that is not durable.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use adit_ledger::archive::{self, tidy};
use adit_ledger::disk::{Disk, Fault, FaultKind};
use adit_ledger::journal::Settings;
use adit_ledger::tail::{first_sequence, settled};
use adit_ledger::{Entry, FileDisk, Follower, Journal, JournalError, MemDisk, Record};
use common::{Random, append, open, share};

const PACK: archive::Settings = archive::Settings {
    pack: true,
    keep_us: 0,
};

/// The records are those of `from..`, and say what was appended.
fn check(records: &[Record], from: u64) {
    for (record, sequence) in records.iter().zip(from..) {
        assert_eq!(record.sequence, sequence);
        assert_eq!(record.entry, Entry::Share(share(sequence - 1)));
    }
}

fn read_all(disk: &MemDisk, from: u64, durable: u64) -> Vec<Record> {
    let mut records = Vec::new();
    let mut follower = Follower::new(disk.clone(), from);
    follower.read(durable, usize::MAX / 2, &mut records).unwrap();
    records
}

#[test]
fn from_any_sequence_on() {
    let disk = MemDisk::new(1);
    let (mut journal, _) = open(&disk).unwrap();
    append(&mut journal, 0..400);
    journal.commit().unwrap();
    for group in 0..40 {
        append(&mut journal, 400 + group * 5..400 + group * 5 + 5);
        journal.commit().unwrap();
    }
    assert!(disk.list().unwrap().len() > 4, "several segments");
    let durable = journal.durable();
    assert_eq!((durable.next(), durable.front_end()), (601, 7));
    for from in 1..=601 {
        let records = read_all(&disk, from, durable.next());
        assert_eq!(records.len() as u64, 601 - from);
        check(&records, from);
    }
}

#[test]
fn nothing_that_is_not_durable() {
    let disk = MemDisk::new(2);
    let (mut journal, _) = open(&disk).unwrap();
    append(&mut journal, 0..10);
    journal.commit().unwrap();
    let durable = journal.durable();
    // The write succeeds and its sync fails: the bytes can be seen, and may go with the power.
    disk.inject(Some(Fault {
        at: 1,
        calls: 1,
        kind: FaultKind::Io,
    }));
    append(&mut journal, 10..20);
    assert!(journal.commit().is_err());
    assert_eq!(read_all(&disk, 1, durable.next()).len(), 10);
    // The same records become durable in another file, and more of them.
    append(&mut journal, 20..25);
    journal.commit().unwrap();
    let records = read_all(&disk, 1, durable.next());
    assert_eq!(records.len(), 25);
    check(&records, 1);
}

/// A follower that was at the end of a segment goes on in the next, whatever a failed sync left behind.
#[test]
fn goes_on_where_the_writer_went_on() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let disk = MemDisk::new(seed);
        let (mut journal, _) = open(&disk).unwrap();
        let durable = journal.durable();
        let mut follower = Follower::new(disk.clone(), 1);
        let (mut records, mut appended) = (Vec::new(), 0);
        for _ in 0..60 {
            let until = appended + 1 + random.below(12);
            append(&mut journal, appended..until);
            appended = until;
            if random.below(6) == 0 {
                disk.inject(Some(Fault {
                    at: random.below(8),
                    calls: 1,
                    kind: [FaultKind::Io, FaultKind::Short, FaultKind::Full][random.below(3) as usize],
                }));
            }
            let committed = journal.commit().is_ok();
            disk.inject(None);
            if committed && random.below(5) == 0 {
                tidy(&disk, PACK, u64::MAX, 0).unwrap();
            }
            if random.below(3) > 0 {
                let most = 1 + random.below(40) as usize;
                follower.read(durable.next(), most, &mut records).unwrap();
                assert!((records.len() as u64) < durable.next());
            }
        }
        journal.commit().unwrap();
        follower
            .read(durable.next(), usize::MAX / 2, &mut records)
            .unwrap();
        assert_eq!(records.len() as u64, appended, "seed {seed}");
        check(&records, 1);
    }
}

/// What a reader in another process may believe is there after any power cut.
#[test]
fn what_files_alone_say_is_durable_survives() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let disk = MemDisk::new(seed);
        let (mut journal, _) = open(&disk).unwrap();
        let mut appended = 0;
        for _ in 0..random.below(30) {
            let until = appended + 1 + random.below(12);
            append(&mut journal, appended..until);
            appended = until;
            disk.inject((random.below(9) == 0).then_some(Fault {
                at: 1,
                calls: 1,
                kind: FaultKind::Io,
            }));
            drop(journal.commit());
            disk.inject(None);
        }
        let known = settled(&disk).unwrap();
        let records = read_all(&disk, 1, known);
        assert_eq!(records.len() as u64, known - 1);
        let after = disk.power_cut(seed);
        let (journal, _) = open(&after).unwrap();
        assert!(journal.next_sequence() >= known, "seed {seed}");
        assert_eq!(read_all(&after, 1, known), records);
    }
}

#[test]
fn a_real_folder_that_is_written_packed_and_forgotten_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let disk = FileDisk::create(folder.path()).unwrap();
    let settings = Settings {
        segment_bytes_max: 30_000,
        grow_bytes: 8192,
        ..Settings::default()
    };
    let (mut journal, _) = Journal::open(disk.clone(), settings).unwrap();
    let durable = journal.durable();
    let consumer = durable.consumer("test").unwrap();
    let done = Arc::new(AtomicBool::new(false));
    const ALL: u64 = 20_000;
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for n in 0..ALL {
                journal.append(0, &Entry::Share(share(n)));
                if n % 7 == 0 || n + 1 == ALL {
                    journal.commit().unwrap();
                }
            }
        });
        let keeper = threads.spawn(|| {
            let (mut packed, mut removed) = (0, 0);
            while !done.load(Ordering::Acquire) {
                let keep = archive::Settings {
                    pack: true,
                    keep_us: 1,
                };
                let tidied = tidy(&disk, keep, durable.needed(), u64::MAX).unwrap();
                packed += tidied.packed;
                removed += tidied.removed;
            }
            (packed, removed)
        });
        let mut follower = Follower::new(disk.clone(), 1);
        let mut records = Vec::new();
        while (records.len() as u64) < ALL {
            let next = durable.wait(follower.next_sequence(), Duration::from_secs(60));
            follower.read(next, 500, &mut records).unwrap();
            consumer.settled(follower.next_sequence());
        }
        check(&records, 1);
        // Everything but the last segments is taken away in the end, and stays counted.
        while first_sequence(&disk).unwrap() < ALL - 1_000 {
            std::thread::yield_now();
        }
        done.store(true, Ordering::Release);
        let (packed, removed) = keeper.join().unwrap();
        assert!(packed > 0 && removed > 0, "{packed} packed, {removed} removed");
    });
    assert!(matches!(
        Follower::new(disk.clone(), 1).read(ALL, 1, &mut Vec::new()),
        Err(JournalError::Gone { wanted: 1, .. })
    ));
    let report = adit_ledger::verify::verify_on(&disk).unwrap();
    assert_eq!((report.book.shares, report.last_sequence), (ALL, ALL));
    assert_eq!(report.taken_away + report.records, ALL);
    assert_ne!(report.checkpoint_agrees, Some(false));
}

/// Waiting ends with a commit, and with a wake-up.
#[test]
fn a_wait_ends_with_news() {
    let disk = MemDisk::new(3);
    let (mut journal, _) = open(&disk).unwrap();
    let durable = journal.durable();
    let woken = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let waits = threads.spawn(|| durable.wait(1, Duration::from_secs(60)));
        append(&mut journal, 0..3);
        journal.commit().unwrap();
        assert_eq!(waits.join().unwrap(), 4);
        threads.spawn(|| {
            while !woken.load(Ordering::Acquire) {
                durable.wake();
                std::thread::yield_now();
            }
        });
        assert_eq!(durable.wait(4, Duration::from_secs(60)), 4);
        woken.store(true, Ordering::Release);
    });
}
