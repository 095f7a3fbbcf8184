//! `adit up` and `adit pool` as processes: what they print, how they end, what they leave behind.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use super::support::miner::{How, Miner};
use super::support::process::{Process, adit, run};
use super::support::{records, shares};

/// Nothing is at a fixed port.
const UP: &str = "--listen 127.0.0.1:0 --http off --threads 1";

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// `adit ledger verify` finds nothing wrong.
fn sound(home: &Path, data: &Path) -> Value {
    let output = run(home, &format!("ledger verify --json --data {}", data.display()));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&report["torn_bytes"], &report["duplicate_hashes"]),
        (&0.into(), &0.into())
    );
    report
}

/// The journal ends with the note that the writer ended in order.
fn closed_in_order(data: &Path) {
    let last = records(data).pop().unwrap();
    assert_eq!(last["kind"], "stop", "{last}");
}

/// REQ-COM-040, and the promise of the README: three blocks, one JSON object, exit status 0. Also where blocks are so easy that several
/// are found for each height before the node has answered.
#[test]
fn up_finds_three_blocks_and_says_so() {
    for log2 in [20, 14] {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        let line = format!(
            "up --until-blocks 3 --json --node embedded:{log2} --data {} {UP}",
            data.display()
        );
        let output = run(home.path(), &line);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let report: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
        let mut keys: Vec<&str> = report.keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            [
                "blocks",
                "elapsed_ms",
                "pool_url",
                "shares_accepted",
                "shares_rejected",
                "tip"
            ]
        );
        assert!(report["blocks"].as_u64() >= Some(3), "{text}");
        assert!(
            report["pool_url"]
                .as_str()
                .unwrap()
                .starts_with("stratum2+tcp://127.0.0.1:")
        );

        let book = sound(home.path(), &data);
        assert_eq!(
            (&book["shares"], &book["starts"]),
            (&report["shares_accepted"], &1.into())
        );
        let blocks: Vec<Value> = records(&data)
            .into_iter()
            .filter(|record| record["kind"] == "block")
            .collect();
        assert_eq!(
            blocks.len() as u64,
            report["blocks"].as_u64().unwrap(),
            "every block of ours was accepted"
        );
        let highest = blocks.iter().map(|block| block["height"].as_u64()).max().unwrap();
        let tip = blocks
            .iter()
            .find(|block| block["hash"] == report["tip"])
            .expect("the tip is a block of ours");
        assert_eq!(tip["height"].as_u64(), highest, "the tip is our last block");
        closed_in_order(&data);
    }
}

/// SIGINT and SIGTERM: exit status 0, the journal closed, what was acknowledged in it.
#[tokio::test]
async fn signals_end_up_and_pool_in_order() {
    for (signal, command) in [("INT", "up"), ("TERM", "up"), ("INT", "pool"), ("TERM", "pool")] {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        let threads = if command == "up" { "--threads 1" } else { "" };
        let line = format!(
            "{command} --listen 127.0.0.1:0 --http off --node embedded:40 {threads} --set shares.vardiff=false --data {}",
            data.display()
        );
        let mut process = Process::start(adit(home.path(), &line));
        let mut miner = Miner::start(&process.url(), How::Extended, "mine").await;
        miner.mine(0..50).await;
        miner.submit(50..250).await;
        process.signal(signal);
        while miner.hear().await {}
        let status = process.ended().await;
        assert_eq!(status.code(), Some(0), "{command} {signal}");
        sound(home.path(), &data);
        closed_in_order(&data);
        let mine = shares(&data).into_iter().filter(|(name, _)| name == "mine");
        let mine: Vec<u32> = mine.map(|(_, nonce)| nonce).collect();
        let once: BTreeSet<u32> = mine.iter().copied().collect();
        assert_eq!(once.len(), mine.len(), "{command} {signal}");
        // The last shares that were taken became durable and were acknowledged before the pool hung up.
        assert_eq!(miner.acknowledged, once, "{command} {signal}");
    }
}

/// Without arguments it is `adit up` on `~/.adit`, which is its owner's alone; a second one is told who has it.
#[tokio::test]
async fn without_arguments_it_is_up_and_the_folder_is_its_own() {
    let home = tempfile::tempdir().unwrap();
    // The default ports may be another's on this machine: `up` then takes free ones.
    let mut first = Process::start(adit(home.path(), ""));
    let url = first.url();
    assert!(url.is_local());
    Miner::start(&url, How::HeaderOnly, "guest").await;

    let data = home.path().join(".adit");
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join("keys")), 0o700);
    assert_eq!(mode(&data.join("keys/authority.secret")), 0o600);
    for folder in [data.join("ledger"), data.join("blocks")] {
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
        for file in std::fs::read_dir(&folder).unwrap() {
            assert_eq!(mode(&file.unwrap().path()) & 0o077, 0, "{}", folder.display());
        }
    }

    for command in ["up", "pool"] {
        let second = run(home.path(), &format!("{command} --listen 127.0.0.1:0 --http off"));
        let told = String::from_utf8(second.stderr).unwrap();
        assert_eq!(second.status.code(), Some(1), "{told}");
        assert!(
            told.contains(&format!("held by process {}", first.id())),
            "{told}"
        );
        assert!(told.contains(".adit/lock"), "{told}");
    }
    first.signal("INT");
    assert_eq!(first.ended().await.code(), Some(0));
    sound(home.path(), &data);
}
