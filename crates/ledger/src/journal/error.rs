//! What can be wrong with a journal, in words for the operator.

use std::fmt;
use std::io;

/// Why the journal cannot be opened, read or written.
#[derive(Debug)]
pub enum JournalError {
    /// The operating system refused an operation.
    Disk {
        /// Which file.
        place: String,
        /// Which operation.
        what: &'static str,
        /// Its answer.
        source: io::Error,
    },
    /// Bytes that were durable have changed; nothing was altered by looking.
    Damaged {
        /// Which file.
        place: String,
        /// Offset of the first bad byte range.
        offset: u64,
        /// Sequence of the record that should be there; 0 for a header.
        sequence: u64,
        /// What is wrong.
        what: String,
    },
    /// The files belong to another front end.
    Foreign {
        /// Which file.
        place: String,
        /// Whose it is.
        found: u16,
        /// Whose it should be.
        expected: u16,
    },
    /// Records that somebody still wants are not here any more.
    Gone {
        /// Which folder.
        place: String,
        /// The first record that is wanted.
        wanted: u64,
        /// The first record that is here.
        first: u64,
    },
    /// Written by a newer version.
    Version {
        /// Which file.
        place: String,
        /// Its format.
        found: u16,
    },
}

impl JournalError {
    pub(crate) fn disk(place: String, what: &'static str, source: io::Error) -> Self {
        Self::Disk { place, what, source }
    }

    /// A place that cannot be read.
    pub fn unreadable(place: String, source: io::Error) -> Self {
        Self::disk(place, "read", source)
    }

    pub(crate) fn damaged(place: String, offset: u64, sequence: u64, what: impl Into<String>) -> Self {
        Self::Damaged {
            place,
            offset,
            sequence,
            what: what.into(),
        }
    }

    /// Whether space has run out (freeing some heals it).
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull, WriteZero};
        matches!(self, Self::Disk { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded | WriteZero))
    }
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk { place, what, source } => {
                write!(f, "cannot {what} {place}: {source}; ")?;
                f.write_str(if self.is_full() {
                    "free some space, the ledger goes on by itself"
                } else {
                    "check the disk (kernel log, SMART), the ledger tries again by itself"
                })
            }
            Self::Damaged {
                place,
                offset,
                sequence,
                what,
            } => write!(
                f,
                "{place} is damaged at byte {offset} (record {sequence}): {what}; this is no \
                 torn write: stop, copy the folder, check the disk, and restore this file from a backup"
            ),
            Self::Foreign {
                place,
                found,
                expected,
            } => write!(
                f,
                "{place} was written by front end {found}, this is front end {expected}; give each front end a data \
                 folder of its own"
            ),
            Self::Gone { place, wanted, first } => write!(
                f,
                "records {wanted} to {} are not in {place} any more (ledger.keep_days); put these files back from a \
                 backup",
                first.saturating_sub(1)
            ),
            Self::Version { place, found } => {
                write!(
                    f,
                    "{place} has format {found}, this version reads format 1; use the adit version that wrote it"
                )
            }
        }
    }
}

impl std::error::Error for JournalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Disk { source, .. } => Some(source),
            _ => None,
        }
    }
}
