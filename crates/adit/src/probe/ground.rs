//! What all connections of a probe share: the server's address, the bounds, and everything that was heard.

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::time::Duration;

use adit_net::Clock;
use adit_noise::AuthorityKey;
use adit_proto::Time;
use serde::Serialize;

use super::frame::Frame;
use super::options::Settings;
use super::verdict::Miss;
use crate::exit::Exit;
use crate::shutdown::Shutdown;

/// Frames kept for the checks that look at everything that was heard.
const KEPT_FRAMES_MAX: usize = 8_192;
/// Bytes of payload kept of them, in all.
const KEPT_BYTES_MAX: usize = 8 << 20;

/// What a probe took of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Used {
    /// TCP connections.
    pub connections: u32,
    /// Bytes sent, encryption included.
    pub bytes_sent: u64,
    /// Shares submitted, good and bad.
    pub shares: u32,
    /// Hashes tried on our side.
    pub hashes: u64,
    /// Time from first to last.
    pub milliseconds: u64,
}

/// The common ground of all checks.
pub(super) struct Ground {
    pub(super) settings: Settings,
    pub(super) addr: SocketAddr,
    pub(super) clock: Clock,
    started: Time,
    stop: Shutdown,
    used: Cell<Used>,
    heard: RefCell<Vec<Frame>>,
    heard_bytes: Cell<usize>,
}

impl Ground {
    /// Resolves the server's name.
    pub(super) fn new(settings: Settings, stop: Shutdown) -> Result<Rc<Self>, Exit> {
        let clock = Clock::system();
        let (host, port) = (settings.url.host.as_str(), settings.url.port);
        let unknown = |error: String| {
            Exit::unreachable(format!("cannot resolve {host}: {error}"))
                .help("check the host name, and this machine's name servers")
        };
        let mut found = (host, port)
            .to_socket_addrs()
            .map_err(|error| unknown(error.to_string()))?;
        let addr = found
            .next()
            .ok_or_else(|| unknown("the name has no address".to_owned()))?;
        Ok(Rc::new(Self {
            settings,
            addr,
            started: clock.now(),
            clock,
            stop,
            used: Cell::default(),
            heard: RefCell::default(),
            heard_bytes: Cell::default(),
        }))
    }

    /// The key of the URL, by its kind.
    pub(super) fn authority(&self) -> Option<AuthorityKey> {
        self.settings.url.key
    }

    /// Whether there is time left for another check.
    pub(super) fn open(&self) -> Result<(), Miss> {
        if self.stop.is_requested() {
            return Err(Miss::skip("the probe was stopped"));
        }
        if self.elapsed() >= Duration::from_secs(self.settings.options.seconds) {
            return Err(Miss::skip("the time of the probe is over; see --seconds"));
        }
        Ok(())
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.clock.now() - self.started
    }

    pub(super) fn take_connection(&self) -> Result<u32, Miss> {
        self.open()?;
        let mut used = self.used.get();
        if used.connections >= self.settings.options.connections {
            return Err(Miss::skip(
                "the probe's connections are used up; see --connections",
            ));
        }
        used.connections += 1;
        self.used.set(used);
        Ok(used.connections)
    }

    pub(super) fn take_bytes(&self, bytes: usize) -> Result<(), Miss> {
        let mut used = self.used.get();
        used.bytes_sent = used
            .bytes_sent
            .saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if used.bytes_sent > self.settings.options.bytes {
            return Err(Miss::skip("the probe's bytes are used up; see --bytes"));
        }
        self.used.set(used);
        Ok(())
    }

    pub(super) fn take_share(&self) -> Result<(), Miss> {
        let mut used = self.used.get();
        if used.shares >= self.settings.options.shares {
            return Err(Miss::skip("the probe's shares are used up; see --shares"));
        }
        used.shares += 1;
        self.used.set(used);
        Ok(())
    }

    pub(super) fn count_hashes(&self, hashes: u64) {
        let mut used = self.used.get();
        used.hashes = used.hashes.saturating_add(hashes);
        self.used.set(used);
    }

    pub(super) fn used(&self) -> Used {
        Used {
            milliseconds: u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX),
            ..self.used.get()
        }
    }

    /// Keeps a frame for the checks at the end.
    pub(super) fn keep(&self, frame: &Frame) {
        let mut heard = self.heard.borrow_mut();
        let bytes = self.heard_bytes.get() + frame.payload.len();
        if heard.len() < KEPT_FRAMES_MAX && bytes <= KEPT_BYTES_MAX {
            self.heard_bytes.set(bytes);
            heard.push(frame.clone());
        }
    }

    /// Everything that was heard on all connections so far.
    pub(super) fn heard(&self) -> Vec<Frame> {
        self.heard.borrow().clone()
    }
}
