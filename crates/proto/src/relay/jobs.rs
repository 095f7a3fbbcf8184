//! Jobs and tips down: one message to a group above reaches every device that is in it.

use std::collections::BTreeSet;
use std::sync::Arc;

use adit_wire::Message;
use adit_wire::mining::{NewExtendedMiningJob, NewMiningJob, SetNewPrevHash, SetTarget};

use super::channel::{Channel, Job, Key};
use super::line::Given;
use super::{BRANCHES_MAX, Conn, Event, FRAME_BYTES_MAX, Hang, Line, Output, Relay};
use crate::mining::client::Coinbase;

impl Relay {
    /// NewMiningJob: of one channel (REQ-MIN-070).
    pub(super) fn job(&mut self, line: Line, it: NewMiningJob, out: &mut Vec<Output>) -> Result<(), Hang> {
        let ours = self.name_job();
        let Some(channel) = self.channel_above(line, it.channel_id) else {
            return Ok(());
        };
        if channel.is_extended() {
            return Err(Hang::Misbehaved("a header-only job for an extended channel"));
        }
        channel.jobs.push(Job {
            ours,
            theirs: it.job_id,
        });
        let (conn, channel_id) = (channel.conn, channel.id);
        let message = NewMiningJob {
            channel_id,
            job_id: ours,
            ..it
        };
        self.tell(conn, message, out);
        Ok(())
    }

    /// NewExtendedMiningJob: of a channel or a group (REQ-MIN-071, REQ-MIN-073).
    pub(super) fn extended_job(
        &mut self,
        line: Line,
        it: NewExtendedMiningJob,
        out: &mut Vec<Output>,
    ) -> Result<(), Hang> {
        let id = it.channel_id;
        let given = given(self.name_job(), it);
        out.push(Output::Event(Event::Job { bytes: given.bytes }));
        if let Some(channel) = self.channel_above(line, id) {
            if !channel.is_extended() {
                return Err(Hang::Misbehaved("an extended job for a standard channel"));
            }
            channel.jobs.push(given.job);
            let (conn, channel_id) = (channel.conn, channel.id);
            let message = NewExtendedMiningJob {
                channel_id,
                ..given.message.clone()
            };
            self.note_size(&given, out);
            self.tell(conn, message, out);
            return Ok(());
        }
        let above = self.lines.get_mut(&line);
        let Some(group) = above.and_then(|above| above.groups.get_mut(&id)) else {
            return Ok(());
        };
        group.jobs.push(given.job);
        if given.message.min_ntime.is_none() {
            group.keep(given.clone());
        }
        self.spread_job(line, id, &given, out);
        Ok(())
    }

    /// Gives a job of a group to its members: as one message to each group below, where that fits all devices of it.
    fn spread_job(&self, line: Line, group: u32, given: &Given, out: &mut Vec<Output>) {
        let members = self
            .lines
            .get(&line)
            .and_then(|above| above.groups.get(&group))
            .map(|group| &group.members);
        let small = is_small(given);
        let mut to = Vec::new();
        let mut single = Vec::new();
        for (conn, keys) in members.into_iter().flatten() {
            match self.whole_group(*conn, keys).filter(|_| small) {
                Some(group) => to.push((*conn, group)),
                None => self.singly(*conn, keys, given, &mut to, &mut single),
            }
        }
        if to.iter().any(|_| !small) {
            self.note_size(given, out);
        }
        self.fan(&given.message, to, out);
        out.append(&mut single);
    }

    /// One message to each channel: extended ones get the job as it is, standard ones its root (REQ-MIN-074, REQ-MIN-075).
    fn singly(
        &self,
        conn: Conn,
        keys: &BTreeSet<Key>,
        given: &Given,
        to: &mut Vec<(Conn, u32)>,
        single: &mut Vec<Output>,
    ) {
        for channel in keys.iter().filter_map(|key| self.channels.get(key)) {
            match channel.is_extended() {
                true => to.push((conn, channel.id)),
                false => self.tell(conn, header_only(channel, given), single),
            }
        }
    }

    /// SetNewPrevHash: of a channel or a group. What it names must have been given as a future job (REQ-MIN-082).
    pub(super) fn new_prev_hash(
        &mut self,
        line: Line,
        it: &SetNewPrevHash,
        out: &mut Vec<Output>,
    ) -> Result<(), Hang> {
        const UNKNOWN: Hang = Hang::Misbehaved("SetNewPrevHash names a job that was not sent as future job");
        let Some(above) = self.lines.get_mut(&line) else {
            return Ok(());
        };
        if let Some(key) = above.channels.get(&it.channel_id).copied() {
            let Some(channel) = self.channels.get(&key) else {
                return Ok(());
            };
            if let Some(ours) = channel.jobs.ours(it.job_id) {
                self.start(key, it, ours, out);
                return Ok(());
            }
            // Given to its group before, perhaps.
            let group = channel.seat_group().and_then(|group| above.groups.get(&group));
            let kept = group.and_then(|group| Some((group.jobs.ours(it.job_id)?, group.future(it.job_id))));
            let (ours, given) = kept.ok_or(UNKNOWN)?;
            let missed = given.filter(|_| channel.born >= ours).cloned();
            if let Some(given) = missed {
                self.catch_up(key, &given, out);
            }
            self.start(key, it, ours, out);
            return Ok(());
        }
        let Some(group) = above.groups.get_mut(&it.channel_id) else {
            return Ok(());
        };
        let given = group.start(it.job_id).ok_or(UNKNOWN)?;
        self.start_group(line, it, &given, out);
        Ok(())
    }

