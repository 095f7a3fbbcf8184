//! Money and window over restarts: wherever a process ends, the next one knows the same balances.

mod common;

use adit_ledger::record::{
    AccountId, BlockFound, Credit, Entry, Outcome, OutcomeNote, Payout, PayoutState, account_parts,
};
use adit_ledger::{Book, MemDisk, Record};
use proptest::prelude::*;

fn account(n: u8) -> AccountId {
    [n; 16]
}

fn hash(height: u32) -> [u8; 32] {
    [height as u8; 32]
}

/// Credits of a few blocks, some of them without their last line, outcomes in any order, batches, shares and names.
fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let credit =
        (1u32..6, 0u32..3, 0u64..1 << 40, 0u64..1 << 40).prop_map(|(height, line, earned, received)| {
            Entry::Credit(Credit {
                block: hash(height),
                height,
                line,
                lines: 3,
                account: account(line as u8),
                earned_sat: earned,
                received_sat: received,
            })
        });
    let outcomes = prop::sample::select(vec![
        (Outcome::Accepted, 0),
        (Outcome::Confirmed, 1),
        (Outcome::Confirmed, 100),
        (Outcome::Stale, 0),
    ]);
    let outcome = (1u32..6, outcomes).prop_map(|(height, (outcome, depth))| {
        Entry::Outcome(OutcomeNote::new(hash(height), height, outcome, depth, ""))
    });
    let states = prop::sample::select(vec![
        PayoutState::Planned,
        PayoutState::Sent,
        PayoutState::Confirmed,
        PayoutState::Cancelled,
    ]);
    let payout = (0u8..3, 0u8..4, 1u64..1 << 30, states).prop_map(|(of, batch, satoshis, state)| {
        Entry::Payout(Payout {
            account: account(of),
            batch: [batch; 16],
            txid: [batch; 32],
            satoshis,
            vout: u32::MAX,
            height: 0,
            fee: 0,
            state,
        })
    });
    let found = (1u32..6).prop_map(|height| {
        Entry::Block(BlockFound {
            hash: hash(height),
            height,
            value: 5,
            account: account(0),
            channel: 1,
            worker: None,
        })
    });
    let share = (0u64..1 << 20).prop_map(|n| Entry::Share(common::share(n)));
    let name = (0u8..3).prop_map(|n| {
        let mut parts = account_parts(account(n), "somebody");
        Entry::Account(parts.next().expect("a name has a part"))
    });
    let any = prop_oneof![6 => credit, 3 => outcome, 3 => payout, 1 => found, 6 => share, 1 => name];
    prop::collection::vec(any, 1..250)
}

fn sum(entries: &[Entry]) -> Book {
    let mut book = Book::default();
    for entry in entries {
        let time_us = entry.time_us().unwrap_or(1);
        book.apply(&Record {
            sequence: 1,
            time_us,
            front_end: 7,
            epoch: 1,
            group_index: 0,
            entry: *entry,
        });
    }
    book
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Balances, blocks that are not mature, batches and window are what the entries say, in one life or in many, from checkpoints
    /// or from the first record on.
    #[test]
    fn a_restart_changes_nothing(entries in entries(), lives in 1usize..6) {
        let disk = MemDisk::new(3);
        let mut written = 0;
        for life in entries.chunks(entries.len().div_ceil(lives)) {
            let (mut journal, _) = common::open(&disk).unwrap();
            for entry in life {
                journal.append(1, entry);
                journal.commit().unwrap();
            }
            written += life.len();
            let (now, expected) = (common::book(&journal), sum(&entries[..written]));
            prop_assert_eq!(now.money(), expected.money());
            prop_assert_eq!(now.window(), expected.window());
        }
        let (last, whole) = (common::book(&common::open(&disk).unwrap().0), sum(&entries));
        prop_assert_eq!(last.money(), whole.money());
        prop_assert_eq!(last.window(), whole.window());
        prop_assert_eq!(last.money().carries(), whole.money().carries());
    }
}
