//! Records into a database, each exactly once.
//!
//! The position moves in the same transaction as the sums. Whatever comes twice is skipped by its sequence,
//! whatever is missing is refused, and what is of another journal is told by the checksum of the last record.

use adit_ledger::{AccountId, Book, Record};

use super::delta::{ALL, Delta, Tally, turned};
use super::error::StoreError;
use super::store::{Kind, Purpose, Row, Store, Upsert, Value, at_most, bytes, int, text, transaction, work};

/// How far a database has counted a front end's records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The last record that is counted; 0 before there is one.
    pub last: u64,
    /// Its checksum, see [`Record::mark`]; 0 where it is not known.
    pub mark: u32,
    /// Its time, Unix microseconds.
    pub last_us: u64,
    /// The highest start epoch.
    pub epoch: u32,
    /// Starts of a process.
    pub starts: u64,
    /// The first record that was counted one by one; what is before it came as a sum.
    pub first: u64,
}

/// What `Store::apply` did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Records that were new.
    pub records: u64,
    /// The last record that is counted now.
    pub last: u64,
}

impl dyn Store + '_ {
    /// How far the database has counted the records of a front end.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn position(&mut self, front_end: u16) -> Result<Position, StoreError> {
        let rows = self.rows(POSITION, &[Value::Int(front_end.into())])?;
        rows.first().map_or(Ok(Position::default()), position)
    }

    /// Counts the records of a front end that it has not counted yet: all or none. `records` are in order and without gaps;
    /// they may begin with some that are known.
    ///
    /// # Errors
    /// [`StoreError::Gap`] when they do not follow what it has, [`StoreError::OtherJournal`] when what it has are
    /// others, and whatever keeps the database from answering.
    pub fn apply(&mut self, front_end: u16, records: &[Record]) -> Result<Applied, StoreError> {
        let place = records.first().map_or(1, |record| record.sequence);
        let ordered = (place..)
            .zip(records)
            .all(|(wanted, record)| record.sequence == wanted && record.front_end == front_end);
        if !ordered {
            return Err(StoreError::Broken(
                "records of two front ends, or out of order, in one batch".into(),
            ));
        }
        let store: &mut dyn Store = &mut *self;
        transaction(store, Purpose::Write, |store| {
            let before = locked(store, front_end)?;
            let fresh = fresh(&before, front_end, records)?;
            let Some(last) = fresh.last() else {
                return Ok(Applied {
                    records: 0,
                    last: before.last,
                });
            };
            let delta = Delta::of(fresh, before.last_us);
            write(store, front_end, &delta)?;
            let first = if before.first == 0 { 1 } else { before.first };
            let now = Position {
                last: last.sequence,
                mark: last.mark(),
                last_us: delta.last_us,
                epoch: before.epoch.max(delta.epoch),
                starts: before.starts + delta.starts,
                first,
            };
            advance(store, front_end, &now, delta.software.as_deref())?;
            Ok(Applied {
                records: fresh.len() as u64,
                last: last.sequence,
            })
        })
    }

    /// Begins with the sums of records that nobody has any more: those before `next`. Does nothing where something is
    /// counted already.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn seed(&mut self, front_end: u16, book: &Book, next: u64) -> Result<(), StoreError> {
        let store: &mut dyn Store = &mut *self;
        transaction(store, Purpose::Write, |store| {
            let before = locked(store, front_end)?;
            if before.last > 0 || next <= 1 {
                return Ok(());
            }
            let delta = Delta::of_book(book);
            write(store, front_end, &delta)?;
            let now = Position {
                last: next - 1,
                starts: delta.starts,
                first: next,
                ..Position::default()
            };
            advance(store, front_end, &now, None)
        })
    }
}

const POSITION: &str = "SELECT last, mark, last_us, epoch, starts, first FROM positions WHERE front_end = $1";

fn position(row: &Row) -> Result<Position, StoreError> {
    Ok(Position {
        last: row.int(0)?,
        mark: row.narrow(1)?,
        last_us: row.int(2)?,
        epoch: row.narrow(3)?,
        starts: row.int(4)?,
        first: row.int(5)?,
    })
}

