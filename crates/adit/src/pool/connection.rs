//! One connection on its worker: bytes to machines, machines' outputs to bytes, ledger and hub.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use adit_ledger::record::Ending;
use adit_net::{End, Protocol};
use adit_proto::extension::{self, Route};
use adit_proto::job::Job;
use adit_proto::mining::server::{
    AccountId, Event, Input, Kind, Ledger, Mined as With, Output, Server, Share,
};
use adit_proto::{Fault, Time, declare, distribute, setup, sv1};
use adit_wire::common::{self, ChannelEndpointChanged, protocol};
use adit_wire::declare as declare_wire;
use adit_wire::distribute as distribute_wire;
use adit_wire::frame::Header;
use adit_wire::mining::{SubmitSharesExtended, ToServer};
use adit_wire::tlv::{self, WorkerName};
use adit_wire::{DecodeError, Message, negotiation, refusal};

use super::branch::Mined;
use super::declaring::{self, Seat};
use super::desk::{Answer, CUSTOM, UNSEEN};
use super::drain::SETTLE_MAX;
use super::mailbox::{CLOSING, COMMITTED, DISTRIBUTED, DRAIN, KICK, LEDGER, Mailbox, WORK};
use super::peers::{ChannelKey, PeerId, Role};
use super::records;
use super::report::ToHub;
use super::sessions::{self, Channel, Client};
use super::worker::Worker;
use crate::observe::text::clean;
use crate::payout::prove::OpenChannel;

/// The machine in charge, and what it awaits.
enum Stage {
    ExpectSetup(setup::Server),
    Mining(Box<Server>),
    /// A miner of Stratum V1, from its first line on.
    StratumV1(Box<sv1::Server>),
    Declaring(Box<declare::Server>),
    Distributing(Box<distribute::server::Server>),
    /// Over: nothing is taken any more.
    Over,
}

/// How far a peer is on its way out, when the pool is drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    /// It is not.
    No,
    /// It is to be told as soon as it is set up: before that it would take it for no answer (REQ-COM-005).
    Due,
    /// It was told, and may stay until then.
    Told { until: Time },
    /// Its time is up: nothing is taken from it any more, and what is on its way to the disk is acknowledged.
    Settling { until: Time },
}

/// Shares of one read that wait to become durable.
#[derive(Debug)]
struct Ticket {
    /// Position in the worker's lane of the last of them.
    position: u64,
    /// Index on this connection of the last of them.
    through: u64,
    /// When they were read.
    read_at: Time,
    /// How many they are.
    count: u64,
}

/// One connection on its worker.
pub(super) struct Connection {
    worker: Rc<Worker>,
    mailbox: Rc<Mailbox>,
    peer: SocketAddr,
    id: PeerId,
    /// The hub knows what it is.
    told: bool,
    stage: Stage,
    tickets: VecDeque<Ticket>,
    /// Index of the newest share handed to the worker, and of the newest one that has a ticket.
    shared: u64,
    ticketed: u64,
    /// Who owns which open channel.
    channels: Vec<Channel>,
    /// Channels that have had no share accepted yet.
    idle: usize,
    /// Who the peer is.
    client: Client,
    /// Open channels by their numbers in the ledger.
    numbers: Vec<(u32, u64)>,
    /// A channel was opened a moment ago: by whom.
    entered: Option<(u32, Arc<str>)>,
    /// The newest block found here: its share follows.
    block: Option<[u8; 32]>,
    /// Below an upstream: what the share that follows was found with, and who the channels belong to.
    mined: Option<With>,
    identities: HashMap<u32, Arc<str>>,
    messages: Budget,
    /// Which extensions are in use, once the connection is set up.
    extensions: extension::Server,
    leaving: Leaving,
    closing: bool,
    /// Its place at the desk, once it negotiates jobs.
    seat: Option<Box<Seat>>,
    /// The worker whose slot the session has, if it began elsewhere.
    home: Option<u32>,
    /// Which of the worker's pieces of work the machine has.
    work: u64,
    /// What is mined here, where not everybody mines the same.
    on_lane: Option<Arc<Job>>,
}

