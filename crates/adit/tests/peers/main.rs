//! Real peers, real processes, real sockets: programs that somebody else wrote mine on our pool, our device mines on
//! theirs, and Bitcoin Core takes the blocks.
//!
//! `cargo xtask peers` installs them. Without them these tests say SKIPPED; with `ADIT_REQUIRE_PEERS=1` they fail.
//! On regtest every share is a block, so `shares.work_min` decides how often blocks come: [`BLOCK_WORK`] hashes
//! keep two cores at about one block a second.

mod absences;
mod blocks;
mod conformance;
mod crashes;
mod fallbacks;
mod negotiation;
mod negotiator;
mod ours;
mod para;
mod payouts;
mod pool;
mod program;
mod proxy;
mod publisher;
mod reference;
mod several;
mod shares;
#[path = "../support/stratum_v1.rs"]
mod stratum_v1;
#[path = "../support/mod.rs"]
mod support;
mod templates;
mod their_pool;
mod transparent;

/// Expected hashes of a share, and so of a block, on a regtest chain.
const BLOCK_WORK: u64 = 1 << 22;
/// Expected hashes of a share where no block is wanted.
const SHARE_WORK: u64 = 1 << 20;
