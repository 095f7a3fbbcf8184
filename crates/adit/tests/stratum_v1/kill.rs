//! `kill -9` with both generations on one port: what was acknowledged is in the ledger, once.

use std::collections::{BTreeMap, BTreeSet};

use adit_net::random;

use super::support::lines::Rig;
use super::support::miner::{How, Miner};
use super::support::process::Process;
use super::support::shares;

/// Times that the pool is killed.
const KILLS: u32 = 4;
/// Shares that each miner sends in one life.
const SHARES: u32 = 4_000;
/// Shares that each has under way.
const WINDOW: u32 = 64;

/// Submits until the pool is gone.
async fn old(mut rig: Rig, mut nonce: u32, enough: u32) -> (u32, BTreeSet<u32>) {
    let end = nonce + SHARES;
    while nonce < end && (rig.acknowledged.len() as u32) < enough {
        rig.submit(nonce..nonce + WINDOW / 2).await;
        nonce += WINDOW / 2;
        while rig.waiting.len() as u32 > WINDOW / 2 {
            if !rig.hear().await {
                return (nonce, rig.acknowledged);
            }
        }
    }
    assert_eq!(rig.refused, [] as [serde_json::Value; 0]);
    (nonce, rig.acknowledged)
}

async fn new(mut miner: Miner, mut nonce: u32, enough: u32) -> (u32, BTreeSet<u32>) {
    let end = nonce + SHARES;
    while nonce < end && (miner.acknowledged.len() as u32) < enough {
        miner.submit(nonce..nonce + WINDOW / 2).await;
        nonce += WINDOW / 2;
        while miner.waiting.len() as u32 > WINDOW / 2 {
            if !miner.hear().await {
                return (nonce, miner.acknowledged);
            }
        }
    }
    (nonce, miner.acknowledged)
}

#[tokio::test]
async fn acknowledged_shares_of_both_generations_survive_kill_9() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let mut acknowledged: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    let mut next: BTreeMap<&str, u32> = BTreeMap::new();
    for _ in 0..KILLS {
        let pool = Process::pool(home.path(), "--node embedded:40");
        let url = pool.url();
        let first = Rig::start(&url, "v1a").await;
        let second = Rig::start(&url, "v1b").await;
        let third = Miner::start(&url, How::Extended, "v2a").await;
        let from = |name: &str| next.get(name).copied().unwrap_or(0);
        // Somewhere between the first acknowledgements and the two thousandth; then all stop reading, and it dies.
        let enough = 1 + random::below(2_000) as u32;
        let (a, b, c) = tokio::join!(
            old(first, from("v1a"), enough),
            old(second, from("v1b"), enough),
            new(third, from("v2a"), enough)
        );
        pool.kill();
        for (name, (end, good)) in [("v1a", a), ("v1b", b), ("v2a", c)] {
            next.insert(name, end);
            acknowledged.entry(name).or_default().extend(good);
        }
        let mut found: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        for (name, nonce) in shares(&data) {
            assert!(
                found.entry(name.clone()).or_default().insert(nonce),
                "{name}'s {nonce} twice"
            );
        }
        for (name, good) in &acknowledged {
            let there = found.remove(*name).unwrap_or_default();
            let lost: Vec<_> = good.difference(&there).collect();
            assert!(
                !good.is_empty() && lost.is_empty(),
                "{name} was promised {lost:?}"
            );
            assert!(
                there.iter().all(|nonce| *nonce < next[name]),
                "{name} never sent that"
            );
        }
        assert!(found.is_empty(), "{found:?}");
    }
    let report = adit_ledger::verify::verify(&data).unwrap();
    assert_eq!(report.duplicate_hashes, Some(0));
    assert_eq!(report.book.shares, shares(&data).len() as u64);
}
