//! A farm that works from one negotiation, and the same farm where every proxy negotiates for itself: messages and bytes,
//! counted on the machines themselves. `docs/job-distribution.md` quotes what it prints.
//!
//! `cargo run --release -p adit-proto --example farm [PROXIES DEVICES JOBS TRANSACTIONS]`

mod simulation;

use simulation::{Farm, Size, Tally};

fn main() {
    let given: Vec<u32> = std::env::args()
        .skip(1)
        .filter_map(|it| it.parse().ok())
        .collect();
    let or = |place: usize, default: u32| given.get(place).copied().unwrap_or(default);
    let size = Size {
        proxies: or(0, 50),
        devices: or(1, 100_000),
        jobs: or(2, 20),
        transactions: or(3, 3_500),
    };
    let figures = Farm::new(size).run();
    println!(
        "{} proxies, {} devices behind them, {} jobs of {} transactions on {} block(s)",
        size.proxies, size.devices, size.jobs, size.transactions, figures.blocks
    );
    println!();
    println!("| | messages | bytes | blocks checked by the pool's node |");
    println!("|---|---|---|---|");
    let one = figures.negotiation;
    let each = one.times(u64::from(size.proxies));
    let jobs = u64::from(size.jobs);
    row("one negotiation: with the pool", one, Some(jobs));
    row(
        "... and its distribution to the proxies",
        figures.distribution,
        None,
    );
    row("together", one.and(figures.distribution), Some(jobs));
    row(
        "every proxy negotiates for itself",
        each,
        Some(jobs * u64::from(size.proxies)),
    );
    row(
        "either way: SetCustomMiningJob of every proxy",
        figures.custom,
        None,
    );
    row(
        "either way: from the proxies to their devices",
        figures.devices,
        None,
    );
    println!();
    println!(
        "bytes saved by distribution: {:.1} %; different Merkle roots at {} devices: {}",
        100.0 * (1.0 - one.and(figures.distribution).bytes as f64 / each.bytes as f64),
        size.devices,
        figures.roots
    );
}

fn row(label: &str, tally: Tally, checks: Option<u64>) {
    let checks = checks.map_or_else(|| "-".to_owned(), |checks| checks.to_string());
    println!("| {label} | {} | {} | {checks} |", tally.messages, tally.bytes);
}
