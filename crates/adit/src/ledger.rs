//! `adit ledger`: reads the record of accepted shares and changes nothing of it. A pool may run meanwhile, but for `rebuild`,
//! which makes the database again.

use std::io::{self, BufWriter, Write};

use adit_ledger::export::{Format, export};
use adit_ledger::verify::{Report, TopLine, WorkerLine, top, verify};
use adit_ledger::{AccountBook, AccountId, JournalError};
use serde_json::{Value, json};

use crate::books::Db;
use crate::books::check::{self, Agreement};
use crate::books::rebuild::{self, Rebuilt};
use crate::cli::LedgerAction;
use crate::config::Settings;
use crate::exit::Exit;
use crate::observe::text::{clean, count, grouped, scaled};

/// Records between two signs of life.
const TELL_EVERY: u64 = 1_000_000;

/// Does what was asked, to stdout.
///
/// # Errors
/// When the ledger cannot be read or is damaged.
pub fn run(settings: &Settings, action: LedgerAction, as_json: bool) -> Result<(), Exit> {
    let (data, mut out) = (settings.data.as_path(), BufWriter::new(io::stdout().lock()));
    let printed = match action {
        LedgerAction::Verify => {
            let report = verify(data).map_err(broken)?;
            sound(&report)?;
            let agreement = agreement(settings)?;
            if as_json {
                let mut json = report_json(&report);
                json["database"] = agreement.as_ref().map_or(Value::Null, agreement_json);
                writeln!(out, "{json}")
            } else {
                let agreement = agreement.as_ref().map_or_else(String::new, agreement_text);
                out.write_all((report_text(&report) + &agreement).as_bytes())
            }
        }
        LedgerAction::Rebuild => {
            let mut shown = 0;
            let told = |records: u64| {
                if records - shown >= TELL_EVERY {
                    shown = records;
                    tracing::info!(records, "counted");
                }
            };
            let rebuilt = rebuild::rebuild(&settings.books.db, data, told)?;
            if as_json {
                writeln!(out, "{}", rebuilt_json(&rebuilt))
            } else {
                out.write_all(rebuilt_text(&rebuilt).as_bytes())
            }
        }
        LedgerAction::Top { count, workers } => {
            let lines = top(data, count as usize, workers as usize).map_err(broken)?;
            if as_json {
                writeln!(out, "{}", top_json(&lines))
            } else {
                out.write_all(top_text(&lines).as_bytes())
            }
        }
        LedgerAction::Export => {
            let format = if as_json { Format::JsonLines } else { Format::Csv };
            export(data, &mut out, format).map(drop).or_else(unread)
        }
    };
    match printed.and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Exit::failed(format!("cannot write the result: {error}")))
        }
        _ => Ok(()),
    }
}

/// A reader such as `head` that has seen enough is no failure of the ledger.
fn unread(error: JournalError) -> io::Result<()> {
    match error {
        JournalError::Disk { source, .. } if source.kind() == io::ErrorKind::BrokenPipe => Err(source),
        other => Err(io::Error::other(broken(other).message)),
    }
}

pub(crate) fn broken(error: JournalError) -> Exit {
    let hint = match &error {
        JournalError::Disk { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            "name the data folder of a pool with --data DIR"
        }
        JournalError::Disk { .. } => {
            "the files must be there and yours to read; name the data folder with --data DIR"
        }
        JournalError::Damaged { .. } => {
            "nothing was changed; keep a copy of the folder, and put the damaged file back from a backup"
        }
        JournalError::Gone { .. } => {
            "what was taken away is summed up in ledger/book.base; `adit ledger rebuild` begins with it"
        }
        JournalError::Foreign { .. } => "every front end needs a data folder of its own",
        JournalError::Version { .. } => "use the version of adit that wrote it, or a newer one",
    };
    Exit::failed(error.to_string()).help(hint)
}

/// What only the whole reading can tell.
fn sound(report: &Report) -> Result<(), Exit> {
    if let Some(duplicates @ 1..) = report.duplicate_hashes {
        return Err(
            Exit::failed(format!("{duplicates} shares are in the ledger twice"))
                .help("do not pay from this ledger; `adit ledger export` shows equal hashes"),
        );
    }
    if report.checkpoint_agrees == Some(false) {
        return Err(
            Exit::failed("the checkpoint is not the sum of the records before it")
                .help("the records are whole; remove the checkpoint, and the next start makes a new one"),
        );
    }
    Ok(())
}

fn report_json(report: &Report) -> Value {
    json!({
        "front_end": report.front_end,
        "segments": report.segments,
        "records": report.records,
        "first_sequence": report.first_sequence,
        "taken_away": report.taken_away,
        "last_sequence": report.last_sequence,
        "torn_bytes": report.torn_bytes,
        "duplicate_hashes": report.duplicate_hashes,
        "checkpoint_agrees": report.checkpoint_agrees,
        "accounts": report.book.accounts().len(),
        "shares": report.book.shares,
        "work": report.book.work.to_string(),
        "blocks": report.book.blocks,
        "starts": report.book.starts,
    })
}

