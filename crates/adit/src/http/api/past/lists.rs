//! Sums, best shares, refused shares, sessions, blocks and payouts, from the books.

use adit_ledger::record::{ChannelKind, Ending, Outcome, PayoutState, Protocol};
use adit_proto::target::Target;
use axum::extract::State;
use axum::response::Response;
use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::super::problem::{Asked, Named, Problem, json};
use super::super::super::routes::Site;
use super::super::live::Reject;
use super::{BACK_MAX_S, DAY_S, account_of, now_s, resolution_s};
use crate::books::Tally;
use crate::books::query::{
    self, AccountRow, BlockRow, Order, Page, PayoutRow, SessionRow, Span, Whose, WorkerRow,
};
use crate::observe::{Block, Fate, number, text};

const ROWS: u32 = 50;
const ROWS_MAX: u32 = 500;
const MONTH_S: u64 = 30 * DAY_S;

/// Everything that somebody did, at all front ends, since the books began.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in super::super) struct Sums {
    /// Accepted shares.
    shares: u64,
    /// Their expected hashes.
    #[serde(serialize_with = "number::wide")]
    #[schema(schema_with = number::schema)]
    work: u128,
    /// Refused shares.
    rejected: u64,
    /// When the first share came, microseconds since the Unix epoch; nothing before there is one.
    first_share_us: Option<u64>,
    /// When the last share came.
    last_share_us: Option<u64>,
    /// Expected hashes of the best share; 0 before there is one.
    #[serde(serialize_with = "number::wide")]
    #[schema(schema_with = number::schema)]
    best_work: u128,
    /// When that was found, where it is known.
    best_us: Option<u64>,
    /// Blocks found.
    blocks: u64,
    /// Payouts sent, in satoshis.
    paid_sat: u64,
    /// What of them will never confirm.
    unpaid_sat: u64,
}

impl From<&Tally> for Sums {
    fn from(sums: &Tally) -> Self {
        let some = |time: u64| (sums.shares > 0 && time > 0).then_some(time);
        Self {
            shares: sums.shares,
            work: sums.work,
            rejected: sums.rejected,
            first_share_us: some(sums.first_us),
            last_share_us: some(sums.last_us),
            best_work: if sums.shares == 0 {
                0
            } else {
                work_of(sums.best_hash)
            },
            best_us: some(sums.best_us),
            blocks: sums.blocks,
            paid_sat: sums.paid,
            unpaid_sat: sums.unpaid,
        }
    }
}

/// Expected hashes of a hash, which stands with its highest byte first.
fn work_of(mut hash: [u8; 32]) -> u128 {
    hash.reverse();
    Target(hash).work()
}

/// A name and all that it did.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in super::super) struct Known {
    /// `account` or `account.worker`.
    name: String,
    #[serde(flatten)]
    sums: Sums,
}

impl From<AccountRow> for Known {
    fn from(row: AccountRow) -> Self {
        Self {
            name: text::clean(&row.name),
            sums: Sums::from(&row.sums),
        }
    }
}

fn worker_of(account: &str, row: &WorkerRow) -> Known {
    Known {
        name: format!("{}.{}", text::clean(account), text::clean(&row.name)),
        sums: Sums::from(&row.sums),
    }
}

/// The pool's books.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in super::super) struct Whole {
    /// The database, without its password.
    place: String,
    /// Front ends whose journals are in it.
    front_ends: u64,
    #[serde(flatten)]
    sums: Sums,
}

/// All that the pool ever did.
#[utoipa::path(get, path = "/api/v1/books", tag = "books", responses(
    (status = 200, body = Whole),
    (status = 404, description = "no database is kept", body = Problem),
    (status = 503, body = Problem),
))]
pub(in super::super) async fn sums(State(site): State<Site>) -> Result<Response, Problem> {
    let (sums, front_ends) = site
        .ask(|store| Ok((query::totals(store, Whose::Pool)?, query::front_ends(store)?)))
        .await?;
    let place = site.views.books.as_ref().map(|books| books.place().to_owned());
    Ok(json(&Whole {
        place: place.unwrap_or_default(),
        front_ends,
        sums: Sums::from(&sums),
    }))
}

/// Which page, in which order.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Sorted {
    /// Which page, from 1.
    #[param(minimum = 1, maximum = 2_000)]
    page: Option<u32>,
    /// Rows of a page; 50 if not said.
    #[param(minimum = 1, maximum = 500)]
    per_page: Option<u32>,
    /// `work` (most first), `last_share` (latest first) or `name`; `work` if not said.
    sort: Option<String>,
}

