//! The journal: records appended in groups, each group one write and one sync.
//!
//! [`Journal::append`] only remembers; [`Journal::commit`] makes everything remembered durable or
//! says why not, and then keeps it for the next try. A group is never half acknowledged. How a
//! journal is read back stands in `scan`, how it is opened in `open`, its bytes in `docs/ledger.md`.

mod error;
mod open;
pub(crate) mod packed;
pub(crate) mod scan;
pub(crate) mod segment;

use std::sync::{Arc, Mutex, PoisonError};

use crate::book::Book;
use crate::checkpoint::Checkpoint;
use crate::disk::{Disk, File, FileDisk, write_all};
use crate::record::{Entry, RECORD_BYTES, Record, Start};
use crate::tail::Durable;
pub use error::JournalError;
pub use open::Recovery;
pub use scan::Tail;
pub use segment::{Chain, HEADER_BYTES, Header};

/// A group of at least this many bytes is large: 512 records.
const LARGE_GROUP_BYTES: usize = 64 << 10;

/// What a journal needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whose journal this is.
    pub front_end: u16,
    /// A new segment begins when a group would make this one longer, in bytes.
    pub segment_bytes_max: u64,
    /// Space is made (written with zeros) in steps of this many bytes ahead of the records: a sync
    /// that need not change the file's length costs half as much. 0 appends byte by byte.
    pub grow_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            front_end: 0,
            segment_bytes_max: 256 << 20,
            grow_bytes: 1 << 20,
        }
    }
}

/// The one writer of a journal.
#[derive(Debug)]
pub struct Journal<D: Disk = FileDisk> {
    disk: D,
    settings: Settings,
    file: D::File,
    header: Header,
    written: Written,
    /// Length of the file, blank space included.
    allocated: u64,
    health: Health,
    /// Encoded records that are not durable yet.
    pending: Vec<u8>,
    /// The same as entries with their time, for the book.
    entries: Vec<(u64, Entry)>,
    epoch: u32,
    book: Arc<Mutex<Book>>,
    durable: Durable,
}

/// What is durable.
#[derive(Clone, Copy, Debug)]
struct Written {
    next_sequence: u64,
    chain: Chain,
    /// Offset behind the last durable record.
    end: u64,
}

/// What must be done before the next write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Well,
    /// A write failed: cut back to the last durable record.
    Torn,
    /// A sync failed, nobody knows what this file holds: go on in a new one.
    Abandoned,
}

impl<D: Disk> Journal<D> {
    /// Begins a run: everything appended from now on carries `epoch`, and a start record says so.
    pub fn start(&mut self, epoch: u32, software: &str, time_us: u64) {
        self.epoch = epoch;
        self.append(time_us, &Entry::Start(Start::new(software)));
    }

    /// The last epoch in the journal (or the one begun).
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Remembers an entry for the next commit and returns its sequence. A share and a session bring
    /// their own time; other entries get `time_us`.
    pub fn append(&mut self, time_us: u64, entry: &Entry) -> u64 {
        let group_index = self.pending_records();
        let sequence = self.written.next_sequence + group_index;
        let time_us = entry.time_us().unwrap_or(time_us);
        let record = Record {
            sequence,
            time_us,
            front_end: self.settings.front_end,
            epoch: self.epoch,
            group_index: group_index as u32,
            entry: *entry,
        };
        let mut bytes = [0; RECORD_BYTES];
        record.encode(&mut bytes);
        self.pending.extend_from_slice(&bytes);
        self.entries.push((time_us, *entry));
        sequence
    }

    /// Records that are not durable yet.
    pub fn pending_records(&self) -> u64 {
        (self.pending.len() / RECORD_BYTES) as u64
    }

    /// The sequence after the last durable record.
    pub fn next_sequence(&self) -> u64 {
        self.written.next_sequence
    }

    /// Tells readers up to where the journal is durable, and wakes them.
    pub fn durable(&self) -> Durable {
        self.durable.clone()
    }

    /// The sum of all durable records; locked by the writer once a commit.
    pub fn book(&self) -> Arc<Mutex<Book>> {
        Arc::clone(&self.book)
    }

    /// Makes everything appended durable; returns the sequence after the last durable record.
    ///
    /// # Errors
    /// When the disk fails. Nothing of the group counts as durable then, all of it is kept, and
    /// the next call tries again.
    pub fn commit(&mut self) -> Result<u64, JournalError> {
        if self.pending.is_empty() {
            return Ok(self.written.next_sequence);
        }
        self.mend()?;
        self.rotate_when_full()?;
        self.write_group()?;
        if let Err(error) = self.file.sync_data() {
            self.health = Health::Abandoned;
            return Err(self.failed("sync", error));
        }
        self.settle_group();
        Ok(self.written.next_sequence)
    }

