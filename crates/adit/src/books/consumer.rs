//! The consumer: tails the journal into the database, on a thread of its own.
//!
//! Nothing waits for it. While the database is away records wait in the journal, where they are safe and cost no
//! memory; it goes on where the database's position says, however long that was.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use adit_ledger::tail::{self, Consumer as Place};
use adit_ledger::verify::{JOURNAL_FOLDER, Replay};
use adit_ledger::{Durable, FileDisk, Follower, JournalError, Record};
use adit_net::Clock;

use super::bell::Bell;
use super::error::StoreError;
use super::place::Db;
use super::prune::Keep;
use super::store::Store;
use crate::exit::Exit;
use crate::observe::{BooksState, BooksStatus};

/// Records of one transaction.
const BATCH_MAX: usize = 20_000;
/// How long records wait for company: a transaction costs about the same for one as for a hundred.
const GATHER: Duration = Duration::from_millis(200);
/// Between two looks when nothing comes.
const IDLE: Duration = Duration::from_millis(500);
/// Between two tries while the database is away.
const RETRY: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Between two removals of old history, and between two times that what was counted is made durable for good.
const PRUNE_EVERY_US: u64 = 60_000_000;
const SETTLE_EVERY_US: u64 = 30_000_000;
/// How long a stopping consumer goes on to catch up.
const STOP_PATIENCE_US: u64 = 10_000_000;

/// What a consumer needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the database is; [`Db::within`] has been filled in.
    pub db: Db,
    /// The data folder of the journal.
    pub data: PathBuf,
    /// How long history is kept.
    pub keep: Keep,
}

/// The running thread. Dropping it stops it where it is; [`Consumer::stop`] lets it catch up.
#[derive(Debug)]
pub struct Consumer {
    view: View,
    bell: Arc<Bell>,
    clock: Clock,
    thread: Option<JoinHandle<()>>,
}

/// How the consumer fares, for everybody who wants to know.
#[derive(Clone, Debug)]
pub struct View {
    state: Arc<Mutex<State>>,
    durable: Durable,
}

#[derive(Debug)]
struct State {
    status: BooksStatus,
    /// The sequence that comes next.
    next: u64,
    /// Everything up to then was counted.
    fresh_us: u64,
}

/// Why a turn came to nothing.
enum Trouble {
    Store(StoreError),
    Journal(JournalError),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<JournalError> for Trouble {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(error) => write!(f, "{error}; {}", error.help()),
            Self::Journal(error) => error.fmt(f),
        }
    }
}

impl Consumer {
    /// Starts it. A server that is away is no reason not to start: it is tried again until it is there. `None`: there is no
    /// database.
    ///
    /// # Errors
    /// What an operator must mend: a file that cannot be used, tables of a newer adit, another journal's sums, a
    /// server that does not let us in.
    pub fn start(settings: Settings, durable: Durable, clock: Clock) -> Result<Option<Self>, Exit> {
        if settings.db == Db::Off {
            return Ok(None);
        }
        let view = View {
            state: Arc::new(Mutex::new(State {
                status: BooksStatus {
                    place: settings.db.to_string(),
                    ..BooksStatus::default()
                },
                next: 1,
                fresh_us: clock.now().0,
            })),
            durable: durable.clone(),
        };
        let too_many = || Exit::failed("too many consumers of one journal");
        let bell = Arc::new(Bell::default());
        let mut run = Run {
            follower: Follower::new(disk(&settings.data)?, 1),
            place: durable.consumer("books").ok_or_else(too_many)?,
            view: view.clone(),
            bell: Arc::clone(&bell),
            clock: clock.clone(),
            store: None,
            records: Vec::new(),
            pruned_us: 0,
            settled_us: 0,
            settings,
            durable,
        };
        // The thread connects: a client of PostgreSQL must not be made where other things are awaited.
        let (send, first) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("adit-books".into())
            .spawn(move || match run.begin() {
                Ok(()) => {
                    drop(send);
                    run.run();
                }
                // Who waits for it is there.
                Err(exit) => drop(send.send(exit)),
            })
            .map_err(|error| Exit::failed(format!("cannot start the books: {error}")))?;
        if let Ok(exit) = first.recv() {
            return Err(exit);
        }
        Ok(Some(Self {
            view,
            bell,
            clock,
            thread: Some(thread),
        }))
    }

    /// How it fares.
    #[must_use]
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// Counts what is in the journal, unless the database is away, and stops. Takes ten seconds at most, and a batch.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.bell.ring(self.clock.now().0);
        self.view.durable.wake();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the books broke");
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.end();
    }
}

