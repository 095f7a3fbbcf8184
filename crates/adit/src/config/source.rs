//! What was given, and where: [`Sources`] -> [`Config`].

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::field::Field;
use super::origin::{Origin, Problem, suggestion};
use super::table::{self, Key, keys};

/// Names in the environment that start like keys and are none.
const RESERVED: &[&str] = &["ADIT_CONFIG"];
/// Largest configuration file, in bytes.
const FILE_BYTES_MAX: usize = 1 << 20;

/// Everything that configuration is made of, as text.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Name and text of the TOML file.
    pub file: Option<(String, String)>,
    /// Environment variables; those that do not start with `ADIT_` are looked at for `HOME` and
    /// `XDG_DATA_HOME` only.
    pub environment: Vec<(String, String)>,
    /// Flags: key, value, and how the flag was typed.
    pub flags: Vec<(String, String, String)>,
    /// The command pays nobody: an address and with it a network may be missing.
    pub pays_nobody: bool,
    /// The command does without a node unless one is configured.
    pub nodeless: bool,
    /// The command serves miners of the house: unless told where, it listens on all addresses.
    pub listens_everywhere: bool,
}

impl Sources {
    /// Adds a flag for a key.
    pub fn flag(&mut self, key: &str, value: impl Into<String>, typed: impl Into<String>) {
        self.flags.push((key.to_owned(), value.into(), typed.into()));
    }

    /// Adds the flags that were given: key, how the flag is typed, and its value.
    pub fn given<const COUNT: usize>(&mut self, flags: [(&str, &str, &Option<String>); COUNT]) {
        for (key, typed, value) in flags {
            if let Some(value) = value {
                self.flag(key, value, typed);
            }
        }
    }
}

/// A value as given.
#[derive(Clone, Debug, PartialEq)]
pub enum Raw {
    /// Text of a flag, of the environment or of a default: its type is the key's.
    Bare(String),
    /// A TOML string.
    Text(String),
    /// A TOML integer.
    Integer(i64),
    /// A TOML boolean.
    Bool(bool),
    /// A TOML array of strings.
    List(Vec<String>),
    /// Any other TOML value, as written.
    Other(String),
}

impl Raw {
    fn from_toml(value: &DeValue<'_>, written: &str) -> Self {
        let strings = |items: &toml::de::DeArray<'_>| {
            items
                .iter()
                .map(|item| item.get_ref().as_str().map(str::to_owned))
                .collect()
        };
        match value {
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Boolean(value) => Self::Bool(*value),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| Self::Other(written.into()), Self::Integer),
            DeValue::Array(items) => {
                let items: Option<Vec<String>> = strings(items);
                items.map_or_else(|| Self::Other(written.into()), Self::List)
            }
            _ => Self::Other(written.into()),
        }
    }

    /// As the operator wrote it, shortened.
    fn quoted(&self) -> String {
        let text = match self {
            Self::Bare(text) | Self::Text(text) => format!("{text:?}"),
            Self::Integer(number) => number.to_string(),
            Self::Bool(value) => value.to_string(),
            Self::List(items) => format!("{items:?}"),
            Self::Other(written) => written.escape_debug().to_string(),
        };
        // A secret key in the wrong place must not go on to a log.
        if text.contains("prv") {
            "a secret".into()
        } else {
            shortened(&without_login(&text))
        }
    }
}

/// The text without what may be a password in it: what stands before the `@` of a node behind `rpc:` or of a server's address, and all of a web
/// URL, in whose path some put their secret.
fn without_login(text: &str) -> String {
    let web = ["http://", "https://"].iter().filter_map(|kind| text.find(kind));
    if let Some(start) = web.min() {
        let shown = text.get(..start).unwrap_or_default();
        return format!("{}http..", without_login(shown));
    }
    let Some((shown, after)) = text.rsplit_once('@') else {
        return text.to_owned();
    };
    match ["rpc:", "://"]
        .iter()
        .find_map(|kind| Some((shown.split_once(kind)?.0, kind)))
    {
        Some((before, kind)) => format!("{before}{kind}..@{after}"),
        None => text.to_owned(),
    }
}

