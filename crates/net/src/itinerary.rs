//! Where a client goes next: home, where the server sent it, and home again when that was of no use.
//!
//! A Reconnect (spec 3.6.5) moves a whole connection. It is followed only to a place whose certificate the *same*
//! authority has signed, and not for ever in circles: an attacker who could send one would otherwise own the miner's hash
//! rate, and two servers that drain to each other would keep it on the road.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use adit_proto::Time;

use crate::{Backoff, Url, random};

/// Reconnects that are followed within [`MOVES_WINDOW`].
pub const MOVES_MAX: usize = 4;
/// How long a Reconnect is remembered.
pub const MOVES_WINDOW: Duration = Duration::from_secs(60);
/// Longest random wait before a Reconnect is followed: the server spreads them, this is for one that does not.
const MOVE_JITTER: Duration = Duration::from_millis(100);
/// Longest host name.
const HOST_BYTES_MAX: usize = 255;

/// Why a Reconnect is not followed. The client goes home instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// It names no host (REQ-COM-021).
    Host,
    /// The connection has no key, which is trusted on this machine or network only, and the new place is elsewhere.
    NotLocal,
    /// [`MOVES_MAX`] were followed within [`MOVES_WINDOW`]: it may be a circle.
    Circle,
}

impl fmt::Display for Stay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "it names no host",
            Self::NotLocal => "without a key only local places are trusted",
            Self::Circle => "too many came within a minute",
        })
    }
}

/// The way of one client, from connection to connection.
#[derive(Clone, Debug)]
pub struct Itinerary {
    home: Url,
    at: Url,
    backoff: Backoff,
    /// When Reconnects were followed, oldest first; at most [`MOVES_MAX`].
    moves: VecDeque<Time>,
    /// Whoever asks has found out that a place may be gone to.
    checked: bool,
}

impl Itinerary {
    /// Starts at `home`, the place that is configured.
    #[must_use]
    pub fn new(home: Url) -> Self {
        Self {
            at: home.clone(),
            home,
            backoff: Backoff::default(),
            moves: VecDeque::new(),
            checked: false,
        }
    }

    /// The same, where nobody is believed for a key: each place that is named was looked up in a list of ours before.
    #[must_use]
    pub fn among_known_places(mut self) -> Self {
        self.checked = true;
        self
    }

    /// The same with another back-off.
    #[must_use]
    pub fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Where to dial now.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.at
    }

    /// Whether that is the configured place.
    #[must_use]
    pub fn is_home(&self) -> bool {
        self.at == self.home
    }

    /// No connection was made, or it was lost: next is home, after this wait. `fruitful`: it had earned something, so
    /// the place is well and waits start small again.
    pub fn lost(&mut self, now: Time, fruitful: bool) -> Duration {
        self.forget_moves(now);
        if fruitful && self.moves.len() < MOVES_MAX {
            self.backoff.reset();
        }
        self.at = self.home.clone();
        self.backoff.next_wait()
    }

    /// The server sent Reconnect: what it does not name stays as it is at the present place, and the key always does
    /// (REQ-COM-033, REQ-COM-036). Gives the wait before dialling [`Itinerary::url`], and why it is home after all, if so.
    pub fn moved(&mut self, now: Time, host: Option<&[u8]>, port: Option<u16>) -> (Duration, Option<Stay>) {
        match self.next(now, host, port) {
            Ok(url) => {
                self.at = url;
                self.moves.push_back(now);
                (jitter(MOVE_JITTER), None)
            }
            Err(stay) => (self.lost(now, false), Some(stay)),
        }
    }

    fn next(&mut self, now: Time, host: Option<&[u8]>, port: Option<u16>) -> Result<Url, Stay> {
        let host = match host {
            Some(host) => host_of(host).ok_or(Stay::Host)?,
            None => self.at.host.clone(),
        };
        let port = port.unwrap_or(self.at.port);
        let url = Url {
            host,
            port,
            ..self.home.clone()
        };
        if url.key.is_none() && !self.checked && !url.is_local() {
            return Err(Stay::NotLocal);
        }
        self.forget_moves(now);
        if self.moves.len() >= MOVES_MAX {
            return Err(Stay::Circle);
        }
        Ok(url)
    }

    fn forget_moves(&mut self, now: Time) {
        while self.moves.front().is_some_and(|at| *at + MOVES_WINDOW <= now) {
            self.moves.pop_front();
        }
    }
}

