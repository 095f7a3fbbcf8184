//! Do journal, book and database agree, to the last unit of work?

use std::collections::BTreeMap;
use std::path::Path;

use adit_ledger::verify::Replay;
use adit_ledger::{AccountBook, AccountId, Book};

use super::apply::Position;
use super::delta::{ALL, Key, Tally};
use super::error::StoreError;
use super::store::{Purpose, Row, Store, Value, bytes, transaction};
use crate::exit::Exit;
use crate::observe::text::clean;

/// Rows read at once.
const PAGE: i64 = 10_000;

/// What was found to agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The database.
    pub place: String,
    /// The last record that it has counted.
    pub last: u64,
    /// Records of the journal that it has not counted yet.
    pub behind: u64,
    /// Accounts that were compared.
    pub accounts: u64,
    /// Workers that were compared.
    pub workers: u64,
    /// Whether the history was summed up and compared as well: only where all of it is kept.
    pub history: bool,
}

/// Holds the database against the journal in `data` at the record that the database has counted last: account by account,
/// worker by worker, every sum. `history_is_whole`: hours are kept for ever, so that they must sum up to the same.
///
/// # Errors
/// The first difference, with both values and what to do; or what keeps journal or database from being read.
pub fn compare(store: &mut dyn Store, data: &Path, history_is_whole: bool) -> Result<Agreement, Exit> {
    let broken = |error: adit_ledger::JournalError| Exit::failed(error.to_string());
    let replay = Replay::open(data).map_err(broken)?;
    let front_end = replay.front_end();
    let kept = transaction(store, Purpose::Read, |store| {
        Kept::read(store, front_end, history_is_whole)
    })?;
    let (position, first) = (kept.position, replay.first_sequence());
    if position.last + 1 < first {
        return Err(differs(format!(
            "the database ends at record {}, and the journal begins at {first}",
            position.last
        )));
    }
    let (mut book, mut last, mut others) = (replay.base().clone(), first - 1, None);
    replay
        .run(|record| {
            last = record.sequence;
            if record.sequence <= position.last {
                book.apply(record);
            }
            if record.sequence == position.last {
                others = position.check(front_end, record).err();
            }
        })
        .map_err(broken)?;
    if let Some(error) = others {
        return Err(error.into());
    }
    if position.last > last {
        return Err(differs(format!(
            "the database has counted {} records, and the journal has {last}",
            position.last
        )));
    }
    kept.hold_against(&book)?;
    Ok(Agreement {
        place: store.describe(),
        last: position.last,
        behind: last - position.last,
        accounts: book.accounts().len() as u64,
        workers: book.workers().len() as u64,
        history: kept.hours.is_some(),
    })
}

fn differs(what: String) -> Exit {
    Exit::failed(what).help(
        "the journal is the truth, and it is whole: make the database again with `adit ledger rebuild`; if this comes again, \
         keep both and report it",
    )
}

/// What a database has of one front end, read at one moment.
struct Kept {
    position: Position,
    tallies: BTreeMap<Key, Tally>,
    /// Shares and work of all hours.
    hours: Option<BTreeMap<Key, (u64, u128)>>,
}

impl Kept {
    fn read(store: &mut dyn Store, front_end: u16, history_is_whole: bool) -> Result<Self, StoreError> {
        let position = store.position(front_end)?;
        let tallies = pages(store, front_end, TALLIES, tally)?;
        let hours = match history_is_whole && position.first <= 1 {
            true => Some(pages(store, front_end, HOURS, |row| {
                Ok((row.int(2)?, row.work(3)?))
            })?),
            false => None,
        };
        Ok(Self {
            position,
            tallies,
            hours,
        })
    }

    fn hold_against(&self, book: &Book) -> Result<(), Exit> {
        let mut expected = BTreeMap::new();
        let mut pool = Tally::default();
        for (account, sums) in book.accounts() {
            let tally = Tally::of(sums);
            pool.add(&tally);
            expected.insert((*account, ALL), tally);
        }
        for ((account, worker), sums) in book.workers() {
            expected.insert((*account, *worker), Tally::of(sums));
        }
        pool.rejected = book.rejected;
        expected.insert((ALL, ALL), pool);
        let nothing = Tally::default();
        for key in expected.keys().chain(self.tallies.keys()) {
            let journal = expected.get(key).unwrap_or(&nothing);
            let database = self.tallies.get(key).unwrap_or(&nothing);
            first_difference(journal, database).map_or(Ok(()), |what| {
                Err(differs(format!("{}: {what}", name(book, *key))))
            })?;
            let Some(hours) = &self.hours else { continue };
            let hours = hours.get(key).copied().unwrap_or_default();
            if hours != (journal.shares, journal.work) {
                return Err(differs(format!(
                    "{}: {} shares and {} of work are in the journal, and {} and {} in the hours of the database",
                    name(book, *key),
                    journal.shares,
                    journal.work,
                    hours.0,
                    hours.1
                )));
            }
        }
        if self.position.starts != book.starts {
            return Err(differs(format!(
                "starts: {} in the journal, {} in the database",
                book.starts, self.position.starts
            )));
        }
        Ok(())
    }
}

