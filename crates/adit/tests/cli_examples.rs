//! Every command line that the manual names is understood, and says what it should.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

use adit::cli::{Channel, Cli, Command, KeysAction, LedgerAction};
use adit::config::{HttpListen, NodeSpec, ProxyMode, Settings};
use clap::{CommandFactory, Parser};

const URL: &str = "stratum2+tcp://127.0.0.1:3333/9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";

fn parse(line: &str) -> Command {
    let line = line.replace("URL", URL);
    Cli::try_parse_from(line.split(' '))
        .unwrap_or_else(|error| panic!("{line}: {error}"))
        .into_command()
}

fn settings(line: &str) -> Settings {
    parse(line).settings(vec![("HOME".into(), "/h".into())]).unwrap()
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn nothing_is_up() {
    assert!(matches!(parse("adit"), Command::Up(args) if args.until_blocks.is_none() && !args.json));
    assert!(matches!(parse("adit --json"), Command::Up(args) if args.json));
}

#[test]
fn up_takes_every_flag() {
    let line = "adit up --data /d --listen 127.0.0.1:1 --http off --node embedded:40 --threads 3 --until-blocks 3 --json \
                --set shares.vardiff=false --set shares.work_min=16 --set limits.shares_per_second=0";
    let Command::Up(args) = parse(line) else {
        panic!("not up")
    };
    assert_eq!((args.until_blocks, args.json), (Some(3), true));
    let settings = settings(line);
    assert_eq!(settings.data.to_str(), Some("/d"));
    assert!(settings.listen.explicit && settings.listen.addr.port() == 1);
    assert_eq!(settings.http.listen, HttpListen::Off);
    assert_eq!(*settings.node.first(), NodeSpec::Embedded { log2: Some(40) });
    assert_eq!(settings.device.threads, 3);
    assert!(!settings.shares.vardiff);
    assert_eq!(
        (settings.shares.work_min, settings.limits.shares_per_second),
        (16, 0)
    );
}

#[test]
fn proxy_takes_a_mode() {
    let line = "adit proxy --mode transparent --upstream URL --upstream URL --listen 127.0.0.1:0";
    assert_eq!(settings(line).proxy.mode, ProxyMode::Transparent);
    assert_eq!(
        settings("adit proxy --upstream URL").proxy.mode,
        ProxyMode::Aggregate
    );
    let wrong = parse("adit proxy --mode both --upstream URL").settings(vec![("HOME".into(), "/h".into())]);
    let exit = wrong.unwrap_err();
    assert!(
        format!("{exit:?}").contains("aggregate or transparent"),
        "{exit:?}"
    );
}

#[test]
fn probe_takes_a_url_and_bounds() {
    let Command::Probe(args) =
        parse("adit probe URL --user bob --seconds 30 --shares 0 --hashes 1000 --json")
    else {
        panic!("not probe")
    };
    assert!(args.json && args.markdown.is_none() && args.url.to_string() == URL);
    let options = args.options;
    assert_eq!((options.user.as_str(), options.seconds), ("bob", 30));
    assert_eq!((options.shares, options.hashes), (0, 1000));
    assert!(Cli::try_parse_from(["adit", "probe", URL, "--json", "--markdown", "pool"]).is_err());
    assert!(Cli::try_parse_from(["adit", "probe", URL, "--connections", "0"]).is_err());
}

#[test]
fn pool_takes_the_common_keys() {
    let settings = settings(
        "adit pool --data /d --listen 0.0.0.0:3333 --http 127.0.0.1:0 --node ipc:/b/regtest/node.sock --tag /x/ \
         --payout bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080 --workers 4 --set pool.front_end=7",
    );
    assert_eq!(
        *settings.node.first(),
        NodeSpec::Ipc("/b/regtest/node.sock".into())
    );
    assert_eq!((settings.pool.workers, settings.pool.front_end), (4, 7));
    assert_eq!(settings.coinbase.tag.as_bytes(), b"/x/");
    assert!(settings.payout.script.is_p2wpkh());
}

#[test]
fn a_file_is_read_and_one_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adit.toml");
    std::fs::write(&path, "listen = \"127.0.0.1:9\"\n[shares]\nper_minute = 5\n").unwrap();
    let line = format!("adit pool --config {}", path.display());
    assert_eq!(settings(&line).shares.per_minute, 5);
    assert_eq!(
        settings(&format!("{line} --listen 127.0.0.1:8"))
            .listen
            .addr
            .port(),
        8
    );
    let by_environment = vec![
        ("HOME".into(), "/h".into()),
        ("ADIT_CONFIG".into(), path.display().to_string()),
    ];
    assert_eq!(
        parse("adit pool")
            .settings(by_environment)
            .unwrap()
            .shares
            .per_minute,
        5
    );
    let missing = parse("adit pool --config /nowhere.toml")
        .settings(Vec::new())
        .unwrap_err();
    assert!(missing.message.contains("/nowhere.toml"), "{missing}");
    let bare = parse("adit pool --set listen").settings(vec![]).unwrap_err();
    assert!(bare.hint.contains("KEY=VALUE"), "{bare}");
}