impl Connection {
    pub(super) fn new(
        worker: Rc<Worker>,
        mailbox: Rc<Mailbox>,
        peer: SocketAddr,
        id: PeerId,
        client: Client,
    ) -> Self {
        let now = worker.plan.clock.now();
        let machine = setup::Server::new(now, worker.plan.setup_for(peer.ip()));
        let messages = Budget::new(worker.plan.messages_per_second, now);
        let extensions = extension::Server::new(Arc::clone(&worker.plan.extensions));
        Self {
            worker,
            mailbox,
            peer,
            id,
            told: false,
            stage: Stage::ExpectSetup(machine),
            tickets: VecDeque::new(),
            shared: 0,
            ticketed: 0,
            channels: Vec::new(),
            idle: 0,
            client,
            numbers: Vec::new(),
            entered: None,
            block: None,
            mined: None,
            identities: HashMap::new(),
            messages,
            extensions,
            leaving: Leaving::No,
            closing: false,
            seat: None,
            home: None,
            work: 0,
            on_lane: None,
        }
    }

    /// The connection is over: what it held goes back.
    pub(super) fn ended(&mut self, end: &End) {
        tracing::debug!(peer = %self.peer, %end, "connection ended");
        self.worker.report.borrow_mut().ended(end);
        let ending = sessions::ending(end, self.leaving != Leaving::No || self.closing);
        let (slot, tip) = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Mining(server) => {
                let tip = server.tip();
                (server.into_slot(), tip)
            }
            Stage::StratumV1(server) => {
                self.close_channels(ending);
                let broke = matches!(end, End::Closed | End::Io(_)) && self.leaving == Leaving::No;
                if broke && server.channel().is_some() {
                    return self.worker.park(self.home, server);
                }
                let tip = server.mining().tip();
                (server.into_slot(), tip)
            }
            Stage::Distributing(_) => {
                if let Some(desk) = &self.worker.plan.distribution {
                    desk.left(end);
                }
                return;
            }
            _ => return,
        };
        self.close_channels(ending);
        self.worker.release_to(self.home, slot, tip);
    }

    fn close_channels(&mut self, ending: Ending) {
        let mut report = self.worker.report.borrow_mut();
        for channel in self.channels.drain(..) {
            let (peer, channel_id) = (self.id, channel.id);
            report.closed(ChannelKey { peer, channel_id }, channel.account, channel.kind);
            if let Some(closed) = channel.end(ending) {
                self.worker.note_closed(closed);
            }
        }
        self.idle = 0;
        for (_, number) in self.numbers.drain(..) {
            self.worker.plan.open.close(number);
        }
    }

    /// A channel's session is noted with its first accepted share.
    fn note_session(&mut self, share: &Share) {
        let mut channels = self.channels.iter_mut();
        let idle = channels.find(|channel| channel.id == share.channel_id && !channel.is_noted());
        if let Some(channel) = idle {
            let opened = channel.begin(self.worker.next_session(), share, &self.client);
            self.worker.note_opened(opened);
            self.idle -= 1;
        }
    }

    fn channel(&self, channel_id: u32) -> ChannelKey {
        let peer = self.id;
        ChannelKey { peer, channel_id }
    }

    /// The peer has said what it wants and what it is, in its own words.
    fn tell_device(&mut self, role: Role, device: &setup::Device) {
        let said = [&device.vendor, &device.hardware_version, &device.firmware];
        let mut report = self.worker.report.borrow_mut();
        report.told(self.id, role, said.map(|text| text.as_bytes()));
        self.told = true;
    }

    /// The same for a miner of Stratum V1, as soon as it has subscribed.
    fn tell_agent(&mut self) {
        if let Stage::StratumV1(server) = &self.stage
            && server.is_subscribed()
        {
            let (name, version) = server.agent().split_once('/').unwrap_or((server.agent(), ""));
            let said = [name, "", version].map(str::as_bytes);
            self.worker.report.borrow_mut().told(self.id, "mining", said);
            self.told = true;
        }
    }

    /// If the line asks for a session that broke off a moment ago, it goes on here.
    fn resume(&mut self, now: Time, line: &[u8]) -> Result<(), Fault> {
        let Stage::StratumV1(fresh) = &self.stage else {
            return Ok(());
        };
        if fresh.is_subscribed() || fresh.channel().is_some() {
            return Ok(());
        }
        let session = sv1::server::wanted_session(line);
        let Some(parked) = session.and_then(|session| self.worker.plan.parking.take(now, &session)) else {
            return Ok(());
        };
        let Stage::StratumV1(fresh) = std::mem::replace(&mut self.stage, Stage::Over) else {
            return Ok(());
        };
        let tip = fresh.mining().tip();
        let (server, slot) = parked.server.resume(*fresh);
        self.worker.release_to(self.home, slot, tip);
        self.home = Some(parked.home);
        if let Some((channel_id, identity)) = server.channel() {
            let (account, kind) = (AccountId::of(identity.as_bytes()), Kind::Extended);
            self.client.device = server.agent().into();
            self.channels.push(Channel::new(channel_id, account, kind, now));
            self.idle += 1;
            self.worker.name(account, identity.as_bytes());
            let key = self.channel(channel_id);
            let (work, name) = (server.share_work(), identity.as_bytes());
            let mut report = self.worker.report.borrow_mut();
            report.opened(key, account, kind, name, work, 0.0);
        }
        self.entered = server.channel().map(|(id, identity)| (id, identity.into()));
        let through = server.mining().share_count();
        (self.shared, self.ticketed) = (through, through);
        self.stage = Stage::StratumV1(Box::new(server));
        self.on_lane = None;
        // Its shares are on their way to the disk. Who asked for them is gone, and nothing is told yet.
        let unheard = &mut Vec::new();
        self.mining(now, Input::Committed { through }, unheard)?;
        self.mining(now, Input::Ledger(self.ledger()), unheard)?;
        self.work = 0;
        self.take_work(now, unheard)
    }

    fn ledger(&self) -> Ledger {
        match self.worker.ledger_up.get() {
            true => Ledger::Up,
            false => Ledger::Down,
        }
    }

    /// The peer speaks Stratum V1: there is nothing to set up.
    pub(super) fn serve_lines(&mut self) -> Result<(), Fault> {
        let now = self.worker.plan.clock.now();
        let slot = self.worker.lease().ok_or(NO_SLOT)?;
        let settings = Arc::clone(&self.worker.plan.sv1);
        let (lines, shares) = (
            self.worker.plan.messages_per_second,
            settings.mining.shares_per_second,
        );
        if lines > 0 && shares > 0 {
            // Shares are lines too.
            self.messages = Budget::new(lines.saturating_add(shares), now);
        } else {
            self.messages = Budget::new(0, now);
        }
        let server = sv1::Server::new(now, settings, slot, adit_net::random::bytes());
        self.stage = Stage::StratumV1(Box::new(server));
        // Nobody has asked for anything, so that nothing is said.
        let out = &mut Vec::new();
        if !self.worker.ledger_up.get() {
            self.mining(now, Input::Ledger(Ledger::Down), out)?;
        }
        self.take_work(now, out)
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
                setup::ServerOutput::Established(established)
                    if established.protocol == protocol::JOB_DECLARATION =>
                {
                    self.tell_device("job-declaration", &established.device);
                    self.start_declaring(now, &established, out)?;
                }
                setup::ServerOutput::Established(established)
                    if established.protocol == protocol::JOB_DISTRIBUTION =>
                {
                    self.tell_device("job-distribution", &established.device);
                    self.start_distributing(now, established.flags, out)?;
                }
                setup::ServerOutput::Established(established) => {
                    self.tell_device("mining", &established.device);
                    self.start_mining(now, &established, out)?;
                }
            }
        }
        result
    }

    fn start_mining(
        &mut self,
        now: Time,
        established: &setup::Established,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let slot = self.worker.lease().ok_or(NO_SLOT)?;
        self.client.introduce(&established.device);
        let settings = Arc::clone(&self.worker.plan.mining);
        self.stage = Stage::Mining(Box::new(Server::new(now, settings, established, slot)));
        if !self.worker.ledger_up.get() {
            self.mining(now, Input::Ledger(Ledger::Down), out)?;
        }
        if self.leaving == Leaving::Due {
            self.send_away(now, out)?;
        }
        self.take_work(now, out)
    }

    fn start_declaring(
        &mut self,
        now: Time,
        established: &setup::Established,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let seat = Seat::take(self.worker.plan.desk.as_ref())
            .ok_or(Fault::Incompatible("no jobs are negotiated here"))?;
        self.stage = Stage::Declaring(seat.machine(now, established));
        self.seat = Some(seat);
        if self.leaving == Leaving::Due {
            self.send_away(now, out)?;
        }
        Ok(())
    }

    fn start_distributing(&mut self, now: Time, flags: u32, out: &mut Vec<u8>) -> Result<(), Fault> {
        tracing::info!(peer = %self.peer, "jobs are distributed to it");
        self.stage = Stage::Distributing(Box::new(distribute::server::Server::new(flags)));
        if let Some(desk) = &self.worker.plan.distribution {
            desk.joined();
        }
        if self.leaving == Leaving::Due {
            self.send_away(now, out)?;
        }
        self.distribute(None, out);
        Ok(())
    }

    /// A message of the receiver, or a look at what is distributed now.
    fn distribute(&mut self, message: Option<distribute_wire::ToServer>, out: &mut Vec<u8>) {
        let (Stage::Distributing(server), Some(desk)) = (&mut self.stage, &self.worker.plan.distribution)
        else {
            return;
        };
        let input = message.map_or_else(|| desk.state(), distribute::server::Input::Message);
        desk.drive(server, input, out);
    }

    fn decode_distributing(
        &mut self,
        now: Time,
        header: &Header,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        self.messages.spend(now)?;
        match distribute_wire::ToServer::decode(header, payload) {
            Ok(message) => {
                self.go_on_without_extensions(out)?;
                self.distribute(Some(message), out);
                Ok(())
            }
            Err(DecodeError::Unknown { .. }) => self.decode_other(now, header, payload, out),
            Err(error) => Err(self.malformed(&error)),
        }
    }

    fn declaring(
        &mut self,
        now: Time,
        input: declare::server::Input,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        match (&mut self.stage, &self.seat) {
            (Stage::Declaring(machine), Some(seat)) => seat.drive(now, machine, input, out),
            _ => Ok(()),
        }
    }

    fn decode_declaring(
        &mut self,
        now: Time,
        header: &Header,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        self.messages.spend(now)?;
        match declare_wire::ToServer::decode(header, payload) {
            Ok(message) => {
                self.go_on_without_extensions(out)?;
                self.declaring(now, declare::server::Input::Message(message), out)
            }
            Err(DecodeError::Unknown { .. }) => self.decode_other(now, header, payload, out),
            Err(error) => Err(self.malformed(&error)),
        }
    }

    /// What the desk has answered.
    fn take_answers(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        while let Some(answer) = self.seat.as_mut().and_then(|seat| seat.answer()) {
            match answer {
                Answer::Declare(input) => self.declaring(now, input, out)?,
                Answer::Mining(input) => self.mining(now, input, out)?,
            }
        }
        Ok(())
    }

    /// The pool is drained: the peer is told where to go, and served until it does (spec 3.6.5).
    fn send_away(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        let set_up = match &self.stage {
            Stage::Mining(_) | Stage::Declaring(_) | Stage::Distributing(_) => true,
            Stage::StratumV1(server) => server.is_subscribed(),
            _ => false,
        };
        if !set_up {
            self.leaving = Leaving::Due;
            return Ok(());
        }
        let order = self.worker.plan.drain.borrow().clone();
        let Some(order) = order.filter(|_| matches!(self.leaving, Leaving::No | Leaving::Due)) else {
            return Ok(());
        };
        self.leaving = Leaving::Told {
            until: now + order.patience,
        };
        if matches!(self.stage, Stage::StratumV1(_)) {
            let host = String::from_utf8_lossy(order.message.new_host.as_bytes());
            let port = order.message.new_port;
            return self.stratum_v1(now, sv1::server::Input::Reconnect { host: &host, port }, out);
        }
        order.message.encode_frame(out);
        self.mining(now, Input::Drain, out)
    }

    /// The operator wants a channel closed, or the connection.
    fn kicked(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        let reason = refusal::CloseChannel::ClosedByOperator;
        for kick in self.worker.kicked(self.id) {
            tracing::info!(peer = %self.peer, channel_id = kick, "closed by the operator");
            // A miner of Stratum V1 has nothing but its connection.
            match kick.filter(|_| !matches!(self.stage, Stage::StratumV1(_))) {
                Some(channel_id) => self.mining(now, Input::CloseChannel { channel_id, reason }, out)?,
                None => {
                    self.mining(now, Input::Close { reason }, out)?;
                    self.closing = true;
                }
            }
        }
        Ok(())
    }

    /// Goes on with a leave whose time has come, or whose last share is on disk.
    fn see_off(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        match self.leaving {
            Leaving::Told { until } if until <= now => {
                self.leaving = Leaving::Settling {
                    until: now + SETTLE_MAX,
                };
            }
            Leaving::Settling { .. } => {}
            _ => return Ok(()),
        }
        let settled = self.tickets.is_empty() && self.shared == self.ticketed;
        let late = matches!(self.leaving, Leaving::Settling { until } if until <= now);
        if (settled || late) && !self.closing {
            self.closing = true;
            let reason = refusal::CloseChannel::ShuttingDown;
            return self.mining(now, Input::Close { reason }, out);
        }
        Ok(())
    }

    const fn leave_by(&self) -> Option<Time> {
        match self.leaving {
            Leaving::Told { until } | Leaving::Settling { until } if !self.closing => Some(until),
            _ => None,
        }
    }

    fn mining(&mut self, now: Time, input: Input, out: &mut Vec<u8>) -> Result<(), Fault> {
        if let Stage::StratumV1(_) = self.stage {
            return self.stratum_v1(now, sv1::server::Input::Mining(input), out);
        }
        let Stage::Mining(server) = &mut self.stage else {
            return Ok(());
        };
        let mut outputs = self.worker.outputs.take();
        let result = server.handle(now, input, &mut outputs);
        for output in outputs.drain(..) {
            self.perform(now, output, out);
        }
        self.worker.outputs.replace(outputs);
        self.seat_channel();
        result
    }

    fn stratum_v1(
        &mut self,
        now: Time,
        input: sv1::server::Input<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let Stage::StratumV1(server) = &mut self.stage else {
            return Ok(());
        };
        let mut outputs = self.worker.outputs.take();
        let result = server.handle(now, input, out, &mut outputs);
        for output in outputs.drain(..) {
            self.perform(now, output, out);
        }
        self.worker.outputs.replace(outputs);
        self.seat_channel();
        result
    }

    /// Notes a channel that was just opened for whoever asks what its coinbase pays.
    fn seat_channel(&mut self) {
        let Some((channel_id, user_identity)) = self.entered.take() else {
            return;
        };
        let machine = match &self.stage {
            Stage::Mining(server) => &**server,
            Stage::StratumV1(server) => server.mining(),
            _ => return,
        };
        let Some((_, kind, plan, prefix, size)) = machine.paid().find(|(id, ..)| *id == channel_id) else {
            return;
        };
        let channel = OpenChannel {
            user_identity,
            channel_id,
            kind,
            plan: plan.clone(),
            prefix,
            size,
        };
        let number = records::channel(prefix);
        self.worker.plan.open.open(number, channel);
        self.numbers.push((channel_id, number));
    }

    fn perform(&mut self, now: Time, output: Output, out: &mut Vec<u8>) {
        match output {
            Output::Send(message) => message.encode_frame(out),
            Output::Job(frame) => frame.encode(out),
            Output::Mined(mined) => self.mined = Some(mined),
            Output::Share(share) => self.share(now, &share),
            Output::Custom(asked) => {
                if self.seat.is_none() {
                    self.seat = Seat::take(self.worker.plan.desk.as_ref());
                }
                if let Some(seat) = &self.seat {
                    seat.ask_custom(asked);
                }
            }
            Output::Block(found) => {
                self.block = Some(found.hash);
                if self
                    .worker
                    .plan
                    .hub
                    .try_send(ToHub::Block(Box::new(found), now))
                    .is_err()
                {
                    tracing::error!("a found block was dropped: thousands of others wait to be submitted");
                }
            }
            Output::Event(event) => self.observe(now, event),
        }
    }

    fn share(&mut self, now: Time, share: &Share) {
        self.shared = share.index;
        self.worker.report.borrow_mut().accepted(now, self.id, share);
        if share.template & (CUSTOM | UNSEEN) == CUSTOM | UNSEEN {
            self.worker.credit_unseen(share.account, share.work);
        }
        let is_block = self.block.take_if(|hash| *hash == share.hash).is_some();
        self.worker.push(share, is_block);
        if self.idle > 0 {
            self.note_session(share);
        }
        if let Some(with) = self.mined.take() {
            let name = self.identities.get(&share.channel_id);
            self.worker.send_up(Mined {
                share: *share,
                with,
                identity: name.map_or_else(|| Arc::from(""), Arc::clone),
            });
        }
    }

    fn observe(&mut self, now: Time, event: Event) {
        let mut report = self.worker.report.borrow_mut();
        match event {
            Event::Opened {
                channel_id,
                kind,
                user_identity,
                account,
                target,
                nominal_hash_rate,
            } => {
                if let Stage::StratumV1(server) = &self.stage {
                    self.client.device = server.agent().into();
                }
                self.channels.push(Channel::new(channel_id, account, kind, now));
                self.idle += 1;
                let name: Arc<str> = String::from_utf8_lossy(&user_identity).into();
                if self.worker.plan.mining.tell_mined {
                    self.identities.insert(channel_id, Arc::clone(&name));
                }
                self.entered = Some((channel_id, name));
                self.worker.name(account, &user_identity);
                let (key, work) = (self.channel(channel_id), target.share_work());
                report.opened(key, account, kind, &user_identity, work, nominal_hash_rate);
            }
            Event::Closed { channel_id } => {
                self.identities.remove(&channel_id);
                if let Some(at) = self.numbers.iter().position(|(id, _)| *id == channel_id) {
                    let (_, number) = self.numbers.swap_remove(at);
                    self.worker.plan.open.close(number);
                }
                if let Some(at) = self.channels.iter().position(|it| it.id == channel_id) {
                    let channel = self.channels.swap_remove(at);
                    report.closed(self.channel(channel_id), channel.account, channel.kind);
                    match channel.end(Ending::Closed) {
                        Some(closed) => self.worker.note_closed(closed),
                        None => self.idle -= 1,
                    }
                }
            }
            Event::Worker {
                account,
                worker,
                name,
            } => {
                self.worker.name_worker((account, worker), name);
                report.worker((account, worker), name);
            }
            Event::Refused { channel_id, refusal } => {
                let owner = self.channels.iter().find(|it| it.id == channel_id);
                let account = owner.map(|channel| channel.account);
                report.refused(refusal.code(), owner.map(|_| self.channel(channel_id)));
                self.worker.refused(account, refusal.code());
            }
            Event::CustomAccepted {
                channel_id,
                credit_bp,
            } => {
                tracing::debug!(peer = %self.peer, channel_id, credit_bp, "custom job accepted");
            }
            Event::CustomRefused { channel_id, refusal } => {
                tracing::debug!(peer = %self.peer, channel_id, code = refusal.code(), "custom job refused");
            }
            Event::UnknownUser { user_identity, why } => {
                let user = clean(&String::from_utf8_lossy(&user_identity));
                tracing::info!(peer = %self.peer, %user, %why, "user refused");
            }
            Event::OpenRefused(refusal) => {
                tracing::debug!(peer = %self.peer, code = refusal.code(), "channel refused");
            }
            Event::Retargeted {
                channel_id,
                work,
                hash_rate,
            } => {
                tracing::trace!(peer = %self.peer, channel_id, work, hash_rate, "new target");
                report.retargeted(self.channel(channel_id), work);
            }
        }
    }

    fn decode_mining(
        &mut self,
        now: Time,
        header: &Header,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        match ToServer::decode_with_rest(header, payload) {
            Ok((message, rest)) => {
                self.go_on_without_extensions(out)?;
                let input = match message {
                    ToServer::SubmitSharesExtended(share) if !rest.is_empty() => self.tagged(share, rest),
                    share @ (ToServer::SubmitSharesStandard(_) | ToServer::SubmitSharesExtended(_)) => {
                        Input::Message(share)
                    }
                    other => {
                        self.messages.spend(now)?;
                        Input::Message(other)
                    }
                };
                self.mining(now, input, out)
            }
            Err(DecodeError::Unknown { .. }) => {
                self.messages.spend(now)?;
                self.decode_other(now, header, payload, out)
            }
            Err(error) => Err(self.malformed(&error)),
        }
    }

    fn malformed(&self, error: &DecodeError) -> Fault {
        tracing::debug!(peer = %self.peer, %error, "malformed message");
        Fault::Malformed("a message cannot be read")
    }

    /// A share with fields behind it; they count only where their extension is in use (REQ-EXT-021, REQ-EXT-037).
    fn tagged(&self, share: SubmitSharesExtended, rest: &[u8]) -> Input {
        match tlv::user_identity(rest, self.extensions.agreed()) {
            Ok(None) => Input::Message(share.into()),
            Ok(Some(name)) => match WorkerName::new(name) {
                Ok(worker) => Input::WorkerShare { share, worker },
                Err(_) => Input::MalformedShare(share),
            },
            Err(error) => {
                tracing::debug!(peer = %self.peer, %error, "malformed fields behind a share");
                Input::MalformedShare(share)
            }
        }
    }

    /// What is no mining message: extension 0x0001, ChannelEndpointChanged, and what nobody here knows.
    fn decode_other(
        &mut self,
        now: Time,
        header: &Header,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        match negotiation::ToServer::decode(header, payload) {
            Ok(message) => return self.extension(extension::ServerInput::Message(message), out),
            Err(DecodeError::Unknown { .. }) => {}
            Err(error) => return Err(self.malformed(&error)),
        }
        if (header.extension(), header.msg_type)
            == (ChannelEndpointChanged::EXTENSION, ChannelEndpointChanged::TYPE)
        {
            // No message of this direction, so that one which cannot be read is as good as unknown.
            let Ok(changed) = ChannelEndpointChanged::decode(payload) else {
                return Ok(());
            };
            // Sent by a proxy below us it is unusual, and its meaning is the same (C-39).
            self.extension(extension::ServerInput::EndpointChanged, out)?;
            let channel_id = changed.channel_id;
            return self.mining(now, Input::EndpointChanged { channel_id }, out);
        }
        // A second SetupConnection and unknown messages of the core change nothing (REQ-COM-006, REQ-FRM-023). All
        // channels end here, so messages of unknown extensions do too (REQ-EXT-003, REQ-EXT-004).
        if header.extension() != 0
            && let Route::Discard(why) = extension::route(header, payload, |_| true, |_| None)
        {
            tracing::trace!(peer = %self.peer, %header, ?why, "discarded");
        }
        Ok(())
    }

    /// A first message of the protocol: nothing is negotiated any more that was not before (REQ-EXT-029).
    #[inline]
    fn go_on_without_extensions(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.extensions.admitted() {
            return Ok(());
        }
        self.extension(extension::ServerInput::Other, out)
    }

    fn extension(&mut self, input: extension::ServerInput, out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut outputs = Vec::new();
        let result = self.extensions.handle(input, &mut outputs);
        for extension::ServerOutput::Send(message) in outputs {
            message.encode_frame(out);
        }
        result
    }

    /// Gives the machine the worker's work, unless it has it.
    fn take_work(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        let slot = match &self.stage {
            Stage::Mining(server) => server.slot_number(),
            Stage::StratumV1(server) => server.mining().slot_number(),
            _ => return Ok(()),
        };
        let (number, job, lanes) = match &*self.worker.work.borrow() {
            Some(work) if work.number != self.work => {
                let published = &work.published;
                (
                    work.number,
                    Arc::clone(published.job_for(slot)),
                    published.lanes.is_some(),
                )
            }
            _ => return Ok(()),
        };
        self.work = number;
        if !lanes {
            self.on_lane = None;
            return self.mining(now, Input::Work(job), out);
        }
        // Something is new on some lane, most often on another.
        let known = self.on_lane.as_ref();
        if known.is_some_and(|known| Arc::ptr_eq(known, &job)) {
            return Ok(());
        }
        self.on_lane = Some(Arc::clone(&job));
        self.mining(now, Input::OtherWork(job), out)
    }

    fn settle(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        let committed = self.worker.committed();
        let mut through = None;
        while self
            .tickets
            .front()
            .is_some_and(|ticket| ticket.position <= committed)
        {
            if let Some(ticket) = self.tickets.pop_front() {
                self.worker
                    .report
                    .borrow_mut()
                    .acknowledged(now - ticket.read_at, ticket.count);
                through = Some(ticket.through);
            }
        }
        if self.tickets.is_empty() && self.tickets.capacity() > 64 {
            self.tickets = VecDeque::new();
        }
        through.map_or(Ok(()), |through| {
            self.mining(now, Input::Committed { through }, out)
        })
    }
}

