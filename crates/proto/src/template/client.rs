//! The side of a pool or job negotiator (spec 7): says how much room it needs, pairs templates with tips.

use std::collections::BTreeMap;
use std::time::Duration;

use adit_wire::Str0_255;
use adit_wire::template::{
    CoinbaseOutputConstraints, NewTemplate, RequestTransactionData, SetNewPrevHash, SubmitSolution, ToClient,
    ToServer,
};
use adit_wire::types::TransactionList;

use super::{Constraints, Outputs, Paired, outputs};
use crate::coinbase::SCRIPT_PREFIX_MAX;
use crate::{Fault, Time};

/// Future templates kept until a tip names one of them (C-82); the oldest goes first.
pub const FUTURES_MAX: usize = 64;
/// Branches of a merkle path: more transactions fit no block.
pub const BRANCHES_MAX: usize = 32;
/// Requests for transactions that wait for their answer.
pub const REQUESTS_MAX: usize = 16;

/// How a client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a provider may take to answer a request for transactions.
    pub timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
        }
    }
}

/// What can happen to the machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The room that our outputs need; the first of these is to be said before anything else. Nothing is sent when it
    /// is the same as before.
    Constraints(Constraints),
    /// A message of the provider.
    Message(ToClient),
    /// Ask for the transactions of a template.
    Request {
        /// Which.
        template_id: u64,
    },
    /// A block was found.
    Solution(SubmitSolution),
    /// The deadline has passed, perhaps.
    Deadline,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this.
    Send(ToServer),
    /// Mine this.
    Work(Box<Work>),
    /// Something the role should know.
    Event(Event),
}

/// A template that is current.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// The template and its tip.
    pub paired: Paired,
    /// The outputs that must stand at the end of the coinbase.
    pub outputs: Outputs,
    /// The room that was asked for when it came. Right after a change it may still have been made for the old one.
    pub constraints: Constraints,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A template for a tip to come (spec 7.2).
    Future {
        /// Its id.
        template_id: u64,
    },
    /// A new tip names a template that we do not have: there is no work until the next template.
    UnknownTip {
        /// The id it names.
        template_id: u64,
    },
    /// The transactions of a template: opaque, all but the coinbase, in block order (REQ-TDP-035).
    Transactions {
        /// The template.
        template_id: u64,
        /// Each as it came.
        transactions: TransactionList,
    },
    /// The transactions of a template are not to be had.
    NoTransactions {
        /// The template.
        template_id: u64,
        /// The provider's code; `None` when it did not answer in time.
        code: Option<Str0_255>,
    },
}

/// Takes templates from one provider.
#[derive(Clone, Debug)]
pub struct Client {
    settings: Settings,
    constraints: Option<Constraints>,
    last_id: Option<u64>,
    /// With their outputs.
    futures: BTreeMap<u64, (NewTemplate, Outputs)>,
    tip: Option<SetNewPrevHash>,
    asked: Vec<(u64, Time)>,
}

