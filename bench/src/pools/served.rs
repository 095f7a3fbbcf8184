//! The two pools, each in its own process and folder.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use adit_noise::AuthorityKeypair;
use adit_testkit::{Running, until};
use tempfile::TempDir;

use super::node::{Node, PAY_TO, unix_us};
use super::page::{self, Page};
use super::process;
use crate::Failure;

/// How long a pool may take to give work.
const LIMIT: Duration = Duration::from_secs(60);

/// Which pool.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Our `adit pool`, this program.
    Ours(PathBuf),
    /// The reference's `pool_sv2`, this program.
    Reference(PathBuf),
}

/// A running pool; killed, and its folder removed, when dropped.
pub(crate) struct Served {
    pub(crate) url: String,
    /// Where its status is, if it has one.
    page: Option<Page>,
    process: Running,
    notice: Notice,
    pub(super) log: PathBuf,
    _folder: TempDir,
}

/// How a log says that the pool's source of templates has seen a new tip.
#[derive(Clone, Copy, Debug)]
enum Notice {
    /// `new tip`, with the time at which the template had been read as a field.
    Ours,
    /// A line written when the template had been read, with its time in front.
    Reference,
}

impl Notice {
    /// Microseconds since the Unix epoch of the newest notice in `log`; of this tip, where the log names tips as the
    /// node does.
    fn newest(self, log: &str, tip: &str) -> Option<u64> {
        let log = without_colours(log);
        let mut lines = log.lines().rev();
        match self {
            Self::Ours => {
                let line = lines.find(|line| line.contains("new tip") && line.contains(tip))?;
                let (_, us) = line.split_once("noticed_us=")?;
                us.split(|it: char| !it.is_ascii_digit()).next()?.parse().ok()
            }
            Self::Reference => {
                let line = lines.find(|line| line.contains("Chain Tip changed!"))?;
                unix_us(line.split_whitespace().next()?)
            }
        }
    }
}

/// Without the escape sequences that colour a terminal.
fn without_colours(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| {
        plain + part.split_once('m').map_or(part, |(_, rest)| rest)
    })
}

impl Served {
    /// Starts a pool. The reference acknowledges every `batch` shares; ours has no such number.
    pub(crate) fn start(kind: &Kind, node: Option<&Node>, batch: u32) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("adit-bench-pool-").tempdir()?;
        let served = match kind {
            Kind::Ours(program) => ours(program, node, folder, &[]),
            Kind::Reference(program) => {
                let node = node.ok_or("the reference's pool needs bitcoin-node")?;
                reference(program, node, folder, (batch, "", "warn"))
            }
        }?;
        Ok(served)
    }

    /// Starts our pool for a proxy: its channels find their difficulty, or all have the easiest, and it has a page.
    pub(crate) fn above(program: &Path, node: Option<&Node>, vardiff: bool) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("adit-bench-pool-").tempdir()?;
        let vardiff = format!("shares.vardiff={vardiff}");
        ours(program, node, folder, &["--http=127.0.0.1:0", "--set", &vardiff])
    }

    /// A number of our pool's status, by JSON pointer.
    pub(crate) fn count(&self, pointer: &str) -> Result<f64, Failure> {
        self.page.as_ref().ok_or("the pool has no page")?.number(pointer)
    }

    /// The reference's pool with more sections of its configuration, logging at `level`.
    pub(super) fn reference(
        program: &Path,
        node: &Node,
        batch: u32,
        more: &str,
        level: &str,
    ) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("adit-bench-pool-").tempdir()?;
        reference(program, node, folder, (batch, more, level))
    }

    /// A program of ours, once it has said where it listens.
    pub(super) fn announced(command: &mut Command, folder: TempDir, paged: bool) -> Result<Self, Failure> {
        let log = folder.path().join("log");
        let process = logged(command, &log)?;
        let (url, page) = until(LIMIT, || {
            let text = fs::read_to_string(&log).ok()?;
            let url = page::word_after(&text, "stratum2+tcp://")?;
            let page = if paged {
                Some(Page::announced(&text)?)
            } else {
                None
            };
            Some((format!("stratum2+tcp://{url}"), page))
        })
        .ok_or_else(|| format!("adit does not start:\n{}", process::tail(&log)))?;
        Ok(Self {
            url,
            page,
            process,
            notice: Notice::Ours,
            log,
            _folder: folder,
        })
    }

    /// A program of the reference, once somebody listens on its port.
    pub(super) fn listening(
        port: u16,
        key: &str,
        process: Running,
        log: PathBuf,
        folder: TempDir,
    ) -> Result<Self, Failure> {
        let address = ([127, 0, 0, 1], port).into();
        let open = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
        until(LIMIT, open).ok_or_else(|| format!("nobody listens on {port}:\n{}", process::tail(&log)))?;
        Ok(Self {
            url: format!("stratum2+tcp://127.0.0.1:{port}/{key}"),
            page: None,
            process,
            notice: Notice::Reference,
            log,
            _folder: folder,
        })
    }

    /// When the pool's source of templates noticed this new tip, microseconds since the Unix epoch.
    pub(crate) fn noticed_us(&self, tip: &str) -> Option<u64> {
        self.notice.newest(&fs::read_to_string(&self.log).ok()?, tip)
    }

    pub(crate) fn cpu_us(&self) -> Result<f64, Failure> {
        process::cpu_us(self.process.id())
    }

    pub(crate) fn resident_bytes(&self) -> Result<f64, Failure> {
        process::resident_bytes(self.process.id())
    }
}

