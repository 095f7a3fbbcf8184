//! The authority: one secret for each suite, by which everything else is signed.

use std::io::ErrorKind;
use std::path::Path;

use adit_noise::{AuthorityKey, AuthorityKeypair, AuthorityPublicKey, draft2022};
use zeroize::Zeroizing;

use super::suite::Suite;
use super::{bundle, files, folder};
use crate::exit::Exit;

/// Seconds of a day.
pub(super) const DAY_S: u32 = 86_400;

/// The secrets of both suites. They sign; they are not printed.
pub struct Authority {
    pub(super) current: adit_noise::Authority,
    pub(super) draft2022: draft2022::Authority,
}

/// The public keys of both suites: what devices are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKeys {
    /// For the current handshake.
    pub current: AuthorityPublicKey,
    /// For that of the 2022 draft.
    pub draft2022: draft2022::AuthorityPublicKey,
}

impl PublicKeys {
    /// The key of one suite.
    #[must_use]
    pub fn of(&self, suite: Suite) -> AuthorityKey {
        match suite {
            Suite::Current => self.current.into(),
            Suite::Draft2022 => self.draft2022.into(),
        }
    }
}

impl Authority {
    /// The public halves.
    #[must_use]
    pub fn public(&self) -> PublicKeys {
        PublicKeys {
            current: self.current.public(),
            draft2022: self.draft2022.public(),
        }
    }

    /// The authority of a data folder, whose certificates are valid for so many days; what is missing of it is made.
    ///
    /// # Errors
    /// When a file cannot be read or made, is no key, or is open to others.
    pub fn of_data(data: &Path, days: u32) -> Result<Self, Exit> {
        for suite in Suite::ALL {
            add(&folder(data), suite, &*fresh()?)?;
        }
        Self::read(&folder(data), days)?
            .ok_or_else(|| Exit::failed("the authority key vanished while it was made"))
    }

    /// The authority in a folder, whose certificates are valid for so many days; `None` when a secret of it is missing.
    ///
    /// # Errors
    /// When a file cannot be read, is no key, or is open to others.
    pub fn read(folder: &Path, days: u32) -> Result<Option<Self>, Exit> {
        let read = |suite: Suite| files::secret(&folder.join(suite.authority_file()));
        let (Some(current), Some(draft2022)) = (read(Suite::Current)?, read(Suite::Draft2022)?) else {
            return Ok(None);
        };
        let damaged = |suite: Suite| files::damaged(&folder.join(suite.authority_file()));
        let current = AuthorityKeypair::from_secret(*current).map_err(|_| damaged(Suite::Current))?;
        let draft2022 = draft2022::AuthorityKeypair::from_secret(*draft2022);
        let draft2022 = draft2022.map_err(|_| damaged(Suite::Draft2022))?;
        let valid_for_s = days.saturating_mul(DAY_S);
        Ok(Some(Self {
            current: adit_noise::Authority::new(current, valid_for_s),
            draft2022: draft2022::Authority::new(draft2022, valid_for_s),
        }))
    }

    /// Makes a new authority in a data folder. Without `force` only what is missing of one is made, and a whole one is
    /// not touched.
    ///
    /// # Errors
    /// When there is one already, or files fail.
    pub fn renew(data: &Path, force: bool) -> Result<PublicKeys, Exit> {
        let folder = folder(data);
        let installed = bundle::path(data);
        let whole = Self::read(&folder, 0)?.is_some();
        if !force && (whole || installed.exists()) {
            let path = if whole {
                folder.join(Suite::Current.authority_file())
            } else {
                installed
            };
            return Err(Exit::failed(format!("{} exists", path.display())).help(
                "with --force the authority is replaced for good: every device and proxy that has the old key in its \
                 pool address will refuse this pool until it is given the new one",
            ));
        }
        for suite in Suite::ALL {
            if force {
                replace(&folder, suite, &*fresh()?)?;
            } else {
                add(&folder, suite, &*fresh()?)?;
            }
        }
        match std::fs::remove_file(&installed) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(files::unwritable(&installed, &error)),
            _ => Self::of_data(data, 0).map(|authority| authority.public()),
        }
    }

    /// Makes a new authority in a folder of its own, which may be a memory stick.
    ///
    /// # Errors
    /// When one is there already, or files fail.
    pub fn new_in(folder: &Path) -> Result<PublicKeys, Exit> {
        for suite in Suite::ALL {
            let path = folder.join(suite.authority_file());
            if path.exists() {
                return Err(Exit::failed(format!("{} exists", path.display()))
                    .help("an authority is never overwritten; name an empty folder with --out DIR"));
            }
        }
        for suite in Suite::ALL {
            let path = folder.join(suite.authority_file());
            files::store(&path, &files::encode(&*fresh()?), files::SECRET, false)
                .map_err(|error| files::unwritable(&path, &error))?;
        }
        let made = Self::read(folder, 0)?;
        made.map(|authority| authority.public())
            .ok_or_else(|| Exit::failed("the authority vanished while it was made"))
    }
}

