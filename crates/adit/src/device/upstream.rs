//! Both machines of a mining client on one connection, with their frames: what a device, a load generator and
//! `examples/miner.rs` share.

use std::sync::LazyLock;
use std::time::Duration;

use adit_net::Url;
use adit_proto::mining::client::{
    self as mining, Client, Event, Open, Output, Settings, Share, Withheld, Work,
};
use adit_proto::setup::{self, ClientEvent, ClientInput, ClientOutput, Device, Request};
use adit_proto::{Fault, Time};
use adit_wire::common::{self, flags, protocol};
use adit_wire::mining::{ToClient, ToServer};
use adit_wire::{DecodeError, Header, Str0_255};

/// Longest payload taken of a message that is not known and will be ignored.
const UNKNOWN_LENGTH_MAX: u32 = 64 * 1024;

/// How long a server may take to answer SetupConnection.
const SETUP_TIMEOUT: Duration = Duration::from_secs(10);

/// What the connection has to say to its role.
#[derive(Debug)]
pub enum Heard {
    /// The setup is done; channels may be opened.
    Established,
    /// The server refused the setup, for the log. A fault follows.
    Refused {
        /// Those of our flags that it does not support, perhaps (C-25).
        flags: u32,
        /// Its code.
        code: Str0_255,
    },
    /// Go to another place.
    Reconnect {
        /// Host to dial; `None`: the present one.
        host: Option<Str0_255>,
        /// Port to dial; `None`: the present one.
        port: Option<u16>,
    },
    /// Mine this.
    Work(Work),
    /// Whatever else the mining machine reports.
    Event(Event),
}

/// A mining client from the first frame on.
#[derive(Debug)]
pub struct Upstream {
    setup: setup::Client,
    mining: Option<Client>,
    settings: Settings,
    started: bool,
    /// Kept between calls for its memory.
    outputs: Vec<Output>,
}

impl Upstream {
    /// A client that will ask `url` for `flags` and follow work by `settings`.
    #[must_use]
    pub fn new(url: &Url, flags: u32, settings: Settings) -> Self {
        let request = Request {
            protocol: protocol::MINING,
            flags,
            endpoint_host: text(&url.host),
            endpoint_port: url.port,
            device: DEVICE.clone(),
            timeout: SETUP_TIMEOUT,
        };
        let setup = setup::Client::new(request);
        Self {
            setup,
            mining: None,
            settings,
            started: false,
            outputs: Vec::new(),
        }
    }

    /// Whether the first message was sent.
    #[must_use]
    pub const fn started(&self) -> bool {
        self.started
    }

    /// Sends the first message.
    ///
    /// # Errors
    /// The fault that ends the connection, see [`setup::Client::handle`] and [`Client::handle`].
    pub fn start(&mut self, now: Time, out: &mut Vec<u8>, heard: &mut Vec<Heard>) -> Result<(), Fault> {
        self.started = true;
        self.setup(now, ClientInput::Start, out, heard)
    }

    /// See [`adit_net::Protocol::length_max`].
    #[must_use]
    pub fn length_max(header: &Header) -> u32 {
        let known = common::ToClient::length_max(header).or_else(|| ToClient::length_max(header));
        known.unwrap_or(UNKNOWN_LENGTH_MAX)
    }

    /// One frame has arrived. Unknown messages are ignored (REQ-FRM-023).
    ///
    /// # Errors
    /// The fault that ends the connection, see [`setup::Client::handle`] and [`Client::handle`].
    pub fn frame(
        &mut self,
        now: Time,
        header: &Header,
        payload: &[u8],
        out: &mut Vec<u8>,
        heard: &mut Vec<Heard>,
    ) -> Result<(), Fault> {
        // Mining messages are by far the most.
        if self.mining.is_some() {
            match ToClient::decode(header, payload) {
                Ok(message) => return self.mining(now, mining::Input::Message(message), out, heard),
                Err(DecodeError::Malformed { message, .. }) => return Err(Fault::Malformed(message)),
                Err(DecodeError::Unknown { .. }) => {}
            }
        }
        match common::ToClient::decode(header, payload) {
            Ok(message) => self.setup(now, ClientInput::Message(message), out, heard),
            Err(DecodeError::Malformed { message, .. }) => Err(Fault::Malformed(message)),
            Err(DecodeError::Unknown { .. }) => self.setup(now, ClientInput::Other, out, heard),
        }
    }

