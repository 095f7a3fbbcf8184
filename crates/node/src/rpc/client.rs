//! JSON-RPC over HTTP: one request a call, and what can go wrong with it in words.

use std::io;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::secure::Duplex;
use super::{HttpPath, Login, Settings, Tls};
use crate::progress::other_chain;

/// No answer is longer: a template of 4 million weight units is 8 MB in hexadecimal, with some JSON.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// No cookie is longer.
const COOKIE_BYTES_MAX: u64 = 4096;

/// The node is starting (Bitcoin Core's RPC_IN_WARMUP).
const WARMING_UP: i64 = -28;
/// The node is downloading the chain (RPC_CLIENT_IN_INITIAL_DOWNLOAD).
const DOWNLOADING: i64 = -10;
/// The node has no peers (RPC_CLIENT_NOT_CONNECTED).
const ALONE: i64 = -9;
/// No such block or transaction (RPC_INVALID_ADDRESS_OR_KEY).
pub(super) const NOT_FOUND: i64 = -5;
/// JSON-RPC's own code: there is no such method.
pub(super) const METHOD_NOT_FOUND: i64 = -32601;

/// Asks one node.
pub(super) struct Client {
    address: String,
    path: HttpPath,
    tls: Option<Tls>,
    login: Login,
}

/// Why a call brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nothing answers there.
    Unreachable(String),
    /// The cookie file cannot be read.
    Cookie(String),
    /// The node does not accept the cookie, or the user and password.
    Unauthorized,
    /// The node takes no calls from this address.
    Forbidden,
    /// There is no TLS, or its certificate is not believed.
    Tls(String),
    /// No answer in time.
    Silent(&'static str, Duration),
    /// The node's own error: code and text.
    Node(i64, String),
    /// Not what a node answers.
    Strange(String),
    /// It is another chain.
    Chain {
        /// What the node calls its chain.
        found: String,
        /// What was configured.
        wanted: String,
    },
}

impl Trouble {
    fn tls(error: io::Error) -> Self {
        Self::Tls(error.to_string())
    }

    /// What kind of trouble it is: the same kind is told once.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Cookie(_) => "cookie",
            Self::Tls(_) => "tls",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Silent(..) => "silent",
            Self::Node(WARMING_UP, _) => "starting",
            Self::Node(DOWNLOADING, _) => "download",
            Self::Node(ALONE, _) => "alone",
            Self::Node(..) => "failed",
            Self::Strange(_) => "strange",
            Self::Chain { .. } => "chain",
        }
    }

    /// For the operator: what is wrong and what would be right.
    pub(super) fn reason(&self, address: &str, login: &Login) -> String {
        match self {
            Self::Unreachable(cause) => format!(
                "no node answers at {address} ({cause}): is it running with server=1, and is this its RPC port? \
                 Trying again"
            ),
            Self::Cookie(cause) => format!(
                "cannot read the node's cookie: {cause}. It stands in the data folder of the running node (for test \
                 chains in the chain's own folder) and must be readable for this user; or give user and password"
            ),
            Self::Tls(cause) => format!(
                "no TLS with {address} ({cause}): is it https:// that is spoken there, for this name? A certificate of your \
                 own is believed with ?ca=FILE"
            ),
            Self::Unauthorized => match login {
                Login::Cookie(path) => format!(
                    "the node at {address} does not accept the cookie {}: is that the cookie of this node?",
                    path.display()
                ),
                Login::Nobody => format!(
                    "the node at {address} asks for a name: give user and password, as in https://USER:PASSWORD@HOST"
                ),
                Login::Password { user, .. } => format!(
                    "the node at {address} does not accept user {user:?} with this password: compare rpcuser and \
                     rpcpassword, or rpcauth, in its bitcoin.conf"
                ),
            },
            Self::Forbidden => format!(
                "the node at {address} takes no calls from here: name this machine's address in rpcallowip of its \
                 bitcoin.conf"
            ),
            Self::Silent(method, limit) => format!(
                "the node at {address} has not answered {method} for {} s: it is stopped, overloaded or hangs; trying \
                 again",
                limit.as_secs()
            ),
            Self::Node(WARMING_UP, said) => {
                format!("the node at {address} is starting ({said}); waiting for it")
            }
            Self::Node(DOWNLOADING, said) => format!(
                "the node at {address} is in its initial download ({said}): no templates until it is done. Let it \
                 finish"
            ),
            Self::Node(ALONE, said) => format!(
                "the node at {address} has no peers ({said}): connect it to the network; a block that it cannot tell \
                 anybody is worth nothing"
            ),
            Self::Node(code, said) => {
                format!("the node at {address} answered with an error: {said} ({code})")
            }
            Self::Strange(what) => {
                format!("{address} does not answer like a Bitcoin node: {what}. Is this the RPC port?")
            }
            Self::Chain { found, wanted } => other_chain(&format!("the node at {address}"), found, wanted),
        }
    }
}

