//! The report for people: text for a terminal, Markdown to keep.

use std::fmt::Write;

use super::report::{CheckReport, Report, SetupAnswer};
use super::verdict::Verdict;

/// Chapters of docs/spec/requirements.md and what they are about.
const CHAPTERS: [(&str, &str); 8] = [
    ("SEC", "Transport security"),
    ("COM", "Connection setup, error codes"),
    ("FRM", "Data types and framing"),
    ("EXT", "Extensions"),
    ("MIN", "Mining"),
    ("JD", "Job declaration"),
    ("TDP", "Template distribution"),
    ("JDIST", "Job distribution"),
];

fn chapters(report: &Report) -> impl Iterator<Item = (&'static str, Vec<&CheckReport>)> {
    CHAPTERS.into_iter().filter_map(|(short, title)| {
        let checks: Vec<&CheckReport> = report
            .checks
            .iter()
            .filter(|check| check.chapter() == short)
            .collect();
        (!checks.is_empty()).then_some((title, checks))
    })
}

fn word(check: &CheckReport) -> &'static str {
    match check.verdict {
        Verdict::Pass { .. } => "PASS",
        Verdict::Fail { .. } => "FAIL",
        Verdict::Skip { .. } => "SKIP",
    }
}

fn detail(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Pass { seen } => seen.clone(),
        Verdict::Skip { why } => why.clone(),
        Verdict::Fail {
            expected,
            seen,
            bytes,
        } => {
            let bytes = if bytes.is_empty() {
                String::new()
            } else {
                format!("; bytes {bytes}")
            };
            format!("expected {expected}; seen {seen}{bytes}")
        }
    }
}

fn answer(answer: &SetupAnswer) -> String {
    match answer {
        SetupAnswer::Success { used_version, flags } => {
            format!("Success, version {used_version}, flags {flags:#x}")
        }
        SetupAnswer::Error { flags, code, closed } => {
            let end = if *closed { "closed" } else { "not closed" };
            format!("Error {code:?}, flags {flags:#x}, {end}")
        }
        SetupAnswer::Other { seen } => seen.clone(),
    }
}

/// The report for a terminal; `colour` paints the verdicts.
#[must_use]
pub fn text(report: &Report, colour: bool) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail; so in all of these.
    let _ = head(report, &mut out);
    for (title, checks) in chapters(report) {
        let _ = writeln!(out, "\n{title}");
        for check in checks {
            let word = word(check);
            let painted = match (colour, word) {
                (false, _) => word.to_owned(),
                (true, "PASS") => format!("\x1b[32m{word}\x1b[0m"),
                (true, "FAIL") => format!("\x1b[31;1m{word}\x1b[0m"),
                (true, _) => format!("\x1b[33m{word}\x1b[0m"),
            };
            let level = check.level.text();
            let _ = writeln!(
                out,
                "  {painted} {:<26} {level:<8} {} ({}, {})",
                check.name,
                check.title,
                check.requirements.join(", "),
                check.section
            );
            let _ = details(&check.verdict, &mut out);
        }
    }
    let _ = writeln!(out, "\n{}", report.summary.line());
    let used = &report.used;
    let _ = writeln!(
        out,
        "{} connections, {} bytes sent, {} shares, {} hashes, {:.1} s",
        used.connections,
        used.bytes_sent,
        used.shares,
        used.hashes,
        used.milliseconds as f64 / 1e3
    );
    out
}

fn details(verdict: &Verdict, out: &mut String) -> std::fmt::Result {
    match verdict {
        Verdict::Pass { .. } => Ok(()),
        Verdict::Skip { why } => writeln!(out, "         {why}"),
        Verdict::Fail {
            expected,
            seen,
            bytes,
        } => {
            writeln!(out, "         expected  {expected}")?;
            writeln!(out, "         seen      {seen}")?;
            if bytes.is_empty() {
                return Ok(());
            }
            writeln!(out, "         bytes     {bytes}")
        }
    }
}

