//! Has what another front end says.

use std::collections::HashMap;
use std::sync::Arc;

use super::format::{Key, Kind, Manifest, Part, Sheet};
use super::{Garbled, Statement};
use crate::reader::Reader;
use crate::record::AccountId;
use crate::window::{Slice, Window};

/// Work of a slice at most: so that sums of all slices of all front ends have room.
const SLICE_WORK_MAX: u128 = 1 << 96;

/// The last statement of another front end that was whole.
#[derive(Debug, Default)]
pub struct Mirror {
    sheets: HashMap<Key, Held>,
    statement: Arc<Statement>,
}

#[derive(Clone, Debug)]
struct Held {
    parts: Vec<(u32, u32)>,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Slice(Arc<Slice>),
    Carries(Arc<HashMap<AccountId, i64>>),
    Scripts(Arc<HashMap<AccountId, Arc<[u8]>>>),
}

impl Mirror {
    /// What it has.
    pub fn statement(&self) -> Arc<Statement> {
        Arc::clone(&self.statement)
    }

    /// The parts that must be fetched for a manifest.
    pub fn lacks(&self, manifest: &Manifest) -> Vec<Part> {
        let lacking = manifest.sheets.iter().filter(|sheet| self.held(sheet).is_none());
        lacking.flat_map(|sheet| sheet.parts.iter().copied()).collect()
    }

    /// Takes a manifest with what was fetched for it, by slot. On an error it stays as it was.
    ///
    /// # Errors
    /// See [`Garbled`].
    pub fn take(
        &mut self,
        manifest: &Manifest,
        fetched: &HashMap<u32, Vec<u8>>,
    ) -> Result<Arc<Statement>, Garbled> {
        let mut sheets = HashMap::new();
        for sheet in &manifest.sheets {
            let held = match self.held(sheet) {
                Some(held) => held.clone(),
                None => read(sheet, fetched)?,
            };
            sheets.insert(sheet.key, held);
        }
        let mut statement = Statement {
            number: manifest.number,
            ..Statement::default()
        };
        let mut slices = Vec::new();
        for (key, held) in &sheets {
            match &held.content {
                Content::Slice(slice) => slices.push((key.start, Arc::clone(slice))),
                Content::Carries(carries) => statement.carries = Arc::clone(carries),
                Content::Scripts(scripts) => statement.scripts = Arc::clone(scripts),
            }
        }
        statement.window = Window::of_shared(manifest.newest, slices);
        self.sheets = sheets;
        self.statement = Arc::new(statement);
        Ok(self.statement())
    }

    fn held(&self, sheet: &Sheet) -> Option<&Held> {
        let held = self.sheets.get(&sheet.key)?;
        let parts = sheet.parts.iter().map(|part| (part.bytes, part.crc));
        parts.eq(held.parts.iter().copied()).then_some(held)
    }
}

fn read(sheet: &Sheet, fetched: &HashMap<u32, Vec<u8>>) -> Result<Held, Garbled> {
    let mut whole = Vec::new();
    for part in &sheet.parts {
        let bytes = fetched.get(&part.slot).filter(|bytes| part.fits(bytes));
        whole.extend_from_slice(bytes.ok_or(Garbled::Stale)?);
    }
    let content = match sheet.key.kind {
        Kind::Slice => {
            let accounts = entries(&whole, |from| from.take().map(u128::from_le_bytes));
            let accounts = accounts.ok_or(Garbled::Malformed)?;
            let add = |sum: u128, work: &u128| sum.checked_add(*work).filter(|sum| *sum <= SLICE_WORK_MAX);
            let work = accounts.values().try_fold(0, add).ok_or(Garbled::Malformed)?;
            Content::Slice(Arc::new(Slice {
                level: sheet.key.level.into(),
                work,
                accounts,
            }))
        }
        Kind::Carries => {
            let carries = entries(&whole, |from| from.take().map(i64::from_le_bytes));
            Content::Carries(Arc::new(carries.ok_or(Garbled::Malformed)?))
        }
        Kind::Scripts => {
            let script = |from: &mut Reader<'_>| {
                let [length] = from.take()?;
                from.slice(length.into()).map(Arc::from)
            };
            Content::Scripts(Arc::new(entries(&whole, script).ok_or(Garbled::Malformed)?))
        }
    };
    let parts = sheet.parts.iter().map(|part| (part.bytes, part.crc));
    Ok(Held {
        parts: parts.collect(),
        content,
    })
}

fn entries<V>(bytes: &[u8], value: impl Fn(&mut Reader<'_>) -> Option<V>) -> Option<HashMap<AccountId, V>> {
    let mut from = Reader(bytes);
    let mut entries = HashMap::new();
    while !from.0.is_empty() {
        let account = from.take()?;
        entries.insert(account, value(&mut from)?);
    }
    Some(entries)
}
