//! The two pools as processes, under one load generator, on one node.
//!
//! Every stage runs on a fresh pool, ours and then the reference's, so that both meet the same minute of the machine.

mod disk;
mod floor;
pub(crate) mod load;
mod negotiators;
pub(crate) mod node;
pub(crate) mod page;
pub(crate) mod process;
pub(crate) mod rows;
pub(crate) mod served;
pub(crate) mod stages;

use std::path::Path;

use adit_testkit::peers::program;

use crate::Failure;
use crate::table::Row;
use node::Node;
use served::Kind;
use stages::{Figures, STAGES};

/// How much is asked of the pools.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// Connections that are opened for the rows on opening, memory and new blocks.
    pub connections: u32,
    /// Connections of one wave of reconnects.
    pub wave: u32,
    /// Seconds under load.
    pub seconds: u64,
    /// New blocks that are timed.
    pub blocks: u32,
}

impl Scale {
    /// What the goals are written for.
    pub const FULL: Self = Self {
        connections: 10_000,
        wave: 5_000,
        seconds: 5,
        blocks: 3,
    };

    /// The full scale or a fifth of it, with these numbers replaced.
    pub fn new(quick: bool, connections: Option<u32>, seconds: Option<u64>) -> Self {
        let mut scale = Self::FULL;
        if quick {
            scale = Self {
                connections: 2_000,
                wave: 1_000,
                seconds: 3,
                blocks: 1,
            };
        }
        if let Some(connections) = connections {
            (scale.connections, scale.wave) = (connections.max(2), (connections / 2).max(1));
        }
        scale.seconds = seconds.unwrap_or(scale.seconds).max(1);
        scale
    }
}

/// Rows, and what has to be said about them.
#[derive(Debug, Default)]
pub struct Found {
    /// One row a figure.
    pub rows: Vec<Row>,
    /// What was scaled down, left out or went wrong.
    pub notes: Vec<String>,
}

/// Whether a stage of this name is among those that are asked for.
pub(crate) fn wanted(name: &str, only: &str) -> bool {
    name.contains(only)
}

/// All programs inherit it.
pub(crate) fn raise_limits() -> Result<(), Failure> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    Ok(())
}

/// Runs the stages whose name holds `only` on both pools.
///
/// # Errors
/// When our pool or the node cannot be started. A stage that fails is a note.
pub fn rows(adit: &Path, scale: Scale, only: &str, mut said: impl FnMut(&Row)) -> Result<Found, Failure> {
    if !adit.is_file() {
        return Err(format!(
            "{} is not there: build it, or name it with --adit",
            adit.display()
        )
        .into());
    }
    raise_limits()?;
    let mut notes = scaled(scale);
    let node = match (program("bitcoin-node"), program("bitcoin-cli")) {
        (Some(node), Some(client)) => Some(Node::start(&node, &client)?),
        _ => {
            notes.push(
                "bitcoin-node is absent: our pool ran on its embedded chain (transactions in its blocks)"
                    .to_owned(),
            );
            None
        }
    };
    let reference = node.as_ref().and(program("pool_sv2")).map(Kind::Reference);
    if reference.is_none() {
        notes.push("pool_sv2 is absent: run `cargo xtask peers`".to_owned());
    }
    let ours = Kind::Ours(adit.to_path_buf());
    let (mut our_figures, mut their_figures) = (Figures::default(), Figures::default());
    for (name, stage) in STAGES.into_iter().filter(|(name, _)| wanted(name, only)) {
        let sides = [
            ("ours", Some(&ours), &mut our_figures),
            ("SRI", reference.as_ref(), &mut their_figures),
        ];
        for (side, kind, figures) in sides {
            let Some(kind) = kind else { continue };
            eprintln!("{name}: {side}");
            let site = stages::Site {
                adit,
                kind,
                node: node.as_ref(),
                scale,
            };
            if let Err(failure) = stage(&site, figures) {
                notes.push(format!("{name}, {side}: not measured: {failure}"));
            }
        }
    }
    eprintln!("the floor of a fan-out");
    let fan_out_us = match floor::fan_out_us(scale.connections) {
        Ok(us) => Some(us),
        Err(failure) => {
            notes.push(format!("the floor of a fan-out: not measured: {failure}"));
            None
        }
    };
    let their_figures = reference.is_some().then_some(their_figures);
    let rows = rows::rows(&our_figures, their_figures.as_ref(), scale, fan_out_us);
    rows.iter().for_each(&mut said);
    Ok(Found { rows, notes })
}

fn scaled(scale: Scale) -> Vec<String> {
    let full = Scale::FULL;
    if scale == full {
        return Vec::new();
    }
    vec![format!(
        "Scaled down: {} connections instead of {}, waves of {} instead of {}, {} s under load instead of {}, \
         {} new blocks instead of {}.",
        scale.connections,
        full.connections,
        scale.wave,
        full.wave,
        scale.seconds,
        full.seconds,
        scale.blocks,
        full.blocks
    )]
}
