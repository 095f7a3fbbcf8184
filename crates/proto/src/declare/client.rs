//! The miner's side of job declaration (spec 6): tokens in stock, templates declared, blocks pushed.
//!
//! ```text
//!   Start    --> AllocateMiningJobToken .. Success --> Event::Outputs (when they change), the token goes into stock
//!   Reserve  --> a token of the stock is bound to a job --> Event::Token
//!   Declare  --> DeclareMiningJob .. Success --> Event::Declared with the token for SetCustomMiningJob
//!                                 .. Error   --> Event::Refused
//!                ProvideMissingTransactions --> the transactions asked for, in that order
//!   Solution --> PushSolution
//! ```
//!
//! Coinbase-only mode ends with `Reserve`: its token goes into SetCustomMiningJob as it is, and nothing about
//! transactions is ever said. Every answer is held against the requests that are open *on this connection*; a machine
//! lives no longer than its connection, so an answer to an earlier one can never match.

mod door;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use adit_wire::declare::{
    AllocateMiningJobToken, AllocateMiningJobTokenSuccess, DeclareMiningJob, DeclareMiningJobError,
    DeclareMiningJobSuccess, ProvideMissingTransactions, ProvideMissingTransactionsSuccess, PushSolution,
    ToClient,
};
use adit_wire::types::TransactionList;
use adit_wire::{B0_16M, B0_64K, B0_255, Seq0_64K};
use bitcoin::TxOut;

use super::Coinbase;
use crate::{Fault, Time};

pub use door::{Declaration, Event, Input, Mode, Output, Settings, Unasked, Withheld};

/// Declarations without an answer at once.
pub const DECLARATIONS_MAX: usize = 2;
/// Answers to nobody's question that are passed over before the connection ends.
pub const UNASKED_MAX: u32 = 16;
/// The fault of a server that gives no token in time.
pub const NO_TOKEN: Fault = Fault::Expired("no token in time");
/// The fault of a server that does not say in time whether it takes a declared job.
pub const NO_VERDICT: Fault = Fault::Expired("no verdict on a declared job in time");
/// Outputs that a pool may impose.
pub const OUTPUTS_MAX: usize = 64;

/// The client of one job declaration connection.
#[derive(Clone, Debug)]
pub struct Client {
    settings: Settings,
    next_request: u32,
    /// Requests for tokens without an answer, by id, with their deadline.
    asked: BTreeMap<u32, Time>,
    /// Tokens in stock, the oldest first, with the time at which each is too old.
    stock: VecDeque<(B0_255, Time)>,
    /// What every coinbase must pay, as the newest token has it.
    outputs: Option<Vec<TxOut>>,
    /// Jobs that wait for a token: the newest only.
    waiting: Option<u32>,
    /// Tokens bound to jobs that are not declared yet.
    bound: BTreeMap<u32, (B0_255, Time)>,
    /// Declarations without an answer, by request id.
    declared: BTreeMap<u32, Open>,
    unasked: u32,
}

/// A declaration that waits for its answer.
#[derive(Clone, Debug)]
struct Open {
    job: u32,
    until: Time,
    declaration: Declaration,
    /// Positions that were handed over: none is asked for twice by an honest server.
    given: BTreeSet<u16>,
}

