//! One connection to a template provider: setup, then templates.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use adit_net::drive::Bounds;
use adit_net::{Protocol, Url};
use adit_proto::setup::{self, ClientEvent, ClientInput, ClientOutput, Device, Request};
use adit_proto::target::Target;
use adit_proto::template::client::{self, Client, Event, Input, Output, Work};
use adit_proto::{Fault, Time};
use adit_wire::common::{self, protocol};
use adit_wire::template::ToClient;
use adit_wire::{DecodeError, Header, Str0_255};
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, CompactTarget};

use super::Shared;
use super::store::Kept;
use crate::{Constraints, Template, height};

/// Longest payload taken of a message that is not known and will be ignored.
const UNKNOWN_LENGTH_MAX: u32 = 64 * 1024;
/// How long the provider may take to answer SetupConnection.
const SETUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Inputs that may wait for the connection.
const INPUTS_MAX: usize = 64;

/// A provider of whom no byte has come for so long is asked for a sign of life, and has so long to answer: one that hangs
/// is left within ten seconds, also in the middle of a message. TCP says nothing about a program that has stopped.
const QUIET: Duration = Duration::from_secs(4);
const SIGN_LIMIT: Duration = Duration::from_secs(5);
/// What it is asked for: the transactions of a template that no provider gives, for a short answer.
const NO_TEMPLATE: u64 = u64::MAX;
/// How long one message may take, in whatever small pieces it comes: transactions are megabytes, and a line may be thin.
const MESSAGE_LIMIT: Duration = Duration::from_secs(40);

/// Host and port of a Reconnect, each if it was named.
pub(super) type Move = (Option<Vec<u8>>, Option<u16>);

/// We send little; whoever does not read it is gone.
pub(super) const BOUNDS: Bounds = Bounds {
    queue_high_bytes: 1 << 20,
    queue_max_bytes: 8 << 20,
    stall: Duration::from_secs(20),
};

/// The way to a connection's machine.
pub(super) struct Line {
    /// Unique in this process.
    pub(super) number: u64,
    /// It has given a template.
    pub(super) worked: Cell<bool>,
    inputs: RefCell<VecDeque<Input>>,
    closing: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Line {
    pub(super) fn new(number: u64) -> Self {
        Self {
            number,
            worked: Cell::new(false),
            inputs: RefCell::default(),
            closing: Cell::new(false),
            waker: RefCell::default(),
        }
    }

    /// Hands an input to the machine.
    pub(super) fn put(&self, input: Input) -> Result<(), &'static str> {
        let mut inputs = self.inputs.borrow_mut();
        if inputs.len() >= INPUTS_MAX {
            return Err("too many solutions wait to be sent to the template provider");
        }
        inputs.push_back(input);
        drop(inputs);
        self.wake();
        Ok(())
    }

