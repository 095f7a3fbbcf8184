//! What a connection has of job negotiation: its declare machine, and its place at the desk.

use std::task::{Context, Poll};

use adit_proto::declare::server::{Input, Output, Server};
use adit_proto::mining::server::{AccountId, Asked};
use adit_proto::{Fault, Time};
use adit_wire::Message;
use adit_wire::declare::{ProvideMissingTransactionsSuccess, ToServer};
use adit_wire::frame::Header;
use tokio::sync::mpsc;

use super::desk::{ANSWERS_MAX, Answer, Caller, Door, ToDesk};

/// Longest message of a job declaration client, ProvideMissingTransactions.Success apart: the longest list of wtxids that
/// the field can hold, to be refused by its name.
const MESSAGE_BYTES_MAX: u32 = 2_400_000;

/// A connection's place at the desk.
#[derive(Debug)]
pub(super) struct Seat {
    door: Door,
    caller: Caller,
    answers: mpsc::Receiver<Answer>,
    next: Option<Answer>,
}

impl Seat {
    /// A place at the desk behind `door`, which may be none.
    pub(super) fn take(door: Option<&Door>) -> Option<Box<Self>> {
        let door = door?.clone();
        let (sender, answers) = mpsc::channel(ANSWERS_MAX);
        let caller = Caller {
            // Unguessable is more than it needs to be; unique is what it must be, over all workers.
            connection: u64::from_le_bytes(adit_net::random::bytes()),
            answers: sender,
        };
        Some(Box::new(Self {
            door,
            caller,
            answers,
            next: None,
        }))
    }

    /// SetCustomMiningJob is for the desk.
    pub(super) fn ask_custom(&self, asked: Box<Asked>) {
        self.door.ask(ToDesk::Custom(self.caller.clone(), asked));
    }

    /// Ready when there is an answer.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.next.is_none() {
            match self.answers.poll_recv(cx) {
                Poll::Ready(answer) => self.next = answer,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }

    /// The next answer, if one is there.
    pub(super) fn answer(&mut self) -> Option<Answer> {
        self.next.take().or_else(|| self.answers.try_recv().ok())
    }

    /// A declare machine for this connection.
    pub(super) fn machine(&self, now: Time, setup: &adit_proto::setup::Established) -> Box<Server> {
        let (settings, budget) = (self.door.machine.clone(), self.door.budget.clone());
        Box::new(Server::new(now, settings, budget, setup))
    }

    /// Gives the machine an input and does what it wants.
    pub(super) fn drive(
        &self,
        now: Time,
        machine: &mut Server,
        input: Input,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let mut outputs = Vec::new();
        let result = machine.handle(now, input, &mut outputs);
        for output in outputs {
            self.perform(output, out);
        }
        result
    }

    fn perform(&self, output: Output, out: &mut Vec<u8>) {
        let caller = self.caller.clone();
        self.door.ask(match output {
            Output::Send(message) => return message.encode_frame(out),
            Output::Event(event) => return tracing::trace!(?event, "job declaration"),
            Output::Allocate {
                request_id,
                user_identifier,
            } => ToDesk::Allocate {
                caller,
                request_id,
                account: AccountId::of(&user_identifier),
            },
            Output::Lookup(lookup) => ToDesk::Lookup(caller, lookup),
            Output::Check { declaration, job } => ToDesk::Check(caller, declaration, job),
            Output::Solution(solved) => ToDesk::Solution(solved),
        });
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.door.ask(ToDesk::Gone(self.caller.connection));
    }
}

/// The longest message under this header that is read now. Transactions that nobody asked for are not even read.
pub(super) fn length_max(machine: &Server, header: &Header) -> Option<u32> {
    let provides = (header.extension(), header.msg_type)
        == (
            ProvideMissingTransactionsSuccess::EXTENSION,
            ProvideMissingTransactionsSuccess::TYPE,
        );
    if provides {
        // A short one is read, so that the fault has a name.
        let most = machine.provided_bytes_max().max(64);
        return Some(u32::try_from(most).unwrap_or(u32::MAX));
    }
    ToServer::length_max(header).map(|most| most.min(MESSAGE_BYTES_MAX))
}
