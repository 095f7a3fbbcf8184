//! The kinds of record and their 96-byte bodies.

use super::bytes::{Cursor, Filler};
use super::text::Text;
use super::{
    AccountId, Credit, CustomJob, Hash, Payout, RecordError, Rejects, SessionClosed, SessionOpened, WorkerId,
};

/// Bytes of an account's name that one record carries.
pub const PART_BYTES: usize = 72;
/// Longest account name, in bytes: a STR0_255 of the wire.
pub const NAME_BYTES_MAX: usize = 255;
/// Records that the longest name takes.
pub const NAME_PARTS_MAX: u8 = NAME_BYTES_MAX.div_ceil(PART_BYTES) as u8;
/// Longest name of a worker, in bytes: the `user_identity` of extension 0x0002. One record carries it.
pub const WORKER_BYTES_MAX: usize = 32;
/// Longest reason in an [`OutcomeNote`], in bytes.
pub const REASON_BYTES_MAX: usize = 48;
/// Longest software version in a [`Start`], in bytes.
pub const SOFTWARE_BYTES_MAX: usize = 64;

const KIND_START: u8 = 1;
const KIND_SHARE: u8 = 2;
const KIND_ACCOUNT: u8 = 3;
const KIND_BLOCK: u8 = 4;
const KIND_OUTCOME: u8 = 5;
const KIND_STOP: u8 = 6;
const KIND_WORKER: u8 = 7;
const KIND_CUSTOM: u8 = 8;
const KIND_SESSION: u8 = 9;
const KIND_CLOSED: u8 = 10;
const KIND_REJECTS: u8 = 11;
const KIND_PAYOUT: u8 = 12;
const KIND_CREDIT: u8 = 16;

const FLAG_BLOCK: u8 = 1;
const FLAG_SOLO: u8 = 2;

/// The worker of a record that names none: what records held there before there were workers.
pub(super) const NOBODY: WorkerId = [0; 16];

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A process began to write.
    Start(Start),
    /// A share was accepted.
    Share(Share),
    /// A part of an account's name; all parts stand before the account's first share.
    Account(AccountPart),
    /// The name of one of an account's workers; it stands before the worker's first share.
    Worker(WorkerNamed),
    /// A block was found.
    Block(BlockFound),
    /// What became of a block.
    Outcome(OutcomeNote),
    /// The pool's verdict on a custom job.
    Custom(CustomJob),
    /// A channel was opened and has worked.
    Session(SessionOpened),
    /// Its end.
    Closed(SessionClosed),
    /// Refused shares, counted.
    Rejects(Rejects),
    /// A step of a payout.
    Payout(Payout),
    /// What a block earned for an account.
    Credit(Credit),
    /// The process ended in order: everything before it is known to be durable.
    Stop,
}

/// An accepted share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Who is credited.
    pub account: AccountId,
    /// Which of the account's workers found it, if it said so.
    pub worker: Option<WorkerId>,
    /// Hash of the block header it proves.
    pub hash: Hash,
    /// Expected hashes of the target it was judged by.
    pub work: u64,
    /// The channel's 7-byte extranonce prefix as a number, high byte zero.
    pub channel: u64,
    /// When it was accepted, Unix microseconds.
    pub time_us: u64,
    /// Header time, Unix seconds.
    pub ntime: u32,
    /// Header nonce.
    pub nonce: u32,
    /// Header version.
    pub version: u32,
    /// Height of the block it worked on.
    pub height: u32,
    /// Whether it also solved the block.
    pub is_block: bool,
    /// Whether the block would have paid its finder alone: it is no part of the window.
    pub solo: bool,
}

/// The first record of every run of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Format of the records that follow, see [`Start::FORMAT`].
    pub format: u16,
    software: Text<SOFTWARE_BYTES_MAX>,
}

/// One part of an account's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountPart {
    /// Whose name.
    pub account: AccountId,
    /// Which part, from 0.
    pub part: u8,
    /// How many parts, at least 1 and at most [`NAME_PARTS_MAX`].
    pub parts: u8,
    chunk: Text<PART_BYTES>,
}

/// The name of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerNamed {
    /// Whose worker.
    pub account: AccountId,
    /// The worker.
    pub worker: WorkerId,
    name: Text<WORKER_BYTES_MAX>,
}

/// A share that solved a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockFound {
    /// The block's hash.
    pub hash: Hash,
    /// Its height.
    pub height: u32,
    /// What its coinbase pays in all, satoshis.
    pub value: u64,
    /// Who found it.
    pub account: AccountId,
    /// On which channel.
    pub channel: u64,
    /// Which of the account's workers, if it said so.
    pub worker: Option<WorkerId>,
}

/// What became of a found block; the last note on a hash holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutcomeNote {
    /// The block's hash.
    pub hash: Hash,
    /// Its height.
    pub height: u32,
    /// What happened.
    pub outcome: Outcome,
    /// Blocks on it, itself included; 0 when it is not in the best chain.
    pub confirmations: u32,
    reason: Text<REASON_BYTES_MAX>,
}

