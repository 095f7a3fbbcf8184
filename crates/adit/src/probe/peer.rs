//! One connection to the server: says anything, hears everything, waits no longer than it may.
//!
//! Sockets block here. A probe does one thing at a time, and a check that reads from top to bottom is one that
//! can be believed.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

use adit_noise::{Feed, Session};
use adit_wire::common::{
    self, PROTOCOL_VERSION, SetupConnection, SetupConnectionError, SetupConnectionSuccess, protocol,
};
use adit_wire::declare::AllocateMiningJobToken;
use adit_wire::mining::{OpenExtendedMiningChannel, ToClient};
use adit_wire::template::RequestTransactionData;
use adit_wire::{Header, U256, message};

use super::frame::{Frame, Message};
use super::ground::Ground;
use super::handshake::{Shaken, shake};
use super::verdict::Miss;
use crate::device::upstream::text;

/// Longest payload that is taken of one frame.
const PAYLOAD_MAX: u32 = 8 << 20;
/// Most bytes that are taken of one connection.
const RECEIVED_MAX: u64 = 32 << 20;
/// How often a wait looks whether the operator wants to stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Request ids of barriers begin here, so that they meet no other.
const BARRIER_FIRST: u32 = 0x7000_0000;
/// Hash rate that is claimed: little, so that shares are easy.
pub(super) const CLAIM: f32 = 1_000.0;

/// A TCP connection without any encryption.
pub(super) struct Line {
    stream: TcpStream,
    ground: Rc<Ground>,
    number: u32,
    /// Read and not yet asked for.
    ahead: Vec<u8>,
}

/// What raw bytes came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Got {
    Bytes(Vec<u8>),
    Silence,
    End,
}

impl Line {
    pub(super) fn connect(ground: &Rc<Ground>) -> Result<Self, Miss> {
        let number = ground.take_connection()?;
        std::thread::sleep(Duration::from_millis(ground.settings.options.pause_ms));
        let stream = TcpStream::connect_timeout(&ground.addr, ground.settings.answer())
            .map_err(|error| Miss::skip(format!("cannot connect: {error}")))?;
        // Without it everything works too, only slower.
        let _ = stream.set_nodelay(true);
        Ok(Self {
            stream,
            ground: Rc::clone(ground),
            number,
            ahead: Vec::new(),
        })
    }

    /// Sends bytes as they are. That the server has hung up shows when it is listened to.
    pub(super) fn say(&mut self, bytes: &[u8]) -> Result<(), Miss> {
        self.ground.take_bytes(bytes.len())?;
        let _ = self.stream.set_write_timeout(Some(self.ground.settings.answer()));
        let _ = self.stream.write_all(bytes);
        Ok(())
    }

    /// Reads what comes within `wait`.
    pub(super) fn hear(&mut self, wait: Duration) -> Result<Got, Miss> {
        if !self.ahead.is_empty() {
            return Ok(Got::Bytes(std::mem::take(&mut self.ahead)));
        }
        let until = self.ground.clock.now() + wait;
        let mut buf = [0; 16 * 1024];
        loop {
            self.ground.open()?;
            let left = until - self.ground.clock.now();
            let slice = left.min(LOOK_EVERY).max(Duration::from_millis(1));
            let _ = self.stream.set_read_timeout(Some(slice));
            match self.stream.read(&mut buf) {
                Ok(0) => return Ok(Got::End),
                Ok(count) => return Ok(Got::Bytes(buf.get(..count).unwrap_or_default().to_vec())),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if left.is_zero() {
                        return Ok(Got::Silence);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Ok(Got::End),
            }
        }
    }

    /// Reads exactly so many bytes; fewer when the server ends or is silent.
    pub(super) fn hear_exactly(&mut self, count: usize) -> Result<(Vec<u8>, Got), Miss> {
        let mut bytes = Vec::new();
        let mut last = Got::Silence;
        while bytes.len() < count {
            last = self.hear(self.ground.settings.answer())?;
            match &last {
                Got::Bytes(more) => bytes.extend_from_slice(more),
                Got::Silence | Got::End => break,
            }
        }
        self.ahead = bytes.split_off(count.min(bytes.len()));
        Ok((bytes, last))
    }
}

/// What a server says, or that it says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Frame(Frame),
    Silence,
    /// It hung up.
    End,
}

impl Heard {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Frame(frame) => frame.name(),
            Self::Silence => "no answer".to_owned(),
            Self::End => "the server hung up".to_owned(),
        }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Frame(frame) => frame.bytes(),
            Self::Silence | Self::End => Vec::new(),
        }
    }
}

/// How SetupConnection was answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Success(SetupConnectionSuccess),
    Error(SetupConnectionError),
    Other(Heard),
}

