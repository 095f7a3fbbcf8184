//! The journal as text: CSV or one JSON object a line.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

use crate::blocks::{hex, hex_reversed};
use crate::book::Book;
use crate::disk::Disk;
use crate::journal::JournalError;
use crate::record::{AccountId, Entry, Record, WorkerId};
use crate::verify::{ledger, walk};

/// How to write records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated, with a heading, one row a record.
    Csv,
    /// One JSON object a line; numbers above 2^53 (work) are strings.
    JsonLines,
}

const COLUMNS: [&str; 18] = [
    "front_end",
    "sequence",
    "time_us",
    "epoch",
    "kind",
    "account",
    "name",
    "worker",
    "hash",
    "work",
    "channel",
    "ntime",
    "nonce",
    "version",
    "height",
    "block",
    "value",
    "note",
];

/// Writes all records of a data folder to `to`; returns how many.
///
/// # Errors
/// When the ledger is damaged or cannot be read, or `to` cannot be written.
pub fn export(data: &Path, to: &mut dyn Write, format: Format) -> Result<u64, JournalError> {
    export_on(&ledger(data)?, to, format)
}

/// [`export`] on any disk.
///
/// # Errors
/// As [`export`].
pub fn export_on<D: Disk>(disk: &D, to: &mut dyn Write, format: Format) -> Result<u64, JournalError> {
    let failed = |error: io::Error| JournalError::disk("the output".into(), "write", error);
    if format == Format::Csv {
        writeln!(to, "{}", COLUMNS.join(",")).map_err(failed)?;
    }
    let (mut names, mut line, mut count) = (Names::default(), String::new(), 0);
    walk(disk, |record| {
        names.learn(record);
        line.clear();
        row(record, &names, format, &mut line);
        count += 1;
        to.write_all(line.as_bytes()).map_err(failed)
    })?;
    to.flush().map_err(failed)?;
    Ok(count)
}

/// Names read so far, whole ones only.
#[derive(Default)]
struct Names {
    unfinished: Book,
    whole: HashMap<AccountId, String>,
}

impl Names {
    fn learn(&mut self, record: &Record) {
        let Entry::Account(part) = &record.entry else {
            if matches!(record.entry, Entry::Worker(_)) {
                self.unfinished.apply(record);
            }
            return;
        };
        self.unfinished.apply(record);
        if let Some(name) = self
            .unfinished
            .account(&part.account)
            .and_then(|account| account.name())
        {
            self.whole.insert(part.account, name);
        }
    }

    fn of(&self, account: &AccountId) -> String {
        self.whole.get(account).cloned().unwrap_or_default()
    }

    /// `account.worker`; ids in hex stand in for names that are not known.
    fn of_worker(&self, account: &AccountId, worker: Option<&WorkerId>) -> Option<Cell> {
        let worker = worker?;
        let account_name = self.whole.get(account).cloned();
        let name = self
            .unfinished
            .worker_of(account, worker)
            .and_then(|sums| sums.name());
        text(format!(
            "{}.{}",
            account_name.unwrap_or_else(|| hex(account)),
            name.unwrap_or_else(|| hex(worker))
        ))
    }
}

/// A value and whether JSON shows it as a number.
struct Cell(String, bool);

fn number(value: impl ToString) -> Option<Cell> {
    Some(Cell(value.to_string(), true))
}

fn text(value: impl Into<String>) -> Option<Cell> {
    Some(Cell(value.into(), false))
}

