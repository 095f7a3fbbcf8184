//! Our job negotiator and the reference's, one after the other, on the same node and below the same pool: how long a new block
//! takes until a miner below has its custom job.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use adit_noise::AuthorityKeypair;
use adit_testkit::peers::program;
use adit_testkit::until;

use super::load::Load;
use super::node::{Node, PAY_TO};
use super::process;
use super::served::{Kind, Served, logged};
use super::stages::{Figures, HOLD_S, Site, spread};
use crate::Failure;
use crate::measure::quantile;

/// How long a program may take to listen, or to have its first custom job.
const LIMIT: Duration = Duration::from_secs(90);
/// Blocks before those that are timed: tokens are in stock then, and code is in the caches.
const WARM_UP: u32 = 2;
/// Blocks that are timed at least; the median counts.
const BLOCKS_MIN: u32 = 5;
/// How long a new block may take to the miner, its declaration and its custom job to the pool.
const SPREAD: Duration = Duration::from_secs(3);
/// What the reference's pool writes when it is asked for a custom job.
const ASKED: &str = "SetCustomMiningJob";

/// The pool above both, and where it takes declarations.
struct Above {
    pool: Served,
    jds: Option<u16>,
}

/// From the node's new tip to the decrypted custom job at a miner below the negotiator.
pub(super) fn new_blocks(site: &Site<'_>, figures: &mut Figures) -> Result<(), Failure> {
    let node = site.node.ok_or("a job negotiator needs bitcoin-node")?;
    let above = above(site, node)?;
    let negotiator = match site.kind {
        Kind::Ours(program) => ours(program, node, &above),
        Kind::Reference(_) => theirs(node, &above),
    }?;
    let flags = ["--hold", "--threads", "1", "--channel", "extended"];
    let load = Load::ready(site.adit, &negotiator.url, 1, HOLD_S, &flags)?;
    let mut blocks = Vec::new();
    for number in 0..WARM_UP + site.scale.blocks.max(BLOCKS_MIN) {
        let block = node.mine()?;
        if number == WARM_UP - 1 {
            above.has_custom_jobs(&negotiator)?;
        }
        if number >= WARM_UP {
            blocks.push(block);
        }
        sleep(SPREAD);
    }
    load.stop()?;
    let report = load.report()?;
    let times: Vec<f64> = blocks
        .iter()
        .filter_map(|(hash, at)| spread(&report, hash, *at))
        .map(|(first, _)| first)
        .collect();
    if times.len() < blocks.len() {
        return Err("a new block did not reach the miner below the negotiator".into());
    }
    figures.custom_job_us = Some(quantile(&times, 0.5));
    Ok(())
}

/// The reference's pool with its declaration server, or ours where it is absent.
fn above(site: &Site<'_>, node: &Node) -> Result<Above, Failure> {
    let Some(program) = program("pool_sv2") else {
        let pool = Served::start(&Kind::Ours(site.adit.to_path_buf()), Some(node), 1)?;
        return Ok(Above { pool, jds: None });
    };
    let jds = free_port()?;
    let more = format!("[jds]\nlisten_address = \"127.0.0.1:{jds}\"\n");
    let pool = Served::reference(&program, node, 1, &more, "info")?;
    Ok(Above { pool, jds: Some(jds) })
}

impl Above {
    /// Waits until a custom job was asked for: from then on what the miner gets is paid for by this pool.
    fn has_custom_jobs(&self, negotiator: &Served) -> Result<(), Failure> {
        let (log, word) = match self.jds {
            Some(_) => (&self.pool.log, ASKED),
            None => (&negotiator.log, "negotiating"),
        };
        let said = || fs::read_to_string(log).ok()?.contains(word).then_some(());
        until(LIMIT, said).ok_or_else(|| {
            format!(
                "no custom job came to the pool:\n{}",
                process::tail(&negotiator.log)
            )
        })?;
        Ok(())
    }

    /// Host, port and key of its URL.
    fn place(&self) -> Option<(&str, &str, &str)> {
        let (place, key) = self.pool.url.strip_prefix("stratum2+tcp://")?.split_once('/')?;
        let (host, port) = place.rsplit_once(':')?;
        Some((host, port, key))
    }
}

fn ours(program: &Path, node: &Node, above: &Above) -> Result<Served, Failure> {
    let folder = tempfile::Builder::new().prefix("adit-bench-jdc-").tempdir()?;
    let jds = above.jds.map(|port| format!(",jds=127.0.0.1:{port}"));
    let upstream = format!("{}{}", above.pool.url, jds.unwrap_or_default());
    let mut command = Command::new(program);
    command
        .args(["negotiator", "--listen", "127.0.0.1:0", "--http", "off", "--data"])
        .arg(folder.path().join("data"))
        .arg(format!("--node=ipc:{}", node.socket().display()))
        .args(["--payout", PAY_TO, "--upstream", &upstream])
        .args(["--set", "upstream.hash_rate=1000000"]);
    Served::announced(&mut command, folder, false)
}

fn theirs(node: &Node, above: &Above) -> Result<Served, Failure> {
    let program = program("jd_client_sv2").ok_or("jd_client_sv2 is absent: run `cargo xtask peers`")?;
    let folder = tempfile::Builder::new().prefix("adit-bench-jdc-").tempdir()?;
    let keys = AuthorityKeypair::from_secret([0x55; 32]).map_err(|error| error.to_string())?;
    let (host, pool, key) = above.place().ok_or("a pool without a key")?;
    let (port, jds) = (free_port()?, above.jds.map(|port| port.to_string()));
    let text = format!(
        "listening_address = \"127.0.0.1:{port}\"\nmax_supported_version = 2\nmin_supported_version = 2\n\
         authority_public_key = \"{public}\"\nauthority_secret_key = \"{secret}\"\ncert_validity_sec = 86400\n\
         shares_per_minute = 6.0\nshare_batch_size = 1\nmode = \"FULLTEMPLATE\"\njdc_signature = \"bench\"\n\
         coinbase_reward_script = \"addr({PAY_TO})\"\n\n[[upstreams]]\nauthority_pubkey = \"{key}\"\n\
         pool_address = \"{host}\"\npool_port = {pool}\njds_address = \"127.0.0.1\"\njds_port = {jds}\n\
         user_identity = \"bench\"\n\n{templates}",
        public = keys.public(),
        secret = keys.secret_text().as_str(),
        jds = jds.as_deref().unwrap_or(pool),
        templates = node.reference_section(),
    );
    let config = folder.path().join("jdc.toml");
    fs::write(&config, text)?;
    let mut command = Command::new(program);
    command.arg("-c").arg(&config).env("RUST_LOG", "warn");
    let log = folder.path().join("log");
    let process = logged(&mut command, &log)?;
    Served::listening(port, &keys.public().to_string(), process, log, folder)
}

fn free_port() -> Result<u16, Failure> {
    // Nobody promises that the port stays free; it is tried like everything here, and fails loudly.
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
