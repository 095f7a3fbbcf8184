//! `adit keys inspect`: what a text or file is, how long it is good, and who vouches for it.

use std::fmt::Write;
use std::path::Path;

use adit_net::Url;
use adit_net::url::SCHEME;
use adit_noise::{AuthorityKey, Certificate, CertificateError, Utc};
use bitcoin::hex::{DisplayHex, FromHex};
use serde::Serialize;
use zeroize::Zeroizing;

use super::authority::PublicKeys;
use super::bundle::{Bundle, Request};
use super::suite::Suite;
use super::{files, print, show};
use crate::config::Settings;
use crate::exit::Exit;

/// Longest text that is looked at as it is, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// What something is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum Found {
    AuthorityKey {
        suite: Suite,
        key: String,
        /// Hex.
        bytes: String,
    },
    Url {
        suite: Suite,
        key: String,
        host: String,
        port: u16,
    },
    ServerKeys {
        current: String,
        draft2022: String,
    },
    Certificates {
        current: Seen,
        draft2022: Seen,
    },
    /// A certificate alone: it does not say whose it is.
    Certificate(Life),
    SecretFile,
}

/// One certificate with the keys that it ties together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Seen {
    authority: String,
    server_key: String,
    /// Whether the authority that it names has signed it.
    signed: bool,
    /// Whether that is the authority of the data folder, or the one given; absent when there is none to compare with.
    trusted: Option<bool>,
    /// Whether a device would take it now.
    good: bool,
    #[serde(flatten)]
    life: Life,
}

/// When a certificate is good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Life {
    version: u16,
    valid_from: String,
    not_valid_after: String,
    valid_from_s: u32,
    not_valid_after_s: u32,
    /// Negative after its end.
    seconds_left: i64,
    /// Whether it is good now, as far as the time goes.
    in_time: bool,
}

/// `adit keys inspect WHAT`
pub(super) fn run(
    settings: &Settings,
    what: &str,
    authority: Option<AuthorityKey>,
    now: u64,
    json: bool,
) -> Result<(), Exit> {
    // Without an authority of our own there is nothing to compare with, and that is no mistake here.
    let known = show::known(&settings.data).ok();
    let found = look(
        what,
        &Judge {
            now,
            authority,
            known,
        },
    )?;
    if json {
        let text = serde_json::to_string(&found).map_err(|error| Exit::failed(error.to_string()))?;
        print(&text);
    } else {
        print(&said(&found));
    }
    Ok(())
}

/// What a certificate is judged by.
struct Judge {
    now: u64,
    authority: Option<AuthorityKey>,
    known: Option<PublicKeys>,
}

fn look(what: &str, judge: &Judge) -> Result<Found, Exit> {
    if what.starts_with(SCHEME) {
        return url(what);
    }
    let path = Path::new(what);
    if path.exists() {
        return file(path, judge);
    }
    if what.len() > TEXT_BYTES_MAX {
        return Err(neither(what, "it is too long"));
    }
    if let Some(found) = bare(what, judge) {
        return Ok(found);
    }
    match what.parse::<AuthorityKey>() {
        Ok(key) => Ok(authority_key(key)),
        Err(error) => Err(neither(what, &error.to_string())),
    }
}

fn neither(what: &str, error: &str) -> Exit {
    let shown: String = crate::observe::text::clean(what);
    Exit::failed(format!(
        "{shown:?} is neither a file nor a URL nor an authority key: {error}"
    ))
    .help("an authority key has about 50 characters; that of today's spec starts with 9")
}

fn authority_key(key: AuthorityKey) -> Found {
    let (suite, bytes) = match key {
        AuthorityKey::Current(key) => (Suite::Current, key.to_bytes()),
        AuthorityKey::Draft2022(key) => (Suite::Draft2022, key.to_bytes()),
    };
    Found::AuthorityKey {
        suite,
        key: key.to_string(),
        bytes: bytes.to_lower_hex_string(),
    }
}

fn url(text: &str) -> Result<Found, Exit> {
    let failed = |error: &dyn std::fmt::Display| Exit::failed(error.to_string());
    // Apart, so that a mistake in either is told as such.
    let rest = text.strip_prefix(SCHEME).unwrap_or(text);
    let (address, key) = rest.split_once('/').unwrap_or((rest, ""));
    let url: Url = format!("{SCHEME}{address}")
        .parse()
        .map_err(|error| failed(&error))?;
    let key = key.trim_end_matches('/');
    if key.is_empty() {
        return Err(Exit::failed("the URL holds no key").help(
            "a pool's URL ends with its authority key, so that a device talks to this pool and no other; ask the pool",
        ));
    }
    let key: AuthorityKey = key.parse().map_err(|error| neither(key, &format!("{error}")))?;
    let suite = match key {
        AuthorityKey::Current(_) => Suite::Current,
        AuthorityKey::Draft2022(_) => Suite::Draft2022,
    };
    Ok(Found::Url {
        suite,
        key: key.to_string(),
        host: url.host,
        port: url.port,
    })
}

fn file(path: &Path, judge: &Judge) -> Result<Found, Exit> {
    let text = Zeroizing::new(files::text(path)?);
    let text = text.trim();
    // A public Ed25519 key looks the same; but what may be a secret is not shown.
    if files::is_secret(text) {
        return Ok(Found::SecretFile);
    }
    let named = |exit: Exit| Exit {
        message: format!("{}: {}", path.display(), exit.message),
        ..exit
    };
    if !text.contains('\n') {
        // Nor is a line that cannot be read: it may be most of a secret.
        return line(text, judge).ok_or_else(|| {
            named(Exit::failed("neither keys nor certificates")).help(
                "a file holds what `adit keys` wrote, or one authority key, URL or certificate in a line",
            )
        });
    }
    match Bundle::parse(text) {
        Ok(bundle) => Ok(judge.bundle(&bundle)),
        Err(first) => match Request::parse(text) {
            Ok(request) => Ok(Found::ServerKeys {
                current: request.current.to_lower_hex_string(),
                draft2022: request.draft2022.to_lower_hex_string(),
            }),
            Err(_) => Err(named(first)),
        },
    }
}

