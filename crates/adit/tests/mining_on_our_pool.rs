//! The clients of this house against its pool, over loopback TCP: the example miner, the device, the load generator.

use std::sync::Arc;
use std::time::Duration;

use adit::config::{Place, Settings, Sources};
use adit::device::{self, Channel, Live};
use adit::load;
use adit::pool::Pool;
use adit::shutdown::Shutdown;
use adit_net::Url;
use adit_wire::tlv::WorkerName;

#[path = "../examples/miner.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "an example with a main of its own, run here by its `mine`"
)]
mod miner;

/// What ought to happen happens within this.
const SOON: Duration = Duration::from_secs(30);
/// How long the load generator listens.
const LISTENING: Duration = Duration::from_secs(8);

/// Somebody's authority.
const KEY: &str = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";

/// A pool on an embedded chain whose blocks nobody finds by accident.
async fn pool(data: &tempfile::TempDir) -> Pool {
    pool_with(data, &[]).await
}

async fn pool_with(data: &tempfile::TempDir, further: &[(&str, &str)]) -> Pool {
    let mut sources = Sources::default();
    for (key, value) in [
        ("data", data.path().to_str().expect("text")),
        ("listen", "127.0.0.1:0"),
        ("http.listen", "off"),
        ("node", "embedded:60"),
        ("shares.vardiff", "false"),
        ("limits.shares_per_second", "0"),
    ] {
        sources.flag(key, value, "test");
    }
    for (key, value) in further {
        sources.flag(key, *value, "test");
    }
    let settings = Settings::load(&sources).expect("good settings");
    Pool::start(&settings, false).await.expect("a pool")
}

fn device(upstream: &Url, channel: Channel) -> device::Settings {
    let (user, until_shares) = ("test.device".to_owned(), Some(20));
    // Claimed low, so that the pool's target is easy and the test short.
    device::Settings {
        upstream: upstream.clone(),
        user,
        threads: 1,
        channel,
        until_shares,
        dialling: adit_net::Dialling::default(),
        hash_rate: Some(1e3),
        extensions: device::Extensions::default(),
    }
}

fn load(upstream: &Url, channel: Channel, rate: Option<f64>) -> load::Settings {
    let options = load::Options {
        rate,
        threads: 2,
        churn: 1,
        warm_up_ms: Some(100),
        ..load::Options::default()
    };
    let settings = load::Settings::new(upstream.clone().into(), 6, 1, channel, Some(16), &options)
        .expect("good settings");
    load::Settings {
        duration: Duration::from_millis(400),
        ..settings
    }
}

/// The hundred lines of the example are a miner.
#[tokio::test]
async fn the_example_mines() {
    let data = tempfile::tempdir().expect("a folder");
    let pool = pool(&data).await;
    let accepted = miner::mine(pool.url(), 3).await.expect("shares");
    assert!(accepted >= 3);
    let last = pool.stop().await.expect("stops");
    assert!(last.shares.accepted >= accepted);
    assert_eq!(last.shares.rejected, 0);
}

/// REQ-MIN-004, REQ-MIN-017, REQ-MIN-050, REQ-COM-041: standard and extended channels, from hash to ledger.
#[tokio::test]
async fn the_device_mines_both_kinds_of_channel() {
    let data = tempfile::tempdir().expect("a folder");
    let pool = pool(&data).await;
    for channel in [Channel::Standard, Channel::Extended] {
        let live = Arc::new(Live::default());
        let (_stop, shutdown) = Shutdown::new();
        let report = device::run(device(pool.url(), channel), Arc::clone(&live), shutdown)
            .await
            .expect("a report");
        assert!(report.shares_accepted >= 20, "{report:?}");
        assert_eq!(
            (report.shares_accepted, report.shares_rejected),
            (live.accepted(), 0)
        );
        assert!(report.hash_rate > 0.0 && !live.connected());
    }
    pool.stop().await.expect("stops");
}

/// REQ-MIN-016, REQ-MIN-017, REQ-COM-019: a pool that fixes the version and wants extended channels is
/// mined on by a device that hears of both in the setup alone; header-only devices are turned away.
#[tokio::test]
async fn the_device_does_what_the_pool_requires() {
    let data = tempfile::tempdir().expect("a folder");
    let required = [("pool.fixed_version", "true"), ("pool.extended_only", "true")];
    let pool = pool_with(&data, &required).await;
    let (_stop, shutdown) = Shutdown::new();
    let extended = device(pool.url(), Channel::Extended);
    let report = device::run(extended, Arc::default(), shutdown)
        .await
        .expect("a report");
    assert!(report.shares_accepted >= 20, "{report:?}");
    assert_eq!(report.shares_rejected, 0);

    let (stop, shutdown) = Shutdown::new();
    let standard = tokio::spawn(device::run(
        device(pool.url(), Channel::Standard),
        Arc::default(),
        shutdown,
    ));
    let mut status = pool.status();
    let refused = status.wait_for(|now| now.connections.faulted >= 1);
    tokio::time::timeout(Duration::from_secs(20), refused)
        .await
        .expect("in time")
        .expect("a pool");
    stop.stop();
    let report = standard.await.expect("no panic").expect("a report");
    assert_eq!((report.shares_accepted, report.shares_rejected), (0, 0));
    pool.stop().await.expect("stops");
}

