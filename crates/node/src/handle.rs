//! The two directions between a source and its consumer, and the thread between them.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::{BlockHash, Wtxid};
use tokio::sync::{mpsc, oneshot};

use crate::{Constraints, Solution, Template, TemplateId, TemplateSource};

/// Requests a source may have in its queue before callers wait.
const REQUEST_QUEUE_MAX: usize = 64;
/// Events a consumer may leave unread before the source waits.
const EVENT_QUEUE_MAX: usize = 64;
/// Sets of constraints that a source makes templates for at once.
pub const CONSTRAINTS_MAX: usize = 16;
/// Transactions that may be asked for at once: as many as a declared job can name (spec 6.4.4), and more than a block
/// can hold.
pub const WTXIDS_MAX: usize = u16::MAX as usize;
/// Bytes of transactions in one answer: no block is longer.
pub const TRANSACTIONS_BYTES_MAX: usize = 4_000_000;
/// Longest wait for the answer to an inquiry ([`Handle::transactions_by_wtxid`], [`Handle::check_block`]), whatever the
/// source does. Each source answers sooner.
pub const INQUIRY_LIMIT: Duration = Duration::from_secs(20);

/// What a source tells its consumer.
#[derive(Clone, Debug)]
pub enum Event {
    /// The node answers; sent at the first success and after every [`Event::Down`].
    Up {
        /// What answers, for people: name, version, chain.
        node: String,
    },
    /// Mine this. A `prev_hash` other than the last one's is a new tip. Who asked for several sets of constraints
    /// gets a template for each, told apart by [`Template::constraints`].
    Template(Arc<Template>),
    /// All transactions of a template but the coinbase, in block order, consensus encoded with
    /// witness. Follows its template when the source could get them.
    Transactions {
        /// Whose transactions.
        template: TemplateId,
        /// One consensus-encoded transaction each.
        transactions: Arc<Vec<Vec<u8>>>,
    },
    /// The node does not answer or cannot give templates; the source keeps trying.
    Down {
        /// What is wrong and what would be right, for the operator.
        reason: String,
    },
    /// Templates come, but somebody should look: several nodes disagree about the tip. Repeated with no text
    /// when it is over.
    Alarm {
        /// What is wrong and what to look at; nothing when it is over.
        text: Option<String>,
    },
}

/// What became of a submitted block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The node took it.
    Accepted,
    /// The node had it already: as good as accepted.
    Duplicate,
    /// The node refused it, with its reason.
    Rejected(String),
}

/// Why a submission has no verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubmitError {
    /// The source does not know that template (any more).
    UnknownTemplate,
    /// The node did not answer in time or is away; try again.
    Unavailable(String),
    /// This source cannot do that at all.
    Unsupported,
    /// More was asked for than a block can hold: [`WTXIDS_MAX`], [`TRANSACTIONS_BYTES_MAX`].
    TooMuch,
}

/// What a node says to a block that nobody has solved yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockCheck {
    /// It would be accepted as the next block, once it is solved.
    Valid,
    /// It would not; the node's reason, see [`BlockCheck::NOT_ON_TIP`].
    Invalid(String),
}

impl BlockCheck {
    /// How the reason starts (BIP23) when the block does not build on the node's tip, which says nothing else about it:
    /// the node may be a block ahead, or behind.
    pub const NOT_ON_TIP: &'static str = "inconclusive-not-best-prevblk";

    /// Whether the block does not build on the node's tip, see [`BlockCheck::NOT_ON_TIP`].
    pub fn is_off_tip(&self) -> bool {
        matches!(self, Self::Invalid(reason) if reason.starts_with(Self::NOT_ON_TIP))
    }
}

/// Transactions, consensus encoded with witness, in the order in which they were asked for; none where the node does
/// not know one.
pub type Found = Vec<Option<Vec<u8>>>;

/// Where a block stands in the node's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockStatus {
    /// The node has never seen it.
    Unknown,
    /// In the best chain, with this many blocks on it, itself included.
    Confirmed(u32),
    /// Known, but not in the best chain.
    Stale,
}

/// What a consumer asks of a source. Every request is answered or its sender dropped.
#[derive(Debug)]
pub enum Request {
    /// Submit a solution of one of this source's templates.
    Submit(Solution, oneshot::Sender<Result<Verdict, SubmitError>>),
    /// Submit a whole consensus-encoded block.
    SubmitBlock(Vec<u8>, oneshot::Sender<Result<Verdict, SubmitError>>),
    /// Where does this block stand?
    Status(BlockHash, oneshot::Sender<Result<BlockStatus, SubmitError>>),
    /// The transactions that wait for a block under these witness ids, at most [`WTXIDS_MAX`].
    Transactions(Vec<Wtxid>, oneshot::Sender<Result<Found, SubmitError>>),
    /// Would this consensus-encoded block be valid as the next one, but for its proof of work?
    CheckBlock(Vec<u8>, oneshot::Sender<Result<BlockCheck, SubmitError>>),
    /// Make templates for each of these from now on, at most [`CONSTRAINTS_MAX`] of them, instead of for the one set
    /// that the source was started with. A set that is new gets a template at once.
    Constraints(Vec<Constraints>, oneshot::Sender<Result<(), SubmitError>>),
    /// Give up the last `depth` blocks and mine `depth + 1` others (embedded chain only, for tests).
    Reorganise(u32, oneshot::Sender<Result<(), SubmitError>>),
}

