//! One upstream's work: templates become custom jobs, shares wait for the pool's word, blocks go everywhere.
//!
//! A machine without I/O, made anew for every connection that is worked on, so that nothing of an earlier connection can
//! ever match.
//!
//! ```text
//!                 Reserve           Publish (optimistic)    Declare            Custom
//!   template --> AwaitToken --token--> AwaitTransactions --> AwaitVerdict --> AwaitTake --> Taken: shares go up
//!                                   \_________ coinbase-only mode __________/
//! ```
//!
//! One negotiation is under way at a time on a tip. A better template of the same tip waits until it is settled and only
//! then goes to the miners, so that no cached share belongs to a job that will never be declared. A new tip waits for
//! nothing: what was under way for the old one is worth nothing any more, and what becomes of it is no offence.

mod door;
mod record;
mod shares;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use adit_node::{Template, TemplateId};
use adit_proto::Time;
use adit_proto::declare::client::Mode;
use adit_wire::B0_255;
use bitcoin::TxOut;

use crate::observe::Figures;
use crate::uplink::Cause;
use crate::uplink::mining::Channel;

pub use door::{Input, Keep, Mined, Output, Settings, UpShare};
pub use shares::{PENDING_MAX, SHARES_REFUSED_MAX};

use record::{Record, State};

/// Jobs that are remembered.
const RECORDS_MAX: usize = 12;
/// Sets of transactions kept until their template is declared.
const TRANSACTIONS_MAX: usize = 4;
/// A refusal this soon after a new tip may be a race between two nodes: the job is offered again.
const RACE: Duration = Duration::from_secs(5);
/// Times that a job is offered again.
const RETRIES_MAX: u32 = 3;
/// Pause before a job is offered again; grows with each.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// A refusal is forgotten when our own tip changes within this time: the pool knew of it first.
const GRACE: Duration = Duration::from_secs(2);

/// The work for one upstream.
#[derive(Debug)]
pub struct Negotiation {
    settings: Settings,
    channel: Channel,
    /// What each coinbase must pay, the pool's payout first.
    outputs: Vec<TxOut>,
    next_job: u32,
    records: BTreeMap<u32, Record>,
    /// The one under way on the present tip.
    current: Option<u32>,
    /// A better template of the present tip, which waits its turn.
    waiting: Option<Arc<Template>>,
    transactions: VecDeque<(TemplateId, Arc<Vec<Vec<u8>>>)>,
    tip: Option<Tip>,
    /// What may turn out to be an offence, and when it does.
    suspicion: Option<(Cause, Time)>,
    refused_on_tip: u32,
    figures: Figures,
}

#[derive(Clone, Copy, Debug)]
struct Tip {
    prev_hash: [u8; 32],
    since: Time,
}

impl Negotiation {
    /// For an open channel, with the outputs of its tokens.
    #[must_use]
    pub fn new(settings: Settings, channel: Channel, outputs: Vec<TxOut>) -> Self {
        Self {
            settings,
            channel,
            outputs,
            next_job: 1,
            records: BTreeMap::new(),
            current: None,
            waiting: None,
            transactions: VecDeque::new(),
            tip: None,
            suspicion: None,
            refused_on_tip: 0,
            figures: Figures::default(),
        }
    }

