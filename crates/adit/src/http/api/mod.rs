//! `/api/v1`: everything that the dashboard shows, for programs. `/api/v1/openapi.json` is made from these functions.
//!
//! Numbers are JSON numbers; sums of work, which can be larger than 2^53, are decimal text above that. Times are microseconds
//! (`_us`) or seconds (`_s`) since the Unix epoch.

mod admin;
mod live;
mod mined;
mod past;
mod people;
mod proof;
mod series;
mod settings;

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use utoipa::OpenApi;

use super::problem::{self, Problem};
use super::routes::Site;

/// The document.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "adit",
        description = "What a running adit pool or proxy knows. Reading needs no password and changes nothing; orders \
                       (admin) need the token in `admin.token` of the data folder. Times are microseconds (`_us`) or \
                       seconds (`_s`) since the Unix epoch. Numbers are numbers; sums of work that are larger than 2^53 \
                       are decimal text. Counts are since the start of the process; what was \
                       before is in `/api/v1/books`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    paths(
        live::status,
        live::events,
        live::node,
        live::rejects,
        people::workers,
        people::worker,
        people::accounts,
        people::peers,
        people::shares,
        mined::blocks,
        mined::block,
        mined::best_share,
        mined::coinbase,
        proof::proofs,
        proof::proof,
        proof::next,
        past::history,
        series::chart,
        series::qr,
        settings::settings,
        past::sums,
        past::accounts,
        past::account,
        past::best_shares,
        past::rejects,
        past::sessions,
        past::payouts,
        admin::drain,
        admin::reload,
        admin::notify_test,
        admin::close_peer,
        admin::close_channel,
    ),
    components(schemas(Problem)),
    modifiers(&Secured),
)]
struct Document;

/// How an operator is known.
struct Secured;

impl utoipa::Modify for Secured {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The token in the file admin.token of the data folder."))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

/// All of it.
pub(super) fn router() -> Router<Site> {
    Router::new()
        .route("/api/v1/openapi.json", get(document))
        .route("/api/v1/status", get(live::status))
        .route("/api/v1/events", get(live::events))
        .route("/api/v1/node", get(live::node))
        .route("/api/v1/rejects", get(live::rejects))
        .route("/api/v1/workers", get(people::workers))
        .route("/api/v1/workers/{name}", get(people::worker))
        .route("/api/v1/accounts", get(people::accounts))
        .route("/api/v1/peers", get(people::peers))
        .route("/api/v1/shares", get(people::shares))
        .route("/api/v1/shares/best", get(mined::best_share))
        .route("/api/v1/blocks", get(mined::blocks))
        .route("/api/v1/blocks/{hash}", get(mined::block))
        .route("/api/v1/coinbase", get(mined::coinbase))
        .route("/api/v1/proofs", get(proof::proofs))
        .route("/api/v1/proofs/{channel}", get(proof::proof))
        .route("/api/v1/payouts/next", get(proof::next))
        .route("/api/v1/history", get(past::history))
        .route("/api/v1/chart/hash-rate.svg", get(series::chart))
        .route("/api/v1/qr.svg", get(series::qr))
        .route("/api/v1/settings", get(settings::settings))
        .route("/api/v1/books", get(past::sums))
        .route("/api/v1/books/accounts", get(past::accounts))
        .route("/api/v1/books/accounts/{name}", get(past::account))
        .route("/api/v1/books/best-shares", get(past::best_shares))
        .route("/api/v1/books/rejects", get(past::rejects))
        .route("/api/v1/books/sessions", get(past::sessions))
        .route("/api/v1/books/payouts", get(past::payouts))
        .route("/api/v1/admin/drain", post(admin::drain))
        .route("/api/v1/admin/reload", post(admin::reload))
        .route("/api/v1/admin/notify-test", post(admin::notify_test))
        .route("/api/v1/admin/peers/{id}/close", post(admin::close_peer))
        .route(
            "/api/v1/admin/peers/{id}/channels/{channel_id}/close",
            post(admin::close_channel),
        )
}

async fn document() -> Response {
    problem::json(&Document::openapi())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use utoipa::{PartialSchema, ToSchema};

    /// The document knows types by their names alone: a second one of a name would take the place of the first.
    #[test]
    fn no_two_types_of_the_status_have_one_name() {
        let mut all = vec![(live::Picture::name().into_owned(), live::Picture::schema())];
        live::Picture::schemas(&mut all);
        assert!(all.len() > 20, "{}", all.len());
        let mut known = BTreeMap::new();
        for (name, schema) in all {
            let first = known.entry(name.clone()).or_insert_with(|| schema.clone());
            assert!(*first == schema, "two types are called {name}");
        }
    }

    #[test]
    fn the_document_names_every_path_and_no_schema_that_is_not_there() {
        let text = serde_json::to_string(&Document::openapi()).unwrap();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let paths = document["paths"].as_object().unwrap();
        assert_eq!(paths.len(), 32, "{:?}", paths.keys());
        for part in text.split("\"#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(!document["components"]["schemas"][name].is_null(), "{name}");
        }
        for (path, methods) in paths {
            for (method, what) in methods.as_object().unwrap() {
                assert!(
                    what["summary"].is_string() || what["description"].is_string(),
                    "{method} {path}"
                );
                assert_eq!(method == "post", path.contains("/admin/"), "{path}");
            }
        }
    }
}
