//! The start epoch: how many times a process began to use this data folder.
//!
//! It is part of every coinbase, so work from before a restart can never be credited again. The
//! new number is durable before anybody sees it.

use std::io;
use std::path::Path;

use crate::disk::{Disk, FileDisk, read_whole, replace};

/// Name of the file in the data folder: one decimal number and a line feed.
pub const FILE: &str = "epoch";
const BYTES_MAX: u64 = 32;

/// Counts the epoch of the data folder `data` up and returns the new one, which is above
/// `used` (the last epoch in the journal: the file may have been lost).
///
/// # Errors
/// When the disk fails, the file is not a number, or the count has run out.
pub fn advance(data: &Path, used: u32) -> io::Result<u32> {
    advance_on(&FileDisk::create(data)?, used)
}

/// [`advance`] on any disk.
///
/// # Errors
/// As [`advance`].
pub fn advance_on<D: Disk>(disk: &D, used: u32) -> io::Result<u32> {
    let last = read(disk)?.max(used);
    let next = last
        .checked_add(1)
        .ok_or_else(|| io::Error::other("the start epoch has run out; begin a new data folder"))?;
    replace(disk, FILE, format!("{next}\n").as_bytes())?;
    Ok(next)
}

fn read<D: Disk>(disk: &D) -> io::Result<u32> {
    let file = match disk.open_read(FILE) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let bytes = read_whole(&file, BYTES_MAX)?;
    let number = std::str::from_utf8(&bytes)
        .ok()
        .and_then(|text| text.trim_end().parse().ok());
    number.ok_or_else(|| {
        let place = disk.describe(FILE);
        let what = format!("{place} holds no number; remove it, the journal knows the last epoch");
        io::Error::new(io::ErrorKind::InvalidData, what)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemDisk;

    #[test]
    fn every_start_gets_a_number_of_its_own() {
        let disk = MemDisk::default();
        assert_eq!(advance_on(&disk, 0).unwrap(), 1);
        assert_eq!(advance_on(&disk, 0).unwrap(), 2);
        assert_eq!(advance_on(&disk, 9).unwrap(), 10);
        assert_eq!(advance_on(&disk.power_cut(1), 0).unwrap(), 11);
    }

    #[test]
    fn a_file_that_is_no_number_is_not_taken_for_zero() {
        let disk = MemDisk::default();
        replace(&disk, FILE, b"many").unwrap();
        assert!(
            advance_on(&disk, 0)
                .unwrap_err()
                .to_string()
                .contains("remove it")
        );
    }
}
