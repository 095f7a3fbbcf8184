//! Finding the rows that tests name, in the comments of test functions.

use std::fs;
use std::path::{Path, PathBuf};

use crate::exec::Failure;

/// Source files that are read at most: more would mean that a link leads round in circles.
const FILES_MAX: usize = 10_000;
/// No row has a longer number than this many digits.
const DIGITS: usize = 3;
/// A range names no more rows than this.
const RANGE_MAX: u32 = 200;

/// One row, named by one test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// Such as `REQ-MIN-028`.
    pub(super) row: String,
    /// File and function.
    pub(super) test: String,
}

/// Everything that the tests under these folders name.
pub(super) fn in_folder(root: &Path, folders: &[&str]) -> Result<Vec<Named>, Failure> {
    let mut files = Vec::new();
    for folder in folders {
        collect(&root.join(folder), &mut files)?;
    }
    files.sort();
    let mut named = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).map_err(|e| format!("cannot read {}: {e}", file.display()))?;
        let shown = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        named.extend(in_file(&shown, &text));
    }
    Ok(named)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let fail = |error| format!("cannot read {}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let path = entry.path();
        if entry.file_type().map_err(fail)?.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
        if files.len() > FILES_MAX {
            return Err(format!("more than {FILES_MAX} source files"));
        }
    }
    Ok(())
}

/// A line scan suffices, as the code is formatted: a function ends with a brace at the indent of its attribute.
fn in_file(file: &str, text: &str) -> Vec<Named> {
    let lines: Vec<&str> = text.lines().collect();
    let mut named = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if is_test(line) {
            named.extend(of_test(file, &lines, at));
        }
    }
    named
}

fn is_test(line: &str) -> bool {
    let line = line.trim_start();
    line == "#[test]" || (line.starts_with("#[tokio::test") && line.ends_with(']'))
}

/// What the test with its attribute in line `at` names; nothing when it is not run by default.
fn of_test(file: &str, lines: &[&str], at: usize) -> Vec<Named> {
    let indent = lines[at].len() - lines[at].trim_start().len();
    let above = lines[..at]
        .iter()
        .rev()
        .take_while(|line| is_comment(line) || line.trim_start().starts_with("#["))
        .count();
    let Some(head) = lines[at..].iter().position(|line| function(line).is_some()) else {
        return Vec::new();
    };
    let body = &lines[at + head..];
    let closes = |line: &&str| line.trim_end() == format!("{:indent$}}}", "");
    let end = at + head + body.iter().position(closes).unwrap_or(body.len());
    let whole = &lines[at - above..end];
    if whole.iter().any(|line| line.trim_start().starts_with("#[ignore")) {
        return Vec::new();
    }
    let test = format!("{file}: {}", function(lines[at + head]).unwrap_or_default());
    let comments = whole.iter().filter(|line| is_comment(line));
    comments
        .flat_map(|line| rows(line))
        .map(|row| Named {
            row,
            test: test.clone(),
        })
        .collect()
}

/// The function that a line declares.
fn function(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let declares = before
        .split_whitespace()
        .all(|word| matches!(word, "pub" | "async" | "pub(crate)"));
    declares.then(|| after.split(['(', '<']).next().unwrap_or_default())
}

fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("//") && !line.starts_with("//!")
}

/// The rows that a text names: `REQ-EXT-015`, `REQ-EXT-015, 016, 018`, `REQ-COM-026..030`.
pub(super) fn rows(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("REQ-") {
        rest = &rest[at + 4..];
        let Some((chapter, after)) = rest.split_once('-') else {
            break;
        };
        if chapter.is_empty() || !chapter.bytes().all(|byte| byte.is_ascii_uppercase()) {
            continue;
        }
        let Some((mut last, mut after)) = number(after) else {
            continue;
        };
        found.push(row(chapter, last));
        loop {
            if let Some((to, further)) = after.strip_prefix("..").and_then(number) {
                found.extend((last + 1..=to).take(RANGE_MAX as usize).map(|n| row(chapter, n)));
                (last, after) = (to, further);
            } else if let Some((next, further)) = after.strip_prefix(", ").and_then(number) {
                found.push(row(chapter, next));
                (last, after) = (next, further);
            } else {
                break;
            }
        }
        rest = after;
    }
    found
}

fn row(chapter: &str, number: u32) -> String {
    format!("REQ-{chapter}-{number:03}")
}

/// Exactly three digits at the start, and what follows.
fn number(text: &str) -> Option<(u32, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits != DIGITS {
        return None;
    }
    let (number, after) = text.split_at(digits);
    // `017 bytes` would be a row, `017x` is not.
    if after.starts_with(|c: char| c.is_alphanumeric()) {
        return None;
    }
    Some((number.parse().ok()?, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges_are_read() {
        let some = |text: &str| rows(text).join(" ").replace("REQ-", "");
        assert_eq!(some("nothing REQ- REQ-X REQ-COM-1 req-com-001"), "");
        assert_eq!(some("REQ-EXT-015, 016, 018: why"), "EXT-015 EXT-016 EXT-018");
        assert_eq!(
            some("REQ-COM-002..004, REQ-MIN-007."),
            "COM-002 COM-003 COM-004 MIN-007"
        );
        assert_eq!(
            some("REQ-COM-002, 003..005, 1000 shares"),
            "COM-002 COM-003 COM-004 COM-005"
        );
        assert_eq!(some("(REQ-SEC-001)REQ-SEC-0021"), "SEC-001");
        assert_eq!(some("REQ-SEC-001..REQ-SEC-003"), "SEC-001 SEC-003");
    }

    #[test]
    fn only_comments_of_test_functions_count() {
        let source = r#"
//! ROW-AAA-001
/// ROW-AAA-002
fn helper() {
    // ROW-AAA-003
}

/// ROW-BBB-001: a test,
/// ROW-BBB-002.
#[test]
#[should_panic]
fn one() {
    // ROW-BBB-003
    let text = "ROW-AAA-004";
}

/// ROW-AAA-005
#[ignore = "slow"]
#[test]
fn two() {}

proptest! {
    /// ROW-BBB-004
    #[test]
    fn three(x in 0..3) {
        if x > 1 {
            // ROW-BBB-005
        }
    }
    // ROW-AAA-006
}

/// ROW-BBB-006
#[tokio::test(flavor = "current_thread")]
async fn four() {
}
"#
        .replace("ROW-", "REQ-");
        let named = in_file("f.rs", &source);
        let found: Vec<_> = named.iter().map(|named| &named.row[4..]).collect();
        assert_eq!(
            found,
            ["BBB-001", "BBB-002", "BBB-003", "BBB-004", "BBB-005", "BBB-006"]
        );
        assert_eq!(named[3].test, "f.rs: three");
    }
}