/// REQ-EXT-022, REQ-EXT-028, REQ-EXT-034: devices that share an account are told apart in the ledger by the names behind
/// their shares; one without a name of its own speaks the extension too where the pool tells it to.
#[tokio::test]
async fn devices_are_booked_by_their_worker_names() {
    for required in ["", "0x0002"] {
        let data = tempfile::tempdir().expect("a folder");
        let pool = pool_with(&data, &[("extensions.required", required)]).await;
        for worker in [Some("rig1"), Some("rig2"), None] {
            let mut settings = device(pool.url(), Channel::Extended);
            settings.extensions.worker = worker.map(|name| WorkerName::new(name).expect("short"));
            // It asks for what the pool does not know, hears what is required, and asks for that.
            settings.extensions.wanted.extend(worker.is_none().then_some(3));
            let (_stop, shutdown) = Shutdown::new();
            let report = device::run(settings, Arc::default(), shutdown)
                .await
                .expect("a report");
            assert_eq!(report.shares_rejected, 0, "{report:?}");
        }
        pool.stop().await.expect("stops");
        let top = adit_ledger::verify::top(data.path(), 10, 10).expect("a ledger");
        let [account] = top.as_slice() else {
            panic!("{top:?}")
        };
        assert_eq!(account.name.as_deref(), Some("test.device"));
        let mut names: Vec<_> = account.workers.iter().map(|line| line.name.clone()).collect();
        names.sort();
        assert_eq!(names, [Some("rig1".to_owned()), Some("rig2".to_owned())]);
        assert!(account.workers.iter().all(|line| line.sums.shares >= 20));
        let workers: u64 = account.workers.iter().map(|line| line.sums.shares).sum();
        assert!(account.sums.shares >= workers + 20);
    }
}

/// Every share that the load generator sends is accepted, acknowledged once, and counted right.
#[tokio::test]
async fn the_load_generator_sends_good_shares() {
    let data = tempfile::tempdir().expect("a folder");
    let pool = pool(&data).await;
    for (channel, rate) in [
        (Channel::Standard, None),
        (Channel::Extended, None),
        (Channel::Standard, Some(50.0)),
        (Channel::Extended, Some(50.0)),
    ] {
        let (_stop, shutdown) = Shutdown::new();
        let report = load::run(load(pool.url(), channel, rate), shutdown)
            .await
            .expect("a report");
        assert_eq!(
            (
                report.connections_open,
                report.connections_failed,
                report.connections_lost
            ),
            (6, 0, 0),
            "{report}"
        );
        assert!(report.shares_sent > 0, "{report}");
        assert_eq!(
            (report.shares_accepted, report.shares_rejected),
            (report.shares_sent, 0),
            "{report}"
        );
        assert_eq!((report.shares_unanswered, report.miscounted), (0, 0), "{report}");
        assert!(
            report.latency_us.count > 0 && report.latency_us.p50 <= report.latency_us.max,
            "{report}"
        );
        assert!(report.errors.is_empty() && report.bytes_in > 0, "{report}");
    }
    let last = pool.stop().await.expect("stops");
    assert_eq!(last.shares.rejected, 0);
}

/// The same in lines of Stratum V1.
#[tokio::test]
async fn the_load_generator_sends_good_shares_of_stratum_v1() {
    let data = tempfile::tempdir().expect("a folder");
    let pool = pool(&data).await;
    let address: load::Address = pool
        .url_stratum_v1()
        .expect("spoken")
        .parse()
        .expect("an address");
    for rate in [None, Some(50.0)] {
        let settings = load::Settings {
            upstream: address.clone(),
            ..load(pool.url(), Channel::Extended, rate)
        };
        let (_stop, shutdown) = Shutdown::new();
        let report = load::run(settings, shutdown).await.expect("a report");
        assert_eq!(
            (report.connections_open, report.connections_lost),
            (6, 0),
            "{report}"
        );
        assert!(report.shares_sent > 0, "{report}");
        assert_eq!(
            (
                report.shares_accepted,
                report.shares_unanswered,
                report.miscounted
            ),
            (report.shares_sent, 0, 0),
            "{report}"
        );
        assert!(report.errors.is_empty(), "{report}");
    }
    pool.stop().await.expect("stops");
}

