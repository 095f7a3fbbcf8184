//! The hub: templates become jobs, blocks go their way, reports become the picture that people see.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use adit_ledger::record::OutcomeNote;
use adit_ledger::{Lane, State as LedgerState};
use adit_net::{Clock, Identities};
use adit_node::{Event, Solution, Template, TemplateId};
use adit_proto::job::{Fields, Job, JobError};
use adit_proto::mining::server::{AccountId, Found, WorkerId};
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, ScriptBuf};
use tokio::sync::{mpsc, watch};

use super::blocks::{BlockPath, News, What};
use super::coinbase;
use super::drain::Progress;
use super::records;
use super::report::ToHub;
use super::totals::Totals;
use crate::keys::Ring;
use crate::observe::{self as status, NodeState, Status};

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
pub(super) struct Published {
    pub(super) job: Arc<Job>,
    /// Height of the block to be found.
    pub(super) height: u32,
    /// When the source's template arrived here, by the hub's clock.
    pub(super) at: adit_proto::Time,
}

/// What the hub is made with.
pub(super) struct Hub {
    pub(super) clock: Clock,
    pub(super) payout: ScriptBuf,
    pub(super) tag: Vec<u8>,
    pub(super) fixed_version: bool,
    pub(super) start_epoch: u32,
    pub(super) ring: Ring,
    pub(super) certificate_warning_days: u32,
    pub(super) identities: watch::Sender<Arc<Identities>>,
    pub(super) work: watch::Sender<Option<Published>>,
    pub(super) status: watch::Sender<Arc<Status>>,
    pub(super) picture: Status,
    pub(super) totals: Totals,
    pub(super) blocks: BlockPath,
    pub(super) lane: Lane,
    pub(super) ledger: Arc<adit_ledger::Writer>,
    pub(super) drain: watch::Receiver<Progress>,
    pub(super) refused_at_the_door: Box<dyn Fn() -> u64 + Send>,
    pub(super) state: Mining,
}

