//! `adit payout`, and pools that are killed.

use std::path::Path;

use serde_json::Value;

use super::support::miner::{How, Miner};
use super::support::process::{Process, run};
use super::support::until;
use super::{address, pool_address};

/// What `adit payout WORDS --json` prints.
fn payout(home: &Path, words: &str) -> Value {
    let data = home.join("data");
    let scheme = scheme();
    let output = run(
        home,
        &format!("payout {words} --json --data {} {scheme}", data.display()),
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn scheme() -> String {
    let pool = pool_address().text;
    format!(
        "--set payout.scheme=pplns --set payout.refresh_ms=100 --set payout.address={pool} --set network=regtest"
    )
}

/// Name and weight of those who did work.
fn weights(preview: &Value) -> Vec<(String, String)> {
    // A pool that has just started has no work yet, and says so.
    let lines = preview["lines"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut weights: Vec<_> = lines
        .map(|line| (text(&line["name"]), text(&line["weight"])))
        .collect();
    weights.retain(|(_, weight)| weight != "0");
    weights.sort();
    weights
}

/// The split that a running pool shows, that of its next life after `kill -9`, and that of its data folder alone are the
/// same.
#[tokio::test]
async fn a_kill_does_not_change_the_split() {
    let home = tempfile::tempdir().unwrap();
    let (a, b) = (address(1).text, address(2).text);
    let mut expected = [(a.clone(), 0u64), (b.clone(), 0)];
    expected.sort();
    for life in 1..=3u32 {
        let pool = Process::pool(home.path(), &format!("--node embedded:40 {}", scheme()));
        let url = pool.url();
        if life > 1 {
            // Nobody has mined in this life yet.
            let before: Vec<(String, String)> = expected
                .iter()
                .map(|(name, work)| (name.clone(), work.to_string()))
                .collect();
            until("the last life's work is there", || {
                weights(&payout(home.path(), "preview")) == before
            })
            .await;
        }
        for (name, shares) in [(&a, 70 * life), (&b, 30)] {
            let mut miner = Miner::start(&url, How::Extended, name).await;
            miner.mine(life * 1_000..life * 1_000 + shares).await;
            let of = expected.iter_mut().find(|(known, _)| known == name).unwrap();
            of.1 += u64::from(shares);
        }
        let now: Vec<(String, String)> = expected
            .iter()
            .map(|(name, work)| (name.clone(), work.to_string()))
            .collect();
        until("the work is in the coinbase", || {
            weights(&payout(home.path(), "preview")) == now
        })
        .await;
        pool.kill();
        assert_eq!(
            weights(&payout(home.path(), "preview")),
            now,
            "the book alone says the same"
        );
    }
}

/// What people are told: each line of the next coinbase, the channels and what one of them mines; and mistakes.
#[tokio::test]
async fn the_command_shows_what_a_running_pool_pays() {
    let home = tempfile::tempdir().unwrap();
    let pool = Process::pool(home.path(), &format!("--node embedded:40 {}", scheme()));
    let a = address(1).text;
    let mut miner = Miner::start(&pool.url(), How::Extended, &a).await;
    miner.mine(0..5).await;
    until("the work is in the coinbase", || {
        weights(&payout(home.path(), "preview")).len() == 1
    })
    .await;
    let data = home.path().join("data");
    let words = |line: &str| {
        let output = run(
            home.path(),
            &format!("payout {line} --data {} {}", data.display(), scheme()),
        );
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let text = words("preview");
    assert!(
        text.contains(&a) && text.contains("satoshis") && text.contains("miner"),
        "{text}"
    );
    let channels = payout(home.path(), "prove");
    let channel = channels["channels"][0]["channel"].as_str().unwrap().to_owned();
    assert_eq!(channels["channels"][0]["user"], Value::from(a.clone()));
    let proof = payout(home.path(), &format!("prove {channel}"));
    assert_eq!(
        (&proof["pays_you"], &proof["address"]),
        (&Value::Bool(true), &Value::from(a.clone()))
    );
    assert!(words(&format!("prove {channel}")).contains("this coinbase pays you"));
    assert!(words("prove ffffffffffffff").contains("no such channel"));
    assert_eq!(
        payout(home.path(), "balances")["balances"],
        Value::Array(Vec::new())
    );
    assert_eq!(payout(home.path(), "export")["total_sat"], Value::from(0));
    assert_eq!(words("export"), "address,sat\n");
    drop(miner);
    pool.kill();
    assert!(words("prove").contains("no pool runs"));
}