    /// The one door.
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Template(template) => self.template(now, template, out),
            Input::Transactions(template, transactions) => {
                self.keep(template, transactions);
                self.proceed(out);
            }
            Input::Outputs(outputs) => self.restart_with(now, |it| it.outputs = outputs, out),
            Input::Prefix(prefix) => self.restart_with(now, |it| it.channel.prefix = prefix, out),
            Input::Target(target) => self.channel.target = target,
            Input::Token { job, token } => self.token(now, job, token, out),
            Input::Declared { job, token } => self.declared(job, token, out),
            Input::DeclarationRefused { job } => self.refused(now, job, Cause::DeclarationRefused),
            Input::JobTaken {
                request,
                job_id,
                target,
            } => self.taken(now, request, job_id, target, out),
            Input::JobRefused { request } => self.refused(now, request, Cause::JobRefused),
            Input::JobUnanswered { request } => {
                if self.is_current(request) {
                    out.push(Output::Offence(Cause::JobUnanswered));
                }
            }
            Input::Mined(mined) => self.mined(&mined, out),
            Input::SharesAccepted { count } => self.figures.shares_accepted += u64::from(count),
            Input::ShareRefused { job_id } => self.share_refused(now, job_id),
            Input::Deadline => self.expire(now, out),
        }
    }

    /// When [`Input::Deadline`] is wanted.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let retry = self.current_record().and_then(|record| record.retry_at);
        [self.suspicion.map(|(_, until)| until), retry]
            .into_iter()
            .flatten()
            .min()
    }

    /// What was done so far.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let pending = self.records.values().map(|record| record.pending.len());
        Figures {
            shares_pending: pending.sum::<usize>() as u64,
            ..self.figures
        }
    }

    fn template(&mut self, now: Time, template: Arc<Template>, out: &mut Vec<Output>) {
        let prev_hash = bitcoin::hashes::Hash::to_byte_array(template.prev_hash);
        if self.tip.is_none_or(|tip| tip.prev_hash != prev_hash) {
            self.new_tip(now, prev_hash, out);
        } else if self.current_record().is_some_and(Record::is_under_way) {
            // Latest wins; it goes to the miners when the one before it is settled.
            self.waiting = Some(template);
            return;
        }
        self.begin(now, template, out);
    }

    /// Nothing on the old tip is worth anything, and no refusal of it is an offence (REQ-JD-038 binds for work that the
    /// pool could still pay for).
    fn new_tip(&mut self, now: Time, prev_hash: [u8; 32], out: &mut Vec<Output>) {
        self.tip = Some(Tip {
            prev_hash,
            since: now,
        });
        self.waiting = None;
        self.suspicion = None;
        self.refused_on_tip = 0;
        if let Some(job) = self.current.take()
            && self.records.get(&job).is_some_and(Record::is_undeclared)
        {
            out.push(Output::Release(job));
        }
        for record in self.records.values_mut() {
            self.figures.shares_stale += record.pending.len() as u64;
            record.pending.clear();
            record.stale = true;
        }
    }

    fn begin(&mut self, now: Time, template: Arc<Template>, out: &mut Vec<Output>) {
        let job = self.number();
        while self.records.len() >= RECORDS_MAX {
            self.records.pop_first();
        }
        self.records.insert(job, Record::new(template, now));
        self.current = Some(job);
        out.push(Output::Reserve(job));
    }

    fn number(&mut self) -> u32 {
        let number = self.next_job;
        self.next_job = number.wrapping_add(1);
        number
    }

    /// Coinbases must look another way from now on: what is under way is begun again.
    fn restart_with(&mut self, now: Time, change: impl FnOnce(&mut Self), out: &mut Vec<Output>) {
        change(self);
        let template = self.waiting.take();
        let template = template.or_else(|| self.current_record().map(|it| Arc::clone(&it.template)));
        if let Some(job) = self.current.take()
            && self.records.get(&job).is_some_and(Record::is_undeclared)
        {
            out.push(Output::Release(job));
        }
        if let Some(template) = template {
            self.begin(now, template, out);
        }
    }

    /// Token and template are there: the miners begin (REQ-JD-039).
    fn token(&mut self, now: Time, job: u32, token: B0_255, out: &mut Vec<Output>) {
        if !self.is_current(job) {
            return out.push(Output::Release(job));
        }
        let (channel, outputs, settings) = (self.channel, self.outputs.clone(), &self.settings);
        let Some(record) = self.records.get_mut(&job) else {
            return;
        };
        if record.state != State::AwaitToken {
            return;
        }
        if record.halves.is_none() {
            let made = record::make(
                &record.template,
                (&outputs, settings.keep.as_ref()),
                &channel,
                settings.branch_bytes,
            );
            let Some(made) = made else {
                tracing::error!(
                    template = record.template.id.0,
                    "no coinbase can be made of this template"
                );
                return out.push(Output::Release(job));
            };
            let fields = record::fields(&record.template, &made.1, &channel);
            (record.parts, record.halves) = (Some(made.0), Some(made.1));
            record.made_with(channel.prefix);
            record.since = now;
            self.figures.jobs_published += 1;
            out.push(Output::Publish {
                fields: Arc::new(fields),
                height: record.template.height,
            });
        }
        match settings.mode {
            Mode::FullTemplate => {
                record.state = State::AwaitTransactions;
                self.proceed(out);
            }
            Mode::CoinbaseOnly => self.set(job, token, out),
        }
    }

    /// Declares the current job when its transactions are there.
    fn proceed(&mut self, out: &mut Vec<Output>) {
        let Some(job) = self.current else { return };
        let Some(record) = self.records.get_mut(&job) else {
            return;
        };
        if record.state != State::AwaitTransactions {
            return;
        }
        let alone = record.template.merkle_path.is_empty();
        let known = self
            .transactions
            .iter()
            .find(|(template, _)| *template == record.template.id)
            .map(|(_, transactions)| Arc::clone(transactions))
            .or_else(|| alone.then(Arc::default));
        let (Some(transactions), Some(parts)) = (known, &record.parts) else {
            return;
        };
        let Some(declaration) = record::declaration(record.template.version, parts, transactions) else {
            tracing::error!(
                template = record.template.id.0,
                "its transactions do not decode: it is not declared"
            );
            return out.push(Output::Release(job));
        };
        record.state = State::AwaitVerdict;
        self.figures.jobs_declared += 1;
        out.push(Output::Declare(job, Box::new(declaration)));
    }

    /// SetCustomMiningJob with the token of the declaration is what is paid for (REQ-JD-036).
    fn declared(&mut self, job: u32, token: B0_255, out: &mut Vec<Output>) {
        if let Some(record) = self.records.get_mut(&job)
            && record.state == State::AwaitVerdict
        {
            record.acknowledged = true;
            if self.current == Some(job) {
                self.set(job, token, out);
            }
        }
    }

    fn set(&mut self, job: u32, token: B0_255, out: &mut Vec<Output>) {
        let Some(record) = self.records.get_mut(&job) else {
            return;
        };
        let Some(message) = record.custom(job, self.channel.id, token) else {
            tracing::error!(template = record.template.id.0, "its coinbase fits no message");
            return;
        };
        record.state = State::AwaitTake;
        out.push(Output::Custom {
            message: Box::new(message),
            since: record.since,
        });
    }

    /// The pool refuses a job. Two nodes never learn of a block in the same instant: a refusal around a change of the tip,
    /// on either side, is no offence.
    fn refused(&mut self, now: Time, job: u32, cause: Cause) {
        self.figures.jobs_refused += 1;
        if !self.is_current(job) {
            return;
        }
        let young = self.tip.is_some_and(|tip| now - tip.since < RACE);
        let Some(record) = self.records.get_mut(&job) else {
            return;
        };
        if young && record.retries < RETRIES_MAX {
            record.retries += 1;
            record.state = State::Refused;
            record.retry_at = Some(now + RETRY_PAUSE * record.retries);
            return;
        }
        record.state = State::Refused;
        self.suspect(cause, now);
    }

    fn suspect(&mut self, cause: Cause, now: Time) {
        self.suspicion.get_or_insert((cause, now + GRACE));
    }

    fn expire(&mut self, now: Time, out: &mut Vec<Output>) {
        if let Some((cause, _)) = self.suspicion.take_if(|(_, until)| *until <= now) {
            out.push(Output::Offence(cause));
        }
        let Some(job) = self.current else { return };
        let due = self
            .records
            .get(&job)
            .is_some_and(|record| record.retry_at.is_some_and(|at| at <= now));
        if due && let Some(mut record) = self.records.remove(&job) {
            // The same job under another number: what was mined on it stays good.
            record.retry_at = None;
            record.state = State::AwaitToken;
            let again = self.number();
            self.records.insert(again, record);
            self.current = Some(again);
            out.push(Output::Reserve(again));
        }
    }

    fn keep(&mut self, template: TemplateId, transactions: Arc<Vec<Vec<u8>>>) {
        if self.transactions.len() >= TRANSACTIONS_MAX {
            self.transactions.pop_front();
        }
        self.transactions.push_back((template, transactions));
    }

    fn is_current(&self, job: u32) -> bool {
        self.current == Some(job)
    }

    fn current_record(&self) -> Option<&Record> {
        self.records.get(&self.current?)
    }
}
