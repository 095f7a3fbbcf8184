//! The same lines behind TLS, on a port of their own.

use std::path::PathBuf;
use std::sync::Arc;

use adit::config::Settings;
use adit::pool::Pool;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::support::{House, SOON};

/// A pair for tests alone: who has it can pretend to be `localhost`.
fn file(name: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/stratum_v1/tls", name]
        .iter()
        .collect();
    path.to_str().unwrap().to_owned()
}

fn keys() -> [(String, String); 3] {
    [
        ("sv1.tls_listen".into(), "127.0.0.1:0".into()),
        ("sv1.tls_certificate".into(), file("certificate.pem")),
        ("sv1.tls_key".into(), file("key.pem")),
    ]
}

async fn house() -> House {
    let keys = keys();
    let keys: Vec<(&str, &str)> = keys.iter().map(|(key, value)| (&**key, &**value)).collect();
    House::open(&keys).await
}

async fn connect(pool: &Pool) -> BufReader<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(file("certificate.pem")).unwrap())
        .unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(pool.tls().unwrap()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    BufReader::new(timeout(SOON, connecting).await.unwrap().unwrap())
}

async fn hear(stream: &mut BufReader<TlsStream<TcpStream>>) -> Value {
    let mut line = String::new();
    timeout(SOON, stream.read_line(&mut line)).await.unwrap().unwrap();
    serde_json::from_str(&line).unwrap()
}

/// Shares over TLS are shares like any other, and the certificate is the one that was configured.
#[tokio::test]
async fn a_miner_mines_over_tls() {
    let house = house().await;
    let mut miner = connect(&house.pool).await;
    let mut id = 0;
    let mut line = |method: &str, params: Value| {
        id += 1;
        json!({"id": id, "method": method, "params": params}).to_string() + "\n"
    };
    let enter = line("mining.subscribe", json!([]))
        + &line("mining.authorize", json!(["alice.rig", "d=0.0000000001"]));
    miner.write_all(enter.as_bytes()).await.unwrap();
    let mut job = Value::Null;
    while job.is_null() {
        let said = hear(&mut miner).await;
        if said["method"] == "mining.notify" {
            job = said["params"].clone();
        }
    }
    for nonce in 0..50 {
        let share = json!(["alice.rig", job[0], "01", job[7], format!("{nonce:x}")]);
        miner
            .write_all(line("mining.submit", share).as_bytes())
            .await
            .unwrap();
    }
    for _ in 0..50 {
        assert_eq!(hear(&mut miner).await["result"], true);
    }
    let seen = house
        .picture("fifty shares", |now| now.shares.accepted == 50)
        .await;
    assert_eq!(seen.connections.by_suite["stratum-v1-tls"], 1);
    drop(miner);
    house.close().await;
}

/// Lines in the clear are no TLS: that port does not answer them, and the other one goes on.
#[tokio::test]
async fn lines_in_the_clear_get_nothing_there() {
    let house = house().await;
    let mut plain = TcpStream::connect(house.pool.tls().unwrap()).await.unwrap();
    plain
        .write_all(b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n")
        .await
        .unwrap();
    let mut heard = Vec::new();
    // It may be reset before everything was read.
    let _ = timeout(SOON, plain.read_to_end(&mut heard))
        .await
        .expect("the end");
    assert!(!heard.contains(&b'{'), "{heard:?}");
    super::support::lines::Rig::start(house.pool.url(), "old")
        .await
        .mine(0..10)
        .await;
    house.close().await;
}

/// What is missing or wrong is said at the start, with what to do.
#[tokio::test]
async fn a_pair_that_cannot_be_used_is_said_at_the_start() {
    let data = tempfile::tempdir().unwrap();
    for (certificate, key, word) in [
        (String::new(), String::new(), "sv1.tls_certificate"),
        (file("nowhere.pem"), file("key.pem"), "nowhere.pem"),
        (file("key.pem"), file("key.pem"), "certificate"),
        (
            file("certificate.pem"),
            file("certificate.pem"),
            "certificate.pem",
        ),
    ] {
        let settings = Settings::with(&[
            ("data", data.path().to_str().unwrap()),
            ("listen", "127.0.0.1:0"),
            ("http.listen", "off"),
            ("sv1.tls_listen", "127.0.0.1:0"),
            ("sv1.tls_certificate", &certificate),
            ("sv1.tls_key", &key),
        ]);
        let Err(error) = Pool::start(&settings.unwrap(), false).await else {
            panic!("it starts");
        };
        assert!(error.to_string().contains(word), "{error}");
    }
}
