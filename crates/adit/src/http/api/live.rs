//! How it is going.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use adit_wire::refusal;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;

use super::super::problem::{Problem, json};
use super::super::routes::Site;
use crate::observe::{Health, NodeStatus, Recent, Status};

/// Between two events of one listener.
const EVENT_EVERY: Duration = Duration::from_secs(1);
/// A listener is sent home after so many events, before its connection is cut; browsers come back by themselves.
const EVENTS_MAX: u32 = 50;
/// How long a browser waits before it comes back.
const BACK_AFTER: Duration = Duration::from_millis(500);

/// The status and what follows from it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Picture {
    /// Is it working?
    health: Health,
    #[serde(flatten)]
    status: Status,
}

impl Picture {
    fn of(status: &Status) -> Self {
        Self {
            health: status.health(),
            status: status.clone(),
        }
    }
}

/// Everything in sums, and the names with the most hash rate.
#[utoipa::path(get, path = "/api/v1/status", tag = "live", responses((status = 200, body = Picture)))]
pub(super) async fn status(State(site): State<Site>) -> Response {
    json(&Picture::of(&site.status()))
}

/// Live values as server-sent events.
///
/// Once a second, `status` has what `/api/v1/status` gives (without `workers`), and `shares` what `/api/v1/shares` gives. The
/// stream ends after a while: connect again.
#[utoipa::path(get, path = "/api/v1/events", tag = "live", responses(
    (status = 200, content_type = "text/event-stream", body = String),
    (status = 503, description = "too many listen already", body = Problem),
))]
pub(super) async fn events(State(site): State<Site>) -> Result<Response, Problem> {
    let place = Arc::clone(&site.streams).try_acquire_owned().map_err(|_| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many listen already",
            "ask for /api/v1/status now and then, or raise http.connections_max",
        )
    })?;
    let every = tokio::time::interval(EVENT_EVERY);
    let listener = Listener {
        site,
        every,
        sent: 0,
        shares: None,
        _place: place,
    };
    let stream = futures::stream::unfold(listener, |mut listener| async {
        let event = listener.next().await?;
        Some((Ok::<_, Infallible>(event), listener))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()).into_response())
}

struct Listener {
    site: Site,
    every: tokio::time::Interval,
    sent: u32,
    /// The shares that are to follow the status.
    shares: Option<Vec<Recent>>,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    async fn next(&mut self) -> Option<Event> {
        if let Some(shares) = self.shares.take() {
            return Event::default().event("shares").json_data(shares).ok();
        }
        if self.sent >= EVENTS_MAX {
            return None;
        }
        self.every.tick().await;
        self.sent += 1;
        self.shares = Some(self.site.roster().shares.clone());
        let mut picture = Picture::of(&self.site.status());
        picture.status.workers.clear();
        let event = Event::default().event("status").retry(BACK_AFTER);
        event.json_data(picture).ok()
    }
}

/// The Bitcoin node.
#[utoipa::path(get, path = "/api/v1/node", tag = "live", responses((status = 200, body = NodeStatus)))]
pub(super) async fn node(State(site): State<Site>) -> Response {
    json(&site.status().node)
}

/// One reason for refused shares.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Reject {
    /// The refusal code.
    code: String,
    /// Shares refused for it.
    count: u64,
    /// Why, in words.
    cause: &'static str,
    /// What to do about it, in words.
    cure: &'static str,
}

/// Refused shares by reason, most frequent first, with cause and cure in words.
#[utoipa::path(get, path = "/api/v1/rejects", tag = "live", responses((status = 200, body = Vec<Reject>)))]
pub(super) async fn rejects(State(site): State<Site>) -> Response {
    let mut rejects: Vec<Reject> = (site.status().shares.by_reason.iter())
        .map(|(code, count)| Reject::of(code, *count))
        .collect();
    rejects.sort_by_key(|reject| std::cmp::Reverse(reject.count));
    json(&rejects)
}

impl Reject {
    /// Shares refused for it.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// A reason in words.
    pub(super) fn of(code: &str, count: u64) -> Self {
        let known = refusal::SubmitShares::of_code(code.as_bytes());
        Self {
            code: code.to_owned(),
            count,
            cause: known.map_or("", refusal::SubmitShares::cause),
            cure: known.map_or("", refusal::SubmitShares::cure),
        }
    }
}
