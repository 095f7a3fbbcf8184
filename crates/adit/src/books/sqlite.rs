//! SQLite: one file in the data folder, nothing to install.
//!
//! In WAL mode readers and the one writer do not wait for each other. `synchronous = NORMAL` may lose the
//! last transactions with the power, never a part of one: the position goes back with them, and the journal
//! gives the records again. What must not go back is settled first, see [`Store::settle`].

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, ToSql, params_from_iter};

use super::error::StoreError;
use super::store::{Dialect, Purpose, Row, Store, Upsert, Value};

/// How long another process may hold the file.
const PATIENCE: Duration = Duration::from_secs(5);
/// Statements that stay prepared.
const PREPARED_MAX: usize = 64;

static DIALECT: Dialect = Dialect {
    int: "INTEGER",
    bytes: "BLOB",
    table: " STRICT, WITHOUT ROWID",
    for_update: "",
    alone: "",
};

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Everything; makes the file.
    Write,
    /// Questions.
    Read,
}

/// A connection to a file.
#[derive(Debug)]
pub(super) struct Sqlite {
    connection: Connection,
    place: PathBuf,
}

impl Sqlite {
    pub(super) fn open(place: &Path, access: Access) -> Result<Self, StoreError> {
        let told = |error: String| StoreError::Away(format!("cannot open {}: {error}", place.display()));
        if access == Access::Write {
            make(place).map_err(|error| told(error.to_string()))?;
        } else if !place.exists() {
            return Err(told("there is no such file".into()));
        }
        let connection = Connection::open(place).map_err(|error| told(error.to_string()))?;
        let mut store = Self {
            connection,
            place: place.to_owned(),
        };
        store
            .connection
            .set_prepared_statement_cache_capacity(PREPARED_MAX);
        store.connection.busy_timeout(PATIENCE).map_err(failed)?;
        store.batch(match access {
            Access::Write => {
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -32768; \
                 PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 67108864; PRAGMA temp_store = MEMORY;"
            }
            Access::Read => "PRAGMA query_only = ON; PRAGMA cache_size = -8192; PRAGMA temp_store = MEMORY;",
        })?;
        Ok(store)
    }
}

/// The owner's alone, like everything in the data folder; SQLite's other files take its mode.
fn make(place: &Path) -> std::io::Result<()> {
    if let Some(folder) = place.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder)?;
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.open(place).map(drop)
}

fn failed(error: rusqlite::Error) -> StoreError {
    use ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, OutOfMemory, PermissionDenied, ReadOnly,
        SystemIoFailure,
    };
    match error.sqlite_error_code() {
        Some(
            DatabaseBusy | DatabaseLocked | DiskFull | SystemIoFailure | CannotOpen | OutOfMemory
            | PermissionDenied | ReadOnly,
        ) => StoreError::Away(error.to_string()),
        _ if error.to_string().contains("no such table") => StoreError::Away("nothing is counted yet".into()),
        _ => StoreError::Broken(error.to_string()),
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Int(value) => ToSqlOutput::from(*value),
            Self::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Null => ToSqlOutput::Borrowed(ValueRef::Null),
        })
    }
}

fn value(read: ValueRef<'_>) -> Result<Value, StoreError> {
    Ok(match read {
        ValueRef::Integer(value) => Value::Int(value),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Null => Value::Null,
        ValueRef::Real(_) => {
            return Err(StoreError::Broken(
                "a sum has become too large to be exact".into(),
            ));
        }
    })
}

/// SQLite writes `?1` where PostgreSQL writes `$1`.
fn spelled(statement: &str) -> String {
    statement.replace('$', "?")
}

impl Store for Sqlite {
    fn describe(&self) -> String {
        format!("sqlite:{}", self.place.display())
    }

    fn dialect(&self) -> &'static Dialect {
        &DIALECT
    }

    fn begin(&mut self, purpose: Purpose) -> Result<(), StoreError> {
        self.batch(match purpose {
            Purpose::Write => "BEGIN IMMEDIATE",
            Purpose::Read => "BEGIN DEFERRED",
        })
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        let done = self.batch("COMMIT");
        if done.is_err() {
            self.rollback();
        }
        done
    }

    fn rollback(&mut self) {
        // Some errors have ended the transaction already.
        if !self.connection.is_autocommit() {
            drop(self.batch("ROLLBACK"));
        }
    }

    fn batch(&mut self, statements: &str) -> Result<(), StoreError> {
        self.connection.execute_batch(statements).map_err(failed)
    }

    fn run(&mut self, statement: &str, values: &[Value]) -> Result<u64, StoreError> {
        let mut prepared = self
            .connection
            .prepare_cached(&spelled(statement))
            .map_err(failed)?;
        let changed = prepared.execute(params_from_iter(values)).map_err(failed)?;
        Ok(changed as u64)
    }

    fn rows(&mut self, statement: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        let mut prepared = self
            .connection
            .prepare_cached(&spelled(statement))
            .map_err(failed)?;
        let columns = prepared.column_count();
        let mut read = prepared.query(params_from_iter(values)).map_err(failed)?;
        let mut rows = Vec::new();
        while let Some(row) = read.next().map_err(failed)? {
            let cell = |column| row.get_ref(column).map_err(failed).and_then(value);
            rows.push(Row((0..columns).map(cell).collect::<Result<_, _>>()?));
        }
        Ok(rows)
    }

    fn upsert(&mut self, into: &'static Upsert, rows: &[Vec<Value>]) -> Result<(), StoreError> {
        let places: Vec<_> = (1..=into.columns.len()).map(|n| format!("?{n}")).collect();
        let statement = format!(
            "INSERT INTO {} ({}) VALUES ({}) {}",
            into.table,
            into.names(),
            places.join(", "),
            into.conflict()
        );
        let mut prepared = self.connection.prepare_cached(&statement).map_err(failed)?;
        for row in rows {
            prepared.execute(params_from_iter(row)).map_err(failed)?;
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), StoreError> {
        // A checkpoint syncs the log before it copies from it, and the file afterwards.
        let done = self.rows("PRAGMA wal_checkpoint(FULL)", &[])?;
        match done.first().map_or(Ok(0), |row| row.int(0))? {
            0 => Ok(()),
            _ => Err(StoreError::Busy),
        }
    }
}
