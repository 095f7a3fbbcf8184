//! What a client does about a server that never answers RequestExtensions (extension 0x0001, 4.3).

use std::time::Duration;

/// Connecting counts as at least this long, so that a server nearby which is busy for a moment is not taken for one that
/// knows no extensions. Twice and five times of it are the spec's second or so.
pub const CONNECT_MIN: Duration = Duration::from_millis(500);

/// The reconnect strategy, kept from one connection to a server to the next (REQ-EXT-033).
///
/// Silence for twice the time that connecting took: connect again and ask again. Silence for five times: connect again
/// and do without, unless an extension is required; then start over, and the role's back-off grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patience {
    silences: u8,
}

impl Patience {
    /// How long to wait on this connection for an answer, when connecting took `connect`; `None`: do not ask at all.
    #[must_use]
    pub fn answer_timeout(&self, connect: Duration, required: bool) -> Option<Duration> {
        let connect = connect.max(CONNECT_MIN);
        match self.silences {
            0 => Some(connect * 2),
            1 => Some(connect * 5),
            _ if required => Some(connect * 5),
            _ => None,
        }
    }

    /// The server did not answer on this connection.
    pub fn silent(&mut self) {
        self.silences = self.silences.saturating_add(1);
    }

    /// The server answered, or another server is meant from now on.
    pub fn reset(&mut self) {
        self.silences = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// REQ-EXT-033: twice, then five times, then without.
    #[test]
    fn silence_is_met_with_more_patience_and_then_with_none() {
        let (slow, mut patience) = (Duration::from_secs(1), Patience::default());
        assert_eq!(patience.answer_timeout(slow, false), Some(slow * 2));
        assert_eq!(
            patience.answer_timeout(Duration::ZERO, false),
            Some(CONNECT_MIN * 2)
        );
        patience.silent();
        assert_eq!(patience.answer_timeout(slow, false), Some(slow * 5));
        patience.silent();
        assert_eq!(patience.answer_timeout(slow, false), None);
        assert_eq!(
            patience.answer_timeout(slow, true),
            Some(slow * 5),
            "what is required is asked for"
        );
        patience.reset();
        assert_eq!(patience.answer_timeout(slow, false), Some(slow * 2));
    }
}
