//! Backup and restore, as docs/books.md describes them.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use adit::books::rebuild::rebuild;
use adit::books::{StoreError, check};
use adit_ledger::Entry;
use adit_ledger::archive::{self, tidy};
use adit_ledger::verify::verify;

use super::journal::{self, House, SETTINGS, Story, records, write};

const FRONT_END: u16 = SETTINGS.front_end;

/// Copies a journal that is written to: first what sums up, then the segments, the oldest first.
fn copy(from: &Path, to: &Path) {
    let (from, to) = (from.join("ledger"), to.join("ledger"));
    std::fs::create_dir_all(&to).unwrap();
    let copy_all = |wished: &dyn Fn(&str) -> bool| {
        let entries = std::fs::read_dir(&from).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| wished(name))
            .collect();
        names.sort();
        names
            .iter()
            .all(|name| std::fs::copy(from.join(name), to.join(name)).is_ok())
    };
    // A segment that was packed meanwhile has another name in the next listing.
    while !(copy_all(&|name| name == "book.checkpoint" || name == "book.base")
        && copy_all(&|name| name.ends_with(".journal") || name.ends_with(".zst")))
    {}
}

/// A copy of a journal in use is a good journal, up to a moment; a database that knows more is told apart, and made again
/// from the copy.
#[test]
fn a_copy_of_a_journal_in_use_is_a_journal() {
    let data = tempfile::tempdir().unwrap();
    write(data.path(), 31, 2_000);
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let writing = threads.spawn(|| {
            let (mut journal, mut story) = (journal::open(data.path()), Story::new(32));
            let mut time_us = journal::NOON_US + 86_400_000_000;
            journal.start(journal.epoch() + 1, "adit test", time_us);
            for n in 0.. {
                time_us += 1_000;
                let entry = story.entry(time_us);
                journal.append(time_us, &entry);
                if n % 9 == 0 {
                    journal.commit().unwrap();
                    if done.load(Ordering::Acquire) {
                        return;
                    }
                }
                if n % 500 == 0 {
                    let pack = archive::Settings {
                        pack: true,
                        keep_us: 0,
                    };
                    tidy(&journal::disk(data.path()), pack, u64::MAX, 0).unwrap();
                }
            }
        });
        let mut before = 0;
        for _ in 0..5 {
            let backup = tempfile::tempdir().unwrap();
            copy(data.path(), backup.path());
            let report = verify(backup.path()).unwrap();
            assert!(report.records >= before.max(2_000), "{}", report.records);
            before = report.records;
            // A pool starts on it.
            journal::open(backup.path());
        }
        done.store(true, Ordering::Release);
        writing.join().unwrap();
    });

    let backup = tempfile::tempdir().unwrap();
    copy(data.path(), backup.path());
    // Life goes on after the backup, and the database sees it; then the disk is lost.
    let mut journal = journal::open(data.path());
    let last = journal.next_sequence() - 1;
    journal.append(1, &Entry::Stop);
    journal.append(2, &Entry::Stop);
    journal.commit().unwrap();
    drop(journal);
    for house in House::both() {
        let mut store = house.open();
        store.apply(FRONT_END, &records(data.path())).unwrap();
        let told = check::compare(store.as_mut(), backup.path(), true).unwrap_err();
        assert!(told.message.contains("the journal has"), "{told}");
        drop(store);
        // The copy that was put back is written to: its records are others.
        let again = tempfile::tempdir().unwrap();
        copy(backup.path(), again.path());
        let mut journal = journal::open(again.path());
        for n in 0..9 {
            journal.append(n, &Entry::Stop);
        }
        journal.commit().unwrap();
        drop(journal);
        let told = house.open().apply(FRONT_END, &records(again.path())).unwrap_err();
        assert_eq!(
            told,
            StoreError::OtherJournal {
                front_end: FRONT_END,
                last: last + 2
            }
        );
        rebuild(&house.db(), again.path(), |_| {}).unwrap();
        let agreement = check::compare(house.open().as_mut(), again.path(), true).unwrap();
        assert_eq!((agreement.behind, agreement.last), (0, last + 9));
    }
}
