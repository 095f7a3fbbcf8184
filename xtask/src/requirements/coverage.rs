//! Rows, names and excuses, held against each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::names::Named;
use super::tables::{Excuse, Rows};
use super::{AWAITING, ROWS};

/// What there is, and what is amiss.
#[derive(Debug)]
pub(super) struct Coverage {
    rows: Rows,
    tests: BTreeMap<String, BTreeSet<String>>,
    excused: BTreeMap<String, Excuse>,
}

impl Coverage {
    pub(super) fn new(rows: Rows, excused: BTreeMap<String, Excuse>, named: Vec<Named>) -> Self {
        let mut tests = BTreeMap::<String, BTreeSet<String>>::new();
        for Named { row, test } in named {
            tests.entry(row).or_default().insert(test);
        }
        Self { rows, tests, excused }
    }

    /// Whether nothing is amiss.
    pub(super) fn is_complete(&self) -> bool {
        self.unnamed().next().is_none() && self.mistakes().is_empty()
    }

    /// Rows that bind and that no test names.
    fn unnamed(&self) -> impl Iterator<Item = (&String, &String)> {
        let open = |id: &String| !self.tests.contains_key(id) && !self.excused.contains_key(id);
        self.rows.iter().filter(move |(id, _)| open(id))
    }

    fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        for (id, tests) in &self.tests {
            let first = tests.first().map_or("", String::as_str);
            if !self.rows.contains_key(id) {
                mistakes.push(format!("{id}: no such row in {ROWS}, but {first} names it"));
            } else if self.excused.contains_key(id) {
                mistakes.push(format!("{id}: {first} shows it; take it out of {AWAITING}"));
            }
        }
        for id in self.excused.keys().filter(|id| !self.rows.contains_key(*id)) {
            mistakes.push(format!("{id}: no such row in {ROWS}, but {AWAITING} lists it"));
        }
        mistakes
    }

    /// For people: what is missing, then the sums.
    pub(super) fn report(&self) -> String {
        let mut text = String::new();
        let mut chapter = "";
        // Writing to a String cannot fail.
        for (id, requirement) in self.unnamed() {
            if chapter_of(id) != chapter {
                chapter = chapter_of(id);
                let _ = writeln!(text, "{chapter}: no test names");
            }
            let _ = writeln!(text, "  {id}  {requirement}");
        }
        for mistake in self.mistakes() {
            let _ = writeln!(text, "{mistake}");
        }
        let mut awaiting = BTreeMap::<&str, usize>::new();
        let mut untestable = 0;
        for excuse in self.excused.values() {
            match excuse {
                Excuse::Awaiting(brought_by, _) => *awaiting.entry(brought_by).or_default() += 1,
                Excuse::Untestable(_) => untestable += 1,
            }
        }
        let _ = writeln!(
            text,
            "{} rows: {} named by tests, {} without a test, {untestable} not to be shown by one, {} awaiting",
            self.rows.len(),
            self.rows.keys().filter(|id| self.tests.contains_key(*id)).count(),
            self.unnamed().count(),
            awaiting.values().sum::<usize>(),
        );
        for (brought_by, count) in awaiting {
            let _ = writeln!(text, "  {count:4}  {brought_by}");
        }
        text
    }

    /// Every row with its tests.
    pub(super) fn listing(&self) -> String {
        let mut text = String::new();
        for (id, requirement) in &self.rows {
            let _ = writeln!(text, "{id}  {requirement}");
            for test in self.tests.get(id).into_iter().flatten() {
                let _ = writeln!(text, "    {test}");
            }
            match self.excused.get(id) {
                Some(Excuse::Awaiting(brought_by, why)) => {
                    let _ = writeln!(text, "    awaiting {brought_by}: {why}");
                }
                Some(Excuse::Untestable(why)) => {
                    let _ = writeln!(text, "    not to be shown: {why}");
                }
                None => {}
            }
        }
        text
    }
}

fn chapter_of(id: &str) -> &str {
    id.rsplit_once('-').map_or(id, |(chapter, _)| chapter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coverage(excused: &[&str], named: &[&str]) -> Coverage {
        let rows = ["REQ-AAA-001", "REQ-AAA-002", "REQ-BBB-001"];
        Coverage::new(
            rows.map(|id| (id.to_owned(), "MUST".to_owned())).into(),
            excused
                .iter()
                .map(|id| ((*id).to_owned(), Excuse::Untestable("why".into())))
                .collect(),
            named
                .iter()
                .map(|row| Named {
                    row: (*row).to_owned(),
                    test: "f.rs: test".to_owned(),
                })
                .collect(),
        )
    }

    #[test]
    fn every_row_is_named_or_excused_but_not_both() {
        let complete = coverage(&["REQ-BBB-001"], &["REQ-AAA-001", "REQ-AAA-002"]);
        assert!(complete.is_complete(), "{}", complete.report());
        for (excused, named, says) in [
            (&["REQ-BBB-001"][..], &["REQ-AAA-001"][..], "  REQ-AAA-002  MUST"),
            (
                &["REQ-AAA-002", "REQ-BBB-001"],
                &["REQ-AAA-001", "REQ-AAA-002"],
                "REQ-AAA-002: f.rs: test shows it; take it out",
            ),
            (
                &["REQ-BBB-001"],
                &["REQ-AAA-001", "REQ-AAA-002", "REQ-CCC-001"],
                "REQ-CCC-001: no such row",
            ),
            (
                &["REQ-BBB-001", "REQ-BBB-002"],
                &["REQ-AAA-001", "REQ-AAA-002"],
                "REQ-BBB-002: no such row",
            ),
        ] {
            let coverage = coverage(excused, named);
            assert!(
                !coverage.is_complete() && coverage.report().contains(says),
                "{}",
                coverage.report()
            );
        }
    }
}
