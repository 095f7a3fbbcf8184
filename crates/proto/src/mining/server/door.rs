//! The door's two sides: settings, what comes in, what goes out.

use super::custom::{Asked, Promise};
use crate::Time;
use crate::extranonce::{Extranonce, FullSize, PREFIX_BYTES};
use crate::job::Job;
use crate::plan::{Plan, UserRules};
use crate::setup::Device;
use crate::target::Target;
use crate::vardiff::{Aim, SHARES_PER_MINUTE, Steps};
use adit_wire::mining::{SubmitSharesExtended, ToClient, ToServer};
use adit_wire::refusal;
use adit_wire::tlv::WorkerName;
use adit_wire::types::Str0_255;
use core::time::Duration;
use std::sync::Arc;

/// What the pool allows and wants; one value for all connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Most open channels of a connection.
    pub channels_max: usize,
    /// Whether difficulty follows the measured rate.
    pub vardiff: bool,
    /// Shares a minute that a channel is led to.
    pub shares_per_minute: u32,
    /// Expected hashes of the easiest share, at least 1. Nothing that a peer claims gets below.
    pub work_min: u64,
    /// Which works channels may have.
    pub steps: Steps,
    /// Most shares a second of one channel, in the long run; 0 is off. Excess is refused unseen.
    pub shares_per_second: u32,
    /// Seconds of `shares_per_second` that may come at once.
    pub burst_s: u32,
    /// Most header hashes remembered to know duplicates, per connection.
    pub seen_max: usize,
    /// Most shares of a connection that wait for the ledger; more are refused.
    pub pending_max: usize,
    /// Durable shares of a channel that are acknowledged at once; fewer wait for more.
    pub ack_shares_min: u32,
    /// Latest that a durable share waits for its acknowledgement, milliseconds.
    pub ack_delay_max_ms: u32,
    /// How long a connection may be without a channel, milliseconds.
    pub no_channel_timeout_ms: u32,
    /// Whether custom jobs are taken (SetCustomMiningJob).
    pub custom: bool,
    /// Counts the starts of the data folder up; stands in the extranonces of connections that set custom jobs.
    pub start_epoch: u32,
    /// Refused shares in a row that end the connection; 0 is off.
    pub refused_in_a_row_max: u32,
    /// Whether every good share comes with [`Output::Mined`], for an upstream.
    pub tell_mined: bool,
    /// Who may mine and how each is paid; without, everybody, and pooled.
    pub users: Option<UserRules>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            channels_max: 256,
            vardiff: true,
            shares_per_minute: SHARES_PER_MINUTE,
            work_min: 1,
            steps: Steps::Any,
            shares_per_second: 0,
            burst_s: 20,
            seen_max: 1 << 20,
            pending_max: 4_096,
            ack_shares_min: 1,
            ack_delay_max_ms: 250,
            no_channel_timeout_ms: 30_000,
            custom: false,
            start_epoch: 0,
            refused_in_a_row_max: 5_000,
            tell_mined: false,
            users: None,
        }
    }
}

impl Settings {
    /// What is wanted of a channel that finds shares `factor` times as fast as others.
    pub(crate) const fn aim(&self, factor: u32) -> Aim {
        Aim {
            adjust: self.vardiff,
            shares_per_minute: self.shares_per_minute.saturating_mul(factor),
        }
    }

    /// The plan of a user name.
    pub(super) fn plan(&self, user_identity: &str, bytes_max: Option<u32>) -> Result<Plan, String> {
        let Some(UserRules(users)) = &self.users else {
            return Ok(Plan::Pooled);
        };
        users.plan(user_identity, bytes_max)
    }

    pub(super) fn bytes_max(&self, device: &Device) -> Option<u32> {
        self.users
            .as_ref()
            .and_then(|UserRules(users)| users.bytes_max(device))
    }

    pub(super) const fn no_channel_timeout(&self) -> Duration {
        Duration::from_millis(self.no_channel_timeout_ms as u64)
    }
}

/// Whose share it is: the first 16 bytes of SHA-256 of `user_identity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(pub [u8; 16]);

impl AccountId {
    /// The account of an identity, byte for byte.
    pub fn of(user_identity: &[u8]) -> Self {
        Self(id_of(user_identity))
    }
}

