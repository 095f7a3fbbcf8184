//! Job distribution (`docs/job-distribution.md`): one negotiation, and many connections that mine what came of it.
//!
//! ```text
//!   Board (one a distributor) --State--> Server (one a receiver) ==messages==> Client --Active--> Receiver
//! ```
//!
//! * [`board::Board`] is what a distributor distributes: the pool, the job to mine, jobs for later.
//! * [`server::Server`] tells one receiver what it does not know yet. It is given states, not changes: who joins late, or
//!   is slow, needs no rules of its own.
//! * [`client::Client`] puts the state together again from the messages.
//! * [`receiver::Receiver`] decides what to mine on the receiver's own connection to the pool: the distributed job, or the
//!   pool's.

pub mod board;
pub mod client;
mod header;
pub mod receiver;
pub mod server;

use std::sync::Arc;

use adit_wire::distribute::{NewDistributedJob, SetNewPrevHash, SetPool};
use adit_wire::refusal::WithdrawJob;
use adit_wire::{B0_32, Str0_255, U256};

pub use header::{Solved, coinbase, halves};

/// Future jobs that may be outstanding on a connection (job distribution 5).
pub const FUTURES_MAX: usize = 8;

/// The pool that jobs are for (job distribution 4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// Host of its mining endpoint.
    pub host: Str0_255,
    /// Port of its mining endpoint.
    pub port: u16,
    /// Its authority key; `None` where connections to it are not encrypted.
    pub key: Option<[u8; 32]>,
    /// As whom channels must be opened; empty: as anybody.
    pub user_identity: Str0_255,
    /// What to ask for in OpenExtendedMiningChannel.
    pub min_extranonce_size: u16,
}

impl Pool {
    /// Whether this is the pool behind an endpoint of ours: the key tells, and where neither has one, host and port.
    #[must_use]
    pub fn is(&self, host: &[u8], port: u16, key: Option<&[u8; 32]>) -> bool {
        match (&self.key, key) {
            (Some(this), Some(other)) => this == other,
            (None, None) => &*self.host == host && self.port == port,
            _ => false,
        }
    }

    fn read(message: SetPool) -> Option<Self> {
        (!message.pool_host.is_empty()).then(|| Self {
            key: message.pool_authority_key.as_bytes().try_into().ok(),
            host: message.pool_host,
            port: message.pool_port,
            user_identity: message.user_identity,
            min_extranonce_size: message.min_extranonce_size,
        })
    }

    fn message(pool: Option<&Self>) -> SetPool {
        let pool = pool.cloned().unwrap_or_default();
        SetPool {
            pool_host: pool.host,
            pool_port: pool.port,
            pool_authority_key: pool.key.and_then(|key| B0_32::new(&key).ok()).unwrap_or_default(),
            user_identity: pool.user_identity,
            min_extranonce_size: pool.min_extranonce_size,
        }
    }
}

/// The block to build on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Header previous block hash, raw hash order.
    pub prev_hash: U256,
    /// Smallest header time, in seconds since 1970.
    pub min_ntime: u32,
    /// Header nBits.
    pub nbits: u32,
}

impl Tip {
    /// Whether both build on the same block.
    #[must_use]
    pub fn is_same_block(&self, other: &Self) -> bool {
        (self.prev_hash, self.nbits) == (other.prev_hash, other.nbits)
    }

    fn read(message: &SetNewPrevHash) -> Self {
        Self {
            prev_hash: message.prev_hash,
            min_ntime: message.min_ntime,
            nbits: message.nbits,
        }
    }
}

/// A job and its tip. The job's own `min_ntime` says nothing here: it is that of the tip.
#[derive(Clone, Debug, PartialEq)]
pub struct Active {
    /// The job.
    pub job: Arc<NewDistributedJob>,
    /// What it builds on.
    pub tip: Tip,
}

/// All that a receiver can know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// The pool that the jobs are for.
    pub pool: Option<Arc<Pool>>,
    /// The job to mine.
    pub active: Option<Active>,
    /// Jobs for a block to come, oldest first.
    pub futures: Vec<Arc<NewDistributedJob>>,
    /// Why there is no job to mine, if there was one before.
    pub ended: Option<WithdrawJob>,
}
