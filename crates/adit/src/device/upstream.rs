//! The machines of a mining client on one connection, with their frames: what a device, a load generator and
//! `examples/miner.rs` share.

use std::sync::LazyLock;
use std::time::Duration;

use adit_net::Url;
use adit_proto::extension::{
    self, ClientEvent as ExtensionEvent, ClientInput as ExtensionInput, Route, Wishes,
};
use adit_proto::mining::client::{
    self as mining, Client, Event, Open, Output, Settings, Share, Withheld, Work,
};
use adit_proto::setup::{self, ClientEvent, ClientInput, ClientOutput, Device, Request};
use adit_proto::{Fault, Time};
use adit_wire::common::{self, flags, protocol};
use adit_wire::extension::WORKER_HASH_RATE;
use adit_wire::mining::{SetCustomMiningJob, SubmitSharesExtended, ToClient, ToServer};
use adit_wire::tlv::{self, Tlv, WorkerName};
use adit_wire::{DecodeError, Header, Message, Str0_255, U256, negotiation};

/// Longest payload taken of a message that is not known and will be ignored.
const UNKNOWN_LENGTH_MAX: u32 = 64 * 1024;

/// How long a server may take to answer SetupConnection.
const SETUP_TIMEOUT: Duration = Duration::from_secs(10);