/// The position, which nobody else can move until the transaction ends.
fn locked(store: &mut dyn Store, front_end: u16) -> Result<Position, StoreError> {
    let number = Value::Int(front_end.into());
    store.run(
        "INSERT INTO positions (front_end, last, mark, last_us, epoch, starts, first, software)
         VALUES ($1, 0, 0, 0, 0, 0, 0, '') ON CONFLICT (front_end) DO NOTHING",
        std::slice::from_ref(&number),
    )?;
    let statement = format!("{POSITION}{}", store.dialect().for_update);
    let rows = store.rows(&statement, &[number])?;
    let row = rows
        .first()
        .ok_or_else(|| StoreError::Broken("a position has vanished".into()))?;
    position(row)
}

fn advance(
    store: &mut dyn Store,
    front_end: u16,
    now: &Position,
    software: Option<&str>,
) -> Result<(), StoreError> {
    let values = [
        int(now.last)?,
        Value::Int(now.mark.into()),
        at_most(now.last_us),
        Value::Int(now.epoch.into()),
        int(now.starts)?,
        int(now.first)?,
        Value::Int(front_end.into()),
    ];
    store.run(
        "UPDATE positions SET last = $1, mark = $2, last_us = $3, epoch = $4, starts = $5, first = $6 WHERE front_end = $7",
        &values,
    )?;
    if let Some(software) = software {
        store.run(
            "UPDATE positions SET software = $1 WHERE front_end = $2",
            &[text(software), Value::Int(front_end.into())],
        )?;
    }
    Ok(())
}

/// What of `records` is not counted yet.
fn fresh<'a>(before: &Position, front_end: u16, records: &'a [Record]) -> Result<&'a [Record], StoreError> {
    let Some(first) = records.first() else {
        return Ok(records);
    };
    if first.sequence > before.last + 1 {
        return Err(StoreError::Gap {
            wanted: before.last + 1,
            given: first.sequence,
        });
    }
    let known = usize::try_from(before.last + 1 - first.sequence).unwrap_or(usize::MAX);
    if let Some(same) = known.checked_sub(1).and_then(|last| records.get(last)) {
        before.check(front_end, same)?;
    }
    Ok(records.get(known..).unwrap_or_default())
}

impl Position {
    /// Whether `record`, which has the place of the last one that is counted, is that one.
    ///
    /// # Errors
    /// [`StoreError::OtherJournal`] when it is not.
    pub fn check(&self, front_end: u16, record: &Record) -> Result<(), StoreError> {
        if self.mark == 0 || (record.sequence == self.last && record.mark() == self.mark) {
            return Ok(());
        }
        Err(StoreError::OtherJournal {
            front_end,
            last: self.last,
        })
    }
}

fn write(store: &mut dyn Store, front_end: u16, delta: &Delta) -> Result<(), StoreError> {
    let fe = || Value::Int(front_end.into());
    names(store, front_end, delta)?;
    let rows = |(key, tally): (&(AccountId, AccountId), &Tally)| tally_row(key, front_end, tally);
    let tallies: Vec<_> = delta.tallies.iter().map(rows).collect::<Result<_, _>>()?;
    store.upsert(&TALLIES, &tallies)?;
    let mut history = Vec::with_capacity(delta.history.len());
    for (((account, worker), resolution, start), (shares, sum)) in &delta.history {
        let [hi, lo] = work(*sum)?;
        let place = [
            bytes(account),
            bytes(worker),
            int(*resolution)?,
            int(*start)?,
            fe(),
        ];
        history.push([&place[..], &[int(*shares)?, hi, lo]].concat());
    }
    store.upsert(&HISTORY, &history)?;
    let mut rejects = Vec::with_capacity(delta.rejects.len());
    for (((account, worker), resolution, start, reason), count) in &delta.rejects {
        let place = [bytes(account), bytes(worker), int(*resolution)?, int(*start)?];
        rejects.push([&place[..], &[text(reason), fe(), int(*count)?]].concat());
    }
    store.upsert(&REJECTS, &rejects)?;
    let mut best = Vec::with_capacity(delta.best.len());
    for ((day, (account, worker)), share) in &delta.best {
        best.push(vec![
            int(*day)?,
            bytes(account),
            bytes(worker),
            fe(),
            bytes(&share.best_hash),
            bytes(&share.best_share.0.to_be_bytes()),
            Value::Int(share.best_share.1.into()),
            at_most(share.best_us),
        ]);
    }
    store.upsert(&BEST, &best)?;
    sessions(store, front_end, delta)?;
    blocks(store, front_end, delta)?;
    payouts(store, front_end, delta)
}

