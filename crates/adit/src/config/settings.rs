//! The checked configuration: what exists here is right.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use adit_wire::extension::{self, Range};
use bitcoin::Network;

use super::origin::{Origin, Problem};
use super::payout::{Payout, name};
use super::payouts::Payouts;
use super::shown::{self, Shown};
use super::source::{Config, Sources};
use super::table::{
    BooksKeys, Coinbase, Device, Embedded, Extensions, Http, Ipc, KeyKeys, LedgerKeys, Limits, Log, NatsKeys,
    NegotiationKeys, NegotiatorKeys, NodeKeys, NotifyKeys, PayoutKeys, PoolKeys, ProviderKeys, ProxyKeys,
    SecurityKeys, ShareKeys, Sv1Keys, Top, UpstreamKeys,
};
use super::values::{Listen, NetworkChoice, NodeSpec, Nodes, WorkFloor};
use crate::exit::Exit;

/// Least expected hashes of a share outside regtest, unless configured (see `shares.work_min`).
pub const WORK_FLOOR: u64 = 1 << 16;

/// Everything that is configured, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The data folder.
    pub data: PathBuf,
    /// Where devices connect.
    pub listen: Listen,
    /// Where templates come from.
    pub node: Nodes,
    /// There is no node: `node` is not to be looked at.
    pub nodeless: bool,
    /// The Bitcoin network.
    pub network: Network,
    /// Whether something says that it is this one; a command that pays nobody takes any.
    pub network_is_told: bool,
    /// Who is paid; the pool itself, where miners are.
    pub payout: Payout,
    /// How miners are paid.
    pub payouts: Payouts,
    /// Status, metrics and page.
    pub http: Http,
    /// What we write into blocks.
    pub coinbase: Coinbase,
    /// How work is handed out.
    pub shares: Shares,
    /// What one peer may take.
    pub limits: Limits,
    /// The journal.
    pub ledger: LedgerKeys,
    /// The database made from it.
    pub books: BooksKeys,
    /// Several front ends.
    pub nats: NatsKeys,
    /// The pool's shape.
    pub pool: PoolKeys,
    /// Jobs of miners' own making.
    pub negotiation: NegotiationKeys,
    /// The template provider.
    pub provider: ProviderKeys,
    /// The job negotiator.
    pub negotiator: NegotiatorKeys,
    /// Certificates.
    pub keys: KeyKeys,
    /// What the miners' port speaks.
    pub security: SecurityKeys,
    /// Miners of Stratum V1.
    pub sv1: Sv1Keys,
    /// Servers that we connect to.
    pub upstream: UpstreamKeys,
    /// The mining proxy.
    pub proxy: ProxyKeys,
    /// Several nodes.
    pub nodes: NodeKeys,
    /// Bitcoin Core.
    pub ipc: Ipc,
    /// The embedded chain.
    pub embedded: Embedded,
    /// The CPU device.
    pub device: Device,
    /// Extensions of the protocol.
    pub extensions: Extensions,
    /// Logging.
    pub log: Log,
    /// Who is told what happens.
    pub notify: NotifyKeys,
    /// Every key as it was given, without secrets, for people to look at.
    pub shown: Vec<Shown>,
}

/// `shares.*` with the floor of the network put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Whether difficulty follows the share rate.
    pub vardiff: bool,
    /// Shares a minute that a channel should find.
    pub per_minute: u32,
    /// Expected hashes of the easiest share, at least 1.
    pub work_min: u64,
    /// Longest wait of an accepted share for its acknowledgement, in milliseconds.
    pub ack_delay_max_ms: u64,
    /// Shares remembered for each connection.
    pub seen_max: u32,
}

impl Device {
    /// Threads that mine on a machine with so many cores: as configured, or all but one, at least one.
    pub fn threads_on(&self, cores: usize) -> usize {
        match self.threads {
            0 => cores.saturating_sub(1).max(1),
            threads => threads as usize,
        }
    }
}

impl Settings {
    /// Reads and checks all sources.
    ///
    /// # Errors
    /// Everything that is wrong, with where it stands and what would be right.
    pub fn load(sources: &Sources) -> Result<Self, Exit> {
        let mut problems = Vec::new();
        let config = Config::gather(sources, &mut problems);
        let settings = Self::check(&config, &mut problems);
        match (Problem::exit(&problems), settings) {
            (Some(exit), _) => Err(exit),
            (None, Some(mut settings)) => {
                if sources.listens_everywhere && !settings.listen.explicit {
                    settings.listen.addr.set_ip(Ipv4Addr::UNSPECIFIED.into());
                }
                Ok(settings)
            }
            (None, None) => Err(Exit::usage("the configuration cannot be read")),
        }
    }