/// Pages that can be asked for: who wants more wants `adit ledger export`.
const PAGES_MAX: u32 = 2_000;

fn page(page: Option<u32>, per_page: Option<u32>) -> Result<Page, Problem> {
    let (page, rows) = (page.unwrap_or(1), per_page.unwrap_or(ROWS));
    if !(1..=PAGES_MAX).contains(&page) || !(1..=ROWS_MAX).contains(&rows) {
        return Err(Problem::bad(
            format!("there is no page {page} of {rows} rows"),
            format!("page is 1 to {PAGES_MAX}, and a page has 1 to {ROWS_MAX} rows"),
        ));
    }
    Ok(Page {
        skip: (page - 1) * rows,
        rows,
    })
}

/// Everybody who ever mined here. A page that is not full is the last one.
#[utoipa::path(get, path = "/api/v1/books/accounts", tag = "books", params(Sorted), responses(
    (status = 200, body = Vec<Known>),
    (status = 400, body = Problem),
    (status = 404, description = "no database is kept", body = Problem),
    (status = 503, body = Problem),
))]
pub(in super::super) async fn accounts(
    State(site): State<Site>,
    Asked(wanted): Asked<Sorted>,
) -> Result<Response, Problem> {
    let page = page(wanted.page, wanted.per_page)?;
    let order = match wanted.sort.as_deref() {
        None | Some("work") => Order::Work,
        Some("last_share") => Order::LastShare,
        Some("name") => Order::Name,
        Some(_) => {
            return Err(Problem::bad(
                "accounts cannot be sorted by that",
                "sort is work, last_share or name",
            ));
        }
    };
    let rows = site.ask(move |store| query::accounts(store, order, page)).await?;
    let rows: Vec<Known> = rows.into_iter().map(Known::from).collect();
    Ok(json(&rows))
}

/// An account or a worker, and all that it did.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in super::super) struct Member {
    #[serde(flatten)]
    known: Known,
    /// The workers behind it, where it is an account, those with most work first; at most 500.
    behind: Vec<Known>,
}

/// One of them, or a worker.
#[utoipa::path(get, path = "/api/v1/books/accounts/{name}", tag = "books",
    params(("name" = String, Path, description = "`account` or `account.worker`, as the lists have it")),
    responses(
        (status = 200, body = Member),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 503, body = Problem),
    ))]
pub(in super::super) async fn account(
    State(site): State<Site>,
    Named(name): Named<String>,
) -> Result<Response, Problem> {
    let whose = site.whose(Some(&name)).await?;
    let all = Page {
        skip: 0,
        rows: ROWS_MAX,
    };
    let found = site.ask(move |store| match whose {
        Whose::Pool => Ok(None),
        Whose::Account(id) => {
            let Some(row) = query::account(store, id)? else {
                return Ok(None);
            };
            let workers = query::workers(store, id, Order::Work, all)?;
            let behind = workers
                .iter()
                .map(|worker| worker_of(&row.name, worker))
                .collect();
            Ok(Some(Member {
                known: row.into(),
                behind,
            }))
        }
        Whose::Worker(account, worker) => {
            let owner = query::account(store, account)?
                .map(|row| row.name)
                .unwrap_or_default();
            let row = query::worker(store, account, worker)?;
            Ok(row.map(|row| Member {
                known: worker_of(&owner, &row),
                behind: Vec::new(),
            }))
        }
    });
    // Who has come and done nothing yet has sums, too.
    Ok(json(&found.await?.unwrap_or_else(|| Member {
        known: Known {
            name,
            sums: Sums::from(&Tally::default()),
        },
        behind: Vec::new(),
    })))
}

/// Whose, since when, and which page.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Since {
    /// An account or a worker, as the lists have it; everybody if not said.
    #[param(max_length = 1024)]
    name: Option<String>,
    /// How far back, in seconds; 30 days if not said.
    #[param(minimum = 60, maximum = 31_622_400)]
    seconds: Option<u64>,
    /// Which page, from 1.
    #[param(minimum = 1, maximum = 2_000)]
    page: Option<u32>,
    /// Rows of a page; 50 if not said.
    #[param(minimum = 1, maximum = 500)]
    per_page: Option<u32>,
}

impl Since {
    fn back_s(&self) -> Result<u64, Problem> {
        let seconds = self.seconds.unwrap_or(MONTH_S);
        match (60..=BACK_MAX_S).contains(&seconds) {
            true => Ok(seconds),
            false => Err(Problem::bad(
                format!("the last {seconds} seconds cannot be asked for"),
                "ask for 60 to 31622400 seconds",
            )),
        }
    }
}

