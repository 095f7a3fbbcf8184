//! The hub: templates become jobs, blocks go their way, reports become the picture that people see.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use adit_ledger::record::{BlockFound, OutcomeNote};
use adit_ledger::{Lane, State as LedgerState};
use adit_net::{Clock, Identities};
use adit_node::{Event, Solution, Template, TemplateId};
use adit_proto::job::{Fields, Job, JobError};
use adit_proto::mining::server::{AccountId, Found, WorkerId};
use adit_proto::target::Target;
use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use tokio::sync::{mpsc, watch};

use super::blocks::{BlockPath, News, What};
use super::branch::Orders;
use super::coinbase;
use super::customs::Customs;
use super::desk::{CUSTOM, ToDesk};
use super::distributing::Desk as Receivers;
use super::drain::Progress;
use super::front_end;
use super::gallery::Gallery;
use super::inspect::{Advice, Answer, Candidate, Inspector};
use super::lanes::Lanes;
use super::paying::Paying;
use super::records;
use super::report::ToHub;
use super::totals::Totals;
use crate::books::View;
use crate::keys::Ring;
use crate::observe::{self as status, Fate, NodeState, Roster, Status};
use crate::payout::Purse;

/// Between two pictures.
const PICTURE_EVERY: Duration = Duration::from_millis(500);
/// Pictures between two looks at the wall clock and forgotten accounts.
const HOUSEKEEPING_EVERY: u32 = 20;
/// Pictures between two looks at the files of keys.
const KEYS_EVERY: u32 = 2;
/// Templates whose transactions are kept, so that a block found on them can be kept whole.
const TRANSACTIONS_KEPT: usize = 8;

/// Work as the workers get it.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    /// Of those who mine together; those of other plans are made of it.
    pub(crate) job: Arc<Job>,
    /// What its outputs follow from; nothing where an upstream gives the coinbase.
    pub(crate) purse: Option<Arc<Purse>>,
    /// Height of the block to be found.
    pub(crate) height: u32,
    /// What transactions of the own template pay for it, satoshis.
    pub(crate) fees: u64,
    /// When the source's template arrived here, by the hub's clock.
    pub(crate) at: adit_proto::Time,
    /// Where not everybody mines the same: what who mines.
    pub(super) lanes: Option<Arc<Lanes>>,
}

/// What the hub is made with.
pub(super) struct Hub {
    pub(super) clock: Clock,
    pub(super) paying: Paying,
    pub(super) tag: Vec<u8>,
    pub(super) fixed_version: bool,
    pub(super) start_epoch: u32,
    pub(super) ring: Ring,
    pub(super) certificate_warning_days: u32,
    pub(super) identities: watch::Sender<Arc<Identities>>,
    pub(super) work: watch::Sender<Option<Published>>,
    pub(super) status: watch::Sender<Arc<Status>>,
    pub(super) picture: Status,
    /// Who is here, for those who want to see it.
    pub(super) roster: watch::Sender<Arc<Roster>>,
    pub(super) gallery: Gallery,
    pub(super) totals: Totals,
    pub(super) blocks: BlockPath,
    pub(super) lane: Lane,
    pub(super) ledger: Arc<adit_ledger::Writer>,
    pub(super) books: Option<View>,
    pub(super) front_end: Option<front_end::View>,
    pub(super) drain: watch::Receiver<Progress>,
    pub(super) refused_at_the_door: Box<dyn Fn() -> u64 + Send>,
    /// Weak: the desk ends before the hub does.
    pub(super) desk: mpsc::WeakSender<ToDesk>,
    pub(super) branch: Option<Uplink>,
    /// What is passed on to receivers, where we are a distributor.
    pub(super) distribution: Option<Arc<Receivers>>,
    pub(super) inspector: Inspector,
    pub(super) live: watch::Receiver<super::live::Values>,
    pub(super) state: Mining,
}

/// What the hub has of a [`Branch`](super::branch::Branch).
pub(super) struct Uplink {
    pub(super) orders: watch::Receiver<Orders>,
    pub(super) events: Option<mpsc::Sender<Event>>,
    pub(super) picture: Option<watch::Receiver<status::Uplink>>,
}

/// What is mined on.
#[derive(Debug, Default)]
pub(super) struct Mining {
    pub(super) tip: u64,
    /// The block that generation `tip` builds on.
    prev_hash: Option<[u8; 32]>,
    pub(super) template: Option<(Arc<Template>, adit_proto::Time)>,
    transactions: VecDeque<(TemplateId, Arc<Vec<Vec<u8>>>)>,
    ledger_commits: adit_ledger::writer::Stats,
    /// The machine's clock was set back.
    set_back: bool,
    /// What the node's source wants somebody to look at.
    alarm: String,
    /// Who found the last block: the name may come with a report after it.
    finder: Option<(AccountId, Option<WorkerId>)>,
    pub(super) customs: Customs,
    /// The lanes, where there are several.
    pub(super) lanes: Option<Arc<Lanes>>,
}