    /// Ends in order: commits, then notes the end, which shows that all before it is durable.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn stop(&mut self, time_us: u64) -> Result<(), JournalError> {
        self.commit()?;
        self.append(time_us, &Entry::Stop);
        self.commit()?;
        Ok(())
    }

    /// Undoes what a failure left.
    fn mend(&mut self) -> Result<(), JournalError> {
        match self.health {
            Health::Well => Ok(()),
            Health::Torn => {
                let cut = self.file.truncate(self.written.end);
                cut.map_err(|error| self.failed("cut back", error))?;
                self.allocated = self.written.end;
                self.health = Health::Well;
                Ok(())
            }
            Health::Abandoned => self.next_segment(),
        }
    }

    fn rotate_when_full(&mut self) -> Result<(), JournalError> {
        let empty = self.written.next_sequence == self.header.first_sequence;
        if empty || self.written.end + self.pending.len() as u64 <= self.settings.segment_bytes_max {
            return Ok(());
        }
        self.next_segment()?;
        // Without it the next start only takes longer, so its failure is nobody's business.
        drop(self.checkpoint());
        Ok(())
    }

    /// Goes on in a new file; what the old one holds from here on does not count.
    fn next_segment(&mut self) -> Result<(), JournalError> {
        let header = Header {
            ordinal: self.header.ordinal + 1,
            first_sequence: self.written.next_sequence,
            chain: self.written.chain,
            ..self.header
        };
        let created = segment::create(&self.disk, &header);
        let file = created.map_err(|error| {
            JournalError::disk(
                self.disk.describe(&header.file_name()),
                "create the next segment",
                error,
            )
        })?;
        let (old, mut old_file) = (self.header, std::mem::replace(&mut self.file, file));
        // Tidying only: readers stop at the next segment's first sequence anyway.
        drop(if old.first_sequence == header.first_sequence {
            self.disk.remove(&old.file_name())
        } else {
            old_file.truncate(self.written.end)
        });
        self.header = header;
        self.written.end = HEADER_BYTES as u64;
        self.allocated = self.written.end;
        self.health = Health::Well;
        Ok(())
    }

    /// Writes the pending records, with blank space behind them when the file must grow anyway and
    /// there is room for both.
    fn write_group(&mut self) -> Result<(), JournalError> {
        let end = self.written.end + self.pending.len() as u64;
        if end > self.allocated {
            let grown = self.grown(end);
            if grown > end && self.write_to(grown).is_ok() {
                return Ok(());
            }
            self.mend()?;
        }
        self.write_to(end)
    }

    /// One write of the pending records, and of zeros up to offset `until`.
    fn write_to(&mut self, until: u64) -> Result<(), JournalError> {
        let records = self.pending.len();
        let length = until.saturating_sub(self.written.end) as usize;
        self.pending.resize(length.max(records), 0);
        let wrote = write_all(&mut self.file, self.written.end, &self.pending);
        self.pending.truncate(records);
        if let Err(error) = wrote {
            self.health = Health::Torn;
            let error = self.failed("write", error);
            // At once, so that a full disk gets its space back; else at the next try.
            drop(self.mend());
            return Err(error);
        }
        self.allocated = self.allocated.max(until);
        Ok(())
    }

    /// A large group pays for its longer file by itself; blank space would only be copied twice.
    fn grown(&self, end: u64) -> u64 {
        match self.settings.grow_bytes {
            0 => end,
            _ if self.pending.len() >= LARGE_GROUP_BYTES => end,
            step => end
                .next_multiple_of(step)
                .min(self.settings.segment_bytes_max.next_multiple_of(step))
                .max(end),
        }
    }

    /// The group is durable: count it.
    fn settle_group(&mut self) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        for (time_us, entry) in self.entries.drain(..) {
            book.add(time_us, &entry);
        }
        drop(book);
        for bytes in self.pending.as_chunks::<RECORD_BYTES>().0 {
            self.written.chain.add(bytes);
        }
        self.written.next_sequence += self.pending_records();
        self.written.end += self.pending.len() as u64;
        self.pending.clear();
        self.durable.advance(self.written.next_sequence);
    }

    fn checkpoint(&self) -> std::io::Result<()> {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (next_sequence, chain) = (self.written.next_sequence, self.written.chain);
        Checkpoint {
            next_sequence,
            chain,
            epoch: self.epoch,
            book,
        }
        .store(&self.disk)
    }

    fn failed(&self, what: &'static str, error: std::io::Error) -> JournalError {
        JournalError::disk(self.disk.describe(&self.header.file_name()), what, error)
    }
}
