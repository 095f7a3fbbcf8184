//! The receiver's side of the connection to its distributor: messages become a state again.

use std::sync::Arc;

use adit_wire::Str0_255;
use adit_wire::distribute::{
    JobRefused, NewDistributedJob, SetNewPrevHash, SetPool, SubmitSolution, ToClient, ToServer, WithdrawJob,
};
use adit_wire::refusal;

use super::{Active, FUTURES_MAX, Pool, State, Tip};
use crate::Fault;
use crate::coinbase::SCRIPT_SIG_MAX;

/// Branches of a merkle path: more transactions fit no block.
pub const BRANCHES_MAX: usize = 32;

/// What can happen to the machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A message of the distributor.
    Message(ToClient),
    /// The pool does not take a job.
    Refused {
        /// The job.
        job_id: u32,
        /// The pool's code, or one of ours.
        code: Str0_255,
    },
    /// A block was found on a job.
    Solution(SubmitSolution),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this.
    Send(ToServer),
    /// Jobs are for this pool from now on; there is none yet.
    Pool(Option<Arc<Pool>>),
    /// Mine this.
    Job(Active),
    /// There is no job to mine any more.
    Ended {
        /// The distributor's reason, for the log.
        reason: Str0_255,
    },
}

/// Takes jobs from one distributor.
#[derive(Clone, Debug, Default)]
pub struct Client {
    state: State,
    has_pool: bool,
    tip: Option<Tip>,
    /// The last job that was told to be refused.
    refused: Option<u32>,
}

impl Client {
    /// A machine for a connection that was set up.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The one door.
    ///
    /// # Errors
    /// `Misbehaved` when a job comes before its pool or its tip, when a number is used twice, when there are too many
    /// future jobs, or when a job can be no block's.
    pub fn handle(&mut self, input: Input, out: &mut Vec<Output>) -> Result<(), Fault> {
        match input {
            Input::Message(ToClient::SetPool(message)) => return self.pool(message, out),
            Input::Message(ToClient::NewDistributedJob(job)) => return self.job(job, out),
            Input::Message(ToClient::SetNewPrevHash(message)) => return self.tip(&message, out),
            Input::Message(ToClient::WithdrawJob(message)) => self.withdrawn(message, out),
            Input::Refused { job_id, code } => self.refused(job_id, code, out),
            Input::Solution(solution) => out.push(Output::Send(solution.into())),
        }
        Ok(())
    }

    /// What the distributor has said, put together.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    fn pool(&mut self, message: SetPool, out: &mut Vec<Output>) -> Result<(), Fault> {
        if !matches!(message.pool_authority_key.len(), 0 | 32) {
            return Err(Fault::Misbehaved("an authority key has 32 bytes"));
        }
        self.has_pool = true;
        self.tip = None;
        self.state = State {
            pool: Pool::read(message).map(Arc::new),
            ..State::default()
        };
        out.push(Output::Pool(self.state.pool.clone()));
        Ok(())
    }

    fn job(&mut self, job: NewDistributedJob, out: &mut Vec<Output>) -> Result<(), Fault> {
        if self.state.pool.is_none() {
            return Err(Fault::Misbehaved("a job comes after the pool it is for"));
        }
        check(&job)?;
        let (id, min_ntime) = (job.job_id, job.min_ntime);
        let is = |it: &Arc<NewDistributedJob>| it.job_id == id;
        if self.state.futures.iter().any(is) || self.state.active.as_ref().is_some_and(|it| is(&it.job)) {
            return Err(Fault::Misbehaved("the number of a job is used twice"));
        }
        let job = Arc::new(NewDistributedJob {
            min_ntime: None,
            ..job
        });
        match (min_ntime, self.tip) {
            (None, _) if self.state.futures.len() > FUTURES_MAX => {
                Err(Fault::Misbehaved("far too many future jobs"))
            }
            (None, _) => {
                self.state.futures.push(job);
                Ok(())
            }
            (Some(_), None) => Err(Fault::Misbehaved("a job comes after the block it builds on")),
            (Some(min_ntime), Some(tip)) => {
                self.mine(job, Tip { min_ntime, ..tip }, out);
                Ok(())
            }
        }
    }

    /// The named job is to be mined; all others were for another block.
    fn tip(&mut self, message: &SetNewPrevHash, out: &mut Vec<Output>) -> Result<(), Fault> {
        if self.state.pool.is_none() {
            return Err(Fault::Misbehaved("a block comes after the pool it is for"));
        }
        let tip = Tip::read(message);
        self.tip = Some(tip);
        let futures = std::mem::take(&mut self.state.futures);
        match futures.into_iter().find(|job| job.job_id == message.job_id) {
            Some(job) => self.mine(job, tip, out),
            None => self.end(refusal::WithdrawJob::StaleChainTip.into(), out),
        }
        Ok(())
    }

    fn mine(&mut self, job: Arc<NewDistributedJob>, tip: Tip, out: &mut Vec<Output>) {
        let active = Active { job, tip };
        self.state.active = Some(active.clone());
        self.state.ended = None;
        out.push(Output::Job(active));
    }

    fn withdrawn(&mut self, message: WithdrawJob, out: &mut Vec<Output>) {
        let is = |job: &NewDistributedJob| job.job_id == message.job_id;
        self.state.futures.retain(|job| !is(job));
        if self.state.active.as_ref().is_some_and(|active| is(&active.job)) {
            self.end(message.reason_code, out);
        }
    }

    fn end(&mut self, reason: Str0_255, out: &mut Vec<Output>) {
        if self.state.active.take().is_some() {
            self.state.ended = refusal::WithdrawJob::of_code(&reason);
            out.push(Output::Ended { reason });
        }
    }

    /// Said once for each job.
    fn refused(&mut self, job_id: u32, error_code: Str0_255, out: &mut Vec<Output>) {
        if self.refused.replace(job_id) != Some(job_id) {
            out.push(Output::Send(JobRefused { job_id, error_code }.into()));
        }
    }
}

/// What no job can be.
fn check(job: &NewDistributedJob) -> Result<(), Fault> {
    let script = job.coinbase_prefix.len() + usize::from(job.full_extranonce_size);
    if job.mining_job_token.is_empty() {
        return Err(Fault::Misbehaved("a job has a token"));
    }
    if job.coinbase_prefix.is_empty() || script > SCRIPT_SIG_MAX {
        return Err(Fault::Misbehaved("a scriptSig has 2 to 100 bytes"));
    }
    if job.merkle_path.len() > BRANCHES_MAX {
        return Err(Fault::Misbehaved("a merkle path longer than any block's"));
    }
    Ok(())
}
