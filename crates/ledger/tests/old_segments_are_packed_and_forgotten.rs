//! Packing and retention: nothing is lost that somebody needs, at whatever call the disk fails or the power goes.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod common;

use adit_ledger::archive::{Settings, Tidied, tidy};
use adit_ledger::disk::{Disk, Fault, FaultKind, read_whole};
use adit_ledger::tail::first_sequence;
use adit_ledger::verify::verify_on;
use adit_ledger::{JournalError, MemDisk};
use common::{append, book, book_of, open};

const SHARES: u64 = 300;
/// Every share is older than that.
const LATE: u64 = 10_000_000;

fn written(seed: u64) -> MemDisk {
    let disk = MemDisk::new(seed);
    let (mut journal, _) = open(&disk).unwrap();
    for group in 0..SHARES / 10 {
        append(&mut journal, group * 10..group * 10 + 10);
        journal.commit().unwrap();
    }
    disk
}

fn settings(pack: bool, keep_us: u64) -> Settings {
    Settings { pack, keep_us }
}

fn tidy_all(disk: &MemDisk, settings: Settings, needed: u64) {
    while tidy(disk, settings, needed, LATE).unwrap() != Tidied::default() {}
}

fn journals(disk: &MemDisk, ending: &str) -> usize {
    let names = disk.list().unwrap();
    names.iter().filter(|name| name.ends_with(ending)).count()
}

#[test]
fn everything_reads_packed_segments() {
    let disk = written(1);
    let plain: Vec<(String, Vec<u8>)> = disk
        .list()
        .unwrap()
        .into_iter()
        .filter(|name| name.ends_with(".journal"))
        .map(|name| {
            let bytes = read_whole(&disk.open_read(&name).unwrap(), 1 << 20).unwrap();
            (name, bytes)
        })
        .collect();
    tidy_all(&disk, settings(true, 0), u64::MAX);
    assert_eq!(journals(&disk, ".journal"), 1, "the writer's own stays plain");
    assert_eq!(journals(&disk, ".zst"), plain.len() - 1);
    // Any tool that knows the format gives the plain file back.
    for (name, bytes) in &plain[..plain.len() - 1] {
        let packed = read_whole(&disk.open_read(&format!("{name}.zst")).unwrap(), 1 << 20).unwrap();
        assert_eq!(&zstd::decode_all(&packed[..]).unwrap(), bytes);
    }
    let report = verify_on(&disk).unwrap();
    assert_eq!((report.book, report.segments), (book_of(SHARES), plain.len()));
    for checkpoint in [true, false] {
        if !checkpoint {
            disk.remove("book.checkpoint").unwrap();
        }
        let (journal, recovery) = open(&disk.fork()).unwrap();
        assert_eq!(recovery.from_checkpoint, checkpoint);
        assert_eq!(book(&journal), book_of(SHARES));
    }
}

#[test]
fn a_flipped_bit_of_a_packed_segment_is_damage() {
    let whole = written(2);
    tidy_all(&whole, settings(true, 0), u64::MAX);
    whole.remove("book.checkpoint").unwrap();
    let name = whole
        .list()
        .unwrap()
        .into_iter()
        .find(|name| name.ends_with(".zst"))
        .unwrap();
    let length = read_whole(&whole.open_read(&name).unwrap(), 1 << 20)
        .unwrap()
        .len();
    for offset in 0..length {
        let disk = whole.fork();
        disk.flip(&name, offset, 1 << (offset % 8));
        match open(&disk) {
            Err(JournalError::Damaged { place, .. }) => assert!(place.contains(&name), "{place}"),
            Err(other) => panic!("byte {offset}: {other}"),
            // A bit of the format that means nothing: what comes out is what went in.
            Ok((journal, _)) => assert_eq!(book(&journal), book_of(SHARES), "byte {offset}"),
        }
    }
}

#[test]
fn what_is_needed_is_kept() {
    let disk = written(3);
    let all = first_sequence(&disk).unwrap();
    assert_eq!(all, 1);
    tidy_all(&disk, settings(true, 0), u64::MAX);
    assert_eq!(first_sequence(&disk).unwrap(), 1, "0 keeps all");
    tidy_all(&disk, settings(true, 1), 100);
    let first = first_sequence(&disk).unwrap();
    assert!((2..=100).contains(&first), "a consumer has not read {first}");
    let young = settings(false, LATE);
    assert_eq!(tidy(&disk, young, u64::MAX, LATE).unwrap(), Tidied::default());
    tidy_all(&disk, settings(true, 1), u64::MAX);
    let first = first_sequence(&disk).unwrap();
    assert!(first > 200);
    // The sums are those of all records, with and without the checkpoint.
    let report = verify_on(&disk).unwrap();
    assert_eq!((report.book, report.taken_away), (book_of(SHARES), first - 1));
    assert_ne!(report.checkpoint_agrees, Some(false));
    assert_eq!(book(&open(&disk.fork()).unwrap().0), book_of(SHARES));
    disk.remove("book.checkpoint").unwrap();
    assert_eq!(book(&open(&disk.fork()).unwrap().0), book_of(SHARES));
    // Without both the journal says what is missing.
    disk.remove("book.base").unwrap();
    for told in [open(&disk).map(drop), verify_on(&disk).map(drop)] {
        assert!(told.unwrap_err().to_string().contains("missing"));
    }
}

/// Fails at every call in turn, and cuts the power after it.
#[test]
fn a_failing_disk_and_a_power_cut_at_every_call() {
    let keep = settings(true, 1);
    let calls = {
        let disk = written(4);
        disk.inject(None);
        tidy_all(&disk, keep, 200);
        disk.calls()
    };
    assert!(calls > 50, "{calls}");
    for at in 0..calls {
        for kind in [FaultKind::Io, FaultKind::Full, FaultKind::Short] {
            let disk = written(at);
            disk.inject(Some(Fault {
                at,
                calls: u64::MAX,
                kind,
            }));
            while tidy(&disk, keep, 200, LATE).is_ok_and(|done| done != Tidied::default()) {}
            disk.inject(None);
            for (what, after) in [("restart", disk.fork()), ("power cut", disk.power_cut(at))] {
                let what = format!("{kind:?} at {at}, {what}");
                let (journal, _) = open(&after).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!(book(&journal), book_of(SHARES), "{what}");
                drop(journal);
                tidy_all(&after, keep, 200);
                let report = verify_on(&after).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!(report.book, book_of(SHARES), "{what}");
                assert!(report.taken_away < 200, "{what}");
            }
        }
    }
}
