//! The side of a pool or job negotiator (spec 7): says how much room it needs, pairs templates with tips.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use adit_wire::Str0_255;
use adit_wire::template::{
    CoinbaseOutputConstraints, NewTemplate, RequestTransactionData, SetNewPrevHash, SubmitSolution, ToClient,
    ToServer,
};
use adit_wire::types::{TransactionList, U256};

use super::{Constraints, Outputs, Paired, outputs};
use crate::coinbase::SCRIPT_PREFIX_MAX;
use crate::{Fault, Time};

/// Future templates kept until a tip names one of them (C-82); the oldest goes first.
pub const FUTURES_MAX: usize = 64;
/// Branches of a merkle path: more transactions fit no block.
pub const BRANCHES_MAX: usize = 32;
/// Requests for transactions that wait for their answer.
pub const REQUESTS_MAX: usize = 16;
/// Templates whose header time is remembered, for solutions of theirs.
pub const STARTS_MAX: usize = 512;
/// Solutions that may wait for the second in their header.
pub const EARLY_MAX: usize = 16;

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
    /// Where the header's time starts now, seconds: that of the tip and the seconds since it was heard. The tip's own is
    /// the least that a solution may have, and not what the network takes for the least (REQ-TDP-030, REQ-TDP-042).
    pub header_timestamp: u32,
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
    /// A solution whose header time has not come yet goes out now, and once more when it has (REQ-TDP-042, C-100).
    Early {
        /// The template.
        template_id: u64,
        /// How long that is, seconds.
        seconds: u32,
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
    tip: Option<Heard>,
    asked: Vec<(u64, Time)>,
    /// Templates that were mined and the tip that each of them builds on, oldest first.
    starts: VecDeque<(u64, Start)>,
    /// Solutions, and when they may go out.
    early: Vec<(Time, SubmitSolution)>,
}

/// A tip, and when it came.
#[derive(Clone, Debug)]
struct Heard {
    tip: SetNewPrevHash,
    at: Time,
}

/// Header time at a moment.
#[derive(Clone, Copy, Debug)]
struct Start {
    seconds: u32,
    at: Time,
}

impl Start {
    /// The largest header time at `now` (REQ-TDP-042).
    fn latest(self, now: Time) -> u32 {
        let passed = u32::try_from((now - self.at).as_secs()).unwrap_or(u32::MAX);
        self.seconds.saturating_add(passed)
    }

    /// When a header time has come.
    fn due(self, seconds: u32) -> Time {
        self.at + Duration::from_secs(seconds.saturating_sub(self.seconds).into())
    }
}

impl Heard {
    const fn start(&self) -> Start {
        Start {
            seconds: self.tip.header_timestamp,
            at: self.at,
        }
    }
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
            starts: VecDeque::new(),
            early: Vec::new(),
        }
    }

    /// The one door.
    ///
    /// # Errors
    /// `Malformed` when the outputs of a template are none, `Misbehaved` when its id does not rise, when it has no tip,
    /// when its coinbase prefix or merkle path is longer than any can be (C-85), or when no hash meets a tip's target.
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) -> Result<(), Fault> {
        match input {
            Input::Constraints(constraints) => self.constrain(constraints, out),
            Input::Message(ToClient::NewTemplate(template)) => return self.template(now, template, out),
            Input::Message(ToClient::SetNewPrevHash(tip)) => return self.tip(now, tip, out),
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
            Input::Solution(solution) => self.solution(now, solution, out),
            Input::Deadline => self.expire(now, out),
        }
        Ok(())
    }

    /// When [`Input::Deadline`] is wanted.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let asked = self.asked.iter().map(|(_, until)| *until);
        asked.chain(self.early.iter().map(|(due, _)| *due)).min()
    }

    /// The tip, once there is one.
    #[must_use]
    pub fn on(&self) -> Option<&SetNewPrevHash> {
        self.tip.as_ref().map(|heard| &heard.tip)
    }

    fn constrain(&mut self, constraints: Constraints, out: &mut Vec<Output>) {
        if self.constraints.replace(constraints) != Some(constraints) {
            out.push(Output::Send(CoinbaseOutputConstraints::from(constraints).into()));
        }
    }

    fn template(&mut self, now: Time, template: NewTemplate, out: &mut Vec<Output>) -> Result<(), Fault> {
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
        self.work(now, template, tip, outputs, out);
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
    fn tip(&mut self, now: Time, tip: SetNewPrevHash, out: &mut Vec<Output>) -> Result<(), Fault> {
        if tip.target == U256::default() {
            return Err(Fault::Misbehaved("no hash meets the target of its tip"));
        }
        let named = self.futures.remove(&tip.template_id);
        self.futures.clear();
        let template_id = tip.template_id;
        let heard = Heard { tip, at: now };
        self.tip = Some(heard.clone());
        match named {
            Some((template, outputs)) => self.work(now, template, heard, outputs, out),
            None => out.push(Output::Event(Event::UnknownTip { template_id })),
        }
        Ok(())
    }

    fn work(
        &mut self,
        now: Time,
        template: NewTemplate,
        heard: Heard,
        outputs: Outputs,
        out: &mut Vec<Output>,
    ) {
        let start = heard.start();
        if self.starts.len() >= STARTS_MAX {
            self.starts.pop_front();
        }
        self.starts.push_back((template.template_id, start));
        out.push(Output::Work(Box::new(Work {
            paired: Paired {
                template,
                tip: heard.tip,
            },
            outputs,
            header_timestamp: start.latest(now),
            constraints: self.constraints.unwrap_or_default(),
        })));
    }

    /// At once. One whose header time has not come yet goes out again when it has: a provider may refuse it before that, and a
    /// block that waits is a block lost (C-100).
    fn solution(&mut self, now: Time, solution: SubmitSolution, out: &mut Vec<Output>) {
        let (template_id, time) = (solution.template_id, solution.header_timestamp);
        let mut from_newest = self.starts.iter().rev();
        let start = from_newest.find(|(known, _)| *known == template_id);
        match start.map(|(_, start)| *start) {
            Some(start) if time > start.latest(now) => {
                let is_new = self.early.iter().all(|(_, waiting)| *waiting != solution);
                if is_new && self.early.len() < EARLY_MAX {
                    self.early.push((start.due(time), solution.clone()));
                }
                let seconds = time - start.latest(now);
                out.push(Output::Event(Event::Early { template_id, seconds }));
            }
            _ => {}
        }
        out.push(Output::Send(solution.into()));
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
        let due = self.early.extract_if(.., |(due, _)| *due <= now);
        out.extend(due.map(|(_, solution)| Output::Send(solution.into())));
    }
}

const fn unanswered(template_id: u64) -> Output {
    Output::Event(Event::NoTransactions {
        template_id,
        code: None,
    })
}
