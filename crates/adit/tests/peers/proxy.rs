//! Our proxy among programs that somebody else wrote: their devices and proxies below it, their pools and proxies above.

use std::path::Path;
use std::process::Command;

use adit_net::Url;
use adit_testkit::{BitcoinNode, MINE_TO, peers};
use tempfile::TempDir;

use crate::negotiator::ALONE;
use crate::pool::{Pool, adit, device};
use crate::program::{Program, wait};
use crate::publisher::Publisher;
use crate::reference::{self, Translator, says};
use crate::stratum_v1;
use crate::templates::provider;

/// Expected hashes of a share: on regtest each is a block.
const WORK: u64 = 300_000;
/// Hashes a second that a pool is told; theirs wants a share a second.
const HASH_RATE: u64 = 600_000;
/// Hashes a second that their proxy claims for a Stratum V1 device.
const STRATUM_V1_RATE: u64 = 300_000;
/// Blocks that have to be found.
const BLOCKS: u64 = 2;
/// Difficulty at a pool of Stratum V1: some 40,000 hashes.
const OLD_DIFFICULTY: &str = "0.00001";
/// The name at the pool.
const FARM: &str = "the.farm";

/// A proxy as a process.
struct Proxy {
    folder: TempDir,
    program: Program,
    url: Url,
}

impl Proxy {
    fn start(upstreams: &[&str], more: &[&str]) -> Self {
        Self::start_as(FARM, upstreams, more)
    }

