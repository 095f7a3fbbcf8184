//! The API, and the shapes that other tools read, over real sockets.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

mod http;

use std::sync::Arc;

use adit::observe::{
    Averages, Block, Channel, Coinbase, Device, Endpoint, Estimate, Fate, History, Name, Payment, Peer,
    Recent, Roster, Slot, State, Status,
};
use http::{Site, ask, get};
use serde_json::Value;

const NOW_S: u64 = 1_000_000;
const EVIL: &str = "<img src=x onerror=alert(1)>/..?&#%2e";

fn name(name: &str, account: Option<&str>, hash_rate: f64, state: State) -> Name {
    Name {
        name: name.into(),
        account: account.map(Into::into),
        state,
        pace: Estimate {
            hash_rate,
            error: Some(0.1),
        },
        hash_rates: Averages {
            m1: hash_rate,
            ..Averages::default()
        },
        accepted: hash_rate as u64,
        rejected: 3,
        by_reason: [("stale-share", 2), ("difficulty-too-low", 1)].into(),
        work: 1 << 70,
        best_work: 1 << 60,
        since_us: (NOW_S - 100) * 1_000_000,
        last_share_us: Some((NOW_S - 1) * 1_000_000),
        device: Some(Arc::new(Device {
            vendor: "bitaxe".into(),
            model: "Gamma".into(),
            firmware: "2.9".into(),
        })),
        protocol: "current",
        ..Name::default()
    }
}

fn peer(id: u64, name: &str) -> Peer {
    let channel = Channel {
        id: 7,
        kind: "extended",
        name: name.into(),
        state: State::Mining,
        share_work: 1 << 32,
        best_work: 1 << 40,
        ..Channel::default()
    };
    Peer {
        id,
        address: "10.0.0.1:4000".into(),
        protocol: "stratum-v1",
        role: "mining",
        channels: vec![channel],
        ..Peer::default()
    }
}

/// Alice with two workers, bob, and somebody with a rude name.
fn roster() -> Roster {
    let mut alice = name("alice", None, 500.0, State::Mining);
    alice.workers = 2;
    let mut names = vec![
        alice,
        name("alice.rig1", Some("alice"), 300.0, State::Mining),
        name("alice.rig2", Some("alice"), 200.0, State::Silent),
        name("bob", None, 400.0, State::Offline),
        name(EVIL, None, 1.0, State::Starting),
    ];
    names.sort_by(|a, b| a.name.cmp(&b.name));
    let mut history = History::starting(NOW_S - 3_600);
    for minute in 0..60 {
        let slot = Slot {
            work: 6e13,
            squares: 3.6e25,
            accepted: 100,
            channels: 3,
            ..Slot::default()
        };
        history.add(NOW_S - 3_600 + minute * 60, &slot);
    }
    Roster {
        taken_at_us: NOW_S * 1_000_000,
        names,
        peers: vec![peer(5, "alice.rig1"), peer(6, "bob")],
        shares: vec![Recent {
            name: "bob".into(),
            count: 2,
            ..Recent::default()
        }],
        blocks: vec![Block {
            height: 102,
            hash: "00ab".into(),
            worker: "bob".into(),
            at_us: (NOW_S - 60) * 1_000_000,
            value_sat: Some(5_000_000_000),
            fate: Fate::Confirmed,
            ..Block::default()
        }],
        coinbase: Some(Arc::new(Coinbase {
            height: 103,
            value_sat: 5_000_000_000,
            outputs: vec![Payment {
                address: Some("bcrt1qpayee".into()),
                purpose: "payout",
                value_sat: 5_000_000_000,
                part: 1.0,
                ..Payment::default()
            }],
            ..Coinbase::default()
        })),
        history: Some(Arc::new(history)),
        ..Roster::default()
    }
}

