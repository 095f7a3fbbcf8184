//! Who may ask, and what is on every answer.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::host;
use super::problem::Problem;
use super::routes::Site;

/// Nothing but our own files: no foreign script, style, image, font or frame, and nobody may frame us.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
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

/// Lets a request through if it names us and comes from one of our own pages, or from no page at all.
pub(super) async fn guard(State(site): State<Site>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let mut response = match only(headers, &header::HOST) {
        Some(name) if host::allowed(name, &site.hosts) => match from_us(headers, name) {
            true => next.run(request).await,
            false => Problem::new(
                StatusCode::FORBIDDEN,
                "the request comes from a page of another site",
                "ask without an Origin header, or from a page of this address",
            )
            .into_response(),
        },
        _ => Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "the Host header names another machine",
            "allow the name with http.hosts, or ask by IP address",
        )
        .into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The only value of a header.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(only), None) => only.to_str().ok(),
        _ => None,
    }
}

/// Whether no page of another site asks: browsers say whose page it is, and programs say nothing.
fn from_us(headers: &HeaderMap, host: &str) -> bool {
    if !headers.contains_key(header::ORIGIN) {
        return true;
    }
    let origin = only(headers, &header::ORIGIN).and_then(|origin| origin.split_once("://"));
    origin.is_some_and(|(scheme, authority)| {
        matches!(scheme, "http" | "https") && authority.eq_ignore_ascii_case(host)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_may_ask() {
        let asks = |origins: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for origin in origins {
                headers.append(header::ORIGIN, HeaderValue::from_static(origin));
            }
            from_us(&headers, "pool.local:3380")
        };
        assert!(asks(&[]) && asks(&["http://pool.local:3380"]) && asks(&["https://POOL.local:3380"]));
        for foreign in [
            "http://evil.example",
            "http://pool.local",
            "http://pool.local:3380.evil.example",
            "null",
            "",
            "file://pool.local:3380",
        ] {
            assert!(!asks(&[foreign]), "{foreign}");
        }
        assert!(!asks(&["http://pool.local:3380", "http://evil.example"]));
    }
}
