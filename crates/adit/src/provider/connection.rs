//! One client of a provider: bytes to machines, machines' outputs to bytes, hub and node.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use adit_net::Protocol;
use adit_net::drive::Bounds;
use adit_node::Template;
use adit_proto::template::Paired;
use adit_proto::template::server::{Event, Input, Offer, Output, Server};
use adit_proto::{Fault, Time, setup};
use adit_wire::DecodeError;
use adit_wire::common;
use adit_wire::frame::Header;
use adit_wire::template::{NewTemplate, SetNewPrevHash, ToServer, decode_to_server};
use adit_wire::types::U256;
use bitcoin::consensus::Encodable;
use bitcoin::hashes::Hash;

use super::hub::{Hub, Lookup, Seat};
use crate::pool::connection::{Budget, UNKNOWN_BYTES_MAX};

/// There is another template.
pub(super) const OFFER: u8 = 1;
/// There are transactions that may be waited for.
pub(super) const ANSWERS: u8 = 2;
/// The provider is stopping.
pub(super) const CLOSING: u8 = 8;

/// How long a request waits for the node to give the transactions.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(10);

/// One answer holds a block. The next one waits until the client has read this one.
pub(super) const BOUNDS: Bounds = Bounds {
    queue_high_bytes: 32 * 1024,
    queue_max_bytes: 16 << 20,
    stall: Duration::from_secs(20),
};

/// The machine in charge, and what it awaits.
enum Stage {
    ExpectSetup(setup::Server),
    Serving(Box<Server>),
}

/// A request for transactions that is not answered yet.
#[derive(Clone, Copy, Debug)]
struct Asked {
    template_id: u64,
    source: u64,
    until: Time,
}

/// One client.
pub(super) struct Connection {
    hub: Rc<Hub>,
    seat: Rc<Seat>,
    peer: SocketAddr,
    stage: Stage,
    /// Answered one at a time: each may be megabytes.
    asked: VecDeque<Asked>,
    messages: Budget,
    closing: bool,
}

impl Connection {
    pub(super) fn new(hub: Rc<Hub>, seat: Rc<Seat>, peer: SocketAddr) -> Self {
        let now = hub.plan.clock.now();
        let machine = setup::Server::new(now, Arc::clone(&hub.plan.setup));
        let messages = Budget::new(hub.plan.messages_per_second, now);
        Self {
            hub,
            seat,
            peer,
            stage: Stage::ExpectSetup(machine),
            asked: VecDeque::new(),
            messages,
            closing: false,
        }
    }

    fn setup(&mut self, now: Time, input: setup::ServerInput, out: &mut Vec<u8>) -> Result<(), Fault> {
        let Stage::ExpectSetup(machine) = &mut self.stage else {
            return Ok(());
        };
        let mut outputs = Vec::new();
        let result = machine.handle(now, input, &mut outputs);
        for output in outputs {
            match output {
                setup::ServerOutput::Send(message) => message.encode_frame(out),
                setup::ServerOutput::Established(established) => {
                    let vendor = established.device.vendor.to_string();
                    tracing::info!(peer = %self.peer, vendor, "client connected");
                    self.stage = Stage::Serving(Box::new(Server::new(now, &self.hub.plan.template)));
                }
            }
        }
        result
    }

    fn serve(&mut self, now: Time, input: Input, out: &mut Vec<u8>) -> Result<(), Fault> {
        let Stage::Serving(server) = &mut self.stage else {
            return Ok(());
        };
        let mut outputs = Vec::new();
        let result = server.handle(now, input, &mut outputs);
        for output in outputs {
            self.perform(now, output, out)?;
        }
        result
    }

    fn perform(&mut self, now: Time, output: Output, out: &mut Vec<u8>) -> Result<(), Fault> {
        match output {
            Output::Send(message) => message.encode_frame(out),
            Output::Constraints(constraints) => {
                tracing::debug!(peer = %self.peer, ?constraints, "constraints");
                self.hub.join(&self.seat, constraints)?;
            }
            Output::Transactions { template_id, source } => {
                let until = now + LOOKUP_PATIENCE;
                self.asked.push_back(Asked {
                    template_id,
                    source,
                    until,
                });
                self.seat.mailbox.ring(ANSWERS);
            }
            Output::Solution { source, solution } => self.hub.solution(self.peer, source, solution),
            Output::Event(Event::UnknownTemplate { template_id }) => {
                tracing::warn!(peer = %self.peer, template_id, "a block on a template that is not known");
            }
        }
        Ok(())
    }