impl Client {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            address: settings.address.clone(),
            path: settings.path.clone(),
            tls: settings.tls.clone(),
            login: settings.login.clone(),
        }
    }

    /// Calls `method` and waits for its answer, no longer than `limit`.
    pub(super) async fn call(
        &self,
        method: &'static str,
        params: Value,
        limit: Duration,
    ) -> Result<Value, Trouble> {
        timeout(limit, self.ask(method, params))
            .await
            .unwrap_or(Err(Trouble::Silent(method, limit)))
    }

    /// Calls `method` once for each of `params` in one request; an answer for each, in that order, no later than `limit`.
    pub(super) async fn batch(
        &self,
        method: &'static str,
        params: impl IntoIterator<Item = Value>,
        limit: Duration,
    ) -> Result<Vec<Result<Value, Trouble>>, Trouble> {
        let calls = params
            .into_iter()
            .enumerate()
            .map(|(id, params)| json!({ "jsonrpc": "1.0", "id": id, "method": method, "params": params }));
        let calls: Vec<Value> = calls.collect();
        let count = calls.len();
        let asked = async {
            let (status, body) = self.post(Value::Array(calls).to_string()).await?;
            refused(status)?;
            // Megabytes are read elsewhere: a new tip must not wait for that.
            let read = tokio::task::spawn_blocking(move || answers(status, &body, count)).await;
            read.unwrap_or_else(|end| Err(Trouble::Strange(end.to_string())))
        };
        timeout(limit, asked)
            .await
            .unwrap_or(Err(Trouble::Silent(method, limit)))
    }

    async fn ask(&self, method: &str, params: Value) -> Result<Value, Trouble> {
        let body = json!({ "jsonrpc": "1.0", "id": "adit", "method": method, "params": params }).to_string();
        let (status, body) = self.post(body).await?;
        judge(status, &body)
    }

    async fn post(&self, body: String) -> Result<(StatusCode, Bytes), Trouble> {
        let mut request = Request::post(self.path.0.as_str())
            .header(HOST, &self.address)
            .header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = self.authorization()? {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Trouble::Strange(error.to_string()))?;
        let lost = |error: hyper::Error| Trouble::Unreachable(error.to_string());
        let unreachable = |error: io::Error| Trouble::Unreachable(error.to_string());
        let stream = TcpStream::connect(&self.address).await.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let stream: Box<dyn Duplex> = match &self.tls {
            None => Box::new(stream),
            Some(tls) => Box::new(tls.connect(stream).await.map_err(Trouble::tls)?),
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        let connection = tokio::task::spawn_local(connection);
        let answer = async {
            let answer = sender.send_request(request).await.map_err(lost)?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
            let body = body
                .collect()
                .await
                .map_err(|error| Trouble::Strange(error.to_string()))?;
            Ok((status, body.to_bytes()))
        };
        let answer = answer.await;
        connection.abort();
        answer
    }

    /// The cookie is read for each call: a node writes a new one at every start.
    fn authorization(&self) -> Result<Option<String>, Trouble> {
        let secret = match &self.login {
            Login::Nobody => return Ok(None),
            Login::Password { user, password } => format!("{user}:{password}"),
            Login::Cookie(path) => {
                let broken = |cause: String| Trouble::Cookie(format!("{}: {cause}", path.display()));
                let length = std::fs::metadata(path).map_err(|e| broken(e.to_string()))?.len();
                if length > COOKIE_BYTES_MAX {
                    return Err(broken(format!("{length} bytes are no cookie")));
                }
                let text = std::fs::read_to_string(path).map_err(|e| broken(e.to_string()))?;
                text.trim().to_owned()
            }
        };
        Ok(Some(format!("Basic {}", STANDARD.encode(secret))))
    }
}

