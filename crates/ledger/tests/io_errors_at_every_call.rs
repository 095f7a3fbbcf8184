//! The n-th call to the disk fails, for every n: nothing is acknowledged that is not durable, the
//! journal opens again, and its book is the sum of what was appended, without a gap.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod common;

use adit_ledger::MemDisk;
use adit_ledger::disk::{Fault, FaultKind};
use common::{append, book, book_of, open};

/// Shares the run wants durable; several segments of [`common::SETTINGS`].
const SHARES: u64 = 200;
/// Shares a group.
const GROUP: u64 = 9;
/// Tries before a run gives up, as a process would on its operator's order.
const TRIES_MAX: u64 = 6;

/// Appends until all is acknowledged or the disk stays ill; returns how many shares were.
fn run(disk: &MemDisk) -> u64 {
    let Ok((mut journal, _)) = open(disk) else {
        return 0;
    };
    let mut acknowledged = 0;
    let mut appended = 0;
    let mut failures = 0;
    while acknowledged < SHARES && failures < TRIES_MAX {
        let until = (appended + GROUP).min(SHARES);
        append(&mut journal, appended..until);
        appended = until;
        match journal.commit() {
            Ok(next) => acknowledged = next - 1,
            Err(_) => failures += 1,
        }
    }
    acknowledged
}

/// What is on `disk` is a beginning of the shares and holds all that were acknowledged.
fn check(disk: &MemDisk, acknowledged: u64, what: &str) {
    let (journal, _) = open(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    let kept = journal.next_sequence() - 1;
    assert!(
        kept >= acknowledged,
        "{what}: {acknowledged} acknowledged, {kept} kept"
    );
    assert!(kept <= SHARES, "{what}: {kept} kept");
    assert_eq!(book(&journal), book_of(kept), "{what}");
    drop(journal);
    let report = adit_ledger::verify::verify_on(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(
        (report.records, report.duplicate_hashes),
        (kept, Some(0)),
        "{what}"
    );
}

fn every_call(kind: FaultKind, calls: u64) {
    let well = MemDisk::new(1);
    well.inject(None);
    drop(open(&well).unwrap());
    let opening = well.calls();
    let well = MemDisk::new(1);
    assert_eq!(run(&well), SHARES);
    let all = well.calls();
    assert!(all > 90, "{all} calls");
    for at in 0..all {
        let disk = MemDisk::new(at);
        disk.inject(Some(Fault { at, calls, kind }));
        let acknowledged = run(&disk);
        if calls == 1 && at >= opening {
            assert_eq!(acknowledged, SHARES, "{kind:?} at {at}: heals by itself");
        }
        disk.inject(None);
        let what = format!("{kind:?} at call {at} for {calls}");
        let after_power_cut = disk.power_cut(at);
        // A restart of the process sees what the system shows; a power cut what the medium holds;
        // a restart and then a power cut must not lose what the restart believed.
        check(&disk.fork(), acknowledged, &what);
        check(&after_power_cut, acknowledged, &format!("{what}, power cut"));
        check(&disk, acknowledged, &what);
        let believed = open(&disk)
            .map(|(journal, _)| journal.next_sequence() - 1)
            .unwrap_or(0);
        check(
            &disk.power_cut(at + 1),
            believed,
            &format!("{what}, restart, power cut"),
        );
    }
}

#[test]
fn one_input_output_error() {
    every_call(FaultKind::Io, 1);
}

#[test]
fn an_input_output_error_that_stays_a_while() {
    every_call(FaultKind::Io, 4);
}

#[test]
fn an_input_output_error_that_stays() {
    every_call(FaultKind::Io, u64::MAX);
}

#[test]
fn one_refusal_for_want_of_space() {
    every_call(FaultKind::Full, 1);
}

#[test]
fn a_disk_that_stays_full() {
    every_call(FaultKind::Full, u64::MAX);
}

#[test]
fn one_short_write() {
    every_call(FaultKind::Short, 1);
}

#[test]
fn short_writes_that_stay_a_while() {
    every_call(FaultKind::Short, 7);
}
