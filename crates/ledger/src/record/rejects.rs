//! Refused shares: how many of one account for one reason since the last such record.

use super::bytes::{Cursor, Filler};
use super::entry::{NOBODY, somebody};
use super::text::Text;
use super::{AccountId, RecordError, WorkerId};

/// Longest reason in a [`Rejects`], in bytes.
pub const REFUSAL_BYTES_MAX: usize = 40;

/// So many shares were refused. Written once in a while, never for each share: a flood fills no disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejects {
    /// Whose they would have been; `None` stands for all who never had a share accepted.
    pub account: Option<AccountId>,
    /// Which of the account's workers, where that is known.
    pub worker: Option<WorkerId>,
    /// How many.
    pub count: u64,
    /// From when on, Unix microseconds; until the record's own time.
    pub since_us: u64,
    reason: Text<REFUSAL_BYTES_MAX>,
}

impl Rejects {
    /// A count; `reason` is a refusal code (`stale-share`), cut at [`REFUSAL_BYTES_MAX`].
    pub fn new(
        account: Option<AccountId>,
        worker: Option<WorkerId>,
        reason: &str,
        count: u64,
        since_us: u64,
    ) -> Self {
        Self {
            account,
            worker,
            count,
            since_us,
            reason: Text::cut(reason),
        }
    }

    /// The refusal code.
    pub fn reason(&self) -> String {
        String::from_utf8_lossy(self.reason.as_bytes()).into_owned()
    }

    pub(super) fn encode(&self, to: &mut Filler<'_>) {
        to.put(&self.account.unwrap_or(NOBODY));
        to.put(&self.worker.unwrap_or(NOBODY));
        to.u64(self.count);
        to.u64(self.since_us);
        to.u8(self.reason.length);
        to.put(&self.reason.bytes);
    }

    pub(super) fn decode(from: &mut Cursor<'_>) -> Result<Self, RecordError> {
        let (account, worker) = (somebody(from.take()), somebody(from.take()));
        let (count, since_us, length) = (from.u64(), from.u64(), from.u8());
        Ok(Self {
            account,
            worker,
            count,
            since_us,
            reason: Text::read(length, from.take(), "reason")?,
        })
    }
}
