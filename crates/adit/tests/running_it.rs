//! A pool under a service manager: what that is told, what a reload changes, and that log lines cannot be forged.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod support;

use std::os::unix::net::UnixDatagram;
use std::path::Path;

use adit_testkit::MINE_TO;
use serde_json::Value;
use support::SOON;
use support::miner::{How, Miner};
use support::process::{Process, adit};

/// A service manager that listens.
struct Manager {
    socket: UnixDatagram,
    path: String,
}

impl Manager {
    fn listen(home: &Path) -> Self {
        let path = home.join("notify.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Self {
            socket,
            path: path.to_str().unwrap().to_owned(),
        }
    }

    /// The next message that says this.
    fn hears(&self, word: &str) -> String {
        let mut bytes = [0; 4096];
        loop {
            let length = self
                .socket
                .recv(&mut bytes)
                .unwrap_or_else(|_| panic!("no {word} in time"));
            let said = String::from_utf8(bytes[..length].to_vec()).unwrap();
            if said.contains(word) {
                return said;
            }
        }
    }
}

/// A pool that reads `home/adit.toml`.
fn pool(home: &Path, manager: &Manager) -> Process {
    let data = home.join("data");
    let file = home.join("adit.toml");
    let mut command = adit(
        home,
        &format!(
            "pool --config {} --data {} --listen 127.0.0.1:0 --http off --node embedded:18 --set shares.vardiff=false",
            file.display(),
            data.display()
        ),
    );
    command
        .env("NOTIFY_SOCKET", &manager.path)
        // A third of it: the least that the pulse is looked at.
        .env("WATCHDOG_USEC", "6000000");
    Process::start(command)
}

fn configure(home: &Path, text: &str) {
    std::fs::write(home.join("adit.toml"), text).unwrap();
}

