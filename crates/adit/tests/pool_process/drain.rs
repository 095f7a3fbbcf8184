//! Pools that hand their miners over: rolling restarts, and miners that will not go.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adit::device::{self, Channel, Extensions, Live};
use adit::shutdown::{Shutdown, Stop};
use adit_net::Url;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use super::support::miner::{How, Miner};
use super::support::process::{Process, adit, run};
use super::support::{shares, until};

/// How long a miner may be without work in a rolling restart. What it needs is a handshake and a channel: some milliseconds on a
/// quiet machine.
const AWAY_MAX: Duration = Duration::from_secs(3);
/// Shares of each device before anything happens to its pool again.
const SHARES: u64 = 5;

struct Device {
    live: Arc<Live>,
    stop: Stop,
    running: JoinHandle<device::Report>,
}

impl Device {
    fn start(upstream: &Url, number: usize) -> Self {
        let live = Arc::new(Live::default());
        let (stop, shutdown) = Shutdown::new();
        let settings = device::Settings {
            upstream: upstream.clone(),
            user: format!("device{number}"),
            threads: 1,
            channel: [Channel::Standard, Channel::Extended][number % 2],
            until_shares: None,
            dialling: adit_net::Dialling::default(),
            // A share takes half a million hashes: some a second, so that the test is about pools.
            hash_rate: Some(1e5),
            extensions: Extensions::default(),
        };
        let run = device::run(settings, Arc::clone(&live), shutdown);
        let running = tokio::spawn(async { run.await.unwrap() });
        Self { live, stop, running }
    }
}

/// Waits until every device has found some more shares.
async fn all_mine(devices: &[Device]) {
    let before: Vec<u64> = devices.iter().map(|device| device.live.accepted()).collect();
    until("every device mines", || {
        let mut found = devices.iter().zip(&before);
        found.all(|(device, before)| device.live.accepted() >= before + SHARES)
    })
    .await;
}

fn copy_keys(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.join("keys")).unwrap();
    for folder in ["", "keys"] {
        std::fs::set_permissions(to.join(folder), std::fs::Permissions::from_mode(0o700)).unwrap();
    }
    for file in std::fs::read_dir(from.join("keys")).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_file() {
            std::fs::copy(file.path(), to.join("keys").join(file.file_name())).unwrap();
        }
    }
}

/// `adit pool --drain`, to its end.
async fn drain(home: &Path, to: &str) -> (Option<i32>, String) {
    let line = format!("pool --drain {to} --data {}", home.join("data").display());
    let home = home.to_owned();
    let output = tokio::task::spawn_blocking(move || run(&home, &line))
        .await
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(told).unwrap())
}

/// REQ-COM-035, REQ-COM-037: a pool is restarted under load with the help of a second one of the same authority, first by
/// command, then by SIGTERM. Every acknowledged share is in the ledger of the pool that acknowledged it, none is there
/// that was not, and nobody is without work for long.
#[tokio::test]
async fn a_rolling_restart_loses_no_acknowledged_share() {
    let (home_a, home_b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (home_a, home_b) = (home_a.path(), home_b.path());
    let more = "--node embedded:60 --set pool.drain_ms=1000 --set pool.drain_deadline_ms=20000";
    let mut a = Process::pool(home_a, more);
    let url_a = a.url();
    copy_keys(&home_a.join("data"), &home_b.join("data"));
    let to_a = format!(
        "--set pool.front_end=1 --set pool.drain_to=127.0.0.1:{}",
        url_a.port
    );
    let mut b = Process::pool(home_b, &format!("{more} {to_a}"));
    let url_b = b.url();
    assert_eq!(url_b.key, url_a.key);
    let devices: Vec<Device> = (0..3).map(|number| Device::start(&url_a, number)).collect();
    all_mine(&devices).await;

    let (code, told) = drain(home_a, &format!("127.0.0.1:{}", url_b.port)).await;
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("of 3") && told.contains("\ndrained\n"), "{told}");
    assert_eq!(a.ended().await.code(), Some(0));
    all_mine(&devices).await;

    // On its old address.
    let mut a = Process::pool_at(&format!("127.0.0.1:{}", url_a.port), home_a, more);
    assert_eq!(a.url(), url_a);
    b.signal("TERM");
    assert_eq!(b.ended().await.code(), Some(0));
    all_mine(&devices).await;
    for device in &devices {
        let away = device.live.away_longest();
        assert!(away > Duration::ZERO && away < AWAY_MAX, "{away:?}");
    }

    // To where nobody listens: everybody waits for the last answers and leaves.
    let (code, told) = drain(home_a, "127.0.0.1:1").await;
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(a.ended().await.code(), Some(0));
    let mut acknowledged = 0;
    for device in devices {
        device.stop.stop();
        let report = device.running.await.unwrap();
        assert_eq!(report.shares_rejected, 0);
        acknowledged += report.shares_accepted;
    }
    let ledgers = [home_a, home_b].map(|home| shares(&home.join("data")).len() as u64);
    assert!(ledgers.iter().all(|shares| *shares >= 3 * SHARES), "{ledgers:?}");
    assert_eq!(ledgers.iter().sum::<u64>(), acknowledged);
}

