//! The types of configuration values: each is right once it exists.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use adit_net::{Plaintext, Url};
use bitcoin::Network;

use super::rpc::RpcNode;

/// A socket to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Address and port; port 0 is any free one.
    pub addr: SocketAddr,
    /// Whether somebody asked for just this one. If not, a busy port may be replaced by a free one.
    pub explicit: bool,
}

/// Where HTTP is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpListen {
    /// Nowhere.
    Off,
    /// There.
    On(Listen),
}

/// Where templates come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeSpec {
    /// The regtest chain inside this process.
    Embedded {
        /// Work of one block as a power of two of hashes; `None` is what this machine's own device
        /// finds in a few seconds.
        log2: Option<u8>,
    },
    /// A Bitcoin Core node by its Cap'n Proto socket.
    Ipc(PathBuf),
    /// Any node that answers getblocktemplate.
    Rpc(RpcNode),
    /// Anybody's template provider.
    Tdp(Url),
}

impl NodeSpec {
    /// Largest `LOG2` of `embedded:LOG2`. What no machine will ever find needs no number above it.
    pub const LOG2_MAX: u8 = 80;
}

impl fmt::Display for NodeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded { log2: None } => f.write_str("embedded"),
            Self::Embedded { log2: Some(log2) } => write!(f, "embedded:{log2}"),
            Self::Ipc(path) => write!(f, "ipc:{}", path.display()),
            Self::Rpc(node) => write!(f, "rpc:{node}"),
            Self::Tdp(url) => write!(f, "tdp:{url}"),
        }
    }
}

/// Nodes that get found blocks and give no templates; usually none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockNodes(pub(super) Vec<NodeSpec>);

impl BlockNodes {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &NodeSpec> {
        self.0.iter()
    }
}

/// How a proxy stands between devices and pools (docs/proxy.md).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyMode {
    /// All devices share one channel of the pool.
    #[default]
    Aggregate,
    /// Each channel below has a channel of its own above.
    Transparent,
}

/// Which jobs of miners' own making a pool takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NegotiationMode {
    /// None.
    Off,
    /// Those whose transactions were declared and checked.
    FullTemplate,
    /// Those whose transactions nobody here sees.
    CoinbaseOnly,
    /// Either.
    Both,
}

impl NegotiationMode {
    /// Whether jobs may be declared with their transactions.
    pub const fn full_template(self) -> bool {
        matches!(self, Self::FullTemplate | Self::Both)
    }

    /// Whether jobs may be set without their transactions.
    pub const fn coinbase_only(self) -> bool {
        matches!(self, Self::CoinbaseOnly | Self::Both)
    }
}

/// Which of several nodes on the same tip is mined on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreferNode {
    /// The first of the list.
    Order,
    /// The one whose template pays more.
    Fees,
}

/// Where templates come from, the preferred place first; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nodes(pub(super) Vec<NodeSpec>);

impl Nodes {
    /// Most nodes in the list.
    pub const COUNT_MAX: usize = 16;

    /// The preferred one.
    pub fn first(&self) -> &NodeSpec {
        self.0.first().unwrap_or(&NodeSpec::Embedded { log2: None })
    }

    /// All of them, the preferred one first.
    pub fn iter(&self) -> impl Iterator<Item = &NodeSpec> {
        self.0.iter()
    }
}

impl fmt::Display for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, node) in self.0.iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            write!(f, "{comma}{node}")?;
        }
        Ok(())
    }
}

/// Pools that we mine at, the preferred one first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstreams(pub(super) Vec<crate::uplink::Upstream>);

impl Upstreams {
    /// All of them.
    pub fn list(&self) -> &[crate::uplink::Upstream] {
        &self.0
    }
}

/// Places to which a pool of Stratum V1 may send us: host names in lower case, and ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places(pub(super) Vec<(String, u16)>);

impl Places {
    /// Most places in the list.
    pub const COUNT_MAX: usize = 64;

    /// All of them.
    pub fn list(&self) -> &[(String, u16)] {
        &self.0
    }
}

/// The Bitcoin network, or how to find it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkChoice {
    /// From the node, the folder of its socket, and the payout address.
    Auto,
    /// This one.
    Is(Network),
}

/// Where a client is sent by Reconnect (spec 3.6.5): what is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// An ASCII host name or an IP address without brackets; empty: the present host.
    pub host: String,
    /// Port; 0: the present port.
    pub port: u16,
}

impl Place {
    /// What may be given.
    pub const EXPECTED: &'static str = "HOST:PORT, HOST or :PORT, or same for the present host and port; a host is an ASCII name or an IP address";
}

impl std::str::FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "same" {
            return Ok(Self::default());
        }
        let is_ip = |host: &str| host.parse::<std::net::Ipv6Addr>().map(drop).map_err(drop);
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, port) = rest.split_once(']').ok_or(())?;
            is_ip(host)?;
            let port = (!port.is_empty()).then(|| port.strip_prefix(':').unwrap_or_default());
            (host, port)
        } else if text.matches(':').count() > 1 {
            is_ip(text)?;
            (text, None)
        } else {
            let (host, port) = text
                .split_once(':')
                .map_or((text, None), |(host, port)| (host, Some(port)));
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            if host.len() > 255 || !host.bytes().all(is_name) || (host.is_empty() && port.is_none()) {
                return Err(());
            }
            (host, port)
        };
        let port = match port.map(str::parse) {
            None => 0,
            Some(Ok(port @ 1..)) => port,
            Some(_) => return Err(()),
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.host.as_str(), self.port) {
            ("", 0) => f.write_str("same"),
            (host, 0) => f.write_str(host),
            (host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            (host, port) => write!(f, "{host}:{port}"),
        }
    }
}

