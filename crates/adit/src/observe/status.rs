//! One picture of a running pool.

use crate::fleet::accountant::AccountantPicture;
use crate::fleet::{Fleet, Sharing, Shipping};
use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::latency::Latency;
use super::number;
use super::rate::Rates;

/// Everything that is shown of a pool. All times are microseconds since the Unix epoch (`*_us`) or
/// durations in the unit of their name; all counts are since the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Status {
    /// Version of adit.
    pub version: &'static str,
    /// When this picture was taken.
    pub taken_at_us: u64,
    /// When the process started.
    pub started_at_us: u64,
    /// How long it has run.
    pub uptime_ms: u64,
    /// Where devices connect.
    pub pool: PoolStatus,
    /// The Bitcoin node.
    pub node: NodeStatus,
    /// How the uplink fares, where we are somebody else's miner.
    pub uplink: Option<super::Uplink>,
    /// Estimated from accepted work, in hashes a second.
    pub hash_rate: Rates,
    /// What was submitted.
    pub shares: Shares,
    /// The share with the most work.
    pub best_share: Option<BestShare>,
    /// Blocks that our miners found.
    pub blocks: Blocks,
    /// Peers.
    pub connections: Connections,
    /// Whether all peers are being sent elsewhere; `None` in normal life.
    pub drain: Option<Drain>,
    /// Their channels.
    pub channels: Channels,
    /// The names with the most hash rate, at most [`Status::WORKERS_MAX`].
    pub workers: Vec<Worker>,
    /// How many names there are, shown or not.
    pub workers_total: u64,
    /// Channels that are open, and no share has come for many times as long as one takes.
    pub silent: u64,
    /// The first of them by name.
    pub silent_names: Vec<String>,
    /// The journal.
    pub ledger: LedgerStatus,
    /// The database made from it.
    pub books: BooksStatus,
    /// The other front ends, and the journal's way to accountants, where this pool is one of several.
    pub fleet: Option<FleetStatus>,
    /// What an accountant counts, in the picture of one.
    pub accountant: Option<AccountantPicture>,
    /// Job negotiation.
    pub negotiation: Negotiation,
    /// Job distribution, where jobs are distributed.
    pub distribution: Option<Distribution>,
    /// From the first byte of a share read to its acknowledgement written.
    #[schema(value_type = super::latency::LatencyShape)]
    pub ack_latency: Latency,
    /// From a template's arrival to the moment the last connection got its job.
    #[schema(value_type = super::latency::LatencyShape)]
    pub fan_out_latency: Latency,
}

/// Job negotiation: counts since the start, and what is there now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Negotiation {
    /// Tokens given out.
    pub tokens: u64,
    /// Tokens that are good now.
    pub tokens_live: u64,
    /// Declared jobs that were acknowledged.
    pub declared: u64,
    /// Declared jobs that were refused.
    pub declarations_refused: u64,
    /// Custom jobs that were accepted.
    pub custom_accepted: u64,
    /// Custom jobs that were refused.
    pub custom_refused: u64,
    /// Solutions of declared jobs that were pushed.
    pub solutions: u64,
    /// Questions to the node.
    pub node_calls: u64,
    /// Bytes that declared jobs hold.
    pub bytes: u64,
    /// Bytes that they may hold; 0 where no jobs are negotiated.
    pub bytes_max: u64,
}

/// Job distribution: counts since the start, and who is there now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Distribution {
    /// Receivers that are connected.
    pub receivers: u64,
    /// Receivers that have come.
    pub joined: u64,
    /// Receivers that did not read and were disconnected.
    pub dropped_slow: u64,
    /// Jobs sent, once for each receiver.
    pub jobs: u64,
    /// Messages sent, jobs among them.
    pub messages: u64,
    /// Their bytes, before encryption.
    pub bytes: u64,
    /// Jobs that a receiver's pool did not take.
    pub refused: u64,
    /// Blocks that receivers have found.
    pub solutions: u64,
    /// Solutions that were none.
    pub junk: u64,
}

