//! Notices on their way to real servers of this test: HTTP and SMTP on loopback.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use adit::config::Settings;
use adit::config::table::NotifyKeys;
use adit::tell::{Fail, Notice, Teller, Way};
use adit_net::Clock;
use serde_json::Value;
use support::SOON;
use support::miner::{How, Miner};
use support::process::{Process, run};

/// What a server was sent: where to, its headers, and what.
#[derive(Debug)]
struct Heard {
    path: String,
    head: String,
    body: String,
}

impl Heard {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Answers with these statuses, one a request, and the last for ever; 0 is no answer at all.
fn http(statuses: &'static [u16]) -> (String, Receiver<Heard>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (heard, hear) = channel();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        let mut left = statuses;
        while let Ok((stream, _)) = listener.accept() {
            let (status, others) = left.split_first().unwrap();
            if !others.is_empty() {
                left = others;
            }
            match status {
                0 => held.push(stream),
                status => drop(request(stream, *status, &heard)),
            }
        }
    });
    (address, hear)
}

fn request(stream: TcpStream, status: u16, heard: &Sender<Heard>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut head = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let path = head.split(' ').nth(1)?.to_owned();
    let body = String::from_utf8(body).ok()?;
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status} .\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    heard.send(Heard { path, head, body }).ok()
}

/// A mail server that takes everything; what it was sent.
fn smtp() -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("smtp://{}", listener.local_addr().unwrap());
    let (heard, hear) = channel();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let _ = converse(stream, &heard);
        }
    });
    (address, hear)
}

fn converse(mut stream: TcpStream, heard: &Sender<String>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    stream.write_all(b"220 here\r\n")?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        match line.split_whitespace().next() {
            Some("DATA") => {
                stream.write_all(b"354 go on\r\n")?;
                let mut mail = String::new();
                while !mail.ends_with("\r\n.\r\n") {
                    reader.read_line(&mut mail)?;
                }
                stream.write_all(b"250 taken\r\n")?;
                let _ = heard.send(mail);
            }
            Some("QUIT") => return stream.write_all(b"221 bye\r\n"),
            _ => stream.write_all(b"250 yes\r\n")?,
        }
    }
}

