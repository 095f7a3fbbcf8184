//! Everything a provider needs before it serves: its own folder in the data folder, keys, found blocks, socket.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use adit_ledger::{BlockStore, DataLock, FileDisk};
use adit_net::{Clock, Limits, Listener, Url};

use crate::config::Settings;
use crate::exit::Exit;
use crate::keys::Ring;
use crate::observe::{self as status, Status};

/// The provider's folder in the data folder: a pool may use the same data folder at the same time.
const FOLDER: &str = "provider";
/// Found blocks in it.
const BLOCKS: &str = "blocks";

/// What the folder held.
pub(super) struct Opened {
    pub(super) folder: PathBuf,
    pub(super) lock: DataLock,
    pub(super) ring: Ring,
    pub(super) blocks: Arc<BlockStore>,
}

/// Opens (or makes) the provider's folder.
pub(super) fn open(settings: &Settings, clock: &Clock) -> Result<Opened, Exit> {
    let folder = settings.data.join(FOLDER);
    let unusable = |error: String| {
        Exit::failed(format!("cannot use {}: {error}", folder.display()))
            .help("adit must be able to write there; choose another folder with --data DIR")
    };
    FileDisk::create(&folder).map_err(|error| unusable(error.to_string()))?;
    let lock = DataLock::take(&folder).map_err(|error| Exit::failed(error.to_string()))?;
    let blocks = FileDisk::create(&folder.join(BLOCKS)).and_then(BlockStore::open);
    let ring = Ring::open(&folder, settings.keys.certificate_days, clock.unix_s())?;
    Ok(Opened {
        lock,
        ring,
        blocks: Arc::new(blocks.map_err(|error| unusable(error.to_string()))?),
        folder,
    })
}

/// Binds the port of pools and job negotiators.
pub(super) fn listen(settings: &Settings) -> Result<Listener, Exit> {
    let wanted = settings.provider.listen.addr;
    let limits = Limits {
        connections_max: settings.provider.connections_max as usize,
        connections_per_address_max: match settings.limits.connections_per_address_max {
            0 => usize::MAX,
            max => max as usize,
        },
    };
    Listener::bind(wanted, limits).map_err(|error| {
        Exit::failed(format!("cannot listen on {wanted}: {error}")).help(
            "choose another address with --listen ADDR, for example --listen 127.0.0.1:0 for any free port",
        )
    })
}

/// The first picture.
pub(super) fn picture(settings: &Settings, clock: &Clock, url: &Url, listen: SocketAddr) -> Status {
    let now = clock.now().0;
    Status {
        version: env!("CARGO_PKG_VERSION"),
        taken_at_us: now,
        started_at_us: now,
        pool: status::PoolStatus {
            url: url.to_string(),
            key: url.key.as_ref().map(ToString::to_string).unwrap_or_default(),
            listen: listen.to_string(),
            ..status::PoolStatus::default()
        },
        node: status::NodeStatus {
            spec: settings.node.to_string(),
            ..status::NodeStatus::default()
        },
        ..Status::default()
    }
}
