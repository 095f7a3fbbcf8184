//! What was found, and what the next block would pay.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::problem::{Asked, Named, Problem, json};
use super::super::routes::Site;
use super::past;
use crate::observe::{BestShare, Block, Coinbase, Fate};

/// Which page of blocks.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Which page, from 1.
    #[param(minimum = 1, maximum = 2_000)]
    page: Option<u32>,
    /// Rows of a page; 50 if not said.
    #[param(minimum = 1, maximum = 500)]
    per_page: Option<u32>,
}

/// Blocks that our miners found, the highest first; a page that is not full is the last one. Without a database those since
/// the start of the process, at most 256.
#[utoipa::path(get, path = "/api/v1/blocks", tag = "mined", params(Wanted), responses(
    (status = 200, body = Vec<Block>),
    (status = 400, body = Problem),
))]
pub(super) async fn blocks(
    State(site): State<Site>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Response, Problem> {
    let (page, per_page) = (wanted.page.unwrap_or(1), wanted.per_page.unwrap_or(50));
    if !(1..=2_000).contains(&page) || !(1..=500).contains(&per_page) {
        return Err(Problem::bad(
            format!("there is no page {page} of {per_page} blocks"),
            "page is 1 to 2000, and a page has 1 to 500 blocks",
        ));
    }
    let roster = site.roster();
    let mut rows = past::blocks_of(&site, page, per_page).await;
    let (skip, full) = ((page - 1) * per_page, rows.len() >= per_page as usize);
    if rows.is_empty() {
        let live = roster.blocks.iter().skip(skip as usize);
        rows.extend(live.take(per_page as usize).cloned());
    } else if page == 1 {
        // The books follow a moment later.
        let last = rows.last().map_or(0, |last| last.height);
        let fresh =
            |block: &&Block| (!full || block.height >= last) && rows.iter().all(|row| row.hash != block.hash);
        let mut all: Vec<Block> = roster.blocks.iter().filter(fresh).cloned().collect();
        all.append(&mut rows);
        all.truncate(per_page as usize);
        rows = all;
    }
    let rows: Vec<Block> = rows.into_iter().map(|row| now(&site, row)).collect();
    Ok(json(&rows))
}

/// A block as it is at this moment: what this process knows of it is newer, and each tip confirms it once more.
fn now(site: &Site, row: Block) -> Block {
    let roster = site.roster();
    let live = roster.blocks.iter().find(|block| block.hash == row.hash);
    let mut block = live.cloned().unwrap_or(row);
    let status = site.status();
    match block.fate {
        Fate::Confirmed => {
            let deep = (status.node.height + 1).saturating_sub(block.height);
            block.confirmations = block.confirmations.max(u32::try_from(deep).unwrap_or(u32::MAX));
        }
        // Nobody tells us what becomes of a block of theirs.
        Fate::Pending if live.is_none() && status.uplink.is_some() => block.fate = Fate::Upstream,
        _ => {}
    }
    block
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
    let live = roster.blocks.iter().find(|block| block.hash == hash).cloned();
    let found = match live {
        Some(block) => Some(block),
        None => past::block_of(&site, &hash).await,
    };
    found.map(|row| json(&now(&site, row))).ok_or_else(|| {
        Problem::missing(
            "no block of that hash was found here",
            "/api/v1/blocks lists those that are known; `adit ledger export` has all",
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
