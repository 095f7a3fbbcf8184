//! The one task that faces upstreams: it carries out what supervisor and negotiation decide.

use std::sync::Arc;
use std::time::Duration;

use adit_net::{Clock, random};
use adit_node::{Constraints, Event, Template, TemplateId};
use adit_proto::Time;
use adit_proto::declare::client::{Event as Declared, Mode};
use adit_proto::distribute::Solved;
use bitcoin::TxOut;
use tokio::sync::{mpsc, watch};

use super::distribution::Distributor;
use super::negotiation::{Input, Mined, Negotiation, Output, Settings};
use super::{room, supervisor_settings};
use crate::observe::{Figures, Status, Uplink};
use crate::pool::branch::{Assigned, Mined as Below, Orders};
use crate::shutdown::Shutdown;
use crate::uplink::lines::News;
use crate::uplink::mining::{self, Told};
use crate::uplink::supervisor::{self, Choice, Supervisor};
use crate::uplink::{Cause, Lines, Report, Said, declaring, farewell};

/// Between two looks at the hash rate below and the picture.
const BEAT: Duration = Duration::from_secs(1);
/// Beats between two reports of the hash rate.
const HASH_RATE_EVERY: u64 = 15;
/// The upstream is told another hash rate when it has changed by this factor.
const HASH_RATE_FACTOR: f64 = 1.5;
/// Batches of shares taken before anything else gets its turn.
const BATCHES_MAX: usize = 64;

/// The task.
pub(super) struct Desk {
    clock: Clock,
    lines: Lines,
    supervisor: Supervisor,
    negotiation: Option<(usize, Negotiation)>,
    settings: Settings,
    orders: watch::Sender<Orders>,
    distributor: Option<Distributor>,
    own_room: Constraints,
    room: watch::Sender<Constraints>,
    below: watch::Receiver<Arc<Status>>,
    template: Option<Arc<Template>>,
    template_at: Time,
    transactions: Option<(TemplateId, Arc<Vec<Vec<u8>>>)>,
    /// Nobody mines alone before this: upstreams are on their way.
    solo_from: Option<Time>,
    told_rate: f64,
    past: Figures,
    picture: watch::Sender<Uplink>,
    shown: Uplink,
}

impl Desk {
    pub(super) fn new(
        lines: Lines,
        settings: Settings,
        orders: watch::Sender<Orders>,
        (own_room, room): (Constraints, watch::Sender<Constraints>),
        (below, picture): (watch::Receiver<Arc<Status>>, watch::Sender<Uplink>),
        clock: Clock,
    ) -> Self {
        let shown = Uplink {
            mode: match settings.mode {
                Mode::FullTemplate => "full-template",
                Mode::CoinbaseOnly => "coinbase-only",
            },
            ..Uplink::default()
        };
        Self {
            supervisor: Supervisor::new(supervisor_settings(), lines.count()),
            clock,
            lines,
            negotiation: None,
            settings,
            orders,
            distributor: None,
            own_room,
            room,
            below,
            template: None,
            template_at: Time(0),
            transactions: None,
            solo_from: None,
            told_rate: 0.0,
            past: Figures::default(),
            picture,
            shown,
        }
    }

    /// The same, passing its jobs on.
    pub(super) fn distributing(mut self, distributor: Distributor) -> Self {
        self.distributor = Some(distributor);
        self
    }

