//! `cargo xtask docs`: the pages that are made from code.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use adit_wire::refusal::{Row, TABLES, Table};
use clap::Args;

use crate::exec::Failure;

/// The page of error codes, from the root of the repository.
const ERROR_CODES: &str = "docs/error-codes.md";

/// Nothing to choose.
#[derive(Args)]
pub(crate) struct Options {
    /// Write nothing; fail when a page is old.
    #[arg(long)]
    check: bool,
}

/// Writes each page, or says which one is old.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let path = page();
    let wanted = error_codes();
    if fs::read_to_string(&path).is_ok_and(|found| found == wanted) {
        println!("{ERROR_CODES} is current");
        return Ok(ExitCode::SUCCESS);
    }
    if options.check {
        return Err(format!("{ERROR_CODES} is old: run `cargo xtask docs`"));
    }
    fs::write(&path, wanted).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    println!("{ERROR_CODES} written");
    Ok(ExitCode::SUCCESS)
}

fn page() -> PathBuf {
    crate::root().join(ERROR_CODES)
}

const HEAD: &str = "\
# Error codes

Made from the table in `crates/wire/src/refusal.rs` by `cargo xtask docs`; a test checks that it is current.

A code tells people why a request was refused. **No program may act on one** (spec 3.5, decision C-22): adit writes a
peer's code to its log and its statistics, known or not, and does what the message that carried it means, whatever the
code says. What adit sends is always one of the codes below: letters, digits, `-` and `_` only. What a peer sends may be
any bytes: everything but printable ASCII is escaped before it reaches a log, a page or a terminal.

\"Also seen\" are spellings that other implementations send for the same cause; adit recognises them in its statistics and
never sends them.
";

fn error_codes() -> String {
    let mut page = HEAD.to_owned();
    for table in TABLES {
        section(&mut page, table);
    }
    page
}

fn section(page: &mut String, table: &Table) {
    let Table { field, rows } = table;
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "\n## `{field}`\n\n| Code | Also seen | Cause | Cure |\n|---|---|---|---|\n"
    );
    for Row {
        code,
        aliases,
        cause,
        cure,
    } in *rows
    {
        let aliases: Vec<_> = aliases.iter().map(|alias| format!("`{alias}`")).collect();
        let _ = writeln!(page, "| `{code}` | {} | {cause} | {cure} |", aliases.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// REQ-COM-026: what each code means is written down, and the page is that of the code.
    #[test]
    fn the_page_of_error_codes_is_current() {
        let found = fs::read_to_string(page()).unwrap_or_default();
        assert!(
            found == error_codes(),
            "{ERROR_CODES} is old: run `cargo xtask docs`"
        );
        for table in TABLES {
            assert!(found.contains(&format!("## `{}`", table.field)));
            for row in table.rows {
                assert!(
                    found.contains(&format!("| `{}` |", row.code)) && found.contains(row.cure),
                    "{}",
                    row.code
                );
            }
        }
        assert!(
            found
                .lines()
                .all(|line| !line.starts_with('|') || line.matches('|').count() == 5),
            "a cell holds a bar"
        );
    }
}
