//! From the first line to the first job: configure, subscribe, authorize, and wishes for a difficulty.

use super::{AGENT_BYTES_MAX, Out, Server, TurnedAway, Waiting, cut};
use crate::mining::server as mining;
use crate::setup::Device;
use crate::sv1::difficulty::Difficulty;
use crate::sv1::refusal::Refusal;
use crate::sv1::request::Extension;
use crate::sv1::say::Granted;
use crate::sv1::{Id, say, user};
use crate::target::Target;
use crate::vardiff::Vardiff;
use crate::{Fault, Time};
use adit_wire::mining::{OpenExtendedMiningChannel, UpdateChannel};
use adit_wire::types::{Str0_255, U256};

/// What a miner wishes for; the pool's floor and the network's difficulty stand above it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    /// Where to start: `mining.suggest_difficulty` and `mining.suggest_target`.
    start: Option<Difficulty>,
    /// Where to start, and never below: `d=` in the password.
    fixed: Option<Difficulty>,
    /// Never below: `minimum-difficulty` of `mining.configure`.
    least: Option<Difficulty>,
}

impl Wishes {
    /// The miner has come back, and may have said other things on its new connection.
    pub(super) fn renewed_by(&mut self, fresh: &Self) {
        self.start = fresh.start.or(self.start);
        self.least = fresh.least.or(self.least);
    }

    /// Shares must not be easier than this.
    fn floor(&self) -> Option<Difficulty> {
        self.fixed.max(self.least)
    }

    fn start(&self, otherwise: Difficulty) -> Difficulty {
        let start = self.fixed.or(self.start).unwrap_or(otherwise);
        self.floor().map_or(start, |floor| start.max(floor))
    }
}

/// The difficulty next to a target, most significant byte first.
pub(super) fn difficulty_of(mut target: [u8; 32]) -> Difficulty {
    target.reverse();
    Difficulty::nearest_work(Target(target).share_work())
}

impl Server {
    /// BIP310: each extension is answered by its name, unknown ones with no.
    pub(super) fn configure(
        &mut self,
        now: Time,
        id: &Id,
        extensions: &[Extension],
        out: &mut Out<'_>,
    ) -> Result<(), Fault> {
        let mut floor_changed = false;
        let granted: Vec<Granted<'_>> = extensions
            .iter()
            .map(|extension| match extension {
                Extension::VersionRolling { mask } => {
                    self.rolls = Some(*mask);
                    self.mask = mask & self.mining.version_mask();
                    Granted::VersionRolling(self.mask)
                }
                Extension::MinimumDifficulty(number) => {
                    let least = number.and_then(Difficulty::at_least);
                    floor_changed |= least.is_some();
                    self.wishes.least = least.or(self.wishes.least);
                    Granted::Other("minimum-difficulty", least.is_some())
                }
                Extension::SubscribeExtranonce => {
                    self.moves = true;
                    Granted::Other("subscribe-extranonce", true)
                }
                Extension::Info => Granted::Other("info", true),
                Extension::Unknown(name) => Granted::Other(name, false),
            })
            .collect();
        say::configured(id, &granted, out.lines);
        if floor_changed {
            self.rewish(now, out)
        } else {
            Ok(())
        }
    }

    pub(super) fn subscribe(
        &mut self,
        now: Time,
        id: &Id,
        agent: &str,
        out: &mut Out<'_>,
    ) -> Result<(), Fault> {
        // Asked again, the answer is the same: there is one channel, and its extranonce stays.
        self.subscribed = true;
        self.agent = cut(agent, AGENT_BYTES_MAX).into();
        let device = Device {
            vendor: Str0_255::try_from(&*self.agent).unwrap_or_default(),
            ..Device::default()
        };
        self.feed(now, mining::Input::Device(device.into()), out)?;
        say::subscribed(id, &self.session, &self.extranonce1, self.rolled, out.lines);
        let Some(Waiting { account }) = self.waiting.take() else {
            return Ok(());
        };
        let mut after = Vec::new();
        if let Err(turned) = self.open(now, account, &mut after, out)? {
            say::show_message(&turned.why, out.lines);
            return Err(Fault::Misbehaved("the user was not let in"));
        }
        out.lines.append(&mut after);
        Ok(())
    }

