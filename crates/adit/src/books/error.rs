//! What can be wrong with a database, in words for the operator.

use std::fmt;

/// Why the database did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// It does not answer, or cannot now; trying again may help.
    Away(String),
    /// It answers and does not let us in.
    Refused(String),
    /// A newer adit has changed its tables.
    Newer {
        /// Which database.
        place: String,
        /// Version of its tables.
        found: u64,
        /// The newest version that this adit knows.
        known: u64,
    },
    /// The records do not follow what it has.
    Gap {
        /// The sequence that comes next.
        wanted: u64,
        /// The sequence that was given.
        given: u64,
    },
    /// What it has is of another journal.
    OtherJournal {
        /// Which front end's.
        front_end: u16,
        /// The last record that it has counted.
        last: u64,
    },
    /// Too many questions wait already.
    Busy,
    /// What it holds makes no sense, or it refuses what it should take.
    Broken(String),
}

impl StoreError {
    /// Whether time may heal it, without an operator.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Away(_) | Self::Busy)
    }

    /// What the operator can do.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Away(_) => {
                "start the database, or name another with --db; what was acknowledged is safe in the journal"
            }
            Self::Refused(_) => {
                "check user, password and database in --db; the user needs the right to create a schema there"
            }
            Self::Newer { .. } => {
                "use the adit version that wrote it, or have this one make a new database from the journal: name another with \
                 --db"
            }
            Self::Gap { .. } => "make the database again from the journal: `adit ledger rebuild`",
            Self::OtherJournal { .. } => {
                "give every front end its own number (pool.front_end), or make the database again from this journal: `adit \
                 ledger rebuild`"
            }
            Self::Busy => "ask again in a moment",
            Self::Broken(_) => {
                "the journal is whole without it: make the database again with `adit ledger rebuild`"
            }
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(why) => write!(f, "the database is away: {why}"),
            Self::Refused(why) => write!(f, "the database does not let us in: {why}"),
            Self::Newer { place, found, known } => write!(
                f,
                "{place} has tables of version {found}; this adit knows them up to version {known}"
            ),
            Self::Gap { wanted, given } => {
                write!(f, "the database wants record {wanted} next and was given {given}")
            }
            Self::OtherJournal { front_end, last } => write!(
                f,
                "the database has counted {last} records of front end {front_end}, and they are not those of this journal"
            ),
            Self::Busy => f.write_str("too many questions to the database wait already"),
            Self::Broken(why) => write!(f, "the database is broken: {why}"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<StoreError> for crate::exit::Exit {
    fn from(error: StoreError) -> Self {
        Self::failed(error.to_string()).help(error.help())
    }
}
