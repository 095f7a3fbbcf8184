//! Jobs of our own on a channel of somebody else's (spec 5.3.18 to 5.3.20).

use adit_wire::mining::{SetCustomMiningJob, SetCustomMiningJobError, SetCustomMiningJobSuccess};

use super::{Client, Event, Output, Withheld};
use crate::Time;
use crate::coinbase::SCRIPT_PREFIX_MAX;

/// Jobs of our own for which shares are sent; the oldest gives way. Servers keep a few.
pub(super) const CUSTOM_JOBS_MAX: usize = 16;

/// Jobs of our own that may wait for an answer.
pub const CUSTOM_WAITING_MAX: usize = 8;

/// A job that the server has not answered yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    channel: u32,
    version: u32,
    min_ntime: u32,
    since: Time,
    pub(super) until: Time,
}

impl Client {
    pub(super) fn custom(
        &mut self,
        now: Time,
        message: SetCustomMiningJob,
        since: Time,
        out: &mut Vec<Output>,
    ) {
        if let Err(why) = self.may_send(&message) {
            return out.push(Output::Event(Event::Withheld(why)));
        }
        self.customs.insert(
            message.request_id,
            Waiting {
                channel: message.channel_id,
                version: message.version,
                min_ntime: message.min_ntime,
                since,
                until: now + self.settings.answer_timeout,
            },
        );
        out.push(Output::Send(message.into()));
    }

    fn may_send(&self, message: &SetCustomMiningJob) -> Result<(), Withheld> {
        if !self.settings.work_selection {
            return Err(Withheld::NoWorkSelection);
        }
        match self.channels.get(&message.channel_id) {
            None => return Err(Withheld::UnknownChannel),
            Some(channel) if channel.is_standard() => return Err(Withheld::NoWorkSelection),
            Some(_) => {}
        }
        if message.coinbase_prefix.len() > SCRIPT_PREFIX_MAX {
            return Err(Withheld::CoinbasePrefix);
        }
        let taken = self.customs.contains_key(&message.request_id);
        if taken || self.customs.len() >= CUSTOM_WAITING_MAX {
            return Err(Withheld::TooManyJobs);
        }
        Ok(())
    }

    /// Only an answer to an open request on its own channel counts.
    fn answered(&mut self, request: u32, channel: u32) -> Option<Waiting> {
        self.customs
            .get(&request)
            .is_some_and(|waiting| waiting.channel == channel)
            .then(|| self.customs.remove(&request))
            .flatten()
    }

    pub(super) fn custom_accepted(&mut self, it: &SetCustomMiningJobSuccess, out: &mut Vec<Output>) {
        let waiting = self.answered(it.request_id, it.channel_id);
        let channel = self.channels.get_mut(&it.channel_id);
        out.push(Output::Event(match (waiting, channel) {
            (Some(waiting), Some(channel)) => Event::CustomAccepted {
                channel: it.channel_id,
                request: it.request_id,
                job_id: it.job_id,
                target: channel.custom(it.job_id, waiting.version, waiting.min_ntime, waiting.since),
            },
            _ => Event::CustomUnasked,
        }));
    }

    pub(super) fn custom_refused(&mut self, it: SetCustomMiningJobError, out: &mut Vec<Output>) {
        let waiting = self.answered(it.request_id, it.channel_id);
        out.push(Output::Event(match waiting {
            Some(_) => Event::CustomRefused {
                channel: it.channel_id,
                request: it.request_id,
                code: it.error_code,
            },
            None => Event::CustomUnasked,
        }));
    }

    /// No answer in time: the role decides what that means for it (REQ-MIN-093).
    pub(super) fn customs_expire(&mut self, now: Time, out: &mut Vec<Output>) {
        self.customs.retain(|request, waiting| {
            let late = waiting.until <= now;
            if late {
                out.push(Output::Event(Event::CustomUnanswered {
                    channel: waiting.channel,
                    request: *request,
                }));
            }
            !late
        });
    }
}