/// A [`Place`], or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrainTo(pub Option<Place>);

/// Where distributed jobs come from, if from anywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobsFrom(pub Option<Url>);

/// Where NATS is, if anywhere. It may hold a password, which is never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct NatsUrl(pub Option<String>);

impl NatsUrl {
    /// Reads it; nothing is none.
    pub fn parse(given: &str) -> Option<Self> {
        if given.is_empty() {
            return Some(Self(None));
        }
        let known = |one: &str| {
            let url = one.trim();
            let scheme = url.split_once("://").map(|(scheme, _)| scheme);
            matches!(scheme, Some("nats" | "tls")) && crate::fleet::bus::place(url).is_some()
        };
        given.split(',').all(known).then(|| Self(Some(given.to_owned())))
    }
}

impl fmt::Debug for NatsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("none"),
            Some(url) => f.write_str(&crate::fleet::bus::places(url)),
        }
    }
}

/// First word of subjects and buckets at NATS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatsPrefix(pub String);

impl NatsPrefix {
    /// Reads it.
    pub fn parse(given: &str) -> Option<Self> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let well = (1..=32).contains(&given.len()) && given.bytes().all(fits);
        well.then(|| Self(given.to_owned()))
    }
}

/// Ids of extensions of the protocol (spec 3.4), sorted, each once. That adit implements them, or that they are
/// experimental and trials are allowed, is checked by [`Settings::check`](super::Settings::check).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtensionIds(pub(super) Vec<u16>);

impl ExtensionIds {
    /// Most ids in a list.
    pub const COUNT_MAX: usize = 64;

    /// The ids.
    pub fn ids(&self) -> &[u16] {
        &self.0
    }
}

/// The text that a pool writes into its coinbase: at most [`Tag::BYTES_MAX`] printable ASCII bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tag(pub(super) String);

impl Tag {
    /// Longest tag. The scriptSig has 100 bytes: height (up to 8), start epoch (4), extranonce and tag.
    pub const BYTES_MAX: usize = 32;

    /// The tag as bytes; empty when there is none.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The least work of a share, before the network is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkFloor {
    /// By network.
    Auto,
    /// This many hashes.
    Is(u64),
}

/// Host names by which a browser may ask, besides IP addresses, `localhost` and names in `.local`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(pub Vec<String>);

impl Hosts {
    /// Most names in the list.
    pub const COUNT_MAX: usize = 16;
}

/// Who may receive the jobs that a negotiator distributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receivers {
    /// Nobody.
    Off,
    /// Programs on this machine.
    Loopback,
    /// And on private networks.
    Private,
    /// Anybody who can connect.
    Anybody,
}

impl Receivers {
    /// Whether a peer may.
    pub fn allows(self, peer: IpAddr) -> bool {
        match self {
            Self::Off => false,
            Self::Loopback => Plaintext::Loopback.allows(peer),
            Self::Private => Plaintext::Private.allows(peer),
            Self::Anybody => true,
        }
    }
}

/// How blocks are paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// To the pool's address, whatever miners are called.
    Address,
    /// To the miner who finds it.
    Solo,
    /// In the coinbase, to all who did the last work.
    Pplns,
    /// To the pool, which owes those who did the last work.
    Pool,
}

impl Scheme {
    /// As it is configured.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Solo => "solo",
            Self::Pplns => "pplns",
            Self::Pool => "pool",
        }
    }

    /// The scheme of a word.
    pub fn of(word: &str) -> Option<Self> {
        let all = [Self::Address, Self::Solo, Self::Pplns, Self::Pool];
        all.into_iter().find(|scheme| scheme.word() == word)
    }
}

/// The scheme of miners who ask for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Other {
    /// There is none.
    None,
    /// This one.
    Is(Scheme),
}

/// A device that takes short job messages only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmallDevice {
    /// Part of what it calls itself, in small letters.
    pub name: String,
    /// Longest job message in bytes.
    pub frame_bytes: u32,
}

/// Devices that take short job messages only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SmallDevices(pub Vec<SmallDevice>);

impl SmallDevices {
    /// Most devices in the list.
    pub const COUNT_MAX: usize = 64;
    /// What a device of this kind takes, unless it is told.
    pub const FRAME_BYTES: u32 = 8_192;
    /// Shortest and longest job message that may be asked for.
    pub const FRAME_RANGE: std::ops::RangeInclusive<u32> = 2_048..=65_536;
}

/// A short name for an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// Letters, digits, `-` and `_`.
    pub name: String,
    /// An address or descriptor; whether it can be paid is checked with the network.
    pub address: String,
}

impl Alias {
    /// What may be given.
    pub const EXPECTED: &'static str = "NAME=ADDRESS, with a name of at most 32 letters, digits, - and _";

    /// An alias, if its name may be one.
    pub fn new(name: &str, address: &str) -> Option<Self> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let good = (1..=32).contains(&name.len()) && name.bytes().all(is_name) && !address.is_empty();
        good.then(|| Self {
            name: name.to_owned(),
            address: address.to_owned(),
        })
    }
}

/// Short names for addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aliases(pub Vec<Alias>);

impl Aliases {
    /// Most names in the list; a file may have more.
    pub const COUNT_MAX: usize = 1_000;
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// What needs somebody.
    Error,
    /// And what may need somebody.
    Warn,
    /// And what happened.
    Info,
    /// And why.
    Debug,
    /// And each step.
    Trace,
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
