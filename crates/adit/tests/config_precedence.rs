//! TOML, then environment, then flags: the later over the earlier, and the defaults under all.

use std::path::{Path, PathBuf};

use adit::config::{Config, HttpListen, NodeSpec, Origin, Settings, Sources, WORK_FLOOR, keys};
use bitcoin::Network;

const MAIN: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
const TEST: &str = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx";

fn sources(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Sources {
    let mut sources = Sources {
        file: Some(("adit.toml".into(), file.into())),
        ..Sources::default()
    };
    sources.environment.push(("HOME".into(), "/home/miner".into()));
    for (name, value) in environment {
        sources.environment.push(((*name).into(), (*value).into()));
    }
    for (key, value) in flags {
        sources.flag(key, *value, format!("--set {key}"));
    }
    sources
}

#[test]
fn flag_over_environment_over_file_over_default() {
    let file = "[shares]\nper_minute = 1\nseen_max = 100\nack_delay_max_ms = 7\n";
    let environment = [("ADIT_SHARES__PER_MINUTE", "2"), ("ADIT_SHARES__SEEN_MAX", "200")];
    let sources = sources(file, &environment, &[("shares.per_minute", "3")]);
    let shares = Settings::load(&sources).unwrap().shares;
    assert_eq!(
        (shares.per_minute, shares.seen_max, shares.ack_delay_max_ms),
        (3, 200, 7)
    );
    assert!(shares.vardiff, "the default of what nobody gave");

    let mut problems = Vec::new();
    let config = Config::gather(&sources, &mut problems);
    assert_eq!(problems, []);
    assert_eq!(
        config.origin("shares.per_minute"),
        Origin::Flag("--set shares.per_minute".into())
    );
    assert_eq!(
        config.origin("shares.seen_max"),
        Origin::Environment("ADIT_SHARES__SEEN_MAX".into())
    );
    let line = Origin::File {
        path: "adit.toml".into(),
        line: 4,
        column: 20,
    };
    assert_eq!(config.origin("shares.ack_delay_max_ms"), line);
    assert_eq!(config.origin("shares.vardiff"), Origin::Default);
}

#[test]
fn the_last_of_two_equal_flags_counts() {
    let settings = Settings::with(&[("pool.workers", "2"), ("pool.workers", "5")]).unwrap();
    assert_eq!(settings.pool.workers, 5);
}

/// Every key in every place: what the table promises, all three readers keep.
#[test]
fn every_key_can_be_given_in_all_three_places() {
    for key in keys() {
        let value = match key.path {
            "payout.address" => "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
            "http.hosts" => "pool.example",
            "coinbase.tag" => "/adit/",
            _ => key.default,
        };
        let (table, name) = key.split();
        let quote = if value.parse::<u64>().is_ok() || matches!(value, "true" | "false") {
            ""
        } else {
            "\""
        };
        let file = match table {
            "" => format!("{name} = {quote}{value}{quote}\n"),
            table => format!("[{table}]\n{name} = {quote}{value}{quote}\n"),
        };
        // All but where each value stands, which is shown to people.
        let load = |sources| Settings::load(&sources).map(|it| Settings { shown: vec![], ..it });
        let in_file = load(sources(&file, &[], &[]));
        let in_environment = load(sources("", &[(&key.environment(), value)], &[]));
        let in_flag = load(sources("", &[], &[(key.path, value)]));
        assert!(in_file.is_ok(), "{file}: {in_file:?}");
        assert_eq!(in_file, in_environment, "{}", key.path);
        assert_eq!(in_file, in_flag, "{}", key.path);
    }
}

#[test]
fn a_port_that_was_asked_for_is_told_from_the_default_one() {
    let default = Settings::with(&[]).unwrap();
    assert!(!default.listen.explicit);
    let asked = Settings::with(&[("listen", "127.0.0.1:3333"), ("http.listen", "127.0.0.1:3380")]).unwrap();
    assert_eq!(asked.listen.addr, default.listen.addr);
    assert!(asked.listen.explicit);
    assert!(matches!((default.http.listen, asked.http.listen),
        (HttpListen::On(a), HttpListen::On(b)) if !a.explicit && b.explicit && a.addr == b.addr));
    assert_eq!(
        Settings::with(&[("http.listen", "off")]).unwrap().http.listen,
        HttpListen::Off
    );
}

#[test]
fn the_data_folder_follows_home_and_xdg() {
    let data = |environment: &[(&str, &str)], flags: &[(&str, &str)]| {
        Settings::load(&sources("", environment, flags)).unwrap().data
    };
    assert_eq!(data(&[], &[]), Path::new("/home/miner/.adit"));
    assert_eq!(data(&[("XDG_DATA_HOME", "/xdg")], &[]), Path::new("/xdg/adit"));
    assert_eq!(
        data(&[("XDG_DATA_HOME", "/xdg")], &[("data", "/pool")]),
        Path::new("/pool")
    );
    assert_eq!(data(&[], &[("data", "~/pool")]), Path::new("/home/miner/pool"));
}

#[test]
fn the_embedded_chain_needs_no_payout_and_has_no_floor() {
    let settings = Settings::with(&[]).unwrap();
    assert_eq!(*settings.node.first(), NodeSpec::Embedded { log2: None });
    assert_eq!(settings.network, Network::Regtest);
    assert!(settings.payout.throw_away && settings.payout.script.is_p2tr());
    assert_eq!(settings.shares.work_min, 1);
    let rare = Settings::with(&[("node", "embedded:40"), ("embedded.seed", "2")]).unwrap();
    assert_eq!(*rare.node.first(), NodeSpec::Embedded { log2: Some(40) });
    assert_ne!(
        rare.payout.script, settings.payout.script,
        "the seed makes the address"
    );
}

#[test]
fn the_network_of_a_node_is_found_out() {
    let load = |node: &str, payout: &str, network: &str| {
        Settings::with(&[("node", node), ("payout.address", payout), ("network", network)])
    };
    let main = load("ipc:/b/node.sock", MAIN, "auto").unwrap();
    assert_eq!(
        (main.network, main.shares.work_min),
        (Network::Bitcoin, WORK_FLOOR)
    );
    assert_eq!(*main.node.first(), NodeSpec::Ipc(PathBuf::from("/b/node.sock")));
    assert!(!main.payout.throw_away);
    assert_eq!(
        load("ipc:/b/signet/node.sock", TEST, "auto").unwrap().network,
        Network::Signet
    );
    assert_eq!(
        load("ipc:/b/testnet4/node.sock", TEST, "auto").unwrap().network,
        Network::Testnet4
    );
    let regtest = load("ipc:/b/regtest/node.sock", "raw(51)", "auto").unwrap();
    assert_eq!((regtest.network, regtest.shares.work_min), (Network::Regtest, 1));
    assert_eq!(
        load("ipc:/x.sock", TEST, "testnet3").unwrap().network,
        Network::Testnet
    );
    assert!(
        load("ipc:/x.sock", TEST, "auto")
            .unwrap_err()
            .message
            .contains("cannot tell the network")
    );
    assert!(
        load("ipc:/b/regtest/node.sock", MAIN, "auto").is_err(),
        "coins would go to nobody"
    );
}

#[test]
fn one_address_is_limited_where_strangers_can_connect() {
    let max = |changes: &[(&str, &str)]| {
        Settings::with(changes)
            .unwrap()
            .limits
            .connections_per_address_max
    };
    assert_eq!(max(&[]), 0, "loopback");
    assert_eq!(max(&[("listen", "0.0.0.0:3333")]), 2048);
    assert_eq!(max(&[("limits.connections_per_address_max", "5")]), 5);
}

#[test]
fn a_device_leaves_one_core_to_the_rest() {
    let device = |threads: &str| Settings::with(&[("device.threads", threads)]).unwrap().device;
    assert_eq!([1, 2, 8].map(|cores| device("0").threads_on(cores)), [1, 1, 7]);
    assert_eq!(device("3").threads_on(1), 3);
}
