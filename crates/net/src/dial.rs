//! The way up to a server, with jittered back-off.

use std::fmt;
use std::io;
use std::time::Duration;

use adit_noise::LEEWAY_S_DEFAULT;
use tokio::net::TcpStream;

use crate::security::Keyless;
use crate::{Clock, Link, LinkError, Security, TlsDialling, Url, random};

/// How long the TCP connection may take, and the handshake again, unless the caller says otherwise.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// Why a server could not be reached.
#[derive(Debug)]
pub enum DialError {
    /// The host did not resolve or nothing answers there.
    Connect(io::Error),
    /// The connection was not made in time.
    Timeout,
    /// The URL has no key, and nobody asked for a connection without one.
    NoKey {
        /// Would it be allowed, since the host is on this machine or a private network?
        local: bool,
    },
    /// The handshake failed.
    Link(LinkError),
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
            Self::Timeout => f.write_str("cannot connect: no answer in time"),
            Self::NoKey { local } => {
                f.write_str(
                    "the URL has no key, so the server could be anybody: take the whole URL that the server shows, \
                     with the key behind the last slash",
                )?;
                match local {
                    true => f.write_str(
                        "; on this machine and private networks, upstream.keyless = \"unverified\" or \"plain\" goes \
                         without",
                    ),
                    false => Ok(()),
                }
            }
            Self::Link(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for DialError {}

/// How a server is dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialling {
    /// Holds for the TCP connection and again for the handshake.
    pub timeout: Duration,
    /// Seconds that our clock may be off when a certificate is checked (C-97).
    pub leeway_s: u32,
    /// What to do about a URL without a key.
    pub keyless: Keyless,
    /// Whether the algorithm is negotiated with servers of the 2022 draft. Those from before August 2022 cannot.
    pub negotiate: bool,
}

impl Default for Dialling {
    fn default() -> Self {
        Self {
            timeout: TIMEOUT_DEFAULT,
            leeway_s: LEEWAY_S_DEFAULT,
            keyless: Keyless::Refuse,
            negotiate: true,
        }
    }
}

/// Connects, shakes hands by the suite that the URL's key asks for, and checks the server's certificate against it.
///
/// # Errors
/// [`DialError`]; `timeout` holds for the TCP connection and again for the handshake.
pub async fn dial(url: &Url, clock: &Clock, timeout: Duration) -> Result<Link, DialError> {
    let dialling = Dialling {
        timeout,
        ..Dialling::default()
    };
    dial_with(url, clock, &dialling).await
}

/// [`dial`] with everything that can be chosen.
///
/// # Errors
/// As [`dial`].
pub async fn dial_with(url: &Url, clock: &Clock, dialling: &Dialling) -> Result<Link, DialError> {
    let security = Security::of(url, dialling)?;
    let stream = connect(&url.host, url.port, dialling.timeout).await?;
    let now = clock.unix_s();
    Link::connect(stream, &security, now, dialling.leeway_s, dialling.timeout)
        .await
        .map_err(DialError::Link)
}

/// Connects to a pool of Stratum V1, with TLS or without.
///
/// # Errors
/// [`DialError`]; `timeout` holds for the TCP connection and again for the handshake.
pub async fn dial_lines(
    host: &str,
    port: u16,
    tls: Option<&TlsDialling>,
    timeout: Duration,
) -> Result<Link, DialError> {
    let stream = connect(host, port, timeout).await?;
    match tls {
        None => Link::lines(stream),
        Some(tls) => Link::lines_tls(stream, tls, host, timeout).await,
    }
    .map_err(DialError::Link)
}

async fn connect(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, DialError> {
    tokio::time::timeout(timeout, TcpStream::connect((host, port)))
        .await
        .map_err(|_| DialError::Timeout)?
        .map_err(DialError::Connect)
}

/// How long to wait before the next try: doubles from `first` to `cap`, each with full jitter above half.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    next: Duration,
}

impl Default for Backoff {
    /// From 50 ms to 30 s: quick after one broken connection, calm during an outage.
    fn default() -> Self {
        Self::new(Duration::from_millis(50), Duration::from_secs(30))
    }
}

impl Backoff {
    /// Starts at `first`, never waits longer than `cap`.
    #[must_use]
    pub fn new(first: Duration, cap: Duration) -> Self {
        Self {
            first,
            cap,
            next: first,
        }
    }

    /// The next wait: between half and all of the current step.
    pub fn next_wait(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.cap);
        let half_us = u64::try_from(step.as_micros() / 2).unwrap_or(u64::MAX);
        Duration::from_micros(half_us + random::below(half_us + 1))
    }

    /// It worked: start small again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_with_jitter() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for step_ms in [100, 200, 400, 800, 1000, 1000] {
            let wait = backoff.next_wait();
            let (low, high) = (Duration::from_millis(step_ms / 2), Duration::from_millis(step_ms));
            assert!(
                (low..=high + Duration::from_micros(1)).contains(&wait),
                "{step_ms}: {wait:?}"
            );
        }
        backoff.reset();
        assert!(backoff.next_wait() <= Duration::from_millis(101));
    }

    /// REQ-SEC-004: refused before anything is sent, and the error says what to do.
    #[tokio::test]
    async fn a_url_without_key_is_refused_before_anything_is_sent() {
        let refused = async |url: &str, keyless| {
            let dialling = Dialling {
                keyless,
                ..Dialling::default()
            };
            let url = url.parse().unwrap();
            dial_with(&url, &Clock::system(), &dialling).await.unwrap_err()
        };
        for keyless in [
            Keyless::Refuse,
            Keyless::Plain,
            Keyless::AnyKey(adit_noise::Suite::Current),
        ] {
            let error = refused("stratum2+tcp://pool.example:3333", keyless).await;
            assert!(matches!(error, DialError::NoKey { local: false }), "{error}");
            assert!(!error.to_string().contains("upstream.keyless"), "{error}");
        }
        let error = refused("stratum2+tcp://[::1]:1", Keyless::Refuse).await;
        assert!(matches!(error, DialError::NoKey { local: true }), "{error}");
        assert!(error.to_string().contains("upstream.keyless"), "{error}");
    }
}
