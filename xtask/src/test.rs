//! `cargo xtask test`: everything that must be right before a change is shared, cheapest first.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use clap::{Args, Parser};

use crate::bench;
use crate::exec::{Failure, elapsed};
use crate::peers;

/// What to leave out.
#[derive(Args)]
pub(crate) struct Options {
    /// Without real peers: neither Bitcoin Core nor the reference implementation is built or run.
    #[arg(long)]
    quick: bool,
}

/// `cargo xtask peers` without arguments.
#[derive(Parser)]
struct AllPeers {
    #[command(flatten)]
    options: peers::Options,
}

/// Test results so far.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
}

/// Runs one step after the other and stops at the first that fails.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let started = Instant::now();
    let say = |what: &str| println!("[{}] {what}", elapsed(started));

    say("format");
    step(cargo(&["fmt", "--all", "--check"]))?;
    say("lints");
    step(cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    say("documentation");
    step(cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    if !options.quick {
        say("real peers");
        peers::run(&AllPeers::parse_from(["peers"]).options)?;
    }
    say(if options.quick {
        "tests without real peers"
    } else {
        "tests"
    });
    tests(options.quick)
}

/// Runs the tests; the last line says how many passed and failed.
fn tests(quick: bool) -> Result<ExitCode, Failure> {
    // All test programs run even after one has failed: a person wants to see the whole picture.
    let mut command = cargo(&["test", "--workspace", "--no-fail-fast"]);
    let (set, unset) = if quick {
        ("ADIT_SKIP_PEERS", "ADIT_REQUIRE_PEERS")
    } else {
        ("ADIT_REQUIRE_PEERS", "ADIT_SKIP_PEERS")
    };
    command.env(set, "1").env_remove(unset).stdout(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| format!("cannot start cargo test: {error}"))?;
    let mut tally = Tally::default();
    for line in BufReader::new(child.stdout.take().ok_or("cargo test has no output")?).lines() {
        let line = line.map_err(|error| format!("cannot read the output of cargo test: {error}"))?;
        println!("{line}");
        tally.add(&line);
    }
    let status = child
        .wait()
        .map_err(|error| format!("cannot wait for cargo test: {error}"))?;
    if !status.success() {
        println!("cargo test failed ({status})");
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Tally {
    /// Counts the closing line of one test program: `test result: ok. 3 passed; 0 failed; ...`.
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        let mut words = result.split_whitespace().peekable();
        while let Some(word) = words.next() {
            match (word.parse::<u64>(), words.peek()) {
                (Ok(count), Some(&"passed;")) => self.passed += count,
                (Ok(count), Some(&"failed;")) => self.failed += count,
                _ => {}
            }
        }
    }
}

/// The cargo that runs us, in the folder of the workspace.
fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .stdin(Stdio::null())
        .args(arguments);
    if std::env::var_os("CARGO_INCREMENTAL").is_none() && !is_developed() {
        command.env("CARGO_INCREMENTAL", "0");
    }
    command
}

/// Whether somebody builds again and again in this folder. Whoever builds once is spared the files that make the next build
/// faster: they take more room than everything else.
fn is_developed() -> bool {
    let target = bench::target(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")));
    let kept = std::fs::read_dir(target.join("debug/incremental"));
    kept.into_iter()
        .flatten()
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("adit-"))
}

fn step(mut command: impl std::borrow::BorrowMut<Command>) -> Result<(), Failure> {
    let command = command.borrow_mut();
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    let shown = format!("cargo {}", words.join(" "));
    let status = command
        .status()
        .map_err(|error| format!("cannot start {shown}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{shown} failed ({status})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_all_programs_are_added_up() {
        let mut tally = Tally::default();
        for line in [
            "running 4 tests",
            "test a_name_with_7_passed ... ok",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s",
            "test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s",
        ] {
            tally.add(line);
        }
        assert_eq!(tally, Tally { passed: 8, failed: 2 });
    }
}