fn status() -> Status {
    let mut status = Status {
        taken_at_us: NOW_S * 1_000_000,
        uptime_ms: 3_600_000,
        ..Status::default()
    };
    status.pool.endpoints = vec![Endpoint {
        kind: "stratum-v2",
        url: "stratum2+tcp://127.0.0.1:3333/KEY".into(),
        port: 3333,
        key: Some("KEY".into()),
        ..Endpoint::default()
    }];
    status.shares.by_reason = [("stale-share", 1), ("duplicate-share", 4)].into();
    status.hash_rate.m10 = 1e12;
    status.node.height = 102;
    status.node.block_work = 1 << 70;
    status
}

async fn site() -> Site {
    let site = Site::start(status(), &[]).await;
    site.roster.send_replace(Arc::new(roster()));
    site
}

async fn json(site: &Site, path: &str) -> Value {
    let answer = get(site.addr, path).await;
    assert_eq!(
        (answer.code, answer.header("content-type")),
        (200, Some("application/json")),
        "{path}: {}",
        answer.body
    );
    serde_json::from_str(&answer.body).unwrap()
}

fn names(page: &Value) -> Vec<&str> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|row| row["name"].as_str().unwrap()).collect()
}

/// An account with workers is no worker; each page is a part of the whole, in the order that was asked for.
#[tokio::test]
async fn workers_come_in_pages_sorted_and_found() {
    let site = site().await;
    let all = json(&site, "/api/v1/workers").await;
    assert_eq!(names(&all), ["bob", "alice.rig1", "alice.rig2", EVIL]);
    let page = json(&site, "/api/v1/workers?sort=name&per_page=3&page=2").await;
    assert_eq!((&page["total"], names(&page)), (&4.into(), vec!["bob"]));
    let found = json(&site, "/api/v1/workers?q=RIG&state=silent").await;
    assert_eq!(names(&found), ["alice.rig2"]);
    let accounts = json(&site, "/api/v1/accounts?sort=-accepted").await;
    assert_eq!(names(&accounts), ["alice", "bob", EVIL]);
    assert_eq!(names(&json(&site, "/api/v1/workers?page=1000000").await), [""; 0]);
    let row = &all["items"][1];
    assert_eq!((&row["hash_rate"], &row["error"]), (&300.0.into(), &0.1.into()));
    assert_eq!(
        row["work"],
        (1u128 << 70).to_string(),
        "what a double cannot hold is text"
    );
    assert_eq!(row["device"]["model"], "Gamma");
    assert_eq!(row["hash_rates"]["1m"], 300.0);
}

/// One worker has its connections and its refused shares in words; an account has its workers.
#[tokio::test]
async fn a_worker_is_found_by_any_name() {
    let site = site().await;
    let rig = json(&site, "/api/v1/workers/alice.rig1").await;
    assert_eq!(
        (&rig["account"], &rig["peers"][0]["id"]),
        (&"alice".into(), &5.into())
    );
    assert_eq!(rig["rejects"][0]["code"], "stale-share");
    assert!(rig["rejects"][0]["cause"].as_str().unwrap().ends_with('.'));
    assert!(rig["rejects"][0]["cure"].as_str().unwrap().len() > 10);
    let alice = json(&site, "/api/v1/workers/alice").await;
    assert_eq!(alice["behind"].as_array().unwrap().len(), 2);
    assert_eq!(alice["peers"][0]["channels"][0]["name"], "alice.rig1");
    let evil = "/api/v1/workers/%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E%2F..%3F%26%23%252e";
    assert_eq!(json(&site, evil).await["name"], EVIL);
}

