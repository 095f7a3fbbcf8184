//! Reading the two documents: the rows, and the rows that are excused.

use std::collections::BTreeMap;

use super::names;
use crate::exec::Failure;

/// Number and text of each requirement, in order.
pub(super) type Rows = BTreeMap<String, String>;

/// Why a row may be without a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Excuse {
    /// The part that brings it does not exist yet: what it is, and why not yet.
    Awaiting(String, String),
    /// No test can show it: why not.
    Untestable(String),
}

/// The rows of requirements.md: `| REQ-COM-001 | MUST | all | Run over ... | source | idea |`.
pub(super) fn rows(text: &str) -> Result<Rows, Failure> {
    let mut rows = Rows::new();
    for line in text.lines().filter(|line| line.starts_with("| REQ-")) {
        let cells = cells(line);
        let [id, level, bound, requirement, ..] = cells[..] else {
            return Err(format!("a row without its columns: {line}"));
        };
        let text = format!("{level}, {bound}: {requirement}");
        if names::rows(id) != [id] || rows.insert(id.to_owned(), text).is_some() {
            return Err(format!("no number, or twice the same: {line}"));
        }
    }
    if rows.is_empty() {
        return Err("the list of requirements holds no row".into());
    }
    Ok(rows)
}

/// The rows of requirements-awaiting.md. Under `## Awaiting ...` a line is `| rows | brought by | why not yet |`, under
/// `## Not to be shown ...` it is `| rows | why not |`; rows may be lists and ranges.
pub(super) fn excused(text: &str) -> Result<BTreeMap<String, Excuse>, Failure> {
    let mut excused = BTreeMap::new();
    let mut heading = "";
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            heading = title;
        }
        if !line.starts_with("| REQ-") {
            continue;
        }
        let cells = cells(line);
        let excuse = match (heading, &cells[..]) {
            (title, &[_, brought_by, why]) if title.starts_with("Awaiting") => {
                Excuse::Awaiting(brought_by.to_owned(), why.to_owned())
            }
            (title, &[_, why]) if title.starts_with("Not to be shown") => Excuse::Untestable(why.to_owned()),
            _ => return Err(format!("under {heading:?} such a line has no place: {line}")),
        };
        if cells.iter().any(|cell| cell.is_empty()) {
            return Err(format!("a reason is missing: {line}"));
        }
        for id in names::rows(cells[0]) {
            if excused.insert(id.clone(), excuse.clone()).is_some() {
                return Err(format!("{id} is listed twice"));
            }
        }
    }
    Ok(excused)
}

fn cells(line: &str) -> Vec<&str> {
    line.trim().trim_matches('|').split('|').map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_numbers_of_their_own() {
        let line = "| REQ-COM-001 | MUST | all | Run | S3 | Split |";
        assert_eq!(rows(line).unwrap()["REQ-COM-001"], "MUST, all: Run");
        assert!(rows(&format!("{line}\n{line}")).is_err());
        assert!(rows("| REQ-COM-01 | MUST | all | Run |").is_err());
        assert!(rows("nothing").is_err());
    }

    #[test]
    fn every_excuse_has_a_reason() {
        let text = "## Awaiting\n| REQ-JD-001..003 | job negotiation | no server yet |\n\
                    ## Not to be shown\n| REQ-EXT-002 | binds authors |\n";
        let excused = excused(text).unwrap();
        assert_eq!(excused.len(), 4);
        assert_eq!(excused["REQ-EXT-002"], Excuse::Untestable("binds authors".into()));
        for bad in [
            "| REQ-EXT-002 | binds authors |",
            "## Not to be shown\n| REQ-EXT-002 | |",
            "## Awaiting\n| REQ-JD-001 | job negotiation |",
            "## Not to be shown\n| REQ-EXT-002 | why |\n| REQ-EXT-001..002 | why |",
        ] {
            assert!(super::excused(bad).is_err(), "{bad}");
        }
    }
}
