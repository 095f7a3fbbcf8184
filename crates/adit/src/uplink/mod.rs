//! Between our miners and somebody else's pools: the connections upwards, and which of them is worked for.
//!
//! [`supervisor`] decides; [`Lines`] makes and ends connections on its word; [`mining`] is a mining connection with one
//! extended channel, [`declaring`] a job declaration connection. Whoever stands on top (the job negotiator, a proxy) owns
//! the supervisor and one task: connections are tasks of their own, which report to it and take its commands over bounded
//! channels.

mod commands;
pub mod declaring;
pub mod lines;
pub mod mining;
pub mod supervisor;

use std::fmt;
use std::str::FromStr;

use adit_net::Url;

pub use lines::{Facts, Lines, Report, Said};
pub use supervisor::Cause;

/// Bytes of the upstream's extranonce that are shared out below.
pub const BRANCH_BYTES: usize = 8;

/// One upstream as it is configured: `URL[,jds=HOST:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The pool.
    pub url: Url,
    /// Where jobs are declared, when it is not the pool's own port. The key is the pool's.
    pub jds: Option<(String, u16)>,
}

impl Upstream {
    /// What may be given.
    pub const EXPECTED: &'static str = "stratum2+tcp://HOST:PORT/KEY, with ,jds=HOST:PORT where jobs are declared on \
         another port";

    /// Where jobs are declared.
    #[must_use]
    pub fn jds_url(&self) -> Url {
        match &self.jds {
            None => self.url.clone(),
            Some((host, port)) => Url {
                host: host.clone(),
                port: *port,
                key: self.url.key,
            },
        }
    }
}

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let url: Url = parts
            .next()
            .unwrap_or_default()
            .trim()
            .parse()
            .map_err(|error| format!("{} ({error})", Self::EXPECTED))?;
        let mut jds = None;
        for part in parts {
            match part.trim().split_once('=') {
                Some(("jds", place)) if jds.is_none() => jds = Some(host_port(place)?),
                _ => return Err(format!("{}; {part:?} is neither", Self::EXPECTED)),
            }
        }
        Ok(Self { url, jds })
    }
}

fn host_port(place: &str) -> Result<(String, u16), String> {
    // The same rules as for a URL, which must name its port here.
    let wrong = || format!("{}; {place:?} is no HOST:PORT", Upstream::EXPECTED);
    if !place.contains(':') || place.contains('/') {
        return Err(wrong());
    }
    let url: Url = format!("{}{place}", adit_net::url::SCHEME)
        .parse()
        .map_err(|_| wrong())?;
    Ok((url.host, url.port))
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)?;
        match &self.jds {
            Some((host, port)) if host.contains(':') => write!(f, ",jds=[{host}]:{port}"),
            Some((host, port)) => write!(f, ",jds={host}:{port}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";

    #[test]
    fn an_upstream_is_a_url_and_perhaps_a_place_to_declare_at() {
        for text in [
            format!("stratum2+tcp://pool.example:3333/{KEY}"),
            format!("stratum2+tcp://pool.example:3333/{KEY},jds=pool.example:3334"),
            format!("stratum2+tcp://[::1]:3333/{KEY},jds=[::1]:3334"),
        ] {
            let upstream: Upstream = text.parse().unwrap();
            assert_eq!(upstream.to_string(), text);
            assert_eq!(upstream.jds_url().key, upstream.url.key);
        }
        let own: Upstream = format!("stratum2+tcp://a:1/{KEY}").parse().unwrap();
        assert_eq!(own.jds_url(), own.url);
    }

    #[test]
    fn mistakes_are_named() {
        for text in [
            "pool.example:3333",
            "stratum2+tcp://a:1,jds=b",
            "stratum2+tcp://a:1,jds=b:0",
            "stratum2+tcp://a:1,jds=b:1,jds=c:1",
            "stratum2+tcp://a:1,weight=3",
        ] {
            let error = text.parse::<Upstream>().unwrap_err();
            assert!(error.contains("jds=HOST:PORT"), "{text}: {error}");
        }
    }
}
