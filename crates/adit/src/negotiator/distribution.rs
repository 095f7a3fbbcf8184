//! Jobs that the upstream has taken, passed on to others (`docs/job-distribution.md`).
//!
//! A job becomes current when the pool has answered our own SetCustomMiningJob: who set it sooner could use the token up
//! before us. For a new block it is told before that, as a future job: all of it is on its way while the pool judges, and
//! the pool's word takes one short message. It leaves the board with its block, its upstream, or the connection to it.

use std::collections::VecDeque;
use std::sync::Arc;

use adit_net::Url;
use adit_node::{Handle, Solution, Template};
use adit_noise::AuthorityKey;
use adit_proto::distribute::board::{Board, Input, Output};
use adit_proto::distribute::{Pool, Solved, State, Tip, coinbase};
use adit_wire::declare::PushSolution;
use adit_wire::distribute::NewDistributedJob;
use adit_wire::mining::SetCustomMiningJob;
use adit_wire::refusal::WithdrawJob;
use adit_wire::{Str0_255, U256};
use bitcoin::hashes::Hash;
use tokio::sync::watch;

use crate::device::upstream::text;
use crate::uplink::BRANCH_BYTES;

/// Jobs that wait for the pool's word.
const ASKED_MAX: usize = 16;
/// Templates whose blocks others may still find.
const TEMPLATES_MAX: usize = 32;

/// What others get of our negotiation.
pub(super) struct Distributor {
    board: Board,
    states: watch::Sender<Arc<State>>,
    user: Str0_255,
    node: Handle,
    /// Set at the pool, not answered yet.
    asked: VecDeque<Asked>,
    templates: VecDeque<Arc<Template>>,
}

/// A job that the pool was told.
struct Asked {
    message: SetCustomMiningJob,
    /// Bytes of its extranonce.
    full_size: u16,
    /// Its number on the board, where it is there as a future job.
    future: Option<u32>,
}

impl Asked {
    const fn tip(&self) -> Tip {
        Tip {
            prev_hash: self.message.prev_hash,
            min_ntime: self.message.min_ntime,
            nbits: self.message.nbits,
        }
    }
}

impl Distributor {
    /// Nothing is distributed yet.
    pub(super) fn new(user: &str, node: Handle, states: watch::Sender<Arc<State>>) -> Self {
        Self {
            board: Board::new(),
            states,
            user: text(user),
            node,
            asked: VecDeque::new(),
            templates: VecDeque::new(),
        }
    }

    /// Another upstream, or another connection to it, is worked for; `None`: none is.
    pub(super) fn work_for(&mut self, upstream: Option<&Url>) {
        self.asked.clear();
        let pool = upstream.map(|url| Pool {
            host: text(&url.host),
            port: url.port,
            key: url.key.as_ref().map(AuthorityKey::to_bytes),
            user_identity: self.user.clone(),
            min_extranonce_size: BRANCH_BYTES as u16,
        });
        self.post(Input::Pool(pool));
    }

    /// The node has another template, perhaps of another block.
    pub(super) fn template(&mut self, template: &Arc<Template>) {
        if self.templates.len() >= TEMPLATES_MAX {
            self.templates.pop_front();
        }
        self.templates.push_back(Arc::clone(template));
        let tip = U256(template.prev_hash.to_byte_array());
        let late: Vec<u32> = self
            .asked
            .iter()
            .filter(|it| it.message.prev_hash != tip)
            .filter_map(|it| it.future)
            .collect();
        for job_id in late {
            self.post(Input::Withdraw(job_id, WithdrawJob::StaleChainTip));
        }
        let active = self.board.state().active.as_ref();
        if active.is_some_and(|active| active.tip.prev_hash != tip) {
            self.post(Input::End(WithdrawJob::StaleChainTip));
        }
    }

    /// A job goes to the pool.
    pub(super) fn asked(&mut self, message: &SetCustomMiningJob, full_size: usize) {
        if self.asked.len() >= ASKED_MAX
            && let Some(Asked {
                future: Some(job_id), ..
            }) = self.asked.pop_front()
        {
            self.post(Input::Withdraw(job_id, WithdrawJob::Replaced));
        }
        let mut asked = Asked {
            message: message.clone(),
            full_size: u16::try_from(full_size).unwrap_or(u16::MAX),
            future: None,
        };
        let active = self.board.state().active.as_ref();
        if active.is_none_or(|active| !active.tip.is_same_block(&asked.tip())) {
            let job = job_of(message.clone(), asked.full_size);
            asked.future = self.post(Input::Future(Box::new(job)));
        }
        self.asked.push_back(asked);
    }

