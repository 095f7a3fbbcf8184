//! The book as it stood at the beginning of a segment, so that a start need not read everything.
//!
//! It is never believed alone: it must name a segment's first sequence and the chain checksum over
//! all records before it, which the segment's header repeats. When it is missing, torn or unknown
//! the journal is read from the first segment; `verify` always does that and compares.

mod money;

use std::io;

use crate::book::{AccountBook, BlockLine, Book, Name};
use crate::disk::{Disk, read_whole, replace};
use crate::journal::Chain;
use crate::reader::Reader;
use crate::record::{Entry, NAME_PARTS_MAX, RECORD_BYTES, Record};

/// Name of the checkpoint's file.
pub const FILE: &str = "book.checkpoint";
/// Name of the file with the book of the segments that are kept no longer: where the journal begins.
pub const BASE: &str = "book.base";
/// Longest checkpoint that is read, in bytes.
const BYTES_MAX: u64 = 1 << 31;
const MAGIC: [u8; 8] = *b"ADITCHK4";
/// Before there were money and a window: the same without them.
const MAGIC_3: [u8; 8] = *b"ADITCHK3";
/// Before rejects and payouts were counted: the same without them.
const MAGIC_2: [u8; 8] = *b"ADITCHK2";
/// Before there were workers: the same without them, too.
const MAGIC_1: [u8; 8] = *b"ADITCHK1";

/// A book and where in the journal it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The first record that is not in the book.
    pub next_sequence: u64,
    /// Checksum over all records that are.
    pub chain: Chain,
    /// The highest epoch among them.
    pub epoch: u32,
    /// Their sum.
    pub book: Book,
}

impl Checkpoint {
    /// Writes it in place of the last one.
    ///
    /// # Errors
    /// When the disk fails; the last one stays.
    pub fn store<D: Disk>(&self, disk: &D) -> io::Result<()> {
        self.store_as(disk, FILE)
    }

    /// The same under another name.
    ///
    /// # Errors
    /// As [`Checkpoint::store`].
    pub fn store_as<D: Disk>(&self, disk: &D, name: &str) -> io::Result<()> {
        replace(disk, name, &self.encode())
    }

    /// Reads it; `None` when there is none that can be trusted.
    pub fn load<D: Disk>(disk: &D) -> Option<Self> {
        Self::load_from(disk, FILE)
    }

    /// The same under another name.
    pub fn load_from<D: Disk>(disk: &D, name: &str) -> Option<Self> {
        let file = disk.open_read(name).ok()?;
        Self::decode(&read_whole(&file, BYTES_MAX).ok()?)
    }

    /// Whether it stands at the beginning of that segment.
    pub fn fits(&self, header: &crate::journal::Header) -> bool {
        header.first_sequence == self.next_sequence && header.chain == self.chain
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.next_sequence.to_le_bytes());
        out.extend_from_slice(&self.chain.0.to_le_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        for sum in [
            self.book.shares,
            self.book.blocks,
            self.book.starts,
            self.book.rejected,
        ] {
            out.extend_from_slice(&sum.to_le_bytes());
        }
        out.extend_from_slice(&self.book.work.to_le_bytes());
        out.extend_from_slice(&(self.book.accounts().len() as u64).to_le_bytes());
        for (id, account) in self.book.accounts() {
            out.extend_from_slice(id);
            encode_account(account, &mut out);
        }
        out.extend_from_slice(&(self.book.workers().len() as u64).to_le_bytes());
        for ((account, worker), sums) in self.book.workers() {
            out.extend_from_slice(account);
            out.extend_from_slice(worker);
            encode_account(sums, &mut out);
        }
        out.extend_from_slice(&(self.book.listed().len() as u64).to_le_bytes());
        self.book.listed().for_each(|line| encode_line(line, &mut out));
        money::encode(&self.book, &mut out);
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return None;
        }
        let mut from = Reader(body);
        let magic: [u8; 8] = from.take()?;
        [MAGIC, MAGIC_3, MAGIC_2, MAGIC_1]
            .contains(&magic)
            .then_some(())?;
        let counts_rejects = [MAGIC, MAGIC_3].contains(&magic);
        let (next_sequence, chain, epoch) = (from.u64()?, Chain(from.u32()?), from.u32()?);
        let (shares, blocks, starts) = (from.u64()?, from.u64()?, from.u64()?);
        let mut book = Book::default();
        if counts_rejects {
            book.rejected = from.u64()?;
        }
        (book.shares, book.blocks, book.starts, book.work) = (shares, blocks, starts, from.u128()?);
        for _ in 0..from.u64()? {
            book.insert(from.take()?, decode_account(&mut from, counts_rejects)?);
        }
        let workers = if magic == MAGIC_1 { 0 } else { from.u64()? };
        for _ in 0..workers {
            let worker = (from.take()?, from.take()?);
            book.insert_worker(worker, decode_account(&mut from, counts_rejects)?);
        }
        for _ in 0..from.u64()? {
            book.list(decode_line(&mut from)?);
        }
        if magic == MAGIC {
            money::decode(&mut from, &mut book)?;
        }
        from.0.is_empty().then_some(Self {
            next_sequence,
            chain,
            epoch,
            book,
        })
    }
}

