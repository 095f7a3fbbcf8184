//! One channel below, and where it stands above.

use std::collections::VecDeque;
use std::time::Duration;

use adit_wire::{B0_32, Str0_255, U256};

use super::{Conn, Line, Settings};
use crate::Time;

/// A channel for the machine itself: the same for life, whatever connections it stands on.
pub(super) type Key = u64;

/// Jobs of one channel, or of one group above, that are remembered by both their names.
pub(super) const JOBS_MAX: usize = 64;

/// Shares of a channel without an answer that are remembered by number; of older ones nobody is told when the upstream
/// is lost.
const UNANSWERED_MAX: usize = 1_024;

/// A job by its names. Ours is never used twice, so that a late share cannot be taken for one of another upstream's job.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub(super) ours: u32,
    pub(super) theirs: u32,
}

/// The jobs that were given last.
#[derive(Clone, Debug, Default)]
pub(super) struct Jobs(VecDeque<Job>);

impl Jobs {
    pub(super) fn push(&mut self, job: Job) {
        if self.0.len() >= JOBS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(job);
    }

    /// What the upstream calls our job.
    pub(super) fn theirs(&self, ours: u32) -> Option<u32> {
        self.0
            .iter()
            .rev()
            .find(|job| job.ours == ours)
            .map(|job| job.theirs)
    }

    /// What we call the newest job that the upstream calls so.
    pub(super) fn ours(&self, theirs: u32) -> Option<u32> {
        self.0
            .iter()
            .rev()
            .find(|job| job.theirs == theirs)
            .map(|job| job.ours)
    }

    /// Takes over what another knows.
    pub(super) fn extend(&mut self, other: &Self) {
        other.0.iter().for_each(|job| self.push(*job));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// Where a channel stands above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seat {
    /// Nowhere: it waits for its turn, or for an upstream.
    Queued,
    /// It was asked for there.
    Asked { line: Line, request: u32 },
    /// There, under this id and in this group. `fill`: zeros between the upstream's prefix and what the device rolls.
    Open {
        line: Line,
        id: u32,
        group: u32,
        fill: u8,
    },
}

/// What a device asked for; it is asked for again whenever the channel moves.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) user_identity: Str0_255,
    pub(super) nominal_hash_rate: f32,
    pub(super) max_target: U256,
    /// Of an extended channel: bytes to roll. At first the fewest that the device takes, then what it got.
    pub(super) size: Option<u16>,
}

#[derive(Clone, Debug)]
pub(super) struct Channel {
    pub(super) conn: Conn,
    /// Its id below.
    pub(super) id: u32,
    /// The request below that waits for its first answer.
    pub(super) request: Option<u32>,
    pub(super) wish: Wish,
    /// Its group below, once it is open.
    pub(super) group: u32,
    pub(super) seat: Seat,
    /// Since when it waits for a seat.
    pub(super) since: Time,
    /// Connections above that refused it while it waits.
    pub(super) refusals: u8,
    /// Our newest job id when it was seated: what is older it did not get.
    pub(super) born: u32,
    /// Jobs of the present seat.
    pub(super) jobs: Jobs,
    /// As the device knows it.
    pub(super) prefix: B0_32,
    unanswered: VecDeque<u32>,
    /// It has carried messages of extensions that are not spoken here (REQ-COM-031).
    pub(super) carried: bool,
    pub(super) refused_in_a_row: u32,
    /// Shares that the upstream has refused since the channel moved; `None` once one was accepted.
    pub(super) refused_after_move: Option<u32>,
    /// A change that the upstream is not told yet, and when it was told one last.
    pub(super) changed: bool,
    pub(super) told_at: Option<Time>,
    /// When the next share is due at the allowed rate, in microseconds.
    share_due_us: u64,
}

impl Channel {
    pub(super) fn new(now: Time, conn: Conn, id: u32, request: u32, wish: Wish) -> Self {
        Self {
            conn,
            id,
            request: Some(request),
            wish,
            group: 0,
            seat: Seat::Queued,
            since: now,
            refusals: 0,
            born: 0,
            jobs: Jobs::default(),
            prefix: B0_32::default(),
            unanswered: VecDeque::new(),
            carried: false,
            refused_in_a_row: 0,
            refused_after_move: None,
            changed: false,
            told_at: None,
            share_due_us: 0,
        }
    }

    pub(super) const fn is_extended(&self) -> bool {
        self.wish.size.is_some()
    }

    /// Its group above.
    pub(super) const fn seat_group(&self) -> Option<u32> {
        match self.seat {
            Seat::Open { group, .. } => Some(group),
            _ => None,
        }
    }

    /// Whether the device has it: its first answer has been given.
    pub(super) const fn is_known_below(&self) -> bool {
        self.request.is_none()
    }

    /// Spends one share of the allowed rate; false when there is none.
    pub(super) fn spend_share(&mut self, now: Time, settings: &Settings) -> bool {
        let Some(interval) = 1_000_000u64.checked_div(settings.shares_per_second.into()) else {
            return true;
        };
        let burst = u64::from(settings.burst_s) * 1_000_000;
        let due = self.share_due_us.max(now.0);
        if due > now.0.saturating_add(burst) {
            return false;
        }
        self.share_due_us = due.saturating_add(interval);
        true
    }

    /// A share went up.
    pub(super) fn sent(&mut self, sequence_number: u32) {
        if self.unanswered.len() >= UNANSWERED_MAX {
            self.unanswered.pop_front();
        }
        self.unanswered.push_back(sequence_number);
    }

    /// All shares up to this one are answered, but for those that were refused one by one. Gives how many.
    pub(super) fn accepted(&mut self, last: u32) -> usize {
        self.refused_in_a_row = 0;
        self.refused_after_move = None;
        let Some(at) = self.unanswered.iter().rposition(|sequence| *sequence == last) else {
            return 0;
        };
        self.unanswered.drain(..=at).count()
    }

    /// This share is answered. Gives how many that were.
    pub(super) fn rejected(&mut self, sequence_number: u32) -> usize {
        self.refused_in_a_row = self.refused_in_a_row.saturating_add(1);
        if let Some(count) = &mut self.refused_after_move {
            *count = count.saturating_add(1);
        }
        let at = self
            .unanswered
            .iter()
            .position(|sequence| *sequence == sequence_number);
        at.and_then(|at| self.unanswered.remove(at)).map_or(0, |_| 1)
    }

    /// It loses its seat: gives the shares that nobody will answer any more.
    pub(super) fn unseat(&mut self, now: Time) -> VecDeque<u32> {
        self.seat = Seat::Queued;
        self.since = now;
        self.refusals = 0;
        self.changed = false;
        self.jobs.clear();
        std::mem::take(&mut self.unanswered)
    }

    /// When a change may be told, if there is one (spec 5.3.7: at most once a second).
    pub(super) fn tell_at(&self) -> Option<Time> {
        const TELL_EVERY: Duration = Duration::from_secs(1);
        let at = self.told_at.map_or(Time(0), |told| told + TELL_EVERY);
        self.changed.then_some(at)
    }
}