    /// The defaults with some keys changed: what a test needs.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn with(changes: &[(&str, &str)]) -> Result<Self, Exit> {
        let home = std::env::temp_dir().display().to_string();
        let mut sources = Sources {
            environment: vec![("HOME".into(), home)],
            ..Sources::default()
        };
        for (key, value) in changes {
            sources.flag(key, *value, format!("--set {key}={value}"));
        }
        Self::load(&sources)
    }

    /// Checks what was given. `None` when a value is wrong, and `problems` says which.
    pub fn check(config: &Config, problems: &mut Vec<Problem>) -> Option<Self> {
        // Every group is read before the first `?`, so that all mistakes are told at once.
        let top = Top::read(config, problems);
        let payout = PayoutKeys::read(config, problems);
        let shares = ShareKeys::read(config, problems);
        let http = Http::read(config, problems);
        let coinbase = Coinbase::read(config, problems);
        let limits = Limits::read(config, problems);
        let ledger = LedgerKeys::read(config, problems);
        let books = BooksKeys::read(config, problems);
        let nats = NatsKeys::read(config, problems);
        let pool = PoolKeys::read(config, problems);
        let negotiation = NegotiationKeys::read(config, problems);
        let provider = ProviderKeys::read(config, problems);
        let negotiator = NegotiatorKeys::read(config, problems);
        let keys = KeyKeys::read(config, problems);
        let security = SecurityKeys::read(config, problems);
        let sv1 = Sv1Keys::read(config, problems);
        let upstream = UpstreamKeys::read(config, problems);
        let proxy = ProxyKeys::read(config, problems);
        let nodes = NodeKeys::read(config, problems);
        let ipc = Ipc::read(config, problems);
        let embedded = Embedded::read(config, problems);
        let device = Device::read(config, problems);
        let extensions = Extensions::read(config, problems);
        let log = Log::read(config, problems);
        let notify = NotifyKeys::read(config, problems);
        let (top, embedded) = (top?, embedded?);
        let network = told(network(config, &top, &payout.as_ref()?.address), problems);
        let network_is_told = network.is_some_and(|(_, told)| told);
        let network = network.map(|(network, _)| network);
        let payee_keys = payout?;
        let payouts = Payouts::check(config, &payee_keys, network, problems);
        let payout = told(
            payee(config, &top, payee_keys.address, network, embedded.seed),
            problems,
        );
        let data = told(data(config, top.data), problems);
        problems.extend(speakable(config, extensions.as_ref()?, network));
        let mut negotiation = negotiation?;
        if let Some(payouts) = &payouts {
            negotiation.mode = payouts.negotiation(config, negotiation.mode, problems);
        }
        Some(Self {
            data: data?,
            listen: top.listen,
            node: top.node,
            nodeless: config.nodeless(),
            network: network?,
            network_is_told,
            payout: payout?,
            payouts: payouts?,
            http: http?,
            coinbase: coinbase?,
            shares: floor(shares?, network?),
            limits: per_address(config, limits?, &top.listen),
            ledger: ledger?,
            books: books?,
            nats: nats?,
            pool: pool?,
            negotiation,
            provider: provider?,
            negotiator: negotiator?,
            keys: keys?,
            security: security?,
            sv1: sv1?,
            upstream: upstream?,
            proxy: proxy?,
            nodes: nodes?,
            ipc: ipc?,
            embedded,
            device: device?,
            extensions: extensions?,
            log: log?,
            notify: notify?,
            shown: shown::all(config),
        })
    }
}

fn told<T>(result: Result<T, Option<Problem>>, problems: &mut Vec<Problem>) -> Option<T> {
    result.map_err(|problem| problems.extend(problem)).ok()
}

fn problem(config: &Config, key: &str, what: impl Into<String>, right: impl Into<String>) -> Option<Problem> {
    Some(Problem {
        origin: config.origin(key),
        what: what.into(),
        right: right.into(),
    })
}

fn data(config: &Config, given: PathBuf) -> Result<PathBuf, Option<Problem>> {
    let xdg = config
        .variable("XDG_DATA_HOME")
        .filter(|_| config.origin("data") == Origin::Default);
    if let Some(base) = xdg {
        return Ok(Path::new(base).join("adit"));
    }
    match (given.strip_prefix("~"), config.variable("HOME")) {
        (Err(_), _) => Ok(given),
        (Ok(rest), Some(home)) => Ok(Path::new(home).join(rest)),
        (Ok(_), None) => Err(problem(
            config,
            "data",
            format!("data is {given:?} and HOME is not set"),
            "name the data folder: --data DIR",
        )),
    }
}

