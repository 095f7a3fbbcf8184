//! A miner that can be wrong on purpose: follows the jobs of its channel and submits any share.

use std::rc::Rc;
use std::time::Duration;

use adit_net::random;
use adit_proto::mining::client::{Client, Event, Input, Kind, Open, Output, Settings, Share, Work};
use adit_proto::target::Target;
use adit_wire::common::protocol;
use adit_wire::mining::{SubmitSharesExtended, SubmitSharesStandard, SubmitSharesSuccess, ToClient};
use adit_wire::{B0_32, Str0_255, U256};

use super::frame::{Frame, told};
use super::ground::Ground;
use super::peer::{CLAIM, Heard, Peer};
use super::scene::{EXTRANONCE_MIN, Extended};
use super::verdict::Miss;
use crate::device::hash::{Engine, Header, Prepared};
use crate::device::upstream::text;

/// Tries of one good share when blocks come in between.
const TRIES_MAX: u32 = 4;

/// What became of a share.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fate {
    Accepted(SubmitSharesSuccess),
    Refused(Str0_255, Frame),
    Unanswered(Heard),
}

impl Fate {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Accepted(it) => format!(
                "SubmitShares.Success up to {}, {} accepted, sum {}",
                it.last_sequence_number, it.new_submits_accepted_count, it.new_shares_sum
            ),
            Self::Refused(code, _) => format!("SubmitShares.Error {:?}", told(code)),
            Self::Unanswered(heard) => heard.text(),
        }
    }
}

/// A miner with one channel.
pub(super) struct Miner {
    pub(super) peer: Peer,
    client: Client,
    /// The channel.
    pub(super) channel: u32,
    pub(super) extended: Extended,
    work: Option<Work>,
    /// What the server did that makes its work impossible to follow.
    lost: Option<String>,
    sequence: u32,
    /// Whether a new previous block has come since this was last asked.
    turned: bool,
}

impl Miner {
    /// Joins and opens a channel that anybody could mine, and waits for its first work.
    pub(super) fn start(ground: &Rc<Ground>, flags: u32, extended: Extended) -> Result<Self, Miss> {
        let (peer, success) = Peer::join(ground, protocol::MINING, flags)?;
        Self::on(peer, success.flags, extended)
    }

    /// The same on a connection that is set up.
    pub(super) fn on(peer: Peer, success_flags: u32, extended: Extended) -> Result<Self, Miss> {
        let ground = Rc::clone(peer.ground());
        let client = Client::new(Settings {
            success_flags,
            channels_max: 1,
            ..Settings::default()
        });
        let mut miner = Self {
            peer,
            client,
            channel: 0,
            extended,
            work: None,
            lost: None,
            sequence: 0,
            turned: false,
        };
        let kind = if extended {
            Kind::Extended {
                min_extranonce_size: EXTRANONCE_MIN,
            }
        } else {
            Kind::Standard
        };
        miner.enter(Input::Open(Open {
            kind,
            user_identity: text(&ground.settings.options.user),
            nominal_hash_rate: CLAIM,
            max_target: U256::MAX,
        }))?;
        let until = ground.clock.now() + ground.settings.answer();
        while miner.work.is_none() {
            match miner.hear(until - ground.clock.now())? {
                Heard::Frame(_) => miner.usable()?,
                other => return Err(Miss::skip(format!("no work to mine on: {}", other.text()))),
            }
        }
        Ok(miner)
    }

    /// The next frame, which the miner follows.
    pub(super) fn hear(&mut self, wait: Duration) -> Result<Heard, Miss> {
        let heard = self.peer.hear(wait)?;
        if let Heard::Frame(frame) = &heard
            && let Some(message) = frame.mining()
        {
            self.turned |= matches!(message, ToClient::SetNewPrevHash(_));
            self.enter(Input::Message(message))?;
        }
        Ok(heard)
    }

    /// The newest work, after everything that has arrived.
    pub(super) fn work(&mut self) -> Result<Work, Miss> {
        while let Heard::Frame(_) = self.hear(Duration::from_millis(1))? {}
        self.usable()?;
        self.turned = false;
        self.work
            .clone()
            .ok_or_else(|| Miss::skip("the channel was closed"))
    }

    /// Submits a share and gives its sequence number.
    pub(super) fn submit(&mut self, share: &Share, more: &[u8]) -> Result<u32, Miss> {
        let extended = self.extended;
        self.submit_as(extended, share, more)
    }

    /// The same as a share of any kind of channel.
    pub(super) fn submit_as(&mut self, extended: Extended, share: &Share, more: &[u8]) -> Result<u32, Miss> {
        self.peer.ground().take_share()?;
        self.sequence += 1;
        let sequence_number = self.sequence;
        let Share {
            channel,
            job_id,
            nonce,
            ntime,
            version,
            extranonce,
        } = *share;
        if extended {
            let message = SubmitSharesExtended {
                channel_id: channel,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
                extranonce,
            };
            self.peer.say_with(&message, more)?;
        } else {
            let message = SubmitSharesStandard {
                channel_id: channel,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
            };
            self.peer.say_with(&message, more)?;
        }
        Ok(sequence_number)
    }

    /// What becomes of a share.
    pub(super) fn fate(&mut self, sequence: u32) -> Result<Fate, Miss> {
        let ground = Rc::clone(self.peer.ground());
        let until = ground.clock.now() + ground.settings.answer();
        loop {
            let heard = self.hear(until - ground.clock.now())?;
            let Heard::Frame(frame) = heard else {
                return Ok(Fate::Unanswered(heard));
            };
            match frame.mining() {
                Some(ToClient::SubmitSharesSuccess(it)) if it.last_sequence_number >= sequence => {
                    return Ok(Fate::Accepted(it));
                }
                Some(ToClient::SubmitSharesError(it)) if it.sequence_number == sequence => {
                    return Ok(Fate::Refused(it.error_code, frame));
                }
                _ => {}
            }
        }
    }

