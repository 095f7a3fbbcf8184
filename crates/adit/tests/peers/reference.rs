//! Programs of the Stratum V2 reference implementation.

use std::path::Path;
use std::process::Command;

use adit_net::Url;
use adit_testkit::{BitcoinNode, MINE_TO, peers, until};

use crate::pool::Pool;
use crate::program::{LIMIT, Program, free_port, wait};
use crate::publisher::Publisher;

/// The test key pair that the reference implementation publishes with its examples.
const AUTHORITY: (&str, &str) = (
    "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72",
    "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n",
);
/// Ports tried for a program that cannot choose one itself: another may take the first.
const PORTS_MAX: u32 = 5;

/// Its CPU device: a standard channel, headers only. It measures itself for five seconds before it opens a channel,
/// and ends when its connection does.
pub(crate) fn mining_device(pool: &Pool, user: &str) -> Program {
    device_on(pool.folder(), pool.address(), pool.key(), user)
}

/// The same on any pool.
pub(crate) fn device_on(folder: &Path, address: &str, key: &str, user: &str) -> Program {
    let program = peers::program("mining_device").expect("checked by the test");
    let mut command = Command::new(program);
    command
        .args(["--address-pool", address, "--pubkey-pool", key])
        .args(["--id-user", user, "--cores", "1"])
        // It claims less than it can, so that shares come soon.
        .args(["--nominal-hashrate-multiplier", "0.1"]);
    Program::start(&format!("mining_device-{user}"), folder, &mut command)
}

/// Its proxy for Stratum V1 devices, and where those connect.
pub(crate) struct Translator {
    pub(crate) program: Program,
    pub(crate) address: String,
}

impl Translator {
    /// Starts it above `pool` for devices of `hash_rate` hashes a second each.
    pub(crate) fn start(pool: &Pool, aggregate: bool, hash_rate: u64) -> Self {
        Self::on(pool.folder(), pool.port(), pool.key(), aggregate, hash_rate)
    }

    /// The same above whatever listens on a port.
    pub(crate) fn on(folder: &Path, upstream: &str, key: &str, aggregate: bool, hash_rate: u64) -> Self {
        let (program, port) = on_free_port("translator_sv2", folder, |port| {
            format!(
                r#"downstream_address = "127.0.0.1"
downstream_port = {port}
max_supported_version = 2
min_supported_version = 2
downstream_extranonce2_size = 4
verify_payout = false
aggregate_channels = {aggregate}
supported_extensions = []
required_extensions = []

[downstream_difficulty_config]
min_individual_miner_hashrate = {hash_rate}.0
shares_per_minute = 60.0
enable_vardiff = false
job_keepalive_interval_secs = 60

[[upstreams]]
address = "127.0.0.1"
port = {upstream}
authority_pubkey = "{key}"
user_identity = "farm"
"#
            )
        });
        Self {
            program,
            address: format!("127.0.0.1:{port}"),
        }
    }
}

/// Its pool, on a node, and its URL. The node needs a block that is not old.
pub(crate) fn pool(folder: &Path, node: &BitcoinNode) -> (Program, String) {
    pool_with(folder, &node_section(node))
}

fn node_section(node: &BitcoinNode) -> String {
    format!(
        r#"[template_provider_type.BitcoinCoreIpc]
version = 31
network = "regtest"
data_dir = "{}"
fee_threshold = 100
min_interval = 5
"#,
        node.data().display()
    )
}

/// Its pool with a job declaration server, on a node, its URL and where jobs are declared.
pub(crate) fn pool_with_declarations(folder: &Path, node: &BitcoinNode) -> (Program, String, u16) {
    let jds = free_port();
    let more = format!(
        r#"{}
[jds]
listen_address = "127.0.0.1:{jds}"
"#,
        node_section(node)
    );
    let (program, url) = pool_with(folder, &more);
    (program, url, jds)
}

/// Its pool on a template provider, and its URL.
pub(crate) fn pool_on_provider(folder: &Path, provider: &Url) -> (Program, String) {
    pool_with(folder, &provider_section(provider))
}

/// Its job negotiator on a template provider, mining alone, and its URL.
pub(crate) fn negotiator_alone(folder: &Path, provider: &Url) -> (Program, String) {
    let (program, port) = on_free_port("jd_client_sv2", folder, |port| {
        format!(
            r#"listening_address = "127.0.0.1:{port}"
max_supported_version = 2
min_supported_version = 2
authority_public_key = "{public}"
authority_secret_key = "{secret}"
cert_validity_sec = 3600
shares_per_minute = 60.0
share_batch_size = 1
mode = "SOLOMINING"
jdc_signature = "their negotiator"
coinbase_reward_script = "addr({MINE_TO})"
upstreams = []

{templates}"#,
            public = AUTHORITY.0,
            secret = AUTHORITY.1,
            templates = provider_section(provider),
        )
    });
    (program, url(port))
}

