//! What a device costs the line, in either protocol.

use std::thread::sleep;
use std::time::Duration;

use super::rows::{Bytes, Figures};
use super::stages::Site;
use crate::Failure;
use crate::pools::load::number;

/// Devices of each sort.
const DEVICES: u32 = 20;
/// Shares a second of a device that mines: six a minute.
const RATE: &str = "0.1";
/// New blocks a minute.
pub(super) const BLOCKS_PER_MINUTE: u32 = 2;

/// Bytes a minute of every sort of device, silent and mining, all in the same minute.
pub(super) fn bandwidth(site: &Site<'_>, figures: &mut Figures) -> Result<(), Failure> {
    let node = site.node.ok_or("new jobs need bitcoin-node")?;
    let (_pool, proxy) = site.start(true)?;
    let v2 = proxy.v2.as_deref().ok_or("the proxy takes no Stratum V2")?;
    let sorts = [
        (proxy.v1.as_str(), "standard"),
        (v2, "standard"),
        (v2, "extended"),
    ];
    let seconds = site.scale.bandwidth_s;
    let mut loads = Vec::new();
    for (url, channel) in sorts {
        let flags = ["--channel", channel, "--warm-up-ms", "0"];
        let silent = site.load(url, DEVICES, seconds, &[&flags[..], &["--hold"]].concat())?;
        let mining = site.load(url, DEVICES, seconds, &[&flags[..], &["--rate", RATE]].concat())?;
        loads.push((silent, mining));
    }
    let minutes = seconds as f64 / 60.0;
    let blocks = (f64::from(BLOCKS_PER_MINUTE) * minutes).max(1.0) as u32;
    for _ in 0..blocks {
        node.mine()?;
        sleep(Duration::from_secs(seconds) / (blocks + 1));
    }
    for (place, (silent, mining)) in figures.bytes.iter_mut().zip(loads) {
        let (silent, mining) = (silent.report()?, mining.report()?);
        let all = |report| -> Result<f64, Failure> {
            Ok(number(report, "/bytes_in")? + number(report, "/bytes_out")?)
        };
        let listened = number(&silent, "/bytes_listened")?;
        // What opening costs is the same for both.
        let opening = all(&silent)? - listened;
        let devices = f64::from(DEVICES);
        *place = Some(Bytes {
            opening: opening / devices,
            silent: listened / devices / minutes,
            mining: (all(&mining)? - opening) / devices / minutes,
        });
    }
    Ok(())
}
