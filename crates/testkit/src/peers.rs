//! Where installed peers are found, and what a test does without them.

use std::env;
use std::io::Write as _;
use std::path::PathBuf;

/// The peers cache: `$ADIT_PEERS`, else `$XDG_CACHE_HOME/adit/peers`, else `~/.cache/adit/peers`.
pub fn folder() -> Option<PathBuf> {
    let set = |name| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("ADIT_PEERS")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("adit/peers")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/adit/peers")))
}

/// An installed program, for instance `bitcoin-node` or `pool_sv2`.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = folder()?.join("bin").join(name);
    path.is_file().then_some(path)
}

/// The programs a test needs, in the order asked for. `None` means: skip the test, because one is missing or
/// because of `ADIT_SKIP_PEERS=1`. That is said on standard error, past the test harness, so that nobody takes a
/// skipped test for a passed one.
///
/// # Panics
/// When one is missing and `ADIT_REQUIRE_PEERS=1`: there, a skipped test is a failed one.
pub fn need<const N: usize>(names: [&str; N]) -> Option<[PathBuf; N]> {
    let asked = |name| env::var_os(name).is_some_and(|value| value == "1");
    let skipped = asked("ADIT_SKIP_PEERS");
    let missing: Vec<&str> = names.into_iter().filter(|name| program(name).is_none()).collect();
    if missing.is_empty() && !skipped {
        return Some(names.map(|name| program(name).unwrap_or_default()));
    }
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let reason = if skipped {
        format!("{test}: ADIT_SKIP_PEERS=1, and it needs {}", names.join(" and "))
    } else {
        format!("{test} needs {}: run `cargo xtask peers`", missing.join(" and "))
    };
    assert!(!asked("ADIT_REQUIRE_PEERS"), "{reason}");
    let _ = writeln!(std::io::stderr(), "SKIPPED {reason}");
    None
}

/// The same for what the system brings: `found` says whether it is there.
///
/// # Panics
/// As [`need`].
pub fn present(what: &str, found: bool) -> Option<()> {
    let asked = |name| env::var_os(name).is_some_and(|value| value == "1");
    let skipped = asked("ADIT_SKIP_PEERS");
    if found && !skipped {
        return Some(());
    }
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let reason = match skipped {
        true => format!("{test}: ADIT_SKIP_PEERS=1, and it needs {what}"),
        false => format!("{test} needs {what}: run `cargo xtask peers`"),
    };
    assert!(!asked("ADIT_REQUIRE_PEERS"), "{reason}");
    let _ = writeln!(std::io::stderr(), "SKIPPED {reason}");
    None
}