    /// A group's future job begins. Members that came after it was given get it first.
    fn start_group(&mut self, line: Line, it: &SetNewPrevHash, given: &Given, out: &mut Vec<Output>) {
        let members = self
            .lines
            .get(&line)
            .and_then(|above| above.groups.get(&it.channel_id))
            .map(|group| group.members.clone());
        let ours = given.job.ours;
        let mut to = Vec::new();
        for (conn, keys) in members.into_iter().flatten() {
            let late: Vec<Key> = keys
                .iter()
                .copied()
                .filter(|key| self.channels.get(key).is_some_and(|channel| channel.born >= ours))
                .collect();
            for key in &late {
                self.catch_up(*key, given, out);
            }
            match self.whole_group(conn, &keys).filter(|_| late.is_empty()) {
                Some(group) => to.push((conn, group)),
                None => to.extend(
                    keys.iter()
                        .filter_map(|key| Some((conn, self.channels.get(key)?.id))),
                ),
            }
        }
        let message = SetNewPrevHash {
            job_id: ours,
            ..it.clone()
        };
        self.fan(&message, to, out);
    }

    /// Gives a channel a job of its group that it has missed.
    fn catch_up(&mut self, key: Key, given: &Given, out: &mut Vec<Output>) {
        let Some(channel) = self.channels.get_mut(&key) else {
            return;
        };
        channel.jobs.push(given.job);
        let Some(channel) = self.channels.get(&key) else {
            return;
        };
        match channel.is_extended() {
            true => {
                let channel_id = channel.id;
                let message = NewExtendedMiningJob {
                    channel_id,
                    ..given.message.clone()
                };
                self.tell(channel.conn, message, out);
            }
            false => self.tell(channel.conn, header_only(channel, given), out),
        }
    }

    fn start(&self, key: Key, it: &SetNewPrevHash, ours: u32, out: &mut Vec<Output>) {
        if let Some(channel) = self.channels.get(&key) {
            let message = SetNewPrevHash {
                channel_id: channel.id,
                job_id: ours,
                ..it.clone()
            };
            self.tell(channel.conn, message, out);
        }
    }

    /// SetTarget: of a channel or a group (REQ-MIN-097).
    pub(super) fn set_target(&self, line: Line, it: &SetTarget, out: &mut Vec<Output>) {
        let to = match self.key_above(line, it.channel_id) {
            Some(key) => self
                .channels
                .get(&key)
                .map(|channel| (channel.conn, channel.id))
                .into_iter()
                .collect(),
            None => self.addressees(line, it.channel_id),
        };
        self.fan(it, to, out);
    }

    /// One frame for all, where there is anybody.
    pub(super) fn fan(&self, message: &impl Message, to: Vec<(Conn, u32)>, out: &mut Vec<Output>) {
        if !to.is_empty() {
            let mut frame = Vec::new();
            message.encode_frame(&mut frame);
            out.push(Output::Fan { frame, to });
        }
    }

    fn note_size(&self, given: &Given, out: &mut Vec<Output>) {
        if !is_small(given) {
            out.push(Output::Event(Event::Oversized {
                bytes: given.bytes,
                branches: given.coinbase.path.len(),
            }));
        }
    }

    pub(super) fn key_above(&self, line: Line, id: u32) -> Option<Key> {
        self.lines.get(&line)?.channels.get(&id).copied()
    }

    pub(super) fn channel_above(&mut self, line: Line, id: u32) -> Option<&mut Channel> {
        let key = self.key_above(line, id)?;
        self.channels.get_mut(&key)
    }
}

fn given(ours: u32, it: NewExtendedMiningJob) -> Given {
    let job = Job {
        ours,
        theirs: it.job_id,
    };
    let message = NewExtendedMiningJob { job_id: ours, ..it };
    let mut frame = Vec::new();
    message.encode_frame(&mut frame);
    Given {
        job,
        bytes: frame.len(),
        coinbase: Arc::new(Coinbase::new(message.clone())),
        message,
    }
}

/// Whether small devices can hold it.
fn is_small(given: &Given) -> bool {
    given.bytes <= FRAME_BYTES_MAX && given.coinbase.path.len() <= BRANCHES_MAX
}

/// The job for a standard channel: it has one extranonce, so the job has one root for it.
fn header_only(channel: &Channel, given: &Given) -> NewMiningJob {
    NewMiningJob {
        channel_id: channel.id,
        job_id: given.job.ours,
        min_ntime: given.message.min_ntime,
        version: given.message.version,
        merkle_root: given.coinbase.merkle_root(&channel.prefix, &[]),
    }
}
