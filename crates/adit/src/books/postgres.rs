//! PostgreSQL: for pools that are too large for one file, or have several front ends.
//!
//! The connection has a runtime of its own, so that it can be used from a plain thread. Everything that waits
//! for the server ends: a paused server is one that is away. Whether a transaction whose answer was lost is there
//! nobody needs to know: the position in it says so, and the next one waits for its lock.

use std::collections::HashMap;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_postgres::config::Host;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, NoTls, Statement};

use super::error::StoreError;
use super::store::{Dialect, Kind, Purpose, Row, Store, Upsert, Value};

/// How long the server may take to let us in.
const CONNECT: Duration = Duration::from_secs(5);
/// Statements that stay prepared.
const PREPARED_MAX: usize = 256;
/// Where the tables are.
pub(super) const SCHEMA: &str = "adit";

/// Lets one at a time make tables, until its transaction ends.
const ALONE: &str = "SELECT pg_advisory_xact_lock(7017562389434852980)";

static DIALECT: Dialect = Dialect {
    int: "BIGINT",
    bytes: "BYTEA",
    table: "",
    for_update: " FOR UPDATE",
    alone: ALONE,
};

/// A connection to a server.
pub(super) struct Postgres {
    runtime: Runtime,
    client: Client,
    place: String,
    patience: Duration,
    prepared: HashMap<String, Statement>,
}

impl Postgres {
    /// Connects; `schema` is made when it is not there and `make` is wished. No statement takes longer than `patience`.
    pub(super) fn open(url: &str, schema: &str, make: bool, patience: Duration) -> Result<Self, StoreError> {
        let mut config: Config = url
            .parse()
            .map_err(|error: tokio_postgres::Error| StoreError::Refused(reason(&error)))?;
        config.connect_timeout(CONNECT);
        if config.get_application_name().is_none() {
            config.application_name("adit");
        }
        let place = place(&config);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| StoreError::Away(error.to_string()))?;
        let connected = runtime.block_on(async { timeout(CONNECT, config.connect(NoTls)).await });
        let (client, connection) = connected
            .map_err(|_| StoreError::Away(format!("{place} does not answer")))?
            .map_err(|error| failed(&error))?;
        // It ends with the client.
        runtime.spawn(async move { drop(connection.await) });
        let mut store = Self {
            runtime,
            client,
            place,
            patience,
            prepared: HashMap::new(),
        };
        let ms = patience.as_millis();
        store.batch(&format!(
            "SET statement_timeout = {ms}; SET idle_in_transaction_session_timeout = 60000; SET client_min_messages = warning; \
             SET search_path = {schema};"
        ))?;
        if make {
            store.make(schema)?;
        }
        Ok(store)
    }

    /// Makes the schema, one at a time: `IF NOT EXISTS` does not keep two from making it. Who may not may still use one that is
    /// there.
    fn make(&mut self, schema: &str) -> Result<(), StoreError> {
        let there = "SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname = $1";
        match self.rows(there, &[Value::Text(schema.into())])?.is_empty() {
            true => self.batch(&format!(
                "BEGIN; {ALONE}; CREATE SCHEMA IF NOT EXISTS {schema}; COMMIT"
            )),
            false => Ok(()),
        }
    }

    /// Waits for an answer, not for ever.
    fn wait<T>(
        &mut self,
        answer: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, StoreError> {
        // The server ends a statement that takes too long; a server that is paused cannot.
        let longest = self.patience + CONNECT;
        let client = &self.client;
        let answered = self
            .runtime
            .block_on(async { timeout(longest, answer(client)).await });
        match answered {
            Ok(answer) => answer.map_err(|error| failed(&error)),
            Err(_) => Err(StoreError::Away(format!("{} does not answer", self.place))),
        }
    }

    fn prepared(&mut self, statement: &str) -> Result<Statement, StoreError> {
        if let Some(known) = self.prepared.get(statement) {
            return Ok(known.clone());
        }
        let fresh = self.wait(async |client| client.prepare(statement).await)?;
        if self.prepared.len() == PREPARED_MAX {
            self.prepared.clear();
        }
        self.prepared.insert(statement.to_owned(), fresh.clone());
        Ok(fresh)
    }
}

/// Server and database, without user and password.
pub(super) fn place(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        Some(Host::Unix(folder)) => folder.display().to_string(),
        None => String::new(),
    };
    let port = config
        .get_ports()
        .first()
        .map_or_else(String::new, |port| format!(":{port}"));
    let database = config
        .get_dbname()
        .or_else(|| config.get_user())
        .unwrap_or_default();
    format!("postgres://{host}{port}/{database}")
}