/// What is wrong and what to do, in JSON, for every mistake.
#[tokio::test]
async fn mistakes_are_told_in_json_with_help() {
    let site = site().await;
    for (path, code) in [
        ("/api/v1/workers?page=0", 400),
        ("/api/v1/workers?page=x", 400),
        ("/api/v1/workers?per_page=501", 400),
        ("/api/v1/workers?sort=beauty", 400),
        ("/api/v1/workers?state=happy", 400),
        ("/api/v1/workers?nonsense=1", 400),
        ("/api/v1/workers/nobody", 404),
        ("/api/v1/workers/%ff", 400),
        ("/api/v1/blocks/00cd", 404),
        ("/api/v1/history?seconds=1", 400),
        ("/api/v1/history?points=100000", 400),
        ("/api/v1/chart/hash-rate.svg?width=100000", 400),
        ("/api/v1/chart/hash-rate.svg?theme=pink", 400),
        ("/api/v1/qr.svg?endpoint=telnet", 404),
        ("/api/client/nobody", 404),
        ("/users/nobody", 404),
        ("/users/..%2f..%2fetc%2fpasswd", 404),
        ("/api/v1/", 404),
    ] {
        let answer = get(site.addr, path).await;
        assert_eq!(answer.code, code, "{path}: {}", answer.body);
        let error: Value =
            serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{path}: {}", answer.body));
        assert_eq!(error["error"]["code"], code, "{path}");
        for part in ["message", "help"] {
            assert!(
                error["error"][part].as_str().unwrap().len() > 5,
                "{path}: {error}"
            );
        }
    }
}

#[tokio::test]
async fn blocks_coinbase_shares_and_rejects_are_shown() {
    let site = site().await;
    assert_eq!(json(&site, "/api/v1/blocks").await[0]["fate"], "confirmed");
    assert_eq!(
        json(&site, "/api/v1/blocks/00ab").await["value_sat"],
        5_000_000_000u64
    );
    let coinbase = json(&site, "/api/v1/coinbase").await;
    assert_eq!(coinbase["outputs"][0]["address"], "bcrt1qpayee");
    assert_eq!(json(&site, "/api/v1/shares").await[0]["name"], "bob");
    let rejects = json(&site, "/api/v1/rejects").await;
    assert_eq!(
        (&rejects[0]["code"], &rejects[0]["count"]),
        (&"duplicate-share".into(), &4.into())
    );
    assert_eq!(json(&site, "/api/v1/peers?per_page=1").await["total"], 2);
    assert_eq!(
        json(&site, "/api/v1/shares/best").await["best_share"],
        Value::Null
    );
    assert_eq!(json(&site, "/api/v1/node").await["height"], 102);
    site.roster.send_replace(Arc::default());
    assert_eq!(get(site.addr, "/api/v1/coinbase").await.code, 404);
}

/// The curve is the rate that was, with the error of so many shares; its picture holds nothing that runs.
#[tokio::test]
async fn history_is_a_curve_with_honest_errors() {
    let site = site().await;
    let series = json(&site, "/api/v1/history?seconds=3600&points=60").await;
    let points = series["points"].as_array().unwrap();
    assert!((59..=62).contains(&points.len()), "{}", points.len());
    let rate = points[30]["hash_rate"].as_f64().unwrap();
    assert!((rate - 1e12).abs() < 2e10, "{rate}");
    // 100 shares a minute: a tenth.
    assert!((points[30]["error"].as_f64().unwrap() - 0.1).abs() < 0.001);
    let chart = get(
        site.addr,
        "/api/v1/chart/hash-rate.svg?seconds=3600&theme=dark&width=390&height=180",
    )
    .await;
    assert_eq!(
        (chart.code, chart.header("content-type")),
        (200, Some("image/svg+xml"))
    );
    assert!(chart.body.contains("TH/s") && !chart.body.contains("<script"));
    let code = get(site.addr, "/api/v1/qr.svg").await;
    assert_eq!(
        (code.code, code.header("content-type")),
        (200, Some("image/svg+xml"))
    );
    assert!(code.body.contains("<svg") && code.body.len() < 64 * 1024);
}

