//! What the connections of a provider share: groups of clients that agree, the shelf of templates, the way of blocks.
//!
//! All of it lives on one thread and is borrowed for moments, never across an await.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use adit_ledger::{BlockStore, FoundBlock};
use adit_net::{Clock, Identities, Link, Permit, Rules, drive};
use adit_node::{CONSTRAINTS_MAX, Constraints, Event, Solution, Template, TemplateId, assemble};
use adit_proto::template::server::Offer;
use adit_proto::{Fault, setup, template};
use adit_wire::template::SubmitSolution;
use bitcoin::BlockHash;
use bitcoin::consensus::Encodable;
use bitcoin::hashes::Hash;
use tokio::sync::{Notify, Semaphore, mpsc, watch};

use super::connection::{ANSWERS, BOUNDS, CLOSING, Connection, OFFER, offer_of};
use super::shelf::{Shelf, Transactions};
use super::verdicts;
use crate::keys::{Ring, Tended};
use crate::observe::{self as status, NodeState, Status};
use crate::pool::blocks::{BlockPath, News, What};
use crate::pool::inspect::Inspector;
use crate::pool::mailbox::Mailbox;
use crate::shutdown::Shutdown;

/// Between two pictures.
const PICTURE_EVERY: Duration = Duration::from_millis(500);
/// Pictures between two looks at certificate and wall clock.
const HOUSEKEEPING_EVERY: u32 = 4;
/// News of blocks that may wait.
const NEWS_MAX: usize = 256;
/// How long a stopping provider waits for its connections.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// A connection on its way to the provider's thread.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) stream: std::net::TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) permit: Permit,
}

/// What all connections are made with.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) clock: Clock,
    pub(super) setup: Arc<setup::Settings>,
    pub(super) template: template::server::Settings,
    pub(super) rules: Rules,
    pub(super) handshake: Duration,
    pub(super) messages_per_second: u32,
    pub(super) shutdown: Shutdown,
}

/// What a provider is made of.
pub(super) struct Parts {
    pub(super) plan: Plan,
    pub(super) node: adit_node::Node,
    /// Room of the templates that are made while nobody asks.
    pub(super) default: Constraints,
    /// Whether templates are put before the node again: not where it has checked them itself.
    pub(super) inspects: bool,
    pub(super) ring: Ring,
    pub(super) store: Arc<BlockStore>,
    pub(super) status: watch::Sender<Arc<Status>>,
    pub(super) picture: Status,
    pub(super) refused_at_the_door: Box<dyn Fn() -> u64 + Send>,
}

/// Clients that want the same room.
#[derive(Debug, Default)]
struct Group {
    members: usize,
    offer: Option<Arc<Offer>>,
}

impl Group {
    /// Whether an offer is better than the present one: made for this group, or with more room while there is none made
    /// for it on that tip. Some sources make one kind of templates only, with room for everybody.
    fn is_better(&self, constraints: &Constraints, offer: &Offer) -> bool {
        let on = |offer: &Offer| {
            let tip = &offer.paired.tip;
            (tip.prev_hash, tip.n_bits, tip.target)
        };
        let has_its_own = self
            .offer
            .as_ref()
            .is_some_and(|own| own.constraints == *constraints && on(own) == on(offer));
        offer.constraints == *constraints || (offer.constraints.cover(constraints) && !has_its_own)
    }
}

/// One connection, as the hub sees it.
#[derive(Debug, Default)]
pub(super) struct Seat {
    pub(super) mailbox: Mailbox,
    group: Cell<Option<Constraints>>,
}

/// What becomes of a request for transactions.
#[derive(Debug)]
pub(super) enum Lookup {
    Known(Transactions),
    /// The node has not given them yet.
    Coming,
    Gone,
}