fn row(record: &Record, names: &Names, format: Format, line: &mut String) {
    let mut cells: [Option<Cell>; COLUMNS.len()] = std::array::from_fn(|_| None);
    let mut set = |column: &str, cell: Option<Cell>| {
        if let Some(index) = COLUMNS.iter().position(|name| *name == column) {
            cells[index] = cell;
        }
    };
    set("front_end", number(record.front_end));
    set("sequence", number(record.sequence));
    set("time_us", number(record.time_us));
    set("epoch", number(record.epoch));
    let kind = match &record.entry {
        Entry::Start(start) => {
            set("note", text(start.software()));
            "start"
        }
        Entry::Share(share) => {
            set("account", text(hex(&share.account)));
            set("name", text(names.of(&share.account)));
            set("worker", names.of_worker(&share.account, share.worker.as_ref()));
            set("hash", text(hex_reversed(&share.hash)));
            set("work", text(share.work.to_string()));
            set("channel", text(format!("{:014x}", share.channel)));
            set("ntime", number(share.ntime));
            set("nonce", number(share.nonce));
            set("version", number(share.version));
            set("height", number(share.height));
            set("block", number(share.is_block));
            if share.solo {
                set("note", text("solo"));
            }
            "share"
        }
        Entry::Account(part) => {
            set("account", text(hex(&part.account)));
            set("name", text(names.of(&part.account)));
            set("note", text(format!("part {} of {}", part.part + 1, part.parts)));
            "account"
        }
        Entry::Worker(named) => {
            set("account", text(hex(&named.account)));
            set("name", text(names.of(&named.account)));
            set("worker", names.of_worker(&named.account, Some(&named.worker)));
            "worker"
        }
        Entry::Block(block) => {
            set("account", text(hex(&block.account)));
            set("name", text(names.of(&block.account)));
            set("worker", names.of_worker(&block.account, block.worker.as_ref()));
            set("hash", text(hex_reversed(&block.hash)));
            set("channel", text(format!("{:014x}", block.channel)));
            set("height", number(block.height));
            set("value", number(block.value));
            "block"
        }
        Entry::Outcome(note) => {
            set("hash", text(hex_reversed(&note.hash)));
            set("height", number(note.height));
            set(
                "note",
                text(format!("{:?} {} {}", note.outcome, note.confirmations, note.reason()).to_lowercase()),
            );
            "outcome"
        }
        Entry::Custom(job) => {
            set("account", text(hex(&job.account)));
            set("name", text(names.of(&job.account)));
            set("hash", text(hex(&job.job)));
            set("channel", text(format!("{:014x}", job.channel)));
            set("height", number(job.height));
            set("value", number(job.pool_value));
            let (mode, verdict) = (job.mode.name(), job.verdict.name());
            let (credit, total) = (job.credit_bp, job.total_value);
            let token = hex(&job.token);
            set(
                "note",
                text(format!(
                    "{verdict} {mode} credit {credit} of 10000, all outputs {total}, token {token}"
                )),
            );
            "custom"
        }
        Entry::Session(opened) => {
            set("account", text(hex(&opened.account)));
            set("name", text(names.of(&opened.account)));
            set("worker", names.of_worker(&opened.account, opened.worker.as_ref()));
            set("channel", text(format!("{:014x}", opened.channel)));
            let (kind, protocol) = (opened.kind.name(), opened.protocol.name());
            set(
                "note",
                text(format!(
                    "session {} {kind} {protocol} {}",
                    opened.session,
                    opened.device()
                )),
            );
            "session"
        }
        Entry::Closed(closed) => {
            set("account", text(hex(&closed.account)));
            set("name", text(names.of(&closed.account)));
            set("channel", text(format!("{:014x}", closed.channel)));
            set(
                "note",
                text(format!("session {} {}", closed.session, closed.ending.name())),
            );
            "closed"
        }
        Entry::Rejects(rejects) => {
            if let Some(account) = &rejects.account {
                set("account", text(hex(account)));
                set("name", text(names.of(account)));
                set("worker", names.of_worker(account, rejects.worker.as_ref()));
            }
            set("value", number(rejects.count));
            set("note", text(rejects.reason()));
            "rejects"
        }
        Entry::Payout(payout) => {
            set("account", text(hex(&payout.account)));
            set("name", text(names.of(&payout.account)));
            set("hash", text(hex_reversed(&payout.txid)));
            set("height", number(payout.height));
            set("value", number(payout.satoshis));
            let (state, batch) = (payout.state.name(), hex(&payout.batch));
            let (vout, fee) = (payout.vout, payout.fee);
            set(
                "note",
                text(format!("{state} batch {batch} output {vout} fee {fee}")),
            );
            "payout"
        }
        Entry::Credit(credit) => {
            set("account", text(hex(&credit.account)));
            set("name", text(names.of(&credit.account)));
            set("hash", text(hex_reversed(&credit.block)));
            set("height", number(credit.height));
            set("value", number(credit.earned_sat));
            let (line, lines) = (u64::from(credit.line) + 1, credit.lines);
            let received = credit.received_sat;
            set(
                "note",
                text(format!("received {received}, line {line} of {lines}")),
            );
            "credit"
        }
        Entry::Stop => "stop",
    };
    set("kind", text(kind));
    match format {
        Format::Csv => csv(&cells, line),
        Format::JsonLines => json(&cells, line),
    }
}

fn csv(cells: &[Option<Cell>], line: &mut String) {
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            line.push(',');
        }
        match cell {
            Some(Cell(value, false)) if value.contains(|c: char| !c.is_ascii_alphanumeric()) => {
                quote(value, line)
            }
            Some(Cell(value, _)) => line.push_str(value),
            None => {}
        }
    }
    line.push('\n');
}

/// Names come from strangers: no line breaks, and nothing that a spreadsheet takes for a formula.
fn quote(value: &str, line: &mut String) {
    line.push('"');
    if value.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        line.push('\'');
    }
    for c in value.chars() {
        match c {
            '"' => line.push_str("\"\""),
            c if c.is_control() => line.push(' '),
            c => line.push(c),
        }
    }
    line.push('"');
}

fn json(cells: &[Option<Cell>], line: &mut String) {
    line.push('{');
    let mut first = true;
    for (name, cell) in COLUMNS.iter().zip(cells) {
        let Some(Cell(value, is_number)) = cell else {
            continue;
        };
        if !std::mem::take(&mut first) {
            line.push(',');
        }
        line.push('"');
        line.push_str(name);
        line.push_str("\":");
        if *is_number {
            line.push_str(value);
        } else {
            json_string(value, line);
        }
    }
    line.push_str("}\n");
}

fn json_string(value: &str, line: &mut String) {
    line.push('"');
    for c in value.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            c if c.is_control() => {
                // Writing to a string cannot fail.
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
    line.push('"');
}
