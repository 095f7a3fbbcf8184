//! The pool's side of one job declaration connection (spec 6.4).
//!
//! ```text
//! DeclareMiningJob ─► read, list rules ─► Lookup ─► ProvideMissingTransactions ─► Check ─► Success or Error
//!                     (here)              (driver)  (peer, if some are unknown)   (driver)
//! ```
//!
//! One declaration is worked on at a time and one more may wait: so there is never more than one look-up or check of a
//! connection under way. Everything that is held is counted, in bytes, against the connection's bound and against the
//! [`Budget`] of all of them.

mod door;
mod pending;
mod provide;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use adit_wire::common::flags;
use adit_wire::declare::{
    AllocateMiningJobToken, AllocateMiningJobTokenSuccess, DeclareMiningJobError, DeclareMiningJobSuccess,
    PushSolution, ToClient, ToServer,
};
use adit_wire::refusal::DeclareMiningJob as Refusal;
use adit_wire::{B0_64K, B0_255};

use super::{Budget, Declared, Held, Token};
use crate::setup::Established;
use crate::{Fault, Time};
use pending::Pending;

pub use door::{Event, Input, Looked, Lookup, Output, Refused, Settings};
pub use provide::ARRIVING_FREE;

/// One job declaration connection, pool side.
#[derive(Debug)]
pub struct Server {
    settings: Arc<Settings>,
    budget: Budget,
    /// The client reveals its transactions (DECLARE_TX_DATA).
    full_template: bool,
    /// Token requests that the driver was asked for, or that wait for their turn.
    requests: VecDeque<AllocateMiningJobToken>,
    asked: usize,
    /// The first is worked on.
    pending: VecDeque<Pending>,
    /// Counts declarations up; names them towards the driver.
    declarations: u64,
    /// Jobs that were acknowledged, newest first.
    declared: VecDeque<Arc<Declared>>,
    /// Room for a message that is not whole yet.
    arriving: Option<Held>,
    allocations: Bucket,
    solutions: Bucket,
}

impl Server {
    /// A connection that was just set up.
    pub fn new(now: Time, settings: Arc<Settings>, budget: Budget, setup: &Established) -> Self {
        Self {
            full_template: settings.full_template && setup.flags & flags::DECLARE_TX_DATA != 0,
            budget,
            requests: VecDeque::new(),
            asked: 0,
            pending: VecDeque::new(),
            declarations: 0,
            declared: VecDeque::new(),
            arriving: None,
            allocations: Bucket::new(now, settings.tokens_per_minute, settings.tokens_burst),
            solutions: Bucket::new(now, settings.solutions_per_minute, settings.solutions_burst),
            settings,
        }
    }

