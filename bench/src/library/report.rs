//! From measured cases to rows.

use std::collections::BTreeMap;
use std::process::Command;

use crate::Failure;
use crate::measure::{Goal, Outcome};
use crate::table::{Met, Row, time};

/// Rounds of every case.
const ROUNDS: usize = 200;
const ROUNDS_QUICK: usize = 60;

/// Measures every case whose name holds `only`; tells `said` about each row as it comes.
///
/// # Errors
/// When the program that counts allocations cannot be run.
pub fn rows(quick: bool, only: &str, mut said: impl FnMut(&Row)) -> Result<Vec<Row>, Failure> {
    let counts = allocations()?;
    let rounds = if quick { ROUNDS_QUICK } else { ROUNDS };
    let rows = super::cases()
        .into_iter()
        .filter(|case| case.what.contains(only))
        .map(|mut case| {
            let outcome = case.measure(rounds);
            let counts = counts.get(&case.what).copied();
            let floor = case.floor.as_ref().map_or("", |(name, _)| name);
            let row = row(case.what, case.goal, floor, &outcome, counts);
            said(&row);
            row
        });
    Ok(rows.collect())
}

/// Allocations an item, reference and ours, by the other program of this crate.
fn allocations() -> Result<BTreeMap<String, (f64, f64)>, Failure> {
    let program = std::env::current_exe()?.with_file_name("adit-bench-allocations");
    let done = Command::new(&program)
        .output()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    if !done.status.success() {
        return Err(format!(
            "counting allocations failed: {}",
            String::from_utf8_lossy(&done.stderr)
        )
        .into());
    }
    let counts = String::from_utf8(done.stdout)?
        .lines()
        .filter_map(|line| {
            let mut cells = line.split('\t');
            let what = cells.next()?.to_owned();
            Some((what, (cells.next()?.parse().ok()?, cells.next()?.parse().ok()?)))
        })
        .collect();
    Ok(counts)
}

fn row(what: String, goal: Goal, floor: &str, outcome: &Outcome, counts: Option<(f64, f64)>) -> Row {
    let with_counts = |ns: f64, count: Option<f64>| match count {
        Some(count) => format!("{}, {} allocations", time(ns), short(count)),
        None => time(ns),
    };
    let mut ratio = format!("{:.1}x less", outcome.times_faster);
    if let (Some(of), Some(cost)) = (outcome.of_floor, outcome.floor) {
        ratio = format!("{ratio}; {of:.2}x {floor} ({})", time(cost.ns));
    }
    let none = counts.is_none_or(|(_, ours)| ours == 0.0);
    let (goal, met) = match goal {
        Goal::Faster(times) => (format!("{times}x less"), outcome.times_faster >= times),
        Goal::FasterWithoutAllocating(times) => (
            format!("{times}x less, 0 allocations"),
            outcome.times_faster >= times && none,
        ),
        Goal::OfFloor(most) => (
            format!("{most}x {floor}"),
            outcome.of_floor.is_some_and(|of| of <= most),
        ),
        Goal::Nanoseconds(most) => (time(most), outcome.ours.ns_fast <= most),
    };
    Row {
        what,
        reference: with_counts(outcome.reference.ns, counts.map(|(reference, _)| reference)),
        ours: with_counts(outcome.ours.ns, counts.map(|(_, ours)| ours)),
        ratio,
        goal,
        met: Met::of(met),
    }
}

fn short(count: f64) -> String {
    if (count - count.round()).abs() < 0.05 {
        format!("{count:.0}")
    } else {
        format!("{count:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Cost;

    fn outcome() -> Outcome {
        Outcome {
            reference: Cost {
                ns: 345.0,
                ns_fast: 340.0,
            },
            ours: Cost {
                ns: 10.0,
                ns_fast: 9.0,
            },
            floor: Some(Cost {
                ns: 8.0,
                ns_fast: 8.0,
            }),
            times_faster: 34.5,
            of_floor: Some(1.25),
        }
    }

    #[test]
    fn a_goal_is_met_or_not() {
        let met = |goal, counts| row("x".to_owned(), goal, "its hashes", &outcome(), counts).met;
        assert_eq!(
            met(Goal::FasterWithoutAllocating(20.0), Some((16.0, 0.0))),
            Met::Yes
        );
        assert_eq!(
            met(Goal::FasterWithoutAllocating(20.0), Some((16.0, 1.0))),
            Met::No
        );
        assert_eq!(met(Goal::Faster(40.0), None), Met::No);
        assert_eq!(met(Goal::OfFloor(1.2), None), Met::No);
        assert_eq!(met(Goal::Nanoseconds(9.0), None), Met::Yes);
    }
}