/// Connections that are only held hear of every new block, in either protocol, and notice when the pool goes.
#[tokio::test]
async fn the_load_generator_listens() {
    let data = tempfile::tempdir().expect("a folder");
    let pool = pool_with(&data, &[("node", "embedded:10")]).await;
    let old: load::Address = pool
        .url_stratum_v1()
        .expect("spoken")
        .parse()
        .expect("an address");
    let mut listening = Vec::new();
    for (upstream, channel) in [
        (pool.url().clone().into(), Channel::Standard),
        (pool.url().clone().into(), Channel::Extended),
        (old, Channel::Extended),
    ] {
        let settings = load::Settings {
            upstream,
            hold: true,
            duration: LISTENING,
            ..load(pool.url(), channel, None)
        };
        let (stop, shutdown) = Shutdown::new();
        listening.push((stop, tokio::spawn(load::run(settings, shutdown))));
    }
    let mut status = pool.status();
    // Each opens its connections twice.
    let opened = status.wait_for(|now| now.connections.open == 18 && now.connections.accepted >= 36);
    tokio::time::timeout(SOON, opened)
        .await
        .expect("in time")
        .expect("a pool");
    let (_stop, shutdown) = Shutdown::new();
    device::run(device(pool.url(), Channel::Standard), Arc::default(), shutdown)
        .await
        .expect("a report");
    for (_stop, running) in listening {
        let report = running.await.expect("no panic").expect("a report");
        assert_eq!(
            (report.connections_open, report.connections_lost),
            (6, 0),
            "{report}"
        );
        assert!(report.tips.iter().any(|tip| tip.count >= 6), "{report}");
        assert!(report.jobs >= 6 && report.bytes_listened > 0, "{report}");
        assert!(report.errors.is_empty(), "{report}");
    }
    pool.stop().await.expect("stops");
}

/// A device outlives its pool: it waits, and ends at once when it is told to.
#[tokio::test]
async fn the_device_waits_for_a_pool_that_is_away() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let upstream = Url {
        host: "127.0.0.1".into(),
        port,
        key: Some(KEY.parse().expect("a key")),
    };
    let (stop, shutdown) = Shutdown::new();
    let running = tokio::spawn(device::run(
        device(&upstream, Channel::Standard),
        Arc::default(),
        shutdown,
    ));
    stop.stop();
    let report = running.await.expect("no panic").expect("a report");
    assert_eq!((report.shares_accepted, report.hash_rate), (0, 0.0));
}

/// A load generator without a pool says so.
#[tokio::test]
async fn the_load_generator_needs_a_pool() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let upstream = Url {
        host: "127.0.0.1".into(),
        port,
        key: Some(KEY.parse().expect("a key")),
    };
    let (_stop, shutdown) = Shutdown::new();
    let exit = load::run(load(&upstream, Channel::Standard, None), shutdown)
        .await
        .expect_err("no pool");
    assert!(exit.message.contains("no connection could be opened"), "{exit}");
}

/// REQ-COM-036: a device that is sent to a server of another authority does not mine there, and goes home.
#[tokio::test]
async fn a_redirect_to_another_authority_is_not_followed() {
    let (folder, stranger_folder) = (tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b"));
    let home = pool(&folder).await;
    let stranger = pool(&stranger_folder).await;
    assert_ne!(home.url().key, stranger.url().key);
    let live = Arc::new(Live::default());
    let (stop, shutdown) = Shutdown::new();
    let settings = device::Settings {
        until_shares: None,
        ..device(home.url(), Channel::Standard)
    };
    let running = tokio::spawn(device::run(settings, Arc::clone(&live), shutdown));
    let mut status = home.status();
    let mining = status.wait_for(|now| now.shares.accepted > 0);
    tokio::time::timeout(SOON, mining)
        .await
        .expect("in time")
        .expect("a pool");
    let place = Place {
        host: "127.0.0.1".into(),
        port: stranger.url().port,
    };
    tokio::time::timeout(SOON, home.drain(&place))
        .await
        .expect("it leaves");
    let mut status = stranger.status();
    let tried = status.wait_for(|now| now.connections.faulted + now.connections.accepted > 0);
    tokio::time::timeout(SOON, tried)
        .await
        .expect("in time")
        .expect("a pool");
    let accepted = live.accepted();
    // Its way leads home, where nobody listens any more; the stranger is not asked again.
    stop.stop();
    let report = running.await.expect("ends").expect("a report");
    assert_eq!((report.shares_accepted, live.connected()), (accepted, false));
    let last = stranger.stop().await.expect("stops");
    assert_eq!((last.shares.accepted, last.channels.standard), (0, 0));
    home.stop().await.expect("stops");
}
