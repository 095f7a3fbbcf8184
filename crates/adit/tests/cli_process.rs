//! The binary itself: exit statuses, what goes to stdout and what to stderr.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn adit(data: &Path, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adit"));
    command
        .env_clear()
        .env("HOME", data)
        .args(line.split(' ').filter(|part| !part.is_empty()));
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn wrong_use_is_status_2_and_json_when_asked() {
    let data = tempfile::tempdir().unwrap();
    for line in [
        "nonsense",
        "up --nonsense",
        "device",
        "up --until-blocks 0",
        "load --upstream x",
        "probe",
        "probe x",
        "probe stratum2+tcp://192.0.2.1:3333",
    ] {
        let output = adit(data.path(), line);
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{line}");
    }
    let output = adit(data.path(), "up --json --set shares.vardif=false");
    assert_eq!(output.status.code(), Some(2));
    let expected =
        "error: --set shares.vardif: unknown key \"shares.vardif\"\n  help: did you mean shares.vardiff?\n";
    assert_eq!(text(&output.stderr), expected);
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(error["error"]["code"], 2);
    assert_eq!(error["error"]["help"], "did you mean shares.vardiff?");
    let output = adit(data.path(), "up --json --nonsense");
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (output.status.code(), &error["error"]["code"]),
        (Some(2), &Value::from(2))
    );
}

/// What a proxy cannot do together is said before anything is opened, with what to do instead.
#[test]
fn ways_of_a_proxy_that_exclude_each_other_are_refused() {
    let data = tempfile::tempdir().unwrap();
    let v2 = "--upstream stratum2+tcp://127.0.0.1:1";
    let v1 = "--upstream stratum+tcp://127.0.0.1:1";
    for (line, told) in [
        (format!("--mode transparent {v1}"), "--mode aggregate"),
        (format!("--mode transparent {v2},weight=3"), "weight="),
        (format!("--mode transparent {v2},user=me"), "user="),
        (
            format!("--mode transparent --jobs stratum2+tcp://127.0.0.1:2 {v2}"),
            "--mode aggregate",
        ),
        (
            format!("--mode transparent --negotiate --node embedded {v2}"),
            "--negotiate",
        ),
        (
            format!("--jobs stratum2+tcp://127.0.0.1:2 {v1}"),
            "stratum2+tcp://",
        ),
        (
            format!("--jobs stratum2+tcp://127.0.0.1:2 --negotiate {v2}"),
            "--negotiate",
        ),
        (format!("--negotiate --node embedded {v1}"), "adit proxy"),
        (format!("--negotiate --node embedded {v2},weight=3"), "adit proxy"),
        (format!("--negotiate --node embedded {v2},user=me"), "--user"),
        (String::new(), "--upstream"),
    ] {
        let line = format!("proxy --listen 127.0.0.1:0 --http off {line}");
        let output = adit(data.path(), &line);
        assert_eq!(output.status.code(), Some(2), "{line}: {}", text(&output.stderr));
        assert!(
            text(&output.stderr).contains(told),
            "{line}: {}",
            text(&output.stderr)
        );
        assert!(output.stdout.is_empty(), "{line}: {}", text(&output.stdout));
    }
}

#[test]
fn help_names_commands_exit_statuses_and_keys() {
    let data = tempfile::tempdir().unwrap();
    for line in [
        "-h",
        "--help",
        "up --help",
        "pool -h",
        "device --help",
        "keys new --help",
        "load -h",
        "probe --help",
        "--version",
    ] {
        let output = adit(data.path(), line);
        assert_eq!(output.status.code(), Some(0), "{line}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{line}");
    }
    let help = text(&adit(data.path(), "--help").stdout);
    for part in [
        "up",
        "pool",
        "device",
        "keys",
        "ledger",
        "load",
        "Exit status:",
        "shares.work_min",
        "ADIT_LISTEN",
    ] {
        assert!(help.contains(part), "{part}");
    }
    assert!(text(&adit(data.path(), "pool --help").stdout).contains("limits.queue_bytes_max"));
}

/// A server that is not there is another matter than one that breaks the rules.
#[test]
fn an_unreachable_server_is_status_3() {
    let data = tempfile::tempdir().unwrap();
    // Nobody listens where somebody has just stopped to.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    drop(taken);
    let output = adit(
        data.path(),
        &format!("probe stratum2+tcp://127.0.0.1:{port} --json"),
    );
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(error["error"]["code"], 3);
}

#[test]
fn keys_are_made_shown_and_kept() {
    let data = tempfile::tempdir().unwrap();
    let none = adit(data.path(), "keys show");
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none.stderr).contains("help: `adit keys new` makes one"));

    let made = adit(data.path(), "keys new --json");
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let shown: Value = serde_json::from_slice(&adit(data.path(), "keys show --json").stdout).unwrap();
    assert_eq!(made, shown);
    let url = shown["current"]["url"].as_str().unwrap();
    assert_eq!(
        url,
        format!(
            "stratum2+tcp://127.0.0.1:3333/{}",
            shown["current"]["key"].as_str().unwrap()
        )
    );
    assert!(text(&adit(data.path(), "keys show").stdout).contains(url));

    let secret = data.path().join(".adit/keys/authority.secret");
    assert_eq!(
        std::fs::metadata(&secret).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let words = std::fs::read_to_string(&secret).unwrap();
    let again = adit(data.path(), "keys new");
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("--force"), "{}", text(&again.stderr));
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), words);
    assert_eq!(adit(data.path(), "keys new --force").status.code(), Some(0));
    assert_ne!(std::fs::read_to_string(&secret).unwrap(), words);

    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = adit(data.path(), "keys show");
    assert_eq!(open.status.code(), Some(1));
    assert!(text(&open.stderr).contains("chmod 600"), "{}", text(&open.stderr));
}

#[test]
fn no_secret_is_a_setting() {
    // Of the tokens of job negotiation, settings say how many and how long.
    let names = adit::config::keys()
        .iter()
        .map(|key| key.path)
        .filter(|path| !path.starts_with("negotiation."))
        .collect::<Vec<_>>()
        .join(" ");
    for word in ["secret", "password", "private", "token"] {
        assert!(!names.contains(word), "{word}");
    }
}
