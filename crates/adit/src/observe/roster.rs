//! Who is here and what they do: everything that is too long for a [`Status`](super::Status).

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_ledger::{AccountId, WorkerId};
use serde::Serialize;
use utoipa::ToSchema;

use super::history::History;
use super::number;
use super::pace::{Averages, Estimate};

/// A picture of everybody, taken about once a second. Texts are shared with those who keep them: with many connections, a
/// picture would otherwise be as large as they are.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    /// When it was taken, microseconds since the Unix epoch.
    pub taken_at_us: u64,
    /// Accounts, and workers behind them, by name.
    pub names: Vec<Name>,
    /// Connections, in the order in which they came.
    pub peers: Vec<Peer>,
    /// Connections that are counted, but not shown one by one: there are too many.
    pub peers_unlisted: u64,
    /// The last shares, newest first; shares of one channel that came within half a second are one line.
    pub shares: Vec<Recent>,
    /// Blocks that our miners found, newest first.
    pub blocks: Vec<Block>,
    /// What the next block would pay.
    pub coinbase: Option<Arc<Coinbase>>,
    /// The pool over time, where no database keeps it.
    pub history: Option<Arc<History>>,
}

/// What a device is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its shares come.
    Mining,
    /// It has just come: its first share is not due yet.
    Starting,
    /// It is connected, and no share has come for many times as long as one takes.
    Silent,
    /// It is not connected.
    #[default]
    Offline,
}

/// What a peer says that it is. Peers may say anything; made harmless with [`text::clean`](super::text::clean).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Device {
    /// Maker, or name of the software.
    pub vendor: String,
    /// Model.
    pub model: String,
    /// Version of the firmware or software.
    pub firmware: String,
}

/// An account, or a worker behind one. Counts are since the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Name {
    /// `account` or `account.worker`; made harmless with [`text::clean`](super::text::clean).
    pub name: String,
    /// The account that is paid, where this is a worker behind it.
    pub account: Option<String>,
    /// Workers behind it, where this is an account: they have rows of their own, and are parts of it.
    pub workers: u64,
    /// What it is doing.
    pub state: State,
    /// Hashes a second over the last minutes.
    #[serde(flatten)]
    pub pace: Estimate,
    /// Hashes a second over several times.
    pub hash_rates: Averages,
    /// Open channels. A worker behind a channel of its account has none of its own.
    pub channels: u64,
    /// Expected hashes of a share of the channel that it used last.
    #[serde(serialize_with = "number::wide")]
    #[schema(schema_with = number::schema)]
    pub share_work: u128,
    /// Accepted shares.
    pub accepted: u64,
    /// Refused shares.
    pub rejected: u64,
    /// Refused shares by refusal code.
    pub by_reason: BTreeMap<&'static str, u64>,
    /// Expected hashes of its accepted shares.
    #[serde(serialize_with = "number::wide")]
    #[schema(schema_with = number::schema)]
    pub work: u128,
    /// Expected hashes of its best share.
    #[serde(serialize_with = "number::wide")]
    #[schema(schema_with = number::schema)]
    pub best_work: u128,
    /// When it was first seen, microseconds since the Unix epoch.
    pub since_us: u64,
    /// When its last share came; nothing before the first.
    pub last_share_us: Option<u64>,
    /// The device that it used last.
    #[schema(value_type = Option<Device>)]
    pub device: Option<Arc<Device>>,
    /// What that device speaks.
    pub protocol: &'static str,
    /// The account and the worker in the ledger, whose names may be longer than what is shown.
    #[serde(skip)]
    pub id: Option<(AccountId, Option<WorkerId>)>,
}

/// One connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Peer {
    /// Its number, unique in this process.
    pub id: u64,
    /// Where it comes from.
    #[schema(value_type = String)]
    pub address: Arc<str>,
    /// What protects it: `current`, `draft2022-chachapoly`, `draft2022-aesgcm`, `plain`, `stratum-v1` or `stratum-v1-tls`.
    pub protocol: &'static str,
    /// What it came for: `mining`, `job-declaration`, `job-distribution`; empty before it has said so.
    pub role: &'static str,
    /// What it says that it is.
    #[schema(value_type = Device)]
    pub device: Arc<Device>,
    /// When it came, microseconds since the Unix epoch.
    pub since_us: u64,
    /// Its open channels.
    pub channels: Vec<Channel>,
}

