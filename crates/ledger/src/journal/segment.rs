//! Segment files: their names, their headers, and their bytes, packed or not.

use std::io;

use super::error::JournalError;
use super::packed::Unpack;
use crate::disk::{Disk, File, read_up_to};
use crate::record::RECORD_BYTES;

/// Bytes before the first record: one page, so that no later write touches the header.
pub const HEADER_BYTES: usize = 4096;
/// Bytes of the header page that are used; its checksum is the last four of them.
const USED_BYTES: usize = 128;
const MAGIC: [u8; 8] = *b"ADITLDGR";
/// Version of the segment format.
const FORMAT: u16 = 1;
/// Ending of segment files.
const ENDING: &str = ".journal";
/// Ending of packed ones.
const PACKED: &str = ".journal.zst";

/// What stands at the beginning of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whose journal.
    pub front_end: u16,
    /// Counts up by file; a number may be missing, the sequence never.
    pub ordinal: u64,
    /// Sequence of the first record; also ends the segment before.
    pub first_sequence: u64,
    /// [`Chain`] over every record before this segment.
    pub chain: Chain,
}

/// A running checksum over the checksums of all records from the first one on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chain(pub u32);

impl Chain {
    /// Takes an encoded record in.
    pub fn add(&mut self, record: &[u8; RECORD_BYTES]) {
        self.0 = crc32c::crc32c_append(self.0, &record[..4]);
    }
}

impl Header {
    /// Name of the segment's file; names sort in the order of the journal.
    pub fn file_name(&self) -> String {
        format!("{:010}-{:020}{ENDING}", self.ordinal, self.first_sequence)
    }

    /// Name of the file once it is packed.
    pub fn packed_name(&self) -> String {
        format!("{:010}-{:020}{PACKED}", self.ordinal, self.first_sequence)
    }

    /// Where the record of `sequence` stands in the file.
    pub fn offset(&self, sequence: u64) -> u64 {
        HEADER_BYTES as u64 + sequence.saturating_sub(self.first_sequence) * RECORD_BYTES as u64
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut page = Vec::with_capacity(HEADER_BYTES);
        page.extend_from_slice(&MAGIC);
        page.extend_from_slice(&FORMAT.to_le_bytes());
        page.extend_from_slice(&self.front_end.to_le_bytes());
        page.extend_from_slice(&(RECORD_BYTES as u32).to_le_bytes());
        page.extend_from_slice(&self.ordinal.to_le_bytes());
        page.extend_from_slice(&self.first_sequence.to_le_bytes());
        page.extend_from_slice(&self.chain.0.to_le_bytes());
        page.resize(USED_BYTES - 4, 0);
        page.extend_from_slice(&crc32c::crc32c(&page).to_le_bytes());
        page.resize(HEADER_BYTES, 0);
        page
    }

    /// Reads the header page of the file called `name`.
    ///
    /// # Errors
    /// When it is damaged, newer than this version, or does not fit the name.
    pub(crate) fn read<D: Disk>(disk: &D, name: &str) -> Result<Self, JournalError> {
        let mut page = [0; HEADER_BYTES];
        let place = || disk.describe(name);
        let damaged = |what: &str| JournalError::damaged(place(), 0, 0, what);
        let mut bytes =
            Bytes::open(disk, name).map_err(|error| JournalError::disk(place(), "open", error))?;
        let read = match bytes.read_up_to(0, &mut page) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(damaged(&error.to_string()));
            }
            Err(error) => return Err(JournalError::disk(place(), "read", error)),
        };
        if read < HEADER_BYTES {
            return Err(damaged("the header page is not whole"));
        }
        if page[..8] != MAGIC {
            return Err(damaged("the file does not begin as a ledger segment does"));
        }
        if crc32c::crc32c(&page[..USED_BYTES - 4]) != u32_at(&page, USED_BYTES - 4) {
            return Err(damaged("the header has a wrong checksum"));
        }
        if page[USED_BYTES..].iter().any(|byte| *byte != 0) {
            return Err(damaged("the header page holds bytes that nobody wrote"));
        }
        let format = u32_at(&page, 8) as u16;
        if format != FORMAT || u32_at(&page, 12) != RECORD_BYTES as u32 {
            return Err(JournalError::Version {
                place: place(),
                found: format,
            });
        }
        let header = Self {
            front_end: (u32_at(&page, 8) >> 16) as u16,
            ordinal: u64_at(&page, 16),
            first_sequence: u64_at(&page, 24),
            chain: Chain(u32_at(&page, 32)),
        };
        if header.file_name() != name && header.packed_name() != name {
            return Err(damaged("the file's name is not the one its header asks for"));
        }
        Ok(header)
    }
}

/// Names of all segments in the order of the journal. One that has just been packed is there twice for a moment:
/// then the plain file counts.
pub(crate) fn names<D: Disk>(disk: &D) -> io::Result<Vec<String>> {
    let mut names = disk.list()?;
    names.retain(|name| name.ends_with(ENDING) || name.ends_with(PACKED));
    // `.journal` sorts before `.journal.zst`.
    names.sort();
    names.dedup_by(|later, first| stem(later) == stem(first));
    Ok(names)
}

/// Removes packed files beside their plain ones: the process before ended while it packed them.
pub(super) fn remove_doubles<D: Disk>(disk: &D) -> io::Result<()> {
    let all = disk.list()?;
    for name in all.iter().filter(|name| name.ends_with(PACKED)) {
        if all.contains(&format!("{}{ENDING}", stem(name))) {
            disk.remove(name)?;
        }
    }
    Ok(())
}

/// Whether the file of that name is packed.
pub(crate) fn is_packed(name: &str) -> bool {
    name.ends_with(PACKED)
}

fn stem(name: &str) -> &str {
    name.trim_end_matches(PACKED).trim_end_matches(ENDING)
}

/// The bytes of a segment.
pub(crate) enum Bytes<F: File> {
    Plain(F),
    Packed(Box<Unpack<F>>),
}

impl<F: File> Bytes<F> {
    /// Opens the file of that name.
    pub(crate) fn open<D: Disk<File = F>>(disk: &D, name: &str) -> io::Result<Self> {
        let file = disk.open_read(name)?;
        Ok(match is_packed(name) {
            true => Self::Packed(Box::new(Unpack::new(file)?)),
            false => Self::Plain(file),
        })
    }

    /// Opens a segment, which may have been packed a moment ago. Gives the file's name, too.
    pub(crate) fn of<D: Disk<File = F>>(disk: &D, header: &Header) -> io::Result<(Self, String)> {
        let plain = header.file_name();
        match Self::open(disk, &plain) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let packed = header.packed_name();
                Self::open(disk, &packed).map(|bytes| (bytes, packed))
            }
            opened => opened.map(|bytes| (bytes, plain)),
        }
    }

    /// As [`read_up_to`].
    pub(crate) fn read_up_to(&mut self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => read_up_to(file, offset, into),
            Self::Packed(packed) => packed.read_up_to(offset, into),
        }
    }
}

/// Makes a segment that is whole from the moment its name can be seen.
pub(super) fn create<D: Disk>(disk: &D, header: &Header) -> io::Result<D::File> {
    let name = header.file_name();
    crate::disk::replace(disk, &name, &header.encode())?;
    disk.open(&name)
}

fn u32_at(page: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]])
}

fn u64_at(page: &[u8; HEADER_BYTES], at: usize) -> u64 {
    u64::from(u32_at(page, at)) | u64::from(u32_at(page, at + 4)) << 32
}
