//! What comes of a check, and how strongly the spec words what it checks.

use serde::{Serialize, Serializer};

use super::frame::hex;

/// How strongly the spec words a requirement (docs/spec/requirements.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// It is required.
    Must,
    /// It is forbidden.
    MustNot,
    /// It is recommended.
    Should,
    /// Implied by the text, or a rule of robustness that implementations agree on.
    Implied,
}

impl Level {
    /// As docs/spec/requirements.md writes it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Must => "MUST",
            Self::MustNot => "MUST NOT",
            Self::Should => "SHOULD",
            Self::Implied => "impl",
        }
    }

    /// Whether a failure makes the server not conform.
    #[must_use]
    pub const fn binds(self) -> bool {
        matches!(self, Self::Must | Self::MustNot)
    }
}

impl Serialize for Level {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

/// A check that passed says what it saw; one that did not is a [`Miss`].
pub(super) type Outcome = Result<String, Miss>;

/// Why a check did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Miss {
    /// The server does not do what is expected of it.
    Fail {
        expected: String,
        seen: String,
        /// The bytes that show it, if there are any.
        bytes: Vec<u8>,
    },
    /// It could not be found out.
    Skip(String),
}

impl Miss {
    pub(super) fn fail(expected: impl Into<String>, seen: impl Into<String>) -> Self {
        Self::Fail {
            expected: expected.into(),
            seen: seen.into(),
            bytes: Vec::new(),
        }
    }

    pub(super) fn skip(why: impl Into<String>) -> Self {
        Self::Skip(why.into())
    }

    /// The same with the bytes that show it.
    pub(super) fn with(mut self, shown: &[u8]) -> Self {
        if let Self::Fail { bytes, .. } = &mut self {
            *bytes = shown.to_vec();
        }
        self
    }
}

/// How a check ended, for the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "lowercase")]
pub enum Verdict {
    /// The server does what the requirement says.
    Pass {
        /// What was seen.
        seen: String,
    },
    /// It does not.
    Fail {
        /// What the requirement lets expect.
        expected: String,
        /// What was seen instead.
        seen: String,
        /// The first bytes that show it, in hex; empty when nothing came.
        bytes: String,
    },
    /// It could not be found out.
    Skip {
        /// Why.
        why: String,
    },
}

impl From<Outcome> for Verdict {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Ok(seen) => Self::Pass { seen },
            Err(Miss::Skip(why)) => Self::Skip { why },
            Err(Miss::Fail {
                expected,
                seen,
                bytes,
            }) => Self::Fail {
                expected,
                seen,
                bytes: hex(&bytes),
            },
        }
    }
}
