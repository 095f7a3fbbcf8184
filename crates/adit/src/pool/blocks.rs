//! What happens to a found block: to the node at once, to the disk in parallel, and again until the chain has it.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adit_ledger::BlockStore;
use adit_ledger::blocks::FoundBlock;
use adit_ledger::money::MATURITY;
use adit_ledger::record::Outcome;
use adit_net::{Backoff, Clock};
use adit_node::{BlockStatus, Handle, Solution, SubmitError, Verdict};
use adit_proto::Time;
use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use tokio::sync::{Semaphore, mpsc, watch};

/// How often the chain is asked whether it has a block.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Blocks on it that make a block safe, and how often they are counted. A node that crashes forgets its last blocks,
/// and it may be the only one that ever had them.
const BURIED: u32 = 6;
const COUNT_EVERY: Duration = Duration::from_secs(2);
/// Blocks that are watched until they are buried; with more the chain is one for tests.
const WATCHED_MAX: usize = 64;
/// Times that a block the node has taken is asked for before it is left to the next start.
const ASK_MAX: usize = 3600;

/// Blocks that are written at once. With more, a chain on which every share is a block would keep the disk from the
/// ledger; what is in the chain before its turn comes need not be written.
const WRITES_MAX: usize = 4;
/// Bytes of blocks found in this run that are kept for those that stand on them.
const RECENT_BYTES_MAX: usize = 64 << 20;
/// Blocks before one that are handed in with it, when the node lacks them.
const ANCESTORS_MAX: usize = 8;

/// How long a stopping pool waits until its last blocks are on disk or in the chain.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// What became of a block.
#[derive(Debug)]
pub(crate) struct News {
    pub(crate) hash: [u8; 32],
    pub(crate) height: u32,
    pub(crate) what: What,
}

/// A block that an earlier run found.
#[derive(Debug)]
pub(crate) struct Earlier {
    pub(crate) height: u32,
    pub(crate) hash: [u8; 32],
    pub(crate) credits: String,
}

/// The stations of a block.
#[derive(Debug)]
pub(crate) enum What {
    /// The node was asked for the first time, so long after the share was read.
    Submitted(Duration),
    /// The node took it.
    Accepted,
    /// The node refused it, with its reason.
    Rejected(String),
    /// It is in the best chain.
    Confirmed,
    /// So many blocks, itself included, make it safe.
    Buried(u32),
    /// So many blocks stand on it, itself included, that what it pays can be spent.
    Matured(u32),
    /// Another block has its place.
    Stale,
}

/// Starts the ways of blocks.
#[derive(Debug)]
pub(crate) struct BlockPath {
    node: Handle,
    clock: Clock,
    store: Arc<BlockStore>,
    news: mpsc::Sender<News>,
    /// On their way in this process; resending leaves them alone.
    under_way: HashSet<[u8; 32]>,
    recent: Arc<Mutex<Recent>>,
    disk: Arc<Semaphore>,
    watched: Arc<Semaphore>,
    /// Told when the node is back: nobody waits any longer.
    up: watch::Sender<()>,
    /// Every way has a clone of it until its block is safe.
    unsafe_yet: mpsc::Sender<()>,
    all_safe: mpsc::Receiver<()>,
}

impl BlockPath {
    pub(crate) fn new(node: Handle, clock: Clock, store: Arc<BlockStore>, news: mpsc::Sender<News>) -> Self {
        let (unsafe_yet, all_safe) = mpsc::channel(1);
        let disk = Arc::new(Semaphore::new(WRITES_MAX));
        Self {
            node,
            clock,
            store,
            news,
            under_way: HashSet::new(),
            recent: Arc::default(),
            disk,
            watched: Arc::new(Semaphore::new(WATCHED_MAX)),
            up: watch::Sender::new(()),
            unsafe_yet,
            all_safe,
        }
    }

    /// Waits until every block that was found is on disk, in the chain, or refused.
    pub(crate) async fn safe(self) {
        let mut all_safe = self.all_safe;
        drop(self.unsafe_yet);
        if tokio::time::timeout(STOP_PATIENCE, all_safe.recv())
            .await
            .is_err()
        {
            tracing::error!("stopped before the last found blocks were safe");
        }
    }

    /// A block was found a moment ago; its share was read at `read_at`.
    /// `solution`: of a template of the node's; whole blocks go without.
    pub(crate) fn found(&mut self, found: FoundBlock, solution: Option<Solution>, read_at: Time) {
        if self.under_way.insert(found.hash) {
            self.start(found, Some(Fresh { solution, read_at }));
        }
    }

