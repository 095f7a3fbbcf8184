//! The template provider: chain, waiting transactions and templates behind one synchronous face.

use bitcoin::consensus::encode;
use bitcoin::{Amount, Block, BlockHash, TxOut, Wtxid};

use super::assemble::{empty_block, solve};
use super::bootstrap::open_script;
use super::chain::{Chain, Change, Connected, FORK_DEPTH_MAX};
use super::generator::Generator;
use super::mempool::Mempool;
use super::rules::{BLOCK_WEIGHT_MAX, BOOTSTRAP_HEIGHT, Rules, WORK_LOG2_RANGE, subsidy};
use super::store::Store;
use super::template::{Kept, Templates, Want, header_time};
use super::{Error, Settings, TRANSACTIONS_MAX};
use crate::lookup::Lookup;
use crate::{BlockCheck, BlockStatus, Constraints, Found, Solution, SubmitError, TemplateId, Verdict};

/// Expected hashes of one [`Provider::reorganise`] at most: about a second of one core.
pub const REORGANISE_HASHES_MAX: u128 = 1 << 21;
/// Waiting transactions for each one a block takes: enough that fees can grow.
const MEMPOOL_BLOCKS: usize = 4;
/// Nonces tried over the expected number before a fresh header is made.
const TRIES_FACTOR: u64 = 16;
/// Fresh headers for one block.
const HEADERS_MAX: u64 = 8;

/// Chain, waiting transactions and templates.
#[derive(Debug)]
pub struct Provider {
    settings: Settings,
    chain: Chain,
    mempool: Mempool,
    generator: Generator,
    templates: Templates,
    /// What templates are made for, each once.
    rooms: Vec<Constraints>,
    store: Option<Store>,
    next_template: u64,
    /// Counts blocks of our own making, so that no two are alike.
    made: u64,
}

