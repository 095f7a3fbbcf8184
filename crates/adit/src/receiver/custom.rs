//! What a channel at a pool mines that has a distributor: its distributed job, or the pool's own.

use std::collections::VecDeque;
use std::sync::Arc;

use adit_proto::Time;
use adit_proto::coinbase::SCRIPT_PREFIX_MAX;
use adit_proto::distribute::receiver::{self, Input, Mine, Receiver};
use adit_proto::distribute::{Active, halves};
use adit_proto::mining::client::{Coinbase, Root, Share, Work};
use adit_proto::target::Target;
use adit_wire::distribute::SubmitSolution;
use adit_wire::mining::SetCustomMiningJob;
use adit_wire::refusal;
use adit_wire::{B0_32, Str0_255, U256};
use bitcoin::hashes::{Hash, sha256d};

use super::{Report, Slot};

/// Distributed jobs that are known by the pool's number: a block may be found on one that another has replaced.
const MINED_MAX: usize = 8;

/// The session's channel at the pool.
#[derive(Clone, Copy, Debug)]
struct Channel {
    id: u32,
    prefix: B0_32,
    size: u16,
    version_mask: u32,
}

/// A distributed job that the pool has taken.
#[derive(Debug)]
struct Mined {
    /// The distributor's number of it.
    job_id: u32,
    work: Work,
}

/// One session's part in job distribution.
#[derive(Debug)]
pub(crate) struct Custom {
    slot: Arc<Slot>,
    seen: u64,
    receiver: Receiver,
    channel: Option<Channel>,
    own: Option<Work>,
    /// Newest last.
    mined: VecDeque<Mined>,
    /// Whether the newest of them is mined, and not the pool's own.
    is_custom: bool,
    /// The target that came with the pool's last Success.
    target: U256,
}

/// What the session has to do.
#[derive(Debug)]
pub(crate) enum Todo {
    /// Send this to the pool.
    Set(Box<SetCustomMiningJob>),
    /// Hang this up for the miners.
    Mine(Work),
}

impl Custom {
    pub(crate) fn new(slot: Arc<Slot>) -> Self {
        Self {
            slot,
            // Not what any slot says: the first look is always news.
            seen: u64::MAX,
            receiver: Receiver::new(),
            channel: None,
            own: None,
            mined: VecDeque::new(),
            is_custom: false,
            target: U256::MAX,
        }
    }

    /// Ready when the distributor has something else to mine.
    pub(crate) fn poll(&self, cx: &std::task::Context<'_>) -> std::task::Poll<()> {
        self.slot.poll(self.seen, cx)
    }

    /// Looks what the distributor has.
    pub(crate) fn look(&mut self, now: Time) -> Vec<Todo> {
        let (generation, job) = self.slot.look();
        if std::mem::replace(&mut self.seen, generation) == generation {
            return Vec::new();
        }
        self.feed(now, job.map_or(Input::NoJob, Input::Job))
    }

    /// The channel is open, or has another prefix.
    pub(crate) fn opened(
        &mut self,
        now: Time,
        id: u32,
        prefix: B0_32,
        size: u16,
        version_mask: u32,
    ) -> Vec<Todo> {
        // Another connection numbers its jobs anew.
        self.mined.clear();
        self.channel = Some(Channel {
            id,
            prefix,
            size,
            version_mask,
        });
        let channel = receiver::Channel {
            id,
            full_size: prefix.len() + usize::from(size),
        };
        self.feed(now, Input::Channel(Some(channel)))
    }

    /// The pool's own work.
    pub(crate) fn work(&mut self, now: Time, work: Work) -> Vec<Todo> {
        let mut todo = self.feed(now, Input::PoolTip(work.prev_hash));
        self.own = Some(work.clone());
        if !self.is_custom {
            todo.push(Todo::Mine(work));
        }
        todo
    }

    /// The pool takes a job, whose shares must meet `target`.
    pub(crate) fn taken(&mut self, now: Time, request_id: u32, job_id: u32, target: U256) -> Vec<Todo> {
        self.target = target;
        self.feed(now, Input::JobTaken { request_id, job_id })
    }

