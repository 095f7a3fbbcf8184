//! One connection below: its setup waits for the upstream's word, then its frames go through the relay.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use adit_net::Protocol;
use adit_proto::relay::{Conn, FLAGS_KNOWN, Input};
use adit_proto::{Fault, Time, extension, setup};
use adit_wire::common::{self, ChannelEndpointChanged, PROTOCOL_VERSION, SetupConnection, protocol};
use adit_wire::frame::Header;
use adit_wire::mining::{SubmitSharesExtended, ToServer};
use adit_wire::tlv::{self, WorkerName};
use adit_wire::{DecodeError, Message, negotiation};

use super::mailbox::{Mailbox, Order};
use super::room::Room;
use crate::pool::connection::{Budget, UNKNOWN_BYTES_MAX};

/// What a device may send before its setup is answered: some say at once what they want.
const EARLY_BYTES_MAX: usize = 16 * 1024;
/// A message that is handed on costs the upstream something, too: it counts as so many.
const OTHER_COST: u32 = 10;

enum Stage {
    ExpectSetup {
        until: Time,
    },
    /// The upstream is asked whether it can serve it.
    Asked(Box<SetupConnection>),
    Mining,
    Over,
}

/// One connection below.
pub(super) struct Device {
    room: Rc<Room>,
    conn: Conn,
    mailbox: Rc<Mailbox>,
    peer: SocketAddr,
    stage: Stage,
    /// Frames that came before their time.
    early: Vec<u8>,
    extensions: extension::Server,
    messages: Budget,
    leaving: bool,
}

impl Device {
    pub(super) fn new(room: Rc<Room>, conn: Conn, mailbox: Rc<Mailbox>, peer: SocketAddr) -> Self {
        let now = room.plan.clock.now();
        let messages = Budget::new(room.plan.messages_per_second, now);
        let extensions = extension::Server::new(Arc::clone(&room.plan.extensions));
        let until = now + room.plan.setup_timeout;
        Self {
            room,
            conn,
            mailbox,
            peer,
            stage: Stage::ExpectSetup { until },
            early: Vec::new(),
            extensions,
            messages,
            leaving: false,
        }
    }

    fn setup(&mut self, now: Time, header: &Header, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let message = match common::ToServer::decode(header, payload) {
            Ok(common::ToServer::SetupConnection(message)) => message,
            Err(DecodeError::Unknown { .. }) => {
                return Err(Fault::Misbehaved("SetupConnection must come first"));
            }
            Err(_) => return Err(Fault::Malformed("SetupConnection cannot be read")),
        };
        let versions = message.min_version..=message.max_version;
        if message.protocol != protocol::MINING || !versions.contains(&PROTOCOL_VERSION) {
            // Whatever the upstream would say.
            return self.answer(now, message, 0, 0, out);
        }
        let flags = message.flags & FLAGS_KNOWN;
        self.stage = Stage::Asked(Box::new(message));
        let conn = self.conn;
        self.room.relay(Input::Join { conn, flags });
        Ok(())
    }

    /// Answers the setup: the features that the upstream has are ours.
    fn answer(
        &mut self,
        now: Time,
        message: SetupConnection,
        supported_flags: u32,
        success_flags: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let served = setup::Served {
            protocol: protocol::MINING,
            supported_flags,
            required_flags: 0,
            success_flags,
        };
        let settings = setup::Settings {
            protocols: vec![served],
            timeout: self.room.plan.setup_timeout,
        };
        let mut machine = setup::Server::new(now, Arc::new(settings));
        let mut outputs = Vec::new();
        let input = setup::ServerInput::Message(message.into());
        let result = machine.handle(now, input, &mut outputs);
        for output in outputs {
            match output {
                setup::ServerOutput::Send(message) => message.encode_frame(out),
                setup::ServerOutput::Established(_) => self.stage = Stage::Mining,
            }
        }
        result
    }

    fn take_order(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        let (supported, success_flags) = match self.mailbox.take_order() {
            None => return Ok(()),
            Some(Order::Cut(fault)) => return Err(fault),
            Some(Order::Leave) => {
                self.leaving = true;
                return Ok(());
            }
            Some(Order::Admit(success_flags)) => (FLAGS_KNOWN, success_flags),
            Some(Order::Deny(lacking)) => (FLAGS_KNOWN & !lacking, 0),
        };
        let Stage::Asked(message) = std::mem::replace(&mut self.stage, Stage::Over) else {
            return Ok(());
        };
        self.answer(now, *message, supported, success_flags, out)?;
        let early = std::mem::take(&mut self.early);
        let mut rest = early.as_slice();
        while let Some(header) = rest.first_chunk().map(|head| Header::parse(*head)) {
            let end = Header::LEN + header.msg_length as usize;
            let Some((frame, after)) = rest.split_at_checked(end) else {
                break;
            };
            self.decode(now, &header, frame.get(Header::LEN..).unwrap_or_default(), out)?;
            rest = after;
        }
        Ok(())
    }