fn tally_row(
    (account, worker): &(AccountId, AccountId),
    front_end: u16,
    tally: &Tally,
) -> Result<Vec<Value>, StoreError> {
    let [hi, lo] = work(tally.work)?;
    Ok(vec![
        bytes(account),
        bytes(worker),
        Value::Int(front_end.into()),
        int(tally.shares)?,
        hi,
        lo,
        at_most(tally.first_us),
        at_most(tally.last_us),
        bytes(&tally.best_work.to_be_bytes()),
        bytes(&tally.best_hash),
        at_most(tally.best_us),
        int(tally.blocks)?,
        int(tally.rejected)?,
        int(tally.paid)?,
        int(tally.unpaid)?,
    ])
}

/// Names of accounts come in parts, which may stand in two batches.
fn names(store: &mut dyn Store, front_end: u16, delta: &Delta) -> Result<(), StoreError> {
    let fe = || Value::Int(front_end.into());
    let part = |part: &adit_ledger::record::AccountPart| {
        vec![
            bytes(&part.account),
            Value::Int(part.part.into()),
            fe(),
            Value::Int(part.parts.into()),
            bytes(part.chunk()),
        ]
    };
    let parts: Vec<_> = delta.parts.values().map(part).collect();
    store.upsert(&NAME_PARTS, &parts)?;
    let mut touched: Vec<_> = delta.parts.keys().map(|(account, _)| *account).collect();
    touched.dedup();
    let mut whole = Vec::with_capacity(touched.len());
    for account in touched {
        let rows = store.rows(
            "SELECT parts, chunk FROM name_parts WHERE account = $1 AND front_end = $2 ORDER BY part",
            &[bytes(&account), fe()],
        )?;
        let wanted = rows.first().map_or(Ok(0), |row| row.int(0))?;
        if rows.len() as u64 >= wanted {
            let name: Vec<u8> = rows.iter().flat_map(|row| row.any_bytes(1)).copied().collect();
            whole.push(vec![bytes(&account), fe(), text(&String::from_utf8_lossy(&name))]);
        }
    }
    store.upsert(&ACCOUNTS, &whole)?;
    let worker = |((account, worker), name): (&(AccountId, AccountId), &String)| {
        vec![bytes(account), bytes(worker), fe(), text(name)]
    };
    let workers: Vec<_> = delta.workers.iter().map(worker).collect();
    store.upsert(&WORKERS, &workers)
}

fn sessions(store: &mut dyn Store, front_end: u16, delta: &Delta) -> Result<(), StoreError> {
    if let Some((epoch, ended_us)) = delta.restart {
        store.run(
            "UPDATE sessions SET closed_us = CASE WHEN opened_us > $1 THEN opened_us ELSE $2 END, ending = 0
             WHERE closed_us = 0 AND front_end = $3 AND epoch < $4",
            &[
                at_most(ended_us),
                at_most(ended_us),
                Value::Int(front_end.into()),
                Value::Int(epoch.into()),
            ],
        )?;
    }
    let mut rows = Vec::with_capacity(delta.sessions.len());
    for ((epoch, number), session) in &delta.sessions {
        let opened = session.opened.as_ref();
        let (closed_us, ending) = session.closed.unwrap_or((0, 0));
        rows.push(vec![
            Value::Int(front_end.into()),
            Value::Int((*epoch).into()),
            int(*number)?,
            bytes(&session.account),
            bytes(&opened.and_then(|it| it.worker).unwrap_or(ALL)),
            int(opened.map_or(0, |it| it.channel))?,
            Value::Int(opened.map_or(0, |it| it.kind as i64)),
            Value::Int(opened.map_or(0, |it| it.protocol as i64)),
            text(
                &opened
                    .map(adit_ledger::record::SessionOpened::device)
                    .unwrap_or_default(),
            ),
            at_most(opened.map_or(0, |it| it.time_us)),
            at_most(closed_us),
            Value::Int(ending.into()),
        ]);
    }
    store.upsert(&SESSIONS, &rows)
}

