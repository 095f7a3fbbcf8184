//! `stratum2+tcp://host[:port]/KEY` (spec 4.7, seeds 3.3.6): where a server is and which authority
//! vouches for it.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use adit_noise::AuthorityKey;

use crate::local;

/// The scheme of Stratum V2 over TCP.
pub const SCHEME: &str = "stratum2+tcp://";
/// The port when a URL names none.
pub const PORT_DEFAULT: u16 = 3333;

/// Where a server is and which authority vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Host name or IP address, an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The authority whose certificate the server must show, and by its kind the handshake to speak; absent only where
    /// the URL has no path.
    pub key: Option<AuthorityKey>,
}

/// Why a text is no such URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlError(String);

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; a URL looks like {SCHEME}pool.example:3333/9bXiEd8boQVhq7Wdd...",
            self.0
        )
    }
}

impl std::error::Error for UrlError {}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| {
            UrlError(match text.split_once("://") {
                Some((scheme, _)) => format!("the scheme {scheme:?} is not one adit speaks here"),
                None => "the scheme is missing".into(),
            })
        })?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = split_host_port(authority)?;
        let key = match path.trim_end_matches('/') {
            "" => None,
            key => Some(
                key.parse()
                    .map_err(|error| UrlError(format!("the key {key:?}: {error}")))?,
            ),
        };
        Ok(Self { host, port, key })
    }
}

fn split_host_port(authority: &str) -> Result<(String, u16), UrlError> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest
            .split_once(']')
            .ok_or_else(|| UrlError("the IPv6 address has no closing bracket".into()))?;
        if host.parse::<Ipv6Addr>().is_err() {
            return Err(UrlError(format!("{host:?} is not an IPv6 address")));
        }
        match port.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if port.is_empty() => (host, None),
            None => return Err(UrlError(format!("unexpected {port:?} after the address"))),
        }
    } else {
        match authority.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err(UrlError("an IPv6 address stands in brackets, [::1]:3333".into()));
            }
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let host_ok = !host.is_empty()
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':'));
    if !host_ok {
        return Err(UrlError(format!("{host:?} is not a host name or address")));
    }
    let port = match port {
        None => PORT_DEFAULT,
        Some(text) => match text.parse() {
            Ok(port) if port != 0 => port,
            _ => {
                return Err(UrlError(format!(
                    "the port {text:?} is not a number from 1 to 65535"
                )));
            }
        },
    };
    Ok((host.to_owned(), port))
}

impl Url {
    /// Is the host this machine, where nobody else gets?
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self.host.parse() {
            Ok(address) => local::is_loopback(address),
            Err(_) => self.host == "localhost",
        }
    }

    /// Is the host a loopback or private address, where a connection without key may be allowed?
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self.host.parse() {
            Ok(address) => local::is_private(address),
            Err(_) => self.host == "localhost",
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{SCHEME}[{}]:{}", self.host, self.port)?;
        } else {
            write!(f, "{SCHEME}{}:{}", self.host, self.port)?;
        }
        self.key.as_ref().map_or(Ok(()), |key| write!(f, "/{key}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAFT: &str = "u95GEReVMjK6k5YqiSFNqqTnKU4ypU2Wm8awa6tmbmDmk1bWt";
    const KEY: &str = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";

    #[test]
    fn text_forms_round_trip() {
        for text in [
            format!("stratum2+tcp://pool.example:3336/{KEY}"),
            format!("stratum2+tcp://[::1]:1/{KEY}"),
            format!("stratum2+tcp://[::1]:1/{DRAFT}"),
            format!("stratum2+tcp://pool.example:3336/{DRAFT}"),
            "stratum2+tcp://127.0.0.1:65535".to_owned(),
        ] {
            assert_eq!(text.parse::<Url>().unwrap().to_string(), text);
        }
        assert_eq!(
            format!("{SCHEME}h/{KEY}").parse::<Url>().unwrap().port,
            PORT_DEFAULT
        );
        assert_eq!(
            format!("{SCHEME}[fd00::1]/{KEY}").parse::<Url>().unwrap().host,
            "fd00::1"
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (text, says) in [
            ("pool.example:3333", "scheme is missing"),
            ("stratum+tcp://h:1", "\"stratum+tcp\""),
            ("stratum2+tcp://h:99999/", "65535"),
            ("stratum2+tcp://h:0/", "65535"),
            ("stratum2+tcp://::1:3333/", "brackets"),
            ("stratum2+tcp://[::1/", "closing bracket"),
            ("stratum2+tcp:///x", "host name"),
            ("stratum2+tcp://a b:1/", "host name"),
            ("stratum2+tcp://h:1/garbage", "the key"),
            (
                "stratum2+tcp://h:1/9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXi",
                "checksum is wrong",
            ),
            (
                "stratum2+tcp://h:1/u95GEReVMjK6k5YqiSFNqqTnKU4ypU2Wm8awa6tmbmDmk1bWu",
                "checksum is wrong",
            ),
        ] {
            let error = text.parse::<Url>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn local_means_loopback_or_private() {
        for (host, local) in [
            ("127.0.0.1", true),
            ("localhost", true),
            ("10.1.2.3", true),
            ("8.8.8.8", false),
            ("::1", true),
            ("fd00::1", true),
            ("::ffff:10.0.0.1", true),
            ("2001:db8::1", false),
            ("p.example", false),
        ] {
            let url = Url {
                host: host.into(),
                port: 1,
                key: None,
            };
            assert_eq!(url.is_local(), local, "{host}");
        }
    }
}
