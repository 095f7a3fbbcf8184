//! Status, metrics and page over real sockets.

mod http;

use adit::observe::{
    BestShare, Blocks, Channels, LastBlock, Latency, NodeState, Rates, Shares, Status, Worker,
};
use http::{Site, get};
use serde_json::Value;

fn busy() -> Status {
    let mut status = Status {
        version: "0.1.0",
        taken_at_us: 9_000_000,
        uptime_ms: 5_000,
        ..Status::default()
    };
    status.node.state = NodeState::Up;
    status.node.template_age_ms = Some(1_000);
    status.node.fees_sat = Some(12_345);
    status.pool.url = "stratum2+tcp://127.0.0.1:3333/KEY".into();
    status.hash_rate = Rates {
        m1: 1.5e6,
        m10: 1e6,
        h1: 2.5e5,
        ..Rates::default()
    };
    status.shares = Shares {
        accepted: 70,
        rejected: 3,
        work: u128::from(u64::MAX) * 3,
        ..Shares::default()
    };
    status.shares.by_reason.insert("stale-share", 2);
    status.shares.by_reason.insert("difficulty-too-low", 1);
    status.best_share = Some(BestShare {
        work: 1 << 80,
        worker: "bob".into(),
        at_us: 8_000_000,
    });
    let last = LastBlock {
        height: 102,
        hash: "00ab".into(),
        at_us: 7_000_000,
        worker: "bob".into(),
    };
    status.blocks = Blocks {
        found: 2,
        accepted: 2,
        last: Some(last),
        ..Blocks::default()
    };
    status.blocks.submit_latency.record_many(4_000, 2);
    status.channels = Channels {
        standard: 1,
        extended: 2,
    };
    status.set_workers(vec![Worker {
        name: "<img src=x onerror=alert(1)>".into(),
        ..Worker::default()
    }]);
    let mut latency = Latency::default();
    latency.record_many(700, 70);
    (status.ack_latency, status.ledger.commit_latency) = (latency.clone(), latency);
    status
}

#[tokio::test]
async fn the_status_is_json_with_numbers_as_numbers() {
    let site = Site::start(busy(), &[]).await;
    let answer = get(site.addr, "/api/v1/status").await;
    assert_eq!(
        (answer.code, answer.header("content-type")),
        (200, Some("application/json"))
    );
    let status: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(status["health"]["light"], "green");
    assert_eq!(status["shares"]["accepted"], 70);
    assert_eq!(status["shares"]["by_reason"]["stale-share"], 2);
    assert_eq!(status["hash_rate"]["1m"], 1.5e6);
    assert_eq!(status["blocks"]["last"]["height"], 102);
    assert_eq!(status["ack_latency"]["p99_us"], 700);
    assert_eq!(status["node"]["fees_sat"], 12_345);
    assert_eq!(status["node"]["transactions"], Value::Null);
    assert_eq!(status["workers"][0]["name"], "<img src=x onerror=alert(1)>");
    assert_eq!(
        status["shares"]["work"], "55340232221128654845",
        "what a double cannot hold is text"
    );
    for key in [
        "version",
        "uptime_ms",
        "pool",
        "connections",
        "channels",
        "ledger",
        "workers_total",
        "fan_out_latency",
    ] {
        assert!(!status[key].is_null(), "{key}");
    }
}

#[tokio::test]
async fn the_newest_status_is_served() {
    let site = Site::start(Status::default(), &[]).await;
    site.publish.send_replace(std::sync::Arc::new(busy()));
    let answer = get(site.addr, "/api/v1/status").await;
    assert!(answer.body.contains("\"accepted\":70"));
}

/// Each line is a comment or `name{labels} value`; counters end in `_total`; histograms add up.
#[tokio::test]
async fn the_metrics_are_openmetrics() {
    let site = Site::start(busy(), &[]).await;
    let answer = get(site.addr, "/metrics").await;
    assert!(
        answer
            .header("content-type")
            .unwrap()
            .starts_with("application/openmetrics-text; version=1.0.0")
    );
    let body = answer.body.strip_suffix("# EOF\n").expect("ends with its mark");
    let mut samples = std::collections::HashMap::new();
    for line in body.lines().filter(|line| !line.starts_with("# ")) {
        let (name, value) = line.rsplit_once(' ').expect(line);
        let value: f64 = value.parse().expect(line);
        assert!(samples.insert(name.to_owned(), value).is_none(), "twice: {line}");
    }
    for (name, value) in [
        ("adit_shares_accepted_total", 70.0),
        ("adit_shares_rejected_total{reason=\"stale-share\"}", 2.0),
        ("adit_hash_rate{window=\"1m\"}", 1.5e6),
        ("adit_channels{kind=\"extended\"}", 2.0),
        ("adit_blocks_accepted_total", 2.0),
        ("adit_block_submit_seconds_count", 2.0),
        ("adit_block_submit_seconds_bucket{le=\"0.005\"}", 2.0),
        ("adit_node_up", 1.0),
        ("adit_healthy", 1.0),
        ("adit_ack_latency_seconds_count", 70.0),
        ("adit_ack_latency_seconds_bucket{le=\"0.0005\"}", 0.0),
        ("adit_ack_latency_seconds_bucket{le=\"0.00075\"}", 70.0),
        ("adit_ack_latency_seconds_bucket{le=\"+Inf\"}", 70.0),
        ("adit_ledger_commit_seconds_count", 70.0),
        ("adit_job_fan_out_seconds_count", 0.0),
    ] {
        assert_eq!(samples.get(name), Some(&value), "{name}\n{body}");
    }
    let known = [
        "adit_",
        "sv1_",
        "sv2_",
        "FP_",
        "shares_",
        "best_share",
        "pool_difficulty",
        "start_time_seconds",
    ];
    for name in samples.keys() {
        assert!(known.iter().any(|start| name.starts_with(start)), "{name}");
    }
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_in_json() {
    let site = Site::start(busy(), &[]).await;
    for (method, path, code) in [
        ("GET", "/nothing", 404),
        ("GET", "/api/v1/", 404),
        ("POST", "/api/v1/status", 405),
        ("DELETE", "/", 405),
    ] {
        let answer = http::ask(site.addr, method, path, "127.0.0.1").await;
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(
            (answer.code, &body["error"]["code"]),
            (code, &Value::from(code)),
            "{method} {path}"
        );
        assert!(answer.header("content-security-policy").is_some());
    }
}

/// A web site that makes its own name resolve to us must not read what we answer.
#[tokio::test]
async fn foreign_host_names_are_refused() {
    let site = Site::start(busy(), &["pool.example"]).await;
    for host in [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:3380",
        "",
    ] {
        for path in ["/", "/api/v1/status", "/metrics", "/assets/app.js", "/users/bob"] {
            let answer = http::ask(site.addr, "GET", path, host).await;
            assert_eq!(answer.code, 421, "{host} {path}");
            assert!(!answer.body.contains("shares"));
        }
    }
    for host in [
        "localhost",
        "127.0.0.1:1",
        "[::1]:3380",
        "umbrel.local",
        "POOL.example:80",
    ] {
        assert_eq!(
            http::ask(site.addr, "GET", "/api/v1/status", host).await.code,
            200,
            "{host}"
        );
    }
}