    pub(super) fn authorize(
        &mut self,
        now: Time,
        id: &Id,
        name: &str,
        password: &str,
        out: &mut Out<'_>,
    ) -> Result<(), Fault> {
        let (account, _) = user::split(name);
        let known = self.channel.as_ref().map(|channel| &channel.account);
        let known = known.or(self.waiting.as_ref().map(|waiting| &waiting.account));
        if let Some(known) = known {
            if **known != *account {
                say::refused(id, Refusal::unauthorized("One account a connection"), out.lines);
                return Ok(());
            }
            say::yes_or_no(id, true, out.lines);
            return if self.returning {
                self.returned(now, password, out)
            } else {
                Ok(())
            };
        }
        if account.len() > user::ACCOUNT_BYTES_MAX {
            say::refused(id, Refusal::unauthorized("The user name is too long"), out.lines);
            return Ok(());
        }
        self.wishes.fixed = user::wished(password).or(self.wishes.fixed);
        if !self.subscribed {
            self.waiting = Some(Waiting {
                account: account.into(),
            });
            say::yes_or_no(id, true, out.lines);
            return Ok(());
        }
        let mut after = Vec::new();
        match self.open(now, account.into(), &mut after, out)? {
            Ok(()) => say::yes_or_no(id, true, out.lines),
            Err(turned) => say::refused_because(id, turned.code, &turned.why, out.lines),
        }
        out.lines.append(&mut after);
        Ok(())
    }

    /// The miner is back where it was: it is told so, and goes on.
    fn returned(&mut self, now: Time, password: &str, out: &mut Out<'_>) -> Result<(), Fault> {
        self.returning = false;
        if let Some(difficulty) = self.difficulty {
            say::set_difficulty(difficulty, out.lines);
        }
        if let Some((frame, ntime)) = self.current.take() {
            self.notify(frame, ntime, true, out.lines);
        }
        let wished = user::wished(password);
        if wished.is_some() && wished != self.wishes.fixed {
            self.wishes.fixed = wished;
            return self.rewish(now, out);
        }
        Ok(())
    }

    /// Opens the channel. What is to be told of it goes to `after`, behind the answer.
    fn open(
        &mut self,
        now: Time,
        account: Box<str>,
        after: &mut Vec<u8>,
        out: &mut Out<'_>,
    ) -> Result<Result<(), TurnedAway>, Fault> {
        let Ok(user_identity) = Str0_255::try_from(&*account) else {
            return Ok(Err(Refusal::unauthorized("The user name is too long").into()));
        };
        self.turned_away = None;
        self.waiting = Some(Waiting { account });
        let open = OpenExtendedMiningChannel {
            request_id: 0,
            user_identity,
            nominal_hash_rate: self.claim(),
            max_target: self.target_max(),
            min_extranonce_size: 0,
        };
        let mut behind = Out {
            lines: after,
            actions: &mut *out.actions,
        };
        self.feed(now, mining::Input::Message(open.into()), &mut behind)?;
        self.waiting = None;
        Ok(self.turned_away.take().map_or(Ok(()), Err))
    }

    pub(super) fn suggested(
        &mut self,
        now: Time,
        difficulty: Option<Difficulty>,
        out: &mut Out<'_>,
    ) -> Result<(), Fault> {
        self.wishes.start = difficulty.or(self.wishes.start);
        self.rewish(now, out)
    }

    /// Wishes have changed while the channel is open.
    fn rewish(&mut self, now: Time, out: &mut Out<'_>) -> Result<(), Fault> {
        let Some(channel_id) = self.channel.as_ref().map(|channel| channel.id) else {
            return Ok(());
        };
        let update = UpdateChannel {
            channel_id,
            nominal_hash_rate: self.claim(),
            maximum_target: self.target_max(),
        };
        self.feed(now, mining::Input::Message(update.into()), out)
    }

    /// The hash rate that makes the machine behind start where it is wished.
    fn claim(&self) -> f32 {
        let start = self.wishes.start(self.settings.start);
        Vardiff::claim_for(start.work(), self.settings.mining.aim(1))
    }

    /// The easiest target.
    fn target_max(&self) -> U256 {
        self.wishes
            .floor()
            .map_or(U256::MAX, |floor| U256(floor.target().0))
    }
}
