//! How the text of a value becomes the value: one [`Field`] a type.

use std::path::PathBuf;

use bitcoin::Network;

use adit_proto::declare::client::Mode;

use super::rpc::RpcNode;
use super::source::Raw;
use super::values::{
    Alias, Aliases, BlockNodes, DrainTo, ExtensionIds, Hosts, HttpListen, JobsFrom, Level, Listen, LogFormat,
    NatsPrefix, NatsUrl, NegotiationMode, NetworkChoice, NodeSpec, Nodes, Other, Place, Places, PreferNode,
    ProxyMode, Scheme, SmallDevice, SmallDevices, Tag, Upstreams, WorkFloor,
};

use crate::books::Db;
use crate::tell::Secret;
use crate::uplink::Upstream;
use crate::uplink::supervisor::UPSTREAMS_MAX;

/// Smallest and largest number, or length in bytes.
pub type Range = Option<(u64, u64)>;

/// A type of value.
pub(super) trait Field: Sized {
    /// What would be right, as it follows "give".
    fn expected(range: Range) -> String;

    /// Reads it; the error is what would be right.
    fn read(raw: &Raw, range: Range, explicit: bool) -> Result<Self, String>;
}

fn text(raw: &Raw) -> Option<&str> {
    match raw {
        Raw::Bare(text) | Raw::Text(text) => Some(text),
        _ => None,
    }
}

/// For the types that are text and need nothing but the text.
macro_rules! text_field {
    ($ty:ty, $expected:expr, $parse:expr) => {
        impl Field for $ty {
            fn expected(_: Range) -> String {
                $expected.to_string()
            }
            fn read(raw: &Raw, range: Range, _: bool) -> Result<Self, String> {
                let parse: fn(&str) -> Option<Self> = $parse;
                text(raw)
                    .and_then(parse)
                    .ok_or_else(|| <Self as Field>::expected(range))
            }
        }
    };
}

impl Field for bool {
    fn expected(_: Range) -> String {
        "true or false".into()
    }

    fn read(raw: &Raw, range: Range, _: bool) -> Result<Self, String> {
        match raw {
            Raw::Bool(value) => Ok(*value),
            Raw::Bare(text) if text == "true" => Ok(true),
            Raw::Bare(text) if text == "false" => Ok(false),
            _ => Err(Self::expected(range)),
        }
    }
}

fn integer(raw: &Raw, range: Range) -> Option<u64> {
    let value = match raw {
        Raw::Integer(value) => u64::try_from(*value).ok()?,
        Raw::Bare(text) => text.parse().ok()?,
        _ => return None,
    };
    let (low, high) = range.unwrap_or((0, u64::MAX));
    (low..=high).contains(&value).then_some(value)
}

macro_rules! integer_field {
    ($($ty:ty),*) => { $(
        impl Field for $ty {
            fn expected(range: Range) -> String {
                let (low, high) = range.unwrap_or((0, <$ty>::MAX.into()));
                if high == u64::MAX { format!("a whole number from {low}") }
                else { format!("a whole number from {low} to {high}") }
            }
            fn read(raw: &Raw, range: Range, _: bool) -> Result<Self, String> {
                integer(raw, range)
                    .and_then(|value| value.try_into().ok())
                    .ok_or_else(|| <Self as Field>::expected(range))
            }
        }
    )* };
}
integer_field!(u16, u32, u64);

impl Field for String {
    fn expected(range: Range) -> String {
        match range {
            Some((_, high)) => format!("text of at most {high} bytes without control characters"),
            None => "text".into(),
        }
    }

    fn read(raw: &Raw, range: Range, _: bool) -> Result<Self, String> {
        let (low, high) = range.unwrap_or((0, u64::MAX));
        text(raw)
            .filter(|text| (low..=high).contains(&(text.len() as u64)))
            .filter(|text| !text.chars().any(char::is_control))
            .map(str::to_owned)
            .ok_or_else(|| Self::expected(range))
    }
}

text_field!(PathBuf, "a folder", |text| (!text.is_empty())
    .then(|| text.into()));

