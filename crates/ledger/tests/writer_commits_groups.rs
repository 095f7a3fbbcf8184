//! The group-commit thread: lanes, real files, full disks, bounds. Nothing here sleeps: the tests
//! wait on the writer's own notices.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod common;

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use adit_ledger::disk::{Fault, FaultKind};
use adit_ledger::journal::{Journal, Settings as JournalSettings};
use adit_ledger::record::BlockFound;
use adit_ledger::verify::{verify, verify_on};
use adit_ledger::writer::{Clock, Notify, Settings};
use adit_ledger::{MemDisk, State, Writer};
use common::{book_of, lock, share};

/// Counts notices; waiters sleep on it. The deadline only ends a broken test.
#[derive(Clone, Default)]
struct Bell(Arc<(Mutex<u64>, Condvar)>);

impl Bell {
    fn notify(&self) -> Notify {
        let bell = self.clone();
        Arc::new(move || {
            *lock(&bell.0.0) += 1;
            bell.0.1.notify_all();
        })
    }

    fn wait(&self, mut until: impl FnMut() -> bool) {
        let waited = self
            .0
            .1
            .wait_timeout_while(lock(&self.0.0), Duration::from_secs(60), |_| !until());
        assert!(!waited.unwrap().1.timed_out(), "waited a minute for the writer");
    }
}

fn clock() -> Clock {
    Arc::new(|| 5_000_000)
}

fn settings() -> Settings {
    Settings {
        retry_ms: 1,
        ..Settings::default()
    }
}

fn on(disk: &MemDisk) -> Journal<MemDisk> {
    common::open(disk).unwrap().0
}

#[test]
fn many_lanes_share_one_real_file_and_every_share_is_counted_once() {
    const LANES: u64 = 4;
    const BATCHES: u64 = 200;
    const BATCH: u64 = 25;
    let folder = tempfile::tempdir().unwrap();
    let opened = adit_ledger::open(
        folder.path(),
        JournalSettings {
            segment_bytes_max: 1 << 20,
            ..Default::default()
        },
        "test 1",
        1,
    )
    .unwrap();
    let writer = Writer::spawn(opened.journal, settings(), clock()).unwrap();
    std::thread::scope(|threads| {
        for number in 0..LANES {
            let bell = Bell::default();
            let mut lane = writer.lane(bell.notify());
            threads.spawn(move || {
                let mut batch = Vec::new();
                for turn in 0..BATCHES {
                    let first = (turn * LANES + number) * BATCH;
                    batch.extend((first..first + BATCH).map(share));
                    let sent = lane.send(&mut batch).unwrap();
                    assert!(batch.is_empty() && lane.committed() <= sent);
                }
                bell.wait(|| lane.committed() == BATCHES * BATCH);
            });
        }
    });
    let book = lock(&writer.book()).clone();
    // One start record is in the book too.
    let mut expected = book_of(LANES * BATCHES * BATCH);
    expected.starts = 1;
    assert_eq!(book, expected);
    let stats = writer.stats();
    assert!(
        stats.groups < LANES * BATCHES && stats.records == LANES * BATCHES * BATCH + 1,
        "{stats:?}"
    );
    writer.stop().unwrap();
    let report = verify(folder.path()).unwrap();
    assert!(report.segments > 1);
    assert_eq!(
        (report.book, report.duplicate_hashes, report.torn_bytes),
        (book, Some(0), 0)
    );
    assert_eq!(report.checkpoint_agrees, Some(true));
    // A second start gets a new epoch and the same sums.
    drop(opened.lock);
    let again = adit_ledger::open(folder.path(), JournalSettings::default(), "test 2", 2).unwrap();
    assert_eq!(again.epoch, 2);
    assert_eq!(common_shares(&again.journal), LANES * BATCHES * BATCH);
}

fn common_shares<D: adit_ledger::Disk>(journal: &Journal<D>) -> u64 {
    lock(&journal.book()).shares
}

#[test]
fn a_full_disk_stops_acknowledgements_and_space_brings_them_back() {
    let disk = MemDisk::new(1);
    let journal = on(&disk);
    disk.limit(20_000);
    let writer = Writer::spawn(journal, settings(), clock()).unwrap();
    let (shares_bell, state_bell) = (Bell::default(), Bell::default());
    writer.watch(state_bell.notify());
    let mut lane = writer.lane(shares_bell.notify());
    let mut sent = 0;
    while writer.state() == State::Up {
        sent = lane.send(&mut vec![share(sent)]).unwrap();
        // Either this share becomes durable or the disk says no.
        while lane.committed() < sent && writer.state() == State::Up {
            std::thread::yield_now();
        }
    }
    let State::Down(reason) = writer.state() else {
        panic!("{:?}", writer.state())
    };
    assert!(reason.contains("free some space"), "{reason}");
    assert!(!lane.is_up());
    let stuck = lane.committed();
    sent = lane.send(&mut (sent..sent + 100).map(share).collect()).unwrap();
    // Failures ring no bell of their own.
    while writer.stats().failures <= 3 {
        std::thread::yield_now();
    }
    assert_eq!(lane.committed(), stuck, "nothing is acknowledged");
    disk.limit(u64::MAX);
    shares_bell.wait(|| lane.committed() == sent);
    state_bell.wait(|| writer.state() == State::Up);
    writer.stop().unwrap();
    assert_eq!(verify_on(&disk.power_cut(3)).unwrap().book, book_of(sent));
}

