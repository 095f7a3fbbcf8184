//! Jobs of a distributor (`docs/job-distribution.md`) on the upstream in use, instead of the upstream's own.

use std::sync::Arc;
use std::task::{Context, Poll};

use adit_net::{Clock, Dialling, Url};
use adit_proto::Time;
use adit_proto::mining::client::{Share, Work};

use crate::pool::branch::Mined;
use crate::receiver::{Custom, Following, Slot, Todo};
use crate::uplink::mining::{Channel, Command, Told};

/// Follows a distributor, for one upstream after the other.
#[derive(Debug)]
pub(super) struct Distributed {
    distributor: Url,
    /// As whom we mine: tokens are for a name.
    user: String,
    dialling: Dialling,
    clock: Clock,
    turn: Option<Turn>,
}

/// What belongs to one connection of the upstream in use.
#[derive(Debug)]
struct Turn {
    custom: Custom,
    channel: Channel,
    /// The upstream has given a job of its own: there is something to fall back to.
    opened: bool,
    _following: Following,
}

impl Distributed {
    pub(super) const fn new(distributor: Url, user: String, dialling: Dialling, clock: Clock) -> Self {
        Self {
            distributor,
            user,
            dialling,
            clock,
            turn: None,
        }
    }

    /// Another upstream is mined on: jobs for `pool`, on this channel of ours, while its own job is `work`. `None`: no upstream
    /// is, or it takes no jobs of others.
    pub(super) fn turn_to(&mut self, upstream: Option<(Url, Channel, Option<Work>)>) -> Vec<Todo> {
        self.turn = None;
        let Some((pool, channel, work)) = upstream else {
            return Vec::new();
        };
        let slot = Arc::new(Slot::default());
        let following = Following::start(
            self.distributor.clone(),
            pool,
            self.user.clone(),
            self.dialling,
            self.clock.clone(),
            Arc::clone(&slot),
        );
        let mut turn = Turn {
            custom: Custom::new(slot),
            channel,
            opened: false,
            _following: following,
        };
        let now = self.clock.now();
        let todo = work.map_or_else(Vec::new, |work| turn.work(now, work));
        self.turn = Some(turn);
        todo
    }

    /// Whether distributed jobs are wanted for the upstream in use.
    pub(super) const fn is_on(&self) -> bool {
        self.turn.is_some()
    }

    /// Ready when the distributor has something else to mine.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        self.turn
            .as_ref()
            .map_or(Poll::Pending, |turn| turn.custom.poll(cx))
    }

    /// Looks what the distributor has.
    pub(super) fn look(&mut self) -> Vec<Todo> {
        let now = self.clock.now();
        self.turn
            .as_mut()
            .map_or_else(Vec::new, |turn| turn.custom.look(now))
    }

    /// The upstream in use has said something.
    pub(super) fn told(&mut self, told: &Told) -> Vec<Todo> {
        let now = self.clock.now();
        let Some(turn) = &mut self.turn else {
            return Vec::new();
        };
        match told {
            Told::Work(work) => turn.work(now, Work::clone(work)),
            Told::Prefix(prefix) => {
                turn.channel.prefix = *prefix;
                match turn.opened {
                    true => turn.open(now),
                    false => Vec::new(),
                }
            }
            Told::JobAccepted {
                request,
                job_id,
                target,
            } => turn.custom.taken(now, *request, *job_id, *target),
            Told::JobRefused { request, code } => turn.custom.refused(now, *request, Some(code.clone())),
            Told::JobUnanswered { request } => turn.custom.refused(now, *request, None),
            _ => Vec::new(),
        }
    }

    /// A share goes up: if it is a block of a distributed job, the distributor is told.
    pub(super) fn sent(&self, command: &Command, mined: &Mined) {
        let (
            Some(turn),
            Command::Share {
                job_id, extranonce, ..
            },
        ) = (&self.turn, command)
        else {
            return;
        };
        let share = &mined.share;
        turn.custom.sent(&Share {
            channel: turn.channel.id,
            job_id: *job_id,
            nonce: share.nonce,
            ntime: share.ntime,
            version: share.version,
            extranonce: *extranonce,
        });
    }
}

impl Turn {
    /// The upstream's own job; the first opens the way for others.
    fn work(&mut self, now: Time, work: Work) -> Vec<Todo> {
        let mut todo = match std::mem::replace(&mut self.opened, true) {
            true => Vec::new(),
            false => self.open(now),
        };
        todo.extend(self.custom.work(now, work));
        todo
    }

    fn open(&mut self, now: Time) -> Vec<Todo> {
        let Channel {
            id,
            prefix,
            size,
            version_mask,
            ..
        } = self.channel;
        self.custom.opened(now, id, prefix, size, version_mask)
    }
}
