//! Batches of payments in a running pool: booked once, told as often as somebody asks.
//!
//! A batch takes what is owed from the balances when it is made (`sent`), before any transaction is: so no second one pays
//! the same. Its records need not become durable together: each is good for itself, and whoever asks again is told
//! those that did.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use adit_ledger::money::{Batch, BatchId, LINES_KEPT_MAX};
use adit_ledger::payout::Rules;
use adit_ledger::record::{Payout, PayoutState};
use adit_ledger::{Book, Lane, Writer};
use bitcoin::Network;
use tokio::sync::{Notify, watch};

use crate::fleet::Common;
use crate::fleet::turn::BOOKED_WITHIN;
use crate::payout::due::{Due, Payments, due, id_of};

/// How long the ledger may take to have a batch on disk.
const PATIENCE: Duration = BOOKED_WITHIN;
/// Batches of a data folder: one a day for 270 years.
const BATCHES_MAX: usize = 100_000;
/// Stands where the output's place in its transaction is not known.
const NO_OUTPUT: u32 = u32::MAX;

const BEHIND: &str = "the ledger is not on disk yet: look at its state, then ask again with the same name";

/// What may be done with a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Say who could be paid so much, and book nothing.
    Show { minimum_sat: u64 },
    /// Make it of everybody who is owed so much, or tell it again.
    Make { name: String, minimum_sat: u64 },
    /// It is in the chain.
    Settle {
        name: String,
        txid: [u8; 32],
        height: u32,
    },
    /// Its transaction will never be in the chain.
    Cancel { name: String },
}

/// Pays out balances.
#[derive(Debug)]
pub(super) struct Cashier {
    book: Arc<Mutex<Book>>,
    rules: watch::Receiver<Rules>,
    network: Network,
    /// Something became durable.
    news: Arc<Notify>,
    /// The book has changed by more than shares.
    wake: Arc<Notify>,
    /// The other front ends: what their blocks have paid already is not paid by us.
    common: Option<Common>,
    till: tokio::sync::Mutex<Till>,
}

#[derive(Debug)]
struct Till {
    lane: Lane,
    /// What was handed to the ledger last.
    sent: Vec<Payout>,
}

impl Cashier {
    pub(super) fn new(
        writer: &Writer,
        rules: watch::Receiver<Rules>,
        network: Network,
        wake: Arc<Notify>,
        common: Option<Common>,
    ) -> Self {
        let news = Arc::new(Notify::new());
        let told = Arc::clone(&news);
        writer.durable().watch(Arc::new(move || told.notify_one()));
        Self {
            book: writer.book(),
            rules,
            network,
            news,
            wake,
            common,
            till: tokio::sync::Mutex::new(Till {
                lane: writer.lane(Arc::new(|| {})),
                sent: Vec::new(),
            }),
        }
    }

    /// Does what was asked, one after the other; gives the batch as it stands in the ledger then.
    pub(super) async fn serve(&self, order: &Order) -> Result<Payments, String> {
        if let Order::Show { minimum_sat } = order {
            if let Some(others) = &self.common {
                others.know().await?;
            }
            return Ok(Payments::of_due(self.due(&self.book(), *minimum_sat)));
        }
        let mut till = self.till.lock().await;
        // Whatever was begun before is seen first, so that nothing is written twice.
        self.durable(&till.sent).await?;
        let turn = self.common.as_ref().filter(|_| self.is_new(order));
        if let Some(others) = turn {
            others.turn().await?;
        }
        let booked = self.book_it(order, &mut till).await;
        if let Some(others) = turn
            && self.has(&till.sent)
        {
            others.paid().await;
        }
        booked
    }

    /// Whether it takes from the balances what was not taken before.
    fn is_new(&self, order: &Order) -> bool {
        match order {
            Order::Make { name, .. } => {
                id_of(name).is_ok_and(|id| self.book().money().batches().find(&id).is_none())
            }
            _ => false,
        }
    }

    async fn book_it(&self, order: &Order, till: &mut Till) -> Result<Payments, String> {
        let (id, steps) = self.steps(order)?;
        till.sent.clear();
        for step in steps {
            if till.lane.payout(step).is_err() {
                break;
            }
            till.sent.push(step);
        }
        self.durable(&till.sent).await?;
        self.wake.notify_one();
        let book = self.book();
        let batch = book.money().batches().find(&id).ok_or(BEHIND)?;
        Ok(Payments::of_batch(&book, &id, batch))
    }

