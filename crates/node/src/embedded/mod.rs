//! A Bitcoin chain in this process: regtest's addresses, Bitcoin's rules, a difficulty of choice.
//!
//! Blocks are checked in full: proof of work, times, merkle root, witness commitment, height,
//! amounts, maturity, locks, weight, signature operations, and the scripts of the five forms
//! that its own users pay to ([`Chain`]). Those users send signed transactions with varying fees,
//! so templates carry merkle paths and grow in value. With a folder, blocks survive a restart.
//!
//! Only [`Embedded::run`](crate::TemplateSource::run) waits and only its block file does input
//! and output; [`Provider`] can be driven without a runtime, [`Chain`] without a clock.

mod assemble;
mod bootstrap;
mod chain;
mod check;
mod coins;
mod error;
mod generator;
mod headers;
mod mempool;
mod provider;
mod random;
mod rules;
mod script;
mod select;
mod store;
mod template;
mod wallet;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::Network;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use crate::{CONSTRAINTS_MAX, Constraints, Event, Request, Requests, TemplateSource};

pub use chain::{Chain, Change, Connected, FORK_DEPTH_MAX, SIDE_BLOCKS_MAX};
pub use coins::Coin;
pub use error::{BlockError, Error};
pub use provider::{Provider, REORGANISE_HASHES_MAX};
pub use rules::{
    BLOCK_SIGOPS_MAX, BLOCK_WEIGHT_MAX, BOOTSTRAP_HEIGHT, COINBASE_MATURITY, FUTURE_MAX_S, HEIGHT_MAX,
    MONEY_MAX, Rules, WORK_LOG2_RANGE, subsidy, work_of,
};
pub use template::Kept;

/// Transactions of a template besides the coinbase, at most.
pub const TRANSACTIONS_MAX: usize = 2000;

/// Gives the time: seconds since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How the chain shall be.
#[derive(Clone)]
pub struct Settings {
    /// Work of one block as a power of two of hashes, 1 to 60.
    pub work_log2: u8,
    /// Folder of the block file `embedded-LOG2.blocks`; without one the chain is in memory only.
    pub path: Option<PathBuf>,
    /// What the users' keys and transactions follow from.
    pub seed: u64,
    /// Transactions of a template besides the coinbase, at most [`TRANSACTIONS_MAX`].
    pub transactions_per_block: usize,
    /// Least time between two templates on one tip, and between two batches of transactions.
    pub template_interval: Duration,
    /// Room for the outputs that the pool adds to the coinbase (spec 7.1), until it asks for another.
    pub constraints: Constraints,
    /// The clock.
    pub clock: Clock,
}

impl Settings {
    /// A chain in memory, with up to 50 transactions a block and a template every 5 seconds.
    pub fn new(work_log2: u8, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self {
            work_log2,
            path: None,
            seed: 0,
            transactions_per_block: 50,
            template_interval: Duration::from_secs(5),
            constraints: Constraints::default(),
            clock: Arc::new(clock),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("work_log2", &self.work_log2)
            .field("path", &self.path)
            .field("seed", &self.seed)
            .field("transactions_per_block", &self.transactions_per_block)
            .field("template_interval", &self.template_interval)
            .field("constraints", &self.constraints)
            .finish_non_exhaustive()
    }
}

/// The embedded chain as a template source.
#[derive(Debug)]
pub struct Embedded {
    provider: Provider,
    interval: Duration,
}

impl Embedded {
    /// Bootstraps the chain and takes up where its block file ends.
    ///
    /// # Errors
    /// A setting out of its range, or a block file that cannot be used.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let interval = settings.template_interval;
        Ok(Self {
            provider: Provider::new(settings)?,
            interval,
        })
    }

    /// The network that payout addresses must be of.
    pub fn network(&self) -> Network {
        Network::Regtest
    }

    /// Expected hashes of one block.
    pub fn work(&self) -> u128 {
        self.provider.chain().rules().work()
    }

