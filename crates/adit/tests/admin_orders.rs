//! Orders over HTTP to a pool that is a process of its own: reading its configuration again, and a notice for a test.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

mod http;
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use http::{Answer, say};
use serde_json::{Value, json};
use support::SOON;
use support::miner::{How, Miner};
use support::process::{Process, adit};

/// A web hook that takes everything; what it was sent.
fn hook() -> (String, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/hook", listener.local_addr().unwrap());
    let (heard, hear) = channel();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut length = 0;
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok() && !line.trim().is_empty() {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let _ = stream.write_all(b"HTTP/1.1 200 .\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            if heard.send(serde_json::from_slice(&body).unwrap()).is_err() {
                return;
            }
        }
    });
    (address, hear)
}

async fn order(site: SocketAddr, path: &str, token: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let request = format!(
        "POST /api/v1/admin/{path} HTTP/1.1\r\nHost: {site}\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    say(site, request.as_bytes()).await
}

fn parsed(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{}", answer.body))
}

fn configure(home: &Path, text: &str) {
    std::fs::write(home.join("adit.toml"), text).unwrap();
}

/// What can change does at once and nobody is dropped; a mistake is told to whoever ordered it, and the old goes on.
#[tokio::test]
async fn a_reload_can_be_ordered_and_says_what_came_of_it() {
    let home = support::folder();
    let (address, heard) = hook();
    let secret = home.path().join("hook.secret");
    std::fs::write(&secret, &address).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    configure(home.path(), "");
    let (file, data) = (home.path().join("adit.toml"), home.path().join("data"));
    let line = format!(
        "pool --config {} --data {} --listen 127.0.0.1:0 --http 127.0.0.1:0 --node embedded:18 --set shares.vardiff=false",
        file.display(),
        data.display()
    );
    let mut pool = Process::start(adit(home.path(), &line));
    let url = pool.url();
    let page = pool.line_with("page  http://");
    let site: SocketAddr = page
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let token = std::fs::read_to_string(data.join("admin.token")).unwrap();
    let token = token.trim();
    let mut miner = Miner::start(&url, How::Extended, "miner").await;
    miner.mine(0..5).await;

    for wrong in [
        "",
        "0000000000000000000000000000000000000000000000000000000000000000",
    ] {
        assert_eq!(order(site, "reload", wrong, &json!({})).await.code, 401);
        assert_eq!(order(site, "notify-test", wrong, &json!({})).await.code, 401);
    }
    let nobody = order(site, "notify-test", token, &json!({})).await;
    assert_eq!(nobody.code, 400, "{}", nobody.body);
    assert!(nobody.body.contains("notify.webhook"), "{}", nobody.body);

    configure(home.path(), "[coinbase]\ntag = 5\n");
    let mistake = order(site, "reload", token, &json!({})).await;
    assert_eq!(mistake.code, 422, "{}", mistake.body);
    assert!(
        mistake.body.contains("adit.toml:2:7") && mistake.body.contains("the old configuration goes on"),
        "{}",
        mistake.body
    );

    configure(
        home.path(),
        &format!(
            "[coinbase]\ntag = \"second tag\"\n[pool]\nworkers = 3\n[notify]\nwebhook = \"{}\"\n",
            secret.display()
        ),
    );
    let reloaded = order(site, "reload", token, &json!({})).await;
    assert_eq!(reloaded.code, 200, "{}", reloaded.body);
    let reloaded = parsed(&reloaded);
    assert_eq!(reloaded["changed"], json!(["coinbase.tag", "notify.webhook"]));
    assert_eq!(reloaded["later"], json!(["pool.workers"]));
    pool.line_with("HTTP: the configuration is read again");
    miner.mine(5..10).await;

    let told = order(site, "notify-test", token, &json!({ "way": "webhook" })).await;
    assert_eq!(told.code, 200, "{}", told.body);
    assert_eq!(
        parsed(&told),
        json!([{ "way": "webhook", "sent": true, "reason": null }])
    );
    assert_eq!(heard.recv_timeout(SOON).unwrap()["kind"], "test");
    let unknown = order(site, "notify-test", token, &json!({ "way": "pigeon" })).await;
    assert_eq!(unknown.code, 400, "{}", unknown.body);
    pool.signal("TERM");
    assert!(pool.ended().await.success());
}

/// A role that reads its configuration once says so.
#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_reload_says_so() {
    let house = support::House::open(&[("http.listen", "127.0.0.1:0")]).await;
    let site = house.pool.http().unwrap();
    let token = std::fs::read_to_string(house.data.path().join("admin.token")).unwrap();
    for path in ["reload", "notify-test"] {
        let answer = order(site, path, token.trim(), &json!({})).await;
        assert_eq!(answer.code, 409, "{path}: {}", answer.body);
    }
    house.close().await;
}
