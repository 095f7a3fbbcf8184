//! Orders. They need the token of the data folder.

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::problem::{Named, Ordered, Problem, json};
use super::super::routes::Site;
use super::super::serve::Views;
use crate::config::Place;
use crate::pool::admin::Desk;
use crate::tell;

/// Who has shown the token.
pub(super) struct Operator(Desk);

impl FromRequestParts<Site> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Problem> {
        let Views {
            admin: Some(admin), ..
        } = &site.views
        else {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "nothing can be ordered here",
                "this role only shows what it does",
            ));
        };
        let (token, desk) = &**admin;
        let shown = parts.headers.get(header::AUTHORIZATION);
        let shown = shown.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        match shown {
            Some(shown) if token.is(shown) => Ok(Self(desk.clone())),
            _ => Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "orders need the operator's token",
                "send Authorization: Bearer TOKEN; it is in the file admin.token of the data folder",
            )),
        }
    }
}

/// That an order was taken.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Taken {
    /// What happens now.
    message: &'static str,
}

fn taken(message: &'static str) -> Response {
    (StatusCode::ACCEPTED, json(&Taken { message })).into_response()
}

/// Where everybody is to go.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DrainOrder {
    /// `HOST[:PORT]` or `:PORT`; `pool.drain_to` if not said.
    to: Option<String>,
}

/// Sends every miner to another pool, and ends this one when they have left.
#[utoipa::path(post, path = "/api/v1/admin/drain", tag = "admin", request_body = DrainOrder, security(("token" = [])),
    responses(
        (status = 202, body = Taken),
        (status = 400, body = Problem),
        (status = 401, body = Problem),
        (status = 403, body = Problem),
        (status = 409, description = "it is ending already", body = Problem),
    ))]
pub(super) async fn drain(
    Operator(desk): Operator,
    Ordered(order): Ordered<DrainOrder>,
) -> Result<Response, Problem> {
    let place = match order.to.as_deref().map(str::trim) {
        None | Some("") => None,
        Some(to) => {
            let place: Result<Place, ()> = to.parse();
            Some(place.map_err(|()| Problem::bad("`to` is no place to send miners to", Place::EXPECTED))?)
        }
    };
    match desk.drain(place) {
        true => Ok(taken("draining: /api/v1/status says how many are left")),
        false => Err(Problem::new(
            StatusCode::CONFLICT,
            "the pool is ending already",
            "/api/v1/status says how many are left",
        )),
    }
}

/// What a reload has changed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Reread {
    /// Keys that count from now on.
    changed: Vec<&'static str>,
    /// Keys that have changed, too, and count from the next start.
    later: Vec<&'static str>,
}

/// Reads the configuration again, as SIGHUP does. A mistake in it changes nothing: the old configuration goes on.
#[utoipa::path(post, path = "/api/v1/admin/reload", tag = "admin", security(("token" = [])),
    responses(
        (status = 200, body = Reread),
        (status = 401, body = Problem),
        (status = 403, body = Problem),
        (status = 409, description = "this role reads its configuration at its start only", body = Problem),
        (status = 422, description = "the configuration has a mistake", body = Problem),
    ))]
pub(super) async fn reload(Operator(desk): Operator) -> Result<Response, Problem> {
    match desk.reload().await {
        Some(Ok(reloaded)) => Ok(json(&Reread {
            changed: reloaded.changed,
            later: reloaded.later,
        })),
        Some(Err(mistake)) => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("the old configuration goes on: {}", mistake.message),
            mistake.hint,
        )),
        None => Err(Problem::new(
            StatusCode::CONFLICT,
            "this role reads its configuration at its start only",
            "restart it; `adit pool` can read it again",
        )),
    }
}

/// Whom to tell.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TestOrder {
    /// `webhook`, `ntfy`, `telegram` or `mail`; all that are configured if not said.
    way: Option<String>,
}

/// What came of one way.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Told {
    /// Which.
    way: &'static str,
    /// Whether the notice was taken.
    sent: bool,
    /// Why not.
    reason: Option<String>,
}

/// Sends a notice for a test by the ways that are configured, and waits for what comes of it.
#[utoipa::path(post, path = "/api/v1/admin/notify-test", tag = "admin", request_body = TestOrder,
    security(("token" = [])),
    responses(
        (status = 200, body = Vec<Told>),
        (status = 400, body = Problem),
        (status = 401, body = Problem),
        (status = 403, body = Problem),
        (status = 409, description = "nobody is told anything here", body = Problem),
    ))]
pub(super) async fn notify_test(
    Operator(desk): Operator,
    Ordered(order): Ordered<TestOrder>,
) -> Result<Response, Problem> {
    let Some(keys) = desk.notify_keys().await else {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "this role tells nobody what happens",
            "`adit pool` does; docs/operations.md says how",
        ));
    };
    let attempts = tokio::task::spawn_blocking(move || {
        tell::attempt(&keys, order.way.as_deref(), &adit_net::Clock::system())
    });
    let attempts = attempts
        .await
        .map_err(|error| Problem::bad(error.to_string(), "try it again"))?
        .map_err(|exit| Problem::bad(exit.message, exit.hint))?;
    let told = attempts.into_iter().map(|attempt| Told {
        way: attempt.way,
        sent: attempt.failed.is_none(),
        reason: attempt.failed,
    });
    Ok(json(&told.collect::<Vec<_>>()))
}

/// Closes a connection. Its device may connect again.
#[utoipa::path(post, path = "/api/v1/admin/peers/{id}/close", tag = "admin", security(("token" = [])),
    params(("id" = u64, Path, description = "Number of the connection in /api/v1/peers")),
    responses(
        (status = 202, body = Taken),
        (status = 400, body = Problem),
        (status = 401, body = Problem),
        (status = 403, body = Problem),
        (status = 404, body = Problem),
    ))]
pub(super) async fn close_peer(
    Operator(desk): Operator,
    State(site): State<Site>,
    Named(id): Named<u64>,
) -> Result<Response, Problem> {
    known(&site, id, None)?;
    desk.close(id, None);
    Ok(taken("the connection is being closed"))
}

/// Closes a channel. Of a miner of Stratum V1, which has but one, the connection is closed.
#[utoipa::path(post, path = "/api/v1/admin/peers/{id}/channels/{channel_id}/close", tag = "admin",
    security(("token" = [])),
    params(
        ("id" = u64, Path, description = "Number of the connection in /api/v1/peers"),
        ("channel_id" = u32, Path, description = "Number of the channel on that connection"),
    ),
    responses(
        (status = 202, body = Taken),
        (status = 400, body = Problem),
        (status = 401, body = Problem),
        (status = 403, body = Problem),
        (status = 404, body = Problem),
    ))]
pub(super) async fn close_channel(
    Operator(desk): Operator,
    State(site): State<Site>,
    Named((id, channel_id)): Named<(u64, u32)>,
) -> Result<Response, Problem> {
    known(&site, id, Some(channel_id))?;
    desk.close(id, Some(channel_id));
    Ok(taken("the channel is being closed"))
}

fn known(site: &Site, id: u64, channel_id: Option<u32>) -> Result<(), Problem> {
    let roster = site.roster();
    let peer = roster.peers.iter().find(|peer| peer.id == id);
    let there = peer
        .is_some_and(|peer| channel_id.is_none_or(|id| peer.channels.iter().any(|channel| channel.id == id)));
    match there {
        true => Ok(()),
        false => Err(Problem::missing(
            "nobody of that number is here",
            "/api/v1/peers lists all numbers",
        )),
    }
}