/// Where devices connect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct PoolStatus {
    /// `stratum2+tcp://HOST:PORT/KEY`.
    pub url: String,
    /// The authority's public key.
    pub key: String,
    /// The socket.
    pub listen: String,
    /// What to type into which miner.
    pub endpoints: Vec<Endpoint>,
    /// How long the certificates are good that connections are shown.
    pub certificates: Vec<crate::keys::Window>,
    /// What somebody should do about the keys soon; empty when all is well.
    pub keys_warning: String,
}

/// What to type into a miner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Endpoint {
    /// `stratum-v2`, `stratum-v2-draft2022`, `stratum-v1` or `stratum-v1-tls`.
    pub kind: &'static str,
    /// Whole, for miners with one field for it.
    pub url: String,
    /// For miners with several fields. Empty: listening everywhere, any name of this machine will do.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The pool's key, where the protocol has one.
    pub key: Option<String>,
}

/// Whether a node answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// It has not answered yet.
    #[default]
    Starting,
    /// It gives templates.
    Up,
    /// It does not; `reason` says why.
    Down,
}

/// The Bitcoin node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct NodeStatus {
    /// As configured: `embedded`, `ipc:PATH`.
    pub spec: String,
    /// What it says it is.
    pub name: String,
    /// Whether it answers.
    pub state: NodeState,
    /// Why it does not; empty otherwise.
    pub reason: String,
    /// What somebody should look at although templates come, such as nodes that disagree; empty otherwise.
    pub alarm: String,
    /// `main`, `testnet3`, `testnet4`, `signet` or `regtest`.
    pub network: String,
    /// Height of the tip.
    pub height: u64,
    /// Hash of the tip, as explorers write it.
    pub tip: String,
    /// Expected hashes of a block; 0 before the first template.
    #[serde(serialize_with = "number::wide")]
    #[schema(schema_with = number::schema)]
    pub block_work: u128,
    /// What a block pays at the moment, in satoshis, as far as it is known here.
    pub block_value_sat: Option<u64>,
    /// How old the template is that is mined on; `None` before the first.
    pub template_age_ms: Option<u64>,
    /// Its transactions besides the coinbase, where the node says so.
    pub transactions: Option<u32>,
    /// Its fees in satoshis, where the node says so.
    pub fees_sat: Option<u64>,
    /// Jobs that the node itself found good (checkBlock).
    pub jobs_valid: u64,
    /// Jobs that it would have refused as blocks; they were replaced.
    pub jobs_refused: u64,
    /// Jobs that it could not judge: the source has no such check, or the tip had changed.
    pub jobs_unknown: u64,
}

/// What was submitted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Shares {
    /// Accepted, and on disk.
    pub accepted: u64,
    /// Refused.
    pub rejected: u64,
    /// Refused, by refusal code (`stale-share`).
    pub by_reason: BTreeMap<&'static str, u64>,
    /// Expected hashes of all accepted shares together.
    #[serde(serialize_with = "number::wide")]
    #[schema(schema_with = number::schema)]
    pub work: u128,
    /// Accepted in the last ten minutes.
    pub accepted_10m: u64,
    /// Refused in the last ten minutes.
    pub rejected_10m: u64,
}

/// The share with the most work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct BestShare {
    /// Expected hashes of its header hash (not of its target).
    #[serde(serialize_with = "number::wide")]
    #[schema(schema_with = number::schema)]
    pub work: u128,
    /// Who found it; made harmless with [`text::clean`](super::text::clean).
    pub worker: String,
    /// When.
    pub at_us: u64,
}

/// Blocks that our miners found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Blocks {
    /// All.
    pub found: u64,
    /// Taken by the node.
    pub accepted: u64,
    /// Refused by the node.
    pub rejected: u64,
    /// Not answered yet; sent again until the node answers.
    pub pending: u64,
    /// The newest.
    pub last: Option<LastBlock>,
    /// From the winning share read to the node asked for the first time.
    #[schema(value_type = super::latency::LatencyShape)]
    pub submit_latency: Latency,
}

