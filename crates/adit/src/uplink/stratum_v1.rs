//! The mining connection upwards to a pool that speaks Stratum V1: to whoever stands on top it is the same as one of
//! Stratum V2 with one extended channel.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Duration;

use adit_net::{Protocol, TlsDialling};
use adit_proto::mining::client::Withheld;
use adit_proto::sv1::client::{self as sv1, Client, Event, Input, LINE_BYTES_MAX};
use adit_proto::{Fault, Time};
use adit_wire::{B0_32, Header, U256};
use tokio::sync::mpsc;

use super::Cause;
use super::commands::{COMMANDS_PER_MAIL, Commands};
use super::lines::{Outbox, Said};
use super::mining::{Channel, Command, SILENCE_MAX, Told};
use super::quiet::{Due, Patience, Quiet};
use crate::device::upstream::text as words;

/// Shares whose job is remembered until they are answered; the machine gives up the oldest before.
const UNANSWERED_MAX: usize = 8192;
/// The only channel there is.
const CHANNEL: u32 = 0;

/// How such connections are made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How a pool is known that speaks TLS; none where nobody does.
    pub tls: Option<TlsDialling>,
    /// Where `client.reconnect` may send us.
    pub reconnect_to: Vec<(String, u16)>,
}

/// The protocol on the link.
pub(super) struct Session {
    machine: Client,
    commands: Commands<Command>,
    outbox: Outbox,
    events: Vec<Event>,
    started: bool,
    entered: bool,
    target: U256,
    /// Number of the last share.
    last: u64,
    /// Number and job of shares without an answer, and when they were sent; oldest first.
    unanswered: VecDeque<(u64, u32, Time)>,
    /// Since when no answer came though one was due.
    silent_since: Option<Time>,
    quiet: Quiet,
    finished: bool,
}

impl Session {
    pub(super) fn new(
        settings: sv1::Settings,
        patience: Patience,
        commands: mpsc::Receiver<Command>,
        outbox: Outbox,
    ) -> Self {
        Self {
            machine: Client::new(settings),
            commands: Commands::new(commands),
            outbox,
            events: Vec::new(),
            started: false,
            entered: false,
            target: U256::MAX,
            last: 0,
            unanswered: VecDeque::new(),
            silent_since: None,
            quiet: Quiet::new(patience),
            finished: false,
        }
    }

    fn feed(&mut self, now: Time, input: Input<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut events = std::mem::take(&mut self.events);
        let result = self.machine.handle(now, input, out, &mut events);
        for event in events.drain(..) {
            self.event(now, event);
        }
        self.events = events;
        self.outbox.check()?;
        result
    }

    fn event(&mut self, now: Time, event: Event) {
        match event {
            Event::Entered {
                extranonce_bytes,
                version_mask,
            } => {
                self.entered = true;
                self.tell(Told::Opened(Channel {
                    id: CHANNEL,
                    target: self.target,
                    prefix: B0_32::default(),
                    size: u16::try_from(extranonce_bytes).unwrap_or(u16::MAX),
                    version_mask,
                    worker_names: false,
                }));
            }
            Event::Job(work) => {
                let clean = work.clean;
                if let Some(work) = work.of_channel(CHANNEL, self.target, now, clean) {
                    self.tell(Told::Work(Box::new(work)));
                }
            }
            // Jobs say which extranonce is theirs.
            Event::Moved { extranonce_bytes } => {
                tracing::debug!(extranonce_bytes, "the pool has given another extranonce");
            }
            Event::Target(target) => {
                self.target = U256(target.0);
                self.tell(Told::Target(self.target));
            }
            Event::Accepted { number } => {
                let (_, waited) = self.answered(now, number).unwrap_or_default();
                self.tell(Told::SharesAccepted { count: 1, waited });
            }
            Event::Refused { number, code, text } => {
                let job_id = self.answered(now, number).map(|(job_id, _)| job_id);
                self.tell(Told::ShareRefused {
                    job_id,
                    code: words(&format!("{code}: {text}")),
                });
            }
            Event::Reconnect { host, port } => {
                self.tell(Told::Reconnect {
                    host: (!host.is_empty()).then(|| words(&host)),
                    port: (port != 0).then_some(port),
                });
                self.finished = true;
            }
            Event::ReconnectIgnored { host } => tracing::warn!(
                host,
                "the pool wants to send us elsewhere, and nobody can know who says it: not followed, unless it stands in \
                 upstream.reconnect_hosts"
            ),
            Event::Message(words) => tracing::info!(words, "the pool says"),
        }
    }