    /// The records that an order needs; none where everything is done.
    fn steps(&self, order: &Order) -> Result<(BatchId, Vec<Payout>), String> {
        let book = self.book();
        let batches = book.money().batches();
        match order {
            Order::Show { .. } => Err("nothing is booked for that".into()),
            Order::Make { name, minimum_sat } => {
                let id = id_of(name)?;
                if let Some(batch) = batches.find(&id) {
                    return known(name, batch).map(|()| (id, Vec::new()));
                }
                if batches.lines() >= LINES_KEPT_MAX || batches.count() >= BATCHES_MAX {
                    return Err(
                        "there are too many batches: settle or cancel those that are sent first".into(),
                    );
                }
                let due = self.due(&book, *minimum_sat);
                if due.is_empty() {
                    return Err(format!(
                        "nobody can be paid {minimum_sat} satoshis or more: nothing is booked"
                    ));
                }
                Ok((id, due.iter().map(|due| sent(id, due)).collect()))
            }
            Order::Settle { name, txid, height } => {
                let id = id_of(name)?;
                let batch = batches.find(&id).ok_or_else(|| unknown(name))?;
                settle(batch, *txid, *height).map(|steps| (id, steps))
            }
            Order::Cancel { name } => {
                let id = id_of(name)?;
                let batch = batches.find(&id).ok_or_else(|| unknown(name))?;
                cancel(batch).map(|steps| (id, steps))
            }
        }
    }

    fn due(&self, book: &Book, minimum_sat: u64) -> Vec<Due> {
        let pool = self.rules.borrow().pool.id;
        let elsewhere = self.common.as_ref().map(Common::carries_elsewhere);
        due(
            book,
            &elsewhere.unwrap_or_default(),
            &pool,
            minimum_sat,
            self.network,
        )
    }

    /// Waits until the book has all of them.
    async fn durable(&self, sent: &[Payout]) -> Result<(), String> {
        let all = async {
            while !self.has(sent) {
                self.news.notified().await;
            }
        };
        tokio::time::timeout(PATIENCE, all)
            .await
            .map_err(|_| BEHIND.to_owned())
    }

    fn has(&self, sent: &[Payout]) -> bool {
        let book = self.book();
        let batches = book.money().batches();
        let is_there = |it: &Payout| {
            let batch = batches.find(&it.batch);
            // Lines of a batch that is over may have gone to make room.
            batch.is_some_and(|batch| batch.lines().len() == 0 || batch.line(&it.account) == Some(it))
        };
        sent.iter().all(is_there)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sent(batch: BatchId, due: &Due) -> Payout {
    Payout {
        account: due.account,
        batch,
        txid: [0; 32],
        satoshis: due.sat,
        vout: NO_OUTPUT,
        height: 0,
        fee: 0,
        state: PayoutState::Sent,
    }
}

/// Whether a batch may be told again.
fn known(name: &str, batch: &Batch) -> Result<(), String> {
    if batch.lines().len() == 0 {
        return Err(format!("batch {name} is over long since: choose another name"));
    }
    match batch.lines().any(|line| line.state == PayoutState::Cancelled) {
        true => Err(format!("batch {name} was cancelled: choose another name")),
        false => Ok(()),
    }
}

fn settle(batch: &Batch, txid: [u8; 32], height: u32) -> Result<Vec<Payout>, String> {
    let mut steps = Vec::new();
    for line in batch.lines() {
        match line.state {
            PayoutState::Cancelled => {
                return Err("it was cancelled, and its balances may be paid again".into());
            }
            PayoutState::Confirmed if line.txid != txid => {
                return Err("it is settled with another transaction".into());
            }
            PayoutState::Confirmed | PayoutState::Planned => {}
            PayoutState::Sent => steps.push(Payout {
                txid,
                height,
                state: PayoutState::Confirmed,
                ..*line
            }),
        }
    }
    Ok(steps)
}

fn cancel(batch: &Batch) -> Result<Vec<Payout>, String> {
    if batch.lines().any(|line| line.state == PayoutState::Confirmed) {
        return Err("it is in the chain: what is paid cannot be taken back".into());
    }
    let open = batch.lines().filter(|line| line.state == PayoutState::Sent);
    let step = |line: &Payout| Payout {
        state: PayoutState::Cancelled,
        ..*line
    };
    Ok(open.map(step).collect())
}

fn unknown(name: &str) -> String {
    format!("there is no batch {name}: `adit payout batches` lists them")
}
