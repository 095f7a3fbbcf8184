//! Blocks to every member, questions to the best.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::kept::Store;
use crate::{Constraints, Handle, Request, Solution, SubmitError, Template, TemplateId, Verdict, assemble};

/// Ids of templates that are remembered.
const ISSUED_MAX: usize = 256;

/// Blocks that are handed to a member that returns.
const RECENT_MAX: usize = 16;
/// Bytes of them together.
const RECENT_BYTES_MAX: usize = 32 << 20;

/// How long a block waits for the transactions of its template, which come a moment after it.
const LEARN: Duration = Duration::from_secs(10);

/// The ways to the members, and who knows which template by what id.
pub(super) struct Routes {
    handles: Vec<Handle>,
    issued: RefCell<VecDeque<Issued>>,
    store: RefCell<Store<()>>,
    /// The last blocks: a member may have been away when they were found, and the member that took them
    /// may be gone when it returns.
    recent: RefCell<VecDeque<Arc<Vec<u8>>>>,
    /// Told whenever transactions become known.
    lessons: watch::Sender<()>,
}

#[derive(Clone, Copy)]
struct Issued {
    id: TemplateId,
    member: usize,
    at_member: TemplateId,
}

impl Routes {
    pub(super) fn new(handles: Vec<Handle>) -> Self {
        Self {
            handles,
            issued: RefCell::default(),
            store: RefCell::new(Store::default()),
            recent: RefCell::default(),
            lessons: watch::Sender::new(()),
        }
    }

    /// A member is up (again): it gets the last blocks, in their order. That it has them is no error.
    pub(super) fn returned(&self, member: usize) {
        let Some(handle) = self.handles.get(member).cloned() else {
            return;
        };
        let blocks: Vec<_> = self.recent.borrow().iter().cloned().collect();
        tokio::task::spawn_local(async move {
            for block in blocks {
                let verdict = handle.submit_block(block.to_vec()).await;
                tracing::debug!(member, ?verdict, "handed a block to a node that was away");
            }
        });
    }

    fn remember(&self, block: &[u8]) {
        let mut recent = self.recent.borrow_mut();
        if recent.iter().any(|known| known.as_slice() == block) {
            return;
        }
        recent.push_back(Arc::new(block.to_vec()));
        let mut bytes: usize = recent.iter().map(|block| block.len()).sum();
        while recent.len() > RECENT_MAX || bytes > RECENT_BYTES_MAX {
            let Some(oldest) = recent.pop_front() else { return };
            bytes = bytes.saturating_sub(oldest.len());
        }
    }

    /// A template was passed on.
    pub(super) fn issued(&self, member: usize, at_member: TemplateId, template: &Arc<Template>) {
        let mut issued = self.issued.borrow_mut();
        if issued.len() >= ISSUED_MAX {
            issued.pop_front();
        }
        issued.push_back(Issued {
            id: template.id,
            member,
            at_member,
        });
        self.store.borrow_mut().insert(Arc::clone(template), ());
    }

    /// Its transactions are known.
    pub(super) fn learned(&self, template: TemplateId, transactions: &Arc<Vec<Vec<u8>>>) {
        self.store.borrow_mut().learn(template, transactions);
        self.lessons.send_replace(());
    }

    fn find(&self, id: TemplateId) -> Option<Issued> {
        self.issued
            .borrow()
            .iter()
            .rev()
            .find(|issued| issued.id == id)
            .copied()
    }

    /// The whole block of a solution, if its transactions are known.
    fn block(&self, solution: &Solution) -> Option<Vec<u8>> {
        let kept = self.store.borrow().find(solution.template)?;
        let header = assemble::header(&kept.template, solution).ok()?;
        // Nothing to hash the coinbase with: there are no others.
        let none = kept.template.merkle_path.is_empty().then_some(&[][..]);
        let others = kept.transactions.as_deref().map(Vec::as_slice).or(none)?;
        Some(assemble::block(&header, solution, others))
    }

    /// The whole block of a solution as soon as its transactions are known.
    async fn block_later(&self, solution: &Solution) -> Option<Vec<u8>> {
        let mut lessons = self.lessons.subscribe();
        let known = async {
            loop {
                if let Some(block) = self.block(solution) {
                    return Some(block);
                }
                lessons.changed().await.ok()?;
            }
        };
        let block = timeout(LEARN, known).await.ok().flatten();
        block.iter().for_each(|block| self.remember(block));
        block
    }
}

/// Answers one request. `active` is the member that is mined on.
pub(super) async fn serve(routes: Rc<Routes>, active: Option<usize>, request: Request) {
    match request {
        Request::Submit(solution, answer) => drop(answer.send(submit(&routes, solution).await)),
        Request::SubmitBlock(block, answer) => drop(answer.send(submit_block(&routes, block).await)),
        Request::Status(block, answer) => {
            let ask = async |handle: &Handle| handle.status(block).await;
            drop(answer.send(first_that_can(&routes, active, ask).await));
        }
        Request::Transactions(wtxids, answer) => {
            let ask = async |handle: &Handle| handle.transactions_by_wtxid(wtxids.clone()).await;
            drop(answer.send(first_that_can(&routes, active, ask).await));
        }
        Request::CheckBlock(block, answer) => {
            let ask = async |handle: &Handle| handle.check_block(block.clone()).await;
            drop(answer.send(first_that_can(&routes, active, ask).await));
        }
        Request::Constraints(rooms, answer) => drop(answer.send(constrain(&routes, &rooms).await)),
        Request::Reorganise(depth, answer) => {
            let verdict = match routes.handles.first() {
                Some(first) => first.reorganise(depth).await,
                None => Err(SubmitError::Unsupported),
            };
            drop(answer.send(verdict));
        }
    }
}

