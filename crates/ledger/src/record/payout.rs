//! Payouts: money on its way to an account, one record a step.

use super::bytes::{Cursor, Filler};
use super::{AccountId, Hash, RecordError};

/// One account's part of a batch of payouts, or of a coinbase. The last record of a batch and an account holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payout {
    /// Who is paid.
    pub account: AccountId,
    /// Which batch: chosen by the payer, never used twice. For a coinbase the first 16 bytes of the block's hash.
    pub batch: [u8; 16],
    /// The transaction, in the byte order of the wire; zeros before there is one.
    pub txid: Hash,
    /// What the account gets, satoshis.
    pub satoshis: u64,
    /// Which output of the transaction; [`u32::MAX`] where that is not known.
    pub vout: u32,
    /// Height of the block that holds it; 0 before there is one.
    pub height: u32,
    /// What was kept from the account for the transaction, satoshis.
    pub fee: u64,
    /// What happened.
    pub state: PayoutState,
}

/// The way of a payout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PayoutState {
    /// It is in a batch.
    Planned = 1,
    /// It was sent: it counts as paid.
    Sent = 2,
    /// It is in the chain.
    Confirmed = 3,
    /// It was sent and will never confirm: it counts as unpaid again.
    Cancelled = 4,
}

impl PayoutState {
    const ALL: [Self; 4] = [Self::Planned, Self::Sent, Self::Confirmed, Self::Cancelled];

    /// In one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Sent => "sent",
            Self::Confirmed => "confirmed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that number.
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|it| *it as u8 == number)
    }
}

impl Payout {
    pub(super) fn encode(&self, to: &mut Filler<'_>) {
        to.put(&self.account);
        to.put(&self.batch);
        to.put(&self.txid);
        to.u64(self.satoshis);
        to.u32(self.vout);
        to.u32(self.height);
        to.u64(self.fee);
        to.u8(self.state as u8);
    }

    pub(super) fn decode(from: &mut Cursor<'_>) -> Result<Self, RecordError> {
        Ok(Self {
            account: from.take(),
            batch: from.take(),
            txid: from.take(),
            satoshis: from.u64(),
            vout: from.u32(),
            height: from.u32(),
            fee: from.u64(),
            state: PayoutState::of(from.u8()).ok_or(RecordError::Field("state"))?,
        })
    }
}
