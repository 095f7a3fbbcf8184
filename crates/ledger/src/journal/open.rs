//! Opening a journal: read it, cut a torn tail, make what is kept durable.

use std::sync::{Arc, Mutex};

use super::scan::{self, Scan, Tail};
use super::segment::{self, Chain, Header};
use super::{Health, Journal, JournalError, Settings, Written};
use crate::book::Book;
use crate::checkpoint::{BASE, Checkpoint};
use crate::disk::{Disk, File, UNFINISHED, write_all};
use crate::record::Record;
use crate::tail::Durable;

/// Most bytes of a torn tail that are kept beside the journal for people to look at.
const CUT_KEPT_BYTES_MAX: u64 = 16 << 20;

/// What opening found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Segment files.
    pub segments: usize,
    /// Records read (those before the checkpoint are not).
    pub records_read: u64,
    /// Bytes of a torn tail that were cut off, kept in a `.cut` file beside the journal.
    pub cut_bytes: u64,
    /// Good records among them; they were never acknowledged.
    pub cut_records: u64,
    /// Whether the book began with the checkpoint.
    pub from_checkpoint: bool,
}

impl<D: Disk> Journal<D> {
    /// Opens the journal in `disk`, or begins one.
    ///
    /// # Errors
    /// When the disk fails, or what was durable is damaged: then nothing is altered.
    pub fn open(disk: D, settings: Settings) -> Result<(Self, Recovery), JournalError> {
        remove_unfinished(&disk)?;
        let mut headers = scan::headers(&disk)?;
        if headers.is_empty() {
            let first = Header {
                front_end: settings.front_end,
                ordinal: 1,
                first_sequence: 1,
                chain: Chain::default(),
            };
            segment::create(&disk, &first).map_err(|error| failed(&disk, &first, "create", error))?;
            headers.push(first);
        }
        if let Some(header) = headers
            .iter()
            .find(|header| header.front_end != settings.front_end)
        {
            let place = disk.describe(&header.file_name());
            return Err(JournalError::Foreign {
                place,
                found: header.front_end,
                expected: settings.front_end,
            });
        }
        let mut reading = Reading::begin(&disk, &headers)?;
        reading.read(&disk, &headers)?;
        reading.settle(disk, &headers, settings)
    }
}

/// What is known while the segments are read.
struct Reading {
    book: Book,
    chain: Chain,
    epoch: u32,
    skip: usize,
    tail: Tail,
    recovery: Recovery,
}

impl Reading {
    /// Begins with the checkpoint, if it fits a segment, else with the first segment.
    fn begin<D: Disk>(disk: &D, headers: &[Header]) -> Result<Self, JournalError> {
        let mut reading = Self {
            book: Book::default(),
            chain: Chain::default(),
            epoch: 0,
            skip: 0,
            tail: Tail::default(),
            recovery: Recovery {
                segments: headers.len(),
                ..Recovery::default()
            },
        };
        // The last that fits: an abandoned segment without records has the sequence of its successor.
        let place = |checkpoint: &Checkpoint| headers.iter().rposition(|header| checkpoint.fits(header));
        let Some(checkpoint) = Checkpoint::load(disk) else {
            // Where the journal begins is known without it.
            let base = Checkpoint::load_from(disk, BASE);
            let Some((base, index)) = base.and_then(|base| place(&base).map(|index| (base, index))) else {
                return reading.or_from_the_first(disk, headers);
            };
            reading.go_on_from(base, index);
            return Ok(reading);
        };
        let Some(index) = place(&checkpoint) else {
            // It was written after that segment was durable.
            let what = format!(
                "it counts the records before {}, and no segment begins there",
                checkpoint.next_sequence
            );
            let hint = "a segment is missing (if the journal is known to be whole, remove the checkpoint)";
            let place = disk.describe(crate::checkpoint::FILE);
            return Err(JournalError::damaged(
                place,
                0,
                checkpoint.next_sequence,
                format!("{what}: {hint}"),
            ));
        };
        reading.go_on_from(checkpoint, index);
        reading.recovery.from_checkpoint = true;
        Ok(reading)
    }

    fn go_on_from(&mut self, checkpoint: Checkpoint, index: usize) {
        self.skip = index;
        (self.book, self.chain, self.epoch) = (checkpoint.book, checkpoint.chain, checkpoint.epoch);
    }