/// Its job negotiator on a template provider and our pool, and its URL. `mode`: `FULLTEMPLATE` or `COINBASEONLY`.
pub(crate) fn negotiator(folder: &Path, provider: &Url, pool: &Pool, mode: &str) -> (Program, String) {
    let (program, port) = on_free_port("jd_client_sv2", folder, |port| {
        format!(
            r#"listening_address = "127.0.0.1:{port}"
max_supported_version = 2
min_supported_version = 2
authority_public_key = "{public}"
authority_secret_key = "{secret}"
cert_validity_sec = 3600
shares_per_minute = 1.0
share_batch_size = 1
mode = "{mode}"
jdc_signature = "their negotiator"
coinbase_reward_script = "addr({MINE_TO})"

[[upstreams]]
authority_pubkey = "{key}"
pool_address = "127.0.0.1"
pool_port = {at}
jds_address = "127.0.0.1"
jds_port = {at}
user_identity = "farmer"

{templates}"#,
            public = AUTHORITY.0,
            secret = AUTHORITY.1,
            key = pool.key(),
            at = pool.port(),
            templates = provider_section(provider),
        )
    });
    (program, url(port))
}

fn provider_section(provider: &Url) -> String {
    let key = provider.key.as_ref().map(ToString::to_string).unwrap_or_default();
    format!(
        "[template_provider_type.Sv2Tp]\naddress = \"{}:{}\"\npublic_key = \"{key}\"\n",
        provider.host, provider.port
    )
}

fn url(port: u16) -> String {
    format!("stratum2+tcp://127.0.0.1:{port}/{}", AUTHORITY.0)
}

fn pool_with(folder: &Path, templates: &str) -> (Program, String) {
    let (program, port) = on_free_port("pool_sv2", folder, |port| {
        format!(
            r#"authority_public_key = "{public}"
authority_secret_key = "{secret}"
cert_validity_sec = 3600
listen_address = "127.0.0.1:{port}"
coinbase_reward_script = "addr({MINE_TO})"
server_id = 1
pool_signature = "their pool"
shares_per_minute = 60.0
share_batch_size = 1

{templates}"#,
            public = AUTHORITY.0,
            secret = AUTHORITY.1,
        )
    });
    (program, url(port))
}

/// Starts a program that is told its port by a configuration file, and waits until somebody listens there.
fn on_free_port(name: &str, folder: &Path, config: impl Fn(u16) -> String) -> (Program, u16) {
    let path = peers::program(name).expect("checked by the test");
    listening(name, folder, |port| {
        let file = folder.join(format!("{name}.toml"));
        std::fs::write(&file, config(port)).expect("a configuration file");
        let mut command = Command::new(&path);
        command.arg("-c").arg(&file);
        command
    })
}

/// Starts a program that is told its port, and waits until somebody listens there.
fn listening(name: &str, folder: &Path, told: impl Fn(u16) -> Command) -> (Program, u16) {
    for _ in 1..PORTS_MAX {
        let port = free_port();
        let mut program = Program::start(name, folder, told(port).env("RUST_LOG", "info"));
        let listens = until(LIMIT, || {
            let ended = program.has_ended();
            let answers = std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
            (ended || answers).then_some(answers && !ended)
        });
        match listens {
            Some(true) => return (program, port),
            Some(false) if program.said().contains("in use") => {}
            _ => panic!("{name} does not start{}", program.said()),
        }
    }
    panic!("no free port for {name}")
}

/// `para pool` on a node in front of which `publisher` stands: the pool, and `HOST:PORT` for Stratum V1.
pub(crate) fn old_pool(folder: &Path, publisher: &Publisher, difficulty: &str) -> (Program, String) {
    let path = peers::program("para").expect("checked by the test");
    let (program, port) = listening("para", folder, |port| {
        let mut command = Command::new(&path);
        command
            .args(["pool", "--chain", "regtest", "--disable-bouncer"])
            .args(["--address", "127.0.0.1", "--port", &port.to_string()])
            .args(["--bitcoin-rpc-port", &publisher.rpc.port().to_string()])
            .args(["--bitcoin-rpc-username", "u", "--bitcoin-rpc-password", "p"])
            .args(["--zmq-block-notifications", &publisher.tips])
            .args(["--start-diff", difficulty, "--data-dir"])
            .arg(folder.join("para"));
        command
    });
    (program, format!("127.0.0.1:{port}"))
}

/// Waits until a program has said `part`.
pub(crate) fn says(program: &Program, part: &str) {
    wait(&format!("{part:?}"), &[program], || {
        program.output().contains(part).then_some(())
    });
}
