//! One connection of a device: work goes to the miners, their shares go to the pool.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use adit_net::{Protocol, random};
use adit_proto::extension::Wishes;
use adit_proto::mining::client::{self as mining, Event, Kind, Open};
use adit_proto::{Fault, Time};
use adit_wire::common::flags;
use adit_wire::{Header, Str0_255, U256};
use tokio::sync::mpsc;

use super::board::{Assignment, Board};
use super::live::Live;
use super::miner::Batch;
use super::upstream::{Heard, Upstream, setup_flags};
use super::{Channel, EXTRANONCE_BYTES_MIN, Settings};
use crate::receiver::{Custom, Slot, Todo};
use adit_net::Url;

/// Batches of shares sent at one wake-up.
const BATCHES_PER_MAIL: usize = 16;

/// How a session wants to go on when it has ended of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// As after any broken connection.
    Again,
    /// To another place, with the same key (spec 3.6.5).
    Move {
        host: Option<Str0_255>,
        port: Option<u16>,
    },
    /// Not at all: all shares wanted are accepted.
    Done,
}

/// The protocol on a device's link.
pub(super) struct Session<'a> {
    upstream: Upstream,
    settings: &'a Settings,
    live: &'a Live,
    board: &'a Board,
    found: &'a mut mpsc::Receiver<Batch>,
    /// A batch that `poll_mail` took out.
    batch: Option<Batch>,
    /// Tells this connection's work from that of others.
    epoch: u64,
    hash_rate: f32,
    heard: Vec<Heard>,
    /// Shares of this connection that were accepted.
    pub(super) accepted: u64,
    /// Shares of this connection without an answer.
    unanswered: u64,
    /// The server wants us elsewhere: we stay for the answers that are under way, at most until then.
    leaving: Option<(Next, Time)>,
    pub(super) next: Option<Next>,
    /// The distributor's part, where there is one.
    custom: Option<Custom>,
    /// Refusal codes that were told in the log, once each.
    told: Vec<Str0_255>,
}

/// How long a session stays for the answers to its last shares when the server has sent it elsewhere.
const LINGER_MAX: Duration = Duration::from_secs(1);

/// Kinds of refusals told in the log of one connection.
const TOLD_MAX: usize = 16;

