//! What the scenarios share.
#![allow(dead_code, reason = "every scenario uses a part of it")]

use std::sync::{Mutex, MutexGuard, PoisonError};

use adit_ledger::journal::{Journal, JournalError, Recovery, Settings};
use adit_ledger::record::{Entry, Share};
use adit_ledger::{Book, MemDisk};

/// Small files, so that segments and blank space end often.
pub(crate) const SETTINGS: Settings = Settings {
    front_end: 7,
    segment_bytes_max: 4096 + 128 * 60,
    grow_bytes: 2048,
};

/// The `n`-th share: everything in it follows from `n`.
pub(crate) fn share(n: u64) -> Share {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    hash[8..16].copy_from_slice(&n.to_le_bytes());
    Share {
        account: [(n % 3) as u8; 16],
        worker: n.is_multiple_of(7).then_some([9; 16]),
        hash,
        work: n + 1,
        channel: n % 5,
        time_us: 1_000_000 + n,
        ntime: n as u32,
        nonce: 2,
        version: 3,
        height: 4,
        is_block: n.is_multiple_of(50),
        solo: n.is_multiple_of(7),
    }
}

pub(crate) fn open(disk: &MemDisk) -> Result<(Journal<MemDisk>, Recovery), JournalError> {
    Journal::open(disk.clone(), SETTINGS)
}

pub(crate) fn append(journal: &mut Journal<MemDisk>, shares: std::ops::Range<u64>) {
    shares.for_each(|n| {
        journal.append(0, &Entry::Share(share(n)));
    });
}

pub(crate) fn book(journal: &Journal<MemDisk>) -> Book {
    let book = journal.book();
    let book = lock(&book);
    book.clone()
}

/// The book of the first `n` shares.
pub(crate) fn book_of(n: u64) -> Book {
    let mut book = Book::default();
    for n in 0..n {
        let entry = Entry::Share(share(n));
        book.apply(&adit_ledger::Record {
            sequence: n + 1,
            time_us: 0,
            front_end: 7,
            epoch: 0,
            group_index: 0,
            entry,
        });
    }
    book
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// xorshift64*, seeded.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % n
    }
}