    /// Submits a share and waits for its fate.
    pub(super) fn share(&mut self, share: &Share) -> Result<Fate, Miss> {
        let sequence = self.submit(share, &[])?;
        self.fate(sequence)
    }

    /// Finds a share of the newest work that `wish` allows, submits it with `more` behind it, and gives it with its
    /// fate. When a new block crosses the share it is tried again: only the newest work counts.
    pub(super) fn good(
        &mut self,
        mut wish: impl FnMut(&Work) -> Share,
        more: &[u8],
    ) -> Result<(Share, Fate), Miss> {
        let mut tries = 0;
        loop {
            tries += 1;
            let work = self.work()?;
            let share = self.find(&work, wish(&work))?;
            let sequence = self.submit(&share, more)?;
            let fate = self.fate(sequence)?;
            let crossed = self.turned && matches!(fate, Fate::Refused(..));
            if !crossed || tries >= TRIES_MAX {
                return Ok((share, fate));
            }
        }
    }

    /// The share with a nonce that meets the channel's target.
    pub(super) fn find(&self, work: &Work, share: Share) -> Result<Share, Miss> {
        self.find_at(work, share, &work.target.0)
    }

    /// The share with a nonce that meets this target, within the bound of hashes.
    pub(super) fn find_at(&self, work: &Work, share: Share, target: &[u8; 32]) -> Result<Share, Miss> {
        let ground = self.peer.ground();
        let most = ground.settings.options.hashes;
        let expected = Target(*target).work();
        if expected > u128::from(most) {
            return Err(Miss::skip(format!(
                "a share takes {expected} hashes, {most} may be tried; see --hashes"
            )));
        }
        let prepared = prepare(work, &share);
        let engine = Engine::best();
        let step = engine.look_nonces();
        let mut first = u32::from_le_bytes(random::bytes());
        let mut found = Vec::new();
        let mut tried = 0;
        while tried < most {
            ground.open()?;
            engine.scan(&prepared, first, step, target, &mut found);
            tried += u64::from(step);
            ground.count_hashes(step.into());
            if let Some(nonce) = found.first() {
                return Ok(Share {
                    nonce: *nonce,
                    ..share
                });
            }
            first = first.wrapping_add(step);
        }
        Err(Miss::skip(format!("no share within {most} hashes; see --hashes")))
    }

    /// The share with a nonce that meets neither the channel's target nor the network's.
    pub(super) fn find_bad(&self, work: &Work, share: Share) -> Result<Share, Miss> {
        let network = Target::from_nbits(work.nbits);
        let easiest = Target(work.target.0).max(network);
        let prepared = prepare(work, &share);
        let first = u32::from_le_bytes(random::bytes());
        (0..4_096)
            .map(|offset| first.wrapping_add(offset))
            .find(|nonce| !easiest.is_met_by(&prepared.hash(*nonce)))
            .map(|nonce| Share { nonce, ..share })
            .ok_or_else(|| Miss::skip("nearly every hash meets the target"))
    }

    /// The hash of a share's header, raw order.
    pub(super) fn hash(work: &Work, share: &Share) -> [u8; 32] {
        prepare(work, share).hash(share.nonce)
    }

    fn enter(&mut self, input: Input) -> Result<(), Miss> {
        let now = self.peer.ground().clock.now();
        let mut outputs = Vec::new();
        if let Err(fault) = self.client.handle(now, input, &mut outputs) {
            self.lost.get_or_insert_with(|| fault.to_string());
        }
        for output in outputs {
            match output {
                Output::Send(message) => {
                    let mut frame = Vec::new();
                    message.encode_frame(&mut frame);
                    self.peer.say_frame(&frame)?;
                }
                Output::Work(work) => self.work = Some(work),
                Output::Event(Event::Opened { channel, .. }) => self.channel = channel,
                Output::Event(Event::OpenRefused { code, .. }) => {
                    self.lost = Some(format!("the channel is refused: {}", told(&code)));
                }
                Output::Event(Event::Closed { .. }) => self.work = None,
                Output::Event(Event::Withheld(why)) => self.lost = Some(format!("{why:?}")),
                Output::Event(_) => {}
            }
        }
        Ok(())
    }

    fn usable(&self) -> Result<(), Miss> {
        self.lost.as_ref().map_or(Ok(()), |why| {
            Err(Miss::skip(format!("the server's work cannot be followed: {why}")))
        })
    }
}

/// A share of `work` as the job says it, with a fresh extranonce; its nonce is still to be found.
pub(super) fn plain(work: &Work) -> Share {
    let fresh: [u8; B0_32::MAX] = random::bytes();
    let rolled = fresh.get(..work.extranonce_size()).unwrap_or(&fresh);
    Share {
        channel: work.channel,
        job_id: work.job_id,
        nonce: 0,
        ntime: work.min_ntime,
        version: work.version,
        extranonce: B0_32::new(rolled).unwrap_or_default(),
    }
}

fn prepare(work: &Work, share: &Share) -> Prepared {
    Header {
        version: share.version,
        prev_hash: work.prev_hash.0,
        merkle_root: work.merkle_root(&share.extranonce).0,
        ntime: share.ntime,
        nbits: work.nbits,
    }
    .prepare()
}