impl Field for Listen {
    fn expected(_: Range) -> String {
        "an IP address and a port, such as 127.0.0.1:3333; port 0 is any free one".into()
    }

    fn read(raw: &Raw, range: Range, explicit: bool) -> Result<Self, String> {
        let addr = text(raw).and_then(|text| text.replace("localhost:", "127.0.0.1:").parse().ok());
        addr.map(|addr| Self { addr, explicit })
            .ok_or_else(|| Self::expected(range))
    }
}

impl Field for HttpListen {
    fn expected(_: Range) -> String {
        "an IP address and a port, such as 127.0.0.1:3380, or off".into()
    }

    fn read(raw: &Raw, range: Range, explicit: bool) -> Result<Self, String> {
        match text(raw) {
            Some("off") => Ok(Self::Off),
            _ => Listen::read(raw, range, explicit)
                .map(Self::On)
                .map_err(|_| Self::expected(range)),
        }
    }
}

fn node_expected() -> String {
    format!(
        "embedded, embedded:LOG2 with LOG2 from 1 to {}, ipc:PATH, rpc:USER:PASSWORD@HOST:PORT, http(s)://USER:PASSWORD@HOST:PORT or tdp:URL; or at most \
         {} of the last four, the preferred one first",
        NodeSpec::LOG2_MAX,
        Nodes::COUNT_MAX
    )
}

fn node(spec: &str) -> Result<NodeSpec, String> {
    match spec.split_once(':') {
        None if spec == "embedded" => Ok(NodeSpec::Embedded { log2: None }),
        Some(("embedded", log2)) => match log2.parse() {
            Ok(log2 @ 1..=NodeSpec::LOG2_MAX) => Ok(NodeSpec::Embedded { log2: Some(log2) }),
            _ => Err(node_expected()),
        },
        Some(("ipc", path)) if !path.is_empty() => Ok(NodeSpec::Ipc(path.into())),
        Some(("tdp", url)) => url
            .parse()
            .map(NodeSpec::Tdp)
            .map_err(|error| format!("a template provider's URL behind tdp: ({error})")),
        Some(("rpc", node)) => RpcNode::parse(node).map(NodeSpec::Rpc),
        // As other pools take them.
        Some(("http" | "https", _)) => RpcNode::parse(spec).map(NodeSpec::Rpc),
        _ => Err(node_expected()),
    }
}

/// A comma separates where a kind of node follows: paths may hold commas.
fn nodes(text: &str) -> Vec<String> {
    const KINDS: [&str; 6] = ["embedded", "ipc:", "tdp:", "rpc:", "http://", "https://"];
    let mut list: Vec<String> = Vec::new();
    for part in text.split(',') {
        let starts = KINDS.iter().any(|kind| part.trim_start().starts_with(kind));
        match list.last_mut() {
            Some(last) if !starts => {
                last.push(',');
                last.push_str(part);
            }
            _ => list.push(part.to_owned()),
        }
    }
    list
}

/// The nodes of a list; none where it is none.
fn specs(raw: &Raw) -> Option<Result<Vec<NodeSpec>, String>> {
    let specs = match raw {
        Raw::Bare(text) | Raw::Text(text) => nodes(text),
        Raw::List(specs) => specs.clone(),
        _ => return None,
    };
    Some(specs.iter().map(|spec| node(spec.trim())).collect())
}

impl Field for BlockNodes {
    fn expected(_: Range) -> String {
        "nothing, or a list of ipc:PATH, rpc:USER:PASSWORD@HOST:PORT and http(s)://USER:PASSWORD@HOST:PORT"
            .into()
    }

    fn read(raw: &Raw, range: Range, _: bool) -> Result<Self, String> {
        if matches!(raw, Raw::Bare(text) | Raw::Text(text) if text.is_empty()) {
            return Ok(Self::default());
        }
        let list = specs(raw).ok_or_else(|| Self::expected(range))??;
        let takes_blocks = |spec: &NodeSpec| matches!(spec, NodeSpec::Ipc(_) | NodeSpec::Rpc(_));
        match list.len() <= Nodes::COUNT_MAX && list.iter().all(takes_blocks) {
            true => Ok(Self(list)),
            false => Err(Self::expected(range)),
        }
    }
}