impl Protocol for Connection {
    fn length_max(&self, header: &Header) -> u32 {
        match &self.stage {
            Stage::ExpectSetup(_) => common::ToServer::length_max(header).unwrap_or(UNKNOWN_BYTES_MAX),
            Stage::Mining(_) => ToServer::length_max(header)
                .or_else(|| negotiation::ToServer::length_max(header))
                .unwrap_or(UNKNOWN_BYTES_MAX),
            Stage::Declaring(machine) => declaring::length_max(machine, header)
                .or_else(|| negotiation::ToServer::length_max(header))
                .unwrap_or(UNKNOWN_BYTES_MAX),
            Stage::Distributing(_) => distribute_wire::ToServer::length_max(header)
                .or_else(|| negotiation::ToServer::length_max(header))
                .unwrap_or(UNKNOWN_BYTES_MAX),
            Stage::StratumV1(_) | Stage::Over => 0,
        }
    }

    fn frame(&mut self, now: Time, header: &Header, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        match self.stage {
            Stage::ExpectSetup(_) => {
                let input = match common::ToServer::decode(header, payload) {
                    Ok(message) => setup::ServerInput::Message(message),
                    Err(DecodeError::Unknown { .. }) => setup::ServerInput::Other,
                    Err(_) => return Err(Fault::Malformed("SetupConnection cannot be read")),
                };
                self.setup(now, input, out)
            }
            Stage::Mining(_) | Stage::Declaring(_) | Stage::Distributing(_)
                if matches!(self.leaving, Leaving::Settling { .. }) =>
            {
                Ok(())
            }
            Stage::Distributing(_) => self.decode_distributing(now, header, payload, out),
            Stage::Declaring(_) => self.decode_declaring(now, header, payload, out),
            Stage::Mining(_) => self.decode_mining(now, header, payload, out),
            Stage::StratumV1(_) | Stage::Over => Ok(()),
        }
    }