/// A file that nobody else can read.
fn secret(home: &Path, name: &str, text: &str) -> String {
    let path = home.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn keys(changes: &[(&str, &str)]) -> NotifyKeys {
    Settings::with(changes).unwrap().notify
}

fn hook(home: &Path, url: &str) -> NotifyKeys {
    keys(&[("notify.webhook", &secret(home, "hook", url))])
}

fn notice(clock: &Clock) -> Notice {
    Notice::test(clock.now().0)
}

#[test]
fn each_way_says_it_in_its_own_words() {
    let home = tempfile::tempdir().unwrap();
    let (url, heard) = http(&[200]);
    let (mail, mails) = smtp();
    let file = |name: &str, text: &str| secret(home.path(), name, text);
    let keys = keys(&[
        (
            "notify.webhook",
            &file("hook", &format!("{url}/hook/hunter2\ntoken1\n")),
        ),
        ("notify.ntfy", &file("ntfy", &format!("{url}/a/topic\ntoken2\n"))),
        ("notify.telegram", &file("telegram", "123:secret\n-42\n")),
        ("notify.telegram_api", &url),
        ("notify.mail", &file("mail", &mail)),
        ("notify.mail_from", "adit@example.org"),
        ("notify.mail_to", "You <you@example.org>"),
    ]);
    let ways = Way::all(&keys).unwrap();
    let names: Vec<&str> = ways.iter().map(Way::name).collect();
    assert_eq!(names, ["webhook", "ntfy", "telegram", "mail"]);
    let notice = notice(&Clock::system());
    for way in &ways {
        assert_eq!(way.send(&notice), Ok(()), "{}", way.name());
    }
    let next = || heard.recv_timeout(SOON).unwrap();
    let hook = next();
    assert_eq!(hook.path, "/hook/hunter2");
    assert!(
        hook.head
            .to_ascii_lowercase()
            .contains("authorization: bearer token1"),
        "{}",
        hook.head
    );
    assert_eq!(
        (&hook.json()["kind"], &hook.json()["title"]),
        (&"test".into(), &"A test by adit".into())
    );
    assert_eq!(hook.json()["at_us"], notice.at_us);
    let ntfy = next();
    assert_eq!(
        (ntfy.path.as_str(), &ntfy.json()["topic"]),
        ("/a", &"topic".into())
    );
    assert_eq!(ntfy.json()["message"], notice.text);
    let telegram = next();
    assert_eq!(telegram.path, "/bot123:secret/sendMessage");
    assert_eq!(telegram.json()["chat_id"], "-42");
    assert!(
        telegram.json()["text"]
            .as_str()
            .unwrap()
            .starts_with("A test by adit\n")
    );
    let mail = mails.recv_timeout(SOON).unwrap();
    for part in [
        "From: adit@example.org",
        "you@example.org",
        "Subject: [adit] A test by adit",
    ] {
        assert!(mail.contains(part), "{mail}");
    }
}

/// What fails for now is tried again until it arrives, once; what fails for ever is given up, and the next one goes.
#[test]
fn a_notice_is_tried_again_until_it_arrives() {
    let home = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let (url, heard) = http(&[503, 429, 200, 404, 200]);
    let teller = Teller::start(Way::all(&hook(home.path(), &url)).unwrap(), clock.clone()).unwrap();
    let mut first = notice(&clock);
    first.title = "first".into();
    teller.tell(first.clone());
    let titles = |count: usize| -> Vec<Value> {
        let next = || heard.recv_timeout(SOON).unwrap().json()["title"].clone();
        (0..count).map(|_| next()).collect()
    };
    assert_eq!(titles(3), ["first", "first", "first"]);
    let mut second = first.clone();
    second.title = "second".into();
    let mut third = first;
    third.title = "third".into();
    teller.tell(second);
    teller.tell(third);
    assert_eq!(titles(2), ["second", "third"]);
    assert!(
        heard.recv_timeout(Duration::from_secs(2)).is_err(),
        "nothing is told twice"
    );
}

/// A server that takes connections and never answers: whoever tells does not notice.
#[test]
fn a_server_that_hangs_holds_nobody_up() {
    let home = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let (url, _heard) = http(&[0]);
    let ways = Way::all(&hook(home.path(), &url)).unwrap();
    let attempt = clock.now();
    assert_eq!(
        ways[0].send(&notice(&clock)),
        Err(Fail::Later("no answer in 10 s".into()))
    );
    assert!(clock.now() - attempt < SOON);
    let teller = Teller::start(ways, clock.clone()).unwrap();
    let start = clock.now();
    for _ in 0..10_000 {
        teller.tell(notice(&clock));
    }
    drop(teller);
    assert!(clock.now() - start < Duration::from_secs(5));
}

/// Nothing that is said of a failure holds the secret.
#[test]
fn failures_do_not_tell_secrets() {
    let home = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (forbids, _heard) = http(&[403]);
    for url in [format!("http://{free}/hunter2"), format!("{forbids}/hunter2")] {
        let ways = Way::all(&hook(home.path(), &url)).unwrap();
        let failed = ways[0].send(&notice(&Clock::system())).unwrap_err();
        assert!(!format!("{failed:?}").contains("hunter2"), "{failed:?}");
    }
    for wrong in ["ftp://hunter2", "hunter2"] {
        let Err(exit) = Way::all(&hook(home.path(), wrong)) else {
            panic!("{wrong} is no URL");
        };
        assert!(
            exit.to_string().contains("notify.webhook") && !exit.to_string().contains("hunter2"),
            "{exit}"
        );
    }
}

#[test]
fn a_test_says_of_each_way_whether_it_works() {
    let home = tempfile::tempdir().unwrap();
    let (url, heard) = http(&[200, 500]);
    let file = secret(home.path(), "hook", &format!("{url}/hunter2"));
    let line = format!("notify-test --set notify.webhook={file}");
    let well = run(home.path(), &line);
    let said = String::from_utf8(well.stdout).unwrap();
    assert!(well.status.success() && said.contains("webhook  sent"), "{said}");
    assert_eq!(heard.recv_timeout(SOON).unwrap().json()["kind"], "test");
    let ill = run(home.path(), &line);
    let said = String::from_utf8(ill.stdout).unwrap() + &String::from_utf8(ill.stderr).unwrap();
    assert_eq!(ill.status.code(), Some(1), "{said}");
    assert!(
        said.contains("webhook  failed: it answers with status 500") && !said.contains("hunter2"),
        "{said}"
    );
    let none = run(home.path(), "notify-test");
    assert_eq!(none.status.code(), Some(2));
    assert!(String::from_utf8(none.stderr).unwrap().contains("notify.webhook"));
}

/// From a share to a telephone: the block of a real miner on a real pool.
#[tokio::test]
async fn a_found_block_is_told() {
    let home = support::folder();
    let (url, heard) = http(&[200]);
    let file = secret(home.path(), "hook", &format!("{url}/hook"));
    let pool = Process::pool(
        home.path(),
        &format!("--node embedded:4 --set notify.webhook={file}"),
    );
    let mut miner = Miner::start(&pool.url(), How::Extended, "alice").await;
    let mut told = None;
    for batch in 0..60 {
        // Every sixteenth hash is a block.
        miner.submit(batch * 16..batch * 16 + 16).await;
        miner.settle().await;
        told = heard.recv_timeout(Duration::from_millis(500)).ok();
        if told.is_some() {
            break;
        }
    }
    let told = told.expect("a block in time").json();
    assert_eq!((&told["kind"], &told["urgent"]), (&"block".into(), &false.into()));
    assert!(told["title"].as_str().unwrap().ends_with(" found"), "{told}");
    assert!(
        told["text"].as_str().unwrap().starts_with("alice found "),
        "{told}"
    );
}
