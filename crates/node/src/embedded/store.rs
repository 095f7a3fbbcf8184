//! The block file: accepted blocks in order of arrival, each on disk before it is answered.
//!
//! A head names the chain (format, LOG2, last bootstrap block); a record is magic, length,
//! checksum of the payload and checksum of these twelve bytes, all little endian, then the
//! consensus-encoded block. Only the last record can be torn by a crash, so only the end of the
//! file is ever cut; damage before it is reported, never skipped.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;

use super::Error;
use super::rules::{BLOCK_WEIGHT_MAX, Rules};

const FORMAT: &[u8; 8] = b"ADITEMB1";
const HEAD_BYTES: usize = 52;
const RECORD_MAGIC: [u8; 4] = *b"blk\x01";
const RECORD_HEAD_BYTES: usize = 16;
/// Blocks that wait for a disk that fails, before further ones are refused.
const PENDING_MAX: usize = 64;

/// The block file of one chain.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    file: File,
    /// Bytes known to be whole.
    length: u64,
    /// Records not on disk yet, the oldest first.
    pending: VecDeque<Vec<u8>>,
}

impl Store {
    /// Opens or makes the block file of `rules` in `folder` and gives every stored block to
    /// `take`, in order. `anchor` is the last bootstrap block.
    pub(super) fn open(
        folder: &Path,
        rules: &Rules,
        anchor: BlockHash,
        take: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<Self, Error> {
        let path = folder.join(format!("embedded-{}.blocks", rules.work_log2()));
        let failed = |source| Error::Io {
            path: path.clone(),
            source,
        };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let file = file.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::InUse(path)),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let mut store = Self {
            path: path.clone(),
            file,
            length: 0,
            pending: VecDeque::new(),
        };
        store.head(&head(rules, anchor))?;
        store.load(take)?;
        Ok(store)
    }

    /// Appends a block and everything that waits, and syncs. A block that did not reach the disk
    /// waits for the next call; nothing is ever written over.
    pub(super) fn append(&mut self, block: &[u8]) -> io::Result<()> {
        if self.pending.len() >= PENDING_MAX {
            self.flush()?;
        }
        self.pending.push_back(record(block));
        self.flush()
    }

    /// Whether some blocks are not on disk.
    pub(super) fn is_behind(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether another block may be taken though the disk fails.
    pub(super) fn has_room(&self) -> bool {
        self.pending.len() < PENDING_MAX
    }

    /// Writes what waits.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        // A failed write may have left a part: begin again where the file was whole.
        self.file.set_len(self.length)?;
        self.file.seek(SeekFrom::Start(self.length))?;
        let mut length = self.length;
        for record in &self.pending {
            self.file.write_all(record)?;
            length += record.len() as u64;
        }
        self.file.sync_data()?;
        self.length = length;
        self.pending.clear();
        Ok(())
    }

    /// Checks the head, or writes it into a new file.
    fn head(&mut self, want: &[u8; HEAD_BYTES]) -> Result<(), Error> {
        let mut found = Vec::new();
        let reading = (&self.file).take(HEAD_BYTES as u64).read_to_end(&mut found);
        reading.map_err(|source| self.failed(source))?;
        if found == want {
            self.length = HEAD_BYTES as u64;
            return Ok(());
        }
        // A crash at the first start may leave a part of the head, or zeros.
        let torn = found.len() < HEAD_BYTES && want.starts_with(&found);
        if !torn {
            return Err(Error::Foreign(self.path.clone()));
        }
        self.write_head(want).map_err(|source| self.failed(source))
    }