/// The one line of a file.
fn line(text: &str, judge: &Judge) -> Option<Found> {
    if text.starts_with(SCHEME) {
        return url(text).ok();
    }
    let key = || text.parse().ok().map(authority_key);
    bare(text, judge).or_else(key)
}

/// A certificate in hex.
fn bare(text: &str, judge: &Judge) -> Option<Found> {
    let bytes = <[u8; Certificate::BYTES]>::from_hex(text).ok()?;
    let certificate = Certificate::from_bytes(&bytes);
    let window = (certificate.valid_from(), certificate.not_valid_after());
    Some(Found::Certificate(judge.life(certificate.version(), window)))
}

impl Judge {
    fn bundle(&self, bundle: &Bundle) -> Found {
        let [current, draft2022] = Suite::ALL.map(|suite| self.seen(bundle, suite));
        Found::Certificates { current, draft2022 }
    }

    fn seen(&self, bundle: &Bundle, suite: Suite) -> Seen {
        let named = bundle.authority().of(suite);
        let given = self.authority.filter(|key| suite_of(*key) == suite);
        let wanted = given.or_else(|| self.known.map(|known| known.of(suite)));
        let version = match suite {
            Suite::Current => bundle.current.certificate.version(),
            Suite::Draft2022 => bundle.draft2022.certificate.version(),
        };
        let judged = wanted.unwrap_or(named);
        Seen {
            authority: named.to_string(),
            server_key: bundle.request().of(suite).to_lower_hex_string(),
            signed: bundle.is_signed(suite),
            trusted: wanted
                .map(|wanted| bundle.check(suite, wanted, self.now) != Err(CertificateError::Signature)),
            good: bundle.check(suite, judged, self.now).is_ok(),
            life: self.life(version, bundle.window(suite)),
        }
    }

    fn life(&self, version: u16, (from, to): (u32, u32)) -> Life {
        let now = i64::try_from(self.now).unwrap_or(i64::MAX);
        Life {
            version,
            valid_from: Utc(from.into()).to_string(),
            not_valid_after: Utc(to.into()).to_string(),
            valid_from_s: from,
            not_valid_after_s: to,
            seconds_left: i64::from(to).saturating_sub(now),
            in_time: (i64::from(from)..=i64::from(to)).contains(&now),
        }
    }
}

fn suite_of(key: AuthorityKey) -> Suite {
    match key {
        AuthorityKey::Current(_) => Suite::Current,
        AuthorityKey::Draft2022(_) => Suite::Draft2022,
    }
}

/// For people.
fn said(found: &Found) -> String {
    match found {
        Found::AuthorityKey { suite, key, bytes } => {
            let note = match suite {
                Suite::Current => "",
                Suite::Draft2022 => "\n  A secret key has the same form: do not show one to anybody.",
            };
            format!(
                "An authority key for {}\n  key    {key}\n  bytes  {bytes}{note}",
                spoken(*suite)
            )
        }
        Found::Url {
            suite,
            key,
            host,
            port,
        } => format!(
            "The address of a pool, for {}\n  host  {host}\n  port  {port}\n  key   {key}",
            spoken(*suite)
        ),
        Found::ServerKeys { current, draft2022 } => format!(
            "Public keys of a server, for an authority to sign\n  current    {current}\n  draft2022  {draft2022}"
        ),
        Found::Certificates { current, draft2022 } => {
            let mut text = "Certificates of a server\n".to_owned();
            for (suite, seen) in Suite::ALL.into_iter().zip([current, draft2022]) {
                say_seen(&mut text, suite, seen);
            }
            text
        }
        Found::Certificate(life) => {
            let mut text = "A certificate; whose it is stands beside it, not in it\n".to_owned();
            say_life(&mut text, life);
            text
        }
        Found::SecretFile => {
            "A secret key. What stands in the file is not shown: keep it to yourself.".into()
        }
    }
}

fn spoken(suite: Suite) -> &'static str {
    match suite {
        Suite::Current => "devices of today's spec (secp256k1)",
        Suite::Draft2022 => "devices of the 2022 draft (Ed25519)",
    }
}

fn say_seen(text: &mut String, suite: Suite, seen: &Seen) {
    let signed = if seen.signed {
        "has signed it"
    } else {
        "HAS NOT signed it"
    };
    let trusted = match seen.trusted {
        None => "",
        Some(true) => ", and is the one expected",
        Some(false) => ", and IS NOT the one expected",
    };
    let verdict = if seen.good { "good" } else { "NOT GOOD" };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "\nfor {}: {verdict}", spoken(suite));
    let _ = writeln!(text, "  authority   {} {signed}{trusted}", seen.authority);
    let _ = writeln!(text, "  server key  {}", seen.server_key);
    say_life(text, &seen.life);
}

fn say_life(text: &mut String, life: &Life) {
    let left = match life.seconds_left {
        left if !life.in_time && left >= 0 => "not yet valid".to_owned(),
        left if left < 0 => format!("ended {} s ago", -left),
        left => format!("{left} s left ({} days)", left / 86_400),
    };
    let _ = writeln!(
        text,
        "  valid       {} to {}, {left}",
        life.valid_from, life.not_valid_after
    );
    if life.version != 0 {
        let _ = writeln!(text, "  version     {} is unknown, 0 is expected", life.version);
    }
}
