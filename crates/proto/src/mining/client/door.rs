//! What goes in and out of the client's one door.

use std::time::Duration;

use adit_wire::mining::{SetCustomMiningJob, ToClient, ToServer};
use adit_wire::{B0_32, Str0_255, U256};

use super::work::Work;
use crate::Time;

/// Version bits that are rolled by default: those of BIP320, which every dialect allows (C-48).
pub const VERSION_MASK_DEFAULT: u32 = 0x1fff_e000;

/// What the role decides, and what the setup agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Flags of SetupConnection.Success (spec 5.3.1).
    pub success_flags: u32,
    /// Version bits this client may roll where the job allows it.
    pub version_mask: u32,
    /// How long the server may take to answer an open request.
    pub answer_timeout: Duration,
    /// Channels, open and asked for, on this connection.
    pub channels_max: usize,
    /// REQUIRES_WORK_SELECTION was set: jobs of our own may be sent (REQ-MIN-087).
    pub work_selection: bool,
    /// Seconds that a header time may lie further ahead than REQ-MIN-046 has it: for who sends on what others found, who may
    /// go by a clock of their own. Servers take up to [`NTIME_AHEAD_MAX`](crate::share::NTIME_AHEAD_MAX).
    pub time_ahead_s: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            success_flags: 0,
            version_mask: VERSION_MASK_DEFAULT,
            answer_timeout: Duration::from_secs(30),
            channels_max: 1,
            work_selection: false,
            time_ahead_s: 0,
        }
    }
}

/// What can happen to the machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A mining message.
    Message(ToClient),
    /// Ask for a channel. Requests are numbered from 0 in the order in which they are sent.
    Open(Open),
    /// Tell the server another hash rate (spec 5.3.7).
    Update {
        /// The channel.
        channel: u32,
        /// Expected hash rate, in hashes a second.
        nominal_hash_rate: f32,
        /// Easiest target we accept.
        max_target: U256,
    },
    /// Close a channel (spec 5.3.9).
    Close {
        /// The channel.
        channel: u32,
        /// Why, in printable ASCII (REQ-COM-029).
        reason: Str0_255,
    },
    /// A job of our own shall be mined on a channel (spec 5.3.18). The caller chooses its `request_id` and uses it once.
    Custom {
        /// The job.
        message: Box<SetCustomMiningJob>,
        /// When it was first hashed: before the server knows of it, where that is done optimistically.
        since: Time,
    },
    /// A share was found.
    Share(Share),
    /// The deadline has passed, perhaps.
    Deadline,
}

/// A channel that is wanted (spec 5.3.2, 5.3.4).
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    /// Standard or extended.
    pub kind: Kind,
    /// Whom to pay, in the pool's own terms.
    pub user_identity: Str0_255,
    /// Expected hash rate, in hashes a second.
    pub nominal_hash_rate: f32,
    /// Easiest target we accept.
    pub max_target: U256,
}

/// Kind of a channel that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The server chooses the whole extranonce: header-only mining.
    Standard,
    /// The client rolls the end of the extranonce.
    Extended {
        /// Fewest bytes that must be left to roll.
        min_extranonce_size: u16,
    },
}