/// Which network it is: what is configured, else what node and payout say without doubt; false beside one that nobody
/// has told.
fn network(config: &Config, top: &Top, payout: &str) -> Result<(Network, bool), Option<Problem>> {
    if config.nodeless() {
        return Ok(match top.network {
            NetworkChoice::Is(network) => (network, true),
            NetworkChoice::Auto => match Payout::network(payout) {
                Some(network) => (network, true),
                None => (Network::Bitcoin, false),
            },
        });
    }
    if let NodeSpec::Embedded { .. } = top.node.first() {
        return match top.network {
            NetworkChoice::Is(other) if other != Network::Regtest => Err(problem(
                config,
                "network",
                format!("network is {:?} with the embedded chain", name(other)),
                "give regtest or leave it out; other networks need a node (node = \"ipc:PATH\")",
            )),
            _ => Ok((Network::Regtest, true)),
        };
    }
    let sockets = top.node.iter().filter_map(|node| match node {
        NodeSpec::Ipc(socket) => Some(socket),
        NodeSpec::Embedded { .. } | NodeSpec::Rpc(_) | NodeSpec::Tdp(_) => None,
    });
    let mut by_port = top.node.iter().filter_map(|node| match node {
        NodeSpec::Rpc(node) => node.network(),
        _ => None,
    });
    match top.network {
        NetworkChoice::Is(network) => Ok((network, true)),
        NetworkChoice::Auto => sockets
            .filter_map(|socket| of_socket(socket))
            .next()
            .or_else(|| Payout::network(payout))
            .or_else(|| by_port.next())
            .map(|network| (network, true))
            .or_else(|| config.pays_nobody().then_some((Network::Bitcoin, false)))
            .ok_or_else(|| {
                problem(
                    config,
                    "network",
                    format!("cannot tell the network of {}", top.node),
                    "set network to main, testnet3, testnet4, signet or regtest",
                )
            }),
    }
}

/// Bitcoin Core puts the socket of a test network into a folder named for it.
fn of_socket(socket: &Path) -> Option<Network> {
    match socket.parent()?.file_name()?.to_str()? {
        "testnet3" => Some(Network::Testnet),
        "testnet4" => Some(Network::Testnet4),
        "signet" => Some(Network::Signet),
        "regtest" => Some(Network::Regtest),
        _ => None,
    }
}

fn payee(
    config: &Config,
    top: &Top,
    text: String,
    network: Option<Network>,
    seed: u64,
) -> Result<Payout, Option<Problem>> {
    // Without a network that has been told already, nothing can be said about the address.
    let network = network.ok_or(None)?;
    if text.is_empty() {
        return match top.node.first() {
            NodeSpec::Embedded { .. } => Ok(Payout::throw_away(seed)),
            _ if config.pays_nobody() || config.nodeless() => Ok(Payout::throw_away(seed)),
            NodeSpec::Ipc(_) | NodeSpec::Rpc(_) | NodeSpec::Tdp(_) => Err(problem(
                config,
                "payout.address",
                format!("payout.address is required with {}", top.node),
                "give the address or descriptor that is to earn the blocks: --payout ADDRESS",
            )),
        };
    }
    Payout::parse(&text, network).map_err(|right| {
        let shown = if text.contains("prv") {
            "a secret".to_owned()
        } else {
            format!("{text:?}")
        };
        problem(
            config,
            "payout.address",
            format!("payout.address is {shown}"),
            right,
        )
    })
}

/// Only what adit implements can be offered or asked for, and trials stay off networks of worth (REQ-EXT-001).
fn speakable(config: &Config, keys: &Extensions, network: Option<Network>) -> Vec<Problem> {
    let trials = keys.experimental && network == Some(Network::Regtest);
    let mut wrong = Vec::new();
    if keys.experimental && network.is_some_and(|network| network != Network::Regtest) {
        let (what, right) = (
            "extensions.experimental is true outside regtest",
            "ids from 0x4000 to 0x7fff are not for production (spec 3.4); leave it false, or use regtest",
        );
        wrong.extend(problem(config, "extensions.experimental", what, right));
    }
    let lists = [
        ("extensions.supported", &keys.supported),
        ("extensions.required", &keys.required),
        ("extensions.wanted", &keys.wanted),
    ];
    for (key, ids) in lists {
        for id in ids.ids() {
            let right = match (Range::of(*id), extension::find(*id)) {
                (Range::Experimental, _) if trials => continue,
                (Range::Experimental, _) => {
                    "it is experimental and not for production; on regtest, set extensions.experimental = true"
                }
                (_, Some(row)) if row.id == extension::NEGOTIATION => {
                    "leave it out: extension 0x0001 is spoken in any case"
                }
                (_, Some(row)) if row.implemented => continue,
                _ => "adit does not implement it; it implements 0x0002",
            };
            wrong.extend(problem(config, key, format!("{key} lists 0x{id:04x}"), right));
        }
    }
    wrong
}

/// Who is on this machine needs no fence that nobody asked for.
fn per_address(config: &Config, mut limits: Limits, listen: &Listen) -> Limits {
    let asked = config.origin("limits.connections_per_address_max") != Origin::Default;
    if listen.addr.ip().is_loopback() && !asked {
        limits.connections_per_address_max = 0;
    }
    limits
}

fn floor(keys: ShareKeys, network: Network) -> Shares {
    Shares {
        vardiff: keys.vardiff,
        per_minute: keys.per_minute,
        work_min: match keys.work_min {
            WorkFloor::Is(work) => work,
            WorkFloor::Auto if network == Network::Regtest => 1,
            WorkFloor::Auto => WORK_FLOOR,
        },
        ack_delay_max_ms: keys.ack_delay_max_ms,
        seen_max: keys.seen_max,
    }
}