    /// The pool does not take a job; without a code it did not answer.
    pub(crate) fn refused(&mut self, now: Time, request_id: u32, code: Option<Str0_255>) -> Vec<Todo> {
        self.feed(now, Input::JobRefused { request_id, code })
    }

    /// A share was sent: if it is a block, the distributor, who has the transactions, is told.
    pub(crate) fn sent(&self, share: &Share) {
        let mined = self.mined.iter().rev().find(|it| it.work.job_id == share.job_id);
        let Some(Mined { job_id, work }) = mined else {
            return;
        };
        let Root::Coinbase {
            extranonce_prefix, ..
        } = &work.root
        else {
            return;
        };
        let header = [
            &share.version.to_le_bytes()[..],
            &work.prev_hash.0,
            &work.merkle_root(&share.extranonce).0,
            &share.ntime.to_le_bytes(),
            &work.nbits.to_le_bytes(),
            &share.nonce.to_le_bytes(),
        ]
        .concat();
        let hash = sha256d::Hash::hash(&header).to_byte_array();
        let whole = [&extranonce_prefix[..], &share.extranonce[..]].concat();
        if Target::from_nbits(work.nbits).is_met_by(&hash)
            && let Ok(extranonce) = B0_32::new(&whole)
        {
            self.slot.report(Report::Solution(SubmitSolution {
                job_id: *job_id,
                extranonce,
                version: share.version,
                ntime: share.ntime,
                nonce: share.nonce,
            }));
        }
    }

    fn feed(&mut self, now: Time, input: Input) -> Vec<Todo> {
        let (mut outputs, mut todo) = (Vec::new(), Vec::new());
        self.receiver.handle(input, &mut outputs);
        for output in outputs {
            match output {
                receiver::Output::Custom(message) if message.coinbase_prefix.len() > SCRIPT_PREFIX_MAX => {
                    // It would not be sent: no job of a pool that keeps to the spec is like that (5.3.18).
                    let code = refusal::SetCustomMiningJob::InvalidCoinbasePrefix;
                    todo.extend(self.refused(now, message.request_id, Some(code.into())));
                }
                receiver::Output::Custom(message) => todo.push(Todo::Set(message)),
                receiver::Output::Refused { job_id, code } => {
                    tracing::warn!(%code, "the pool does not take the distributed job: mining its own");
                    self.slot.report(Report::Refused { job_id, code });
                }
                receiver::Output::Mine(Mine::Own) => {
                    tracing::info!("mining the pool's own jobs");
                    self.is_custom = false;
                    todo.extend(self.own.clone().map(Todo::Mine));
                }
                receiver::Output::Mine(Mine::Custom { job_id, active }) => {
                    if let Some(work) = self.work_of(now, job_id, &active) {
                        tracing::info!(job_id, "mining the distributed job");
                        if self.mined.len() >= MINED_MAX {
                            self.mined.pop_front();
                        }
                        self.mined.push_back(Mined {
                            job_id: active.job.job_id,
                            work: work.clone(),
                        });
                        self.is_custom = true;
                        todo.push(Todo::Mine(work));
                    }
                }
            }
        }
        todo
    }

    fn work_of(&self, now: Time, job_id: u32, active: &Active) -> Option<Work> {
        let channel = self.channel?;
        let (job, tip) = (&active.job, &active.tip);
        let (prefix, suffix) = halves(job)?;
        Some(Work {
            channel: channel.id,
            job_id,
            version: job.version,
            version_mask: channel.version_mask,
            prev_hash: tip.prev_hash,
            root: Root::Coinbase {
                coinbase: Arc::new(Coinbase {
                    version: job.version,
                    version_rolling_allowed: channel.version_mask != 0,
                    prefix,
                    suffix,
                    path: job.merkle_path.iter().map(|branch| branch.0).collect(),
                }),
                extranonce_prefix: channel.prefix,
                extranonce_size: channel.size,
            },
            min_ntime: tip.min_ntime,
            since: now,
            nbits: tip.nbits,
            target: self.target,
            new_tip: false,
        })
    }
}