    fn wait(&mut self, header: &Header, payload: &[u8]) -> Result<(), Fault> {
        if self.early.len() + payload.len() > EARLY_BYTES_MAX {
            return Err(Fault::Misbehaved("it says too much before its setup is answered"));
        }
        self.early.extend_from_slice(&header.encode());
        self.early.extend_from_slice(payload);
        Ok(())
    }

    fn decode(&mut self, now: Time, header: &Header, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let (message, rest) = match ToServer::decode_with_rest(header, payload) {
            Ok(decoded) => decoded,
            Err(DecodeError::Unknown { .. }) => {
                self.messages.spend(now)?;
                return self.decode_other(now, header, payload, out);
            }
            Err(error) => return Err(self.malformed(&error)),
        };
        if !self.extensions.admitted() {
            self.extension(extension::ServerInput::Other, out)?;
        }
        let conn = self.conn;
        match message {
            ToServer::SubmitSharesExtended(share) if !rest.is_empty() => {
                let input = self.tagged(share, rest);
                self.room.relay(input);
                return Ok(());
            }
            ToServer::SubmitSharesStandard(_) | ToServer::SubmitSharesExtended(_) => {}
            _ => self.messages.spend(now)?,
        }
        self.room.relay(Input::Below {
            conn,
            message,
            worker: None,
        });
        Ok(())
    }

    /// A share with fields behind it: a name counts where it was negotiated, and everything else is of no meaning here
    /// (REQ-EXT-021, REQ-EXT-037).
    fn tagged(&self, share: SubmitSharesExtended, rest: &[u8]) -> Input<'static> {
        let (conn, channel_id, sequence_number) = (self.conn, share.channel_id, share.sequence_number);
        let malformed = Input::Malformed {
            conn,
            channel_id,
            sequence_number,
        };
        let worker = match tlv::user_identity(rest, self.extensions.agreed()) {
            Ok(name) => name.map(WorkerName::new).transpose(),
            Err(_) => return malformed,
        };
        match worker {
            Ok(worker) => Input::Below {
                conn,
                message: share.into(),
                worker,
            },
            Err(_) => malformed,
        }
    }

    fn decode_other(
        &mut self,
        now: Time,
        header: &Header,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        match negotiation::ToServer::decode(header, payload) {
            Ok(message) => return self.extension(extension::ServerInput::Message(message), out),
            Err(DecodeError::Unknown { .. }) => {}
            Err(error) => return Err(self.malformed(&error)),
        }
        let conn = self.conn;
        if (header.extension(), header.msg_type)
            == (ChannelEndpointChanged::EXTENSION, ChannelEndpointChanged::TYPE)
        {
            let Ok(changed) = ChannelEndpointChanged::decode(payload) else {
                return Ok(());
            };
            self.extension(extension::ServerInput::EndpointChanged, out)?;
            let channel_id = changed.channel_id;
            self.room.relay(Input::BelowChanged { conn, channel_id });
            return Ok(());
        }
        // A second SetupConnection and unknown messages of the core change nothing (REQ-COM-006, REQ-FRM-023).
        if header.extension() != 0 {
            for _ in 1..OTHER_COST {
                self.messages.spend(now)?;
            }
            self.room.relay(Input::BelowOther {
                conn,
                header: *header,
                payload,
            });
        }
        Ok(())
    }

    fn extension(&mut self, input: extension::ServerInput, out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut outputs = Vec::new();
        let result = self.extensions.handle(input, &mut outputs);
        for extension::ServerOutput::Send(message) in outputs {
            message.encode_frame(out);
        }
        result
    }

    fn malformed(&self, error: &DecodeError) -> Fault {
        tracing::debug!(peer = %self.peer, %error, "malformed message");
        Fault::Malformed("a message cannot be read")
    }
}

impl Protocol for Device {
    fn length_max(&self, header: &Header) -> u32 {
        match &self.stage {
            Stage::ExpectSetup { .. } => common::ToServer::length_max(header).unwrap_or(UNKNOWN_BYTES_MAX),
            _ => ToServer::length_max(header)
                .or_else(|| negotiation::ToServer::length_max(header))
                .unwrap_or(UNKNOWN_BYTES_MAX),
        }
    }

    fn frame(&mut self, now: Time, header: &Header, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        match &self.stage {
            Stage::ExpectSetup { .. } => self.setup(now, header, payload, out),
            Stage::Asked(_) => self.wait(header, payload),
            Stage::Mining => self.decode(now, header, payload, out),
            Stage::Over => Ok(()),
        }
    }

    fn poll_mail(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.mailbox.poll(cx)
    }

    fn mail(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.mailbox.take(now, out);
        self.take_order(now, out)?;
        if self.mailbox.is_over() {
            return Err(self.mailbox.fault());
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Time> {
        match self.stage {
            _ if self.mailbox.is_over() => Some(Time(0)),
            Stage::ExpectSetup { until } => Some(until),
            _ => None,
        }
    }

    fn expire(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.mailbox.is_over() {
            self.mailbox.take(now, out);
            return Err(self.mailbox.fault());
        }
        match self.stage {
            Stage::ExpectSetup { until } if until <= now => Err(Fault::Expired("no SetupConnection in time")),
            _ => Ok(()),
        }
    }

    fn finished(&self) -> bool {
        self.leaving
    }
}
