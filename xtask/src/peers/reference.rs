//! The Stratum Reference Implementation's programs, and one of others that speaks Stratum V1 (`para`), as their authors publish
//! them on crates.io.

use std::process::Command;
use std::time::Duration;

use super::{Cache, Peer};
use crate::exec::{self, Failure};

const LIMIT: Duration = Duration::from_secs(60 * 60);

pub(super) fn peers() -> Vec<Peer> {
    vec![
        published("pool", "pool_sv2@0.7.0", &["pool_sv2"]),
        published("mining-device", "integration_tests_sv2@0.6.0", &["mining_device"]),
        published("translator", "translator_sv2@0.6.0", &["translator_sv2"]),
        published("jd-client", "jd_client_sv2@0.6.0", &["jd_client_sv2"]),
        published("para", "para@0.6.0", &["para"]),
    ]
}

fn published(name: &'static str, package: &'static str, programs: &'static [&'static str]) -> Peer {
    Peer {
        name,
        recipe: format!("{package}\n"),
        programs,
        build: install,
    }
}

/// `cargo install` with one shared build folder: the programs have most of their crates in common,
/// and what was compiled before an interruption is kept.
fn install(cache: &Cache, peer: &Peer) -> Result<(), Failure> {
    let mut cargo = Command::new("cargo");
    cargo
        .args(["install", "--locked", "--force", "--root"])
        .arg(cache.root())
        .arg(peer.recipe.trim())
        .env("CARGO_TARGET_DIR", cache.build("reference"))
        .current_dir(cache.root());
    for program in peer.programs {
        cargo.args(["--bin", program]);
    }
    exec::logged(peer.name, &mut cargo, &cache.log(peer.name), LIMIT)
}
