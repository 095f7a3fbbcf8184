//! Sockets, the clock, and the one loop that drives machines.
//!
//! Nothing here knows what a message means. A [`Link`] is a TCP stream with a session on it; a
//! [`Protocol`] is whatever turns frames into frames; [`drive()`] moves bytes between the two: it reads
//! once per readiness, writes once per wake-up, and never holds a buffer for a connection that is idle.
//!
//! * [`listen`]: accept with permits taken before any work is done for a peer.
//! * [`classify`](mod@classify): who is calling, by the first bytes; [`door`]: the handshake that goes with it.
//! * [`security`]: the same from the client's side.
//! * [`link`]: one connection with its deadlines, frames in, frames out, a bounded queue.
//! * [`drive`](mod@drive): the loop.
//! * [`dial`](mod@dial): the way up to a server, with jittered back-off.
//! * [`itinerary`]: where a client goes next, by its own wish or by a server's Reconnect.
//! * [`clock`]: the only place that asks for the time.
//! * [`random`]: the only place that asks for randomness.
//! * [`tls`]: TLS for lines of Stratum V1, on a port of its own, and towards pools.
//! * [`url`](mod@url): `stratum2+tcp://host:port/KEY`.

pub mod classify;
pub mod clock;
pub mod dial;
pub mod door;
pub mod drive;
pub mod itinerary;
pub mod link;
pub mod listen;
mod local;
pub mod random;
pub mod security;
mod socket;
pub mod tls;
pub mod url;

pub use clock::Clock;
pub use dial::{Backoff, DialError, Dialling, dial, dial_lines, dial_with};
pub use door::{Identities, Plaintext, Rules};
pub use drive::{End, Protocol, Shared, drive, push_all};
pub use itinerary::{Itinerary, Stay};
pub use link::{Detached, Link, LinkError};
pub use listen::{Limits, Listener, Permit};
pub use local::network_address;
pub use security::{Keyless, Security};
pub use tls::{Tls, TlsDialling, TlsError};
pub use url::Url;
