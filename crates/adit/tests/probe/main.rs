//! `adit probe`: on our own pool, where nothing fails, and on servers that break one rule each, where exactly that shows.
//! A conformance tool whose checks cannot fail is worth nothing.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

mod broken;
mod liar;
mod lies;
mod ours;
mod provider;
#[path = "../support/mod.rs"]
mod support;
mod transparent;

use std::collections::BTreeSet;

use adit::probe::{self, Options, Report, Settings, Verdict};
use adit::shutdown::Shutdown;
use adit_net::Url;

/// Servers of these tests answer at once or not at all, but the machine may be busy.
fn options() -> Options {
    Options {
        user: "probe".to_owned(),
        seconds: 120,
        answer_ms: 3_000,
        quiet_ms: 25,
        idle_seconds: 0,
        pause_ms: 0,
        connections: 300,
        bytes: 1 << 20,
        shares: 200,
        hashes: 1 << 22,
    }
}

/// Probes a server of this process.
async fn ask(url: &Url, options: Options) -> Report {
    let (stop, wish) = Shutdown::new();
    let settings = Settings {
        url: url.clone(),
        clock_leeway_s: 60,
        options,
    };
    let asked = tokio::task::spawn_blocking(move || {
        let report = probe::run(settings, wish);
        drop(stop);
        report
    });
    asked.await.unwrap().unwrap()
}

/// Names of the checks that failed.
fn failed(report: &Report) -> BTreeSet<&'static str> {
    let failed = |verdict: &Verdict| matches!(verdict, Verdict::Fail { .. });
    report
        .checks
        .iter()
        .filter(|check| failed(&check.verdict))
        .map(|check| check.name)
        .collect()
}

/// Names of the checks that were skipped.
fn skipped(report: &Report) -> BTreeSet<&'static str> {
    let skipped = |verdict: &Verdict| matches!(verdict, Verdict::Skip { .. });
    report
        .checks
        .iter()
        .filter(|check| skipped(&check.verdict))
        .map(|check| check.name)
        .collect()
}

/// What was seen, for a test that fails.
fn shown(report: &Report) -> String {
    probe::text(report, false)
}
