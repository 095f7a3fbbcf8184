//! The distributor's side of one connection: tells a receiver what it does not know yet.

use std::collections::VecDeque;
use std::sync::Arc;

use adit_wire::Str0_255;
use adit_wire::common::flags::REQUIRES_ACTIVE_JOBS;
use adit_wire::distribute::{
    NewDistributedJob, SetNewPrevHash, SubmitSolution, ToClient, ToServer, WithdrawJob,
};
use adit_wire::refusal;

use super::{Active, Pool, Solved, State, Tip, header};

/// Jobs of a connection for which solutions are taken.
pub const JOBS_MAX: usize = 16;

/// What can happen to the machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A message of the receiver.
    Message(ToServer),
    /// What the distributor distributes now. States may be left out; the newest counts.
    State(Arc<State>),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this.
    Send(ToClient),
    /// A block: to the node and to the pool at once.
    Solution(Box<Solved>),
    /// Something the role should know.
    Event(Event),
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The receiver's pool does not take a job. One receiver's word: no reason to withdraw it.
    Refused {
        /// The job.
        job_id: u32,
        /// The pool's code, for the log.
        code: Str0_255,
    },
    /// A solution that makes no block, or of a job that is not known any more.
    NoSolution {
        /// The job it names.
        job_id: u32,
    },
}

/// What the receiver knows.
#[derive(Clone, Debug, Default)]
struct Told {
    /// `None`: nothing was said yet.
    pool: Option<Option<Arc<Pool>>>,
    tip: Option<Tip>,
    active: Option<u32>,
    futures: Vec<u32>,
}

/// Serves one receiver.
#[derive(Clone, Debug)]
pub struct Server {
    active_only: bool,
    told: Told,
    sent: VecDeque<Active>,
}

impl Server {
    /// A machine for a connection that was set up with these flags.
    #[must_use]
    pub fn new(flags: u32) -> Self {
        Self {
            active_only: flags & REQUIRES_ACTIVE_JOBS != 0,
            told: Told::default(),
            sent: VecDeque::new(),
        }
    }

    /// The one door. Nothing that a receiver can say ends its connection here; how much it may say is for the role.
    pub fn handle(&mut self, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::State(state) => {
                self.pool(&state, out);
                self.active(&state, out);
                if !self.active_only {
                    self.futures(&state, out);
                }
            }
            Input::Message(ToServer::JobRefused(message)) => out.push(Output::Event(Event::Refused {
                job_id: message.job_id,
                code: message.error_code,
            })),
            Input::Message(ToServer::SubmitSolution(solution)) => self.solution(&solution, out),
        }
    }

    /// Another pool ends all that was said before.
    fn pool(&mut self, state: &State, out: &mut Vec<Output>) {
        if self.told.pool.as_ref() == Some(&state.pool) {
            return;
        }
        self.told = Told {
            pool: Some(state.pool.clone()),
            ..Told::default()
        };
        out.push(send(Pool::message(state.pool.as_deref())));
    }

    fn active(&mut self, state: &State, out: &mut Vec<Output>) {
        let Some(active) = &state.active else {
            if let Some(job_id) = self.told.active.take() {
                let why = state.ended.unwrap_or(refusal::WithdrawJob::RefusedByPool);
                out.push(withdraw(job_id, why));
            }
            return;
        };
        let (job_id, tip) = (active.job.job_id, active.tip);
        if self.told.active.replace(job_id) == Some(job_id) {
            return;
        }
        let is_known = self.told.futures.contains(&job_id);
        let on_tip = self.told.tip.is_some_and(|told| told.is_same_block(&tip));
        if on_tip && !is_known {
            out.push(new_job(&active.job, Some(tip.min_ntime)));
        } else {
            if !is_known {
                out.push(new_job(&active.job, None));
            }
            out.push(send(SetNewPrevHash {
                job_id,
                prev_hash: tip.prev_hash,
                min_ntime: tip.min_ntime,
                nbits: tip.nbits,
            }));
            self.told.futures.clear();
            self.told.tip = Some(tip);
        }
        self.remember(active);
    }

    fn futures(&mut self, state: &State, out: &mut Vec<Output>) {
        let is_there = |id: u32| state.futures.iter().any(|job| job.job_id == id);
        self.told.futures.retain(|id| {
            let stays = is_there(*id);
            if !stays {
                out.push(withdraw(*id, refusal::WithdrawJob::Replaced));
            }
            stays
        });
        for job in &state.futures {
            if !self.told.futures.contains(&job.job_id) {
                self.told.futures.push(job.job_id);
                out.push(new_job(job, None));
            }
        }
    }

    fn remember(&mut self, active: &Active) {
        if self.sent.len() >= JOBS_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back(active.clone());
    }

    /// A block is worth something even when its job was withdrawn or another one has followed.
    fn solution(&mut self, solution: &SubmitSolution, out: &mut Vec<Output>) {
        let of_job = |active: &&Active| active.job.job_id == solution.job_id;
        let sent = self.sent.iter().rev().find(of_job);
        let solved = sent.and_then(|active| header::solve(active, solution));
        out.push(match solved {
            Some(solved) => Output::Solution(Box::new(solved)),
            None => Output::Event(Event::NoSolution {
                job_id: solution.job_id,
            }),
        });
    }
}

fn send(message: impl Into<ToClient>) -> Output {
    Output::Send(message.into())
}

fn new_job(job: &NewDistributedJob, min_ntime: Option<u32>) -> Output {
    send(NewDistributedJob {
        min_ntime,
        ..job.clone()
    })
}

fn withdraw(job_id: u32, why: refusal::WithdrawJob) -> Output {
    send(WithdrawJob {
        job_id,
        reason_code: why.into(),
    })
}
