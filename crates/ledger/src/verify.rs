//! Reading a ledger without writing to it; a running pool may append meanwhile.

use std::collections::HashMap;
use std::path::Path;

use crate::archive;
use crate::book::{AccountBook, Book};
use crate::checkpoint::Checkpoint;
use crate::disk::{Disk, FileDisk};
use crate::journal::scan::{Scan, headers};
use crate::journal::{Chain, Header, JournalError, Tail};
use crate::record::{AccountId, Entry, Record, WorkerId};

/// Folder of the journal inside the data folder.
pub const JOURNAL_FOLDER: &str = "ledger";
/// Folder of the found blocks inside the data folder.
pub const BLOCKS_FOLDER: &str = "blocks";
/// Shares up to which duplicate header hashes are counted; 16 bytes of memory each.
pub const DUPLICATES_COUNTED_MAX: u64 = 1 << 26;

/// What a whole reading found. There is none when anything is damaged: that is the error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Whose journal.
    pub front_end: u16,
    /// Segment files.
    pub segments: usize,
    /// Good records.
    pub records: u64,
    /// First sequence; above 1 when older segments were taken away.
    pub first_sequence: u64,
    /// Records that were taken away and are counted in the journal's base.
    pub taken_away: u64,
    /// Last sequence; 0 when there is none.
    pub last_sequence: u64,
    /// Bytes behind the last good record: a write under way, or cut off at the next start.
    pub torn_bytes: u64,
    /// Shares whose header hash another share has too; must be 0. `None`: too many to count.
    pub duplicate_hashes: Option<u64>,
    /// Whether the checkpoint is the sum of the records before it. `None`: there is none to compare.
    pub checkpoint_agrees: Option<bool>,
    /// The sum of all records.
    pub book: Book,
}

/// One line of [`top`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopLine {
    /// Who.
    pub account: AccountId,
    /// The name, when the journal has it.
    pub name: Option<String>,
    /// The sums.
    pub sums: AccountBook,
    /// Its workers with the most work, most first, as far as shares named any; parts of the sums.
    pub workers: Vec<WorkerLine>,
}

/// One worker in a [`TopLine`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerLine {
    /// Which.
    pub worker: WorkerId,
    /// The worker's own name, when the journal has it.
    pub name: Option<String>,
    /// The sums.
    pub sums: AccountBook,
}

/// Reads and checks the whole ledger of a data folder.
///
/// # Errors
/// When it cannot be read or is damaged.
pub fn verify(data: &Path) -> Result<Report, JournalError> {
    verify_on(&ledger(data)?)
}

/// The sum of all records of a data folder.
///
/// # Errors
/// As [`verify`].
pub fn book(data: &Path) -> Result<Book, JournalError> {
    let replay = Replay::open(data)?;
    let mut book = replay.base().clone();
    replay.run(|record| book.apply(record))?;
    Ok(book)
}

/// The `n` accounts with the most work in a data folder, most first, each with at most `workers` of its workers.
///
/// # Errors
/// As [`verify`].
pub fn top(data: &Path, n: usize, workers: usize) -> Result<Vec<TopLine>, JournalError> {
    let book = book(data)?;
    let line = |(account, sums): (&AccountId, &AccountBook)| TopLine {
        account: *account,
        name: sums.name(),
        sums: sums.clone(),
        workers: Vec::new(),
    };
    let mut lines: Vec<TopLine> = book.top(n).into_iter().map(line).collect();
    add_workers(&book, workers, &mut lines);
    Ok(lines)
}

fn add_workers(book: &Book, most: usize, lines: &mut [TopLine]) {
    let place: HashMap<AccountId, usize> = lines.iter().map(|line| line.account).zip(0..).collect();
    for ((account, worker), sums) in book.workers() {
        if let Some(line) = place.get(account).and_then(|place| lines.get_mut(*place)) {
            line.workers.push(WorkerLine {
                worker: *worker,
                name: sums.name(),
                sums: sums.clone(),
            });
        }
    }
    for line in lines {
        line.workers
            .sort_by(|a, b| b.sums.work.cmp(&a.sums.work).then(a.worker.cmp(&b.worker)));
        line.workers.truncate(most);
    }
}

