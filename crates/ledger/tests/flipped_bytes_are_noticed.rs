//! One byte of a journal changes, each in turn: never is a share credited that was not written,
//! and what was certainly durable is reported as damaged, not cut.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod common;

use adit_ledger::disk::Disk;
use adit_ledger::journal::HEADER_BYTES;
use adit_ledger::verify::verify_on;
use adit_ledger::{JournalError, MemDisk};
use common::{append, book, book_of, open};

const SHARES: u64 = 156;
const GROUP: u64 = 4;

fn written() -> MemDisk {
    let disk = MemDisk::new(1);
    let (mut journal, _) = open(&disk).unwrap();
    for group in 0..SHARES / GROUP {
        append(&mut journal, group * GROUP..(group + 1) * GROUP);
        journal.commit().unwrap();
    }
    drop(journal);
    disk
}

#[test]
fn in_a_segment_every_byte_counts() {
    let whole = written();
    let names: Vec<_> = whole
        .list()
        .unwrap()
        .into_iter()
        .filter(|name| name.ends_with(".journal"))
        .collect();
    let last = names.last().unwrap();
    let mut damaged = 0;
    let mut cut = 0;
    for name in &names {
        let first: u64 = name[11..31].parse().unwrap();
        let records = if name == last { SHARES + 1 - first } else { 60 };
        for offset in 0..HEADER_BYTES + records as usize * 128 {
            let disk = whole.fork();
            disk.flip(name, offset, 1 << (offset % 8));
            // With the checkpoint a start need not read old segments: it credits what it did before.
            if let Ok((journal, _)) = open(&disk.fork()) {
                assert_eq!(book(&journal), book_of(journal.next_sequence() - 1));
            }
            disk.remove("book.checkpoint").unwrap();
            match open(&disk) {
                Err(error @ JournalError::Damaged { .. }) => {
                    damaged += 1;
                    let told = error.to_string();
                    assert!(told.contains(name.as_str()) && told.contains("backup"), "{told}");
                }
                Ok((journal, recovery)) => {
                    // Only the last group may be taken for one that power cut off.
                    let sequence = first + (offset - HEADER_BYTES) as u64 / 128;
                    assert!(sequence > SHARES - GROUP, "{name} byte {offset} went unnoticed");
                    assert_eq!(journal.next_sequence(), sequence);
                    assert!(recovery.cut_bytes > 0 && recovery.cut_bytes <= GROUP * 128);
                    assert_eq!(book(&journal), book_of(sequence - 1));
                    cut += 1;
                }
                Err(other) => panic!("{name} byte {offset}: {other}"),
            }
        }
    }
    assert_eq!(cut, GROUP as usize * 128);
    assert!(damaged > 3 * HEADER_BYTES);
}

#[test]
fn in_blank_space_too() {
    let disk = written();
    let name = disk
        .list()
        .unwrap()
        .into_iter()
        .rfind(|name| name.ends_with(".journal"))
        .unwrap();
    let first: u64 = name[11..31].parse().unwrap();
    let end = HEADER_BYTES + (SHARES + 1 - first) as usize * 128;
    disk.flip(&name, end + 5, 1);
    let (journal, recovery) = open(&disk).unwrap();
    assert_eq!((journal.next_sequence(), recovery.cut_bytes), (SHARES + 1, 6));
    assert!(
        disk.list().unwrap().iter().any(|name| name.ends_with(".cut")),
        "what was cut is kept"
    );
}

#[test]
fn in_a_checkpoint_it_is_not_believed() {
    let whole = written();
    let length = {
        let file = whole.open_read("book.checkpoint").unwrap();
        adit_ledger::File::len(&file).unwrap() as usize
    };
    let (_, recovery) = open(&whole.fork()).unwrap();
    assert!(recovery.from_checkpoint);
    assert_eq!(verify_on(&whole).unwrap().checkpoint_agrees, Some(true));
    for offset in 0..length {
        let disk = whole.fork();
        disk.flip("book.checkpoint", offset, 0x40);
        let (journal, recovery) = open(&disk).unwrap();
        assert!(!recovery.from_checkpoint, "byte {offset}");
        assert_eq!(book(&journal), book_of(SHARES));
    }
}

#[test]
fn a_missing_segment_is_named() {
    let disk = written();
    let names: Vec<_> = disk
        .list()
        .unwrap()
        .into_iter()
        .filter(|name| name.ends_with(".journal"))
        .collect();
    assert!(names.len() >= 2);
    let middle = disk.fork();
    middle.remove("book.checkpoint").unwrap();
    middle.remove(&names[0]).unwrap();
    assert!(open(&middle).unwrap_err().to_string().contains("missing"));
    disk.remove(names.last().unwrap()).unwrap();
    let told = open(&disk).map(|_| ()).unwrap_err().to_string();
    assert!(told.contains("checkpoint"), "{told}");
}
