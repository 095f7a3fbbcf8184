//! Job declaration: miners that choose the transactions of their blocks (spec 6; *negotiation* in the seeds).
//!
//! * [`client`]: the miner's side of one connection, both modes.
//! * [`Server`]: the pool's side of one connection, full-template mode.
//! * [`Tokens`]: what was given out to whom; one table for all connections of a pool.
//! * [`Coinbase`]: a declared coinbase, made or read from its two halves.
//! * [`Declared`]: a declared job, from which a block can be built.
//! * [`Policy`]: what the pool asks of a coinbase, and what it pays for.
//! * [`Budget`]: the bytes that all of them may hold.

mod budget;
pub mod client;
mod coinbase;
mod job;
mod policy;
pub mod server;
mod token;

pub use budget::{Budget, Held};
pub use coinbase::{Coinbase, CoinbaseProblem, EXTRANONCE_MAX, Unfit};
pub use job::{Declared, Solved, Transaction};
pub use policy::{OutputsProblem, Policy, Revenue, Worth};
pub use server::Server;
pub use token::{Grant, Token, TokenError, Tokens, TokensSettings};

/// Most transactions of a block beside its coinbase: the smallest has 60 bytes, each of four weight units.
pub const TRANSACTIONS_MAX: usize = 4_000_000 / 240;

/// Most bytes of a block's transactions: every byte weighs at least one unit.
pub const BLOCK_BYTES_MAX: usize = 4_000_000;