impl Hub {
    /// Runs until `shutdown`, then until every worker has hung up.
    pub(super) async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        mut reports: mpsc::Receiver<ToHub>,
        mut news: mpsc::Receiver<News>,
    ) {
        let mut beat = tokio::time::interval(PICTURE_EVERY);
        let mut beats = 0u32;
        loop {
            tokio::select! {
                message = reports.recv() => match message {
                    Some(ToHub::Block(found, read_at)) => self.found(&found, read_at),
                    Some(ToHub::Report(report)) => self.totals.add(self.clock.now(), *report),
                    Some(ToHub::Custom(judged)) => self.custom_judged(*judged),
                    Some(ToHub::Solved(solved, at)) => self.solved(*solved, at),
                    Some(ToHub::Desk(counts)) => self.picture.negotiation = counts.picture(),
                    None => break,
                },
                Some(event) = events.recv() => {
                    self.pass_on(&event);
                    self.event(event);
                }
                () = changed(&mut self.branch) => self.take_orders(),
                Ok(()) = self.paying.snapshots.changed() => self.renew_payouts(),
                Some(news) = news.recv() => self.news(news),
                answer = self.inspector.answer() => self.inspected(answer),
                Ok(()) = self.live.changed() => self.take_live(),
                _ = beat.tick() => {
                    beats = beats.wrapping_add(1);
                    if beats.is_multiple_of(HOUSEKEEPING_EVERY) {
                        self.housekeeping();
                    }
                    if beats.is_multiple_of(KEYS_EVERY) {
                        self.tend_keys();
                    }
                    self.renew_payouts();
                    self.publish();
                    self.show_roster(beats);
                }
            }
        }
        self.publish();
        drop(news);
        self.blocks.safe().await;
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Up { node } => {
                tracing::info!(%node, "node is up");
                let name = node;
                self.picture.node = status::NodeStatus {
                    name,
                    state: NodeState::Up,
                    reason: String::new(),
                    ..std::mem::take(&mut self.picture.node)
                };
                let earlier = self.blocks.resend();
                self.book_earlier(earlier);
            }
            Event::Down { reason } => {
                if self.picture.node.reason != reason {
                    tracing::warn!(%reason, "no node");
                }
                self.picture.node.state = NodeState::Down;
                self.picture.node.reason = reason;
            }
            Event::Alarm { text } => self.state.alarm = text.unwrap_or_default(),
            Event::Template(template) => self.template(template),
            Event::Transactions {
                template,
                transactions,
            } => {
                self.inspect(template, &transactions);
                self.state.transactions.push_back((template, transactions));
                if self.state.transactions.len() > TRANSACTIONS_KEPT {
                    self.state.transactions.pop_front();
                }
            }
        }
        self.publish();
    }

    /// A template becomes the job that everybody mines, unless an uplink gives other work.
    fn template(&mut self, template: Arc<Template>) {
        let now = self.clock.now();
        self.state.template = Some((Arc::clone(&template), now));
        let block_work = Target::from_nbits(template.nbits.to_consensus()).work();
        self.paying
            .block_work
            .send_if_modified(|known| std::mem::replace(known, block_work) != block_work);
        self.count_mature(template.height);
        if self.mines_own() {
            self.turn_to(template.prev_hash.to_byte_array(), template.height, now);
            let job = self.job(&template);
            self.publish_job(job, template.height, template.fees.unwrap_or(0), now);
        }
    }

    /// The block that is mined is put before the node, away from the miners' path.
    fn inspect(&mut self, id: TemplateId, transactions: &Arc<Vec<Vec<u8>>>) {
        let Some((template, _)) = self.state.template.clone() else {
            return;
        };
        if template.id == id && self.mines_own() {
            let (_, outputs) = self.pooled_outputs(&template);
            self.inspector.look(Candidate {
                coinbase: coinbase::paying(&template, outputs, &self.tag, self.start_epoch),
                template: Arc::clone(&template),
                transactions: Arc::clone(transactions),
            });
        }
    }

    /// The node has judged a job: a refused one is replaced, if there is something better.
    fn inspected(&mut self, answer: Answer) {
        let current = self.state.template.as_ref().map(|(template, _)| &**template);
        let advice = self.inspector.judge(answer, current);
        if let Advice::Replace(template) = advice
            && self.mines_own()
        {
            let job = self.job(&template);
            let fees = template.fees.unwrap_or(0);
            self.publish_job(job, template.height, fees, self.clock.now());
        }
        self.publish();
    }

    /// The operator has changed something: the present template is mined with it from now on.
    fn take_live(&mut self) {
        let values = self.live.borrow_and_update().clone();
        let (pool, name) = values.pool;
        self.paying.pay_pool(pool, name);
        self.tag = values.tag;
        self.certificate_warning_days = values.certificate_warning_days;
        if let Some((template, at)) = self.state.template.clone() {
            self.template(template);
            // It is not younger for that.
            if let Some((_, known)) = &mut self.state.template {
                *known = at;
            }
        }
    }

    /// What the source says of the template that is mined, for the picture of its coinbase.
    pub(super) fn template_picture(&self) -> Option<status::Coinbase> {
        let (template, _) = self.state.template.as_ref()?;
        Some(status::Coinbase {
            fees_sat: template.fees,
            transactions: template.transaction_count,
            ..status::Coinbase::default()
        })
    }

    pub(super) fn mines_own(&self) -> bool {
        self.branch
            .as_ref()
            .is_none_or(|uplink| matches!(*uplink.orders.borrow(), Orders::Solo))
    }

    /// The uplink wants something else.
    fn take_orders(&mut self) {
        let Some(uplink) = &mut self.branch else { return };
        let orders = uplink.orders.borrow_and_update().clone();
        let now = self.clock.now();
        match orders {
            Orders::Job(assigned) => {
                self.turn_to(assigned.fields.prev_hash, assigned.height, now);
                let job = assigned.job(self.state.tip);
                self.publish_job(job, assigned.height, 0, now);
            }
            Orders::Lanes(lanes) => self.take_lanes(&lanes, now),
            Orders::Wait => {}
            Orders::Solo => {
                if let Some((template, at)) = self.state.template.clone() {
                    self.template(template);
                    // It is not younger for being mined now.
                    if let Some((_, known)) = &mut self.state.template {
                        *known = at;
                    }
                }
            }
        }
    }

    fn pass_on(&self, event: &Event) {
        let events = self.branch.as_ref().and_then(|uplink| uplink.events.as_ref());
        if events.is_some_and(|events| events.try_send(event.clone()).is_err()) {
            tracing::warn!("the uplink is behind: it missed an event of the node");
        }
    }

    /// Jobs build on `prev_hash` from now on. Generations count up, also when a tip returns.
    pub(super) fn turn_to(&mut self, prev_hash: [u8; 32], height: u32, at: adit_proto::Time) {
        if self.state.prev_hash != Some(prev_hash) {
            let before = self.state.prev_hash;
            self.state.customs.turn_to(&prev_hash, before);
            self.state.prev_hash = Some(prev_hash);
            self.state.tip += 1;
            let prev = BlockHash::from_byte_array(prev_hash);
            tracing::info!(height, %prev, noticed_us = at.0, "new tip");
        }
    }

    pub(super) fn publish_job(
        &mut self,
        job: Result<Job, JobError>,
        height: u32,
        fees: u64,
        at: adit_proto::Time,
    ) {
        match job {
            Ok(job) => {
                let job = Arc::new(job);
                self.state.lanes = None;
                let made_of = job.payouts();
                self.paying.made = made_of.map(|number| (self.clock.now(), number));
                let purse = made_of.map(|_| self.paying.purse());
                self.gallery.job = Some(Arc::clone(&job));
                self.work.send_replace(Some(Published {
                    job,
                    purse,
                    height,
                    fees,
                    at,
                    lanes: None,
                }));
            }
            Err(error) => tracing::error!(height, %error, "a template is of no use"),
        }
    }

    pub(super) fn job(&mut self, template: &Template) -> Result<Job, JobError> {
        let (purse, outputs) = self.pooled_outputs(template);
        let coinbase = coinbase::paying(template, outputs, &self.tag, self.start_epoch);
        for problem in coinbase::check(template, &coinbase) {
            // Mined all the same: a node that is wrong about itself may still take the block.
            tracing::error!(height = template.height, %problem, "a block of this template may be lost");
        }
        let fields = Fields {
            tip: self.state.tip,
            template: template.id.0,
            version: template.version,
            version_rolling_allowed: !self.fixed_version,
            prev_hash: template.prev_hash.to_byte_array(),
            nbits: template.nbits.to_consensus(),
            header_timestamp: template.header_timestamp,
            min_ntime: template.min_ntime,
            merkle_path: template.merkle_path.clone(),
            coinbase: coinbase.into(),
            share_work_max: None,
            block_target: template.target,
            publish: true,
        };
        Job::paying(fields, purse)
    }

    /// A block: to the node before anything else happens here.
    fn found(&mut self, found: &Found, read_at: adit_proto::Time) {
        if found.job.fields().template & CUSTOM != 0 {
            return self.found_on_custom_job(found, read_at);
        }
        let now = self.clock.now();
        let template = TemplateId(found.job.fields().template);
        let height = found.job.fields().coinbase.height().unwrap_or_default();
        let known = self
            .state
            .transactions
            .iter()
            .rev()
            .find(|(id, _)| *id == template);
        let alone = found.job.fields().merkle_path.is_empty().then_some(&[][..]);
        let mut block = records::found(
            found,
            height,
            now,
            // Nothing to hash the coinbase with: there are no others.
            known.map(|(_, transactions)| transactions.as_slice()).or(alone),
        );
        let credits = self.paying.credits(&found.job);
        block.credits = credits.text();
        let record = records::block(&block, found.worker);
        if !found.job.fields().publish {
            return self.found_for_upstream(found, record);
        }
        let solution = Solution {
            template,
            version: found.version,
            header_timestamp: found.ntime,
            header_nonce: found.nonce,
            coinbase_tx: found.coinbase.clone(),
        };
        self.blocks.found(block, Some(solution), read_at);
        self.note_found(record, found.account, found.worker);
        self.book_credits(height, found.hash, &credits);
    }

    /// A block is on its way: ledger, log and picture are told.
    pub(super) fn note_found(&mut self, record: BlockFound, account: AccountId, worker: Option<WorkerId>) {
        let (now, height, value) = (self.clock.now(), record.height, record.value);
        let hash = BlockHash::from_byte_array(record.hash);
        if self.lane.block(record).is_err() {
            tracing::warn!(
                height,
                "the ledger is down: this block is noted in its own file only"
            );
        }
        let name = self.totals.name_of_finder(account, worker);
        tracing::info!(height, %hash, worker = %name, "block found");
        self.state.finder = Some((account, worker));
        let shown = status::Block {
            height: u64::from(height),
            hash: hash.to_string(),
            at_us: now.0,
            worker: name.clone(),
            value_sat: Some(value).filter(|value| *value > 0),
            ..status::Block::default()
        };
        self.gallery.found(shown, (account, worker));
        let blocks = &mut self.picture.blocks;
        blocks.found += 1;
        blocks.pending += 1;
        blocks.last = Some(status::LastBlock {
            height: u64::from(height),
            hash: hash.to_string(),
            at_us: now.0,
            worker: name,
        });
        self.publish();
    }

    /// A block of a job that somebody else gave: they publish it, and its share is on its way to them.
    fn found_for_upstream(&mut self, found: &Found, record: BlockFound) {
        let (height, hash) = (record.height, BlockHash::from_byte_array(found.hash));
        tracing::info!(height, %hash, "block found for the upstream");
        self.picture.blocks.found += 1;
        let shown = status::Block {
            height: u64::from(height),
            hash: hash.to_string(),
            at_us: self.clock.now().0,
            worker: self.totals.name_of_finder(found.account, found.worker),
            fate: Fate::Upstream,
            ..status::Block::default()
        };
        self.gallery.found(shown, (found.account, found.worker));
        if self.lane.block(record).is_err() {
            tracing::warn!(height, "the ledger is down: this block is not noted");
        }
        self.publish();
    }

    fn news(&mut self, news: News) {
        let News { hash, height, what } = news;
        let shown = BlockHash::from_byte_array(hash);
        let blocks = &mut self.picture.blocks;
        match &what {
            // Part of the next picture; nothing that anybody waits for.
            What::Submitted(after) => {
                let us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
                return self.picture.blocks.submit_latency.record(us);
            }
            What::Accepted => {
                blocks.accepted += 1;
                blocks.pending = blocks.pending.saturating_sub(1);
                tracing::info!(height, hash = %shown, "block accepted by the node");
            }
            What::Rejected(reason) => {
                blocks.rejected += 1;
                blocks.pending = blocks.pending.saturating_sub(1);
                tracing::error!(height, hash = %shown, %reason, "block refused by the node");
            }
            What::Confirmed => {
                self.cover(&hash);
                tracing::debug!(height, hash = %shown, "block is in the chain");
            }
            What::Buried(depth) => tracing::debug!(height, hash = %shown, depth, "block is safe"),
            What::Matured(depth) => {
                tracing::info!(height, hash = %shown, depth, "what a block of ours pays can be spent")
            }
            What::Stale => tracing::warn!(height, hash = %shown, "another block took this one's place"),
        }
        self.gallery.settled(&shown.to_string(), &what);
        if !matches!(what, What::Accepted) {
            self.blocks.ended(&hash);
        }
        let Some((outcome, reason)) = what.outcome() else {
            return;
        };
        let note = OutcomeNote::new(hash, height, outcome, what.confirmations(), &reason);
        if self.lane.outcome(note).is_err() {
            tracing::warn!(
                height,
                "the ledger is down: what became of this block is not in it"
            );
        }
        self.paying.wake.notify_one();
        self.publish();
    }

    fn housekeeping(&mut self) {
        self.clock.follow_wall_clock();
        let ahead = self.clock.ahead();
        if let Some(ahead) = ahead
            && !self.state.set_back
        {
            tracing::warn!(
                seconds = ahead.as_secs(),
                "the clock of this machine was set back: times go on from before it; restart when it is right again"
            );
        }
        self.state.set_back = ahead.is_some();
        let now = self.clock.now();
        self.totals.sweep(now);
    }

    pub(super) fn publish(&mut self) {
        let now = self.clock.now();
        let picture = &mut self.picture;
        picture.taken_at_us = now.0;
        picture.uptime_ms = now.0.saturating_sub(picture.started_at_us) / 1000;
        self.totals.paint(now, picture);
        let uplink = self.branch.as_ref().and_then(|branch| branch.picture.as_ref());
        picture.uplink = uplink.map(|uplink| uplink.borrow().clone());
        picture.distribution = self.distribution.as_ref().map(|desk| desk.picture());
        picture.drain = drain_picture(&self.drain.borrow());
        picture.connections.refused += (self.refused_at_the_door)();
        if let (Some(last), Some(finder)) = (&mut picture.blocks.last, self.state.finder)
            && last.worker.is_empty()
        {
            last.worker = self.totals.name_of_finder(finder.0, finder.1);
        }
        if let Some((template, at)) = &self.state.template {
            picture.node.height = u64::from(template.height).saturating_sub(1);
            picture.node.tip = template.prev_hash.to_string();
            picture.node.template_age_ms = Some(now.0.saturating_sub(at.0) / 1000);
            picture.node.transactions = template.transaction_count;
            picture.node.fees_sat = template.fees;
        }
        if let Some(job) = &self.gallery.job {
            picture.node.block_work = job.network().work();
            let value = job.fields().coinbase.value();
            picture.node.block_value_sat = (value > 0).then_some(value);
        }
        let found_bad = self.inspector.alarm.as_str();
        let mut alarms = vec![found_bad, self.state.alarm.as_str()];
        alarms.retain(|alarm| !alarm.is_empty());
        picture.node.alarm = alarms.join("; ");
        let counts = self.inspector.counts;
        picture.node.jobs_valid = counts.valid;
        picture.node.jobs_refused = counts.refused;
        picture.node.jobs_unknown = counts.unknown;
        self.ledger_picture();
        self.status.send_replace(Arc::new(self.picture.clone()));
    }

    fn ledger_picture(&mut self) {
        let stats = self.ledger.stats();
        let ledger = &mut self.picture.ledger;
        (ledger.state, ledger.reason) = match self.ledger.state() {
            LedgerState::Up => (status::LedgerState::Up, String::new()),
            LedgerState::Down(reason) => (status::LedgerState::Down, reason.to_string()),
        };
        let last = std::mem::replace(&mut self.state.ledger_commits, stats);
        let groups = stats.groups.saturating_sub(last.groups);
        if let Some(mean_us) = stats.commit_us.saturating_sub(last.commit_us).checked_div(groups) {
            ledger.commit_latency.record_many(mean_us, groups);
        }
        ledger.committed = stats.records;
        if let Some(books) = &self.books {
            self.picture.books = books.picture(self.clock.now().0);
        }
        self.picture.fleet = self.front_end.as_ref().map(front_end::View::picture);
    }
}

fn drain_picture(progress: &Progress) -> Option<status::Drain> {
    let to = progress.to.as_ref()?;
    Some(status::Drain {
        to: to.to_string(),
        left: progress.left as u64,
        total: progress.total as u64,
    })
}

/// Waits for other orders than before; for ever, where there is no uplink or it has gone.
async fn changed(branch: &mut Option<Uplink>) {
    if let Some(uplink) = branch
        && uplink.orders.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}
