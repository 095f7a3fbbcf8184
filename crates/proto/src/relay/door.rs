//! The door's two sides: settings, what comes in, what goes out.

use std::time::Duration;

use adit_wire::Header;
use adit_wire::mining::{ToClient, ToServer};
use adit_wire::tlv::WorkerName;

use crate::Fault;

/// What is allowed, and how patient we are; one value for all connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Most channels of a connection below, those that are being opened included.
    pub channels_max: usize,
    /// Most channels of all connections below together.
    pub channels_total_max: usize,
    /// Most channels of a connection above, until one shows that it takes fewer.
    pub line_channels_max: usize,
    /// Requests for channels that wait for an answer on one connection above; others wait here.
    pub asked_max: usize,
    /// Request id to begin with on every connection above.
    pub first_request: u32,
    /// How long an upstream may take to answer a request.
    pub answer_timeout: Duration,
    /// How long a device may wait for an upstream at all: for the answer to its setup, or for its first channel.
    pub patience: Duration,
    /// How long shares may wait for an answer on a connection that says nothing, until it is asked something.
    pub quiet: Duration,
    /// How long shares may wait for an answer whatever else the connection says.
    pub silence: Duration,
    /// Most shares a second of one channel, in the long run; 0 is off. Excess is refused here.
    pub shares_per_second: u32,
    /// Seconds of `shares_per_second` that may come at once.
    pub burst_s: u32,
    /// Refused shares of a channel in a row that end its connection below; 0 is off.
    pub refused_in_a_row_max: u32,
    /// Refused shares after a channel has moved, before the first accepted one, that end its connection: firmware that
    /// does not know SetExtranoncePrefix has to come again.
    pub refused_after_move_max: u32,
    /// How long a connection below may be without a channel.
    pub no_channel_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            channels_max: 256,
            channels_total_max: 65_536,
            line_channels_max: 4_096,
            asked_max: 64,
            first_request: 0,
            answer_timeout: Duration::from_secs(10),
            patience: Duration::from_secs(20),
            quiet: Duration::from_secs(20),
            silence: Duration::from_secs(180),
            shares_per_second: 200,
            burst_s: 20,
            refused_in_a_row_max: 512,
            refused_after_move_max: 8,
            no_channel_timeout: Duration::from_secs(3_600),
        }
    }
}

/// A connection below, by whatever number its owner gives it; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Conn(pub u64);

/// A connection above. The machine numbers them; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line(pub u64);

