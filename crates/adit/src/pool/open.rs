//! Everything a pool needs before it serves: folder, keys, ledger, socket, node.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use adit_ledger::journal::{self, Journal};
use adit_ledger::{BlockStore, DataLock, Durable, OpenError, Writer, archive, writer};
use adit_net::{Clock, Limits, Listener, Tls};

use crate::books::{Books, Consumer, Db, Keep, Keeper, consumer};
use crate::config::{HttpListen, Settings};
use crate::exit::Exit;
use crate::keys;

use super::control::Control;

/// Software as the journal notes it.
const SOFTWARE: &str = concat!("adit ", env!("CARGO_PKG_VERSION"));

/// What the data folder held.
pub(super) struct Opened {
    pub(super) lock: DataLock,
    pub(super) ring: keys::Ring,
    pub(super) writer: Arc<Writer>,
    pub(super) blocks: Arc<BlockStore>,
    pub(super) epoch: u32,
    pub(super) keeper: Option<Keeper>,
    pub(super) consumer: Option<Consumer>,
    pub(super) books: Option<Books>,
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
    let ring = keys::Ring::open(data, settings.keys.certificate_days, clock.unix_s())?;
    let durable = ledger.journal.durable();
    let asked = books(settings);
    let books = match &asked.db {
        Db::Off => None,
        db => Some(
            Books::start(db.clone())
                .map_err(|error| Exit::failed(format!("cannot start the books: {error}")))?,
        ),
    };
    let consumer = Consumer::start(asked, durable.clone(), clock.clone())?;
    let keeper = keeper(settings, durable, clock)?;
    Ok(Opened {
        keeper,
        consumer,
        books,
        lock: ledger.lock,
        ring,
        writer: Arc::new(writer(settings, clock, ledger.journal)?),
        blocks: Arc::new(ledger.blocks),
        epoch: ledger.epoch,
    })
}

/// What the books need to know.
pub(crate) fn books(settings: &Settings) -> consumer::Settings {
    let keys = &settings.books;
    consumer::Settings {
        db: keys.db.within(&settings.data),
        data: settings.data.clone(),
        keep: Keep {
            history: [keys.minutes_days, keys.tens_days, keys.hours_days],
            sessions: keys.sessions_days,
        },
    }
}

fn keeper(settings: &Settings, durable: Durable, clock: &Clock) -> Result<Option<Keeper>, Exit> {
    let kept = archive::Settings {
        pack: settings.ledger.compress,
        keep_us: u64::from(settings.ledger.keep_days) * 86_400_000_000,
    };
    Keeper::start(&settings.data, kept, durable, clock.clone())
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

fn limits(settings: &Settings) -> Limits {
    Limits {
        connections_max: settings.limits.connections_max as usize,
        connections_per_address_max: match settings.limits.connections_per_address_max {
            0 => usize::MAX,
            max => max as usize,
        },
    }
}

/// Binds the port for Stratum V1 over TLS, if there is one, and reads what it needs.
pub(super) fn tls(settings: &Settings) -> Result<Option<(Listener, Tls)>, Exit> {
    let HttpListen::On(wanted) = &settings.sv1.tls_listen else {
        return Ok(None);
    };
    let (certificate, key) = (&settings.sv1.tls_certificate, &settings.sv1.tls_key);
    if certificate.is_empty() || key.is_empty() {
        return Err(
            Exit::usage("sv1.tls_listen needs sv1.tls_certificate and sv1.tls_key").help(
                "give the PEM files of the certificate chain and of its key, or set sv1.tls_listen = \"off\"",
            ),
        );
    }
    let tls = Tls::load(Path::new(certificate), Path::new(key)).map_err(|error| {
        Exit::failed(format!("no TLS for Stratum V1: {error}"))
            .help("sv1.tls_certificate is the chain in PEM, the server's certificate first; sv1.tls_key its key in PEM")
    })?;
    let listener = Listener::bind(wanted.addr, limits(settings)).map_err(|error| {
        Exit::failed(format!("cannot listen on {}: {error}", wanted.addr))
            .help("choose another address for sv1.tls_listen")
    })?;
    Ok(Some((listener, tls)))
}

/// Binds the miners' port.
pub(crate) fn listen(settings: &Settings, or_free_port: bool) -> Result<Listener, Exit> {
    let limits = limits(settings);
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

/// The control socket in the data folder.
pub(super) fn control(settings: &Settings) -> Result<Option<Control>, Exit> {
    let control = Control::bind(&settings.data).map_err(|error| {
        Exit::failed(format!(
            "cannot make the control socket in {}: {error}",
            settings.data.display()
        ))
        .help("the data folder must be on a file system that has sockets, such as ext4, xfs or tmpfs")
    })?;
    if control.is_none() {
        tracing::warn!(
            "no control socket: the path of the data folder is too long for one; drain with SIGTERM and pool.drain_to"
        );
    }
    Ok(control)
}

/// What to write into the URL: an address that can be dialled from this machine.
pub(crate) fn shown_host(listen: SocketAddr) -> String {
    let address = listen.ip();
    if !address.is_unspecified() {
        return address.to_string();
    }
    match adit_net::network_address() {
        Some(address) => address.to_string(),
        None if address.is_ipv4() => "127.0.0.1".into(),
        None => "::1".into(),
    }
}

/// As many open files as the system allows: every connection is one.
pub(crate) fn raise_file_limit() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}
