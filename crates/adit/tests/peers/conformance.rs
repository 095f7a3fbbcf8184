//! `adit probe` on pools over Bitcoin Core: somebody else's, and ours. The documents in docs/conformance/ are what this
//! leaves in the target folder (`tmp/conformance-*.md`).

use std::collections::BTreeSet;
use std::path::Path;

use adit_testkit::{BitcoinNode, peers};
use serde_json::Value;

use crate::pool::{Pool, adit};
use crate::reference;

/// Expected hashes of our shares: enough that some hashes are not good enough.
const WORK: u64 = 1 << 10;
/// What pool_sv2 0.7.0 is known not to keep; docs/conformance/pool_sv2.md says what was seen.
const KNOWN: [&str; 4] = [
    "close.group",
    "com.undefined-flags",
    "com.unknown-protocol",
    "jdist.protocol",
];

/// Probes twice: for the names of failed checks, and for the document.
fn probe(url: &str, title: &str, file: &str) -> (Value, BTreeSet<String>) {
    let run = |more: &[&str]| {
        let done = adit().args(["probe", url]).args(more).output();
        let done = done.expect("adit probe runs");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(matches!(done.status.code(), Some(0 | 1)), "{said}");
        String::from_utf8(done.stdout).expect("text")
    };
    let document = run(&["--markdown", title]);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(folder.join(file), document).expect("the document is kept");
    let report: Value = serde_json::from_str(&run(&["--json"])).expect("JSON");
    let failed = report["checks"].as_array().expect("checks").iter();
    let failed = failed
        .filter(|check| check["result"] == "fail")
        .map(|check| check["name"].as_str().expect("a name").to_owned())
        .collect();
    (report, failed)
}

/// A server that we did not write is asked everything, survives it, and fails what it is known to fail.
#[test]
fn their_pool_is_probed() {
    if peers::need(["pool_sv2"]).is_none() {
        return;
    }
    let Some(node) = BitcoinNode::start() else { return };
    node.mine(1);
    let folder = tempfile::tempdir().expect("a folder");
    let (mut pool, url) = reference::pool(folder.path(), &node);
    let (report, failed) = probe(&url, "pool_sv2 0.7.0", "conformance-pool_sv2.md");
    assert!(!pool.has_ended(), "{}", pool.said());
    assert_eq!(report["certificate"]["verified"], true, "{report:#}");
    let known: BTreeSet<String> = KNOWN.map(str::to_owned).into();
    assert_eq!(failed, known, "{report:#}");
}

/// Ours, on the same node: nothing fails.
#[test]
fn our_pool_on_bitcoin_core_is_probed() {
    let Some(node) = BitcoinNode::start() else { return };
    node.mine(1);
    let pool = Pool::on(&node, WORK);
    let title = concat!("adit ", env!("CARGO_PKG_VERSION"));
    let (report, failed) = probe(&pool.url(), title, "conformance-adit.md");
    assert_eq!(failed, BTreeSet::new(), "{report:#}");
}