/// What can happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Input<'a> {
    /// A device wants in and needs these features (spec 5.3.1). [`Output::Admit`] or [`Output::Deny`] will follow, or
    /// [`Output::Cut`].
    Join {
        /// The connection.
        conn: Conn,
        /// Its SetupConnection.flags, those of the mining protocol only.
        flags: u32,
    },
    /// A message of a device that was admitted.
    Below {
        /// Its connection.
        conn: Conn,
        /// What it said.
        message: ToServer,
        /// The worker that a share names, where that was negotiated with the device.
        worker: Option<WorkerName>,
    },
    /// A share whose appended fields cannot be read: it is refused here.
    Malformed {
        /// Its connection.
        conn: Conn,
        /// The channel as the device knows it.
        channel_id: u32,
        /// The share's number.
        sequence_number: u32,
    },
    /// A channel message of an extension that nobody here speaks.
    BelowOther {
        /// Its connection.
        conn: Conn,
        /// As it came.
        header: Header,
        /// As it came.
        payload: &'a [u8],
    },
    /// ChannelEndpointChanged from a proxy below (C-39).
    BelowChanged {
        /// Its connection.
        conn: Conn,
        /// The channel as the device knows it.
        channel_id: u32,
    },
    /// A device is gone.
    Left {
        /// Its connection.
        conn: Conn,
    },
    /// A connection that was asked for is set up.
    Up {
        /// Which.
        line: Line,
        /// Its SetupConnection.Success.flags.
        success_flags: u32,
    },
    /// The upstream does not take connections with these features.
    Refused {
        /// Which connection was refused.
        line: Line,
        /// The features that it has not.
        flags: u32,
    },
    /// A message of an upstream.
    Above {
        /// On which connection.
        line: Line,
        /// What it said.
        message: ToClient,
    },
    /// A channel message of an extension that nobody here speaks.
    AboveOther {
        /// On which connection.
        line: Line,
        /// As it came.
        header: Header,
        /// As it came.
        payload: &'a [u8],
    },
    /// ChannelEndpointChanged from an upstream.
    AboveChanged {
        /// On which connection.
        line: Line,
        /// The channel as the upstream knows it.
        channel_id: u32,
    },
    /// A connection above has ended, or was never made.
    Gone {
        /// Which.
        line: Line,
    },
    /// Another upstream is worked for from now on: every connection above is left, every channel is opened again.
    Turn,
    /// The deadline has passed, perhaps.
    Deadline,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Tell a device this.
    Below {
        /// Its connection.
        conn: Conn,
        /// What.
        message: ToClient,
    },
    /// Tell several devices the same, each with its own channel id in the first four bytes of the payload: see
    /// [`readdress`].
    Fan {
        /// The frame, with any channel id.
        frame: Vec<u8>,
        /// Connections and their channels or groups.
        to: Vec<(Conn, u32)>,
    },
    /// Send a device this frame.
    BelowFrame {
        /// Its connection.
        conn: Conn,
        /// Header and payload.
        frame: Vec<u8>,
    },
    /// Tell an upstream this.
    Above {
        /// On which connection.
        line: Line,
        /// What.
        message: ToServer,
        /// The worker that a share names: to be appended where that was negotiated with the upstream.
        worker: Option<WorkerName>,
    },
    /// Send an upstream this frame.
    AboveFrame {
        /// On which connection.
        line: Line,
        /// Header and payload.
        frame: Vec<u8>,
    },
    /// A device's setup may be answered with Success.
    Admit {
        /// Its connection.
        conn: Conn,
        /// What the upstream requires, SetupConnection.Success.flags.
        success_flags: u32,
    },
    /// A device's setup must be answered with Error.
    Deny {
        /// Its connection.
        conn: Conn,
        /// Features that the upstream has not.
        flags: u32,
    },
    /// End a device's connection. [`Input::Left`] is not awaited.
    Cut {
        /// Its connection.
        conn: Conn,
        /// Why.
        fault: Fault,
    },
    /// Connect to the upstream that is worked for, asking for these features.
    Dial {
        /// The connection's number.
        line: Line,
        /// SetupConnection.flags.
        flags: u32,
    },
    /// End a connection above. [`Input::Gone`] is not awaited.
    Hang {
        /// Which.
        line: Line,
        /// Why.
        why: Hang,
    },
    /// For figures and logs.
    Event(Event),
}

/// Why a connection above is ended by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hang {
    /// Another upstream is worked for.
    Turned,
    /// Nobody needs it.
    Idle,
    /// It does not answer.
    Silent,
    /// It breaks the protocol.
    Misbehaved(&'static str),
}

/// What happened, for figures and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A device has a channel.
    Opened {
        /// Whether it is an extended one.
        extended: bool,
    },
    /// A channel is no more.
    Closed {
        /// Whether it was an extended one.
        extended: bool,
    },
    /// A channel stands on another upstream now.
    Moved,
    /// A share went up.
    Sent,
    /// The upstream accepted shares.
    Accepted {
        /// How many.
        count: u32,
        /// Their difficulty.
        difficulty_sum: u64,
    },
    /// The upstream refused a share.
    Rejected {
        /// Its code.
        code: String,
    },
    /// A share was refused here: its job's upstream is gone, or it could never be good.
    Withheld,
    /// A job came from above.
    Job {
        /// Bytes of its frame.
        bytes: usize,
    },
    /// An extended job is larger than devices are known to hold ([`FRAME_BYTES_MAX`](super::FRAME_BYTES_MAX)), and has
    /// gone to some that cannot take anything smaller.
    Oversized {
        /// Bytes of its frame.
        bytes: usize,
        /// Its branches.
        branches: usize,
    },
}

/// Appends a frame of a channel message with another channel id in it.
pub fn readdress(frame: &[u8], channel_id: u32, out: &mut Vec<u8>) {
    let id = Header::LEN..Header::LEN + 4;
    out.extend_from_slice(frame.get(..id.start).unwrap_or_default());
    out.extend_from_slice(&channel_id.to_le_bytes());
    out.extend_from_slice(frame.get(id.end..).unwrap_or_default());
}