    fn or_from_the_first<D: Disk>(self, disk: &D, headers: &[Header]) -> Result<Self, JournalError> {
        match headers.first() {
            Some(first) if first.first_sequence > 1 => Err(JournalError::damaged(
                disk.describe(&first.file_name()),
                0,
                1,
                format!(
                    "records 1 to {} are missing and no checkpoint stands for them",
                    first.first_sequence - 1
                ),
            )),
            _ => Ok(self),
        }
    }

    fn read<D: Disk>(&mut self, disk: &D, headers: &[Header]) -> Result<(), JournalError> {
        for (index, header) in headers.iter().enumerate().skip(self.skip) {
            let end = headers.get(index + 1).map(|next| next.first_sequence);
            let (book, epoch, read) = (&mut self.book, &mut self.epoch, &mut self.recovery.records_read);
            self.tail = Scan::new(disk, *header, end)?.run(&mut self.chain, |record: &Record| {
                book.apply(record);
                *epoch = (*epoch).max(record.epoch);
                *read += 1;
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Cuts the torn tail and makes the rest durable.
    fn settle<D: Disk>(
        mut self,
        disk: D,
        headers: &[Header],
        settings: Settings,
    ) -> Result<(Journal<D>, Recovery), JournalError> {
        let Some(header) = headers.last().copied() else {
            return Err(JournalError::damaged(disk.describe(""), 0, 0, "no segment"));
        };
        let name = header.file_name();
        let mut file = disk
            .open(&name)
            .map_err(|error| failed(&disk, &header, "open", error))?;
        let end = header.offset(self.tail.next_sequence);
        if self.tail.torn_bytes > 0 {
            keep_cut(&disk, &file, &name, end, self.tail);
            (self.recovery.cut_bytes, self.recovery.cut_records) =
                (self.tail.torn_bytes, self.tail.torn_records);
        }
        let write = |file: &mut D::File| -> std::io::Result<()> {
            if file.len()? != end {
                file.truncate(end)?;
            }
            // After a failed sync the system may show bytes that are not on the disk and call them
            // clean: only writing the last group again makes sure of it.
            let last_group = scan::bytes_of(file, &header, self.tail.group_start, self.tail.next_sequence)?;
            write_all(file, header.offset(self.tail.group_start), &last_group)?;
            file.sync_data()?;
            // The process before may have died between making a segment and making its name durable.
            disk.sync()
        };
        write(&mut file).map_err(|error| failed(&disk, &header, "restore the end of", error))?;
        let written = Written {
            next_sequence: self.tail.next_sequence,
            chain: self.chain,
            end,
        };
        let journal = Journal {
            disk,
            settings,
            file,
            header,
            written,
            allocated: end,
            health: Health::Well,
            pending: Vec::new(),
            entries: Vec::new(),
            epoch: self.epoch,
            book: Arc::new(Mutex::new(self.book)),
            durable: Durable::new(settings.front_end, self.tail.next_sequence),
        };
        Ok((journal, self.recovery))
    }
}

fn remove_unfinished<D: Disk>(disk: &D) -> Result<(), JournalError> {
    let failed = |error| JournalError::disk(disk.describe(""), "tidy", error);
    for name in disk
        .list()
        .map_err(failed)?
        .iter()
        .filter(|name| name.ends_with(UNFINISHED))
    {
        disk.remove(name).map_err(failed)?;
    }
    segment::remove_doubles(disk).map_err(failed)
}

/// Keeps what is cut, as well as it goes: nothing depends on it.
fn keep_cut<D: Disk>(disk: &D, file: &D::File, name: &str, end: u64, tail: Tail) {
    let mut bytes = vec![0; tail.torn_bytes.min(CUT_KEPT_BYTES_MAX) as usize];
    let kept = crate::disk::read_up_to(file, end, &mut bytes).and_then(|read| {
        bytes.truncate(read);
        let mut cut = disk.create(&format!("{name}.{}.cut", tail.next_sequence))?;
        write_all(&mut cut, 0, &bytes)
    });
    drop(kept);
}

fn failed<D: Disk>(disk: &D, header: &Header, what: &'static str, error: std::io::Error) -> JournalError {
    JournalError::disk(disk.describe(&header.file_name()), what, error)
}
