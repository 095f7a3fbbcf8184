//! From `node` of the configuration to a running template source.

use std::path::Path;
use std::time::Duration;

use adit_net::Clock;
use adit_node::several::{Member, Prefer, Several};
use adit_node::{Constraints, Node, embedded, ipc, rpc, tdp};

use crate::config::{NodeSpec, PreferNode, Settings};
use crate::exit::Exit;

/// Hashes the embedded chain's block takes by default: what this machine finds in about this time.
const BLOCK_SECONDS: f64 = 4.0;
/// Between two templates of the embedded chain on one tip.
const EMBEDDED_INTERVAL: Duration = Duration::from_secs(5);

/// Starts the sources that are configured, as one. `data` is the folder of an embedded chain, `constraints` the room
/// that the consumer needs in the coinbase.
///
/// # Errors
/// When the chain's file cannot be used or no thread can be started. A node that is away is no error.
pub(crate) fn spawn(
    settings: &Settings,
    data: &Path,
    constraints: Constraints,
    clock: &Clock,
) -> Result<Node, Exit> {
    let givers = settings.node.iter().map(|spec| (spec, true));
    let takers = settings.nodes.blocks.iter().map(|spec| (spec, false));
    let mut members = Vec::new();
    for (spec, templates) in givers.chain(takers) {
        members.push(Member {
            name: spec.to_string(),
            node: one(spec, templates, settings, data, constraints, clock)?,
            templates,
        });
    }
    match members.len() {
        1 => members
            .pop()
            .map(|member| member.node)
            .ok_or_else(|| Exit::failed("there is no node")),
        _ => started(adit_node::spawn(Several::new(members, prefer(settings)))),
    }
}

/// A source for who has no node: it gives nothing and takes nothing.
///
/// # Errors
/// When no thread can be started.
pub(crate) fn none() -> Result<Node, Exit> {
    started(adit_node::spawn(adit_node::nothing::Nothing))
}

fn prefer(settings: &Settings) -> Prefer {
    match settings.nodes.prefer {
        PreferNode::Order => Prefer::Order,
        PreferNode::Fees => Prefer::Fees {
            gain_min_sat: settings.nodes.gain_sat,
        },
    }
}

/// Starts one source; `templates`: it gives some.
fn one(
    spec: &NodeSpec,
    templates: bool,
    settings: &Settings,
    data: &Path,
    constraints: Constraints,
    clock: &Clock,
) -> Result<Node, Exit> {
    started(match spec {
        NodeSpec::Embedded { log2 } => {
            let log2 = log2.unwrap_or_else(default_log2);
            let time = clock.clone();
            let shape = embedded::Settings {
                path: Some(data.join("chain")),
                seed: settings.embedded.seed,
                transactions_per_block: settings.embedded.transactions as usize,
                template_interval: EMBEDDED_INTERVAL,
                constraints,
                ..embedded::Settings::new(log2, move || time.unix_s())
            };
            let source = embedded::Embedded::new(shape).map_err(|error| {
                Exit::failed(format!("the embedded chain: {error}"))
                    .help("another --data DIR starts a new chain")
            })?;
            adit_node::spawn(source)
        }
        NodeSpec::Ipc(path) => adit_node::spawn(ipc::Ipc::new(ipc::Settings {
            chain: chain(settings),
            fee_delta_sat: settings.ipc.fee_delta_sat,
            interval_ms: settings.ipc.interval_ms,
            constraints,
            ..ipc::Settings::new(path)
        })),
        NodeSpec::Rpc(node) => {
            let login = node.login(settings.network, std::env::home_dir().as_deref());
            let tls = node
                .tls()
                .map_err(|why| Exit::usage(format!("node {node}: {why}")))?;
            adit_node::spawn(rpc::Rpc::new(rpc::Settings {
                path: node.path.clone(),
                tls,
                templates,
                zmq: node.zmq.clone(),
                notify: node.notify,
                chain: chain(settings),
                fee_delta_sat: settings.ipc.fee_delta_sat,
                interval_ms: settings.ipc.interval_ms,
                constraints,
                ..rpc::Settings::new(node.address.clone(), login)
            }))
        }
        NodeSpec::Tdp(url) => adit_node::spawn(tdp::Tdp::new(tdp::Settings {
            url: url.clone(),
            constraints,
            dialling: settings.dialling(),
            clock: clock.clone(),
        })),
    })
}

/// What a node has to call its chain, where somebody has told which it is to be.
fn chain(settings: &Settings) -> Option<String> {
    settings
        .network_is_told
        .then(|| settings.network.to_core_arg().to_owned())
}

fn started(spawned: std::io::Result<Node>) -> Result<Node, Exit> {
    spawned.map_err(|error| Exit::failed(format!("cannot start the template source: {error}")))
}

/// The power of two that this machine's own device finds in a few seconds.
fn default_log2() -> u8 {
    let hashes = crate::device::measure_hash_rate() * BLOCK_SECONDS;
    // Between 2^8, at once on anything, and 2^40.
    (hashes.max(1.0).log2().round() as u8).clamp(8, 40)
}
