//! ckpool's files, over HTTP.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::super::ckpool;
use super::super::problem::{Named, Problem};
use super::super::routes::Site;

/// Three lines of JSON.
pub(super) async fn pool(State(site): State<Site>) -> Response {
    text(ckpool::pool(&site.status(), &site.roster()))
}

/// One account and its workers.
pub(super) async fn user(State(site): State<Site>, Named(name): Named<String>) -> Result<Response, Problem> {
    ckpool::user(&site.roster(), &name).map(text).ok_or_else(|| {
        Problem::missing(
            "nobody of that name was seen for some hours",
            "/api/v1/accounts lists all names",
        )
    })
}

fn text(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}