/// What is mined on.
#[derive(Debug, Default)]
pub(super) struct Mining {
    tip: u64,
    template: Option<(Arc<Template>, adit_proto::Time)>,
    transactions: VecDeque<(TemplateId, Arc<Vec<Vec<u8>>>)>,
    ledger_commits: adit_ledger::writer::Stats,
    /// Who found the last block: the name may come with a report after it.
    finder: Option<(AccountId, Option<WorkerId>)>,
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
                    None => break,
                },
                Some(event) = events.recv() => self.event(event),
                Some(news) = news.recv() => self.news(news),
                _ = beat.tick() => {
                    beats = beats.wrapping_add(1);
                    if beats.is_multiple_of(HOUSEKEEPING_EVERY) {
                        self.housekeeping();
                    }
                    if beats.is_multiple_of(KEYS_EVERY) {
                        self.tend_keys();
                    }
                    self.publish();
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
                self.blocks.resend();
            }
            Event::Down { reason } => {
                if self.picture.node.reason != reason {
                    tracing::warn!(%reason, "no node");
                }
                self.picture.node.state = NodeState::Down;
                self.picture.node.reason = reason;
            }
            Event::Alarm { text } => self.picture.node.alarm = text.unwrap_or_default(),
            Event::Template(template) => self.template(template),
            Event::Transactions {
                template,
                transactions,
            } => {
                self.state.transactions.push_back((template, transactions));
                if self.state.transactions.len() > TRANSACTIONS_KEPT {
                    self.state.transactions.pop_front();
                }
            }
        }
        self.publish();
    }

    /// A template becomes the job that everybody mines.
    fn template(&mut self, template: Arc<Template>) {
        let now = self.clock.now();
        let new_tip = self
            .state
            .template
            .as_ref()
            .is_none_or(|(last, _)| last.prev_hash != template.prev_hash);
        if new_tip {
            self.state.tip += 1;
        }
        match self.job(&template) {
            Ok(job) => {
                self.work.send_replace(Some(Published {
                    job: Arc::new(job),
                    height: template.height,
                    at: now,
                }));
                if new_tip {
                    tracing::info!(height = template.height, prev = %template.prev_hash, "new tip");
                }
            }
            Err(error) => tracing::error!(height = template.height, %error, "a template is of no use"),
        }
        self.state.template = Some((template, now));
    }

    fn job(&self, template: &Template) -> Result<Job, JobError> {
        let coinbase = coinbase::of(template, &self.payout, &self.tag, self.start_epoch);
        for problem in coinbase::check(template, &coinbase) {
            // Mined all the same: a node that is wrong about itself may still take the block.
            tracing::error!(height = template.height, %problem, "a block of this template may be lost");
        }
        Job::new(Fields {
            tip: self.state.tip,
            template: template.id.0,
            version: template.version,
            version_rolling_allowed: !self.fixed_version,
            prev_hash: template.prev_hash.to_byte_array(),
            nbits: template.nbits.to_consensus(),
            header_timestamp: template.header_timestamp,
            min_ntime: template.min_ntime,
            merkle_path: template.merkle_path.clone(),
            coinbase,
        })
    }

    /// A block: to the node before anything else happens here.
    fn found(&mut self, found: &Found, read_at: adit_proto::Time) {
        let now = self.clock.now();
        let template = TemplateId(found.job.fields().template);
        let height = self.height_of(found);
        let known = self
            .state
            .transactions
            .iter()
            .rev()
            .find(|(id, _)| *id == template);
        let alone = found.job.fields().merkle_path.is_empty().then_some(&[][..]);
        let block = records::found(
            found,
            height,
            now,
            // Nothing to hash the coinbase with: there are no others.
            known.map(|(_, transactions)| transactions.as_slice()).or(alone),
        );
        let record = records::block(&block, found.worker);
        let solution = Solution {
            template,
            version: found.version,
            header_timestamp: found.ntime,
            header_nonce: found.nonce,
            coinbase_tx: found.coinbase.clone(),
        };
        self.blocks.found(block, solution, read_at);
        if self.lane.block(record).is_err() {
            tracing::warn!(
                height,
                "the ledger is down: this block is noted in its own file only"
            );
        }
        let hash = BlockHash::from_byte_array(found.hash);
        let worker = self.totals.name_of_finder(found.account, found.worker);
        tracing::info!(height, %hash, %worker, "block found");
        self.state.finder = Some((found.account, found.worker));
        let blocks = &mut self.picture.blocks;
        blocks.found += 1;
        blocks.pending += 1;
        blocks.last = Some(status::LastBlock {
            height: u64::from(height),
            hash: hash.to_string(),
            at_us: now.0,
            worker,
        });
        self.publish();
    }

    /// BIP34: the height stands at the start of the coinbase's scriptSig.
    fn height_of(&self, found: &Found) -> u32 {
        let script = ScriptBuf::from_bytes(found.job.fields().coinbase.script_prefix.clone());
        match script.instructions().next() {
            Some(Ok(bitcoin::script::Instruction::PushBytes(bytes))) => {
                bitcoin::script::read_scriptint(bytes.as_bytes()).map_or(0, |height| height as u32)
            }
            Some(Ok(bitcoin::script::Instruction::Op(op))) => u32::from(op.to_u8())
                .saturating_sub(u32::from(bitcoin::opcodes::all::OP_PUSHNUM_1.to_u8()) - 1),
            _ => 0,
        }
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
            What::Confirmed => tracing::debug!(height, hash = %shown, "block is in the chain"),
            What::Stale => tracing::warn!(height, hash = %shown, "another block took this one's place"),
        }
        if !matches!(what, What::Accepted) {
            self.blocks.ended(&hash);
        }
        let Some((outcome, reason)) = what.outcome() else {
            return;
        };
        let note = OutcomeNote::new(
            hash,
            height,
            outcome,
            u32::from(matches!(what, What::Confirmed)),
            &reason,
        );
        if self.lane.outcome(note).is_err() {
            tracing::warn!(
                height,
                "the ledger is down: what became of this block is not in it"
            );
        }
        self.publish();
    }

    fn housekeeping(&mut self) {
        self.clock.follow_wall_clock();
        let now = self.clock.now();
        self.totals.sweep(now);
    }

    fn publish(&mut self) {
        let now = self.clock.now();
        let picture = &mut self.picture;
        picture.taken_at_us = now.0;
        picture.uptime_ms = now.0.saturating_sub(picture.started_at_us) / 1000;
        self.totals.paint(now, picture);
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
