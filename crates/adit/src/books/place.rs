//! Which database: as it is configured, and how it is opened.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::StoreError;
use super::postgres::{self, Postgres};
use super::schema;
use super::sqlite::{Access, Sqlite};
use super::store::{Dialect, Purpose, Row, Store, Upsert, Value};

/// Name of the file in the data folder.
pub const FILE: &str = "books.sqlite";
/// Longest time that counting a batch may take the server.
const WRITE_PATIENCE: Duration = Duration::from_secs(60);
/// The same for an answer.
const READ_PATIENCE: Duration = Duration::from_secs(10);

/// A database.
#[derive(Clone, PartialEq, Eq)]
pub enum Db {
    /// None: nothing is kept but journal and book.
    Off,
    /// An SQLite file; without a path the one in the data folder.
    Sqlite(Option<PathBuf>),
    /// A PostgreSQL server, as its libraries write it: `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.
    Postgres(String),
}

impl Db {
    /// What may be given.
    pub const EXPECTED: &'static str =
        "sqlite, sqlite:PATH, postgres://USER:PASSWORD@HOST:PORT/DATABASE, or off";

    /// Reads it.
    pub fn parse(given: &str) -> Option<Self> {
        match given.split_once(':') {
            None if given == "off" => Some(Self::Off),
            None if given == "sqlite" => Some(Self::Sqlite(None)),
            Some(("sqlite", path)) if !path.is_empty() && !path.starts_with("//") => {
                Some(Self::Sqlite(Some(path.into())))
            }
            Some(("postgres" | "postgresql", _)) => {
                let config: tokio_postgres::Config = given.parse().ok()?;
                (!config.get_hosts().is_empty()).then(|| Self::Postgres(given.to_owned()))
            }
            _ => None,
        }
    }

    /// The same with the file's place filled in.
    #[must_use]
    pub fn within(&self, data: &Path) -> Self {
        match self {
            Self::Sqlite(None) => Self::Sqlite(Some(data.join(FILE))),
            other => other.clone(),
        }
    }

    /// Opens it to count, and brings its tables up to date.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(&self) -> Result<Box<dyn Store>, StoreError> {
        let mut store: Box<dyn Store> = match self {
            Self::Off => return Err(off()),
            Self::Sqlite(path) => Box::new(Sqlite::open(file(path.as_ref()), Access::Write)?),
            Self::Postgres(url) => Box::new(Postgres::open(url, postgres::SCHEMA, true, WRITE_PATIENCE)?),
        };
        schema::migrate(store.as_mut())?;
        Ok(store)
    }

    /// Opens it to ask; nothing is changed.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open_to_read(&self) -> Result<Box<dyn Store>, StoreError> {
        let mut store: Box<dyn Store> = match self {
            Self::Off => return Err(off()),
            Self::Sqlite(path) => Box::new(Sqlite::open(file(path.as_ref()), Access::Read)?),
            Self::Postgres(url) => Box::new(Postgres::open(url, postgres::SCHEMA, false, READ_PATIENCE)?),
        };
        schema::current(store.as_mut())?;
        Ok(store)
    }
}

/// The file; [`Db::within`] has filled it in.
fn file(path: Option<&PathBuf>) -> &Path {
    path.map_or(Path::new(FILE), PathBuf::as_path)
}

fn off() -> StoreError {
    StoreError::Away("there is none (books.db = off)".into())
}

impl fmt::Display for Db {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Sqlite(None) => f.write_str("sqlite"),
            Self::Sqlite(Some(path)) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => match url.parse() {
                Ok(config) => f.write_str(&postgres::place(&config)),
                Err(_) => f.write_str("postgres"),
            },
        }
    }
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Db({self})")
    }
}

/// A database that is not there: says so to everybody.
pub(super) struct Nowhere(pub(super) StoreError);

static NO_DIALECT: Dialect = Dialect {
    int: "",
    bytes: "",
    table: "",
    for_update: "",
    alone: "",
};

impl Store for Nowhere {
    fn describe(&self) -> String {
        "no database".into()
    }

    fn dialect(&self) -> &'static Dialect {
        &NO_DIALECT
    }

    fn begin(&mut self, _: Purpose) -> Result<(), StoreError> {
        Err(self.0.clone())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        Err(self.0.clone())
    }

    fn rollback(&mut self) {}

    fn batch(&mut self, _: &str) -> Result<(), StoreError> {
        Err(self.0.clone())
    }

    fn run(&mut self, _: &str, _: &[Value]) -> Result<u64, StoreError> {
        Err(self.0.clone())
    }

    fn rows(&mut self, _: &str, _: &[Value]) -> Result<Vec<Row>, StoreError> {
        Err(self.0.clone())
    }

    fn upsert(&mut self, _: &'static Upsert, _: &[Vec<Value>]) -> Result<(), StoreError> {
        Err(self.0.clone())
    }

    fn settle(&mut self) -> Result<(), StoreError> {
        Err(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_read_and_no_password_is_shown() {
        assert_eq!(Db::parse("sqlite"), Some(Db::Sqlite(None)));
        assert_eq!(Db::parse("sqlite:/a/b"), Some(Db::Sqlite(Some("/a/b".into()))));
        assert_eq!(Db::parse("off"), Some(Db::Off));
        let url = "postgres://me:secret@db.example:5433/pool";
        let db = Db::parse(url).unwrap();
        assert_eq!(db, Db::Postgres(url.into()));
        assert_eq!(db.to_string(), "postgres://db.example:5433/pool");
        assert!(!format!("{db:?}").contains("secret"));
        let socket = Db::parse("postgres:///pool?host=/run/postgresql").unwrap();
        assert_eq!(socket.to_string(), "postgres:///run/postgresql/pool");
        for wrong in [
            "",
            "sqlite:",
            "sqlite://x",
            "mysql://x",
            "postgres://",
            "postgres://h:port/d",
        ] {
            assert_eq!(Db::parse(wrong), None, "{wrong:?}");
        }
    }
}