text_field!(
    NegotiationMode,
    "off, full-template, coinbase-only or both",
    |text| match text {
        "off" => Some(Self::Off),
        "full-template" => Some(Self::FullTemplate),
        "coinbase-only" => Some(Self::CoinbaseOnly),
        "both" => Some(Self::Both),
        _ => None,
    }
);

text_field!(ProxyMode, "aggregate or transparent", |text| match text {
    "aggregate" => Some(Self::Aggregate),
    "transparent" => Some(Self::Transparent),
    _ => None,
});

impl Field for Upstreams {
    fn expected(_: Range) -> String {
        format!(
            "nothing, or a list of at most {UPSTREAMS_MAX} of {}",
            Upstream::EXPECTED
        )
    }

    fn read(raw: &Raw, range: Range, _: bool) -> Result<Self, String> {
        let list: Vec<&str> = match raw {
            Raw::Bare(text) | Raw::Text(text) => text.split_whitespace().collect(),
            Raw::List(list) => list.iter().map(String::as_str).collect(),
            _ => return Err(Self::expected(range)),
        };
        let list = list
            .iter()
            .map(|text| text.parse())
            .collect::<Result<Vec<_>, _>>()?;
        match list.len() <= UPSTREAMS_MAX {
            true => Ok(Self(list)),
            false => Err(Self::expected(range)),
        }
    }
}

impl Field for Places {
    fn expected(_: Range) -> String {
        format!("nothing, or a list of at most {} HOST:PORT", Self::COUNT_MAX)
    }

    fn read(raw: &Raw, range: Range, _: bool) -> Result<Self, String> {
        let list: Vec<&str> = match raw {
            Raw::Bare(text) | Raw::Text(text) => text.split_whitespace().collect(),
            Raw::List(list) => list.iter().map(String::as_str).collect(),
            _ => return Err(Self::expected(range)),
        };
        let place = |text: &&str| {
            let place: Place = text.parse().ok()?;
            let named = !place.host.is_empty() && place.port != 0;
            named.then(|| (place.host.to_ascii_lowercase(), place.port))
        };
        let places: Option<Vec<_>> = list.iter().map(place).collect();
        match places {
            Some(places) if places.len() <= Self::COUNT_MAX => Ok(Self(places)),
            _ => Err(Self::expected(range)),
        }
    }
}

text_field!(Mode, "full-template or coinbase-only", |text| match text {
    "full-template" => Some(Self::FullTemplate),
    "coinbase-only" => Some(Self::CoinbaseOnly),
    _ => None,
});

text_field!(
    Secret,
    "nothing, the path of a file that holds the secret, or env:NAME",
    Secret::parse
);

text_field!(PreferNode, "order or fees", |text| match text {
    "order" => Some(Self::Order),
    "fees" => Some(Self::Fees),
    _ => None,
});

impl Field for Nodes {
    fn expected(_: Range) -> String {
        node_expected()
    }

    fn read(raw: &Raw, range: Range, _: bool) -> Result<Self, String> {
        let list = specs(raw).ok_or_else(|| Self::expected(range))??;
        let alone = list.len() == 1;
        let twice = (1..list.len()).any(|at| list[at..].contains(&list[at - 1]));
        let embedded = list.iter().any(|spec| matches!(spec, NodeSpec::Embedded { .. }));
        if list.is_empty() || list.len() > Self::COUNT_MAX || twice || (embedded && !alone) {
            return Err(Self::expected(range));
        }
        Ok(Self(list))
    }
}

text_field!(
    NetworkChoice,
    "auto, main, testnet3, testnet4, signet or regtest",
    |text| {
        Some(Self::Is(match text {
            "auto" => return Some(Self::Auto),
            "main" => Network::Bitcoin,
            "testnet3" => Network::Testnet,
            "testnet4" => Network::Testnet4,
            "signet" => Network::Signet,
            "regtest" => Network::Regtest,
            _ => return None,
        }))
    }
);

