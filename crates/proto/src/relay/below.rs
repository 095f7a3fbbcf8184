//! The devices' side: who comes and goes, and what they ask for.

use std::collections::{BTreeMap, BTreeSet};

use adit_wire::common::flags;
use adit_wire::mining::{
    CloseChannel, OpenMiningChannelError, SubmitSharesError, ToServer, UpdateChannel, UpdateChannelError,
};
use adit_wire::tlv::WorkerName;
use adit_wire::{Str0_255, refusal};

use super::channel::{Channel, Key, Seat, Wish};
use super::look::IDLE;
use super::{Conn, Event, Output, Relay};
use crate::{Fault, Time};

/// A connection below.
#[derive(Clone, Debug)]
pub(super) struct Below {
    pub(super) flags: u32,
    /// What it was told that the upstream requires, once it was admitted.
    pub(super) told: Option<u32>,
    /// Since when it waits, or has no channel.
    pub(super) since: Time,
    /// Open channels by its ids.
    pub(super) channels: BTreeMap<u32, Key>,
    /// Its groups, as it knows them.
    pub(super) groups: BTreeMap<u32, BTreeSet<Key>>,
    /// Requests for channels that are not answered.
    pub(super) requests: BTreeMap<u32, Key>,
    last_id: u32,
    /// Shares in a row for channels that it does not have.
    strays: u32,
}

impl Below {
    pub(super) const fn is_header_only(&self) -> bool {
        self.flags & flags::REQUIRES_STANDARD_JOBS != 0
    }

    /// An id that no channel or group of this connection ever had, but after 2^32 of them.
    pub(super) fn name(&mut self) -> u32 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            let id = self.last_id;
            if id != 0 && !self.channels.contains_key(&id) && !self.groups.contains_key(&id) {
                return id;
            }
        }
    }

    pub(super) fn has_channels(&self) -> bool {
        !self.channels.is_empty() || !self.requests.is_empty()
    }

    /// Takes a channel out of its group.
    pub(super) fn leave_group(&mut self, group: u32, key: Key) {
        if let Some(members) = self.groups.get_mut(&group) {
            members.remove(&key);
            if members.is_empty() {
                self.groups.remove(&group);
            }
        }
    }
}

/// An open request of either kind.
struct Open {
    request_id: u32,
    wish: Wish,
}

impl Relay {
    pub(super) fn join(&mut self, now: Time, conn: Conn, flags: u32, out: &mut Vec<Output>) {
        let flags = flags & super::FLAGS_KNOWN;
        // A number is used once; whoever uses it again begins anew.
        self.left(now, conn, out);
        let below = Below {
            flags,
            told: None,
            since: now,
            channels: BTreeMap::new(),
            groups: BTreeMap::new(),
            requests: BTreeMap::new(),
            last_id: 0,
            strays: 0,
        };
        self.conns.insert(conn, below);
        let class = self.classes.entry(flags).or_default();
        class.members.insert(conn);
        if let Some(denied) = class.denied_at(now) {
            self.deny(conn, denied, out);
            return;
        }
        match self.required(flags) {
            Some(success_flags) => self.admit(now, conn, success_flags, out),
            None => self.wake(now + self.settings.patience),
        }
    }

    pub(super) fn admit(&mut self, now: Time, conn: Conn, success_flags: u32, out: &mut Vec<Output>) {
        if let Some(below) = self.conns.get_mut(&conn) {
            (below.told, below.since) = (Some(success_flags), now);
            out.push(Output::Admit { conn, success_flags });
            self.wake(now + self.settings.no_channel_timeout);
        }
    }

    pub(super) fn deny(&mut self, conn: Conn, flags: u32, out: &mut Vec<Output>) {
        out.push(Output::Deny { conn, flags });
        if let Some(below) = self.conns.remove(&conn) {
            self.leave_class(below.flags, conn);
        }
    }

    fn leave_class(&mut self, flags: u32, conn: Conn) {
        if let Some(class) = self.classes.get_mut(&flags) {
            class.members.remove(&conn);
        }
    }

    /// A device is gone: its channels above are closed (REQ-MIN-039).
    pub(super) fn left(&mut self, now: Time, conn: Conn, out: &mut Vec<Output>) {
        let Some(below) = self.conns.remove(&conn) else {
            return;
        };
        self.leave_class(below.flags, conn);
        for key in below.channels.values().chain(below.requests.values()) {
            self.drop_channel(now, *key, Some(refusal::CloseChannel::Done.into()), out);
        }
    }

