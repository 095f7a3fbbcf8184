//! Which pool is loaded, and what it speaks.

use std::fmt;
use std::str::FromStr;

use adit_net::Url;
use adit_net::url::{SCHEME, UrlError};

/// The scheme of Stratum V1 over TCP.
const SCHEME_V1: &str = "stratum+tcp://";

/// A pool of Stratum V2, or of V1: `stratum2+tcp://HOST:PORT/KEY` or `stratum+tcp://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Where it is, and its key.
    pub url: Url,
    /// Whether it speaks lines of Stratum V1.
    pub lines: bool,
}

impl From<Url> for Address {
    fn from(url: Url) -> Self {
        Self { url, lines: false }
    }
}

impl FromStr for Address {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        match text.strip_prefix(SCHEME_V1) {
            Some(rest) => {
                let url: Url = format!("{SCHEME}{rest}").parse()?;
                Ok(Self {
                    url: Url { key: None, ..url },
                    lines: true,
                })
            }
            None => text.parse::<Url>().map(Self::from),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lines {
            true => write!(f, "{}", self.url.to_string().replacen(SCHEME, SCHEME_V1, 1)),
            false => self.url.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_tells_what_is_spoken() {
        let old: Address = "stratum+tcp://127.0.0.1:3334".parse().unwrap();
        assert!(old.lines && old.url.port == 3334);
        assert_eq!(old.to_string(), "stratum+tcp://127.0.0.1:3334");
        let new: Address = "stratum2+tcp://127.0.0.1:3333".parse().unwrap();
        assert!(!new.lines);
        assert_eq!(new.to_string(), "stratum2+tcp://127.0.0.1:3333");
        assert!("http://127.0.0.1".parse::<Address>().is_err());
    }
}