    /// Asks for a channel.
    ///
    /// # Errors
    /// The fault that ends the connection, see [`setup::Client::handle`] and [`Client::handle`].
    pub fn open(
        &mut self,
        now: Time,
        open: Open,
        out: &mut Vec<u8>,
        heard: &mut Vec<Heard>,
    ) -> Result<(), Fault> {
        self.mining(now, mining::Input::Open(open), out, heard)
    }

    /// Sends a share and gives its sequence number, or why it was not sent.
    ///
    /// # Errors
    /// Why the pool could only refuse it.
    pub fn share(&mut self, now: Time, share: Share, out: &mut Vec<u8>) -> Result<u32, Withheld> {
        let client = self.mining.as_mut().ok_or(Withheld::UnknownChannel)?;
        // A share is no fault of the peer's.
        let _ = client.handle(now, mining::Input::Share(share), &mut self.outputs);
        match self.outputs.pop() {
            Some(Output::Send(message)) => {
                message.encode_frame(out);
                match message {
                    ToServer::SubmitSharesStandard(it) => Ok(it.sequence_number),
                    ToServer::SubmitSharesExtended(it) => Ok(it.sequence_number),
                    _ => Err(Withheld::UnknownChannel),
                }
            }
            Some(Output::Event(Event::Withheld(why))) => Err(why),
            _ => Err(Withheld::UnknownChannel),
        }
    }

    /// When [`expire`](Self::expire) is wanted.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let mining = self.mining.as_ref().and_then(Client::deadline);
        [self.setup.deadline(), mining].into_iter().flatten().min()
    }

    /// The deadline has passed.
    ///
    /// # Errors
    /// The fault that ends the connection, see [`setup::Client::handle`] and [`Client::handle`].
    pub fn expire(&mut self, now: Time, out: &mut Vec<u8>, heard: &mut Vec<Heard>) -> Result<(), Fault> {
        self.setup(now, ClientInput::Deadline, out, heard)?;
        if self.mining.is_some() {
            self.mining(now, mining::Input::Deadline, out, heard)
        } else {
            Ok(())
        }
    }

    fn setup(
        &mut self,
        now: Time,
        input: ClientInput,
        out: &mut Vec<u8>,
        heard: &mut Vec<Heard>,
    ) -> Result<(), Fault> {
        let mut outputs = Vec::new();
        let result = self.setup.handle(now, input, &mut outputs);
        for output in outputs {
            match output {
                ClientOutput::Send(message) => message.encode_frame(out),
                ClientOutput::Event(ClientEvent::Established { success_flags, .. }) => {
                    self.mining = Some(Client::new(Settings {
                        success_flags,
                        ..self.settings.clone()
                    }));
                    heard.push(Heard::Established);
                }
                ClientOutput::Event(ClientEvent::Refused { flags, code }) => {
                    heard.push(Heard::Refused { flags, code });
                }
                ClientOutput::Event(ClientEvent::Reconnect { host, port }) => {
                    heard.push(Heard::Reconnect { host, port });
                }
                // No extensions are spoken here, so there is no state of theirs to forget.
                ClientOutput::Event(ClientEvent::EndpointChanged { .. }) => {}
            }
        }
        result
    }

    fn mining(
        &mut self,
        now: Time,
        input: mining::Input,
        out: &mut Vec<u8>,
        heard: &mut Vec<Heard>,
    ) -> Result<(), Fault> {
        let Some(client) = &mut self.mining else {
            return Ok(());
        };
        let result = client.handle(now, input, &mut self.outputs);
        for output in self.outputs.drain(..) {
            match output {
                Output::Send(message) => message.encode_frame(out),
                Output::Work(work) => heard.push(Heard::Work(work)),
                Output::Event(event) => heard.push(Heard::Event(event)),
            }
        }
        result
    }
}

/// What adit says about itself (REQ-COM-007, REQ-COM-008, REQ-COM-009).
static DEVICE: LazyLock<Device> = LazyLock::new(|| Device {
    vendor: text("adit"),
    hardware_version: text(std::env::consts::ARCH),
    firmware: text(env!("CARGO_PKG_VERSION")),
    device_id: Str0_255::default(),
});

/// Flags of a client that mines channels of this kind (spec 5.3.1).
pub(crate) const fn setup_flags(channel: super::Channel) -> u32 {
    match channel {
        super::Channel::Standard => flags::REQUIRES_STANDARD_JOBS,
        super::Channel::Extended => 0,
    }
}

/// As much of `long` as the wire's text type holds.
pub(crate) fn text(long: &str) -> Str0_255 {
    let mut end = long.len().min(Str0_255::MAX);
    while !long.is_char_boundary(end) {
        end -= 1;
    }
    Str0_255::try_from(long.get(..end).unwrap_or_default()).unwrap_or_default()
}
