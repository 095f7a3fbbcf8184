//! What goes in and out of the client's one door.

use std::sync::Arc;
use std::time::Duration;

use adit_wire::declare::{PushSolution, ToClient, ToServer};
use adit_wire::{B0_255, Str0_255, U256};
use bitcoin::TxOut;

/// What the pool gets to know (spec 6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Every transaction, so that it can check and propagate the block too.
    #[default]
    FullTemplate,
    /// The coinbase and the merkle path only.
    CoinbaseOnly,
}

/// What the role decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which of the two modes.
    pub mode: Mode,
    /// Whom to pay, in the pool's own terms.
    pub user_identifier: Str0_255,
    /// Tokens kept at hand, at least one.
    pub stock: usize,
    /// How long a token may take (spec 6.2).
    pub token_timeout: Duration,
    /// A token older than this is not used any more: servers forget them.
    pub token_age_max: Duration,
    /// How long the verdict on a declared job may take, with the questions for its transactions.
    pub declare_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::FullTemplate,
            user_identifier: Str0_255::default(),
            stock: 2,
            token_timeout: Duration::from_secs(10),
            token_age_max: Duration::from_secs(240),
            declare_timeout: Duration::from_secs(15),
        }
    }
}

/// A job as it is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// Header version.
    pub version: u32,
    /// Coinbase bytes before the extranonce, with BIP141 fields (REQ-JD-032).
    pub coinbase_tx_prefix: Vec<u8>,
    /// Coinbase bytes after the extranonce, with BIP141 fields.
    pub coinbase_tx_suffix: Vec<u8>,
    /// Witness ids of all transactions but the coinbase, in block order, raw hash order (REQ-JD-033).
    pub wtxids: Vec<U256>,
    /// The same transactions, consensus encoded with witness.
    pub transactions: Arc<Vec<Vec<u8>>>,
}

/// What can happen to the machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The connection is set up; to be said once, first.
    Start,
    /// A message of the server.
    Message(ToClient),
    /// A token is wanted for this job, whose number is used once on this connection. A job that waits for one gives way.
    Reserve {
        /// Its number.
        job: u32,
    },
    /// A job that was reserved for will not be declared.
    Release {
        /// Its number.
        job: u32,
    },
    /// A job with a token shall be declared (Full-Template mode).
    Declare {
        /// Its number.
        job: u32,
        /// What it is.
        declaration: Box<Declaration>,
    },
    /// A block was found on a declared job (Full-Template mode; nothing is sent otherwise).
    Solution(PushSolution),
    /// The deadline has passed, perhaps.
    Deadline,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this message.
    Send(ToServer),
    /// Something the role should know.
    Event(Event),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// What each coinbase must hold from now on, the pool's payout first (spec 6.4.3). Comes before the first token, and
    /// again when it changes.
    Outputs(Vec<TxOut>),
    /// A job has its token.
    Token {
        /// The job.
        job: u32,
        /// For SetCustomMiningJob in Coinbase-only mode; in Full-Template mode the machine keeps it for `Declare`.
        token: B0_255,
    },
    /// A declared job is acknowledged (spec 6.4.5).
    Declared {
        /// The job.
        job: u32,
        /// For SetCustomMiningJob (REQ-JD-036).
        token: B0_255,
    },
    /// A declared job is refused (spec 6.4.6).
    Refused {
        /// The job.
        job: u32,
        /// The server's code, for the log only (REQ-COM-024).
        code: Str0_255,
    },
    /// A job was not declared.
    Withheld {
        /// The job.
        job: u32,
        /// Why.
        why: Withheld,
    },
    /// The server answered what nobody had asked.
    Unasked(Unasked),
}

/// Why a job was not declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// Nothing is declared in Coinbase-only mode (REQ-JD-031).
    CoinbaseOnly,
    /// [`DECLARATIONS_MAX`](super::DECLARATIONS_MAX) wait for their answers.
    TooMany,
    /// No token is bound to it.
    NoToken,
    /// A part of it fits no message.
    TooLarge,
}

/// What the server said unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unasked {
    /// AllocateMiningJobToken.Success
    Token,
    /// ProvideMissingTransactions
    Transactions,
    /// DeclareMiningJob.Success
    Success,
    /// DeclareMiningJob.Error
    Error,
}
