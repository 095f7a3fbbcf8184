//! One mining connection upwards with one extended channel.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Duration;

use adit_net::{Protocol, Url};
use adit_proto::extension::Wishes;
use adit_proto::job::VERSION_MASK;
use adit_proto::mining::client::{self, Event, Kind, Open, Share, Work};
use adit_proto::share::NTIME_AHEAD_MAX;
use adit_proto::{Fault, Time};
use adit_wire::common::flags;
use adit_wire::extension::WORKER_HASH_RATE;
use adit_wire::mining::{
    CloseChannel, OpenExtendedMiningChannel, OpenExtendedMiningChannelSuccess, OpenMiningChannelError,
    SetCustomMiningJob,
};
use adit_wire::tlv::WorkerName;
use adit_wire::{B0_32, Header, Message, Str0_255, U256};
use tokio::sync::mpsc;

use super::commands::{COMMANDS_PER_MAIL, Commands};
use super::lines::{Outbox, Said};
use super::quiet::{Due, Patience, Quiet};
use crate::device::upstream::{Heard, Upstream, text};

/// How long shares may stay without any answer while the pool says other things. Pools acknowledge in batches, some of
/// them minutes apart; a dead connection is noticed long before ([`super::quiet`]).
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(180);
/// Number of the request that nobody can grant, and that every server answers (spec 5.3.4).
const ALIVE_REQUEST: u32 = u32::MAX;
/// Shares whose answer is awaited by name; older ones are not told apart.
const UNANSWERED_MAX: usize = 8192;

/// What the role wants of the connection.
#[derive(Debug)]
pub enum Command {
    /// A job of our own, first hashed at `since`.
    Custom {
        /// The job; its channel is filled in here.
        message: Box<SetCustomMiningJob>,
        /// When it was first hashed.
        since: Time,
    },
    /// A share of a job that the upstream knows.
    Share {
        /// Its name there.
        job_id: u32,
        /// Header nonce.
        nonce: u32,
        /// Header time.
        ntime: u32,
        /// Header version.
        version: u32,
        /// What was rolled: exactly as long as the channel says.
        extranonce: B0_32,
        /// Who found it, for pools that want to know (extension 0x0002).
        worker: Option<WorkerName>,
    },
    /// Another hash rate, in hashes a second.
    HashRate(f32),
}

/// How a connection is made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whom the pool shall pay, in its own terms.
    pub user: String,
    /// Hashes a second to tell the pool at first.
    pub hash_rate: f32,
    /// Bytes that must be left to roll.
    pub extranonce_min: u16,
    /// Whether jobs of our own will be sent (REQ-MIN-012).
    pub work_selection: bool,
    /// Whether an upstream that takes none is of use all the same.
    pub selection_optional: bool,
    /// Whether pools that want to know are told who found a share (extension 0x0002).
    pub worker_names: bool,
    /// How long the pool may take to answer a request.
    pub answer_timeout: Duration,
}

/// What is heard of a mining connection.
#[derive(Clone, Debug)]
pub enum Told {
    /// The channel is open.
    Opened(Channel),
    /// The pool's own job.
    Work(Box<Work>),
    /// The target of jobs to come.
    Target(U256),
    /// The extranonce prefix of jobs to come.
    Prefix(B0_32),
    /// A job of our own is paid for.
    JobAccepted {
        /// Our number of it.
        request: u32,
        /// The pool's.
        job_id: u32,
        /// Largest hash of its shares.
        target: U256,
    },
    /// A job of our own is refused.
    JobRefused {
        /// Our number of it.
        request: u32,
        /// The pool's code, for the log.
        code: Str0_255,
    },
    /// There was no answer in time about a job of our own.
    JobUnanswered {
        /// Our number of it.
        request: u32,
    },
    /// Shares were accepted.
    SharesAccepted {
        /// How many.
        count: u32,
        /// How long the oldest of them has waited for it.
        waited: Duration,
    },
    /// A share was refused.
    ShareRefused {
        /// The job it was for, as far as that is remembered.
        job_id: Option<u32>,
        /// The pool's code, for the log.
        code: Str0_255,
    },
    /// A share was not sent, as the pool could only refuse it.
    ShareWithheld(client::Withheld),
    /// The pool takes no jobs of ours. The connection ends; the next one goes without.
    NoSelection,
    /// It was asked whether it is still there, and it is.
    Alive,
    /// It has not answered what we asked for when we asked for extensions.
    ExtensionsUnanswered,
    /// The pool sends us to another place.
    Reconnect {
        /// Host to dial; `None`: the present one.
        host: Option<Str0_255>,
        /// Port to dial; `None`: the present one.
        port: Option<u16>,
    },
}