/// A secured connection.
pub(super) struct Peer {
    pub(super) line: Line,
    session: Session,
    received: Vec<u8>,
    bytes_in: u64,
    ended: bool,
    barriers: u32,
    protocol: u8,
}

impl Peer {
    /// Connects and shakes hands. A server that cannot be talked to is no verdict of the check that wants to.
    pub(super) fn greet(ground: &Rc<Ground>) -> Result<Self, Miss> {
        let Shaken::Hands(examined, line) = shake(ground)? else {
            return Err(Miss::skip("the handshake fails; see sec.current-suite"));
        };
        let session = examined
            .believe(ground)
            .map_err(|error| Miss::skip(format!("the server is not believed: {error}")))?;
        Ok(Self {
            line,
            session,
            received: Vec::new(),
            bytes_in: 0,
            ended: false,
            barriers: 0,
            protocol: protocol::MINING,
        })
    }

    /// The same, and SetupConnection, which has to be answered with Success.
    pub(super) fn join(
        ground: &Rc<Ground>,
        protocol: u8,
        flags: u32,
    ) -> Result<(Self, SetupConnectionSuccess), Miss> {
        let mut peer = Self::greet(ground)?;
        peer.protocol = protocol;
        match peer.set_up(&setup(ground, protocol, flags))? {
            Answer::Success(success) => Ok((peer, success)),
            Answer::Error(_) => Err(Miss::skip(format!(
                "SetupConnection with protocol {protocol} and flags {flags:#x} is refused"
            ))),
            Answer::Other(heard) => Err(Miss::skip(format!("no setup: {}", heard.text()))),
        }
    }

    pub(super) fn ground(&self) -> &Rc<Ground> {
        &self.line.ground
    }

    /// Sends SetupConnection and waits for the answer.
    pub(super) fn set_up(&mut self, setup: &SetupConnection) -> Result<Answer, Miss> {
        self.say(setup)?;
        let heard = self.hear(self.line.ground.settings.answer())?;
        let Heard::Frame(frame) = &heard else {
            return Ok(Answer::Other(heard));
        };
        Ok(match frame.message() {
            Ok(Message::Common(common::ToClient::SetupConnectionSuccess(it))) => Answer::Success(it),
            Ok(Message::Common(common::ToClient::SetupConnectionError(it))) => Answer::Error(it),
            _ => Answer::Other(heard),
        })
    }

    pub(super) fn say(&mut self, message: &impl message::Message) -> Result<(), Miss> {
        self.say_with(message, &[])
    }

    /// A message with bytes behind its last field.
    pub(super) fn say_with(&mut self, message: &impl message::Message, more: &[u8]) -> Result<(), Miss> {
        let frame = frame_of(message, more);
        self.say_frame(&frame)
    }

    /// Any frame: header and payload.
    pub(super) fn say_frame(&mut self, frame: &[u8]) -> Result<(), Miss> {
        let sealed = self.seal(frame)?;
        self.line.say(&sealed)
    }

    /// A frame of any type.
    pub(super) fn say_any(
        &mut self,
        extension: u16,
        channel: bool,
        msg_type: u8,
        payload: &[u8],
    ) -> Result<(), Miss> {
        let length = u32::try_from(payload.len()).unwrap_or(0);
        let header = Header::new(extension, channel, msg_type, length);
        self.say_frame(&[&header.encode(), payload].concat())
    }

    /// Encrypts a frame without sending it.
    pub(super) fn seal(&mut self, frame: &[u8]) -> Result<Vec<u8>, Miss> {
        let mut sealed = Vec::new();
        self.session
            .seal(frame, &mut sealed)
            .map_err(|error| Miss::skip(format!("cannot seal a frame: {error}")))?;
        Ok(sealed)
    }

    /// The next frame within `wait`.
    pub(super) fn hear(&mut self, wait: Duration) -> Result<Heard, Miss> {
        let until = self.line.ground.clock.now() + wait;
        loop {
            if let Some(frame) = self.next_frame()? {
                self.line.ground.keep(&frame);
                return Ok(Heard::Frame(frame));
            }
            if self.ended {
                return Ok(Heard::End);
            }
            match self.line.hear(until - self.line.ground.clock.now())? {
                Got::Bytes(bytes) => {
                    self.bytes_in += u64::try_from(bytes.len()).unwrap_or(0);
                    if self.bytes_in > RECEIVED_MAX {
                        return Err(Miss::fail(
                            "a server that says what it is asked for",
                            "far too many bytes",
                        ));
                    }
                    self.received.extend_from_slice(&bytes);
                }
                Got::Silence => return Ok(Heard::Silence),
                Got::End => self.ended = true,
            }
        }
    }

