//! The tables, as one list of changes that both databases run.

use super::error::StoreError;
use super::store::{Purpose, Store, Value, transaction};

/// Every change, oldest first. A released one is never altered; the next one comes behind it.
const MIGRATIONS: &[&str] = &[
    // 1: everything that is counted. Each row belongs to a front end: front ends never wait for each other, and one can be
    // made again, or proven, alone. Ids and hashes are bytes; hashes stand with their highest byte first, so that the
    // smaller one sorts first. Work is two columns, see `store::WORK_UNIT`.
    "
    CREATE TABLE positions (
        front_end {int} NOT NULL, last {int} NOT NULL, mark {int} NOT NULL, last_us {int} NOT NULL,
        epoch {int} NOT NULL, starts {int} NOT NULL, first {int} NOT NULL, software TEXT NOT NULL,
        PRIMARY KEY (front_end)
    ){table};
    CREATE TABLE accounts (
        account {bytes} NOT NULL, front_end {int} NOT NULL, name TEXT NOT NULL,
        PRIMARY KEY (account, front_end)
    ){table};
    CREATE INDEX accounts_by_name ON accounts (name);
    CREATE TABLE name_parts (
        account {bytes} NOT NULL, part {int} NOT NULL, front_end {int} NOT NULL, parts {int} NOT NULL,
        chunk {bytes} NOT NULL,
        PRIMARY KEY (account, part, front_end)
    ){table};
    CREATE TABLE workers (
        account {bytes} NOT NULL, worker {bytes} NOT NULL, front_end {int} NOT NULL, name TEXT NOT NULL,
        PRIMARY KEY (account, worker, front_end)
    ){table};
    CREATE TABLE tallies (
        account {bytes} NOT NULL, worker {bytes} NOT NULL, front_end {int} NOT NULL,
        shares {int} NOT NULL, work_hi {int} NOT NULL, work_lo {int} NOT NULL,
        first_us {int} NOT NULL, last_us {int} NOT NULL,
        best_work {bytes} NOT NULL, best_hash {bytes} NOT NULL, best_us {int} NOT NULL,
        blocks {int} NOT NULL, rejected {int} NOT NULL, paid {int} NOT NULL, unpaid {int} NOT NULL,
        PRIMARY KEY (account, worker, front_end)
    ){table};
    CREATE INDEX tallies_by_worker ON tallies (worker, account);
    CREATE TABLE history (
        account {bytes} NOT NULL, worker {bytes} NOT NULL, resolution {int} NOT NULL, start_s {int} NOT NULL,
        front_end {int} NOT NULL, shares {int} NOT NULL, work_hi {int} NOT NULL, work_lo {int} NOT NULL,
        PRIMARY KEY (account, worker, resolution, start_s, front_end)
    ){table};
    CREATE INDEX history_by_age ON history (resolution, start_s);
    CREATE TABLE rejects (
        account {bytes} NOT NULL, worker {bytes} NOT NULL, resolution {int} NOT NULL, start_s {int} NOT NULL,
        reason TEXT NOT NULL, front_end {int} NOT NULL, refused {int} NOT NULL,
        PRIMARY KEY (account, worker, resolution, start_s, reason, front_end)
    ){table};
    CREATE INDEX rejects_by_age ON rejects (resolution, start_s);
    CREATE TABLE best_shares (
        day {int} NOT NULL, account {bytes} NOT NULL, worker {bytes} NOT NULL, front_end {int} NOT NULL,
        hash {bytes} NOT NULL, work {bytes} NOT NULL, height {int} NOT NULL, found_us {int} NOT NULL,
        PRIMARY KEY (day, account, worker, front_end)
    ){table};
    CREATE TABLE sessions (
        front_end {int} NOT NULL, epoch {int} NOT NULL, session {int} NOT NULL,
        account {bytes} NOT NULL, worker {bytes} NOT NULL, channel {int} NOT NULL, kind {int} NOT NULL,
        protocol {int} NOT NULL, device TEXT NOT NULL,
        opened_us {int} NOT NULL, closed_us {int} NOT NULL, ending {int} NOT NULL,
        PRIMARY KEY (front_end, epoch, session)
    ){table};
    CREATE INDEX sessions_by_account ON sessions (account, opened_us);
    CREATE INDEX sessions_by_opening ON sessions (opened_us);
    CREATE INDEX sessions_by_end ON sessions (closed_us);
    CREATE TABLE blocks (
        hash {bytes} NOT NULL, front_end {int} NOT NULL, height {int} NOT NULL, satoshis {int} NOT NULL,
        account {bytes} NOT NULL, worker {bytes} NOT NULL, channel {int} NOT NULL, found_us {int} NOT NULL,
        outcome {int} NOT NULL, confirmations {int} NOT NULL, reason TEXT NOT NULL, outcome_us {int} NOT NULL,
        PRIMARY KEY (hash, front_end)
    ){table};
    CREATE INDEX blocks_by_height ON blocks (height, hash);
    CREATE INDEX blocks_by_account ON blocks (account, height);
    CREATE TABLE payouts (
        batch {bytes} NOT NULL, account {bytes} NOT NULL, front_end {int} NOT NULL,
        satoshis {int} NOT NULL, fee {int} NOT NULL, txid {bytes} NOT NULL, vout {int} NOT NULL,
        height {int} NOT NULL, state {int} NOT NULL, changed_us {int} NOT NULL,
        PRIMARY KEY (batch, account, front_end)
    ){table};
    CREATE INDEX payouts_by_time ON payouts (changed_us);
    CREATE INDEX payouts_by_account ON payouts (account, changed_us);
    ",
];