/// An open channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Its id there.
    pub id: u32,
    /// Largest hash of a share at first.
    pub target: U256,
    /// Extranonce bytes that the pool chose.
    pub prefix: B0_32,
    /// Extranonce bytes to roll.
    pub size: u16,
    /// Version bits that may be rolled.
    pub version_mask: u32,
    /// Whether shares name their worker (extension 0x0002).
    pub worker_names: bool,
}

/// The protocol on the link.
pub(super) struct Session {
    upstream: Upstream,
    settings: Settings,
    commands: Commands<Command>,
    outbox: Outbox,
    heard: Vec<Heard>,
    channel: Option<u32>,
    /// Sequence number and job of shares without an answer, and when they were sent; oldest first.
    unanswered: VecDeque<(u32, u32, Time)>,
    /// Since when no answer came though one was due.
    silent_since: Option<Time>,
    quiet: Quiet,
    finished: bool,
}

impl Session {
    pub(super) fn new(
        url: &Url,
        settings: Settings,
        wishes: Wishes,
        patience: Patience,
        (commands, outbox): (mpsc::Receiver<Command>, Outbox),
    ) -> Self {
        let (flags, work_selection) = match settings.work_selection {
            true => (flags::REQUIRES_WORK_SELECTION, true),
            false => (0, false),
        };
        let machine = client::Settings {
            version_mask: VERSION_MASK,
            answer_timeout: settings.answer_timeout,
            work_selection,
            // Devices below may go by clocks of their own, and were told that their shares are good.
            time_ahead_s: u32::try_from(NTIME_AHEAD_MAX).unwrap_or(u32::MAX),
            ..client::Settings::default()
        };
        Self {
            upstream: Upstream::new(url, flags, machine).with_extensions(wishes, None),
            settings,
            commands: Commands::new(commands),
            outbox,
            heard: Vec::new(),
            channel: None,
            unanswered: VecDeque::new(),
            silent_since: None,
            quiet: Quiet::new(patience),
            finished: false,
        }
    }

    fn attend(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut more = Vec::new();
        for it in std::mem::take(&mut self.heard) {
            match it {
                Heard::Established => {
                    let open = Open {
                        kind: Kind::Extended {
                            min_extranonce_size: self.settings.extranonce_min,
                        },
                        user_identity: text(&self.settings.user),
                        nominal_hash_rate: self.settings.hash_rate,
                        max_target: U256::MAX,
                    };
                    self.upstream.open(now, open, out, &mut more)?;
                }
                Heard::Refused { flags: bits, code } => {
                    tracing::warn!(%code, flags = bits, "the upstream refused the connection");
                    let unwanted = bits & flags::REQUIRES_WORK_SELECTION != 0;
                    if unwanted && self.settings.work_selection && self.settings.selection_optional {
                        self.tell(Told::NoSelection);
                    }
                }
                Heard::Reconnect { host, port } => {
                    self.tell(Told::Reconnect { host, port });
                    self.finished = true;
                }
                Heard::Work(work) => self.tell(Told::Work(Box::new(work))),
                Heard::Event(event) => self.event(now, event)?,
            }
        }
        debug_assert!(more.is_empty(), "opening one channel says nothing at once");
        self.outbox.check()
    }