/// What the connections of a provider share.
pub(super) struct Hub {
    pub(super) plan: Plan,
    node: adit_node::Handle,
    default: Constraints,
    groups: RefCell<BTreeMap<Constraints, Group>>,
    /// There are other groups than the node knows of.
    regroup: Notify,
    shelf: RefCell<Shelf>,
    seats: RefCell<Vec<Rc<Seat>>>,
    /// Somebody left.
    left: Notify,
    blocks: RefCell<Option<BlockPath>>,
    identities: RefCell<Arc<Identities>>,
    /// One handshake is computed per turn of the runtime.
    gate: Semaphore,
    picture: RefCell<Status>,
    /// What the node's source wants somebody to look at.
    alarm: RefCell<String>,
    newest: RefCell<Option<(Arc<Template>, adit_proto::Time)>>,
}

/// Serves until shutdown, then until the last block is safe. Gives back what the node says.
pub(super) async fn run(parts: Parts, mut arrivals: mpsc::Receiver<Incoming>) -> mpsc::Receiver<Event> {
    let Parts {
        plan,
        node,
        mut ring,
        status,
        ..
    } = parts;
    let adit_node::Node { handle, mut events } = node;
    let (news, mut heard) = mpsc::channel(NEWS_MAX);
    let mut shutdown = plan.shutdown.clone();
    let hub = Rc::new(Hub {
        blocks: RefCell::new(Some(BlockPath::new(
            handle.clone(),
            plan.clock.clone(),
            parts.store,
            news,
        ))),
        plan,
        node: handle,
        default: parts.default,
        groups: RefCell::default(),
        regroup: Notify::new(),
        shelf: RefCell::default(),
        seats: RefCell::default(),
        left: Notify::new(),
        identities: RefCell::new(ring.identities()),
        gate: Semaphore::new(1),
        picture: RefCell::new(parts.picture),
        alarm: RefCell::default(),
        newest: RefCell::default(),
    });
    let mut inspector = Inspector::of_templates(hub.node.clone());
    let regrouping = tokio::task::spawn_local(Rc::clone(&hub).regrouping());
    let mut beat = tokio::time::interval(PICTURE_EVERY);
    let mut beats = 0u32;
    loop {
        tokio::select! {
            biased;
            () = shutdown.requested() => break,
            Some(event) = events.recv() => {
                if parts.inspects {
                    verdicts::look(&hub, &mut inspector, &event);
                }
                hub.event(event);
            }
            answer = inspector.answer() => verdicts::judge(&hub, &mut inspector, answer),
            Some(news) = heard.recv() => hub.news(&news),
            Some(incoming) = arrivals.recv() => {
                tokio::task::spawn_local(Rc::clone(&hub).serve(incoming));
            }
            _ = beat.tick() => {
                beats = beats.wrapping_add(1);
                if beats.is_multiple_of(HOUSEKEEPING_EVERY) {
                    hub.housekeeping(&mut ring);
                }
            }
        }
        hub.publish(&status, &inspector, &*parts.refused_at_the_door);
    }
    drop(arrivals);
    drop(heard);
    regrouping.abort();
    hub.wind_up().await;
    hub.publish(&status, &inspector, &*parts.refused_at_the_door);
    events
}

impl Hub {
    /// Sends everybody home and waits until the last block is on disk or in the chain.
    async fn wind_up(&self) {
        self.ring(CLOSING);
        let empty = async {
            while !self.seats.borrow().is_empty() {
                self.left.notified().await;
            }
        };
        let _ = tokio::time::timeout(STOP_PATIENCE, empty).await;
        let blocks = self.blocks.take();
        if let Some(blocks) = blocks {
            blocks.safe().await;
        }
    }

    fn ring(&self, news: u8) {
        for seat in self.seats.borrow().iter() {
            seat.mailbox.ring(news);
        }
    }

