//! The upstream's side: what it answers and says, for one channel or for many.

use adit_wire::mining::{CloseChannel, SetExtranoncePrefix, SetGroupChannel, ToClient, UpdateChannelError};
use adit_wire::{B0_32, Seq0_64K};

use super::channel::{Key, Seat};
use super::opened::{extended, filled, standard};
use super::{Conn, Hang, Line, Output, Relay};
use crate::Time;

impl Relay {
    /// A message of an upstream. One that breaks the protocol loses that connection.
    pub(super) fn above(&mut self, now: Time, line: Line, message: ToClient, out: &mut Vec<Output>) {
        let Some(above) = self.lines.get_mut(&line) else {
            return;
        };
        (above.heard, above.asked_if_there) = (now, false);
        if let Err(why) = self.message(now, line, message, out) {
            self.hang(now, line, why, out);
        }
    }

    fn message(
        &mut self,
        now: Time,
        line: Line,
        message: ToClient,
        out: &mut Vec<Output>,
    ) -> Result<(), Hang> {
        match message {
            ToClient::OpenStandardMiningChannelSuccess(it) => {
                return self.opened(now, line, &standard(&it), out);
            }
            ToClient::OpenExtendedMiningChannelSuccess(it) => {
                return self.opened(now, line, &extended(&it), out);
            }
            ToClient::OpenMiningChannelError(it) => return self.open_refused(now, line, it, out),
            ToClient::NewMiningJob(it) => return self.job(line, it, out),
            ToClient::NewExtendedMiningJob(it) => return self.extended_job(line, it, out),
            ToClient::SetNewPrevHash(it) => return self.new_prev_hash(line, &it, out),
            ToClient::SetTarget(it) => self.set_target(line, &it, out),
            ToClient::SetExtranoncePrefix(it) => return self.set_prefix(line, &it, out),
            ToClient::SetGroupChannel(it) => return self.set_group(line, &it, out),
            ToClient::CloseChannel(it) => self.closed(now, line, &it, out),
            ToClient::SubmitSharesSuccess(it) => self.accepted(now, line, it, out),
            ToClient::SubmitSharesError(it) => self.rejected(now, line, it, out),
            ToClient::UpdateChannelError(it) => self.update_refused(line, it, out),
            ToClient::SetCustomMiningJobSuccess(it) => self.custom_accepted(line, &it, out),
            ToClient::SetCustomMiningJobError(it) => self.custom_refused(line, it, out),
        }
        Ok(())
    }

    fn set_prefix(
        &mut self,
        line: Line,
        it: &SetExtranoncePrefix,
        out: &mut Vec<Output>,
    ) -> Result<(), Hang> {
        let Some(channel) = self.channel_above(line, it.channel_id) else {
            return Ok(());
        };
        let Seat::Open { fill, .. } = channel.seat else {
            return Ok(());
        };
        let rolled = usize::from(channel.wish.size.unwrap_or(0)) + usize::from(fill);
        if it.extranonce_prefix.len() + rolled > B0_32::MAX {
            return Err(Hang::Misbehaved(
                "the channel's extranonce is longer than 32 bytes",
            ));
        }
        channel.prefix = filled(&it.extranonce_prefix, fill);
        let message = SetExtranoncePrefix {
            channel_id: channel.id,
            extranonce_prefix: channel.prefix,
        };
        let conn = channel.conn;
        self.tell(conn, message, out);
        Ok(())
    }

    /// Channels go to another group: each connection below is told of its own (REQ-MIN-101), unless it has no use for
    /// groups (REQ-MIN-011).
    fn set_group(&mut self, line: Line, it: &SetGroupChannel, out: &mut Vec<Output>) -> Result<(), Hang> {
        let Some(above) = self.lines.get_mut(&line) else {
            return Ok(());
        };
        if above.channels.contains_key(&it.group_channel_id) {
            return Err(Hang::Misbehaved("a group has the id of a channel"));
        }
        let mut touched: Vec<Conn> = Vec::new();
        for id in it.channel_ids.iter() {
            let Some(key) = above.channels.get(id).copied() else {
                continue;
            };
            let Some(channel) = self.channels.get_mut(&key) else {
                continue;
            };
            let Seat::Open { group, fill, .. } = channel.seat else {
                continue;
            };
            if group == it.group_channel_id {
                continue;
            }
            // Its old group's jobs are still its own.
            if let Some(old) = above.groups.get(&group) {
                channel.jobs.extend(&old.jobs);
            }
            above.leave_group(group, channel.conn, key);
            let (id, group) = (*id, it.group_channel_id);
            channel.seat = Seat::Open {
                line,
                id,
                group,
                fill,
            };
            channel.born = self.last_job;
            let members = above
                .groups
                .entry(group)
                .or_default()
                .members
                .entry(channel.conn)
                .or_default();
            members.insert(key);
            touched.push(channel.conn);
        }
        touched.sort_unstable();
        touched.dedup();
        for conn in touched {
            self.regroup(line, it.group_channel_id, conn, out);
        }
        Ok(())
    }

    /// All members of a group above that one connection has become one group of its own.
    fn regroup(&mut self, line: Line, group: u32, conn: Conn, out: &mut Vec<Output>) {
        let keys = self
            .lines
            .get(&line)
            .and_then(|above| above.groups.get(&group)?.members.get(&conn))
            .cloned()
            .unwrap_or_default();
        let Some(below) = self.conns.get_mut(&conn) else {
            return;
        };
        if below.is_header_only() || keys.is_empty() {
            return;
        }
        let name = below.name();
        let mut ids = Vec::new();
        for key in &keys {
            if let Some(channel) = self.channels.get_mut(key) {
                below.leave_group(channel.group, *key);
                channel.group = name;
                ids.push(channel.id);
            }
        }
        below.groups.insert(name, keys);
        let channel_ids = Seq0_64K::new(ids).unwrap_or_default();
        let group_channel_id = name;
        self.tell(
            conn,
            SetGroupChannel {
                group_channel_id,
                channel_ids,
            },
            out,
        );
    }

    /// Of a channel or of all channels of a group (REQ-MIN-042).
    fn closed(&mut self, now: Time, line: Line, it: &CloseChannel, out: &mut Vec<Output>) {
        let keys: Vec<Key> = match self.key_above(line, it.channel_id) {
            Some(key) => vec![key],
            None => {
                let above = self.lines.get(&line);
                let group = above.and_then(|above| above.groups.get(&it.channel_id));
                let members = group.into_iter().flat_map(|group| group.members.values());
                members.flatten().copied().collect()
            }
        };
        let single = |key: &Key| self.channels.get(key).map(|channel| (channel.conn, channel.id));
        let to = match keys.as_slice() {
            [key] => single(key).into_iter().collect(),
            _ => self.addressees(line, it.channel_id),
        };
        self.fan(it, to, out);
        for key in keys {
            self.drop_channel(now, key, None, out);
        }
    }

    fn update_refused(&mut self, line: Line, it: UpdateChannelError, out: &mut Vec<Output>) {
        if let Some(channel) = self.channel_above(line, it.channel_id) {
            let (conn, channel_id) = (channel.conn, channel.id);
            self.tell(conn, UpdateChannelError { channel_id, ..it }, out);
        }
    }
}