/// Passwords stay where they are.
#[tokio::test]
async fn settings_are_shown_without_secrets() {
    let site = Site::with(
        status(),
        &[
            ("node", "rpc:me:hunter2@127.0.0.1:18443"),
            ("network", "regtest"),
            ("payout.address", "raw(51)"),
        ],
    )
    .await;
    let answer = get(site.addr, "/api/v1/settings").await;
    assert!(!answer.body.contains("hunter2"), "{}", answer.body);
    let settings: Value = serde_json::from_str(&answer.body).unwrap();
    let rows = settings.as_array().unwrap();
    let node = rows.iter().find(|row| row["key"] == "node").unwrap();
    assert_eq!(
        (&node["value"], &node["is_default"]),
        (&"rpc:me:***@127.0.0.1:18443".into(), &false.into())
    );
    let default = rows.iter().find(|row| row["key"] == "shares.vardiff").unwrap();
    assert_eq!(
        (&default["value"], &default["origin"]),
        (&"true".into(), &"default".into())
    );
}

/// A page of another site is refused whatever it asks for; one of ours is not.
#[tokio::test]
async fn pages_of_other_sites_are_refused() {
    let site = site().await;
    let with = |origin: &str| {
        let addr = site.addr;
        let request = format!(
            "GET /api/v1/workers HTTP/1.1\r\nHost: {addr}\r\nOrigin: {origin}\r\nConnection: close\r\n\r\n"
        );
        async move { http::say(addr, request.as_bytes()).await.code }
    };
    assert_eq!(with(&format!("http://{}", site.addr)).await, 200);
    for foreign in ["http://evil.example", "null", "http://127.0.0.1"] {
        assert_eq!(with(foreign).await, 403, "{foreign}");
    }
}

/// Where nobody may order anything, nothing can be ordered, token or not.
#[tokio::test]
async fn a_site_without_a_desk_takes_no_orders() {
    let site = site().await;
    for path in ["/api/v1/admin/drain", "/api/v1/admin/peers/5/close"] {
        assert_eq!(
            ask(site.addr, "POST", path, "127.0.0.1").await.code,
            403,
            "{path}"
        );
        assert_eq!(get(site.addr, path).await.code, 405, "{path}");
    }
}

/// Live values come as events, for as long as there is a place.
#[tokio::test]
async fn events_bring_status_and_shares() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let site = Site::with(status(), &[("http.connections_max", "2")]).await;
    site.roster.send_replace(Arc::new(roster()));
    let mut stream = tokio::net::TcpStream::connect(site.addr).await.unwrap();
    let request = "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains("event: shares") {
        assert_ne!(stream.read_buf(&mut said).await.unwrap(), 0, "it must stay open");
    }
    let said = String::from_utf8_lossy(&said);
    assert!(
        said.contains("text/event-stream") && said.contains("event: status") && said.contains("retry: 500")
    );
    let data = said.split("data: ").nth(1).unwrap().lines().next().unwrap();
    let status: Value = serde_json::from_str(data).unwrap();
    assert_eq!(status["node"]["height"], 102);
    let refused = get(site.addr, "/api/v1/events").await;
    assert_eq!((refused.code, refused.header("retry-after")), (503, Some("5")));
}

/// What public-pool's pages, ckpool's tools and Umbrel read.
#[tokio::test]
async fn other_pools_shapes_are_served() {
    let site = site().await;
    let pool = json(&site, "/api/pool").await;
    assert_eq!(
        (&pool["totalHashRate"], &pool["blockHeight"]),
        (&1e12.into(), &102.into())
    );
    assert_eq!(pool["blocksFound"][0]["height"], 102);
    let info = json(&site, "/api/info").await;
    assert_eq!(info["userAgents"][0]["count"], 2);
    assert_eq!(info["highScores"][0]["bestDifficultyUserAgent"], "bitaxe Gamma");
    let client = json(&site, "/api/client/alice").await;
    assert_eq!(client["workersCount"], 1);
    assert_eq!(client["workers"][0]["name"], "rig1");
    assert_eq!(client["workers"][0]["bestDifficulty"], "256.00");
    let session = client["workers"][0]["sessionId"].as_str().unwrap();
    let one = json(&site, &format!("/api/client/alice/rig1/{session}")).await;
    assert_eq!(one["sessionId"], session);
    assert_eq!(json(&site, "/api/client/alice/rig1").await["name"], "rig1");
    assert!(json(&site, "/api/client/alice/chart").await[0]["label"].is_string());
    let chart = json(&site, "/api/info/chart").await;
    assert_eq!(chart[1]["label"], "1970-01-12T12:50:00Z");
    assert!(json(&site, "/api/network").await["difficulty"].is_number());
    let widget = json(&site, "/umbrel-api").await;
    assert_eq!(
        (&widget["type"], widget["items"].as_array().unwrap().len()),
        (&"four-stats".into(), 4)
    );
    assert_eq!(
        (&widget["items"][0]["text"], &widget["items"][0]["subtext"]),
        (&"1.0".into(), &"TH/s".into())
    );
    let status = get(site.addr, "/pool/pool.status").await.body;
    assert_eq!(status.lines().count(), 3);
    let user: Value = serde_json::from_str(&get(site.addr, "/users/alice").await.body).unwrap();
    assert_eq!(user["workers"], 2);
}

