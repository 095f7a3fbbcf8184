//! Bitcoin Core on a regtest chain of its own (or on the real network's rules, alone), spoken to over its unix socket only.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bitcoin::consensus::encode::serialize_hex;
use bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness, absolute, transaction,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Running, peers, until};

/// A regtest address whose coins anybody can spend: the witness script is OP_TRUE.
pub const MINE_TO: &str = "bcrt1qft5p2uhsdcdc3l2ua4ap5qqfg4pjaqlp250x7us7a8qqhrxrxfsqseac85";
/// Blocks after which a coinbase can be spent in the next one.
pub const COINBASE_MATURITY: u32 = 100;

/// How long the node may take to start or stop.
const LIMIT: Duration = Duration::from_secs(60);
/// Ports tried for an RPC server.
const PORTS_TRIED: usize = 8;
/// User `u` with password `p`, as Bitcoin Core's rpcauth writes it.
const RPC_AUTH: &str = "-rpcauth=u:00112233445566778899aabbccddeeff$884ecb97abacecf9128e8fcad7a5ca1d3c89c4bf5fe51ac93beb1893c30c7fdf";
/// OP_TRUE.
const ANYONE: [u8; 1] = [0x51];

/// A running node; killed, and its data folder removed, when dropped.
#[derive(Debug)]
pub struct BitcoinNode {
    folder: TempDir,
    program: PathBuf,
    client: PathBuf,
    extra: Vec<String>,
    /// What Bitcoin Core calls its chain.
    chain: &'static str,
    /// Port of the RPC server, where there is one.
    rpc: Option<u16>,
    process: Option<Running>,
}