/// The newest block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct LastBlock {
    /// Its height.
    pub height: u64,
    /// Its hash, as explorers write it.
    pub hash: String,
    /// When it was found.
    pub at_us: u64,
    /// Who found it.
    pub worker: String,
}

/// Peers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Connections {
    /// Open now.
    pub open: u64,
    /// Accepted so far.
    pub accepted: u64,
    /// The same by what protects them: `current`, `draft2022-chachapoly`, `draft2022-aesgcm`, `plain`;
    /// `stratum-v1`, which nothing protects, and `stratum-v1-tls`.
    pub by_suite: BTreeMap<&'static str, u64>,
    /// Turned away at the door for a limit.
    pub refused: u64,
    /// Ended for a fault of the peer.
    pub faulted: u64,
}

/// All peers are being sent elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Drain {
    /// Where to: `HOST:PORT`, `HOST`, `:PORT` or `same`.
    pub to: String,
    /// Peers that are still here.
    pub left: u64,
    /// Peers when it began.
    pub total: u64,
}

/// Open channels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Channels {
    /// Standard channels.
    pub standard: u64,
    /// Extended channels.
    pub extended: u64,
}

/// One name's work.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Worker {
    /// The name, made harmless with [`text::clean`](super::text::clean).
    pub name: String,
    /// Hashes a second over the last minutes.
    pub hash_rate: f64,
    /// How far luck may have moved that, as a part of it; nothing where no share was counted.
    pub error: Option<f64>,
    /// Its channels now.
    pub channels: u64,
    /// Accepted shares.
    pub accepted: u64,
    /// Refused shares.
    pub rejected: u64,
    /// Expected hashes of its best share.
    #[serde(serialize_with = "number::wide")]
    #[schema(schema_with = number::schema)]
    pub best_work: u128,
    /// When its last share came; `None` before the first.
    pub last_share_us: Option<u64>,
}

/// Whether shares are made durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LedgerState {
    /// They are.
    #[default]
    Up,
    /// The disk fails or is full: jobs go on, acknowledgements wait.
    Down,
}

/// The journal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct LedgerStatus {
    /// Whether shares are made durable.
    pub state: LedgerState,
    /// Why they are not; empty otherwise.
    pub reason: String,
    /// Sequence number up to which records are durable.
    pub committed: u64,
    /// Duration of one group commit.
    #[schema(value_type = super::latency::LatencyShape)]
    pub commit_latency: Latency,
}

/// Whether the database follows the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BooksState {
    /// There is none.
    #[default]
    Off,
    /// It does.
    Up,
    /// It does not; what waits for it is safe in the journal.
    Down,
}

/// The database that is made from the journal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct BooksStatus {
    /// Whether it follows the journal.
    pub state: BooksState,
    /// Why it does not, and what to do; empty otherwise.
    pub reason: String,
    /// Which: `sqlite:PATH`, `postgres://HOST:PORT/DATABASE`.
    pub place: String,
    /// The last record that it has counted.
    pub position: u64,
    /// Durable records that it has not counted yet.
    pub backlog: u64,
    /// How old the oldest of them is, at most.
    pub behind_ms: u64,
    /// Records counted since the start of the process.
    pub records: u64,
    /// Transactions that counted them.
    pub batches: u64,
    /// Failed tries.
    pub failures: u64,
    /// Duration of one transaction.
    #[schema(value_type = super::latency::LatencyShape)]
    pub apply_latency: Latency,
}

/// A front end among others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct FleetStatus {
    /// Who they are.
    #[serde(flatten)]
    pub fleet: Fleet,
    /// How far the journal is shipped and counted.
    pub shipping: Shipping,
    /// Whether and how blocks are shared out by the work of all.
    pub sharing: Sharing,
}

/// The colour of the first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Light {
    /// All is well.
    Green,
    /// It works, but somebody should look.
    Amber,
    /// Shares are not being paid or blocks could not be found.
    Red,
}

/// Is it working? In one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Health {
    /// The colour.
    pub light: Light,
    /// Why.
    pub reason: String,
}