    /// A message of a device.
    pub(super) fn below(
        &mut self,
        now: Time,
        conn: Conn,
        message: ToServer,
        worker: Option<WorkerName>,
        out: &mut Vec<Output>,
    ) {
        if self.conns.get(&conn).is_none_or(|below| below.told.is_none()) {
            return;
        }
        match message {
            ToServer::OpenStandardMiningChannel(it) => {
                let wish = Wish {
                    user_identity: it.user_identity,
                    nominal_hash_rate: it.nominal_hash_rate,
                    max_target: it.max_target,
                    size: None,
                };
                let request_id = it.request_id;
                self.open(now, conn, Open { request_id, wish }, out);
            }
            ToServer::OpenExtendedMiningChannel(it) => {
                let wish = Wish {
                    user_identity: it.user_identity,
                    nominal_hash_rate: it.nominal_hash_rate,
                    max_target: it.max_target,
                    size: Some(it.min_extranonce_size),
                };
                let request_id = it.request_id;
                self.open(now, conn, Open { request_id, wish }, out);
            }
            ToServer::UpdateChannel(it) => self.update(now, conn, &it, out),
            ToServer::CloseChannel(it) => self.close(now, conn, it, out),
            ToServer::SubmitSharesStandard(it) => self.share_standard(now, conn, it, out),
            ToServer::SubmitSharesExtended(it) => self.share_extended(now, conn, it, worker, out),
            ToServer::SetCustomMiningJob(it) => self.custom(now, conn, it, out),
        }
    }

    fn open(&mut self, now: Time, conn: Conn, open: Open, out: &mut Vec<Output>) {
        use refusal::OpenMiningChannel as Code;
        let (most, most_total) = (self.settings.channels_max, self.settings.channels_total_max);
        let total = self.channels.len();
        let Some(below) = self.conns.get_mut(&conn) else {
            return;
        };
        let refused = if below.requests.contains_key(&open.request_id) {
            Some(Code::DuplicateRequestId)
        } else if below.channels.len() + below.requests.len() >= most || total >= most_total {
            Some(Code::TooManyChannels)
        } else {
            None
        };
        if let Some(code) = refused {
            let (request_id, error_code) = (open.request_id, code.into());
            let message = OpenMiningChannelError {
                request_id,
                error_code,
            };
            return self.tell(conn, message, out);
        }
        self.last_key += 1;
        let (key, id, flags) = (self.last_key, below.name(), below.flags);
        below.requests.insert(open.request_id, key);
        let channel = Channel::new(now, conn, id, open.request_id, open.wish);
        self.channels.insert(key, channel);
        self.classes.entry(flags).or_default().queue.insert(key);
        self.wake(now + self.settings.patience);
    }

    /// Told on, but at most once a second (REQ-MIN-033): the last one counts.
    fn update(&mut self, now: Time, conn: Conn, it: &UpdateChannel, out: &mut Vec<Output>) {
        let key = self
            .conns
            .get(&conn)
            .and_then(|below| below.channels.get(&it.channel_id))
            .copied();
        let Some((key, channel)) = key.and_then(|key| Some((key, self.channels.get_mut(&key)?))) else {
            let message = UpdateChannelError {
                channel_id: it.channel_id,
                error_code: refusal::UpdateChannel::InvalidChannelId.into(),
            };
            return self.tell(conn, message, out);
        };
        channel.wish.nominal_hash_rate = it.nominal_hash_rate;
        channel.wish.max_target = it.maximum_target;
        channel.changed = true;
        match channel.tell_at() {
            Some(at) if at > now => self.wake(at),
            _ => self.tell_update(now, key, out),
        }
    }

    /// Tells the upstream what has changed; while there is none, it will be asked for with it.
    pub(super) fn tell_update(&mut self, now: Time, key: Key, out: &mut Vec<Output>) {
        let Some(channel) = self.channels.get_mut(&key) else {
            return;
        };
        if let Seat::Open { line, id, .. } = channel.seat {
            (channel.changed, channel.told_at) = (false, Some(now));
            let message = UpdateChannel {
                channel_id: id,
                nominal_hash_rate: channel.wish.nominal_hash_rate,
                maximum_target: channel.wish.max_target,
            };
            up(line, message, out);
        }
    }