/// Answers that say all in their status.
fn refused(status: StatusCode) -> Result<(), Trouble> {
    match status {
        StatusCode::UNAUTHORIZED => Err(Trouble::Unauthorized),
        StatusCode::FORBIDDEN => Err(Trouble::Forbidden),
        StatusCode::SERVICE_UNAVAILABLE => {
            Err(Trouble::Node(0, "too many calls at a time (rpcworkqueue)".into()))
        }
        _ => Ok(()),
    }
}

/// The result in an answer, or the error.
fn judge(status: StatusCode, body: &[u8]) -> Result<Value, Trouble> {
    refused(status)?;
    let Ok(Value::Object(answer)) = serde_json::from_slice(body) else {
        return Err(Trouble::Strange(format!(
            "HTTP status {status} and no JSON object"
        )));
    };
    result(answer)
}

/// The answers to a batch of `count` calls with the ids from 0 on, which may come in any order.
fn answers(status: StatusCode, body: &[u8], count: usize) -> Result<Vec<Result<Value, Trouble>>, Trouble> {
    let list = match serde_json::from_slice(body) {
        Ok(Value::Array(list)) => list,
        Ok(Value::Object(whole)) => return Err(result(whole).err().unwrap_or_else(no_batch)),
        _ => return Err(Trouble::Strange(format!("HTTP status {status} and no JSON"))),
    };
    let mut answers: Vec<Option<Result<Value, Trouble>>> = (0..count).map(|_| None).collect();
    for answer in list {
        let Value::Object(answer) = answer else {
            return Err(no_batch());
        };
        let id = answer.get("id").and_then(Value::as_u64);
        let place = id.and_then(|id| answers.get_mut(usize::try_from(id).ok()?));
        *place.ok_or_else(no_batch)? = Some(result(answer));
    }
    answers
        .into_iter()
        .map(|answer| answer.ok_or_else(no_batch))
        .collect()
}

fn no_batch() -> Trouble {
    Trouble::Strange("a batch of calls was not answered call by call".into())
}

fn result(mut answer: serde_json::Map<String, Value>) -> Result<Value, Trouble> {
    match answer.get("error") {
        None | Some(Value::Null) => answer
            .remove("result")
            .ok_or_else(|| Trouble::Strange("neither result nor error".into())),
        Some(error) => {
            let code = error.get("code").and_then(Value::as_i64).unwrap_or_default();
            let text = error.get("message").and_then(Value::as_str).unwrap_or("no text");
            let said = text.chars().filter(|c| !c.is_control()).take(300).collect();
            Err(Trouble::Node(code, said))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let ok = StatusCode::OK;
        assert_eq!(judge(ok, br#"{"result":null,"error":null}"#), Ok(Value::Null));
        assert_eq!(judge(ok, br#"{"result":7}"#), Ok(json!(7)));
        assert_eq!(judge(StatusCode::UNAUTHORIZED, b""), Err(Trouble::Unauthorized));
        assert_eq!(judge(StatusCode::FORBIDDEN, b""), Err(Trouble::Forbidden));
        let failed = br#"{"result":null,"error":{"code":-28,"message":"Loading\nblock index"}}"#;
        let trouble = judge(StatusCode::INTERNAL_SERVER_ERROR, failed).unwrap_err();
        assert_eq!(trouble, Trouble::Node(-28, "Loadingblock index".into()));
        assert_eq!(trouble.kind(), "starting");
        for body in [&b"<html>"[..], b"[]", b"{}", b""] {
            assert!(matches!(judge(ok, body), Err(Trouble::Strange(_))));
        }
    }

    #[test]
    fn a_batch_is_answered_call_by_call() {
        let ok = StatusCode::OK;
        let body = br#"[{"id":1,"result":null,"error":{"code":-5,"message":"no"}},{"id":0,"result":7,"error":null}]"#;
        let both = answers(ok, body, 2).unwrap();
        assert_eq!(both, [Ok(json!(7)), Err(Trouble::Node(-5, "no".into()))]);
        for (body, count) in [(&body[..], 1), (body, 3), (b"[7]", 1), (b"{}", 1), (b"x", 0)] {
            assert!(answers(ok, body, count).is_err());
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let login = Login::Password {
            user: "u".into(),
            password: "secret".into(),
        };
        let shown = format!("{login:?} {}", Trouble::Unauthorized.reason("h:1", &login));
        assert!(shown.contains("\"u\"") && !shown.contains("secret"), "{shown}");
    }
}
