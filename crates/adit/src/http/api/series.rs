//! Over time, and as pictures.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use qrcode::QrCode;
use qrcode::render::svg;
use serde::Deserialize;
use utoipa::IntoParams;

use super::super::chart::{self, Theme};
use super::super::problem::{Asked, Problem};
use super::super::routes::Site;
use super::past::{self, Curve};
use crate::observe::Endpoint;

const DAY_S: u64 = 86_400;
/// A picture shows at least this much time: a pool that was just started has no more.
const SHOWN_MIN_S: u64 = 600;

/// Where a picture of the last `seconds` begins: what was before the start is not worth its place. The page reckons so
/// too.
fn begins_s(curve: &Curve, seconds: u64) -> u64 {
    let first = curve.points.first().map_or(curve.now_s, |point| point.start_s);
    let earliest = curve.now_s.saturating_sub(seconds);
    earliest.max(first.min(curve.now_s.saturating_sub(SHOWN_MIN_S)))
}

/// How a chart is to look.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Look {
    /// An account or a worker, as the lists have it; the whole pool if not said.
    #[param(max_length = 1024)]
    name: Option<String>,
    /// How far back, in seconds; a day if not said, a year (with a database) at most.
    #[param(minimum = 60, maximum = 31_622_400)]
    seconds: Option<u64>,
    /// Width in pixels; 900 if not said.
    #[param(minimum = 240, maximum = 2_000)]
    width: Option<u32>,
    /// Height in pixels; 260 if not said.
    #[param(minimum = 120, maximum = 1_000)]
    height: Option<u32>,
    /// `light` or `dark`; `light` if not said.
    theme: Option<String>,
    /// Minutes that local time is ahead of UTC, for the labels; 0 if not said.
    #[param(minimum = -840, maximum = 840)]
    utc_offset: Option<i32>,
}

/// The hash rate of the pool or of a name as a picture: the curve, how far luck may have moved it, and the blocks.
#[utoipa::path(get, path = "/api/v1/chart/hash-rate.svg", tag = "series", params(Look), responses(
    (status = 200, content_type = "image/svg+xml", body = String),
    (status = 400, body = Problem),
    (status = 404, body = Problem),
    (status = 503, body = Problem),
))]
pub(super) async fn chart(State(site): State<Site>, Asked(look): Asked<Look>) -> Result<Response, Problem> {
    let seconds = look.seconds.unwrap_or(DAY_S);
    let theme = match look.theme.as_deref() {
        None | Some("light") => Theme::Light,
        Some("dark") => Theme::Dark,
        Some(_) => return Err(Problem::bad("there is no such theme", "theme is light or dark")),
    };
    let (width, height) = (look.width.unwrap_or(900), look.height.unwrap_or(260));
    let utc_offset = look.utc_offset.unwrap_or(0);
    let sizes_ok = (240..=2_000).contains(&width) && (120..=1_000).contains(&height);
    if !sizes_ok || !(-840..=840).contains(&utc_offset) {
        return Err(Problem::bad(
            "a chart of that size or at that time of day cannot be drawn",
            "width is 240 to 2000, height 120 to 1000, utc_offset -840 to 840",
        ));
    }
    // Neighbouring points are four pixels apart.
    let name = look.name.as_deref();
    let curve = past::chart_of(&site, name, seconds, (width / 4) as usize).await?;
    let roster = site.roster();
    let own = |worker: &str| name.is_none_or(|name| worker == name);
    let found = roster.blocks.iter().filter(|block| own(&block.worker));
    let blocks: Vec<u64> = found.map(|block| block.at_us / 1_000_000).collect();
    let picture = chart::Picture {
        width,
        height,
        theme,
        utc_offset_s: i64::from(utc_offset) * 60,
        from_s: begins_s(&curve, seconds),
        now_s: curve.now_s,
        points: &curve.points,
        blocks_s: &blocks,
    };
    Ok(image(chart::draw(&picture)))
}

fn image(svg: String) -> Response {
    ([(header::CONTENT_TYPE, "image/svg+xml")], svg).into_response()
}

/// Of what.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Kind of one of the endpoints of `/api/v1/status`; `stratum-v2` if not said.
    endpoint: Option<String>,
}

/// What to type into a miner, as a QR code. A pool that listens everywhere is named as the request names it.
#[utoipa::path(get, path = "/api/v1/qr.svg", tag = "series", params(Which), responses(
    (status = 200, content_type = "image/svg+xml", body = String),
    (status = 400, body = Problem),
    (status = 404, body = Problem),
))]
pub(super) async fn qr(
    State(site): State<Site>,
    headers: HeaderMap,
    Asked(which): Asked<Which>,
) -> Result<Response, Problem> {
    let status = site.status();
    let kind = which.endpoint.as_deref().unwrap_or("stratum-v2");
    let endpoint = status
        .pool
        .endpoints
        .iter()
        .find(|endpoint| endpoint.kind == kind)
        .ok_or_else(|| {
            Problem::missing(
                "miners are not served that way",
                "/api/v1/status lists the endpoints under pool",
            )
        })?;
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let code = QrCode::new(url(endpoint, host.unwrap_or_default()))
        .map_err(|error| Problem::bad(error.to_string(), "the address is too long for a QR code"))?;
    // Cameras want dark on light, and a margin, whatever the page looks like.
    let drawn = code
        .render::<svg::Color<'_>>()
        .min_dimensions(220, 220)
        .dark_color(svg::Color("#000000"))
        .light_color(svg::Color("#ffffff"))
        .build();
    Ok(image(drawn))
}

/// The address for a miner; `asked` is the name by which the request came.
fn url(endpoint: &Endpoint, asked: &str) -> String {
    let name = match asked.rsplit_once(':') {
        // The brackets of an IPv6 address hold colons too.
        Some((name, port)) if !port.ends_with(']') => name,
        _ => asked,
    };
    match endpoint.url.split_once("://") {
        Some((scheme, rest)) if endpoint.host.is_empty() && !name.is_empty() => {
            let tail = rest.split_once('/').map(|(_, key)| format!("/{key}"));
            format!("{scheme}://{name}:{}{}", endpoint.port, tail.unwrap_or_default())
        }
        _ => endpoint.url.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_is_named_as_it_was_asked() {
        let mut endpoint = Endpoint {
            url: "stratum2+tcp://127.0.0.1:3333/KEY".into(),
            host: "127.0.0.1".into(),
            port: 3333,
            ..Endpoint::default()
        };
        assert_eq!(url(&endpoint, "pool.local:3380"), endpoint.url);
        endpoint.host.clear();
        for (asked, named) in [
            ("pool.local:3380", "pool.local"),
            ("10.0.0.7", "10.0.0.7"),
            ("[fd00::7]:3380", "[fd00::7]"),
            ("[fd00::7]", "[fd00::7]"),
        ] {
            assert_eq!(url(&endpoint, asked), format!("stratum2+tcp://{named}:3333/KEY"));
        }
    }
}
