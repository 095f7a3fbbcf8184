//! What faces upstreams, where we are somebody else's miner.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::number;
use crate::uplink::Cause;

/// What faces upstreams.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Uplink {
    /// The upstream that is worked for, `HOST:PORT`; empty: we mine alone.
    pub upstream: String,
    /// Its place in the list, from 0.
    #[schema(value_type = Option<u64>)]
    pub place: Option<usize>,
    /// `full-template` or `coinbase-only`; `aggregate` or `transparent` for a proxy, which makes no jobs
    /// itself.
    pub mode: &'static str,
    /// Connections to it, of a transparent proxy.
    pub lines: u64,
    /// Times that an upstream was turned to.
    pub changes: u64,
    /// Why upstreams were left, and how often.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub causes: BTreeMap<Cause, u64>,
    /// What was done on all connections together.
    pub figures: Figures,
    /// From the last template to its custom job for the miners, in microseconds.
    pub job_latency_us: u64,
    /// Every upstream of a proxy, in the order of the list.
    pub upstreams: Vec<Upstream>,
}

/// One upstream, and what it was found to have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Upstream {
    /// `HOST:PORT`.
    pub name: String,
    /// `stratum-v2`, `stratum-v1` or `stratum-v1-tls`.
    pub protocol: &'static str,
    /// Whether there is a connection that can be worked on.
    pub ready: bool,
    /// Whether somebody mines for it.
    pub used: bool,
    /// Its part of the work, among those that have one.
    pub weight: Option<u32>,
    /// Connections below that mine for it, where work is split.
    pub connections: u64,
    /// Expected hashes of the shares that it was sent and has not refused.
    #[serde(serialize_with = "number::wide64")]
    #[schema(schema_with = number::schema)]
    pub work: u64,
    /// Shares that it was sent.
    pub shares_sent: u64,
    /// Shares that it accepted.
    pub shares_accepted: u64,
    /// Shares that it refused.
    pub shares_refused: u64,
    /// How long the oldest of the shares that it accepted last had waited for its answer, in microseconds.
    pub share_latency_us: u64,
    /// Bytes of the extranonce that it leaves to roll; 0 before there was a connection.
    pub extranonce_bytes: u16,
    /// Version bits that it lets be rolled, 8 hex digits; empty before there was a connection.
    pub version_mask: String,
    /// Whether shares name their worker there (extension 0x0002).
    pub worker_names: bool,
    /// Why it was left last; nothing since it is ready again.
    #[schema(value_type = Option<String>)]
    pub trouble: Option<Cause>,
}

/// What was done on connections upwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Figures {
    /// Custom jobs that the miners got.
    pub jobs_published: u64,
    /// Jobs that were declared.
    pub jobs_declared: u64,
    /// Custom jobs that the pool has taken.
    pub jobs_taken: u64,
    /// Declarations and custom jobs that the pool has refused, races of tips included.
    pub jobs_refused: u64,
    /// Shares that wait for the pool to take their job.
    pub shares_pending: u64,
    /// Shares sent to the pool.
    pub shares_sent: u64,
    /// Shares that the pool accepted.
    pub shares_accepted: u64,
    /// Shares that the pool refused.
    pub shares_refused: u64,
    /// Shares of an earlier tip or upstream, which were of no use to anybody.
    pub shares_stale: u64,
    /// Shares that are too easy for the pool: they count here only.
    pub shares_too_easy: u64,
    /// Shares that were given up because too many were waiting.
    pub shares_dropped: u64,
    /// Blocks found.
    pub blocks: u64,
}

impl Figures {
    /// Those of this connection and of those before it.
    #[must_use]
    pub const fn after(self, past: Self) -> Self {
        Self {
            jobs_published: past.jobs_published + self.jobs_published,
            jobs_declared: past.jobs_declared + self.jobs_declared,
            jobs_taken: past.jobs_taken + self.jobs_taken,
            jobs_refused: past.jobs_refused + self.jobs_refused,
            // Those of a connection that has ended were lost with it.
            shares_pending: self.shares_pending,
            shares_sent: past.shares_sent + self.shares_sent,
            shares_accepted: past.shares_accepted + self.shares_accepted,
            shares_refused: past.shares_refused + self.shares_refused,
            shares_stale: past.shares_stale + self.shares_stale,
            shares_too_easy: past.shares_too_easy + self.shares_too_easy,
            shares_dropped: past.shares_dropped + self.shares_dropped,
            blocks: past.blocks + self.blocks,
        }
    }
}
