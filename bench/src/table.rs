//! The table: what it costs them, what it costs us, and whether that is enough.

use std::fmt::Write as _;

/// Whether a goal is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Met {
    /// Yes.
    Yes,
    /// Only beside the reference in this run: the machine was slower or busier than the one the goal is written for.
    ByRatio,
    /// No.
    No,
    /// There is no goal, or it could not be measured.
    #[default]
    Unknown,
}

impl Met {
    /// Yes or no.
    pub fn of(met: bool) -> Self {
        if met { Self::Yes } else { Self::No }
    }
}

/// One line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// What is measured.
    pub what: String,
    /// The reference implementation here.
    pub reference: String,
    /// Ours.
    pub ours: String,
    /// How many times less ours takes.
    pub ratio: String,
    /// What ours has to reach.
    pub goal: String,
    /// Whether it does.
    pub met: Met,
}

impl Row {
    fn cells(&self) -> [&str; 6] {
        let met = match self.met {
            Met::Yes => "yes",
            Met::ByRatio => "by ratio",
            Met::No => "**no**",
            Met::Unknown => "-",
        };
        [
            &self.what,
            &self.reference,
            &self.ours,
            &self.ratio,
            &self.goal,
            met,
        ]
    }
}

/// The rows as a table of Markdown, with columns that also line up for people at a terminal.
pub fn markdown(rows: &[Row]) -> String {
    let head = ["What", "SRI here", "ours", "ratio", "goal", "met"];
    let lines: Vec<_> = std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| {
        lines
            .iter()
            .filter_map(|cells| cells.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut out = String::new();
    for (number, cells) in lines.iter().enumerate() {
        for (cell, width) in cells.iter().zip(&widths) {
            // Writing to a String cannot fail.
            let _ = write!(out, "| {cell:width$} ");
        }
        out.push_str("|\n");
        if number == 0 {
            for width in &widths {
                let _ = write!(out, "|{}", "-".repeat(width + 2));
            }
            out.push_str("|\n");
        }
    }
    out
}

/// A duration as people read it: three digits and a unit.
pub fn time(ns: f64) -> String {
    match ns {
        ns if ns < 100.0 => format!("{ns:.1} ns"),
        ns if ns < 10_000.0 => format!("{ns:.0} ns"),
        ns if ns < 1e5 => format!("{:.1} us", ns / 1e3),
        ns if ns < 1e7 => format!("{:.0} us", ns / 1e3),
        ns => format!("{:.0} ms", ns / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let row = Row {
            what: "decode".to_owned(),
            reference: "absent".to_owned(),
            ours: "8.1 ns".to_owned(),
            met: Met::Yes,
            ..Row::default()
        };
        let text = markdown(&[row]);
        let lengths: Vec<usize> = text.lines().map(str::len).collect();
        assert_eq!(lengths.len(), 3);
        assert!(lengths.iter().all(|length| *length == lengths[0]), "{text}");
        assert!(text.contains("| decode | absent   | 8.1 ns |"), "{text}");
    }

    #[test]
    fn times_have_three_digits() {
        let shown: Vec<String> = [8.14, 290.4, 2_540.0, 25_400.0, 250_000.0, 389e6]
            .map(time)
            .to_vec();
        assert_eq!(
            shown,
            ["8.1 ns", "290 ns", "2540 ns", "25.4 us", "250 us", "389 ms"]
        );
    }
}
