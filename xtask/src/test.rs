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
    /// Tests that failed, by program, in the order in which those ran.
    programs: Vec<Vec<String>>,
    /// How cargo names the programs that failed, in the same order: `-p adit --test peers`.
    targets: Vec<String>,
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

/// Tests that may get a second try in one run: with more, something is wrong that is not chance.
const SECOND_TRIES_MAX: usize = 3;

/// Runs the tests; the last line says how many passed and failed. Few that failed are tried once more, alone: programs of others
/// and a busy machine are part of many tests. The line before the last names them, whichever way that ends (docs/adr/0024-a-second-try.md).
fn tests(quick: bool) -> Result<ExitCode, Failure> {
    let peers = if quick {
        ("ADIT_SKIP_PEERS", "ADIT_REQUIRE_PEERS")
    } else {
        ("ADIT_REQUIRE_PEERS", "ADIT_SKIP_PEERS")
    };
    // All test programs run even after one has failed: a person wants to see the whole picture.
    let mut tally = Tally::default();
    let mut passed = watch(
        cargo(&["test", "--workspace", "--no-fail-fast"]),
        peers,
        &mut tally,
    )?;
    let again = tally.again();
    let names: Vec<_> = again
        .iter()
        .flat_map(|(_, names)| names.iter().cloned())
        .collect();
    if !passed && !names.is_empty() && names.len() <= SECOND_TRIES_MAX {
        println!("a second try, alone, for: {}", names.join(", "));
        passed = true;
        for (target, names) in again {
            let mut words = vec!["test"];
            words.extend(target.split(' '));
            words.extend(["--", "--exact", "--test-threads=1"]);
            words.extend(names.iter().map(String::as_str));
            let mut second = Tally::default();
            passed &= watch(cargo(&words), peers, &mut second)? && second.passed == names.len() as u64;
            tally.passed += second.passed;
            tally.failed = tally.failed.saturating_sub(second.passed);
        }
        println!("failed at the first try: {}", names.join(", "));
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs `cargo test`, shows what it says and keeps what is to be counted. Whether it succeeded.
fn watch(mut command: Command, (set, unset): (&str, &str), tally: &mut Tally) -> Result<bool, Failure> {
    // One pipe for both, so that a test stands behind the name of its program.
    let (said, pipe) = std::io::pipe().map_err(|error| format!("cannot make a pipe: {error}"))?;
    let second = pipe
        .try_clone()
        .map_err(|error| format!("cannot make a pipe: {error}"))?;
    command
        .env(set, "1")
        .env_remove(unset)
        .stdout(pipe)
        .stderr(second);
    let mut child = command
        .spawn()
        .map_err(|error| format!("cannot start cargo test: {error}"))?;
    // It holds the pipe's ends of writing.
    drop(command);
    for line in BufReader::new(said).lines() {
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
    Ok(status.success())
}

impl Tally {
    /// Takes one line of `cargo test`.
    fn add(&mut self, line: &str) {
        if line.starts_with("running ") {
            self.programs.push(Vec::new());
        } else if let Some(name) = failed_test(line) {
            if let Some(program) = self.programs.last_mut() {
                program.push(name.to_owned());
            }
        } else if let Some(target) = failed_target(line) {
            self.targets.push(target.to_owned());
        } else if let Some(result) = line.strip_prefix("test result: ") {
            self.add_result(result);
        }
    }

    /// Counts the closing line of one test program: `ok. 3 passed; 0 failed; ...`.
    fn add_result(&mut self, result: &str) {
        let mut words = result.split_whitespace().peekable();
        while let Some(word) = words.next() {
            match (word.parse::<u64>(), words.peek()) {
                (Ok(count), Some(&"passed;")) => self.passed += count,
                (Ok(count), Some(&"failed;")) => self.failed += count,
                _ => {}
            }
        }
    }

    /// The tests to try again by cargo's name of their program. None if not all that went wrong is a test with a name, such as a
    /// program that broke down or did not build.
    fn again(&self) -> Vec<(String, Vec<String>)> {
        let programs: Vec<_> = self.programs.iter().filter(|tests| !tests.is_empty()).collect();
        let named: usize = programs.iter().map(|tests| tests.len()).sum();
        if programs.len() != self.targets.len() || named as u64 != self.failed {
            return Vec::new();
        }
        self.targets
            .iter()
            .cloned()
            .zip(programs.into_iter().cloned())
            .collect()
    }
}

/// `test NAME ... FAILED`
fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

/// ``    `-p adit --test peers` ``, as cargo lists them at the end.
fn failed_target(line: &str) -> Option<&str> {
    line.strip_prefix("    `-p ")?;
    line.trim().strip_prefix('`')?.strip_suffix('`')
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
        assert_eq!((tally.passed, tally.failed), (8, 2));
    }

    #[test]
    fn failed_tests_are_found_with_their_programs() {
        let said = [
            "     Running unittests src/lib.rs (target/debug/deps/adit-0)",
            "running 1 test",
            "test a::b ... ok",
            "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "running 2 tests",
            "test one::two ... FAILED",
            "test three ... ok",
            "test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "error: test failed, to rerun pass `-p adit --test peers`",
            "error: 1 target failed:",
            "    `-p adit --test peers`",
        ];
        let mut tally = Tally::default();
        said.iter().for_each(|line| tally.add(line));
        let wanted = ("-p adit --test peers".to_owned(), vec!["one::two".to_owned()]);
        assert_eq!(tally.again(), [wanted]);

        // A program that broke down has no name of a test.
        tally.add("    `-p adit --test books`");
        assert_eq!(tally.again(), []);
    }
}
