//! A transparent proxy: every channel below has a channel of its own above, on connections that many share (spec 5.2,
//! 5.3, 3.4.1).
//!
//! ```text
//!   devices                      Relay                         one upstream at a time
//!   conn 1: channels 1, 2  ─┐                    ┌─ line 7 (flags 0): channels 40, 41, 42, group 1
//!   conn 2: channel 1      ─┼── ids, request ids ┤
//!   conn 3: channel 1      ─┘   and job ids      └─ line 8 (REQUIRES_STANDARD_JOBS): channel 3
//! ```
//!
//! * Devices with other needs (SetupConnection.flags) are on other lines, and are told what the upstream requires.
//! * Ids of channels and groups are each connection's own. Job ids are ours and never used twice, so that a share finds
//!   its way to the upstream that gave its job or to none.
//! * One message to a group above becomes one message to each connection below whose group is in it as a whole, and one
//!   to each channel where it is not.
//! * When a line is lost, or another upstream is turned to, its channels are asked for again; a device is told a new
//!   prefix and target, a future job and its tip. It is never told more zeros than one: what it rolls stays as long as
//!   it was. What waited for an answer is refused, and shares of old jobs are stale until then.
//!
//! Nothing is judged here: whatever can be told to the upstream is told, and its answer is the answer.

mod above;
mod below;
mod channel;
mod customs;
mod door;
mod jobs;
mod line;
mod lines;
mod look;
mod opened;
mod seats;
mod shares;

use std::collections::{BTreeMap, BTreeSet};

use adit_wire::common::flags;
use adit_wire::mining::ToClient;
use adit_wire::{Header, Message};

pub use door::{Conn, Event, Hang, Input, Line, Output, Settings, readdress};

use crate::extension::{Route, forward, route};
use crate::{Fault, Time};
use below::Below;
use channel::{Channel, Key, Seat};
use line::Above;
use seats::Class;

/// Future jobs kept for a group of an upstream; the oldest gives way.
pub const FUTURE_JOBS_MAX: usize = 16;
/// Largest job frame that small devices take (ESP-Miner): above it, channels that can do with less get less.
pub const FRAME_BYTES_MAX: usize = 8 * 1024;
/// Most branches of a job that small devices hold. No block can have more than 15.
pub const BRANCHES_MAX: usize = 20;

/// The flags of the mining protocol that a device can ask for; each combination has lines of its own.
pub const FLAGS_KNOWN: u32 =
    flags::REQUIRES_STANDARD_JOBS | flags::REQUIRES_WORK_SELECTION | flags::REQUIRES_VERSION_ROLLING;

/// The machine between devices and one upstream at a time.
#[derive(Clone, Debug)]
pub struct Relay {
    settings: Settings,
    conns: BTreeMap<Conn, Below>,
    lines: BTreeMap<Line, Above>,
    channels: BTreeMap<Key, Channel>,
    /// By the flags that devices need.
    classes: BTreeMap<u32, Class>,
    last_key: Key,
    last_line: u64,
    last_job: u32,
    /// When something may be due.
    next_look: Option<Time>,
}

