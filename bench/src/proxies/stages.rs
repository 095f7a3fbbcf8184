//! What is done to both proxies, and what is read off them.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use super::Scale;
use super::rows::Figures;
use super::served::{Kind, Served};
use crate::Failure;
use crate::pools::load::{Load, number};
use crate::pools::node::Node;
use crate::pools::served as pools;
use crate::pools::stages::mined;

/// Devices that mine while shares are counted, and shares a second of each.
pub(super) const MINING: u32 = 200;
pub(super) const RATE: u32 = 20;
/// Longest time that connections are held open.
pub(super) const HOLD_S: u64 = 600;
/// What the last messages may take until they are counted.
pub(super) const SETTLE: Duration = Duration::from_secs(1);

/// Where a stage runs.
pub(super) struct Site<'a> {
    pub(super) adit: &'a Path,
    pub(super) kind: &'a Kind,
    pub(super) node: Option<&'a Node>,
    pub(super) scale: Scale,
}

impl Site<'_> {
    /// A fresh pool above a fresh proxy. With `vardiff` the pool asks for a few shares a minute, as pools do; without it
    /// takes them all.
    pub(super) fn start(&self, vardiff: bool) -> Result<(pools::Served, Served), Failure> {
        let pool = pools::Served::above(self.adit, self.node, vardiff)?;
        let proxy = Served::start(self.kind, &pool.url)?;
        Ok((pool, proxy))
    }

    /// Devices at `url`, once all are connected.
    pub(super) fn load(
        &self,
        url: &str,
        connections: u32,
        seconds: u64,
        more: &[&str],
    ) -> Result<Load, Failure> {
        Load::ready(self.adit, url, connections, seconds, more)
    }
}

/// Every share goes through the proxy to the pool.
pub(super) fn shares(site: &Site<'_>, figures: &mut Figures) -> Result<(), Failure> {
    let (pool, proxy) = site.start(false)?;
    let rate = RATE.to_string();
    let load = site.load(&proxy.v1, MINING, site.scale.seconds, &["--rate", &rate])?;
    let before = proxy.cpu_us()?;
    let report = load.report()?;
    let used = proxy.cpu_us()? - before;
    let accepted = number(&report, "/shares_accepted")?.max(1.0);
    sleep(SETTLE);
    figures.share_us = Some(used / accepted);
    figures.accepted = Some(accepted / number(&report, "/shares_sent")?.max(1.0));
    figures.ack_p50_us = Some(number(&report, "/latency_us/p50")?);
    figures.ack_p99_us = Some(number(&report, "/latency_us/p99")?);
    figures.forwarded = Some(pool.count("/shares/accepted")? / accepted);
    Ok(())
}

/// Devices that are only there, and new blocks on their way to them.
pub(super) fn devices(site: &Site<'_>, figures: &mut Figures) -> Result<(), Failure> {
    let (pool, proxy) = site.start(false)?;
    let many = site.scale.devices;
    // What the first device brings about is no cost of a device.
    let first = site.load(&proxy.v1, 1, HOLD_S, &["--hold"])?;
    sleep(SETTLE);
    let memory = proxy.resident_bytes()?;
    let load = site.load(&proxy.v1, many, HOLD_S, &["--hold"])?;
    sleep(SETTLE);
    figures.memory = Some((proxy.resident_bytes()? - memory) / f64::from(many));
    let blocks = match site.node {
        Some(node) => mined(node, &pool, site.scale.blocks)?,
        None => Vec::new(),
    };
    for load in [&first, &load] {
        load.stop()?;
    }
    let report = load.report()?;
    if let Some((first, last)) = crate::pools::stages::median(&blocks, &report, |block| block.noticed) {
        (figures.job_first_us, figures.job_last_us) = (Some(first), Some(last));
    }
    Ok(())
}
