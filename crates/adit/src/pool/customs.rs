//! The hub's part of custom jobs: verdicts go to the ledger, blocks go to the node.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use adit_ledger::blocks::FoundBlock;
use adit_proto::Time;
use adit_proto::declare::{Declared, Solved};
use adit_proto::mining::server::{AccountId, Found};

use super::desk::{Counts, Judged, ToDesk, UNSEEN};
use super::hub::Hub;
use super::records;
use crate::observe as status;

/// Accepted custom jobs whose transactions are at hand for their blocks.
const JOBS_MAX: usize = 1_024;
/// Blocks of jobs without transactions whose fate is awaited.
const UNSEEN_MAX: usize = 1_024;

/// What the hub knows of custom jobs.
#[derive(Debug, Default)]
pub(super) struct Customs {
    /// By template id, oldest first.
    jobs: VecDeque<(u64, Arc<Declared>)>,
    /// Whose blocks nobody here can publish, by their hash.
    unseen: HashMap<[u8; 32], AccountId>,
}

impl Customs {
    fn find(&self, template: u64) -> Option<&Arc<Declared>> {
        let mut newest_first = self.jobs.iter().rev();
        newest_first.find(|(id, _)| *id == template).map(|(_, job)| job)
    }

    /// Jobs of former tips go: their bytes are wanted.
    pub(super) fn turn_to(&mut self, prev_hash: &[u8; 32], before: Option<[u8; 32]>) {
        self.jobs
            .retain(|(_, job)| job.prev_hash == *prev_hash || Some(job.prev_hash) == before);
    }
}

impl Hub {
    /// The desk has judged a job: every verdict is a record.
    pub(super) fn custom_judged(&mut self, judged: Judged) {
        if self.lane.custom(judged.record).is_err() {
            tracing::warn!("the ledger is down: a verdict on a custom job is not in it");
        }
        if let (Some(template), Some(declared)) = (judged.template, judged.declared) {
            let jobs = &mut self.state.customs.jobs;
            // A job with a shared token is set on many connections under one name.
            if jobs.iter().rev().any(|(id, _)| *id == template) {
                return;
            }
            if jobs.len() >= JOBS_MAX {
                jobs.pop_front();
            }
            jobs.push_back((template, declared));
        }
    }

    /// A share was a block of a custom job. With its transactions the whole block is published from here; without, its
    /// miner must, and the chain is watched for it.
    pub(super) fn found_on_custom_job(&mut self, found: &Found, read_at: Time) {
        let (now, fields) = (self.clock.now(), found.job.fields());
        let height = fields.coinbase.height().unwrap_or_default();
        let mut block = records::found(found, height, now, None);
        match self.state.customs.find(fields.template) {
            Some(declared) => block.block = declared.block(&found.header, &found.coinbase),
            None if fields.template & UNSEEN != 0 => {
                if self.state.customs.unseen.len() < UNSEEN_MAX {
                    self.state.customs.unseen.insert(found.hash, found.account);
                }
            }
            None => tracing::error!(
                height,
                "the transactions of a found block are gone: its miner must publish it"
            ),
        }
        let credits = self.paying.credits_of_custom(&found.coinbase);
        block.credits = credits.text();
        let record = records::block(&block, found.worker);
        if self.send(block, read_at) {
            self.note_found(record, found.account, found.worker);
            self.book_credits(height, found.hash, &credits);
        }
    }

    /// PushSolution: most often the share comes as well, on the mining connection, before or after.
    pub(super) fn solved(&mut self, solved: Solved, at: Time) {
        let job = &solved.job;
        let credits = self.paying.credits_of_custom(&solved.coinbase);
        let block = FoundBlock {
            hash: solved.hash,
            height: job.height,
            time_us: self.clock.now().0,
            value: job.coinbase.value().unwrap_or_default(),
            account: job.account.0,
            channel: 0,
            header: solved.header,
            coinbase: solved.coinbase.clone(),
            block: job.block(&solved.header, &solved.coinbase),
            template: "declared".to_owned(),
            credits: credits.text(),
        };
        let record = records::block(&block, None);
        if self.send(block, at) {
            let (height, hash) = (record.height, record.hash);
            self.note_found(record, job.account, None);
            self.book_credits(height, hash, &credits);
        }
    }

    /// To every block path; false when it is on its way already.
    fn send(&mut self, block: FoundBlock, read_at: Time) -> bool {
        if self.blocks.knows(&block.hash) {
            return false;
        }
        if block.block.is_empty() {
            self.blocks.watch(block);
        } else {
            self.blocks.found(block, None, read_at);
        }
        true
    }

    /// A block is in the chain: if it was of a job that nobody could check, its miner has shown that it was a good one.
    pub(super) fn cover(&mut self, hash: &[u8; 32]) {
        if let Some(account) = self.state.customs.unseen.remove(hash)
            && let Some(desk) = self.desk.upgrade()
        {
            // A full queue: it stays uncovered, which is on the safe side.
            let _ = desk.try_send(ToDesk::Covered(account));
        }
    }
}

impl Counts {
    /// As people see it.
    pub(super) fn picture(&self) -> status::Negotiation {
        status::Negotiation {
            tokens: self.tokens,
            tokens_live: self.tokens_live,
            declared: self.declared,
            declarations_refused: self.declarations_refused,
            custom_accepted: self.custom_accepted,
            custom_refused: self.custom_refused,
            solutions: self.solutions,
            node_calls: self.node_calls,
            bytes: self.bytes,
            bytes_max: self.bytes_max,
        }
    }
}