    /// Whether a block is on its way in this process.
    pub(crate) fn knows(&self, hash: &[u8; 32]) -> bool {
        self.under_way.contains(hash)
    }

    /// A block that others publish, since its transactions are not known here: the chain is watched for it.
    pub(crate) fn watch(&mut self, found: FoundBlock) {
        if self.under_way.insert(found.hash) {
            let way = self.way();
            tokio::spawn(async move {
                let what = way.follow(&found).await;
                way.tell(&found, what.unwrap_or(What::Stale)).await;
            });
        }
    }

    /// The node is (back) up: everything that is not known to be in the chain is sent once more.
    /// Gives the blocks of earlier runs, once each.
    pub(crate) fn resend(&mut self) -> Vec<Earlier> {
        let mut earlier = Vec::new();
        self.up.send_replace(());
        let pending = match self.store.pending() {
            Ok(pending) => pending,
            Err(error) => {
                tracing::error!(%error, "cannot read the folder of found blocks");
                return earlier;
            }
        };
        for reason in pending.unreadable {
            tracing::error!(%reason, "a found block cannot be read");
        }
        for block in pending.blocks {
            if self.under_way.insert(block.hash) {
                tracing::info!(height = block.height, hash = %BlockHash::from_byte_array(block.hash), "sending a block of an earlier run again");
                earlier.push(Earlier {
                    height: block.height,
                    hash: block.hash,
                    credits: block.credits.clone(),
                });
                self.start(block, None);
            }
        }
        earlier
    }

    /// Asks whether a block of long ago is in the chain still, and how deep; told if it is, or has lost its place.
    pub(crate) fn count(&self, height: u32, hash: [u8; 32]) {
        let (node, news) = (self.node.clone(), self.news.clone());
        tokio::spawn(async move {
            let what = match node.status(BlockHash::from_byte_array(hash)).await {
                Ok(BlockStatus::Confirmed(depth)) if depth >= MATURITY => What::Matured(depth),
                Ok(BlockStatus::Stale) => What::Stale,
                // Asked again with the next template.
                Ok(_) | Err(_) => return,
            };
            // Nobody listens any more when the pool stops.
            let _ = news.send(News { hash, height, what }).await;
        });
    }

    /// A block has come to the end of its way.
    pub(crate) fn ended(&mut self, hash: &[u8; 32]) {
        self.under_way.remove(hash);
    }

    fn start(&self, block: FoundBlock, fresh: Option<Fresh>) {
        tokio::spawn(self.way().go(block, fresh, self.unsafe_yet.clone()));
    }

    fn way(&self) -> Way {
        Way {
            node: self.node.clone(),
            clock: self.clock.clone(),
            store: Arc::clone(&self.store),
            news: self.news.clone(),
            recent: Arc::clone(&self.recent),
            disk: Arc::clone(&self.disk),
            watched: Arc::clone(&self.watched),
            up: self.up.subscribe(),
            settled: AtomicBool::new(false),
        }
    }
}

/// What is known of a block that was found in this run.
struct Fresh {
    solution: Option<Solution>,
    read_at: Time,
}

/// Blocks found in this run, newest first. One may stand on another that has lost its place, and that the node has
/// forgotten since.
#[derive(Debug, Default)]
struct Recent {
    blocks: VecDeque<Arc<FoundBlock>>,
    bytes: usize,
}

impl Recent {
    fn add(&mut self, block: &Arc<FoundBlock>) {
        self.bytes += block.block.len();
        self.blocks.push_front(Arc::clone(block));
        while self.bytes > RECENT_BYTES_MAX && self.blocks.len() > 1 {
            let Some(oldest) = self.blocks.pop_back() else {
                break;
            };
            self.bytes -= oldest.block.len();
        }
    }

    fn find(&self, hash: &[u8; 32]) -> Option<Arc<FoundBlock>> {
        self.blocks.iter().find(|block| block.hash == *hash).cloned()
    }
}

struct Way {
    node: Handle,
    clock: Clock,
    store: Arc<BlockStore>,
    news: mpsc::Sender<News>,
    recent: Arc<Mutex<Recent>>,
    disk: Arc<Semaphore>,
    watched: Arc<Semaphore>,
    up: watch::Receiver<()>,
    /// The chain has it, or another in its place.
    settled: AtomicBool,
}

