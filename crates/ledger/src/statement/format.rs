//! The bytes: numbers little-endian, a CRC-32C for each part and for the manifest.
//!
//! | Of a manifest | Bytes |
//! |---|---|
//! | `ADITSTM1` | 8 |
//! | number, newest unit of the window | 8 + 8 |
//! | count of sheets, then of each: kind, level, first unit, count of parts | 4, then 1 + 1 + 8 + 2 |
//! | of each part: slot, length, checksum | 4 + 4 + 4 |
//! | checksum over all of it | 4 |
//!
//! A part is entries one after the other: an account (16 bytes), and its work (16), what it is owed (8, signed), or the length of its
//! script (1) and that.

use crate::reader::Reader;
use crate::record::AccountId;

const MAGIC: [u8; 8] = *b"ADITSTM1";
/// Bytes of a part at most: a server of the transport takes a megabyte.
pub const PART_BYTES_MAX: usize = 512 * 1024;
/// Bytes of a manifest at most.
pub const MANIFEST_BYTES_MAX: usize = 512 * 1024;
/// Sheets of a manifest at most: a window of a year has six hundred slices.
const SHEETS_MAX: u32 = 8_192;
/// Parts of a sheet at most: four million accounts.
const PARTS_MAX: u16 = 256;

/// What a sheet lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Work of accounts in a slice of the window.
    Slice = 0,
    /// What accounts are owed.
    Carries = 1,
    /// Whom accounts pay.
    Scripts = 2,
}

/// Which sheet it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// What it lists.
    pub kind: Kind,
    /// The first unit of a slice; otherwise 0.
    pub start: u64,
    /// A slice is 2^level units wide; otherwise 0.
    pub level: u8,
}

/// Where a part of a sheet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Under which number it is kept.
    pub slot: u32,
    /// Its length.
    pub bytes: u32,
    /// Its checksum.
    pub crc: u32,
}

impl Part {
    pub(super) fn of(slot: u32, bytes: &[u8]) -> Self {
        Self {
            slot,
            // At most `PART_BYTES_MAX`.
            bytes: bytes.len() as u32,
            crc: crc32c::crc32c(bytes),
        }
    }

    /// Whether these are its bytes.
    pub fn fits(&self, bytes: &[u8]) -> bool {
        bytes.len() == self.bytes as usize && crc32c::crc32c(bytes) == self.crc
    }
}

/// A sheet in a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sheet {
    /// Which it is.
    pub key: Key,
    /// Its parts, in order; none is an empty sheet.
    pub parts: Vec<Part>,
}

/// All sheets of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The statement's number.
    pub number: u64,
    /// The newest unit of its window.
    pub newest: u64,
    /// Each once, sorted.
    pub sheets: Vec<Sheet>,
}

impl Manifest {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.newest.to_le_bytes());
        out.extend_from_slice(&(self.sheets.len() as u32).to_le_bytes());
        for Sheet { key, parts } in &self.sheets {
            out.extend_from_slice(&[key.kind as u8, key.level]);
            out.extend_from_slice(&key.start.to_le_bytes());
            out.extend_from_slice(&(parts.len() as u16).to_le_bytes());
            for part in parts {
                for number in [part.slot, part.bytes, part.crc] {
                    out.extend_from_slice(&number.to_le_bytes());
                }
            }
        }
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    /// Reads one; `None` when it is damaged, or nothing that this version knows.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if bytes.len() > MANIFEST_BYTES_MAX || crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return None;
        }
        let mut from = Reader(body);
        (from.take::<8>()? == MAGIC).then_some(())?;
        let (number, newest) = (from.u64()?, from.u64()?);
        let count = from.u32().filter(|count| *count <= SHEETS_MAX)?;
        let mut sheets: Vec<Sheet> = Vec::new();
        for _ in 0..count {
            let sheet = sheet(&mut from)?;
            if sheets.last().is_some_and(|last| last.key >= sheet.key) {
                return None;
            }
            sheets.push(sheet);
        }
        from.0.is_empty().then_some(Self {
            number,
            newest,
            sheets,
        })
    }
}

fn sheet(from: &mut Reader<'_>) -> Option<Sheet> {
    let [kind, level] = from.take()?;
    let kind = match kind {
        0 => Kind::Slice,
        1 => Kind::Carries,
        2 => Kind::Scripts,
        _ => return None,
    };
    let start = from.u64()?;
    let parts = u16::from_le_bytes(from.take()?);
    (parts <= PARTS_MAX && level < 32).then_some(())?;
    let part = |_| {
        let (slot, bytes, crc) = (from.u32()?, from.u32()?, from.u32()?);
        (bytes as usize <= PART_BYTES_MAX).then_some(Part { slot, bytes, crc })
    };
    let parts = (0..parts).map(part).collect::<Option<_>>()?;
    Some(Sheet {
        key: Key { kind, start, level },
        parts,
    })
}

/// Entries of a sheet as parts, in the order of accounts. `entry` appends one.
pub(super) fn parts<V>(
    entries: impl IntoIterator<Item = (AccountId, V)>,
    entry: impl Fn(&V, &mut Vec<u8>),
) -> Vec<Vec<u8>> {
    let mut entries: Vec<(AccountId, V)> = entries.into_iter().collect();
    entries.sort_unstable_by_key(|(account, _)| *account);
    let mut parts: Vec<Vec<u8>> = Vec::new();
    // An entry takes 16 + 1 + 255 bytes at most.
    const ENTRY_BYTES_MAX: usize = 272;
    for (account, value) in entries {
        let full = |part: &Vec<u8>| part.len() > PART_BYTES_MAX - ENTRY_BYTES_MAX;
        if parts.last().is_none_or(full) {
            parts.push(Vec::new());
        }
        if let Some(part) = parts.last_mut() {
            part.extend_from_slice(&account);
            entry(&value, part);
        }
    }
    parts
}
