//! One connection above: whose channels it carries, and what waits for an answer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use adit_wire::mining::NewExtendedMiningJob;

use super::channel::{Job, Jobs, Key};
use super::{Conn, FUTURE_JOBS_MAX};
use crate::Time;
use crate::mining::client::Coinbase;

/// Custom jobs of one connection below that may wait for an answer.
pub(super) const CUSTOMS_MAX: usize = 16;

/// A request for a channel without an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// `None`: the device is gone, and the channel will be closed when it comes.
    pub(super) key: Option<Key>,
    pub(super) until: Time,
}

/// A job of a device's own without an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Custom {
    pub(super) conn: Conn,
    pub(super) key: Key,
    /// Request and channel or group as the device named them.
    pub(super) request: u32,
    pub(super) channel_id: u32,
    pub(super) until: Time,
}

/// An extended job with what is needed to tell it again.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) job: Job,
    pub(super) message: NewExtendedMiningJob,
    pub(super) coinbase: Arc<Coinbase>,
    /// Bytes of its frame.
    pub(super) bytes: usize,
}

/// A group of the upstream, and who of it is connected below where.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pub(super) members: BTreeMap<Conn, BTreeSet<Key>>,
    pub(super) jobs: Jobs,
    /// Future jobs, oldest first: members that came later need them when their block comes.
    future: VecDeque<Given>,
}

impl Group {
    pub(super) fn keep(&mut self, given: Given) {
        if self.future.len() >= FUTURE_JOBS_MAX {
            self.future.pop_front();
        }
        self.future.push_back(given);
    }

    /// The future job that the upstream calls so; all others are of no use any more.
    pub(super) fn start(&mut self, theirs: u32) -> Option<Given> {
        let at = self.future.iter().rposition(|given| given.job.theirs == theirs);
        let started = at.and_then(|at| self.future.remove(at));
        self.future.clear();
        started
    }

    /// The same without starting it.
    pub(super) fn future(&self, theirs: u32) -> Option<&Given> {
        self.future.iter().rev().find(|given| given.job.theirs == theirs)
    }
}

/// A connection above.
#[derive(Clone, Debug)]
pub(super) struct Above {
    /// What was asked of the upstream: devices with other needs are on other connections.
    pub(super) flags: u32,
    /// What the upstream requires, once it is set up.
    pub(super) success_flags: Option<u32>,
    pub(super) channels: BTreeMap<u32, Key>,
    pub(super) groups: BTreeMap<u32, Group>,
    pub(super) asked: BTreeMap<u32, Asked>,
    pub(super) customs: BTreeMap<u32, Custom>,
    next_request: u32,
    /// Channels that it takes, as far as that is known.
    pub(super) limit: usize,
    /// Shares without an answer.
    outstanding: usize,
    /// Since when no share was answered, though some wait.
    pub(super) unanswered_since: Option<Time>,
    /// When anything was heard last.
    pub(super) heard: Time,
    /// It was asked whether it is there.
    pub(super) asked_if_there: bool,
}

impl Above {
    pub(super) fn new(now: Time, flags: u32, limit: usize, first_request: u32) -> Self {
        Self {
            flags,
            success_flags: None,
            channels: BTreeMap::new(),
            groups: BTreeMap::new(),
            asked: BTreeMap::new(),
            customs: BTreeMap::new(),
            next_request: first_request,
            limit,
            outstanding: 0,
            unanswered_since: None,
            heard: now,
            asked_if_there: false,
        }
    }

    /// A request id that no request without an answer has (REQ-MIN-021).
    pub(super) fn request_id(&mut self) -> u32 {
        loop {
            let id = self.next_request;
            self.next_request = id.wrapping_add(1);
            if !self.asked.contains_key(&id) && !self.customs.contains_key(&id) {
                return id;
            }
        }
    }

    /// Channels that it has or was asked for.
    pub(super) fn load(&self) -> usize {
        self.channels.len() + self.asked.len()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.load() == 0
    }

    /// A share went up.
    pub(super) fn sent(&mut self, now: Time) {
        self.outstanding += 1;
        self.unanswered_since.get_or_insert(now);
    }

    /// So many shares need no answer any more.
    pub(super) fn answered(&mut self, now: Time, count: usize) {
        self.outstanding = self.outstanding.saturating_sub(count);
        self.unanswered_since = (self.outstanding > 0).then_some(now);
    }

    /// A channel leaves its group.
    pub(super) fn leave_group(&mut self, group: u32, conn: Conn, key: Key) {
        let Some(it) = self.groups.get_mut(&group) else {
            return;
        };
        if let Some(members) = it.members.get_mut(&conn) {
            members.remove(&key);
            if members.is_empty() {
                it.members.remove(&conn);
            }
        }
        if it.members.is_empty() {
            self.groups.remove(&group);
        }
    }
}
