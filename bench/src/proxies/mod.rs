//! The two proxies as processes, below them many devices, above them one pool.
//!
//! Compared is what both can do: devices of Stratum V1 on a pool of Stratum V2, all on one channel of it. What only ours does
//! stands in rows of its own: all connections that the open-file limit allows, a storm of reconnects, and what a device costs
//! the line in either protocol.

mod bandwidth;
mod crowd;
mod rows;
mod served;
mod stages;

use std::path::Path;

use adit_testkit::peers::program;

use crate::Failure;
use crate::pools::node::Node;
use crate::pools::{Found, raise_limits, wanted};
use crate::table::Row;
use rows::Figures;
use served::Kind;
use stages::Site;

/// How much is asked of the proxies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// Devices of either proxy for the rows on memory and jobs.
    pub devices: u32,
    /// Connections of ours at once.
    pub crowd: u32,
    /// Devices that reconnect all at once.
    pub storm: u32,
    /// Seconds under load.
    pub seconds: u64,
    /// New blocks that are timed.
    pub blocks: u32,
    /// Seconds over which bytes are counted.
    pub bandwidth_s: u64,
}

impl Scale {
    /// What the issue asks for, or about a tenth of it.
    pub fn new(quick: bool, seconds: Option<u64>) -> Self {
        let mut scale = Self {
            devices: 2_000,
            crowd: 19_000,
            storm: 10_000,
            seconds: 10,
            blocks: 3,
            bandwidth_s: 60,
        };
        if quick {
            scale = Self {
                devices: 300,
                crowd: 2_000,
                storm: 1_000,
                seconds: 4,
                blocks: 1,
                bandwidth_s: 12,
            };
        }
        scale.seconds = seconds.unwrap_or(scale.seconds).max(1);
        scale
    }
}

type Stage = fn(&Site<'_>, &mut Figures) -> Result<(), Failure>;

/// What is done to both.
const COMPARED: [(&str, Stage); 2] = [
    ("proxy: shares", stages::shares),
    ("proxy: devices, new blocks", stages::devices),
];
/// What is done to ours.
const OURS: [(&str, Stage); 3] = [
    ("proxy: crowd", crowd::crowd),
    ("proxy: storm", crowd::storm),
    ("proxy: bandwidth", bandwidth::bandwidth),
];

/// Runs the stages whose name holds `only`.
///
/// # Errors
/// When a node cannot be started. A stage that fails is a note.
pub fn rows(adit: &Path, scale: Scale, only: &str, mut said: impl FnMut(&Row)) -> Result<Found, Failure> {
    raise_limits()?;
    let mut notes = Vec::new();
    let node = match (program("bitcoin-node"), program("bitcoin-cli")) {
        (Some(node), Some(client)) => Some(Node::start(&node, &client)?),
        _ => {
            notes.push("bitcoin-node is absent: nothing on new blocks behind a proxy".to_owned());
            None
        }
    };
    let reference = program("translator_sv2").map(Kind::Reference);
    if reference.is_none() {
        notes.push("translator_sv2 is absent: run `cargo xtask peers`".to_owned());
    }
    let ours = Kind::Ours(adit.to_path_buf());
    let (mut our_figures, mut their_figures) = (Figures::default(), Figures::default());
    let mut run = |name: &str, side: &str, stage: Stage, kind: &Kind, figures: &mut Figures| {
        eprintln!("{name}: {side}");
        let site = Site {
            adit,
            kind,
            node: node.as_ref(),
            scale,
        };
        if let Err(failure) = stage(&site, figures) {
            notes.push(format!("{name}, {side}: not measured: {failure}"));
        }
    };
    for (name, stage) in COMPARED.into_iter().filter(|(name, _)| wanted(name, only)) {
        run(name, "ours", stage, &ours, &mut our_figures);
        if let Some(reference) = &reference {
            run(name, "SRI", stage, reference, &mut their_figures);
        }
    }
    for (name, stage) in OURS.into_iter().filter(|(name, _)| wanted(name, only)) {
        run(name, "ours", stage, &ours, &mut our_figures);
    }
    let their_figures = reference.is_some().then_some(their_figures);
    let rows = rows::rows(&our_figures, their_figures.as_ref(), scale);
    rows.iter().for_each(&mut said);
    Ok(Found { rows, notes })
}
