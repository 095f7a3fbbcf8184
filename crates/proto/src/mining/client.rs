//! The miner's side of a mining connection (spec 5): opens channels, follows jobs, sends shares.
//!
//! ```text
//!   Open --> OpenStandard/ExtendedMiningChannel .. Success --> Event::Opened
//!   NewMiningJob, NewExtendedMiningJob: future -> kept until SetNewPrevHash names it
//!                                       now    -> Output::Work on the last previous block
//!   SetNewPrevHash: the named job becomes Work, every other job is dropped
//!   SetTarget, SetExtranoncePrefix: for what comes later
//!   Share --> SubmitSharesStandard/Extended, numbered .. Success / Error --> Event::Accepted / Rejected
//! ```
//!
//! One machine serves all channels of a connection. A message to a group reaches each of its members.

mod channel;
mod custom;
mod door;
mod group;
mod work;

use std::collections::BTreeMap;

use adit_wire::common::flags;
use adit_wire::mining::{
    CloseChannel, OpenExtendedMiningChannel, OpenExtendedMiningChannelSuccess, OpenMiningChannelError,
    OpenStandardMiningChannel, OpenStandardMiningChannelSuccess, SubmitSharesError, SubmitSharesSuccess,
    ToClient, UpdateChannel, UpdateChannelError,
};
use adit_wire::{B0_32, Str0_255, U256};

use crate::{Fault, Time};
use channel::Channel;
use custom::Waiting;
use group::Group;

pub use custom::CUSTOM_WAITING_MAX;
pub use door::{Event, Input, Kind, Open, Output, Settings, Share, VERSION_MASK_DEFAULT, Withheld};
pub use work::{Coinbase, Root, Work};

/// Future jobs kept for a channel or group; the oldest gives way.
pub const FUTURE_JOBS_MAX: usize = 16;

/// Jobs on the present tip for which shares are still sent; the oldest gives way.
pub const ACTIVE_JOBS_MAX: usize = 128;

/// The client of one mining connection.
#[derive(Clone, Debug)]
pub struct Client {
    settings: Settings,
    next_request: u32,
    requests: BTreeMap<u32, Request>,
    channels: BTreeMap<u32, Channel>,
    groups: BTreeMap<u32, Group>,
    /// Jobs of our own without an answer, by request.
    customs: BTreeMap<u32, Waiting>,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    kind: Kind,
    until: Time,
}

/// What Success says about a channel of either kind.
struct Opened {
    request: u32,
    channel: u32,
    target: U256,
    extranonce_prefix: B0_32,
    extranonce_size: Option<u16>,
    group: u32,
}

