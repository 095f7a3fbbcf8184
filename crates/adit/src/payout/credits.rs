//! Credits of a found block: in the ledger, and as text in the block's file, for when the ledger missed them.
//!
//! ```text
//!   EARNED RECEIVED NAME        one line a payee
//! ```

use std::fmt::Write;

use adit_ledger::record::Credit;
use adit_ledger::{Lane, writer::Full};
use adit_proto::mining::server::AccountId;

use super::purse::Booked;

/// A line as the ledger takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    name: String,
    earned_sat: u64,
    received_sat: u64,
}

/// The lines of a block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Credits(Vec<Line>);

impl From<Vec<Booked>> for Credits {
    fn from(booked: Vec<Booked>) -> Self {
        let lines = booked.into_iter().map(|line| Line {
            name: line.name,
            earned_sat: line.earned_sat,
            received_sat: line.received_sat,
        });
        Self(lines.collect())
    }
}

impl Credits {
    /// As it stands in a block's file.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.0 {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{} {} {}", line.earned_sat, line.received_sat, line.name);
        }
        text
    }

    /// Reads it back; `None` when it is something else.
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        let line = |line: &str| {
            let mut parts = line.splitn(3, ' ');
            Some(Line {
                earned_sat: parts.next()?.parse().ok()?,
                received_sat: parts.next()?.parse().ok()?,
                name: parts.next()?.to_owned(),
            })
        };
        text.lines().map(line).collect::<Option<_>>().map(Self)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes them into the ledger. Twice is no harm: the book takes each line once.
    pub(crate) fn book(&self, lane: &mut Lane, height: u32, block: [u8; 32]) -> Result<(), Full> {
        let lines = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        for (number, line) in (0..lines).zip(&self.0) {
            let account = AccountId::of(line.name.as_bytes()).0;
            lane.account(account, &line.name)?;
            lane.credit(Credit {
                block,
                height,
                line: number,
                lines,
                account,
                earned_sat: line.earned_sat,
                received_sat: line.received_sat,
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credits_survive_as_text() {
        let line = |name: &str, earned_sat| Line {
            name: name.into(),
            earned_sat,
            received_sat: 7,
        };
        let credits = Credits(vec![line("bcrt1qx", 5), line("wpkh(xpub/0/1) # mine", u64::MAX)]);
        assert_eq!(Credits::of_text(&credits.text()), Some(credits));
        assert_eq!(Credits::of_text(""), Some(Credits::default()));
        for wrong in ["x 1 y", "1 y", "1 2"] {
            assert_eq!(Credits::of_text(wrong), None);
        }
    }
}
