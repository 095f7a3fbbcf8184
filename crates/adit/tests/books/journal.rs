//! A journal as a pool would write it, from a seed: names, workers, sessions, shares, blocks, refused shares, payouts, restarts.

use std::path::Path;

use adit::books::{Db, Row, Store};
use adit_ledger::journal::{Journal, Settings};
use adit_ledger::record::{
    BlockFound, ChannelKind, Ending, Outcome, OutcomeNote, Payout, PayoutState, Protocol, Rejects,
    SessionClosed, SessionOpened, WorkerNamed, account_parts,
};
use adit_ledger::{Entry, FileDisk, Record, Share};
use adit_testkit::Postgres;
use tempfile::TempDir;

/// xorshift64*, seeded.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next() as u8)
    }
}

/// 2026-11-29, 12:00.
pub(crate) const NOON_US: u64 = 1_795_953_600_000_000;

pub(crate) fn account(n: u64) -> [u8; 16] {
    let mut id = [0xa0; 16];
    id[0] = n as u8 + 1;
    id
}

pub(crate) fn worker(n: u64) -> [u8; 16] {
    let mut id = [0xb0; 16];
    id[0] = n as u8 + 1;
    id
}

/// Small files, so that there are many.
pub(crate) const SETTINGS: Settings = Settings {
    front_end: 3,
    segment_bytes_max: 64 << 10,
    grow_bytes: 4096,
};

pub(crate) fn disk(data: &Path) -> FileDisk {
    FileDisk::create(&data.join("ledger")).unwrap()
}

/// Opens the journal of a data folder.
pub(crate) fn open(data: &Path) -> Journal {
    Journal::open(disk(data), SETTINGS).unwrap().0
}

/// What a pool writes, one entry after the other.
pub(crate) struct Story {
    random: Random,
    /// Sessions that are open, and how many there were.
    open: Vec<u64>,
    sessions: u64,
}

impl Story {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            open: Vec::new(),
            sessions: 0,
        }
    }

    /// The process is killed: its sessions are not closed.
    fn restart(&mut self) {
        self.open.clear();
    }

    /// Something that a pool would have written next; never the first of an epoch.
    pub(crate) fn entry(&mut self, time_us: u64) -> Entry {
        let number = match self.random.below(20) {
            0 => {
                self.sessions += 1;
                self.open.push(self.sessions);
                Some((self.sessions, true))
            }
            1 => self.open.pop().map(|number| (number, false)),
            _ => None,
        };
        let owner = account(number.map_or(0, |(number, _)| number % 5));
        match number {
            Some((number, true)) => {
                let (kind, protocol) = (ChannelKind::Extended, Protocol::Current);
                let opened = SessionOpened::new(owner, number, 7, time_us, kind, protocol);
                Entry::Session(opened.on("miner 1.0"))
            }
            Some((session, false)) => Entry::Closed(SessionClosed {
                account: owner,
                session,
                channel: 7,
                ending: Ending::Lost,
            }),
            None => other(&mut self.random, time_us),
        }
    }
}

