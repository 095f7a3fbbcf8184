//! From `node` of the configuration to a running template source.

use std::path::Path;
use std::time::Duration;

use adit_net::Clock;
use adit_node::{Constraints, embedded, ipc, tdp};

use crate::config::{NodeSpec, Settings};
use crate::exit::Exit;

/// Hashes the embedded chain's block takes by default: what this machine finds in about this time.
const BLOCK_SECONDS: f64 = 4.0;
/// Between two templates of the embedded chain on one tip.
const EMBEDDED_INTERVAL: Duration = Duration::from_secs(5);

/// Starts the preferred source. `data` is the folder of an embedded chain, `constraints` the room that the consumer
/// needs in the coinbase.
///
/// # Errors
/// When the chain's file cannot be used or no thread can be started. A node that is away is no error.
pub(crate) fn spawn(
    settings: &Settings,
    data: &Path,
    constraints: Constraints,
    clock: &Clock,
) -> Result<adit_node::Node, Exit> {
    if settings.node.iter().count() > 1 {
        tracing::warn!(node = %settings.node.first(), "only the first node is used; the others wait for a later version");
    }
    let spawned = match settings.node.first() {
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
            fee_delta_sat: settings.ipc.fee_delta_sat,
            interval_ms: settings.ipc.interval_ms,
            constraints,
            ..ipc::Settings::new(path)
        })),
        NodeSpec::Tdp(url) => adit_node::spawn(tdp::Tdp::new(tdp::Settings {
            url: url.clone(),
            constraints,
            dialling: settings.dialling(),
            clock: clock.clone(),
        })),
    };
    spawned.map_err(|error| Exit::failed(format!("cannot start the template source: {error}")))
}

/// The power of two that this machine's own device finds in a few seconds.
fn default_log2() -> u8 {
    let hashes = crate::device::measure_hash_rate() * BLOCK_SECONDS;
    // Between 2^8, at once on anything, and 2^40.
    (hashes.max(1.0).log2().round() as u8).clamp(8, 40)
}