fn blocks(store: &mut dyn Store, front_end: u16, delta: &Delta) -> Result<(), StoreError> {
    let (mut found, mut outcomes) = (Vec::new(), Vec::new());
    for (hash, block) in &delta.blocks {
        let height = |height: u32| Value::Int(height.into());
        if let Some((it, at)) = &block.found {
            found.push(vec![
                bytes(hash),
                Value::Int(front_end.into()),
                height(it.height),
                int(it.value)?,
                bytes(&it.account),
                bytes(&it.worker.unwrap_or(ALL)),
                int(it.channel)?,
                at_most(*at),
                Value::Int(0),
                Value::Int(0),
                text(""),
                Value::Int(0),
            ]);
        }
        if let Some((note, at)) = &block.outcome {
            outcomes.push(vec![
                bytes(hash),
                Value::Int(front_end.into()),
                height(note.height),
                Value::Int(0),
                bytes(&ALL),
                bytes(&ALL),
                Value::Int(0),
                Value::Int(0),
                Value::Int(note.outcome as i64),
                Value::Int(note.confirmations.into()),
                text(&note.reason()),
                at_most(*at),
            ]);
        }
    }
    store.upsert(&BLOCKS_FOUND, &found)?;
    store.upsert(&BLOCKS_OUTCOME, &outcomes)
}

fn payouts(store: &mut dyn Store, front_end: u16, delta: &Delta) -> Result<(), StoreError> {
    let mut rows = Vec::with_capacity(delta.payouts.len());
    for ((batch, account), (payout, at)) in &delta.payouts {
        rows.push(vec![
            bytes(batch),
            bytes(account),
            Value::Int(front_end.into()),
            int(payout.satoshis)?,
            int(payout.fee)?,
            bytes(&turned(payout.txid)),
            Value::Int(payout.vout.into()),
            Value::Int(payout.height.into()),
            Value::Int(payout.state as i64),
            at_most(*at),
        ]);
    }
    store.upsert(&PAYOUTS, &rows)
}

use Kind::{Bytes, Int, Text};

static NAME_PARTS: Upsert = Upsert {
    table: "name_parts",
    columns: &[
        ("account", Bytes),
        ("part", Int),
        ("front_end", Int),
        ("parts", Int),
        ("chunk", Bytes),
    ],
    key: "account, part, front_end",
    change: "parts = excluded.parts, chunk = excluded.chunk",
};

static ACCOUNTS: Upsert = Upsert {
    table: "accounts",
    columns: &[("account", Bytes), ("front_end", Int), ("name", Text)],
    key: "account, front_end",
    change: "name = excluded.name",
};

static WORKERS: Upsert = Upsert {
    table: "workers",
    columns: &[
        ("account", Bytes),
        ("worker", Bytes),
        ("front_end", Int),
        ("name", Text),
    ],
    key: "account, worker, front_end",
    change: "name = excluded.name",
};

static TALLIES: Upsert = Upsert {
    table: "tallies",
    columns: &[
        ("account", Bytes),
        ("worker", Bytes),
        ("front_end", Int),
        ("shares", Int),
        ("work_hi", Int),
        ("work_lo", Int),
        ("first_us", Int),
        ("last_us", Int),
        ("best_work", Bytes),
        ("best_hash", Bytes),
        ("best_us", Int),
        ("blocks", Int),
        ("rejected", Int),
        ("paid", Int),
        ("unpaid", Int),
    ],
    key: "account, worker, front_end",
    change: "shares = tallies.shares + excluded.shares,
        work_hi = tallies.work_hi + excluded.work_hi + (tallies.work_lo + excluded.work_lo) / 1000000000000,
        work_lo = (tallies.work_lo + excluded.work_lo) % 1000000000000,
        first_us = CASE WHEN excluded.first_us < tallies.first_us THEN excluded.first_us ELSE tallies.first_us END,
        last_us = CASE WHEN excluded.last_us > tallies.last_us THEN excluded.last_us ELSE tallies.last_us END,
        best_work = CASE WHEN excluded.best_work > tallies.best_work THEN excluded.best_work ELSE tallies.best_work END,
        best_us = CASE WHEN excluded.best_hash < tallies.best_hash THEN excluded.best_us ELSE tallies.best_us END,
        best_hash = CASE WHEN excluded.best_hash < tallies.best_hash THEN excluded.best_hash ELSE tallies.best_hash END,
        blocks = tallies.blocks + excluded.blocks,
        rejected = tallies.rejected + excluded.rejected,
        paid = tallies.paid + excluded.paid,
        unpaid = tallies.unpaid + excluded.unpaid",
};