    fn write_head(&mut self, head: &[u8; HEAD_BYTES]) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(head)?;
        self.file.sync_all()?;
        // The name of a new file is durable only when its folder is.
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        self.length = HEAD_BYTES as u64;
        Ok(())
    }

    fn load(&mut self, mut take: impl FnMut(&[u8]) -> Result<(), String>) -> Result<(), Error> {
        let file = self.file.try_clone().map_err(|source| self.failed(source))?;
        let end = file.metadata().map_err(|source| self.failed(source))?.len();
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let from = SeekFrom::Start(self.length);
        reader.seek(from).map_err(|source| self.failed(source))?;
        while self.length < end {
            match next_record(&mut reader, end - self.length) {
                Ok(Found::Block(block)) => {
                    take(&block).map_err(|why| self.damaged(why))?;
                    self.length += (RECORD_HEAD_BYTES + block.len()) as u64;
                }
                Ok(Found::Torn) => return self.cut(end),
                Ok(Found::Damaged(why)) => return Err(self.damaged(why.into())),
                Err(source) => return Err(self.failed(source)),
            }
        }
        Ok(())
    }

    fn cut(&mut self, end: u64) -> Result<(), Error> {
        let bytes = end.saturating_sub(self.length);
        tracing::warn!(path = %self.path.display(), bytes, "cut a torn last block off the block file");
        let cut = self.file.set_len(self.length).and_then(|()| self.file.sync_all());
        cut.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Io {
            path: self.path.clone(),
            source,
        }
    }

    fn damaged(&self, why: String) -> Error {
        Error::Damaged {
            path: self.path.clone(),
            offset: self.length,
            why,
        }
    }
}

enum Found {
    Block(Vec<u8>),
    Torn,
    Damaged(&'static str),
}

/// Reads one record of a file with `left` bytes to go.
fn next_record(reader: &mut impl Read, left: u64) -> io::Result<Found> {
    if left < RECORD_HEAD_BYTES as u64 {
        return Ok(Found::Torn);
    }
    let mut head = [0u8; RECORD_HEAD_BYTES];
    reader.read_exact(&mut head)?;
    let Some((length, sum)) = parse_head(&head) else {
        return after_bad_head(reader, left - RECORD_HEAD_BYTES as u64);
    };
    let left = left - RECORD_HEAD_BYTES as u64;
    if u64::from(length) > left {
        return Ok(Found::Torn);
    }
    let mut block = Vec::new();
    reader.take(u64::from(length)).read_to_end(&mut block)?;
    if crc32c::crc32c(&block) == sum {
        return Ok(Found::Block(block));
    }
    if u64::from(length) == left {
        return Ok(Found::Torn);
    }
    Ok(Found::Damaged("checksum of a block"))
}

/// A bad head is a torn end only when no record follows it.
fn after_bad_head(reader: &mut impl Read, left: u64) -> io::Result<Found> {
    const WHY: &str = "head of a record";
    if left > BLOCK_WEIGHT_MAX {
        return Ok(Found::Damaged(WHY));
    }
    let mut rest = Vec::new();
    reader.take(left).read_to_end(&mut rest)?;
    let follows = rest
        .windows(RECORD_HEAD_BYTES)
        .any(|window| parse_head(window).is_some());
    Ok(if follows { Found::Damaged(WHY) } else { Found::Torn })
}

/// Length and checksum of the payload, when the head is sound.
fn parse_head(head: &[u8]) -> Option<(u32, u32)> {
    let word = |at: usize| head.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let length = word(4)?;
    let sound = head.starts_with(&RECORD_MAGIC)
        && word(12)? == crc32c::crc32c(head.get(..12)?)
        && u64::from(length) <= BLOCK_WEIGHT_MAX;
    sound.then_some((length, word(8)?))
}

fn record(block: &[u8]) -> Vec<u8> {
    let mut record = RECORD_MAGIC.to_vec();
    // A block is at most four million bytes.
    let length = u32::try_from(block.len()).unwrap_or(u32::MAX);
    record.extend(length.to_le_bytes());
    record.extend(crc32c::crc32c(block).to_le_bytes());
    record.extend(crc32c::crc32c(&record).to_le_bytes());
    record.extend(block);
    record
}

fn head(rules: &Rules, anchor: BlockHash) -> [u8; HEAD_BYTES] {
    let mut bytes = FORMAT.to_vec();
    bytes.extend([rules.work_log2(), 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(anchor.to_byte_array());
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    let mut head = [0; HEAD_BYTES];
    head.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    head
}
