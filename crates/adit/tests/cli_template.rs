//! `adit template`, as a process: what it prints, and how it ends.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn template(data: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adit"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ADIT_") {
            command.env_remove(name);
        }
    }
    command.arg("template").args(arguments);
    command.arg("--data").arg(data).output().unwrap()
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The coinbase that is shown is one that passes; changed by a satoshi it does not, and the reason is said.
#[test]
fn what_is_shown_can_be_checked() {
    let data = tempfile::tempdir().unwrap();
    let node = ["--node", "embedded:20"];
    let shown = template(data.path(), &[&["show", "--json"], &node[..]].concat());
    assert!(shown.status.success(), "{}", said(&shown.stderr));
    let json: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert!(json["transactions"].as_u64().unwrap() > 3, "{json}");
    assert!(json["weight"].as_u64().unwrap() > 1_000, "{json}");
    assert!(json["fees_sat"].as_u64().unwrap() > 0, "{json}");
    assert_eq!(json["required_outputs"].as_array().unwrap().len(), 1, "{json}");
    assert!(!json["merkle_path"].as_array().unwrap().is_empty(), "{json}");

    let text = template(data.path(), &[&["show"], &node[..]].concat());
    let text = said(&text.stdout);
    for name in ["height", "tip", "fees", "weight", "must pay", "path", "coinbase"] {
        assert!(
            text.contains(&format!("\n{name}")) || text.starts_with(name),
            "{text}"
        );
    }

    let checked = template(data.path(), &[&["check"], &node[..]].concat());
    assert!(checked.status.success(), "{}", said(&checked.stderr));
    assert!(said(&checked.stdout).starts_with("ok  block of"));

    // Another lock time is another block's coinbase.
    let coinbase = json["coinbase"].as_str().unwrap();
    let (start, _) = coinbase.split_at(coinbase.len() - 8);
    let wrong = format!("{start}00000000");
    let arguments = [&["check", "--coinbase", &wrong], &node[..]].concat();
    let refused = template(data.path(), &arguments);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        said(&refused.stderr).contains("lock time is 0"),
        "{}",
        said(&refused.stderr)
    );

    let nonsense = template(
        data.path(),
        &[&["check", "--coinbase", "xyz"], &node[..]].concat(),
    );
    assert_eq!(nonsense.status.code(), Some(2));
    assert!(said(&nonsense.stderr).contains("--coinbase is no transaction"));
}

/// Nobody is paid, so a test network behind an unusual port needs no name.
#[test]
fn the_network_of_a_node_by_rpc_need_not_be_named() {
    let Some(core) = adit_testkit::BitcoinNode::start_with_rpc() else {
        return;
    };
    core.mine(1);
    let data = tempfile::tempdir().unwrap();
    let node = format!("rpc:{}?cookie={}", core.rpc_address(), core.cookie().display());
    let shown = template(data.path(), &["show", "--json", "--node", &node]);
    assert!(shown.status.success(), "{}", said(&shown.stderr));
    let json: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(json["height"], 2, "{json}");
    // A network that is named has to be the node's.
    let arguments = ["show", "--node", &node, "--set", "network=signet"];
    let refused = template(data.path(), &arguments);
    assert!(
        said(&refused.stderr).contains("on the chain \"regtest\""),
        "{}",
        said(&refused.stderr)
    );
}
