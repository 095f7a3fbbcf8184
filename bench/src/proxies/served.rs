//! The two proxies, each in its own process and folder, above them one pool.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use adit_testkit::{Running, until};
use tempfile::TempDir;

use crate::Failure;
use crate::pools::page::{Page, word_after};
use crate::pools::process;
use crate::pools::served::logged;

/// How long a proxy may take to give work.
const LIMIT: Duration = Duration::from_secs(60);

/// Which proxy.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// Our `adit proxy`, this program.
    Ours(PathBuf),
    /// The reference's `translator_sv2`, this program.
    Reference(PathBuf),
}

/// A running proxy; killed, and its folder removed, when dropped.
pub(super) struct Served {
    /// Where devices of Stratum V1 connect.
    pub(super) v1: String,
    /// Where devices of Stratum V2 connect; the reference's takes none.
    pub(super) v2: Option<String>,
    page: Option<Page>,
    process: Running,
    _folder: TempDir,
}

impl Served {
    /// Starts a proxy below the pool at `upstream`.
    pub(super) fn start(kind: &Kind, upstream: &str) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("adit-bench-proxy-").tempdir()?;
        match kind {
            Kind::Ours(program) => ours(program, upstream, folder),
            Kind::Reference(program) => reference(program, upstream, folder),
        }
    }

    pub(super) fn cpu_us(&self) -> Result<f64, Failure> {
        process::cpu_us(self.process.id())
    }

    pub(super) fn resident_bytes(&self) -> Result<f64, Failure> {
        process::resident_bytes(self.process.id())
    }

    /// A number of our proxy's status, by JSON pointer.
    pub(super) fn count(&self, pointer: &str) -> Result<f64, Failure> {
        let page = self.page.as_ref().ok_or("only our proxy has a page")?;
        page.number(pointer)
    }
}

fn ours(program: &Path, upstream: &str, folder: TempDir) -> Result<Served, Failure> {
    let mut command = Command::new(program);
    command.args(["proxy", "--upstream", upstream, "--listen", "127.0.0.1:0"]);
    command.args(["--http", "127.0.0.1:0", "--data"]);
    command.arg(folder.path().join("data"));
    for key in [
        "shares.vardiff=false",
        "shares.work_min=1",
        "limits.shares_per_second=0",
        "limits.connections_per_address_max=0",
        "log.level=warn",
    ] {
        command.args(["--set", key]);
    }
    let log = folder.path().join("log");
    let process = logged(&mut command, &log)?;
    let found = until(LIMIT, || {
        let text = fs::read_to_string(&log).ok()?;
        Some((
            word_after(&text, "stratum2+tcp://")?.to_owned(),
            Page::announced(&text)?,
        ))
    });
    let (place, page) =
        found.ok_or_else(|| format!("adit proxy does not start:\n{}", process::tail(&log)))?;
    let address = place.split('/').next().unwrap_or_default();
    Ok(Served {
        v1: format!("stratum+tcp://{address}"),
        v2: Some(format!("stratum2+tcp://{place}")),
        page: Some(page),
        process,
        _folder: folder,
    })
}

fn reference(program: &Path, upstream: &str, folder: TempDir) -> Result<Served, Failure> {
    let (address, key) = upstream
        .strip_prefix("stratum2+tcp://")
        .and_then(|rest| rest.split_once('/'))
        .ok_or("the pool's URL has no key")?;
    let (_, upstream_port) = address.rsplit_once(':').ok_or("the pool's URL has no port")?;
    // Nobody promises that the port stays free; it is tried like everything here, and fails loudly.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let config = folder.path().join("translator.toml");
    let text = format!(
        "downstream_address = \"127.0.0.1\"\ndownstream_port = {port}\nmax_supported_version = 2\n\
         min_supported_version = 2\ndownstream_extranonce2_size = 4\nverify_payout = false\n\
         aggregate_channels = true\nsupported_extensions = []\nrequired_extensions = []\n\
         [downstream_difficulty_config]\nmin_individual_miner_hashrate = 1.0\nshares_per_minute = 60.0\n\
         enable_vardiff = false\njob_keepalive_interval_secs = 60\n\
         [[upstreams]]\naddress = \"127.0.0.1\"\nport = {upstream_port}\nauthority_pubkey = \"{key}\"\n\
         user_identity = \"farm\"\n"
    );
    fs::write(&config, text)?;
    let mut command = Command::new(program);
    command.arg("-c").arg(&config).env("RUST_LOG", "warn");
    let log = folder.path().join("log");
    let process = logged(&mut command, &log)?;
    let address = ([127, 0, 0, 1], port).into();
    let open = || TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
    until(LIMIT, open).ok_or_else(|| format!("translator_sv2 does not start:\n{}", process::tail(&log)))?;
    Ok(Served {
        v1: format!("stratum+tcp://127.0.0.1:{port}"),
        v2: None,
        page: None,
        process,
        _folder: folder,
    })
}
