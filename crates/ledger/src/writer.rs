//! The group-commit thread: many lanes in, one journal out.
//!
//! While one group is being synced the next one gathers, so the disk sets the pace and nobody
//! waits longer than for the sync under way and its own. When the disk fails nothing is committed
//! and nothing is lost: the state says what is wrong, lanes refuse once memory's share is used up,
//! and the thread tries again by itself.

mod lane;
mod queue;
mod run;
mod state;

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::book::Book;
use crate::disk::Disk;
use crate::journal::Journal;
use crate::tail::Durable;
pub use lane::{Full, Lane, Notify};
pub use state::{State, Stats};

use lane::LaneShared;
use queue::Shared;

/// Gives Unix microseconds.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How the writer groups and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Under load, a group smaller than this waits for company, up to `group_max_ms`. Matters only
    /// where a sync takes microseconds; then it saves wake-ups.
    pub gather_records: usize,
    /// Longest such wait, in milliseconds. A writer that was idle never waits.
    pub group_max_ms: u64,
    /// Records that were handed over and are not durable yet; lanes refuse more.
    pub pending_max: usize,
    /// Pause between tries while the disk fails, in milliseconds.
    pub retry_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        // 2^18 records are 32 MiB encoded and 30 MiB as shares: seconds of a very large pool.
        Self {
            gather_records: 16,
            group_max_ms: 1,
            pending_max: 1 << 18,
            retry_ms: 1_000,
        }
    }
}

/// The running writer. Dropping it stops it in order.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    book: Arc<Mutex<Book>>,
    durable: Durable,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Writer {
    /// Starts the thread. Whatever was appended to `journal` already goes with the first group.
    ///
    /// # Errors
    /// When the thread cannot be made.
    pub fn spawn<D: Disk>(journal: Journal<D>, settings: Settings, clock: Clock) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::new(settings));
        let (book, durable) = (journal.book(), journal.durable());
        let run = run::Run::new(journal, Arc::clone(&shared), clock);
        let thread = std::thread::Builder::new()
            .name("adit-ledger".into())
            .spawn(move || run.run())?;
        Ok(Self {
            shared,
            book,
            durable,
            thread: Some(thread),
        })
    }

    /// A way in, for one worker. `notify` is called on the writer's thread after every commit that
    /// made shares of this lane durable; it must be quick and must not call back.
    pub fn lane(&self, notify: Notify) -> Lane {
        Lane::new(Arc::clone(&self.shared), Arc::new(LaneShared::new(notify)))
    }

    /// Whether records become durable, and if not why.
    pub fn state(&self) -> State {
        self.shared.status.state()
    }

    /// Has `notify` called, on the writer's thread, after every change of [`Writer::state`].
    pub fn watch(&self, notify: Notify) {
        self.shared.status.watch(notify);
    }

    /// Tells readers of the journal up to where it is durable, and wakes them after every commit.
    pub fn durable(&self) -> Durable {
        self.durable.clone()
    }

    /// What the writer has done so far.
    pub fn stats(&self) -> Stats {
        self.shared.status.stats()
    }

    /// The sum of all durable records. The writer waits for this lock once a commit: hold it shortly.
    pub fn book(&self) -> Arc<Mutex<Book>> {
        Arc::clone(&self.book)
    }

    /// Commits what was handed over, notes the end in the journal and stops.
    ///
    /// # Errors
    /// When the disk fails: what is not durable then was never acknowledged.
    pub fn stop(mut self) -> Result<(), String> {
        self.end()
    }

    fn end(&mut self) -> Result<(), String> {
        self.shared.stop();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err("the ledger's thread broke".into()),
            None => Ok(()),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.end());
    }
}