impl Client {
    /// A machine for a connection that was just set up.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let (requests, channels, groups) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self {
            settings,
            next_request: 0,
            requests,
            channels,
            groups,
            customs: BTreeMap::new(),
        }
    }

    /// The one door.
    ///
    /// # Errors
    /// `Misbehaved` when the server breaks the protocol so that its work cannot be followed, `Expired` when it
    /// does not answer an open request in time.
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) -> Result<(), Fault> {
        match input {
            Input::Message(message) => return self.message(now, message, out),
            Input::Deadline => return self.expire(now, out),
            Input::Custom { message, since } => self.custom(now, *message, since, out),
            Input::Open(open) => self.open(now, open, out),
            Input::Update {
                channel,
                nominal_hash_rate,
                max_target,
            } => {
                self.update(channel, nominal_hash_rate, max_target, out);
            }
            Input::Close { channel, reason } => self.close(channel, reason, out),
            Input::Share(share) => self.share(now, &share, out),
        }
        Ok(())
    }

    /// When [`Input::Deadline`] is wanted.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let requests = self.requests.values().map(|request| request.until);
        let customs = self.customs.values().map(|waiting| waiting.until);
        requests.chain(customs).min()
    }

    /// Channels that are open.
    #[must_use]
    pub fn channel_count(&self) -> usize {
        self.channels.len()
    }

    fn message(&mut self, now: Time, message: ToClient, out: &mut Vec<Output>) -> Result<(), Fault> {
        match message {
            ToClient::OpenStandardMiningChannelSuccess(it) => self.opened(standard(&it), out),
            ToClient::OpenExtendedMiningChannelSuccess(it) => self.opened(extended(&it), out),
            ToClient::OpenMiningChannelError(it) => self.open_refused(it, out),
            ToClient::NewMiningJob(it) => {
                self.with_channel(it.channel_id, |channel| channel.job(now, &it, out))
            }
            ToClient::NewExtendedMiningJob(it) => self.extended_job(now, it, out),
            ToClient::SetNewPrevHash(it) => self.new_prev_hash(now, &it, out),
            ToClient::SetTarget(it) => {
                let target = it.maximum_target;
                self.members(it.channel_id, |channel, settled| {
                    settled.set_target(target);
                    out.push(Output::Event(Event::Target { channel, target }));
                });
                Ok(())
            }
            ToClient::SetExtranoncePrefix(it) => {
                let (channel, prefix) = (it.channel_id, it.extranonce_prefix);
                self.with_channel(channel, |settled| {
                    settled.set_extranonce_prefix(prefix)?;
                    out.push(Output::Event(Event::ExtranoncePrefix { channel, prefix }));
                    Ok(())
                })
            }
            ToClient::SetGroupChannel(it) => self.set_group(&it),
            ToClient::CloseChannel(it) => {
                self.closed(&it, out);
                Ok(())
            }
            ToClient::SubmitSharesSuccess(it) => {
                self.accepted(&it, out);
                Ok(())
            }
            ToClient::SubmitSharesError(it) => {
                self.rejected(it, out);
                Ok(())
            }
            ToClient::UpdateChannelError(UpdateChannelError {
                channel_id,
                error_code,
            }) => {
                out.push(Output::Event(Event::UpdateRefused {
                    channel: channel_id,
                    code: error_code,
                }));
                Ok(())
            }
            ToClient::SetCustomMiningJobSuccess(it) => {
                self.custom_accepted(&it, out);
                Ok(())
            }
            ToClient::SetCustomMiningJobError(it) => {
                self.custom_refused(it, out);
                Ok(())
            }
        }
    }

    fn expire(&mut self, now: Time, out: &mut Vec<Output>) -> Result<(), Fault> {
        self.customs_expire(now, out);
        match self.requests.values().map(|request| request.until).min() {
            Some(until) if now >= until => Err(Fault::Expired("no answer to a channel request in time")),
            _ => Ok(()),
        }
    }

    fn open(&mut self, now: Time, open: Open, out: &mut Vec<Output>) {
        let extended_only = self.settings.success_flags & flags::REQUIRES_EXTENDED_CHANNELS != 0;
        if extended_only && open.kind == Kind::Standard {
            return out.push(Output::Event(Event::Withheld(Withheld::StandardChannel)));
        }
        if self.channels.len() + self.requests.len() >= self.settings.channels_max {
            return out.push(Output::Event(Event::Withheld(Withheld::TooManyChannels)));
        }
        let request_id = self.next_request;
        self.next_request = request_id.wrapping_add(1);
        let until = now + self.settings.answer_timeout;
        self.requests.insert(
            request_id,
            Request {
                kind: open.kind,
                until,
            },
        );
        let Open {
            kind,
            user_identity,
            nominal_hash_rate,
            max_target,
        } = open;
        out.push(Output::Send(match kind {
            Kind::Standard => OpenStandardMiningChannel {
                request_id,
                user_identity,
                nominal_hash_rate,
                max_target,
            }
            .into(),
            Kind::Extended { min_extranonce_size } => OpenExtendedMiningChannel {
                request_id,
                user_identity,
                nominal_hash_rate,
                max_target,
                min_extranonce_size,
            }
            .into(),
        }));
    }

    fn opened(&mut self, it: Opened, out: &mut Vec<Output>) -> Result<(), Fault> {
        let Some(request) = self.requests.remove(&it.request) else {
            return Err(Fault::Misbehaved("a channel was opened that nobody asked for"));
        };
        check(&request.kind, &it)?;
        if self.channels.contains_key(&it.channel) || self.groups.contains_key(&it.channel) {
            return Err(Fault::Misbehaved("a channel id was given twice"));
        }
        if self.channels.contains_key(&it.group) || it.group == it.channel {
            return Err(Fault::Misbehaved("a group has the id of a channel"));
        }
        let mask = self.version_mask();
        let group = self.groups.entry(it.group).or_default();
        group.members.insert(it.channel);
        let (prefix, size) = (it.extranonce_prefix, it.extranonce_size);
        let channel = Channel::new(it.channel, it.group, it.target, prefix, size, mask, group.tip);
        self.channels.insert(it.channel, channel);
        out.push(Output::Event(Event::Opened {
            request: it.request,
            channel: it.channel,
            group: it.group,
            target: it.target,
            extranonce_prefix: it.extranonce_prefix,
            extranonce_size: it.extranonce_size,
        }));
        Ok(())
    }

    /// Version bits that may be rolled here.
    #[must_use]
    pub fn version_mask(&self) -> u32 {
        let fixed = self.settings.success_flags & flags::REQUIRES_FIXED_VERSION != 0;
        if fixed { 0 } else { self.settings.version_mask }
    }

    fn open_refused(&mut self, it: OpenMiningChannelError, out: &mut Vec<Output>) -> Result<(), Fault> {
        if self.requests.remove(&it.request_id).is_none() {
            return Err(Fault::Misbehaved("a channel was refused that nobody asked for"));
        }
        out.push(Output::Event(Event::OpenRefused {
            request: it.request_id,
            code: it.error_code,
        }));
        Ok(())
    }

    fn update(&mut self, channel: u32, nominal_hash_rate: f32, maximum_target: U256, out: &mut Vec<Output>) {
        if !self.channels.contains_key(&channel) {
            return out.push(Output::Event(Event::Withheld(Withheld::UnknownChannel)));
        }
        let message = UpdateChannel {
            channel_id: channel,
            nominal_hash_rate,
            maximum_target,
        };
        out.push(Output::Send(message.into()));
    }

    fn close(&mut self, channel: u32, reason_code: Str0_255, out: &mut Vec<Output>) {
        if self.forget(channel) {
            out.push(Output::Send(
                CloseChannel {
                    channel_id: channel,
                    reason_code,
                }
                .into(),
            ));
        } else {
            out.push(Output::Event(Event::Withheld(Withheld::UnknownChannel)));
        }
    }

    fn share(&mut self, now: Time, share: &Share, out: &mut Vec<Output>) {
        let sent = match self.channels.get_mut(&share.channel) {
            Some(channel) => channel.share(now, share, self.settings.time_ahead_s),
            None => Err(Withheld::UnknownChannel),
        };
        out.push(match sent {
            Ok(message) => Output::Send(message),
            Err(why) => Output::Event(Event::Withheld(why)),
        });
    }

    fn accepted(&mut self, it: &SubmitSharesSuccess, out: &mut Vec<Output>) {
        // Answers may still be under way when a channel is closed: they are of no interest then.
        if let Some(channel) = self.channels.get_mut(&it.channel_id) {
            let count = it.new_submits_accepted_count;
            let surplus = channel.answered(count);
            out.push(Output::Event(Event::Accepted {
                channel: it.channel_id,
                last_sequence: it.last_sequence_number,
                count,
                difficulty_sum: it.new_shares_sum,
                outstanding: channel.outstanding(),
                surplus,
            }));
        }
    }

    fn rejected(&mut self, it: SubmitSharesError, out: &mut Vec<Output>) {
        if let Some(channel) = self.channels.get_mut(&it.channel_id) {
            channel.answered(1);
            out.push(Output::Event(Event::Rejected {
                channel: it.channel_id,
                sequence: it.sequence_number,
                code: it.error_code,
                outstanding: channel.outstanding(),
            }));
        }
    }

    /// Lets one channel do something; a message for an unknown one is ignored, as it may have crossed our
    /// CloseChannel.
    fn with_channel(
        &mut self,
        id: u32,
        act: impl FnOnce(&mut Channel) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.channels.get_mut(&id).map_or(Ok(()), act)
    }
}

