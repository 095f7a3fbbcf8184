//! What travels: records of one front end, as they stand in its journal.
//!
//! Every record verifies itself and names its place, so a batch needs no more than a mark. It begins with the last
//! record that was shipped before, where there is one: whoever has counted that one can tell by it that the rest is
//! of the same journal.

use std::fmt;

use adit_ledger::Record;
use adit_ledger::record::RECORD_BYTES;

/// Most records of a batch. With them a message stays far below the megabyte that NATS takes unless told otherwise.
pub const RECORDS_MAX: usize = 4096;

const MAGIC: &[u8; 8] = b"ADITSHP1";

/// Why a message is no batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchError {
    /// It does not begin as one, or is cut off.
    Form,
    /// It holds no record, or too many.
    Count(usize),
    /// The record at this place of the batch is damaged or of a kind that this version does not know.
    Record(usize),
    /// The record at this place does not follow the one before it.
    Order(usize),
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => write!(f, "no batch of records"),
            Self::Count(count) => write!(f, "a batch of {count} records (1 to {RECORDS_MAX} are one)"),
            Self::Record(at) => write!(f, "record {at} of a batch is damaged, or written by a newer adit"),
            Self::Order(at) => write!(f, "record {at} of a batch does not follow the one before it"),
        }
    }
}

impl std::error::Error for BatchError {}

/// The message that holds `records`: of one front end, in order, without gaps.
pub fn encode(records: &[Record]) -> Vec<u8> {
    let mut out = Vec::with_capacity(MAGIC.len() + records.len() * RECORD_BYTES);
    out.extend_from_slice(MAGIC);
    let mut bytes = [0; RECORD_BYTES];
    for record in records {
        record.encode(&mut bytes);
        out.extend_from_slice(&bytes);
    }
    out
}

/// The records of a message: at least one, of one front end, in order, without gaps.
///
/// # Errors
/// See [`BatchError`].
pub fn decode(message: &[u8]) -> Result<Vec<Record>, BatchError> {
    let body = message.strip_prefix(MAGIC).ok_or(BatchError::Form)?;
    let (records, rest) = body.as_chunks::<RECORD_BYTES>();
    if !rest.is_empty() {
        return Err(BatchError::Form);
    }
    if records.is_empty() || records.len() > RECORDS_MAX {
        return Err(BatchError::Count(records.len()));
    }
    let mut batch: Vec<Record> = Vec::with_capacity(records.len());
    for (at, bytes) in records.iter().enumerate() {
        let record = Record::decode(bytes).map_err(|_| BatchError::Record(at))?;
        let follows = batch.last().is_none_or(|last| {
            last.front_end == record.front_end && last.sequence.checked_add(1) == Some(record.sequence)
        });
        if !follows {
            return Err(BatchError::Order(at));
        }
        batch.push(record);
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_ledger::Entry;

    fn record(front_end: u16, sequence: u64) -> Record {
        Record {
            sequence,
            time_us: 7,
            front_end,
            epoch: 1,
            group_index: 0,
            entry: Entry::Stop,
        }
    }

    #[test]
    fn what_was_shipped_is_what_arrives() {
        let records: Vec<_> = (5..5 + RECORDS_MAX as u64).map(|at| record(3, at)).collect();
        let message = encode(&records);
        assert!(message.len() < 1 << 20);
        assert_eq!(decode(&message), Ok(records));
    }

    #[test]
    fn a_message_that_is_no_batch_is_told_why() {
        let two = encode(&[record(1, 1), record(1, 2)]);
        assert_eq!(decode(b""), Err(BatchError::Form));
        assert_eq!(decode(&two[1..]), Err(BatchError::Form));
        assert_eq!(decode(&two[..two.len() - 1]), Err(BatchError::Form));
        assert_eq!(decode(MAGIC), Err(BatchError::Count(0)));
        let many = vec![record(1, 1); RECORDS_MAX + 1];
        assert_eq!(decode(&encode(&many)), Err(BatchError::Count(RECORDS_MAX + 1)));
        for (first, second) in [((1, 1), (1, 3)), ((1, 1), (2, 2)), ((1, 2), (1, 1))] {
            let wrong = encode(&[record(first.0, first.1), record(second.0, second.1)]);
            assert_eq!(decode(&wrong), Err(BatchError::Order(1)));
        }
        // The last number is followed by none: 0 is not one.
        let over = encode(&[record(1, u64::MAX), record(1, 0)]);
        assert_eq!(decode(&over), Err(BatchError::Record(1)));
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed() {
        let good = encode(&[record(1, 1), record(1, 2)]);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(decode(&bad).is_err(), "byte {at}");
        }
    }
}
