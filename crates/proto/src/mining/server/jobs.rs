//! From work to jobs: what is sent when, and which jobs are still good.

use super::channel::{Channel, Channels};
use super::custom::Kept;
use super::{Event, JobFrame, Kind, Output, Server, Settings};
use crate::extranonce::Slot;
use crate::job::Job;
use crate::plan::Plan;
use crate::target::Target;
use crate::{Fault, Time};
use adit_wire::mining::{NewMiningJob, SetExtranoncePrefix, SetNewPrevHash, SetTarget, ToClient};
use adit_wire::types::{B0_32, U256};
use std::collections::VecDeque;
use std::sync::Arc;

/// Jobs on one tip whose shares are good; older ones are stale. At a new template every 30 seconds
/// that is eight minutes: more than any device keeps (spec 5.3.16, C-83).
pub const JOBS_PER_TIP: usize = 16;

/// Custom jobs of a connection on one tip whose shares are good; older ones are stale.
pub const CUSTOM_JOBS_MAX: usize = 32;

/// Custom jobs of the former tip of which the share that made the present one is still taken.
const FORMER_CUSTOMS_MAX: usize = 4;

/// The jobs of a connection. Ids start at 1, count up and are never reused.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// Newest work, sent or not.
    newest: Option<Arc<Job>>,
    /// Counts the works up.
    round: u32,
    /// Jobs on the present tip, oldest first.
    entries: VecDeque<Entry>,
    /// Custom jobs on the present tip, oldest first.
    customs: VecDeque<Entry>,
    /// The newest custom jobs on the former tip.
    former: VecDeque<Entry>,
    /// The newest custom job that had to go for others.
    custom_gone: u32,
    last_id: u32,
}

/// A job that was sent.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) id: u32,
    /// Header time that it started with, seconds.
    pub(super) min_ntime: u32,
    pub(super) job: Arc<Job>,
    /// Number of the plan whose channels may work on it.
    pub(super) plan: u32,
    /// The work that it was made of.
    round: u32,
    /// Of a custom job: who may work on it, and what it pays.
    pub(super) custom: Option<Arc<Kept>>,
}