/// Whether the channel is one that was asked for (spec 5.3.3, 5.3.5).
fn check(kind: &Kind, it: &Opened) -> Result<(), Fault> {
    match (kind, it.extranonce_size) {
        (Kind::Standard, None) => Ok(()),
        (Kind::Extended { min_extranonce_size }, Some(size)) => {
            if size < *min_extranonce_size {
                return Err(Fault::Misbehaved(
                    "the channel has a smaller extranonce than asked for",
                ));
            }
            if it.extranonce_prefix.len() + usize::from(size) > B0_32::MAX {
                return Err(Fault::Misbehaved(
                    "the channel's extranonce is longer than 32 bytes",
                ));
            }
            Ok(())
        }
        _ => Err(Fault::Misbehaved("the channel is of another kind than asked for")),
    }
}

fn standard(it: &OpenStandardMiningChannelSuccess) -> Opened {
    Opened {
        request: it.request_id,
        channel: it.channel_id,
        target: it.target,
        extranonce_prefix: it.extranonce_prefix,
        extranonce_size: None,
        group: it.group_channel_id,
    }
}

fn extended(it: &OpenExtendedMiningChannelSuccess) -> Opened {
    Opened {
        request: it.request_id,
        channel: it.channel_id,
        target: it.target,
        extranonce_prefix: it.extranonce_prefix,
        extranonce_size: Some(it.extranonce_size),
        group: it.group_channel_id,
    }
}
