//! Pools, accountants, NATS and PostgreSQL as processes, of which something is always broken; at the end all sums are equal.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use adit::books::{Db, check};
use adit::device::{self, Channel, Live};
use adit::shutdown::{Shutdown, Stop};
use adit_ledger::verify::verify;
use adit_net::Url;
use adit_testkit::{NatsServer, Postgres};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::support::SOON;
use super::support::miner::{How, Miner};
use super::support::process::{Process, adit, run};
use super::transport::until;

/// Shares between two breaks, by every device.
const BETWEEN: u32 = 400;
/// Shares that the four devices may have sent and not seen answered when they stop.
const LAST_WORDS_MAX: u64 = 16;

pub(crate) struct FrontEnd {
    pub(crate) home: TempDir,
    number: u16,
    pub(crate) process: Process,
    pub(crate) url: Url,
    /// The next share of its device.
    nonce: u32,
}

impl FrontEnd {
    fn start(number: u16, nats: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), number, nats, "")
    }

    pub(crate) fn start_in(home: TempDir, number: u16, nats: &str, more: &str) -> Self {
        let flags = format!("--node embedded:40 --nats {nats} --set pool.front_end={number} {more}");
        let process = Process::pool(home.path(), &flags);
        let url = process.url();
        Self {
            home,
            number,
            process,
            url,
            nonce: 0,
        }
    }

    fn kill_and_start(self, nats: &str) -> Self {
        self.process.kill();
        Self {
            nonce: self.nonce,
            ..Self::start_in(self.home, self.number, nats, "")
        }
    }

    /// Its device mines, and all of it is acknowledged, whatever else is broken.
    fn mine(&mut self) -> JoinHandle<()> {
        let (url, number, from) = (self.url.clone(), self.number, self.nonce);
        self.nonce += BETWEEN;
        tokio::spawn(async move {
            let how = [How::HeaderOnly, How::Grouped, How::Extended][usize::from(number) % 3];
            let mut miner = Miner::start(&url, how, &format!("device{number}")).await;
            miner.mine(from..from + BETWEEN).await;
        })
    }

    fn data(&self) -> std::path::PathBuf {
        self.home.path().join("data")
    }
}

async fn mine(all: &mut [FrontEnd]) {
    let mining: Vec<_> = all.iter_mut().map(FrontEnd::mine).collect();
    for device in mining {
        tokio::time::timeout(SOON * 4, device)
            .await
            .expect("shares are acknowledged")
            .unwrap();
    }
}

fn accountant(home: &Path, nats: &str, postgres: &Postgres) -> Process {
    Process::start(adit(
        home,
        &format!(
            "accountant --nats {nats} --db {} --http 127.0.0.1:0",
            postgres.url()
        ),
    ))
}

/// Where its page is.
fn page_of(accountant: &Process) -> SocketAddr {
    let line = accountant.line_with("page  http://");
    let (_, place) = line.split_once("http://").unwrap();
    place.trim_end_matches('/').parse().unwrap()
}

/// The whole pool, as an accountant shows it: who is there, what they do, and what the database has of it.
async fn shows_all(page: SocketAddr, numbers: &[u16]) {
    let mut told = Value::Null;
    until("the accountant sees all of them", || {
        told = apart(|| json(page, "/api/v1/status"));
        let lanes = told["accountant"]["front_ends"].as_object();
        lanes.is_some_and(|lanes| lanes.len() == numbers.len() && lanes.values().all(|it| it["last"] != 0))
    })
    .await;
    assert_eq!(told["accountant"]["connected"], Value::Bool(true));
    let sums = apart(|| json(page, "/api/v1/books"));
    assert!(sums["shares"].as_u64() > Some(0), "{sums}");
    let metrics = super::http::get(page, "/metrics").await.body;
    for number in numbers {
        let line = format!("adit_accountant_position{{front_end=\"{number}\"}}");
        assert!(metrics.contains(&line), "{metrics}");
    }
    // It has no number of its own that somebody could take for one that is lost.
    assert!(!metrics.contains("adit_fleet_"), "{metrics}");
    let people = super::http::get(page, "/").await;
    assert_eq!(people.code, 200);
}

