//! The table of keys as text: for `adit --help` and docs/configuration.md.

use std::fmt::Write;

use super::table::{Key, TABLES, keys};

/// docs/configuration.md, whole.
pub fn markdown() -> String {
    let mut page = String::from(HEAD);
    for (prefix, doc) in TABLES {
        let name = prefix.trim_end_matches('.');
        let title = if name.is_empty() {
            "Top of the file".to_owned()
        } else {
            format!("`[{name}]`")
        };
        let _ = write!(page, "\n## {title}\n\n{}\n\n", doc.trim());
        page.push_str("| Key | Default | May be | What it is for |\n|---|---|---|---|\n");
        for key in keys().iter().filter(|key| key.split().0 == name) {
            let _ = writeln!(page, "{}", row(key));
        }
    }
    page.push_str(&live());
    page.push_str(TAIL);
    page
}

/// What SIGHUP changes.
fn live() -> String {
    let rows = keys().iter().filter(|key| key.is_live());
    let names: Vec<String> = rows.map(|key| format!("`{}`", key.path)).collect();
    format!("{LIVE}{}.\n", names.join(", "))
}

fn row(key: &Key) -> String {
    let default = if key.default.is_empty() {
        "none".to_owned()
    } else {
        format!("`{}`", key.default)
    };
    let may_be = [key.expected().as_str(), key.unit]
        .join(" ")
        .replacen("  ", " ", 1);
    let unit = if key.unit.is_empty() {
        String::new()
    } else {
        format!(" ({})", key.unit)
    };
    let may_be = may_be.strip_suffix(key.unit).unwrap_or(&may_be).trim();
    format!(
        "| `{}` | {default} | {may_be}{unit} | {} |",
        key.split().1,
        oneline(key.doc)
    )
}

/// All keys with their meaning, for a terminal.
pub fn help() -> String {
    let mut text =
        String::from("Configuration keys: TOML file (--config), then environment, then --set KEY=VALUE.\n");
    for key in keys() {
        let default = if key.default.is_empty() {
            "none"
        } else {
            key.default
        };
        let unit = if key.unit.is_empty() {
            String::new()
        } else {
            format!(", {}", key.unit)
        };
        let _ = write!(
            text,
            "\n{} = {default}\n    {}\n    {}{unit}; {}\n",
            key.path,
            oneline(key.doc),
            key.expected(),
            key.environment(),
        );
    }
    text
}

fn oneline(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

const HEAD: &str = "\
# Configuration

Made from the table in `crates/adit/src/config/table.rs`; a test checks that it is current.

`adit` needs no configuration. Every key can be given in three places, the later over the earlier:

1. a TOML file: `adit --config adit.toml` or `ADIT_CONFIG=adit.toml`
2. the environment: `ADIT_`, then the key in capitals with `__` for the dot: `ADIT_SHARES__VARDIFF=false`
3. the command line: `--set shares.vardiff=false`, or the flag of a common key, such as `--listen`

A key that does not exist, or a value that is not possible, is refused before anything starts, with the line
where it stands and what would be right. `~` at the start of the data folder is the home directory.
";

const LIVE: &str = "
## What changes without a restart

`SIGHUP` (`systemctl reload adit`) has a pool read its configuration again, and no miner notices. A mistake in it is logged with the line that
it stands on, and the old configuration goes on, whole. Certificates and keys are seen without it. What else has changed is named in the log and counts from the next start.

These change at once: ";

const TAIL: &str = "
## Secrets

Secrets are never settings: no key above holds one. They are files under `keys/` in the data folder, made at first
start with mode 0600; a file that others can read is refused.

| File | What it is |
|---|---|
| `keys/authority.secret` | The pool's authority key. Its public half is the last part of `stratum2+tcp://HOST:PORT/KEY`: devices that know that address refuse every other key. `adit keys new` makes one, `adit keys show` prints the public half. |
";
