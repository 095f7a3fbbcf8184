//! What is wrong is refused with where it stands and what would be right: the exact words.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

use adit::config::{Settings, Sources};
use adit::exit::{Code, Exit};

fn refused(sources: &Sources) -> Exit {
    let exit = Settings::load(sources).unwrap_err();
    assert_eq!(exit.code, Code::Usage);
    exit
}

fn home() -> Sources {
    Sources {
        environment: vec![("HOME".into(), "/h".into())],
        ..Sources::default()
    }
}

fn file(text: &str) -> String {
    refused(&Sources {
        file: Some(("adit.toml".into(), text.into())),
        ..home()
    })
    .to_string()
}

fn flag(key: &str, value: &str) -> String {
    let mut sources = home();
    sources.flag(key, value, format!("--set {key}"));
    refused(&sources).to_string()
}

fn environment(name: &str, value: &str) -> String {
    let mut sources = home();
    sources.environment.push((name.into(), value.into()));
    refused(&sources).to_string()
}

#[test]
fn unknown_keys_are_told_with_the_one_that_was_meant() {
    assert_eq!(
        file("data = \"/d\"\n\n[shares]\nvardif = true\n"),
        "error: adit.toml:4:1: unknown key \"shares.vardif\"\n  help: did you mean shares.vardiff?"
    );
    assert_eq!(
        file("[share]\nvardiff = true\n"),
        "error: adit.toml:1:2: unknown table [share]\n  help: did you mean [shares]?"
    );
    assert_eq!(
        flag("lissten", "127.0.0.1:1"),
        "error: --set lissten: unknown key \"lissten\"\n  help: did you mean listen?"
    );
    assert_eq!(
        environment("ADIT_SHARES__VARDIF", "true"),
        "error: environment ADIT_SHARES__VARDIF: unknown key \"shares.vardif\"\n  \
         help: did you mean ADIT_SHARES__VARDIFF?"
    );
    assert_eq!(
        flag("something.else.entirely", "1"),
        "error: --set something.else.entirely: unknown key \"something.else.entirely\"\n  \
         help: `adit --help` lists every key"
    );
    assert!(flag("shares", "1").contains("shares is a table; its keys are shares.vardiff, "));
    assert!(
        file("shares = 1\n")
            .starts_with("error: adit.toml:1:1: unknown key \"shares\"\n  help: shares is a table")
    );
    assert!(file("[shares.vardiff]\nx = 1\n").contains("shares.vardiff is"));
}

#[test]
fn values_are_told_with_what_would_be_right() {
    assert_eq!(
        file("[shares]\nvardiff = \"no\"\n"),
        "error: adit.toml:2:11: shares.vardiff is \"no\"\n  help: give true or false"
    );
    assert_eq!(
        file("[shares]\nper_minute = 0\n"),
        "error: adit.toml:2:14: shares.per_minute is 0\n  help: give a whole number from 1 to 6000"
    );
    assert_eq!(
        file("[shares]\nper_minute = \"12\"\n"),
        "error: adit.toml:2:14: shares.per_minute is \"12\"\n  help: give a whole number from 1 to 6000"
    );
    assert_eq!(
        file("[shares]\nper_minute = 1.5\n"),
        "error: adit.toml:2:14: shares.per_minute is 1.5\n  help: give a whole number from 1 to 6000"
    );
    assert_eq!(
        environment("ADIT_LIMITS__CHANNELS_MAX", "many"),
        "error: environment ADIT_LIMITS__CHANNELS_MAX: limits.channels_max is \"many\"\n  \
         help: give a whole number from 1 to 65535"
    );
    assert_eq!(
        flag("listen", "3333"),
        "error: --set listen: listen is \"3333\"\n  \
         help: give an IP address and a port, such as 127.0.0.1:3333; port 0 is any free one"
    );
    assert_eq!(
        flag("coinbase.tag", "grüße"),
        "error: --set coinbase.tag: coinbase.tag is \"grüße\"\n  help: give at most 32 printable ASCII characters"
    );
    assert_eq!(
        flag("log.level", "loud"),
        "error: --set log.level: log.level is \"loud\"\n  help: give error, warn, info, debug or trace"
    );
    assert!(flag("coinbase.tag", &"x".repeat(33)).contains("at most 32"));
    assert!(flag("shares.work_min", "0").contains("auto or a whole number from 1 to"));
    assert!(flag("http.hosts", "a b").contains("host names without ports"));
    assert!(flag("device.user", "a\nb").contains("without control characters"));
}

#[test]
fn a_node_that_cannot_be_is_told_from_those_that_can() {
    let forms = "ipc:PATH, rpc:USER:PASSWORD@HOST:PORT, http(s)://USER:PASSWORD@HOST:PORT or tdp:URL";
    for wrong in [
        "",
        "embeded",
        "embedded:",
        "embedded:0",
        "embedded:81",
        "embedded:x",
        "ipc:",
        "ipc",
        "embedded,ipc:/a",
        "ipc:/a,ipc:/a",
    ] {
        assert!(
            flag("node", wrong).contains(forms),
            "{wrong}: {}",
            flag("node", wrong)
        );
    }
    assert!(flag("node", "tdp:pool.example").contains("a template provider's URL behind tdp:"));
    assert!(flag("node", "rpc:localhost").contains("HOST:PORT behind rpc:"));
    assert!(flag("node", "rpc:h:1?zmq=x").contains("zmqpubhashblock"));
    assert!(flag("nodes.blocks", "embedded").contains("a list of ipc:PATH, rpc:"));
    let url = flag("nodes.blocks", "http://user:hunter2%@host:8332");
    assert!(url.contains("%25") && !url.contains("hunter2"), "{url}");
    let secret = flag("node", "rpc:user:hunter2@host");
    assert!(secret.contains("HOST:PORT"), "{secret}");
}

