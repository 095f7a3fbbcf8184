//! The settings in force, for people to look at: every key with its value, where that comes from, and no secret.

use serde::Serialize;
use utoipa::ToSchema;

use super::origin::Origin;
use super::source::{Config, Raw};
use super::table::keys;

/// What stands for a secret.
const HIDDEN: &str = "***";
/// Names of keys, or their ends, whose values are secrets.
const SECRET_ENDS: [&str; 4] = ["password", "token", "secret", "credentials"];

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Shown {
    /// Its full name, such as `shares.vardiff`.
    pub key: &'static str,
    /// Its value as it was given; secrets in it are `***`.
    pub value: String,
    /// Where that was given: `default`, `FILE:LINE:COLUMN`, `environment NAME` or the flag.
    pub origin: String,
    /// Whether nobody gave it.
    pub is_default: bool,
    /// What a number counts; empty where that is plain.
    pub unit: &'static str,
    /// What it is for.
    pub doc: String,
}

/// Every key, in the order of the documentation.
pub(super) fn all(config: &Config) -> Vec<Shown> {
    let shown = keys().iter().map(|key| {
        let (raw, origin) = config.given(key.path);
        let value = raw.map_or_else(|| key.default.to_owned(), plain);
        Shown {
            key: key.path,
            value: without_secrets(key.path, &value),
            // A flag is shown with what was typed behind it.
            origin: without_secrets(key.path, &origin.to_string()),
            is_default: origin == Origin::Default,
            unit: key.unit,
            doc: key.doc.split_whitespace().collect::<Vec<_>>().join(" "),
        }
    });
    shown.collect()
}

fn plain(raw: &Raw) -> String {
    match raw {
        Raw::Bare(text) | Raw::Text(text) | Raw::Other(text) => text.clone(),
        Raw::Integer(number) => number.to_string(),
        Raw::Bool(value) => value.to_string(),
        Raw::List(items) => items.join(" "),
    }
}

/// A value without passwords in URLs and node specs, private keys, and whatever its key's name says is secret.
fn without_secrets(key: &str, value: &str) -> String {
    let named_secret = SECRET_ENDS.iter().any(|end| key.ends_with(end));
    if value.contains("prv") || (named_secret && !value.is_empty()) {
        return HIDDEN.to_owned();
    }
    let words = value.split(' ').map(|word| match key.starts_with("notify.") {
        true => without_path(word),
        false => without_password(word),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// `scheme://USER:***@HOST`, `rpc:USER:***@HOST`. The host begins behind the last `@`.
fn without_password(word: &str) -> String {
    // A node spec may have other URLs behind it.
    let start = match (word.find("rpc:"), word.find("://")) {
        (Some(rpc), _) => rpc + "rpc:".len(),
        (None, Some(scheme)) => scheme + "://".len(),
        (None, None) => 0,
    };
    let (before, rest) = word.split_at(start);
    match rest.rsplit_once('@') {
        Some((login, host)) => match login.split_once(':') {
            Some((user, _)) => format!("{before}{user}:{HIDDEN}@{host}"),
            None => format!("{before}{HIDDEN}@{host}"),
        },
        None => word.to_owned(),
    }
}

/// A URL to which messages go: its path and query often are the secret.
fn without_path(word: &str) -> String {
    let word = without_password(word);
    let Some((scheme, rest)) = word.split_once("://") else {
        return word;
    };
    match rest.split_once(['/', '?']) {
        Some((host, path)) if !path.is_empty() => format!("{scheme}://{host}/{HIDDEN}"),
        _ => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn no_secret_is_shown() {
        for (key, value, shown) in [
            ("listen", "127.0.0.1:3333", "127.0.0.1:3333"),
            (
                "node",
                "rpc:alice:pass@word@127.0.0.1:8332?zmq=tcp://h:1",
                "rpc:alice:***@127.0.0.1:8332?zmq=tcp://h:1",
            ),
            (
                "node",
                "rpc:127.0.0.1:8332?cookie=/a/b",
                "rpc:127.0.0.1:8332?cookie=/a/b",
            ),
            (
                "db",
                "postgres://bob:hunter2@db/adit",
                "postgres://bob:***@db/adit",
            ),
            (
                "nats",
                "nats://tok@h:4222 nats://u:p@h2",
                "nats://***@h:4222 nats://u:***@h2",
            ),
            (
                "upstream.pools",
                "stratum2+tcp://h:1/9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh",
                "stratum2+tcp://h:1/9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh",
            ),
            ("payout.address", "wpkh(xprv9s21Z)", "***"),
            ("notify.telegram_token", "12:abc", "***"),
            ("notify.telegram_token", "", ""),
            (
                "notify.webhook",
                "https://h.example/hook/SECRET",
                "https://h.example/***",
            ),
        ] {
            assert_eq!(without_secrets(key, value), shown, "{key}");
        }
    }

    #[test]
    fn every_key_says_where_it_comes_from() {
        let settings = Settings::with(&[
            ("node", "rpc:me:hidden@127.0.0.1:18443"),
            ("network", "regtest"),
            ("payout.address", "raw(51)"),
        ])
        .unwrap();
        assert_eq!(settings.shown.len(), keys().len());
        let text = serde_json::to_string(&settings.shown).unwrap();
        assert!(!text.contains("hidden"), "{text}");
        let of = |key| settings.shown.iter().find(|row| row.key == key).unwrap();
        assert_eq!(of("node").value, "rpc:me:***@127.0.0.1:18443");
        assert_eq!(
            (of("network").is_default, of("shares.vardiff").is_default),
            (false, true)
        );
        assert_eq!(of("shares.vardiff").value, "true");
    }
}