impl Field for Tag {
    fn expected(_: Range) -> String {
        format!("at most {} printable ASCII characters", Self::BYTES_MAX)
    }

    fn read(raw: &Raw, range: Range, _: bool) -> Result<Self, String> {
        let printable = |text: &&str| text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        text(raw)
            .filter(|text| text.len() <= Self::BYTES_MAX)
            .filter(printable)
            .map(|text| Self(text.to_owned()))
            .ok_or_else(|| Self::expected(range))
    }
}

impl Field for WorkFloor {
    fn expected(range: Range) -> String {
        format!("auto or {}", u64::expected(range))
    }

    fn read(raw: &Raw, range: Range, explicit: bool) -> Result<Self, String> {
        match text(raw) {
            Some("auto") => Ok(Self::Auto),
            _ => u64::read(raw, range, explicit)
                .map(Self::Is)
                .map_err(|_| Self::expected(range)),
        }
    }
}

fn host(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    !name.is_empty() && name.len() <= 253 && name.bytes().all(allowed)
}

impl Field for Hosts {
    fn expected(_: Range) -> String {
        format!(
            "at most {} host names without ports, such as pool.example.org",
            Self::COUNT_MAX
        )
    }

    fn read(raw: &Raw, range: Range, _: bool) -> Result<Self, String> {
        let names: Vec<&str> = match raw {
            Raw::Bare(text) | Raw::Text(text) if text.is_empty() => Vec::new(),
            Raw::Bare(text) | Raw::Text(text) => text.split(',').map(str::trim).collect(),
            Raw::List(names) => names.iter().map(String::as_str).collect(),
            _ => return Err(Self::expected(range)),
        };
        if names.len() > Self::COUNT_MAX || !names.iter().all(|name| host(name)) {
            return Err(Self::expected(range));
        }
        Ok(Self(names.into_iter().map(str::to_ascii_lowercase).collect()))
    }
}

text_field!(Scheme, "address, solo, pplns or pool", Scheme::of);

text_field!(Other, "none, solo, address, pplns or pool", |text| match text {
    "none" => Some(Self::None),
    _ => Scheme::of(text).map(Self::Is),
});

/// The parts of a list, trimmed; none where it is no list.
fn parts(raw: &Raw) -> Option<Vec<&str>> {
    match raw {
        Raw::Bare(text) | Raw::Text(text) if text.is_empty() => Some(Vec::new()),
        Raw::Bare(text) | Raw::Text(text) => Some(text.split(',').map(str::trim).collect()),
        Raw::List(parts) => Some(parts.iter().map(|part| part.trim()).collect()),
        _ => None,
    }
}

impl Field for SmallDevices {
    fn expected(_: Range) -> String {
        let (low, high) = (Self::FRAME_RANGE.start(), Self::FRAME_RANGE.end());
        format!(
            "at most {} parts of names of devices, each with :BYTES from {low} to {high} if need be",
            Self::COUNT_MAX
        )
    }

    fn read(raw: &Raw, range: Range, _: bool) -> Result<Self, String> {
        let device = |part: &str| {
            let (name, bytes) = part
                .split_once(':')
                .map_or((part, None), |(name, bytes)| (name, Some(bytes)));
            let frame_bytes = bytes.map_or(Some(Self::FRAME_BYTES), |bytes| bytes.parse().ok())?;
            let good = (1..=64).contains(&name.len()) && Self::FRAME_RANGE.contains(&frame_bytes);
            good.then(|| SmallDevice {
                name: name.to_ascii_lowercase(),
                frame_bytes,
            })
        };
        let parts = parts(raw).filter(|parts| parts.len() <= Self::COUNT_MAX);
        let devices = parts.and_then(|parts| parts.into_iter().map(device).collect());
        devices.map(Self).ok_or_else(|| Self::expected(range))
    }
}

impl Field for Aliases {
    fn expected(_: Range) -> String {
        format!("at most {} of {}", Self::COUNT_MAX, Alias::EXPECTED)
    }

