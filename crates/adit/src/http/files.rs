//! The dashboard's files, part of the program.

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::routes::Site;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Path, type and text of every file but the page itself.
const FILES: &[(&str, &str, &str)] = &[
    ("/assets/app.css", CSS, include_str!("page/app.css")),
    ("/assets/app.js", JS, include_str!("page/app.js")),
    ("/assets/dom.js", JS, include_str!("page/dom.js")),
    ("/assets/words.js", JS, include_str!("page/words.js")),
    ("/assets/live.js", JS, include_str!("page/live.js")),
    ("/assets/chart.js", JS, include_str!("page/chart.js")),
    ("/assets/connect.js", JS, include_str!("page/connect.js")),
    ("/assets/home.js", JS, include_str!("page/home.js")),
    ("/assets/workers.js", JS, include_str!("page/workers.js")),
    ("/assets/blocks.js", JS, include_str!("page/blocks.js")),
    ("/assets/money.js", JS, include_str!("page/money.js")),
    ("/assets/peers.js", JS, include_str!("page/peers.js")),
    ("/assets/history.js", JS, include_str!("page/history.js")),
    ("/assets/settings.js", JS, include_str!("page/settings.js")),
    ("/favicon.svg", SVG, include_str!("page/favicon.svg")),
];

/// Addresses of pages: the same frame, which then asks for what the address names.
const PAGES: &[&str] = &[
    "/",
    "/workers",
    "/worker/{name}",
    "/blocks",
    "/block/{hash}",
    "/coinbase",
    "/payouts",
    "/proof/{channel}",
    "/history",
    "/peers",
    "/settings",
];
const FRAME: &str = include_str!("page/index.html");

/// All of them.
pub(super) fn router() -> Router<Site> {
    let mut router = Router::new();
    for page in PAGES {
        router = router.route(page, get(|| file(HTML, FRAME)));
    }
    for (path, kind, text) in FILES {
        router = router.route(path, get(move || file(kind, text)));
    }
    router
}

async fn file(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
