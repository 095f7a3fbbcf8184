//! Reading segments: what is good, where a torn tail begins, what is damage.
//!
//! The writer begins a commit group only when the group before it is durable, and every record
//! says where its group began. So a bad record may be the trace of a power cut only if every good
//! record behind it belongs to a group that began at or before it. Anything else is damage.

use super::error::JournalError;
use super::segment::{self, Bytes, Chain, Header};
use crate::disk::{Disk, File, read_up_to};
use crate::record::{RECORD_BYTES, Record, RecordError};

/// Records read at once.
const CHUNK_RECORDS: usize = 4096;
/// Looks at a record that a live writer may just be writing before it is called damaged.
const LOOKS_MAX: usize = 3;

/// Where the good records of the last segment end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// Sequence that comes next.
    pub next_sequence: u64,
    /// First sequence of the last group: everything before it is certainly durable.
    pub group_start: u64,
    /// Bytes behind the last good record that are not blank space, up to the last such byte.
    pub torn_bytes: u64,
    /// Good records behind the first bad one; they were never acknowledged.
    pub torn_records: u64,
}

/// Reads all headers and checks that they follow each other. While a pool runs, files are packed and old ones taken
/// away: then the list is read again.
pub(crate) fn headers<D: Disk>(disk: &D) -> Result<Vec<Header>, JournalError> {
    let mut looks = 0;
    loop {
        looks += 1;
        match headers_now(disk) {
            Err(JournalError::Disk { source, .. })
                if looks < LOOKS_MAX && source.kind() == std::io::ErrorKind::NotFound => {}
            done => return done,
        }
    }
}

fn headers_now<D: Disk>(disk: &D) -> Result<Vec<Header>, JournalError> {
    let names = segment::names(disk).map_err(|error| JournalError::disk(disk.describe(""), "list", error))?;
    let mut headers: Vec<Header> = Vec::with_capacity(names.len());
    for name in names {
        let header = Header::read(disk, &name)?;
        if let Some(before) = headers.last() {
            if header.front_end != before.front_end {
                let (found, expected) = (header.front_end, before.front_end);
                return Err(JournalError::Foreign {
                    place: disk.describe(&name),
                    found,
                    expected,
                });
            }
            if header.ordinal <= before.ordinal || header.first_sequence < before.first_sequence {
                return Err(JournalError::damaged(
                    disk.describe(&name),
                    0,
                    header.first_sequence,
                    "the segment does not follow the one before it",
                ));
            }
        }
        headers.push(header);
    }
    Ok(headers)
}

/// A reader of one segment.
pub(crate) struct Scan<'a, D: Disk> {
    disk: &'a D,
    bytes: Bytes<D::File>,
    name: String,
    header: Header,
    /// Sequence of the next segment, when there is one: this segment ends there.
    end: Option<u64>,
    chunk: Vec<u8>,
    epoch: u32,
    group_index: Option<u32>,
    looks: usize,
}

impl<'a, D: Disk> Scan<'a, D> {
    pub(crate) fn new(disk: &'a D, header: Header, end: Option<u64>) -> Result<Self, JournalError> {
        let (bytes, name) = Bytes::of(disk, &header)
            .map_err(|error| JournalError::disk(disk.describe(&header.file_name()), "open", error))?;
        let chunk = vec![0; CHUNK_RECORDS * RECORD_BYTES];
        Ok(Self {
            disk,
            bytes,
            name,
            header,
            end,
            chunk,
            epoch: 0,
            group_index: None,
            looks: 0,
        })
    }

    /// Gives every good record to `visit` and adds it to `chain`.
    pub(crate) fn run(
        mut self,
        chain: &mut Chain,
        mut visit: impl FnMut(&Record) -> Result<(), JournalError>,
    ) -> Result<Tail, JournalError> {
        if *chain != self.header.chain {
            let first = self.header.first_sequence;
            return Err(self.damaged(
                first,
                "the records before this segment are not those it was written after",
            ));
        }
        let mut tail = Tail {
            next_sequence: self.header.first_sequence,
            group_start: self.header.first_sequence,
            ..Tail::default()
        };
        while self.end != Some(tail.next_sequence) {
            let records = self.fill(tail.next_sequence)?;
            let chunk = std::mem::take(&mut self.chunk);
            let bad = self.good_records(&chunk, records, &mut tail, chain, &mut visit);
            self.chunk = chunk;
            let Some(error) = bad? else { continue };
            if self.torn(error, &mut tail)? {
                return Ok(tail);
            }
        }
        Ok(tail)
    }

    /// Visits good records until one is bad or the chunk or the segment ends. `None`: go on.
    fn good_records(
        &mut self,
        chunk: &[u8],
        records: usize,
        tail: &mut Tail,
        chain: &mut Chain,
        visit: &mut impl FnMut(&Record) -> Result<(), JournalError>,
    ) -> Result<Option<RecordError>, JournalError> {
        for bytes in chunk.as_chunks::<RECORD_BYTES>().0.iter().take(records) {
            if self.end == Some(tail.next_sequence) {
                return Ok(None);
            }
            let record = match Record::decode(bytes) {
                Ok(record) => record,
                Err(error) => return Ok(Some(error)),
            };
            self.fits(&record, tail)?;
            chain.add(bytes);
            visit(&record)?;
            tail.next_sequence += 1;
            tail.group_start = record.group_start();
        }
        Ok((records == 0).then_some(RecordError::Blank))
    }

