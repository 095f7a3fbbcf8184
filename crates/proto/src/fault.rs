//! Why a connection ends.

use core::fmt;

/// The end of one connection; nobody else is disturbed. What the peer may survive is no fault but a
/// refusal: a value in the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The peer sent bytes that are no message here.
    Malformed(&'static str),
    /// The peer sent messages that it must not send, or far too many of them.
    Misbehaved(&'static str),
    /// The two sides have no version, protocol or feature in common.
    Incompatible(&'static str),
    /// The peer did not do in time what the protocol expects next.
    Expired(&'static str),
}

impl Fault {
    /// The reason in a few words, for a log line.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(why) | Self::Misbehaved(why) | Self::Incompatible(why) | Self::Expired(why) => {
                why
            }
        }
    }

    /// The kind in one word, for a metric label.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Misbehaved(_) => "misbehaved",
            Self::Incompatible(_) => "incompatible",
            Self::Expired(_) => "expired",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind(), self.reason())
    }
}

impl std::error::Error for Fault {}
