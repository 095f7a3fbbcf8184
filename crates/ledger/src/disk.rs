//! What the ledger asks of storage, so that tests can hand it storage that lies and breaks.

mod file;
mod mem;

use std::io;

pub use file::{FileDisk, RealFile};
pub use mem::{Fault, FaultKind, MemDisk, MemFile};

/// One folder of files, without sub-folders.
///
/// The contract is that of POSIX at its weakest: a created, renamed or removed name is durable
/// only after [`Disk::sync`]; written bytes only after [`File::sync_data`].
pub trait Disk: Send + 'static {
    /// An open file.
    type File: File;

    /// Makes a new empty file for reading and writing; an old one of that name is emptied.
    ///
    /// # Errors
    /// What the operating system says.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// What the operating system says.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Opens an existing file for reading only.
    ///
    /// # Errors
    /// What the operating system says.
    fn open_read(&self, name: &str) -> io::Result<Self::File>;

    /// Names of all files, sorted.
    ///
    /// # Errors
    /// What the operating system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Renames a file over whatever has the new name.
    ///
    /// # Errors
    /// What the operating system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the operating system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes names durable.
    ///
    /// # Errors
    /// What the operating system says.
    fn sync(&self) -> io::Result<()>;

    /// The file's place, for messages to the operator.
    fn describe(&self, name: &str) -> String;
}

/// One open file.
pub trait File: Send + 'static {
    /// Length in bytes.
    ///
    /// # Errors
    /// What the operating system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether there is nothing in it.
    ///
    /// # Errors
    /// What the operating system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads at an offset; may read less than asked, 0 at the end.
    ///
    /// # Errors
    /// What the operating system says.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Writes at an offset; may write less than given.
    ///
    /// # Errors
    /// What the operating system says.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Makes all written bytes and the length durable.
    ///
    /// # Errors
    /// What the operating system says. After an error nobody knows what is on disk.
    fn sync_data(&mut self) -> io::Result<()>;

    /// Cuts or extends (with zeros) to a length.
    ///
    /// # Errors
    /// What the operating system says.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// Fills as much of `into` as the file has from `offset`; returns how much.
///
/// # Errors
/// When a read fails.
pub fn read_up_to(file: &impl File, offset: u64, into: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(offset + done as u64, &mut into[done..]) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes all of `bytes` at `offset`.
///
/// # Errors
/// When a write fails or makes no progress; some bytes may have been written then.
pub fn write_all(file: &mut impl File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match file.write_at(offset + done as u64, &bytes[done..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => done += written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads a whole file, refusing more than `bytes_max`.
///
/// # Errors
/// When a read fails or the file is longer than allowed.
pub fn read_whole(file: &impl File, bytes_max: u64) -> io::Result<Vec<u8>> {
    let length = file.len()?;
    if length > bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{length} bytes, at most {bytes_max} expected"),
        ));
    }
    let mut bytes = vec![0; length as usize];
    let read = read_up_to(file, 0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Writes a whole file so that after a crash either the old or the new content is there.
///
/// # Errors
/// When any step fails; the old content is then still in place.
pub fn replace<D: Disk>(disk: &D, name: &str, bytes: &[u8]) -> io::Result<()> {
    let fresh = format!("{name}{UNFINISHED}");
    let mut file = disk.create(&fresh)?;
    write_all(&mut file, 0, bytes)?;
    file.sync_data()?;
    drop(file);
    disk.rename(&fresh, name)?;
    disk.sync()
}

/// Ending of files that are not yet what their name says; they may be removed at any start.
pub const UNFINISHED: &str = ".unfinished";
