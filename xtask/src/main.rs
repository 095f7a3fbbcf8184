//! Developer commands: `cargo xtask <command>`.
#![allow(
    clippy::disallowed_methods,
    reason = "developer commands measure real time; nothing here is a machine"
)]

mod bench;
mod capnp;
mod docs;
mod exec;
mod peers;
mod requirements;
mod test;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer commands of adit", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build and install the real peers that the tests run against, once, into a cache.
    Peers(peers::Options),
    /// Format, lints, documentation and all tests, with real peers.
    Test(test::Options),
    /// Measure beside the reference implementation and print the table of docs/performance.md.
    Bench(bench::Options),
    /// Generate the Cap'n Proto code of `adit-node` again from the schemas of Bitcoin Core.
    Capnp(capnp::Options),
    /// Write the pages that are made from code: docs/error-codes.md.
    Docs(docs::Options),
    /// Rows of docs/spec/requirements.md that no test names; fails when there are any.
    Requirements(requirements::Options),
}

/// The root of the repository.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Peers(options) => peers::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Capnp(options) => capnp::run(&options),
        Command::Docs(options) => docs::run(&options),
        Command::Requirements(options) => requirements::run(&options),
    };
    match done {
        Ok(code) => code,
        Err(reason) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}
