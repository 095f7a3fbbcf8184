//! What a front end says of its book to the others, so that all of them pay alike: who did the last work, what is owed,
//! and whom accounts pay.
//!
//! ```text
//!   Statement ──► Publisher ──► sheets that are new, then a Manifest that names all of them      (any store of bytes by slot)
//!   Manifest ──► Mirror: which sheets are lacking ──► fetched ──► the same Statement, or none
//! ```
//!
//! A window of many accounts is large and changes at its young end only, so that it travels slice by slice. The
//! manifest is what makes them one: a reader has what a manifest names, byte for byte, or stays with what it had. A
//! publisher never writes where its last manifest points, so that whoever reads that one is not disturbed.

mod format;
mod mirror;
mod publisher;

use std::collections::HashMap;
use std::sync::Arc;

pub use format::{Key, Kind, MANIFEST_BYTES_MAX, Manifest, PART_BYTES_MAX, Part, Sheet};
pub use mirror::Mirror;
pub use publisher::Publisher;

use crate::record::AccountId;
use crate::window::Window;

/// A front end's book, as far as others have to know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// When it was made, microseconds since 1970; counts up.
    pub number: u64,
    /// Who did the last work there.
    pub window: Window,
    /// What its blocks have left unpaid, satoshis; negative where they paid too much. None is zero.
    pub carries: Arc<HashMap<AccountId, i64>>,
    /// The output scripts of accounts that are named in either.
    pub scripts: Arc<HashMap<AccountId, Arc<[u8]>>>,
}

/// Why something that was fetched is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Garbled {
    /// A sheet is not the one that the manifest names: it has been written over, or is gone. The next manifest will do.
    Stale,
    /// It cannot be read.
    Malformed,
}

impl std::fmt::Display for Garbled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stale => "its parts are not those of one moment",
            Self::Malformed => "it cannot be read",
        })
    }
}

impl std::error::Error for Garbled {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes by slot, as a transport keeps them.
    #[derive(Clone, Default)]
    struct Store {
        slots: HashMap<u32, Vec<u8>>,
        manifest: Vec<u8>,
    }

    impl Store {
        fn publish(&mut self, publisher: &mut Publisher, statement: &Statement) -> usize {
            let (parts, manifest) = publisher.publish(statement);
            let written = parts.len();
            self.slots.extend(parts);
            self.manifest = manifest.encode();
            written
        }

        fn read(&self, mirror: &mut Mirror) -> Result<Arc<Statement>, Garbled> {
            self.read_as(&self.manifest, mirror)
        }

        fn read_as(&self, manifest: &[u8], mirror: &mut Mirror) -> Result<Arc<Statement>, Garbled> {
            let manifest = Manifest::decode(manifest).ok_or(Garbled::Malformed)?;
            let lacking = mirror.lacks(&manifest);
            let fetched = lacking
                .into_iter()
                .map(|part| (part.slot, self.slots.get(&part.slot).cloned().unwrap_or_default()));
            mirror.take(&manifest, &fetched.collect())
        }
    }

    fn account(n: u8) -> AccountId {
        [n; 16]
    }

    fn statement(number: u64, window: &Window, carries: &[(u8, i64)]) -> Statement {
        let scripts = (0..8u8).map(|n| (account(n), Arc::from(vec![n; usize::from(n) + 1])));
        Statement {
            number,
            window: window.clone(),
            carries: Arc::new(carries.iter().map(|(n, sat)| (account(*n), *sat)).collect()),
            scripts: Arc::new(scripts.collect()),
        }
    }