    /// Ends the connection.
    pub(super) fn close(&self) {
        self.closing.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// The protocol on the link to a template provider.
pub(super) struct Upstream {
    shared: Rc<Shared>,
    line: Rc<Line>,
    constraints: Constraints,
    setup: setup::Client,
    started: bool,
    client: Option<Client>,
    /// The template whose transactions are on their way, and the newest one that waits for its turn.
    fetching: Option<u64>,
    wanted: Option<u64>,
    /// When the provider was last heard: a byte, and a whole message; and when it was asked for a sign of life since.
    heard: Time,
    whole: Time,
    probed: Option<Time>,
    /// Where the provider sent us: host and port, what it named of them.
    pub(super) moved: Option<Move>,
    /// The code with which it refused us.
    pub(super) refused: Option<String>,
}

impl Upstream {
    pub(super) fn new(shared: Rc<Shared>, line: Rc<Line>, constraints: Constraints, place: &Url) -> Self {
        let request = Request {
            protocol: protocol::TEMPLATE_DISTRIBUTION,
            flags: 0,
            endpoint_host: text(&place.host),
            endpoint_port: place.port,
            device: Device {
                vendor: text("adit"),
                hardware_version: text(std::env::consts::ARCH),
                firmware: text(env!("CARGO_PKG_VERSION")),
                device_id: Str0_255::default(),
            },
            timeout: SETUP_TIMEOUT,
        };
        Self {
            shared,
            line,
            constraints,
            setup: setup::Client::new(request),
            started: false,
            client: None,
            fetching: None,
            wanted: None,
            heard: Time(0),
            whole: Time(0),
            probed: None,
            moved: None,
            refused: None,
        }
    }

    fn setup(&mut self, now: Time, input: ClientInput, out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut outputs = Vec::new();
        let result = self.setup.handle(now, input, &mut outputs);
        for output in outputs {
            match output {
                ClientOutput::Send(message) => message.encode_frame(out),
                ClientOutput::Event(ClientEvent::Established { .. }) => {
                    self.client = Some(Client::new(client::Settings::default()));
                    (self.heard, self.whole) = (now, now);
                    self.template(now, Input::Constraints(self.constraints), out)?;
                }
                ClientOutput::Event(ClientEvent::Refused { code, .. }) => {
                    self.refused = Some(code.to_string())
                }
                ClientOutput::Event(ClientEvent::Reconnect { host, port }) => {
                    self.moved = Some((host.map(|host| host.as_bytes().to_vec()), port));
                }
                // No extensions are spoken here.
                ClientOutput::Event(ClientEvent::EndpointChanged { .. }) => {}
            }
        }
        result
    }

    fn template(&mut self, now: Time, input: Input, out: &mut Vec<u8>) -> Result<(), Fault> {
        let Some(client) = &mut self.client else {
            return Ok(());
        };
        let mut outputs = Vec::new();
        let result = client.handle(now, input, &mut outputs);
        for output in outputs {
            match output {
                Output::Send(message) => message.encode_frame(out),
                Output::Work(work) => {
                    self.work(&work)?;
                    self.fetch(now, out)?;
                }
                Output::Event(event) => self.event(now, event, out)?,
            }
        }
        result
    }

    fn work(&mut self, work: &Work) -> Result<(), Fault> {
        let template = template(&self.shared, work, self.constraints)?;
        let template_id = work.paired.template.template_id;
        let template = Arc::new(template);
        let is_news = self.shared.store.borrow_mut().keep(Kept {
            template: Arc::clone(&template),
            line: self.line.number,
            template_id,
        });
        if !self.line.worked.replace(true) {
            self.shared.up();
        }
        self.shared.outbox.template(template);
        if is_news {
            self.shared.tips.send_replace(());
        }
        self.wanted = Some(template_id);
        Ok(())
    }

    /// When the silence of the provider is to be looked at, and how long it takes over one message.
    fn watch_deadline(&self) -> Time {
        let silence = match self.probed {
            Some(asked) => asked + SIGN_LIMIT,
            None => self.heard + QUIET,
        };
        silence.min(self.whole + MESSAGE_LIMIT)
    }

    /// A provider that is silent is asked for a sign of life, and left when it gives none.
    fn watch(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.client.is_none() || now < self.watch_deadline() {
            return Ok(());
        }
        if now >= self.whole + MESSAGE_LIMIT {
            return Err(Fault::Expired(
                "the template provider takes too long over one message",
            ));
        }
        if self.probed.is_some() {
            return Err(Fault::Expired("the template provider gives no sign of life"));
        }
        self.probed = Some(now);
        self.template(
            now,
            Input::Request {
                template_id: NO_TEMPLATE,
            },
            out,
        )
    }

    /// Asks for the transactions of the newest template, one template at a time: whoever keeps a found block needs them.
    fn fetch(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.fetching.is_some() {
            return Ok(());
        }
        let Some(template_id) = self.wanted.take() else {
            return Ok(());
        };
        self.fetching = Some(template_id);
        self.template(now, Input::Request { template_id }, out)
    }

    fn event(&mut self, now: Time, event: Event, out: &mut Vec<u8>) -> Result<(), Fault> {
        match event {
            Event::Future { template_id } => tracing::trace!(template_id, "future template"),
            Event::UnknownTip { template_id } => {
                tracing::warn!(
                    template_id,
                    "the provider's tip names a template it never sent; waiting for its next one"
                );
            }
            Event::Transactions {
                template_id,
                transactions,
            } => {
                if let Some(kept) = self.shared.store.borrow().of_line(self.line.number, template_id) {
                    let transactions = transactions.iter().map(|bytes| bytes.to_vec()).collect();
                    let transactions = Arc::new(transactions);
                    self.shared.recent.borrow_mut().learn(&transactions);
                    self.shared.outbox.transactions(&kept.template, transactions);
                }
                self.fetching = None;
                self.fetch(now, out)?;
            }
            Event::Early { template_id, seconds } => {
                tracing::warn!(
                    template_id,
                    seconds,
                    "the time in a block's header has not come yet: it is sent now, and once more then"
                );
            }
            // The sign of life that we asked for.
            Event::NoTransactions {
                template_id: NO_TEMPLATE,
                ..
            } => {}
            Event::NoTransactions { template_id, code } => {
                tracing::debug!(template_id, ?code, "no transactions for a template");
                self.fetching = None;
                self.fetch(now, out)?;
            }
        }
        Ok(())
    }
}

/// A template of the wire as ours.
fn template(shared: &Shared, work: &Work, constraints: Constraints) -> Result<Template, Fault> {
    let (template, tip) = (&work.paired.template, &work.paired.tip);
    let Some(height) = height::of_prefix(&template.coinbase_prefix) else {
        return Err(Fault::Misbehaved(
            "the coinbase of a template does not start with its height",
        ));
    };
    let commits = work
        .outputs
        .iter()
        .any(|output| output.script_pubkey.as_bytes().starts_with(&COMMITMENT));
    let (by_nbits, told) = (Target::from_nbits(tip.n_bits), Target(tip.target.0));
    Ok(Template {
        id: shared.next_id(),
        constraints,
        height,
        prev_hash: BlockHash::from_byte_array(tip.prev_hash.0),
        version: template.version,
        nbits: CompactTarget::from_consensus(tip.n_bits),
        header_timestamp: work.header_timestamp,
        min_ntime: tip.header_timestamp,
        coinbase_tx_version: template.coinbase_tx_version,
        coinbase_prefix: template.coinbase_prefix.to_vec(),
        coinbase_tx_input_sequence: template.coinbase_tx_input_sequence,
        coinbase_tx_value_remaining: template.coinbase_tx_value_remaining,
        coinbase_tx_outputs: work.outputs.clone(),
        coinbase_tx_locktime: template.coinbase_tx_locktime,
        // Who commits to witnesses does so with 32 zero bytes (REQ-TDP-022).
        coinbase_witness: commits.then_some([0; 32]),
        target: (told < by_nbits).then_some(told),
        merkle_path: template.merkle_path.iter().map(|branch| branch.0).collect(),
        transaction_count: None,
        fees: None,
    })
}

/// Start of an output that commits to the witnesses of a block (BIP141).
const COMMITMENT: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

impl Protocol for Upstream {
    fn length_max(&self, header: &Header) -> u32 {
        let known = common::ToClient::length_max(header).or_else(|| ToClient::length_max(header));
        known.unwrap_or(UNKNOWN_LENGTH_MAX)
    }

    fn frame(&mut self, now: Time, header: &Header, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        (self.heard, self.whole, self.probed) = (now, now, None);
        if self.client.is_some() {
            match ToClient::decode(header, payload) {
                Ok(message) => return self.template(now, Input::Message(message), out),
                Err(DecodeError::Malformed { message, .. }) => return Err(Fault::Malformed(message)),
                Err(DecodeError::Unknown { .. }) => {}
            }
        }
        match common::ToClient::decode(header, payload) {
            Ok(message) => self.setup(now, ClientInput::Message(message), out),
            Err(DecodeError::Malformed { message, .. }) => Err(Fault::Malformed(message)),
            Err(DecodeError::Unknown { .. }) => self.setup(now, ClientInput::Other, out),
        }
    }

    fn received(&mut self, now: Time) {
        (self.heard, self.probed) = (now, None);
    }

    fn poll_mail(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let has_mail = self.client.is_some() && !self.line.inputs.borrow().is_empty();
        if !self.started || has_mail {
            return Poll::Ready(());
        }
        self.line.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    }

    fn mail(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        if !std::mem::replace(&mut self.started, true) {
            self.setup(now, ClientInput::Start, out)?;
        }
        loop {
            let input = self.line.inputs.borrow_mut().pop_front();
            let Some(input) = input else { return Ok(()) };
            self.template(now, input, out)?;
        }
    }

    fn deadline(&self) -> Option<Time> {
        let client = self.client.as_ref().and_then(Client::deadline);
        let watch = self.client.is_some().then(|| self.watch_deadline());
        [self.setup.deadline(), client, watch].into_iter().flatten().min()
    }

    fn expire(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.setup(now, ClientInput::Deadline, out)?;
        self.template(now, Input::Deadline, out)?;
        self.watch(now, out)
    }

    fn finished(&self) -> bool {
        self.line.closing.get() || self.moved.is_some()
    }
}

/// As much of `long` as the wire's text type holds.
fn text(long: &str) -> Str0_255 {
    let end = long.floor_char_boundary(Str0_255::MAX);
    long.get(..end).unwrap_or_default().try_into().unwrap_or_default()
}
