//! A node that answers JSON-RPC, with the embedded chain behind it, and whatever trouble a test wants.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use adit_node::embedded::{Kept, Provider, Settings};
use adit_node::{BlockCheck, BlockStatus, Verdict};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bitcoin::consensus::deserialize;
use bitcoin::hex::{DisplayHex, FromHex};
use bitcoin::{BlockHash, Transaction, Txid};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Work of a block, as a power of two of hashes.
const WORK_LOG2: u8 = 8;
/// Signature operations that each transaction is said to have.
const SIGOPS: u64 = 4;

/// What is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// It is on this chain.
    Chain(&'static str),
    /// It does not take this caller.
    Forbidden,
    /// It answers every call with this code and text.
    Error(i64, &'static str),
    /// It downloads its chain.
    Downloading,
    /// It is on the real network's chain with headers whose blocks it has not.
    Behind,
    /// It would not accept a block with more transactions than these.
    Refuses(usize),
    /// It takes blocks and answers nothing else.
    BlocksOnly,
}

/// What the node knows; shared with the test.
pub(crate) struct State {
    pub(crate) fault: Fault,
    /// `user:password` that it lets in.
    pub(crate) login: String,
    pub(crate) chain: Provider,
    /// Calls by method.
    pub(crate) calls: HashMap<String, u64>,
    /// Where they went.
    pub(crate) path: String,
    /// Blocks taken: hash, and transactions besides the coinbase.
    pub(crate) taken: Vec<(BlockHash, usize)>,
    /// Blocks that came, whatever became of them.
    pub(crate) handed_in: Vec<BlockHash>,
}

/// A running node.
pub(crate) struct RpcNode {
    pub(crate) address: String,
    pub(crate) state: Arc<Mutex<State>>,
    /// Its cookie is there, when a test wants one.
    pub(crate) cookie: PathBuf,
    _folder: tempfile::TempDir,
}

impl RpcNode {
    pub(crate) async fn start(fault: Fault) -> Self {
        Self::start_behind(fault, None).await
    }

    /// The same behind TLS.
    pub(crate) async fn start_behind(fault: Fault, tls: Option<TlsAcceptor>) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), fault, tls)
    }

    /// The same at an address.
    pub(crate) async fn start_at(address: &str) -> Self {
        Self::on(TcpListener::bind(address).await.unwrap(), Fault::None, None)
    }

    fn on(listener: TcpListener, fault: Fault, tls: Option<TlsAcceptor>) -> Self {
        let address = listener.local_addr().unwrap().to_string();
        let folder = super::folder();
        let settings = Settings::new(WORK_LOG2, || adit_net::Clock::system().unix_s());
        let state = Arc::new(Mutex::new(State {
            fault,
            login: "u:p@ss%".into(),
            chain: Provider::new(settings).unwrap(),
            calls: HashMap::new(),
            path: String::new(),
            taken: Vec::new(),
            handed_in: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &shared).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, &shared).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Self {
            address,
            state,
            cookie: folder.path().join(".cookie"),
            _folder: folder,
        }
    }

    /// For `node = ".."`, with the password that it lets in.
    pub(crate) fn spec(&self) -> String {
        format!("rpc:{}@{}", self.state.lock().unwrap().login, self.address)
    }

    pub(crate) fn has(&self, fault: Fault) {
        self.state.lock().unwrap().fault = fault;
    }

    pub(crate) fn calls(&self, method: &str) -> u64 {
        let state = self.state.lock().unwrap();
        state.calls.get(method).copied().unwrap_or_default()
    }
}

/// Answers requests of one connection until it ends.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, state: &Mutex<State>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (path, login, body) = request(&mut stream).await?;
        let call: Value = serde_json::from_slice(&body).ok()?;
        let (status, answer) = state.lock().unwrap().answer(path, &login, &call);
        let answer = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} .\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        stream.write_all((head + &answer).as_bytes()).await.ok()?;
        stream.flush().await.ok()?;
    }
}