impl Provider {
    /// Bootstraps the chain, takes the stored blocks, and builds the first template.
    ///
    /// # Errors
    /// A setting out of its range, or a block file that cannot be used.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let rules = checked(&settings)?;
        let impossible = |error| Error::Setting {
            name: "bootstrap",
            given: format!("refused: {error}"),
            want: "a chain of its own rules".into(),
        };
        let mut chain = Chain::bootstrapped(rules).map_err(impossible)?;
        let anchor = chain.tip();
        let store = match &settings.path {
            None => None,
            Some(folder) => Some(Store::open(folder, &rules, anchor, |bytes| {
                let block: Block = encode::deserialize(bytes).map_err(|e| e.to_string())?;
                // Its time was judged when it came in; the clock may have been set since.
                chain
                    .connect(block, u64::MAX)
                    .map(|_| ())
                    .map_err(|e| e.to_string())
            })?),
        };
        let mut provider = Self {
            generator: Generator::new(settings.seed),
            mempool: Mempool::default(),
            templates: Templates::default(),
            next_template: 1,
            made: u64::from(chain.height()),
            rooms: vec![settings.constraints],
            settings,
            chain,
            store,
        };
        provider.generator.rescan(&provider.chain, &provider.mempool);
        provider.refresh();
        Ok(provider)
    }

    /// The chain as it stands.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The present template of the first set of constraints.
    pub fn template(&self) -> Option<&Kept> {
        self.templates().next()
    }

    /// The present template of each set of constraints.
    pub fn templates(&self) -> impl Iterator<Item = &Kept> {
        self.rooms.iter().filter_map(|room| self.templates.newest(room))
    }

    /// Makes templates for these from now on, one for each that is new at once. None changes nothing.
    pub fn constrain(&mut self, mut rooms: Vec<Constraints>) {
        let mut seen = std::collections::HashSet::new();
        rooms.retain(|room| seen.insert(*room));
        if rooms.is_empty() {
            return;
        }
        let before = std::mem::replace(&mut self.rooms, rooms);
        for room in self.rooms.clone() {
            if !before.contains(&room) {
                let kept = self.build(room);
                self.publish(kept);
            }
        }
    }

    /// A template interval has passed: users send some more transactions, and a template that
    /// pays more in fees replaces the present one. True when there is a new one.
    pub fn tick(&mut self) -> bool {
        let some = self.settings.transactions_per_block.div_ceil(8);
        self.feed(some);
        if let Some(store) = &mut self.store
            && let Err(error) = store.flush()
        {
            tracing::error!(%error, "the block file cannot be written");
        }
        self.improve()
    }

    /// Takes a solution of one of the templates.
    ///
    /// # Errors
    /// When the template is not known (any more), or the disk fails.
    pub fn submit(&mut self, solution: &Solution) -> Result<Verdict, SubmitError> {
        let kept = self
            .templates
            .find(solution.template)
            .ok_or(SubmitError::UnknownTemplate)?;
        match kept.block(solution) {
            Ok(block) => self.take(block),
            Err(error) => Ok(Verdict::Rejected(format!("coinbase transaction: {error}"))),
        }
    }

    /// Takes a consensus-encoded block.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn submit_block(&mut self, bytes: &[u8]) -> Result<Verdict, SubmitError> {
        if bytes.len() as u64 > BLOCK_WEIGHT_MAX {
            return Ok(Verdict::Rejected("bad-blk-length".into()));
        }
        match encode::deserialize(bytes) {
            Ok(block) => self.take(block),
            Err(error) => Ok(Verdict::Rejected(format!("bad-block-encoding: {error}"))),
        }
    }

    /// Whether a consensus-encoded block would be valid as the next one, but for its proof of work.
    pub fn check_block(&mut self, bytes: &[u8]) -> BlockCheck {
        let now = self.now();
        match encode::deserialize(bytes) {
            Ok(block) => match self.chain.check_next(&block, now) {
                Ok(()) => BlockCheck::Valid,
                Err(error) => BlockCheck::Invalid(error.to_string()),
            },
            Err(error) => BlockCheck::Invalid(format!("bad-block-encoding: {error}")),
        }
    }

    /// The waiting transactions with these witness ids, encoded with witness, in the order asked.
    ///
    /// # Errors
    /// `TooMuch` when they are more than a block can hold.
    pub fn transactions(&self, wtxids: Vec<Wtxid>) -> Result<Found, SubmitError> {
        let wanted = wtxids.iter().copied().collect();
        let mut lookup = Lookup::new(wtxids);
        for (wtxid, transaction) in self.mempool.by_wtxid(&wanted) {
            lookup.fill(wtxid, encode::serialize(transaction))?;
        }
        lookup.finish()
    }

    /// Where a block stands.
    pub fn status(&self, hash: &BlockHash) -> BlockStatus {
        self.chain.status(hash)
    }

    /// Gives up the last `depth` blocks by mining `depth + 1` empty ones beside them; with 0,
    /// mines one block on the tip, as another miner would.
    ///
    /// # Errors
    /// `Unsupported` when that needs more than [`REORGANISE_HASHES_MAX`] expected hashes, or goes
    /// back more than [`FORK_DEPTH_MAX`] blocks or into the bootstrap.
    pub fn reorganise(&mut self, depth: u32) -> Result<(), SubmitError> {
        let work = self.chain.rules().work().saturating_mul(u128::from(depth) + 1);
        let base = self
            .chain
            .height()
            .checked_sub(depth)
            .filter(|h| *h >= BOOTSTRAP_HEIGHT);
        let base = base.and_then(|height| self.chain.block_hash(height));
        let base = base.filter(|_| depth <= FORK_DEPTH_MAX && work <= REORGANISE_HASHES_MAX);
        let mut parent = base.ok_or(SubmitError::Unsupported)?;
        for _ in 0..=depth {
            let block = self.mine_on(parent)?;
            parent = block.block_hash();
            match self.take(block)? {
                Verdict::Accepted => {}
                Verdict::Duplicate => return Err(unavailable("mined a block twice")),
                Verdict::Rejected(why) => return Err(SubmitError::Unavailable(why)),
            }
        }
        Ok(())
    }

    fn take(&mut self, block: Block) -> Result<Verdict, SubmitError> {
        if self.store.as_ref().is_some_and(|store| !store.has_room()) {
            self.flush()?;
        }
        let bytes = self.store.as_ref().map(|_| encode::serialize(&block));
        match self.chain.connect(block, self.now()) {
            Err(error) => return Ok(Verdict::Rejected(error.to_string())),
            Ok(Connected::Duplicate) => {
                self.flush()?;
                return Ok(Verdict::Duplicate);
            }
            Ok(Connected::Side) => {}
            Ok(Connected::Tip(change)) => self.follow(&change),
        }
        if let (Some(store), Some(bytes)) = (&mut self.store, bytes) {
            store.append(&bytes).map_err(disk)?;
        }
        Ok(Verdict::Accepted)
    }

    /// A duplicate is as good as accepted only when the block is on disk.
    fn flush(&mut self) -> Result<(), SubmitError> {
        match &mut self.store {
            Some(store) if store.is_behind() => store.flush().map_err(disk),
            _ => Ok(()),
        }
    }

    fn follow(&mut self, change: &Change) {
        let lost = self.mempool.follow(&self.chain, change);
        if lost || !change.disconnected.is_empty() {
            self.generator.rescan(&self.chain, &self.mempool);
        } else {
            let first = self.chain.height() + 1 - u32::try_from(change.connected.len()).unwrap_or(0);
            for (height, block) in (first..).zip(&change.connected) {
                self.generator.follow(block, height);
            }
        }
        self.refresh();
    }

    /// A template for a new tip, from what waits; users are asked only when that is little.
    fn refresh(&mut self) {
        let wanted = self.settings.transactions_per_block.div_ceil(2);
        self.feed(wanted.saturating_sub(self.mempool.len()));
        for room in self.rooms.clone() {
            let kept = self.build(room);
            self.publish(kept);
        }
    }

    /// Replaces the present templates when fees have grown.
    fn improve(&mut self) -> bool {
        let mut improved = false;
        for room in self.rooms.clone() {
            let kept = self.build(room);
            let better = |present: &Kept| {
                kept.template.fees > present.template.fees
                    || present.template.prev_hash != kept.template.prev_hash
            };
            if self.templates.newest(&room).is_none_or(better) {
                self.publish(kept);
                improved = true;
            }
        }
        improved
    }

    fn build(&self, constraints: Constraints) -> Kept {
        let id = TemplateId(self.next_template);
        let count = self.settings.transactions_per_block;
        let want = Want { constraints, count };
        Kept::build(id, &self.chain, &self.mempool, want, self.now())
    }

    fn publish(&mut self, kept: Kept) {
        self.next_template += 1;
        self.templates.push(kept, self.rooms.len());
    }

    /// Lets users send up to `count` transactions.
    fn feed(&mut self, count: usize) {
        let per_block = self.settings.transactions_per_block;
        let full = per_block.saturating_mul(MEMPOOL_BLOCKS);
        for _ in 0..count {
            let mut floor = 0;
            if self.mempool.len() >= full {
                let Some(tx) = self.mempool.evict() else { return };
                self.generator.give_back(&tx);
                floor = self.present_fee_rate();
            }
            let wanted = per_block.saturating_mul(2);
            let next = self.generator.next(&self.chain, &self.mempool, wanted, floor);
            let Some(tx) = next else { return };
            let copy = tx.clone();
            if self.mempool.add(&self.chain, tx).is_err() {
                self.generator.give_back(&copy);
            }
        }
    }

    /// Fee rate of the present template, satoshis a virtual byte: what a hurried user outbids.
    fn present_fee_rate(&self) -> u64 {
        let Some(kept) = self.template() else {
            return 0;
        };
        let bytes = kept.encoded.iter().map(Vec::len).sum::<usize>() as u64;
        kept.template.fees.unwrap_or(0).checked_div(bytes).unwrap_or(0)
    }

    fn mine_on(&mut self, parent: BlockHash) -> Result<Block, SubmitError> {
        let place = self
            .chain
            .place_after(&parent)
            .ok_or(unavailable("no such block"))?;
        let time = header_time(self.now(), place.median_time);
        let expected = u64::try_from(self.chain.rules().work()).unwrap_or(u64::MAX);
        for _ in 0..HEADERS_MAX {
            self.made = self.made.wrapping_add(1);
            let payout = TxOut {
                value: Amount::from_sat(subsidy(place.height)),
                script_pubkey: open_script(),
            };
            let fields = (time, place.nbits);
            let tag = self.made ^ self.settings.seed.rotate_left(32);
            let mut block = empty_block(place.height, parent, fields, tag, vec![payout]);
            if solve(&mut block.header, expected.saturating_mul(TRIES_FACTOR)) {
                return Ok(block);
            }
        }
        Err(unavailable("no nonce found; ask again"))
    }

    fn now(&self) -> u64 {
        (self.settings.clock)()
    }
}

fn checked(settings: &Settings) -> Result<Rules, Error> {
    if settings.transactions_per_block > TRANSACTIONS_MAX {
        return Err(Error::Setting {
            name: "transactions_per_block",
            given: settings.transactions_per_block.to_string(),
            want: format!("at most {TRANSACTIONS_MAX}"),
        });
    }
    if settings.template_interval.is_zero() {
        return Err(Error::Setting {
            name: "template_interval",
            given: "zero".into(),
            want: "longer".into(),
        });
    }
    Rules::new(settings.work_log2).ok_or_else(|| Error::Setting {
        name: "work_log2",
        given: settings.work_log2.to_string(),
        want: format!("{} to {}", WORK_LOG2_RANGE.start(), WORK_LOG2_RANGE.end()),
    })
}

fn unavailable(why: &str) -> SubmitError {
    SubmitError::Unavailable(why.into())
}

fn disk(error: std::io::Error) -> SubmitError {
    tracing::error!(%error, "the block file cannot be written");
    SubmitError::Unavailable(format!("the block file cannot be written: {error}"))
}
