//! One process a data folder: two writers of one ledger would be the end of it.

use std::fmt;
use std::fs::{self, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Name of the lock file in the data folder.
pub const FILE: &str = "lock";
/// Most bytes of the holder's note that are shown.
const NOTE_BYTES_MAX: u64 = 256;

/// The data folder is ours until this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct DataLock {
    _file: fs::File,
}

/// Why the data folder is not ours.
#[derive(Debug)]
pub enum LockError {
    /// Another process has it.
    Held {
        /// The lock file.
        place: PathBuf,
        /// What the holder wrote of itself.
        holder: String,
    },
    /// The file cannot be used.
    Disk {
        /// The lock file.
        place: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { place, holder } => write!(
                f,
                "{} is held by {holder}: stop that process, or give this one a data folder of its own",
                place.display()
            ),
            Self::Disk { place, source } => {
                write!(
                    f,
                    "cannot lock {}: {source}; is the folder there and yours to write?",
                    place.display()
                )
            }
        }
    }
}

impl std::error::Error for LockError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Held { .. } => None,
            Self::Disk { source, .. } => Some(source),
        }
    }
}

impl DataLock {
    /// Takes the lock of the data folder `data`, which must exist. The operating system frees it
    /// when the process ends, so a leftover file means nothing.
    ///
    /// # Errors
    /// When another process holds it, or the file cannot be made.
    pub fn take(data: &Path) -> Result<Self, LockError> {
        let place = data.join(FILE);
        let failed = |source| LockError::Disk {
            place: place.clone(),
            source,
        };
        let mut options = fs::OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        let mut file = options.open(&place).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {
                let note = format!("process {}\n", std::process::id());
                file.set_len(0)
                    .and_then(|()| file.rewind())
                    .and_then(|()| file.write_all(note.as_bytes()))
                    .map_err(failed)?;
                Ok(Self { _file: file })
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let read = (&mut file).take(NOTE_BYTES_MAX).read_to_string(&mut holder);
                let known = read.is_ok() && !holder.trim().is_empty();
                let holder = if known {
                    holder.trim().to_owned()
                } else {
                    "another process".to_owned()
                };
                Err(LockError::Held { place, holder })
            }
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_the_first_is() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataLock::take(folder.path()).unwrap();
        let told = DataLock::take(folder.path()).unwrap_err().to_string();
        assert!(
            told.contains(&format!("process {}", std::process::id())),
            "{told}"
        );
        drop(first);
        assert!(DataLock::take(folder.path()).is_ok());
    }
}