/// [`verify`] on any disk.
///
/// # Errors
/// As [`verify`].
pub fn verify_on<D: Disk>(disk: &D) -> Result<Report, JournalError> {
    let checkpoint = Checkpoint::load(disk);
    let mut headers = headers(disk)?;
    let (base, index) = archive::begin(disk, &headers)?;
    headers.drain(..index);
    let mut report = Report {
        book: base.book,
        taken_away: base.next_sequence - 1,
        ..Report::default()
    };
    let mut hashes = Some(Vec::new());
    let agrees = |sequence: u64, book: &Book| {
        checkpoint
            .as_ref()
            .filter(|c| c.next_sequence == sequence)
            .map(|c| c.book.agrees_with(book))
    };
    let walked = walk_from(disk, headers, base.chain, |record| {
        if report.records == 0 {
            report.first_sequence = record.sequence;
        }
        if report.checkpoint_agrees.is_none() {
            report.checkpoint_agrees = agrees(record.sequence, &report.book);
        }
        note_hash(record, &mut hashes);
        report.book.apply(record);
        report.records += 1;
        report.last_sequence = record.sequence;
        Ok(())
    })?;
    if report.checkpoint_agrees.is_none() {
        report.checkpoint_agrees = agrees(report.last_sequence + 1, &report.book);
    }
    report.segments = walked.headers.len();
    report.front_end = walked.headers.first().map_or(0, |header| header.front_end);
    report.torn_bytes = walked.tail.torn_bytes;
    report.duplicate_hashes = hashes.map(duplicates);
    Ok(report)
}

/// What [`walk`] went through.
pub(crate) struct Walked {
    pub(crate) headers: Vec<Header>,
    pub(crate) tail: Tail,
}

/// Gives every good record of the journal to `visit`.
pub(crate) fn walk<D: Disk>(
    disk: &D,
    visit: impl FnMut(&Record) -> Result<(), JournalError>,
) -> Result<Walked, JournalError> {
    let headers = headers(disk)?;
    let chain = headers.first().map_or(Chain::default(), |first| first.chain);
    walk_from(disk, headers, chain, visit)
}

fn walk_from<D: Disk>(
    disk: &D,
    headers: Vec<Header>,
    mut chain: Chain,
    mut visit: impl FnMut(&Record) -> Result<(), JournalError>,
) -> Result<Walked, JournalError> {
    let mut tail = Tail::default();
    for (index, header) in headers.iter().enumerate() {
        let end = headers.get(index + 1).map(|next| next.first_sequence);
        tail = Scan::new(disk, *header, end)?.run(&mut chain, &mut visit)?;
    }
    Ok(Walked { headers, tail })
}

/// A whole journal, from the book of what was taken away to the last good record.
#[derive(Debug)]
pub struct Replay {
    disk: FileDisk,
    headers: Vec<Header>,
    base: Checkpoint,
}

impl Replay {
    /// Opens the journal in a data folder.
    ///
    /// # Errors
    /// As [`verify`].
    pub fn open(data: &Path) -> Result<Self, JournalError> {
        let disk = ledger(data)?;
        let mut headers = headers(&disk)?;
        let (base, index) = archive::begin(&disk, &headers)?;
        headers.drain(..index);
        Ok(Self { disk, headers, base })
    }

    /// Whose journal it is.
    pub fn front_end(&self) -> u16 {
        self.headers.first().map_or(0, |header| header.front_end)
    }

    /// The sum of the records that were taken away; empty where none were.
    pub fn base(&self) -> &Book {
        &self.base.book
    }

    /// The first record that is not in it.
    pub fn first_sequence(&self) -> u64 {
        self.base.next_sequence
    }

    /// Gives every good record from there on to `visit`.
    ///
    /// # Errors
    /// As [`verify`].
    pub fn run(self, mut visit: impl FnMut(&Record)) -> Result<(), JournalError> {
        let each = |record: &Record| {
            visit(record);
            Ok(())
        };
        walk_from(&self.disk, self.headers, self.base.chain, each).map(drop)
    }
}

/// The journal's folder of a data folder.
pub(crate) fn ledger(data: &Path) -> Result<FileDisk, JournalError> {
    let folder = data.join(JOURNAL_FOLDER);
    FileDisk::open(&folder).map_err(|error| JournalError::disk(folder.display().to_string(), "open", error))
}

fn note_hash(record: &Record, hashes: &mut Option<Vec<u128>>) {
    let Entry::Share(share) = &record.entry else {
        return;
    };
    let Some(seen) = hashes else { return };
    if seen.len() as u64 == DUPLICATES_COUNTED_MAX {
        *hashes = None;
        return;
    }
    // The low half of a proof of work is as random as the whole.
    seen.extend(
        share
            .hash
            .first_chunk::<16>()
            .map(|half| u128::from_le_bytes(*half)),
    );
}

fn duplicates(mut hashes: Vec<u128>) -> u64 {
    hashes.sort_unstable();
    hashes.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64
}
