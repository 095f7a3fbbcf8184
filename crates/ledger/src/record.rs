//! Fixed 128-byte records: what the journal is made of (layout in `docs/ledger.md`).
//!
//! Every record verifies itself (CRC-32C over all of it) and names its place (front end and
//! sequence), so a record can be shipped, stored elsewhere and counted exactly once by
//! `(front end, sequence)`. Encoding and decoding allocate nothing.

mod bytes;
mod credit;
mod custom;
mod entry;
mod payout;
mod rejects;
mod session;
mod text;

use bytes::{Cursor, Filler};
pub use credit::Credit;
pub use custom::{CustomJob, CustomMode, CustomVerdict};
pub use entry::{
    AccountPart, BlockFound, Entry, NAME_BYTES_MAX, NAME_PARTS_MAX, Outcome, OutcomeNote, PART_BYTES,
    REASON_BYTES_MAX, SOFTWARE_BYTES_MAX, Share, Start, WORKER_BYTES_MAX, WorkerNamed, account_parts,
};
pub use payout::{Payout, PayoutState};
pub use rejects::{REFUSAL_BYTES_MAX, Rejects};
pub use session::{ChannelKind, DEVICE_BYTES_MAX, Ending, Protocol, SessionClosed, SessionOpened};

/// Bytes of one record.
pub const RECORD_BYTES: usize = 128;

/// Who is credited: the first 16 bytes of a hash of the account's name, chosen by the caller.
pub type AccountId = [u8; 16];

/// Which worker of an account: the first 16 bytes of a hash of its name, chosen by the caller. Zeros are nobody.
pub type WorkerId = [u8; 16];

/// A 32-byte hash in the byte order of the wire and of headers (little-endian as a number).
pub type Hash = [u8; 32];

/// One line of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Counts up by one per record of a front end, from 1, without gaps.
    pub sequence: u64,
    /// Unix microseconds.
    pub time_us: u64,
    /// Whose sequence this is.
    pub front_end: u16,
    /// The start of the process that wrote it, see [`Start`].
    pub epoch: u32,
    /// Position inside its commit group: everything before `sequence - group_index` was durable
    /// when this record was written. Recovery tells a torn tail from damage by it.
    pub group_index: u32,
    /// What happened.
    pub entry: Entry,
}

/// Why 128 bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// All bytes are zero: space that was never written.
    Blank,
    /// The checksum does not match: torn or damaged.
    Checksum,
    /// The checksum matches but this version does not know the kind: written by a newer adit.
    Kind(u8),
    /// The checksum matches but a field holds a value that its kind cannot have.
    Field(&'static str),
}

impl std::fmt::Display for RecordError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Blank => write!(f, "blank space where a record should be"),
            Self::Checksum => write!(f, "record with a wrong checksum"),
            Self::Kind(kind) => write!(
                f,
                "record of unknown kind {kind}; use the adit version that wrote it"
            ),
            Self::Field(name) => write!(f, "record with an impossible value in field {name}"),
        }
    }
}

impl std::error::Error for RecordError {}

impl Record {
    /// An entry by itself, where nobody counts records: first of its sequence, at a time in Unix microseconds.
    #[must_use]
    pub const fn alone(time_us: u64, entry: Entry) -> Self {
        Self {
            sequence: 1,
            time_us,
            front_end: 0,
            epoch: 0,
            group_index: 0,
            entry,
        }
    }

    /// The first sequence of the commit group that this record belongs to.
    pub fn group_start(&self) -> u64 {
        self.sequence.saturating_sub(u64::from(self.group_index))
    }

    /// Tells this record from any other that could have its place: its checksum.
    pub fn mark(&self) -> u32 {
        let mut bytes = [0; RECORD_BYTES];
        self.encode(&mut bytes);
        let [a, b, c, d, ..] = bytes;
        u32::from_le_bytes([a, b, c, d])
    }

