//! Measures the ledger on this machine: `cargo run --release -p adit-ledger --example measure -- FOLDER [RECORDS]`.
#![expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use adit_ledger::journal::Settings;
use adit_ledger::record::{Entry, Share};
use adit_ledger::{MemDisk, Writer};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: measure FOLDER [RECORDS]")?;
    let records = arguments.next().map_or(Ok(10_000_000), |count| count.parse())?;
    let folder = Path::new(&folder);
    // Who mines alone is no part of the window that others share by.
    for (what, solo) in [("window", false), ("no window", true)] {
        encode(what, solo)?;
    }
    syncs(&folder.join("sync"))?;
    lanes(&folder.join("lanes"), 20_000)?;
    lanes(&folder.join("lanes-fast"), 500_000)?;
    start(&folder.join("start"), records)
}

fn share(n: u64) -> Share {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    let (account, time_us) = ([(n % 200) as u8; 16], n);
    Share {
        account,
        worker: None,
        hash,
        work: n,
        channel: n % 1000,
        time_us,
        ntime: 1,
        nonce: 2,
        version: 3,
        height: 4,
        is_block: false,
        solo: false,
    }
}

/// What a record costs without a disk: encode, checksum, chain, book.
fn encode(what: &str, solo: bool) -> Result<(), Failure> {
    let (mut journal, _) = adit_ledger::Journal::open(
        MemDisk::new(1),
        Settings {
            grow_bytes: 0,
            ..Settings::default()
        },
    )?;
    const COUNT: u64 = 2_000_000;
    let mut appending = Duration::ZERO;
    let began = Instant::now();
    for group in 0..COUNT / 1000 {
        let at = Instant::now();
        for n in 0..1000 {
            let share = Share {
                solo,
                ..share(group * 1000 + n)
            };
            journal.append(0, &Entry::Share(share));
        }
        appending += at.elapsed();
        journal.commit()?;
    }
    let all = began.elapsed();
    println!(
        "{what}: encode and append {:.1} M records/s; with chain, book and a copy in memory {:.1} M records/s",
        COUNT as f64 / appending.as_secs_f64() / 1e6,
        COUNT as f64 / all.as_secs_f64() / 1e6
    );
    Ok(())
}

/// A commit of 20 records, one after the other, with and without blank space ahead.
fn syncs(folder: &Path) -> Result<(), Failure> {
    for (name, grow_bytes) in [("append", 0), ("space ahead", Settings::default().grow_bytes)] {
        let folder = folder.join(name);
        let settings = Settings {
            grow_bytes,
            ..Settings::default()
        };
        let mut journal = adit_ledger::open(&folder, settings, "measure", 0)?.journal;
        let mut took = Vec::new();
        for group in 0..500 {
            (0..20).for_each(|n| {
                journal.append(0, &Entry::Share(share(group * 20 + n)));
            });
            let at = Instant::now();
            journal.commit()?;
            took.push(at.elapsed());
        }
        println!("commit of 20, {name}: {}", quantiles(&mut took));
    }
    Ok(())
}

/// Four lanes at `rate` shares a second in all, ten seconds, batches every half millisecond:
/// from send to committed.
fn lanes(folder: &Path, rate: u64) -> Result<(), Failure> {
    const LANES: u64 = 4;
    const TICK: Duration = Duration::from_micros(500);
    let began = Instant::now();
    let opened = adit_ledger::open(folder, Settings::default(), "measure", 0)?;
    let clock = Arc::new(move || began.elapsed().as_micros() as u64);
    let writer = Writer::spawn(opened.journal, adit_ledger::writer::Settings::default(), clock)?;
    let a_batch = (rate * TICK.as_micros() as u64 / 1_000_000 / LANES).max(1);
    let pace = Duration::from_micros(1_000_000 * LANES * a_batch / rate);
    let mut took: Vec<Duration> = std::thread::scope(|threads| {
        let all: Vec<_> = (0..LANES)
            .map(|number| {
                threads.spawn({
                    let writer = &writer;
                    move || lane(writer, number, a_batch, pace)
                })
            })
            .collect();
        all.into_iter()
            .filter_map(|thread| thread.join().ok())
            .flatten()
            .collect()
    });
    let stats = writer.stats();
    println!(
        "{rate} shares/s asked, {:.0} reached, {} a group, from send to committed: {}; commit {} us on average",
        stats.records as f64 / began.elapsed().as_secs_f64(),
        stats.records / stats.groups.max(1),
        quantiles(&mut took),
        stats.commit_us / stats.groups.max(1)
    );
    writer.stop()?;
    Ok(())
}

fn lane(writer: &Writer, number: u64, a_batch: u64, pace: Duration) -> Vec<Duration> {
    let bell = Arc::new((Mutex::new(()), Condvar::new()));
    let ring = Arc::clone(&bell);
    let mut lane = writer.lane(Arc::new(move || ring.1.notify_all()));
    let (mut waiting, mut took, mut batch) = (std::collections::VecDeque::new(), Vec::new(), Vec::new());
    let began = Instant::now();
    let mut next = 0;
    while began.elapsed() < Duration::from_secs(10) {
        while pace * next <= began.elapsed() {
            batch.extend((0..a_batch).map(|n| share((u64::from(next) * a_batch + n) * 4 + number)));
            let Ok(mark) = lane.send(&mut batch) else { break };
            waiting.push_back((mark, Instant::now()));
            next += 1;
        }
        if let Ok(guard) = bell.0.lock() {
            drop(
                bell.1
                    .wait_timeout(guard, (pace * next).saturating_sub(began.elapsed())),
            );
        }
        while let Some((_, at)) = waiting.pop_front_if(|(mark, _)| *mark <= lane.committed()) {
            took.push(at.elapsed());
        }
    }
    took
}

/// How long opening and verifying a long journal takes.
fn start(folder: &Path, records: u64) -> Result<(), Failure> {
    let mut journal = adit_ledger::open(folder, Settings::default(), "measure", 0)?.journal;
    let at = Instant::now();
    for n in 0..records {
        journal.append(0, &Entry::Share(share(n)));
        if n % 20_000 == 0 {
            journal.commit()?;
        }
    }
    journal.stop(0)?;
    drop(journal);
    println!("wrote {records} records in {:?}", at.elapsed());
    let at = Instant::now();
    let opened = adit_ledger::open(folder, Settings::default(), "measure", 0)?;
    println!(
        "opened in {:?}, {} records read",
        at.elapsed(),
        opened.recovery.records_read
    );
    drop(opened);
    let at = Instant::now();
    let report = adit_ledger::verify::verify(folder)?;
    println!("verified {} records in {:?}", report.records, at.elapsed());
    Ok(())
}

fn quantiles(took: &mut [Duration]) -> String {
    took.sort_unstable();
    let at = |per_mille: usize| {
        took.get(took.len().saturating_sub(1) * per_mille / 1000)
            .copied()
            .unwrap_or_default()
    };
    format!(
        "p50 {:?} p99 {:?} max {:?} ({} values)",
        at(500),
        at(990),
        at(1000),
        took.len()
    )
}