    fn arriving(&mut self, bytes: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
        if !matches!(self.stage, Stage::Declaring(_)) {
            return Ok(());
        }
        let now = self.worker.plan.clock.now();
        self.declaring(now, declare::server::Input::Arriving { bytes }, out)
    }

    fn line(&mut self, now: Time, line: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        self.messages.spend(now)?;
        if matches!(self.leaving, Leaving::Settling { .. }) {
            return Ok(());
        }
        self.resume(now, line)?;
        self.stratum_v1(now, sv1::server::Input::Line(line), out)?;
        if !self.told {
            self.tell_agent();
        }
        if self.leaving == Leaving::Due {
            return self.send_away(now, out);
        }
        Ok(())
    }

    fn line_max(&self) -> usize {
        sv1::line::LINE_BYTES_MAX
    }

    fn batch_end(&mut self, now: Time, _out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.shared > self.ticketed {
            let count = self.shared - self.ticketed;
            self.ticketed = self.shared;
            let position = self.worker.await_commit(&self.mailbox);
            self.tickets.push_back(Ticket {
                position,
                through: self.shared,
                read_at: now,
                count,
            });
        }
        Ok(())
    }

    fn poll_mail(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Both are asked, so that both wake.
        let mail = self.mailbox.poll(cx).is_ready();
        let answers = self.seat.as_mut().is_some_and(|seat| seat.poll(cx).is_ready());
        if mail || answers {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn mail(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        let news = self.mailbox.take();
        if news & LEDGER != 0 {
            self.mining(now, Input::Ledger(self.ledger()), out)?;
        }
        if news & DISTRIBUTED != 0 {
            self.distribute(None, out);
        }
        if news & WORK != 0 {
            self.take_work(now, out)?;
            if let Some(work) = &*self.worker.work.borrow() {
                self.worker
                    .report
                    .borrow_mut()
                    .fanned_out(now - work.published.at);
            }
        }
        if news & COMMITTED != 0 {
            self.settle(now, out)?;
            self.see_off(now, out)?;
        }
        if news & DRAIN != 0 {
            self.send_away(now, out)?;
        }
        if news & KICK != 0 {
            self.kicked(now, out)?;
        }
        self.take_answers(now, out)?;
        self.closing |= news & CLOSING != 0;
        Ok(())
    }

    fn deadline(&self) -> Option<Time> {
        let machine = match &self.stage {
            Stage::ExpectSetup(machine) => machine.deadline(),
            Stage::Mining(server) => server.deadline(),
            Stage::StratumV1(server) => server.deadline(),
            Stage::Declaring(machine) => machine.deadline(),
            Stage::Distributing(_) | Stage::Over => None,
        };
        [machine, self.leave_by()].into_iter().flatten().min()
    }

    fn expire(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        match self.stage {
            Stage::ExpectSetup(_) => self.setup(now, setup::ServerInput::Deadline, out),
            Stage::Mining(_) | Stage::StratumV1(_) => {
                self.see_off(now, out)?;
                self.mining(now, Input::Deadline, out)
            }
            Stage::Declaring(_) => {
                self.see_off(now, out)?;
                self.declaring(now, declare::server::Input::Deadline, out)
            }
            Stage::Distributing(_) => self.see_off(now, out),
            Stage::Over => Ok(()),
        }
    }

    fn finished(&self) -> bool {
        self.closing
    }
}

/// Nothing is left of the extranonce space.
const NO_SLOT: Fault = Fault::Expired("no connection slot is free");

/// The longest frame of an extension or type we do not know that is read, to be discarded.
pub(crate) const UNKNOWN_BYTES_MAX: u32 = 72 * 1024;

/// A bucket of messages that refills with time; shares have their own.
#[derive(Debug)]
pub(crate) struct Budget {
    per_second: u32,
    left: u32,
    at: Time,
}

impl Budget {
    /// Seconds of messages that may come at once.
    const BURST_S: u32 = 4;

    pub(crate) fn new(per_second: u32, now: Time) -> Self {
        Self {
            per_second,
            left: per_second.saturating_mul(Self::BURST_S),
            at: now,
        }
    }

    pub(crate) fn spend(&mut self, now: Time) -> Result<(), Fault> {
        if self.per_second == 0 {
            return Ok(());
        }
        if self.left == 0 {
            let earned = (now - self.at).as_micros() * u128::from(self.per_second) / 1_000_000;
            let full = self.per_second.saturating_mul(Self::BURST_S);
            self.left = u32::try_from(earned).unwrap_or(full).min(full);
            self.at = now;
        }
        self.left = self
            .left
            .checked_sub(1)
            .ok_or(Fault::Misbehaved("far too many messages"))?;
        Ok(())
    }
}
