//! Everything a pool needs before it serves: folder, keys, ledger, socket, node.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_ledger::journal::{self, Journal};
use adit_ledger::{BlockStore, DataLock, OpenError, Writer, writer};
use adit_net::{Clock, Identities, Limits, Listener, random};
use adit_node::{embedded, ipc};
use adit_noise::{Authority, ServerIdentity, draft2022};

use crate::config::{NodeSpec, Settings};
use crate::exit::Exit;
use crate::keys;

/// Hashes the embedded chain's block takes by default: what this machine finds in about this time.
const BLOCK_SECONDS: f64 = 4.0;
/// Software as the journal notes it.
const SOFTWARE: &str = concat!("adit ", env!("CARGO_PKG_VERSION"));
/// Seconds of a day.
const DAY_S: u32 = 86_400;

/// What the data folder held.
pub(super) struct Opened {
    pub(super) lock: DataLock,
    pub(super) authorities: Authorities,
    pub(super) identities: Identities,
    pub(super) writer: Arc<Writer>,
    pub(super) blocks: Arc<BlockStore>,
    pub(super) epoch: u32,
}

/// Opens (or makes) the data folder and everything durable in it.
pub(super) fn open(settings: &Settings, clock: &Clock) -> Result<Opened, Exit> {
    let data = settings.data.as_path();
    let shape = journal::Settings {
        front_end: settings.pool.front_end,
        segment_bytes_max: settings.ledger.segment_bytes,
        ..journal::Settings::default()
    };
    let ledger = adit_ledger::open(data, shape, SOFTWARE, clock.now().0).map_err(refused)?;
    if ledger.recovery.cut_bytes > 0 {
        tracing::warn!(
            bytes = ledger.recovery.cut_bytes,
            records = ledger.recovery.cut_records,
            "the ledger's unfinished end was cut off: it was never acknowledged"
        );
    }
    let authorities = Authorities::open(settings)?;
    let identities = authorities.identities(clock.unix_s())?;
    Ok(Opened {
        lock: ledger.lock,
        authorities,
        identities,
        writer: Arc::new(writer(settings, clock, ledger.journal)?),
        blocks: Arc::new(ledger.blocks),
        epoch: ledger.epoch,
    })
}

/// Who signs our certificates, one for each suite.
pub(super) struct Authorities {
    pub(super) current: Authority,
    pub(super) draft2022: draft2022::Authority,
}

impl Authorities {
    fn open(settings: &Settings) -> Result<Self, Exit> {
        let valid_for_s = settings.keys.certificate_days.saturating_mul(DAY_S);
        Ok(Self {
            current: Authority::new(keys::authority(&settings.data)?, valid_for_s),
            draft2022: draft2022::Authority::new(keys::authority_draft2022(&settings.data)?, valid_for_s),
        })
    }

    /// New server keys with certificates of now.
    fn identities(&self, now_unix_s: u64) -> Result<Identities, Exit> {
        let broken = |error| Exit::failed(format!("cannot make a server key: {error}"));
        let (secret, aux) = (random::bytes(), random::bytes());
        let current = ServerIdentity::issued_by(&self.current, secret, now_unix_s, aux);
        let draft = draft2022::ServerIdentity::issued_by(&self.draft2022, random::bytes(), now_unix_s);
        Ok(Identities {
            current: current.map_err(broken)?,
            draft2022: draft.map_err(broken)?,
        })
    }

    /// The same server keys with fresh certificates, once either of the old ones is half over.
    pub(super) fn renewed(&self, old: &Identities, now_unix_s: u64) -> Option<Identities> {
        let due = old.current.needs_renewal(now_unix_s) || old.draft2022.needs_renewal(now_unix_s);
        due.then(|| Identities {
            current: old.current.renewed(&self.current, now_unix_s, random::bytes()),
            draft2022: old.draft2022.renewed(&self.draft2022, now_unix_s),
        })
    }
}

fn refused(error: OpenError) -> Exit {
    let exit = Exit::failed(error.to_string());
    match error {
        OpenError::Lock(_) => exit,
        OpenError::Journal(_) => exit.help("nothing was changed; look with `adit ledger verify`"),
        OpenError::Disk(..) => {
            exit.help("adit must be able to write there; choose another folder with --data DIR")
        }
    }
}

fn writer(settings: &Settings, clock: &Clock, journal: Journal) -> Result<Writer, Exit> {
    let pace = writer::Settings {
        group_max_ms: settings.ledger.group_max_ms,
        ..writer::Settings::default()
    };
    let time = clock.clone();
    Writer::spawn(journal, pace, Arc::new(move || time.now().0))
        .map_err(|error| Exit::failed(format!("cannot start the ledger: {error}")))
}

/// Binds the miners' port.
pub(super) fn listen(settings: &Settings, or_free_port: bool) -> Result<Listener, Exit> {
    let limits = Limits {
        connections_max: settings.limits.connections_max as usize,
        connections_per_address_max: match settings.limits.connections_per_address_max {
            0 => usize::MAX,
            max => max as usize,
        },
    };
    let wanted = &settings.listen;
    let bound = match Listener::bind(wanted.addr, limits) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && or_free_port && !wanted.explicit => {
            Listener::bind(SocketAddr::new(wanted.addr.ip(), 0), limits)
        }
        other => other,
    };
    bound.map_err(|error| {
        Exit::failed(format!("cannot listen on {}: {error}", wanted.addr)).help(
            "choose another address with --listen ADDR, for example --listen 127.0.0.1:0 for any free port",
        )
    })
}

/// What to write into the URL: an address that can be dialled from this machine.
pub(super) fn shown_host(listen: SocketAddr) -> String {
    match listen {
        SocketAddr::V4(address) if address.ip().is_unspecified() => "127.0.0.1".into(),
        SocketAddr::V6(address) if address.ip().is_unspecified() => "::1".into(),
        address => address.ip().to_string(),
    }
}

/// Starts the template source.
pub(super) fn node(settings: &Settings, clock: &Clock) -> Result<adit_node::Node, Exit> {
    let spawned = match &settings.node {
        NodeSpec::Embedded { log2 } => {
            let log2 = log2.unwrap_or_else(default_log2);
            let time = clock.clone();
            let shape = embedded::Settings {
                path: Some(settings.data.join("chain")),
                seed: settings.embedded.seed,
                transactions_per_block: settings.embedded.transactions as usize,
                template_interval: Duration::from_secs(5),
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
            ..ipc::Settings::new(path)
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

/// As many open files as the system allows: every connection is one.
pub(super) fn raise_file_limit() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The certificates of both suites are renewed together, and the servers stay who they are.
    #[test]
    fn both_certificates_are_renewed_in_time() {
        let data = tempfile::tempdir().unwrap();
        let settings = Settings::with(&[
            ("data", data.path().to_str().unwrap()),
            ("keys.certificate_days", "2"),
        ])
        .unwrap();
        let authorities = Authorities::open(&settings).unwrap();
        let now = 1_700_000_000;
        let old = authorities.identities(now).unwrap();
        assert!(authorities.renewed(&old, now + 80_000).is_none());
        let new = authorities.renewed(&old, now + 90_000).unwrap();
        assert_eq!(new.current.public_key(), old.current.public_key());
        assert_eq!(new.draft2022.public_key(), old.draft2022.public_key());
        let trust = draft2022::Trust::Authority(authorities.draft2022.public());
        let shown = new.draft2022.certificate();
        assert_eq!(
            shown.check(new.draft2022.public_key(), &trust, now + 200_000, 0),
            Ok(())
        );
        assert!(authorities.renewed(&new, now + 90_000).is_none());
    }
}
