//! Job distribution on the miners' port (`docs/job-distribution.md`): what the negotiator above this pool has negotiated
//! goes to everybody who asks for it.

use std::net::IpAddr;
use std::sync::Arc;

use adit_proto::distribute::server::{Event, Input, Output, Server};
use adit_proto::distribute::{Solved, State};
use adit_proto::setup::{self, Served};
use adit_wire::common::{flags, protocol};
use tokio::sync::{mpsc, watch};

use crate::config::Receivers;

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

/// What connections need of it.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    pub(super) distribution: Distribution,
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
            setup: Arc::new(setup),
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
                Output::Send(message) => message.encode_frame(out),
                Output::Solution(solved) => {
                    if self.distribution.solutions.try_send(solved).is_err() {
                        tracing::error!("a receiver's block was dropped: others wait to be submitted");
                    }
                }
                Output::Event(Event::Refused { job_id, code }) => {
                    tracing::info!(job_id, %code, "a receiver's pool does not take a distributed job");
                }
                Output::Event(Event::NoSolution { job_id }) => {
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