impl Request {
    /// Answers with an error, whatever was asked.
    pub(crate) fn refuse(self, error: SubmitError) {
        // Who asked may be gone.
        let _ = match self {
            Self::Submit(_, answer) | Self::SubmitBlock(_, answer) => answer.send(Err(error)).is_ok(),
            Self::Status(_, answer) => answer.send(Err(error)).is_ok(),
            Self::Transactions(_, answer) => answer.send(Err(error)).is_ok(),
            Self::CheckBlock(_, answer) => answer.send(Err(error)).is_ok(),
            Self::Constraints(_, answer) | Self::Reorganise(_, answer) => answer.send(Err(error)).is_ok(),
        };
    }
}

/// The source's end of the request queue.
pub type Requests = mpsc::Receiver<Request>;

/// The consumer's way to ask; cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle(mpsc::Sender<Request>);

impl Handle {
    /// Submits a solution.
    pub async fn submit(&self, solution: Solution) -> Result<Verdict, SubmitError> {
        self.ask(|answer| Request::Submit(solution, answer)).await
    }

    /// Submits a whole block.
    pub async fn submit_block(&self, block: Vec<u8>) -> Result<Verdict, SubmitError> {
        self.ask(|answer| Request::SubmitBlock(block, answer)).await
    }

    /// Asks where a block stands.
    pub async fn status(&self, block: BlockHash) -> Result<BlockStatus, SubmitError> {
        self.ask(|answer| Request::Status(block, answer)).await
    }

    /// The transactions with these witness ids among those that the node would put into blocks, in the order asked.
    ///
    /// # Errors
    /// `TooMuch` for more than [`WTXIDS_MAX`] of them or [`TRANSACTIONS_BYTES_MAX`] bytes, `Unsupported` where the
    /// source cannot look transactions up, `Unavailable` when the node does not answer in time.
    pub async fn transactions_by_wtxid(&self, wtxids: Vec<Wtxid>) -> Result<Found, SubmitError> {
        match wtxids.len() {
            0 => Ok(Vec::new()),
            1..=WTXIDS_MAX => inquire(self.ask(|answer| Request::Transactions(wtxids, answer))).await,
            _ => Err(SubmitError::TooMuch),
        }
    }

    /// Whether a block would be valid as the next one, but for its proof of work. A block that is not on the node's tip
    /// is [`BlockCheck::Invalid`] with [`BlockCheck::NOT_ON_TIP`].
    ///
    /// # Errors
    /// `Unsupported` where the source cannot tell, `Unavailable` when the node does not answer in time.
    pub async fn check_block(&self, block: Vec<u8>) -> Result<BlockCheck, SubmitError> {
        if block.len() > TRANSACTIONS_BYTES_MAX {
            return Ok(BlockCheck::Invalid(format!("a block of {} bytes", block.len())));
        }
        inquire(self.ask(|answer| Request::CheckBlock(block, answer))).await
    }

    /// Asks for templates with each of these rooms in their coinbase, instead of the one that the source was started
    /// with. None, or more than [`CONSTRAINTS_MAX`], is [`SubmitError::Unsupported`].
    pub async fn constrain(&self, constraints: Vec<Constraints>) -> Result<(), SubmitError> {
        if !(1..=CONSTRAINTS_MAX).contains(&constraints.len()) {
            return Err(SubmitError::Unsupported);
        }
        self.ask(|answer| Request::Constraints(constraints, answer)).await
    }

    /// Asks the embedded chain to reorganise.
    pub async fn reorganise(&self, depth: u32) -> Result<(), SubmitError> {
        self.ask(|answer| Request::Reorganise(depth, answer)).await
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, SubmitError>>) -> Request,
    ) -> Result<T, SubmitError> {
        let gone = || SubmitError::Unavailable("the template source has stopped".into());
        let (answer, wait) = oneshot::channel();
        self.0.send(request(answer)).await.map_err(|_| gone())?;
        wait.await.map_err(|_| gone())?
    }
}

/// The answer, within [`INQUIRY_LIMIT`].
async fn inquire<T>(answer: impl Future<Output = Result<T, SubmitError>>) -> Result<T, SubmitError> {
    let late = || SubmitError::Unavailable("the template source has not answered in time".into());
    tokio::time::timeout(INQUIRY_LIMIT, answer)
        .await
        .unwrap_or_else(|_| Err(late()))
}

/// A running source: ask through `handle`, read `events`. It stops when every handle is dropped.
#[derive(Debug)]
pub struct Node {
    /// Asks the source.
    pub handle: Handle,
    /// What the source says.
    pub events: mpsc::Receiver<Event>,
}

/// Runs a source on a thread of its own.
///
/// # Errors
/// When the thread or its runtime cannot be made.
pub fn spawn(source: impl TemplateSource) -> std::io::Result<Node> {
    let (request_in, requests) = mpsc::channel(REQUEST_QUEUE_MAX);
    let (event_in, events) = mpsc::channel(EVENT_QUEUE_MAX);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("adit-node".into())
        .spawn(move || {
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, source.run(requests, event_in));
        })?;
    Ok(Node {
        handle: Handle(request_in),
        events,
    })
}