    /// A share has its answer: the job that it was for, and how long it took.
    fn answered(&mut self, now: Time, number: u64) -> Option<(u32, Duration)> {
        let at = self.unanswered.iter().position(|(it, ..)| *it == number);
        let share = at.and_then(|at| self.unanswered.remove(at));
        self.silent_since = (!self.unanswered.is_empty()).then_some(now);
        share.map(|(_, job_id, sent)| (job_id, now - sent))
    }

    fn command(&mut self, now: Time, command: Command, out: &mut Vec<u8>) -> Result<(), Fault> {
        let Command::Share {
            job_id,
            nonce,
            ntime,
            version,
            extranonce,
            ..
        } = command
        else {
            // It finds out our hash rate by itself, and makes all jobs.
            return Ok(());
        };
        if !self.entered {
            return Ok(());
        }
        self.last += 1;
        let share = sv1::Share {
            number: self.last,
            job: job_id,
            extranonce: extranonce.as_bytes().to_vec(),
            ntime,
            nonce,
            version,
        };
        let (before, mut events) = (out.len(), Vec::new());
        self.machine.handle(now, Input::Share(share), out, &mut events)?;
        let sent = out.len() > before;
        for event in events {
            match event {
                Event::Refused { number, .. } if number == self.last && !sent => {
                    self.tell(Told::ShareWithheld(Withheld::StaleJob));
                }
                event => self.event(now, event),
            }
        }
        if !sent {
            return self.outbox.check();
        }
        if self.unanswered.len() >= UNANSWERED_MAX {
            self.unanswered.pop_front();
        }
        self.unanswered.push_back((self.last, job_id, now));
        self.silent_since.get_or_insert(now);
        Ok(())
    }

    fn tell(&mut self, told: Told) {
        self.outbox.say(Said::Mining(told));
    }

    fn silence_until(&self) -> Option<Time> {
        self.silent_since.map(|since| since + SILENCE_MAX)
    }

    fn silence(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.silence_until().is_some_and(|until| until <= now) {
            self.outbox.cause(Cause::Silent);
            return Err(Fault::Expired("shares stay without an answer"));
        }
        match self.quiet.due(now) {
            Due::Nothing => Ok(()),
            Due::Ask => self.feed(now, Input::Ask, out),
            Due::Gone => {
                self.outbox.cause(Cause::Silent);
                Err(Fault::Expired(
                    "not a word for a while, and none when it was asked",
                ))
            }
        }
    }
}

impl Protocol for Session {
    fn length_max(&self, _: &Header) -> u32 {
        0
    }

    fn frame(&mut self, _: Time, _: &Header, _: &[u8], _: &mut Vec<u8>) -> Result<(), Fault> {
        Err(Fault::Incompatible("no frames are spoken here"))
    }

    fn line_max(&self) -> usize {
        LINE_BYTES_MAX
    }

    fn line(&mut self, now: Time, line: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.quiet.heard(now) {
            self.tell(Told::Alive);
        }
        self.feed(now, Input::Line(line), out)
    }

    fn poll_mail(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.started {
            return Poll::Ready(());
        }
        self.commands.poll(cx)
    }

    fn mail(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        if !self.started {
            self.started = true;
            self.feed(now, Input::Start, out)?;
        }
        for _ in 0..COMMANDS_PER_MAIL {
            let Some(command) = self.commands.take() else {
                break;
            };
            self.command(now, command, out)?;
        }
        self.outbox.check()
    }

    fn deadline(&self) -> Option<Time> {
        let quiet = self.quiet.deadline().filter(|_| self.entered);
        [self.machine.deadline(), self.silence_until(), quiet]
            .into_iter()
            .flatten()
            .min()
    }

    fn expire(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.entered {
            self.silence(now, out)?;
        }
        self.feed(now, Input::Deadline, out)
    }

    fn finished(&self) -> bool {
        self.finished || self.commands.ended()
    }
}

/// What the machine of a connection needs to know.
pub(super) fn machine(
    upstream: &super::Upstream,
    settings: &Settings,
    mining: &super::mining::Settings,
) -> sv1::Settings {
    sv1::Settings {
        user: upstream.user.clone().unwrap_or_else(|| mining.user.clone()),
        password: upstream.password.clone().unwrap_or_else(|| "x".into()),
        agent: concat!("adit/", env!("CARGO_PKG_VERSION")).into(),
        version_mask: adit_proto::job::VERSION_MASK,
        extranonce2_min: usize::from(mining.extranonce_min),
        reconnect_to: settings.reconnect_to.clone(),
    }
}
