//! Who mines: workers, accounts, connections.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::problem::{Asked, Named, Problem, json};
use super::super::routes::Site;
use super::live::Reject;
use crate::observe::{Name, Peer, Recent, State as Doing};

/// Rows of a page.
const ROWS_MAX: usize = 500;
const ROWS: usize = 50;

/// Which page, in which order.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Which page, from 1.
    #[param(minimum = 1, maximum = 1_000_000)]
    page: Option<usize>,
    /// Rows of a page; 50 if not said.
    #[param(minimum = 1, maximum = 500)]
    per_page: Option<usize>,
    /// Order of the rows; a `-` before it turns it around: `name`, `hash_rate`, `accepted`, `rejected`, `best_work`,
    /// `last_share_us`, `state`. `-hash_rate` if not said.
    sort: Option<String>,
    /// Only names that have this text in them.
    #[param(max_length = 256)]
    q: Option<String>,
    /// Only those that are `mining`, `starting`, `silent` or `offline`.
    state: Option<String>,
}

/// One page of rows.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Page<T> {
    /// Rows of all pages.
    total: usize,
    /// Which page this is, from 1.
    page: usize,
    /// Rows of a page.
    per_page: usize,
    /// The rows.
    items: Vec<T>,
}

impl<T: Clone> Page<T> {
    fn cut(rows: &[T], page: Option<usize>, per_page: Option<usize>) -> Result<Self, Problem> {
        let (page, per_page) = (page.unwrap_or(1), per_page.unwrap_or(ROWS));
        if !(1..=1_000_000).contains(&page) || !(1..=ROWS_MAX).contains(&per_page) {
            return Err(Problem::bad(
                format!("there is no page {page} of {per_page} rows"),
                format!("page counts from 1, and a page has 1 to {ROWS_MAX} rows"),
            ));
        }
        let items = rows.iter().skip((page - 1) * per_page).take(per_page).cloned();
        Ok(Self {
            total: rows.len(),
            page,
            per_page,
            items: items.collect(),
        })
    }
}

impl Wanted {
    fn of(&self, names: impl Iterator<Item = Name>) -> Result<Page<Name>, Problem> {
        let state = match self.state.as_deref() {
            None | Some("") => None,
            Some("mining") => Some(Doing::Mining),
            Some("starting") => Some(Doing::Starting),
            Some("silent") => Some(Doing::Silent),
            Some("offline") => Some(Doing::Offline),
            Some(_) => {
                return Err(Problem::bad(
                    "there is no such state",
                    "state is mining, starting, silent or offline",
                ));
            }
        };
        let text = self.q.as_deref().unwrap_or_default().to_lowercase();
        let mut rows: Vec<Name> = names
            .filter(|row| state.is_none_or(|state| row.state == state))
            .filter(|row| text.is_empty() || row.name.to_lowercase().contains(&text))
            .collect();
        self.sort(&mut rows)?;
        Page::cut(&rows, self.page, self.per_page)
    }

    fn sort(&self, rows: &mut [Name]) -> Result<(), Problem> {
        let sort = self.sort.as_deref().unwrap_or("-hash_rate");
        let (backwards, key) = match sort.strip_prefix('-') {
            Some(key) => (true, key),
            None => (false, sort),
        };
        match key {
            "name" => {}
            "hash_rate" => rows.sort_by(|a, b| a.pace.hash_rate.total_cmp(&b.pace.hash_rate)),
            "accepted" => rows.sort_by_key(|row| row.accepted),
            "rejected" => rows.sort_by_key(|row| row.rejected),
            "best_work" => rows.sort_by_key(|row| row.best_work),
            "last_share_us" => rows.sort_by_key(|row| row.last_share_us),
            "state" => rows.sort_by_key(|row| row.state),
            _ => {
                return Err(Problem::bad(
                    "rows cannot be sorted by that",
                    "sort by name, hash_rate, accepted, rejected, best_work, last_share_us or state, with - for backwards",
                ));
            }
        }
        if backwards {
            rows.reverse();
        }
        Ok(())
    }
}

