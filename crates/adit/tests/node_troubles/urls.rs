//! Blocks to whoever takes them at a URL, as other pools' configurations name them.

use std::path::PathBuf;
use std::sync::Arc;

use adit_testkit::MINE_TO;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

use super::support::miner::{How, Miner};
use super::support::rpc_node::{Fault, RpcNode};
use super::support::{House, until};

/// A pair for tests alone: who has it can pretend to be `localhost`.
fn file(name: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/stratum_v1/tls", name]
        .iter()
        .collect();
    path.to_str().unwrap().to_owned()
}

fn tls() -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(file("certificate.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("key.pem")).unwrap();
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Every found block goes to a URL in the clear and to one behind TLS with a path, which take blocks and answer nothing
/// else; neither is asked for templates, and nothing of what is secret in a URL is shown.
#[tokio::test]
async fn blocks_go_to_urls() {
    let source = RpcNode::start(Fault::None).await;
    let plain = RpcNode::start(Fault::BlocksOnly).await;
    let secure = RpcNode::start_behind(Fault::BlocksOnly, Some(tls())).await;
    let port = secure.address.rsplit_once(':').unwrap().1;
    let blocks = format!(
        "http://u:p%40ss%25@{}/,https://u:p%40ss%25@localhost:{port}/v1/hunter2?ca={}",
        plain.address,
        file("certificate.pem")
    );
    let changes = [
        ("node", &*source.spec()),
        ("nodes.blocks", &blocks),
        ("payout.address", MINE_TO),
    ];
    let house = House::open(&changes).await;
    let mut miner = Miner::start(house.pool.url(), How::Extended, "miner").await;
    let found = |node: &RpcNode| node.state.lock().unwrap().taken.first().map(|(hash, _)| *hash);
    for nonce in 0..20_000 {
        if found(&source).is_some() {
            break;
        }
        miner.submit([nonce]).await;
        miner.settle().await;
    }
    let hash = found(&source).expect("a block");
    for other in [&plain, &secure] {
        until("the block is handed to the URL", || {
            other.state.lock().unwrap().handed_in.contains(&hash)
        })
        .await;
        assert_eq!(other.calls("getblocktemplate"), 0);
    }
    assert_eq!(plain.state.lock().unwrap().path, "/");
    assert_eq!(secure.state.lock().unwrap().path, "/v1/hunter2");
    let shown = serde_json::to_string(&*house.pool.status().borrow().clone()).unwrap();
    assert!(!shown.contains("hunter2") && !shown.contains("p@ss"), "{shown}");
    house.close().await;
}