    /// One connection, from handshake to end.
    async fn serve(self: Rc<Self>, incoming: Incoming) {
        let Incoming { stream, peer, permit } = incoming;
        let identities = Arc::clone(&self.identities.borrow());
        let Plan { rules, handshake, .. } = &self.plan;
        let link = match tokio::net::TcpStream::from_std(stream) {
            Ok(stream) => Link::accept(stream, &identities, rules, *handshake, &self.gate).await,
            Err(error) => Err(error.into()),
        };
        let mut link = match link {
            Ok(link) => link,
            Err(error) => {
                self.picture.borrow_mut().connections.faulted += 1;
                tracing::debug!(%peer, %error, "no handshake");
                return;
            }
        };
        self.entered(link.suite());
        let seat = Rc::new(Seat::default());
        self.seats.borrow_mut().push(Rc::clone(&seat));
        let mut connection = Box::new(Connection::new(Rc::clone(&self), Rc::clone(&seat), peer));
        if self.plan.shutdown.is_requested() {
            seat.mailbox.ring(CLOSING);
        }
        let end = drive(&mut link, &mut *connection, &self.plan.clock, BOUNDS).await;
        match &end {
            adit_net::End::Fault(fault) => {
                self.picture.borrow_mut().connections.faulted += 1;
                tracing::info!(%peer, %fault, "client disconnected");
            }
            end => tracing::info!(%peer, %end, "client left"),
        }
        self.leave(&seat);
        self.seats.borrow_mut().retain(|other| !Rc::ptr_eq(other, &seat));
        self.left.notify_one();
        drop(permit);
    }

    fn entered(&self, suite: adit_noise::Suite) {
        let connections = &mut self.picture.borrow_mut().connections;
        connections.accepted += 1;
        *connections.by_suite.entry(suite.name()).or_default() += 1;
    }

    /// Puts a client into the group of its constraints; when there are too many groups already, into one with more
    /// room.
    pub(super) fn join(&self, seat: &Seat, wanted: Constraints) -> Result<(), Fault> {
        self.leave(seat);
        let mut groups = self.groups.borrow_mut();
        let group = if groups.contains_key(&wanted) || groups.len() < CONSTRAINTS_MAX {
            wanted
        } else {
            let mut roomy = groups.keys().filter(|group| group.cover(&wanted));
            *roomy.next().ok_or(Fault::Incompatible(
                "too many clients with other constraints: the provider makes no more kinds of templates",
            ))?
        };
        let entry = groups.entry(group).or_insert_with(|| {
            self.regroup.notify_one();
            let shelf = self.shelf.borrow();
            let offer = shelf.newest(&group).map(|template| offer_of(template));
            Group { members: 0, offer }
        });
        entry.members += 1;
        seat.group.set(Some(group));
        if entry.offer.is_some() {
            seat.mailbox.ring(OFFER);
        }
        Ok(())
    }

    fn leave(&self, seat: &Seat) {
        if let Some(constraints) = seat.group.take()
            && let Some(group) = self.groups.borrow_mut().get_mut(&constraints)
        {
            group.members = group.members.saturating_sub(1);
            if group.members == 0 {
                self.regroup.notify_one();
            }
        }
    }

    /// The newest template of a client's group.
    pub(super) fn offer(&self, seat: &Seat) -> Option<Arc<Offer>> {
        let groups = self.groups.borrow();
        groups.get(&seat.group.get()?)?.offer.clone()
    }

    /// Tells the node for whom to make templates, whenever that has changed.
    async fn regrouping(self: Rc<Self>) {
        loop {
            self.regroup.notified().await;
            let wanted = {
                let mut groups = self.groups.borrow_mut();
                groups.retain(|_, group| group.members > 0);
                match groups.is_empty() {
                    true => vec![self.default],
                    false => groups.keys().copied().collect(),
                }
            };
            tracing::debug!(groups = wanted.len(), "constraints of the clients");
            if let Err(error) = self.node.constrain(wanted).await {
                tracing::warn!(
                    ?error,
                    "the node does not make templates for what the clients want"
                );
            }
        }
    }