    /// Answers the first request that can be answered; whether there may be more.
    fn answer(&mut self, now: Time, out: &mut Vec<u8>) -> Result<bool, Fault> {
        for place in 0..self.asked.len() {
            let Some(asked) = self.asked.get(place).copied() else {
                break;
            };
            let transactions = match self.hub.lookup(asked.source) {
                Lookup::Known(transactions) => Some(transactions),
                Lookup::Coming if now < asked.until => continue,
                Lookup::Coming | Lookup::Gone => None,
            };
            self.asked.remove(place);
            let template_id = asked.template_id;
            self.serve(
                now,
                Input::Transactions {
                    template_id,
                    transactions,
                },
                out,
            )?;
            return Ok(!self.asked.is_empty());
        }
        Ok(false)
    }
}

impl Protocol for Connection {
    fn length_max(&self, header: &Header) -> u32 {
        match self.stage {
            Stage::ExpectSetup(_) => common::ToServer::length_max(header).unwrap_or(UNKNOWN_BYTES_MAX),
            Stage::Serving(_) => ToServer::length_max(header).unwrap_or(UNKNOWN_BYTES_MAX),
        }
    }

    fn frame(&mut self, now: Time, header: &Header, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        self.messages.spend(now)?;
        match self.stage {
            Stage::ExpectSetup(_) => {
                let input = match common::ToServer::decode(header, payload) {
                    Ok(message) => setup::ServerInput::Message(message),
                    Err(DecodeError::Unknown { .. }) => setup::ServerInput::Other,
                    Err(_) => return Err(Fault::Malformed("SetupConnection cannot be read")),
                };
                self.setup(now, input, out)
            }
            Stage::Serving(_) => match decode_to_server(header, payload) {
                Ok(message) => self.serve(now, Input::Message(message), out),
                // A second SetupConnection changes nothing; what is unknown is discarded (REQ-COM-006, REQ-FRM-023).
                Err(DecodeError::Unknown { .. }) => Ok(()),
                Err(error) => {
                    tracing::debug!(peer = %self.peer, %error, "malformed message");
                    Err(Fault::Malformed("a message cannot be read"))
                }
            },
        }
    }

    fn poll_mail(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.seat.mailbox.poll(cx)
    }

    fn mail(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        let news = self.seat.mailbox.take();
        self.closing |= news & CLOSING != 0;
        if news & OFFER != 0
            && let Some(offer) = self.hub.offer(&self.seat)
        {
            self.serve(now, Input::Offer(offer), out)?;
        }
        if news & ANSWERS != 0 && self.answer(now, out)? {
            self.seat.mailbox.ring(ANSWERS);
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Time> {
        let stage = match &self.stage {
            Stage::ExpectSetup(machine) => machine.deadline(),
            Stage::Serving(server) => server.deadline(),
        };
        let asked = self.asked.iter().map(|asked| asked.until).min();
        [stage, asked].into_iter().flatten().min()
    }

    fn expire(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        let late = |asked: &Asked| asked.until <= now;
        while let Some(place) = self.asked.iter().position(late) {
            let Some(asked) = self.asked.remove(place) else {
                break;
            };
            let template_id = asked.template_id;
            self.serve(
                now,
                Input::Transactions {
                    template_id,
                    transactions: None,
                },
                out,
            )?;
        }
        match self.stage {
            Stage::ExpectSetup(_) => self.setup(now, setup::ServerInput::Deadline, out),
            Stage::Serving(_) => self.serve(now, Input::Deadline, out),
        }
    }

    fn finished(&self) -> bool {
        self.closing
    }
}

/// A template of the node as it is offered to clients.
pub(super) fn offer_of(template: &Template) -> Arc<Offer> {
    let mut outputs = Vec::new();
    for output in &template.coinbase_tx_outputs {
        // Writing to a vector cannot fail.
        let _ = output.consensus_encode(&mut outputs);
    }
    let count = u32::try_from(template.coinbase_tx_outputs.len()).unwrap_or(u32::MAX);
    let branches: Vec<U256> = template.merkle_path.iter().copied().map(U256).collect();
    let tip = SetNewPrevHash {
        template_id: 0,
        prev_hash: U256(template.prev_hash.to_byte_array()),
        header_timestamp: template.header_timestamp,
        n_bits: template.nbits.to_consensus(),
        target: U256(template.block_target().0),
    };
    let template_part = NewTemplate {
        template_id: 0,
        future_template: false,
        version: template.version,
        coinbase_tx_version: template.coinbase_tx_version,
        coinbase_prefix: template.coinbase_prefix.as_slice().try_into().unwrap_or_default(),
        coinbase_tx_input_sequence: template.coinbase_tx_input_sequence,
        coinbase_tx_value_remaining: template.coinbase_tx_value_remaining,
        coinbase_tx_outputs_count: count,
        // The sources check both: neither is longer than a block's can be.
        coinbase_tx_outputs: outputs.try_into().unwrap_or_default(),
        coinbase_tx_locktime: template.coinbase_tx_locktime,
        merkle_path: branches.try_into().unwrap_or_default(),
    };
    Arc::new(Offer {
        source: template.id.0,
        constraints: template.constraints,
        paired: Paired {
            template: template_part,
            tip,
        },
    })
}