    /// Hears frames until `wanted` takes one, for as long as an answer may take in all. The others are given too.
    pub(super) fn await_frame<T>(
        &mut self,
        mut wanted: impl FnMut(&Frame) -> Option<T>,
    ) -> Result<(Result<T, Heard>, Vec<Frame>), Miss> {
        let until = self.line.ground.clock.now() + self.line.ground.settings.answer();
        let mut others = Vec::new();
        loop {
            let heard = self.hear(until - self.line.ground.clock.now())?;
            let Heard::Frame(frame) = heard else {
                return Ok((Err(heard), others));
            };
            if let Some(found) = wanted(&frame) {
                return Ok((Ok(found), others));
            }
            others.push(frame);
        }
    }

    /// Whether the server hangs up in time, and what it says until then.
    pub(super) fn ends(&mut self) -> Result<(bool, Vec<Frame>), Miss> {
        let (last, frames) = self.await_frame(|_| None::<()>)?;
        Ok((matches!(last, Err(Heard::End)), frames))
    }

    /// Asks for something that every server of the protocol has to answer, and gives what came before the answer: what
    /// was sent before the barrier has been dealt with by then.
    pub(super) fn barrier(&mut self) -> Result<Result<Vec<Frame>, Heard>, Miss> {
        let request_id = BARRIER_FIRST + self.barriers;
        self.barriers += 1;
        let user = text(&self.line.ground.settings.options.user);
        match self.protocol {
            protocol::TEMPLATE_DISTRIBUTION => self.say(&RequestTransactionData {
                template_id: request_id.into(),
            })?,
            protocol::JOB_DECLARATION => self.say(&AllocateMiningJobToken {
                user_identifier: user,
                request_id,
            })?,
            _ => self.say(&OpenExtendedMiningChannel {
                request_id,
                user_identity: user,
                nominal_hash_rate: CLAIM,
                max_target: U256::MAX,
                min_extranonce_size: 4,
            })?,
        }
        let (answer, others) = self.await_frame(|frame| answers(frame, request_id).then_some(()))?;
        Ok(answer.map(|()| others))
    }

    fn next_frame(&mut self) -> Result<Option<Frame>, Miss> {
        if self.received.is_empty() {
            return Ok(None);
        }
        let fed = self
            .session
            .feed(&mut self.received, |_| PAYLOAD_MAX)
            .map_err(|error| {
                Miss::fail(
                    "records that authenticate, of bounded length (spec 4.6)",
                    error.to_string(),
                )
            })?;
        let Feed::Frame {
            used,
            header,
            payload,
        } = fed
        else {
            return Ok(None);
        };
        let frame = Frame {
            connection: self.line.number,
            header,
            payload: payload.to_vec(),
        };
        self.received.drain(..used);
        Ok(Some(frame))
    }
}

/// Whether a frame answers the request with this id.
pub(super) fn answers(frame: &Frame, request_id: u32) -> bool {
    use adit_wire::{declare, template};
    let id: u64 = match frame.message() {
        Ok(Message::Mining(ToClient::OpenExtendedMiningChannelSuccess(it))) => it.request_id.into(),
        Ok(Message::Mining(ToClient::OpenStandardMiningChannelSuccess(it))) => it.request_id.into(),
        Ok(Message::Mining(ToClient::OpenMiningChannelError(it))) => it.request_id.into(),
        Ok(Message::Declare(declare::ToClient::AllocateMiningJobTokenSuccess(it))) => it.request_id.into(),
        Ok(Message::Template(template::ToClient::RequestTransactionDataError(it))) => it.template_id,
        _ => return false,
    };
    id == u64::from(request_id)
}

/// A message as a frame, with bytes behind its last field.
pub(super) fn frame_of<M: message::Message>(message: &M, more: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    message.encode(&mut payload);
    payload.extend_from_slice(more);
    let length = u32::try_from(payload.len()).unwrap_or(0);
    let header = Header::new(M::EXTENSION, M::CHANNEL_MSG, M::TYPE, length);
    [&header.encode()[..], &payload].concat()
}

/// What a polite client says first.
pub(super) fn setup(ground: &Ground, protocol: u8, flags: u32) -> SetupConnection {
    SetupConnection {
        protocol,
        min_version: PROTOCOL_VERSION,
        max_version: PROTOCOL_VERSION,
        flags,
        endpoint_host: text(&ground.settings.url.host),
        endpoint_port: ground.settings.url.port,
        vendor: text("adit probe"),
        hardware_version: text(std::env::consts::ARCH),
        firmware: text(env!("CARGO_PKG_VERSION")),
        device_id: text(""),
    }
}
