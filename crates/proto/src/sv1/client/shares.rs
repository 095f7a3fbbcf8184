//! Shares to the pool, and its verdicts.

use super::{Client, Event, ask};
use crate::sv1::hex;
use serde_json::{Value, json};
use std::collections::VecDeque;

/// Jobs of one tip that are remembered; older ones are over.
const JOBS_MAX: usize = 64;

/// Shares that may wait for an answer; the oldest is given up.
const PENDING_MAX: usize = 4_096;

/// Ids below are those of the first requests.
const FIRST_ID: u64 = 16;

/// A share for the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The caller's own number for it.
    pub number: u64,
    /// [`Work::number`](super::Work::number).
    pub job: u32,
    /// The extranonce of this side, whole.
    pub extranonce: Vec<u8>,
    /// Header time, seconds.
    pub ntime: u32,
    /// Header nonce.
    pub nonce: u32,
    /// Header version, full nVersion.
    pub version: u32,
}

#[derive(Debug)]
struct Job {
    number: u32,
    id: Box<str>,
    version: u32,
    mask: u32,
}

/// The jobs that shares can still be of.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    open: VecDeque<Job>,
    last: u32,
}

impl Jobs {
    pub(super) fn enter(&mut self, id: &str, version: u32, mask: u32, clean: bool) -> u32 {
        if clean {
            self.open.clear();
        }
        if self.open.len() >= JOBS_MAX {
            self.open.pop_front();
        }
        self.last = self.last.wrapping_add(1);
        self.open.push_back(Job {
            number: self.last,
            id: id.into(),
            version,
            mask,
        });
        self.last
    }

    fn find(&self, number: u32) -> Option<&Job> {
        self.open.iter().rev().find(|job| job.number == number)
    }
}

/// Shares without an answer: id on the wire, and the caller's number.
#[derive(Debug, Default)]
pub(super) struct Pending {
    shares: VecDeque<(u64, u64)>,
    sent: u64,
}

impl Pending {
    pub(super) fn len(&self) -> usize {
        self.shares.len()
    }
}

impl Client {
    pub(super) fn submit(&mut self, share: &Share, lines: &mut Vec<u8>, out: &mut Vec<Event>) {
        let refused = |code, text: &str| Event::Refused {
            number: share.number,
            code,
            text: text.to_owned(),
        };
        let Some(job) = self.jobs.find(share.job) else {
            out.push(refused(21, "the job is over"));
            return;
        };
        if (share.version ^ job.version) & !job.mask != 0 {
            out.push(refused(20, "the pool does not let these version bits be rolled"));
            return;
        }
        let mut extranonce2 = Vec::new();
        hex::write(&share.extranonce, &mut extranonce2);
        let mut params = vec![
            json!(self.settings.user),
            json!(job.id),
            json!(String::from_utf8_lossy(&extranonce2)),
            json!(format!("{:08x}", share.ntime)),
            json!(format!("{:08x}", share.nonce)),
        ];
        if job.mask != 0 {
            params.push(json!(format!("{:08x}", share.version & job.mask)));
        }
        let id = FIRST_ID + self.pending.sent;
        self.pending.sent += 1;
        if self.pending.shares.len() >= PENDING_MAX
            && let Some((_, number)) = self.pending.shares.pop_front()
        {
            let text = "the pool never answered".to_owned();
            out.push(Event::Refused {
                number,
                code: 20,
                text,
            });
        }
        self.pending.shares.push_back((id, share.number));
        ask(id, "mining.submit", &Value::Array(params), lines);
    }

    /// The pool's word on a share. Answers may come in any order.
    pub(super) fn judged(&mut self, id: u64, result: &Value, error: &Value, out: &mut Vec<Event>) {
        let Some(at) = self.pending.shares.iter().position(|(known, _)| *known == id) else {
            return;
        };
        let Some((_, number)) = self.pending.shares.remove(at) else {
            return;
        };
        out.push(match *result == Value::Bool(true) {
            true => Event::Accepted { number },
            false => Event::Refused {
                number,
                code: error.get(0).and_then(Value::as_u64).unwrap_or(20),
                text: error
                    .get(1)
                    .and_then(Value::as_str)
                    .unwrap_or("refused")
                    .chars()
                    .take(64)
                    .collect(),
            },
        });
    }
}
