//! Every record exactly once.

use adit::books::{StoreError, check};
use adit_ledger::archive::{self, tidy};

use super::journal::{self, House, Random, SETTINGS, dump, records, write};

const FRONT_END: u16 = SETTINGS.front_end;

/// However a journal is cut into batches, whatever comes twice, overlaps or is broken off: both databases hold the same
/// in the end, and it is what the journal says, to the last unit of work.
#[test]
fn batches_do_not_matter() {
    let data = tempfile::tempdir().unwrap();
    write(data.path(), 1, 3_000);
    let all = records(data.path());
    let mut pictures = Vec::new();
    for house in House::both() {
        for seed in 0..3 {
            let mut random = Random::new(seed);
            let mut store = house.open();
            // Only what this seed counts.
            for (table, _) in dump(store.as_mut()) {
                store.batch(&format!("DELETE FROM {table}")).unwrap();
            }
            let mut done = 0;
            while done < all.len() {
                let from = done - random.below(50.min(done as u64 + 1)) as usize;
                let until = (from + 1 + random.below(400) as usize).min(all.len());
                match random.below(6) {
                    // The connection breaks in the middle of a transaction.
                    0 => {
                        store.begin(adit::books::Purpose::Write).unwrap();
                        store.batch("DELETE FROM tallies").unwrap();
                        drop(store);
                        store = house.open();
                    }
                    // A batch too early.
                    1 if done + 1 < all.len() => {
                        let gap = store.apply(FRONT_END, &all[done + 1..]);
                        let wanted = done as u64 + 1;
                        assert_eq!(
                            gap,
                            Err(StoreError::Gap {
                                wanted,
                                given: wanted + 1
                            })
                        );
                    }
                    _ => {
                        let applied = store.apply(FRONT_END, &all[from..until]).unwrap();
                        let fresh = until.saturating_sub(done);
                        assert_eq!(applied.records as usize, fresh);
                        done = done.max(until);
                        assert_eq!(applied.last as usize, done);
                    }
                }
                assert_eq!(store.position(FRONT_END).unwrap().last as usize, done);
            }
            // Everything once more changes nothing.
            assert_eq!(store.apply(FRONT_END, &all).unwrap().records, 0);
            let agreement = check::compare(store.as_mut(), data.path(), true).unwrap();
            assert_eq!((agreement.behind, agreement.accounts), (0, 5));
            assert!(agreement.history && agreement.workers > 5);
            pictures.push(dump(store.as_mut()));
        }
    }
    let first = &pictures[0];
    assert!(
        first
            .iter()
            .all(|(table, rows)| !rows.is_empty() || table.is_empty()),
        "{first:?}"
    );
    for other in &pictures[1..] {
        for (a, b) in first.iter().zip(other) {
            assert_eq!(a, b, "{}", a.0);
        }
    }
}

/// Sums that do not fit 64 bits stay exact.
#[test]
fn large_sums_are_exact() {
    let data = tempfile::tempdir().unwrap();
    write(data.path(), 2, 2_000);
    let report = adit_ledger::verify::verify(data.path()).unwrap();
    assert!(
        report.book.work > u128::from(u64::MAX) * 20,
        "{}",
        report.book.work
    );
    for house in House::both() {
        let mut store = house.open();
        store.apply(FRONT_END, &records(data.path())).unwrap();
        let totals = adit::books::query::totals(store.as_mut(), adit::books::query::Whose::Pool).unwrap();
        assert_eq!(
            (totals.work, totals.shares),
            (report.book.work, report.book.shares)
        );
    }
}