/// Where to find a job that was once sent.
pub(super) enum Found<'a> {
    /// Active or past.
    Good(&'a Entry),
    /// A custom job on the former tip: good for nothing but the block that ended it.
    Former(&'a Entry),
    /// It was sent and has ended.
    Stale,
    /// It was never sent.
    Unknown,
}

impl Book {
    pub(super) fn tip(&self) -> u64 {
        self.newest.as_ref().map_or(0, |job| job.tip())
    }

    pub(super) const fn newest(&self) -> Option<&Arc<Job>> {
        self.newest.as_ref()
    }

    #[inline]
    pub(super) fn find(&self, id: u32) -> Found<'_> {
        // Nearly every share is of one of the newest jobs.
        if let Some(entry) = self.entries.back().filter(|entry| entry.id == id) {
            return Found::Good(entry);
        }
        if let Ok(place) = self.entries.binary_search_by_key(&id, |entry| entry.id)
            && let Some(entry) = self.entries.get(place)
        {
            return Found::Good(entry);
        }
        if let Some(entry) = self.customs.iter().rev().find(|entry| entry.id == id) {
            return Found::Good(entry);
        }
        if let Some(entry) = self.former.iter().rev().find(|entry| entry.id == id) {
            return Found::Former(entry);
        }
        if id != 0 && id <= self.custom_gone {
            return Found::Stale;
        }
        match self.entries.front() {
            Some(oldest) if id > oldest.id => Found::Unknown,
            _ if id == 0 || id > self.last_id => Found::Unknown,
            _ => Found::Stale,
        }
    }

    /// The active job of a plan; noted now if no channel needed it before.
    fn active(&mut self, number: u32, plan: &Plan) -> Result<Option<Entry>, Fault> {
        let Some(job) = &self.newest else {
            return Ok(None);
        };
        let mut present = self
            .entries
            .iter()
            .rev()
            .take_while(|entry| entry.round == self.round);
        if let Some(entry) = present.find(|entry| entry.plan == number) {
            return Ok(Some(entry.clone()));
        }
        match job.of_plan(plan) {
            Some(job) => self.enter(number, job).map(Some),
            None => Ok(None),
        }
    }

    fn enter(&mut self, plan: u32, job: Arc<Job>) -> Result<Entry, Fault> {
        let entry = Entry {
            id: self.next_id()?,
            min_ntime: job.start_ntime(),
            job,
            plan,
            round: self.round,
            custom: None,
        };
        let gone = |oldest: &Entry| self.round - oldest.round >= JOBS_PER_TIP as u32;
        while self.entries.front().is_some_and(gone) {
            self.entries.pop_front();
        }
        self.entries.push_back(entry.clone());
        Ok(entry)
    }

    /// Enters a custom job; gives its id. The oldest goes when there are too many.
    pub(super) fn keep(&mut self, kept: Kept) -> Result<u32, Fault> {
        let (id, job) = (self.next_id()?, Arc::clone(&kept.promise.job));
        if self.customs.len() >= CUSTOM_JOBS_MAX
            && let Some(oldest) = self.customs.pop_front()
        {
            self.custom_gone = oldest.id;
        }
        self.customs.push_back(Entry {
            id,
            min_ntime: job.start_ntime(),
            job,
            plan: 0,
            round: self.round,
            custom: Some(Arc::new(kept)),
        });
        Ok(id)
    }

    fn next_id(&mut self) -> Result<u32, Fault> {
        let next = self.last_id.checked_add(1);
        self.last_id = next.ok_or(Fault::Expired("all job ids of the connection are used up"))?;
        Ok(self.last_id)
    }

    /// Every earlier job is stale; of custom jobs, all but the block that made the new tip.
    fn turn(&mut self) {
        self.entries.clear();
        self.former = std::mem::take(&mut self.customs);
        let old = self.former.len().saturating_sub(FORMER_CUSTOMS_MAX);
        self.former.drain(..old);
    }

    /// The oldest job of which a share may still be good.
    fn oldest(&self, active: &Entry) -> u32 {
        self.former.front().map_or(active.id, |former| former.id)
    }

    fn renew(&mut self, job: Arc<Job>) {
        self.newest = Some(job);
        self.round = self.round.wrapping_add(1);
        if self.round == 0 {
            // Once in 4,294,967,296 works.
            self.turn();
        }
    }
}

impl Server {
    /// Newer work: jobs for all channels.
    pub(super) fn work(&mut self, now: Time, job: Arc<Job>, out: &mut Vec<Output>) -> Result<(), Fault> {
        let before = self.book.newest.as_ref().map(|job| job.tip());
        if !job.serves(self.slot.default_size()) {
            return Ok(());
        }
        let turned = before != Some(job.tip());
        if turned {
            self.seen.turn_to(&job.fields().prev_hash);
            self.book.turn();
        }
        let hardest = self.book.newest.as_ref().map(|job| job.share_work_max());
        let turned_or_bound = turned || hardest != Some(job.share_work_max());
        self.book.renew(job);
        for (number, plan) in self.plans.iter() {
            // Where no job can be made the channels of the plan wait for the next work.
            let Some(entry) = self.book.active(number, plan)? else {
                continue;
            };
            let channels = &mut self.channels;
            if turned_or_bound {
                let oldest = self.book.oldest(&entry);
                bound_all(
                    now,
                    channels,
                    &self.settings,
                    &entry,
                    turned.then_some(oldest),
                    out,
                );
            }
            if !self.header_only {
                send_to_groups(channels, &entry, turned, out);
            }
            send_to_single_channels(channels, &self.slot, self.header_only, &entry, turned, out);
        }
        Ok(())
    }

    /// The first job of a channel that was just opened, if there is work (spec 5.3.15).
    pub(super) fn send_first_job(&mut self, channel_id: u32, out: &mut Vec<Output>) -> Result<(), Fault> {
        let Some(channel) = self.channels.find_mut(channel_id) else {
            return Ok(());
        };
        let plan = self.plans.find(channel.plan);
        let entry = plan.map_or(Ok(None), |plan| self.book.active(channel.plan, plan))?;
        if let Some(entry) = entry {
            send_first(channel, &entry, &self.slot, out);
        }
        Ok(())
    }

