//! Our pool and our device as processes, seen as an operator sees them: HTTP status and `adit ledger`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use adit_testkit::{BitcoinNode, MINE_TO};
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Program, wait};

/// How long one HTTP answer may take.
const HTTP_LIMIT: Duration = Duration::from_secs(5);

/// `adit` with nothing of the environment that tests run in.
pub(crate) fn adit() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adit"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ADIT_") {
            command.env_remove(name);
        }
    }
    command
}

/// A pool on a data folder of its own.
pub(crate) struct Pool {
    folder: TempDir,
    node: String,
    work_min: u64,
    more: Vec<String>,
    starts: u32,
    listen: String,
    key: String,
    http: String,
    pub(crate) program: Program,
}

impl Pool {
    /// Starts a pool whose shares take `work_min` hashes, or what a tenth of a second of a claim allows.
    pub(crate) fn start(node: &str, work_min: u64) -> Self {
        Self::start_with(node, work_min, &[])
    }

    /// The same with more keys of the configuration, as `key=value`.
    pub(crate) fn start_with(node: &str, work_min: u64, more: &[&str]) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("adit-pool-")
            .tempdir()
            .expect("a folder");
        let more: Vec<String> = more.iter().map(ToString::to_string).collect();
        let program = launch(folder.path(), node, work_min, &more, "127.0.0.1:0", 1);
        let mut this = Self {
            folder,
            node: node.to_owned(),
            work_min,
            more,
            starts: 1,
            listen: String::new(),
            key: String::new(),
            http: String::new(),
            program,
        };
        this.read_addresses();
        this
    }

    /// Starts a pool on a Bitcoin Core node.
    pub(crate) fn on(node: &BitcoinNode, work_min: u64) -> Self {
        Self::start(&format!("ipc:{}", node.socket().display()), work_min)
    }

    /// Kills it (SIGKILL) and starts it again on the same data folder and port.
    pub(crate) fn kill(&mut self) {
        self.program.kill();
    }

    /// Starts it again on the same data folder and port.
    pub(crate) fn start_again(&mut self) {
        self.starts += 1;
        self.program = launch(
            self.folder.path(),
            &self.node,
            self.work_min,
            &self.more,
            &self.listen,
            self.starts,
        );
        let (listen, key) = (self.listen.clone(), self.key.clone());
        self.read_addresses();
        assert_eq!(
            (listen, key),
            (self.listen.clone(), self.key.clone()),
            "miners could not come back"
        );
    }

    fn read_addresses(&mut self) {
        let program = &self.program;
        let (url, http) = wait("addresses of the pool", &[program], || {
            let said = program.output();
            let word = |start: &str| {
                said.split_whitespace()
                    .find_map(|word| word.strip_prefix(start).map(str::to_owned))
            };
            Some((word("stratum2+tcp://")?, word("http://")?))
        });
        let (listen, key) = url.split_once('/').expect("an address and a key");
        (self.listen, self.key) = (listen.to_owned(), key.to_owned());
        http.trim_end_matches('/').clone_into(&mut self.http);
    }

    /// `HOST:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.listen
    }

    /// The port alone.
    pub(crate) fn port(&self) -> &str {
        self.listen.rsplit_once(':').expect("a port").1
    }

    /// Its authority key, as people write it.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// `stratum2+tcp://HOST:PORT/KEY`.
    pub(crate) fn url(&self) -> String {
        format!("stratum2+tcp://{}/{}", self.listen, self.key)
    }

    /// The folder where programs of the test may write.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `/api/v1/status`; `None` while nobody answers.
    pub(crate) fn status(&self) -> Option<Value> {
        status(&self.http)
    }

    /// A number of the status, by JSON pointer.
    pub(crate) fn count(&self, pointer: &str) -> Option<u64> {
        self.status()?.pointer(pointer)?.as_u64()
    }

    /// Waits until a number of the status is at least `least`.
    pub(crate) fn reaches(&self, pointer: &str, least: u64, peers: &[&Program]) -> u64 {
        let programs = [&[&self.program], peers].concat();
        wait(&format!("{pointer} of {least}"), &programs, || {
            self.count(pointer).filter(|&count| count >= least)
        })
    }

    /// `adit ledger ACTION --json`, an object or list, or one object a line.
    pub(crate) fn ledger(&self, action: &str) -> Vec<Value> {
        let mut command = adit();
        command
            .args(["ledger", action, "--json", "--data"])
            .arg(self.data());
        let done = command.output().expect("adit ledger runs");
        let (out, err) = (
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr),
        );
        assert!(
            done.status.success(),
            "adit ledger {action}: {err}{out}{}",
            self.program.said()
        );
        out.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    /// What `adit ledger verify` says of a sound ledger.
    pub(crate) fn verify(&self) -> Value {
        self.ledger("verify").pop().expect("a report")
    }

    /// Shares in the ledger, verified.
    pub(crate) fn shares(&self) -> u64 {
        let report = self.verify();
        assert_eq!(report["duplicate_hashes"], 0, "{report}");
        report["shares"].as_u64().expect("a count")
    }

    /// Name, shares and blocks of everybody in the ledger.
    pub(crate) fn top(&self) -> Vec<(String, u64, u64)> {
        let lines = self.ledger("top").pop().expect("a list");
        let line = |line: &Value| {
            let text = |field: &str| line[field].as_str().map(str::to_owned);
            Some((text("name")?, line["shares"].as_u64()?, line["blocks"].as_u64()?))
        };
        lines
            .as_array()
            .expect("a list")
            .iter()
            .map(|it| line(it).expect("a name and counts"))
            .collect()
    }

    /// Hashes of all found blocks in the ledger.
    pub(crate) fn blocks(&self) -> Vec<String> {
        let records = self.ledger("export");
        let blocks = records.iter().filter(|record| record["kind"] == "block");
        blocks
            .map(|record| record["hash"].as_str().expect("a hash").to_owned())
            .collect()
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }
}