/// However many names there are and whatever they are, the metrics have a bounded size and stay readable.
#[tokio::test]
async fn the_metrics_stay_small_with_100_000_names() {
    let site = site().await;
    let mut crowd = roster();
    let hostile = "\"\\\n{}".repeat(16);
    for number in 0..100_000 {
        crowd.names.push(name(
            &format!("{hostile}{number}"),
            None,
            f64::from(number),
            State::Mining,
        ));
    }
    site.roster.send_replace(Arc::new(crowd));
    let body = get(site.addr, "/metrics").await.body;
    assert!(body.len() < 1 << 20, "{} bytes", body.len());
    let series = body.matches("worker_shares_valid_total{").count();
    assert_eq!(series, 100);
    for line in body.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').expect(line);
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    assert!(body.contains("bitcoin_block_found_time_seconds{blockhash=\"00ab\",height=\"102\"}"));
    assert!(body.contains("coinbase_output{address=\"bcrt1qpayee\"} 5000000000"));

    let quiet = Site::with(status(), &[("http.metrics_names_max", "0")]).await;
    quiet.roster.send_replace(Arc::new(roster()));
    let body = get(quiet.addr, "/metrics").await.body;
    assert!(
        !body.contains("worker_") && !body.contains("onerror"),
        "no series carries a name that a peer chose"
    );
}

/// The dashboard is ours alone: nothing inline, nothing of another machine, and nothing that a name could become.
#[tokio::test]
async fn the_pages_are_ours_alone() {
    let site = site().await;
    let frame = get(site.addr, "/").await;
    assert!(frame.header("content-type").unwrap().starts_with("text/html"));
    for page in [
        "/workers",
        "/worker/%3Cimg%3E",
        "/blocks",
        "/block/00",
        "/coinbase",
        "/history",
        "/peers",
        "/settings",
    ] {
        assert_eq!(get(site.addr, page).await.body, frame.body, "{page}");
    }
    let mut files = vec!["/assets/app.css".to_owned(), "/assets/app.js".to_owned()];
    let mut seen = 0;
    while let Some(path) = files.get(seen).cloned() {
        seen += 1;
        let file = get(site.addr, &path).await;
        assert_eq!(
            (file.code, file.header("x-content-type-options")),
            (200, Some("nosniff")),
            "{path}"
        );
        let policy = file.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
        assert!(!policy.contains("unsafe") && !policy.contains('*'));
        for address in ["http://", "https://", "//cdn"] {
            assert!(!file.body.contains(address), "{path} has {address}");
        }
        for markup in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "eval(",
            "document.write",
        ] {
            assert!(!file.body.contains(markup), "{path} has {markup}");
        }
        for module in file.body.split("from \"./").skip(1) {
            let module = format!("/assets/{}", module.split('"').next().unwrap());
            if !files.contains(&module) {
                files.push(module);
            }
        }
    }
    assert!(files.len() > 8, "{files:?}");
    for forbidden in ["<style", "style=", "onclick", "<script>"] {
        assert!(!frame.body.contains(forbidden), "the policy forbids {forbidden}");
    }
}