    /// The chain and its templates.
    pub fn provider(&self) -> &Provider {
        &self.provider
    }

    fn name(&self) -> String {
        let chain = self.provider.chain();
        let log2 = chain.rules().work_log2();
        format!(
            "embedded chain (regtest, 2^{log2} hashes a block, height {})",
            chain.height()
        )
    }

    /// A sender that stopped waiting wants no answer.
    fn answer(&mut self, request: Request) {
        match request {
            Request::Submit(solution, answer) => {
                let _ = answer.send(self.provider.submit(&solution));
            }
            Request::SubmitBlock(block, answer) => {
                let _ = answer.send(self.provider.submit_block(&block));
            }
            Request::Status(hash, answer) => {
                let _ = answer.send(Ok(self.provider.status(&hash)));
            }
            Request::Transactions(wtxids, answer) => {
                let _ = answer.send(self.provider.transactions(wtxids));
            }
            Request::CheckBlock(block, answer) => {
                let _ = answer.send(Ok(self.provider.check_block(&block)));
            }
            Request::Constraints(rooms, answer) => {
                self.provider.constrain(rooms);
                let _ = answer.send(Ok(()));
            }
            Request::Reorganise(depth, answer) => {
                let _ = answer.send(self.provider.reorganise(depth));
            }
        }
    }
}

impl TemplateSource for Embedded {
    async fn run(mut self, mut requests: Requests, events: mpsc::Sender<Event>) {
        let mut outbox = Outbox::new(self.name());
        let mut ticks = tokio::time::interval_at(Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.provider.templates().for_each(|kept| outbox.put(kept));
            tokio::select! {
                biased;
                room = events.reserve(), if outbox.is_waiting() => match room {
                    Ok(room) => outbox.send(room),
                    Err(_) => outbox.close(),
                },
                _ = ticks.tick() => {
                    self.provider.tick();
                }
                request = requests.recv() => match request {
                    Some(request) => self.answer(request),
                    None => break,
                },
            }
        }
        // The chain's file is free before anybody hears that this source has ended.
        drop(self);
        drop(events);
    }
}

/// What the consumer has not taken yet. A newer template replaces one that waits, so that a slow
/// consumer costs nothing and never works on an old tip.
///
/// There is a place for each set of constraints; they are served from the smallest on.
struct Outbox {
    up: Option<String>,
    templates: BTreeMap<Constraints, Kept>,
    transactions: BTreeMap<Constraints, Kept>,
    newest: BTreeMap<Constraints, crate::TemplateId>,
    open: bool,
}

impl Outbox {
    fn new(name: String) -> Self {
        Self {
            up: Some(name),
            templates: BTreeMap::new(),
            transactions: BTreeMap::new(),
            newest: BTreeMap::new(),
            open: true,
        }
    }

    fn put(&mut self, kept: &Kept) {
        let (id, room) = (kept.template.id, kept.template.constraints);
        if self.newest.get(&room) == Some(&id) {
            return;
        }
        // Who asks for ever other rooms costs no more than the rooms there can be.
        if self.newest.len() > CONSTRAINTS_MAX {
            self.newest.clear();
        }
        self.newest.insert(room, id);
        self.templates.insert(room, kept.clone());
        self.transactions.insert(room, kept.clone());
    }

    fn is_waiting(&self) -> bool {
        let some = self.up.is_some() || !self.templates.is_empty() || !self.transactions.is_empty();
        self.open && some
    }

    fn send(&mut self, room: mpsc::Permit<'_, Event>) {
        if let Some(node) = self.up.take() {
            room.send(Event::Up { node });
        } else if let Some((_, kept)) = self.templates.pop_first() {
            room.send(Event::Template(kept.template));
        } else if let Some((_, kept)) = self.transactions.pop_first() {
            let template = kept.template.id;
            room.send(Event::Transactions {
                template,
                transactions: kept.encoded,
            });
        }
    }

    fn close(&mut self) {
        self.open = false;
    }
}
