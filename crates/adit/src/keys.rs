//! The authority key: a secret in a file of its own, and the command that makes and shows it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use adit_noise::{AuthorityKeypair, AuthorityPublicKey, KeyError, draft2022};
use zeroize::Zeroizing;

use crate::cli::KeysAction;
use crate::config::Settings;
use crate::exit::Exit;

/// Folder of the secrets in the data folder.
const FOLDER: &str = "keys";
/// The authority's secret in it.
const AUTHORITY: &str = "authority.secret";
/// That of the 2022 draft.
const AUTHORITY_DRAFT2022: &str = "authority-draft2022.secret";
/// The pair of an authority, whichever suite it is for.
trait Pair: Sized {
    /// Its file in [`FOLDER`].
    const FILE: &str;
    fn from_secret(secret: [u8; 32]) -> Result<Self, KeyError>;
    fn from_text(text: &str) -> Result<Self, KeyError>;
    fn text(&self) -> Zeroizing<String>;
}

impl Pair for AuthorityKeypair {
    const FILE: &str = AUTHORITY;
    fn from_secret(secret: [u8; 32]) -> Result<Self, KeyError> {
        Self::from_secret(secret)
    }
    fn from_text(text: &str) -> Result<Self, KeyError> {
        Self::from_secret_text(text)
    }
    fn text(&self) -> Zeroizing<String> {
        self.secret_text()
    }
}

impl Pair for draft2022::AuthorityKeypair {
    const FILE: &str = AUTHORITY_DRAFT2022;
    fn from_secret(secret: [u8; 32]) -> Result<Self, KeyError> {
        Self::from_secret(secret)
    }
    fn from_text(text: &str) -> Result<Self, KeyError> {
        Self::from_secret_text(text)
    }
    fn text(&self) -> Zeroizing<String> {
        self.secret_text()
    }
}

/// No secret file is longer, in bytes.
const FILE_BYTES_MAX: u64 = 1024;

/// `adit keys`
///
/// # Errors
/// When there is no key to show, or one is there that would be overwritten, or files fail.
pub fn run(settings: &Settings, action: KeysAction, json: bool) -> Result<(), Exit> {
    let public = match action {
        KeysAction::New { force } => renew(&settings.data, force)?.public(),
        KeysAction::Show => match read::<AuthorityKeypair>(&path(&settings.data))? {
            Some(pair) => pair.public(),
            None => {
                return Err(Exit::failed(format!(
                    "there is no authority key in {}",
                    settings.data.display()
                ))
                .help("`adit keys new` makes one; so does the first start of a pool"));
            }
        },
    };
    println!("{}", text(settings, public, json));
    Ok(())
}

/// What `adit keys` prints.
fn text(settings: &Settings, public: AuthorityPublicKey, json: bool) -> String {
    let url = url(settings, public);
    if json {
        return serde_json::json!({ "current": { "key": public.to_string(), "url": url } }).to_string();
    }
    format!("key  {public}\nurl  {url}")
}

fn url(settings: &Settings, public: AuthorityPublicKey) -> String {
    format!("stratum2+tcp://{}/{public}", settings.listen.addr)
}

/// The authority of a data folder; the first start makes it.
///
/// # Errors
/// When the file cannot be read or made, is no key, or is open to others.
pub fn authority(data: &Path) -> Result<AuthorityKeypair, Exit> {
    kept(data)
}

/// The same for the suite of the 2022 draft, in a file of its own.
///
/// # Errors
/// As [`authority`].
pub fn authority_draft2022(data: &Path) -> Result<draft2022::AuthorityKeypair, Exit> {
    kept(data)
}

fn kept<P: Pair>(data: &Path) -> Result<P, Exit> {
    let path = data.join(FOLDER).join(P::FILE);
    if let Some(pair) = read(&path)? {
        return Ok(pair);
    }
    match store(&path, &fresh::<P>()?, false) {
        // Another process was faster: its key is the key.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other.map_err(|error| unwritable(&path, &error))?,
    }
    read(&path)?.ok_or_else(|| Exit::failed("the authority key vanished while it was made"))
}

/// Makes a new authority.
fn renew(data: &Path, force: bool) -> Result<AuthorityKeypair, Exit> {
    let path = path(data);
    let pair = fresh::<AuthorityKeypair>()?;
    store(&path, &pair, force).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Exit::failed(format!("{} exists", path.display())).help(
            "with --force it is replaced for good: every device and proxy that has the old key in its pool address \
             will refuse this pool until it is given the new one",
        ),
        _ => unwritable(&path, &error),
    })?;
    Ok(pair)
}

fn path(data: &Path) -> PathBuf {
    data.join(FOLDER).join(AUTHORITY)
}

fn fresh<P: Pair>() -> Result<P, Exit> {
    // One in 2^128 secrets is out of range.
    for _ in 0..2 {
        let secret = Zeroizing::new(adit_net::random::bytes::<32>());
        if let Ok(pair) = P::from_secret(*secret) {
            return Ok(pair);
        }
    }
    Err(Exit::failed(
        "the operating system's random numbers are not random",
    ))
}