    fn event(&mut self, now: Time, event: Event) -> Result<(), Fault> {
        match event {
            Event::Opened {
                channel,
                target,
                extranonce_prefix,
                extranonce_size,
                ..
            } => {
                self.channel = Some(channel);
                self.quiet.heard(now);
                self.tell(Told::Opened(Channel {
                    id: channel,
                    target,
                    prefix: extranonce_prefix,
                    size: extranonce_size.unwrap_or_default(),
                    version_mask: self.upstream.version_mask(),
                    worker_names: self.upstream.agreed().contains(&WORKER_HASH_RATE),
                }));
            }
            Event::OpenRefused { code, .. } => {
                tracing::warn!(%code, "the upstream refused the channel");
                return Err(Fault::Incompatible("it refused the channel"));
            }
            Event::Closed { reason, .. } => {
                tracing::warn!(%reason, "the upstream closed the channel");
                return Err(Fault::Incompatible("it closed the channel"));
            }
            Event::Accepted {
                last_sequence, count, ..
            } => {
                let waited = self.answered(now, last_sequence);
                self.tell(Told::SharesAccepted { count, waited });
            }
            Event::Rejected { sequence, code, .. } => {
                let job_id = self.refused(now, sequence);
                self.tell(Told::ShareRefused { job_id, code });
            }
            Event::Target { target, .. } => self.tell(Told::Target(target)),
            Event::ExtranoncePrefix { prefix, .. } => self.tell(Told::Prefix(prefix)),
            Event::CustomAccepted {
                request,
                job_id,
                target,
                ..
            } => self.tell(Told::JobAccepted {
                request,
                job_id,
                target,
            }),
            Event::CustomRefused { request, code, .. } => self.tell(Told::JobRefused { request, code }),
            Event::CustomUnanswered { request, .. } => self.tell(Told::JobUnanswered { request }),
            Event::CustomUnasked => {
                tracing::warn!("the upstream answered about a job that nobody asked about")
            }
            Event::UpdateRefused { code, .. } => tracing::debug!(%code, "update refused"),
            Event::Withheld(why) => {
                tracing::warn!(?why, "not sent to the upstream");
                return Err(Fault::Incompatible("it gives no channel for work of our own"));
            }
        }
        Ok(())
    }

    /// All shares up to this one have their answer; sequence numbers count up from 1 and wrap.
    /// Says how long the oldest has waited.
    fn answered(&mut self, now: Time, last: u32) -> Duration {
        let mut waited = Duration::ZERO;
        while let Some((sequence, _, sent)) = self.unanswered.front() {
            if last.wrapping_sub(*sequence) > u32::MAX / 2 {
                break;
            }
            waited = waited.max(now - *sent);
            self.unanswered.pop_front();
        }
        self.silent_since = (!self.unanswered.is_empty()).then_some(now);
        waited
    }

    fn refused(&mut self, now: Time, sequence: u32) -> Option<u32> {
        let at = self.unanswered.iter().position(|(it, ..)| *it == sequence);
        let job_id = at
            .and_then(|at| self.unanswered.remove(at))
            .map(|(_, job_id, _)| job_id);
        self.silent_since = (!self.unanswered.is_empty()).then_some(now);
        job_id
    }

    fn command(&mut self, now: Time, command: Command, out: &mut Vec<u8>) -> Result<(), Fault> {
        let Some(channel) = self.channel else {
            return Ok(());
        };
        match command {
            Command::Custom { mut message, since } => {
                message.channel_id = channel;
                self.upstream.custom(now, *message, since, out, &mut self.heard)
            }
            Command::HashRate(rate) => self.upstream.update(now, channel, rate, out, &mut self.heard),
            Command::Share {
                job_id,
                nonce,
                ntime,
                version,
                extranonce,
                worker,
            } => {
                let share = Share {
                    channel,
                    job_id,
                    nonce,
                    ntime,
                    version,
                    extranonce,
                };
                match self.upstream.share_of(now, share, worker.as_ref(), out) {
                    Ok(sequence) => {
                        if self.unanswered.len() >= UNANSWERED_MAX {
                            self.unanswered.pop_front();
                        }
                        self.unanswered.push_back((sequence, job_id, now));
                        self.silent_since.get_or_insert(now);
                    }
                    Err(why) => self.tell(Told::ShareWithheld(why)),
                }
                Ok(())
            }
        }
    }

