//! The template provider's side of one connection (spec 7).
//!
//! Templates and transactions come from the role, which knows the node; ids, order and what a client may ask for are
//! decided here. A template goes out as one of the tip that the client is on, or as a future template with the
//! SetNewPrevHash that makes it current right behind it, in one breath.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use adit_wire::refusal;
use adit_wire::template::{
    CoinbaseOutputConstraints, RequestTransactionDataError, RequestTransactionDataSuccess, SubmitSolution,
    ToClient, ToServer,
};
use adit_wire::types::{B0_16M, TransactionList, U256};

use super::{Constraints, Paired};
use crate::{Fault, Time};

/// A template is remembered while at most this many tips have followed its own: as long as a reorganisation may make
/// its block worth something.
pub const TIPS_MAX: u64 = 6;
/// Templates of one connection that are remembered.
pub const TEMPLATES_MAX: usize = 512;
/// Requests for transactions of one client that may wait for their answer.
pub const REQUESTS_MAX: usize = 32;
/// Changes of mind about the constraints that a client may have at once, and then one each second.
pub const CHANGES_MAX: u32 = 8;

/// How a server serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a client may take to say its constraints.
    pub timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
        }
    }
}

/// What is on offer: one value for all clients that agree.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// By which the role knows the template; rises.
    pub source: u64,
    /// Room that the template leaves.
    pub constraints: Constraints,
    /// The template and its tip.
    pub paired: Paired,
}

/// What can happen to the machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A message of the client.
    Message(ToServer),
    /// The newest template. One that leaves too little room is passed over.
    Offer(Arc<Offer>),
    /// The answer to [`Output::Transactions`]: all transactions but the coinbase, in block order, with witness;
    /// `None` when they are no longer known.
    Transactions {
        /// The id that was asked for.
        template_id: u64,
        /// One consensus-encoded transaction each.
        transactions: Option<Arc<Vec<Vec<u8>>>>,
    },
    /// The deadline has passed, perhaps.
    Deadline,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this.
    Send(ToClient),
    /// From now on the client wants templates with this room; offer the newest.
    Constraints(Constraints),
    /// Look up the transactions of a template and answer with [`Input::Transactions`].
    Transactions {
        /// The id that the client knows.
        template_id: u64,
        /// The id that the role knows.
        source: u64,
    },
    /// A block: to the node at once, however old its template is.
    Solution {
        /// The id that the role knows.
        source: u64,
        /// What was found.
        solution: SubmitSolution,
    },
    /// Something the role should know.
    Event(Event),
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A solution for a template that this connection never got or that is long forgotten. It is lost.
    UnknownTemplate {
        /// The id it names.
        template_id: u64,
    },
}

/// A template that went out.
#[derive(Clone, Copy, Debug)]
struct Sent {
    template_id: u64,
    source: u64,
    tip: u64,
}

/// Serves templates to one client.
#[derive(Clone, Debug)]
pub struct Server {
    state: State,
    /// Rises with each template; ids never return (REQ-TDP-015).
    last_id: u64,
    sent: VecDeque<Sent>,
    /// What the client builds on: hash, compact target and target. A change of any needs a SetNewPrevHash.
    on: Option<(U256, u32, U256)>,
    /// Counts the tips of this connection.
    tip: u64,
    asked: VecDeque<u64>,
    changes_left: u32,
    changed_at: Time,
}

#[derive(Clone, Copy, Debug)]
enum State {
    ExpectConstraints {
        until: Time,
    },
    Serving {
        constraints: Constraints,
        last: Option<u64>,
    },
}

impl Server {
    /// A machine for a connection that was set up at `now`.
    #[must_use]
    pub fn new(now: Time, settings: &Settings) -> Self {
        Self {
            state: State::ExpectConstraints {
                until: now + settings.timeout,
            },
            last_id: 0,
            sent: VecDeque::new(),
            on: None,
            tip: 0,
            asked: VecDeque::new(),
            changes_left: CHANGES_MAX,
            changed_at: now,
        }
    }

