//! A request for a channel is answered: the first time its device is told of it, later what is different.

use adit_wire::mining::{
    CloseChannel, OpenExtendedMiningChannelSuccess, OpenMiningChannelError, OpenStandardMiningChannelSuccess,
    SetExtranoncePrefix, SetTarget, ToClient,
};
use adit_wire::{B0_32, U256, refusal};

use super::below::up;
use super::channel::{Channel, Key, Seat};
use super::{Conn, Event, Hang, Line, Output, Relay, endpoint_changed};
use crate::Time;

/// What Success says about a channel of either kind.
pub(super) struct Opened {
    request: u32,
    id: u32,
    target: U256,
    prefix: B0_32,
    size: Option<u16>,
    group: u32,
}

impl Relay {
    pub(super) fn opened(
        &mut self,
        now: Time,
        line: Line,
        it: &Opened,
        out: &mut Vec<Output>,
    ) -> Result<(), Hang> {
        let Some(above) = self.lines.get_mut(&line) else {
            return Ok(());
        };
        let asked = above.asked.remove(&it.request);
        let asked = asked.ok_or(Hang::Misbehaved("a channel was opened that nobody asked for"))?;
        let taken = above.channels.contains_key(&it.id) || above.groups.contains_key(&it.id);
        if taken || it.group == it.id || above.channels.contains_key(&it.group) {
            self.requeue(asked.key);
            return Err(Hang::Misbehaved("an id was given twice"));
        }
        let Some((key, channel)) = asked
            .key
            .and_then(|key| Some((key, self.channels.get_mut(&key)?)))
        else {
            // The device is gone meanwhile.
            let reason_code = refusal::CloseChannel::Done.into();
            let channel_id = it.id;
            up(
                line,
                CloseChannel {
                    channel_id,
                    reason_code,
                },
                out,
            );
            return Ok(());
        };
        let fill = match (channel.wish.size, it.size) {
            (None, None) => Some(0),
            (Some(wanted), Some(size)) if it.prefix.len() + usize::from(size) <= B0_32::MAX => {
                size.checked_sub(wanted).and_then(|fill| u8::try_from(fill).ok())
            }
            _ => None,
        };
        let Some(fill) = fill else {
            self.requeue(Some(key));
            return Err(Hang::Misbehaved("the channel is not the one that was asked for"));
        };
        let first = channel.request.is_some();
        // What a device rolls at first is all that it is given, and stays as long as that.
        let fill = if first { 0 } else { fill };
        if first {
            channel.wish.size = it.size;
        }
        let retried = channel.refusals > 0;
        channel.refusals = 0;
        channel.seat = Seat::Open {
            line,
            id: it.id,
            group: it.group,
            fill,
        };
        channel.born = self.last_job;
        let conn = channel.conn;
        above.channels.insert(it.id, key);
        let group = above.groups.entry(it.group).or_default();
        group.members.entry(conn).or_default().insert(key);
        self.note_use(line);
        if retried {
            self.note_limit(line);
        }
        match first {
            true => self.introduce(line, key, it, out),
            false => self.move_over(key, it, fill, out),
        }
        let tell_at = self.channels.get(&key).and_then(Channel::tell_at);
        if let Some(at) = tell_at {
            self.wake(at.max(now));
        }
        Ok(())
    }

    /// A channel whose answer could not be used waits again.
    fn requeue(&mut self, key: Option<Key>) {
        let channel = key.and_then(|key| Some((key, self.channels.get_mut(&key)?)));
        if let Some((key, channel)) = channel {
            channel.seat = Seat::Queued;
            let flags = self.conns.get(&channel.conn).map(|below| below.flags);
            if let Some(class) = flags.and_then(|flags| self.classes.get_mut(&flags)) {
                class.queue.insert(key);
            }
        }
    }

    /// The device's first answer: the channel is open, under ids of its own connection.
    fn introduce(&mut self, line: Line, key: Key, it: &Opened, out: &mut Vec<Output>) {
        let Some((conn, id)) = self.channels.get(&key).map(|channel| (channel.conn, channel.id)) else {
            return;
        };
        let group_channel_id = self.group_below(line, it.group, conn, key);
        let (Some(channel), Some(below)) = (self.channels.get_mut(&key), self.conns.get_mut(&conn)) else {
            return;
        };
        let request_id = channel.request.take().unwrap_or_default();
        channel.group = group_channel_id;
        channel.prefix = it.prefix;
        below.requests.remove(&request_id);
        below.channels.insert(id, key);
        below.groups.entry(group_channel_id).or_default().insert(key);
        let extended = channel.is_extended();
        out.push(Output::Event(Event::Opened { extended }));
        let message: ToClient = match it.size {
            None => OpenStandardMiningChannelSuccess {
                request_id,
                channel_id: id,
                target: it.target,
                extranonce_prefix: it.prefix,
                group_channel_id,
            }
            .into(),
            Some(extranonce_size) => OpenExtendedMiningChannelSuccess {
                request_id,
                channel_id: id,
                target: it.target,
                extranonce_size,
                extranonce_prefix: it.prefix,
                group_channel_id,
            }
            .into(),
        };
        self.tell(conn, message, out);
    }

