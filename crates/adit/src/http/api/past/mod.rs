//! What outlives the process: the books, asked for.
//!
//! Names are those of the lists, made harmless for people; the books have them as miners gave them. A name that is here is found by its
//! ids, any other by its text.

mod curve;
mod lists;

use std::time::Duration;

use adit_ledger::AccountId;
use axum::http::StatusCode;

use super::super::problem::Problem;
use super::super::routes::Site;
use crate::books::query::{self, Whose};
use crate::books::{Store, StoreError};

pub(super) use curve::{Curve, chart_of, history};
pub(super) use lists::{account, accounts, best_shares, payouts, rejects, sessions, sums};
// Their paths, for the document.
pub(super) use curve::__path_history;
pub(super) use lists::{
    __path_account, __path_accounts, __path_best_shares, __path_payouts, __path_rejects, __path_sessions,
    __path_sums,
};
pub(super) use lists::{block_of, blocks_of};

/// How long an answer of the database is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

impl Site {
    /// Asks the books.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        let Some(books) = &self.views.books else {
            return Err(Problem::missing(
                "no database is kept here: only what happened since the start is known",
                "set books.db (`sqlite` is a file in the data folder) for more",
            ));
        };
        match tokio::time::timeout(PATIENCE, books.ask(question)).await {
            Ok(Ok(told)) => Ok(told),
            Ok(Err(error)) => Err(away(error.to_string(), error.help())),
            Err(_) => Err(away(
                "the database does not answer in time",
                "ask again in a moment",
            )),
        }
    }

    /// Whose name that is; the pool's where there is none.
    async fn whose(&self, name: Option<&str>) -> Result<Whose, Problem> {
        let Some(name) = name else {
            return Ok(Whose::Pool);
        };
        if let Some((account, worker)) = self.roster().name(name).and_then(|row| row.id) {
            return Ok(match worker {
                None => Whose::Account(account),
                Some(worker) => Whose::Worker(account, worker),
            });
        }
        let text = name.to_owned();
        let found = self.ask(move |store| named(store, &text)).await?;
        found.ok_or_else(|| {
            Problem::missing(
                "the books know nobody of that name",
                "/api/v1/books/accounts lists everybody who ever mined here",
            )
        })
    }
}

fn away(message: impl Into<String>, help: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, message, help)
}

/// An account of that name, or a worker behind one.
fn named(store: &mut dyn Store, name: &str) -> Result<Option<Whose>, StoreError> {
    if let Some(account) = query::account_named(store, name)? {
        return Ok(Some(Whose::Account(account)));
    }
    // Where the account ends nobody knows: it may have dots, too.
    for (dot, _) in name.match_indices('.').take(DOTS_MAX) {
        let (account, worker) = (&name[..dot], &name[dot + 1..]);
        let Some(account) = query::account_named(store, account)? else {
            continue;
        };
        if let Some(worker) = query::worker_named(store, account, worker)? {
            return Ok(Some(Whose::Worker(account, worker)));
        }
    }
    Ok(None)
}

/// When the newest picture was taken, seconds since the Unix epoch. The first of who is here comes a moment after the start.
fn now_s(site: &Site) -> u64 {
    site.roster().taken_at_us.max(site.status().taken_at_us) / 1_000_000
}

/// Dots of a name that are tried.
const DOTS_MAX: usize = 8;

/// The account of whoever it is.
fn account_of(whose: Whose) -> Option<AccountId> {
    match whose {
        Whose::Pool => None,
        Whose::Account(account) | Whose::Worker(account, _) => Some(account),
    }
}

/// Steps in which history of that length is still kept, and which are not finer than wanted.
fn resolution_s(seconds: u64, step_s: u64) -> u64 {
    let [minute, ten, hour] = crate::books::RESOLUTIONS;
    let kept = match seconds {
        0..=DAY_S => minute,
        _ if seconds <= 30 * DAY_S => ten,
        _ => hour,
    };
    let wanted = [hour, ten, minute]
        .into_iter()
        .find(|resolution| *resolution <= step_s);
    kept.max(wanted.unwrap_or(minute))
}

const DAY_S: u64 = 86_400;
/// As far back as can be asked for: a year and a day.
const BACK_MAX_S: u64 = 366 * DAY_S;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_kept_for_that_long_and_not_too_fine() {
        for (seconds, step, resolution) in [
            (3_600, 15, 60),
            (DAY_S, 360, 60),
            (DAY_S, 600, 600),
            (7 * DAY_S, 60, 600),
            (30 * DAY_S, 10_800, 3_600),
            (BACK_MAX_S, 60, 3_600),
        ] {
            assert_eq!(
                resolution_s(seconds, step),
                resolution,
                "{seconds} s in steps of {step} s"
            );
        }
    }
}
