//! `mining.notify`: from a line to a job.

use super::{Client, Event, LINE_BYTES_MAX, Line, State, Work};
use crate::Fault;
use crate::coinbase::Halves;
use crate::job::{BRANCHES_MAX, Fields};
use crate::sv1::hex;
use crate::sv1::line::LineError;
use serde_json::Value;

/// Longest job id of a pool, in bytes.
const JOB_ID_BYTES_MAX: usize = 64;

/// Bits that every device may roll where a job allows it (BIP320).
const ROLLED_BY_ALL: u32 = 0x1fff_e000;

impl Client {
    pub(super) fn notified(&mut self, params: &[Value], out: &mut Vec<Event>) -> Result<(), Fault> {
        let work = self
            .work(params)
            .ok_or(Fault::Malformed("a job of the pool cannot be read"))?;
        match self.state {
            State::Mining => out.push(Event::Job(work)),
            // Some pools send work before they let us in.
            _ => self.early = Some(work),
        }
        Ok(())
    }

    fn work(&mut self, params: &[Value]) -> Option<Box<Work>> {
        let [
            id,
            prev_hash,
            first,
            second,
            branches,
            version,
            nbits,
            ntime,
            clean,
            ..,
        ] = params
        else {
            return None;
        };
        let id = id.as_str().filter(|id| id.len() <= JOB_ID_BYTES_MAX)?;
        let prev_hash = read_prev_hash(prev_hash)?;
        let branch = |value: &Value| bytes(value)?.try_into().ok();
        let branches = branches.as_array().filter(|it| it.len() <= BRANCHES_MAX)?;
        let merkle_path = branches.iter().map(branch).collect::<Option<Vec<[u8; 32]>>>()?;
        let number = |value: &Value| value.as_str().and_then(hex::number);
        let ntime = number(ntime)?;
        let mut prefix = bytes(first)?;
        prefix.extend_from_slice(&self.extranonce1);
        let halves = Halves {
            prefix,
            suffix: bytes(second)?,
            size: self.extranonce2_bytes,
            value: 0,
            witness: None,
        };
        halves.check().ok()?;
        let turned = self.prev_hash != Some(prev_hash);
        self.prev_hash = Some(prev_hash);
        self.tip += u64::from(turned);
        let clean = clean.as_bool().unwrap_or(true) || turned;
        let version = number(version)?;
        Some(Box::new(Work {
            number: self.jobs.enter(id, version, self.mask, clean),
            fields: Fields {
                tip: self.tip,
                template: 0,
                version,
                version_rolling_allowed: self.mask & ROLLED_BY_ALL == ROLLED_BY_ALL,
                prev_hash,
                nbits: number(nbits)?,
                header_timestamp: ntime,
                min_ntime: ntime,
                merkle_path,
                coinbase: halves.into(),
                share_work_max: Some(self.target.share_work()),
                block_target: None,
                publish: false,
            },
            version_mask: self.mask,
            clean,
        }))
    }
}

/// The previous hash of a job, raw hash order.
fn read_prev_hash(value: &Value) -> Option<[u8; 32]> {
    let mut hash: [u8; 32] = bytes(value)?.try_into().ok()?;
    // Each word has its bytes the other way round.
    hash.as_chunks_mut::<4>()
        .0
        .iter_mut()
        .for_each(|word| word.reverse());
    Some(hash)
}

/// What a line means for who only listens: the previous hash of its job, raw hash order, if it is a job.
///
/// # Errors
/// When it cannot be read.
pub fn heard(line: &[u8]) -> Result<Option<[u8; 32]>, LineError> {
    match Line::read_within(line, LINE_BYTES_MAX)? {
        Line::Call { method, params, .. } if method == "mining.notify" => {
            Ok(params.get(1).and_then(read_prev_hash))
        }
        _ => Ok(None),
    }
}

/// All bytes of a text of hex.
fn bytes(value: &Value) -> Option<Vec<u8>> {
    let text = value.as_str().filter(|text| text.len().is_multiple_of(2))?;
    hex::bytes(text, text.len() / 2)
}
