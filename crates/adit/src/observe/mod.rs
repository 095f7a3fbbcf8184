//! What can be seen of a running pool: [`Status`] and what is made of it.
//!
//! The hub publishes an `Arc<Status>` in a `tokio::sync::watch`; HTTP ([`crate::http`]), the metrics
//! ([`metrics::render`]) and the view in the terminal ([`Progress`]) only read the newest one, so no
//! reader can slow the pool down.

mod latency;
pub mod logs;
pub mod metrics;
mod progress;
mod rate;
mod status;
pub mod text;
mod uplink;

pub use latency::Latency;
pub use logs::Screen;
pub use progress::Progress;
pub use rate::{HashRate, Rates};
pub use status::{
    BestShare, Blocks, BooksState, BooksStatus, Channels, Connections, Distribution, Drain, Health,
    LastBlock, LedgerState, LedgerStatus, Light, Negotiation, NodeState, NodeStatus, PoolStatus, Shares,
    Status, Worker,
};
pub use uplink::{Figures, Uplink, Upstream};