/// The fate of a found block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// A node took it.
    Accepted = 1,
    /// Every node refused it.
    Rejected = 2,
    /// Valid, but another block won.
    Stale = 3,
    /// Seen in the best chain.
    Confirmed = 4,
}

impl Outcome {
    /// The outcome of that number.
    pub fn of(value: u8) -> Option<Self> {
        [Self::Accepted, Self::Rejected, Self::Stale, Self::Confirmed]
            .into_iter()
            .find(|o| *o as u8 == value)
    }
}

impl Start {
    /// The record format this crate writes. 1 knew no workers, 2 no custom jobs, 3 neither sessions nor rejects nor
    /// payouts; otherwise they are the same.
    pub const FORMAT: u16 = 4;

    /// A start by `software` (name and version, cut at [`SOFTWARE_BYTES_MAX`]).
    pub fn new(software: &str) -> Self {
        Self {
            format: Self::FORMAT,
            software: Text::cut(software),
        }
    }

    /// Name and version of the software.
    pub fn software(&self) -> String {
        String::from_utf8_lossy(self.software.as_bytes()).into_owned()
    }
}

impl AccountPart {
    /// The bytes of the name in this part; a character may span two parts.
    pub fn chunk(&self) -> &[u8] {
        self.chunk.as_bytes()
    }
}

impl WorkerNamed {
    /// A worker's name, cut at [`WORKER_BYTES_MAX`].
    pub fn new(account: AccountId, worker: WorkerId, name: &str) -> Self {
        Self {
            account,
            worker,
            name: Text::cut(name),
        }
    }

    /// The name's bytes.
    pub fn name(&self) -> &[u8] {
        self.name.as_bytes()
    }
}

impl OutcomeNote {
    /// A note; `reason` is cut at [`REASON_BYTES_MAX`].
    pub fn new(hash: Hash, height: u32, outcome: Outcome, confirmations: u32, reason: &str) -> Self {
        Self {
            hash,
            height,
            outcome,
            confirmations,
            reason: Text::cut(reason),
        }
    }

    /// Why, in the node's words; may be empty.
    pub fn reason(&self) -> String {
        String::from_utf8_lossy(self.reason.as_bytes()).into_owned()
    }
}

/// Splits an account's name (cut at [`NAME_BYTES_MAX`]) into its records.
pub fn account_parts(account: AccountId, name: &str) -> impl Iterator<Item = AccountPart> + '_ {
    let name = &name.as_bytes()[..name.floor_char_boundary(NAME_BYTES_MAX)];
    let parts = name.len().div_ceil(PART_BYTES).max(1) as u8;
    (0..parts).map(move |part| {
        let from = usize::from(part) * PART_BYTES;
        let chunk = Text::new(&name[from..name.len().min(from + PART_BYTES)]);
        AccountPart {
            account,
            part,
            parts,
            chunk,
        }
    })
}

impl Entry {
    /// The time that an entry brings along, Unix microseconds; the others get that of their record.
    pub fn time_us(&self) -> Option<u64> {
        match self {
            Self::Share(share) => Some(share.time_us),
            Self::Session(opened) => Some(opened.time_us),
            _ => None,
        }
    }

    pub(super) fn kind(&self) -> u8 {
        match self {
            Self::Start(_) => KIND_START,
            Self::Share(_) => KIND_SHARE,
            Self::Account(_) => KIND_ACCOUNT,
            Self::Block(_) => KIND_BLOCK,
            Self::Outcome(_) => KIND_OUTCOME,
            Self::Stop => KIND_STOP,
            Self::Worker(_) => KIND_WORKER,
            Self::Custom(_) => KIND_CUSTOM,
            Self::Session(_) => KIND_SESSION,
            Self::Closed(_) => KIND_CLOSED,
            Self::Rejects(_) => KIND_REJECTS,
            Self::Payout(_) => KIND_PAYOUT,
            Self::Credit(_) => KIND_CREDIT,
        }
    }

    pub(super) fn flags(&self) -> u8 {
        let Self::Share(share) = self else { return 0 };
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        flag(share.is_block, FLAG_BLOCK) | flag(share.solo, FLAG_SOLO)
    }

