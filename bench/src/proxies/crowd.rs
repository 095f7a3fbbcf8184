//! As many devices as the open-file limit allows, and a storm of reconnects while others mine.

use std::thread::sleep;
use std::time::Duration;

use super::rows::Figures;
use super::stages::{HOLD_S, SETTLE, Site};
use crate::Failure;
use crate::pools::load::number;

/// Shares a second of each device of the crowd: one every ten seconds.
const CROWD_RATE: &str = "0.1";
/// Devices that stay while the others reconnect, and shares a second of each.
pub(super) const STAYING: u32 = 100;
const STAYING_RATE: &str = "5";

/// Half of the devices speak Stratum V1, half V2, each half from a process of its own.
pub(super) fn crowd(site: &Site<'_>, figures: &mut Figures) -> Result<(), Failure> {
    let (pool, proxy) = site.start(true)?;
    let before = proxy.resident_bytes()?;
    let half = site.scale.crowd / 2;
    let v2 = proxy.v2.as_deref().ok_or("the proxy takes no Stratum V2")?;
    let loads = [
        site.load(&proxy.v1, half, HOLD_S, &["--rate", CROWD_RATE])?,
        site.load(v2, site.scale.crowd - half, HOLD_S, &["--rate", CROWD_RATE])?,
    ];
    sleep(SETTLE);
    let open = proxy.count("/connections/open")?;
    figures.crowd_memory = Some((proxy.resident_bytes()? - before) / open.max(1.0));
    figures.crowd_open = Some(open);
    let counts = || -> Result<(f64, f64), Failure> {
        Ok((
            proxy.count("/shares/accepted")?,
            proxy.count("/uplink/figures/shares_sent")?,
        ))
    };
    let (start, cpu) = (counts()?, proxy.cpu_us()?);
    // Long enough that every device has had its turn, and the pool has found the proxy's difficulty.
    sleep(Duration::from_secs(site.scale.seconds.max(10) * 2));
    let (end, cpu_end) = (counts()?, proxy.cpu_us()?);
    let (below, above) = (end.0 - start.0, end.1 - start.1);
    figures.crowd_up_per_down = Some(above / below.max(1.0));
    figures.crowd_share_us = Some((cpu_end - cpu) / below.max(1.0));
    for load in &loads {
        load.stop()?;
    }
    let mut lost = 0.0;
    for load in loads {
        lost += number(&load.report()?, "/connections_lost")?;
    }
    drop(pool);
    if lost > 0.0 {
        return Err(format!("{lost} of the devices lost their connection").into());
    }
    Ok(())
}

/// All devices but a few leave and come back at once; how long it takes, and what those notice who stay.
pub(super) fn storm(site: &Site<'_>, figures: &mut Figures) -> Result<(), Failure> {
    let (_pool, proxy) = site.start(true)?;
    let v2 = proxy.v2.as_deref().ok_or("the proxy takes no Stratum V2")?;
    let staying = ["--rate", STAYING_RATE, "--warm-up-ms", "500"];
    let calm = site
        .load(&proxy.v1, STAYING, site.scale.seconds, &staying)?
        .report()?;
    figures.calm_p99_us = Some(number(&calm, "/latency_us/p99")?);
    let storm = site.scale.storm;
    let stayed = site.load(&proxy.v1, STAYING, HOLD_S, &staying)?;
    let opening = storm.to_string();
    let flags = ["--hold", "--churn", "1", "--threads", "2", "--opening", &opening];
    let load = site.load(v2, storm, HOLD_S, &flags)?;
    stayed.stop()?;
    load.stop()?;
    let (report, stayed) = (load.report()?, stayed.report()?);
    figures.storm_ms = Some(number(&report, "/open_ms")?);
    figures.storm_open = Some(number(&report, "/connections_open")?);
    figures.storm_p99_us = Some(number(&stayed, "/latency_us/p99")?);
    let lost = number(&stayed, "/connections_lost")?;
    if lost > 0.0 {
        return Err(format!("{lost} of those who stayed lost their connection").into());
    }
    Ok(())
}
