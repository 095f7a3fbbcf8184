//! Job distribution on the miners' port (`docs/job-distribution.md`): what the negotiator above this pool has negotiated
//! goes to everybody who asks for it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use adit_net::End;
use adit_proto::distribute::server::{Event, Input, Output, Server};
use adit_proto::distribute::{Solved, State};
use adit_proto::setup::{self, Served};
use adit_wire::common::{flags, protocol};
use adit_wire::distribute::ToClient;
use tokio::sync::{mpsc, watch};

use crate::config::Receivers;
use crate::observe as status;

/// What a pool has of its negotiator's jobs.
#[derive(Clone, Debug)]
pub struct Distribution {
    /// What is distributed.
    pub states: watch::Receiver<Arc<State>>,
    /// Where blocks go that receivers have found.
    pub solutions: mpsc::Sender<Box<Solved>>,
    /// Who may have the jobs.
    pub receivers: Receivers,
}

/// What was done for receivers; connections of all workers count here.
#[derive(Debug, Default)]
struct Counts {
    receivers: AtomicU64,
    joined: AtomicU64,
    slow: AtomicU64,
    jobs: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
    refused: AtomicU64,
    solutions: AtomicU64,
    junk: AtomicU64,
}

fn more(count: &AtomicU64, by: u64) {
    count.fetch_add(by, Ordering::Relaxed);
}

/// What connections need of it.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) distribution: Distribution,
    counts: Counts,
    /// What those are offered who may have jobs.
    setup: Arc<setup::Settings>,
}

impl Desk {
    pub(super) fn new(distribution: Distribution, setup: &setup::Settings) -> Self {
        let mut setup = setup.clone();
        setup.protocols.push(Served {
            protocol: protocol::JOB_DISTRIBUTION,
            supported_flags: flags::REQUIRES_ACTIVE_JOBS,
            required_flags: 0,
            success_flags: 0,
        });
        Self {
            distribution,
            counts: Counts::default(),
            setup: Arc::new(setup),
        }
    }

    /// A receiver is there.
    pub(super) fn joined(&self) {
        more(&self.counts.receivers, 1);
        more(&self.counts.joined, 1);
    }

    /// A receiver has left, or had to.
    pub(super) fn left(&self, end: &End) {
        self.counts.receivers.fetch_sub(1, Ordering::Relaxed);
        more(&self.counts.slow, u64::from(matches!(end, End::Slow)));
    }

    /// As people see it.
    pub(super) fn picture(&self) -> status::Distribution {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let it = &self.counts;
        status::Distribution {
            receivers: of(&it.receivers),
            joined: of(&it.joined),
            dropped_slow: of(&it.slow),
            jobs: of(&it.jobs),
            messages: of(&it.messages),
            bytes: of(&it.bytes),
            refused: of(&it.refused),
            solutions: of(&it.solutions),
            junk: of(&it.junk),
        }
    }

    /// What a peer is offered; nothing special to who may have no jobs.
    pub(super) fn setup_for(&self, peer: IpAddr) -> Option<Arc<setup::Settings>> {
        let may = self.distribution.receivers.allows(peer);
        may.then(|| Arc::clone(&self.setup))
    }

    /// Gives the machine an input and does what it wants.
    pub(super) fn drive(&self, server: &mut Server, input: Input, out: &mut Vec<u8>) {
        let mut outputs = Vec::new();
        server.handle(input, &mut outputs);
        for output in outputs {
            match output {
                Output::Send(message) => {
                    let before = out.len();
                    message.encode_frame(out);
                    more(&self.counts.messages, 1);
                    more(&self.counts.bytes, (out.len() - before) as u64);
                    let is_job = matches!(message, ToClient::NewDistributedJob(_));
                    more(&self.counts.jobs, u64::from(is_job));
                }
                Output::Solution(solved) => {
                    more(&self.counts.solutions, 1);
                    if self.distribution.solutions.try_send(solved).is_err() {
                        tracing::error!("a receiver's block was dropped: others wait to be submitted");
                    }
                }
                Output::Event(Event::Refused { job_id, code }) => {
                    more(&self.counts.refused, 1);
                    tracing::info!(job_id, %code, "a receiver's pool does not take a distributed job");
                }
                Output::Event(Event::NoSolution { job_id }) => {
                    more(&self.counts.junk, 1);
                    tracing::debug!(job_id, "a receiver's solution makes no block");
                }
            }
        }
    }

    /// What is distributed now.
    pub(super) fn state(&self) -> Input {
        Input::State(Arc::clone(&self.distribution.states.borrow()))
    }
}

/// Waits for another state; for ever, where nothing is distributed.
pub(super) async fn changed(states: &mut Option<watch::Receiver<Arc<State>>>) {
    if let Some(states) = states
        && states.changed().await.is_ok()
    {
        return;
    }
    // An error: the negotiator is gone, which is the end of the process.
    std::future::pending().await
}
