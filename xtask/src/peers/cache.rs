//! The folder that peers live in: programs, stamps, logs, build trees, and the lock.

use std::env;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Peer;
use crate::exec::{Failure, elapsed};

/// How long a run waits for another one that is building.
const LOCK_WAIT: Duration = Duration::from_secs(2 * 60 * 60);
/// How often it looks.
const LOCK_POLL: Duration = Duration::from_millis(500);
/// How often it says that it still waits.
const LOCK_SAY_EVERY: Duration = Duration::from_secs(30);

/// The peers cache: `$ADIT_PEERS`, else `$XDG_CACHE_HOME/adit/peers`, else `~/.cache/adit/peers`.
pub(crate) struct Cache(PathBuf);

impl Cache {
    /// Finds the folder and makes what stands in it.
    pub(crate) fn open() -> Result<Self, Failure> {
        let root = place().ok_or("cannot tell where to keep the peers: set ADIT_PEERS to a folder")?;
        let root = std::path::absolute(&root).map_err(|e| format!("{}: {e}", root.display()))?;
        for folder in ["bin", "build", "logs", "stamps"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(|e| {
                format!(
                    "cannot make {}: {e}; set ADIT_PEERS to a folder you can write",
                    path.display()
                )
            })?;
        }
        Ok(Self(root))
    }

    pub(crate) fn root(&self) -> &Path {
        &self.0
    }

    /// Where the programs are.
    pub(crate) fn bin(&self) -> PathBuf {
        self.0.join("bin")
    }

    /// A build tree, kept so that an interrupted build goes on.
    pub(crate) fn build(&self, name: &str) -> PathBuf {
        self.0.join("build").join(name)
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.0.join("logs").join(format!("{name}.log"))
    }

    /// Whether the stamp holds this recipe and every program is there.
    pub(super) fn ready(&self, peer: &Peer) -> bool {
        let stamped = fs::read_to_string(self.stamp_path(peer)).is_ok_and(|text| text == peer.recipe);
        stamped
            && peer
                .programs
                .iter()
                .all(|program| self.bin().join(program).is_file())
    }

    /// Writes the stamp last and at once, so that a crash never leaves a stamp without programs.
    pub(super) fn stamp(&self, peer: &Peer) -> Result<(), Failure> {
        if let Some(lost) = peer
            .programs
            .iter()
            .find(|program| !self.bin().join(program).is_file())
        {
            return Err(format!(
                "{}: the build ended well but left no `{lost}`",
                peer.name
            ));
        }
        let (path, fresh) = (self.stamp_path(peer), self.stamp_path(peer).with_extension("new"));
        fs::write(&fresh, &peer.recipe)
            .and_then(|()| fs::rename(&fresh, &path))
            .map_err(|e| format!("{}: {e}", path.display()))
    }

    pub(super) fn unstamp(&self, peer: &Peer) -> Result<(), Failure> {
        match fs::remove_file(self.stamp_path(peer)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(format!("{}: {e}", self.stamp_path(peer).display()))
            }
            _ => Ok(()),
        }
    }

    fn stamp_path(&self, peer: &Peer) -> PathBuf {
        self.0.join("stamps").join(peer.name)
    }

    /// Waits until no other run builds. The kernel frees the lock when its holder dies.
    pub(crate) fn lock(&self) -> Result<File, Failure> {
        let path = self.0.join("lock");
        let wrong = |e: &dyn std::fmt::Display| format!("cannot lock {}: {e}", path.display());
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|e| wrong(&e))?;
        let started = Instant::now();
        let mut said: Option<Instant> = None;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(e)) => return Err(wrong(&e)),
                Err(TryLockError::WouldBlock) if started.elapsed() > LOCK_WAIT => {
                    return Err(wrong(&"another run holds it for too long; is it stuck?"));
                }
                Err(TryLockError::WouldBlock) => {
                    if said.is_none_or(|at| at.elapsed() > LOCK_SAY_EVERY) {
                        println!(
                            "[{}] peers: another run is building, waiting for it",
                            elapsed(started)
                        );
                        said = Some(Instant::now());
                    }
                    std::thread::sleep(LOCK_POLL);
                }
            }
        }
    }
}

fn place() -> Option<PathBuf> {
    let set = |name| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("ADIT_PEERS")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("adit/peers")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/adit/peers")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(root: &Path) -> Cache {
        for folder in ["bin", "build", "logs", "stamps"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        Cache(root.to_owned())
    }

    fn peer(recipe: &str) -> Peer {
        Peer {
            name: "peer",
            recipe: recipe.into(),
            programs: &["program"],
            build: |_, _| Ok(()),
        }
    }

    #[test]
    fn a_peer_is_ready_with_stamp_program_and_the_same_recipe() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        assert!(!cache.ready(&peer("1")));
        assert!(cache.stamp(&peer("1")).is_err(), "a stamp without its program");
        fs::write(cache.bin().join("program"), "").unwrap();
        assert!(!cache.ready(&peer("1")));
        cache.stamp(&peer("1")).unwrap();
        assert!(cache.ready(&peer("1")));
        assert!(!cache.ready(&peer("2")));
        cache.unstamp(&peer("1")).unwrap();
        cache.unstamp(&peer("1")).unwrap();
        assert!(!cache.ready(&peer("1")));
    }

    #[test]
    fn the_lock_has_one_holder_and_dies_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        let held = cache.lock().unwrap();
        let second = File::open(folder.path().join("lock")).unwrap();
        assert!(matches!(second.try_lock(), Err(TryLockError::WouldBlock)));
        drop(held);
        assert!(second.try_lock().is_ok());
    }
}