#[test]
fn the_payout_is_required_with_a_node_and_belongs_to_its_network() {
    assert_eq!(
        flag("node", "ipc:/b/regtest/node.sock"),
        "error: payout.address is required with ipc:/b/regtest/node.sock\n  \
         help: give the address or descriptor that is to earn the blocks: --payout ADDRESS"
    );
    let text = "[payout]\naddress = \"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\"\n";
    assert_eq!(
        file(text),
        "error: adit.toml:2:11: payout.address is \"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\"\n  \
         help: this address is not of network regtest: give one that starts with bcrt1, m, n or 2"
    );
    assert_eq!(
        flag("network", "main"),
        "error: --set network: network is \"main\" with the embedded chain\n  \
         help: give regtest or leave it out; other networks need a node (node = \"ipc:PATH\")"
    );
}

#[test]
fn text_that_is_not_toml_is_told_with_its_line() {
    assert!(
        file("[shares]\nvardiff true\n").starts_with("error: adit.toml:2:"),
        "{}",
        file("[shares]\nvardiff true\n")
    );
    let twice = file("[shares]\nvardiff = true\nvardiff = false\n");
    assert!(
        twice.starts_with("error: adit.toml:3:1: not TOML: duplicate key"),
        "{twice}"
    );
    assert!(file(&"#".repeat(2 << 20)).contains("at most 1048576"));
}

#[test]
fn all_mistakes_are_told_at_once() {
    let told = file("lisen = \"x\"\n[shares]\nvardiff = 1\nper_minute = 0\n");
    assert!(
        told.starts_with("error: 3 mistakes in the configuration\n"),
        "{told}"
    );
    for part in [
        "adit.toml:1:1",
        "adit.toml:3:11",
        "adit.toml:4:14",
        "did you mean listen?",
    ] {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    let secret = "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi";
    for key in ["payout.address", "coinbase.tag", "listen"] {
        let told = flag(key, &format!("wpkh({secret})"));
        assert!(!told.contains("143K3QTDL"), "{told}");
        assert!(told.contains("is a secret"), "{told}");
    }
}

/// REQ-EXT-001: experimental extensions stay off every network but regtest, and only what is implemented can be listed.
#[test]
fn extensions_that_cannot_be_spoken_are_refused() {
    let main = "network = \"main\"\nnode = \"ipc:/n/node.sock\"\npayout.address = \
                \"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\"\n";
    let told = file(&format!(
        "{main}[extensions]\nsupported = [\"0x0002\", \"0x4001\"]\n"
    ));
    assert!(
        told.contains("adit.toml:5:") && told.contains("lists 0x4001") && told.contains("not for production"),
        "{told}"
    );
    let told = file(&format!(
        "{main}[extensions]\nexperimental = true\nwanted = \"0x7fff\"\n"
    ));
    assert!(
        told.contains("experimental is true outside regtest") && told.contains("lists 0x7fff"),
        "{told}"
    );
    assert!(flag("extensions.required", "0x4001").contains("extensions.experimental = true"));
    assert!(flag("extensions.supported", "0x0001").contains("spoken in any case"));
    assert!(flag("extensions.supported", "3").contains("it implements 0x0002"));
    for wrong in ["0x8002", "0", "two", "0x0002;3"] {
        assert!(
            flag("extensions.wanted", wrong).contains("ids of extensions"),
            "{wrong}"
        );
    }
    let regtest = [
        ("extensions.experimental", "true"),
        ("extensions.supported", "0x4001, 2,2"),
    ];
    let settings = Settings::with(&regtest).unwrap();
    assert_eq!(settings.extensions.supported.ids(), [2, 0x4001]);
}

#[test]
fn places_to_drain_to_are_read() {
    let place = |text: &str| {
        let settings = Settings::with(&[("pool.drain_to", text)]).unwrap();
        settings
            .pool
            .drain_to
            .0
            .map(|place| (place.to_string(), place.host, place.port))
    };
    let some = |shown: &str, host: &str, port| Some((shown.to_owned(), host.to_owned(), port));
    assert_eq!(place(""), None);
    assert_eq!(place("same"), some("same", "", 0));
    assert_eq!(place("b.example"), some("b.example", "b.example", 0));
    assert_eq!(place("b.example:5"), some("b.example:5", "b.example", 5));
    assert_eq!(place(":5"), some(":5", "", 5));
    assert_eq!(place("::1"), some("::1", "::1", 0));
    assert_eq!(place("[::1]:5"), some("[::1]:5", "::1", 5));
    for wrong in [
        "b:0", "b:", ":", "a b", "b:5:6", "[b]:5", "[::1", "[::1]5", "b/5", "b:65536",
    ] {
        assert!(flag("pool.drain_to", wrong).contains("HOST:PORT"), "{wrong}");
    }
}