/// The best share of a worker on a day.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in super::super) struct BestOfDay {
    /// Who found it: the account.
    name: String,
    /// Its hash, as explorers write it.
    hash: String,
    /// Its expected hashes.
    #[serde(serialize_with = "number::wide")]
    #[schema(schema_with = number::schema)]
    work: u128,
    /// When, microseconds since the Unix epoch.
    at_us: u64,
    /// Height that it worked on.
    height: u32,
}

/// The best share of each worker and day, the best first.
#[utoipa::path(get, path = "/api/v1/books/best-shares", tag = "books", params(Since), responses(
    (status = 200, body = Vec<BestOfDay>),
    (status = 400, body = Problem),
    (status = 404, body = Problem),
    (status = 503, body = Problem),
))]
pub(in super::super) async fn best_shares(
    State(site): State<Site>,
    Asked(since): Asked<Since>,
) -> Result<Response, Problem> {
    let (page, back_s) = (page(since.page, since.per_page)?, since.back_s()?);
    let whose = site.whose(since.name.as_deref()).await?;
    let since_s = now_s(&site).saturating_sub(back_s);
    let rows = site
        .ask(move |store| query::best_shares(store, whose, since_s, page))
        .await?;
    let rows: Vec<BestOfDay> = rows
        .into_iter()
        .map(|row| BestOfDay {
            name: text::clean(&row.name),
            hash: shown(row.hash),
            work: work_of(row.hash),
            at_us: row.found_us,
            height: row.height,
        })
        .collect();
    Ok(json(&rows))
}

/// Refused shares by reason, most frequent first, with cause and cure in words.
#[utoipa::path(get, path = "/api/v1/books/rejects", tag = "books", params(Since), responses(
    (status = 200, body = Vec<Reject>),
    (status = 400, body = Problem),
    (status = 404, body = Problem),
    (status = 503, body = Problem),
))]
pub(in super::super) async fn rejects(
    State(site): State<Site>,
    Asked(since): Asked<Since>,
) -> Result<Response, Problem> {
    let (page, back_s) = (page(since.page, since.per_page)?, since.back_s()?);
    let whose = site.whose(since.name.as_deref()).await?;
    let now_s = now_s(&site);
    let resolution_s = resolution_s(back_s, 0);
    let from_s = now_s.saturating_sub(back_s);
    let span = Span {
        from_s: from_s - from_s % resolution_s,
        until_s: now_s + resolution_s,
        resolution_s,
    };
    let rows = site.ask(move |store| query::rejects(store, whose, span)).await?;
    let rows = rows.iter().skip(page.skip as usize).take(page.rows as usize);
    let rows: Vec<Reject> = rows.map(|row| Reject::of(&row.reason, row.count)).collect();
    Ok(json(&rows))
}

/// Whose, and which page.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Paged {
    /// An account, as the lists have it; everybody if not said.
    #[param(max_length = 1024)]
    name: Option<String>,
    /// Which page, from 1.
    #[param(minimum = 1, maximum = 2_000)]
    page: Option<u32>,
    /// Rows of a page; 50 if not said.
    #[param(minimum = 1, maximum = 500)]
    per_page: Option<u32>,
}

/// A channel that has worked.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in super::super) struct Session {
    /// The account.
    name: String,
    /// What the device called itself.
    device: String,
    /// `standard` or `extended`; empty where it is not known.
    kind: &'static str,
    /// `current`, `draft2022`, `plain`, `stratum-v1` or `stratum-v1-tls`; empty where it is not known.
    protocol: &'static str,
    /// At which front end.
    front_end: u16,
    /// When it was opened, microseconds since the Unix epoch.
    opened_us: u64,
    /// When it ended; nothing while it is there.
    closed_us: Option<u64>,
    /// How: `closed` in order, `lost`, `fault`, `stopped` by us; nothing also where the pool was killed.
    ending: Option<&'static str>,
}

impl From<SessionRow> for Session {
    fn from(row: SessionRow) -> Self {
        Self {
            name: text::clean(&row.name),
            device: text::clean(&row.device),
            kind: row.kind.map_or("", ChannelKind::name),
            protocol: row.protocol.map_or("", Protocol::name),
            front_end: row.front_end,
            opened_us: row.opened_us,
            closed_us: row.closed_us,
            ending: row.ending.map(Ending::name),
        }
    }
}

