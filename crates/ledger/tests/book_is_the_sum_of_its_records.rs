//! Properties of the book: order and grouping do not matter, and a journal's book is the sum of
//! what was appended.

mod common;

use adit_ledger::checkpoint::Checkpoint;
use adit_ledger::journal::Chain;
use adit_ledger::record::{BlockFound, Entry, Outcome, OutcomeNote, Share, account_parts};
use adit_ledger::{Book, MemDisk, Record};
use proptest::prelude::*;

fn shares() -> impl Strategy<Value = Vec<Share>> {
    let one =
        (0u8..4, any::<[u8; 32]>(), any::<u64>(), any::<u64>()).prop_map(|(account, hash, work, time_us)| {
            Share {
                account: [account; 16],
                hash,
                work,
                time_us,
                ..common::share(1)
            }
        });
    prop::collection::vec(one, 0..60)
}

fn record(entry: Entry) -> Record {
    Record::alone(9, entry)
}

fn sum<'a>(shares: impl IntoIterator<Item = &'a Share>) -> Book {
    let mut book = Book::default();
    shares
        .into_iter()
        .for_each(|share| book.apply(&record(Entry::Share(*share))));
    book
}

proptest! {
    #[test]
    fn order_does_not_matter(shares in shares()) {
        prop_assert_eq!(sum(&shares), sum(shares.iter().rev()));
    }

    #[test]
    fn totals_are_the_sums_of_the_accounts(shares in shares()) {
        let book = sum(&shares);
        prop_assert_eq!(book.work, shares.iter().map(|share| u128::from(share.work)).sum::<u128>());
        prop_assert_eq!(book.work, book.accounts().map(|(_, account)| account.work).sum::<u128>());
        prop_assert_eq!(book.shares, book.accounts().map(|(_, account)| account.shares).sum::<u64>());
        prop_assert!(book.top(9).windows(2).all(|pair| pair[0].1.work >= pair[1].1.work));
    }

    #[test]
    fn two_books_merge_into_the_book_of_both(a in shares(), b in shares()) {
        let mut merged = sum(&a);
        merged.merge(&sum(&b));
        prop_assert_eq!(merged, sum(a.iter().chain(&b)));
    }

    #[test]
    fn a_journal_has_the_book_of_what_was_appended(groups in prop::collection::vec(shares(), 1..6)) {
        let disk = MemDisk::new(3);
        let (mut journal, _) = common::open(&disk).unwrap();
        for group in &groups {
            group.iter().for_each(|share| { journal.append(0, &Entry::Share(*share)); });
            journal.commit().unwrap();
        }
        let expected = sum(groups.iter().flatten());
        prop_assert_eq!(common::book(&journal), expected.clone());
        prop_assert_eq!(common::book(&common::open(&disk).unwrap().0), expected);
    }

    #[test]
    fn a_checkpoint_keeps_the_book(shares in shares(), name in "\\PC{0,80}", chain: u32) {
        let mut book = sum(&shares);
        account_parts([1; 16], &name).for_each(|part| book.apply(&record(Entry::Account(part))));
        let found = BlockFound { hash: [3; 32], height: 8, value: 5, account: [1; 16], channel: 2, worker: None };
        book.apply(&record(Entry::Block(found)));
        book.apply(&record(Entry::Outcome(OutcomeNote::new([3; 32], 8, Outcome::Stale, 0, &name))));
        let checkpoint = Checkpoint { next_sequence: 5, chain: Chain(chain), epoch: 2, book };
        let disk = MemDisk::default();
        checkpoint.store(&disk).unwrap();
        prop_assert_eq!(Checkpoint::load(&disk.power_cut(1)), Some(checkpoint));
    }
}