/// Adds a secret where there is none. Another process may be faster: its key is the key.
fn add(folder: &Path, suite: Suite, secret: &[u8; 32]) -> Result<(), Exit> {
    let path = folder.join(suite.authority_file());
    if path.exists() {
        return Ok(());
    }
    match files::store(&path, &files::encode(secret), files::SECRET, false) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(files::unwritable(&path, &error)),
        _ => Ok(()),
    }
}

fn replace(folder: &Path, suite: Suite, secret: &[u8; 32]) -> Result<(), Exit> {
    let path = folder.join(suite.authority_file());
    files::store(&path, &files::encode(secret), files::SECRET, true)
        .map_err(|error| files::unwritable(&path, &error))
}

/// Random bytes that are a secret of either suite: one in 2^128 is not.
pub(super) fn fresh() -> Result<Zeroizing<[u8; 32]>, Exit> {
    for _ in 0..2 {
        let secret = Zeroizing::new(adit_net::random::bytes::<32>());
        if AuthorityKeypair::from_secret(*secret).is_ok() {
            return Ok(secret);
        }
    }
    Err(Exit::failed(
        "the operating system's random numbers are not random",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_first_start_makes_the_keys_and_later_starts_keep_them() {
        let data = tempfile::tempdir().unwrap();
        let first = Authority::of_data(data.path(), 1).unwrap().public();
        assert_eq!(Authority::of_data(data.path(), 1).unwrap().public(), first);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        for suite in Suite::ALL {
            assert_eq!(mode(&folder(data.path()).join(suite.authority_file())), 0o600);
        }
        assert_eq!(mode(&folder(data.path())), 0o700);
        let left = fs::read_dir(folder(data.path())).unwrap().count();
        assert_eq!(left, 2, "no draft is left");
    }

    /// A folder of an earlier version has only the current suite's key: it is kept, the other one joins it.
    #[test]
    fn an_earlier_folder_keeps_its_key() {
        let data = tempfile::tempdir().unwrap();
        let before = Authority::of_data(data.path(), 1).unwrap().public();
        fs::remove_file(folder(data.path()).join("authority-draft2022.secret")).unwrap();
        assert!(Authority::read(&folder(data.path()), 1).unwrap().is_none());
        let after = Authority::renew(data.path(), false).unwrap();
        assert_eq!(after.current, before.current);
        assert_ne!(after.draft2022, before.draft2022);
    }

    #[test]
    fn keys_are_replaced_only_by_force_and_then_both() {
        let data = tempfile::tempdir().unwrap();
        let first = Authority::renew(data.path(), false).unwrap();
        let refused = Authority::renew(data.path(), false).err().unwrap();
        assert!(refused.hint.contains("will refuse this pool"), "{refused}");
        assert_eq!(Authority::of_data(data.path(), 1).unwrap().public(), first);
        let second = Authority::renew(data.path(), true).unwrap();
        assert!(second.current != first.current && second.draft2022 != first.draft2022);
    }

    #[test]
    fn an_open_or_damaged_secret_is_refused_without_being_shown() {
        for suite in Suite::ALL {
            let data = tempfile::tempdir().unwrap();
            Authority::of_data(data.path(), 1).unwrap();
            let path = folder(data.path()).join(suite.authority_file());
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
            let open = Authority::of_data(data.path(), 1).err().unwrap();
            assert!(
                open.message.contains("mode 640") && open.hint.starts_with("chmod 600"),
                "{open}"
            );
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let secret = fs::read_to_string(&path).unwrap();
            fs::write(&path, &secret[..20]).unwrap();
            let damaged = Authority::of_data(data.path(), 1).err().unwrap();
            assert!(!damaged.to_string().contains(&secret[..8]), "{damaged}");
        }
    }
}
