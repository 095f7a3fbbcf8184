//! Old segments: packed, and taken away when their time is over.
//!
//! The newest segment is the writer's and is left alone. Nothing is taken away that a consumer has not dealt with, nor
//! what the book's checkpoint has not counted; what is taken away stays counted in `book.base`, which is durable before
//! the first file goes: the journal is then that book and the records behind it.

use std::io;

use crate::book::Book;
use crate::checkpoint::{BASE, Checkpoint};
use crate::disk::Disk;
use crate::journal::packed::pack;
use crate::journal::scan::{Scan, headers};
use crate::journal::segment::{self, Bytes, HEADER_BYTES};
use crate::journal::{Chain, Header, JournalError};
use crate::record::{RECORD_BYTES, Record};

/// What is done to old segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Pack them.
    pub pack: bool,
    /// How long they are kept, in microseconds; 0 is for ever.
    pub keep_us: u64,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Segments that were packed.
    pub packed: usize,
    /// Segments that were taken away.
    pub removed: usize,
}

/// Packs one segment, if one is to be packed, and takes away those whose time is over. `needed` is the first sequence
/// that a consumer has not dealt with ([`Durable::needed`](crate::Durable::needed)), `now_us` the time.
///
/// Only one process may do so at a time: who holds the data folder's lock.
///
/// # Errors
/// When the disk fails or something is damaged; then everything is still there.
pub fn tidy<D: Disk>(disk: &D, settings: Settings, needed: u64, now_us: u64) -> Result<Tidied, JournalError> {
    let mut done = Tidied::default();
    if settings.keep_us > 0 {
        done.removed = forget(disk, now_us.saturating_sub(settings.keep_us), needed)?;
    }
    if settings.pack {
        done.packed = pack_one(disk)?;
    }
    Ok(done)
}

fn pack_one<D: Disk>(disk: &D) -> Result<usize, JournalError> {
    let headers = headers(disk)?;
    let names = names(disk)?;
    for pair in headers.windows(2) {
        let [header, next] = pair else { continue };
        let plain = names.contains(&header.file_name());
        if plain && header.first_sequence < next.first_sequence {
            let packed = pack(disk, header, next.first_sequence, next.chain);
            packed.map_err(|error| failed(disk, &header.file_name(), "pack", error))?;
            return Ok(1);
        }
    }
    Ok(0)
}

/// Takes away the segments whose successor began before `cutoff_us`; returns how many.
fn forget<D: Disk>(disk: &D, cutoff_us: u64, needed: u64) -> Result<usize, JournalError> {
    let headers = headers(disk)?;
    let Some(checkpoint) = Checkpoint::load(disk) else {
        return Ok(0);
    };
    let counted = needed.min(checkpoint.next_sequence);
    let mut keep = 0;
    for (index, header) in headers.iter().enumerate().skip(1) {
        let old = began_us(disk, header)?.is_some_and(|at| at < cutoff_us);
        if header.first_sequence > counted || !old {
            break;
        }
        keep = index;
    }
    let Some(first_kept) = headers.get(keep).filter(|_| keep > 0) else {
        return Ok(0);
    };
    let base = base_at(disk, &headers, keep)?;
    base.store_as(disk, BASE)
        .map_err(|error| failed(disk, BASE, "write", error))?;
    let old: Vec<String> = names(disk)?
        .into_iter()
        .filter(|name| *name < first_kept.file_name())
        .collect();
    for name in &old {
        disk.remove(name)
            .map_err(|error| failed(disk, name, "take away", error))?;
    }
    disk.sync()
        .map_err(|error| failed(disk, "", "take old segments away from", error))?;
    Ok(old.len())
}

/// The book of everything before `headers[keep]`.
fn base_at<D: Disk>(disk: &D, headers: &[Header], keep: usize) -> Result<Checkpoint, JournalError> {
    let (mut base, from) = begin(disk, headers)?;
    for index in from..keep {
        let (Some(header), Some(next)) = (headers.get(index), headers.get(index + 1)) else {
            continue;
        };
        let Checkpoint {
            chain, epoch, book, ..
        } = &mut base;
        Scan::new(disk, *header, Some(next.first_sequence))?.run(chain, |record| {
            book.apply(record);
            *epoch = (*epoch).max(record.epoch);
            Ok(())
        })?;
        base.next_sequence = next.first_sequence;
    }
    Ok(base)
}

/// Where the journal begins: its base, and the index of the segment that follows it. A journal that still has its first
/// record begins with an empty one.
///
/// # Errors
/// When segments were taken away and the base is missing.
pub(crate) fn begin<D: Disk>(disk: &D, headers: &[Header]) -> Result<(Checkpoint, usize), JournalError> {
    let base = Checkpoint::load_from(disk, BASE);
    let place = |base: Checkpoint| Some((headers.iter().position(|header| base.fits(header))?, base));
    if let Some((index, base)) = base.and_then(place) {
        return Ok((base, index));
    }
    match headers.first() {
        Some(first) if first.first_sequence > 1 => Err(JournalError::damaged(
            disk.describe(&first.file_name()),
            0,
            1,
            format!(
                "records 1 to {} are missing and no {BASE} stands for them",
                first.first_sequence - 1
            ),
        )),
        _ => Ok((empty(), 0)),
    }
}

fn empty() -> Checkpoint {
    Checkpoint {
        next_sequence: 1,
        chain: Chain::default(),
        epoch: 0,
        book: Book::default(),
    }
}

/// Time of a segment's first record; none where it has none yet.
fn began_us<D: Disk>(disk: &D, header: &Header) -> Result<Option<u64>, JournalError> {
    let mut record = [0; RECORD_BYTES];
    let read = Bytes::of(disk, header)
        .and_then(|(mut bytes, _)| bytes.read_up_to(HEADER_BYTES as u64, &mut record))
        .map_err(|error| failed(disk, &header.file_name(), "read", error))?;
    let record = (read == RECORD_BYTES).then(|| Record::decode(&record));
    Ok(record.and_then(Result::ok).map(|record| record.time_us))
}

fn names<D: Disk>(disk: &D) -> Result<Vec<String>, JournalError> {
    segment::names(disk).map_err(|error| failed(disk, "", "list", error))
}

fn failed<D: Disk>(disk: &D, name: &str, what: &'static str, error: io::Error) -> JournalError {
    JournalError::disk(disk.describe(name), what, error)
}
