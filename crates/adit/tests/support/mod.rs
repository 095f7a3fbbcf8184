//! What the tests of a whole pool share: pools on free ports, and a peer that can be as rude as it likes.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]
#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod lines;
pub(crate) mod miner;
pub(crate) mod negotiator;
pub(crate) mod peer;
pub(crate) mod process;
pub(crate) mod rpc_node;
pub(crate) mod template_provider;

use std::path::Path;
use std::time::Duration;

use adit::config::Settings;
use adit::observe::Status;
use adit::pool::Pool;
use adit::pool::branch::Branch;
use adit_ledger::export::{Format, export};
use adit_wire::U256;
use bitcoin::hashes::{Hash, sha256d};
use serde_json::Value;
use tempfile::TempDir;

/// What ought to happen happens within this, on a machine busy with other things too.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// Between two looks at something that cannot be waited for.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A pool of this process with its data folder.
pub(crate) struct House {
    pub(crate) data: TempDir,
    pub(crate) pool: Pool,
}

impl House {
    /// On an embedded chain whose blocks are seldom found by accident but quickly mined on request.
    pub(crate) async fn open(changes: &[(&str, &str)]) -> Self {
        let data = folder();
        let pool = pool(data.path(), changes).await;
        Self { data, pool }
    }

    /// The same below an upstream.
    pub(crate) async fn open_branch(changes: &[(&str, &str)], branch: Branch) -> Self {
        let data = folder();
        let settings = settings(data.path(), changes);
        let pool = Pool::start_branch(&settings, false, branch).await.unwrap();
        Self { data, pool }
    }

    /// Closes the pool, and holds its ledger to what it said of itself.
    pub(crate) async fn close(self) -> std::sync::Arc<Status> {
        let stopped = tokio::time::timeout(SOON, self.pool.stop());
        let last = stopped.await.expect("it stops in time").unwrap();
        let report = adit_ledger::verify::verify(self.data.path()).unwrap();
        assert_eq!((report.duplicate_hashes, report.torn_bytes), (Some(0), 0));
        assert_ne!(report.checkpoint_agrees, Some(false));
        assert_eq!(
            report.book.shares, last.shares.accepted,
            "status and ledger count alike"
        );
        assert_eq!(
            report.book.work, last.shares.work,
            "status and ledger sum up alike"
        );
        last
    }

    /// Waits until the pool's picture is as wished.
    pub(crate) async fn picture(&self, what: &str, wish: impl FnMut(&Status) -> bool) -> Status {
        picture(&self.pool, what, wish).await
    }
}

/// In memory where that can be had: these tests are about the wire, and make a new tip many times.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// A pool on this data folder, as soon as the one before it has let go of the chain.
pub(crate) async fn pool(data: &Path, changes: &[(&str, &str)]) -> Pool {
    let settings = settings(data, changes);
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        match Pool::start(&settings, false).await {
            Err(error) if error.message.contains("in use by") && tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            started => return started.unwrap(),
        }
    }
}

/// Settings of a pool on this data folder.
pub(crate) fn settings(data: &Path, changes: &[(&str, &str)]) -> Settings {
    let base = [
        ("data", data.to_str().unwrap()),
        ("listen", "127.0.0.1:0"),
        ("http.listen", "off"),
        ("node", "embedded:18"),
        ("pool.workers", "2"),
        ("shares.vardiff", "false"),
        ("limits.shares_per_second", "0"),
        ("log.level", "error"),
    ];
    let mut keys: Vec<(&str, &str)> = base.to_vec();
    keys.retain(|(key, _)| changes.iter().all(|(changed, _)| changed != key));
    keys.extend(changes);
    Settings::with(&keys).unwrap()
}

/// Waits until the picture of `pool` is as wished.
pub(crate) async fn picture(pool: &Pool, what: &str, mut wish: impl FnMut(&Status) -> bool) -> Status {
    let mut status = pool.status();
    let wished = async { Status::clone(&*status.wait_for(|now| wish(now)).await.unwrap()) };
    match tokio::time::timeout(SOON, wished).await {
        Ok(picture) => picture,
        Err(_) => {
            let last = serde_json::to_value(&**pool.status().borrow()).unwrap();
            panic!("{what}: not within {SOON:?}; at the end {last}")
        }
    }
}

/// Waits for a condition that nobody announces.
pub(crate) async fn until(what: &str, mut wish: impl FnMut() -> bool) {
    let wished = async {
        while !wish() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    assert!(
        tokio::time::timeout(SOON, wished).await.is_ok(),
        "{what}: not within {SOON:?}"
    );
}

/// The solved header of a block of this stripped coinbase alone, by another library. `tip`: previous block, header time
/// and compact target.
pub(crate) fn solve_alone(version: u32, tip: (U256, u32, u32), coinbase: &[u8]) -> bitcoin::block::Header {
    let (prev_hash, time, nbits) = tip;
    let mut header = bitcoin::block::Header {
        version: bitcoin::block::Version::from_consensus(version as i32),
        prev_blockhash: bitcoin::BlockHash::from_byte_array(prev_hash.0),
        merkle_root: bitcoin::TxMerkleNode::from_raw_hash(sha256d::Hash::hash(coinbase)),
        time,
        bits: bitcoin::CompactTarget::from_consensus(nbits),
        nonce: 0,
    };
    let target = header.target();
    while header.validate_pow(target).is_err() {
        header.nonce += 1;
    }
    header
}

/// Every record of the ledger in `data`, as `adit ledger export --json` prints them.
pub(crate) fn records(data: &Path) -> Vec<Value> {
    let mut lines = Vec::new();
    export(data, &mut lines, Format::JsonLines).unwrap();
    let lines = String::from_utf8(lines).unwrap();
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The accepted shares of the ledger in `data`: name and nonce.
pub(crate) fn shares(data: &Path) -> Vec<(String, u32)> {
    let is_share = |record: &&Value| record["kind"] == "share";
    let share = |record: &Value| {
        let nonce = record["nonce"].as_u64().unwrap();
        (
            record["name"].as_str().unwrap_or_default().to_owned(),
            u32::try_from(nonce).unwrap(),
        )
    };
    records(data).iter().filter(is_share).map(share).collect()
}
