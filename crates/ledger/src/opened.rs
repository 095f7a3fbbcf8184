//! Everything of a data folder, opened in the right order.

use std::fmt;
use std::io;
use std::path::Path;

use crate::blocks::BlockStore;
use crate::disk::FileDisk;
use crate::epoch;
use crate::journal::{Journal, JournalError, Recovery, Settings};
use crate::lock::{DataLock, LockError};
use crate::verify::{BLOCKS_FOLDER, JOURNAL_FOLDER};

/// An open data folder.
#[derive(Debug)]
pub struct Opened {
    /// Keep it as long as anything of this is in use.
    pub lock: DataLock,
    /// This start's number, durable already.
    pub epoch: u32,
    /// The journal, its start record waiting for the first commit.
    pub journal: Journal<FileDisk>,
    /// The found blocks.
    pub blocks: BlockStore<FileDisk>,
    /// What opening the journal found.
    pub recovery: Recovery,
}

/// Why a data folder cannot be opened; each says what to do.
#[derive(Debug)]
pub enum OpenError {
    /// Somebody else has it.
    Lock(LockError),
    /// The journal.
    Journal(JournalError),
    /// Another part of it, named first.
    Disk(String, io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lock(error) => error.fmt(f),
            Self::Journal(error) => error.fmt(f),
            Self::Disk(place, error) => {
                write!(
                    f,
                    "cannot use {place}: {error}; is it there, yours to write, and is there space?"
                )
            }
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Lock(error) => Some(error),
            Self::Journal(error) => Some(error),
            Self::Disk(_, error) => Some(error),
        }
    }
}

/// Opens the data folder `data`, making it if need be: lock, journal (recovered), epoch (counted
/// up, durable), start record, found blocks. `software` is name and version, `time_us` the time.
///
/// # Errors
/// When it is in use, damaged, or the disk fails.
pub fn open(data: &Path, settings: Settings, software: &str, time_us: u64) -> Result<Opened, OpenError> {
    let disk = |place: &Path| {
        FileDisk::create(place).map_err(|error| OpenError::Disk(place.display().to_string(), error))
    };
    disk(data)?;
    let lock = DataLock::take(data).map_err(OpenError::Lock)?;
    let (mut journal, recovery) =
        Journal::open(disk(&data.join(JOURNAL_FOLDER))?, settings).map_err(OpenError::Journal)?;
    let epoch = epoch::advance(data, journal.epoch())
        .map_err(|error| OpenError::Disk(data.join(epoch::FILE).display().to_string(), error))?;
    journal.start(epoch, software, time_us);
    let folder = data.join(BLOCKS_FOLDER);
    let blocks = BlockStore::open(disk(&folder)?)
        .map_err(|error| OpenError::Disk(folder.display().to_string(), error))?;
    Ok(Opened {
        lock,
        epoch,
        journal,
        blocks,
        recovery,
    })
}
