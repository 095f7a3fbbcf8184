//! What stands between upstreams and the pool below: the newest job of each, who mines which, and whose share it is.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use adit_net::{Clock, Url, random};
use adit_proto::Time;
use adit_proto::extranonce::Layout;
use adit_proto::mining::client::Work;
use tokio::sync::{mpsc, watch};

use super::Patience;
use super::distributed::Distributed;
use super::health::Health;
use super::relay::{Origin, Relay, Way};
use super::split::{self, Split};
use crate::observe::{Figures, Status, Uplink, Upstream as Shown};
use crate::pool::branch::{Assigned, Lanes, Mined, Orders};
use crate::receiver::Todo;
use crate::uplink::lines::News;
use crate::uplink::mining::{Channel, Command, Told};
use crate::uplink::supervisor::{Choice, Input, Output, Supervisor};
use crate::uplink::{Cause, Lines, Report, Said, Speech, farewell};

/// Between two looks at who mines here, and how fast; an upstream is told of changes at most that often (spec 5.3.7).
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks between two at the hash rate, while nobody comes or goes.
const RATE_LOOKS: u32 = 10;
/// A hash rate is news to the upstream when it changed by this factor.
const RATE_FACTOR: f64 = 1.25;
/// How long an upstream is waited for at the start, before we mine for ourselves.
const SOLO_AFTER: Duration = Duration::from_secs(5);

/// Owns what stands between upstreams and the pool below.
pub(super) struct Hub {
    clock: Clock,
    supervisor: Supervisor,
    lines: Lines,
    places: Vec<Place>,
    split: Split,
    relay: Relay,
    layout: Layout,
    orders: watch::Sender<Orders>,
    solo: bool,
    /// When to begin for ourselves, if no upstream comes before.
    solo_from: Option<Time>,
    choice: Choice,
    looks: u32,
    status: watch::Receiver<Arc<Status>>,
    picture: watch::Sender<Uplink>,
}

/// What is known of one upstream.
#[derive(Default)]
struct Place {
    /// Its own newest job.
    work: Option<(Origin, Box<Work>)>,
    /// What is mined there: that, or a job of the distributor.
    assigned: Option<Assigned>,
    /// Where jobs of a distributor are mined.
    distributed: Option<Distributed>,
    health: Health,
    claim: Claim,
    /// Shares that were sent and not answered.
    unanswered: u64,
}

impl Place {
    fn new(distributed: Option<Distributed>) -> Self {
        Self {
            distributed,
            ..Self::default()
        }
    }

    fn answered(&mut self, count: u64) {
        self.unanswered = self.unanswered.saturating_sub(count);
    }

    /// Whether the distributor says what is mined.
    fn is_distributed(&self) -> bool {
        self.distributed.as_ref().is_some_and(Distributed::is_on)
    }
}

/// What an upstream was told of us.
#[derive(Clone, Copy, Debug, Default)]
struct Claim {
    channels: u64,
    rate: f64,
}

impl Hub {
    pub(super) fn new(
        clock: Clock,
        lines: Lines,
        distributed: Vec<Option<Distributed>>,
        patience: Patience,
        (layout, branch_bytes): (Layout, usize),
        solo: bool,
        (orders, status, picture): (
            watch::Sender<Orders>,
            watch::Receiver<Arc<Status>>,
            watch::Sender<Uplink>,
        ),
    ) -> Self {
        let weights = || lines.upstreams().iter().map(|it| it.weight);
        let supervisor = Supervisor::new(patience.upstreams, lines.count());
        picture.send_modify(|picture| {
            let shown = lines.upstreams().iter().map(|it| Shown {
                name: it.name(),
                protocol: match it.speech {
                    Speech::StratumV2 => "stratum-v2",
                    Speech::StratumV1 => "stratum-v1",
                    Speech::StratumV1Tls => "stratum-v1-tls",
                },
                weight: it.weight,
                ..Shown::default()
            });
            picture.upstreams = shown.collect();
        });
        Self {
            clock,
            supervisor: supervisor.splitting(weights().map(|weight| weight.is_some())),
            split: Split::new(patience.slice, weights()),
            places: distributed.into_iter().map(Place::new).collect(),
            lines,
            relay: Relay::new(branch_bytes),
            layout,
            orders,
            solo,
            solo_from: None,
            choice: Choice::Solo,
            looks: 0,
            status,
            picture,
        }
    }

