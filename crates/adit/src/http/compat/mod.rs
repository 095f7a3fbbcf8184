//! What tools for other pools read: the same facts in their shapes.

mod ckpool_files;
mod public_pool;
mod umbrel;

use axum::Router;
use axum::routing::get;

use super::routes::Site;

/// Hashes a unit of difficulty.
pub(super) const DIFFICULTY: f64 = 4_294_967_296.0;

/// All paths.
pub(super) fn router() -> Router<Site> {
    Router::new()
        .route("/api/pool", get(public_pool::pool))
        .route("/api/info", get(public_pool::info))
        .route("/api/info/chart", get(public_pool::chart))
        .route("/api/network", get(public_pool::network))
        .route("/api/client/{address}", get(public_pool::client))
        .route("/api/client/{address}/chart", get(public_pool::client_chart))
        .route("/api/client/{address}/{worker}", get(public_pool::worker))
        .route(
            "/api/client/{address}/{worker}/{session}",
            get(public_pool::session),
        )
        .route("/pool/pool.status", get(ckpool_files::pool))
        .route("/users/{name}", get(ckpool_files::user))
        .route("/umbrel-api", get(umbrel::stats))
}

/// Difficulty of expected hashes.
fn difficulty(work: u128) -> f64 {
    work as f64 / DIFFICULTY
}