impl BitcoinNode {
    /// Starts a node on an empty chain. `None` means that Bitcoin Core is not installed and the test is
    /// to be skipped, see [`peers::need`].
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// Starts a node that also serves JSON-RPC, see [`BitcoinNode::rpc_address`]: by its cookie, and to the user
    /// `u` with the password `p`.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_with_rpc() -> Option<Self> {
        Self::on_a_port(|node, port| {
            node.rpc = Some(port);
        })
    }

    /// Starts a node with the rules of the real network, without peers and so with nothing but its first block: in
    /// initial download for ever. It serves JSON-RPC, too.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_on_main() -> Option<Self> {
        Self::on_a_port(|node, port| {
            (node.rpc, node.chain) = (Some(port), "main");
        })
    }

    /// Starts two nodes that tell each other their blocks; the second also serves JSON-RPC. Whichever is killed
    /// finds the other again when it is launched.
    ///
    /// # Panics
    /// When they do not start.
    pub fn start_pair() -> Option<[Self; 2]> {
        let mut listens = 0;
        let first = Self::on_a_port(|node, port| {
            listens = port;
            let options = [
                format!("-bind=127.0.0.1:{port}"),
                "-listen=1".into(),
                "-noconnect".into(),
            ];
            node.extra = options.to_vec();
        })?;
        let second = Self::on_a_port(|node, port| {
            node.rpc = Some(port);
            node.extra = vec![format!("-connect=127.0.0.1:{listens}"), "-listen=0".into()];
        })?;
        Some([first, second])
    }

    /// A node that needs a free port, which `told` writes into its options.
    fn on_a_port(mut told: impl FnMut(&mut Self, u16)) -> Option<Self> {
        let mut node = Self::made(&[])?;
        for _ in 0..PORTS_TRIED {
            told(&mut node, free_port());
            if node.try_launch() {
                return Some(node);
            }
            // Somebody else was given the port in between.
            node.kill();
        }
        panic!("bitcoin-node found no port; its log ends:\n{}", tail(&node.log()));
    }

    /// Starts a node with more options.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_with(extra: &[&str]) -> Option<Self> {
        let mut node = Self::made(extra)?;
        node.launch();
        Some(node)
    }

    fn made(extra: &[&str]) -> Option<Self> {
        let [program, client] = peers::need(["bitcoin-node", "bitcoin-cli"])?;
        let folder = tempfile::Builder::new()
            .prefix("adit-node-")
            .tempdir()
            .expect("a temporary folder");
        let extra = extra.iter().map(|&option| option.to_owned()).collect();
        Some(Self {
            folder,
            program,
            client,
            extra,
            chain: "regtest",
            rpc: None,
            process: None,
        })
    }

    /// The folder that holds the chain.
    pub fn data(&self) -> &Path {
        self.folder.path()
    }

    /// Where this chain's files are.
    fn chain_folder(&self) -> PathBuf {
        match self.chain {
            "main" => self.data().to_owned(),
            other => self.data().join(other),
        }
    }

    /// The socket for `ipc:`.
    pub fn socket(&self) -> PathBuf {
        self.chain_folder().join("node.sock")
    }

    /// `host:port` of the RPC server.
    ///
    /// # Panics
    /// When it has none.
    pub fn rpc_address(&self) -> String {
        format!("127.0.0.1:{}", self.rpc.expect("start_with_rpc"))
    }

    /// The file with which anybody who can read it may use the RPC server.
    pub fn cookie(&self) -> PathBuf {
        self.chain_folder().join(".cookie")
    }

    /// The node's log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.chain_folder().join("debug.log")).unwrap_or_default()
    }

    /// Starts the node on its chain again and waits until it answers.
    ///
    /// # Panics
    /// When it runs already or does not answer.
    pub fn launch(&mut self) {
        assert!(
            self.try_launch(),
            "bitcoin-node does not answer; its log ends:\n{}",
            tail(&self.log())
        );
    }

    fn try_launch(&mut self) -> bool {
        assert!(self.process.is_none(), "the node runs already");
        let mut command = Command::new(&self.program);
        command
            .arg(format!("-chain={}", self.chain))
            .args(["-ipcbind=unix", "-server=0", "-printtoconsole=0"])
            .args(self.network())
            .args(["-checkblocks=1", "-dbcache=16", "-logtimemicros=1"])
            .arg(format!("-datadir={}", self.data().display()))
            .args(&self.extra)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(port) = self.rpc {
            command.args([
                "-server=1",
                "-rpcbind=127.0.0.1",
                "-rpcallowip=127.0.0.1",
                RPC_AUTH,
            ]);
            command.arg(format!("-rpcport={port}"));
        }
        let mut process = Running::start(&mut command).expect("bitcoin-node starts");
        let answers = until(LIMIT, || match (self.cli(&["getblockcount"]), process.ended()) {
            (Ok(_), None) => Some(true),
            (_, Some(_)) => Some(false),
            (Err(_), None) => None,
        });
        self.process = Some(process);
        answers == Some(true)
    }

    /// Alone, or told of others by more options.
    fn network(&self) -> &'static [&'static str] {
        let told = |option: &String| option.starts_with("-connect=") || option.starts_with("-listen=");
        if self.extra.iter().any(told) {
            &[]
        } else {
            &["-listen=0", "-connect=0"]
        }
    }

    /// Kills the node at once (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Stops the node in order.
    ///
    /// # Panics
    /// When it does not stop.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal("TERM");
            assert!(process.wait(LIMIT).is_some(), "bitcoin-node does not stop");
        }
    }

    /// Stops the process where it is (SIGSTOP): it takes connections and never answers.
    pub fn pause(&self) {
        self.process.iter().for_each(|process| process.signal("STOP"));
    }

    /// Lets a paused process go on (SIGCONT).
    pub fn resume(&self) {
        self.process.iter().for_each(|process| process.signal("CONT"));
    }

    /// Whether the process lives.
    pub fn is_running(&mut self) -> bool {
        self.process
            .as_mut()
            .is_some_and(|process| process.ended().is_none())
    }

    /// What each of its threads waits for in the kernel, one a line: for failures.
    pub fn threads(&self) -> String {
        let Some(process) = &self.process else {
            return "it does not run".into();
        };
        let read = |path: PathBuf| {
            std::fs::read_to_string(path)
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        let tasks = std::fs::read_dir(format!("/proc/{}/task", process.id()));
        let tasks = tasks.into_iter().flatten().flatten();
        let lines = tasks.map(|task| {
            let (name, waits) = (read(task.path().join("comm")), read(task.path().join("wchan")));
            format!("{name}: {waits}")
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Runs `bitcoin-cli`; its answer without the line end, or what it complained about.
    ///
    /// # Errors
    /// When the node does not answer or refuses.
    pub fn cli(&self, arguments: &[&str]) -> Result<String, String> {
        let done = Command::new(&self.client)
            .arg(format!("-chain={}", self.chain))
            .arg("-ipcconnect=unix")
            .arg(format!("-datadir={}", self.data().display()))
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .map_err(|e| e.to_string())?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
        if done.status.success() {
            Ok(text(done.stdout))
        } else {
            Err(text(done.stderr))
        }
    }

    /// Runs `bitcoin-cli` for an answer in JSON.
    ///
    /// # Panics
    /// When the node does not answer with JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self
            .cli(arguments)
            .unwrap_or_else(|error| panic!("bitcoin-cli {arguments:?}: {error}"));
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("bitcoin-cli {arguments:?}: {error} in {text}"))
    }

    /// Hash of the tip, as people write it.
    ///
    /// # Panics
    /// When the node does not answer.
    pub fn tip(&self) -> String {
        self.cli(&["getbestblockhash"]).expect("getbestblockhash")
    }

    /// Height of the tip.
    ///
    /// # Panics
    /// When the node does not answer.
    pub fn height(&self) -> u64 {
        self.json(&["getblockcount"]).as_u64().expect("a height")
    }

    /// Mines blocks to [`MINE_TO`]; returns the hash of the last one.
    ///
    /// # Panics
    /// When the node refuses.
    pub fn mine(&self, blocks: u32) -> String {
        let hashes = self.json(&["generatetoaddress", &blocks.to_string(), MINE_TO]);
        let last = hashes.as_array().and_then(|hashes| hashes.last()?.as_str());
        last.expect("block hashes").to_owned()
    }

    /// Sends a transaction that spends the coinbase of the block at `height`, mined to [`MINE_TO`] and
    /// mature, for `fee` satoshis; returns its txid.
    ///
    /// # Panics
    /// When there is no such coin or the node refuses.
    pub fn spend(&self, height: u64, fee: u64) -> Txid {
        let hash = self
            .cli(&["getblockhash", &height.to_string()])
            .expect("a block at that height");
        let block = self.json(&["getblock", &hash, "2"]);
        let coinbase = block.get("tx").and_then(|all| all.get(0)).expect("a coinbase");
        let txid: Txid = coinbase
            .get("txid")
            .and_then(Value::as_str)
            .expect("a txid")
            .parse()
            .expect("a txid");
        let coins = coinbase
            .pointer("/vout/0/value")
            .and_then(Value::as_f64)
            .expect("an amount");
        let amount = Amount::from_btc(coins).expect("an amount") - Amount::from_sat(fee);
        let script = ScriptBuf::from_bytes(ANYONE.to_vec());
        let spend = Transaction {
            version: transaction::Version::TWO,
            lock_time: absolute::LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint { txid, vout: 0 },
                script_sig: ScriptBuf::new(),
                sequence: Sequence::MAX,
                witness: Witness::from_slice(&[ANYONE]),
            }],
            output: vec![TxOut {
                value: amount,
                script_pubkey: script.to_p2wsh(),
            }],
        };
        let sent = self.cli(&["sendrawtransaction", &serialize_hex(&spend), "0"]);
        sent.expect("sendrawtransaction").parse().expect("a txid")
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines
        .iter()
        .skip(lines.len().saturating_sub(20))
        .copied()
        .collect::<Vec<_>>()
        .join("\n")
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}
