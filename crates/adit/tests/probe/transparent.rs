//! A transparent proxy in front of our own pool keeps what the pool keeps.

use std::collections::BTreeSet;

use adit::proxy::transparent::Transparent;
use adit::uplink::supervisor;

use super::ours::not_asked;
use super::support::{House, folder, settings};
use super::{ask, failed, options, shown, skipped};

/// Jobs are negotiated with the pool itself.
const NEGOTIATION: [&str; 5] = [
    "heard.no-channel-bit",
    "jd.payout",
    "jd.request-ids",
    "jd.tokens",
    "jd.unknown-token",
];

/// REQ-COM-003, REQ-COM-014, REQ-MIN-022, REQ-MIN-105: whatever is asked of it, no check fails, and what cannot be asked is
/// what cannot be asked of the pool either.
#[tokio::test]
async fn nothing_fails_through_a_transparent_proxy() {
    let house = House::open(&[("limits.handshake_ms", "2000")]).await;
    let data = folder();
    let url = house.pool.url().to_string();
    let keys = [
        ("upstream.pools", &*url),
        ("proxy.mode", "transparent"),
        ("limits.handshake_ms", "2000"),
    ];
    let settings = adit::config::Settings {
        nodeless: true,
        ..settings(data.path(), &keys)
    };
    let proxy = Transparent::start(&settings, supervisor::Settings::default())
        .await
        .unwrap();
    let mut options = options();
    options.seconds = 600;
    options.idle_seconds = 20;
    options.answer_ms = 10_000;
    let report = ask(proxy.url(), options).await;
    assert_eq!(failed(&report), BTreeSet::new(), "{}", shown(&report));
    let mut expected = not_asked(&report);
    expected.extend(NEGOTIATION);
    assert_eq!(skipped(&report), expected, "{}", shown(&report));
    proxy.stop().await.unwrap();
    house.close().await;
}