    /// Of a channel or of all channels of a group (REQ-MIN-042). There is no answer.
    fn close(&mut self, now: Time, conn: Conn, it: CloseChannel, out: &mut Vec<Output>) {
        let Some(below) = self.conns.get(&conn) else {
            return;
        };
        let keys: Vec<Key> = match below.groups.get(&it.channel_id) {
            Some(members) => members.iter().copied().collect(),
            None => below.channels.get(&it.channel_id).copied().into_iter().collect(),
        };
        for key in keys {
            self.drop_channel(now, key, Some(it.reason_code.clone()), out);
        }
    }

    /// A channel is no more. `reason`: what the upstream is told, if it has to be told.
    pub(super) fn drop_channel(
        &mut self,
        now: Time,
        key: Key,
        reason: Option<Str0_255>,
        out: &mut Vec<Output>,
    ) {
        let Some(mut channel) = self.channels.remove(&key) else {
            return;
        };
        let conn = channel.conn;
        if let Some(below) = self.conns.get_mut(&conn) {
            below.channels.remove(&channel.id);
            below.leave_group(channel.group, key);
            if let Some(request) = channel.request {
                below.requests.remove(&request);
            }
            if !below.has_channels() {
                below.since = now;
                let at = now + self.settings.no_channel_timeout;
                self.wake(at);
            }
        }
        if channel.is_known_below() {
            let extended = channel.is_extended();
            out.push(Output::Event(Event::Closed { extended }));
        }
        for class in self.classes.values_mut() {
            class.queue.remove(&key);
        }
        match channel.seat {
            Seat::Queued => {}
            Seat::Asked { line, request } => {
                let asked = self
                    .lines
                    .get_mut(&line)
                    .and_then(|above| above.asked.get_mut(&request));
                if let Some(asked) = asked {
                    asked.key = None;
                }
            }
            Seat::Open { line, id, group, .. } => {
                let unanswered = channel.unseat(now).len();
                if let Some(above) = self.lines.get_mut(&line) {
                    above.channels.remove(&id);
                    above.leave_group(group, conn, key);
                    above.answered(now, unanswered);
                    above.customs.retain(|_, custom| custom.key != key);
                    let idle = above.is_idle();
                    if let Some(reason_code) = reason {
                        let channel_id = id;
                        up(
                            line,
                            CloseChannel {
                                channel_id,
                                reason_code,
                            },
                            out,
                        );
                    }
                    if idle {
                        self.wake(now + IDLE);
                    }
                }
            }
        }
    }

    /// A share for a channel that the device does not have. One that goes on and on has not understood that its channel
    /// was closed: it has to come again.
    pub(super) fn stray(&mut self, now: Time, conn: Conn, out: &mut Vec<Output>) {
        let (after_close, most) = (
            self.settings.refused_after_move_max,
            self.settings.refused_in_a_row_max,
        );
        let Some(below) = self.conns.get_mut(&conn) else {
            return;
        };
        below.strays = below.strays.saturating_add(1);
        let limit = if below.has_channels() { most } else { after_close };
        if limit > 0 && below.strays >= limit {
            let fault = Fault::Misbehaved("too many shares for channels that are closed");
            self.cut(now, conn, fault, out);
        }
    }

    /// A share for a channel that the device has.
    pub(super) fn not_stray(&mut self, conn: Conn) {
        if let Some(below) = self.conns.get_mut(&conn) {
            below.strays = 0;
        }
    }

    pub(super) fn malformed(
        &mut self,
        conn: Conn,
        channel_id: u32,
        sequence_number: u32,
        out: &mut Vec<Output>,
    ) {
        let message = SubmitSharesError {
            channel_id,
            sequence_number,
            error_code: refusal::SubmitShares::InvalidUserIdentity.into(),
        };
        out.push(Output::Event(Event::Withheld));
        self.tell(conn, message, out);
    }
}

/// A message to an upstream.
pub(super) fn up(line: super::Line, message: impl Into<ToServer>, out: &mut Vec<Output>) {
    out.push(Output::Above {
        line,
        message: message.into(),
        worker: None,
    });
}
