//! What a node with ZMQ says and ours, which is built without it, does not: the hash of each new tip over ZMQ, and over JSON-RPC that
//! it is said there. Everything else that is asked goes to the node.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use adit_testkit::BitcoinNode;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use bitcoin::hex::FromHex;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use zeromq::{PubSocket, Socket, SocketSend, ZmqMessage};

/// Between looks at the node's tip.
const GLANCE: Duration = Duration::from_millis(100);

/// It ends when dropped.
pub(crate) struct Publisher {
    /// Where JSON-RPC is answered.
    pub(crate) rpc: SocketAddr,
    /// Where tips are published: `tcp://host:port`.
    pub(crate) tips: String,
    stop: Option<oneshot::Sender<()>>,
    runs: Option<JoinHandle<()>>,
}

impl Publisher {
    /// Stands in front of a node that serves JSON-RPC.
    pub(crate) fn start(node: &BitcoinNode) -> Self {
        let node = format!("http://{}", node.rpc_address());
        let (stop, stopped) = oneshot::channel();
        let (told, places) = std::sync::mpsc::channel();
        let runs = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let mut tips = PubSocket::new();
                let place = tips.bind("tcp://127.0.0.1:0").await.expect("a publisher");
                let front = Arc::new((node, place.to_string()));
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
                    .await
                    .expect("a port");
                let rpc = listener.local_addr().expect("an address");
                told.send((rpc, place.to_string())).expect("somebody waits");
                let answering = Router::new().fallback(answer).with_state(Arc::clone(&front));
                tokio::select! {
                    _ = stopped => {}
                    ended = async { axum::serve(listener, answering).await } => ended.expect("it serves"),
                    () = publish(&front.0, tips) => {}
                }
            });
        });
        let (rpc, tips) = places.recv().expect("it starts");
        Self {
            rpc,
            tips,
            stop: Some(stop),
            runs: Some(runs),
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(runs) = self.runs.take() {
            let ended = runs.join();
            assert!(std::thread::panicking() || ended.is_ok(), "the publisher failed");
        }
    }
}

/// Asks the node; its answer as it is.
async fn ask(node: String, login: String, question: Vec<u8>) -> Option<(u16, Vec<u8>)> {
    let asking = tokio::task::spawn_blocking(move || {
        let mut answer = ureq::post(node)
            .config()
            .http_status_as_error(false)
            .build()
            .header("Authorization", login)
            .send(&question[..])
            .ok()?;
        let body = answer.body_mut().read_to_vec().ok()?;
        Some((answer.status().as_u16(), body))
    });
    asking.await.ok().flatten()
}

async fn answer(
    State(front): State<Arc<(String, String)>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, Vec<u8>) {
    let (node, tips) = &*front;
    let question: Value = serde_json::from_slice(&body).unwrap_or_default();
    if question["method"] == "getzmqnotifications" {
        let here = json!([{"type": "pubhashblock", "address": tips, "hwm": 1000}]);
        let answer = json!({"result": here, "error": null, "id": question["id"]});
        return (StatusCode::OK, answer.to_string().into_bytes());
    }
    let login = headers.get(header::AUTHORIZATION);
    let login = login.and_then(|login| login.to_str().ok()).unwrap_or_default();
    match ask(node.clone(), login.to_owned(), body.to_vec()).await {
        Some((status, body)) => (
            StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY),
            body,
        ),
        None => (StatusCode::BAD_GATEWAY, Vec::new()),
    }
}

/// Says every new tip, as long as anybody wants it.
async fn publish(node: &str, mut tips: PubSocket) {
    let question = json!({"method": "getbestblockhash", "params": [], "id": 0}).to_string();
    let mut last = Value::Null;
    for sequence in 0u32.. {
        tokio::time::sleep(GLANCE).await;
        // User `u` with the password `p`.
        let answered = ask(
            node.to_owned(),
            "Basic dTpw".into(),
            question.clone().into_bytes(),
        )
        .await;
        let Some((_, answer)) = answered else { continue };
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let Some(hash) = answer["result"].as_str().map(Vec::from_hex).and_then(Result::ok) else {
            continue;
        };
        if answer["result"] == last {
            continue;
        }
        last = answer["result"].clone();
        let mut message = ZmqMessage::from("hashblock");
        message.push_back(hash.into());
        message.push_back(sequence.to_le_bytes().to_vec().into());
        // Nobody need listen.
        drop(tips.send(message).await);
    }
}
