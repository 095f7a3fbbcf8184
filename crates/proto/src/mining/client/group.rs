//! Groups: one message for many channels (spec 5.2.3).

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use adit_wire::mining::{CloseChannel, NewExtendedMiningJob, SetGroupChannel, SetNewPrevHash};

use super::channel::{Channel, Tip};
use super::work::Coinbase;
use super::{Client, Event, FUTURE_JOBS_MAX, Output};
use crate::{Fault, Time};

/// A group and what it was told. A channel that joins later inherits both.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pub(super) members: BTreeSet<u32>,
    pub(super) tip: Option<Tip>,
    /// Future jobs by id, oldest first.
    future: VecDeque<(u32, Arc<Coinbase>)>,
}

impl Group {
    fn keep(&mut self, job_id: u32, coinbase: Arc<Coinbase>) {
        self.future.retain(|(other, _)| *other != job_id);
        if self.future.len() >= FUTURE_JOBS_MAX {
            self.future.pop_front();
        }
        self.future.push_back((job_id, coinbase));
    }

    fn named(&self, job_id: u32) -> Option<Arc<Coinbase>> {
        self.future
            .iter()
            .find(|(other, _)| *other == job_id)
            .map(|(_, coinbase)| Arc::clone(coinbase))
    }
}

impl Client {
    /// NewExtendedMiningJob for a channel or a group (REQ-MIN-071, REQ-MIN-073).
    pub(super) fn extended_job(
        &mut self,
        now: Time,
        job: NewExtendedMiningJob,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        let (id, job_id, min_ntime) = (job.channel_id, job.job_id, job.min_ntime);
        let coinbase = Arc::new(Coinbase::new(job));
        let to_group = self.groups.contains_key(&id);
        if let Some(group) = self.groups.get_mut(&id) {
            if min_ntime.is_none() {
                group.keep(job_id, Arc::clone(&coinbase));
            }
        } else if self
            .channels
            .get(&id)
            .is_some_and(|channel| channel.is_standard())
        {
            return Err(Fault::Misbehaved("an extended job for a standard channel"));
        }
        let mut result = Ok(());
        self.members(id, |_, channel| {
            // A member that has only just joined gets its first previous block on its own.
            if to_group && min_ntime.is_some() && !channel.has_tip() {
                return;
            }
            let taken = channel.extended_job(now, job_id, min_ntime, Arc::clone(&coinbase), out);
            result = result.clone().and(taken);
        });
        result
    }

    /// SetNewPrevHash for a channel or a group: nobody mines the old tip after it.
    pub(super) fn new_prev_hash(
        &mut self,
        now: Time,
        it: &SetNewPrevHash,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        let tip = Tip::new(now, it);
        let kept = self.groups.get_mut(&it.channel_id).and_then(|group| {
            let kept = group.named(it.job_id);
            group.tip = Some(tip);
            group.future.clear();
            kept
        });
        let (mut reached, mut started) = (0u32, 0u32);
        self.members(it.channel_id, |_, channel| {
            let job = channel.named(it.job_id, kept.as_ref());
            reached += 1;
            started += u32::from(job.is_some());
            channel.new_tip(tip, job, out);
        });
        if reached > 0 && started == 0 {
            return Err(Fault::Misbehaved(
                "SetNewPrevHash names a job that was not sent as future job",
            ));
        }
        Ok(())
    }

    pub(super) fn closed(&mut self, it: &CloseChannel, out: &mut Vec<Output>) {
        let members = match self.groups.get(&it.channel_id) {
            Some(group) => group.members.iter().copied().collect(),
            None => vec![it.channel_id],
        };
        for channel in members {
            if self.forget(channel) {
                out.push(Output::Event(Event::Closed {
                    channel,
                    reason: it.reason_code.clone(),
                }));
            }
        }
    }

    /// Forgets a channel; false if it is not known.
    pub(super) fn forget(&mut self, id: u32) -> bool {
        let Some(channel) = self.channels.remove(&id) else {
            return false;
        };
        self.leave(channel.group, id);
        true
    }

    /// Takes a channel out of its group. A group without members has nothing to say to anybody.
    pub(super) fn leave(&mut self, group_id: u32, channel: u32) {
        if let Some(group) = self.groups.get_mut(&group_id) {
            group.members.remove(&channel);
            if group.members.is_empty() {
                self.groups.remove(&group_id);
            }
        }
    }

    /// Lets a channel, or every member of a group, do something.
    pub(super) fn members(&mut self, id: u32, mut act: impl FnMut(u32, &mut Channel)) {
        match self.groups.get(&id) {
            Some(group) => {
                for member in &group.members {
                    if let Some(channel) = self.channels.get_mut(member) {
                        act(*member, channel);
                    }
                }
            }
            None => {
                if let Some(channel) = self.channels.get_mut(&id) {
                    act(id, channel);
                }
            }
        }
    }

    pub(super) fn set_group(&mut self, it: &SetGroupChannel) -> Result<(), Fault> {
        if self.channels.contains_key(&it.group_channel_id) {
            return Err(Fault::Misbehaved("a group has the id of a channel"));
        }
        for id in &it.channel_ids {
            let Some(channel) = self.channels.get_mut(id) else {
                continue;
            };
            let old = std::mem::replace(&mut channel.group, it.group_channel_id);
            if old != it.group_channel_id {
                self.groups
                    .entry(it.group_channel_id)
                    .or_default()
                    .members
                    .insert(*id);
                self.leave(old, *id);
            }
        }
        Ok(())
    }
}