/// What the connection has to say to its role.
#[derive(Debug)]
pub enum Heard {
    /// The setup is done and the extensions are settled; channels may be opened.
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
    extensions: extension::Client,
    /// Whose name is appended to the shares of extended channels, where extension 0x0002 is in use.
    worker: Option<WorkerName>,
    /// The server did not answer RequestExtensions.
    silent: bool,
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
            extensions: extension::Client::new(Wishes::default()),
            worker: None,
            silent: false,
            mining: None,
            settings,
            started: false,
            outputs: Vec::new(),
        }
    }

    /// The same client, asking for extensions before anything else. `worker` is the name that extension 0x0002 carries.
    #[must_use]
    pub fn with_extensions(mut self, wishes: Wishes, worker: Option<WorkerName>) -> Self {
        self.extensions = extension::Client::new(wishes);
        self.worker = worker;
        self
    }

    /// Whether the server never answered the request for extensions, which then was the fault: see
    /// [`Patience`](extension::Patience).
    #[must_use]
    pub const fn silent(&self) -> bool {
        self.silent
    }

    /// The extensions in use.
    #[must_use]
    pub fn agreed(&self) -> &[u16] {
        self.extensions.agreed()
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
        let known = known.or_else(|| negotiation::ToClient::length_max(header));
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
            Err(DecodeError::Unknown { .. }) => {
                self.setup(now, ClientInput::Other, out, heard)?;
                self.other(now, header, payload, out, heard)
            }
        }
    }

    /// What is neither a common nor a mining message, once the connection is set up.
    fn other(
        &mut self,
        now: Time,
        header: &Header,
        payload: &[u8],
        out: &mut Vec<u8>,
        heard: &mut Vec<Heard>,
    ) -> Result<(), Fault> {
        match negotiation::ToClient::decode(header, payload) {
            Ok(message) => self.extension(now, ExtensionInput::Message(message), out, heard),
            Err(DecodeError::Malformed { message, .. }) => Err(Fault::Malformed(message)),
            Err(DecodeError::Unknown { .. }) => {
                // A miner is the endpoint of all its channels (REQ-EXT-003, REQ-EXT-004).
                if header.extension() != 0
                    && let Route::Discard(why) = extension::route(header, payload, |_| true, |_| None)
                {
                    tracing::trace!(%header, ?why, "discarded");
                }
                Ok(())
            }
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

    /// Sends a job of our own (spec 5.3.18), first hashed at `since`; the answer is heard as an event.
    ///
    /// # Errors
    /// The fault that ends the connection, see [`setup::Client::handle`] and [`Client::handle`].
    pub fn custom(
        &mut self,
        now: Time,
        message: SetCustomMiningJob,
        since: Time,
        out: &mut Vec<u8>,
        heard: &mut Vec<Heard>,
    ) -> Result<(), Fault> {
        let message = Box::new(message);
        self.mining(now, mining::Input::Custom { message, since }, out, heard)
    }

    /// Tells the server another hash rate (spec 5.3.7).
    ///
    /// # Errors
    /// The fault that ends the connection, see [`setup::Client::handle`] and [`Client::handle`].
    pub fn update(
        &mut self,
        now: Time,
        channel: u32,
        nominal_hash_rate: f32,
        out: &mut Vec<u8>,
        heard: &mut Vec<Heard>,
    ) -> Result<(), Fault> {
        let update = mining::Input::Update {
            channel,
            nominal_hash_rate,
            max_target: U256::MAX,
        };
        self.mining(now, update, out, heard)
    }

    /// Version bits that may be rolled on this connection.
    #[must_use]
    pub fn version_mask(&self) -> u32 {
        self.mining.as_ref().map_or(0, Client::version_mask)
    }

    /// Sends a share and gives its sequence number, or why it was not sent.
    ///
    /// # Errors
    /// Why the pool could only refuse it.
    pub fn share(&mut self, now: Time, share: Share, out: &mut Vec<u8>) -> Result<u32, Withheld> {
        let worker = self.worker;
        self.share_of(now, share, worker.as_ref(), out)
    }

    /// The same for a share that this worker has found.
    ///
    /// # Errors
    /// As [`Upstream::share`].
    pub fn share_of(
        &mut self,
        now: Time,
        share: Share,
        worker: Option<&WorkerName>,
        out: &mut Vec<u8>,
    ) -> Result<u32, Withheld> {
        let client = self.mining.as_mut().ok_or(Withheld::UnknownChannel)?;
        // A share is no fault of the peer's.
        let _ = client.handle(now, mining::Input::Share(share), &mut self.outputs);
        match self.outputs.pop() {
            Some(Output::Send(ToServer::SubmitSharesExtended(it))) => {
                self.encode_extended(&it, worker, out);
                Ok(it.sequence_number)
            }
            Some(Output::Send(ToServer::SubmitSharesStandard(it))) => {
                it.encode_frame(out);
                Ok(it.sequence_number)
            }
            Some(Output::Event(Event::Withheld(why))) => Err(why),
            _ => Err(Withheld::UnknownChannel),
        }
    }

    /// Every share of an extended channel names its worker while the server agrees to extension 0x0002, and none does
    /// otherwise (REQ-EXT-034, REQ-EXT-036).
    fn encode_extended(&self, share: &SubmitSharesExtended, worker: Option<&WorkerName>, out: &mut Vec<u8>) {
        if !self.extensions.agreed().contains(&WORKER_HASH_RATE) {
            return share.encode_frame(out);
        }
        let worker = worker.map_or("", WorkerName::as_str);
        let written =
            Tlv::user_identity(worker).and_then(|worker| tlv::encode_frame_with(share, &[worker], out));
        debug_assert!(written.is_ok(), "a name of a worker fits");
    }

    /// When [`expire`](Self::expire) is wanted.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let mining = self.mining.as_ref().and_then(Client::deadline);
        [self.setup.deadline(), self.extensions.deadline(), mining]
            .into_iter()
            .flatten()
            .min()
    }

    /// The deadline has passed.
    ///
    /// # Errors
    /// The fault that ends the connection, see [`setup::Client::handle`] and [`Client::handle`].
    pub fn expire(&mut self, now: Time, out: &mut Vec<u8>, heard: &mut Vec<Heard>) -> Result<(), Fault> {
        self.setup(now, ClientInput::Deadline, out, heard)?;
        let answered = self.extension(now, ExtensionInput::Deadline, out, heard);
        self.silent |= answered.is_err();
        answered?;
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
        let mut result = self.setup.handle(now, input, &mut outputs);
        for output in outputs {
            match output {
                ClientOutput::Send(message) => message.encode_frame(out),
                ClientOutput::Event(ClientEvent::Established { success_flags, .. }) => {
                    self.mining = Some(Client::new(Settings {
                        success_flags,
                        ..self.settings.clone()
                    }));
                    // Extensions come before everything else (REQ-EXT-022).
                    result = result.and(self.extension(now, ExtensionInput::Start, out, heard));
                }
                ClientOutput::Event(ClientEvent::Refused { flags, code }) => {
                    heard.push(Heard::Refused { flags, code });
                }
                ClientOutput::Event(ClientEvent::Reconnect { host, port }) => {
                    heard.push(Heard::Reconnect { host, port });
                }
                ClientOutput::Event(ClientEvent::EndpointChanged { .. }) => {
                    let input = ExtensionInput::EndpointChanged;
                    result = result.and(self.extension(now, input, out, heard));
                }
            }
        }
        result
    }

    fn extension(
        &mut self,
        now: Time,
        input: ExtensionInput,
        out: &mut Vec<u8>,
        heard: &mut Vec<Heard>,
    ) -> Result<(), Fault> {
        let mut outputs = Vec::new();
        let result = self.extensions.handle(now, input, &mut outputs);
        for output in outputs {
            match output {
                extension::ClientOutput::Send(message) => message.encode_frame(out),
                extension::ClientOutput::Event(ExtensionEvent::Settled) => heard.push(Heard::Established),
                extension::ClientOutput::Event(ExtensionEvent::Unsupported(ids)) => {
                    tracing::info!(?ids, "the server does not support these extensions");
                }
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
pub(crate) static DEVICE: LazyLock<Device> = LazyLock::new(|| Device {
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
