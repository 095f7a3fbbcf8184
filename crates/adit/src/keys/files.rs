//! Files of keys: written whole or not at all, secrets for their owner only, nothing of a secret ever shown.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use crate::exit::Exit;

/// No file of keys or certificates is longer, in bytes.
pub(super) const FILE_BYTES_MAX: u64 = 16 * 1024;
/// Mode of a secret.
pub(super) const SECRET: u32 = 0o600;
/// Mode of what everybody may read.
pub(super) const PUBLIC: u32 = 0o644;

/// Writes a file: whole or not at all, and never over another one unless `replace`.
pub(super) fn store(path: &Path, text: &str, mode: u32, replace: bool) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let draft = path.with_extension(format!("draft{}", std::process::id()));
    let placed = write(&draft, text, mode).and_then(|()| {
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

fn write(draft: &Path, text: &str, mode: u32) -> io::Result<()> {
    let _ = fs::remove_file(draft);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(draft)?;
    file.write_all(text.trim_end().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

/// Reads the 32 bytes of a secret, base58check; `None` when there is no such file.
pub(super) fn secret(path: &Path) -> Result<Option<Zeroizing<[u8; 32]>>, Exit> {
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
            "chmod 600 {}; if others may have read it, make a new one with `adit keys new --force`",
            path.display()
        )));
    }
    let text = Zeroizing::new(text(path)?);
    decode(text.trim()).map(Some).ok_or_else(|| damaged(path))
}

/// The text form of a secret.
pub(super) fn encode(secret: &[u8; 32]) -> Zeroizing<String> {
    Zeroizing::new(bs58::encode(secret).with_check().into_string())
}

/// Whether a text has the form of a secret.
pub(super) fn is_secret(text: &str) -> bool {
    decode(text).is_some()
}

fn decode(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    // Payload and checksum; a longer one is no secret of ours.
    let mut bytes = Zeroizing::new([0; 36]);
    let length = bs58::decode(text)
        .with_check(None)
        .onto(bytes.as_mut_slice())
        .ok()?;
    let mut secret = Zeroizing::new([0; 32]);
    secret.copy_from_slice(bytes.get(..32).filter(|_| length == 32)?);
    Some(secret)
}

/// Reads a short file of text.
pub(super) fn text(path: &Path) -> Result<String, Exit> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|error| unreadable(path, &error))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(Exit::failed(format!(
            "{} is longer than any file of keys",
            path.display()
        )));
    }
    Ok(text)
}

/// What changes when a file is written again: its time, its length and its place on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Option<(i64, i64, u64, u64)>);

impl Stamp {
    pub(super) fn of(path: &Path) -> Self {
        let known = fs::metadata(path).ok();
        Self(known.map(|file| (file.mtime(), file.mtime_nsec(), file.len(), file.ino())))
    }
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> Exit {
    Exit::failed(format!("cannot read {}: {error}", path.display()))
        .help("run as the user who owns the folder, or name another one with --data")
}

pub(super) fn unwritable(path: &Path, error: &io::Error) -> Exit {
    Exit::failed(format!("cannot write {}: {error}", path.display()))
        .help("the folder must be yours to write; name another one with --data")
}

pub(super) fn damaged(path: &Path) -> Exit {
    // What stands in the file is not shown: it may be most of a secret.
    Exit::failed(format!("{} is not a secret key", path.display()))
        .help("put the backup of it back, or make a new one with `adit keys new --force`")
}
