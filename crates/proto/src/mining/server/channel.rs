//! What a connection knows of its channels and groups.

use super::workers::Crowd;
use super::{AccountId, Kind, Settings};
use crate::Time;
use crate::extranonce::{Extranonce, FullSize, Slot};
use crate::job::Job;
use crate::share::Head;
use crate::target::Target;
use crate::vardiff::{Bounds, Vardiff};
use std::collections::VecDeque;

/// Changes of terms kept for the jobs of one tip. With more, shares of the oldest jobs are stale.
const TERMS_MAX: usize = 16;

/// An open channel (spec 5.2). Kept small: pools hold many idle ones.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) id: u32,
    pub(super) kind: Kind,
    pub(super) size: FullSize,
    pub(super) group_id: u32,
    /// Number of its plan, and whether that pays its owner alone.
    pub(super) plan: u32,
    pub(super) solo: bool,
    pub(super) account: AccountId,
    /// Easiest target that the client accepts.
    pub(super) target_max: Target,
    pub(super) vardiff: Vardiff,
    /// When the claim of a hash rate was last followed.
    pub(super) claimed_at: Time,
    /// Oldest job that the channel was ever sent; none before the first.
    pub(super) first_job: Option<u32>,
    /// Newest terms last; never empty.
    terms: VecDeque<Term>,
    /// Merkle roots of the last jobs of a standard channel.
    roots: [Root; 2],
    /// Shares that may come at once shrink this; see `Server::within_rate`.
    pub(super) rate_used_until: Time,
    /// Durable shares not yet acknowledged.
    pub(super) unacked: Unacked,
    /// Work below one unit of difficulty, carried into the next acknowledgement.
    pub(super) work_carried: u64,
    /// The workers behind it, as far as shares tell.
    pub(super) crowd: Crowd,
}

/// What shares are judged by: for job `from` and all later ones, until the next term.
#[derive(Clone, Copy, Debug)]
pub(super) struct Term {
    pub(super) from: u32,
    /// Job `from` is the job `alias_of`, sent again to this channel alone.
    alias_of: Option<u32>,
    /// Channel number inside the slot: the extranonce prefix.
    pub(super) number: u16,
    pub(super) target: Target,
    pub(super) work: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Root {
    /// Job id in the book; 0 is none.
    job_id: u32,
    number: u16,
    head: Head,
}

/// Durable shares of a channel since its last acknowledgement.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unacked {
    pub(super) count: u32,
    pub(super) last_sequence_number: u32,
    pub(super) work: u128,
}

impl Channel {
    #[allow(
        clippy::too_many_arguments,
        reason = "called once, right where all of these are found out"
    )]
    pub(super) fn new(
        now: Time,
        id: u32,
        group_id: u32,
        (plan, solo): (u32, bool),
        kind: Kind,
        size: FullSize,
        account: AccountId,
        target_max: Target,
        vardiff: Vardiff,
        number: u16,
    ) -> Self {
        let mut terms = VecDeque::with_capacity(1);
        let work = vardiff.work();
        let target = Target::from_work(work).min(target_max);
        terms.push_back(Term {
            from: 0,
            alias_of: None,
            number,
            target,
            work,
        });
        Self {
            id,
            kind,
            size,
            group_id,
            plan,
            solo,
            account,
            target_max,
            vardiff,
            claimed_at: now,
            first_job: None,
            terms,
            roots: [Root::default(); 2],
            rate_used_until: Time(0),
            unacked: Unacked::default(),
            work_carried: 0,
            crowd: Crowd::default(),
        }
    }

    /// The terms of jobs to come.
    pub(super) fn term(&self) -> Option<&Term> {
        self.terms.back()
    }

    /// The target that the channel's work calls for now.
    pub(super) fn wanted_target(&self) -> Target {
        Target::from_work(self.vardiff.work()).min(self.target_max)
    }

    /// The terms of `job_id` and the number under which the book knows it; nothing if the channel was
    /// never sent it or has forgotten.
    #[inline]
    pub(super) fn term_of(&self, job_id: u32) -> Option<(&Term, u32)> {
        let term = self.terms.iter().rev().find(|term| term.from <= job_id)?;
        match term.alias_of {
            Some(alias) if term.from == job_id => Some((term, alias)),
            _ => Some((term, job_id)),
        }
    }

    /// Sets the target for job `from` on. `alias_of`: that job is a known one, sent again.
    pub(super) fn retarget(&mut self, from: u32, alias_of: Option<u32>, target: Target) {
        let work = target.share_work();
        self.push_term(from, |term| Term {
            from,
            alias_of,
            target,
            work,
            ..term
        });
    }

    /// Sets the channel number for job `from` on.
    pub(super) fn renumber(&mut self, from: u32, number: u16) {
        self.push_term(from, |term| Term {
            from,
            alias_of: None,
            number,
            ..term
        });
    }

    fn push_term(&mut self, from: u32, change: impl FnOnce(Term) -> Term) {
        let Some(last) = self.terms.back().copied() else {
            return;
        };
        if last.from == from || self.first_job.is_none() {
            // No job was sent under it.
            self.terms.pop_back();
        }
        if self.terms.len() >= TERMS_MAX {
            self.terms.pop_front();
        }
        self.terms.push_back(change(last));
    }

    /// Forgets the terms of stale jobs: those before `from`.
    pub(super) fn forget_terms_before(&mut self, from: u32) {
        while self.terms.get(1).is_some_and(|second| second.from <= from) {
            self.terms.pop_front();
        }
    }

    /// The extranonce of a standard channel under `number`.
    pub(super) fn fixed_extranonce(&self, slot: &Slot, number: u16) -> Extranonce {
        slot.fixed(number, self.size)
    }

    /// The prefix as the client is told it: all bytes of a standard channel, else those before what
    /// the miner rolls.
    pub(super) fn prefix_bytes<'a>(&self, whole: &'a Extranonce) -> &'a [u8] {
        match self.kind {
            Kind::Standard => whole.as_bytes(),
            Kind::Extended => whole.as_bytes().get(..self.size.prefix()).unwrap_or_default(),
        }
    }

    /// Head of a standard channel's job, with its Merkle root; remembered for the jobs in use.
    #[inline]
    pub(super) fn head(&mut self, job: &Job, job_id: u32, slot: &Slot, number: u16) -> &mut Head {
        let known = self
            .roots
            .iter()
            .position(|root| root.job_id == job_id && root.number == number);
        let place = known.unwrap_or_else(|| self.fold_root(job, job_id, slot, number));
        let [newest, former] = &mut self.roots;
        if place == 0 {
            &mut newest.head
        } else {
            &mut former.head
        }
    }

    /// Folds the root of a job; gives its place.
    fn fold_root(&mut self, job: &Job, job_id: u32, slot: &Slot, number: u16) -> usize {
        let merkle_root = job.merkle_root(&self.fixed_extranonce(slot, number));
        let head = Head::new(job, merkle_root, job.fields().version);
        let root = Root { job_id, number, head };
        let [newest, former] = &mut self.roots;
        // An old job must not push the newest out.
        if job_id < newest.job_id {
            *former = root;
            return 1;
        }
        *former = core::mem::replace(newest, root);
        0
    }

    /// How hard shares may be: from the floor, and what the client accepts, to a block.
    pub(super) fn bounds(&self, settings: &Settings, job: Option<&Job>) -> Bounds {
        bounds(settings, &self.target_max, job)
    }
}