/// `/api/v1/status` of whatever serves it at `HOST:PORT`; `None` while nobody answers.
pub(crate) fn status(http: &str) -> Option<Value> {
    let mut stream = TcpStream::connect(http).ok()?;
    stream.set_read_timeout(Some(HTTP_LIMIT)).ok()?;
    let request = format!("GET /api/v1/status HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

/// An address of the main network; the coins there are not ours.
const MAIN_ADDRESS: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";

fn launch(folder: &Path, node: &str, work_min: u64, more: &[String], listen: &str, start: u32) -> Program {
    let mut command = adit();
    let on_main = node.starts_with("ipc:") && !node.contains("/regtest/");
    let payout = if on_main { MAIN_ADDRESS } else { MINE_TO };
    command
        .args([
            "pool",
            "--node",
            node,
            "--listen",
            listen,
            "--http",
            "127.0.0.1:0",
        ])
        .args(["--payout", payout, "--set", "shares.vardiff=false"])
        .args(["--set", "shares.per_minute=600", "--set"])
        .arg(format!("shares.work_min={work_min}"))
        .arg("--data")
        .arg(folder.join("data"));
    for key in more {
        command.args(["--set", key]);
    }
    Program::start(&format!("pool-{start}"), folder, &mut command)
}

/// Our device, with one thread.
pub(crate) fn device(folder: &Path, url: &str, user: &str, channel: &str, more: &[&str]) -> Program {
    let mut command = adit();
    command
        .args(["device", "--upstream", url, "--user", user, "--channel", channel])
        .args(["--threads", "1", "--json"])
        .args(more);
    Program::start(&format!("device-{user}"), folder, &mut command)
}

/// What a device that has ended reports.
pub(crate) fn report(device: &Program) -> Value {
    let output = device.output();
    serde_json::from_str(output.trim()).unwrap_or_else(|error| panic!("no report: {error}{}", device.said()))
}
