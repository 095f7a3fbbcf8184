//! What a transparent proxy shows of itself.

use std::sync::Arc;

use adit_net::End;
use adit_noise::Suite;
use adit_proto::Time;
use adit_proto::relay::Event;
use adit_wire::refusal;
use tokio::sync::watch;

use crate::keys::Ring;
use crate::observe::{HashRate, History, NodeState, Roster, Slot, Status, Uplink};
use crate::uplink::Cause;

/// Hashes of one unit of difficulty in SubmitShares.Success.
const DIFFICULTY: u128 = 1 << 32;
/// Between two log lines about jobs that are too large for small devices, in microseconds.
const OVERSIZED_EVERY_US: u64 = 600_000_000;
/// A day, and what is called lately, in seconds.
const DAY_S: u64 = 86_400;
const LATELY_S: u64 = 600;
/// Between two pictures of the time since the start, in microseconds.
const ROSTER_EVERY_US: u64 = 1_000_000;

/// Figures on their way to the page.
pub(super) struct Tally {
    status: watch::Sender<Arc<Status>>,
    picture: watch::Sender<Uplink>,
    roster: watch::Sender<Arc<Roster>>,
    now: Status,
    uplink: Uplink,
    rate: HashRate,
    history: History,
    /// Shares accepted and refused, work, and the sum of its squares, since the last picture.
    fresh: Slot,
    shown_us: u64,
    job_at: Option<Time>,
    oversized_at: Option<Time>,
    turned_away: u64,
}

impl Tally {
    pub(super) fn new(
        now: Time,
        first: Status,
        status: watch::Sender<Arc<Status>>,
        picture: watch::Sender<Uplink>,
        roster: watch::Sender<Arc<Roster>>,
    ) -> Self {
        let uplink = picture.borrow().clone();
        Self {
            uplink,
            status,
            picture,
            roster,
            now: first,
            rate: HashRate::starting(now.unix_s()),
            history: History::starting(now.unix_s()),
            fresh: Slot::default(),
            shown_us: 0,
            job_at: None,
            oversized_at: None,
            turned_away: 0,
        }
    }

    pub(super) fn note(&mut self, now: Time, event: Event) {
        let figures = &mut self.uplink.figures;
        match event {
            Event::Sent => figures.shares_sent += 1,
            Event::Accepted {
                count,
                difficulty_sum,
            } => {
                figures.shares_accepted += u64::from(count);
                let work = u128::from(difficulty_sum) * DIFFICULTY;
                self.now.shares.accepted += u64::from(count);
                self.now.shares.work += work;
                // They are told of together: as good as equal ones.
                let squares = (work as f64).powi(2) / f64::from(count.max(1));
                self.rate.add(now.unix_s(), work, squares);
                self.fresh.work += work as f64;
                self.fresh.squares += squares;
                self.fresh.accepted += u64::from(count);
            }
            Event::Rejected { code } => {
                figures.shares_refused += 1;
                self.now.shares.rejected += 1;
                self.fresh.rejected += 1;
                // Only codes that are known: what an upstream writes must not grow the page.
                let known = refusal::SubmitShares::of_code(code.as_bytes());
                let reason = known.map_or("other", refusal::SubmitShares::code);
                *self.now.shares.by_reason.entry(reason).or_default() += 1;
            }
            Event::Withheld => {
                figures.shares_stale += 1;
                self.now.shares.rejected += 1;
                self.fresh.rejected += 1;
            }
            Event::Job { .. } => {
                figures.jobs_published += 1;
                self.job_at = Some(now);
            }
            Event::Oversized { bytes, branches } => self.oversized(now, bytes, branches),
            Event::Opened { .. } | Event::Closed { .. } | Event::Moved => {}
        }
    }

    fn oversized(&mut self, now: Time, bytes: usize, branches: usize) {
        let due = self
            .oversized_at
            .is_none_or(|at| (now - at).as_micros() >= u128::from(OVERSIZED_EVERY_US));
        if due {
            self.oversized_at = Some(now);
            tracing::warn!(
                bytes,
                branches,
                "the upstream's jobs are larger than small devices take on extended channels: give those standard ones, \
                 or use --mode aggregate with an upstream of smaller coinbases"
            );
        }
    }

    pub(super) fn entered(&mut self, suite: Suite) {
        self.now.connections.accepted += 1;
        *self.now.connections.by_suite.entry(suite.name()).or_default() += 1;
    }

    pub(super) fn turned_away(&mut self) {
        self.turned_away += 1;
    }

    pub(super) fn left(&mut self, end: &End) {
        if matches!(end, End::Fault(_) | End::Session(_) | End::Slow) {
            self.now.connections.faulted += 1;
        }
    }

    pub(super) fn lost(&mut self, cause: Cause) {
        *self.uplink.causes.entry(cause).or_default() += 1;
    }

    pub(super) fn turned_to(&mut self, place: Option<usize>, upstream: String) {
        self.uplink.changes += u64::from(place.is_some());
        self.uplink.place = place;
        self.uplink.upstream = upstream;
        self.picture.send_replace(self.uplink.clone());
    }

    pub(super) fn keys(&mut self, ring: &Ring, now_s: u64, warning_days: u32) {
        let pool = &mut self.now.pool;
        pool.certificates = ring.windows().to_vec();
        let key = ring.authority().current.to_string();
        if pool.key != key {
            pool.url = pool.url.replace(&pool.key, &key);
            pool.key = key;
        }
        pool.keys_warning = ring.warning(now_s, warning_days).unwrap_or_default();
    }

    pub(super) fn show(
        &mut self,
        now: Time,
        open: usize,
        (standard, extended): (usize, usize),
        lines: usize,
        refused_at_the_door: u64,
    ) {
        let status = &mut self.now;
        status.taken_at_us = now.0;
        status.uptime_ms = now.0.saturating_sub(status.started_at_us) / 1000;
        status.connections.open = open as u64;
        status.connections.refused = refused_at_the_door + self.turned_away;
        status.channels.standard = standard as u64;
        status.channels.extended = extended as u64;
        let slot = Slot {
            channels: (standard + extended) as u64,
            ..std::mem::take(&mut self.fresh)
        };
        self.history.add(now.unix_s(), &slot);
        status.hash_rate = self
            .rate
            .rates(now.unix_s(), self.history.over(now.unix_s(), DAY_S));
        let (accepted, rejected) = self.history.shares(now.unix_s(), LATELY_S);
        (status.shares.accepted_10m, status.shares.rejected_10m) = (accepted, rejected);
        if now.0.saturating_sub(self.shown_us) >= ROSTER_EVERY_US {
            self.shown_us = now.0;
            self.roster.send_replace(Arc::new(Roster {
                taken_at_us: now.0,
                history: Some(Arc::new(self.history.clone())),
                ..Roster::default()
            }));
        }
        // What gives the jobs is the upstream: it stands where a pool has its node.
        status.node.name.clone_from(&self.uplink.upstream);
        status.node.template_age_ms = self
            .job_at
            .map(|at| u64::try_from((now - at).as_millis()).unwrap_or(u64::MAX));
        (status.node.state, status.node.reason) = match self.uplink.place {
            Some(_) => (NodeState::Up, String::new()),
            None => (
                NodeState::Down,
                "no upstream answers; devices go on with their last jobs".into(),
            ),
        };
        self.uplink.lines = lines as u64;
        status.uplink = Some(self.uplink.clone());
        self.status.send_replace(Arc::new(status.clone()));
        self.picture.send_if_modified(|last| {
            let news = *last != self.uplink;
            if news {
                last.clone_from(&self.uplink);
            }
            news
        });
    }
}