impl<'a> Session<'a> {
    #[expect(
        clippy::too_many_arguments,
        reason = "called once, right where all of these are at hand"
    )]
    pub(super) fn new(
        url: &Url,
        settings: &'a Settings,
        live: &'a Live,
        board: &'a Board,
        found: &'a mut mpsc::Receiver<Batch>,
        epoch: u64,
        hash_rate: f32,
        wishes: Wishes,
        jobs: Option<Arc<Slot>>,
    ) -> Self {
        let mut mining = mining::Settings::default();
        let mut asked = setup_flags(settings.channel);
        if jobs.is_some() {
            mining.work_selection = true;
            asked |= flags::REQUIRES_WORK_SELECTION;
        }
        let upstream = Upstream::new(url, asked, mining).with_extensions(wishes, settings.extensions.worker);
        Self {
            upstream,
            settings,
            live,
            board,
            found,
            batch: None,
            epoch,
            hash_rate,
            heard: Vec::new(),
            accepted: 0,
            unanswered: 0,
            leaving: None,
            custom: jobs.map(Custom::new),
            next: None,
            told: Vec::new(),
        }
    }

    /// The first refusal of a kind is told, all are counted.
    fn tell_rejection(&mut self, sequence: u32, code: &Str0_255) {
        if self.told.len() < TOLD_MAX && !self.told.contains(code) {
            tracing::warn!(sequence, %code, "share rejected; others of this kind are counted only");
            self.told.push(code.clone());
        }
    }

    fn open(&mut self, now: Time, out: &mut Vec<u8>, heard: &mut Vec<Heard>) -> Result<(), Fault> {
        let kind = match self.settings.channel {
            Channel::Standard => Kind::Standard,
            Channel::Extended => Kind::Extended {
                min_extranonce_size: EXTRANONCE_BYTES_MIN,
            },
        };
        let open = Open {
            kind,
            user_identity: super::upstream::text(&self.settings.user),
            nominal_hash_rate: self.hash_rate,
            max_target: U256::MAX,
        };
        self.upstream.open(now, open, out, heard)
    }

    /// Acts on what was heard. Opening a channel may let more be heard, so this goes round at most twice.
    fn attend(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut heard = std::mem::take(&mut self.heard);
        let mut more = Vec::new();
        for it in heard.drain(..) {
            match it {
                Heard::Established => self.open(now, out, &mut more)?,
                Heard::Refused { flags, code } => {
                    tracing::warn!(%code, flags, "the pool refused the connection");
                }
                Heard::Reconnect { host, port } => {
                    self.leave(now, Next::Move { host, port });
                }
                Heard::Work(_) if self.leaving.is_some() => {}
                Heard::Work(work) => {
                    self.live.connect(now);
                    let todo = match &mut self.custom {
                        Some(custom) => custom.work(now, work),
                        None => vec![Todo::Mine(work)],
                    };
                    self.carry_out(now, todo, out, &mut more)?;
                }
                Heard::Event(event) => {
                    let todo = self.custom_event(now, &event);
                    self.carry_out(now, todo, out, &mut more)?;
                    self.event(event);
                }
            }
        }
        self.heard = heard;
        more.into_iter().for_each(|it| match it {
            Heard::Event(event) => self.event(event),
            other => tracing::debug!(?other, "unexpected"),
        });
        if let Some((next, _)) = self
            .leaving
            .take_if(|(_, until)| self.unanswered == 0 || *until <= now)
        {
            self.next.get_or_insert(next);
        }
        Ok(())
    }

    /// What an event means for distributed jobs.
    fn custom_event(&mut self, now: Time, event: &Event) -> Vec<Todo> {
        let version_mask = self.upstream.version_mask();
        let Some(custom) = &mut self.custom else {
            return Vec::new();
        };
        match event {
            Event::Opened {
                channel,
                extranonce_prefix,
                extranonce_size: Some(size),
                ..
            } => custom.opened(now, *channel, *extranonce_prefix, *size, version_mask),
            Event::CustomAccepted {
                request,
                job_id,
                target,
                ..
            } => custom.taken(now, *request, *job_id, *target),
            Event::CustomRefused { request, code, .. } => custom.refused(now, *request, Some(code.clone())),
            Event::CustomUnanswered { request, .. } => custom.refused(now, *request, None),
            _ => Vec::new(),
        }
    }

    fn carry_out(
        &mut self,
        now: Time,
        todo: Vec<Todo>,
        out: &mut Vec<u8>,
        heard: &mut Vec<Heard>,
    ) -> Result<(), Fault> {
        for it in todo {
            match it {
                Todo::Set(message) => self.upstream.custom(now, *message, now, out, heard)?,
                Todo::Mine(_) if self.leaving.is_some() => {}
                Todo::Mine(work) => {
                    let origin = u64::from_le_bytes(random::bytes());
                    self.board
                        .put(Some(Arc::new(Assignment::new(work, self.epoch, origin))));
                }
            }
        }
        Ok(())
    }

    /// Looks what the distributor has to mine.
    fn look(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        let todo = self.custom.as_mut().map(|custom| custom.look(now));
        let mut heard = std::mem::take(&mut self.heard);
        let result = self.carry_out(now, todo.unwrap_or_default(), out, &mut heard);
        self.heard = heard;
        result
    }

    /// No more work from here, but what was submitted shall be acknowledged.
    fn leave(&mut self, now: Time, next: Next) {
        if self.leaving.is_none() {
            self.board.put(None);
            self.live.disconnect(now);
            self.leaving = Some((next, now + LINGER_MAX));
        }
    }

    /// Whether the server never answered when it was asked for extensions.
    pub(super) const fn silent(&self) -> bool {
        self.upstream.silent()
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Opened {
                channel,
                group,
                target,
                ..
            } => {
                tracing::info!(channel, group, %target, "channel open");
            }
            Event::OpenRefused { code, .. } => {
                tracing::warn!(%code, "the pool refused the channel");
                self.next.get_or_insert(Next::Again);
            }
            Event::Closed { reason, .. } => {
                tracing::warn!(%reason, "the pool closed the channel");
                self.board.put(None);
                self.next.get_or_insert(Next::Again);
            }
            Event::Accepted { count, .. } => {
                self.accepted += u64::from(count);
                self.unanswered = self.unanswered.saturating_sub(count.into());
                let accepted = self.live.accept(count.into());
                if self.settings.until_shares.is_some_and(|until| accepted >= until) {
                    self.next = Some(Next::Done);
                }
            }
            Event::Rejected { sequence, code, .. } => {
                self.unanswered = self.unanswered.saturating_sub(1);
                self.tell_rejection(sequence, &code);
                self.live.reject(1);
            }
            Event::UpdateRefused { code, .. } => tracing::debug!(%code, "update refused"),
            Event::Target { .. } | Event::ExtranoncePrefix { .. } => {}
            // A device makes no jobs of its own.
            Event::CustomAccepted { .. }
            | Event::CustomRefused { .. }
            | Event::CustomUnanswered { .. }
            | Event::CustomUnasked => {}
            Event::Withheld(why) => {
                tracing::warn!(?why, "the channel cannot be opened");
                self.next.get_or_insert(Next::Again);
            }
        }
    }

    fn send(&mut self, now: Time, batch: Batch, out: &mut Vec<u8>) {
        if batch.epoch != self.epoch || self.leaving.is_some() {
            return;
        }
        for share in batch.shares {
            match self.upstream.share(now, share, out) {
                Ok(_) => {
                    if let Some(custom) = &self.custom {
                        custom.sent(&share);
                    }
                    self.unanswered += 1;
                    self.live.submit(1);
                }
                // Found while the tip was changing: nobody pays for it any more.
                Err(why) => tracing::debug!(?why, "share dropped"),
            }
        }
    }
}

