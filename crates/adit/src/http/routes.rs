//! What is answered.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::get};
use serde::Serialize;
use tokio::sync::watch;

use super::host;
use crate::observe::{Health, Status, metrics};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Nothing but our own files: no foreign script, style, image, font or frame, and nobody may frame us.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// On every answer.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

#[derive(Clone)]
struct Site {
    status: watch::Receiver<Arc<Status>>,
    hosts: Arc<[String]>,
}

/// All paths.
pub(super) fn router(status: watch::Receiver<Arc<Status>>, hosts: &[String]) -> Router {
    let site = Site {
        status,
        hosts: hosts.into(),
    };
    Router::new()
        .route("/", get(|| file("text/html; charset=utf-8", PAGE)))
        .route("/page.css", get(|| file("text/css; charset=utf-8", STYLE)))
        .route("/page.js", get(|| file("text/javascript; charset=utf-8", SCRIPT)))
        .route("/api/v1/status", get(status_json))
        .route("/metrics", get(prometheus))
        .fallback(|| {
            refuse(
                StatusCode::NOT_FOUND,
                "no such path: there are /, /api/v1/status and /metrics",
            )
        })
        .method_not_allowed_fallback(|| refuse(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD"))
        .layer(middleware::from_fn_with_state(site.clone(), guard))
        .with_state(site)
}

async fn guard(State(site): State<Site>, request: Request, next: Next) -> Response {
    let mut response = if names_us(request.headers(), &site.hosts) {
        next.run(request).await
    } else {
        let right = "the Host header names another machine; allow the name with http.hosts";
        refuse(StatusCode::MISDIRECTED_REQUEST, right).await
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn names_us(headers: &HeaderMap, hosts: &[String]) -> bool {
    let mut values = headers.get_all(header::HOST).iter();
    match (values.next(), values.next()) {
        (Some(only), None) => only.to_str().is_ok_and(|name| host::allowed(name, hosts)),
        _ => false,
    }
}

async fn file(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

async fn refuse(code: StatusCode, why: &str) -> Response {
    let body = serde_json::json!({ "error": { "code": code.as_u16(), "message": why } });
    (
        code,
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}

/// The status and what follows from it.
#[derive(Serialize)]
struct View<'a> {
    health: Health,
    #[serde(flatten)]
    status: &'a Status,
}

async fn status_json(State(site): State<Site>) -> Response {
    let status = Arc::clone(&site.status.borrow());
    match serde_json::to_string(&View {
        health: status.health(),
        status: &status,
    }) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()).await,
    }
}

async fn prometheus(State(site): State<Site>) -> Response {
    let status = Arc::clone(&site.status.borrow());
    match metrics::render(&status) {
        Ok(body) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], body).into_response(),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()).await,
    }
}