impl Client {
    /// A machine for a connection that was set up.
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        Self {
            settings,
            constraints: None,
            last_id: None,
            futures: BTreeMap::new(),
            tip: None,
            asked: Vec::new(),
        }
    }

    /// The one door.
    ///
    /// # Errors
    /// `Malformed` when the outputs of a template are none, `Misbehaved` when its id does not rise, when it has no tip,
    /// or when its coinbase prefix or merkle path is longer than any can be (C-85).
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) -> Result<(), Fault> {
        match input {
            Input::Constraints(constraints) => self.constrain(constraints, out),
            Input::Message(ToClient::NewTemplate(template)) => return self.template(template, out),
            Input::Message(ToClient::SetNewPrevHash(tip)) => self.tip(tip, out),
            Input::Message(ToClient::RequestTransactionDataSuccess(message)) => {
                if self.answered(message.template_id) {
                    out.push(Output::Event(Event::Transactions {
                        template_id: message.template_id,
                        transactions: message.transaction_list,
                    }));
                }
            }
            Input::Message(ToClient::RequestTransactionDataError(message)) => {
                if self.answered(message.template_id) {
                    out.push(Output::Event(Event::NoTransactions {
                        template_id: message.template_id,
                        code: Some(message.error_code),
                    }));
                }
            }
            Input::Request { template_id } => self.request(now, template_id, out),
            Input::Solution(solution) => out.push(Output::Send(solution.into())),
            Input::Deadline => self.expire(now, out),
        }
        Ok(())
    }

    /// When [`Input::Deadline`] is wanted.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.asked.iter().map(|(_, until)| *until).min()
    }

    /// The tip, once there is one.
    #[must_use]
    pub const fn on(&self) -> Option<&SetNewPrevHash> {
        self.tip.as_ref()
    }

    fn constrain(&mut self, constraints: Constraints, out: &mut Vec<Output>) {
        if self.constraints.replace(constraints) != Some(constraints) {
            out.push(Output::Send(CoinbaseOutputConstraints::from(constraints).into()));
        }
    }

    fn template(&mut self, template: NewTemplate, out: &mut Vec<Output>) -> Result<(), Fault> {
        if self.last_id.is_some_and(|last| template.template_id <= last) {
            return Err(Fault::Misbehaved("the ids of its templates do not rise"));
        }
        if template.coinbase_prefix.len() > SCRIPT_PREFIX_MAX {
            return Err(Fault::Misbehaved("a coinbase prefix of more than 8 bytes"));
        }
        if template.merkle_path.len() > BRANCHES_MAX {
            return Err(Fault::Misbehaved("a merkle path longer than any block's"));
        }
        let outputs = outputs::of(&template)
            .map_err(|_| Fault::Malformed("the outputs of a template do not decode"))?;
        self.last_id = Some(template.template_id);
        if template.future_template {
            self.keep(template, outputs, out);
            return Ok(());
        }
        let tip = self
            .tip
            .clone()
            .ok_or(Fault::Misbehaved("a template for now before any tip"))?;
        self.work(template, tip, outputs, out);
        Ok(())
    }

    fn keep(&mut self, template: NewTemplate, outputs: Outputs, out: &mut Vec<Output>) {
        let template_id = template.template_id;
        if self.futures.len() >= FUTURES_MAX {
            self.futures.pop_first();
        }
        self.futures.insert(template_id, (template, outputs));
        out.push(Output::Event(Event::Future { template_id }));
    }

    /// The future template that the tip names is current now; the others were for another block (REQ-TDP-029).
    fn tip(&mut self, tip: SetNewPrevHash, out: &mut Vec<Output>) {
        let named = self.futures.remove(&tip.template_id);
        self.futures.clear();
        self.tip = Some(tip.clone());
        match named {
            Some((template, outputs)) => self.work(template, tip, outputs, out),
            None => out.push(Output::Event(Event::UnknownTip {
                template_id: tip.template_id,
            })),
        }
    }

    fn work(&self, template: NewTemplate, tip: SetNewPrevHash, outputs: Outputs, out: &mut Vec<Output>) {
        out.push(Output::Work(Box::new(Work {
            paired: Paired { template, tip },
            outputs,
            constraints: self.constraints.unwrap_or_default(),
        })));
    }

    fn request(&mut self, now: Time, template_id: u64, out: &mut Vec<Output>) {
        if self.asked.iter().any(|(asked, _)| *asked == template_id) {
            return;
        }
        if self.asked.len() >= REQUESTS_MAX {
            out.push(unanswered(template_id));
            return;
        }
        self.asked.push((template_id, now + self.settings.timeout));
        out.push(Output::Send(RequestTransactionData { template_id }.into()));
    }

    /// Whether this was asked for; what was not is passed over.
    fn answered(&mut self, template_id: u64) -> bool {
        let before = self.asked.len();
        self.asked.retain(|(asked, _)| *asked != template_id);
        self.asked.len() < before
    }

    fn expire(&mut self, now: Time, out: &mut Vec<Output>) {
        let late = |(_, until): &(u64, Time)| *until <= now;
        out.extend(
            self.asked
                .iter()
                .filter(|asked| late(asked))
                .map(|(id, _)| unanswered(*id)),
        );
        self.asked.retain(|asked| !late(asked));
    }
}

const fn unanswered(template_id: u64) -> Output {
    Output::Event(Event::NoTransactions {
        template_id,
        code: None,
    })
}