impl Status {
    /// Most silent devices that a picture names.
    pub const SILENT_MAX: usize = 3;
    /// Most workers in a picture, so that it stays small however many names there are.
    pub const WORKERS_MAX: usize = 100;
    /// A template older than this is suspect, in milliseconds: Core refreshes far more often.
    pub const TEMPLATE_AGE_MAX_MS: u64 = 600_000;
    /// More than one refused share in this many is worth a look.
    pub const REJECT_SHARE: u64 = 20;

    /// Keeps the workers with the most hash rate, and counts all.
    pub fn set_workers(&mut self, mut workers: Vec<Worker>) {
        self.workers_total = workers.len() as u64;
        workers.sort_by(|a, b| {
            b.hash_rate
                .total_cmp(&a.hash_rate)
                .then_with(|| a.name.cmp(&b.name))
        });
        workers.truncate(Self::WORKERS_MAX);
        self.workers = workers;
    }

    /// Is it working?
    pub fn health(&self) -> Health {
        let (light, reason) = self.light();
        Health { light, reason }
    }

    fn light(&self) -> (Light, String) {
        if let Some(accountant) = &self.accountant {
            let Health { light, reason } = accountant.health();
            return (light, reason);
        }
        let ledger = &self.ledger;
        if ledger.state == LedgerState::Down {
            return (
                Light::Red,
                format!("shares cannot be written to disk: {}", ledger.reason),
            );
        }
        if let Some(drain) = &self.drain {
            return (
                Light::Amber,
                format!(
                    "draining to {}: {} of {} peers left",
                    drain.to, drain.left, drain.total
                ),
            );
        }
        if let Some(trouble) = self.upstream_light().or_else(|| self.node_light()) {
            return trouble;
        }
        if self.books.state == BooksState::Down {
            return (
                Light::Amber,
                format!(
                    "the books stand still, {} behind: {}",
                    super::text::count(self.books.backlog, "record"),
                    self.books.reason
                ),
            );
        }
        if let Some(it) = &self.fleet {
            let alarm = it.fleet.alarms.first().cloned();
            let trouble = (!it.shipping.trouble.is_empty())
                .then(|| format!("the journal is not shipped: {}", it.shipping.trouble));
            if let Some(what) = alarm.or(trouble) {
                return (Light::Amber, what);
            }
        }
        if !self.pool.keys_warning.is_empty() {
            return (Light::Amber, self.pool.keys_warning.clone());
        }
        if self.blocks.rejected > 0 {
            return (
                Light::Amber,
                format!(
                    "the node refused {} of ours",
                    super::text::count(self.blocks.rejected, "block")
                ),
            );
        }
        if self.blocks.pending > 0 {
            return (
                Light::Amber,
                format!(
                    "{} unanswered by the node",
                    super::text::count(self.blocks.pending, "block")
                ),
            );
        }
        if self.channels.standard + self.channels.extended == 0 {
            return (Light::Amber, "no miner is connected".into());
        }
        let rejected = self.shares.rejected_10m;
        let submitted = self.shares.accepted_10m.saturating_add(rejected);
        if rejected.saturating_mul(Self::REJECT_SHARE) > submitted && submitted > 100 {
            return (
                Light::Amber,
                format!("{rejected} of {submitted} shares refused in the last ten minutes"),
            );
        }
        if self.silent > 0 {
            return (Light::Amber, self.who_is_silent());
        }
        (Light::Green, "mining".into())
    }

    /// What is wrong above us, where we are somebody else's miner.
    fn upstream_light(&self) -> Option<(Light, String)> {
        let uplink = self.uplink.as_ref().filter(|uplink| uplink.upstream.is_empty())?;
        let tries = match uplink.changes {
            0 => "no upstream is reached yet",
            _ => "no upstream is left",
        };
        Some(match self.has_node() {
            true => (Light::Amber, format!("{tries}: mining on our own node")),
            false => (
                Light::Red,
                format!("{tries}: what is mined meanwhile is in our own journal only"),
            ),
        })
    }

    fn has_node(&self) -> bool {
        self.node.spec != "none"
    }