/// Which worker of an account it is (extension 0x0002): the first 16 bytes of SHA-256 of its name. Accounts are paid,
/// workers are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub [u8; 16]);

impl WorkerId {
    /// The id of a worker's name, byte for byte.
    pub fn of(name: &WorkerName) -> Self {
        Self(id_of(name.as_str().as_bytes()))
    }
}

fn id_of(name: &[u8]) -> [u8; 16] {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(name);
    let mut id = [0; 16];
    id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    id
}

/// What changes a [`Server`](super::Server).
#[derive(Clone, Debug)]
pub enum Input {
    /// The peer said this.
    Message(ToServer),
    /// SubmitSharesExtended that names its worker: extension 0x0002 is in use.
    WorkerShare {
        /// The share.
        share: SubmitSharesExtended,
        /// The worker; one without a name is none.
        worker: WorkerName,
    },
    /// SubmitSharesExtended with appended fields that an extension in use does not allow (REQ-EXT-019).
    MalformedShare(SubmitSharesExtended),
    /// ChannelEndpointChanged from below (C-39): others stand behind the channel now.
    EndpointChanged {
        /// The channel; an unknown id changes nothing.
        channel_id: u32,
    },
    /// There is newer work. Work on an older tip than before is ignored.
    Work(Arc<Job>),
    /// From now on there is work from elsewhere, on a tip that may have come earlier than that of the work before.
    OtherWork(Arc<Job>),
    /// The answer to [`Output::Custom`].
    CustomVerdict {
        /// The channel or group of the message.
        channel_id: u32,
        /// Its number.
        request_id: u32,
        /// The promise to pay for the job, or why there is none.
        verdict: Result<Arc<Promise>, refusal::SetCustomMiningJob>,
    },
    /// All shares up to and with this [`Share::index`] are on disk.
    Committed {
        /// The newest durable share.
        through: u64,
    },
    /// The ledger can, or cannot, make shares durable.
    Ledger(Ledger),
    /// [`Server::deadline`](super::Server::deadline) has come.
    Deadline,
    /// Give a channel a new extranonce prefix for its later jobs (spec 5.3.10).
    MoveExtranonce {
        /// The channel; a group or unknown id changes nothing.
        channel_id: u32,
    },
    /// Close one channel from this side (spec 5.3.9).
    CloseChannel {
        /// The channel or group; an unknown id changes nothing.
        channel_id: u32,
        /// What the peer is told.
        reason: refusal::CloseChannel,
    },
    /// What the peer is became known after it was set up; for channels that it opens later.
    Device(Box<Device>),
    /// Open no more channels; those that are open go on.
    Drain,
    /// Acknowledge what is durable, then close all channels: the connection is about to end.
    Close {
        /// What the peer is told.
        reason: refusal::CloseChannel,
    },
}

/// State of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ledger {
    /// Shares become durable.
    Up,
    /// They do not: no acknowledgements until it is up again; jobs go on.
    Down,
}

/// What a [`Server`](super::Server) wants done, in this order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send a message.
    Send(ToClient),
    /// Send NewExtendedMiningJob: written with [`Job::encode_extended`].
    Job(JobFrame),
    /// What the next share was found with, where [`Settings::tell_mined`] asks for it.
    Mined(Mined),
    /// Write a good share to the ledger.
    Share(Share),
    /// Judge a custom job: token, tip, coinbase. The answer is [`Input::CustomVerdict`].
    Custom(Box<Asked>),
    /// Publish a block. Comes before its share.
    Block(Found),
    /// Tell whoever watches.
    Event(Event),
}

/// A NewExtendedMiningJob to be sent (spec 5.3.16).
#[derive(Clone, Debug)]
pub struct JobFrame {
    /// Extended channel or group.
    pub channel_id: u32,
    /// The job's number on this connection.
    pub job_id: u32,
    /// None: a future job.
    pub min_ntime: Option<u32>,
    /// Its content.
    pub job: Arc<Job>,
    /// Full extranonce size of the channel or group.
    pub size: FullSize,
}

impl JobFrame {
    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.job
            .encode_extended(self.size, self.channel_id, self.job_id, self.min_ntime, out);
    }
}

