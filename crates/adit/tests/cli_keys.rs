//! `adit keys`: an authority on another machine, from its making to a server that runs without it; and what is said of
//! keys that are none.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use adit_net::Clock;
use serde_json::Value;

mod support;

use support::process::{Process, adit, run};

const CURRENT: &str = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";
const DRAFT: &str = "u95GEReVMjK6k5YqiSFNqqTnKU4ypU2Wm8awa6tmbmDmk1bWt";

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn ok(output: &Output) -> &str {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn json(output: &Output) -> Value {
    serde_json::from_str(ok(output)).unwrap()
}

/// The command fails with status 1, and its message has these words.
fn fails(output: &Output, words: &[&str]) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} in {said}");
    }
}

/// Two machines: one with the authority, one with the server.
struct Machines {
    home: tempfile::TempDir,
}

impl Machines {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let machines = Self { home };
        ok(&machines.run("keys authority --out vault"));
        ok(&machines.run("keys request --data data --out server-keys.toml"));
        machines
    }

    fn run(&self, line: &str) -> Output {
        adit(self.home.path(), line)
            .current_dir(self.home.path())
            .output()
            .unwrap()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.home.path().join(name)
    }

    fn issue(&self, days: u32, more: &str) -> String {
        let line =
            format!("keys issue --authority vault --server-keys server-keys.toml --days {days} {more}");
        ok(&self.run(&line)).to_owned()
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The whole way: authority there, request here, certificates there, installed here, and a pool that mines without any
/// authority secret in its data folder.
#[tokio::test]
async fn a_pool_runs_while_its_authority_is_elsewhere() {
    let machines = Machines::new();
    for file in ["authority.secret", "authority-draft2022.secret"] {
        assert_eq!(mode(&machines.path("vault").join(file)), 0o600);
    }
    fails(
        &machines.run("keys authority --out vault"),
        &["exists", "never overwritten"],
    );
    fs::write(machines.path("certificates.toml"), machines.issue(30, "")).unwrap();
    let installed = json(&machines.run("keys install certificates.toml --data data --json"));
    let now = i64::try_from(Clock::system().unix_s()).unwrap();
    for suite in ["current", "draft2022"] {
        let left = installed[suite]["not_valid_after_s"].as_i64().unwrap() - now;
        assert!((29 * 86_400..=30 * 86_400).contains(&left), "{left}");
    }
    let mut names: Vec<_> = fs::read_dir(machines.path("data/keys"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["certificates.toml", "server-draft2022.secret", "server.secret"]
    );

    // What devices are told is the authority's key, though its secret is elsewhere.
    let shown = json(&machines.run("keys show --data data --json"));
    let vault = json(&machines.run("keys inspect certificates.toml --data data --json"));
    for suite in ["current", "draft2022"] {
        assert_eq!(shown[suite]["key"], vault[suite]["authority"]);
        assert_eq!(vault[suite]["good"], true, "{vault}");
    }

    let pool = Process::pool(machines.home.path(), "--node embedded:40");
    let url = pool.url();
    assert_eq!(
        url.key.unwrap().to_string(),
        shown["current"]["key"].as_str().unwrap()
    );
    // Old habits: a reload must not end it.
    pool.signal("HUP");
    pool.line_with("SIGHUP");
    let device = format!("device --upstream {url} --until-shares 3 --threads 1 --json");
    let report = tokio::task::spawn_blocking({
        let home = machines.home.path().to_owned();
        move || run(&home, &device)
    });
    let report = json(
        &tokio::time::timeout(support::SOON, report)
            .await
            .unwrap()
            .unwrap(),
    );
    assert_eq!(report["shares_accepted"], 3, "{report}");
    assert!(
        !machines.path("data/keys/authority.secret").exists(),
        "and none was made"
    );
}

/// What does not fit is not installed, and the message says where it went wrong.
#[test]
fn certificates_that_do_not_fit_are_not_installed() {
    let machines = Machines::new();
    let good = machines.issue(30, "");
    let install = |text: &str| {
        fs::write(machines.path("offered"), text).unwrap();
        machines.run("keys install offered --data data")
    };
    let line_with = |name: &str| good.lines().find(|line| line.starts_with(name)).unwrap();
    let certificate = line_with("certificate");
    // The last hex digit before the closing quote is of the signature.
    let (head, tail) = certificate.split_at(certificate.len() - 2);
    let flipped = format!(
        "{head}{}",
        tail.replace(|c: char| c != '"', if tail.starts_with('0') { "1" } else { "0" })
    );
    for (offered, words) in [
        (
            good.replace(certificate, &flipped),
            &["was changed on the way"][..],
        ),
        (good.replace("[draft2022]", "[draft2023]"), &["draft2023"]),
        (
            good.lines().take(12).collect::<Vec<_>>().join("\n"),
            &["carry the file over whole"],
        ),
        (
            good.replace(certificate, "certificate = \"00\""),
            &["[current]", "not 74 bytes"],
        ),
        (
            good.replace(line_with("authority"), &format!("authority = \"{DRAFT}\"")),
            &["[current]", "Ed25519"],
        ),
        (
            good.replace(
                line_with("server_key"),
                &format!("server_key = \"{}05\"", "00".repeat(31)),
            ),
            &["no point"],
        ),
        (
            machines.issue(1, "--not-before 2020-01-01"),
            &["s after", "adit keys issue"],
        ),
        (
            machines.issue(1, "--not-before 2100-01-01"),
            &["s before", "2100-01-01T00:00:00Z"],
        ),
    ] {
        fails(&install(&offered), words);
        assert!(!machines.path("data/keys/certificates.toml").exists());
    }
    // Another server's keys.
    ok(&machines.run("keys request --data other --out other-keys.toml"));
    let other = machines.run("keys issue --authority vault --server-keys other-keys.toml --days 3");
    fails(&install(ok(&other)), &["another server key", "adit keys request"]);
    ok(&install(&good));

    // Another authority needs --force: devices would have to be told.
    ok(&machines.run("keys authority --out vault2"));
    let line = "keys issue --authority vault2 --data data --days 3 --out second.toml";
    ok(&machines.run(line));
    fails(&machines.run(line), &["second.toml exists"]);
    fails(
        &machines.run("keys install second.toml --data data"),
        &["--force", "will refuse this pool"],
    );
    ok(&machines.run("keys install second.toml --data data --force"));
    // And `keys new` would replace the installed ones.
    fails(
        &machines.run("keys new --data data"),
        &["certificates.toml exists", "--force"],
    );
    ok(&machines.run("keys new --data data --force"));
    assert!(!machines.path("data/keys/certificates.toml").exists());
}

/// REQ-SEC-019, REQ-SEC-035: both text forms, in a URL and alone; every mistake in either is named.
#[test]
fn keys_are_told_apart_and_mistakes_are_named() {
    let home = tempfile::tempdir().unwrap();
    let inspect = |what: &str| run(home.path(), &format!("keys inspect {what} --json"));
    for (what, is, suite) in [
        (CURRENT.to_owned(), "authority_key", "current"),
        (DRAFT.to_owned(), "authority_key", "draft2022"),
        (
            format!("stratum2+tcp://pool.example:3336/{CURRENT}"),
            "url",
            "current",
        ),
        (format!("stratum2+tcp://[fd00::7]/{DRAFT}"), "url", "draft2022"),
    ] {
        let found = json(&inspect(&what));
        assert_eq!(
            (&found["is"], &found["suite"]),
            (&is.into(), &suite.into()),
            "{found}"
        );
    }
    let ipv6 = json(&inspect(&format!("stratum2+tcp://[fd00::7]/{DRAFT}")));
    assert_eq!((&ipv6["host"], &ipv6["port"]), (&"fd00::7".into(), &3333.into()));

    let check = |payload: &[u8]| bs58::encode(payload).with_check().into_string();
    let mut off_curve = [0; 34];
    (off_curve[0], off_curve[33]) = (1, 5);
    for (wrong, words) in [
        // Checksum: the last character of both forms.
        (format!("{}i", &CURRENT[..CURRENT.len() - 1]), "checksum"),
        (format!("{}u", &DRAFT[..DRAFT.len() - 1]), "checksum"),
        // Length.
        (check(&[1; 33]), "33 bytes"),
        (check(&[1; 35]), "35 bytes"),
        (CURRENT[..40].to_owned(), "checksum"),
        ("9".repeat(80), "longer than any key"),
        // Version bytes.
        (check(&[2; 34]), "starts with 01 00"),
        // Points: of secp256k1 and of Ed25519.
        (check(&off_curve), "secp256k1"),
        (check(&[2; 32]), "Ed25519"),
        // Characters.
        (format!("0{}", &CURRENT[1..]), "not base58"),
    ] {
        fails(&inspect(&wrong), &[words]);
        fails(
            &inspect(&format!("stratum2+tcp://pool.example/{wrong}")),
            &[words],
        );
        // The command line of a device refuses it with the same words, before anything is dialled.
        let device = run(
            home.path(),
            &format!("device --upstream stratum2+tcp://pool.example/{wrong}"),
        );
        let said = text(&device.stderr);
        assert!(
            device.status.code() == Some(2) && said.contains(words),
            "{words}: {said}"
        );
    }
    for (wrong, words) in [
        ("stratum2+tcp://pool.example:3333", "holds no key"),
        ("stratum2+tcp://fd00::7/x", "brackets"),
        ("stratum2+tcp://[fd00::7/x", "closing bracket"),
        ("stratum2+tcp://[nonsense]/x", "not an IPv6 address"),
        ("no-such-file", "neither a file nor a URL"),
    ] {
        fails(&inspect(wrong), &[words]);
    }
}

#[test]
fn inspect_says_what_a_certificate_is_worth_and_shows_no_secret() {
    let machines = Machines::new();
    fs::write(machines.path("good"), machines.issue(2, "")).unwrap();
    fs::write(
        machines.path("old"),
        machines.issue(1, "--not-before 2021-02-03T04:05:06Z"),
    )
    .unwrap();
    let inspect = |what: &str| json(&machines.run(&format!("keys inspect {what} --data data --json")));
    let good = inspect("good");
    let old = inspect("old");
    let signer = good["draft2022"]["authority"].as_str().unwrap().to_owned();
    for suite in ["current", "draft2022"] {
        let (good, old) = (&good[suite], &old[suite]);
        assert_eq!(
            (&good["signed"], &good["trusted"], &good["good"]),
            (&true.into(), &Value::Null, &true.into())
        );
        let left = good["seconds_left"].as_i64().unwrap();
        assert!(
            (2 * 86_400 - 3_700..=2 * 86_400 - 3_600).contains(&left),
            "{left}"
        );
        assert_eq!(
            (&old["signed"], &old["in_time"], &old["good"]),
            (&true.into(), &false.into(), &false.into())
        );
        assert_eq!(old["valid_from"], "2021-02-03T04:05:06Z");
        assert_eq!(old["not_valid_after"], "2021-02-04T04:05:06Z");
    }
    let trusted = inspect(&format!("good --authority {signer}"));
    assert_eq!(trusted["draft2022"]["trusted"], true);
    let other = inspect(&format!("good --authority {DRAFT}"));
    assert_eq!(
        (&other["draft2022"]["trusted"], &other["draft2022"]["good"]),
        (&false.into(), &false.into())
    );

    let request = inspect("server-keys.toml");
    assert_eq!(request["is"], "server_keys");
    assert_eq!(request["current"], good["current"]["server_key"]);
    let secret = inspect("vault/authority.secret");
    assert_eq!(secret, serde_json::json!({ "is": "secret_file" }));
    // Not even one that others can read already, or that is damaged.
    let secret = fs::read_to_string(machines.path("vault/authority.secret")).unwrap();
    for (copy, status) in [
        (secret.clone(), 0),
        (secret[..30].to_owned(), 1),
        (format!("x{secret}"), 1),
    ] {
        fs::write(machines.path("copy"), copy).unwrap();
        let output = machines.run("keys inspect copy --data data");
        assert_eq!(output.status.code(), Some(status));
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(
            !said.contains(&secret[..8]) && !said.contains(&secret[20..28]),
            "{said}"
        );
    }
    fs::write(
        machines.path("address"),
        format!("stratum2+tcp://pool.example/{CURRENT}\n"),
    )
    .unwrap();
    assert_eq!(inspect("address")["key"], CURRENT);
    let certificate = fs::read_to_string(machines.path("old")).unwrap();
    let hex = certificate
        .lines()
        .find_map(|line| line.strip_prefix("certificate = "))
        .unwrap();
    assert_eq!(inspect(hex.trim_matches('"'))["valid_from_s"], 1_612_325_106);

    let people = machines.run("keys inspect old --data data");
    let said = ok(&people);
    assert!(
        said.contains("NOT GOOD") && said.contains("ended ") && said.contains("has signed it"),
        "{said}"
    );
}

/// A device whose clock, or whose server, is off is told by how much and which of the two to look at.
#[tokio::test]
async fn a_device_names_the_skew() {
    use adit_noise::{Authority, AuthorityKeypair, ServerIdentity};
    let authority = || AuthorityKeypair::from_secret([7; 32]).unwrap();
    let now = u32::try_from(Clock::system().unix_s()).unwrap();
    let hour = 3_600;
    for (from, to, words) in [
        (
            now - 10 * hour,
            now - 5 * hour,
            ["valid until", "s after: check the clock", "renew"],
        ),
        (
            now + 5 * hour,
            now + 10 * hour,
            ["valid from", "s before: check the clock", "our clock"],
        ),
    ] {
        let key = authority().public();
        let signer = Authority::new(authority(), 0);
        let probe = ServerIdentity::issued_by(&signer, [9; 32], 0, [0; 32]).unwrap();
        let certificate = signer.issue_between(probe.public_key(), from, to, [0; 32]);
        let identity = ServerIdentity::with_certificate([9; 32], certificate).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                answer(&mut stream, &identity).await;
            }
        });
        let home = tempfile::tempdir().unwrap();
        let line = format!("device --upstream stratum2+tcp://127.0.0.1:{port}/{key} --threads 1");
        let said = tokio::task::spawn_blocking(move || {
            let device = Process::start(adit(home.path(), &line));
            device.line_with("check the clock")
        });
        let said = tokio::time::timeout(Duration::from_secs(60), said)
            .await
            .unwrap()
            .unwrap();
        for word in words {
            assert!(said.contains(word), "{word:?} in {said}");
        }
        let skew: i64 = said
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .find(|seconds| (17_000..=19_000).contains(seconds))
            .unwrap_or_else(|| panic!("five hours in seconds: {said}"));
        assert!((skew - 18_000).abs() < 120, "{said}");
        server.abort();
    }
}

/// One answer to a handshake, then nothing more.
async fn answer(stream: &mut tokio::net::TcpStream, identity: &adit_noise::ServerIdentity) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut act1 = [0; 64];
    stream.read_exact(&mut act1).await.unwrap();
    let (act2, _) = adit_noise::respond(identity, &act1, adit_net::random::bytes()).unwrap();
    stream.write_all(&act2).await.unwrap();
    // Until the other side, which has heard enough, hangs up.
    let _ = stream.read(&mut act1).await;
}

#[test]
fn a_code_for_a_camera_is_drawn_when_asked_for() {
    let machines = Machines::new();
    ok(&machines.run("keys new --data data"));
    let drawn = |line: &str| {
        let output = machines.run(line);
        ok(&output).chars().filter(|c| "▀▄█".contains(*c)).count()
    };
    assert_eq!(
        drawn("keys show --data data"),
        0,
        "a pipe is no camera's business"
    );
    assert!(drawn("keys show --data data --qr") > 100);
    assert!(drawn("keys show --data data --qr=draft2022 --host pool.example") > 100);
    fails_with_usage(&machines.run("keys show --data data --host a/b"));
}

fn fails_with_usage(output: &Output) {
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}