    /// The one door.
    ///
    /// # Errors
    /// `Expired` when no constraints come in time, `Misbehaved` when they fit no block or change all the time, and when
    /// far too many requests wait.
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) -> Result<(), Fault> {
        match input {
            Input::Message(ToServer::CoinbaseOutputConstraints(message)) => {
                self.constraints(now, message, out)
            }
            Input::Message(ToServer::RequestTransactionData(message)) => {
                self.request(message.template_id, out)
            }
            Input::Message(ToServer::SubmitSolution(message)) => {
                self.solution(message, out);
                Ok(())
            }
            Input::Offer(offer) => {
                self.offer(&offer, out);
                Ok(())
            }
            Input::Transactions {
                template_id,
                transactions,
            } => {
                self.transactions(template_id, transactions.as_deref(), out);
                Ok(())
            }
            Input::Deadline => self.expire(now),
        }
    }

    /// When [`Input::Deadline`] is wanted.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        match self.state {
            State::ExpectConstraints { until } => Some(until),
            State::Serving { .. } => None,
        }
    }

    /// What the client asked for last.
    #[must_use]
    pub fn wanted(&self) -> Option<Constraints> {
        match self.state {
            State::ExpectConstraints { .. } => None,
            State::Serving { constraints, .. } => Some(constraints),
        }
    }

    fn constraints(
        &mut self,
        now: Time,
        message: CoinbaseOutputConstraints,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        let constraints = Constraints::from(message);
        if !constraints.fit_a_block() {
            return Err(Fault::Misbehaved("no block has room for such coinbase outputs"));
        }
        self.spend_change(now)?;
        self.state = State::Serving {
            constraints,
            last: None,
        };
        out.push(Output::Constraints(constraints));
        Ok(())
    }

    /// New constraints make the node work: they may not come all the time.
    fn spend_change(&mut self, now: Time) -> Result<(), Fault> {
        let earned = u32::try_from((now - self.changed_at).as_secs()).unwrap_or(CHANGES_MAX);
        if earned > 0 {
            self.changes_left = self.changes_left.saturating_add(earned).min(CHANGES_MAX);
            self.changed_at = now;
        }
        self.changes_left = self
            .changes_left
            .checked_sub(1)
            .ok_or(Fault::Misbehaved("the constraints change all the time"))?;
        Ok(())
    }

    /// Sends a template, unless the client has it or could not use it.
    fn offer(&mut self, offer: &Offer, out: &mut Vec<Output>) {
        let State::Serving { constraints, last } = &mut self.state else {
            return;
        };
        if *last == Some(offer.source) || !offer.constraints.cover(constraints) {
            return;
        }
        *last = Some(offer.source);
        self.last_id = self.last_id.saturating_add(1);
        let mut template = offer.paired.template.clone();
        let tip = &offer.paired.tip;
        let on = (tip.prev_hash, tip.n_bits, tip.target);
        let is_news = self.on != Some(on);
        template.template_id = self.last_id;
        template.future_template = is_news;
        out.push(Output::Send(template.into()));
        if is_news {
            let mut tip = offer.paired.tip.clone();
            tip.template_id = self.last_id;
            out.push(Output::Send(tip.into()));
            self.on = Some(on);
            self.tip = self.tip.saturating_add(1);
        }
        self.remember(offer.source);
    }

    fn remember(&mut self, source: u64) {
        self.sent.push_back(Sent {
            template_id: self.last_id,
            source,
            tip: self.tip,
        });
        while self.sent.len() > TEMPLATES_MAX
            || self
                .sent
                .front()
                .is_some_and(|oldest| self.tip.saturating_sub(oldest.tip) > TIPS_MAX)
        {
            self.sent.pop_front();
        }
    }

    fn find(&self, template_id: u64) -> Option<Sent> {
        let place = self
            .sent
            .binary_search_by_key(&template_id, |sent| sent.template_id);
        place.ok().and_then(|place| self.sent.get(place)).copied()
    }

    fn request(&mut self, template_id: u64, out: &mut Vec<Output>) -> Result<(), Fault> {
        let Some(sent) = self.find(template_id) else {
            let was_sent = (1..=self.last_id).contains(&template_id);
            let code = if was_sent {
                refusal::RequestTransactionData::StaleTemplateId
            } else {
                refusal::RequestTransactionData::TemplateIdNotFound
            };
            out.push(refused(template_id, code));
            return Ok(());
        };
        if self.asked.len() >= REQUESTS_MAX {
            return Err(Fault::Misbehaved("far too many requests for transactions"));
        }
        self.asked.push_back(template_id);
        out.push(Output::Transactions {
            template_id,
            source: sent.source,
        });
        Ok(())
    }

    fn transactions(&mut self, template_id: u64, known: Option<&Vec<Vec<u8>>>, out: &mut Vec<Output>) {
        let Some(place) = self.asked.iter().position(|asked| *asked == template_id) else {
            return;
        };
        self.asked.remove(place);
        // What does not fit the message is no block's transactions.
        let list = known.and_then(|transactions| {
            let each = transactions.iter().map(|bytes| B0_16M::new(bytes).ok());
            TransactionList::new(each.collect::<Option<Vec<_>>>()?).ok()
        });
        out.push(match list {
            Some(transaction_list) => Output::Send(
                RequestTransactionDataSuccess {
                    template_id,
                    excess_data: Default::default(),
                    transaction_list,
                }
                .into(),
            ),
            None => refused(template_id, refusal::RequestTransactionData::StaleTemplateId),
        });
    }

    fn solution(&mut self, solution: SubmitSolution, out: &mut Vec<Output>) {
        let template_id = solution.template_id;
        out.push(match self.find(template_id) {
            Some(sent) => Output::Solution {
                source: sent.source,
                solution,
            },
            None => Output::Event(Event::UnknownTemplate { template_id }),
        });
    }

    fn expire(&self, now: Time) -> Result<(), Fault> {
        match self.state {
            State::ExpectConstraints { until } if now >= until => {
                Err(Fault::Expired("no CoinbaseOutputConstraints in time"))
            }
            _ => Ok(()),
        }
    }
}

fn refused(template_id: u64, code: refusal::RequestTransactionData) -> Output {
    Output::Send(
        RequestTransactionDataError {
            template_id,
            error_code: code.into(),
        }
        .into(),
    )
}