#[tokio::test]
async fn a_service_manager_is_told_that_we_are_ready_alive_and_stopping() {
    let home = support::folder();
    let manager = Manager::listen(home.path());
    configure(home.path(), "");
    let mut pool = pool(home.path(), &manager);
    let ready = manager.hears("READY=1");
    let url = pool.url();
    assert!(ready.contains(&format!("STATUS=serving at {url}")), "{ready}");
    // Whoever was told can connect.
    let mut miner = Miner::start(&url, How::Extended, "miner").await;
    manager.hears("WATCHDOG=1");
    manager.hears("WATCHDOG=1");
    miner.mine(0..5).await;
    pool.signal("HUP");
    let reloading = manager.hears("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    manager.hears("READY=1");
    miner.mine(5..10).await;
    pool.signal("TERM");
    manager.hears("STOPPING=1");
    assert!(pool.ended().await.success());
}

/// Listens until the coinbase of the job holds these bytes.
async fn job_with(miner: &mut Miner, bytes: &[u8]) {
    let holds = |part: &[u8]| part.windows(bytes.len()).any(|window| window == bytes);
    loop {
        if let Some(job) = &miner.parts
            && !miner.waits_for_tip
            && (holds(job.coinbase_tx_prefix.as_bytes()) || holds(job.coinbase_tx_suffix.as_bytes()))
        {
            return;
        }
        assert!(miner.hear().await, "the pool hung up");
    }
}

/// A mistake keeps the old configuration and names its line; what is right changes at once, for the miner that is there.
#[tokio::test]
async fn a_reload_changes_what_it_can_and_drops_nobody() {
    let home = support::folder();
    let manager = Manager::listen(home.path());
    configure(home.path(), "[coinbase]\ntag = \"first tag\"\n");
    let mut pool = pool(home.path(), &manager);
    let url = pool.url();
    manager.hears("READY=1");
    let mut miner = Miner::start(&url, How::Extended, "miner").await;
    job_with(&mut miner, b"first tag").await;

    configure(home.path(), "[coinbase]\ntag = 5\n[log]\nlevel = \"debug\"\n");
    pool.signal("HUP");
    let mistake = pool.line_with("the configuration has a mistake");
    assert!(
        mistake.contains("adit.toml:2:7") && mistake.contains("coinbase.tag"),
        "{mistake}"
    );
    manager.hears("RELOADING=1");
    manager.hears("READY=1");
    miner.mine(0..5).await;

    let right = format!(
        "listen = \"127.0.0.1:1\"\n[coinbase]\ntag = \"second tag\"\n[payout]\naddress = \"{MINE_TO}\"\n[pool]\nworkers = 3\n"
    );
    configure(home.path(), &right);
    pool.signal("HUP");
    let changed = pool.line_with("the configuration is read again");
    assert!(
        changed.contains("coinbase.tag") && changed.contains("payout.address"),
        "{changed}"
    );
    assert!(!changed.contains("pool.workers"), "{changed}");
    let later = pool.line_with("count from the next start");
    assert!(later.contains("pool.workers"), "{later}");
    job_with(&mut miner, b"second tag").await;
    let script: bitcoin::Address<_> = MINE_TO.parse().unwrap();
    let script = script.assume_checked().script_pubkey();
    job_with(&mut miner, script.as_bytes()).await;
    miner.mine(10..15).await;
    pool.signal("TERM");
    assert!(pool.ended().await.success());
}

/// Rounds of sixteen hashes until a line names the miner.
const ROUNDS_MAX: u32 = 2_000;

/// What a miner calls itself stands in one line of the log, in either format.
#[tokio::test]
async fn no_name_forges_a_log_line() {
    let name = "bob\n2026-01-01T00:00:00Z  INFO all is well\u{1b}[2J\u{202e}\"}";
    for format in ["text", "json"] {
        let home = support::folder();
        let more = format!("--node embedded:4 --set log.format={format} --set log.level=debug");
        let mut pool = Process::pool(home.path(), &more);
        let mut miner = Miner::start(&pool.url(), How::Extended, name).await;
        let mut lines: Vec<String> = Vec::new();
        for round in 0..ROUNDS_MAX {
            // Every sixteenth hash is a block; its finder's name is known half a second after the channel.
            miner.submit(round * 16..round * 16 + 16).await;
            miner.settle().await;
            lines.extend(pool.said());
            if lines.iter().any(|line| line.contains("bob")) {
                break;
            }
        }
        pool.signal("TERM");
        assert!(pool.ended().await.success());
        lines.extend(pool.rest());
        let mut named = 0;
        for line in lines {
            assert!(!line.contains(['\u{1b}', '\u{202e}']), "{line:?}");
            assert!(!line.starts_with("2026-01-01T00:00:00Z"), "{line:?}");
            if line.contains("bob") {
                named += 1;
                if format == "json" {
                    let event = serde_json::from_str::<Value>(&line);
                    assert!(event.is_ok_and(|event| event.is_object()), "{line}");
                }
            }
        }
        assert!(named > 0, "a line names the finder of a block");
    }
}

/// A file of the packaging.
fn packaged(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../packaging")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What the unit starts is a command that adit has, the configuration that is installed is one that it takes, and the unit
/// waits for what the pool tells it.
#[test]
fn what_is_packaged_fits_the_program() {
    use clap::Parser;

    let unit = packaged("adit.service");
    let value = |key: &str| {
        let line = unit
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {key} in the unit")).to_owned()
    };
    assert_eq!(value("Type"), "notify-reload");
    let command = value("ExecStart").replace("/etc/adit/adit.toml", "/nowhere/adit.toml");
    let started = adit::cli::Cli::try_parse_from(command.split(' '))
        .unwrap()
        .into_command();
    assert!(matches!(started, adit::cli::Command::Pool(_)), "{started:?}");
    let watchdog: u64 = value("WatchdogSec").parse().unwrap();
    assert!(
        watchdog >= 6,
        "the pulse is looked at every two seconds, three times in it"
    );
    let patience: u64 = value("TimeoutStopSec").parse().unwrap();
    let settings = adit::config::Settings::with(&[]).unwrap();
    let drain_ms = settings.pool.drain_ms + settings.pool.drain_deadline_ms;
    assert!(
        u128::from(patience) * 1000 > u128::from(drain_ms) + 15_000,
        "{drain_ms}"
    );

    let home = tempfile::tempdir().unwrap();
    let sources = adit::config::Sources {
        file: Some(("adit.toml".into(), packaged("adit.toml"))),
        environment: vec![("HOME".into(), home.path().display().to_string())],
        ..Default::default()
    };
    let settings = adit::config::Settings::load(&sources).unwrap();
    assert!(settings.listen.addr.ip().is_unspecified());

    let container = packaged("Containerfile");
    let user = container
        .lines()
        .find_map(|line| line.strip_prefix("USER "))
        .unwrap();
    assert!(!user.starts_with('0') && !user.starts_with("root"), "{user}");
    for name in container
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("ADIT_"))
    {
        let (name, _) = name.split_once('=').unwrap();
        let known = adit::config::keys()
            .iter()
            .any(|key| key.environment() == format!("ADIT_{name}"));
        assert!(known, "ADIT_{name} is no key");
    }
    let manifest = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    for part in [
        "\"../../packaging/adit.toml\"",
        "unit-scripts = \"../../packaging\"",
    ] {
        assert!(manifest.contains(part), "{part} is not in the package");
    }
}
