//! The node that both pools take their templates from: Bitcoin Core on a signet of its own.
//!
//! A signet, not regtest: there every other share would be a block. Its challenge is OP_TRUE, so anybody may mine.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use adit_testkit::{Running, until};
use tempfile::TempDir;

use crate::Failure;

/// Any address of the network.
pub(crate) const PAY_TO: &str = "tb1qa0sm0hxzj0x25rh8gw5xlzwlsfvvyz8u96w3p8";
/// How long the node may take to start.
const LIMIT: Duration = Duration::from_secs(60);
/// Far more than any block takes: five million on average.
const TRIES: &str = "1000000000";

pub(crate) struct Node {
    folder: TempDir,
    client: PathBuf,
    _process: Running,
}

impl Node {
    /// Starts a node and mines the block that ends its initial download.
    pub(crate) fn start(program: &Path, client: &Path) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("adit-bench-node-").tempdir()?;
        let mut command = Command::new(program);
        command
            .args([
                "-signet",
                "-signetchallenge=51",
                "-ipcbind=unix",
                "-server=0",
                "-listen=0",
            ])
            .args(["-connect=0", "-dnsseed=0", "-printtoconsole=0", "-checkblocks=1"])
            .args(["-dbcache=16", "-logtimemicros=1"])
            .arg(format!("-datadir={}", folder.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let node = Self {
            _process: Running::start(&mut command)?,
            client: client.to_path_buf(),
            folder,
        };
        until(LIMIT, || node.cli(&["getblockcount"]).ok()).ok_or("bitcoin-node does not answer")?;
        node.mine()?;
        Ok(node)
    }

    /// The folder that the reference's configuration names.
    pub(crate) fn data(&self) -> &Path {
        self.folder.path()
    }

    /// What the reference's programs are told of it.
    pub(super) fn reference_section(&self) -> String {
        format!(
            "[template_provider_type.BitcoinCoreIpc]\nversion = 31\nnetwork = \"signet\"\ndata_dir = \"{}\"\n\
             fee_threshold = 100000\nmin_interval = 30\n",
            self.data().display()
        )
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.data().join("signet/node.sock")
    }

    /// Mines a block; its hash, and when the node made it its tip, in microseconds since the Unix epoch.
    pub(crate) fn mine(&self) -> Result<(String, u64), Failure> {
        let answer = self.cli(&["generatetoaddress", "1", PAY_TO, TRIES])?;
        let hashes: Vec<String> = serde_json::from_str(&answer)?;
        let hash = hashes.into_iter().next().ok_or("no block was mined")?;
        let log = std::fs::read_to_string(self.data().join("signet/debug.log"))?;
        let at = tip_us(&log, &hash).ok_or("the node's log does not name the new tip")?;
        Ok((hash, at))
    }

    fn cli(&self, arguments: &[&str]) -> Result<String, Failure> {
        let done = Command::new(&self.client)
            .args(["-signet", "-ipcconnect=unix", "-rpcclienttimeout=0"])
            .arg(format!("-datadir={}", self.data().display()))
            .args(arguments)
            .stdin(Stdio::null())
            .output()?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
            return Err(format!("bitcoin-cli {arguments:?}: {said}").into());
        }
        Ok(String::from_utf8(done.stdout)?)
    }
}

/// When the log says that `hash` became the tip.
fn tip_us(log: &str, hash: &str) -> Option<u64> {
    let tip = format!("UpdateTip: new best={hash}");
    let line = log.lines().rev().find(|line| line.contains(&tip))?;
    unix_us(line.split(' ').next()?)
}

/// Microseconds since the Unix epoch of a time such as `2026-11-22T00:03:01.594966Z`.
pub(crate) fn unix_us(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (time, micros) = time.split_once('.')?;
    let seconds = time
        .split(':')
        .try_fold(0, |sum: i64, part| Some(sum * 60 + part.parse::<i64>().ok()?))?;
    let micros = format!("{micros:0<6}").get(..6)?.parse::<i64>().ok()?;
    // Days of the civil calendar, with years that begin in March.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    u64::try_from((days * 86_400 + seconds) * 1_000_000 + micros).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_log_are_read() {
        assert_eq!(unix_us("1970-01-01T00:00:00.000001Z"), Some(1));
        assert_eq!(
            unix_us("2024-02-29T12:34:56.500000Z"),
            Some(1_709_210_096_500_000)
        );
        assert_eq!(unix_us("yesterday"), None);
        let log = "2024-02-29T12:34:56.500000Z UpdateTip: new best=00ab height=1\n";
        assert_eq!(tip_us(log, "00ab"), Some(1_709_210_096_500_000));
        assert_eq!(tip_us(log, "00cd"), None);
    }
}