    /// Runs until `shutdown`.
    pub(super) async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        mut mined: mpsc::Receiver<Vec<Below>>,
        (mut reports, mut solutions): (mpsc::Receiver<Report>, mpsc::Receiver<Box<Solved>>),
        mut shutdown: Shutdown,
    ) {
        let now = self.clock.now();
        self.solo_from = Some(now + supervisor_settings().start_grace);
        self.supervise(now, supervisor::Input::Start);
        let mut beat = tokio::time::interval(BEAT);
        let mut beats = 0u64;
        loop {
            let wake = self.wake();
            tokio::select! {
                () = shutdown.requested() => break,
                Some(event) = events.recv() => self.node(event),
                Some(solved) = solutions.recv() => self.solved(&solved),
                Some(report) = reports.recv() => self.report(&report),
                Some(batch) = mined.recv() => {
                    self.mined(batch);
                    for _ in 1..BATCHES_MAX {
                        let Ok(batch) = mined.try_recv() else { break };
                        self.mined(batch);
                    }
                }
                () = tokio::time::sleep(wake) => self.expire(),
                _ = beat.tick() => {
                    beats += 1;
                    if beats.is_multiple_of(HASH_RATE_EVERY) {
                        self.tell_hash_rate();
                    }
                    self.show();
                }
            }
        }
        // The pool below has stopped: what it has acknowledged is to be paid for above.
        while let Ok(batch) = mined.try_recv() {
            self.mined(batch);
        }
        farewell(self.last_answers(&mut reports)).await;
        self.show();
    }

    /// Waits until every share is answered that can be.
    async fn last_answers(&mut self, reports: &mut mpsc::Receiver<Report>) {
        while self
            .negotiation
            .as_ref()
            .is_some_and(|(_, it)| it.is_owed_answers())
        {
            let wake = self.wake();
            tokio::select! {
                report = reports.recv() => match report {
                    Some(report) => self.report(&report),
                    None => return,
                },
                () = tokio::time::sleep(wake) => self.expire(),
            }
        }
    }

    fn wake(&self) -> Duration {
        let now = self.clock.now();
        let negotiation = self.negotiation.as_ref().and_then(|(_, it)| it.deadline());
        let next = [self.supervisor.deadline(), negotiation, self.solo_from]
            .into_iter()
            .flatten()
            .min();
        next.map_or(BEAT, |at| at - now)
    }

    fn expire(&mut self) {
        let now = self.clock.now();
        if self.solo_from.is_some_and(|at| at <= now) {
            self.solo_from = None;
            if self.supervisor.choice() == Choice::Solo {
                self.alone();
            }
        }
        self.supervise(now, supervisor::Input::Deadline);
        self.negotiate(now, Input::Deadline);
    }

    fn node(&mut self, event: Event) {
        let now = self.clock.now();
        match event {
            Event::Template(template) => {
                self.template_at = now;
                if let Some(distributor) = &mut self.distributor {
                    distributor.template(&template);
                }
                self.template = Some(template);
                self.offer(now);
            }
            Event::Transactions {
                template,
                transactions,
            } => {
                self.transactions = Some((template, Arc::clone(&transactions)));
                self.negotiate(now, Input::Transactions(template, transactions));
            }
            Event::Up { .. } | Event::Down { .. } | Event::Alarm { .. } => {}
        }
    }

    /// Gives the negotiation the template, if it has the room that this upstream needs.
    fn offer(&mut self, now: Time) {
        let Some((upstream, _)) = &self.negotiation else {
            return;
        };
        let outputs = self
            .lines
            .facts(*upstream)
            .and_then(|facts| facts.outputs.as_ref());
        let needed = outputs.map(|outputs| self.room_for(outputs)).unwrap_or_default();
        match &self.template {
            Some(template) if room::fits(template.constraints, needed) => {
                let template = Arc::clone(template);
                self.negotiate(now, Input::Template(template));
            }
            Some(_) => tracing::debug!("a template without room for the upstream's outputs"),
            None => {}
        }
    }

    fn report(&mut self, report: &Report) {
        let now = self.clock.now();
        let upstream = report.upstream;
        let Some(news) = self.lines.note(now, report) else {
            return;
        };
        if matches!(report.said, Said::Declaring(Declared::Outputs(_))) {
            self.make_room();
        }
        match news {
            Some(News::Ready) => {
                tracing::info!(upstream = %self.lines.name(upstream), "upstream ready");
                self.supervise(now, supervisor::Input::Ready { upstream });
            }
            Some(News::Down(cause)) => self.down(now, upstream, cause),
            None => {}
        }
        if self
            .negotiation
            .as_ref()
            .is_some_and(|(used, _)| *used == upstream)
            && let Some(input) = input(&report.said)
        {
            match (&input, &mut self.distributor) {
                (Input::JobTaken { request, .. }, Some(distributor)) => distributor.taken(*request),
                (Input::JobRefused { request } | Input::JobUnanswered { request }, Some(distributor)) => {
                    distributor.refused(*request);
                }
                _ => {}
            }
            self.negotiate(now, input);
        }
    }

    fn down(&mut self, now: Time, upstream: usize, cause: Cause) {
        tracing::warn!(upstream = %self.lines.name(upstream), %cause, "upstream left");
        *self.shown.causes.entry(cause).or_default() += 1;
        self.lines.disconnect(upstream);
        let dice = u64::from_le_bytes(random::bytes());
        self.supervise(
            now,
            supervisor::Input::Down {
                upstream,
                cause,
                dice,
            },
        );
    }

    /// Templates must leave room for our own payout and for what every pool in reach imposes.
    fn make_room(&mut self) {
        let imposed = (0..self.lines.count()).filter_map(|upstream| self.lines.facts(upstream));
        let wanted = imposed
            .filter_map(|facts| facts.outputs.as_ref())
            .fold(self.own_room, |sum, outputs| {
                room::larger(sum, self.room_for(outputs))
            });
        self.room.send_if_modified(|room| {
            let news = *room != wanted;
            *room = wanted;
            news
        });
    }

    /// What a pool's outputs take, and our own beside them where we keep a part.
    fn room_for(&self, outputs: &[TxOut]) -> Constraints {
        let own = self.settings.keep.as_ref().map(|_| self.own_room);
        room::both(room::of(outputs), own.unwrap_or_default())
    }

    fn supervise(&mut self, now: Time, input: supervisor::Input) {
        let mut outputs = Vec::new();
        self.supervisor.handle(now, input, &mut outputs);
        for output in outputs {
            match output {
                supervisor::Output::Connect { upstream } => self.lines.connect(upstream),
                supervisor::Output::Disconnect { upstream } => self.lines.disconnect(upstream),
                supervisor::Output::Use(choice) => self.work_for(now, choice),
            }
        }
    }

    fn work_for(&mut self, now: Time, choice: Choice) {
        if let Some((_, done)) = self.negotiation.take() {
            self.past = done.figures().after(self.past);
        }
        self.told_rate = 0.0;
        match choice {
            // Nobody shares work here.
            Choice::Solo | Choice::Split => {
                self.distribute_for(None);
                self.shown.upstream.clear();
                self.shown.place = None;
                if self.solo_from.is_none() {
                    self.alone();
                }
            }
            Choice::Upstream(upstream) => {
                let facts = self.lines.facts(upstream);
                let Some((channel, outputs)) =
                    facts.and_then(|facts| Some((facts.channel?, facts.outputs.clone()?)))
                else {
                    return;
                };
                self.solo_from = None;
                self.distribute_for(Some(upstream));
                self.shown.upstream = self.lines.name(upstream);
                self.shown.place = Some(upstream);
                self.shown.changes += 1;
                tracing::info!(upstream = %self.shown.upstream, mode = self.shown.mode, "negotiating");
                self.negotiation = Some((
                    upstream,
                    Negotiation::new(self.settings.clone(), channel, outputs),
                ));
                if let Some((template, transactions)) = self.transactions.clone() {
                    self.negotiate(now, Input::Transactions(template, transactions));
                }
                self.offer(now);
            }
        }
        self.show();
    }

    fn distribute_for(&mut self, upstream: Option<usize>) {
        if let Some(distributor) = &mut self.distributor {
            distributor.work_for(upstream.and_then(|upstream| self.lines.url(upstream)));
        }
    }

    /// A receiver has found a block.
    fn solved(&mut self, solved: &Solved) {
        let Some(distributor) = &self.distributor else {
            return;
        };
        let push = distributor.solved(solved);
        if let Some((upstream, _)) = &self.negotiation {
            // The pool has the share as well, from the receiver.
            let _ = self
                .lines
                .declaring(*upstream, declaring::Command::Solution(push));
        }
    }

    fn alone(&mut self) {
        tracing::warn!("no upstream: mining alone, for our own payout");
        self.orders.send_replace(Orders::Solo);
    }

    fn negotiate(&mut self, now: Time, input: Input) {
        let Some((upstream, negotiation)) = &mut self.negotiation else {
            return;
        };
        let upstream = *upstream;
        let mut outputs = Vec::new();
        negotiation.handle(now, input, &mut outputs);
        for output in outputs {
            if let Err(cause) = self.carry_out(now, upstream, output) {
                return self.down(now, upstream, cause);
            }
        }
    }

    fn carry_out(&mut self, now: Time, upstream: usize, output: Output) -> Result<(), Cause> {
        use declaring::Command as Declare;
        let channel = self.lines.facts(upstream).and_then(|facts| facts.channel);
        let kept_up = match output {
            Output::Reserve(job) => self.lines.declaring(upstream, Declare::Reserve(job)),
            Output::Release(job) => self.lines.declaring(upstream, Declare::Release(job)),
            Output::Declare(job, declaration) => {
                self.lines.declaring(upstream, Declare::Declare(job, declaration))
            }
            Output::Push(solution) => {
                tracing::info!("block: told the declaration server");
                self.lines.declaring(upstream, Declare::Solution(solution))
            }
            Output::Custom { message, since } => {
                if let (Some(distributor), Some(channel)) = (&mut self.distributor, channel) {
                    distributor.asked(&message, channel.prefix.len() + usize::from(channel.size));
                }
                self.lines
                    .mining(upstream, mining::Command::Custom { message, since })
            }
            Output::Share(share) => self.lines.mining(
                upstream,
                mining::Command::Share {
                    job_id: share.job_id,
                    nonce: share.nonce,
                    ntime: share.ntime,
                    version: share.version,
                    extranonce: share.extranonce,
                    worker: None,
                },
            ),
            Output::Publish { fields, height } => {
                let latency = now - self.template_at;
                self.shown.job_latency_us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
                tracing::debug!(height, ?latency, "custom job to the miners");
                self.orders
                    .send_replace(Orders::Job(Assigned::new(fields, height)));
                true
            }
            Output::Offence(cause) => return Err(cause),
        };
        // A connection that does not take what it is given is as good as lost.
        if kept_up { Ok(()) } else { Err(Cause::Lost) }
    }

    fn mined(&mut self, batch: Vec<Below>) {
        let now = self.clock.now();
        for below in batch {
            let (share, with) = (below.share, below.with);
            let mined = Mined {
                is_block: with.job.network().is_met_by(&share.hash),
                extranonce: with.extranonce.as_bytes().to_vec(),
                nonce: share.nonce,
                ntime: share.ntime,
                version: share.version,
                hash: share.hash,
                job: with.job,
            };
            self.negotiate(now, Input::Mined(Box::new(mined)));
        }
    }

    fn tell_hash_rate(&mut self) {
        let Some((upstream, _)) = &self.negotiation else {
            return;
        };
        let rate = self.below.borrow().hash_rate.m1;
        let changed = rate > self.told_rate * HASH_RATE_FACTOR || rate * HASH_RATE_FACTOR < self.told_rate;
        if rate >= 1.0 && changed {
            self.told_rate = rate;
            // One that does not keep up is found out by its shares.
            let _ = self
                .lines
                .mining(*upstream, mining::Command::HashRate(rate as f32));
        }
    }

    fn show(&mut self) {
        let present = self.negotiation.as_ref().map(|(_, it)| it.figures());
        self.shown.figures = present.unwrap_or_default().after(self.past);
        self.picture.send_if_modified(|picture| {
            let news = *picture != self.shown;
            if news {
                *picture = self.shown.clone();
            }
            news
        });
    }
}