/// What differs first, in words.
fn first_difference(journal: &Tally, database: &Tally) -> Option<String> {
    let number = |it: u64| u128::from(it);
    let sums = |it: &Tally| {
        [
            ("shares", number(it.shares)),
            ("work", it.work),
            ("blocks", number(it.blocks)),
            ("refused shares", number(it.rejected)),
            ("satoshis paid", number(it.paid)),
            ("satoshis not paid after all", number(it.unpaid)),
            ("time of the first share", number(it.first_us)),
            ("time of the last share", number(it.last_us)),
            ("work of the best share", number(it.best_work)),
        ]
    };
    let mut pairs = sums(journal).into_iter().zip(sums(database));
    let told = pairs.find_map(|((what, a), (_, b))| {
        (a != b).then(|| format!("{what} is {a} in the journal and {b} in the database"))
    });
    let best = (journal.best_hash != database.best_hash).then(|| "the best hash differs".to_owned());
    told.or(best)
}

fn name(book: &Book, (account, worker): Key) -> String {
    if account == ALL {
        return "the pool".into();
    }
    let named = |sums: Option<&AccountBook>, id: &AccountId| {
        let name = sums.and_then(AccountBook::name).map(|name| clean(&name));
        let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        name.map_or_else(|| hex.clone(), |name| format!("{name} ({hex})"))
    };
    let owner = named(book.account(&account), &account);
    match worker {
        ALL => format!("account {owner}"),
        worker => format!(
            "worker {} of account {owner}",
            named(book.worker_of(&account, &worker), &worker)
        ),
    }
}

const TALLIES: &str =
    "SELECT account, worker, shares, work_hi, work_lo, first_us, last_us, best_work, best_hash, blocks,
        rejected, paid, unpaid
    FROM tallies WHERE front_end = $1 AND (account > $2 OR (account = $3 AND worker > $4))
    ORDER BY account, worker LIMIT $5";

const HOURS: &str = "SELECT account, worker, CAST(SUM(shares) AS BIGINT), CAST(SUM(work_hi) AS BIGINT),
        CAST(SUM(work_lo) AS BIGINT)
    FROM history WHERE front_end = $1 AND resolution = 3600 AND (account > $2 OR (account = $3 AND worker > $4))
    GROUP BY account, worker ORDER BY account, worker LIMIT $5";

fn tally(row: &Row) -> Result<Tally, StoreError> {
    let shares = row.int(2)?;
    Ok(Tally {
        shares,
        work: row.work(3)?,
        first_us: if shares == 0 { u64::MAX } else { row.int(5)? },
        last_us: row.int(6)?,
        best_work: row.one_work(7)?,
        best_hash: row.bytes(8)?,
        blocks: row.int(9)?,
        rejected: row.int(10)?,
        paid: row.int(11)?,
        unpaid: row.int(12)?,
        ..Tally::default()
    })
}

/// All rows of a statement, page by page. The key of the pool is the first there can be, so it is asked for by itself.
fn pages<T>(
    store: &mut dyn Store,
    front_end: u16,
    statement: &str,
    read: impl Fn(&Row) -> Result<T, StoreError>,
) -> Result<BTreeMap<Key, T>, StoreError> {
    let mut all = BTreeMap::new();
    // Before everything: the pool's own key is all zeros, sixteen of them.
    let mut after: (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
    loop {
        let values = [
            Value::Int(front_end.into()),
            bytes(&after.0),
            bytes(&after.0),
            bytes(&after.1),
            Value::Int(PAGE),
        ];
        let rows = store.rows(statement, &values)?;
        for row in &rows {
            let key: Key = (row.bytes(0)?, row.bytes(1)?);
            after = (key.0.to_vec(), key.1.to_vec());
            all.insert(key, read(row)?);
        }
        if (rows.len() as i64) < PAGE {
            return Ok(all);
        }
    }
}