#[test]
fn a_failed_sync_goes_on_in_a_new_file() {
    let disk = MemDisk::new(2);
    let journal = on(&disk);
    // The first write succeeds, its sync fails.
    disk.inject(Some(Fault {
        at: 1,
        calls: 1,
        kind: FaultKind::Io,
    }));
    let writer = Writer::spawn(journal, settings(), clock()).unwrap();
    let bell = Bell::default();
    let mut lane = writer.lane(bell.notify());
    lane.send(&mut (0..10).map(share).collect()).unwrap();
    bell.wait(|| lane.committed() == 10);
    assert_eq!(writer.stats().failures, 1);
    writer.stop().unwrap();
    let report = verify_on(&disk.power_cut(1)).unwrap();
    assert_eq!(report.book, book_of(10));
}

#[test]
fn lanes_refuse_past_the_bound_and_keep_the_batch() {
    let disk = MemDisk::new(3);
    let journal = on(&disk);
    disk.inject(Some(Fault {
        at: 0,
        calls: u64::MAX,
        kind: FaultKind::Full,
    }));
    let bounded = Settings {
        pending_max: 50,
        ..settings()
    };
    let writer = Writer::spawn(journal, bounded, clock()).unwrap();
    let bell = Bell::default();
    let mut lane = writer.lane(bell.notify());
    lane.send(&mut (0..50).map(share).collect()).unwrap();
    let mut batch: Vec<_> = (50..60).map(share).collect();
    assert!(lane.send(&mut batch).is_err());
    assert_eq!((batch.len(), lane.sent()), (10, 50));
    disk.inject(None);
    bell.wait(|| lane.committed() == 50);
    lane.send(&mut batch).unwrap();
    bell.wait(|| lane.committed() == 60);
}

#[test]
fn a_stop_while_the_disk_is_ill_says_so_and_acknowledges_nothing() {
    let disk = MemDisk::new(4);
    let journal = on(&disk);
    disk.inject(Some(Fault {
        at: 0,
        calls: u64::MAX,
        kind: FaultKind::Io,
    }));
    let writer = Writer::spawn(journal, settings(), clock()).unwrap();
    let mut lane = writer.lane(Bell::default().notify());
    lane.send(&mut vec![share(0)]).unwrap();
    assert!(writer.stop().unwrap_err().contains("check the disk"));
    assert_eq!(lane.committed(), 0);
    assert!(
        lane.send(&mut vec![share(1)]).is_err(),
        "a stopped writer takes nothing"
    );
}

#[test]
fn a_name_is_written_once_and_before_the_shares() {
    let disk = MemDisk::new(5);
    for turn in 0..2 {
        let mut journal = on(&disk);
        journal.start(turn + 1, "test", 1);
        let writer = Writer::spawn(journal, settings(), clock()).unwrap();
        let bell = Bell::default();
        let (mut a, mut b) = (writer.lane(bell.notify()), writer.lane(bell.notify()));
        for lane in [&mut a, &mut b] {
            lane.account([0; 16], &"miner.".repeat(40)).unwrap();
            lane.send(&mut vec![share(u64::from(turn) * 3)]).unwrap();
        }
        a.block(BlockFound {
            hash: [1; 32],
            height: 3,
            value: 4,
            account: [0; 16],
            channel: 5,
            worker: None,
        })
        .unwrap();
        bell.wait(|| a.committed() == 1 && b.committed() == 1);
        writer.stop().unwrap();
    }
    let mut csv = Vec::new();
    adit_ledger::export::export_on(&disk, &mut csv, adit_ledger::export::Format::Csv).unwrap();
    let csv = String::from_utf8(csv).unwrap();
    let kinds: Vec<_> = csv
        .lines()
        .skip(1)
        .filter_map(|line| line.split(',').nth(4))
        .collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "account").count(), 4);
    let first_share = kinds.iter().position(|kind| *kind == "share").unwrap();
    assert!(
        kinds[..first_share]
            .iter()
            .filter(|kind| **kind == "account")
            .count()
            == 4
    );
    assert_eq!(kinds.iter().filter(|kind| **kind == "stop").count(), 2);
    let book = verify_on(&disk).unwrap().book;
    assert_eq!(book.account(&[0; 16]).unwrap().name(), Some("miner.".repeat(40)));
    assert_eq!(book.blocks, 2);
}
