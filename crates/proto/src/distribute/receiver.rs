//! What a receiver mines on its own connection to the pool: the distributed job, or the pool's own (job distribution 6).
//!
//! ```text
//!              Job            JobTaken
//!   Own -----------> Asking -----------> Custom
//!    ^                 |                   |
//!    +-----------------+-------------------+   refused, no answer, withdrawn, lost, another pool, another tip
//! ```
//!
//! It never stands still: until the pool has taken a job, what was mined before is mined on, and whenever there is no
//! distributed job that counts, the pool's own jobs are.

use adit_wire::Str0_255;
use adit_wire::mining::SetCustomMiningJob;
use adit_wire::refusal::JobRefused;
use adit_wire::types::U256;

use super::Active;

/// Requests to the pool that may be without an answer; a newer job waits for one of them.
pub const OPEN_MAX: usize = 4;

/// The receiver's own extended channel at the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Its number.
    pub id: u32,
    /// Bytes of its whole extranonce: prefix and rolled part.
    pub full_size: usize,
}

/// What can happen to the machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The distributor says what to mine, and it is for the receiver's pool.
    Job(Active),
    /// There is no such job any more: withdrawn, for another pool, or the distributor is gone.
    NoJob,
    /// The channel at the pool is open; `None`: it is gone, and with it every job that the pool knew.
    Channel(Option<Channel>),
    /// The pool's own work builds on this block.
    PoolTip(U256),
    /// The pool takes the job of a request.
    JobTaken {
        /// The request.
        request_id: u32,
        /// What the pool calls it.
        job_id: u32,
    },
    /// The pool does not take the job of a request.
    JobRefused {
        /// The request.
        request_id: u32,
        /// The pool's code; `None`: it did not answer.
        code: Option<Str0_255>,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this to the pool.
    Custom(Box<SetCustomMiningJob>),
    /// Mine this instead of what was mined before.
    Mine(Mine),
    /// Tell the distributor that the pool did not take its job.
    Refused {
        /// The distributor's number of the job.
        job_id: u32,
        /// Why.
        code: Str0_255,
    },
}

/// What is mined.
#[derive(Clone, Debug, PartialEq)]
pub enum Mine {
    /// The pool's own jobs.
    Own,
    /// The distributed job, which the pool has taken.
    Custom {
        /// What the pool calls it.
        job_id: u32,
        /// The job.
        active: Active,
    },
}

/// A job at the pool.
#[derive(Clone, Debug)]
struct Asked {
    request_id: u32,
    active: Active,
}

/// Decides what one channel mines.
#[derive(Clone, Debug)]
pub struct Receiver {
    channel: Option<Channel>,
    pool_tip: Option<U256>,
    /// The newest distributed job.
    wanted: Option<Active>,
    asked: Option<Asked>,
    /// Requests without an answer, oldest first; the last is `asked`, if that is still wanted.
    open: Vec<u32>,
    /// The newest job waits until the pool has answered an older one.
    due: bool,
    /// The job that is mined, if it is not the pool's own.
    custom: Option<Active>,
    next_request: u32,
}

impl Default for Receiver {
    fn default() -> Self {
        Self::new()
    }
}