impl View {
    /// The picture at `now_us`.
    #[must_use]
    pub fn picture(&self, now_us: u64) -> BooksStatus {
        let durable = self.durable.next();
        let state = self.lock();
        let backlog = durable.saturating_sub(state.next);
        BooksStatus {
            position: state.next.saturating_sub(1),
            backlog,
            behind_ms: match backlog {
                0 => 0,
                _ => now_us.saturating_sub(state.fresh_us) / 1000,
            },
            ..state.status.clone()
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Run {
    settings: Settings,
    durable: Durable,
    place: Place,
    view: View,
    bell: Arc<Bell>,
    clock: Clock,
    follower: Follower,
    store: Option<Box<dyn Store>>,
    records: Vec<Record>,
    pruned_us: u64,
    settled_us: u64,
}

impl Run {
    /// The first connection. A server that is away comes back; everything else an operator must mend.
    fn begin(&mut self) -> Result<(), Exit> {
        match self.attach() {
            Err(Trouble::Store(StoreError::Away(why))) if matches!(self.settings.db, Db::Postgres(_)) => {
                self.failed(&Trouble::Store(StoreError::Away(why)));
                Ok(())
            }
            Err(Trouble::Store(error)) => Err(error.into()),
            Err(Trouble::Journal(error)) => Err(Exit::failed(error.to_string())),
            Ok(()) => Ok(()),
        }
    }

    fn run(mut self) {
        let mut pause = RETRY;
        while !self.is_done() {
            match self.turn() {
                Ok(()) => pause = RETRY,
                Err(trouble) => {
                    // Where it stands is asked again: the last answer may have been lost.
                    self.store = None;
                    self.failed(&trouble);
                    self.bell.pause(pause);
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
        if let Some(store) = &mut self.store
            && store.settle().is_ok()
        {
            self.place.settled(self.follower.next_sequence());
        }
    }

    fn is_done(&self) -> bool {
        let Some(rung_us) = self.bell.rung() else {
            return false;
        };
        let late = self.clock.now().0.saturating_sub(rung_us) > STOP_PATIENCE_US;
        let caught_up = self.follower.next_sequence() >= self.durable.next();
        late || caught_up || self.store.is_none()
    }

    /// Waits for records and counts them.
    fn turn(&mut self) -> Result<(), Trouble> {
        if self.store.is_none() {
            self.attach()?;
        }
        let next = self.follower.next_sequence();
        let durable = self.durable.wait(next, IDLE);
        if durable > next {
            if durable - next < BATCH_MAX as u64 && self.bell.rung().is_none() {
                self.bell.pause(GATHER);
            }
            self.count()?;
        } else {
            self.view.lock().fresh_us = self.clock.now().0;
        }
        self.tidy()
    }

    fn count(&mut self) -> Result<(), Trouble> {
        let Some(store) = &mut self.store else {
            return Ok(());
        };
        self.records.clear();
        self.follower
            .read(self.durable.next(), BATCH_MAX, &mut self.records)?;
        let before = self.clock.now().0;
        let applied = store.apply(self.durable.front_end(), &self.records)?;
        let now = self.clock.now().0;
        let mut state = self.view.lock();
        state.next = self.follower.next_sequence();
        let last_us = self.records.last().map_or(0, |record| record.time_us);
        let caught_up = state.next >= self.durable.next();
        state.fresh_us = if caught_up {
            now
        } else {
            last_us.min(now).max(state.fresh_us)
        };
        let status = &mut state.status;
        status.records += applied.records;
        status.batches += 1;
        status.apply_latency.record(now.saturating_sub(before));
        Ok(())
    }

    /// Now and then.
    fn tidy(&mut self) -> Result<(), Trouble> {
        let (now, Some(store)) = (self.clock.now().0, &mut self.store) else {
            return Ok(());
        };
        if now.saturating_sub(self.pruned_us) >= PRUNE_EVERY_US {
            store.prune(self.settings.keep, now / 1_000_000)?;
            self.pruned_us = now;
        }
        if now.saturating_sub(self.settled_us) >= SETTLE_EVERY_US {
            match store.settle() {
                Ok(()) => self.place.settled(self.follower.next_sequence()),
                // Somebody reads just now.
                Err(StoreError::Busy) => {}
                Err(error) => return Err(error.into()),
            }
            self.settled_us = now;
        }
        Ok(())
    }

    /// Connects, and goes to where the database is.
    fn attach(&mut self) -> Result<(), Trouble> {
        let mut store = self.settings.db.open()?;
        let last = resume(
            store.as_mut(),
            &self.settings.data,
            &mut self.follower,
            &self.durable,
        )?;
        self.store = Some(store);
        let mut state = self.view.lock();
        state.next = last + 1;
        let status = &mut state.status;
        if status.state == BooksState::Down {
            tracing::info!(database = %self.settings.db, "the database is back");
        }
        (status.state, status.reason) = (BooksState::Up, String::new());
        Ok(())
    }

    fn failed(&self, trouble: &Trouble) {
        let reason = trouble.to_string();
        let mut state = self.view.lock();
        let status = &mut state.status;
        if status.reason != reason {
            tracing::warn!(database = %self.settings.db, %reason, "the books stand still; shares are acknowledged as before");
        }
        (status.state, status.reason) = (BooksState::Down, reason);
        status.failures += 1;
    }
}

fn disk(data: &Path) -> Result<FileDisk, Exit> {
    let folder = data.join(JOURNAL_FOLDER);
    FileDisk::open(&folder)
        .map_err(|error| Exit::failed(format!("cannot open {}: {error}", folder.display())))
}

/// Puts `follower` behind what the database has counted, having made sure that it counted this journal. Returns the last
/// record that is counted.
fn resume(
    store: &mut dyn Store,
    data: &Path,
    follower: &mut Follower,
    durable: &Durable,
) -> Result<u64, Trouble> {
    let front_end = durable.front_end();
    let mut position = store.position(front_end)?;
    if position.last >= durable.next() {
        let last = position.last;
        return Err(StoreError::OtherJournal { front_end, last }.into());
    }
    if position.last == 0 {
        let first = tail::first_sequence(&FileDisk::open(&data.join(JOURNAL_FOLDER)).map_err(unreadable)?)?;
        if first > 1 {
            let replay = Replay::open(data)?;
            store.seed(front_end, replay.base(), replay.first_sequence())?;
            position = store.position(front_end)?;
        }
    } else {
        let mut same = Vec::new();
        follower.seek(position.last);
        match follower.read(position.last + 1, 1, &mut same) {
            Ok(_) => same
                .iter()
                .try_for_each(|record| position.check(front_end, record))?,
            // It was counted, and taken away since.
            Err(JournalError::Gone { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    follower.seek(position.last + 1);
    Ok(position.last)
}

fn unreadable(error: std::io::Error) -> Trouble {
    Trouble::Store(StoreError::Away(format!("the journal cannot be read: {error}")))
}
