//! Channels: opened, updated, closed (spec 5.3.2 to 5.3.9).

use super::channel::{Channel, bounds};
use super::{AccountId, Event, Kind, Output, Server};
use crate::extranonce::FullSize;
use crate::target::Target;
use crate::vardiff::Vardiff;
use crate::{Fault, Time};
use adit_wire::mining::{
    CloseChannel, OpenExtendedMiningChannel, OpenExtendedMiningChannelSuccess, OpenMiningChannelError,
    OpenStandardMiningChannel, OpenStandardMiningChannelSuccess, ToClient, UpdateChannel, UpdateChannelError,
};
use adit_wire::refusal;
use adit_wire::types::{B0_32, Str0_255, U256};
use core::time::Duration;

/// A claim of another hash rate is followed at most this often; the shares tell anyway.
const CLAIM_EVERY: Duration = Duration::from_secs(1);

/// A claim within this factor of what the shares say is no news.
const CLAIM_FACTOR: f64 = 2.0;

/// What both kinds of opening have in common.
struct Request {
    kind: Kind,
    request_id: u32,
    user_identity: Str0_255,
    nominal_hash_rate: f32,
    max_target: U256,
    size: Result<FullSize, refusal::OpenMiningChannel>,
}

impl Server {
    pub(super) fn open_standard(
        &mut self,
        now: Time,
        open: OpenStandardMiningChannel,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        let OpenStandardMiningChannel {
            request_id,
            user_identity,
            nominal_hash_rate,
            max_target,
        } = open;
        let size = (!self.extended_only).then(|| self.slot.default_size());
        let size = size.ok_or(refusal::OpenMiningChannel::StandardChannelsNotSupported);
        let kind = Kind::Standard;
        self.open(
            now,
            Request {
                kind,
                request_id,
                user_identity,
                nominal_hash_rate,
                max_target,
                size,
            },
            out,
        )
    }

    pub(super) fn open_extended(
        &mut self,
        now: Time,
        open: OpenExtendedMiningChannel,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        let OpenExtendedMiningChannel {
            request_id,
            user_identity,
            nominal_hash_rate,
            max_target,
            min_extranonce_size,
        } = open;
        let size = if self.header_only {
            Err(refusal::OpenMiningChannel::ExtendedChannelsNotSupportedForStandardJobs)
        } else {
            let size = self.slot.rolling(min_extranonce_size);
            size.ok_or(refusal::OpenMiningChannel::MinExtranonceSizeTooLarge)
        };
        let kind = Kind::Extended;
        self.open(
            now,
            Request {
                kind,
                request_id,
                user_identity,
                nominal_hash_rate,
                max_target,
                size,
            },
            out,
        )
    }

    fn open(&mut self, now: Time, request: Request, out: &mut Vec<Output>) -> Result<(), Fault> {
        match self.admit(now, &request, out) {
            Ok(channel) => {
                self.welcome(&channel, request, out);
                let channel_id = channel.id;
                self.look_by(channel.vardiff.deadline());
                self.empty_since = None;
                self.channels.push(channel);
                self.send_first_job(channel_id, out)
            }
            Err(refusal) => {
                let message = OpenMiningChannelError {
                    request_id: request.request_id,
                    error_code: refusal.into(),
                };
                out.push(Output::Send(ToClient::OpenMiningChannelError(message)));
                out.push(Output::Event(Event::OpenRefused(refusal)));
                Ok(())
            }
        }
    }

    /// All checks, the free ones first; nothing is taken before the last one passed.
    fn admit(
        &mut self,
        now: Time,
        request: &Request,
        out: &mut Vec<Output>,
    ) -> Result<Channel, refusal::OpenMiningChannel> {
        use refusal::OpenMiningChannel as No;
        if self.draining {
            return Err(No::NotReady);
        }
        if self.channels.len() >= self.settings.channels_max {
            return Err(No::TooManyChannels);
        }
        let size = request.size?;
        if !is_hash_rate(request.nominal_hash_rate) {
            return Err(No::InvalidNominalHashRate);
        }
        let user = core::str::from_utf8(&request.user_identity).map_err(|_| No::InvalidUserIdentity)?;
        let target_max = Target(request.max_target.0);
        if !is_reachable(&target_max) {
            return Err(No::MaxTargetOutOfRange);
        }
        let plan = self.settings.plan(user, self.bytes_max).map_err(|why| {
            out.push(Output::Event(Event::UnknownUser {
                user_identity: request.user_identity.clone(),
                why: why.into(),
            }));
            No::UnknownUser
        })?;
        let number = self
            .numbers
            .lease(self.book.tip())
            .and_then(|number| u16::try_from(number).ok());
        let number = number.ok_or(No::ExtranonceSpaceExhausted)?;
        let solo = plan.is_solo();
        let plan = self.plans.enter(plan);
        // Ids run out only at the end of a connection: what was taken goes with it.
        let group_id = self.channels.group_for(size, plan).ok_or(No::TooManyChannels)?;
        let id = self.channels.next_id().ok_or(No::TooManyChannels)?;
        let bounds = bounds(&self.settings, &target_max, self.book.newest().map(|job| &**job));
        let vardiff = Vardiff::new(now, request.nominal_hash_rate, self.settings.aim(1), bounds);
        let account = AccountId::of(&request.user_identity);
        Ok(Channel::new(
            now,
            id,
            group_id,
            (plan, solo),
            request.kind,
            size,
            account,
            target_max,
            vardiff,
            number,
        ))
    }

