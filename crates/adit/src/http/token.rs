//! The secret that an operator shows to change something: a file of the data folder, mode 0600.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use adit_net::random;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::exit::Exit;

/// Its name in the data folder.
pub const FILE: &str = "admin.token";
/// Bytes of chance in a token that we make.
const RANDOM_BYTES: usize = 32;
/// No token is shorter, nor longer.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=256;

/// The token of a data folder.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(***)")
    }
}

impl Token {
    /// Reads the token of a data folder; makes one where there is none.
    ///
    /// # Errors
    /// When others can read it, or it cannot be one.
    pub fn of_data(data: &Path) -> Result<Self, Exit> {
        let path = data.join(FILE);
        let failed = |error: io::Error| {
            Exit::failed(format!("cannot use {}: {error}", path.display()))
                .help("adit must be able to read and write in its data folder")
        };
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let bytes: [u8; RANDOM_BYTES] = random::bytes();
                let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                let mut options = OpenOptions::new();
                let mut file = options
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&path)
                    .map_err(failed)?;
                writeln!(file, "{text}").map_err(failed)?;
                Ok(Self(Zeroizing::new(text)))
            }
            Err(error) => Err(failed(error)),
            Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
                Err(
                    Exit::failed(format!("{} is a secret that others can read", path.display())).help(
                        format!("chmod 600 {0}, or remove it for a new one", path.display()),
                    ),
                )
            }
            Ok(_) => {
                let text = Zeroizing::new(fs::read_to_string(&path).map_err(failed)?);
                let text = Zeroizing::new(text.trim().to_owned());
                let right = LENGTHS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
                match right {
                    true => Ok(Self(text)),
                    false => Err(Exit::failed(format!("{} holds no token", path.display())).help(
                        "give it 16 to 256 printable characters without spaces, or remove it for a new one",
                    )),
                }
            }
        }
    }

    /// Whether somebody showed this token. How much of it was right cannot be told from the time that this takes.
    pub(super) fn is(&self, shown: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(shown).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let token = Token::of_data(folder.path()).unwrap();
        let path = folder.path().join(FILE);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.trim().len(), 64);
        assert!(Token::of_data(folder.path()).unwrap().is(text.trim().as_bytes()));
        assert!(!token.is(b"") && !token.is(&text.trim().as_bytes()[1..]));
        assert!(!format!("{token:?}").contains(text.trim()));

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(
            Token::of_data(folder.path())
                .unwrap_err()
                .hint
                .contains("chmod 600")
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "short\n").unwrap();
        assert!(Token::of_data(folder.path()).is_err());
    }
}