fn other(random: &mut Random, time_us: u64) -> Entry {
    let (owner, machine) = (account(random.below(5)), worker(random.below(3)));
    let named = (random.below(2) == 0).then_some(machine);
    match random.below(40) {
        0 => Entry::Worker(WorkerNamed::new(owner, machine, &format!("rig\0{}", machine[0]))),
        1 => Entry::Block(BlockFound {
            hash: random.bytes(),
            height: 800_000 + random.below(5) as u32,
            value: 312_500_000,
            account: owner,
            channel: random.below(1 << 56),
            worker: named,
        }),
        2 => Entry::Outcome(OutcomeNote::new(
            random.bytes(),
            800_001,
            Outcome::Stale,
            0,
            "lost",
        )),
        5 | 6 => {
            let reason = ["stale-share", "duplicate-share"][random.below(2) as usize];
            let whose = (random.below(4) > 0).then_some(owner);
            Entry::Rejects(Rejects::new(
                whose,
                whose.and(named),
                reason,
                1 + random.below(99),
                time_us,
            ))
        }
        7 => {
            use PayoutState::{Cancelled, Confirmed, Planned, Sent};
            Entry::Payout(Payout {
                account: owner,
                batch: [random.below(4) as u8; 16],
                txid: random.bytes(),
                satoshis: random.below(1 << 40),
                vout: random.below(9) as u32,
                height: 0,
                fee: 10,
                state: [Planned, Sent, Confirmed, Cancelled][random.below(4) as usize],
            })
        }
        _ => Entry::Share(Share {
            account: owner,
            worker: named,
            hash: random.bytes(),
            // Large ones, too: their sum is beyond 64 bits.
            work: random.next() >> random.below(40),
            channel: random.below(1 << 56),
            time_us,
            ntime: 1,
            nonce: random.next() as u32,
            version: 2,
            height: 800_000,
            is_block: false,
            solo: false,
        }),
    }
}

/// Appends so many entries in groups, with restarts, over some hours.
pub(crate) fn write(data: &Path, seed: u64, entries: u64) {
    let (mut story, mut random) = (Story::new(seed), Random::new(seed + 1_000));
    let mut journal = open(data);
    let mut time_us = NOON_US;
    journal.start(journal.epoch() + 1, "adit test", time_us);
    for n in 0..5 {
        let name = format!("bc1q{n}.{}", "ä".repeat(n * 25));
        account_parts(account(n as u64), &name).for_each(|part| {
            journal.append(time_us, &Entry::Account(part));
        });
    }
    for n in 0..entries {
        time_us += random.below(3_000_000);
        if n > 0 && n % 400 == 0 {
            journal.start(journal.epoch() + 1, "adit test", time_us);
            story.restart();
        }
        let entry = story.entry(time_us);
        journal.append(time_us, &entry);
        if random.below(8) == 0 {
            journal.commit().unwrap();
        }
    }
    journal.commit().unwrap();
}

/// All records of a journal.
pub(crate) fn records(data: &Path) -> Vec<Record> {
    let mut records = Vec::new();
    let durable = open(data).durable().next();
    let mut follower = adit_ledger::Follower::new(disk(data), 1);
    follower.read(durable, usize::MAX / 2, &mut records).unwrap();
    records
}

/// A database of either kind, empty, private to a test.
pub(crate) enum House {
    Sqlite(TempDir),
    Postgres(Box<Postgres>),
}

impl House {
    /// SQLite, and PostgreSQL where it is installed.
    pub(crate) fn both() -> Vec<Self> {
        let server = Postgres::start().map(|server| Self::Postgres(Box::new(server)));
        [Some(Self::sqlite()), server].into_iter().flatten().collect()
    }

    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    pub(crate) fn db(&self) -> Db {
        match self {
            Self::Sqlite(folder) => Db::Sqlite(Some(folder.path().join("books.sqlite"))),
            Self::Postgres(server) => Db::parse(&server.url()).unwrap(),
        }
    }

    pub(crate) fn open(&self) -> Box<dyn Store> {
        self.db().open().unwrap()
    }
}

/// Every row of every table, in order.
pub(crate) fn dump(store: &mut dyn Store) -> Vec<(&'static str, Vec<Row>)> {
    let tables = [
        ("positions", "front_end"),
        ("accounts", "account"),
        ("name_parts", "account, part"),
        ("workers", "account, worker"),
        ("tallies", "account, worker"),
        ("history", "account, worker, resolution, start_s"),
        ("rejects", "account, worker, resolution, start_s, reason"),
        ("best_shares", "day, account, worker"),
        ("sessions", "epoch, session"),
        ("blocks", "hash"),
        ("payouts", "batch, account"),
    ];
    let read = |(table, order): (&'static str, &str)| {
        let rows = store
            .rows(&format!("SELECT * FROM {table} ORDER BY {order}"), &[])
            .unwrap();
        (table, rows)
    };
    tables.map(read).into()
}
