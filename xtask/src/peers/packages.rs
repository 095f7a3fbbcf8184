//! What the system must have before Bitcoin Core can be built, and the servers that tests run.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::Cache;
use crate::exec::{self, Failure};

/// Debian packages; two of them are what `build-essential` would bring.
const PACKAGES: [&str; 10] = [
    "cmake",
    "ninja-build",
    "libboost-dev",
    "libevent-dev",
    "capnproto",
    "libcapnp-dev",
    "pkg-config",
    "g++",
    "postgresql",
    "nats-server",
];
/// Programs that these packages bring, looked for where there is no dpkg.
const PROGRAMS: [&str; 5] = ["cmake", "ninja", "capnp", "pkg-config", "c++"];
/// Longest wait for the package manager.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Installs missing packages where that is possible, otherwise says which to install.
pub(super) fn ensure(cache: &Cache) -> Result<(), Failure> {
    if !on_path("dpkg-query") {
        return ensure_programs();
    }
    let missing: Vec<&str> = PACKAGES
        .into_iter()
        .filter(|package| !installed(package))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    install(cache, &missing)
}

/// Installs the packages of programs that are not on the PATH; each with the name of its package.
pub(super) fn programs(cache: &Cache, wanted: &[(&str, &str)]) -> Result<(), Failure> {
    let missing = wanted.iter().filter(|(program, _)| !on_path(program));
    let missing: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    install(cache, &missing)
}

/// Installs packages where that is possible, otherwise says which to install.
pub(super) fn install(cache: &Cache, missing: &[&str]) -> Result<(), Failure> {
    if !(on_path("apt-get") && is_root()) {
        return Err(format!(
            "these packages are missing: {0}\ninstall them and run this again:\n  \
             sudo apt-get update && sudo apt-get install --no-install-recommends {0}",
            missing.join(" ")
        ));
    }
    println!("packages: installing {}", missing.join(" "));
    let log = cache.log("packages");
    let apt = || {
        let mut command = Command::new("apt-get");
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-o", "DPkg::Lock::Timeout=300"]);
        command
    };
    exec::logged("packages", apt().arg("update"), &log, LIMIT)?;
    let install = ["install", "--yes", "--no-install-recommends"];
    exec::logged("packages", apt().args(install).args(missing), &log, LIMIT)
}

fn ensure_programs() -> Result<(), Failure> {
    let missing: Vec<&str> = PROGRAMS.into_iter().filter(|program| !on_path(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "these programs are missing: {}; install what brings them, and the headers of Boost, libevent and \
         Cap'n Proto (on Debian: {})",
        missing.join(", "),
        PACKAGES.join(" ")
    ))
}

fn installed(package: &str) -> bool {
    let query = Command::new("dpkg-query")
        .args(["-W", "-f=${db:Status-Status}", package])
        .output();
    query.is_ok_and(|out| out.status.success() && out.stdout == b"installed")
}

fn is_root() -> bool {
    exec::output("packages", Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

pub(super) fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| Path::new(&folder).join(program).is_file())
}