fn encode_account(account: &AccountBook, out: &mut Vec<u8>) {
    for sum in [
        account.shares,
        account.first_us,
        account.last_us,
        account.best_work,
        account.blocks,
        account.rejected,
        account.paid,
        account.unpaid,
    ] {
        out.extend_from_slice(&sum.to_le_bytes());
    }
    out.extend_from_slice(&account.work.to_le_bytes());
    out.extend_from_slice(&account.best_hash);
    out.extend_from_slice(&[account.name.expected, account.name.seen]);
    for part in &account.name.parts {
        // A part has at most `PART_BYTES`.
        out.push(part.len() as u8);
        out.extend_from_slice(part);
    }
}

fn decode_account(from: &mut Reader<'_>, counts_rejects: bool) -> Option<AccountBook> {
    let (shares, first_us, last_us) = (from.u64()?, from.u64()?, from.u64()?);
    let (best_work, blocks) = (from.u64()?, from.u64()?);
    let (rejected, paid, unpaid) = match counts_rejects {
        true => (from.u64()?, from.u64()?, from.u64()?),
        false => (0, 0, 0),
    };
    let work = from.u128()?;
    let best_hash = from.take()?;
    let [expected, seen] = from.take()?;
    let mut name = Name {
        expected,
        seen,
        ..Name::default()
    };
    for part in 0..usize::from(NAME_PARTS_MAX) {
        let [length] = from.take()?;
        name.parts
            .get_mut(part)?
            .extend_from_slice(from.slice(usize::from(length))?);
    }
    Some(AccountBook {
        shares,
        work,
        first_us,
        last_us,
        best_work,
        best_hash,
        blocks,
        rejected,
        paid,
        unpaid,
        name,
    })
}

/// A line of the list is stored as the one or two records it came from.
fn encode_line(line: &BlockLine, out: &mut Vec<u8>) {
    let entries = [Some(Entry::Block(line.found)), line.outcome.map(Entry::Outcome)];
    out.push(1 + u8::from(line.outcome.is_some()));
    for entry in entries.into_iter().flatten() {
        encode_entry(line.time_us, entry, out);
    }
}

/// As the record that it came from.
fn encode_entry(time_us: u64, entry: Entry, out: &mut Vec<u8>) {
    let mut bytes = [0; RECORD_BYTES];
    Record::alone(time_us, entry).encode(&mut bytes);
    out.extend_from_slice(&bytes);
}

fn decode_line(from: &mut Reader<'_>) -> Option<BlockLine> {
    let [records] = from.take()?;
    let first = Record::decode(&from.take()?).ok()?;
    let Entry::Block(found) = first.entry else {
        return None;
    };
    let mut line = BlockLine {
        found,
        time_us: first.time_us,
        outcome: None,
    };
    if records > 1 {
        let Entry::Outcome(note) = Record::decode(&from.take()?).ok()?.entry else {
            return None;
        };
        line.outcome = Some(note);
    }
    Some(line)
}
