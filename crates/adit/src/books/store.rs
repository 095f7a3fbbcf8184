//! What the books ask of a database: one trait for SQLite and PostgreSQL.
//!
//! Statements are written once for both, with `$1` for parameters. What the two say differently stands in
//! [`Dialect`]; what is done with them is written once, in the files beside this one.

use super::error::StoreError;

/// A connection to a database.
pub trait Store: Send {
    /// What it is, for people; never with a password.
    fn describe(&self) -> String;

    /// How it spells things.
    fn dialect(&self) -> &'static Dialect;

    /// Begins a transaction.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn begin(&mut self, purpose: Purpose) -> Result<(), StoreError>;

    /// Ends it: all of it is there, for everybody.
    ///
    /// # Errors
    /// See [`StoreError`]. When the answer was lost, the transaction may be there all the same.
    fn commit(&mut self) -> Result<(), StoreError>;

    /// Ends it: nothing of it is there. Where that cannot be done, the connection is of no more use and says so when it is
    /// used next.
    fn rollback(&mut self);

    /// Runs statements without parameters.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn batch(&mut self, statements: &str) -> Result<(), StoreError>;

    /// Runs one statement; returns how many rows it changed.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn run(&mut self, statement: &str, values: &[Value]) -> Result<u64, StoreError>;

    /// Asks for rows.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn rows(&mut self, statement: &str, values: &[Value]) -> Result<Vec<Row>, StoreError>;

    /// Inserts rows, or changes those that are there as `into` says. No two of `rows` may have the same key.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn upsert(&mut self, into: &'static Upsert, rows: &[Vec<Value>]) -> Result<(), StoreError>;

    /// Makes durable what was committed.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn settle(&mut self) -> Result<(), StoreError>;
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To change something.
    Write,
    /// To read everything as it is at one moment.
    Read,
}

/// What SQLite and PostgreSQL spell differently.
#[derive(Debug)]
pub struct Dialect {
    /// Type of a whole number of 64 bits.
    pub int: &'static str,
    /// Type of bytes.
    pub bytes: &'static str,
    /// What stands behind the columns of a table.
    pub table: &'static str,
    /// What makes a SELECT take the row for this transaction alone.
    pub for_update: &'static str,
    /// What a migration runs first, so that only one process migrates.
    pub alone: &'static str,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Int(i64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Text without NUL.
    Text(String),
    /// None; only ever read.
    Null,
}

/// Type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number.
    Int,
    /// Bytes.
    Bytes,
    /// Text.
    Text,
}

/// How rows go into a table.
#[derive(Debug)]
pub struct Upsert {
    /// The table.
    pub table: &'static str,
    /// Its columns.
    pub columns: &'static [(&'static str, Kind)],
    /// The columns that make the key.
    pub key: &'static str,
    /// What becomes of a row that is there.
    pub change: &'static str,
}

impl Upsert {
    /// The names of all columns.
    pub(super) fn names(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|(name, _)| *name).collect();
        names.join(", ")
    }

    /// What stands behind the values.
    pub(super) fn conflict(&self) -> String {
        match self.change {
            "" => format!("ON CONFLICT ({}) DO NOTHING", self.key),
            change => format!("ON CONFLICT ({}) DO UPDATE SET {change}", self.key),
        }
    }
}

/// One row of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row(pub Vec<Value>);

impl Row {
    /// A number that is never below 0; nothing counts as 0.
    pub(super) fn int(&self, column: usize) -> Result<u64, StoreError> {
        match self.0.get(column) {
            Some(Value::Int(value)) => {
                u64::try_from(*value).map_err(|_| odd(column, "a number below 0 stands where none can be"))
            }
            Some(Value::Null) => Ok(0),
            _ => Err(odd(column, "no number")),
        }
    }

    /// A number of another width.
    pub(super) fn narrow<T: TryFrom<u64>>(&self, column: usize) -> Result<T, StoreError> {
        T::try_from(self.int(column)?).map_err(|_| odd(column, "a number that is too large"))
    }

    /// Bytes of a known length.
    pub(super) fn bytes<const N: usize>(&self, column: usize) -> Result<[u8; N], StoreError> {
        match self.0.get(column) {
            Some(Value::Bytes(bytes)) => bytes
                .as_slice()
                .try_into()
                .map_err(|_| odd(column, "bytes of another length")),
            _ => Err(odd(column, "no bytes")),
        }
    }

    /// Bytes of any length; none where there is nothing.
    pub(super) fn any_bytes(&self, column: usize) -> &[u8] {
        match self.0.get(column) {
            Some(Value::Bytes(bytes)) => bytes,
            _ => &[],
        }
    }

    /// Text; empty where there is none.
    pub(super) fn text(&self, column: usize) -> String {
        match self.0.get(column) {
            Some(Value::Text(text)) => text.clone(),
            _ => String::new(),
        }
    }

    /// Expected hashes, from two columns.
    pub(super) fn work(&self, column: usize) -> Result<u128, StoreError> {
        Ok(u128::from(self.int(column)?) * WORK_UNIT + u128::from(self.int(column + 1)?))
    }

    /// Expected hashes of one share, from eight bytes.
    pub(super) fn one_work(&self, column: usize) -> Result<u64, StoreError> {
        self.bytes(column).map(u64::from_be_bytes)
    }
}

fn odd(column: usize, what: &str) -> StoreError {
    StoreError::Broken(format!("{what} in column {column} of an answer"))
}

/// Sums of work do not fit 64 bits: a column holds so many of them, the next one the rest. The rest of nine million rows
/// can be summed up, and the whole reaches a hundred times beyond all work of Bitcoin so far (2^96).
pub(super) const WORK_UNIT: u128 = 1_000_000_000_000;

/// The two columns of a sum of work.
pub(super) fn work(sum: u128) -> Result<[Value; 2], StoreError> {
    let large = i64::try_from(sum / WORK_UNIT)
        .map_err(|_| StoreError::Broken("a sum of work is beyond 2^102".into()))?;
    Ok([Value::Int(large), Value::Int((sum % WORK_UNIT) as i64)])
}

/// A number as the database takes it.
pub(super) fn int(value: u64) -> Result<Value, StoreError> {
    i64::try_from(value)
        .map(Value::Int)
        .map_err(|_| StoreError::Broken(format!("{value} is too large for a database")))
}

/// A number that is only too large where it stands for "never".
pub(super) fn at_most(value: u64) -> Value {
    Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

/// Bytes.
pub(super) fn bytes(value: &[u8]) -> Value {
    Value::Bytes(value.to_vec())
}

/// Text as PostgreSQL takes it: it knows no NUL.
pub(super) fn text(value: &str) -> Value {
    Value::Text(value.replace('\0', "\u{fffd}"))
}

/// Does `work` in a transaction, which is undone when it fails.
pub(super) fn transaction<T>(
    store: &mut dyn Store,
    purpose: Purpose,
    work: impl FnOnce(&mut dyn Store) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    store.begin(purpose)?;
    match work(store) {
        Ok(value) => store.commit().map(|()| value),
        Err(error) => {
            store.rollback();
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_exact_up_to_its_bound() {
        for sum in [0, 1, WORK_UNIT - 1, WORK_UNIT, u128::from(u64::MAX) * 7, 1 << 102] {
            let row = Row(work(sum).unwrap().to_vec());
            assert_eq!(row.work(0), Ok(sum));
        }
        assert!(work(1 << 103).is_err());
    }
}