/// One channel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Channel {
    /// Its number on its connection.
    pub id: u32,
    /// `standard` or `extended`.
    pub kind: &'static str,
    /// Who mines there: the account, and the worker where the last share named one.
    #[schema(value_type = String)]
    pub name: Arc<str>,
    /// What it is doing.
    pub state: State,
    /// When it was opened, microseconds since the Unix epoch.
    pub since_us: u64,
    /// Expected hashes of its shares.
    #[serde(serialize_with = "number::wide")]
    #[schema(schema_with = number::schema)]
    pub share_work: u128,
    /// Hashes a second that it claimed to have; 0 when it claimed nothing.
    pub claimed_hash_rate: f64,
    /// Hashes a second over the last minutes.
    #[serde(flatten)]
    pub pace: Estimate,
    /// Accepted shares.
    pub accepted: u64,
    /// Refused shares.
    pub rejected: u64,
    /// Refused shares by refusal code.
    pub by_reason: BTreeMap<&'static str, u64>,
    /// Expected hashes of its best share.
    #[serde(serialize_with = "number::wide")]
    #[schema(schema_with = number::schema)]
    pub best_work: u128,
    /// When its last share came; nothing before the first.
    pub last_share_us: Option<u64>,
}

/// Shares of one channel that came together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Recent {
    /// When the last of them came, microseconds since the Unix epoch.
    pub at_us: u64,
    /// Who found them.
    pub name: String,
    /// How many.
    pub count: u64,
    /// Expected hashes of all of them.
    #[serde(serialize_with = "number::wide")]
    #[schema(schema_with = number::schema)]
    pub work: u128,
    /// Expected hashes of the best of them.
    #[serde(serialize_with = "number::wide")]
    #[schema(schema_with = number::schema)]
    pub best_work: u128,
}

/// What became of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// The node has not answered yet; it is sent again until it does.
    #[default]
    Pending,
    /// The node took it.
    Accepted,
    /// It is in the best chain.
    Confirmed,
    /// Another block has its place.
    Stale,
    /// The node refused it.
    Rejected,
    /// It went to the upstream that gave the job.
    Upstream,
}

/// A block that one of our miners found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Block {
    /// Its height.
    pub height: u64,
    /// Its hash, as explorers write it.
    pub hash: String,
    /// When it was found, microseconds since the Unix epoch.
    pub at_us: u64,
    /// Who found it.
    pub worker: String,
    /// What its coinbase pays, in satoshis; nothing where that is not known here.
    pub value_sat: Option<u64>,
    /// What became of it.
    pub fate: Fate,
    /// Blocks on it, itself included; 0 where it is not in the chain.
    pub confirmations: u32,
    /// What the node said, where it refused the block.
    pub reason: String,
}

/// The coinbase of the work that everybody mines at the moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Coinbase {
    /// Height of the block.
    pub height: u64,
    /// The block that it builds on, as explorers write it.
    pub prev_hash: String,
    /// What it pays in all, in satoshis.
    pub value_sat: u64,
    /// What of that are fees, where the source says so.
    pub fees_sat: Option<u64>,
    /// Transactions besides the coinbase, where the source says so.
    pub transactions: Option<u32>,
    /// The readable part of its scriptSig.
    pub tag: String,
    /// Its scriptSig with an extranonce of zeros, in hex.
    pub script_sig: String,
    /// Its outputs, in order.
    pub outputs: Vec<Payment>,
    /// Bytes of the transaction with its witness.
    pub bytes: u64,
    /// Expected hashes of a block.
    #[serde(serialize_with = "number::wide")]
    #[schema(schema_with = number::schema)]
    pub block_work: u128,
    /// Who gave the job: empty for our own node's.
    pub upstream: String,
}

/// One output of a coinbase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Payment {
    /// The address, where the script has one.
    pub address: Option<String>,
    /// What it is: `payout`, `commitment` (of the witness data) or `other`.
    pub purpose: &'static str,
    /// Satoshis.
    pub value_sat: u64,
    /// The part of the whole, from 0 to 1.
    pub part: f64,
    /// The script, in hex.
    pub script: String,
}

impl Roster {
    /// The row of a name.
    pub fn name(&self, name: &str) -> Option<&Name> {
        let at = self
            .names
            .binary_search_by(|row| row.name.as_str().cmp(name))
            .ok()?;
        self.names.get(at)
    }
}
