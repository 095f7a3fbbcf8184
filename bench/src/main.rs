//! `adit-bench`: the table of figures, see `cargo xtask bench`.

use std::path::PathBuf;
use std::process::ExitCode;

use adit_bench::pools::{self, Scale};
use adit_bench::table::{Row, markdown};
use adit_bench::{Failure, library, machine, proxies};
use clap::Parser;

#[derive(Parser)]
#[command(about = "Side by side with the reference implementation, as ratios")]
struct Cli {
    /// Fewer rounds, connections and seconds: under two minutes in all
    #[arg(long)]
    quick: bool,
    /// Only the library rows
    #[arg(long)]
    library: bool,
    /// Only the library rows, or stages of pools and proxies, whose name holds this text
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    only: String,
    /// Only the rows of the pools
    #[arg(long, conflicts_with = "library")]
    pools: bool,
    /// Only the rows of the proxies
    #[arg(long, conflicts_with_all = ["library", "pools"])]
    proxies: bool,
    /// Our program
    #[arg(long, value_name = "PATH", default_value = "target/release/adit")]
    adit: PathBuf,
    /// Write the table, with the machine named, into this file
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Connections of the rows that open many [default: 10000, with --quick 2000]
    #[arg(long, value_name = "N")]
    connections: Option<u32>,
    /// Seconds of each run under load [default: 5, with --quick 3]
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    let before = machine::load();
    let scale = Scale::new(cli.quick, cli.connections, cli.seconds);
    let mut rows: Vec<Row> = Vec::new();
    let mut notes = Vec::new();
    let all = !(cli.library || cli.pools || cli.proxies);
    if all || cli.library {
        rows.extend(library::rows(cli.quick, &cli.only, say)?);
    }
    if all || cli.pools {
        let found = pools::rows(&cli.adit, scale, &cli.only, say)?;
        rows.extend(found.rows);
        notes.extend(found.notes);
    }
    if all || cli.proxies {
        let scale = proxies::Scale::new(cli.quick, cli.seconds);
        let found = proxies::rows(&cli.adit, scale, &cli.only, say)?;
        rows.extend(found.rows);
        notes.extend(found.notes);
    }
    let table = markdown(&rows);
    let machine = machine::describe(&before);
    println!("\n{table}\n{machine}");
    for note in &notes {
        println!("* {note}");
    }
    if let Some(path) = &cli.write {
        machine::write(path, &table, &machine, &notes)?;
        println!("written to {}", path.display());
    }
    Ok(())
}

/// Progress, one row a line.
fn say(row: &Row) {
    eprintln!("{}: {} | {} | {}", row.what, row.reference, row.ours, row.ratio);
}