    /// Whether a good record is the one that belongs here.
    fn fits(&mut self, record: &Record, tail: &Tail) -> Result<(), JournalError> {
        if record.sequence != tail.next_sequence {
            let what = format!("record {} stands where another one belongs", record.sequence);
            return Err(self.damaged(tail.next_sequence, what));
        }
        if record.front_end != self.header.front_end {
            return Err(JournalError::Foreign {
                place: self.disk.describe(&self.name),
                found: record.front_end,
                expected: self.header.front_end,
            });
        }
        let follows = self.group_index.map_or(0, |before| before.wrapping_add(1));
        if record.group_index != 0 && record.group_index != follows {
            return Err(self.damaged(tail.next_sequence, "the record is not the next one of its group"));
        }
        if record.epoch < self.epoch {
            return Err(self.damaged(tail.next_sequence, "the record belongs to an earlier start"));
        }
        (self.epoch, self.group_index) = (record.epoch, Some(record.group_index));
        Ok(())
    }

    /// Judges what stands behind the first bad record. `false`: a second look found it good.
    fn torn(&mut self, error: RecordError, tail: &mut Tail) -> Result<bool, JournalError> {
        let at = tail.next_sequence;
        match error {
            RecordError::Kind(_) | RecordError::Field(_) => return Err(self.damaged(at, error.to_string())),
            _ if self.end.is_some() => return Err(self.damaged(at, error.to_string())),
            RecordError::Blank | RecordError::Checksum => {}
        }
        (tail.torn_bytes, tail.torn_records) = (0, 0);
        let mut from = at;
        loop {
            let records = self.fill(from)?;
            for bytes in self.chunk.as_chunks::<RECORD_BYTES>().0.iter().take(records) {
                let Err(error) = self.behind(bytes, at, tail) else {
                    continue;
                };
                self.looks += 1;
                return if self.looks < LOOKS_MAX && self.good_now(at)? {
                    Ok(false)
                } else {
                    Err(error)
                };
            }
            let ragged = self.ragged_bytes(from, records)?;
            tail.torn_bytes = self
                .torn_bytes(from, at, records, ragged)
                .unwrap_or(tail.torn_bytes);
            if records < CHUNK_RECORDS {
                return Ok(true);
            }
            from += records as u64;
        }
    }

    /// A record behind the bad one at `at`: an error when it was written after `at` was durable.
    fn behind(&self, bytes: &[u8; RECORD_BYTES], at: u64, tail: &mut Tail) -> Result<(), JournalError> {
        match Record::decode(bytes) {
            Ok(record) if record.group_start() > at => {
                Err(self.damaged(at, "the record was durable and is not good now"))
            }
            Ok(_) => {
                tail.torn_records += 1;
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }

    fn good_now(&mut self, sequence: u64) -> Result<bool, JournalError> {
        let mut record = [0; RECORD_BYTES];
        let read = self.bytes.read_up_to(self.header.offset(sequence), &mut record);
        let read = read.map_err(|error| self.unreadable(sequence, error))?;
        Ok(read == RECORD_BYTES && Record::decode(&record).is_ok())
    }

    /// Length of the torn part from `at` to the last byte of this chunk that is not zero.
    fn torn_bytes(&self, from: u64, at: u64, records: usize, ragged: usize) -> Option<u64> {
        let read = records * RECORD_BYTES + ragged;
        let last = self.chunk.iter().take(read).rposition(|byte| *byte != 0)? as u64;
        Some((from - at) * RECORD_BYTES as u64 + last + 1)
    }

    /// Bytes of a last, incomplete record; they follow the `records` in the chunk.
    fn ragged_bytes(&mut self, from: u64, records: usize) -> Result<usize, JournalError> {
        if records == CHUNK_RECORDS {
            return Ok(0);
        }
        let at = records * RECORD_BYTES;
        let offset = self.header.offset(from + records as u64);
        let read = self
            .bytes
            .read_up_to(offset, &mut self.chunk[at..at + RECORD_BYTES]);
        read.map_err(|error| self.unreadable(from, error))
    }

    /// Reads the records from `sequence` on; returns how many are whole.
    fn fill(&mut self, sequence: u64) -> Result<usize, JournalError> {
        let read = self
            .bytes
            .read_up_to(self.header.offset(sequence), &mut self.chunk);
        Ok(read.map_err(|error| self.unreadable(sequence, error))? / RECORD_BYTES)
    }

    fn damaged(&self, sequence: u64, what: impl Into<String>) -> JournalError {
        JournalError::damaged(
            self.disk.describe(&self.name),
            self.header.offset(sequence),
            sequence,
            what,
        )
    }

    fn unreadable(&self, sequence: u64, error: std::io::Error) -> JournalError {
        if error.kind() == std::io::ErrorKind::InvalidData {
            return self.damaged(sequence, error.to_string());
        }
        JournalError::disk(self.disk.describe(&self.name), "read", error)
    }
}

/// Bytes of the records of `range`, to be written again.
pub(super) fn bytes_of<F: File>(file: &F, header: &Header, from: u64, to: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; (to.saturating_sub(from)) as usize * RECORD_BYTES];
    let read = read_up_to(file, header.offset(from), &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}