/// The first difference is named, whatever it is.
#[test]
fn a_difference_is_named() {
    let data = tempfile::tempdir().unwrap();
    write(data.path(), 3, 500);
    let all = records(data.path());
    let changes = [
        (
            "UPDATE tallies SET work_lo = work_lo + 1 WHERE shares = (SELECT MAX(shares) FROM tallies)",
            "work",
        ),
        (
            "UPDATE tallies SET shares = shares - 1 WHERE worker > account",
            "shares",
        ),
        ("UPDATE tallies SET paid = paid + 1", "satoshis paid"),
        (
            "UPDATE tallies SET rejected = rejected + 1 WHERE shares > 0",
            "refused shares",
        ),
        (
            "UPDATE history SET work_lo = work_lo + 1 WHERE resolution = 3600",
            "hours",
        ),
        (
            "DELETE FROM tallies WHERE account = (SELECT MAX(account) FROM tallies)",
            "shares",
        ),
        ("UPDATE positions SET starts = starts + 1", "starts"),
    ];
    for (change, told) in changes {
        let house = House::sqlite();
        let mut store = house.open();
        store.apply(FRONT_END, &all).unwrap();
        check::compare(store.as_mut(), data.path(), true).unwrap();
        store.batch(change).unwrap();
        let exit = check::compare(store.as_mut(), data.path(), true).unwrap_err();
        assert!(exit.message.contains(told), "{change}: {exit}");
        assert!(exit.hint.contains("adit ledger rebuild"), "{exit}");
    }
}

/// A database that is behind agrees as far as it goes; one of another journal does not.
#[test]
fn a_database_behind_and_one_of_another_journal() {
    let (data, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(data.path(), 4, 300);
    write(other.path(), 5, 400);
    let all = records(data.path());
    for house in House::both() {
        let mut store = house.open();
        store.apply(FRONT_END, &all[..200]).unwrap();
        let agreement = check::compare(store.as_mut(), data.path(), true).unwrap();
        assert_eq!(
            (agreement.last, agreement.behind as usize),
            (200, all.len() - 200)
        );
        let foreign = records(other.path());
        let told = store.apply(FRONT_END, &foreign[150..]).unwrap_err();
        assert_eq!(
            told,
            StoreError::OtherJournal {
                front_end: FRONT_END,
                last: 200
            }
        );
        let told = check::compare(store.as_mut(), other.path(), true).unwrap_err();
        assert!(told.message.contains("not those of this journal"), "{told}");
        // Another front end's records are others, and stand beside them.
        assert_eq!(store.position(9).unwrap().last, 0);
    }
}

/// Tables of a newer adit are left alone, and the operator hears what to do.
#[test]
fn newer_tables_are_refused() {
    for house in House::both() {
        let mut store = house.open();
        store
            .batch("INSERT INTO schema_versions (version, software) VALUES (1000, 'adit 9')")
            .unwrap();
        for opened in [house.db().open(), house.db().open_to_read()] {
            let told = opened.map(|_| ()).unwrap_err();
            assert!(matches!(told, StoreError::Newer { found: 1_000, .. }), "{told}");
            assert!(told.help().contains("--db"), "{}", told.help());
        }
    }
}

/// A new database on a journal whose beginning was taken away begins with its sums.
#[test]
fn a_journal_without_its_beginning() {
    let data = tempfile::tempdir().unwrap();
    write(data.path(), 6, 4_000);
    let whole = adit_ledger::verify::verify(data.path()).unwrap();
    let keep = archive::Settings {
        pack: true,
        keep_us: 1,
    };
    while tidy(&journal::disk(data.path()), keep, 2_500, u64::MAX).unwrap() != archive::Tidied::default() {}
    let replay = adit_ledger::verify::Replay::open(data.path()).unwrap();
    let first = replay.first_sequence();
    assert!(first > 500, "{first}");
    for house in House::both() {
        let mut store = house.open();
        store.seed(FRONT_END, replay.base(), first).unwrap();
        // Once more does nothing.
        store.seed(FRONT_END, replay.base(), first).unwrap();
        let mut rest = Vec::new();
        let mut follower = adit_ledger::Follower::new(journal::disk(data.path()), first);
        follower
            .read(whole.last_sequence + 1, usize::MAX / 2, &mut rest)
            .unwrap();
        store.apply(FRONT_END, &rest).unwrap();
        let agreement = check::compare(store.as_mut(), data.path(), true).unwrap();
        assert!(!agreement.history, "the history of what is gone is gone");
        assert_eq!(agreement.last, whole.last_sequence);
        let named = adit::books::query::account_named(store.as_mut(), "bc1q0.").unwrap();
        assert_eq!(named, Some(journal::account(0)), "names come along");
    }
}