    /// The group of a connection below for members of this group above: the one that all others of them are in, or a new
    /// one.
    fn group_below(&mut self, line: Line, group: u32, conn: Conn, key: Key) -> u32 {
        let others = self
            .lines
            .get(&line)
            .and_then(|above| above.groups.get(&group)?.members.get(&conn))
            .map(|members| {
                let mut members = members.clone();
                members.remove(&key);
                members
            })
            .unwrap_or_default();
        let common = others
            .first()
            .and_then(|key| self.channels.get(key))
            .map(|channel| channel.group);
        let Some(below) = self.conns.get_mut(&conn) else {
            return 0;
        };
        match common.filter(|group| below.groups.get(group) == Some(&others)) {
            Some(group) => group,
            None => below.name(),
        }
    }

    /// A channel that the device has stands elsewhere now: it is told what is different there. Its job and tip follow.
    fn move_over(&mut self, key: Key, it: &Opened, fill: u8, out: &mut Vec<Output>) {
        let Some(channel) = self.channels.get_mut(&key) else {
            return;
        };
        let (conn, channel_id) = (channel.conn, channel.id);
        let header_only = self.conns.get(&conn).is_some_and(|below| below.is_header_only());
        let prefix = filled(&it.prefix, fill);
        let moved = prefix != channel.prefix;
        channel.prefix = prefix;
        channel.refused_in_a_row = 0;
        channel.refused_after_move = (!header_only).then_some(0);
        if channel.carried {
            let frame = endpoint_changed(channel_id);
            out.push(Output::BelowFrame { conn, frame });
        }
        // Whoever mines headers only has never used a prefix.
        if moved && !header_only {
            let message = SetExtranoncePrefix {
                channel_id,
                extranonce_prefix: prefix,
            };
            self.tell(conn, message, out);
        }
        let maximum_target = it.target;
        self.tell(
            conn,
            SetTarget {
                channel_id,
                maximum_target,
            },
            out,
        );
        out.push(Output::Event(Event::Moved));
    }

    pub(super) fn open_refused(
        &mut self,
        now: Time,
        line: Line,
        it: OpenMiningChannelError,
        out: &mut Vec<Output>,
    ) -> Result<(), Hang> {
        let asked = self
            .lines
            .get_mut(&line)
            .and_then(|above| above.asked.remove(&it.request_id));
        let asked = asked.ok_or(Hang::Misbehaved("a channel was refused that nobody asked for"))?;
        let Some(key) = asked.key else { return Ok(()) };
        if self.may_be_full(line, key) {
            return Ok(());
        }
        let Some(channel) = self.channels.get_mut(&key) else {
            return Ok(());
        };
        channel.seat = Seat::Queued;
        let (conn, channel_id) = (channel.conn, channel.id);
        match channel.request {
            Some(request_id) => self.tell(conn, OpenMiningChannelError { request_id, ..it }, out),
            None => {
                let reason_code = refusal::CloseChannel::UpstreamLost.into();
                self.tell(
                    conn,
                    CloseChannel {
                        channel_id,
                        reason_code,
                    },
                    out,
                );
            }
        }
        self.drop_channel(now, key, None, out);
        Ok(())
    }
}

/// The prefix as a device sees it: zeros stand in for what it does not roll.
pub(super) fn filled(prefix: &B0_32, fill: u8) -> B0_32 {
    let fill = usize::from(fill).min(B0_32::MAX);
    let whole = [prefix.as_bytes(), &[0; B0_32::MAX][..fill]].concat();
    B0_32::new(&whole).unwrap_or(*prefix)
}

pub(super) fn standard(it: &OpenStandardMiningChannelSuccess) -> Opened {
    Opened {
        request: it.request_id,
        id: it.channel_id,
        target: it.target,
        prefix: it.extranonce_prefix,
        size: None,
        group: it.group_channel_id,
    }
}

pub(super) fn extended(it: &OpenExtendedMiningChannelSuccess) -> Opened {
    Opened {
        request: it.request_id,
        id: it.channel_id,
        target: it.target,
        prefix: it.extranonce_prefix,
        size: Some(it.extranonce_size),
        group: it.group_channel_id,
    }
}