    fn read(raw: &Raw, range: Range, _: bool) -> Result<Self, String> {
        let alias = |part: &str| {
            let (name, address) = part.split_once('=')?;
            Alias::new(name.trim(), address.trim())
        };
        let parts = parts(raw).filter(|parts| parts.len() <= Self::COUNT_MAX);
        let aliases = parts.and_then(|parts| parts.into_iter().map(alias).collect());
        aliases.map(Self).ok_or_else(|| Self::expected(range))
    }
}

impl Field for DrainTo {
    fn expected(_: Range) -> String {
        Place::EXPECTED.into()
    }

    fn read(raw: &Raw, range: Range, _: bool) -> Result<Self, String> {
        match text(raw) {
            Some("") => Ok(Self(None)),
            Some(place) => place
                .parse()
                .map(|place| Self(Some(place)))
                .map_err(|()| Self::expected(range)),
            None => Err(Self::expected(range)),
        }
    }
}

impl Field for JobsFrom {
    fn expected(_: Range) -> String {
        "nothing, or stratum2+tcp://HOST:PORT/KEY".into()
    }

    fn read(raw: &Raw, range: Range, _: bool) -> Result<Self, String> {
        match text(raw) {
            Some("") => Ok(Self(None)),
            Some(url) => url
                .parse()
                .map(|url| Self(Some(url)))
                .map_err(|error| format!("{} ({error})", Self::expected(range))),
            None => Err(Self::expected(range)),
        }
    }
}

impl Field for NatsUrl {
    fn expected(_: Range) -> String {
        "nothing, or nats://HOST:PORT or tls://HOST:PORT, several separated by commas".into()
    }

    fn read(raw: &Raw, range: Range, _: bool) -> Result<Self, String> {
        text(raw)
            .and_then(Self::parse)
            .ok_or_else(|| Self::expected(range))
    }
}

impl Field for NatsPrefix {
    fn expected(_: Range) -> String {
        "1 to 32 letters, digits, - or _".into()
    }

    fn read(raw: &Raw, range: Range, _: bool) -> Result<Self, String> {
        text(raw)
            .and_then(Self::parse)
            .ok_or_else(|| Self::expected(range))
    }
}

fn extension_id(text: &str) -> Option<u16> {
    let id = match text.strip_prefix("0x") {
        Some(hex) => u16::from_str_radix(hex, 16),
        None => text.parse(),
    };
    id.ok().filter(|id| (1..=0x7fff).contains(id))
}

impl Field for ExtensionIds {
    fn expected(_: Range) -> String {
        format!(
            "at most {} ids of extensions from 0x0001 to 0x7fff, such as 0x0002",
            Self::COUNT_MAX
        )
    }

    fn read(raw: &Raw, range: Range, _: bool) -> Result<Self, String> {
        let texts: Vec<&str> = match raw {
            Raw::Bare(text) | Raw::Text(text) if text.is_empty() => Vec::new(),
            Raw::Bare(text) | Raw::Text(text) => text.split(',').map(str::trim).collect(),
            Raw::List(texts) => texts.iter().map(String::as_str).collect(),
            _ => return Err(Self::expected(range)),
        };
        let ids: Option<Vec<u16>> = texts.into_iter().map(extension_id).collect();
        let mut ids = ids
            .filter(|ids| ids.len() <= Self::COUNT_MAX)
            .ok_or_else(|| Self::expected(range))?;
        ids.sort_unstable();
        ids.dedup();
        Ok(Self(ids))
    }
}

text_field!(Db, Db::EXPECTED, Db::parse);

text_field!(Level, "error, warn, info, debug or trace", |text| {
    Some(match text {
        "error" => Self::Error,
        "warn" => Self::Warn,
        "info" => Self::Info,
        "debug" => Self::Debug,
        "trace" => Self::Trace,
        _ => return None,
    })
});

text_field!(LogFormat, "text or json", |text| {
    Some(match text {
        "text" => Self::Text,
        "json" => Self::Json,
        _ => return None,
    })
});
