//! What coinbases pay: of every channel, as it is mined at this moment, and the next one line by line.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::problem::{Asked, Named, Problem, json};
use super::super::routes::Site;
use crate::payout::{Preview, Proof};

const ROWS: usize = 50;
const ROWS_MAX: usize = 500;

/// Which page.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Only channels of this user name.
    #[param(max_length = 1024)]
    user: Option<String>,
    /// Which page, from 1.
    #[param(minimum = 1, maximum = 100_000)]
    page: Option<usize>,
    /// Rows of a page; 50 if not said.
    #[param(minimum = 1, maximum = 500)]
    per_page: Option<usize>,
}

/// A channel whose coinbase can be proven.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Provable {
    /// The channel's number in the ledger: fourteen hex digits.
    channel: String,
    /// Its owner, in the peer's words.
    user: String,
}

/// Open channels whose coinbase can be proven, by number. A page that is not full is the last one.
#[utoipa::path(get, path = "/api/v1/proofs", tag = "mined", params(Wanted), responses(
    (status = 200, body = Vec<Provable>),
    (status = 400, body = Problem),
))]
pub(super) async fn proofs(
    State(site): State<Site>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Response, Problem> {
    let (page, rows) = (wanted.page.unwrap_or(1), wanted.per_page.unwrap_or(ROWS));
    if !(1..=100_000).contains(&page) || !(1..=ROWS_MAX).contains(&rows) {
        return Err(Problem::bad(
            format!("there is no page {page} of {rows} rows"),
            "page counts from 1, and a page has 1 to 500 rows",
        ));
    }
    let channels = site.views.prover.as_ref().map(|prover| prover.channels());
    let channels = channels.unwrap_or_default().into_iter();
    let own = |user: &str| wanted.user.as_deref().is_none_or(|wanted| wanted == user);
    let rows: Vec<Provable> = channels
        .filter(|(_, user)| own(user))
        .skip((page - 1) * rows)
        .take(rows)
        .map(|(channel, user)| Provable { channel, user })
        .collect();
    Ok(json(&rows))
}

/// The coinbase that a channel mines at this moment, decoded: its outputs with percentages, and whether its owner is paid.
#[utoipa::path(get, path = "/api/v1/proofs/{channel}", tag = "mined",
    params(("channel" = String, Path, description = "Its number in /api/v1/proofs")),
    responses(
        (status = 200, body = Proof),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
    ))]
pub(super) async fn proof(
    State(site): State<Site>,
    Named(channel): Named<String>,
) -> Result<Response, Problem> {
    let prover = site.views.prover.as_ref();
    let proof = prover.and_then(|prover| prover.prove(&channel));
    proof.map(|proof| json(&proof)).ok_or_else(|| {
        Problem::missing(
            "no channel of that number mines here",
            "/api/v1/proofs lists those that do",
        )
    })
}

/// What the next block would pay to those who mine together, line by line: outputs, and who earns and waits. `null` where nothing is
/// split up: each miner is paid alone, or nothing is mined yet. Then /api/v1/coinbase and /api/v1/proofs say who is paid.
#[utoipa::path(get, path = "/api/v1/payouts/next", tag = "mined", responses((status = 200, body = Option<Preview>)))]
pub(super) async fn next(State(site): State<Site>) -> Response {
    let prover = site.views.prover.as_ref();
    json(&prover.and_then(|prover| prover.preview()))
}