#[test]
fn device_and_load_name_their_pool() {
    let line =
        "adit device --upstream URL --user bob.rig --threads 2 --channel extended --until-shares 5 --json";
    let Command::Device(args) = parse(line) else {
        panic!("not device")
    };
    assert_eq!(
        (args.channel, args.until_shares, args.json),
        (Channel::Extended, Some(5), true)
    );
    let device = settings(line).device;
    assert_eq!((device.user.as_str(), device.threads), ("bob.rig", 2));
    assert!(
        matches!(parse("adit device --upstream URL"), Command::Device(args) if args.channel == Channel::Standard)
    );

    let line =
        "adit load --upstream URL --connections 192 --seconds 10 --channel standard --window 64 --json";
    let Command::Load(args) = parse(line) else {
        panic!("not load")
    };
    assert_eq!(
        (args.connections, args.seconds, args.window, args.json),
        (192, 10, Some(64), true)
    );
    assert!(
        Cli::try_parse_from(["adit", "load", "--upstream", URL]).is_err(),
        "how many, how long?"
    );
    assert!(Cli::try_parse_from(["adit", "device", "--upstream", "http://x"]).is_err());
}

#[test]
fn keys_and_ledger_have_their_actions() {
    assert!(
        matches!(parse("adit keys new --data /d"), Command::Keys(args) if args.action == KeysAction::New { force: false })
    );
    assert!(
        matches!(parse("adit keys show --json"), Command::Keys(args) if matches!(args.action, KeysAction::Show { qr: None, host: None }) && args.json)
    );
    for (line, action) in [
        ("adit ledger verify --data /d --json", LedgerAction::Verify),
        (
            "adit ledger top --data /d",
            LedgerAction::Top {
                count: 20,
                workers: 10,
            },
        ),
        ("adit ledger export --data /d --json", LedgerAction::Export),
    ] {
        assert!(
            matches!(parse(line), Command::Ledger(args) if args.action == action),
            "{line}"
        );
        assert_eq!(settings(line).data.to_str(), Some("/d"));
    }
}

/// "Every command takes --set table.key=value for any configuration key."
#[test]
fn every_command_takes_set() {
    for line in [
        "adit",
        "adit up",
        "adit pool",
        "adit device --upstream URL",
        "adit keys show",
        "adit keys new",
        "adit ledger verify",
        "adit ledger top",
        "adit ledger export",
        "adit load --upstream URL --connections 1 --seconds 1 --channel standard",
    ] {
        assert_eq!(
            settings(&format!("{line} --set shares.per_minute=77"))
                .shares
                .per_minute,
            77,
            "{line}"
        );
    }
}
