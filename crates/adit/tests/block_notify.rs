//! `adit notify` as the `-blocknotify` command of a real node.

use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use adit_testkit::BitcoinNode;

/// Far more than starting a small program takes.
const LIMIT: Duration = Duration::from_secs(60);

/// Bitcoin Core starts the command for a new block, and the notice arrives where a source listens.
#[test]
fn bitcoin_core_tells_of_its_blocks_by_a_command() {
    let hears = UdpSocket::bind("127.0.0.1:0").unwrap();
    hears.set_read_timeout(Some(LIMIT)).unwrap();
    let address = hears.local_addr().unwrap();
    let command = format!("-blocknotify={} notify {address} %s", env!("CARGO_BIN_EXE_adit"));
    let Some(node) = BitcoinNode::start_with(&[&command]) else {
        return;
    };
    let block = node.mine(1);
    let mut notice = [0; 128];
    let length = hears.recv(&mut notice).unwrap();
    assert_eq!(std::str::from_utf8(&notice[..length]), Ok(block.as_str()));
}

/// An operator's typing error is an error of the command line; that nobody listens is none.
#[test]
fn a_notice_needs_an_address_and_no_listener() {
    let run = |to: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_adit"));
        command.args(["notify", to]).output().unwrap()
    };
    assert!(run("127.0.0.1:9").status.success());
    let wrong = run("localhost");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("ADDR:PORT"));
}
