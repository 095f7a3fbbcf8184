//! Four facts for the home screen of umbrelOS.

use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use super::super::problem;
use super::super::routes::Site;
use crate::observe::text;

/// `{type: "four-stats", items: [{title, text, subtext} x 4]}`.
pub(super) async fn stats(State(site): State<Site>) -> Response {
    let status = site.status();
    let item = |title: &str, (text, subtext): (String, String)| json!({ "title": title, "text": text, "subtext": subtext });
    // `12.3 TH/s` is shown in two sizes.
    let split = |shown: String| match shown.split_once(' ') {
        Some((number, unit)) => (number.to_owned(), unit.to_owned()),
        None => (shown, String::new()),
    };
    let best = status.best_share.as_ref().map_or(0, |best| best.work);
    let channels = status.channels.standard + status.channels.extended;
    problem::json(&json!({
        "type": "four-stats",
        "refresh": "5s",
        "link": "",
        "items": [
            item("Hash rate", split(text::hash_rate(status.hash_rate.m10))),
            item("Workers", (channels.to_string(), String::new())),
            item("Best share", split(text::scaled(super::difficulty(best), ""))),
            item("Blocks", (status.blocks.found.to_string(), String::new())),
        ],
    }))
}
