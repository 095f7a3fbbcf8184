//! Developer commands: `cargo xtask <command>`.
#![allow(
    clippy::disallowed_methods,
    reason = "developer commands measure real time; nothing here is a machine"
)]

mod bench;
mod capnp;
mod exec;
mod peers;
mod test;

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
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Peers(options) => peers::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Capnp(options) => capnp::run(&options),
    };
    match done {
        Ok(code) => code,
        Err(reason) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}