    pub(super) async fn run(
        mut self,
        mut reports: mpsc::Receiver<Report>,
        mut mined: mpsc::Receiver<Vec<Mined>>,
    ) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        self.decide(Input::Start);
        loop {
            let deadline = self.sleep();
            tokio::select! {
                biased;
                report = reports.recv() => match report {
                    Some(report) => self.report(report),
                    None => return,
                },
                batch = mined.recv() => match batch {
                    Some(batch) => batch.iter().for_each(|mined| self.mined(mined)),
                    // The pool has stopped.
                    None => break,
                },
                () = poll_fn(|cx| poll_distributed(&self.places, cx)) => self.look_at_distributors(),
                () = deadline => self.expire(),
                _ = look.tick() => self.look(),
            }
        }
        farewell(self.last_answers(&mut reports)).await;
    }

    /// What the farm has acknowledged is to be paid for above: waits until every share that was sent is answered.
    async fn last_answers(&mut self, reports: &mut mpsc::Receiver<Report>) {
        while self.places.iter().any(|place| place.unanswered > 0) {
            match reports.recv().await {
                Some(report) => self.report(report),
                None => return,
            }
        }
    }

    /// Until something is due.
    fn sleep(&self) -> impl Future<Output = ()> + use<> {
        let due = [self.supervisor.deadline(), self.solo_from, self.split.deadline()];
        let wait = due.into_iter().flatten().min().map(|due| due - self.clock.now());
        async move {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        }
    }

    fn expire(&mut self) {
        if self.solo_from.is_some_and(|from| from <= self.clock.now()) {
            self.solo_from = None;
            if self.choice == Choice::Solo {
                tracing::warn!("no upstream: mining for ourselves");
                self.orders.send_replace(Orders::Solo);
            }
        }
        self.split(split::Input::Deadline);
        self.decide(Input::Deadline);
    }

    fn decide(&mut self, input: Input) {
        let mut outputs = Vec::new();
        self.supervisor.handle(self.clock.now(), input, &mut outputs);
        for output in outputs {
            match output {
                Output::Connect { upstream } => self.lines.connect(upstream),
                Output::Disconnect { upstream } => {
                    self.lines.disconnect(upstream);
                    self.forget(upstream);
                }
                Output::Use(choice) => self.turn_to(choice),
            }
        }
    }

    fn turn_to(&mut self, choice: Choice) {
        self.choice = choice;
        let (place, upstream) = match choice {
            Choice::Split => (None, "several".to_owned()),
            Choice::Upstream(place) => (Some(place), self.lines.name(place)),
            Choice::Solo => (None, String::new()),
        };
        tracing::info!(upstream, "mining on");
        self.picture.send_modify(|picture| {
            picture.changes += u64::from(choice != Choice::Solo);
            picture.place = place;
            picture.upstream = upstream;
        });
        self.unfollow(choice);
        match choice {
            Choice::Split => {
                self.solo_from = None;
                self.deal();
            }
            Choice::Upstream(place) => {
                self.solo_from = None;
                self.hand_down(place);
                self.follow(place);
            }
            // What is mined is mined on for a moment: the next upstream may be a handshake away.
            Choice::Solo => self.solo_from = self.solo.then(|| self.clock.now() + SOLO_AFTER),
        }
        self.places
            .iter_mut()
            .for_each(|place| place.claim = Claim::default());
        self.look();
    }

    fn forget(&mut self, upstream: usize) {
        if let Some(place) = self.places.get_mut(upstream) {
            (place.work, place.assigned, place.unanswered) = (None, None, 0);
        }
        self.distributed(upstream, |it| it.turn_to(None));
        self.show(upstream, |shown| shown.ready = false);
        self.split(split::Input::Down { lane: upstream });
    }

    fn report(&mut self, report: Report) {
        let now = self.clock.now();
        let Some(news) = self.lines.note(now, &report) else {
            return;
        };
        let upstream = report.upstream;
        let origin = Origin {
            upstream,
            generation: report.generation,
        };
        if let Said::Mining(told) = report.said {
            let heard = self.places.get(upstream).is_some_and(Place::is_distributed);
            let heard = heard.then(|| told.clone());
            self.told(origin, told);
            if let Some(told) = heard {
                self.distributed(upstream, |it| it.told(&told));
            }
        }
        match news {
            Some(News::Ready) => {
                self.show(upstream, |shown| (shown.ready, shown.trouble) = (true, None));
                self.decide(Input::Ready { upstream });
            }
            Some(News::Down(cause)) => self.down(upstream, cause),
            None => {}
        }
    }

    fn down(&mut self, upstream: usize, cause: Cause) {
        self.forget(upstream);
        self.show(upstream, |shown| shown.trouble = Some(cause));
        self.picture
            .send_modify(|picture| *picture.causes.entry(cause).or_default() += 1);
        let dice = u64::from_le_bytes(random::bytes());
        self.decide(Input::Down {
            upstream,
            cause,
            dice,
        });
    }

    fn told(&mut self, origin: Origin, told: Told) {
        let upstream = origin.upstream;
        match told {
            Told::Opened(channel) => self.opened(upstream, channel),
            Told::Work(work) => self.work(origin, work),
            Told::SharesAccepted { count, waited } => {
                self.figure(|figures| figures.shares_accepted += u64::from(count));
                self.show(upstream, |shown| {
                    shown.shares_accepted += u64::from(count);
                    shown.share_latency_us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
                });
                if let Some(place) = self.places.get_mut(upstream) {
                    place.answered(count.into());
                    place.health.accepted(count);
                }
            }
            Told::ShareRefused { job_id, code } => self.refused(origin, job_id, &code.to_string()),
            Told::ShareWithheld(why) => {
                tracing::debug!(?why, "a share was not sent up");
                self.figure(|figures| figures.shares_stale += 1);
                if let Some(place) = self.places.get_mut(upstream) {
                    place.answered(1);
                }
            }
            // Facts that `Lines` keeps, and answers about jobs of a distributor.
            _ => {}
        }
    }

    /// What a pool has was found out.
    fn opened(&mut self, upstream: usize, channel: Channel) {
        let Channel {
            size,
            version_mask,
            worker_names,
            ..
        } = channel;
        let name = self.lines.name(upstream);
        tracing::info!(
            upstream = name,
            extranonce_bytes = size,
            version_mask = %format_args!("{version_mask:08x}"),
            worker_names,
            "a channel is open"
        );
        self.show(upstream, |shown| {
            shown.extranonce_bytes = size;
            shown.version_mask = format!("{version_mask:08x}");
            shown.worker_names = worker_names;
        });
    }

    /// A pool has a job of its own. Where a distributor says what is mined, it hears of it as well.
    fn work(&mut self, origin: Origin, work: Box<Work>) {
        let upstream = origin.upstream;
        let Some(place) = self.places.get_mut(upstream) else {
            return;
        };
        place.work = Some((origin, work));
        if place.is_distributed() {
            return;
        }
        let weighed = self.is_weighed(upstream);
        if weighed || self.choice == Choice::Upstream(upstream) {
            self.hand_down(upstream);
        }
        if weighed {
            self.follow(upstream);
        }
    }

    fn is_weighed(&self, upstream: usize) -> bool {
        let upstream = self.lines.upstreams().get(upstream);
        upstream.is_some_and(|it| it.weight.is_some())
    }

    /// The newest job of an upstream becomes that of all who mine for it.
    fn hand_down(&mut self, upstream: usize) {
        let own = self.places.get(upstream).and_then(|place| place.work.as_ref());
        if let Some(work) = own.map(|(_, work)| work.clone()) {
            self.mine(upstream, &work);
        }
    }

    /// A job for all who mine for this upstream: its own, or one that it has taken.
    fn mine(&mut self, upstream: usize, work: &Work) {
        let Some(assigned) = self.assign(upstream, work) else {
            return;
        };
        if self.is_weighed(upstream) {
            if !self.split(split::Input::Up { lane: upstream }) {
                self.deal();
            }
        } else {
            self.orders.send_replace(Orders::Job(assigned));
        }
    }

    /// A job of an upstream as a job for everybody below. None when it cannot be one: then the upstream is left.
    fn assign(&mut self, upstream: usize, work: &Work) -> Option<Assigned> {
        let place = self.places.get_mut(upstream)?;
        let (origin, _) = place.work.as_ref()?;
        match self.relay.assign(*origin, work) {
            Ok(assigned) => {
                place.assigned = Some(assigned.clone());
                self.figure(|figures| figures.jobs_published += 1);
                Some(assigned)
            }
            Err(why) => {
                tracing::error!(upstream = self.lines.name(upstream), %why, "an upstream is of no use");
                self.lines.disconnect(upstream);
                self.down(upstream, Cause::Refused);
                None
            }
        }
    }

    /// A distributor's jobs are mined at this upstream from now on, if it takes them.
    fn follow(&mut self, upstream: usize) {
        let line = self.line_of(upstream);
        self.distributed(upstream, |it| it.turn_to(line));
    }

    /// Those that share the work are followed for as long as they have any, of all others the one that is chosen.
    fn unfollow(&mut self, choice: Choice) {
        for upstream in 0..self.places.len() {
            if choice != Choice::Upstream(upstream) && !self.is_weighed(upstream) {
                self.distributed(upstream, |it| it.turn_to(None));
            }
        }
    }

    /// What a distributor's jobs on this upstream need; nothing where it takes none.
    fn line_of(&self, upstream: usize) -> Option<(Url, Channel, Option<Work>)> {
        let channel = self.lines.facts(upstream)?.channel?;
        let url = self.lines.url(upstream)?.clone();
        let work = self.places.get(upstream)?.work.as_ref();
        let work = work.map(|(_, work)| Work::clone(work));
        self.lines.selects(upstream).then_some((url, channel, work))
    }

    fn look_at_distributors(&mut self) {
        for upstream in 0..self.places.len() {
            self.distributed(upstream, Distributed::look);
        }
    }

    /// Lets a distributor's part act, and does what it wants.
    fn distributed(&mut self, upstream: usize, act: impl FnOnce(&mut Distributed) -> Vec<Todo>) {
        let place = self.places.get_mut(upstream);
        let Some(distributed) = place.and_then(|place| place.distributed.as_mut()) else {
            return;
        };
        for it in act(distributed) {
            match it {
                Todo::Set(message) => {
                    let since = self.clock.now();
                    self.lines.mining(upstream, Command::Custom { message, since });
                }
                Todo::Mine(work) => self.mine(upstream, &work),
            }
        }
    }

    /// Tells the split something; true when it has dealt anew, and all were told.
    fn split(&mut self, input: split::Input) -> bool {
        let dealt = self.split.handle(self.clock.now(), input);
        if dealt {
            self.deal();
        }
        dealt
    }

    /// Who mines what, where upstreams share the work.
    fn deal(&mut self) {
        if self.choice != Choice::Split {
            return;
        }
        let deal = self.split.current();
        let live = |lane: usize| self.split.is_live(lane);
        let jobs = self.places.iter().enumerate();
        let lanes = Lanes {
            jobs: jobs
                .map(|(lane, place)| place.assigned.clone().filter(|_| live(lane)))
                .collect(),
            of: Arc::clone(&deal.of),
            rest: deal.rest,
        };
        self.orders.send_replace(Orders::Lanes(Arc::new(lanes)));
    }

    fn mined(&mut self, mined: &Mined) {
        if self.choice == Choice::Split {
            let connection = self.layout.slot_of(mined.share.prefix);
            let work = mined.share.work;
            self.split(split::Input::Mined { connection, work });
        }
        let places = &self.places;
        let lives = |origin: Origin| {
            let work = places.get(origin.upstream).and_then(|place| place.work.as_ref());
            work.is_some_and(|(now, _)| *now == origin)
        };
        let sent = match self.relay.way(mined, lives) {
            Way::Up(upstream, command, work) => {
                let place = self.places.get(upstream);
                if let Some(distributed) = place.and_then(|place| place.distributed.as_ref()) {
                    distributed.sent(&command, mined);
                }
                let sent = self.lines.mining(upstream, command);
                if sent {
                    self.sent(upstream, work);
                }
                sent
            }
            Way::Gone => false,
            Way::TooEasy => return self.figure(|figures| figures.shares_too_easy += 1),
            Way::Own => return,
        };
        self.figure(|figures| {
            figures.shares_sent += u64::from(sent);
            figures.shares_stale += u64::from(!sent);
        });
    }

    fn sent(&mut self, upstream: usize, work: u64) {
        self.show(upstream, |shown| {
            shown.shares_sent += 1;
            shown.work = shown.work.saturating_add(work);
        });
        if let Some(place) = self.places.get_mut(upstream) {
            place.unanswered += 1;
        }
        self.split(split::Input::Sent { lane: upstream, work });
    }

    fn refused(&mut self, origin: Origin, job_id: Option<u32>, code: &str) {
        tracing::debug!(code, "the upstream refused a share");
        let upstream = origin.upstream;
        self.figure(|figures| figures.shares_refused += 1);
        let work = job_id
            .and_then(|job_id| self.relay.work_of(origin, job_id))
            .unwrap_or(0);
        self.show(upstream, |shown| {
            shown.shares_refused += 1;
            shown.work = shown.work.saturating_sub(work);
        });
        self.split(split::Input::Refused { lane: upstream, work });
        let Some(place) = self.places.get_mut(upstream) else {
            return;
        };
        place.answered(1);
        if place.health.refused() {
            self.lines.disconnect(upstream);
            self.down(upstream, Cause::SharesRefused);
        }
    }

    fn figure(&self, change: impl FnOnce(&mut Figures)) {
        self.picture.send_modify(|picture| change(&mut picture.figures));
    }

    fn show<T>(&self, upstream: usize, change: impl FnOnce(&mut Shown) -> T) {
        self.picture.send_modify(|picture| {
            picture.upstreams.get_mut(upstream).map(change);
        });
    }

    /// The upstream sets its target by what it is told: at once when devices come or go, and when they are faster or
    /// slower than it knows (spec 5.3.7).
    fn look(&mut self) {
        self.looks = self.looks.wrapping_add(1);
        let status = self.status.borrow().clone();
        let (devices, rate) = (
            status.channels.standard + status.channels.extended,
            status.hash_rate.m1,
        );
        for (upstream, (devices, rate)) in self.parts(devices, rate).into_iter().enumerate() {
            self.show(upstream, |shown| {
                shown.used = devices.is_some();
                shown.connections = devices.unwrap_or(0);
            });
            let Some(channels) = devices else { continue };
            self.claim(upstream, Claim { channels, rate });
        }
    }

    /// Devices and hash rate of each upstream that is used.
    fn parts(&self, devices: u64, rate: f64) -> Vec<(Option<u64>, f64)> {
        let count = self.places.len();
        match self.choice {
            Choice::Solo => vec![(None, 0.0); count],
            Choice::Upstream(used) => (0..count)
                .map(|place| ((place == used).then_some(devices), rate))
                .collect(),
            Choice::Split => self
                .split
                .parts(devices)
                .into_iter()
                .map(|part| {
                    (
                        part.map(|(devices, _)| devices),
                        part.map_or(0.0, |(_, part)| rate * part),
                    )
                })
                .collect(),
        }
    }

    fn claim(&mut self, upstream: usize, claim: Claim) {
        let Some(place) = self.places.get_mut(upstream) else {
            return;
        };
        let known = place.claim;
        let moved = claim.rate > known.rate * RATE_FACTOR || claim.rate * RATE_FACTOR < known.rate;
        let due = moved && self.looks.is_multiple_of(RATE_LOOKS);
        if claim.channels != known.channels || due {
            place.claim = claim;
            self.lines.mining(upstream, Command::HashRate(claim.rate as f32));
        }
    }
}

/// Ready when any distributor has something else to mine; never, where there is none.
fn poll_distributed(places: &[Place], cx: &Context<'_>) -> Poll<()> {
    let mut distributed = places.iter().filter_map(|place| place.distributed.as_ref());
    match distributed.any(|it| it.poll(cx).is_ready()) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    }
}
