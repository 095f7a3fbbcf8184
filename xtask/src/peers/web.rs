//! What the dashboard and the API are tested with: a browser with its driver, axe-core for accessibility, schemathesis for
//! the OpenAPI document.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::packages::{self, on_path};
use super::{Cache, Peer};
use crate::exec::{self, Failure};

const LIMIT: Duration = Duration::from_secs(20 * 60);

pub(super) fn peers() -> Vec<Peer> {
    let peer = |name, recipe: &str, programs, build| Peer {
        name,
        recipe: format!("{recipe}\n"),
        programs,
        build,
    };
    vec![
        peer(
            "browser",
            "chromium of the system",
            &["chromium", "chromedriver"],
            browser,
        ),
        peer("axe", "axe-core@4.14.1", &["axe.min.js"], axe),
        peer(
            "schemathesis",
            "schemathesis==4.32.5",
            &["schemathesis"],
            schemathesis,
        ),
    ]
}

/// The system's own: a browser that is not kept up to date is none.
fn browser(cache: &Cache, peer: &Peer) -> Result<(), Failure> {
    packages::programs(
        cache,
        &[("chromium", "chromium"), ("chromedriver", "chromium-driver")],
    )?;
    for program in peer.programs {
        let found = find(program).ok_or_else(|| format!("browser: no `{program}` on the PATH"))?;
        place(&found, &cache.bin().join(program))?;
    }
    Ok(())
}

/// One file of the package from npm.
fn axe(cache: &Cache, peer: &Peer) -> Result<(), Failure> {
    packages::programs(cache, &[("npm", "npm")])?;
    let folder = fresh(cache, peer)?;
    let mut npm = Command::new("npm");
    npm.args([
        "install",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--prefix",
    ])
    .arg(&folder)
    .arg(peer.recipe.trim())
    .current_dir(&folder);
    exec::logged(peer.name, &mut npm, &cache.log(peer.name), LIMIT)?;
    place(
        &folder.join("node_modules/axe-core/axe.min.js"),
        &cache.bin().join("axe.min.js"),
    )
}

/// A virtual environment of its own, so that nothing of the system's Python changes.
fn schemathesis(cache: &Cache, peer: &Peer) -> Result<(), Failure> {
    let has_venv = exec::output("python", Command::new("python3").args(["-c", "import ensurepip"])).is_ok();
    if !has_venv {
        packages::install(cache, &["python3-venv"])?;
    }
    let folder = fresh(cache, peer)?;
    let log = cache.log(peer.name);
    let mut python = Command::new("python3");
    python.args(["-m", "venv"]).arg(&folder);
    exec::logged(peer.name, &mut python, &log, LIMIT)?;
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "--disable-pip-version-check"])
        .arg(peer.recipe.trim());
    exec::logged(peer.name, &mut pip, &log, LIMIT)?;
    place(
        &folder.join("bin/schemathesis"),
        &cache.bin().join("schemathesis"),
    )
}

/// An empty build folder.
fn fresh(cache: &Cache, peer: &Peer) -> Result<PathBuf, Failure> {
    let folder = cache.build(peer.name);
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(format!("cannot empty {}: {error}", folder.display()));
        }
        _ => {}
    }
    fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    Ok(folder)
}

/// A name in `bin` for something that must stay where it is.
fn place(found: &Path, name: &Path) -> Result<(), Failure> {
    let _ = fs::remove_file(name);
    symlink(found, name).map_err(|error| format!("cannot make {}: {error}", name.display()))
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(program));
    on_path(program).then(|| places.find(|place| place.is_file()))?
}