    /// The pool does not take it.
    pub(super) fn refused(&mut self, request: u32) {
        if let Some(Asked {
            future: Some(job_id), ..
        }) = self.answered(request)
        {
            self.post(Input::Withdraw(job_id, WithdrawJob::RefusedByPool));
        }
    }

    fn answered(&mut self, request: u32) -> Option<Asked> {
        let place = self
            .asked
            .iter()
            .position(|it| it.message.request_id == request)?;
        self.asked.remove(place)
    }

    /// The pool pays for it: it goes to everybody, unless a newer block has made it worthless.
    pub(super) fn taken(&mut self, request: u32) {
        let Some(asked) = self.answered(request) else {
            return;
        };
        let (tip, newest) = (asked.tip(), self.templates.back());
        if newest.is_some_and(|newest| newest.prev_hash.to_byte_array() != tip.prev_hash.0) {
            return;
        }
        let is_there = |job_id: &u32| self.board.state().futures.iter().any(|job| job.job_id == *job_id);
        self.post(match asked.future.filter(is_there) {
            Some(job_id) => Input::Activate { job_id, tip },
            None => Input::Job(Box::new(job_of(asked.message, asked.full_size)), tip),
        });
    }

    /// A receiver's block goes to our node at once; what the declaration server is to be told.
    pub(super) fn solved(&self, solved: &Solved) -> PushSolution {
        let (job, tip, found) = (&solved.active.job, &solved.active.tip, &solved.solution);
        let is_of = |template: &&Arc<Template>| {
            let path = job.merkle_path.iter().map(|branch| &branch.0);
            template.prev_hash.to_byte_array() == tip.prev_hash.0 && path.eq(&template.merkle_path)
        };
        match self.templates.iter().rev().find(is_of) {
            Some(template) => self.submit(template, solved),
            None => tracing::error!("the template of a receiver's block is gone: the pool must publish it"),
        }
        PushSolution {
            extranonce: found.extranonce,
            prev_hash: tip.prev_hash,
            nonce: found.nonce,
            ntime: found.ntime,
            nbits: tip.nbits,
            version: found.version,
        }
    }

    fn submit(&self, template: &Template, solved: &Solved) {
        let found = &solved.solution;
        let witness = template.coinbase_witness.as_ref();
        let Some(coinbase_tx) = coinbase(&solved.active.job, found.extranonce.as_bytes(), witness) else {
            return;
        };
        let solution = Solution {
            template: template.id,
            version: found.version,
            header_timestamp: found.ntime,
            header_nonce: found.nonce,
            coinbase_tx,
        };
        let node = self.node.clone();
        tokio::spawn(async move {
            match node.submit(solution).await {
                Ok(verdict) => tracing::info!(?verdict, "block of a receiver submitted"),
                Err(error) => tracing::error!(?error, "block of a receiver not submitted"),
            }
        });
    }

    /// Gives the board something; the number of the job, if it was a new one.
    fn post(&mut self, input: Input) -> Option<u32> {
        let (mut outputs, mut number) = (Vec::new(), None);
        self.board.handle(input, &mut outputs);
        for output in outputs {
            match output {
                Output::State(state) => {
                    self.states.send_replace(state);
                }
                Output::Numbered(job_id) => number = Some(job_id),
            }
        }
        number
    }
}

fn job_of(message: SetCustomMiningJob, full_extranonce_size: u16) -> NewDistributedJob {
    NewDistributedJob {
        job_id: 0,
        min_ntime: None,
        mining_job_token: message.mining_job_token,
        full_extranonce_size,
        version: message.version,
        coinbase_tx_version: message.coinbase_tx_version,
        coinbase_prefix: message.coinbase_prefix,
        coinbase_tx_input_n_sequence: message.coinbase_tx_input_n_sequence,
        coinbase_tx_outputs: message.coinbase_tx_outputs,
        coinbase_tx_locktime: message.coinbase_tx_locktime,
        merkle_path: message.merkle_path,
    }
}