/// Every table that holds rows of front ends.
pub(super) const TABLES: [&str; 11] = [
    "positions",
    "accounts",
    "name_parts",
    "workers",
    "tallies",
    "history",
    "rejects",
    "best_shares",
    "sessions",
    "blocks",
    "payouts",
];

/// The version that [`migrate`] leads to.
pub(super) const KNOWN: u64 = MIGRATIONS.len() as u64;

/// Brings the tables up to date; does nothing where they are. Changes run in one transaction each.
pub(super) fn migrate(store: &mut dyn Store) -> Result<(), StoreError> {
    transaction(store, Purpose::Write, |store| {
        store.batch(store.dialect().alone)?;
        let versions = "CREATE TABLE IF NOT EXISTS schema_versions (
            version {int} NOT NULL, software TEXT NOT NULL, PRIMARY KEY (version)
        ){table};";
        store.batch(&spelled(store, versions))
    })?;
    while version(store)? < KNOWN {
        transaction(store, Purpose::Write, |store| {
            store.batch(store.dialect().alone)?;
            // Another process may have been faster.
            let done = version(store)?;
            let Some(change) = MIGRATIONS.get(done as usize) else {
                return Ok(());
            };
            store.batch(&spelled(store, change))?;
            store
                .run(
                    "INSERT INTO schema_versions (version, software) VALUES ($1, $2)",
                    &[Value::Int(done as i64 + 1), Value::Text(SOFTWARE.into())],
                )
                .map(drop)
        })?;
    }
    current(store)
}

/// Refuses tables that a newer adit has made.
pub(super) fn current(store: &mut dyn Store) -> Result<(), StoreError> {
    match version(store)? {
        found if found > KNOWN => Err(StoreError::Newer {
            place: store.describe(),
            found,
            known: KNOWN,
        }),
        _ => Ok(()),
    }
}

const SOFTWARE: &str = concat!("adit ", env!("CARGO_PKG_VERSION"));

fn version(store: &mut dyn Store) -> Result<u64, StoreError> {
    let rows = store.rows("SELECT MAX(version) FROM schema_versions", &[])?;
    rows.first().map_or(Ok(0), |row| row.int(0))
}

fn spelled(store: &dyn Store, statements: &str) -> String {
    let dialect = store.dialect();
    statements
        .replace("{int}", dialect.int)
        .replace("{bytes}", dialect.bytes)
        .replace("{table}", dialect.table)
}
