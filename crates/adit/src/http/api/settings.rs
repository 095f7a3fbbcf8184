//! The settings in force.

use axum::extract::State;
use axum::response::Response;

use super::super::problem::json;
use super::super::routes::Site;
use crate::config::Shown;

/// Every key of the configuration with its value and where that comes from. Secrets are never shown.
#[utoipa::path(get, path = "/api/v1/settings", tag = "settings", responses((status = 200, body = Vec<Shown>)))]
pub(super) async fn settings(State(site): State<Site>) -> Response {
    json(&&*site.views.settings)
}