/// Path, `user:password` and body.
async fn request(stream: &mut (impl AsyncBufReadExt + Unpin)) -> Option<(String, String, Vec<u8>)> {
    let (mut path, mut login, mut length) = (String::new(), String::new(), 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(' ')?;
        match name.to_ascii_lowercase().as_str() {
            "post" => path = value.split(' ').next()?.to_owned(),
            "content-length:" => length = value.parse().ok()?,
            "authorization:" => {
                let bytes = STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
                login = String::from_utf8(bytes).ok()?;
            }
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((path, login, body))
}

impl State {
    fn answer(&mut self, path: String, login: &str, call: &Value) -> (u16, Value) {
        if login != self.login {
            return (401, Value::Null);
        }
        self.path = path;
        let method = call["method"].as_str().unwrap_or_default();
        *self.calls.entry(method.to_owned()).or_default() += 1;
        let error = |code: i64, message: &str| {
            let error = json!({ "code": code, "message": message });
            (500, json!({ "id": call["id"], "result": null, "error": error }))
        };
        match (&self.fault, method) {
            (Fault::Forbidden, _) => return (403, Value::Null),
            (Fault::Error(code, text), _) => return error(*code, text),
            (Fault::Downloading, "getblocktemplate") => return error(-10, "downloading blocks"),
            (Fault::BlocksOnly, other) if other != "submitblock" => {
                return error(-32601, "Method not found");
            }
            _ => {}
        }
        let params = &call["params"];
        let result = match method {
            "getblockchaininfo" => self.info(),
            "getnetworkinfo" => json!({ "subversion": "/Stand-in:1.0/" }),
            "getbestblockhash" => json!(self.chain.chain().tip().to_string()),
            "getblocktemplate" if params[0]["mode"] == "proposal" => self.proposal(&params[0]),
            "getblocktemplate" => template(self.chain.template().unwrap()),
            "submitblock" => self.submit(&params[0]),
            "getblockheader" => match self.confirmations(&params[0]) {
                Some(confirmations) => json!({ "confirmations": confirmations }),
                None => return error(-5, "Block not found"),
            },
            _ => return error(-32601, "Method not found"),
        };
        (200, json!({ "id": call["id"], "result": result, "error": null }))
    }

    fn info(&self) -> Value {
        let height = self.chain.template().map_or(0, |kept| kept.template.height - 1);
        let chain = match self.fault {
            Fault::Chain(chain) => chain,
            Fault::Behind => "main",
            _ => "regtest",
        };
        let behind = matches!(self.fault, Fault::Downloading | Fault::Behind);
        json!({
            "chain": chain,
            "blocks": height,
            "headers": height + u32::from(behind),
            "initialblockdownload": self.fault == Fault::Downloading,
        })
    }

    /// BIP23.
    fn proposal(&mut self, request: &Value) -> Value {
        let bytes = bytes(&request["data"]);
        let block: bitcoin::Block = deserialize(&bytes).unwrap();
        match self.fault {
            Fault::Refuses(most) if block.txdata.len() > most + 1 => json!("bad-blk-sigops"),
            _ => match self.chain.check_block(&bytes) {
                BlockCheck::Valid => Value::Null,
                BlockCheck::Invalid(reason) => json!(reason),
            },
        }
    }

    fn submit(&mut self, block: &Value) -> Value {
        let bytes = bytes(block);
        let block: bitcoin::Block = deserialize(&bytes).unwrap();
        self.handed_in.push(block.block_hash());
        match self.chain.submit_block(&bytes) {
            Ok(Verdict::Accepted) => {
                self.taken.push((block.block_hash(), block.txdata.len() - 1));
                Value::Null
            }
            Ok(Verdict::Duplicate) => json!("duplicate"),
            Ok(Verdict::Rejected(reason)) => json!(reason),
            Err(error) => json!(format!("{error:?}")),
        }
    }

    fn confirmations(&self, hash: &Value) -> Option<i64> {
        match self.chain.status(&hash.as_str()?.parse().ok()?) {
            BlockStatus::Unknown => None,
            BlockStatus::Confirmed(depth) => Some(depth.into()),
            BlockStatus::Stale => Some(-1),
        }
    }
}

fn bytes(hex: &Value) -> Vec<u8> {
    Vec::from_hex(hex.as_str().unwrap()).unwrap()
}

/// BIP22, BIP145.
fn template(kept: &Kept) -> Value {
    let template = &kept.template;
    let mut fees = template.fees.unwrap();
    let mut places: HashMap<Txid, usize> = HashMap::new();
    let mut rows = Vec::new();
    for (place, bytes) in kept.encoded.iter().enumerate() {
        let transaction: Transaction = deserialize(bytes).unwrap();
        let depends = transaction
            .input
            .iter()
            .filter_map(|input| places.get(&input.previous_output.txid));
        rows.push(json!({
            "data": bytes.to_lower_hex_string(),
            "txid": transaction.compute_txid().to_string(),
            "hash": transaction.compute_wtxid().to_string(),
            "depends": depends.collect::<Vec<_>>(),
            // Only their sum is looked at.
            "fee": std::mem::take(&mut fees),
            "sigops": SIGOPS,
            "weight": transaction.weight().to_wu(),
        }));
        places.insert(transaction.compute_txid(), place + 1);
    }
    let commitment = template.coinbase_tx_outputs.last().unwrap();
    json!({
        "version": template.version,
        "rules": ["segwit"],
        "previousblockhash": template.prev_hash.to_string(),
        "transactions": rows,
        "coinbasevalue": template.coinbase_tx_value_remaining,
        "mintime": template.min_ntime,
        "curtime": template.header_timestamp,
        "bits": format!("{:08x}", template.nbits.to_consensus()),
        "height": template.height,
        "default_witness_commitment": commitment.script_pubkey.to_hex_string(),
        "weightlimit": 4_000_000,
        "sigoplimit": 80_000,
    })
}