fn shortened(text: &str) -> String {
    const MAX: usize = 80;
    match text.char_indices().nth(MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// What was given for each key, and where; keys that nobody gave have their default.
#[derive(Clone, Debug, Default)]
pub struct Config {
    given: BTreeMap<&'static str, (Raw, Origin)>,
    pays_nobody: bool,
    nodeless: bool,
    environment: BTreeMap<String, String>,
}

impl Config {
    /// Reads all sources, later over earlier: file, environment, flags.
    pub fn gather(sources: &Sources, problems: &mut Vec<Problem>) -> Self {
        let mut config = Self {
            pays_nobody: sources.pays_nobody,
            nodeless: sources.nodeless,
            ..Self::default()
        };
        if let Some((path, text)) = &sources.file {
            config.file(path, text, problems);
        }
        config.variables(&sources.environment, problems);
        for (key, value, typed) in &sources.flags {
            config.give(
                key,
                Raw::Bare(value.clone()),
                Origin::Flag(typed.clone()),
                problems,
            );
        }
        config
    }

    /// Whether the command can do without a payout address.
    pub(super) fn pays_nobody(&self) -> bool {
        self.pays_nobody
    }

    /// Whether there is no node: nobody asked for one, and the command does without.
    pub(super) fn nodeless(&self) -> bool {
        self.nodeless && self.origin("node") == Origin::Default
    }

    /// What was given for a key, if anything was, and where.
    pub(super) fn given(&self, key: &str) -> (Option<&Raw>, Origin) {
        match self.given.get(key) {
            Some((raw, origin)) => (Some(raw), origin.clone()),
            None => (None, Origin::Default),
        }
    }

    /// Where the value of a key comes from.
    pub fn origin(&self, key: &str) -> Origin {
        self.given
            .get(key)
            .map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    /// The keys that have another value in `other`.
    pub fn changed(&self, other: &Self) -> Vec<&'static Key> {
        let value = |config: &Self, key: &Key| {
            let given = config.given.get(key.path).map(|(raw, _)| raw.clone());
            given.unwrap_or_else(|| Raw::Bare(key.default.to_owned()))
        };
        let rows = keys().iter();
        rows.filter(|key| value(self, key) != value(other, key)).collect()
    }

    /// A variable of the environment, if set and not empty.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.environment
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The value of a key, or its default.
    pub(super) fn read<T: Field>(&self, path: &str, problems: &mut Vec<Problem>) -> Option<T> {
        let key = table::key(path)?;
        let default = (Raw::Bare(key.default.to_owned()), Origin::Default);
        let (raw, origin) = self.given.get(path).unwrap_or(&default);
        T::read(raw, key.range, *origin != Origin::Default)
            .map_err(|right| problems.push(self.wrong(path, raw, origin, &right)))
            .ok()
    }

    fn wrong(&self, path: &str, raw: &Raw, origin: &Origin, right: &str) -> Problem {
        let mut shown = raw.quoted();
        if shown.contains("://") && shown.contains('@') {
            // It may hold a password.
            shown = "a URL that cannot be used".into();
        }
        Problem {
            origin: origin.clone(),
            what: format!("{path} is {shown}"),
            right: format!("give {right}"),
        }
    }

    fn give(&mut self, path: &str, raw: Raw, origin: Origin, problems: &mut Vec<Problem>) {
        match table::key(path) {
            Some(key) => drop(self.given.insert(key.path, (raw, origin))),
            None => problems.push(unknown(path, origin)),
        }
    }

    fn variables(&mut self, variables: &[(String, String)], problems: &mut Vec<Problem>) {
        for (name, value) in variables {
            let Some(path) = name.strip_prefix("ADIT_") else {
                self.environment.insert(name.clone(), value.clone());
                continue;
            };
            if !RESERVED.contains(&name.as_str()) {
                let path = path.to_ascii_lowercase().replace("__", ".");
                let origin = Origin::Environment(name.clone());
                self.give(&path, Raw::Bare(value.clone()), origin, problems);
            }
        }
    }

    fn file(&mut self, path: &str, text: &str, problems: &mut Vec<Problem>) {
        let place = |offset: usize| file_origin(path, text, offset);
        if text.len() > FILE_BYTES_MAX {
            problems.push(Problem {
                origin: place(0),
                what: format!("the file has {} bytes", text.len()),
                right: format!("a configuration has at most {FILE_BYTES_MAX}"),
            });
            return;
        }
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let origin = place(error.span().map_or(0, |span| span.start));
            let what = format!("not TOML: {}", error.message());
            problems.push(Problem {
                origin,
                what,
                right: "write key = value under [table]".into(),
            });
        }
        if errors.is_empty() {
            self.tables("", root.get_ref(), text, &place, problems);
        }
    }

    fn tables(
        &mut self,
        prefix: &str,
        table: &DeTable<'_>,
        text: &str,
        place: &dyn Fn(usize) -> Origin,
        problems: &mut Vec<Problem>,
    ) {
        for (name, value) in table.iter() {
            let path = format!("{prefix}{}", name.get_ref());
            match value.get_ref() {
                DeValue::Table(inner) if is_table(&path) => {
                    self.tables(&format!("{path}."), inner, text, place, problems);
                }
                DeValue::Table(_) if table::key(&path).is_none() => {
                    problems.push(unknown_table(&path, place(name.span().start)));
                }
                other => {
                    let known = table::key(&path).is_some();
                    let at = if known {
                        value.span().start
                    } else {
                        name.span().start
                    };
                    let written = text.get(value.span()).unwrap_or_default();
                    self.give(&path, Raw::from_toml(other, written), place(at), problems);
                }
            }
        }
    }
}

/// Line and column of a byte offset.
fn file_origin(path: &str, text: &str, offset: usize) -> Origin {
    let before = text.get(..offset).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    Origin::File {
        path: path.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before.get(start..).unwrap_or_default().chars().count() + 1,
    }
}

fn is_table(path: &str) -> bool {
    keys().iter().any(|key| key.split().0 == path)
}

fn unknown(path: &str, origin: Origin) -> Problem {
    let names: Vec<&str> = keys().iter().map(|key| key.path).collect();
    let right = match (is_table(path), suggestion(path, names.iter().copied())) {
        (true, _) => format!("{path} is a table; its keys are {}", members(path)),
        (false, Some(near)) => format!("did you mean {}?", spelled(near, &origin)),
        (false, None) => "`adit --help` lists every key".into(),
    };
    Problem {
        origin,
        what: format!("unknown key {}", shortened(&format!("{path:?}"))),
        right,
    }
}

fn spelled(near: &str, origin: &Origin) -> String {
    match (origin, table::key(near)) {
        (Origin::Environment(_), Some(key)) => Key::environment(key),
        _ => near.to_owned(),
    }
}

fn unknown_table(path: &str, origin: Origin) -> Problem {
    let tables = keys()
        .iter()
        .map(|key| key.split().0)
        .filter(|table| !table.is_empty());
    let right = match suggestion(path, tables) {
        Some(near) => format!("did you mean [{near}]?"),
        None => "`adit --help` lists every key".into(),
    };
    Problem {
        origin,
        what: format!("unknown table [{}]", shortened(path)),
        right,
    }
}

fn members(table: &str) -> String {
    let inside = keys().iter().filter(|key| key.split().0 == table);
    inside.map(|key| key.path).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_node_is_shown_without_its_password() {
        let shown = |text: &str| Raw::Text(text.into()).quoted();
        assert_eq!(shown("rpc:u:hunter2@h"), "\"rpc:..@h\"");
        assert_eq!(shown("ipc:/a,rpc:u:hun@ter2@h"), "\"ipc:/a,rpc:..@h\"");
        for secret in [
            "https://h/hunter2",
            "rpc:u:hunter2@h,http://u:hunter2@h",
            "http://u:hunter2@h,rpc:u:hunter2@h",
            "tdp:x,rpc:u:hunter2@h:1,ipc:/x@y",
        ] {
            assert!(!shown(secret).contains("hunter2"), "{}", shown(secret));
        }
        let list = Raw::List(vec!["ipc:/a".into(), "rpc:u:hunter2@h".into()]);
        assert!(!list.quoted().contains("hunter2"), "{}", list.quoted());
        assert_eq!(shown("rpc:h:1"), "\"rpc:h:1\"");
    }
}