/// What the server or the system says, with its cause.
fn reason(error: &tokio_postgres::Error) -> String {
    if let Some(told) = error.as_db_error() {
        return format!("{} ({})", told.message(), told.code().code());
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

/// Classes of SQLSTATE (PostgreSQL, appendix A) for what passes: connection, resources, operator, conflicts, limits of time.
const PASSING: [&str; 8] = ["08", "53", "57", "40", "55", "58", "25", "XX001"];
/// Those for who must not come in: authorization, no such database, no right.
const REFUSING: [&str; 4] = ["28", "3D", "42501", "3F"];

fn failed(error: &tokio_postgres::Error) -> StoreError {
    let why = reason(error);
    let Some(code) = error.code() else {
        return StoreError::Away(why);
    };
    let one_of = |classes: &[&str]| classes.iter().any(|class| code.code().starts_with(class));
    match () {
        // No such table.
        () if code.code() == "42P01" => StoreError::Away("nothing is counted yet".into()),
        () if one_of(&PASSING) => StoreError::Away(why),
        () if one_of(&REFUSING) => StoreError::Refused(why),
        () => StoreError::Broken(why),
    }
}

impl Value {
    fn parameter(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Int(value) => value,
            Self::Bytes(bytes) => bytes,
            Self::Text(text) => text,
            Self::Null => &None::<i64>,
        }
    }
}

fn read(row: &tokio_postgres::Row) -> Result<Row, StoreError> {
    let cell = |(column, of): (usize, &tokio_postgres::Column)| {
        let read = match *of.type_() {
            Type::INT8 => row.try_get::<_, Option<i64>>(column).map(|it| it.map(Value::Int)),
            Type::INT4 => row
                .try_get::<_, Option<i32>>(column)
                .map(|it| it.map(|it| Value::Int(it.into()))),
            Type::BYTEA => row
                .try_get::<_, Option<Vec<u8>>>(column)
                .map(|it| it.map(Value::Bytes)),
            _ => row
                .try_get::<_, Option<String>>(column)
                .map(|it| it.map(Value::Text)),
        };
        read.map(|it| it.unwrap_or(Value::Null))
            .map_err(|error| StoreError::Broken(reason(&error)))
    };
    let cells = row.columns().iter().enumerate().map(cell);
    cells.collect::<Result<_, _>>().map(Row)
}

/// One column of many rows.
enum Column<'a> {
    Int(Vec<i64>),
    Bytes(Vec<&'a [u8]>),
    Text(Vec<&'a str>),
}

impl<'a> Column<'a> {
    fn of(kind: Kind, column: usize, rows: &'a [Vec<Value>]) -> Self {
        let cells = rows.iter().map(|row| row.get(column));
        match kind {
            Kind::Int => Self::Int(
                cells
                    .map(|cell| match cell {
                        Some(Value::Int(value)) => *value,
                        _ => 0,
                    })
                    .collect(),
            ),
            Kind::Bytes => Self::Bytes(
                cells
                    .map(|cell| match cell {
                        Some(Value::Bytes(bytes)) => bytes.as_slice(),
                        _ => &[],
                    })
                    .collect(),
            ),
            Kind::Text => Self::Text(
                cells
                    .map(|cell| match cell {
                        Some(Value::Text(text)) => text.as_str(),
                        _ => "",
                    })
                    .collect(),
            ),
        }
    }

    fn parameter(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Int(values) => values,
            Self::Bytes(values) => values,
            Self::Text(values) => values,
        }
    }
}

impl Store for Postgres {
    fn describe(&self) -> String {
        self.place.clone()
    }

    fn dialect(&self) -> &'static Dialect {
        &DIALECT
    }

    fn begin(&mut self, purpose: Purpose) -> Result<(), StoreError> {
        self.batch(match purpose {
            Purpose::Write => "BEGIN",
            Purpose::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        })
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.batch("COMMIT")
    }

    fn rollback(&mut self) {
        // A connection that cannot even do that says so at its next use.
        drop(self.batch("ROLLBACK"));
    }

    fn batch(&mut self, statements: &str) -> Result<(), StoreError> {
        self.wait(async |client| client.batch_execute(statements).await)
    }

    fn run(&mut self, statement: &str, values: &[Value]) -> Result<u64, StoreError> {
        let prepared = self.prepared(statement)?;
        let parameters: Vec<_> = values.iter().map(Value::parameter).collect();
        self.wait(async |client| client.execute(&prepared, &parameters).await)
    }

    fn rows(&mut self, statement: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        let prepared = self.prepared(statement)?;
        let parameters: Vec<_> = values.iter().map(Value::parameter).collect();
        let rows = self.wait(async |client| client.query(&prepared, &parameters).await)?;
        rows.iter().map(read).collect()
    }

    fn upsert(&mut self, into: &'static Upsert, rows: &[Vec<Value>]) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let arrays: Vec<_> = (1..)
            .zip(into.columns)
            .map(|(n, (_, kind))| match kind {
                Kind::Int => format!("${n}::bigint[]"),
                Kind::Bytes => format!("${n}::bytea[]"),
                Kind::Text => format!("${n}::text[]"),
            })
            .collect();
        let statement = format!(
            "INSERT INTO {} ({}) SELECT * FROM unnest({}) {}",
            into.table,
            into.names(),
            arrays.join(", "),
            into.conflict()
        );
        let prepared = self.prepared(&statement)?;
        let columns: Vec<_> = (0..)
            .zip(into.columns)
            .map(|(column, (_, kind))| Column::of(*kind, column, rows))
            .collect();
        let parameters: Vec<_> = columns.iter().map(Column::parameter).collect();
        self.wait(async |client| client.execute(&prepared, &parameters).await)
            .map(drop)
    }

    fn settle(&mut self) -> Result<(), StoreError> {
        // What the server has committed is durable, unless it was configured otherwise.
        Ok(())
    }
}
