//! One connection above: setup, extensions, then frames of all its channels.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use adit_net::{End, Protocol, Url, dial_with, drive};
use adit_proto::extension::{
    self, ClientEvent as ExtensionEvent, ClientInput as ExtensionInput, ClientOutput as ExtensionOutput,
    Wishes,
};
use adit_proto::relay::{Input, Line};
use adit_proto::setup::{self, ClientEvent, ClientInput, ClientOutput, Request};
use adit_proto::{Fault, Time};
use adit_wire::common::{self, protocol};
use adit_wire::extension::WORKER_HASH_RATE;
use adit_wire::frame::Header;
use adit_wire::mining::{ToClient, ToServer};
use adit_wire::tlv::{self, Tlv, WorkerName};
use adit_wire::{DecodeError, negotiation};
use tokio::task::AbortHandle;

use super::mailbox::Mailbox;
use super::room::Room;
use crate::device::upstream::{DEVICE, text};
use crate::pool::connection::UNKNOWN_BYTES_MAX;
use crate::uplink::Cause;

/// How long a server may take to answer SetupConnection.
const SETUP_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection above, as the room sees it.
#[derive(Debug)]
pub(super) struct Upward {
    /// Place in the list of upstreams.
    pub(super) upstream: usize,
    /// What was asked for in SetupConnection.
    pub(super) flags: u32,
    /// What it is to the relay; `None`: it only shows that the upstream is there.
    pub(super) line: Cell<Option<Line>>,
    /// What the upstream requires, once the connection is set up.
    pub(super) stood: Cell<Option<u32>>,
    /// Whether shares name their worker.
    names_workers: Cell<bool>,
    pub(super) mailbox: Mailbox,
    task: RefCell<Option<AbortHandle>>,
}

impl Upward {
    pub(super) fn new(upstream: usize, flags: u32, line: Option<Line>, queue_bytes_max: usize) -> Self {
        Self {
            upstream,
            flags,
            line: Cell::new(line),
            stood: Cell::new(None),
            names_workers: Cell::new(false),
            mailbox: Mailbox::new(queue_bytes_max),
            task: RefCell::new(None),
        }
    }

    pub(super) fn driven_by(&self, task: AbortHandle) {
        self.task.replace(Some(task));
    }

    /// Ends it; nothing is heard of it any more.
    pub(super) fn hang_up(&self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    /// A message for the upstream. A share of an extended channel names its worker where that was negotiated here, with an
    /// empty name where the device gave none, and does not elsewhere (REQ-EXT-034, REQ-EXT-036).
    pub(super) fn say(&self, now: Time, message: &ToServer, worker: Option<WorkerName>) {
        self.mailbox.push(now, |out| match message {
            ToServer::SubmitSharesExtended(share) if self.names_workers.get() => {
                let name = worker.as_ref().map_or("", WorkerName::as_str);
                let written =
                    Tlv::user_identity(name).and_then(|tlv| tlv::encode_frame_with(share, &[tlv], out));
                debug_assert!(written.is_ok(), "a name of a worker fits");
            }
            other => other.encode_frame(out),
        });
    }
}

/// Dials and serves one connection until its end.
pub(super) async fn serve(room: Rc<Room>, up: Rc<Upward>, url: Url) {
    let started = room.plan.clock.now();
    let cause = match dial_with(&url, &room.plan.clock, &room.plan.dialling).await {
        Err(error) => {
            tracing::warn!(%url, %error, "no connection to the upstream");
            Cause::Unreachable
        }
        Ok(mut link) => {
            let connect = room.plan.clock.now() - started;
            let wishes = room.wishes(up.upstream, connect);
            let mut session = Session::new(Rc::clone(&room), Rc::clone(&up), &url, wishes);
            let end = drive(&mut link, &mut session, &room.plan.clock, room.plan.bounds_above).await;
            if session.silent {
                room.silent_about_extensions(up.upstream);
            }
            let cause = cause(&end);
            tracing::warn!(%url, %end, %cause, "connection to the upstream ended");
            cause
        }
    };
    room.ended(&up, cause);
}

fn cause(end: &End) -> Cause {
    match end {
        End::Fault(Fault::Malformed(_) | Fault::Misbehaved(_)) | End::Session(_) => Cause::Misbehaved,
        End::Fault(Fault::Incompatible(_)) => Cause::Refused,
        End::Fault(Fault::Expired(_)) | End::Slow => Cause::Silent,
        End::Closed | End::Finished | End::Io(_) => Cause::Lost,
    }
}

/// The protocol on the link.
struct Session {
    room: Rc<Room>,
    up: Rc<Upward>,
    setup: setup::Client,
    extensions: extension::Client,
    success_flags: u32,
    started: bool,
    /// The server never answered RequestExtensions.
    silent: bool,
}

impl Session {
    fn new(room: Rc<Room>, up: Rc<Upward>, url: &Url, wishes: Wishes) -> Self {
        let request = Request {
            protocol: protocol::MINING,
            flags: up.flags,
            endpoint_host: text(&url.host),
            endpoint_port: url.port,
            device: DEVICE.clone(),
            timeout: SETUP_TIMEOUT,
        };
        Self {
            room,
            up,
            setup: setup::Client::new(request),
            extensions: extension::Client::new(wishes),
            success_flags: 0,
            started: false,
            silent: false,
        }
    }

