//! The client's side: says who it is and what it needs, and checks the answer.

use std::time::Duration;

use adit_wire::Str0_255;
use adit_wire::common::{
    PROTOCOL_VERSION, SetupConnection, SetupConnectionSuccess, ToClient, ToServer, flags, protocol,
};

use super::Device;
use crate::{Fault, Time};

/// What a client asks for (spec 3.6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Number of the protocol, see [`adit_wire::common::protocol`].
    pub protocol: u8,
    /// Features that the client cannot do without, see [`adit_wire::common::flags`].
    pub flags: u32,
    /// Host dialled, an ASCII name or IP address (REQ-COM-021).
    pub endpoint_host: Str0_255,
    /// Port dialled.
    pub endpoint_port: u16,
    /// Who we are; vendor and hardware version shall not be empty (REQ-COM-008, REQ-COM-009).
    pub device: Device,
    /// How long the server may take to answer.
    pub timeout: Duration,
}

/// What can happen to the machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The session stands; to be said once, first.
    Start,
    /// A common message.
    Message(ToClient),
    /// A frame of another protocol or an unknown one. After the setup it is of no interest here.
    Other,
    /// The deadline has passed, perhaps.
    Deadline,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this message.
    Send(ToServer),
    /// Something the role should know.
    Event(Event),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The server agreed (spec 3.6.2).
    Established {
        /// Version chosen.
        version: u16,
        /// The server's own requirements, see [`adit_wire::common::flags`].
        success_flags: u32,
    },
    /// The server refused and will close the connection (spec 3.6.3). A fault follows.
    Refused {
        /// Those of our flags that it does not support; 0 for another cause. Some servers repeat all of our
        /// flags here whatever the cause is (C-25), so nothing more than a log line should hang on it alone.
        flags: u32,
        /// Its code: for the log only (REQ-COM-024).
        code: Str0_255,
    },
    /// Go to another place with the same authority key and open every channel again there (spec 3.6.5).
    Reconnect {
        /// Host to dial; `None`: the present one.
        host: Option<Str0_255>,
        /// Port to dial; `None`: the present one.
        port: Option<u16>,
    },
    /// Forget what extensions negotiated on this channel (spec 3.6.4).
    EndpointChanged {
        /// The channel.
        channel: u32,
    },
}

/// Asks a server for a connection (spec 3.6).
#[derive(Clone, Debug)]
pub struct Client {
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    ExpectStart(Box<Request>),
    ExpectAnswer { protocol: u8, flags: u32, until: Time },
    Established,
    Refused,
}

impl Client {
    /// A machine that will send `request`.
    #[must_use]
    pub fn new(request: Request) -> Self {
        Self {
            state: State::ExpectStart(Box::new(request)),
        }
    }

    /// The one door.
    ///
    /// # Errors
    /// `Incompatible` when the server refuses or its answer does not fit what was asked for, `Misbehaved` when it
    /// speaks out of turn, `Expired` when it does not answer in time.
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) -> Result<(), Fault> {
        match input {
            Input::Start => self.start(now, out),
            Input::Message(ToClient::SetupConnectionSuccess(success)) => self.success(&success, out),
            Input::Message(ToClient::SetupConnectionError(error)) => self.refused(
                Event::Refused {
                    flags: error.flags,
                    code: error.error_code,
                },
                out,
            ),
            Input::Message(ToClient::Reconnect(message)) => {
                let host = (!message.new_host.is_empty()).then_some(message.new_host);
                let port = (message.new_port != 0).then_some(message.new_port);
                self.later(Event::Reconnect { host, port }, out)
            }
            Input::Message(ToClient::ChannelEndpointChanged(message)) => self.later(
                Event::EndpointChanged {
                    channel: message.channel_id,
                },
                out,
            ),
            Input::Other => self.expect_established(),
            Input::Deadline => self.expire(now),
        }
    }

    /// When [`Input::Deadline`] is wanted.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        match self.state {
            State::ExpectAnswer { until, .. } => Some(until),
            State::ExpectStart(_) | State::Established | State::Refused => None,
        }
    }

    fn start(&mut self, now: Time, out: &mut Vec<Output>) -> Result<(), Fault> {
        let State::ExpectStart(request) = &self.state else {
            return Ok(());
        };
        out.push(Output::Send(message(request).into()));
        self.state = State::ExpectAnswer {
            protocol: request.protocol,
            flags: request.flags,
            until: now + request.timeout,
        };
        Ok(())
    }

    fn success(&mut self, success: &SetupConnectionSuccess, out: &mut Vec<Output>) -> Result<(), Fault> {
        let State::ExpectAnswer { protocol, flags, .. } = self.state else {
            return self.expect_established();
        };
        if success.used_version != PROTOCOL_VERSION {
            self.state = State::Refused;
            return Err(Fault::Incompatible(
                "the server chose a version that was not offered",
            ));
        }
        if contradicts(protocol, flags, success.flags) {
            self.state = State::Refused;
            return Err(Fault::Incompatible(
                "the server requires what this client cannot do",
            ));
        }
        self.state = State::Established;
        let (version, success_flags) = (success.used_version, success.flags);
        out.push(Output::Event(Event::Established {
            version,
            success_flags,
        }));
        Ok(())
    }

    fn refused(&mut self, event: Event, out: &mut Vec<Output>) -> Result<(), Fault> {
        if matches!(self.state, State::ExpectAnswer { .. }) {
            self.state = State::Refused;
            out.push(Output::Event(event));
            return Err(Fault::Incompatible("the server refused the connection"));
        }
        self.expect_established()
    }

    /// What may come at any time once the connection is set up. A server says nothing before it has answered
    /// (REQ-COM-005).
    fn later(&mut self, event: Event, out: &mut Vec<Output>) -> Result<(), Fault> {
        self.expect_established()?;
        out.push(Output::Event(event));
        Ok(())
    }

    fn expect_established(&self) -> Result<(), Fault> {
        match self.state {
            State::Established => Ok(()),
            State::Refused => Err(Fault::Incompatible("the connection was refused")),
            State::ExpectStart(_) | State::ExpectAnswer { .. } => Err(Fault::Misbehaved(
                "the server spoke before it answered SetupConnection",
            )),
        }
    }

    fn expire(&self, now: Time) -> Result<(), Fault> {
        match self.state {
            State::ExpectAnswer { until, .. } if now >= until => {
                Err(Fault::Expired("no answer to SetupConnection in time"))
            }
            _ => Ok(()),
        }
    }
}

/// Whether the server requires what the client ruled out (REQ-COM-019, REQ-MIN-015, C-53).
fn contradicts(number: u8, asked: u32, required: u32) -> bool {
    number == protocol::MINING
        && ((required & flags::REQUIRES_FIXED_VERSION != 0 && asked & flags::REQUIRES_VERSION_ROLLING != 0)
            || (required & flags::REQUIRES_EXTENDED_CHANNELS != 0
                && asked & flags::REQUIRES_STANDARD_JOBS != 0))
}

fn message(request: &Request) -> SetupConnection {
    let device = request.device.clone();
    SetupConnection {
        protocol: request.protocol,
        min_version: PROTOCOL_VERSION,
        max_version: PROTOCOL_VERSION,
        flags: request.flags,
        endpoint_host: request.endpoint_host.clone(),
        endpoint_port: request.endpoint_port,
        vendor: device.vendor,
        hardware_version: device.hardware_version,
        firmware: device.firmware,
        device_id: device.device_id,
    }
}
