//! Our own pool keeps everything that can be asked of it.

use std::collections::BTreeSet;

use adit::probe::{self, Level, Report, SuiteReport, Verdict};

use super::support::House;
use super::{ask, failed, options, shown, skipped};

/// What our pool cannot be asked: what it never says.
const NEVER: [&str; 5] = [
    "channel.extended-only",
    "heard.grouping",
    "heard.prefix",
    "heard.reasons",
    "job.fixed-version",
];
/// What only those can be asked who serve it.
const EXTENSIONS: [&str; 4] = [
    "ext.none-supported",
    "ext.supported",
    "ext.worker-name-too-long",
    "ext.worker-named",
];
const DRAFT: [&str; 2] = ["sec.draft-suites", "sec.draft-unknown"];
const TEMPLATES: [&str; 11] = [
    "tdp.answers",
    "tdp.commitment",
    "tdp.future-first",
    "tdp.ids",
    "tdp.outputs",
    "tdp.prefix",
    "tdp.replaced",
    "tdp.transactions",
    "tdp.unknown-solution",
    "tdp.unknown-template",
    "tdp.waits",
];

/// What has to be skipped, going by what the survey found to be served.
pub(super) fn not_asked(report: &Report) -> BTreeSet<&'static str> {
    let mut names = BTreeSet::from(NEVER);
    if report.extensions.iter().all(|it| it.answer == "no answer") {
        names.extend(EXTENSIONS);
    }
    let draft = |it: &&SuiteReport| it.name.contains("25519") && it.served;
    if !report.suites.iter().any(|it| draft(&it)) {
        names.extend(DRAFT);
    }
    names.extend(TEMPLATES);
    names
}

/// REQ-COM-001, REQ-SEC-033, REQ-SEC-037, REQ-FRM-024, REQ-MIN-022, REQ-MIN-107: every check passes or is skipped for a
/// reason that is known; a check that vanishes, or is skipped all at once, is seen.
#[tokio::test]
async fn nothing_fails_on_our_pool() {
    let house = House::open(&[("limits.handshake_ms", "300")]).await;
    let mut options = options();
    options.idle_seconds = 20;
    options.answer_ms = 5_000;
    let report = ask(house.pool.url(), options).await;
    assert_eq!(failed(&report), BTreeSet::new(), "{}", shown(&report));
    assert_eq!(skipped(&report), not_asked(&report), "{}", shown(&report));
    let names: Vec<&str> = report.checks.iter().map(|check| check.name).collect();
    assert!(probe::check_names().eq(names.iter().copied()));
    assert_eq!(report.summary.checks, names.len());
    assert_eq!(report.summary.passed, names.len() - skipped(&report).len());
    // Polite: what it took is what the pool has seen, and within what was promised.
    assert!(report.used.connections <= 150 && report.used.bytes_sent < 262_144 && report.used.shares <= 96);
    let certificate = report.certificate.unwrap();
    assert_eq!((certificate.verified, certificate.valid_now), (Some(true), true));
    assert!(report.channels.len() == 6 && report.setup.len() > 10);
    house.close().await;
}

/// The bounds hold: what they do not let be asked is skipped, never failed.
#[tokio::test]
async fn bounds_make_skips() {
    let house = House::open(&[]).await;
    for bound in 0..4 {
        let mut options = options();
        match bound {
            0 => options.connections = 40,
            1 => options.bytes = 4_000,
            2 => options.shares = 2,
            _ => options.hashes = 0,
        }
        let report = ask(house.pool.url(), options.clone()).await;
        assert_eq!(failed(&report), BTreeSet::new(), "{bound}: {}", shown(&report));
        assert!(report.summary.skipped > not_asked(&report).len(), "{bound}");
        let used = report.used;
        assert!(used.connections <= options.connections && used.shares <= options.shares);
        assert!(used.bytes_sent <= options.bytes);
    }
    house.close().await;
}

/// A pool whose key is another's is reported, and nothing is said to it.
#[tokio::test]
async fn another_authority_is_one_failure() {
    let house = House::open(&[]).await;
    let other = House::open(&[]).await;
    let mut url = house.pool.url().clone();
    url.key = other.pool.url().key;
    let report = ask(&url, options()).await;
    assert_eq!(failed(&report), ["sec.certificate"].into(), "{}", shown(&report));
    assert_eq!(
        (report.summary.must_failed, report.certificate.unwrap().verified),
        (1, Some(false))
    );
    assert!(report.setup.is_empty() && report.channels.is_empty());
    let broken = report.checks.iter().find(|check| check.breaks()).unwrap();
    assert!(broken.level == Level::Must && matches!(broken.verdict, Verdict::Fail { .. }));
    house.close().await;
    other.close().await;
}
