//! Measures the books on this machine: how fast a journal is counted into a database.
//!
//! `cargo run --release -p adit --example books -- FOLDER DB [RECORDS] [ACCOUNTS] [WORKERS]`
//!
//! Makes a journal of so many shares in FOLDER where there is none (the default is a million of 1,000 accounts with a
//! worker each, at 5,000 a second), opens it as a pool does, then counts it into DB (`sqlite:PATH`, `postgres://..`).

use std::path::Path;

use adit::books::Db;
use adit_ledger::record::{Entry, Share, WorkerNamed, account_parts};
use adit_ledger::{Follower, journal};
use adit_net::Clock;

type Failure = Box<dyn std::error::Error>;

/// Records of one transaction, as the consumer takes them when it is behind.
const BATCH: usize = 20_000;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage = "usage: books FOLDER DB [RECORDS] [ACCOUNTS] [WORKERS of each]";
    let (folder, db) = (arguments.first().ok_or(usage)?, arguments.get(1).ok_or(usage)?);
    let number = |at: usize, default: u64| arguments.get(at).map_or(Ok(default), |given| given.parse());
    let shape = Shape {
        records: number(2, 1_000_000)?,
        accounts: number(3, 1_000)?,
        workers: number(4, 1)?.max(1),
    };
    let (folder, clock) = (Path::new(folder), Clock::system());
    if !folder.join("ledger").exists() {
        let before = clock.now();
        make(folder, &shape)?;
        println!("wrote {} records in {:?}", shape.records, clock.now() - before);
    }
    let before = clock.now();
    let opened = adit_ledger::open(folder, journal::Settings::default(), "measure", before.0)?;
    println!(
        "opened in {:?}, {} records read",
        clock.now() - before,
        opened.recovery.records_read
    );
    count(folder, db, opened.journal.durable().next(), &clock)
}

struct Shape {
    records: u64,
    accounts: u64,
    workers: u64,
}

fn id(n: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    id
}

fn make(folder: &Path, shape: &Shape) -> Result<(), Failure> {
    let mut journal = adit_ledger::open(folder, journal::Settings::default(), "measure", 0)?.journal;
    let start_us = 1_795_953_600_000_000;
    for n in 0..shape.accounts {
        account_parts(id(n), &format!("bc1qmeasure{n}")).for_each(|part| {
            journal.append(start_us, &Entry::Account(part));
        });
        for worker in 0..shape.workers {
            journal.append(
                start_us,
                &Entry::Worker(WorkerNamed::new(id(n), id(worker), "rig")),
            );
        }
    }
    for n in 0..shape.records {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        hash[8..16].copy_from_slice(&n.to_le_bytes());
        journal.append(
            0,
            &Entry::Share(Share {
                account: id(n % shape.accounts),
                worker: Some(id(n / shape.accounts % shape.workers)),
                hash,
                work: 1 << 32,
                channel: n % 1_000,
                time_us: start_us + n * 200,
                ntime: 1,
                nonce: n as u32,
                version: 2,
                height: 900_000,
                is_block: false,
                solo: false,
            }),
        );
        if n % 20_000 == 0 {
            journal.commit()?;
        }
    }
    journal.stop(start_us)?;
    Ok(())
}

fn count(folder: &Path, db: &str, durable: u64, clock: &Clock) -> Result<(), Failure> {
    let db = Db::parse(db).ok_or(Db::EXPECTED)?.within(folder);
    let mut store = db.open()?;
    let disk = adit_ledger::FileDisk::open(&folder.join("ledger"))?;
    let mut follower = Follower::new(disk, store.position(0)?.last + 1);
    let (mut records, mut counted) = (Vec::new(), 0);
    let (before, mut longest) = (clock.now(), std::time::Duration::ZERO);
    while follower.next_sequence() < durable {
        records.clear();
        follower.read(durable, BATCH, &mut records)?;
        let at = clock.now();
        counted += store.apply(0, &records)?.records;
        longest = longest.max(clock.now() - at);
    }
    let took = clock.now() - before;
    let rate = counted as f64 / took.as_secs_f64();
    println!(
        "counted {counted} records into {db} in {took:?}: {rate:.0} a second; longest batch {longest:?}"
    );
    let before = clock.now();
    let agreement = adit::books::check::compare(store.as_mut(), folder, true)?;
    println!(
        "journal, book and database agree about {} accounts and {} workers; proven in {:?}",
        agreement.accounts,
        agreement.workers,
        clock.now() - before
    );
    Ok(())
}