    fn setup(&mut self, now: Time, input: ClientInput, out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut outputs = Vec::new();
        let mut result = self.setup.handle(now, input, &mut outputs);
        for output in outputs {
            match output {
                ClientOutput::Send(message) => message.encode_frame(out),
                ClientOutput::Event(ClientEvent::Established { success_flags, .. }) => {
                    self.success_flags = success_flags;
                    result = result.and(self.extension(now, ExtensionInput::Start, out));
                }
                ClientOutput::Event(ClientEvent::Refused { flags, code }) => {
                    tracing::warn!(%code, flags, asked = self.up.flags, "the upstream refused the connection");
                    let lacking = flags & self.up.flags;
                    if lacking != 0 {
                        self.room.lacking(&self.up, lacking);
                    }
                }
                // Where the upstream sends us is our business alone (REQ-COM-034).
                ClientOutput::Event(ClientEvent::Reconnect { host, port }) => {
                    let host = host.as_ref().map(|host| host.as_bytes());
                    self.room.moved(&self.up, host, port);
                }
                ClientOutput::Event(ClientEvent::EndpointChanged { channel }) => {
                    result = result.and(self.extension(now, ExtensionInput::EndpointChanged, out));
                    if let Some(line) = self.up.line.get() {
                        self.room.relay(Input::AboveChanged {
                            line,
                            channel_id: channel,
                        });
                    }
                }
            }
        }
        result
    }

    fn extension(&mut self, now: Time, input: ExtensionInput, out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut outputs = Vec::new();
        let result = self.extensions.handle(now, input, &mut outputs);
        let names_workers = self.extensions.agreed().contains(&WORKER_HASH_RATE);
        self.up.names_workers.set(names_workers);
        for output in outputs {
            match output {
                ExtensionOutput::Send(message) => message.encode_frame(out),
                ExtensionOutput::Event(ExtensionEvent::Settled) => {
                    self.room.stood(&self.up, self.success_flags);
                }
                ExtensionOutput::Event(ExtensionEvent::Unsupported(ids)) => {
                    tracing::info!(?ids, "the upstream does not support these extensions");
                }
            }
        }
        result
    }

    fn other(&mut self, now: Time, header: &Header, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        match negotiation::ToClient::decode(header, payload) {
            Ok(message) => return self.extension(now, ExtensionInput::Message(message), out),
            Err(DecodeError::Malformed { message, .. }) => return Err(Fault::Malformed(message)),
            Err(DecodeError::Unknown { .. }) => {}
        }
        if let (Some(line), true) = (self.up.line.get(), header.extension() != 0) {
            self.room.relay(Input::AboveOther {
                line,
                header: *header,
                payload,
            });
        }
        Ok(())
    }
}

impl Protocol for Session {
    fn length_max(&self, header: &Header) -> u32 {
        let known = common::ToClient::length_max(header).or_else(|| ToClient::length_max(header));
        let known = known.or_else(|| negotiation::ToClient::length_max(header));
        known.unwrap_or(UNKNOWN_BYTES_MAX)
    }

    fn frame(&mut self, now: Time, header: &Header, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.up.stood.get().is_some() {
            match ToClient::decode(header, payload) {
                Ok(message) => {
                    if let Some(line) = self.up.line.get() {
                        self.room.relay(Input::Above { line, message });
                    }
                    return Ok(());
                }
                Err(DecodeError::Malformed { message, .. }) => return Err(Fault::Malformed(message)),
                Err(DecodeError::Unknown { .. }) => {}
            }
        }
        match common::ToClient::decode(header, payload) {
            Ok(message) => self.setup(now, ClientInput::Message(message), out),
            Err(DecodeError::Malformed { message, .. }) => Err(Fault::Malformed(message)),
            Err(DecodeError::Unknown { .. }) => {
                self.setup(now, ClientInput::Other, out)?;
                self.other(now, header, payload, out)
            }
        }
    }

    fn poll_mail(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mail = self.up.mailbox.poll(cx);
        match self.started {
            false => Poll::Ready(()),
            true => mail,
        }
    }

    fn mail(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        if !std::mem::replace(&mut self.started, true) {
            self.setup(now, ClientInput::Start, out)?;
        }
        self.up.mailbox.take(now, out);
        if self.up.mailbox.is_over() {
            return Err(self.up.mailbox.fault());
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Time> {
        if self.up.mailbox.is_over() {
            return Some(Time(0));
        }
        [self.setup.deadline(), self.extensions.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    fn expire(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.up.mailbox.is_over() {
            return Err(self.up.mailbox.fault());
        }
        self.setup(now, ClientInput::Deadline, out)?;
        let answered = self.extension(now, ExtensionInput::Deadline, out);
        self.silent |= answered.is_err();
        answered
    }
}