    fn start_as(user: &str, upstreams: &[&str], more: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = adit();
        command
            .args([
                "proxy",
                "--listen",
                "127.0.0.1:0",
                "--http",
                "off",
                "--user",
                user,
            ])
            .args(["--set", &format!("upstream.hash_rate={HASH_RATE}")])
            .args(["--set", "shares.per_minute=600", "--set", "shares.vardiff=false"])
            .args(["--set", &format!("shares.work_min={WORK}"), "--data"])
            .arg(folder.path().join("proxy"))
            .args(more);
        for upstream in upstreams {
            command.args(["--upstream", upstream]);
        }
        let program = Program::start("proxy", folder.path(), &mut command);
        let url = wait("the URL of the proxy", &[&program], || {
            let said = program.output();
            said.split_whitespace().find_map(|word| word.parse().ok())
        });
        Self { folder, program, url }
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `HOST:PORT`.
    fn address(&self) -> String {
        format!("{}:{}", self.url.host, self.url.port)
    }

    fn key(&self) -> String {
        self.url.key.as_ref().expect("a key").to_string()
    }
}

/// Waits until the pool has blocks of an account, and the node one of them as its tip.
fn earns(pool: &Pool, node: &BitcoinNode, account: &str, programs: &[&Program]) {
    wait("blocks in the pool's ledger", programs, || {
        let names = pool.top();
        names
            .iter()
            .any(|(name, _, blocks)| name == account && *blocks >= BLOCKS)
            .then_some(())
    });
    wait("a block in the node's chain", programs, || {
        pool.blocks().contains(&node.tip()).then_some(())
    });
}

/// Their CPU device and their proxy with a Stratum V1 device of ours, all below our proxy, on our pool.
#[test]
fn their_devices_and_their_proxy_mine_below_our_proxy() {
    if peers::need(["mining_device", "translator_sv2"]).is_none() {
        return;
    }
    let Some(node) = BitcoinNode::start() else { return };
    node.mine(1);
    let pool = Pool::on(&node, WORK);
    let proxy = Proxy::start(&[&pool.url()], &[]);
    let theirs = reference::device_on(proxy.folder(), &proxy.address(), &proxy.key(), "theirs");
    earns(&pool, &node, FARM, &[&pool.program, &proxy.program, &theirs]);
    drop(theirs);
    let port = proxy.url.port.to_string();
    let translator = Translator::on(proxy.folder(), &port, &proxy.key(), true, STRATUM_V1_RATE);
    let before = pool.shares();
    let tally = stratum_v1::mine(&translator.address, "old.rig", 3);
    assert!(tally.accepted >= 3, "{tally:?}");
    wait(
        "their shares",
        &[&pool.program, &proxy.program, &translator.program],
        || (pool.shares() > before).then_some(()),
    );
}

/// Our proxy on their pool: what our device finds below is a block in the chain of their node.
#[test]
fn our_proxy_mines_on_their_pool() {
    if peers::need(["pool_sv2"]).is_none() {
        return;
    }
    let Some(node) = BitcoinNode::start() else { return };
    node.mine(1);
    let folder = tempfile::tempdir().expect("a folder");
    let (pool, url) = reference::pool(folder.path(), &node);
    let base = node.height();
    let proxy = Proxy::start(&[&url], &[]);
    let ours = device(proxy.folder(), &proxy.url.to_string(), "ours", "extended", &[]);
    wait("blocks of their node", &[&pool, &proxy.program, &ours], || {
        (node.height() >= base + BLOCKS).then_some(())
    });
    says(&pool, "Block Found");
}

/// Our proxy below their job negotiator, which mines alone on templates of our provider.
#[test]
fn our_proxy_mines_below_their_negotiator() {
    if peers::need(["jd_client_sv2"]).is_none() {
        return;
    }
    let Some(node) = BitcoinNode::start() else { return };
    node.mine(1);
    let folder = tempfile::tempdir().expect("a folder");
    let base = node.height();
    let (provider, provider_url) = provider(folder.path(), &node);
    let (negotiator, place) = reference::negotiator_alone(folder.path(), &provider_url);
    let proxy = Proxy::start(&[&place], &[]);
    let ours = device(proxy.folder(), &proxy.url.to_string(), "ours", "extended", &[]);
    let programs = [&provider, &negotiator, &proxy.program, &ours];
    wait("blocks of their negotiator", &programs, || {
        (node.height() >= base + BLOCKS).then_some(())
    });
}

/// `--negotiate`: jobs of our own node's templates, that our pool takes and pays for; and what to type into miners is printed.
#[test]
fn our_proxy_negotiates_jobs_of_its_own() {
    let Some(node) = BitcoinNode::start() else { return };
    node.mine(1);
    let ipc = format!("ipc:{}", node.socket().display());
    let more = [
        "negotiation.mode=both",
        // On regtest a block is two hashes, and credit is counted in blocks.
        "negotiation.credit_millis=1000000000000",
        "negotiation.credit_total_millis=1000000000000",
    ];
    let pool = Pool::start_with(&ipc, WORK, &more);
    let proxy = Proxy::start(
        &[&pool.url()],
        &["--negotiate", "--node", &ipc, "--payout", ALONE],
    );
    says(&proxy.program, "Type into your miners");
    pool.reaches("/negotiation/custom_accepted", 1, &[&proxy.program]);
    let ours = device(proxy.folder(), &proxy.url.to_string(), "ours", "extended", &[]);
    earns(&pool, &node, FARM, &[&pool.program, &proxy.program, &ours]);
}

/// Our proxy on somebody else's Stratum V1: their proxy is a pool of the old kind, which leaves four bytes, with our pool
/// behind it.
#[test]
fn our_proxy_mines_on_their_stratum_v1() {
    if peers::need(["translator_sv2"]).is_none() {
        return;
    }
    let Some(node) = BitcoinNode::start() else { return };
    node.mine(1);
    let pool = Pool::on(&node, WORK);
    let translator = Translator::start(&pool, false, STRATUM_V1_RATE);
    let old = format!("stratum+tcp://{}", translator.address);
    let proxy = Proxy::start(&[&old], &[]);
    let ours = device(proxy.folder(), &proxy.url.to_string(), "ours", "standard", &[]);
    let programs = [&pool.program, &translator.program, &proxy.program, &ours];
    // Their proxy has one name for all.
    wait("blocks in the pool's ledger", &programs, || {
        let blocks: u64 = pool.top().iter().map(|(_, _, blocks)| blocks).sum();
        (blocks >= BLOCKS).then_some(())
    });
    wait("a block in the node's chain", &programs, || {
        pool.blocks().contains(&node.tip()).then_some(())
    });
    assert_eq!(
        pool.ledger("verify").pop().expect("a report")["duplicate_hashes"],
        0
    );
}

/// A whole pool of Stratum V1 that somebody else wrote, above our proxy: devices of both protocols below find its blocks.
#[test]
fn our_proxy_mines_on_an_old_pool() {
    if peers::need(["para"]).is_none() {
        return;
    }
    let Some(node) = BitcoinNode::start_with_rpc() else {
        return;
    };
    node.mine(1);
    let publisher = Publisher::start(&node);
    let folder = tempfile::tempdir().expect("a folder");
    let (pool, address) = reference::old_pool(folder.path(), &publisher, OLD_DIFFICULTY);
    let base = node.height();
    let user = format!("{MINE_TO}.farm");
    let proxy = Proxy::start_as(&user, &[&format!("stratum+tcp://{address}")], &[]);
    let new = device(proxy.folder(), &proxy.url.to_string(), "new", "extended", &[]);
    wait("blocks of a new device", &[&pool, &proxy.program, &new], || {
        (node.height() >= base + BLOCKS).then_some(())
    });
    drop(new);
    let base = node.height();
    let tally = stratum_v1::mine(&proxy.address(), "old.rig", 3);
    assert!(tally.accepted >= 3, "{tally:?}");
    wait("blocks of an old device", &[&pool, &proxy.program], || {
        (node.height() > base).then_some(())
    });
}

/// A Stratum V1 miner that somebody else wrote below our proxy.
#[test]
fn a_stratum_v1_miner_mines_below_our_proxy() {
    let Some([program]) = peers::need(["para"]) else {
        return;
    };
    let Some(node) = BitcoinNode::start() else { return };
    node.mine(1);
    let pool = Pool::on(&node, WORK);
    let proxy = Proxy::start(&[&pool.url()], &[]);
    let mut command = Command::new(program);
    command
        .args(["miner", "--username", &format!("{MINE_TO}.para")])
        .args(["--password", "d=0.00001", "--cpu-cores", "1", &proxy.address()]);
    let miner = Program::start("para", proxy.folder(), &mut command);
    earns(&pool, &node, FARM, &[&pool.program, &proxy.program, &miner]);
}
