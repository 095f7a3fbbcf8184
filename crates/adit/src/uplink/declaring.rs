//! One job declaration connection upwards (protocol 1).

use std::task::{Context, Poll};
use std::time::Duration;

use adit_net::{Protocol, Url};
use adit_proto::declare::client::{self, Client, Declaration, Event, Input, Mode, Output};
use adit_proto::setup::{self, ClientEvent, ClientInput, ClientOutput, Request};
use adit_proto::{Fault, Time};
use adit_wire::common::{self, flags, protocol};
use adit_wire::declare::{PushSolution, ToClient};
use adit_wire::{DecodeError, Header};
use tokio::sync::mpsc;

use super::Cause;
use super::commands::{COMMANDS_PER_MAIL, Commands};
use super::lines::{Outbox, Said};
use crate::device::upstream::{DEVICE, text};

/// Longest payload taken of a message that is not known and will be ignored.
const UNKNOWN_LENGTH_MAX: u32 = 64 * 1024;
/// How long a server may take to answer SetupConnection.
const SETUP_TIMEOUT: Duration = Duration::from_secs(10);

/// What the role wants of the connection.
#[derive(Debug)]
pub enum Command {
    /// A token for this job.
    Reserve(u32),
    /// The job will not be declared.
    Release(u32),
    /// Declare the job.
    Declare(u32, Box<Declaration>),
    /// A block was found.
    Solution(PushSolution),
}

/// The protocol on the link.
pub(super) struct Session {
    setup: setup::Client,
    declare: Option<Client>,
    settings: client::Settings,
    commands: Commands<Command>,
    outbox: Outbox,
    started: bool,
    finished: bool,
}

impl Session {
    pub(super) fn new(
        url: &Url,
        settings: client::Settings,
        commands: mpsc::Receiver<Command>,
        outbox: Outbox,
    ) -> Self {
        let request = Request {
            protocol: protocol::JOB_DECLARATION,
            // REQ-JD-020: who sets it will reveal its transactions.
            flags: match settings.mode {
                Mode::FullTemplate => flags::DECLARE_TX_DATA,
                Mode::CoinbaseOnly => 0,
            },
            endpoint_host: text(&url.host),
            endpoint_port: url.port,
            device: DEVICE.clone(),
            timeout: SETUP_TIMEOUT,
        };
        Self {
            setup: setup::Client::new(request),
            declare: None,
            settings,
            commands: Commands::new(commands),
            outbox,
            started: false,
            finished: false,
        }
    }

    fn setup(&mut self, now: Time, input: ClientInput, out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut outputs = Vec::new();
        let mut result = self.setup.handle(now, input, &mut outputs);
        for output in outputs {
            match output {
                ClientOutput::Send(message) => message.encode_frame(out),
                ClientOutput::Event(ClientEvent::Established { .. }) => {
                    self.declare = Some(Client::new(self.settings.clone()));
                    result = result.and(self.declare(now, Input::Start, out));
                }
                ClientOutput::Event(ClientEvent::Refused { flags, code }) => {
                    tracing::warn!(%code, flags, "the upstream takes no job declarations from us");
                }
                // Both connections go to the new place together: the mining connection says where.
                ClientOutput::Event(ClientEvent::Reconnect { .. }) => {
                    self.outbox.cause(Cause::Moved);
                    self.finished = true;
                }
                ClientOutput::Event(ClientEvent::EndpointChanged { .. }) => {}
            }
        }
        result
    }

    fn declare(&mut self, now: Time, input: Input, out: &mut Vec<u8>) -> Result<(), Fault> {
        let Some(client) = &mut self.declare else {
            return Ok(());
        };
        let mut outputs = Vec::new();
        let result = client.handle(now, input, &mut outputs);
        for output in outputs {
            match output {
                Output::Send(message) => message.encode_frame(out),
                Output::Event(Event::Unasked(what)) => {
                    tracing::warn!(?what, "the upstream answers what nobody asked");
                }
                Output::Event(event) => self.outbox.say(Said::Declaring(event)),
            }
        }
        match &result {
            Err(fault) if *fault == client::NO_TOKEN => self.outbox.cause(Cause::NoToken),
            Err(fault) if *fault == client::NO_VERDICT => self.outbox.cause(Cause::DeclarationUnanswered),
            _ => {}
        }
        result.and(self.outbox.check())
    }
}

impl Protocol for Session {
    fn length_max(&self, header: &Header) -> u32 {
        let known = common::ToClient::length_max(header).or_else(|| ToClient::length_max(header));
        known.unwrap_or(UNKNOWN_LENGTH_MAX)
    }

    fn frame(&mut self, now: Time, header: &Header, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.declare.is_some() {
            match ToClient::decode(header, payload) {
                Ok(message) => return self.declare(now, Input::Message(message), out),
                Err(DecodeError::Malformed { message, .. }) => return Err(Fault::Malformed(message)),
                Err(DecodeError::Unknown { .. }) => {}
            }
        }
        match common::ToClient::decode(header, payload) {
            Ok(message) => self.setup(now, ClientInput::Message(message), out),
            Err(DecodeError::Malformed { message, .. }) => Err(Fault::Malformed(message)),
            Err(DecodeError::Unknown { .. }) => self.setup(now, ClientInput::Other, out),
        }
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
            self.setup(now, ClientInput::Start, out)?;
        }
        for _ in 0..COMMANDS_PER_MAIL {
            let Some(command) = self.commands.take() else {
                break;
            };
            let input = match command {
                Command::Reserve(job) => Input::Reserve { job },
                Command::Release(job) => Input::Release { job },
                Command::Declare(job, declaration) => Input::Declare { job, declaration },
                Command::Solution(solution) => Input::Solution(solution),
            };
            self.declare(now, input, out)?;
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Time> {
        let declare = self.declare.as_ref().and_then(Client::deadline);
        [self.setup.deadline(), declare].into_iter().flatten().min()
    }

    fn expire(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.setup(now, ClientInput::Deadline, out)?;
        self.declare(now, Input::Deadline, out)
    }

    fn finished(&self) -> bool {
        self.finished || self.commands.ended()
    }
}