    proptest! {
        /// Whatever happens between them, a mirror has what was said, and what has not changed does not travel again.
        #[test]
        fn a_mirror_says_the_same(rounds in prop::collection::vec(
            (prop::collection::vec((0u8..8, 1u64..1_000, 0u64..2_000), 0..30), any::<bool>(), any::<bool>()), 1..12)
        ) {
            let (mut store, mut publisher, mut mirror) = (Store::default(), Publisher::default(), Mirror::default());
            let mut window = Window::default();
            for (number, (shares, restarted, looked)) in rounds.iter().enumerate() {
                for (n, work, at_s) in shares {
                    window.add(account(*n), *work, (number as u64 * 2_000 + at_s) * 1_000_000);
                }
                if *restarted {
                    publisher = Publisher::default();
                }
                let said = statement(number as u64 + 1, &window, &[(number as u8 % 8, number as i64 - 3)]);
                store.publish(&mut publisher, &said);
                if *looked {
                    let read = store.read(&mut mirror);
                    prop_assert_eq!(read.as_deref(), Ok(&said));
                }
                let nothing_new = store.publish(&mut publisher, &Statement { number: 1_000 + number as u64, ..said.clone() });
                prop_assert_eq!(nothing_new, 0);
            }
            let fresh = store.read(&mut Mirror::default());
            prop_assert_eq!(&fresh.unwrap().window, &window);
        }

        /// Nothing that a store could hold is taken for a statement that nobody made, and nothing breaks the reader.
        #[test]
        fn bytes_from_anywhere_are_no_statement(mut bytes in prop::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            prop_assert_eq!(Manifest::decode(&bytes), None);
            let mut store = Store::default();
            let mut window = Window::default();
            window.add(account(1), 5, 1);
            store.publish(&mut Publisher::default(), &statement(7, &window, &[(1, -5)]));
            let at = at.index(store.manifest.len());
            store.manifest[at] ^= 1 << bit;
            prop_assert_eq!(store.read(&mut Mirror::default()), Err(Garbled::Malformed));
            std::mem::swap(&mut store.manifest, &mut bytes);
        }
    }

    /// Somebody who reads the last manifest while the next one is written is not disturbed; one that is two rounds late is
    /// told so.
    #[test]
    fn what_the_last_manifest_names_is_not_written_over() {
        let (mut store, mut publisher) = (Store::default(), Publisher::default());
        let mut window = Window::default();
        window.add(account(1), 5, 1);
        let first = statement(1, &window, &[(1, 7)]);
        store.publish(&mut publisher, &first);
        let first_manifest = store.manifest.clone();
        window.add(account(2), 5, 2);
        let second = statement(2, &window, &[(1, 8)]);
        store.publish(&mut publisher, &second);
        let late = store.read_as(&first_manifest, &mut Mirror::default());
        assert_eq!(late.as_deref(), Ok(&first));
        window.add(account(3), 5, 3);
        store.publish(&mut publisher, &statement(3, &window, &[(1, 9)]));
        let too_late = store.read_as(&first_manifest, &mut Mirror::default());
        assert_eq!(too_late, Err(Garbled::Stale));
    }

    /// A reader that fails keeps what it had, and slots are used again: a store does not grow with time.
    #[test]
    fn slots_are_used_again_and_a_failed_reading_changes_nothing() {
        let (mut store, mut publisher, mut mirror) =
            (Store::default(), Publisher::default(), Mirror::default());
        let mut window = Window::default();
        for round in 0..1_000u64 {
            window.add(account((round % 8) as u8), 1, round * 10_000_000);
            let said = statement(round + 1, &window, &[]);
            store.publish(&mut publisher, &said);
            assert_eq!(store.read(&mut mirror).as_deref(), Ok(&said));
        }
        let alive = window.slices() + 2;
        assert!(
            store.slots.len() <= 2 * alive,
            "{} slots for {alive}",
            store.slots.len()
        );
        let before = mirror.statement();
        window.add(account(1), 1, 20_000_000_000);
        store.publish(&mut publisher, &statement(5_000, &window, &[]));
        store.slots.clear();
        assert_eq!(store.read(&mut mirror), Err(Garbled::Stale));
        assert_eq!(mirror.statement(), before);
    }

    /// More accounts than one part holds.
    #[test]
    fn large_sheets_travel_in_parts() {
        let (mut store, mut window) = (Store::default(), Window::default());
        for n in 0..40_000u32 {
            let mut account = [0; 16];
            account[..4].copy_from_slice(&n.to_le_bytes());
            window.add(account, u64::from(n) + 1, 5);
        }
        let said = statement(9, &window, &[]);
        store.publish(&mut Publisher::default(), &said);
        assert!(store.slots.values().all(|part| part.len() <= PART_BYTES_MAX));
        assert!(store.slots.len() > 3);
        assert_eq!(store.read(&mut Mirror::default()).as_deref(), Ok(&said));
    }
}