/// Writes the secret to a file that only its owner can read: whole or not at all, and never over
/// another one unless `replace`.
fn store<P: Pair>(path: &Path, pair: &P, replace: bool) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let draft = path.with_extension(format!("draft{}", std::process::id()));
    let placed = write(&draft, pair).and_then(|()| {
        if replace {
            fs::rename(&draft, path)
        } else {
            fs::hard_link(&draft, path)
        }
    });
    // Gone already after a rename; after anything else it must not stay.
    let _ = fs::remove_file(&draft);
    placed?;
    File::open(folder)?.sync_all()
}

fn write<P: Pair>(draft: &Path, pair: &P) -> io::Result<()> {
    let _ = fs::remove_file(draft);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(draft)?;
    let text = pair.text();
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

/// Reads the secret; `None` when there is none.
fn read<P: Pair>(path: &Path) -> Result<Option<P>, Exit> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| unreadable(path, &error))?,
    };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Exit::failed(format!(
            "{} is a secret that others can read (mode {mode:03o})",
            path.display()
        ))
        .help(format!(
            "chmod 600 {0}; if others may have read it, make a new one with `adit keys new --force`",
            path.display()
        )));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(damaged(path));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(|error| unreadable(path, &error))?);
    P::from_text(text.trim()).map(Some).map_err(|_| damaged(path))
}

fn unreadable(path: &Path, error: &io::Error) -> Exit {
    Exit::failed(format!("cannot read {}: {error}", path.display()))
        .help("run as the user who owns the data folder, or name another one with --data")
}

fn unwritable(path: &Path, error: &io::Error) -> Exit {
    Exit::failed(format!("cannot write {}: {error}", path.display()))
        .help("the data folder must be yours to write; name another one with --data")
}

fn damaged(path: &Path) -> Exit {
    // What stands in the file is not shown: it may be most of a secret.
    Exit::failed(format!("{} is not an authority secret", path.display()))
        .help("put the backup of it back, or make a new one with `adit keys new --force`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(data: &Path) -> Settings {
        Settings::with(&[("data", data.to_str().unwrap())]).unwrap()
    }

    #[test]
    fn the_first_start_makes_the_key_and_later_starts_keep_it() {
        let data = tempfile::tempdir().unwrap();
        let first = authority(data.path()).unwrap().public();
        assert_eq!(authority(data.path()).unwrap().public(), first);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path(data.path())), 0o600);
        assert_eq!(mode(&data.path().join(FOLDER)), 0o700);
        assert_eq!(
            fs::read_dir(data.path().join(FOLDER)).unwrap().count(),
            1,
            "no draft is left"
        );
    }

    #[test]
    fn each_suite_has_a_key_of_its_own() {
        let data = tempfile::tempdir().unwrap();
        let first = authority_draft2022(data.path()).unwrap().public();
        assert_eq!(authority_draft2022(data.path()).unwrap().public(), first);
        let current = authority(data.path()).unwrap().public();
        assert_ne!(current.to_bytes(), first.to_bytes());
        assert_eq!(authority_draft2022(data.path()).unwrap().public(), first);
    }

    #[test]
    fn a_key_is_replaced_only_by_force() {
        let data = tempfile::tempdir().unwrap();
        let first = renew(data.path(), false).unwrap().public();
        let refused = renew(data.path(), false).err().unwrap();
        assert!(refused.hint.contains("will refuse this pool"), "{refused}");
        assert_eq!(authority(data.path()).unwrap().public(), first);
        assert_ne!(renew(data.path(), true).unwrap().public(), first);
    }

    #[test]
    fn an_open_or_damaged_secret_is_refused_without_being_shown() {
        let data = tempfile::tempdir().unwrap();
        authority(data.path()).unwrap();
        let path = path(data.path());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let open = authority(data.path()).err().unwrap();
        assert!(
            open.message.contains("mode 640") && open.hint.starts_with("chmod 600"),
            "{open}"
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let secret = fs::read_to_string(&path).unwrap();
        fs::write(&path, &secret[..20]).unwrap();
        let damaged = authority(data.path()).err().unwrap();
        assert!(!damaged.to_string().contains(&secret[..8]), "{damaged}");
    }

    #[test]
    fn show_prints_the_public_half_and_the_pools_address() {
        let data = tempfile::tempdir().unwrap();
        let settings = settings(data.path());
        assert!(
            run(&settings, KeysAction::Show, true).is_err(),
            "there is none yet"
        );
        let public = authority(data.path()).unwrap().public();
        let shown: serde_json::Value = serde_json::from_str(&text(&settings, public, true)).unwrap();
        assert_eq!(shown["current"]["key"], public.to_string());
        assert_eq!(
            shown["current"]["url"],
            format!("stratum2+tcp://127.0.0.1:3333/{public}")
        );
    }
}
