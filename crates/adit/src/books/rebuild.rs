//! The database once more, from the journal. The old one stays until the new one is whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_ledger::verify::{JOURNAL_FOLDER, Replay};
use adit_ledger::{DataLock, FileDisk, Follower, Journal, JournalError, journal};

use super::error::StoreError;
use super::place::Db;
use super::postgres::{self, Postgres};
use super::schema::{TABLES, migrate};
use super::sqlite::{Access, Sqlite};
use super::store::{Purpose, Store, Value, transaction};
use crate::exit::Exit;

/// Records of one transaction.
const BATCH: usize = 20_000;
/// Longest time that one statement of the change at the end may take a server.
const SWAP_PATIENCE: Duration = Duration::from_secs(3600);

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// The database.
    pub place: String,
    /// Whose records it has.
    pub front_end: u16,
    /// Records that were counted one by one.
    pub records: u64,
    /// Records that were taken away long ago and are there as sums only.
    pub taken_away: u64,
}

/// Makes the database again from the journal in `data`, which no pool may use meanwhile. `told` hears how many records
/// are counted. May be interrupted at any moment, and begun again.
///
/// # Errors
/// What keeps the journal from being read or the database from being made; the old one is there as before then.
pub fn rebuild(db: &Db, data: &Path, told: impl FnMut(u64)) -> Result<Rebuilt, Exit> {
    let _lock = DataLock::take(data).map_err(|error| Exit::failed(error.to_string()))?;
    let source = Source::open(data).map_err(|error| Exit::failed(error.to_string()))?;
    match db {
        Db::Off => {
            Err(Exit::usage("there is no database (books.db = off)").help("name one with --db sqlite:PATH"))
        }
        Db::Sqlite(None) => rebuild_file(&data.join(super::FILE), source, told),
        Db::Sqlite(Some(path)) => rebuild_file(path, source, told),
        Db::Postgres(url) => rebuild_schema(url, source, told),
    }
}

/// The journal, all of it durable.
struct Source {
    follower: Follower,
    replay: Replay,
    front_end: u16,
    durable: u64,
}

impl Source {
    fn open(data: &Path) -> Result<Self, JournalError> {
        let folder = data.join(JOURNAL_FOLDER);
        let opened = || {
            FileDisk::open(&folder)
                .map_err(|error| JournalError::unreadable(folder.display().to_string(), error))
        };
        let front_end = Replay::open(data)?.front_end();
        // As a pool would: what a process that was killed has left at the end becomes durable, or is cut off.
        let settings = journal::Settings {
            front_end,
            ..journal::Settings::default()
        };
        let (journal, _) = Journal::open(opened()?, settings)?;
        let durable = journal.durable().next();
        drop(journal);
        let replay = Replay::open(data)?;
        Ok(Self {
            follower: Follower::new(opened()?, replay.first_sequence()),
            replay,
            front_end,
            durable,
        })
    }

    /// Counts everything.
    fn pour(mut self, store: &mut dyn Store, mut told: impl FnMut(u64)) -> Result<Rebuilt, Exit> {
        let first = self.replay.first_sequence();
        store.seed(self.front_end, self.replay.base(), first)?;
        let (mut records, mut count) = (Vec::new(), 0);
        while self.follower.next_sequence() < self.durable {
            records.clear();
            let read = self.follower.read(self.durable, BATCH, &mut records);
            read.map_err(|error| Exit::failed(error.to_string()))?;
            count += store.apply(self.front_end, &records)?.records;
            told(count);
        }
        store.settle()?;
        Ok(Rebuilt {
            place: store.describe(),
            front_end: self.front_end,
            records: count,
            taken_away: first - 1,
        })
    }
}

fn rebuild_file(place: &Path, source: Source, told: impl FnMut(u64)) -> Result<Rebuilt, Exit> {
    belongs_to(place, source.front_end)?;
    let fresh = beside(place, ".rebuilding");
    let failed = |error: std::io::Error| Exit::failed(format!("cannot make {}: {error}", fresh.display()));
    remove(&fresh).map_err(failed)?;
    let mut store = Sqlite::open(&fresh, Access::Write)?;
    migrate(&mut store)?;
    let rebuilt = source.pour(&mut store, told)?;
    // One file, without a log beside it.
    store.batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE;")?;
    drop(store);
    take_place(&fresh, place)
        .map_err(|error| Exit::failed(format!("cannot put {} in place: {error}", place.display())))?;
    Ok(Rebuilt {
        place: format!("sqlite:{}", place.display()),
        ..rebuilt
    })
}

/// A file of several front ends cannot be made from the journal of one.
fn belongs_to(place: &Path, front_end: u16) -> Result<(), Exit> {
    if !place.exists() {
        return Ok(());
    }
    let db = Db::Sqlite(Some(place.to_owned()));
    let others = db.open_to_read().and_then(|mut store| {
        store.rows(
            "SELECT front_end FROM positions WHERE front_end <> $1 LIMIT 1",
            &[Value::Int(front_end.into())],
        )
    });
    match others {
        Ok(rows) => match rows.first().map(|row| row.int(0)).transpose()? {
            Some(other) => Err(Exit::failed(format!(
                "{} also holds the records of front end {other}",
                place.display()
            ))
            .help("give each front end a file of its own, or use PostgreSQL")),
            None => Ok(()),
        },
        Err(error @ StoreError::Newer { .. }) => Err(error.into()),
        // That is what it is made again for.
        Err(_) => Ok(()),
    }
}

/// Removes a database with its log.
fn remove(place: &Path) -> std::io::Result<()> {
    for ending in ["", "-wal", "-shm", "-journal"] {
        match fs::remove_file(beside(place, ending)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The new file takes the old one's place. The log of the old one must not be there when the new one is: where this is
/// interrupted there may be no database for a moment, and the next start makes one from the journal.
fn take_place(fresh: &Path, place: &Path) -> std::io::Result<()> {
    fs::File::open(fresh)?.sync_all()?;
    remove(place)?;
    fs::rename(fresh, place)?;
    match place.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn beside(place: &Path, ending: &str) -> PathBuf {
    let mut name = place.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Into a schema of its own; then one transaction moves the rows, and those of other front ends stay as they are.
fn rebuild_schema(url: &str, source: Source, told: impl FnMut(u64)) -> Result<Rebuilt, Exit> {
    let front_end = source.front_end;
    let fresh = format!("adit_rebuild_{front_end}");
    let mut main = Postgres::open(url, postgres::SCHEMA, true, SWAP_PATIENCE)?;
    migrate(&mut main)?;
    main.batch(&format!("DROP SCHEMA IF EXISTS {fresh} CASCADE"))?;
    let mut store = Postgres::open(url, &fresh, true, SWAP_PATIENCE)?;
    migrate(&mut store)?;
    let rebuilt = source.pour(&mut store, told)?;
    drop(store);
    transaction(&mut main, Purpose::Write, |main| {
        for table in TABLES {
            let number = [Value::Int(front_end.into())];
            main.run(&format!("DELETE FROM {table} WHERE front_end = $1"), &number)?;
            main.batch(&format!("INSERT INTO {table} SELECT * FROM {fresh}.{table}"))?;
        }
        main.batch(&format!("DROP SCHEMA {fresh} CASCADE"))
    })?;
    Ok(rebuilt)
}
