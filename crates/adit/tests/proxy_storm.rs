//! Many devices below a proxy leave and come back at once, while others mine. `cargo xtask bench --proxies` does it with
//! ten thousand.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

#[path = "support/mod.rs"]
mod support;

use std::time::Duration;

use adit::config::Settings;
use adit::device::Channel;
use adit::load::{self, Address, Options};
use adit::proxy::{Patience, Proxy};
use adit::shutdown::Shutdown;
use support::{House, SOON, folder, settings};

/// Devices that come and go, and that stay.
const STORM: u32 = 150;
const STAYING: u32 = 10;
/// How long they may need to have work again.
const STORM_MS_MAX: u64 = 30_000;

fn load(upstream: Address, connections: u32, duration: Duration, options: &Options) -> load::Settings {
    let made = load::Settings::new(upstream, connections, 60, Channel::Standard, None, options);
    load::Settings {
        duration,
        ..made.unwrap()
    }
}

#[tokio::test]
async fn a_storm_of_reconnects_settles_while_others_mine() {
    let pool = House::open(&[]).await;
    let data = folder();
    let upstream = pool.pool.url().to_string();
    let settings = Settings {
        nodeless: true,
        ..settings(data.path(), &[("upstream.pools", &*upstream)])
    };
    let proxy = Proxy::start(&settings, Patience::default()).await.unwrap();
    let below = proxy.pool();
    let old: Address = below.url_stratum_v1().unwrap().parse().unwrap();
    let stay = Options {
        rate: Some(20.0),
        warm_up_ms: Some(0),
        ..Options::default()
    };
    let (stop, shutdown) = Shutdown::new();
    let staying = tokio::spawn(load::run(load(old, STAYING, SOON * 8, &stay), shutdown));
    let mut status = below.status();
    let mining = status.wait_for(|now| now.shares.accepted > 0);
    tokio::time::timeout(SOON, mining).await.unwrap().unwrap();

    let come_and_go = Options {
        hold: true,
        churn: 1,
        opening: STORM,
        warm_up_ms: Some(0),
        ..Options::default()
    };
    let storm = load(
        below.url().clone().into(),
        STORM,
        Duration::from_millis(50),
        &come_and_go,
    );
    let (_stop, shutdown) = Shutdown::new();
    let report = load::run(storm, shutdown).await.unwrap();
    assert_eq!(
        (
            report.connections_open,
            report.connections_failed,
            report.connections_lost
        ),
        (STORM.into(), 0, 0),
        "{report}"
    );
    assert!(report.open_ms < STORM_MS_MAX, "{report}");

    stop.stop();
    let report = staying.await.unwrap().unwrap();
    assert_eq!(
        (report.connections_open, report.connections_lost),
        (STAYING.into(), 0),
        "{report}"
    );
    assert!(
        report.shares_accepted > 0 && report.shares_rejected == 0,
        "{report}"
    );
    proxy.stop().await.unwrap();
    pool.close().await;
}
