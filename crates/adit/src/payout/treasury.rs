//! The treasury: looks at the book now and then, and says what outputs follow from it.
//!
//! It works beside the hub: a new tip never waits for it. A snapshot has a new number when anything in it has changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adit_ledger::payout::{Claim, Payee, Rules, Snapshot};
use adit_ledger::{AccountBook, AccountId, Book};
use adit_net::Clock;
use tokio::sync::{Notify, watch};

use super::Names;

/// What of the work that a window needs is kept: so much as it can need after the largest step of difficulty (consensus),
/// so that a restart never changes what is in it.
const KEPT_WINDOWS: u128 = 4;

/// What makes snapshots.
pub(crate) struct Treasury {
    pub(crate) book: Arc<Mutex<Book>>,
    pub(crate) names: Arc<Names>,
    pub(crate) rules: watch::Receiver<Rules>,
    /// Length of the window in blocks' worth of work.
    pub(crate) window_blocks: u32,
    pub(crate) clock: Clock,
    /// Whether miners share a coinbase or balances: otherwise nobody claims anything.
    pub(crate) pools: bool,
    /// Whom accounts pay, as far as it was asked; `None` is nobody.
    pub(crate) known: HashMap<AccountId, Option<Payee>>,
}

impl Treasury {
    /// Runs until whoever tells the work of a block is gone.
    pub(crate) async fn run(
        mut self,
        mut block_work: watch::Receiver<u128>,
        wake: Arc<Notify>,
        every: Duration,
        to: watch::Sender<Arc<Snapshot>>,
    ) {
        loop {
            let work = *block_work.borrow_and_update();
            let last = Arc::clone(&to.borrow());
            let looked = tokio::task::spawn_blocking(move || {
                let next = self.next(&last, work);
                (self, next)
            });
            let Ok((treasury, next)) = looked.await else {
                tracing::error!("the treasury broke: payouts stay as they are");
                return;
            };
            self = treasury;
            if let Some(next) = next {
                tracing::debug!(
                    number = next.number,
                    claims = next.claims.len(),
                    "payouts follow from the book anew"
                );
                to.send_replace(Arc::new(next));
            }
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = wake.notified() => {}
                changed = block_work.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }

    /// The snapshot of now, if it is another than the last.
    fn next(&mut self, last: &Snapshot, block_work: u128) -> Option<Snapshot> {
        let window = block_work.saturating_mul(self.window_blocks.into());
        let number = self.clock.now().0.max(last.number + 1);
        let next = self.snapshot(number, window);
        let of = |it: &Snapshot| (it.window, it.work);
        let same = of(&next) == of(last) && next.rules == last.rules && next.claims == last.claims;
        (!same || last.number == 0).then_some(next)
    }

    /// What follows from the book.
    pub(crate) fn snapshot(&mut self, number: u64, window: u128) -> Snapshot {
        // As it is at the start, before any template: nothing is forgotten, nothing claimed.
        let (kept, carries) = {
            let mut book = self.lock();
            if window > 0 {
                book.keep_window(window.saturating_mul(KEPT_WINDOWS));
            }
            (book.window().clone(), book.money().carries())
        };
        let rules = self.rules.borrow().clone();
        if !self.pools {
            return Snapshot::new(number, rules, Vec::new(), window, 0);
        }
        let weights = kept.weights(window);
        let work = weights.work;
        let weights = weights
            .accounts
            .into_iter()
            .map(|(account, weight)| (account, weight, 0));
        let carries = carries.into_iter().map(|(account, carry)| (account, 0, carry));
        let claims: Vec<Claim> = weights
            .chain(carries)
            .filter_map(|(account, weight, carry_sat)| {
                Some(Claim {
                    payee: self.payee(account)?,
                    weight,
                    carry_sat,
                })
            })
            .collect();
        Snapshot::new(number, rules, claims, window, work)
    }

    fn payee(&mut self, account: AccountId) -> Option<Payee> {
        let pool = self.rules.borrow().pool.clone();
        if account == pool.id {
            return Some(pool);
        }
        if let Some(known) = self.known.get(&account) {
            return known.clone();
        }
        // A name of several records may not be whole yet.
        let name = self.lock().account(&account).and_then(AccountBook::name)?;
        let payee = self.names.payee(&name).ok().map(|(payee, _)| payee);
        self.known.insert(account, payee.clone());
        payee
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::payout;
    use adit_ledger::Record;
    use adit_ledger::record::{Entry, Share, account_parts};

    const A: &str = "bcrt1qft5p2uhsdcdc3l2ua4ap5qqfg4pjaqlp250x7us7a8qqhrxrxfsqseac85";

    fn tell(book: &mut Book, entry: Entry) {
        book.apply(&Record {
            sequence: 1,
            time_us: 1,
            front_end: 0,
            epoch: 1,
            group_index: 0,
            entry,
        });
    }

    fn work(book: &mut Book, name: &str, work: u64, solo: bool) {
        let account = adit_proto::mining::server::AccountId::of(name.as_bytes()).0;
        for part in account_parts(account, name) {
            tell(book, Entry::Account(part));
        }
        let share = Share {
            account,
            worker: None,
            hash: [9; 32],
            work,
            channel: 1,
            time_us: 1_000_000,
            ntime: 0,
            nonce: 0,
            version: 0,
            height: 0,
            is_block: false,
            solo,
        };
        tell(book, Entry::Share(share));
    }

    /// All names of one payee are one claim; solo work and names that nobody can pay are none.
    #[test]
    fn a_snapshot_is_made_of_payees() {
        let settings = Settings::with(&[("payout.scheme", "pplns"), ("payout.other", "solo")]).unwrap();
        let mut book = Book::default();
        work(&mut book, &format!("{A}.one"), 5, false);
        work(&mut book, &format!("{A}.two"), 6, false);
        work(&mut book, &format!("pool:{A}"), 7, false);
        work(&mut book, &format!("solo:{A}"), 100, true);
        work(&mut book, "somebody", 9, false);
        let mut treasury = Treasury {
            book: Arc::new(Mutex::new(book)),
            names: Arc::new(Names::of(&settings)),
            rules: watch::channel(payout::rules(&settings)).1,
            window_blocks: 8,
            clock: Clock::system(),
            pools: true,
            known: HashMap::new(),
        };
        let none = Snapshot::new(0, payout::rules(&settings), Vec::new(), 0, 0);
        let first = treasury.next(&none, 100).unwrap();
        assert_eq!((first.claims.len(), first.claims[0].weight), (1, 18));
        assert_eq!((first.window, first.work), (800, 27));
        // Nothing happened: it is the same one.
        assert_eq!(treasury.next(&first, 100), None);
        let shorter = treasury.next(&first, 1).unwrap();
        assert!(shorter.number > first.number && shorter.work == 8);
        assert_eq!(treasury.lock().window().work(), 27, "four windows are kept");
    }
}
