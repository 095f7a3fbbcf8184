//! Sessions: a channel that has worked, from its opening to its end.

use super::bytes::{Cursor, Filler};
use super::entry::{NOBODY, somebody};
use super::text::Text;
use super::{AccountId, RecordError, WorkerId};

/// Longest name of a device in a [`SessionOpened`], in bytes.
pub const DEVICE_BYTES_MAX: usize = 44;

/// A channel was opened and has had its first accepted share since. Nothing is written for who has not
/// worked, so that opening and closing channels fills no disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionOpened {
    /// Whose channel.
    pub account: AccountId,
    /// Which of the account's workers, where the channel says so.
    pub worker: Option<WorkerId>,
    /// Its number: no other session of this front end and epoch has it.
    pub session: u64,
    /// The channel's 7-byte extranonce prefix as a number, as shares have it.
    pub channel: u64,
    /// When the channel was opened, Unix microseconds.
    pub time_us: u64,
    /// Kind of the channel.
    pub kind: ChannelKind,
    /// What the connection speaks.
    pub protocol: Protocol,
    device: Text<DEVICE_BYTES_MAX>,
}

/// The end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionClosed {
    /// Whose channel it was.
    pub account: AccountId,
    /// Its number in [`SessionOpened`].
    pub session: u64,
    /// The channel's extranonce prefix as a number.
    pub channel: u64,
    /// How it came.
    pub ending: Ending,
}

/// Kind of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ChannelKind {
    /// Header only.
    Standard = 1,
    /// With an extranonce of its own.
    Extended = 2,
}

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Protocol {
    /// Stratum V2 with the current handshake.
    Current = 1,
    /// Stratum V2 with the handshake of the 2022 draft.
    Draft2022 = 2,
    /// Stratum V2 without encryption.
    Plain = 3,
    /// Stratum V1.
    StratumV1 = 4,
    /// Stratum V1 over TLS.
    StratumV1Tls = 5,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Ending {
    /// The channel was closed in order.
    Closed = 1,
    /// The connection was closed or broke.
    Lost = 2,
    /// The peer broke a rule, or could not keep up.
    Fault = 3,
    /// We stopped.
    Stopped = 4,
}

impl ChannelKind {
    const ALL: [Self; 2] = [Self::Standard, Self::Extended];

    /// In one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Extended => "extended",
        }
    }

    /// The kind of that number.
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|it| *it as u8 == number)
    }
}

impl Protocol {
    const ALL: [Self; 5] = [
        Self::Current,
        Self::Draft2022,
        Self::Plain,
        Self::StratumV1,
        Self::StratumV1Tls,
    ];

    /// In one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Draft2022 => "draft2022",
            Self::Plain => "plain",
            Self::StratumV1 => "stratum-v1",
            Self::StratumV1Tls => "stratum-v1-tls",
        }
    }

    /// The protocol of that number.
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|it| *it as u8 == number)
    }
}

impl Ending {
    const ALL: [Self; 4] = [Self::Closed, Self::Lost, Self::Fault, Self::Stopped];

    /// In one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Lost => "lost",
            Self::Fault => "fault",
            Self::Stopped => "stopped",
        }
    }

    /// The ending of that number.
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|it| *it as u8 == number)
    }
}

impl SessionOpened {
    /// The same with what the device calls itself, cut at [`DEVICE_BYTES_MAX`].
    #[must_use]
    pub fn on(self, device: &str) -> Self {
        Self {
            device: Text::cut(device),
            ..self
        }
    }

    /// A session of a device that says nothing about itself.
    pub fn new(
        account: AccountId,
        session: u64,
        channel: u64,
        time_us: u64,
        kind: ChannelKind,
        protocol: Protocol,
    ) -> Self {
        Self {
            account,
            worker: None,
            session,
            channel,
            time_us,
            kind,
            protocol,
            device: Text::cut(""),
        }
    }

    /// What the device calls itself; may be empty.
    pub fn device(&self) -> String {
        String::from_utf8_lossy(self.device.as_bytes()).into_owned()
    }

    pub(super) fn encode(&self, to: &mut Filler<'_>) {
        to.put(&self.account);
        to.put(&self.worker.unwrap_or(NOBODY));
        to.u64(self.session);
        to.u64(self.channel);
        to.u8(self.kind as u8);
        to.u8(self.protocol as u8);
        to.u8(self.device.length);
        to.u8(0);
        to.put(&self.device.bytes);
    }

    pub(super) fn decode(time_us: u64, from: &mut Cursor<'_>) -> Result<Self, RecordError> {
        let (account, worker) = (from.take(), somebody(from.take()));
        let (session, channel) = (from.u64(), from.u64());
        let kind = ChannelKind::of(from.u8()).ok_or(RecordError::Field("kind"))?;
        let protocol = Protocol::of(from.u8()).ok_or(RecordError::Field("protocol"))?;
        let length = from.u8();
        from.u8();
        Ok(Self {
            account,
            worker,
            session,
            channel,
            time_us,
            kind,
            protocol,
            device: Text::read(length, from.take(), "device")?,
        })
    }
}

impl SessionClosed {
    pub(super) fn encode(&self, to: &mut Filler<'_>) {
        to.put(&self.account);
        to.u64(self.session);
        to.u64(self.channel);
        to.u8(self.ending as u8);
    }

    pub(super) fn decode(from: &mut Cursor<'_>) -> Result<Self, RecordError> {
        Ok(Self {
            account: from.take(),
            session: from.u64(),
            channel: from.u64(),
            ending: Ending::of(from.u8()).ok_or(RecordError::Field("ending"))?,
        })
    }
}