    fn event(&self, event: Event) {
        match event {
            Event::Up { node } => {
                tracing::info!(%node, "node is up");
                let picture = &mut self.picture.borrow_mut().node;
                (picture.name, picture.state, picture.reason) = (node, NodeState::Up, String::new());
                if let Some(blocks) = &mut *self.blocks.borrow_mut() {
                    blocks.resend();
                }
            }
            Event::Down { reason } => {
                tracing::warn!(%reason, "no node");
                let picture = &mut self.picture.borrow_mut().node;
                (picture.state, picture.reason) = (NodeState::Down, reason);
            }
            Event::Alarm { text } => *self.alarm.borrow_mut() = text.unwrap_or_default(),
            Event::Template(template) => self.template(template),
            Event::Transactions {
                template,
                transactions,
            } => {
                self.shelf.borrow_mut().learn(template, transactions);
                self.ring(ANSWERS);
            }
        }
    }

    fn template(&self, template: Arc<Template>) {
        if self.shelf.borrow_mut().put(Arc::clone(&template)) {
            tracing::info!(height = template.height, prev = %template.prev_hash, "new tip");
        }
        self.offer_to_all(&template);
        *self.newest.borrow_mut() = Some((template, self.plan.clock.now()));
    }

    /// Those of the template's group get it, and those who can use it and have no better.
    pub(super) fn offer_to_all(&self, template: &Template) {
        let offer = offer_of(template);
        let mut groups = self.groups.borrow_mut();
        let mut served = Vec::new();
        for (constraints, group) in groups.iter_mut() {
            if group.is_better(constraints, &offer) {
                group.offer = Some(Arc::clone(&offer));
                served.push(*constraints);
            }
        }
        drop(groups);
        for seat in self.seats.borrow().iter() {
            if seat.group.get().is_some_and(|group| served.contains(&group)) {
                seat.mailbox.ring(OFFER);
            }
        }
    }

    /// The newest template of the present tip with this room.
    pub(super) fn newest(&self, room: &Constraints) -> Option<Arc<Template>> {
        self.shelf.borrow().newest(room).map(Arc::clone)
    }

    /// A template of the last tips.
    pub(super) fn kept(&self, id: TemplateId) -> Option<Arc<Template>> {
        self.shelf
            .borrow()
            .find(id)
            .map(|kept| Arc::clone(&kept.template))
    }

    /// The transactions of a template.
    pub(super) fn lookup(&self, source: u64) -> Lookup {
        match self.shelf.borrow().find(TemplateId(source)) {
            None => Lookup::Gone,
            Some(kept) => kept
                .transactions
                .as_ref()
                .map_or(Lookup::Coming, |known| Lookup::Known(Arc::clone(known))),
        }
    }

    /// A client found a block. What is none is refused here: the node has better things to do.
    pub(super) fn solution(&self, peer: SocketAddr, source: u64, solution: SubmitSolution) {
        let now = self.plan.clock.now();
        let solution = Solution {
            template: TemplateId(source),
            version: solution.version,
            header_timestamp: solution.header_timestamp,
            header_nonce: solution.header_nonce,
            coinbase_tx: solution.coinbase_tx.into(),
        };
        let shelf = self.shelf.borrow();
        let Some(kept) = shelf.find(solution.template) else {
            return self.late(peer, solution);
        };
        let header = match assemble::header(&kept.template, &solution) {
            Ok(header) => header,
            Err(reason) => return self.refused(peer, &reason),
        };
        let hash = header.block_hash();
        if !kept.template.block_target().is_met_by(&hash.to_byte_array()) {
            return self.refused(peer, "its hash is above the target");
        }
        let mut bytes = [0; 80];
        // Eighty bytes hold a header.
        let _ = header.consensus_encode(&mut &mut bytes[..]);
        let whole = kept.transactions.as_ref();
        let block = FoundBlock {
            hash: hash.to_byte_array(),
            height: kept.template.height,
            time_us: now.0,
            value: kept.template.coinbase_tx_value_remaining,
            account: [0; 16],
            channel: 0,
            header: bytes,
            coinbase: solution.coinbase_tx.clone(),
            block: whole.map_or_else(Vec::new, |rest| assemble::block(&header, &solution, rest)),
            template: source.to_string(),
            credits: String::new(),
        };
        drop(shelf);
        if let Some(blocks) = &mut *self.blocks.borrow_mut() {
            tracing::info!(height = block.height, %hash, %peer, "a client found a block");
            let mut picture = self.picture.borrow_mut();
            picture.blocks.found += 1;
            picture.blocks.pending += 1;
            picture.blocks.last = Some(status::LastBlock {
                height: u64::from(block.height),
                hash: hash.to_string(),
                at_us: block.time_us,
                worker: peer.to_string(),
            });
            blocks.found(block, Some(solution), now);
        }
    }