/// Channels that have worked, the last opened first. A page that is not full is the last one.
#[utoipa::path(get, path = "/api/v1/books/sessions", tag = "books", params(Paged), responses(
    (status = 200, body = Vec<Session>),
    (status = 400, body = Problem),
    (status = 404, body = Problem),
    (status = 503, body = Problem),
))]
pub(in super::super) async fn sessions(
    State(site): State<Site>,
    Asked(paged): Asked<Paged>,
) -> Result<Response, Problem> {
    let page = page(paged.page, paged.per_page)?;
    let account = account_of(site.whose(paged.name.as_deref()).await?);
    let rows = site
        .ask(move |store| query::sessions(store, account, false, page))
        .await?;
    let rows: Vec<Session> = rows.into_iter().map(Session::from).collect();
    Ok(json(&rows))
}

/// An account's part of a batch of payouts.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in super::super) struct Paid {
    /// The account.
    name: String,
    /// How much, in satoshis.
    value_sat: u64,
    /// What was kept for the transaction.
    fee_sat: u64,
    /// The transaction, as explorers write it; nothing before there is one.
    txid: Option<String>,
    /// Its output.
    vout: u32,
    /// Height of its block; nothing before it is in one.
    height: Option<u32>,
    /// `planned`, `sent`, `confirmed` or `cancelled`.
    state: &'static str,
    /// Since when, microseconds since the Unix epoch.
    changed_us: u64,
}

impl From<PayoutRow> for Paid {
    fn from(row: PayoutRow) -> Self {
        let named = row.txid != [0; 32];
        Self {
            name: text::clean(&row.name),
            value_sat: row.satoshis,
            fee_sat: row.fee,
            txid: named.then(|| shown(row.txid)),
            vout: row.vout,
            height: (row.height > 0).then_some(row.height),
            state: row.state.map_or("", PayoutState::name),
            changed_us: row.changed_us,
        }
    }
}

/// Payouts, the last changed first. A page that is not full is the last one.
#[utoipa::path(get, path = "/api/v1/books/payouts", tag = "books", params(Paged), responses(
    (status = 200, body = Vec<Paid>),
    (status = 400, body = Problem),
    (status = 404, body = Problem),
    (status = 503, body = Problem),
))]
pub(in super::super) async fn payouts(
    State(site): State<Site>,
    Asked(paged): Asked<Paged>,
) -> Result<Response, Problem> {
    let page = page(paged.page, paged.per_page)?;
    let account = account_of(site.whose(paged.name.as_deref()).await?);
    let rows = site
        .ask(move |store| query::payouts(store, account, page))
        .await?;
    let rows: Vec<Paid> = rows.into_iter().map(Paid::from).collect();
    Ok(json(&rows))
}

/// Found blocks of the books, the highest first; none where there are no books, or where they are away.
pub(in super::super) async fn blocks_of(site: &Site, page: u32, per_page: u32) -> Vec<Block> {
    let page = Page {
        skip: (page - 1) * per_page,
        rows: per_page,
    };
    let rows = site.ask(move |store| query::blocks(store, None, page)).await;
    rows.unwrap_or_default().into_iter().map(block).collect()
}

/// One of them.
pub(in super::super) async fn block_of(site: &Site, hash: &str) -> Option<Block> {
    let hash: BlockHash = hash.parse().ok()?;
    let mut highest_first = hash.to_byte_array();
    highest_first.reverse();
    let row = site.ask(move |store| query::block(store, &highest_first)).await;
    row.ok().flatten().map(block)
}

fn block(row: BlockRow) -> Block {
    Block {
        height: row.height.into(),
        hash: shown(row.hash),
        at_us: row.found_us,
        worker: text::clean(&row.name),
        value_sat: Some(row.satoshis).filter(|value| *value > 0),
        fate: match row.outcome {
            None => Fate::Pending,
            Some(Outcome::Accepted) => Fate::Accepted,
            Some(Outcome::Confirmed) => Fate::Confirmed,
            Some(Outcome::Stale) => Fate::Stale,
            Some(Outcome::Rejected) => Fate::Rejected,
        },
        confirmations: row.confirmations,
        reason: text::clean(&row.reason),
    }
}

/// A hash whose highest byte stands first, as explorers write it.
fn shown(hash: [u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_came_is_no_time_and_no_work() {
        let sums = Sums::from(&Tally::default());
        assert_eq!(
            (sums.first_share_us, sums.last_share_us, sums.best_us),
            (None, None, None)
        );
        assert_eq!(sums.best_work, 0);
        let mut hash = [0; 32];
        hash[8] = 1;
        assert!(work_of(hash) > 1 << 63, "the highest byte stands first");
    }
}
