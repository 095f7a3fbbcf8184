//! What is done to a pool, and what is read off it.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use super::Scale;
use super::disk;
use super::load::{Load, number};
use super::node::Node;
use super::served::{Kind, Served};
use crate::Failure;
use crate::measure::quantile;

/// Connections that saturate a pool.
pub(super) const SATURATING: u32 = 192;
/// Connections and shares a second of each, for latency.
pub(super) const PACED: u32 = 100;
const RATE: &str = "200";
/// Connections whose opening is compared with that of many.
pub(super) const FEW: u32 = 1_000;
/// Waves of reconnects.
const WAVES: &str = "5";
/// Shares that the reference acknowledges at once: its default, and for latency the best it can do.
const BATCH: u32 = 10;
const BATCH_FOR_LATENCY: u32 = 1;
/// Longest time that connections are held open.
pub(super) const HOLD_S: u64 = 600;
/// What the last messages may take until they are counted.
const SETTLE: Duration = Duration::from_secs(1);
/// How long a new block may take to all channels.
const SPREAD: Duration = Duration::from_secs(3);

/// What was read off one pool; nothing where it could not be.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Figures {
    /// CPU for an accepted share, in microseconds.
    pub(super) standard_us: Option<f64>,
    pub(super) extended_us: Option<f64>,
    /// Accepted shares a second.
    pub(super) standard_rate: Option<f64>,
    pub(super) extended_rate: Option<f64>,
    /// From share to acknowledgement, in microseconds.
    pub(super) ack_p50_us: Option<f64>,
    pub(super) ack_p99_us: Option<f64>,
    /// One append made durable in the same minute, before and after, in microseconds.
    pub(super) disk_us: Option<f64>,
    /// CPU for an opened channel, in microseconds.
    pub(super) open_few_us: Option<f64>,
    pub(super) open_many_us: Option<f64>,
    /// Memory for a channel that is open, in bytes.
    pub(super) memory: Option<f64>,
    pub(super) memory_churned: Option<f64>,
    /// The same when as many came for the first time.
    pub(super) memory_first_wave: Option<f64>,
    /// From the source's notice of a new tip to the first and last channel, in microseconds.
    pub(super) notice_first_us: Option<f64>,
    pub(super) notice_last_us: Option<f64>,
    /// The same from the line of the node's log.
    pub(super) tip_first_us: Option<f64>,
    pub(super) tip_last_us: Option<f64>,
    /// The same from the line of the node's log to a miner's custom job below a negotiator.
    pub(super) custom_job_us: Option<f64>,
}

/// Where a stage runs.
pub(super) struct Site<'a> {
    pub(super) adit: &'a Path,
    pub(super) kind: &'a Kind,
    pub(super) node: Option<&'a Node>,
    pub(super) scale: Scale,
}

impl Site<'_> {
    fn pool(&self, batch: u32) -> Result<Served, Failure> {
        Served::start(self.kind, self.node, batch)
    }

    fn hold(&self, pool: &Served, connections: u32, more: &[&str]) -> Result<Load, Failure> {
        // The generator's part of the work shall use all cores, as the pool's does.
        let threads = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .to_string();
        let flags = [&["--hold", "--threads", &threads], more].concat();
        let load = Load::ready(self.adit, &pool.url, connections, HOLD_S, &flags)?;
        Ok(load)
    }
}

