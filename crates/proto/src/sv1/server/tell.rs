//! What the machine behind says, in the words of Stratum V1.

use super::{Channel, Out, Server, TurnedAway};
use crate::Fault;
use crate::mining::server::{Event, JobFrame, Output};
use crate::sv1::difficulty::Difficulty;
use crate::sv1::refusal::Refusal;
use crate::sv1::say;
use crate::target::Target;
use adit_wire::mining::{OpenExtendedMiningChannelSuccess, SetExtranoncePrefix, SetNewPrevHash, ToClient};
use adit_wire::refusal;

impl Server {
    pub(super) fn tell(&mut self, output: Output, out: &mut Out<'_>) -> Result<(), Fault> {
        match output {
            Output::Send(message) => self.message(message, out)?,
            Output::Job(frame) => match frame.min_ntime {
                Some(ntime) => self.notify(frame, ntime, false, out.lines),
                None => self.future = Some(frame),
            },
            Output::Event(Event::UnknownUser { why, user_identity }) => {
                self.unknown_user = Some(why.clone());
                let event = Event::UnknownUser { why, user_identity };
                out.actions.push(Output::Event(event));
            }
            action => out.actions.push(action),
        }
        Ok(())
    }

    fn message(&mut self, message: ToClient, out: &mut Out<'_>) -> Result<(), Fault> {
        match message {
            ToClient::OpenExtendedMiningChannelSuccess(opened) => self.opened(&opened, out)?,
            ToClient::OpenMiningChannelError(error) => {
                let why = refusal::OpenMiningChannel::of_code(error.error_code.as_bytes());
                let otherwise = Refusal::unauthorized("The pool does not let this user in");
                let mut turned = TurnedAway::from(why.map_or(otherwise, Refusal::from));
                if let Some(why) = self.unknown_user.take() {
                    turned.why = String::from(why).into();
                }
                self.turned_away = Some(turned);
            }
            ToClient::SetTarget(message) => self.set_difficulty(&Target(message.maximum_target.0), out.lines),
            ToClient::SetNewPrevHash(message) => self.start(&message, out.lines),
            ToClient::SubmitSharesSuccess(message) => self.accepted(message.last_sequence_number, out.lines),
            ToClient::SubmitSharesError(message) => self.share_refused(&message, out.lines),
            ToClient::SetExtranoncePrefix(message) => self.set_extranonce(&message, out.lines)?,
            ToClient::CloseChannel(_) => self.channel = None,
            // Of standard channels, groups, custom jobs and updates there is nothing to tell.
            _ => {}
        }
        Ok(())
    }

    fn opened(&mut self, opened: &OpenExtendedMiningChannelSuccess, out: &mut Out<'_>) -> Result<(), Fault> {
        let same = *opened.extranonce_prefix.as_bytes() == *self.extranonce1
            && usize::from(opened.extranonce_size) == self.rolled;
        if !same {
            // It was promised in the answer to `mining.subscribe`.
            return Err(Fault::Incompatible(
                "the channel has another extranonce than promised",
            ));
        }
        self.channel = self.waiting.take().map(|waiting| Channel {
            id: opened.channel_id,
            account: waiting.account,
        });
        self.set_difficulty(&Target(opened.target.0), out.lines);
        Ok(())
    }

    /// For the jobs that follow, as SetTarget is (spec 5.3.21).
    fn set_difficulty(&mut self, target: &Target, lines: &mut Vec<u8>) {
        let difficulty = Difficulty::of_work(target.share_work());
        if self.difficulty != Some(difficulty) {
            self.difficulty = Some(difficulty);
            if !self.returning {
                say::set_difficulty(difficulty, lines);
            }
        }
    }

    /// The job that was sent as a future one starts: all others are over.
    fn start(&mut self, message: &SetNewPrevHash, lines: &mut Vec<u8>) {
        if let Some(frame) = self.future.take_if(|frame| frame.job_id == message.job_id) {
            self.notify(frame, message.min_ntime, true, lines);
        }
    }

    pub(super) fn notify(&mut self, frame: JobFrame, ntime: u32, clean: bool, lines: &mut Vec<u8>) {
        let mask = self.rolls.unwrap_or(0) & frame.job.version_mask();
        self.jobs.sent(frame.job_id, frame.job.fields().version, mask);
        if !self.returning {
            if self.mask != mask {
                self.mask = mask;
                say::set_version_mask(mask, lines);
            }
            frame
                .job
                .encode_notify(frame.size, frame.job_id, ntime, clean, lines);
        }
        self.current = Some((frame, ntime));
    }

    fn set_extranonce(&mut self, message: &SetExtranoncePrefix, lines: &mut Vec<u8>) -> Result<(), Fault> {
        if !self.moves {
            // It comes back, and gets its new one then.
            return Err(Fault::Incompatible("the miner cannot change its extranonce"));
        }
        self.extranonce1 = message.extranonce_prefix.as_bytes().into();
        say::set_extranonce(&self.extranonce1, self.rolled, lines);
        Ok(())
    }
}
