//! The way up to a server, with jittered back-off.

use std::fmt;
use std::io;
use std::time::Duration;

use adit_noise::{LEEWAY_S_DEFAULT, Trust};
use tokio::net::TcpStream;

use crate::{Clock, Link, LinkError, Url, random};

/// Why a server could not be reached.
#[derive(Debug)]
pub enum DialError {
    /// The host did not resolve or nothing answers there.
    Connect(io::Error),
    /// The connection was not made in time.
    Timeout,
    /// The URL has no key and the host is not on this machine or network.
    NoKey,
    /// The handshake failed.
    Link(LinkError),
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
            Self::Timeout => f.write_str("cannot connect: no answer in time"),
            Self::NoKey => f.write_str(
                "the URL has no key, so the server could be anybody: take the whole URL that the server shows, with the key behind the last slash",
            ),
            Self::Link(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for DialError {}

/// Connects, shakes hands and checks the server's certificate against the URL's key.
///
/// A URL without a key is taken only for this machine or a private network (spec 4.7).
///
/// # Errors
/// [`DialError`]; `timeout` holds for the TCP connection and again for the handshake.
pub async fn dial(url: &Url, clock: &Clock, timeout: Duration) -> Result<Link, DialError> {
    dial_with_leeway(url, clock, LEEWAY_S_DEFAULT, timeout).await
}

/// [`dial`] with so many seconds for a clock that is off (C-97).
///
/// # Errors
/// As [`dial`].
pub async fn dial_with_leeway(
    url: &Url,
    clock: &Clock,
    leeway_s: u32,
    timeout: Duration,
) -> Result<Link, DialError> {
    let trust = match &url.key {
        Some(key) => Trust::Authority(*key),
        None if url.is_local() => Trust::AnyKey,
        None => return Err(DialError::NoKey),
    };
    let connect = TcpStream::connect((url.host.as_str(), url.port));
    let stream = tokio::time::timeout(timeout, connect)
        .await
        .map_err(|_| DialError::Timeout)?
        .map_err(DialError::Connect)?;
    Link::connect(stream, &trust, clock.unix_s(), leeway_s, timeout)
        .await
        .map_err(DialError::Link)
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

    #[tokio::test]
    async fn a_remote_url_without_key_is_refused_before_anything_is_sent() {
        let url = "stratum2+tcp://pool.example:3333".parse().unwrap();
        let error = dial(&url, &Clock::system(), Duration::from_secs(1))
            .await
            .unwrap_err();
        assert!(matches!(error, DialError::NoKey) && error.to_string().contains("key"));
    }
}
