//! PostgreSQL, private to a test: a cluster in a temporary folder that listens on a unix socket only.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::{Running, peers, until};

/// How long the server may take to start or stop.
const LIMIT: Duration = Duration::from_secs(120);
/// Where Debian has its versions.
const VERSIONS: &str = "/usr/lib/postgresql";
/// Users that a server may run as when the test is root: PostgreSQL refuses to be.
const USERS: [&str; 2] = ["postgres", "nobody"];

/// A running server; killed, and its data removed, when dropped.
#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    /// Whom it runs as, when that is somebody else.
    user: Option<User>,
    options: Vec<String>,
    process: Option<Running>,
}

#[derive(Clone, Copy, Debug)]
struct User {
    id: u32,
    group: u32,
}

impl Postgres {
    /// Starts a server on an empty cluster. `None` means that PostgreSQL is not installed and the test is to be skipped,
    /// see [`peers::need`]. It does not sync: a process that is killed loses nothing by that.
    pub fn start() -> Option<Self> {
        Self::start_with(&["fsync=off"])
    }

    /// The same with settings of its own, such as `fsync=on`.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_with(settings: &[&str]) -> Option<Self> {
        let programs = programs()?;
        let folder = tempfile::Builder::new()
            .prefix("adit-pg-")
            .tempdir()
            .expect("a temporary folder");
        let user = user();
        let mode = std::fs::Permissions::from_mode(if user.is_some() { 0o755 } else { 0o700 });
        std::fs::set_permissions(folder.path(), mode).expect("permissions of the folder");
        let options = settings.iter().map(|setting| format!("-c{setting}")).collect();
        let mut server = Self {
            folder,
            programs,
            user,
            options,
            process: None,
        };
        server.make();
        server.launch();
        Some(server)
    }

    /// Makes the cluster.
    fn make(&self) {
        for place in [self.data(), self.socket()] {
            std::fs::create_dir(&place).expect("a folder");
            if let Some(user) = self.user {
                chown(&place, Some(user.id), Some(user.group)).expect("chown");
            }
        }
        let mut initdb = self.command("initdb");
        initdb
            .args([
                "--auth=trust",
                "--username=adit",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ])
            .arg("-D")
            .arg(self.data());
        let made = initdb.output().expect("initdb starts");
        assert!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// A program of the server, as whoever it runs as.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = match self.user {
            None => Command::new(program),
            Some(User { id, group }) => {
                let mut command = Command::new("setpriv");
                command
                    .arg(format!("--reuid={id}"))
                    .arg(format!("--regid={group}"))
                    .arg("--clear-groups")
                    .arg(program);
                command
            }
        };
        command.current_dir("/").stdin(Stdio::null());
        command
    }

    /// Where clients connect: `postgres://..`, to the database `postgres`.
    pub fn url(&self) -> String {
        format!("postgres:///postgres?user=adit&host={}", self.socket().display())
    }

    /// Starts the server on its data again and waits until it lets clients in.
    ///
    /// # Panics
    /// When it runs already or does not start.
    pub fn launch(&mut self) {
        assert!(self.process.is_none(), "the server runs already");
        // After a kill its children are there for a moment longer, and hold what the next one needs.
        let started = until(LIMIT, || {
            let mut process = self.spawn();
            let ready = until(LIMIT, || match (self.answers(), process.ended()) {
                (true, None) => Some(true),
                (_, Some(_)) => Some(false),
                (false, None) => None,
            });
            (ready == Some(true)).then(|| self.process = Some(process))
        });
        assert!(
            started.is_some(),
            "postgres does not start; its log ends:\n{}",
            std::fs::read_to_string(self.log()).unwrap_or_default()
        );
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn spawn(&self) -> Running {
        let log = std::fs::File::create(self.log()).expect("a log");
        let mut command = self.command("postgres");
        command
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(self.socket())
            .args([
                "-clisten_addresses=",
                "-cmax_connections=30",
                "-cshared_buffers=32MB",
            ])
            .args(&self.options)
            .stdout(Stdio::null())
            .stderr(log);
        Running::start(&mut command).expect("postgres starts")
    }

    fn answers(&self) -> bool {
        self.query("SELECT 1").is_ok()
    }

    /// Asks with `psql`; columns are separated by bars.
    ///
    /// # Errors
    /// What `psql` complained about.
    pub fn query(&self, statement: &str) -> Result<String, String> {
        let mut psql = Command::new(self.programs.join("psql"));
        let done = psql
            .args(["-X", "-q", "-A", "-t", "-U", "adit", "-d", "postgres", "-h"])
            .arg(self.socket())
            .args(["-c", statement])
            .env("PGCONNECT_TIMEOUT", "10")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
        match done.status.success() {
            true => Ok(text(done.stdout)),
            false => Err(text(done.stderr)),
        }
    }

    /// Kills the server and everything it has started, at once (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let children = children(process.id());
            process.kill();
            signal(&children, "KILL");
        }
    }

    /// Stops the server in order.
    ///
    /// # Panics
    /// When it does not stop.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal("INT");
            assert!(process.wait(LIMIT).is_some(), "postgres does not stop");
        }
    }

    /// Stops all of its processes where they are (SIGSTOP): it takes connections and never answers.
    pub fn pause(&self) {
        self.signal_all("STOP");
    }

    /// Lets them go on.
    pub fn resume(&self) {
        self.signal_all("CONT");
    }

    fn signal_all(&self, name: &str) {
        if let Some(process) = &self.process {
            process.signal(name);
            signal(&children(process.id()), name);
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a signal to processes that may have ended.
fn signal(processes: &[u32], name: &str) {
    let ids = processes.iter().map(u32::to_string);
    let _ = Command::new("kill")
        .arg(format!("-{name}"))
        .args(ids)
        .stderr(Stdio::null())
        .status();
}

/// The processes that a process has started.
fn children(parent: u32) -> Vec<u32> {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let of_parent = |id: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // Behind the name, which may hold anything: state and parent.
        let mut fields = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .skip(1);
        fields.next().and_then(|field| field.parse().ok()) == Some(parent)
    };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(of_parent)
        .collect()
}

/// The folder of the newest installed version.
fn programs() -> Option<PathBuf> {
    let found = installed();
    peers::present("postgres (Debian: postgresql)", found.is_some())?;
    found
}

fn installed() -> Option<PathBuf> {
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let versions = std::fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let newest = versions
        .map(|entry| entry.path())
        .filter(|path| path.join("bin/initdb").is_file())
        .max_by_key(|path| version(path));
    let on_path = || {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&folders).find(|folder| folder.join("initdb").is_file())
    };
    newest.map(|path| path.join("bin")).or_else(on_path)
}

/// Whom to run as; nobody else where we are not root.
fn user() -> Option<User> {
    let number = |arguments: &[&str]| {
        let done = Command::new("id").args(arguments).output().ok()?;
        let text = String::from_utf8_lossy(&done.stdout).trim().parse().ok();
        text.filter(|_| done.status.success())
    };
    if number(&["-u"]) != Some(0) {
        return None;
    }
    USERS.into_iter().find_map(|name| {
        Some(User {
            id: number(&["-u", name])?,
            group: number(&["-g", name])?,
        })
    })
}
