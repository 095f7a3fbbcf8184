//! What somebody is told, in words.

use serde::Serialize;

use crate::observe::text::clean;

/// Longest text of a notice, in characters; what is longer is cut.
const TEXT_MAX: usize = 1_000;

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A block was found, taken or refused.
    Block,
    /// A worker is away, or back.
    Worker,
    /// A worker is connected and finds nothing.
    Silent,
    /// Many shares are refused.
    Rejects,
    /// The node, or what it gives.
    Node,
    /// The pool above.
    Upstream,
    /// The ledger.
    Ledger,
    /// Somebody wants to know whether notices come.
    Test,
}

/// One thing to be told. Foreign text in it (a worker's name, a node's words) is harmless.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// What it is about.
    pub kind: Kind,
    /// Whether somebody should do something.
    pub urgent: bool,
    /// In a few words.
    pub title: String,
    /// In a sentence or two.
    pub text: String,
    /// When it happened, microseconds since the Unix epoch.
    pub at_us: u64,
}

impl Notice {
    /// Made harmless.
    pub(super) fn new(kind: Kind, urgent: bool, title: &str, text: &str, at_us: u64) -> Self {
        let text: String = text.chars().take(TEXT_MAX).collect();
        // Each word on its own, since a long text is cut where a name is.
        let text: Vec<String> = text.split(' ').map(clean).collect();
        Self {
            kind,
            urgent,
            title: clean(title),
            text: text.join(" "),
            at_us,
        }
    }

    /// What `adit notify-test` sends.
    pub fn test(at_us: u64) -> Self {
        let text = "This is what being told by adit looks like. Nothing has happened.";
        Self::new(Kind::Test, false, "A test by adit", text, at_us)
    }
}