/// An ASCII host name or an IP address, with or without the brackets of a URL.
fn host_of(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host = bare.unwrap_or(text);
    if host.contains(':') || bare.is_some() {
        return host.parse::<IpAddr>().is_ok().then(|| host.to_owned());
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let fits = !host.is_empty() && host.len() <= HOST_BYTES_MAX && host.bytes().all(is_name);
    fits.then(|| host.to_owned())
}

fn jitter(longest: Duration) -> Duration {
    let us = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(random::below(us.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";
    const NOW: Time = Time(1_800_000_000_000_000);

    fn from(url: &str) -> Itinerary {
        Itinerary::new(url.parse().unwrap())
    }

    /// REQ-COM-033, REQ-COM-036: all four combinations, and the key of home in each.
    #[test]
    fn a_move_keeps_what_it_does_not_name() {
        for (host, port, expected) in [
            (None, None, "a.example:3333"),
            (Some("b.example"), None, "b.example:3333"),
            (None, Some(5), "a.example:5"),
            (Some("b.example"), Some(5), "b.example:5"),
            (Some("[::1]"), Some(5), "[::1]:5"),
            (Some("::1"), Some(5), "[::1]:5"),
        ] {
            let mut way = from(&format!("stratum2+tcp://a.example:3333/{KEY}"));
            let (wait, stay) = way.moved(NOW, host.map(str::as_bytes), port);
            assert_eq!((stay, wait <= MOVE_JITTER), (None, true));
            assert_eq!(way.url().to_string(), format!("stratum2+tcp://{expected}/{KEY}"));
        }
        // From the second place on, the present host is that of the second place.
        let mut way = from(&format!("stratum2+tcp://a.example:3333/{KEY}"));
        way.moved(NOW, Some(b"b.example"), Some(7));
        way.moved(NOW, None, Some(8));
        assert_eq!(way.url().to_string(), format!("stratum2+tcp://b.example:8/{KEY}"));
    }

    /// Without a key a redirect stays on this machine or network.
    #[test]
    fn a_local_connection_stays_local() {
        let mut way = from("stratum2+tcp://127.0.0.1:3333");
        assert_eq!(
            way.moved(NOW, Some(b"pool.example"), None).1,
            Some(Stay::NotLocal)
        );
        assert!(way.is_home());
        assert_eq!(way.moved(NOW, Some(b"127.0.0.2"), None).1, None);
        assert!(!way.is_home());
    }

    #[test]
    fn what_names_no_host_is_not_followed() {
        for host in [
            "pool.example/x",
            "a b",
            "a@b",
            "h:1",
            "[::1",
            "[name]",
            "\u{e4}",
            &"x".repeat(256),
        ] {
            let mut way = from(&format!("stratum2+tcp://a.example:3333/{KEY}"));
            assert_eq!(
                way.moved(NOW, Some(host.as_bytes()), None).1,
                Some(Stay::Host),
                "{host}"
            );
            assert!(way.is_home());
        }
        assert_eq!(host_of(b"\xff"), None);
    }

    /// Two servers that send a client to each other have it for a moment only, and then it waits longer and longer.
    #[test]
    fn a_circle_ends_at_home_with_growing_waits() {
        let mut way = from(&format!("stratum2+tcp://a.example:3333/{KEY}"));
        let mut now = NOW;
        for _ in 0..MOVES_MAX {
            assert_eq!(way.moved(now, Some(b"b.example"), None).1, None);
            now = now + Duration::from_millis(200);
        }
        let mut last = Duration::ZERO;
        for _ in 0..6 {
            let (wait, stay) = way.moved(now, Some(b"b.example"), None);
            assert_eq!((stay, way.is_home()), (Some(Stay::Circle), true));
            assert!(wait >= last / 2, "{wait:?} after {last:?}");
            last = wait;
        }
        assert!(last > Duration::from_millis(500), "{last:?}");
        // Earning something there does not shorten them while the circle is fresh.
        assert!(way.lost(now, true) > Duration::from_millis(500));
        now = now + MOVES_WINDOW;
        assert!(way.lost(now, true) < Duration::from_millis(60));
        assert_eq!(way.moved(now, Some(b"b.example"), None).1, None);
    }

    /// A place that we were sent to and that does not answer is left for the configured one.
    #[test]
    fn a_redirect_that_leads_nowhere_ends_at_home() {
        let mut way = from(&format!("stratum2+tcp://a.example:3333/{KEY}"));
        way.moved(NOW, Some(b"b.example"), None);
        way.lost(NOW, false);
        assert!(way.is_home());
    }
}