/// What a good share was found with: all that an upstream needs besides the [`Share`] itself.
#[derive(Clone, Debug)]
pub struct Mined {
    /// The job that it was found on.
    pub job: Arc<Job>,
    /// The full extranonce of this side.
    pub extranonce: Extranonce,
    /// The worker that the share named (extension 0x0002).
    pub worker: Option<WorkerName>,
}

/// A good share: what the ledger needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Counts the good shares of the connection up, from 1; [`Input::Committed`] names it.
    pub index: u64,
    /// The channel.
    pub channel_id: u32,
    /// Whom to credit.
    pub account: AccountId,
    /// Which of the account's workers found it, if the share says so.
    pub worker: Option<WorkerId>,
    /// The channel's extranonce prefix for that job.
    pub prefix: [u8; PREFIX_BYTES],
    /// Expected hashes: what it is worth.
    pub work: u64,
    /// Header hash, raw hash order.
    pub hash: [u8; 32],
    /// Header version.
    pub version: u32,
    /// Header time, seconds since the Unix epoch.
    pub ntime: u32,
    /// Header nonce.
    pub nonce: u32,
    /// The job's number on this connection.
    pub job_id: u32,
    /// Generation of the tip it builds on.
    pub tip: u64,
    /// The template at its source.
    pub template: u64,
    /// When it came.
    pub time: Time,
    /// Whether a block would have paid its finder alone.
    pub solo: bool,
}

/// A block: everything that is needed to publish it.
#[derive(Clone, Debug)]
pub struct Found {
    /// The job that was solved.
    pub job: Arc<Job>,
    /// The 80 bytes of the header.
    pub header: [u8; 80],
    /// Block hash, raw hash order.
    pub hash: [u8; 32],
    /// Header version.
    pub version: u32,
    /// Header time, seconds since the Unix epoch.
    pub ntime: u32,
    /// Header nonce.
    pub nonce: u32,
    /// The whole coinbase transaction with its BIP141 fields, consensus encoded.
    pub coinbase: Vec<u8>,
    /// The channel that found it.
    pub channel_id: u32,
    /// The channel's extranonce prefix for that job, as in its share.
    pub prefix: [u8; PREFIX_BYTES],
    /// Whose channel that is.
    pub account: AccountId,
    /// Which of the account's workers found it, if the share says so.
    pub worker: Option<WorkerId>,
}

/// Kind of a channel (spec 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Rolls the header only.
    Standard,
    /// Rolls part of the extranonce too.
    Extended,
}

/// News for those who watch.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A channel is open.
    Opened {
        /// The channel.
        channel_id: u32,
        /// Its kind.
        kind: Kind,
        /// Its owner in the peer's words.
        user_identity: Str0_255,
        /// Its owner.
        account: AccountId,
        /// Its first target.
        target: Target,
        /// Hashes a second, as claimed.
        nominal_hash_rate: f32,
    },
    /// A good share of a worker that was not seen before, or not for long, follows: this is its name.
    Worker {
        /// The account.
        account: AccountId,
        /// The worker.
        worker: WorkerId,
        /// Its name in the peer's words, never empty.
        name: WorkerName,
    },
    /// A channel is about to be refused, since nobody knows how to pay this user name.
    UnknownUser {
        /// The name in the peer's words.
        user_identity: Str0_255,
        /// What is wrong with it.
        why: Box<str>,
    },
    /// A channel was refused.
    OpenRefused(refusal::OpenMiningChannel),
    /// A channel is closed.
    Closed {
        /// The channel.
        channel_id: u32,
    },
    /// A custom job was accepted.
    CustomAccepted {
        /// The channel or group.
        channel_id: u32,
        /// What of the work is credited, in basis points.
        credit_bp: u16,
    },
    /// A custom job was refused.
    CustomRefused {
        /// The channel or group as named by the peer.
        channel_id: u32,
        /// Why.
        refusal: refusal::SetCustomMiningJob,
    },
    /// A share was refused.
    Refused {
        /// The channel as named by the peer.
        channel_id: u32,
        /// Why.
        refusal: refusal::SubmitShares,
    },
    /// A channel's target has changed.
    Retargeted {
        /// The channel.
        channel_id: u32,
        /// Expected hashes of its shares from now on.
        work: u64,
        /// Hashes a second, as measured; 0 before there were shares.
        hash_rate: f64,
    },
}
