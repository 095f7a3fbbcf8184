//! What outlives the process: a pool that was started again shows over HTTP all that was done before.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

mod http;
mod support;

use std::net::SocketAddr;

use adit::pool::Pool;
use http::get;
use serde_json::Value;
use support::lines::Rig;
use support::miner::{How, Miner};
use support::{SOON, picture, pool};

/// A block every 8,192 shares, about: a dozen shares rarely find one.
const EASY: [(&str, &str); 2] = [("node", "embedded:13"), ("http.listen", "127.0.0.1:0")];
/// Between two looks at an answer that nobody announces.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(100);

async fn json(addr: SocketAddr, path: &str) -> Value {
    let answer = get(addr, path).await;
    assert_eq!(answer.code, 200, "{path}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

/// Asks until the answer is as wished.
async fn until(addr: SocketAddr, path: &str, wish: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let wished = async {
        loop {
            last = json(addr, path).await;
            if wish(&last) {
                return last.clone();
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    match tokio::time::timeout(SOON, wished).await {
        Ok(answer) => answer,
        Err(_) => panic!("{path}: not within {SOON:?}: {}", json(addr, path).await),
    }
}

/// Mines until a block is in the chain; how many shares were accepted in all.
async fn mine_a_block(pool: &Pool, miner: &mut Miner) -> u64 {
    for nonces in (0..100_000).step_by(32) {
        miner.submit(nonces..nonces + 32).await;
        miner.settle().await;
        if pool.status().borrow().blocks.accepted > 0 {
            break;
        }
    }
    picture(pool, "a block is in the chain, and the books know all", |now| {
        now.blocks.accepted > 0 && now.blocks.pending == 0 && now.books.backlog == 0
    })
    .await;
    pool.status().borrow().shares.accepted
}

fn sum(curve: &Value) -> u64 {
    let points = curve["points"].as_array().unwrap();
    points
        .iter()
        .map(|point| point["accepted"].as_u64().unwrap())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_forgets_nothing() {
    let data = support::folder();
    let first = pool(data.path(), &EASY).await;
    let mut alice = Miner::start(first.url(), How::Extended, "alice").await;
    let mut bob = Rig::start(first.url(), "bob.rig").await;
    bob.mine(0..10).await;
    // The same again is refused.
    alice.mine(200_000..200_001).await;
    alice.submit(200_000..200_001).await;
    alice.settle().await;
    let shares = mine_a_block(&first, &mut alice).await;
    let hash = json(first.http().unwrap(), "/api/v1/blocks").await[0]["hash"].clone();
    first.stop().await.unwrap();

    let second = pool(data.path(), &EASY).await;
    let site = second.http().unwrap();
    assert_eq!(json(site, "/api/v1/workers").await["total"], 0, "nobody is here");
    let books = until(site, "/api/v1/books", |books| books["shares"] == shares).await;
    assert_eq!(
        (&books["front_ends"], books["blocks"].as_u64().unwrap() > 0),
        (&1.into(), true)
    );
    assert!(books["place"].as_str().unwrap().starts_with("sqlite:"), "{books}");
    let accounts = json(site, "/api/v1/books/accounts").await;
    let names: Vec<&str> = accounts
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["alice", "bob"], "most work first");
    let alices = json(site, "/api/v1/books/accounts/alice").await;
    assert_eq!(alices["shares"], shares - 10);
    let bobs = json(site, "/api/v1/books/accounts/bob").await;
    assert_eq!(bobs["behind"][0]["name"], "bob.rig");
    let rig = json(site, "/api/v1/books/accounts/bob.rig").await;
    assert_eq!((&rig["name"], &rig["shares"]), (&"bob.rig".into(), &10.into()));
    let best = json(site, "/api/v1/books/best-shares?per_page=1").await;
    assert_eq!(
        (&best[0]["work"], &best[0]["name"]),
        (&books["best_work"], &"alice".into())
    );
    let sessions = json(site, "/api/v1/books/sessions?name=bob.rig").await;
    assert_eq!(
        (&sessions[0]["protocol"], &sessions[0]["kind"]),
        (&"stratum-v1".into(), &"extended".into())
    );
    assert!(sessions[0]["closed_us"].is_u64(), "{sessions}");
    assert_eq!(
        json(site, "/api/v1/books/payouts").await,
        Value::Array(Vec::new())
    );
    let rejects = json(site, "/api/v1/books/rejects?name=alice").await;
    assert!(
        rejects
            .as_array()
            .unwrap()
            .iter()
            .any(|row| row["code"] == "duplicate-share" && row["count"] == 1),
        "{rejects}"
    );

    // A step that has only begun is left out: the last shares come a moment later.
    let whole = until(site, "/api/v1/history?seconds=3600&points=60", |curve| {
        sum(curve) == shares
    })
    .await;
    assert_eq!(whole["source"], "books");
    let own = json(site, "/api/v1/history?name=bob.rig&seconds=86400").await;
    assert_eq!(sum(&own), 10);
    let year = json(site, "/api/v1/history?name=alice&seconds=31622400&points=2").await;
    assert_eq!(sum(&year), shares - 10);
    let chart = get(site, "/api/v1/chart/hash-rate.svg?name=alice&seconds=2592000").await;
    assert_eq!(
        (chart.code, chart.header("content-type")),
        (200, Some("image/svg+xml"))
    );

    // What became of it may have been heard by the second pool only.
    let path = format!("/api/v1/blocks/{}", hash.as_str().unwrap());
    let block = until(site, &path, |block| block["fate"] == "confirmed").await;
    assert_eq!(block["worker"], "alice");
    let tip = json(site, "/api/v1/node").await["height"].as_u64().unwrap();
    let height = block["height"].as_u64().unwrap();
    assert_eq!(
        block["confirmations"],
        tip - height + 1,
        "each tip confirms it once more"
    );
    let blocks = json(site, "/api/v1/blocks?per_page=1").await;
    assert_eq!(blocks.as_array().unwrap().len(), 1);

    for (path, code) in [
        ("/api/v1/books/accounts/nobody", 404),
        ("/api/v1/history?name=nobody", 404),
        ("/api/v1/books/best-shares?name=nobody", 404),
        ("/api/v1/books/accounts?sort=beauty", 400),
        ("/api/v1/books/accounts?page=0", 400),
        ("/api/v1/books/rejects?seconds=1", 400),
        ("/api/v1/blocks?per_page=501", 400),
    ] {
        let answer = get(site, path).await;
        assert_eq!(answer.code, code, "{path}: {}", answer.body);
        let error: Value = serde_json::from_str(&answer.body).unwrap();
        assert!(error["error"]["help"].as_str().unwrap().len() > 5, "{path}");
    }
    second.stop().await.unwrap();
}

/// Without a database what happened since the start is shown, and who asks for more hears why there is none.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_the_process_knows_itself() {
    let data = support::folder();
    let pool = pool(data.path(), &[EASY[0], EASY[1], ("books.db", "off")]).await;
    let site = pool.http().unwrap();
    let mut bob = Rig::start(pool.url(), "bob").await;
    bob.mine(0..5).await;
    let curve = until(site, "/api/v1/history?seconds=3600", |curve| sum(curve) == 5).await;
    assert_eq!(curve["source"], "process");
    for path in [
        "/api/v1/books",
        "/api/v1/history?name=bob",
        "/api/v1/books/sessions",
    ] {
        let answer = get(site, path).await;
        assert_eq!(answer.code, 404, "{path}: {}", answer.body);
        assert!(answer.body.contains("books.db"), "{path}: {}", answer.body);
    }
    pool.stop().await.unwrap();
}

/// What every channel mines is shown taken apart, while it mines it.
#[tokio::test(flavor = "multi_thread")]
async fn a_coinbase_is_proven_channel_by_channel() {
    let data = support::folder();
    let pool = pool(data.path(), &EASY).await;
    let site = pool.http().unwrap();
    let miner = Miner::start(pool.url(), How::Extended, "alice").await;
    let proofs = until(site, "/api/v1/proofs", |rows| rows.as_array().unwrap().len() == 1).await;
    assert_eq!(proofs[0]["user"], "alice");
    let channel = proofs[0]["channel"].as_str().unwrap();
    let proof = json(site, &format!("/api/v1/proofs/{channel}")).await;
    assert_eq!(
        (&proof["kind"], &proof["channel_id"]),
        (&"extended".into(), &miner.channel_id.into())
    );
    let outputs = proof["outputs"].as_array().unwrap();
    let paid: u64 = outputs
        .iter()
        .map(|output| output["value_sat"].as_u64().unwrap())
        .sum();
    assert_eq!(proof["template"]["value_sat"], paid);
    assert!(
        outputs.iter().all(|output| output["percent"].is_string()),
        "{proof}"
    );
    assert_eq!(
        json(site, "/api/v1/proofs?user=bob").await,
        Value::Array(Vec::new())
    );
    for (path, code) in [
        ("/api/v1/proofs/ffffffffffffff", 404),
        ("/api/v1/proofs/nonsense", 404),
        ("/api/v1/proofs?page=0", 400),
    ] {
        assert_eq!(get(site, path).await.code, code, "{path}");
    }
    pool.stop().await.unwrap();
}