impl Way {
    async fn go(self, block: FoundBlock, fresh: Option<Fresh>, unsafe_yet: mpsc::Sender<()>) {
        let block = Arc::new(block);
        self.recent().add(&block);
        let is_fresh = fresh.is_some();
        // Neither waits for the other: the node is asked first, the disk works meanwhile.
        let (what, written) = tokio::join!(self.live(&block, fresh), async {
            let written = !is_fresh || self.persist(&block).await;
            drop(unsafe_yet);
            written
        });
        let Some(what) = what else { return };
        if written {
            self.settle(&block, &what).await;
        }
        let is_in_chain = matches!(what, What::Confirmed);
        self.tell(&block, what).await;
        if is_in_chain {
            self.bury(&block).await;
        }
    }

    /// Until enough blocks stand on it: a node that has forgotten it gets it again. Ends with the pool.
    async fn bury(&self, block: &FoundBlock) {
        let Ok(_place) = self.watched.try_acquire() else {
            return;
        };
        let hash = BlockHash::from_byte_array(block.hash);
        for _ in 0..ASK_MAX {
            tokio::select! {
                () = self.news.closed() => return,
                () = tokio::time::sleep(COUNT_EVERY) => {}
            }
            match self.node.status(hash).await {
                Ok(BlockStatus::Confirmed(depth)) if depth >= BURIED => {
                    return self.tell(block, What::Buried(depth)).await;
                }
                Ok(BlockStatus::Stale) => return self.tell(block, What::Stale).await,
                Ok(BlockStatus::Unknown) if !block.block.is_empty() => {
                    let answer = self.node.submit_block(block.block.clone()).await;
                    match answer {
                        Ok(verdict) => {
                            tracing::warn!(height = block.height, %hash, ?verdict, "the node had forgotten a block of ours");
                        }
                        Err(error) => {
                            tracing::debug!(height = block.height, %hash, ?error, "not taken again yet")
                        }
                    }
                }
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// From submission to the end, if that can be seen.
    async fn live(&self, block: &FoundBlock, fresh: Option<Fresh>) -> Option<What> {
        match self.submit(block, fresh).await? {
            Verdict::Accepted | Verdict::Duplicate => {
                self.tell(block, What::Accepted).await;
                let what = self.follow(block).await;
                self.settled.store(what.is_some(), Ordering::Relaxed);
                what
            }
            Verdict::Rejected(reason) => Some(What::Rejected(reason)),
        }
    }

    /// Submits until there is a verdict. `None`: the source cannot take whole blocks; left to the next start.
    async fn submit(&self, block: &FoundBlock, fresh: Option<Fresh>) -> Option<Verdict> {
        let (solution, mut read_at) = fresh.map(|fresh| (fresh.solution, fresh.read_at)).unzip();
        let mut solution = solution.flatten();
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        let mut up = self.up.clone();
        loop {
            let answer = match solution.clone() {
                Some(solution) => self.ask(block, solution, read_at.take()).await,
                None if block.block.is_empty() => {
                    return Some(Verdict::Rejected(
                        "its transactions are not known any more".into(),
                    ));
                }
                None => self.node.submit_block(block.block.clone()).await,
            };
            match answer {
                Ok(verdict) => return Some(verdict),
                // The source has forgotten the template: the whole block says the same.
                Err(SubmitError::UnknownTemplate) if solution.is_some() => solution = None,
                Err(SubmitError::Unsupported) => {
                    tracing::error!(
                        height = block.height,
                        "a found block waits in the data folder: its template is gone, and this source takes no whole \
                         blocks"
                    );
                    return None;
                }
                Err(error) => {
                    tracing::warn!(
                        height = block.height,
                        ?error,
                        "a found block was not taken yet; trying on"
                    );
                    self.submit_ancestors(block).await;
                    tokio::select! {
                        () = tokio::time::sleep(backoff.next_wait()) => {}
                        Ok(()) = up.changed() => {}
                    }
                }
            }
        }
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node may lack what a block stands on: a block of ours that lost its place once, which it has forgotten in a crash.
    async fn submit_ancestors(&self, block: &FoundBlock) {
        let mut ancestors: Vec<Arc<FoundBlock>> = Vec::new();
        let mut before = parent(block);
        while ancestors.len() < ANCESTORS_MAX {
            let Some(found) = self.known(before).await else {
                break;
            };
            before = parent(&found);
            ancestors.push(found);
        }
        for ancestor in ancestors.iter().rev().filter(|it| !it.block.is_empty()) {
            let answer = self.node.submit_block(ancestor.block.clone()).await;
            tracing::debug!(height = ancestor.height, ?answer, "handed in for the block on it");
        }
    }

    /// A block of ours, from memory or from the disk.
    async fn known(&self, hash: [u8; 32]) -> Option<Arc<FoundBlock>> {
        let recent = self.recent().find(&hash);
        if recent.is_some() {
            return recent;
        }
        let store = Arc::clone(&self.store);
        match tokio::task::spawn_blocking(move || store.find(&hash)).await {
            Ok(Ok(found)) => found.map(Arc::new),
            Ok(Err(error)) => {
                tracing::warn!(%error, "a found block cannot be read");
                None
            }
            Err(error) => {
                tracing::error!(%error, "reading a block broke");
                None
            }
        }
    }

    /// Hands the solution in. The first time that is told with the time it took to get here: after it, not before.
    async fn ask(
        &self,
        block: &FoundBlock,
        solution: Solution,
        read_at: Option<Time>,
    ) -> Result<Verdict, SubmitError> {
        let asked = read_at.map(|read_at| self.clock.now() - read_at);
        let told = async {
            if let Some(after) = asked {
                self.tell(block, What::Submitted(after)).await;
            }
        };
        // The first is polled first.
        tokio::join!(self.node.submit(solution), told).0
    }

    /// Writes a block when it is its turn; true when it was written. What a block earns for others is written in any case: the
    /// ledger may miss it.
    async fn persist(&self, block: &Arc<FoundBlock>) -> bool {
        // The semaphore is never closed.
        let _turn = self.disk.acquire().await;
        if self.settled.load(Ordering::Relaxed) && block.credits.is_empty() {
            return false;
        }
        let (store, block) = (Arc::clone(&self.store), Arc::clone(block));
        let height = block.height;
        match tokio::task::spawn_blocking(move || store.put(&block)).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => tracing::error!(height, %error, "a found block cannot be kept on disk"),
            Err(error) => tracing::error!(height, %error, "keeping a found block broke"),
        }
        false
    }

    /// Asks until the chain has it or has another in its place. `None`: left to the next start.
    async fn follow(&self, block: &FoundBlock) -> Option<What> {
        let hash = BlockHash::from_byte_array(block.hash);
        for _ in 0..ASK_MAX {
            match self.node.status(hash).await {
                Ok(BlockStatus::Confirmed(_)) => return Some(What::Confirmed),
                Ok(BlockStatus::Stale) => return Some(What::Stale),
                Err(SubmitError::Unsupported) => return None,
                Ok(BlockStatus::Unknown) | Err(_) => tokio::time::sleep(ASK_EVERY).await,
            }
        }
        None
    }

    async fn settle(&self, block: &FoundBlock, what: &What) {
        let Some((outcome, reason)) = what.outcome() else {
            return;
        };
        let (store, hash) = (Arc::clone(&self.store), block.hash);
        match tokio::task::spawn_blocking(move || store.settle(&hash, outcome, &reason)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(height = block.height, %error, "cannot note what became of a block")
            }
            Err(error) => tracing::error!(height = block.height, %error, "settling a block broke"),
        }
    }

    async fn tell(&self, block: &FoundBlock, what: What) {
        // Nobody listens any more when the pool stops; the file tells the next start.
        let _ = self
            .news
            .send(News {
                hash: block.hash,
                height: block.height,
                what,
            })
            .await;
    }
}

/// What a block stands on.
fn parent(block: &FoundBlock) -> [u8; 32] {
    let mut parent = [0; 32];
    let from = block.header.iter().skip(4);
    parent.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    parent
}

impl What {
    /// Blocks on it, itself included, as far as they were counted.
    pub(crate) fn confirmations(&self) -> u32 {
        match self {
            Self::Confirmed => 1,
            Self::Buried(depth) | Self::Matured(depth) => *depth,
            _ => 0,
        }
    }

    /// In the ledger's words; nothing where there is no outcome yet.
    pub(crate) fn outcome(&self) -> Option<(Outcome, String)> {
        match self {
            Self::Submitted(_) => None,
            Self::Accepted => Some((Outcome::Accepted, String::new())),
            Self::Rejected(reason) => Some((Outcome::Rejected, reason.clone())),
            Self::Confirmed | Self::Buried(_) | Self::Matured(_) => Some((Outcome::Confirmed, String::new())),
            Self::Stale => Some((Outcome::Stale, String::new())),
        }
    }
}
