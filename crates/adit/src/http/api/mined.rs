//! What was found, and what the next block would pay.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::problem::{Named, Problem, json};
use super::super::routes::Site;
use crate::observe::{BestShare, Block, Coinbase};

/// Blocks that our miners found since the start of the process, newest first; at most 256.
#[utoipa::path(get, path = "/api/v1/blocks", tag = "mined", responses((status = 200, body = Vec<Block>)))]
pub(super) async fn blocks(State(site): State<Site>) -> Response {
    json(&site.roster().blocks)
}

/// One of them.
#[utoipa::path(get, path = "/api/v1/blocks/{hash}", tag = "mined",
    params(("hash" = String, Path, description = "Its hash, as explorers write it")),
    responses(
        (status = 200, body = Block),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
    ))]
pub(super) async fn block(State(site): State<Site>, Named(hash): Named<String>) -> Result<Response, Problem> {
    let roster = site.roster();
    let block = roster.blocks.iter().find(|block| block.hash == hash);
    block.map(json).ok_or_else(|| {
        Problem::missing(
            "no block of that hash was found here lately",
            "/api/v1/blocks lists the last ones; `adit ledger export` has all",
        )
    })
}

/// The best share, if there was one.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Best {
    /// It.
    best_share: Option<BestShare>,
}

/// The share with the most work since the start of the process.
#[utoipa::path(get, path = "/api/v1/shares/best", tag = "mined", responses((status = 200, body = Best)))]
pub(super) async fn best_share(State(site): State<Site>) -> Response {
    json(&Best {
        best_share: site.status().best_share.clone(),
    })
}

/// The coinbase that is mined now, decoded: what it pays to whom. Each miner's has another extranonce, and is the same
/// otherwise; jobs of miners' own making are not shown here.
#[utoipa::path(get, path = "/api/v1/coinbase", tag = "mined", responses(
    (status = 200, body = Coinbase),
    (status = 404, body = Problem),
))]
pub(super) async fn coinbase(State(site): State<Site>) -> Result<Response, Problem> {
    let roster = site.roster();
    let coinbase = roster.coinbase.as_deref();
    coinbase.map(json).ok_or_else(|| {
        Problem::missing(
            "nothing is mined yet",
            "ask again when the node has given a template: /api/v1/node",
        )
    })
}