type Stage = fn(&Site<'_>, &mut Figures) -> Result<(), Failure>;

/// All stages in their order.
pub(super) const STAGES: [(&str, Stage); 6] = [
    ("shares, saturated", saturate),
    ("shares, paced", pace),
    ("opening few", open_few),
    ("opening many, new blocks", open_many),
    ("reconnecting in waves", churn),
    ("job negotiators, new blocks", super::negotiators::new_blocks),
];

fn saturate(site: &Site<'_>, figures: &mut Figures) -> Result<(), Failure> {
    let pool = site.pool(BATCH)?;
    let run = |channel| -> Result<(f64, f64), Failure> {
        let flags = ["--channel", channel];
        let load = Load::ready(site.adit, &pool.url, SATURATING, site.scale.seconds, &flags)?;
        let before = pool.cpu_us()?;
        let report = load.report()?;
        let used = pool.cpu_us()? - before;
        Ok((
            used / number(&report, "/shares_accepted")?.max(1.0),
            number(&report, "/shares_per_second")?,
        ))
    };
    let (standard, extended) = (run("standard")?, run("extended")?);
    (figures.standard_us, figures.standard_rate) = (Some(standard.0), Some(standard.1));
    (figures.extended_us, figures.extended_rate) = (Some(extended.0), Some(extended.1));
    Ok(())
}

fn pace(site: &Site<'_>, figures: &mut Figures) -> Result<(), Failure> {
    let before = disk::append_us()?;
    let pool = site.pool(BATCH_FOR_LATENCY)?;
    let seconds = site.scale.seconds + 1;
    let report = Load::ready(site.adit, &pool.url, PACED, seconds, &["--rate", RATE])?.report()?;
    drop(pool);
    figures.disk_us = Some((before + disk::append_us()?) / 2.0);
    figures.ack_p50_us = Some(number(&report, "/latency_us/p50")?);
    figures.ack_p99_us = Some(number(&report, "/latency_us/p99")?);
    Ok(())
}

fn open_few(site: &Site<'_>, figures: &mut Figures) -> Result<(), Failure> {
    let pool = site.pool(BATCH)?;
    let few = FEW.min(site.scale.connections / 2);
    let before = pool.cpu_us()?;
    let _load = site.hold(&pool, few, &[])?;
    figures.open_few_us = Some((pool.cpu_us()? - before) / f64::from(few));
    Ok(())
}

fn open_many(site: &Site<'_>, figures: &mut Figures) -> Result<(), Failure> {
    let pool = site.pool(BATCH)?;
    let many = f64::from(site.scale.connections);
    let (cpu, memory) = (pool.cpu_us()?, pool.resident_bytes()?);
    let load = site.hold(&pool, site.scale.connections, &[])?;
    figures.open_many_us = Some((pool.cpu_us()? - cpu) / many);
    sleep(SETTLE);
    figures.memory = Some((pool.resident_bytes()? - memory) / many);
    let Some(node) = site.node else {
        return load.stop();
    };
    let blocks = mined(node, &pool, site.scale.blocks)?;
    load.stop()?;
    let report = load.report()?;
    let tip = median(&blocks, &report, |block| Some(block.at))
        .ok_or("a new block did not reach the connections")?;
    (figures.tip_first_us, figures.tip_last_us) = (Some(tip.0), Some(tip.1));
    let notice =
        median(&blocks, &report, |block| block.noticed).ok_or("the pool's log does not name the new tips")?;
    (figures.notice_first_us, figures.notice_last_us) = (Some(notice.0), Some(notice.1));
    Ok(())
}

/// A block that was mined to see it spread. Times are microseconds since the Unix epoch.
pub(crate) struct Mined {
    /// When the pool's source noticed it, if its log says so.
    pub(crate) noticed: Option<u64>,
    /// When the node had it as its tip.
    at: u64,
    hash: String,
}

/// Mines blocks, each with the time to spread.
pub(crate) fn mined(node: &Node, pool: &Served, count: u32) -> Result<Vec<Mined>, Failure> {
    let mut blocks = Vec::new();
    for _ in 0..count {
        let (hash, at) = node.mine()?;
        sleep(SPREAD);
        blocks.push(Mined {
            noticed: pool.noticed_us(&hash),
            at,
            hash,
        });
    }
    Ok(blocks)
}

/// First and last connection, in microseconds after what `from` gives of a block: the median over all blocks. Nothing
/// where it is not known of one, or one did not come.
pub(crate) fn median(
    blocks: &[Mined],
    report: &Value,
    from: fn(&Mined) -> Option<u64>,
) -> Option<(f64, f64)> {
    let times: Vec<_> = blocks
        .iter()
        .filter_map(|block| spread(report, &block.hash, from(block)?))
        .collect();
    let whole = !times.is_empty() && times.len() == blocks.len();
    let (first, last): (Vec<f64>, Vec<f64>) = times.into_iter().unzip();
    whole.then(|| (quantile(&first, 0.5), quantile(&last, 0.5)))
}

/// Microseconds from `at` to the first and to the last connection that heard of the block.
pub(super) fn spread(report: &Value, hash: &str, at: u64) -> Option<(f64, f64)> {
    let tips = report.get("tips")?.as_array()?;
    let tip = tips
        .iter()
        .find(|tip| tip.get("prev_hash").and_then(Value::as_str) == Some(hash))?;
    let after = |key| Some(tip.get(key)?.as_u64()?.saturating_sub(at) as f64);
    Some((after("first_us")?, after("last_us")?))
}

fn churn(site: &Site<'_>, figures: &mut Figures) -> Result<(), Failure> {
    let pool = site.pool(BATCH)?;
    let before = pool.resident_bytes()?;
    let each = || -> Result<f64, Failure> {
        sleep(SETTLE);
        Ok((pool.resident_bytes()? - before) / f64::from(site.scale.wave))
    };
    let first = site.hold(&pool, site.scale.wave, &[])?;
    figures.memory_first_wave = Some(each()?);
    first.stop()?;
    let _load = site.hold(&pool, site.scale.wave, &["--churn", WAVES])?;
    figures.memory_churned = Some(each()?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_found_in_the_report() {
        let report = serde_json::json!({ "tips": [
            { "prev_hash": "aa", "first_us": 1_000, "last_us": 3_000 },
            { "prev_hash": "bb", "first_us": 5_000, "last_us": 9_000 },
        ]});
        assert_eq!(spread(&report, "bb", 4_000), Some((1_000.0, 5_000.0)));
        assert_eq!(spread(&report, "cc", 4_000), None);
    }
}
