//! A NATS server with JetStream, private to a test.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::{Cut, Running, peers, until};

/// How long the server may take to start.
const LIMIT: Duration = Duration::from_secs(60);
/// Where Debian has it.
const PLACES: [&str; 3] = [
    "/usr/sbin/nats-server",
    "/usr/bin/nats-server",
    "/usr/local/bin/nats-server",
];

/// A running server, reached through a [`Cut`] of its own, so that its address stays while it dies and comes back.
#[derive(Debug)]
pub struct NatsServer {
    program: PathBuf,
    folder: TempDir,
    way: Cut,
    process: Option<Running>,
    starts: u32,
}

impl NatsServer {
    /// Starts one. `None`: it is not installed, and the test is to be skipped, see [`peers::present`].
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Option<Self> {
        let program = PLACES.iter().map(PathBuf::from).find(|place| place.is_file());
        peers::present("nats-server", program.is_some())?;
        let program = program?;
        let folder = tempfile::Builder::new().prefix("adit-nats-").tempdir();
        let mut server = Self {
            program,
            folder: folder.unwrap_or_else(|error| panic!("no folder for nats-server: {error}")),
            way: Cut::nowhere(),
            process: None,
            starts: 0,
        };
        server.launch();
        Some(server)
    }

    /// `nats://127.0.0.1:PORT`, the same for its whole life.
    pub fn url(&self) -> String {
        format!("nats://{}", self.way.address())
    }

    /// The way to it, to be cut and mended.
    pub const fn way(&self) -> &Cut {
        &self.way
    }

    /// Another way to it: for one client alone.
    pub fn another_way(&self) -> Cut {
        Cut::to(self.way.target())
    }

    /// The running process.
    ///
    /// # Panics
    /// When it was killed.
    pub fn process(&self) -> &Running {
        self.process
            .as_ref()
            .unwrap_or_else(|| panic!("nats-server was killed"))
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Forgets everything that it was given; it must have been killed.
    ///
    /// # Panics
    /// When its folder cannot be removed.
    pub fn wipe(&self) {
        let store = self.folder.path().join("jetstream");
        if store.exists() {
            std::fs::remove_dir_all(&store).unwrap_or_else(|error| panic!("cannot wipe {store:?}: {error}"));
        }
    }

    /// Starts it, or starts it again with what it had on its disk.
    ///
    /// # Panics
    /// When it does not start.
    pub fn launch(&mut self) {
        self.starts += 1;
        let ports = self.folder.path().join(format!("ports-{}", self.starts));
        std::fs::create_dir_all(&ports).unwrap_or_else(|error| panic!("no folder {ports:?}: {error}"));
        let log = self.folder.path().join("log");
        let mut command = Command::new(&self.program);
        command
            .args(["-a", "127.0.0.1", "-p", "-1", "-js", "-sd"])
            .arg(self.folder.path())
            .arg("--ports_file_dir")
            .arg(&ports)
            .arg("-l")
            .arg(&log)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = Running::start(&mut command).unwrap_or_else(|error| panic!("nats-server: {error}"));
        self.process = Some(process);
        let at = until(LIMIT, || told_port(&ports));
        let log = || std::fs::read_to_string(&log).unwrap_or_default();
        self.way
            .lead_to(at.unwrap_or_else(|| panic!("nats-server does not start:\n{}", log())));
    }
}

/// Where the server listens: it writes a file `nats-server_PID.ports` when it does.
fn told_port(folder: &std::path::Path) -> Option<SocketAddr> {
    let file = std::fs::read_dir(folder).ok()?.next()?.ok()?;
    let told: serde_json::Value = serde_json::from_slice(&std::fs::read(file.path()).ok()?).ok()?;
    let url = told.get("nats")?.get(0)?.as_str()?;
    url.strip_prefix("nats://")?.parse().ok()
}