    pub(super) fn encode(&self, to: &mut Filler<'_>) {
        match self {
            Self::Start(start) => {
                to.u16(start.format);
                to.u8(start.software.length);
                to.u8(0);
                to.put(&start.software.bytes);
            }
            Self::Share(share) => {
                to.put(&share.account);
                to.put(&share.hash);
                to.u64(share.work);
                to.u64(share.channel);
                to.u32(share.ntime);
                to.u32(share.nonce);
                to.u32(share.version);
                to.u32(share.height);
                to.put(&share.worker.unwrap_or(NOBODY));
            }
            Self::Worker(worker) => {
                to.put(&worker.account);
                to.put(&worker.worker);
                to.u8(worker.name.length);
                to.put(&worker.name.bytes);
            }
            Self::Account(name) => {
                to.put(&name.account);
                to.u8(name.part);
                to.u8(name.parts);
                to.u8(name.chunk.length);
                to.u8(0);
                to.put(&name.chunk.bytes);
            }
            Self::Block(block) => {
                to.put(&block.hash);
                to.u32(block.height);
                to.u32(0);
                to.u64(block.value);
                to.put(&block.account);
                to.u64(block.channel);
                to.put(&block.worker.unwrap_or(NOBODY));
            }
            Self::Outcome(note) => {
                to.put(&note.hash);
                to.u32(note.height);
                to.u32(note.confirmations);
                to.u8(note.outcome as u8);
                to.u8(note.reason.length);
                to.put(&note.reason.bytes);
            }
            Self::Custom(job) => job.encode(to),
            Self::Session(opened) => opened.encode(to),
            Self::Closed(closed) => closed.encode(to),
            Self::Rejects(rejects) => rejects.encode(to),
            Self::Payout(payout) => payout.encode(to),
            Self::Credit(credit) => credit.encode(to),
            Self::Stop => {}
        }
    }

    pub(super) fn decode(
        kind: u8,
        flags: u8,
        time_us: u64,
        from: &mut Cursor<'_>,
    ) -> Result<Self, RecordError> {
        Ok(match kind {
            KIND_START => Self::Start(start(from)?),
            KIND_SHARE => Self::Share(share(flags, time_us, from)),
            KIND_ACCOUNT => Self::Account(account(from)?),
            KIND_BLOCK => Self::Block(block(from)),
            KIND_OUTCOME => Self::Outcome(outcome(from)?),
            KIND_STOP => Self::Stop,
            KIND_WORKER => Self::Worker(worker(from)?),
            KIND_CUSTOM => Self::Custom(CustomJob::decode(from)?),
            KIND_SESSION => Self::Session(SessionOpened::decode(time_us, from)?),
            KIND_CLOSED => Self::Closed(SessionClosed::decode(from)?),
            KIND_REJECTS => Self::Rejects(Rejects::decode(from)?),
            KIND_PAYOUT => Self::Payout(Payout::decode(from)?),
            KIND_CREDIT => Self::Credit(Credit::decode(from)?),
            other => return Err(RecordError::Kind(other)),
        })
    }
}

fn start(from: &mut Cursor<'_>) -> Result<Start, RecordError> {
    let (format, length) = (from.u16(), from.u8());
    from.u8();
    Ok(Start {
        format,
        software: Text::read(length, from.take(), "software")?,
    })
}

fn share(flags: u8, time_us: u64, from: &mut Cursor<'_>) -> Share {
    Share {
        account: from.take(),
        hash: from.take(),
        work: from.u64(),
        channel: from.u64(),
        time_us,
        ntime: from.u32(),
        nonce: from.u32(),
        version: from.u32(),
        height: from.u32(),
        worker: somebody(from.take()),
        is_block: flags & FLAG_BLOCK != 0,
        solo: flags & FLAG_SOLO != 0,
    }
}

/// An id where there is one.
pub(super) fn somebody(worker: WorkerId) -> Option<WorkerId> {
    (worker != NOBODY).then_some(worker)
}

fn worker(from: &mut Cursor<'_>) -> Result<WorkerNamed, RecordError> {
    let (account, worker, length) = (from.take(), from.take(), from.u8());
    Ok(WorkerNamed {
        account,
        worker,
        name: Text::read(length, from.take(), "name")?,
    })
}

fn account(from: &mut Cursor<'_>) -> Result<AccountPart, RecordError> {
    let (account, part, parts, length) = (from.take(), from.u8(), from.u8(), from.u8());
    from.u8();
    if part >= parts || parts > NAME_PARTS_MAX {
        return Err(RecordError::Field("part"));
    }
    Ok(AccountPart {
        account,
        part,
        parts,
        chunk: Text::read(length, from.take(), "name")?,
    })
}

fn block(from: &mut Cursor<'_>) -> BlockFound {
    let (hash, height) = (from.take(), from.u32());
    from.u32();
    BlockFound {
        hash,
        height,
        value: from.u64(),
        account: from.take(),
        channel: from.u64(),
        worker: somebody(from.take()),
    }
}

fn outcome(from: &mut Cursor<'_>) -> Result<OutcomeNote, RecordError> {
    let (hash, height, confirmations) = (from.take(), from.u32(), from.u32());
    let outcome = Outcome::of(from.u8()).ok_or(RecordError::Field("outcome"))?;
    let length = from.u8();
    Ok(OutcomeNote {
        hash,
        height,
        outcome,
        confirmations,
        reason: Text::read(length, from.take(), "reason")?,
    })
}