    /// Makes a channel's target what its work calls for. A target covers only jobs sent after it (spec
    /// 5.3.21), so the active job is sent again under a new number.
    pub(super) fn retarget(&mut self, channel_id: u32, out: &mut Vec<Output>) -> Result<(), Fault> {
        let Some(channel) = self.channels.find_mut(channel_id) else {
            return Ok(());
        };
        let target = channel.wanted_target();
        if channel.term().is_some_and(|term| term.target == target) {
            return Ok(());
        }
        let plan = self
            .plans
            .find(channel.plan)
            .filter(|_| channel.first_job.is_some());
        let sent = plan.map_or(Ok(None), |plan| self.book.active(channel.plan, plan))?;
        let Some(entry) = sent else {
            channel.retarget(0, None, target);
            tell_target(channel, target, out);
            return Ok(());
        };
        let job_id = self.book.next_id()?;
        channel.retarget(job_id, Some(entry.id), target);
        tell_target(channel, target, out);
        send_job(channel, &entry, job_id, Some(entry.min_ntime), &self.slot, out);
        Ok(())
    }

    /// Gives a channel a new prefix of the same size for its later jobs (spec 5.3.10).
    pub(super) fn move_extranonce(&mut self, channel_id: u32, out: &mut Vec<Output>) {
        let tip = self.book.tip();
        let Some(channel) = self.channels.find_mut(channel_id) else {
            return;
        };
        let Some(old) = channel.term().map(|term| term.number) else {
            return;
        };
        let Some(number) = self
            .numbers
            .lease(tip)
            .and_then(|number| u16::try_from(number).ok())
        else {
            return;
        };
        channel.renumber(self.book.last_id.saturating_add(1), number);
        self.numbers.release(old.into(), tip);
        let whole = channel.fixed_extranonce(&self.slot, number);
        let extranonce_prefix = B0_32::new(channel.prefix_bytes(&whole)).unwrap_or_default();
        let message = SetExtranoncePrefix {
            channel_id,
            extranonce_prefix,
        };
        out.push(Output::Send(ToClient::SetExtranoncePrefix(message)));
    }
}

/// A block may have become easier than a share: no share is harder than a block. Forgets what only jobs before `oldest`
/// needed.
fn bound_all(
    now: Time,
    channels: &mut Channels,
    settings: &Settings,
    entry: &Entry,
    oldest: Option<u32>,
    out: &mut Vec<Output>,
) {
    for channel in channels.iter_mut().filter(|it| it.plan == entry.plan) {
        let bounds = channel.bounds(settings, Some(&entry.job));
        if channel.vardiff.bound(now, bounds) {
            let target = channel.wanted_target();
            channel.retarget(entry.id, None, target);
            tell_target(channel, target, out);
        }
        if let Some(oldest) = oldest {
            channel.forget_terms_before(oldest);
        }
    }
}

/// One message for all members of a group that have had their first job (spec 5.3.16).
fn send_to_groups(channels: &Channels, entry: &Entry, turned: bool, out: &mut Vec<Output>) {
    for (group, mut members) in channels.groups(entry.plan) {
        let channel_id = match (members.next(), members.next()) {
            (None, _) => continue,
            // Simple devices look for their own id only, and it costs the same.
            (Some(only), None) if only.kind == Kind::Extended => only.id,
            _ => group.id,
        };
        let min_ntime = (!turned).then_some(entry.min_ntime);
        let job = Arc::clone(&entry.job);
        out.push(Output::Job(JobFrame {
            channel_id,
            job_id: entry.id,
            min_ntime,
            job,
            size: group.size,
        }));
        if turned {
            out.push(start(channel_id, entry));
        }
    }
}