    /// The template is gone from the shelf; the node may know it still.
    fn late(&self, peer: SocketAddr, solution: Solution) {
        let node = self.node.clone();
        tokio::task::spawn_local(async move {
            let verdict = node.submit(solution).await;
            tracing::warn!(%peer, ?verdict, "a block on a template of long ago");
        });
    }

    fn refused(&self, peer: SocketAddr, reason: &str) {
        tracing::warn!(%peer, reason, "a solution that is no block");
        self.picture.borrow_mut().blocks.rejected += 1;
    }

    fn news(&self, news: &News) {
        let hash = BlockHash::from_byte_array(news.hash);
        let height = news.height;
        let blocks = &mut self.picture.borrow_mut().blocks;
        match &news.what {
            What::Submitted(after) => {
                let us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
                return blocks.submit_latency.record(us);
            }
            What::Accepted => {
                blocks.accepted += 1;
                blocks.pending = blocks.pending.saturating_sub(1);
                tracing::info!(height, %hash, "block accepted by the node");
                return;
            }
            What::Rejected(reason) => {
                blocks.rejected += 1;
                blocks.pending = blocks.pending.saturating_sub(1);
                tracing::error!(height, %hash, %reason, "block refused by the node");
            }
            What::Confirmed | What::Buried(_) | What::Matured(_) => {
                tracing::debug!(height, %hash, "block is in the chain")
            }
            What::Stale => tracing::warn!(height, %hash, "another block took this one's place"),
        }
        if let Some(path) = &mut *self.blocks.borrow_mut() {
            path.ended(&news.hash);
        }
    }

    fn housekeeping(&self, ring: &mut Ring) {
        self.plan.clock.follow_wall_clock();
        let now = self.plan.clock.unix_s();
        match ring.tend(now) {
            Tended::Quiet => return,
            Tended::Renewed => tracing::info!("server certificates renewed"),
            Tended::OtherAuthority => {
                let key = ring.authority().current;
                tracing::warn!(%key, "the authority is another one now: clients need the new key");
            }
            Tended::Refused(exit) => {
                tracing::error!(reason = %exit.message, help = %exit.hint, "changed keys are of no use");
            }
        }
        self.identities.replace(ring.identities());
    }

    fn publish(&self, status: &watch::Sender<Arc<Status>>, inspector: &Inspector, refused: &dyn Fn() -> u64) {
        let now = self.plan.clock.now().0;
        let mut picture = self.picture.borrow_mut();
        picture.taken_at_us = now;
        picture.uptime_ms = now.saturating_sub(picture.started_at_us) / 1000;
        picture.connections.open = self.seats.borrow().len() as u64;
        picture.connections.refused = refused();
        if let Some((template, at)) = &*self.newest.borrow() {
            let node = &mut picture.node;
            node.height = u64::from(template.height).saturating_sub(1);
            node.tip = template.prev_hash.to_string();
            node.template_age_ms = Some(now.saturating_sub(at.0) / 1000);
            node.transactions = template.transaction_count;
            node.fees_sat = template.fees;
        }
        verdicts::paint(inspector, &self.alarm.borrow(), &mut picture.node);
        status.send_replace(Arc::new(picture.clone()));
    }
}