    fn tell(&mut self, told: Told) {
        self.outbox.say(Said::Mining(told));
    }

    fn silence_until(&self) -> Option<Time> {
        self.silent_since.map(|since| since + SILENCE_MAX)
    }

    /// Asks for a channel that leaves more to roll than an extranonce has bytes: the answer is a refusal, whatever the
    /// server is like, and nothing has changed.
    fn ask_whether_alive(&self, out: &mut Vec<u8>) {
        let open = OpenExtendedMiningChannel {
            request_id: ALIVE_REQUEST,
            user_identity: text(&self.settings.user),
            nominal_hash_rate: self.settings.hash_rate,
            max_target: U256::MAX,
            min_extranonce_size: u16::MAX,
        };
        open.encode_frame(out);
    }

    /// Something was heard. True when it was the answer to our own question, which is of no interest to anybody else.
    fn heard(&mut self, now: Time, header: &Header, payload: &[u8], out: &mut Vec<u8>) -> bool {
        if self.channel.is_none() {
            return false;
        }
        if self.quiet.heard(now) {
            self.tell(Told::Alive);
        }
        if header.extension() != 0 {
            return false;
        }
        match header.msg_type {
            OpenMiningChannelError::TYPE => {
                OpenMiningChannelError::decode(payload).is_ok_and(|it| it.request_id == ALIVE_REQUEST)
            }
            OpenExtendedMiningChannelSuccess::TYPE => {
                let opened = OpenExtendedMiningChannelSuccess::decode(payload).ok();
                let Some(opened) = opened.filter(|it| it.request_id == ALIVE_REQUEST) else {
                    return false;
                };
                // It grants what it cannot have.
                let close = CloseChannel {
                    channel_id: opened.channel_id,
                    reason_code: text("not needed"),
                };
                close.encode_frame(out);
                true
            }
            _ => false,
        }
    }

    fn silence(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.silence_until().is_some_and(|until| until <= now) {
            self.outbox.cause(super::Cause::Silent);
            return Err(Fault::Expired("shares stay without an answer"));
        }
        match self.quiet.due(now) {
            Due::Nothing => Ok(()),
            Due::Ask => {
                self.ask_whether_alive(out);
                Ok(())
            }
            Due::Gone => {
                self.outbox.cause(super::Cause::Silent);
                Err(Fault::Expired(
                    "not a word for a while, and none when it was asked",
                ))
            }
        }
    }
}

impl Protocol for Session {
    fn length_max(&self, header: &Header) -> u32 {
        Upstream::length_max(header)
    }

    fn frame(&mut self, now: Time, header: &Header, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.heard(now, header, payload, out) {
            return Ok(());
        }
        let result = self.upstream.frame(now, header, payload, out, &mut self.heard);
        self.attend(now, out)?;
        result
    }

    fn poll_mail(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.upstream.started() {
            return Poll::Ready(());
        }
        self.commands.poll(cx)
    }

    fn mail(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        if !self.upstream.started() {
            self.upstream.start(now, out, &mut self.heard)?;
        }
        for _ in 0..COMMANDS_PER_MAIL {
            let Some(command) = self.commands.take() else {
                break;
            };
            self.command(now, command, out)?;
        }
        self.attend(now, out)
    }

    fn deadline(&self) -> Option<Time> {
        [
            self.upstream.deadline(),
            self.silence_until(),
            self.quiet.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn expire(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.silence(now, out)?;
        let result = self.upstream.expire(now, out, &mut self.heard);
        if self.upstream.silent() {
            self.tell(Told::ExtensionsUnanswered);
        }
        self.attend(now, out)?;
        result
    }

    fn finished(&self) -> bool {
        self.finished || self.commands.ended()
    }
}