/// Channels that no group message reaches: on header-only connections, and those that still wait for their first job.
fn send_to_single_channels(
    channels: &mut Channels,
    slot: &Slot,
    header_only: bool,
    entry: &Entry,
    turned: bool,
    out: &mut Vec<Output>,
) {
    for channel in channels.iter_mut().filter(|it| it.plan == entry.plan) {
        if channel.first_job.is_none() {
            send_first(channel, entry, slot, out);
        } else if header_only {
            let min_ntime = (!turned).then_some(entry.min_ntime);
            send_job(channel, entry, entry.id, min_ntime, slot, out);
            if turned {
                out.push(start(channel.id, entry));
            }
        }
    }
}

/// A future job and the message that starts it: the first that a channel gets (REQ-MIN-028..030).
fn send_first(channel: &mut Channel, entry: &Entry, slot: &Slot, out: &mut Vec<Output>) {
    channel.first_job = Some(entry.id);
    send_job(channel, entry, entry.id, None, slot, out);
    out.push(start(channel.id, entry));
}

/// The job for one channel alone, in the form of its kind.
fn send_job(
    channel: &mut Channel,
    entry: &Entry,
    job_id: u32,
    min_ntime: Option<u32>,
    slot: &Slot,
    out: &mut Vec<Output>,
) {
    let channel_id = channel.id;
    if channel.kind == Kind::Extended {
        let job = Arc::clone(&entry.job);
        out.push(Output::Job(JobFrame {
            channel_id,
            job_id,
            min_ntime,
            job,
            size: channel.size,
        }));
        return;
    }
    let Some(number) = channel.term().map(|term| term.number) else {
        return;
    };
    let merkle_root = U256(channel.head(&entry.job, entry.id, slot, number).merkle_root());
    let version = entry.job.fields().version;
    let message = NewMiningJob {
        channel_id,
        job_id,
        min_ntime,
        version,
        merkle_root,
    };
    out.push(Output::Send(ToClient::NewMiningJob(message)));
}

/// SetNewPrevHash for a job that was sent as future job (spec 5.3.17).
fn start(channel_id: u32, entry: &Entry) -> Output {
    let fields = entry.job.fields();
    Output::Send(ToClient::SetNewPrevHash(SetNewPrevHash {
        channel_id,
        job_id: entry.id,
        prev_hash: U256(fields.prev_hash),
        min_ntime: entry.min_ntime,
        nbits: fields.nbits,
    }))
}

/// SetTarget for one channel, and the news of it (spec 5.3.21).
fn tell_target(channel: &Channel, target: Target, out: &mut Vec<Output>) {
    let channel_id = channel.id;
    let message = SetTarget {
        channel_id,
        maximum_target: U256(target.0),
    };
    out.push(Output::Send(ToClient::SetTarget(message)));
    let hash_rate = channel.vardiff.hash_rate();
    out.push(Output::Event(Event::Retargeted {
        channel_id,
        work: target.share_work(),
        hash_rate,
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coinbase::Coinbase;
    use crate::job::Fields;

    fn job() -> Arc<Job> {
        let coinbase = Coinbase {
            version: 2,
            script_prefix: vec![1],
            tag: Vec::new(),
            start_epoch: 0,
            sequence: 0,
            value: 0,
            outputs: Vec::new(),
            required_outputs: Vec::new(),
            locktime: 0,
            witness: None,
        };
        let fields = Fields {
            tip: 1,
            template: 1,
            version: 0,
            version_rolling_allowed: true,
            prev_hash: [1; 32],
            nbits: 0x1d00_ffff,
            header_timestamp: 0,
            min_ntime: 0,
            merkle_path: Vec::new(),
            coinbase: coinbase.into(),
            share_work_max: None,
            block_target: None,
            publish: true,
        };
        Arc::new(Job::new(fields).unwrap())
    }

    /// REQ-MIN-072
    #[test]
    fn the_last_job_id_is_used_once_and_then_the_connection_ends() {
        let mut book = Book {
            last_id: u32::MAX - 2,
            ..Book::default()
        };
        assert_eq!(book.enter(1, job()).unwrap().id, u32::MAX - 1);
        assert_eq!(book.enter(1, job()).unwrap().id, u32::MAX);
        assert!(matches!(book.enter(1, job()), Err(Fault::Expired(_))));
        assert!(matches!(book.find(u32::MAX), Found::Good(_)));
    }
}
