//! The door's two sides: settings, what comes in, what goes out.

use std::sync::Arc;
use std::time::Duration;

use adit_wire::Str0_255;
use adit_wire::declare::{ToClient, ToServer};
use adit_wire::refusal::DeclareMiningJob as Refusal;

use super::super::{Declared, Solved, Token, Transaction};
use crate::mining::server::AccountId;

/// What the pool allows; one value for all connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether jobs may be declared.
    pub full_template: bool,
    /// Token requests that may wait; with more the connection ends.
    pub requests_max: usize,
    /// Token requests a minute in the long run, and at once.
    pub tokens_per_minute: u32,
    /// See `tokens_per_minute`.
    pub tokens_burst: u32,
    /// Declarations that are worked on or wait.
    pub pending_max: usize,
    /// Acknowledged jobs whose solutions are tried.
    pub declared_max: usize,
    /// Bytes that a connection may hold.
    pub bytes_max: usize,
    /// How long a client may take to provide transactions.
    pub provide_timeout: Duration,
    /// Solutions that are looked at, a minute in the long run and at once.
    pub solutions_per_minute: u32,
    /// See `solutions_per_minute`.
    pub solutions_burst: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            full_template: true,
            requests_max: 64,
            tokens_per_minute: 120,
            tokens_burst: 16,
            pending_max: 2,
            declared_max: 8,
            bytes_max: 6 * 1024 * 1024,
            provide_timeout: Duration::from_secs(15),
            solutions_per_minute: 600,
            solutions_burst: 256,
        }
    }
}

/// What changes a [`Server`](super::Server).
#[derive(Clone, Debug)]
pub enum Input {
    /// The peer said this.
    Message(ToServer),
    /// A message is not whole yet: so many of its bytes are kept.
    Arriving {
        /// How many.
        bytes: usize,
    },
    /// The answer to [`Output::Allocate`].
    Token {
        /// Which.
        request_id: u32,
        /// The token, from 128 bits of randomness; none where the pool gives none.
        token: Option<Token>,
        /// `coinbase_tx_outputs`: a count and the outputs, the payout output first.
        outputs: Arc<[u8]>,
    },
    /// The answer to [`Output::Lookup`].
    Looked {
        /// Which.
        declaration: u64,
        /// What is known, or why the declaration is refused.
        verdict: Result<Looked, Refused>,
    },
    /// The answer to [`Output::Check`].
    Checked {
        /// Which.
        declaration: u64,
        /// The new token, or why the job is refused.
        verdict: Result<Token, Refused>,
    },
    /// [`Server::deadline`](super::Server::deadline) has come.
    Deadline,
}

/// What the driver knows of a declaration.
#[derive(Clone, Debug)]
pub struct Looked {
    /// Whose token it was.
    pub account: AccountId,
    /// The transactions that were asked for, in that order; none where it is unknown.
    pub transactions: Vec<Option<Arc<Transaction>>>,
    /// The present tip, raw hash order.
    pub prev_hash: [u8; 32],
    /// Its compact target.
    pub nbits: u32,
}

/// Why a declaration is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The code.
    pub code: Refusal,
    /// `error_details`: more, in words.
    pub details: String,
}

impl Refused {
    /// A refusal with details.
    pub fn new(code: Refusal, details: impl Into<String>) -> Self {
        let details = details.into();
        Self { code, details }
    }

    /// A refusal whose code says it all.
    pub const fn bare(code: Refusal) -> Self {
        let details = String::new();
        Self { code, details }
    }
}

/// What a [`Server`](super::Server) wants done, in this order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send a message.
    Send(ToClient),
    /// Make a token for this user.
    Allocate {
        /// Names the request.
        request_id: u32,
        /// Whom to pay, in the pool's own terms.
        user_identifier: Str0_255,
    },
    /// Use the token up and look the transactions up.
    Lookup(Box<Lookup>),
    /// Check the whole block, and the outputs against the pool's policy.
    Check {
        /// Names the declaration.
        declaration: u64,
        /// The job.
        job: Arc<Declared>,
    },
    /// Publish a block; its proof of work is right.
    Solution(Box<Solved>),
    /// Tell whoever watches.
    Event(Event),
}

/// What is to be looked up.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// Names the declaration.
    pub declaration: u64,
    /// The token that it uses up.
    pub token: Token,
    /// The height that the coinbase says; it must be that of the next block.
    pub height: u32,
    /// The transactions, raw hash order, all different.
    pub wtxids: Arc<[[u8; 32]]>,
}

/// News for those who watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A job was acknowledged.
    Declared,
    /// A job was refused.
    Refused(Refusal),
    /// Transactions were asked for.
    Asked {
        /// How many.
        count: usize,
    },
    /// A solution was no block of a declared job, or came too fast.
    SolutionIgnored,
}
