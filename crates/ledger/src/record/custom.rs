//! A custom job and the verdict on it: so that a miner can show what it was promised.

use super::bytes::{Cursor, Filler};
use super::{AccountId, Hash, RecordError};

/// A verdict on a job that a miner made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CustomJob {
    /// Whose token it was.
    pub account: AccountId,
    /// The first 16 bytes of SHA-256 of the token.
    pub token: [u8; 16],
    /// SHA-256 of SetCustomMiningJob from its field `version` on.
    pub job: Hash,
    /// The channel's 7-byte extranonce prefix as a number; 0 where it was a group.
    pub channel: u64,
    /// Height of the block.
    pub height: u32,
    /// What the pool said.
    pub verdict: CustomVerdict,
    /// How the job was negotiated.
    pub mode: CustomMode,
    /// What of a share's work is credited, in basis points; 0 where the job was refused.
    pub credit_bp: u16,
    /// Satoshis that the pool's payout output gets; 0 where the job was refused.
    pub pool_value: u64,
    /// Satoshis of all outputs.
    pub total_value: u64,
}

/// What the pool said to a custom job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CustomVerdict {
    /// Its shares are paid.
    Accepted = 0,
    /// It does not build on the pool's tip.
    StaleTip = 1,
    /// Its outputs are not what was declared, or not what the pool asks for.
    Outputs = 2,
    /// Another field is wrong.
    Field = 3,
    /// Too much credit of the account is uncovered.
    Credit = 4,
    /// It was not declared, and must be.
    NotDeclared = 5,
    /// The pool had no room for it.
    Busy = 6,
}

/// How a custom job was negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CustomMode {
    /// Its transactions were declared and checked.
    FullTemplate = 1,
    /// Nobody here has seen its transactions.
    CoinbaseOnly = 2,
}

impl CustomVerdict {
    /// In one word, for exports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::StaleTip => "stale-tip",
            Self::Outputs => "outputs",
            Self::Field => "field",
            Self::Credit => "credit",
            Self::NotDeclared => "not-declared",
            Self::Busy => "busy",
        }
    }

    const ALL: [Self; 7] = [
        Self::Accepted,
        Self::StaleTip,
        Self::Outputs,
        Self::Field,
        Self::Credit,
        Self::NotDeclared,
        Self::Busy,
    ];
}

impl CustomMode {
    /// As the configuration names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FullTemplate => "full-template",
            Self::CoinbaseOnly => "coinbase-only",
        }
    }
}

impl CustomJob {
    pub(super) fn encode(&self, to: &mut Filler<'_>) {
        to.put(&self.account);
        to.put(&self.token);
        to.put(&self.job);
        to.u64(self.channel);
        to.u32(self.height);
        to.u8(self.verdict as u8);
        to.u8(self.mode as u8);
        to.u16(self.credit_bp);
        to.u64(self.pool_value);
        to.u64(self.total_value);
    }

    pub(super) fn decode(from: &mut Cursor<'_>) -> Result<Self, RecordError> {
        let (account, token, job) = (from.take(), from.take(), from.take());
        let (channel, height) = (from.u64(), from.u32());
        let (verdict, mode) = (from.u8(), from.u8());
        let verdict = CustomVerdict::ALL.into_iter().find(|it| *it as u8 == verdict);
        let modes = [CustomMode::FullTemplate, CustomMode::CoinbaseOnly];
        Ok(Self {
            account,
            token,
            job,
            channel,
            height,
            verdict: verdict.ok_or(RecordError::Field("verdict"))?,
            mode: (modes.into_iter().find(|it| *it as u8 == mode)).ok_or(RecordError::Field("mode"))?,
            credit_bp: from.u16(),
            pool_value: from.u64(),
            total_value: from.u64(),
        })
    }
}