fn ours(program: &Path, node: Option<&Node>, folder: TempDir, more: &[&str]) -> Result<Served, Failure> {
    let mut command = Command::new(program);
    command.args(["pool", "--listen", "127.0.0.1:0", "--data"]);
    command.arg(folder.path().join("data"));
    match node {
        Some(node) => command
            .arg(format!("--node=ipc:{}", node.socket().display()))
            .args(["--payout", PAY_TO]),
        None => command.arg("--node=embedded:40"),
    };
    for key in [
        "shares.vardiff=false",
        "shares.work_min=1",
        "shares.seen_max=1048576",
        "limits.shares_per_second=0",
        "limits.connections_per_address_max=0",
        "log.level=info",
    ] {
        command.args(["--set", key]);
    }
    let paged = !more.is_empty();
    command.args(if paged { more } else { &["--http=off"] });
    Served::announced(&mut command, folder, paged)
}

fn reference(
    program: &Path,
    node: &Node,
    folder: TempDir,
    (batch, more, level): (u32, &str, &str),
) -> Result<Served, Failure> {
    let keys = AuthorityKeypair::from_secret([0x44; 32]).map_err(|error| error.to_string())?;
    // Nobody promises that the port stays free; it is tried like everything here, and fails loudly.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let config = folder.path().join("pool.toml");
    let text = format!(
        "authority_public_key = \"{}\"\nauthority_secret_key = \"{}\"\ncert_validity_sec = 86400\n\
         listen_address = \"127.0.0.1:{port}\"\ncoinbase_reward_script = \"addr({PAY_TO})\"\nserver_id = 1\n\
         pool_signature = \"bench\"\nshares_per_minute = 6.0\nshare_batch_size = {batch}\n{}{more}",
        keys.public(),
        keys.secret_text().as_str(),
        node.reference_section()
    );
    fs::write(&config, text)?;
    let mut command = Command::new(program);
    command
        .arg("-c")
        .arg(&config)
        .env("RUST_LOG", format!("{level},bitcoin_core_sv2=info"));
    let log = folder.path().join("log");
    let process = logged(&mut command, &log)?;
    Served::listening(port, &keys.public().to_string(), process, log, folder)
}

/// Starts a program whose output goes to a file.
pub(crate) fn logged(command: &mut Command, log: &Path) -> Result<Running, Failure> {
    let out = File::create(log)?;
    let err = out.try_clone()?;
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(out).stderr(err);
    Running::start(command).map_err(|error| format!("{program}: {error}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_found_in_both_logs() {
        let ours = "2026-11-22T05:00:00Z  INFO new tip height=2 prev=00ab noticed_us=17\n\
                    2026-11-22T05:00:00Z  INFO new tip height=3 prev=00cd noticed_us=18 \n";
        assert_eq!(Notice::Ours.newest(ours, "00ab"), Some(17));
        assert_eq!(Notice::Ours.newest(ours, "00ef"), None);
        let theirs = "\u{1b}[2m1970-01-01T00:00:00.000019Z\u{1b}[0m \u{1b}[32m INFO\u{1b}[0m bitcoin_core_sv2: \
                      Chain Tip changed! New prev_hash: cd00\n";
        assert_eq!(Notice::Reference.newest(theirs, "00cd"), Some(19));
        assert_eq!(Notice::Reference.newest("", "00cd"), None);
    }
}