fn json(page: SocketAddr, path: &str) -> Value {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answer = runtime.unwrap().block_on(super::http::get(page, path));
    assert_eq!(answer.code, 200, "{path}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

/// The last record that is counted; 0 while the database is away.
pub(crate) fn position(db: &Db, front_end: u16) -> u64 {
    let open = || db.open_to_read();
    apart(|| {
        open()
            .and_then(|mut store| store.position(front_end))
            .map_or(0, |it| it.last)
    })
}

/// On a thread of its own: clients of PostgreSQL have a runtime of theirs.
fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join().unwrap())
}

/// Waits until the database has all that the journals of these front ends have, proves that they agree, and gives the shares.
async fn all_counted(all: &[FrontEnd], db: &Db) -> u64 {
    let mut shares = 0;
    for front_end in all {
        let report = verify(&front_end.data()).unwrap();
        shares += report.book.shares;
        let last = report.records;
        until("the database has everything", || {
            position(db, front_end.number) == last
        })
        .await;
        let data = front_end.data();
        let agreed = apart(|| check::compare(&mut *db.open().unwrap(), &data, true).unwrap());
        assert_eq!((agreed.last, agreed.behind), (last, 0));
    }
    shares
}

#[tokio::test(flavor = "multi_thread")]
async fn four_front_ends_and_two_accountants_end_with_equal_sums() {
    let (Some(mut nats), Some(mut postgres)) = (NatsServer::start(), Postgres::start()) else {
        return;
    };
    let (url, home) = (nats.url(), tempfile::tempdir().unwrap());
    let db = Db::parse(&postgres.url()).unwrap();
    let own_way = nats.another_way();
    let mut all = vec![
        FrontEnd::start(1, &url),
        FrontEnd::start(2, &url),
        FrontEnd::start(3, &format!("nats://{}", own_way.address())),
    ];
    let first = accountant(home.path(), &url, &postgres);
    let second = accountant(home.path(), &url, &postgres);
    first.line_with("counting");
    second.line_with("counting");
    let page = page_of(&second);
    mine(&mut all).await;
    shows_all(page, &[1, 2, 3]).await;

    // An accountant dies; the other one goes on.
    first.kill();
    mine(&mut all).await;
    until("the other accountant counts", || {
        position(&db, 2) > u64::from(BETWEEN)
    })
    .await;

    // A front end dies and comes back.
    let third = all.remove(1).kill_and_start(&url);
    all.insert(1, third);
    mine(&mut all).await;

    // The database dies while shares come.
    postgres.kill();
    mine(&mut all).await;
    postgres.launch();

    // One front end is cut off from NATS, then everybody, and all that NATS had is gone.
    own_way.cut();
    mine(&mut all).await;
    nats.kill();
    mine(&mut all).await;
    nats.wipe();
    nats.launch();
    own_way.lead_to(nats.way().target());
    own_way.mend();

    // A front end more, and one less: its miners are sent to the new one.
    let fourth = FrontEnd::start(4, &url);
    all.push(fourth);
    mine(&mut all).await;
    let to = format!("127.0.0.1:{}", all[3].url.port);
    let drained = run(
        all[0].home.path(),
        &format!("pool --data {} --drain {to}", all[0].data().display()),
    );
    assert!(drained.status.success(), "{drained:?}");
    assert!(all[0].process.ended().await.success());

    // A second folder under a number that is taken.
    let refused = run(
        home.path(),
        &format!(
            "pool --data {}/x --listen 127.0.0.1:0 --http off --node embedded:40 --nats {url} --set pool.front_end=4",
            home.path().display()
        ),
    );
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("front end 4 belongs to another data folder"),
        "{said}"
    );

    let again = accountant(home.path(), &url, &postgres);
    for front_end in all.iter_mut().skip(1) {
        front_end.process.signal("TERM");
        assert!(front_end.process.ended().await.success());
    }
    let shares = all_counted(&all, &db).await;
    let mined: u32 = all.iter().map(|front_end| front_end.nonce).sum();
    assert_eq!(shares, u64::from(mined), "every acknowledged share, once");
    drop((again, second));
}

