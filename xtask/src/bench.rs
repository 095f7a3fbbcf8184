//! `cargo xtask bench`: the table of figures beside the reference implementation.
//!
//! Builds our program as it ships, and the bench on its own so that its features do not leak into ours, then hands
//! over to `adit-bench`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;

use crate::exec::Failure;

/// Where the last table is kept, below the root of the workspace.
const DOCUMENT: &str = "docs/performance.md";

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Fewer rounds, connections and seconds: under two minutes in all
    #[arg(long)]
    quick: bool,
    /// Keep the table, with the machine named, in docs/performance.md
    #[arg(long)]
    write: bool,
    /// Only the library rows
    #[arg(long)]
    library: bool,
    /// Only the rows of the pools
    #[arg(long, conflicts_with = "library")]
    pools: bool,
    /// Only the rows of the proxies
    #[arg(long, conflicts_with_all = ["library", "pools"])]
    proxies: bool,
    /// Only the library rows, or stages of pools and proxies, whose name holds this text
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Connections of the rows that open many [default: 10000, with --quick 2000]
    #[arg(long, value_name = "N")]
    connections: Option<u32>,
    /// Seconds of each run under load [default: 5, with --quick 3]
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
}

/// Builds and measures.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .ok_or("xtask stands outside a workspace")?;
    for package in ["adit", "adit-bench"] {
        build(root, package)?;
    }
    let programs = target(root).join("release");
    let mut command = Command::new(programs.join("adit-bench"));
    command.arg("--adit").arg(programs.join("adit"));
    let flags = [
        ("--quick", options.quick),
        ("--library", options.library),
        ("--pools", options.pools),
        ("--proxies", options.proxies),
    ];
    command.args(flags.iter().filter(|(_, on)| *on).map(|(flag, _)| flag));
    if let Some(only) = &options.only {
        command.args(["--only", only]);
    }
    if let Some(connections) = options.connections {
        command.arg(format!("--connections={connections}"));
    }
    if let Some(seconds) = options.seconds {
        command.arg(format!("--seconds={seconds}"));
    }
    if options.write {
        command.arg("--write").arg(root.join(DOCUMENT));
    }
    let status = command
        .status()
        .map_err(|e| format!("cannot start adit-bench: {e}"))?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn build(root: &Path, package: &str) -> Result<(), Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--release", "--package", package])
        .status()
        .map_err(|e| format!("cannot start cargo: {e}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{package} does not build ({status})"))
    }
}

/// Where cargo puts what it builds.
pub(crate) fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder))
}
