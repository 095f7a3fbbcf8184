//! What a connection under load speaks: frames of Stratum V2, or lines of Stratum V1. Either way it is heard in the same
//! words.

use adit_proto::job::VERSION_MASK;
use adit_proto::mining::client::{Event, Share, Withheld, Work};
use adit_proto::sv1::client::{self as sv1, Client};
use adit_proto::sv1::difficulty::Difficulty;
use adit_proto::{Fault, Time, target};
use adit_wire::{Header, Str0_255, U256};

use crate::device::EXTRANONCE_BYTES_MIN;
use crate::device::upstream::{Heard, Upstream, text};

/// The one channel of a connection of lines.
const CHANNEL: u32 = 0;

/// The client of one connection.
pub(super) enum Side {
    Frames(Box<Upstream>),
    Lines(Box<Miner>),
}

/// Seconds between two shares of a miner, about.
const SHARE_S: f64 = 10.0;

/// A miner of Stratum V1.
pub(super) struct Miner {
    client: Client,
    started: bool,
    /// Of jobs to come.
    target: U256,
    tip: Option<[u8; 32]>,
    sequence: u32,
    /// Kept between calls for its memory.
    events: Vec<sv1::Event>,
}

impl Side {
    /// A miner that wishes for the difficulty at which `hash_rate` finds a few shares a minute.
    pub(super) fn lines(user: &str, hash_rate: f32) -> Self {
        let work = target::work_of(hash_rate.into(), SHARE_S);
        let difficulty = work as f64 / Difficulty::ONE.work() as f64;
        let settings = sv1::Settings {
            user: user.to_owned(),
            password: format!("d={difficulty:.12}"),
            agent: concat!("adit/", env!("CARGO_PKG_VERSION")).to_owned(),
            version_mask: VERSION_MASK,
            extranonce2_min: usize::from(EXTRANONCE_BYTES_MIN.min(2)),
            reconnect_to: Vec::new(),
        };
        Self::Lines(Box::new(Miner {
            client: Client::new(settings),
            started: false,
            target: U256::MAX,
            tip: None,
            sequence: 0,
            events: Vec::new(),
        }))
    }

    pub(super) fn started(&self) -> bool {
        match self {
            Self::Frames(upstream) => upstream.started(),
            Self::Lines(miner) => miner.started,
        }
    }

    pub(super) fn start(
        &mut self,
        now: Time,
        out: &mut Vec<u8>,
        heard: &mut Vec<Heard>,
    ) -> Result<(), Fault> {
        match self {
            Self::Frames(upstream) => upstream.start(now, out, heard),
            Self::Lines(miner) => {
                miner.started = true;
                miner.handle(now, sv1::Input::Start, out, heard)
            }
        }
    }

    pub(super) fn frame(
        &mut self,
        now: Time,
        header: &Header,
        payload: &[u8],
        out: &mut Vec<u8>,
        heard: &mut Vec<Heard>,
    ) -> Result<(), Fault> {
        match self {
            Self::Frames(upstream) => upstream.frame(now, header, payload, out, heard),
            Self::Lines(_) => Err(Fault::Incompatible("no frames are spoken here")),
        }
    }

    pub(super) fn line(
        &mut self,
        now: Time,
        line: &[u8],
        out: &mut Vec<u8>,
        heard: &mut Vec<Heard>,
    ) -> Result<(), Fault> {
        match self {
            Self::Lines(miner) => miner.handle(now, sv1::Input::Line(line), out, heard),
            Self::Frames(_) => Err(Fault::Incompatible("no lines are spoken here")),
        }
    }

    /// Sends a share; its number, or why it was not sent.
    pub(super) fn share(&mut self, now: Time, share: Share, out: &mut Vec<u8>) -> Result<u32, Withheld> {
        match self {
            Self::Frames(upstream) => upstream.share(now, share, out),
            Self::Lines(miner) => miner.share(now, &share, out),
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        match self {
            Self::Frames(upstream) => upstream.deadline(),
            Self::Lines(miner) => miner.client.deadline(),
        }
    }

    pub(super) fn expire(
        &mut self,
        now: Time,
        out: &mut Vec<u8>,
        heard: &mut Vec<Heard>,
    ) -> Result<(), Fault> {
        match self {
            Self::Frames(upstream) => upstream.expire(now, out, heard),
            Self::Lines(miner) => miner.handle(now, sv1::Input::Deadline, out, heard),
        }
    }
}

impl Miner {
    fn handle(
        &mut self,
        now: Time,
        input: sv1::Input<'_>,
        out: &mut Vec<u8>,
        heard: &mut Vec<Heard>,
    ) -> Result<(), Fault> {
        let mut events = std::mem::take(&mut self.events);
        let result = self.client.handle(now, input, out, &mut events);
        for event in events.drain(..) {
            heard.extend(self.hear(now, event));
        }
        self.events = events;
        result
    }

    fn hear(&mut self, now: Time, event: sv1::Event) -> Option<Heard> {
        match event {
            sv1::Event::Target(target) => {
                self.target = U256(target.0);
                None
            }
            sv1::Event::Job(job) => self.work(now, *job).map(Heard::Work),
            sv1::Event::Accepted { number } => Some(Heard::Event(Event::Accepted {
                channel: CHANNEL,
                last_sequence: sequence(number),
                count: 1,
                difficulty_sum: 0,
                outstanding: 0,
                surplus: 0,
            })),
            sv1::Event::Refused {
                number,
                code,
                text: why,
            } => Some(Heard::Event(Event::Rejected {
                channel: CHANNEL,
                sequence: sequence(number),
                code: text(&format!("{code} {why}")),
                outstanding: 0,
            })),
            sv1::Event::Reconnect { host, port } => Some(Heard::Reconnect {
                host: Str0_255::try_from(host.as_str()).ok(),
                port: Some(port),
            }),
            sv1::Event::Entered { .. }
            | sv1::Event::Moved { .. }
            | sv1::Event::ReconnectIgnored { .. }
            | sv1::Event::Message(_) => None,
        }
    }

    fn work(&mut self, now: Time, job: sv1::Work) -> Option<Work> {
        let prev_hash = job.fields.prev_hash;
        let new_tip = self.tip.replace(prev_hash) != Some(prev_hash);
        job.of_channel(CHANNEL, self.target, now, new_tip)
    }

    fn share(&mut self, now: Time, share: &Share, out: &mut Vec<u8>) -> Result<u32, Withheld> {
        let number = self.sequence;
        let input = sv1::Input::Share(sv1::Share {
            number: number.into(),
            job: share.job_id,
            extranonce: share.extranonce.as_bytes().to_vec(),
            ntime: share.ntime,
            nonce: share.nonce,
            version: share.version,
        });
        let said = out.len();
        // A share is no fault of the peer's.
        let _ = self.client.handle(now, input, out, &mut self.events);
        self.events.clear();
        if out.len() == said {
            return Err(Withheld::StaleJob);
        }
        self.sequence = number.wrapping_add(1);
        Ok(number)
    }
}

/// Our own number of a share, as the server's answer brings it back.
fn sequence(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