/// What a report is to the negotiation.
fn input(said: &Said) -> Option<Input> {
    match said {
        Said::Declaring(Declared::Outputs(outputs)) => Some(Input::Outputs(outputs.clone())),
        Said::Declaring(Declared::Token { job, token }) => Some(Input::Token {
            job: *job,
            token: token.clone(),
        }),
        Said::Declaring(Declared::Declared { job, token }) => Some(Input::Declared {
            job: *job,
            token: token.clone(),
        }),
        Said::Declaring(Declared::Refused { job, code }) => {
            tracing::warn!(job, %code, "the upstream refused a declared job");
            Some(Input::DeclarationRefused { job: *job })
        }
        Said::Declaring(Declared::Withheld { job, why }) => {
            tracing::warn!(job, ?why, "a job was not declared");
            Some(Input::DeclarationRefused { job: *job })
        }
        Said::Mining(Told::Prefix(prefix)) => Some(Input::Prefix(*prefix)),
        Said::Mining(Told::Target(target)) => Some(Input::Target(*target)),
        Said::Mining(Told::JobAccepted {
            request,
            job_id,
            target,
        }) => Some(Input::JobTaken {
            request: *request,
            job_id: *job_id,
            target: *target,
        }),
        Said::Mining(Told::JobRefused { request, code }) => {
            tracing::warn!(request, %code, "the upstream refused a custom job");
            Some(Input::JobRefused { request: *request })
        }
        Said::Mining(Told::JobUnanswered { request }) => Some(Input::JobUnanswered { request: *request }),
        Said::Mining(Told::SharesAccepted { count, .. }) => Some(Input::SharesAccepted { count: *count }),
        Said::Mining(Told::ShareRefused { job_id, code }) => {
            tracing::warn!(%code, "the upstream refused a share");
            Some(Input::ShareRefused { job_id: *job_id })
        }
        Said::Mining(Told::ShareWithheld(why)) => {
            tracing::debug!(?why, "a share was not sent");
            None
        }
        // The pool's own jobs are of no interest to who makes jobs.
        Said::Mining(Told::Opened(_) | Told::Work(_) | Told::NoSelection | Told::Reconnect { .. }) => None,
        // Facts that `Lines` keeps.
        Said::Mining(Told::Alive | Told::ExtensionsUnanswered) => None,
        Said::Declaring(Declared::Unasked(_)) | Said::Ended(_) => None,
    }
}
