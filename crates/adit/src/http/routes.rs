//! What is answered: all paths together.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, middleware, routing::get};
use tokio::sync::Semaphore;

use super::problem::Problem;
use super::{Views, api, compat, files, guard};
use crate::observe::{Roster, Status, metrics};

/// Longest body of a request, in bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// What every answer is made from.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) views: Views,
    pub(super) hosts: Arc<[String]>,
    pub(super) metrics_names_max: usize,
    /// Places for those who listen to events.
    pub(super) streams: Arc<Semaphore>,
}

impl Site {
    pub(super) fn status(&self) -> Arc<Status> {
        Arc::clone(&self.views.status.borrow())
    }

    pub(super) fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.views.roster.borrow())
    }
}

/// All paths.
pub(super) fn router(site: Site) -> Router {
    Router::new()
        .merge(files::router())
        .merge(api::router())
        .merge(compat::router())
        .route("/metrics", get(prometheus))
        .fallback(|| async {
            Problem::missing(
                "no such path",
                "the pages start at /, and /api/v1/openapi.json lists what else there is",
            )
        })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this path does not know that method",
                "read with GET; orders are POST /api/v1/admin/..",
            )
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(site.clone(), guard::guard))
        .with_state(site)
}

async fn prometheus(State(site): State<Site>) -> Response {
    match metrics::render(&site.status(), &site.roster(), site.metrics_names_max) {
        Ok(body) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], body).into_response(),
        Err(error) => Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            error.to_string(),
            "this is a mistake of adit: please report it",
        )
        .into_response(),
    }
}
