//! A database made again from its journal.

use std::panic::{AssertUnwindSafe, catch_unwind};

use adit::books::rebuild::rebuild;
use adit::books::{Store, check};

use super::journal::{House, SETTINGS, dump, records, write};

const FRONT_END: u16 = SETTINGS.front_end;

/// Ruins a database in small ways.
fn ruin(store: &mut dyn Store) {
    store.batch("UPDATE tallies SET shares = shares + 1").unwrap();
    store.batch("DELETE FROM sessions").unwrap();
}

#[test]
fn it_is_what_it_was() {
    let data = tempfile::tempdir().unwrap();
    write(data.path(), 21, 3_000);
    let all = records(data.path());
    for house in House::both() {
        let mut store = house.open();
        store.apply(FRONT_END, &all).unwrap();
        let right = dump(store.as_mut());
        ruin(store.as_mut());
        drop(store);
        let mut told = 0;
        let rebuilt = rebuild(&house.db(), data.path(), |records| told = records).unwrap();
        assert_eq!((rebuilt.records, told), (all.len() as u64, all.len() as u64));
        let mut store = house.open();
        assert_eq!(dump(store.as_mut()), right);
        check::compare(store.as_mut(), data.path(), true).unwrap();
    }
}

/// Interrupted at any batch, the old one is there as before; and it can be begun again.
#[test]
fn it_may_be_interrupted() {
    let data = tempfile::tempdir().unwrap();
    write(data.path(), 22, 25_000);
    for house in House::both() {
        let mut store = house.open();
        store.apply(FRONT_END, &records(data.path())[..1_000]).unwrap();
        let before = dump(store.as_mut());
        drop(store);
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let broken = catch_unwind(AssertUnwindSafe(|| {
            rebuild(&house.db(), data.path(), |_| panic!("the power goes"))
        }));
        std::panic::set_hook(hook);
        assert!(broken.is_err());
        let mut store = house.open();
        assert!(dump(store.as_mut()) == before, "the old one is untouched");
        drop(store);
        rebuild(&house.db(), data.path(), |_| {}).unwrap();
        check::compare(house.open().as_mut(), data.path(), true).unwrap();
    }
}

/// What is no database at all any more is replaced; what belongs to others, too, is not.
#[test]
fn ruins_are_replaced_and_neighbours_are_kept() {
    let data = tempfile::tempdir().unwrap();
    write(data.path(), 23, 300);
    let house = House::sqlite();
    let House::Sqlite(folder) = &house else {
        unreachable!()
    };
    let path = folder.path().join("books.sqlite");
    std::fs::write(&path, "no database").unwrap();
    std::fs::write(folder.path().join("books.sqlite-wal"), "an old log").unwrap();
    assert!(house.db().open().is_err());
    rebuild(&house.db(), data.path(), |_| {}).unwrap();
    check::compare(house.open().as_mut(), data.path(), true).unwrap();

    let mut others = records(data.path());
    others.iter_mut().for_each(|record| record.front_end = 9);
    for house in House::both() {
        let mut store = house.open();
        store.apply(9, &others).unwrap();
        store.apply(FRONT_END, &records(data.path())).unwrap();
        let right = dump(store.as_mut());
        store
            .batch(&format!(
                "UPDATE tallies SET shares = shares + 1 WHERE front_end = {FRONT_END}"
            ))
            .unwrap();
        drop(store);
        let done = rebuild(&house.db(), data.path(), |_| {});
        match house {
            House::Sqlite(_) => {
                let told = done.unwrap_err();
                assert!(told.message.contains("front end 9"), "{told}");
            }
            House::Postgres(_) => {
                done.unwrap();
                let mut again = dump(house.open().as_mut());
                let mut right = right;
                // Rows of two front ends: in any order among equals.
                for (_, rows) in again.iter_mut().chain(&mut right) {
                    rows.sort_by_key(|row| format!("{row:?}"));
                }
                assert_eq!(again, right);
            }
        }
    }
}

/// A pool that runs on the folder keeps it.
#[test]
fn not_while_a_pool_runs() {
    let data = tempfile::tempdir().unwrap();
    write(data.path(), 24, 10);
    let _lock = adit_ledger::DataLock::take(data.path()).unwrap();
    let told = rebuild(&House::sqlite().db(), data.path(), |_| {}).unwrap_err();
    assert!(told.message.contains("held by process"), "{told}");
}
