//! `cargo xtask requirements`: which rows of docs/spec/requirements.md no test names.
//!
//! ```text
//!   requirements.md          the rows ──┐
//!   comments of the tests    the names ─┼──► Coverage: what is amiss, what is missing
//!   requirements-awaiting.md the rest ──┘
//! ```
//!
//! A row is covered when a comment of a test function names it. Rows that wait for a later part, and rows that no test
//! can show, stand in one file with the reason. Everything else is a mistake, and so is a name that no row has.

mod coverage;
mod names;
mod tables;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use crate::exec::Failure;
use coverage::Coverage;

/// The list of requirements, from the root of the repository.
const ROWS: &str = "docs/spec/requirements.md";
/// Rows that no test names yet, with the reason.
const AWAITING: &str = "docs/spec/requirements-awaiting.md";

/// What to print.
#[derive(Args)]
pub(crate) struct Options {
    /// Print the tests that name each row, too.
    #[arg(long)]
    tests: bool,
}

/// Prints what is missing; fails when anything is.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let coverage = read(crate::root())?;
    if options.tests {
        print!("{}", coverage.listing());
    }
    print!("{}", coverage.report());
    Ok(if coverage.is_complete() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn read(root: &Path) -> Result<Coverage, Failure> {
    let text = |path: &str| {
        fs::read_to_string(root.join(path)).map_err(|error| format!("cannot read {path}: {error}"))
    };
    let rows = tables::rows(&text(ROWS)?)?;
    let excused = tables::excused(&text(AWAITING)?)?;
    let named = names::in_folder(root, &["crates", "xtask/src"])?;
    Ok(Coverage::new(rows, excused, named))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when a row loses its test, when a row that waits gets one and is still listed as waiting, and when a
    /// test names a row that does not exist.
    #[test]
    fn every_requirement_that_binds_is_named_by_a_test() {
        let coverage = read(crate::root()).unwrap();
        assert!(
            coverage.is_complete(),
            "{}see `cargo xtask requirements`",
            coverage.report()
        );
    }
}
