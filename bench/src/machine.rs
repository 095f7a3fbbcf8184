//! On what it was measured, and where the last table is kept.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Failure;

/// The marks in the document between which the table stands.
const BEGIN: &str = "<!-- table: begin -->";
const END: &str = "<!-- table: end -->";

/// Load averages over 1, 5 and 15 minutes.
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// The machine, the date, and how busy it was before and after.
pub fn describe(load_before: &str) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "Machine: {}, {cores} cores, {}, Linux {}, {}. Load average before {load_before}, after {}.",
        after_colon(&read("/proc/cpuinfo"), "model name"),
        memory(),
        read("/proc/sys/kernel/osrelease").trim(),
        date(),
        load()
    )
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|_| "unknown".to_owned())
}

fn after_colon(text: &str, key: &str) -> String {
    text.lines()
        .find(|line| line.starts_with(key))
        .and_then(|line| line.split_once(':'))
        .map_or("an unknown processor", |(_, value)| value.trim())
        .to_owned()
}

fn memory() -> String {
    let total = after_colon(&read("/proc/meminfo"), "MemTotal");
    let kib: u64 = total
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(0);
    format!("{} GiB", kib >> 20)
}

fn date() -> String {
    let done = Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]).output();
    done.map_or_else(
        |_| "an unknown date".to_owned(),
        |done| String::from_utf8_lossy(&done.stdout).trim().to_owned(),
    )
}

/// Puts the table between the marks of the document; everything else in it stays.
///
/// # Errors
/// When the document is not there or has no marks.
pub fn write(path: &Path, table: &str, machine: &str, notes: &[String]) -> Result<(), Failure> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    fs::write(path, replaced(&text, table, machine, notes)?)?;
    Ok(())
}

fn replaced(text: &str, table: &str, machine: &str, notes: &[String]) -> Result<String, Failure> {
    let (before, rest) = text
        .split_once(BEGIN)
        .ok_or("the document has no mark for the table")?;
    let (_, after) = rest
        .split_once(END)
        .ok_or("the document has no mark for the table's end")?;
    let notes: String = notes.iter().map(|note| format!("* {note}\n")).collect();
    Ok(format!(
        "{before}{BEGIN}\n{machine}\n\n{table}\n{notes}{END}{after}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_table_is_replaced() {
        let text = format!("head\n{BEGIN}\nold\n{END}\ntail\n");
        let new = replaced(&text, "| new |\n", "Machine: this.", &["scaled".to_owned()]);
        let new = new.unwrap_or_default();
        assert!(new.starts_with("head\n") && new.ends_with("\ntail\n"), "{new}");
        assert!(
            new.contains("| new |") && new.contains("* scaled") && !new.contains("old"),
            "{new}"
        );
        assert!(replaced("no marks", "", "", &[]).is_err());
    }
}
