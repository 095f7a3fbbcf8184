//! What can be seen of a running pool: [`Status`] and what is made of it.
//!
//! The hub publishes an `Arc<Status>` and, less often, an `Arc<Roster>` (who is here) in a `tokio::sync::watch`; HTTP ([`crate::http`]), the metrics
//! ([`metrics::render`]) and the view in the terminal ([`Progress`]) only read the newest one, so no
//! reader can slow the pool down.

mod history;
mod latency;
pub mod logs;
pub mod metrics;
pub mod number;
mod pace;
mod progress;
mod rate;
mod roster;
mod status;
pub mod text;
mod uplink;

pub use history::{History, Point, Slot};
pub use latency::Latency;
pub use logs::Screen;
pub use pace::{Averages, Decays, Estimate, Pace};
pub use progress::Progress;
pub use rate::{Errors, HashRate, Rates};
pub use roster::{Block, Channel, Coinbase, Device, Fate, Name, Payment, Peer, Recent, Roster, State};
pub use status::{
    BestShare, Blocks, BooksState, BooksStatus, Channels, Connections, Distribution, Drain, Endpoint,
    FleetStatus, Health, LastBlock, LedgerState, LedgerStatus, Light, Negotiation, NodeState, NodeStatus,
    PoolStatus, Shares, Status, Worker,
};
pub use uplink::{Figures, Uplink, Upstream};
