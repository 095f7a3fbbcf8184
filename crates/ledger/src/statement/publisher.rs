//! Says what is new of a book.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::Statement;
use super::format::{Key, Kind, Manifest, Part, Sheet, parts};
use crate::window::Slice;

/// What was said last, and where it is kept.
#[derive(Debug, Default)]
pub struct Publisher {
    sheets: BTreeMap<Key, Said>,
    /// Slots that the last manifest does not name, nor the one before it.
    free: BTreeSet<u32>,
    /// Those that the one before it names and the last one does not: somebody may be reading them.
    leaving: Vec<u32>,
    /// The first slot that was never used.
    next: u32,
}

#[derive(Debug)]
struct Said {
    parts: Vec<Part>,
    /// The slice that they list: while it is the same one, nothing in it has changed.
    slice: Option<Arc<Slice>>,
}

impl Publisher {
    /// What is to be written, slot and bytes; and, after all of that, the manifest.
    pub fn publish(&mut self, statement: &Statement) -> (HashMap<u32, Vec<u8>>, Manifest) {
        self.free.extend(self.leaving.drain(..));
        let mut written = HashMap::new();
        let mut sheets = BTreeMap::new();
        for (start, slice) in statement.window.shared() {
            let key = Key {
                kind: Kind::Slice,
                start,
                level: slice.level as u8,
            };
            let known = self.sheets.remove(&key);
            let said = match known {
                Some(known) if known.slice.as_ref().is_some_and(|it| Arc::ptr_eq(it, slice)) => known,
                known => {
                    let entries = slice.accounts.iter().map(|(account, work)| (*account, *work));
                    let bytes = parts(entries, |work, out| out.extend_from_slice(&work.to_le_bytes()));
                    let slice = Some(Arc::clone(slice));
                    self.say(known, bytes, slice, &mut written)
                }
            };
            sheets.insert(key, said);
        }
        let carries = statement.carries.iter().map(|(account, sat)| (*account, *sat));
        let carries = parts(carries, |sat, out| out.extend_from_slice(&sat.to_le_bytes()));
        let scripts = statement.scripts.iter();
        let scripts = scripts.filter(|(_, script)| script.len() <= usize::from(u8::MAX));
        let scripts = parts(
            scripts.map(|(account, script)| (*account, script)),
            |script, out| {
                out.push(script.len() as u8);
                out.extend_from_slice(script);
            },
        );
        for (kind, bytes) in [(Kind::Carries, carries), (Kind::Scripts, scripts)] {
            let key = Key {
                kind,
                start: 0,
                level: 0,
            };
            let known = self.sheets.remove(&key);
            sheets.insert(key, self.say(known, bytes, None, &mut written));
        }
        let gone = std::mem::replace(&mut self.sheets, sheets);
        self.leaving.extend(
            gone.values()
                .flat_map(|said| said.parts.iter().map(|part| part.slot)),
        );
        let sheets = self.sheets.iter().map(|(key, said)| Sheet {
            key: *key,
            parts: said.parts.clone(),
        });
        let manifest = Manifest {
            number: statement.number,
            newest: statement.window.newest(),
            sheets: sheets.collect(),
        };
        (written, manifest)
    }

    /// A sheet of these parts: where it was, if it is the same, or else in slots that nobody reads.
    fn say(
        &mut self,
        known: Option<Said>,
        bytes: Vec<Vec<u8>>,
        slice: Option<Arc<Slice>>,
        written: &mut HashMap<u32, Vec<u8>>,
    ) -> Said {
        if let Some(known) = known {
            let same = known.parts.len() == bytes.len()
                && known
                    .parts
                    .iter()
                    .zip(&bytes)
                    .all(|(part, bytes)| part.fits(bytes));
            if same {
                return Said { slice, ..known };
            }
            self.leaving.extend(known.parts.iter().map(|part| part.slot));
        }
        let parts = bytes.into_iter().map(|bytes| {
            let slot = self.free.pop_first().unwrap_or_else(|| {
                self.next += 1;
                self.next - 1
            });
            let part = Part::of(slot, &bytes);
            written.insert(slot, bytes);
            part
        });
        Said {
            parts: parts.collect(),
            slice,
        }
    }
}