/// As [`Channel::bounds`], for a channel that is about to be.
pub(super) fn bounds(settings: &Settings, target_max: &Target, job: Option<&Job>) -> Bounds {
    Bounds {
        min: target_max.share_work().max(settings.work_min),
        max: job.map_or(u64::MAX, Job::share_work_max),
        steps: settings.steps,
    }
}

/// Channels that share job messages (spec 5.2.3): all that have one full extranonce size and one plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub(super) id: u32,
    pub(super) size: FullSize,
    /// Number of its plan.
    pub(super) plan: u32,
}

/// The channels of a connection and their groups; one id space for both, counted up and never reused.
#[derive(Debug, Default)]
pub(super) struct Channels {
    /// Sorted by id, since ids count up.
    open: Vec<Channel>,
    groups: Vec<Group>,
    last_id: u32,
}

impl Channels {
    pub(super) const fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    #[inline]
    pub(super) fn find(&self, id: u32) -> Option<&Channel> {
        self.place(id).and_then(|place| self.open.get(place))
    }

    #[inline]
    pub(super) fn find_mut(&mut self, id: u32) -> Option<&mut Channel> {
        let place = self.place(id)?;
        self.open.get_mut(place)
    }

    #[inline]
    fn place(&self, id: u32) -> Option<usize> {
        self.open.binary_search_by_key(&id, |channel| channel.id).ok()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Channel> {
        self.open.iter_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Channel> {
        self.open.iter()
    }

    /// The groups of a plan, and the members of each that have had their first job.
    pub(super) fn groups(&self, plan: u32) -> impl Iterator<Item = (Group, impl Iterator<Item = &Channel>)> {
        let groups = self.groups.iter().filter(move |group| group.plan == plan);
        groups.map(|group| {
            let members = self
                .open
                .iter()
                .filter(|it| it.group_id == group.id && it.first_job.is_some());
            (*group, members)
        })
    }

    /// A new id, or nothing when all are used up.
    pub(super) fn next_id(&mut self) -> Option<u32> {
        self.last_id = self.last_id.checked_add(1)?;
        Some(self.last_id)
    }

    /// The group of channels with this full extranonce size and plan, made if need be.
    pub(super) fn group_for(&mut self, size: FullSize, plan: u32) -> Option<u32> {
        let fits = |group: &&Group| group.size == size && group.plan == plan;
        if let Some(group) = self.groups.iter().find(fits) {
            return Some(group.id);
        }
        let id = self.next_id()?;
        self.groups.push(Group { id, size, plan });
        Some(id)
    }

    /// Adds a channel with a new id.
    pub(super) fn push(&mut self, channel: Channel) {
        debug_assert!(self.open.last().is_none_or(|last| last.id < channel.id));
        if self.open.len() == self.open.capacity() {
            // Most connections have one channel: no room for four.
            self.open.reserve_exact(self.open.len().max(1));
        }
        self.open.push(channel);
    }

    /// Takes out the channel, or all channels of the group, that `id` names.
    pub(super) fn remove(&mut self, id: u32) -> Vec<Channel> {
        let removed = self
            .open
            .extract_if(.., |channel| channel.id == id || channel.group_id == id)
            .collect();
        let open = &self.open;
        self.groups
            .retain(|group| open.iter().any(|channel| channel.group_id == group.id));
        removed
    }
}