impl Receiver {
    /// It mines the pool's own jobs.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            channel: None,
            pool_tip: None,
            wanted: None,
            asked: None,
            open: Vec::new(),
            due: false,
            custom: None,
            next_request: 1,
        }
    }

    /// The one door.
    pub fn handle(&mut self, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Job(active) => {
                let moved = |mined: &Active| !mined.tip.is_same_block(&active.tip);
                if self.custom.as_ref().is_some_and(moved) {
                    self.mine_own(out);
                }
                self.wanted = Some(active);
                self.ask(out);
            }
            Input::NoJob => {
                (self.wanted, self.asked, self.due) = (None, None, false);
                self.mine_own(out);
            }
            Input::Channel(channel) => {
                self.channel = channel;
                self.open.clear();
                (self.asked, self.pool_tip) = (None, None);
                self.mine_own(out);
                self.ask(out);
            }
            Input::PoolTip(prev_hash) => self.pool_tip(prev_hash, out),
            Input::JobTaken { request_id, job_id } => {
                self.taken(request_id, job_id, out);
                self.answered(request_id, out);
            }
            Input::JobRefused { request_id, code } => {
                self.refused(request_id, code, out);
                self.answered(request_id, out);
            }
        }
    }

    /// Whether the distributed job is mined.
    #[must_use]
    pub const fn is_custom(&self) -> bool {
        self.custom.is_some()
    }

    fn answered(&mut self, request_id: u32, out: &mut Vec<Output>) {
        self.open.retain(|open| *open != request_id);
        if self.due {
            self.ask(out);
        }
    }

    fn ask(&mut self, out: &mut Vec<Output>) {
        self.due = self.open.len() >= OPEN_MAX;
        if self.due {
            return;
        }
        let (Some(channel), Some(active)) = (self.channel, &self.wanted) else {
            return;
        };
        if channel.full_size != usize::from(active.job.full_extranonce_size) {
            out.push(Output::Refused {
                job_id: active.job.job_id,
                code: JobRefused::ExtranonceSizeMismatch.into(),
            });
            self.wanted = None;
            return;
        }
        let request_id = self.next_request;
        self.next_request = request_id.wrapping_add(1);
        self.open.push(request_id);
        out.push(Output::Custom(Box::new(message(active, channel.id, request_id))));
        self.asked = Some(Asked {
            request_id,
            active: active.clone(),
        });
    }

    /// The pool has seen a block. A job that was made before on another one is worth nothing any more; one that came
    /// before and builds on this very block was ahead of the pool.
    fn pool_tip(&mut self, prev_hash: U256, out: &mut Vec<Output>) {
        match self.pool_tip.replace(prev_hash) {
            // Which of the two is ahead at the start nobody knows but the pool, when it is asked.
            None => return,
            Some(before) if before == prev_hash => return,
            Some(_) => {}
        }
        let is_old = |active: &Active| active.tip.prev_hash != prev_hash;
        if self.custom.as_ref().is_some_and(is_old) {
            self.mine_own(out);
        }
        if self.wanted.as_ref().is_some_and(is_old) {
            (self.wanted, self.asked, self.due) = (None, None, false);
        }
    }

    fn taken(&mut self, request_id: u32, job_id: u32, out: &mut Vec<Output>) {
        // An answer about a job that another one has replaced is of no use.
        if let Some(asked) = self.asked.take_if(|asked| asked.request_id == request_id) {
            self.custom = Some(asked.active.clone());
            let active = asked.active;
            out.push(Output::Mine(Mine::Custom { job_id, active }));
        }
    }

    /// A job of the same block that the pool has taken before is mined on.
    fn refused(&mut self, request_id: u32, code: Option<Str0_255>, out: &mut Vec<Output>) {
        if let Some(asked) = self.asked.take_if(|asked| asked.request_id == request_id) {
            // A newer one may be waiting for its turn.
            if self.wanted.as_ref() == Some(&asked.active) {
                self.wanted = None;
            }
            out.push(Output::Refused {
                job_id: asked.active.job.job_id,
                code: code.unwrap_or_else(|| JobRefused::NoAnswer.into()),
            });
        }
    }

    fn mine_own(&mut self, out: &mut Vec<Output>) {
        if self.custom.take().is_some() {
            out.push(Output::Mine(Mine::Own));
        }
    }
}

/// SetCustomMiningJob of a distributed job (spec 5.3.18).
fn message(active: &Active, channel_id: u32, request_id: u32) -> SetCustomMiningJob {
    let (job, tip) = ((*active.job).clone(), active.tip);
    SetCustomMiningJob {
        channel_id,
        request_id,
        mining_job_token: job.mining_job_token,
        version: job.version,
        prev_hash: tip.prev_hash,
        min_ntime: tip.min_ntime,
        nbits: tip.nbits,
        coinbase_tx_version: job.coinbase_tx_version,
        coinbase_prefix: job.coinbase_prefix,
        coinbase_tx_input_n_sequence: job.coinbase_tx_input_n_sequence,
        coinbase_tx_outputs: job.coinbase_tx_outputs,
        coinbase_tx_locktime: job.coinbase_tx_locktime,
        merkle_path: job.merkle_path,
    }
}
