//! Found blocks on disk, until the chain is seen to have them.
//!
//! A block goes to the nodes at once; beside that it is stored here, whole, so that it can be sent
//! again after a crash. Space for it is set aside beforehand: a disk that shares have filled takes
//! a block all the same, written over a reserve file.

mod format;

use std::fmt::Write as _;
use std::io;

use crate::disk::{Disk, File, FileDisk, read_whole, replace, write_all};
use crate::record::{AccountId, Hash, Outcome};

/// Largest block file: a block of the largest weight, its coinbase again, and what is known of it.
pub const FILE_BYTES_MAX: u64 = (4 << 20) + (256 << 10);
/// Blocks that fit a full disk; together 8.5 MiB.
pub const RESERVES: usize = 2;
/// Settled blocks that are kept; of the others only rejected ones, for people to look at.
pub const SETTLED_KEPT_MAX: usize = 256;

const PENDING: &str = ".block";
const REJECTED: &str = ".rejected";
const SETTLED: [&str; 2] = [".confirmed", ".stale"];

/// A block somebody found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundBlock {
    /// Its hash, in the byte order of headers.
    pub hash: Hash,
    /// Its height.
    pub height: u32,
    /// When it was found, Unix microseconds.
    pub time_us: u64,
    /// What its coinbase pays in all, satoshis.
    pub value: u64,
    /// Who found it.
    pub account: AccountId,
    /// On which channel.
    pub channel: u64,
    /// Its header.
    pub header: [u8; 80],
    /// Its coinbase transaction with witness, consensus encoded.
    pub coinbase: Vec<u8>,
    /// The whole block, consensus encoded; empty when the source did not give the transactions.
    pub block: Vec<u8>,
    /// Which template of which source it solves, for people and for the source.
    pub template: String,
    /// What it earns for whom, in the caller's words; empty when nobody but who its coinbase pays.
    pub credits: String,
}

/// What waits to be seen in the chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// The blocks, lowest first.
    pub blocks: Vec<FoundBlock>,
    /// Files that should hold one and do not, with the reason.
    pub unreadable: Vec<String>,
}

/// The folder of found blocks.
#[derive(Debug)]
pub struct BlockStore<D: Disk = FileDisk> {
    disk: D,
}