fn head(report: &Report, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "{} ({}), {}",
        report.server.url, report.server.address, report.probe.time
    )?;
    for suite in &report.suites {
        let served = if suite.served { "yes" } else { "no" };
        let detail = if suite.detail.is_empty() {
            String::new()
        } else {
            format!(" ({})", suite.detail)
        };
        writeln!(out, "  {:<48} {served}{detail}", suite.name)?;
    }
    if let Some(it) = &report.certificate {
        let signed = match it.verified {
            Some(true) => "signed by the authority of the URL",
            Some(false) => "NOT signed by the authority of the URL",
            None => "not verified: the URL has no key",
        };
        writeln!(
            out,
            "  certificate: {signed}; {} to {}; {}",
            it.valid_from, it.not_valid_after, it.skew
        )?;
    }
    for it in &report.setup {
        let [min, max] = it.versions;
        writeln!(
            out,
            "  setup: protocol {}, versions {min}..{max}, flags {:#x}: {}",
            it.protocol,
            it.flags,
            answer(&it.answer)
        )?;
    }
    for it in &report.extensions {
        let (requested, supported) = (ids(&it.requested), ids(&it.supported));
        writeln!(
            out,
            "  extensions {requested}: {}, supported {supported}, required {}",
            it.answer,
            ids(&it.required)
        )?;
    }
    for it in &report.channels {
        let size = it
            .extranonce_size
            .map(|size| format!(" + {size} to roll"))
            .unwrap_or_default();
        writeln!(
            out,
            "  {} channel {} of group {} (flags {:#x}): {} hashes a share, extranonce {}{size}; {}",
            it.kind,
            it.channel_id,
            it.group_channel_id,
            it.setup_flags,
            it.expected_hashes,
            it.extranonce_prefix,
            it.first_messages.join(", ")
        )?;
    }
    Ok(())
}

fn ids(ids: &[u16]) -> String {
    if ids.is_empty() {
        return "none".to_owned();
    }
    let ids: Vec<String> = ids.iter().map(|id| format!("{id:#06x}")).collect();
    ids.join(" ")
}

/// The report as a document; `server` says what was asked, such as `pool_sv2 0.7.0`.
#[must_use]
pub fn markdown(report: &Report, server: &str) -> String {
    let mut out = String::new();
    let _ = document(report, server, &mut out);
    out
}

fn document(report: &Report, server: &str, out: &mut String) -> std::fmt::Result {
    writeln!(out, "# {}\n", cell(server))?;
    writeln!(
        out,
        "Asked by `adit probe` ({}) on {}. **{}.** Made with `adit probe URL --markdown`; [docs/probe.md](../probe.md) explains it.\n",
        report.probe.software,
        report.probe.time,
        report.summary.line()
    )?;
    writeln!(out, "```text")?;
    head(report, out)?;
    writeln!(out, "```")?;
    for (title, checks) in chapters(report) {
        writeln!(out, "\n## {title}\n")?;
        writeln!(out, "| | Check | Level | Expected | Requirements | Seen |")?;
        writeln!(out, "|---|---|---|---|---|---|")?;
        for check in checks {
            let word = word(check);
            let word = if word == "FAIL" { "**FAIL**" } else { word };
            writeln!(
                out,
                "| {word} | {} | {} | {} | {} ({}) | {} |",
                check.name,
                check.level.text(),
                cell(check.title),
                check.requirements.join(", "),
                check.section,
                cell(&detail(&check.verdict))
            )?;
        }
    }
    Ok(())
}

/// Text inside a table: what would end the cell or begin HTML is escaped.
fn cell(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('|', "\\|")
        .replace('<', "&lt;")
        .replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_stays_a_cell() {
        assert_eq!(cell("a|b<c>\nd"), "a\\|b&lt;c> d");
    }
}