impl Relay {
    /// Nobody below, and nothing above.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            conns: BTreeMap::new(),
            lines: BTreeMap::new(),
            channels: BTreeMap::new(),
            classes: BTreeMap::new(),
            last_key: 0,
            last_line: 0,
            last_job: 0,
            next_look: None,
        }
    }

    /// The one door. What is wrong with one connection is told as [`Output::Cut`] or [`Output::Hang`] of that one.
    pub fn handle(&mut self, now: Time, input: Input<'_>, out: &mut Vec<Output>) {
        match input {
            Input::Join { conn, flags } => self.join(now, conn, flags, out),
            Input::Below {
                conn,
                message,
                worker,
            } => self.below(now, conn, message, worker, out),
            Input::Malformed {
                conn,
                channel_id,
                sequence_number,
            } => self.malformed(conn, channel_id, sequence_number, out),
            Input::BelowOther {
                conn,
                header,
                payload,
            } => self.below_other(conn, &header, payload, out),
            Input::BelowChanged { conn, channel_id } => self.below_changed(conn, channel_id, out),
            Input::Left { conn } => self.left(now, conn, out),
            Input::Up { line, success_flags } => self.up(now, line, success_flags, out),
            Input::Refused { line, flags } => self.refused_line(now, line, flags, out),
            Input::Above { line, message } => self.above(now, line, message, out),
            Input::AboveOther {
                line,
                header,
                payload,
            } => self.above_other(now, line, &header, payload, out),
            Input::AboveChanged { line, channel_id } => self.above_changed(line, channel_id, out),
            Input::Gone { line } => self.gone(now, line, out),
            Input::Turn => self.turn(now, out),
            Input::Deadline => self.look(now, out),
        }
        self.seat_all(now, out);
    }

    /// When [`Input::Deadline`] is wanted.
    #[must_use]
    pub const fn deadline(&self) -> Option<Time> {
        self.next_look
    }

    /// Whether nobody needs this connection above: it has no channel, and none was asked for.
    #[must_use]
    pub fn is_idle(&self, line: Line) -> bool {
        self.lines.get(&line).is_none_or(Above::is_idle)
    }

    /// Flags that devices are waiting with, or have: what the next connection above will ask for. None: nobody is here.
    #[must_use]
    pub fn demand(&self) -> Option<u32> {
        self.classes
            .iter()
            .filter(|(_, class)| class.is_wanted())
            .max_by_key(|(_, class)| class.members.len())
            .map(|(flags, _)| *flags)
    }

    /// Open channels below: standard and extended ones.
    #[must_use]
    pub fn channel_counts(&self) -> (usize, usize) {
        let known = self.channels.values().filter(|channel| channel.is_known_below());
        let (extended, standard): (Vec<_>, Vec<_>) = known.partition(|channel| channel.is_extended());
        (standard.len(), extended.len())
    }

    /// Connections above that are set up, or on their way.
    #[must_use]
    pub fn line_count(&self) -> usize {
        self.lines.len()
    }

    fn wake(&mut self, at: Time) {
        self.next_look = Some(self.next_look.map_or(at, |next| next.min(at)));
    }

    /// A job id that was never used: a wrap would take more jobs than a proxy lives to see, and starts again at 1.
    const fn name_job(&mut self) -> u32 {
        self.last_job = match self.last_job.checked_add(1) {
            Some(next) => next,
            None => 1,
        };
        self.last_job
    }

    fn tell(&self, conn: Conn, message: impl Into<ToClient>, out: &mut Vec<Output>) {
        let message = message.into();
        out.push(Output::Below { conn, message });
    }

    /// A message of an unknown extension on its way up (REQ-EXT-005).
    fn below_other(&mut self, conn: Conn, header: &Header, payload: &[u8], out: &mut Vec<Output>) {
        let Some(below) = self.conns.get(&conn) else {
            return;
        };
        let channels = &self.channels;
        let key = |id| below.channels.get(&id).copied();
        let mapped = |id| match channels.get(&key(id)?)?.seat {
            Seat::Open { id, .. } => Some(id),
            _ => None,
        };
        let Route::Forward { channel_id } = route(header, payload, |_| false, mapped) else {
            return;
        };
        let Some(channel) = first_id(payload)
            .and_then(key)
            .and_then(|key| self.channels.get_mut(&key))
        else {
            return;
        };
        channel.carried = true;
        if let Seat::Open { line, .. } = channel.seat {
            let mut frame = Vec::new();
            forward(header, payload, channel_id, &mut frame);
            out.push(Output::AboveFrame { line, frame });
        }
    }

    /// The same on its way down.
    fn above_other(&mut self, now: Time, line: Line, header: &Header, payload: &[u8], out: &mut Vec<Output>) {
        let Some(above) = self.lines.get_mut(&line) else {
            return;
        };
        (above.heard, above.asked_if_there) = (now, false);
        let channels = &self.channels;
        let key = |id| above.channels.get(&id).copied();
        let mapped = |id| channels.get(&key(id)?).map(|channel| channel.id);
        let Route::Forward { channel_id } = route(header, payload, |_| false, mapped) else {
            return;
        };
        let Some(channel) = first_id(payload)
            .and_then(key)
            .and_then(|key| self.channels.get_mut(&key))
        else {
            return;
        };
        channel.carried = true;
        let (mut frame, conn) = (Vec::new(), channel.conn);
        forward(header, payload, channel_id, &mut frame);
        out.push(Output::BelowFrame { conn, frame });
    }

    /// What is behind a channel of a proxy below has changed: whoever has spoken with it must know (spec 3.6.4).
    fn below_changed(&mut self, conn: Conn, channel_id: u32, out: &mut Vec<Output>) {
        let key = self
            .conns
            .get(&conn)
            .and_then(|below| below.channels.get(&channel_id));
        let Some(channel) = key.and_then(|key| self.channels.get(key)) else {
            return;
        };
        if let (true, Seat::Open { line, id, .. }) = (channel.carried, channel.seat) {
            let frame = endpoint_changed(id);
            out.push(Output::AboveFrame { line, frame });
        }
    }

    fn above_changed(&mut self, line: Line, channel_id: u32, out: &mut Vec<Output>) {
        let key = self
            .lines
            .get(&line)
            .and_then(|above| above.channels.get(&channel_id));
        let Some(channel) = key.and_then(|key| self.channels.get(key)) else {
            return;
        };
        if channel.carried {
            let (conn, frame) = (channel.conn, endpoint_changed(channel.id));
            out.push(Output::BelowFrame { conn, frame });
        }
    }

    fn cut(&mut self, now: Time, conn: Conn, fault: Fault, out: &mut Vec<Output>) {
        if self.conns.contains_key(&conn) {
            out.push(Output::Cut { conn, fault });
            self.left(now, conn, out);
        }
    }

    /// The members of a group above, each as it is to be addressed: a connection whose own group is in it as a whole by
    /// that group, any other by its channels.
    fn addressees(&self, line: Line, group: u32) -> Vec<(Conn, u32)> {
        let mut all = Vec::new();
        let members = self
            .lines
            .get(&line)
            .and_then(|above| above.groups.get(&group))
            .map(|group| &group.members);
        for (conn, keys) in members.into_iter().flatten() {
            match self.whole_group(*conn, keys) {
                Some(group) => all.push((*conn, group)),
                None => all.extend(
                    keys.iter()
                        .filter_map(|key| Some((*conn, self.channels.get(key)?.id))),
                ),
            }
        }
        all
    }

    /// The group below that has exactly these members, where groups mean something to the device.
    fn whole_group(&self, conn: Conn, keys: &BTreeSet<Key>) -> Option<u32> {
        let below = self.conns.get(&conn)?;
        if below.is_header_only() {
            return None;
        }
        let group = self.channels.get(keys.first()?)?.group;
        (below.groups.get(&group)? == keys).then_some(group)
    }
}

/// ChannelEndpointChanged as a frame: no mining message, so that it has no place in their enum.
fn endpoint_changed(channel_id: u32) -> Vec<u8> {
    let mut frame = Vec::new();
    adit_wire::common::ChannelEndpointChanged { channel_id }.encode_frame(&mut frame);
    frame
}

fn first_id(payload: &[u8]) -> Option<u32> {
    payload.first_chunk().map(|id| u32::from_le_bytes(*id))
}
