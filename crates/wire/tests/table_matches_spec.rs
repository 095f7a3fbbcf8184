//! Holds our tables against `docs/spec/messages.md` and, for the protocol that is ours, `docs/job-distribution.md`, so that
//! tables and documents cannot drift apart.

mod support;

use std::collections::BTreeMap;

use adit_wire::message::{Direction, Row};

const DOCUMENT: &str = include_str!("../../../docs/spec/messages.md");
const DISTRIBUTION: &str = include_str!("../../../docs/job-distribution.md");

/// A message as the document has it.
#[derive(Debug, Default)]
struct Entry {
    extension: u16,
    msg_type: u8,
    channel: bool,
    direction: String,
    fields: String,
    min_len: u32,
}

/// A table of the document: its heading, then cells by column name.
type Cells<'a> = BTreeMap<&'a str, String>;

/// Every table row, as (section, cells by column title).
fn table_rows() -> Vec<(&'static str, Cells<'static>)> {
    let (mut section, mut columns, mut rows) = ("", Vec::new(), Vec::new());
    let mut before = "";
    for line in DOCUMENT.lines().chain(DISTRIBUTION.lines()) {
        if let Some(title) = line.strip_prefix("## ") {
            section = title;
        } else if line.starts_with("|---") {
            columns = split(before);
            rows.pop();
        } else if line.starts_with('|') {
            let cells = split(line).into_iter().map(|cell| cell.replace('*', ""));
            rows.push((section, columns.iter().copied().zip(cells).collect()));
        }
        before = line;
    }
    rows
}

fn split(line: &'static str) -> Vec<&'static str> {
    line.trim_matches('|').split(" | ").map(str::trim).collect()
}

/// All messages of the document by their name and number.
fn entries() -> BTreeMap<(u16, u8), (String, Entry)> {
    let rows = table_rows();
    let field_lists: BTreeMap<_, _> = rows
        .iter()
        .filter(|(_, c)| !c.contains_key("Type"))
        .filter_map(|(_, c)| Some((c.get("Message")?, c)))
        .collect();
    let mut entries = BTreeMap::new();
    for (section, cells) in &rows {
        let (Some(number), Some(name)) = (
            cells.get("Type").and_then(|t| t.strip_prefix("0x")),
            cells.get("Message"),
        ) else {
            continue;
        };
        if ["reserved", "unassigned"].contains(&name.as_str()) {
            continue;
        }
        let list = if *section == "4. Mining protocol" {
            field_lists[name]
        } else {
            cells
        };
        let (_, fields) = list
            .iter()
            .find(|(title, _)| title.starts_with("Fields"))
            .expect("a field column");
        let msg_type = u8::from_str_radix(number, 16).expect("a number");
        let extension = u16::from(section.contains("Extension 0x0001"));
        let entry = Entry {
            extension,
            msg_type,
            channel: cells.get("ch").is_some_and(|ch| ch == "1"),
            direction: cells["Dir"].clone(),
            fields: fields.clone(),
            min_len: list["len"]
                .split([' ', '/'])
                .next()
                .and_then(|n| n.parse().ok())
                .expect("a length"),
        };
        entries.insert((extension, msg_type), (name.clone(), entry));
    }
    entries
}

/// A field cell as (name, type) pairs: without remarks in parentheses, and with other messages' fields spelled out.
fn fields(cell: &str) -> Vec<(String, String)> {
    let mut plain = String::new();
    let mut depth = 0;
    for c in cell.chars() {
        depth += i32::from(c == '(');
        if depth == 0 {
            plain.push(c);
        }
        depth -= i32::from(c == ')');
    }
    for (words, message) in [
        ("the four standard fields", "OpenStandardMiningChannel"),
        ("the six standard fields", "SubmitSharesStandard"),
    ] {
        if plain.contains(words) {
            plain = plain.replace(words, &list_of(message));
        }
    }
    let parts = plain
        .split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty() && *part != "[TLVs]");
    parts
        .map(|part| {
            let mut words = part.split_whitespace();
            let name = words.next().expect("a name").to_owned();
            (name, words.next().expect("a type, then remarks").to_owned())
        })
        .collect()
}

fn list_of(message: &str) -> String {
    let (_, cells) = table_rows()
        .into_iter()
        .find(|(_, c)| !c.contains_key("Type") && c.get("Message").is_some_and(|m| m == message))
        .expect("the field list of the message");
    let list = fields(&cells["Fields in order (current)"]);
    list.iter()
        .map(|(name, ty)| format!("{name} {ty}"))
        .collect::<Vec<_>>()
        .join("; ")
}

/// A type of ours in the document's notation.
fn spec_type(ty: &str) -> String {
    ty.replace("TransactionList", "Seq0_64K<B0_16M>")
        .to_uppercase()
        .replace('<', "[")
        .replace('>', "]")
}

/// `nBits`, `n_bits` and `nbits` are one name.
fn folded(name: &str) -> String {
    name.replace('_', "").to_lowercase()
}

fn check(row: &Row, name: &str, entry: &Entry) {
    assert_eq!(row.name, name);
    assert_eq!(
        (row.extension, row.msg_type),
        (entry.extension, entry.msg_type),
        "{name}: number"
    );
    assert_eq!(row.channel_msg, entry.channel, "{name}: channel bit");
    let direction = match entry.direction.as_str() {
        "C>S" => Direction::ToServer,
        "S>C" => Direction::ToClient,
        "both" => Direction::Both,
        other => panic!("{name}: direction {other}"),
    };
    assert_eq!(row.direction, direction, "{name}: direction");
    assert_eq!(row.min_len, entry.min_len, "{name}: shortest payload");
    let ours: Vec<_> = row
        .fields
        .iter()
        .map(|(n, t)| (folded(n), spec_type(t)))
        .collect();
    let theirs: Vec<_> = fields(&entry.fields)
        .iter()
        .map(|(n, t)| (folded(n), t.clone()))
        .collect();
    assert_eq!(ours, theirs, "{name}: fields");
}

/// REQ-FRM-015, REQ-FRM-019, REQ-FRM-025: number, channel bit, direction, fields and length of every message.
#[test]
fn every_message_is_as_the_document_says() {
    let entries = entries();
    for row in support::rows() {
        let (name, entry) = entries
            .get(&(row.extension, row.msg_type))
            .unwrap_or_else(|| panic!("{}", row.name));
        check(row, name, entry);
    }
    assert_eq!(
        entries.len(),
        support::rows().count(),
        "messages in the document and in the tables"
    );
    assert_eq!(entries.len(), 50, "messages in the documents");
}

/// REQ-JDIST-003: no message of job distribution is for a channel, all are of the core, and their numbers are of no other
/// protocol's range.
#[test]
fn job_distribution_has_a_range_of_its_own() {
    for row in adit_wire::distribute::ROWS {
        assert!((0x80..=0x8f).contains(&row.msg_type), "{}", row.name);
        assert!(!row.channel_msg && row.extension == 0, "{}", row.name);
    }
    let mut others = support::rows().filter(|row| {
        let ours = adit_wire::distribute::ROWS.iter();
        !ours.clone().any(|it| it.name == row.name)
    });
    assert!(others.all(|row| row.extension != 0 || row.msg_type < 0x80));
}