static HISTORY: Upsert = Upsert {
    table: "history",
    columns: &[
        ("account", Bytes),
        ("worker", Bytes),
        ("resolution", Int),
        ("start_s", Int),
        ("front_end", Int),
        ("shares", Int),
        ("work_hi", Int),
        ("work_lo", Int),
    ],
    key: "account, worker, resolution, start_s, front_end",
    change: "shares = history.shares + excluded.shares,
        work_hi = history.work_hi + excluded.work_hi + (history.work_lo + excluded.work_lo) / 1000000000000,
        work_lo = (history.work_lo + excluded.work_lo) % 1000000000000",
};

static REJECTS: Upsert = Upsert {
    table: "rejects",
    columns: &[
        ("account", Bytes),
        ("worker", Bytes),
        ("resolution", Int),
        ("start_s", Int),
        ("reason", Text),
        ("front_end", Int),
        ("refused", Int),
    ],
    key: "account, worker, resolution, start_s, reason, front_end",
    change: "refused = rejects.refused + excluded.refused",
};

static BEST: Upsert = Upsert {
    table: "best_shares",
    columns: &[
        ("day", Int),
        ("account", Bytes),
        ("worker", Bytes),
        ("front_end", Int),
        ("hash", Bytes),
        ("work", Bytes),
        ("height", Int),
        ("found_us", Int),
    ],
    key: "day, account, worker, front_end",
    change: "work = CASE WHEN excluded.hash < best_shares.hash THEN excluded.work ELSE best_shares.work END,
        height = CASE WHEN excluded.hash < best_shares.hash THEN excluded.height ELSE best_shares.height END,
        found_us = CASE WHEN excluded.hash < best_shares.hash THEN excluded.found_us ELSE best_shares.found_us END,
        hash = CASE WHEN excluded.hash < best_shares.hash THEN excluded.hash ELSE best_shares.hash END",
};

static SESSIONS: Upsert = Upsert {
    table: "sessions",
    columns: &[
        ("front_end", Int),
        ("epoch", Int),
        ("session", Int),
        ("account", Bytes),
        ("worker", Bytes),
        ("channel", Int),
        ("kind", Int),
        ("protocol", Int),
        ("device", Text),
        ("opened_us", Int),
        ("closed_us", Int),
        ("ending", Int),
    ],
    key: "front_end, epoch, session",
    change: "closed_us = excluded.closed_us, ending = excluded.ending",
};

const BLOCK_COLUMNS: &[(&str, Kind)] = &[
    ("hash", Bytes),
    ("front_end", Int),
    ("height", Int),
    ("satoshis", Int),
    ("account", Bytes),
    ("worker", Bytes),
    ("channel", Int),
    ("found_us", Int),
    ("outcome", Int),
    ("confirmations", Int),
    ("reason", Text),
    ("outcome_us", Int),
];

static BLOCKS_FOUND: Upsert = Upsert {
    table: "blocks",
    columns: BLOCK_COLUMNS,
    key: "hash, front_end",
    change: "height = excluded.height, satoshis = excluded.satoshis, account = excluded.account, worker = excluded.worker,
        channel = excluded.channel, found_us = excluded.found_us",
};

static BLOCKS_OUTCOME: Upsert = Upsert {
    table: "blocks",
    columns: BLOCK_COLUMNS,
    key: "hash, front_end",
    change: "outcome = excluded.outcome, confirmations = excluded.confirmations, reason = excluded.reason,
        outcome_us = excluded.outcome_us",
};

static PAYOUTS: Upsert = Upsert {
    table: "payouts",
    columns: &[
        ("batch", Bytes),
        ("account", Bytes),
        ("front_end", Int),
        ("satoshis", Int),
        ("fee", Int),
        ("txid", Bytes),
        ("vout", Int),
        ("height", Int),
        ("state", Int),
        ("changed_us", Int),
    ],
    key: "batch, account, front_end",
    change: "satoshis = excluded.satoshis, fee = excluded.fee, txid = excluded.txid, vout = excluded.vout,
        height = excluded.height, state = excluded.state, changed_us = excluded.changed_us",
};