    /// What is wrong with the node, where its templates are mined.
    fn node_light(&self) -> Option<(Light, String)> {
        let node = &self.node;
        if !self.has_node() {
            return None;
        }
        match node.state {
            NodeState::Down => return Some((Light::Red, format!("no Bitcoin node: {}", node.reason))),
            NodeState::Starting => return Some((Light::Amber, "waiting for the Bitcoin node".into())),
            NodeState::Up if !node.alarm.is_empty() => return Some((Light::Amber, node.alarm.clone())),
            NodeState::Up => {}
        }
        match node.template_age_ms {
            None => Some((Light::Amber, "waiting for the first template".into())),
            Some(age) if age > Self::TEMPLATE_AGE_MAX_MS && node.network != "regtest" => Some((
                Light::Amber,
                format!("the template is {} old", super::text::duration_ms(age)),
            )),
            Some(_) => None,
        }
    }

    fn who_is_silent(&self) -> String {
        let devices = super::text::count(self.silent, "device");
        let are = if self.silent == 1 { "is" } else { "are" };
        let named = self.silent_names.join(", ");
        let more = if self.silent > self.silent_names.len() as u64 {
            ", ..."
        } else {
            ""
        };
        format!("{devices} {are} connected but no share comes: {named}{more}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mining() -> Status {
        Status {
            node: NodeStatus {
                state: NodeState::Up,
                template_age_ms: Some(5),
                ..NodeStatus::default()
            },
            channels: Channels {
                standard: 1,
                extended: 0,
            },
            ..Status::default()
        }
    }

    #[test]
    fn the_light_says_what_hurts_most() {
        assert_eq!(
            mining().health(),
            Health {
                light: Light::Green,
                reason: "mining".into()
            }
        );
        assert_eq!(Status::default().health().light, Light::Amber);
        let mut status = mining();
        status.blocks.pending = 2;
        assert_eq!(status.health().reason, "2 blocks unanswered by the node");
        status.node.state = NodeState::Down;
        status.node.reason = "connection refused".into();
        assert_eq!(status.health().reason, "no Bitcoin node: connection refused");
        status.ledger.state = LedgerState::Down;
        assert_eq!(status.health().light, Light::Red);
        assert!(status.health().reason.contains("disk"));
    }

    #[test]
    fn a_proxy_is_well_without_a_node_and_not_without_an_upstream() {
        let mut status = mining();
        status.node = NodeStatus {
            spec: "none".into(),
            ..NodeStatus::default()
        };
        status.uplink = Some(super::super::Uplink {
            upstream: "pool.example:3333".into(),
            changes: 1,
            ..super::super::Uplink::default()
        });
        assert_eq!(status.health().light, Light::Green);
        if let Some(uplink) = &mut status.uplink {
            uplink.upstream.clear();
        }
        assert_eq!(status.health().light, Light::Red);
        status.node = mining().node;
        assert_eq!(
            status.health().reason,
            "no upstream is left: mining on our own node"
        );
    }

    #[test]
    fn refused_shares_and_silent_devices_are_pointed_out() {
        let mut status = mining();
        status.silent = 1;
        status.silent_names = vec!["bob".into()];
        assert_eq!(
            status.health().reason,
            "1 device is connected but no share comes: bob"
        );
        (status.shares.accepted_10m, status.shares.rejected_10m) = (150, 10);
        assert_eq!(
            status.health().reason,
            "10 of 160 shares refused in the last ten minutes"
        );
        status.shares.rejected_10m = 5;
        status.silent = 0;
        assert_eq!(status.health().light, Light::Green);
    }

    #[test]
    fn the_picture_is_bounded_however_many_workers() {
        let mut status = Status::default();
        let worker = |n: u32| Worker {
            name: n.to_string(),
            hash_rate: f64::from(n),
            ..Worker::default()
        };
        status.set_workers((0..100_000).map(worker).collect());
        assert_eq!(
            (status.workers.len(), status.workers_total),
            (Status::WORKERS_MAX, 100_000)
        );
        assert_eq!(status.workers[0].name, "99999");
    }
}