impl Protocol for Session<'_> {
    fn length_max(&self, header: &Header) -> u32 {
        Upstream::length_max(header)
    }

    fn frame(&mut self, now: Time, header: &Header, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let result = self.upstream.frame(now, header, payload, out, &mut self.heard);
        self.attend(now, out)?;
        result
    }

    fn poll_mail(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.upstream.started() || self.batch.is_some() {
            return Poll::Ready(());
        }
        let news = self
            .custom
            .as_ref()
            .is_some_and(|custom| custom.poll(cx).is_ready());
        if news {
            return Poll::Ready(());
        }
        match self.found.poll_recv(cx) {
            Poll::Ready(Some(batch)) => {
                self.batch = Some(batch);
                Poll::Ready(())
            }
            // The miners are gone only when the role is.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn mail(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        if !self.upstream.started() {
            self.upstream.start(now, out, &mut self.heard)?;
        }
        for _ in 0..BATCHES_PER_MAIL {
            let Some(batch) = self.batch.take().or_else(|| self.found.try_recv().ok()) else {
                break;
            };
            self.send(now, batch, out);
        }
        self.look(now, out)?;
        self.attend(now, out)
    }

    fn deadline(&self) -> Option<Time> {
        let leave = self.leaving.as_ref().map(|(_, until)| *until);
        [self.upstream.deadline(), leave].into_iter().flatten().min()
    }

    fn expire(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        let result = self.upstream.expire(now, out, &mut self.heard);
        self.attend(now, out)?;
        result
    }

    fn finished(&self) -> bool {
        self.next.is_some()
    }
}
