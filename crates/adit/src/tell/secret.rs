//! Secrets of the ways: never settings themselves, but files of ours alone or variables of the environment.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::exit::Exit;

/// No secret is longer, in bytes.
const BYTES_MAX: u64 = 4096;

/// Where a secret is to be had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Secret {
    /// Nowhere.
    #[default]
    None,
    /// In a file that nobody else can read.
    File(PathBuf),
    /// In a variable of the environment.
    Environment(String),
}

impl Secret {
    /// Reads what stands in a configuration.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_name =
            |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        match (text, text.strip_prefix("env:")) {
            ("", _) => Some(Self::None),
            (_, Some(name)) if is_name(name) => Some(Self::Environment(name.to_owned())),
            (_, Some(_)) => None,
            // A URL or a token in the place of its file would be shown by whoever shows settings.
            (path, None) if path.contains("://") => None,
            (path, None) => Some(Self::File(path.into())),
        }
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("nothing"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "env:{name}"),
        }
    }
}

/// The first and the second line of a secret, the second empty where there is none; nothing where there is no secret.
pub(super) fn lines(key: &str, secret: &Secret) -> Result<Option<[String; 2]>, Exit> {
    let wrong = |what: String, right: &str| Exit::usage(format!("{key}: {secret}: {what}")).help(right);
    let text = match secret {
        Secret::None => return Ok(None),
        Secret::Environment(name) => std::env::var(name).map_err(|_| {
            wrong(
                "the variable is not set".into(),
                "set it for the service, or name a file",
            )
        })?,
        Secret::File(path) => {
            let unreadable =
                |error: std::io::Error| wrong(error.to_string(), "name a file that this user can read");
            let about = std::fs::metadata(path).map_err(unreadable)?;
            if about.permissions().mode() & 0o077 != 0 {
                let right = format!("chmod 600 {}", path.display());
                return Err(wrong("others can read it".into(), &right));
            }
            if about.len() > BYTES_MAX {
                return Err(wrong(
                    format!("{} bytes", about.len()),
                    "a secret has at most 4096",
                ));
            }
            std::fs::read_to_string(path).map_err(unreadable)?
        }
    };
    let mut lines = text.lines().map(|line| line.trim().to_owned());
    let both = [lines.next().unwrap_or_default(), lines.next().unwrap_or_default()];
    match both[0].is_empty() {
        true => Err(wrong(
            "its first line is empty".into(),
            "docs/operations.md says what it is to hold",
        )),
        false => Ok(Some(both)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_named_and_not_given() {
        assert_eq!(Secret::parse(""), Some(Secret::None));
        assert_eq!(
            Secret::parse("env:HOOK"),
            Some(Secret::Environment("HOOK".into()))
        );
        assert_eq!(
            Secret::parse("/etc/adit/hook"),
            Some(Secret::File("/etc/adit/hook".into()))
        );
        for wrong in ["https://ntfy.sh/topic", "env:", "env:A B"] {
            assert_eq!(Secret::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hook");
        std::fs::write(&path, "https://h/x\n token \nmore").unwrap();
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let secret = Secret::File(path.clone());
        mode(0o644);
        let refused = lines("notify.webhook", &secret).unwrap_err().to_string();
        assert!(
            refused.contains("notify.webhook") && refused.contains("chmod 600"),
            "{refused}"
        );
        assert!(!refused.contains("https://h/x"));
        mode(0o600);
        assert_eq!(
            lines("k", &secret).unwrap(),
            Some(["https://h/x".into(), "token".into()])
        );
        assert_eq!(lines("k", &Secret::None).unwrap(), None);
        std::fs::write(&path, "\n").unwrap();
        assert!(lines("k", &secret).is_err());
        assert!(lines("k", &Secret::Environment("ADIT_NO_SUCH_VARIABLE".into())).is_err());
    }
}