/// Holds the database against the journal. `None`: there is none, or none yet.
fn agreement(settings: &Settings) -> Result<Option<Agreement>, Exit> {
    let db = settings.books.db.within(&settings.data);
    let missing =
        matches!(&db, Db::Sqlite(Some(path)) if settings.books.db == Db::Sqlite(None) && !path.exists());
    if db == Db::Off || missing {
        return Ok(None);
    }
    let mut store = db.open_to_read()?;
    check::compare(store.as_mut(), &settings.data, settings.books.hours_days == 0).map(Some)
}

fn agreement_json(it: &Agreement) -> Value {
    json!({
        "place": it.place,
        "last": it.last,
        "behind": it.behind,
        "accounts": it.accounts,
        "workers": it.workers,
        "history": it.history,
    })
}

fn agreement_text(it: &Agreement) -> String {
    let behind = match it.behind {
        0 => String::new(),
        records => format!("; {} are still to come", count(records, "record")),
    };
    let history = if it.history { ", and its history" } else { "" };
    format!(
        "{} agrees up to record {}{behind}: {}, {}{history}\n",
        it.place,
        it.last,
        count(it.accounts, "account"),
        count(it.workers, "worker"),
    )
}

fn rebuilt_json(it: &Rebuilt) -> Value {
    json!({
        "place": it.place,
        "front_end": it.front_end,
        "records": it.records,
        "taken_away": it.taken_away,
    })
}

fn rebuilt_text(it: &Rebuilt) -> String {
    let sums = match it.taken_away {
        0 => String::new(),
        records => format!(
            " (and {}, taken away from the journal, as sums without history)",
            count(records, "record")
        ),
    };
    format!(
        "{} made again from {}{sums}\n",
        it.place,
        count(it.records, "record")
    )
}

fn report_text(report: &Report) -> String {
    let torn = match report.torn_bytes {
        0 => String::new(),
        bytes => {
            format!("\n{bytes} bytes at the end are a write under way, or are cut off at the next start")
        }
    };
    let duplicates = if report.duplicate_hashes.is_none() {
        "; too many to look for duplicates"
    } else {
        ""
    };
    format!(
        "sound: {} records ({} to {}) in {} files{duplicates}\n{} shares of {} names, {} of work, {} blocks{torn}\n",
        grouped(report.records),
        report.first_sequence,
        report.last_sequence,
        report.segments,
        grouped(report.book.shares),
        grouped(report.book.accounts().len() as u64),
        scaled(report.book.work as f64, "H"),
        grouped(report.book.blocks),
    )
}

fn top_json(lines: &[TopLine]) -> Value {
    let line = |line: &TopLine| {
        json!({
            "account": hex(&line.account),
            "name": line.name,
            "shares": line.sums.shares,
            "work": line.sums.work.to_string(),
            "best_work": line.sums.best_work.to_string(),
            "blocks": line.sums.blocks,
            "first_us": (line.sums.shares > 0).then_some(line.sums.first_us),
            "last_us": (line.sums.shares > 0).then_some(line.sums.last_us),
            "workers": line.workers.iter().map(worker_json).collect::<Vec<_>>(),
        })
    };
    Value::Array(lines.iter().map(line).collect())
}

fn worker_json(line: &WorkerLine) -> Value {
    json!({
        "worker": hex(&line.worker),
        "name": line.name,
        "shares": line.sums.shares,
        "work": line.sums.work.to_string(),
        "best_work": line.sums.best_work.to_string(),
        "blocks": line.sums.blocks,
        "last_us": (line.sums.shares > 0).then_some(line.sums.last_us),
    })
}

fn top_text(lines: &[TopLine]) -> String {
    let mut text = format!(
        "{:<40} {:>14} {:>12} {:>12} {:>7}\n",
        "name", "shares", "work", "best", "blocks"
    );
    for line in lines {
        let name = line.name.as_deref().map_or_else(|| hex(&line.account), clean);
        text.push_str(&top_line(&name, &line.sums));
        // Parts of the line above: not to be added to it.
        for worker in &line.workers {
            let worker_name = worker.name.as_deref().map_or_else(|| hex(&worker.worker), clean);
            text.push_str(&top_line(&format!("  {name}.{worker_name}"), &worker.sums));
        }
    }
    text
}

fn top_line(name: &str, sums: &AccountBook) -> String {
    format!(
        "{name:<40} {:>14} {:>12} {:>12} {:>7}\n",
        grouped(sums.shares),
        scaled(sums.work as f64, "H"),
        scaled(sums.best_work as f64, "H"),
        grouped(sums.blocks),
    )
}

fn hex(account: &AccountId) -> String {
    account.iter().map(|byte| format!("{byte:02x}")).collect()
}