    fn welcome(&self, channel: &Channel, request: Request, out: &mut Vec<Output>) {
        let Some(term) = channel.term() else { return };
        let whole = channel.fixed_extranonce(&self.slot, term.number);
        let extranonce_prefix = B0_32::new(channel.prefix_bytes(&whole)).unwrap_or_default();
        let (request_id, channel_id, group_channel_id) = (request.request_id, channel.id, channel.group_id);
        let target = U256(term.target.0);
        out.push(Output::Send(match channel.kind {
            Kind::Standard => ToClient::OpenStandardMiningChannelSuccess(OpenStandardMiningChannelSuccess {
                request_id,
                channel_id,
                target,
                extranonce_prefix,
                group_channel_id,
            }),
            Kind::Extended => ToClient::OpenExtendedMiningChannelSuccess(OpenExtendedMiningChannelSuccess {
                request_id,
                channel_id,
                target,
                extranonce_size: channel.size.rolled() as u16,
                extranonce_prefix,
                group_channel_id,
            }),
        }));
        out.push(Output::Event(Event::Opened {
            channel_id,
            kind: channel.kind,
            user_identity: request.user_identity,
            account: channel.account,
            target: term.target,
            nominal_hash_rate: request.nominal_hash_rate,
        }));
    }

    /// UpdateChannel: a valid one is followed without an answer (spec 5.3.7, REQ-MIN-034..036).
    pub(super) fn update(
        &mut self,
        now: Time,
        update: &UpdateChannel,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        let channel_id = update.channel_id;
        if let Err(refusal) = self.follow_update(now, update) {
            let message = UpdateChannelError {
                channel_id,
                error_code: refusal.into(),
            };
            out.push(Output::Send(ToClient::UpdateChannelError(message)));
            return Ok(());
        }
        self.retarget(channel_id, out)
    }

    fn follow_update(&mut self, now: Time, update: &UpdateChannel) -> Result<(), refusal::UpdateChannel> {
        use refusal::UpdateChannel as No;
        let newest = self.book.newest().map(|job| &**job);
        let channel = self
            .channels
            .find_mut(update.channel_id)
            .ok_or(No::InvalidChannelId)?;
        if !is_hash_rate(update.nominal_hash_rate) {
            return Err(No::InvalidNominalHashRate);
        }
        let target_max = Target(update.maximum_target.0);
        if !is_reachable(&target_max) {
            return Err(No::MaxTargetOutOfRange);
        }
        channel.target_max = target_max;
        let bounds = channel.bounds(&self.settings, newest);
        let (claim, known) = (f64::from(update.nominal_hash_rate), channel.vardiff.hash_rate());
        let is_news = known == 0.0 || claim > known * CLAIM_FACTOR || claim < known / CLAIM_FACTOR;
        if is_news && channel.claimed_at + CLAIM_EVERY <= now {
            channel.claimed_at = now;
            let aim = self.settings.aim(channel.crowd.factor());
            channel
                .vardiff
                .claimed(now, update.nominal_hash_rate, aim, bounds);
            let look = channel.vardiff.deadline();
            self.look_by(look);
        } else {
            channel.vardiff.bound(now, bounds);
        }
        Ok(())
    }

    /// The peer closed a channel or a group: both sides forget it (spec 5.3.9, C-65).
    pub(super) fn closed_from_there(&mut self, now: Time, id: u32, out: &mut Vec<Output>) {
        let tip = self.book.tip();
        for channel in self.channels.remove(id) {
            self.forget_workers(channel.id);
            self.plans.leave(channel.plan);
            if let Some(term) = channel.term() {
                self.numbers.release(term.number.into(), tip);
            }
            out.push(Output::Event(Event::Closed {
                channel_id: channel.id,
            }));
        }
        if self.channels.is_empty() {
            self.empty_since.get_or_insert(now);
            self.next_look = None;
        }
    }

    /// This side closes a channel or a group.
    pub(super) fn close_from_here(
        &mut self,
        now: Time,
        id: u32,
        reason: refusal::CloseChannel,
        out: &mut Vec<Output>,
    ) {
        if self
            .channels
            .iter()
            .any(|channel| channel.id == id || channel.group_id == id)
        {
            let message = CloseChannel {
                channel_id: id,
                reason_code: reason.into(),
            };
            out.push(Output::Send(ToClient::CloseChannel(message)));
            self.closed_from_there(now, id, out);
        }
    }

    /// Closes all channels one by one: not every device knows groups.
    pub(super) fn close_all(&mut self, now: Time, reason: refusal::CloseChannel, out: &mut Vec<Output>) {
        self.draining = true;
        self.flush_all_acks(out);
        let ids: Vec<u32> = self.channels.iter().map(|channel| channel.id).collect();
        for id in ids {
            self.close_from_here(now, id, reason, out);
        }
    }

    /// Wakes for difficulty no later than `time`.
    pub(super) fn look_by(&mut self, time: Time) {
        if self.settings.vardiff {
            self.next_look = Some(self.next_look.map_or(time, |next| next.min(time)));
        }
    }
}

/// Finite and not negative; zero is a proxy without devices (REQ-MIN-024).
fn is_hash_rate(rate: f32) -> bool {
    rate.is_finite() && rate >= 0.0
}

/// Whether a share at this target can be counted: its work fits a record.
fn is_reachable(target: &Target) -> bool {
    target.work() <= u128::from(u64::MAX)
}