    /// Writes the record; every byte of `out` is set.
    pub fn encode(&self, out: &mut [u8; RECORD_BYTES]) {
        let mut to = Filler::new(out);
        to.u32(0);
        to.u8(self.entry.kind());
        to.u8(self.entry.flags());
        to.u16(self.front_end);
        to.u64(self.sequence);
        to.u64(self.time_us);
        to.u32(self.group_index);
        to.u32(self.epoch);
        self.entry.encode(&mut to);
        to.finish();
        let crc = crc32c::crc32c(&out[4..]);
        out[..4].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads a record and checks it.
    ///
    /// # Errors
    /// When the bytes are blank, damaged or of an unknown kind.
    pub fn decode(bytes: &[u8; RECORD_BYTES]) -> Result<Self, RecordError> {
        let mut from = Cursor::new(bytes);
        let crc = from.u32();
        if crc != crc32c::crc32c(&bytes[4..]) {
            let blank = bytes.iter().all(|byte| *byte == 0);
            return Err(if blank {
                RecordError::Blank
            } else {
                RecordError::Checksum
            });
        }
        let (kind, flags) = (from.u8(), from.u8());
        let front_end = from.u16();
        let (sequence, time_us) = (from.u64(), from.u64());
        let (group_index, epoch) = (from.u32(), from.u32());
        if u64::from(group_index) >= sequence {
            return Err(RecordError::Field("group_index"));
        }
        let entry = Entry::decode(kind, flags, time_us, &mut from)?;
        Ok(Self {
            sequence,
            time_us,
            front_end,
            epoch,
            group_index,
            entry,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(entry: Entry) -> Record {
        Record {
            sequence: 77,
            time_us: 1_700_000_000_000_000,
            front_end: 3,
            epoch: 9,
            group_index: 5,
            entry,
        }
    }

    fn samples() -> Vec<Entry> {
        let share = Share {
            account: [1; 16],
            worker: Some([6; 16]),
            hash: [2; 32],
            work: u64::MAX,
            channel: 0x0001_0203_0405_0607,
            time_us: 1_700_000_000_000_000,
            ntime: 4,
            nonce: 5,
            version: 6,
            height: 7,
            is_block: true,
            solo: true,
        };
        let mut opened = SessionOpened::new(
            [1; 16],
            1 << 48 | 5,
            0x0001_0203_0405_0607,
            1_700_000_000_000_000,
            ChannelKind::Extended,
            Protocol::StratumV1Tls,
        )
        .on(&"d\u{e9}".repeat(40));
        opened.worker = Some([6; 16]);
        let mut all: Vec<Entry> = account_parts([9; 16], &"n".repeat(255))
            .map(Entry::Account)
            .collect();
        all.extend([
            Entry::Share(share),
            Entry::Share(Share {
                worker: None,
                ..share
            }),
            Entry::Share(Share {
                is_block: false,
                ..share
            }),
            Entry::Credit(Credit {
                block: [4; 32],
                height: 9,
                line: 1,
                lines: 2,
                account: [1; 16],
                earned_sat: u64::MAX,
                received_sat: 7,
            }),
            Entry::Worker(WorkerNamed::new([1; 16], [6; 16], "rig1")),
            Entry::Start(Start::new("adit 0.1.0")),
            Entry::Block(BlockFound {
                hash: [3; 32],
                height: 8,
                value: 5_000_000_000,
                account: [1; 16],
                channel: 2,
                worker: Some([6; 16]),
            }),
            Entry::Outcome(OutcomeNote::new(
                [3; 32],
                8,
                Outcome::Rejected,
                0,
                "bad-cb-amount",
            )),
            Entry::Custom(CustomJob {
                account: [1; 16],
                token: [2; 16],
                job: [3; 32],
                channel: 0x0001_0203_0405_0607,
                height: 8,
                verdict: CustomVerdict::Busy,
                mode: CustomMode::CoinbaseOnly,
                credit_bp: 7_500,
                pool_value: 3,
                total_value: u64::MAX,
            }),
            Entry::Session(opened),
            Entry::Closed(SessionClosed {
                account: [1; 16],
                session: 1 << 48 | 5,
                channel: 7,
                ending: Ending::Fault,
            }),
            Entry::Rejects(Rejects::new(Some([1; 16]), None, "stale-share", u64::MAX, 3)),
            Entry::Rejects(Rejects::new(None, None, "difficulty-too-low", 1, 3)),
            Entry::Payout(Payout {
                account: [1; 16],
                batch: [2; 16],
                txid: [3; 32],
                satoshis: u64::MAX,
                vout: 4,
                height: 5,
                fee: 6,
                state: PayoutState::Cancelled,
            }),
            Entry::Stop,
        ]);
        all
    }

    #[test]
    fn every_kind_survives_a_round_trip() {
        for entry in samples() {
            let mut bytes = [0xff; RECORD_BYTES];
            record(entry).encode(&mut bytes);
            assert_eq!(Record::decode(&bytes), Ok(record(entry)));
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for entry in samples() {
            let mut bytes = [0; RECORD_BYTES];
            record(entry).encode(&mut bytes);
            for bit in 0..RECORD_BYTES * 8 {
                let mut bad = bytes;
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Record::decode(&bad), Err(RecordError::Checksum), "bit {bit}");
            }
        }
    }

    #[test]
    fn zeros_are_blank() {
        assert_eq!(Record::decode(&[0; RECORD_BYTES]), Err(RecordError::Blank));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes: [u8; RECORD_BYTES], kind in 0u8..20) {
            bytes[4] = kind;
            let crc = crc32c::crc32c(&bytes[4..]).to_le_bytes();
            bytes[..4].copy_from_slice(&crc);
            if let Ok(record) = Record::decode(&bytes) {
                let mut again = [0; RECORD_BYTES];
                record.encode(&mut again);
                prop_assert_eq!(Record::decode(&again), Ok(record));
            }
        }
    }
}