impl Client {
    /// A machine for a connection that was just set up.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            next_request: 1,
            asked: BTreeMap::new(),
            stock: VecDeque::new(),
            outputs: None,
            waiting: None,
            bound: BTreeMap::new(),
            declared: BTreeMap::new(),
            unasked: 0,
        }
    }

    /// The one door.
    ///
    /// # Errors
    /// `Malformed` when a token's outputs are none, `Misbehaved` when the server asks for transactions that it must not
    /// ask for, or answers questions of nobody again and again, `Expired` when a token or a verdict does not come in
    /// time.
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) -> Result<(), Fault> {
        match input {
            Input::Start => self.fill(now, out),
            Input::Message(message) => return self.message(now, message, out),
            Input::Reserve { job } => self.reserve(now, job, out),
            Input::Release { job } => self.release(job),
            Input::Declare { job, declaration } => self.declare(now, job, *declaration, out),
            Input::Solution(solution) => self.push(solution, out),
            Input::Deadline => return self.expire(now, out),
        }
        Ok(())
    }

    /// When [`Input::Deadline`] is wanted.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let stock = self.stock.front().map(|(_, until)| *until);
        let asked = self.asked.values().copied();
        let declared = self.declared.values().map(|open| open.until);
        asked.chain(declared).chain(stock).min()
    }

    /// Tokens at hand.
    #[must_use]
    pub fn stock(&self) -> usize {
        self.stock.len()
    }

    fn message(&mut self, now: Time, message: ToClient, out: &mut Vec<Output>) -> Result<(), Fault> {
        match message {
            ToClient::AllocateMiningJobTokenSuccess(it) => self.token(now, it, out),
            ToClient::ProvideMissingTransactions(it) => self.provide(&it, out),
            ToClient::DeclareMiningJobSuccess(it) => self.accepted(it, out),
            ToClient::DeclareMiningJobError(it) => self.refused(it, out),
        }
    }

    /// Asks for as many tokens as are missing.
    fn fill(&mut self, now: Time, out: &mut Vec<Output>) {
        let wanted = self.settings.stock.max(1) + usize::from(self.waiting.is_some());
        while self.stock.len() + self.asked.len() < wanted {
            let request_id = self.number();
            self.asked.insert(request_id, now + self.settings.token_timeout);
            let message = AllocateMiningJobToken {
                user_identifier: self.settings.user_identifier.clone(),
                request_id,
            };
            out.push(Output::Send(message.into()));
        }
    }

    fn number(&mut self) -> u32 {
        let number = self.next_request;
        self.next_request = number.wrapping_add(1);
        number
    }

    fn token(
        &mut self,
        now: Time,
        it: AllocateMiningJobTokenSuccess,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        if self.asked.remove(&it.request_id).is_none() {
            return self.unasked(Unasked::Token, out);
        }
        let outputs = Coinbase::read_outputs(&it.coinbase_tx_outputs)
            .filter(|outputs| (1..=OUTPUTS_MAX).contains(&outputs.len()))
            .ok_or(Fault::Malformed("the outputs of a token do not decode"))?;
        if self.outputs.as_ref() != Some(&outputs) {
            // Jobs for the old outputs would be refused: their tokens go with them.
            self.stock.clear();
            self.bound.clear();
            self.outputs = Some(outputs.clone());
            out.push(Output::Event(Event::Outputs(outputs)));
        }
        self.stock
            .push_back((it.mining_job_token, now + self.settings.token_age_max));
        if let Some(job) = self.waiting.take() {
            self.reserve(now, job, out);
        }
        self.fill(now, out);
        Ok(())
    }

    fn reserve(&mut self, now: Time, job: u32, out: &mut Vec<Output>) {
        self.discard_old(now);
        match self.stock.pop_front() {
            Some((token, until)) => {
                if self.bound.len() >= DECLARATIONS_MAX {
                    self.bound.pop_first();
                }
                if self.settings.mode == Mode::FullTemplate {
                    self.bound.insert(job, (token.clone(), until));
                }
                out.push(Output::Event(Event::Token { job, token }));
            }
            None => self.waiting = Some(job),
        }
        self.fill(now, out);
    }

    fn discard_old(&mut self, now: Time) {
        while self.stock.front().is_some_and(|(_, until)| *until <= now) {
            self.stock.pop_front();
        }
    }

    /// The job is of no interest any more. Its token was named to nobody: it waits for the next one.
    fn release(&mut self, job: u32) {
        self.waiting.take_if(|waiting| *waiting == job);
        if let Some(token) = self.bound.remove(&job) {
            self.stock.push_front(token);
        }
    }

    fn declare(&mut self, now: Time, job: u32, declaration: Declaration, out: &mut Vec<Output>) {
        let withheld = |why| Output::Event(Event::Withheld { job, why });
        if self.settings.mode == Mode::CoinbaseOnly {
            return out.push(withheld(Withheld::CoinbaseOnly));
        }
        if self.declared.len() >= DECLARATIONS_MAX {
            return out.push(withheld(Withheld::TooMany));
        }
        let Some((token, _)) = self.bound.remove(&job) else {
            return out.push(withheld(Withheld::NoToken));
        };
        let request_id = self.number();
        let message = declaration.message(request_id, token);
        let Some(message) = message else {
            return out.push(withheld(Withheld::TooLarge));
        };
        self.declared.insert(
            request_id,
            Open {
                job,
                until: now + self.settings.declare_timeout,
                declaration,
                given: BTreeSet::new(),
            },
        );
        out.push(Output::Send(message.into()));
    }

    /// ProvideMissingTransactions: what was asked for, in that order (REQ-JD-012).
    fn provide(&mut self, it: &ProvideMissingTransactions, out: &mut Vec<Output>) -> Result<(), Fault> {
        if self.settings.mode == Mode::CoinbaseOnly {
            return Err(Fault::Misbehaved(
                "it asks for transactions in coinbase-only mode",
            ));
        }
        let Some(open) = self.declared.get_mut(&it.request_id) else {
            return self.unasked(Unasked::Transactions, out);
        };
        let mut list = Vec::with_capacity(it.unknown_tx_position_list.len());
        for position in &it.unknown_tx_position_list {
            let transaction =
                open.declaration
                    .transactions
                    .get(usize::from(*position))
                    .ok_or(Fault::Misbehaved(
                        "it asks for a transaction that was not declared",
                    ))?;
            if !open.given.insert(*position) {
                return Err(Fault::Misbehaved("it asks for a transaction twice"));
            }
            let transaction = B0_16M::try_from(transaction.as_slice())
                .map_err(|_| Fault::Misbehaved("a transaction fits no message"))?;
            list.push(transaction);
        }
        let transaction_list = TransactionList::new(list)
            .map_err(|_| Fault::Misbehaved("it asks for more transactions than a block holds"))?;
        let message = ProvideMissingTransactionsSuccess {
            request_id: it.request_id,
            transaction_list,
        };
        out.push(Output::Send(message.into()));
        Ok(())
    }

    fn accepted(&mut self, it: DeclareMiningJobSuccess, out: &mut Vec<Output>) -> Result<(), Fault> {
        match self.declared.remove(&it.request_id) {
            Some(open) => {
                out.push(Output::Event(Event::Declared {
                    job: open.job,
                    token: it.new_mining_job_token,
                }));
                Ok(())
            }
            None => self.unasked(Unasked::Success, out),
        }
    }

    fn refused(&mut self, it: DeclareMiningJobError, out: &mut Vec<Output>) -> Result<(), Fault> {
        match self.declared.remove(&it.request_id) {
            Some(open) => {
                out.push(Output::Event(Event::Refused {
                    job: open.job,
                    code: it.error_code,
                }));
                Ok(())
            }
            None => self.unasked(Unasked::Error, out),
        }
    }

    /// Answers that match no open request change nothing; a server that keeps sending them is left.
    fn unasked(&mut self, what: Unasked, out: &mut Vec<Output>) -> Result<(), Fault> {
        self.unasked += 1;
        if self.unasked > UNASKED_MAX {
            return Err(Fault::Misbehaved("it answers what nobody asked"));
        }
        out.push(Output::Event(Event::Unasked(what)));
        Ok(())
    }

    /// Only Full-Template mode has PushSolution (REQ-JD-031).
    fn push(&self, solution: PushSolution, out: &mut Vec<Output>) {
        if self.settings.mode == Mode::FullTemplate {
            out.push(Output::Send(solution.into()));
        }
    }

    fn expire(&mut self, now: Time, out: &mut Vec<Output>) -> Result<(), Fault> {
        let late = |until: &Time| *until <= now;
        if self.asked.values().any(late) {
            return Err(NO_TOKEN);
        }
        if self.declared.values().any(|open| late(&open.until)) {
            return Err(NO_VERDICT);
        }
        self.discard_old(now);
        self.fill(now, out);
        Ok(())
    }
}

impl Declaration {
    /// The message; nothing when a field is too long for it.
    fn message(&self, request_id: u32, mining_job_token: B0_255) -> Option<DeclareMiningJob> {
        Some(DeclareMiningJob {
            request_id,
            mining_job_token,
            version: self.version,
            coinbase_tx_prefix: B0_64K::new(&self.coinbase_tx_prefix).ok()?,
            coinbase_tx_suffix: B0_64K::new(&self.coinbase_tx_suffix).ok()?,
            wtxid_list: Seq0_64K::new(self.wtxids.clone()).ok()?,
            excess_data: B0_64K::default(),
        })
    }
}