/// Who mines, one row each: the workers behind accounts, and the accounts that have none.
#[utoipa::path(get, path = "/api/v1/workers", tag = "people", params(Wanted), responses(
    (status = 200, body = Page<Name>),
    (status = 400, body = Problem),
))]
pub(super) async fn workers(
    State(site): State<Site>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Response, Problem> {
    let roster = site.roster();
    let rows = roster.names.iter().filter(|row| row.workers == 0);
    Ok(json(&wanted.of(rows.cloned())?))
}

/// Who is paid: an account is the sum of its workers.
#[utoipa::path(get, path = "/api/v1/accounts", tag = "people", params(Wanted), responses(
    (status = 200, body = Page<Name>),
    (status = 400, body = Problem),
))]
pub(super) async fn accounts(
    State(site): State<Site>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Response, Problem> {
    let roster = site.roster();
    let rows = roster.names.iter().filter(|row| row.account.is_none());
    Ok(json(&wanted.of(rows.cloned())?))
}

/// A worker or an account, and how it is connected.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Single {
    #[serde(flatten)]
    row: Name,
    /// Refused shares, most frequent first, with cause and cure in words.
    rejects: Vec<Reject>,
    /// The connections of its channels, with those channels only; at most 100.
    peers: Vec<Peer>,
    /// The workers behind it, where it is an account; at most 500.
    behind: Vec<Name>,
}

/// Connections that one answer about a worker shows.
const PEERS_MAX: usize = 100;

/// One worker or account.
#[utoipa::path(get, path = "/api/v1/workers/{name}", tag = "people",
    params(("name" = String, Path, description = "`account` or `account.worker`, as the lists have it")),
    responses(
        (status = 200, body = Single),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
    ))]
pub(super) async fn worker(
    State(site): State<Site>,
    Named(name): Named<String>,
) -> Result<Response, Problem> {
    let roster = site.roster();
    let row = roster.name(&name).ok_or_else(|| {
        Problem::missing(
            "nobody of that name was seen for some hours",
            "/api/v1/workers and /api/v1/accounts list all names",
        )
    })?;
    let account_of = |channel: &str| {
        row.account.is_none()
            && channel
                .strip_prefix(&*name)
                .is_some_and(|rest| rest.starts_with('.'))
    };
    let mine = |channel: &str| *channel == *name || account_of(channel);
    let peers = roster.peers.iter().filter_map(|peer| {
        let channels: Vec<_> = (peer.channels.iter())
            .filter(|channel| mine(&channel.name))
            .cloned()
            .collect();
        (!channels.is_empty()).then(|| Peer {
            channels,
            ..peer.clone()
        })
    });
    let behind = roster
        .names
        .iter()
        .filter(|other| other.account.as_deref() == Some(&*name));
    let mut rejects: Vec<Reject> = (row.by_reason.iter())
        .map(|(code, count)| Reject::of(code, *count))
        .collect();
    rejects.sort_by_key(|reject| std::cmp::Reverse(reject.count()));
    Ok(json(&Single {
        row: row.clone(),
        rejects,
        peers: peers.take(PEERS_MAX).collect(),
        behind: behind.take(ROWS_MAX).cloned().collect(),
    }))
}

/// Which page of connections.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedPeers {
    /// Which page, from 1.
    #[param(minimum = 1, maximum = 1_000_000)]
    page: Option<usize>,
    /// Rows of a page; 50 if not said.
    #[param(minimum = 1, maximum = 500)]
    per_page: Option<usize>,
}

/// Connections with their devices and channels, in the order in which they came.
#[utoipa::path(get, path = "/api/v1/peers", tag = "people", params(WantedPeers), responses(
    (status = 200, body = Page<Peer>),
    (status = 400, body = Problem),
))]
pub(super) async fn peers(
    State(site): State<Site>,
    Asked(wanted): Asked<WantedPeers>,
) -> Result<Response, Problem> {
    Ok(json(&Page::cut(
        &site.roster().peers,
        wanted.page,
        wanted.per_page,
    )?))
}

/// The last accepted shares, newest first. Shares of one channel that came within half a second are one row.
#[utoipa::path(get, path = "/api/v1/shares", tag = "people", responses((status = 200, body = Vec<Recent>)))]
pub(super) async fn shares(State(site): State<Site>) -> Response {
    json(&site.roster().shares)
}