/// Whoever does not know Reconnect is served until its time is up, and then closed with everything acknowledged; the pool
/// ends with status 0.
#[tokio::test]
async fn miners_that_ignore_reconnect_are_closed_after_the_deadline() {
    let home = tempfile::tempdir().unwrap();
    let more = "--node embedded:60 --set pool.drain_to=b.example:4444 --set pool.drain_ms=0 \
                --set pool.drain_deadline_ms=1500";
    let mut pool = Process::pool(home.path(), more);
    let url = pool.url();
    let mut miners = Vec::new();
    for number in 0..6 {
        let how = [How::HeaderOnly, How::Grouped, How::Extended][number % 3];
        let mut miner = Miner::start(&url, how, &format!("miner{number}")).await;
        miner.mine(0..50).await;
        miners.push(miner);
    }
    pool.signal("TERM");
    for miner in &mut miners {
        while miner.sent_away.is_none() {
            assert!(miner.hear().await, "it is told first");
        }
        let to = miner.sent_away.clone().unwrap();
        assert_eq!((&*to.new_host, to.new_port), (&b"b.example"[..], 4444));
        miner.mine(50..60).await;
        miner.submit(60..80).await;
    }
    for miner in &mut miners {
        while miner.hear().await {}
        assert_eq!(miner.closed.as_deref(), Some("shutting-down"));
    }
    assert_eq!(pool.ended().await.code(), Some(0));
    let data = home.path().join("data");
    for miner in &miners {
        let mine = shares(&data).into_iter().filter(|(name, _)| *name == miner.name);
        let mine: Vec<u32> = mine.map(|(_, nonce)| nonce).collect();
        assert_eq!((mine.len(), miner.acknowledged.len()), (80, 80), "{}", miner.name);
    }
    assert!(!data.join("control.sock").exists());
}

/// An order over HTTP drains `adit up`, too: its own device stops, everybody else is sent away, and it ends with status 0.
#[tokio::test]
async fn adit_up_is_drained_over_http() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let line = format!(
        "up --data {} --listen 127.0.0.1:0 --http 127.0.0.1:0 --node embedded:60 --set device.threads=1 \
         --set pool.drain_ms=0 --set pool.drain_deadline_ms=60000",
        data.display()
    );
    let mut process = Process::start(adit(home.path(), &line));
    let url = process.url();
    let page = process.line_with("page  http://");
    let site = page
        .rsplit("http://")
        .next()
        .unwrap()
        .trim_end_matches('/')
        .to_owned();
    let mut miner = Miner::start(&url, How::Extended, "alice").await;
    miner.mine(0..20).await;
    let token = std::fs::read_to_string(data.join(adit::http::TOKEN_FILE)).unwrap();
    let body = r#"{"to": "b.example:4444"}"#;
    let order = format!(
        "POST /api/v1/admin/drain HTTP/1.1\r\nHost: {site}\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        token.trim(),
        body.len()
    );
    let mut stream = tokio::net::TcpStream::connect(&site).await.unwrap();
    stream.write_all(order.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    while miner.sent_away.is_none() {
        assert!(miner.hear().await, "it is told first");
    }
    let to = miner.sent_away.clone().unwrap();
    assert_eq!((&*to.new_host, to.new_port), (&b"b.example"[..], 4444));
    drop(miner);
    assert_eq!(process.ended().await.code(), Some(0));
    let kept = shares(&data).into_iter().filter(|(name, _)| name == "alice");
    assert_eq!(kept.count(), 20);
}

/// The control socket is its owner's; a pool that is not there, and a place that is none, are told.
#[tokio::test]
async fn a_drain_without_a_pool_or_a_place_says_so() {
    let home = tempfile::tempdir().unwrap();
    let (code, told) = drain(home.path(), "same").await;
    assert!(
        code == Some(1) && told.contains("no pool answers") && told.contains("--data DIR"),
        "{told}"
    );
    let (code, told) = drain(home.path(), "a/b").await;
    assert!(code == Some(2) && told.contains("HOST:PORT"), "{told}");
    let mut pool = Process::pool(home.path(), "--node embedded:60");
    pool.url();
    let socket = home.path().join("data/control.sock");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Nobody is there: the drain is over at once.
    let (code, told) = drain(home.path(), "").await;
    assert!(code == Some(0) && told.starts_with("draining same\n"), "{told}");
    assert_eq!(pool.ended().await.code(), Some(0));
    assert!(!socket.exists());
}