/// A solution of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The channel.
    pub channel: u32,
    /// The job solved.
    pub job_id: u32,
    /// Header nonce.
    pub nonce: u32,
    /// Header time, in seconds since the Unix epoch.
    pub ntime: u32,
    /// The header's whole version.
    pub version: u32,
    /// What was rolled: empty on a standard channel, else exactly the channel's size.
    pub extranonce: B0_32,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this message.
    Send(ToServer),
    /// Mine this now, on this channel, instead of what was mined before.
    Work(Work),
    /// Something the role should know.
    Event(Event),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A channel is open.
    Opened {
        /// Number of the request.
        request: u32,
        /// The channel.
        channel: u32,
        /// Its group.
        group: u32,
        /// Target of its shares at first.
        target: U256,
        /// Extranonce bytes before those that are rolled.
        extranonce_prefix: B0_32,
        /// Extranonce bytes to roll; none on a standard channel.
        extranonce_size: Option<u16>,
    },
    /// The server refused to open a channel.
    OpenRefused {
        /// Number of the request.
        request: u32,
        /// Its code, for the log (REQ-COM-024).
        code: Str0_255,
    },
    /// The server refused UpdateChannel.
    UpdateRefused {
        /// The channel.
        channel: u32,
        /// Its code, for the log.
        code: Str0_255,
    },
    /// The server closed a channel: it must not be mined any more (REQ-MIN-038).
    Closed {
        /// The channel.
        channel: u32,
        /// Why, for the log.
        reason: Str0_255,
    },
    /// Shares were accepted (spec 5.3.13).
    Accepted {
        /// The channel.
        channel: u32,
        /// The latest share that this answers.
        last_sequence: u32,
        /// How many the server says it accepted since it last said so.
        count: u32,
        /// Sum of their difficulties, in units of 2^32 hashes.
        difficulty_sum: u64,
        /// Shares that still wait for an answer.
        outstanding: u32,
        /// How many more the server counted than were waiting; 0 with a server that counts right.
        surplus: u32,
    },
    /// A share was refused (spec 5.3.14).
    Rejected {
        /// The channel.
        channel: u32,
        /// The share.
        sequence: u32,
        /// Its code, for logs and statistics.
        code: Str0_255,
        /// Shares that still wait for an answer.
        outstanding: u32,
    },
    /// The target of shares on jobs to come has changed.
    Target {
        /// The channel.
        channel: u32,
        /// Largest hash of a share.
        target: U256,
    },
    /// The extranonce prefix of jobs to come has changed, those of our own included (REQ-MIN-043).
    ExtranoncePrefix {
        /// The channel.
        channel: u32,
        /// The prefix.
        prefix: B0_32,
    },
    /// The server will pay for shares on a job of our own (spec 5.3.19): they may be sent (REQ-MIN-094).
    CustomAccepted {
        /// The channel.
        channel: u32,
        /// Which of our jobs.
        request: u32,
        /// Its name in shares.
        job_id: u32,
        /// Largest hash of its shares.
        target: U256,
    },
    /// The server refused a job of our own (spec 5.3.20).
    CustomRefused {
        /// The channel.
        channel: u32,
        /// Which of our jobs.
        request: u32,
        /// Its code, for the log.
        code: Str0_255,
    },
    /// The server did not answer in time whether it takes a job of our own.
    CustomUnanswered {
        /// The channel.
        channel: u32,
        /// Which of our jobs.
        request: u32,
    },
    /// The server answered about a job that it was not asked about: nothing changes.
    CustomUnasked,
    /// An input was not carried out, as the server could only refuse it.
    Withheld(Withheld),
}

/// Why an input was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// The server gives extended channels only (REQ-COM-019).
    StandardChannel,
    /// [`Settings::channels_max`] is reached.
    TooManyChannels,
    /// There is no such channel.
    UnknownChannel,
    /// The job is not of the present tip (REQ-MIN-080).
    StaleJob,
    /// Bits of the version differ that must not (REQ-MIN-017, REQ-MIN-051, REQ-MIN-054).
    Version,
    /// The header time lies before the job's, or further after it than the clock has moved (REQ-MIN-046).
    Time,
    /// The extranonce has not the channel's size (REQ-MIN-057).
    ExtranonceSize,
    /// Jobs of our own go to extended channels of a connection with REQUIRES_WORK_SELECTION only (REQ-MIN-085,
    /// REQ-MIN-087).
    NoWorkSelection,
    /// The start of a scriptSig has more than 8 bytes (REQ-MIN-090).
    CoinbasePrefix,
    /// Too many jobs of our own wait for an answer, or the number is taken.
    TooManyJobs,
}
