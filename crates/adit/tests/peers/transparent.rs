//! Our transparent proxy between programs of the reference implementation: their device and their proxy below, their pool
//! above, and Bitcoin Core takes the blocks.

use std::path::Path;

use adit_net::Url;
use adit_testkit::{BitcoinNode, peers};

use crate::pool::{adit, device};
use crate::program::{Program, wait};
use crate::reference::{self, Translator, says};
use crate::stratum_v1;

/// Blocks that each device is to find. On regtest every share is one, and their pool refuses more than a few in one second.
const BLOCKS: u64 = 1;
/// Hashes a second that their proxy claims for a Stratum V1 device.
const STRATUM_V1_RATE: u64 = 300_000;

/// A transparent proxy as a process.
struct Proxy {
    program: Program,
    url: Url,
}

impl Proxy {
    fn start(folder: &Path, upstreams: &[&str]) -> Self {
        let mut command = adit();
        command.args([
            "proxy",
            "--mode",
            "transparent",
            "--listen",
            "127.0.0.1:0",
            "--http",
            "off",
        ]);
        command.arg("--data").arg(folder.join("proxy"));
        for upstream in upstreams {
            command.args(["--upstream", upstream]);
        }
        let program = Program::start("proxy", folder, &mut command);
        let url = wait("the URL of the proxy", &[&program], || {
            let said = program.output();
            said.split_whitespace().find_map(|word| word.parse().ok())
        });
        Self { program, url }
    }

    fn key(&self) -> String {
        self.url.key.as_ref().expect("a key").to_string()
    }
}

/// REQ-MIN-102, REQ-MIN-107: their device on a standard channel, our device on an extended one, and their proxy with a
/// Stratum V1 device, each with a channel of its own at their pool; the node has blocks of each.
#[test]
fn their_programs_mine_through_our_transparent_proxy() {
    if peers::need(["pool_sv2", "mining_device", "translator_sv2"]).is_none() {
        return;
    }
    let Some(node) = BitcoinNode::start() else { return };
    // Their pool wants a node that has left initial block download.
    node.mine(1);
    let folder = tempfile::tempdir().expect("a folder");
    let (pool, url) = reference::pool(folder.path(), &node);
    let proxy = Proxy::start(folder.path(), &[&url]);
    let grown = |what: &str, base: u64, more: &Program| {
        wait(what, &[&pool, &proxy.program, more], || {
            (node.height() >= base + BLOCKS).then_some(())
        });
    };

    let address = format!("{}:{}", proxy.url.host, proxy.url.port);
    let base = node.height();
    let theirs = reference::device_on(folder.path(), &address, &proxy.key(), "them");
    grown("blocks of their device", base, &theirs);
    says(&theirs, "Received SubmitSharesSuccess");
    drop(theirs);

    let base = node.height();
    let ours = device(folder.path(), &proxy.url.to_string(), "us", "extended", &[]);
    grown("blocks of our device", base, &ours);
    drop(ours);

    let base = node.height();
    let port = proxy.url.port.to_string();
    let translator = Translator::on(folder.path(), &port, &proxy.key(), false, STRATUM_V1_RATE);
    let tally = stratum_v1::mine(&translator.address, "v1.device", BLOCKS);
    assert!(
        tally
            .refused
            .iter()
            .all(|it| it.to_string().contains("stale") || it.to_string().contains("21")),
        "{tally:?}{}",
        translator.program.said()
    );
    grown("blocks of the Stratum V1 device", base, &translator.program);
    let said = proxy.program.said();
    assert!(!said.contains("breaks the protocol"), "{said}");
}
