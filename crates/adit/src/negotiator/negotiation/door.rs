//! What goes in and out of the negotiation's one door.

use std::sync::Arc;

use adit_node::{Template, TemplateId};
use adit_proto::Time;
use adit_proto::declare::client::{Declaration, Mode};
use adit_proto::job::{Fields, Job};
use adit_wire::declare::PushSolution;
use adit_wire::mining::SetCustomMiningJob;
use adit_wire::{B0_32, B0_255, U256};
use bitcoin::{ScriptBuf, TxOut};

use crate::uplink::Cause;

/// What the role decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What the pool gets to know.
    pub mode: Mode,
    /// Bytes of extranonce that are shared out below.
    pub branch_bytes: usize,
    /// What we keep of the revenue, if anything.
    pub keep: Option<Keep>,
}

/// A part of the revenue that goes to ourselves and not to the pool, which pays for the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    /// The part, in basis points of what the coinbase may pay.
    pub parts_bp: u32,
    /// To whom.
    pub script: ScriptBuf,
}

impl Keep {
    /// Satoshis of these that are kept, rounded down.
    #[must_use]
    pub fn of(&self, satoshis: u64) -> u64 {
        let kept = u128::from(satoshis) * u128::from(self.parts_bp.min(10_000)) / 10_000;
        // No larger than `satoshis`.
        kept as u64
    }
}

/// What can happen to the machine.
#[derive(Clone, Debug)]
pub enum Input {
    /// A template, the first of a tip or a better one.
    Template(Arc<Template>),
    /// Its transactions, all but the coinbase, in block order.
    Transactions(TemplateId, Arc<Vec<Vec<u8>>>),
    /// Coinbases must pay this from now on.
    Outputs(Vec<TxOut>),
    /// The extranonce prefix of jobs to come.
    Prefix(B0_32),
    /// The target of shares on jobs to come.
    Target(U256),
    /// A job has its token.
    Token {
        /// The job.
        job: u32,
        /// The token, for Coinbase-only mode.
        token: B0_255,
    },
    /// A declared job is acknowledged.
    Declared {
        /// The job.
        job: u32,
        /// The token for SetCustomMiningJob.
        token: B0_255,
    },
    /// A declared job is refused.
    DeclarationRefused {
        /// The job.
        job: u32,
    },
    /// The pool will pay for a custom job.
    JobTaken {
        /// Our number of it.
        request: u32,
        /// The pool's.
        job_id: u32,
        /// Largest hash of its shares.
        target: U256,
    },
    /// The pool refuses a custom job.
    JobRefused {
        /// Our number of it.
        request: u32,
    },
    /// The pool did not answer about a custom job in time.
    JobUnanswered {
        /// Our number of it.
        request: u32,
    },
    /// A share that was accepted below.
    Mined(Box<Mined>),
    /// The pool accepted shares.
    SharesAccepted {
        /// How many.
        count: u32,
    },
    /// The pool refused a share.
    ShareRefused {
        /// The pool's number of its job.
        job_id: Option<u32>,
    },
    /// The deadline has passed, perhaps.
    Deadline,
}

/// A share that was accepted below.
#[derive(Clone, Debug)]
pub struct Mined {
    /// The job it was found on.
    pub job: Arc<Job>,
    /// The miner's full extranonce.
    pub extranonce: Vec<u8>,
    /// Header nonce.
    pub nonce: u32,
    /// Header time.
    pub ntime: u32,
    /// Header version.
    pub version: u32,
    /// Header hash, raw hash order.
    pub hash: [u8; 32],
    /// It solves a block.
    pub is_block: bool,
}

/// A share as it goes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpShare {
    /// The pool's number of the job.
    pub job_id: u32,
    /// Header nonce.
    pub nonce: u32,
    /// Header time.
    pub ntime: u32,
    /// Header version.
    pub version: u32,
    /// Everything behind the pool's prefix.
    pub extranonce: B0_32,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Output {
    /// Ask for a token for this job.
    Reserve(u32),
    /// This job needs its token no more.
    Release(u32),
    /// Let everybody mine this.
    Publish {
        /// The job; the hub numbers the tip.
        fields: Arc<Fields>,
        /// Height of the block to be found.
        height: u32,
    },
    /// Declare it.
    Declare(u32, Box<Declaration>),
    /// Send it to the mining connection; the channel is filled in.
    Custom {
        /// The job.
        message: Box<SetCustomMiningJob>,
        /// When it was first hashed.
        since: Time,
    },
    /// Send a share.
    Share(UpShare),
    /// Tell the declaration server of a block.
    Push(PushSolution),
    /// The pool broke the rules: leave it (REQ-JD-038).
    Offence(Cause),
}