impl<D: Disk> BlockStore<D> {
    /// Opens the folder and sets space aside; a full disk is no reason not to.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn open(disk: D) -> io::Result<Self> {
        disk.list()?;
        let store = Self { disk };
        drop(store.refill());
        Ok(store)
    }

    /// Stores a block durably. The same block again is no error.
    ///
    /// # Errors
    /// When it is too large, or neither free space nor the reserve took it.
    pub fn put(&self, found: &FoundBlock) -> io::Result<()> {
        let name = name(found.height, &found.hash, PENDING);
        let bytes = format::encode(found);
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the block is larger than a block can be",
            ));
        }
        let Err(first) = replace(&self.disk, &name, &bytes) else {
            return Ok(());
        };
        for reserve in 0..RESERVES {
            if self.spend(reserve, &name, &bytes).is_ok() {
                return Ok(());
            }
        }
        Err(first)
    }

    /// The blocks that were stored and not settled.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn pending(&self) -> io::Result<Pending> {
        let mut pending = Pending::default();
        for file in self.disk.list()?.iter().filter(|file| file.ends_with(PENDING)) {
            match self.read(file) {
                Ok(found) => pending.blocks.push(found),
                Err(error) => pending
                    .unreadable
                    .push(format!("{}: {error}", self.disk.describe(file))),
            }
        }
        Ok(pending)
    }

    /// A block that is still here, whatever became of it, unless it was rejected.
    ///
    /// # Errors
    /// When the folder or its file cannot be read.
    pub fn find(&self, hash: &Hash) -> io::Result<Option<FoundBlock>> {
        let name = format!("-{}", hex_reversed(hash));
        let is_it = |file: &&String| {
            let stem = file.rsplit_once('.').map_or("", |(stem, _)| stem);
            stem.ends_with(&name) && !file.ends_with(REJECTED)
        };
        match self.disk.list()?.iter().find(is_it) {
            Some(file) => self.read(file).map(Some),
            None => Ok(None),
        }
    }

    /// Notes what became of a block. [`Outcome::Accepted`] is not the end: the chain must be seen
    /// to have it. A rejected block is kept with a report. Unknown hashes are ignored.
    ///
    /// # Errors
    /// When the disk fails; the block then stays pending.
    pub fn settle(&self, hash: &Hash, outcome: Outcome, reason: &str) -> io::Result<()> {
        let ending = match outcome {
            Outcome::Accepted => return Ok(()),
            Outcome::Confirmed => SETTLED[0],
            Outcome::Stale => SETTLED[1],
            Outcome::Rejected => REJECTED,
        };
        let tail = format!("{}{PENDING}", hex_reversed(hash));
        for file in self.disk.list()?.iter().filter(|file| file.ends_with(&tail)) {
            let stem = file.strip_suffix(PENDING).unwrap_or(file);
            if outcome == Outcome::Rejected {
                replace(
                    &self.disk,
                    &format!("{stem}.report.txt"),
                    report(&self.read(file)?, reason).as_bytes(),
                )?;
            }
            self.disk.rename(file, &format!("{stem}{ending}"))?;
            self.disk.sync()?;
        }
        self.forget_old()?;
        drop(self.refill());
        Ok(())
    }

    /// Sets space aside again after blocks have used it.
    ///
    /// # Errors
    /// When there is none.
    pub fn refill(&self) -> io::Result<()> {
        let there = self.disk.list()?;
        for reserve in (0..RESERVES)
            .map(reserve_name)
            .filter(|name| !there.contains(name))
        {
            // Written, not only reserved: file systems that copy on write give no other promise.
            let made = replace(&self.disk, &reserve, &vec![0x5a; FILE_BYTES_MAX as usize]);
            if made.is_err() {
                drop(self.disk.remove(&format!("{reserve}{}", crate::disk::UNFINISHED)));
            }
            made?;
        }
        Ok(())
    }

    /// Writes over a reserve file: that takes no new space.
    fn spend(&self, reserve: usize, name: &str, bytes: &[u8]) -> io::Result<()> {
        let reserve = reserve_name(reserve);
        let mut file = self.disk.open(&reserve)?;
        write_all(&mut file, 0, bytes)?;
        file.sync_data()?;
        self.disk.rename(&reserve, name)?;
        self.disk.sync()
    }

    fn read(&self, file: &str) -> io::Result<FoundBlock> {
        let bytes = read_whole(&self.disk.open_read(file)?, FILE_BYTES_MAX)?;
        format::decode(&bytes)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "torn or damaged block file"))
    }

    fn forget_old(&self) -> io::Result<()> {
        let mut settled = self.disk.list()?;
        settled.retain(|file| SETTLED.iter().any(|ending| file.ends_with(ending)));
        let old = settled.len().saturating_sub(SETTLED_KEPT_MAX);
        settled
            .iter()
            .take(old)
            .try_for_each(|file| self.disk.remove(file))
    }
}

fn reserve_name(reserve: usize) -> String {
    format!("reserve-{reserve}")
}

/// Names sort by height.
fn name(height: u32, hash: &Hash, ending: &str) -> String {
    format!("{height:010}-{}{ending}", hex_reversed(hash))
}

fn report(found: &FoundBlock, reason: &str) -> String {
    let reason: String = reason
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(1024)
        .collect();
    format!(
        "A block was found and every node refused it.\n\nreason   {reason}\nhash     {}\nheight   {}\nfound    {} (Unix \
         microseconds)\ntemplate {}\nheader   {}\ncoinbase {}\nblock    {}\n",
        hex_reversed(&found.hash),
        found.height,
        found.time_us,
        found.template.escape_debug(),
        hex(&found.header),
        hex(&found.coinbase),
        hex(&found.block),
    )
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// As people write block hashes.
pub(crate) fn hex_reversed(hash: &Hash) -> String {
    let mut reversed = *hash;
    reversed.reverse();
    hex(&reversed)
}
