//! Bitcoin Core with its Cap'n Proto socket, from the source that a crate on crates.io bundles:
//! one registry, one checksum, no git.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Cache, Peer};
use crate::exec::{self, Failure};

/// The crate whose source holds Bitcoin Core 31.99.
const CRATE: &str = "libbitcoinkernel-sys";
const VERSION: &str = "0.4.1";
const OPTIONS: [&str; 11] = [
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_TESTS=OFF",
    "-DBUILD_BENCH=OFF",
    "-DBUILD_GUI=OFF",
    "-DENABLE_WALLET=OFF",
    "-DENABLE_IPC=ON",
    "-DBUILD_TX=OFF",
    "-DBUILD_UTIL=OFF",
    "-DINSTALL_MAN=OFF",
    "-DWITH_ZMQ=OFF",
    "-DWITH_EMBEDDED_ASMAP=OFF",
];
const PROGRAMS: &[&str] = &["bitcoin-node", "bitcoin-cli"];
const FETCH_LIMIT: Duration = Duration::from_secs(10 * 60);
const CONFIGURE_LIMIT: Duration = Duration::from_secs(10 * 60);
const BUILD_LIMIT: Duration = Duration::from_secs(90 * 60);

pub(super) fn peer() -> Peer {
    Peer {
        name: "bitcoin-core",
        recipe: format!("Bitcoin Core 31.99 of {CRATE} {VERSION}\n{}\n", OPTIONS.join(" ")),
        programs: PROGRAMS,
        build,
    }
}

fn build(cache: &Cache, peer: &Peer) -> Result<(), Failure> {
    let (source, tree, log) = (source(cache)?, cache.build("bitcoin-core"), cache.log(peer.name));
    let mut configure = Command::new("cmake");
    configure
        .arg("-GNinja")
        .arg("-S")
        .arg(&source)
        .arg("-B")
        .arg(&tree)
        .args(OPTIONS);
    exec::logged(peer.name, &mut configure, &log, CONFIGURE_LIMIT)?;
    let mut make = Command::new("cmake");
    make.arg("--build").arg(&tree).arg("--target").args(PROGRAMS);
    exec::logged(peer.name, &mut make, &log, BUILD_LIMIT)?;
    PROGRAMS
        .iter()
        .try_for_each(|program| install(&tree.join("bin").join(program), &cache.bin().join(program)))
}

/// Copies without symbols, then renames, so that nobody runs half a program.
fn install(from: &Path, to: &Path) -> Result<(), Failure> {
    let fresh = to.with_extension("new");
    let stripped = Command::new("strip").arg("-o").arg(&fresh).arg(from).status();
    if !stripped.is_ok_and(|status| status.success()) {
        fs::copy(from, &fresh)
            .map_err(|e| format!("cannot copy {} to {}: {e}", from.display(), fresh.display()))?;
    }
    fs::rename(&fresh, to).map_err(|e| format!("{}: {e}", to.display()))
}

/// The folder of Bitcoin Core's source, fetched through cargo with a throw-away manifest.
pub(crate) fn source(cache: &Cache) -> Result<PathBuf, Failure> {
    let folder = cache.build("bitcoin-core-source");
    let manifest = folder.join("Cargo.toml");
    let text = format!(
        "[package]\nname = \"source\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n[lib]\npath = \"lib.rs\"\n\n\
         [dependencies]\n{CRATE} = \"={VERSION}\"\n\n[workspace]\n"
    );
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(&manifest, text))
        .and_then(|()| fs::write(folder.join("lib.rs"), ""))
        .map_err(|e| format!("cannot write {}: {e}", folder.display()))?;
    let cargo = |verb| {
        let mut command = Command::new("cargo");
        command
            .arg(verb)
            .arg("--manifest-path")
            .arg(&manifest)
            .current_dir(&folder);
        command
    };
    exec::logged(
        "bitcoin-core",
        &mut cargo("fetch"),
        &cache.log("bitcoin-core-source"),
        FETCH_LIMIT,
    )?;
    let described = exec::output("bitcoin-core", cargo("metadata").args(["--format-version", "1"]))?;
    bundled(&described)
        .ok_or_else(|| format!("cargo metadata of {} does not name {CRATE}", manifest.display()))
}

fn bundled(metadata: &str) -> Option<PathBuf> {
    let metadata: serde_json::Value = serde_json::from_str(metadata).ok()?;
    let mut packages = metadata.get("packages")?.as_array()?.iter();
    let found = packages.find(|package| package.get("name").is_some_and(|name| name == CRATE))?;
    let manifest = Path::new(found.get("manifest_path")?.as_str()?);
    Some(manifest.parent()?.join("bitcoin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_is_found_beside_the_manifest_of_its_crate() {
        let metadata = r#"{"packages":[{"name":"cc","manifest_path":"/r/cc/Cargo.toml"},
            {"name":"libbitcoinkernel-sys","manifest_path":"/r/kernel/Cargo.toml"}]}"#;
        assert_eq!(bundled(metadata), Some(PathBuf::from("/r/kernel/bitcoin")));
        assert_eq!(bundled(r#"{"packages":[]}"#), None);
        assert_eq!(bundled("no json"), None);
    }
}
