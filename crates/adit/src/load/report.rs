//! What a run came to.

use std::collections::BTreeMap;
use std::fmt;

use adit_wire::U256;
use serde::Serialize;

use super::stats::{Stats, Tip};
use super::{Opened, Settings, unix_us};

/// Microseconds from sending a share to its acceptance, warm-up excluded.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Shares measured.
    pub count: u64,
    /// Half are faster.
    pub p50: u64,
    /// Nine in ten are faster.
    pub p90: u64,
    /// All but one in a hundred are faster.
    pub p99: u64,
    /// The slowest.
    pub max: u64,
}

/// When the connections heard of a new previous block: microseconds since the Unix epoch, by this machine's clock.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TipReport {
    /// Hash of the block, as people write it.
    pub prev_hash: String,
    /// The first connection heard of it.
    pub first_us: u64,
    /// The last one did.
    pub last_us: u64,
    /// From first to last.
    pub spread_us: u64,
    /// How many connections heard of it.
    pub count: u64,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The pool.
    pub upstream: String,
    /// `standard` or `extended`; `stratum-v1` where that is spoken.
    pub channel: &'static str,
    /// Connections that were open when the run began.
    pub connections_open: u64,
    /// Connections that could not be opened.
    pub connections_failed: u64,
    /// Connections that ended before the run did.
    pub connections_lost: u64,
    /// Milliseconds from the first connection to the last one's first work.
    pub open_ms: u64,
    /// Connections opened a second, handshake, setup, channel and first work included.
    pub opens_per_second: f64,
    /// Seconds that were measured.
    pub seconds: f64,
    /// Shares sent.
    pub shares_sent: u64,
    /// Shares accepted, by the counts in SubmitShares.Success.
    pub shares_accepted: u64,
    /// Shares refused, all codes together.
    pub shares_rejected: u64,
    /// Shares refused, by code.
    pub rejected: BTreeMap<String, u64>,
    /// Shares that were never answered.
    pub shares_unanswered: u64,
    /// By how much the pool's counts differ from the shares that its answers name.
    pub miscounted: u64,
    /// Shares of an old tip that were not sent.
    pub shares_withheld: u64,
    /// Shares accepted a second, while measured.
    pub shares_per_second: f64,
    /// Latency of acknowledgements.
    pub latency_us: Latency,
    /// Jobs received, by all connections together.
    pub jobs: u64,
    /// New previous blocks after opening, in the order in which they were first heard of.
    pub tips: Vec<TipReport>,
    /// Ciphertext bytes received.
    pub bytes_in: u64,
    /// Ciphertext bytes sent.
    pub bytes_out: u64,
    /// Those of `bytes_in` that came after the first work to who only listens.
    pub bytes_listened: u64,
    /// CPU time of the generator itself for a share sent, in microseconds.
    pub own_cpu_us_per_share: f64,
    /// What went wrong, and how often.
    pub errors: BTreeMap<String, u64>,
}

impl Report {
    pub(super) fn new(settings: &Settings, opened: &Opened, stats: Stats) -> Self {
        let seconds = opened
            .run
            .map_or(0.0, |run| (run.stop - run.measure_from).as_secs_f64());
        let latency_us = Latency {
            count: stats.latency_us.len(),
            p50: stats.latency_us.value_at_quantile(0.50),
            p90: stats.latency_us.value_at_quantile(0.90),
            p99: stats.latency_us.value_at_quantile(0.99),
            max: stats.latency_us.max(),
        };
        Self {
            upstream: settings.upstream.to_string(),
            channel: match settings.channel {
                _ if settings.upstream.lines => "stratum-v1",
                crate::device::Channel::Standard => "standard",
                crate::device::Channel::Extended => "extended",
            },
            connections_open: stats.opened,
            connections_failed: stats.failed,
            connections_lost: stats.lost,
            open_ms: u64::try_from(opened.took.as_millis()).unwrap_or(u64::MAX),
            opens_per_second: ratio(stats.opened as f64, opened.took.as_secs_f64()),
            seconds,
            shares_sent: stats.sent,
            shares_accepted: stats.accepted,
            shares_rejected: stats.rejected_sum(),
            shares_unanswered: stats.unanswered,
            miscounted: stats.miscounted,
            shares_withheld: stats.withheld,
            shares_per_second: ratio(stats.accepted_measured as f64, seconds),
            latency_us,
            jobs: stats.jobs,
            tips: tips(&stats.tips),
            bytes_in: stats.bytes_in,
            bytes_out: stats.bytes_out,
            bytes_listened: stats.bytes_listened,
            own_cpu_us_per_share: ratio(stats.cpu_ns as f64 / 1e3, stats.sent as f64),
            rejected: stats.rejected,
            errors: stats.errors,
        }
    }
}

fn tips(tips: &BTreeMap<[u8; 32], Tip>) -> Vec<TipReport> {
    let mut reports: Vec<_> = tips
        .iter()
        .map(|(prev_hash, tip)| TipReport {
            prev_hash: U256(*prev_hash).to_string(),
            first_us: unix_us(tip.first),
            last_us: unix_us(tip.last),
            spread_us: unix_us(tip.last).saturating_sub(unix_us(tip.first)),
            count: tip.count,
        })
        .collect();
    reports.sort_by_key(|tip| tip.first_us);
    reports
}

fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}

/// For people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            connections_open,
            connections_failed,
            connections_lost,
            open_ms,
            ..
        } = self;
        writeln!(
            f,
            "connections  {connections_open} open, {connections_failed} failed, {connections_lost} lost"
        )?;
        writeln!(
            f,
            "opening      {open_ms} ms, {:.0} a second",
            self.opens_per_second
        )?;
        writeln!(
            f,
            "shares       {} sent, {} accepted, {} rejected, {} unanswered",
            self.shares_sent, self.shares_accepted, self.shares_rejected, self.shares_unanswered
        )?;
        for (code, count) in &self.rejected {
            writeln!(f, "             {count} x {code}")?;
        }
        writeln!(
            f,
            "rate         {:.0} shares a second over {:.1} s",
            self.shares_per_second, self.seconds
        )?;
        let Latency {
            p50, p90, p99, max, ..
        } = self.latency_us;
        writeln!(
            f,
            "latency      p50 {p50} us, p90 {p90} us, p99 {p99} us, max {max} us"
        )?;
        for tip in &self.tips {
            writeln!(
                f,
                "new block    {} connections within {} us",
                tip.count, tip.spread_us
            )?;
        }
        write!(f, "own cost     {:.2} us a share", self.own_cpu_us_per_share)?;
        for (what, count) in &self.errors {
            write!(f, "\nerror        {count} x {what}")?;
        }
        Ok(())
    }
}
