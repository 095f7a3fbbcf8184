//! Real peers for tests. Never a dependency of anything that ships.
//!
//! `cargo xtask peers` installs the programs; [`peers`] finds them; [`BitcoinNode`] runs Bitcoin Core on
//! a regtest chain of its own, without a single port; [`Postgres`] runs a database server of its own.
#![allow(
    clippy::disallowed_methods,
    reason = "tests wait for real processes in real time; nothing here is a machine"
)]

mod bitcoin_node;
mod cut;
mod nats;
pub mod peers;
mod postgres;
mod wait;

pub use bitcoin_node::{BitcoinNode, COINBASE_MATURITY, MINE_TO};
pub use cut::Cut;
pub use nats::NatsServer;
pub use postgres::Postgres;
pub use wait::{Running, until};
