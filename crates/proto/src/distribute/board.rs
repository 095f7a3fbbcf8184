//! What a distributor distributes.
//!
//! One for all receivers. It numbers the jobs, and its outputs are whole states: each is handed to every connection's
//! [`Server`](super::server::Server), which finds out what its receiver does not know yet.

use std::sync::Arc;

use adit_wire::distribute::NewDistributedJob;
use adit_wire::refusal::WithdrawJob;

use super::{Active, FUTURES_MAX, Pool, State, Tip};

/// What can happen to the machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Jobs are negotiated with this pool from now on, on another connection than before: all of before is over.
    Pool(Option<Pool>),
    /// A job that the pool has acknowledged, to be mined now. Its `job_id` and `min_ntime` are not looked at.
    Job(Box<NewDistributedJob>, Tip),
    /// A job for a block to come.
    Future(Box<NewDistributedJob>),
    /// The block of a future job is there.
    Activate {
        /// Its number.
        job_id: u32,
        /// What it builds on.
        tip: Tip,
    },
    /// There is no job to mine, whatever it was: a new block, or the pool has changed its mind.
    End(WithdrawJob),
    /// The same for one job, if it is still there.
    Withdraw(u32, WithdrawJob),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Hand this to every connection.
    State(Arc<State>),
    /// The job of this input got that number.
    Numbered(u32),
}

/// The distributor's state.
#[derive(Clone, Debug, Default)]
pub struct Board {
    state: State,
    last_id: u32,
}

impl Board {
    /// Nothing is distributed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The one door. A state is put out when there is another one. Without a pool there are no jobs.
    pub fn handle(&mut self, input: Input, out: &mut Vec<Output>) {
        let before = self.state.clone();
        match input {
            Input::Pool(pool) => {
                self.end(WithdrawJob::UpstreamLost);
                self.state = State {
                    pool: pool.map(Arc::new),
                    ended: self.state.ended,
                    ..State::default()
                };
            }
            Input::Job(..) | Input::Future(_) if self.state.pool.is_none() => {}
            Input::Job(job, tip) => {
                let job = self.number(*job, out);
                self.activate(job, tip);
            }
            Input::Future(job) => {
                let job = self.number(*job, out);
                self.state.futures.push(job);
                if self.state.futures.len() > FUTURES_MAX {
                    self.state.futures.remove(0);
                }
            }
            Input::Activate { job_id, tip } => {
                let found = self.state.futures.iter().find(|job| job.job_id == job_id);
                if let Some(job) = found.cloned() {
                    self.activate(job, tip);
                    // Whatever else was there for later was made for this block as well.
                    self.state.futures.clear();
                }
            }
            Input::End(why) => self.end(why),
            Input::Withdraw(job_id, why) => {
                self.state.futures.retain(|job| job.job_id != job_id);
                if self
                    .state
                    .active
                    .as_ref()
                    .is_some_and(|it| it.job.job_id == job_id)
                {
                    self.end(why);
                }
            }
        }
        if self.state != before {
            out.push(Output::State(Arc::new(self.state.clone())));
        }
    }

    /// What is distributed at the moment.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    fn number(&mut self, mut job: NewDistributedJob, out: &mut Vec<Output>) -> Arc<NewDistributedJob> {
        self.last_id = self.last_id.wrapping_add(1);
        job.job_id = self.last_id;
        job.min_ntime = None;
        out.push(Output::Numbered(job.job_id));
        Arc::new(job)
    }

    fn activate(&mut self, job: Arc<NewDistributedJob>, tip: Tip) {
        let before = self.state.active.replace(Active { job, tip });
        if before.is_none_or(|before| !before.tip.is_same_block(&tip)) {
            self.state.futures.clear();
        }
        self.state.ended = None;
    }

    fn end(&mut self, why: WithdrawJob) {
        if self.state.active.take().is_some() {
            self.state.ended = Some(why);
        }
    }
}
