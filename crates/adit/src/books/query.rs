//! What can be asked of the books: typed, paged, and bounded in rows.
//!
//! Everything is summed up over all front ends of the database. Names come as miners gave them: whoever shows them escapes
//! them.

mod lists;
mod series;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

pub use lists::{
    AccountRow, Best, BlockRow, Order, PayoutRow, SessionRow, WorkerRow, account, account_named, accounts,
    best_shares, block, blocks, front_ends, payouts, sessions, totals, worker, worker_named, workers,
};
pub use series::{Point, Refused, Span, refused_series, rejects, rejects_series, series};

use super::delta::{ALL, Key};
use super::error::StoreError;
use super::place::Db;
use super::store::Store;
use adit_ledger::{AccountId, WorkerId};

/// Rows of one answer.
pub const ROWS_MAX: u32 = 1_000;
/// Rows that may be skipped: who wants more wants an export.
pub const SKIPPED_MAX: u32 = 1_000_000;
/// Questions that may wait.
const ASKS_MAX: usize = 64;

/// Whose figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Everybody's.
    Pool,
    /// One account's.
    Account(AccountId),
    /// One worker's.
    Worker(AccountId, WorkerId),
}

impl Whose {
    /// Its key in the tables.
    pub(super) fn key(self) -> Key {
        match self {
            Self::Pool => (ALL, ALL),
            Self::Account(account) => (account, ALL),
            Self::Worker(account, worker) => (account, worker),
        }
    }
}

/// A part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Rows before it, at most [`SKIPPED_MAX`].
    pub skip: u32,
    /// Rows on it, at most [`ROWS_MAX`].
    pub rows: u32,
}

impl Default for Page {
    fn default() -> Self {
        Self { skip: 0, rows: 100 }
    }
}

impl Page {
    /// What may be asked for.
    pub(super) fn bounded(self) -> (i64, i64) {
        let rows = self.rows.min(ROWS_MAX);
        (rows.into(), self.skip.min(SKIPPED_MAX).into())
    }
}

type Ask = Box<dyn FnOnce(&mut dyn Store) -> bool + Send>;

/// The way to the books for everybody who asks. Clones share it.
#[derive(Clone)]
pub struct Books {
    asks: mpsc::Sender<Ask>,
    place: Arc<str>,
}

impl std::fmt::Debug for Books {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Books")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Books {
    /// Starts the thread that asks. It connects when it is first asked, and again when the database was away; it ends when
    /// nobody can ask any more.
    ///
    /// # Errors
    /// When the thread cannot be made.
    pub fn start(db: Db) -> std::io::Result<Self> {
        let (asks, mut asked) = mpsc::channel::<Ask>(ASKS_MAX);
        let place = db.to_string().into();
        std::thread::Builder::new()
            .name("adit-books-ask".into())
            .spawn(move || {
                let mut store: Option<Box<dyn Store>> = None;
                while let Some(ask) = asked.blocking_recv() {
                    let connected = match store.take() {
                        Some(store) => Ok(store),
                        None => db.open_to_read(),
                    };
                    match connected {
                        Ok(mut connected) => {
                            let well = ask(connected.as_mut());
                            store = well.then_some(connected);
                        }
                        Err(error) => {
                            ask(&mut super::place::Nowhere(error));
                        }
                    }
                }
            })?;
        Ok(Self { asks, place })
    }

    /// What is asked, for people.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Asks: `books.ask(|store| query::blocks(store, None, page)).await`.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when too many questions wait, else what the question says.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let ask: Ask = Box::new(move |store| {
            let told = question(store);
            let well = told.is_ok();
            // Nobody may want to know any more.
            let _ = answer.send(told);
            well
        });
        self.asks.try_send(ask).map_err(|_| StoreError::Busy)?;
        answered.await.map_err(|_| StoreError::Busy)?
    }
}