    /// The one door. When it returns, `out` holds all there is to do, after what it held before.
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) -> Result<(), Fault> {
        if let Input::Message(_) = &input {
            // What it is made of takes its own room.
            self.arriving = None;
        }
        match input {
            Input::Arriving { bytes } => self.arriving(bytes, out),
            Input::Message(ToServer::AllocateMiningJobToken(ask)) => self.allocate(now, ask, out),
            Input::Message(ToServer::DeclareMiningJob(job)) => self.declare(job, out),
            Input::Message(ToServer::ProvideMissingTransactionsSuccess(list)) => self.provided(list, out),
            Input::Message(ToServer::PushSolution(solution)) => {
                self.solution(now, &solution, out);
                Ok(())
            }
            Input::Token {
                request_id,
                token,
                outputs,
            } => {
                self.token(request_id, token, &outputs, out);
                Ok(())
            }
            Input::Looked { declaration, verdict } => {
                self.looked(now, declaration, verdict, out);
                Ok(())
            }
            Input::Checked { declaration, verdict } => {
                self.checked(declaration, verdict, out);
                Ok(())
            }
            Input::Deadline => {
                self.due(now, out);
                Ok(())
            }
        }
    }

    /// When [`Input::Deadline`] is due, if ever.
    pub fn deadline(&self) -> Option<Time> {
        let provide = self.pending.front().and_then(Pending::deadline);
        let waits = self.requests.len() > self.asked;
        let allocate = waits.then(|| self.allocations.next());
        [provide, allocate].into_iter().flatten().min()
    }

    /// Longest ProvideMissingTransactions.Success that is wanted now: nothing unless it was asked for.
    pub fn provided_bytes_max(&self) -> usize {
        self.pending.front().map_or(0, Pending::provided_bytes_max)
    }

    /// Bytes that the connection holds, as they are counted.
    pub fn bytes(&self) -> usize {
        let pending: usize = self.pending.iter().map(Pending::bytes).sum();
        let arriving = self.arriving.as_ref().map_or(0, Held::bytes);
        arriving + pending + Declared::counted(self.declared.iter())
    }

    /// Jobs whose solutions are tried.
    pub fn declared_count(&self) -> usize {
        self.declared.len()
    }

    fn allocate(
        &mut self,
        now: Time,
        ask: AllocateMiningJobToken,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        if self.requests.len() >= self.settings.requests_max {
            return Err(Fault::Misbehaved("far too many token requests"));
        }
        self.requests.push_back(ask);
        self.ask_for_tokens(now, out);
        Ok(())
    }

    /// Requests beyond the rate wait a while: they are late, not lost (spec 6.4.2).
    fn ask_for_tokens(&mut self, now: Time, out: &mut Vec<Output>) {
        while self.asked < self.requests.len() && self.allocations.spend(now) {
            if let Some(ask) = self.requests.get(self.asked) {
                out.push(Output::Allocate {
                    request_id: ask.request_id,
                    user_identifier: ask.user_identifier.clone(),
                });
            }
            self.asked += 1;
        }
    }

    fn token(&mut self, request_id: u32, token: Option<Token>, outputs: &[u8], out: &mut Vec<Output>) {
        let asked = self.requests.iter().take(self.asked);
        let Some(place) = asked.into_iter().position(|ask| ask.request_id == request_id) else {
            return;
        };
        self.requests.remove(place);
        self.asked -= 1;
        // There is no message for a refusal (C-67): no token, no answer, and the client looks elsewhere in time.
        let Some(token) = token else { return };
        let success = AllocateMiningJobTokenSuccess {
            request_id,
            mining_job_token: B0_255::new(&token.0).unwrap_or_default(),
            coinbase_tx_outputs: B0_64K::new(outputs).unwrap_or_default(),
        };
        out.push(Output::Send(success.into()));
    }

    /// The whole block was checked; or could not be.
    fn checked(&mut self, declaration: u64, verdict: Result<Token, Refused>, out: &mut Vec<Output>) {
        let Some(done) = self.pending.pop_front_if(|first| first.is_checking(declaration)) else {
            return;
        };
        let request_id = done.request_id;
        match (verdict, done.into_job()) {
            (Ok(token), Some(job)) => {
                self.declared.push_front(job);
                self.declared.truncate(self.settings.declared_max);
                let success = DeclareMiningJobSuccess {
                    request_id,
                    new_mining_job_token: B0_255::new(&token.0).unwrap_or_default(),
                };
                out.push(Output::Send(success.into()));
                out.push(Output::Event(Event::Declared));
            }
            (Ok(_), None) => refuse(request_id, &Refused::bare(Refusal::InternalError), out),
            (Err(refused), _) => refuse(request_id, &refused, out),
        }
        self.next(out);
    }

    /// A block, perhaps: proof of work first, by one hash a job, and nothing else for junk (spec 6.4.9).
    fn solution(&mut self, now: Time, solution: &PushSolution, out: &mut Vec<Output>) {
        if !self.solutions.spend(now) {
            return out.push(Output::Event(Event::SolutionIgnored));
        }
        match self.declared.iter().find_map(|job| job.solve(solution)) {
            Some(solved) => out.push(Output::Solution(Box::new(solved))),
            None => out.push(Output::Event(Event::SolutionIgnored)),
        }
    }

    fn due(&mut self, now: Time, out: &mut Vec<Output>) {
        self.ask_for_tokens(now, out);
        let late = |first: &mut Pending| first.deadline().is_some_and(|until| until <= now);
        if let Some(late) = self.pending.pop_front_if(late) {
            let refused = Refused::new(Refusal::MissingTxs, "the transactions did not come in time");
            refuse(late.request_id, &refused, out);
            self.next(out);
        }
    }
}

/// DeclareMiningJob.Error (spec 6.4.6).
fn refuse(request_id: u32, refused: &Refused, out: &mut Vec<Output>) {
    let error = DeclareMiningJobError {
        request_id,
        error_code: refused.code.into(),
        error_details: B0_64K::new(refused.details.as_bytes()).unwrap_or_default(),
    };
    out.push(Output::Send(ToClient::from(error)));
    out.push(Output::Event(Event::Refused(refused.code)));
}

/// So many at once, then so many a minute.
#[derive(Debug)]
struct Bucket {
    interval: Duration,
    burst: u32,
    /// Runs ahead of the clock by what was spent.
    used_until: Time,
}

impl Bucket {
    fn new(now: Time, per_minute: u32, burst: u32) -> Self {
        Self {
            interval: Duration::from_secs(60) / per_minute.max(1),
            burst: burst.max(1),
            used_until: now,
        }
    }

    fn spend(&mut self, now: Time) -> bool {
        if self.next() > now {
            return false;
        }
        self.used_until = self.used_until.max(now) + self.interval;
        true
    }

    /// When there is something to spend.
    fn next(&self) -> Time {
        let ahead = self.interval * (self.burst - 1);
        let micros = u64::try_from(ahead.as_micros()).unwrap_or(u64::MAX);
        Time(self.used_until.0.saturating_sub(micros))
    }
}
