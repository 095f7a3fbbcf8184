//! `verify`, `top` and `export` read a folder that a running pool appends to: no false alarm, and
//! nothing is written.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use adit_ledger::export::{Format, export};
use adit_ledger::journal::Settings;
use adit_ledger::verify::{top, verify};
use common::share;

#[test]
fn a_reader_sees_a_growing_ledger_and_never_damage() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        segment_bytes_max: 40_000,
        grow_bytes: 8192,
        ..Settings::default()
    };
    let mut journal = adit_ledger::open(folder.path(), settings, "test", 1)
        .unwrap()
        .journal;
    journal.commit().unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let writing = Arc::clone(&done);
    let writer = std::thread::spawn(move || {
        for n in 0..1500 {
            journal.append(0, &adit_ledger::Entry::Share(share(n)));
            if n % 5 == 0 {
                journal.commit().unwrap();
            }
        }
        journal.stop(0).unwrap();
        writing.store(true, Ordering::Release);
    });
    let mut before = 0;
    loop {
        let last = done.load(Ordering::Acquire);
        let report = verify(folder.path()).unwrap();
        assert!(report.records >= before, "{} after {before}", report.records);
        before = report.records;
        if last {
            break;
        }
    }
    writer.join().unwrap();
    assert_eq!(before, 1502, "start, shares, stop");
    let lines = top(folder.path(), 2, 0).unwrap();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].sums.work >= lines[1].sums.work);
    let mut jsonl = Vec::new();
    assert_eq!(
        export(folder.path(), &mut jsonl, Format::JsonLines).unwrap(),
        1502
    );
    let text = String::from_utf8(jsonl).unwrap();
    assert!(
        text.lines()
            .all(|line| line.starts_with("{\"front_end\":0,\"sequence\":") && line.ends_with('}'))
    );
}

#[test]
fn a_torn_tail_is_no_error_to_a_reader_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = adit_ledger::open(folder.path(), Settings::default(), "test", 1)
        .unwrap()
        .journal;
    journal.append(0, &adit_ledger::Entry::Share(share(1)));
    journal.commit().unwrap();
    let ledger = folder.path().join("ledger");
    let path = std::fs::read_dir(&ledger)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[7; 200], 4096 + 256).unwrap();
    let length = file.metadata().unwrap().len();
    let report = verify(folder.path()).unwrap();
    assert_eq!((report.records, report.torn_bytes), (2, 200));
    assert_eq!(std::fs::metadata(&path).unwrap().len(), length);
    assert_eq!(std::fs::read_dir(&ledger).unwrap().count(), 1);
}