/// One set of constraints that has room for all that is wanted: members are compared by one template each.
async fn constrain(routes: &Routes, rooms: &[Constraints]) -> Result<(), SubmitError> {
    let size = rooms.iter().map(|room| room.max_additional_size).max();
    let sigops = rooms.iter().map(|room| room.max_additional_sigops).max();
    let Some((max_additional_size, max_additional_sigops)) = size.zip(sigops) else {
        return Err(SubmitError::Unsupported);
    };
    let room = Constraints {
        max_additional_size,
        max_additional_sigops,
    };
    let asked: FuturesUnordered<_> = routes
        .handles
        .iter()
        .map(|handle| handle.constrain(vec![room]))
        .collect();
    let answers: Vec<Result<(), SubmitError>> = asked.collect().await;
    let none = Err(SubmitError::Unavailable("there is no node to ask".into()));
    answers.into_iter().fold(none, |best, answer| best.or(answer))
}

/// A solution to the member that gave the template; the block to all others at the same time.
async fn submit(routes: &Rc<Routes>, solution: Solution) -> Result<Verdict, SubmitError> {
    let issued = routes
        .find(solution.template)
        .ok_or(SubmitError::UnknownTemplate)?;
    let mut attempts = Attempts::default();
    for (place, handle) in routes.handles.iter().enumerate() {
        let (handle, mut solution, routes) = (handle.clone(), solution.clone(), Rc::clone(routes));
        if place == issued.member {
            solution.template = issued.at_member;
            attempts.make(async move { handle.submit(solution).await });
        } else {
            attempts.make(async move {
                match routes.block_later(&solution).await {
                    Some(block) => handle.submit_block(block).await,
                    None => Err(SubmitError::UnknownTemplate),
                }
            });
        }
    }
    attempts.best().await
}

async fn submit_block(routes: &Routes, block: Vec<u8>) -> Result<Verdict, SubmitError> {
    routes.remember(&block);
    let mut attempts = Attempts::default();
    for handle in &routes.handles {
        let (handle, block) = (handle.clone(), block.clone());
        attempts.make(async move { handle.submit_block(block).await });
    }
    attempts.best().await
}

/// Submissions of one block to all members. Each goes on to its end, whatever becomes of the others.
#[derive(Default)]
struct Attempts(FuturesUnordered<JoinHandle<Result<Verdict, SubmitError>>>);

impl Attempts {
    fn make(&mut self, attempt: impl Future<Output = Result<Verdict, SubmitError>> + 'static) {
        self.0.push(tokio::task::spawn_local(attempt));
    }

    /// The first that took it, or else the best of what was said.
    async fn best(mut self) -> Result<Verdict, SubmitError> {
        let mut best = Err(SubmitError::Unavailable("there is no node to submit to".into()));
        while let Some(attempt) = self.0.next().await {
            let verdict = attempt.unwrap_or_else(|end| Err(SubmitError::Unavailable(end.to_string())));
            if matches!(verdict, Ok(Verdict::Accepted | Verdict::Duplicate)) {
                return verdict;
            }
            if rank(&verdict) > rank(&best) {
                best = verdict;
            }
        }
        best
    }
}

/// A member that is away says nothing about a block; one that refuses it says something.
fn rank(verdict: &Result<Verdict, SubmitError>) -> u8 {
    match verdict {
        Ok(_) => 3,
        Err(SubmitError::Unavailable(_)) => 1,
        Err(SubmitError::UnknownTemplate) => 2,
        Err(SubmitError::Unsupported | SubmitError::TooMuch) => 0,
    }
}

/// What the member says that is mined on, or else the first that can say anything.
async fn first_that_can<T>(
    routes: &Routes,
    active: Option<usize>,
    ask: impl AsyncFn(&Handle) -> Result<T, SubmitError>,
) -> Result<T, SubmitError> {
    let others = (0..routes.handles.len()).filter(|place| Some(*place) != active);
    let mut best = SubmitError::Unavailable("there is no node to ask".into());
    let mut asked = false;
    for place in active.into_iter().chain(others) {
        let Some(handle) = routes.handles.get(place) else {
            continue;
        };
        match ask(handle).await {
            Ok(said) => return Ok(said),
            Err(SubmitError::TooMuch) => return Err(SubmitError::TooMuch),
            // That one is away is said rather than that another never can.
            Err(error) if !asked || error != SubmitError::Unsupported => best = error,
            Err(_) => {}
        }
        asked = true;
    }
    Err(best)
}
