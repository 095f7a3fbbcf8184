//! Credits: what a block earned for whom.

use super::bytes::{Cursor, Filler};
use super::{AccountId, Hash, RecordError};

/// What a block does to one account. The lines of a block count once all of them are here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// Hash of the block.
    pub block: Hash,
    /// Height of the block.
    pub height: u32,
    /// Which line, from 0.
    pub line: u32,
    /// How many lines, at least 1.
    pub lines: u32,
    /// Who: the account whose name is the payee's address or descriptor.
    pub account: AccountId,
    /// Its part of the coinbase's value, satoshis.
    pub earned_sat: u64,
    /// Its output in the coinbase, satoshis.
    pub received_sat: u64,
}

impl Credit {
    pub(super) fn encode(&self, to: &mut Filler<'_>) {
        to.put(&self.block);
        to.u32(self.height);
        to.u32(self.line);
        to.u32(self.lines);
        to.put(&self.account);
        to.u64(self.earned_sat);
        to.u64(self.received_sat);
    }

    pub(super) fn decode(from: &mut Cursor<'_>) -> Result<Self, RecordError> {
        let credit = Self {
            block: from.take(),
            height: from.u32(),
            line: from.u32(),
            lines: from.u32(),
            account: from.take(),
            earned_sat: from.u64(),
            received_sat: from.u64(),
        };
        let whole = credit.line < credit.lines;
        whole.then_some(credit).ok_or(RecordError::Field("line"))
    }
}