/// A device that hashes, and follows where it is sent.
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
            hash_rate: Some(1e5),
            extensions: device::Extensions::default(),
        };
        let run = device::run(settings, Arc::clone(&live), shutdown);
        let running = tokio::spawn(async { run.await.unwrap() });
        Self { live, stop, running }
    }
}

async fn all_mine(devices: &[Device]) {
    let before: Vec<u64> = devices.iter().map(|device| device.live.accepted()).collect();
    until("every device mines", || {
        let mut found = devices.iter().zip(&before);
        found.all(|(device, before)| device.live.accepted() >= before + 3)
    })
    .await;
}

/// Front ends that hand their miners over have one authority key.
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

/// `adit fleet list`: number, open channels and what is not counted, of those that run.
fn listed(home: &Path, nats: &str) -> Vec<(u64, u64, u64)> {
    let output = run(home, &format!("fleet list --json --nats {nats}"));
    assert!(output.status.success(), "{output:?}");
    let all: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |it: &serde_json::Value, key: &str| it[key].as_u64().unwrap();
    let run = all.as_array().unwrap().iter().filter(|it| it["stopped"] == false);
    run.map(|it| {
        let uncounted = number(it, "durable") - number(it, "booked");
        (number(it, "front_end"), number(it, "channels"), uncounted)
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_front_end_is_added_drained_and_removed_under_load() {
    let (Some(nats), Some(postgres)) = (NatsServer::start(), Postgres::start()) else {
        return;
    };
    let (url, home) = (nats.url(), tempfile::tempdir().unwrap());
    let db = Db::parse(&postgres.url()).unwrap();
    let office = accountant(home.path(), &url, &postgres);
    office.line_with("counting");
    let one = FrontEnd::start(1, &url);
    let devices: Vec<Device> = (0..4).map(|number| Device::start(&one.url, number)).collect();
    all_mine(&devices).await;

    // Added.
    let second = tempfile::tempdir().unwrap();
    copy_keys(&one.data(), &second.path().join("data"));
    let mut all = vec![one, FrontEnd::start_in(second, 2, &url, "")];
    until("both are listed", || listed(home.path(), &url).len() == 2).await;

    // Drained: everybody goes over, while they mine.
    let line = format!(
        "pool --data {} --drain 127.0.0.1:{}",
        all[0].data().display(),
        all[1].url.port
    );
    let at = all[0].home.path().to_owned();
    let drained = tokio::task::spawn_blocking(move || run(&at, &line))
        .await
        .unwrap();
    assert!(drained.status.success(), "{drained:?}");
    assert!(all[0].process.ended().await.success());
    all_mine(&devices).await;
    until("all mine at the new one, and are counted", || {
        let listed = listed(home.path(), &url);
        matches!(listed.as_slice(), [(2, 4, uncounted)] if *uncounted < 100)
    })
    .await;

    // Removed: what it did is in the database, and its number is free.
    all_counted(&all[..1], &db).await;
    let freed = run(home.path(), &format!("fleet release 1 --nats {url}"));
    assert!(freed.status.success(), "{freed:?}");
    let refused = run(home.path(), &format!("fleet release 2 --nats {url}"));
    assert!(!refused.status.success(), "it lives");

    let mut acknowledged = 0;
    for device in devices {
        device.stop.stop();
        let report = device.running.await.unwrap();
        assert_eq!(report.shares_rejected, 0);
        acknowledged += report.shares_accepted;
    }
    all[1].process.signal("TERM");
    assert!(all[1].process.ended().await.success());
    // What a device had sent when it stopped is counted and was not answered any more.
    let counted = all_counted(&all, &db).await;
    assert!(
        (acknowledged..=acknowledged + LAST_WORDS_MAX).contains(&counted),
        "{acknowledged} acknowledged shares, {counted} counted"
    );
}
