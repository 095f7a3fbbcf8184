//! Reading a journal while it grows: what consumers stand on.
//!
//! A [`Follower`] gives the records from any sequence on, in order, each once, and never one that a
//! power cut could take away: it is told by the writer's [`Durable`] how far it may go. It goes on
//! through new segments, packed ones, and the disappearance of old ones that were read.
//!
//! `(front_end, sequence)` names a record for ever. A consumer that keeps the last sequence it has dealt
//! with, in one transaction with what it made of it, counts every record exactly once.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::disk::{Disk, FileDisk};
use crate::journal::scan::{Scan, headers};
use crate::journal::segment::{self, Bytes};
use crate::journal::{Chain, Header, JournalError};
use crate::record::{RECORD_BYTES, Record};
use crate::writer::Notify;

/// Records read from the disk at once.
const CHUNK_RECORDS: usize = 4096;
/// Looks at a record that is not good before it is called damaged: its segment may have ended meanwhile.
const LOOKS_MAX: usize = 3;
/// Consumers that may be registered.
const CONSUMERS_MAX: usize = 64;

/// Up to where a journal is durable. Clones share it.
#[derive(Clone)]
pub struct Durable(Arc<Inner>);

struct Inner {
    front_end: u16,
    next: Mutex<u64>,
    news: Condvar,
    watchers: Mutex<Vec<Notify>>,
    consumers: Mutex<Vec<Consumer>>,
}

/// How far a consumer has dealt with the journal, for good. Retention keeps what lies behind it.
#[derive(Clone, Debug)]
pub struct Consumer {
    name: Arc<str>,
    next: Arc<AtomicU64>,
}

impl fmt::Debug for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Durable")
            .field("front_end", &self.0.front_end)
            .field("next", &self.next())
            .finish_non_exhaustive()
    }
}

impl Durable {
    pub(crate) fn new(front_end: u16, next: u64) -> Self {
        Self(Arc::new(Inner {
            front_end,
            next: Mutex::new(next),
            news: Condvar::new(),
            watchers: Mutex::default(),
            consumers: Mutex::default(),
        }))
    }

    /// Whose journal it is.
    pub fn front_end(&self) -> u16 {
        self.0.front_end
    }

    /// The sequence after the last durable record.
    pub fn next(&self) -> u64 {
        *lock(&self.0.next)
    }

    /// Waits until a record of `sequence` is durable, at most `longest`, or until [`Durable::wake`]. Gives the sequence after
    /// the last durable record.
    pub fn wait(&self, sequence: u64, longest: Duration) -> u64 {
        let next = lock(&self.0.next);
        if *next > sequence {
            return *next;
        }
        let waited = self.0.news.wait_timeout(next, longest);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Wakes everybody who waits.
    pub fn wake(&self) {
        let _next = lock(&self.0.next);
        self.0.news.notify_all();
    }

    /// Has `notify` called, on the writer's thread, after every commit; it must be quick and must not call back.
    pub fn watch(&self, notify: Notify) {
        lock(&self.0.watchers).push(notify);
    }

    /// Registers a consumer that has dealt with nothing yet: until it says more, nothing is taken away. `None`: there are
    /// 64 already.
    pub fn consumer(&self, name: &str) -> Option<Consumer> {
        let mut consumers = lock(&self.0.consumers);
        if consumers.len() == CONSUMERS_MAX {
            return None;
        }
        let consumer = Consumer {
            name: name.into(),
            next: Arc::new(AtomicU64::new(0)),
        };
        consumers.push(consumer.clone());
        Some(consumer)
    }

    /// The first sequence that some consumer has not dealt with; [`u64::MAX`] where there are none.
    pub fn needed(&self) -> u64 {
        let consumers = lock(&self.0.consumers);
        consumers.iter().map(Consumer::next).min().unwrap_or(u64::MAX)
    }

    pub(crate) fn advance(&self, next: u64) {
        *lock(&self.0.next) = next;
        self.0.news.notify_all();
        for notify in &*lock(&self.0.watchers) {
            notify();
        }
    }
}

impl Consumer {
    /// Everything before `next` is dealt with, and that is durable.
    pub fn settled(&self, next: u64) {
        self.next.store(next, Ordering::Release);
    }

    /// The first sequence that is not.
    pub fn next(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A reader of a journal from some sequence on.
#[derive(Debug)]
pub struct Follower<D: Disk = FileDisk> {
    disk: D,
    /// The sequence that comes next.
    next: u64,
    open: Option<Open<D>>,
    chunk: Vec<u8>,
}

struct Open<D: Disk> {
    header: Header,
    /// First sequence of the next segment, as far as it is known.
    end: Option<u64>,
    name: String,
    bytes: Bytes<D::File>,
}

impl<D: Disk> fmt::Debug for Open<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

impl<D: Disk> Follower<D> {
    /// Reads the journal in `disk` from `sequence` on; 1 is the first record there ever was.
    pub fn new(disk: D, sequence: u64) -> Self {
        Self {
            disk,
            next: sequence.max(1),
            open: None,
            chunk: vec![0; CHUNK_RECORDS * RECORD_BYTES],
        }
    }

    /// The sequence that comes next.
    pub fn next_sequence(&self) -> u64 {
        self.next
    }

    /// Goes on at another sequence, also an earlier one.
    pub fn seek(&mut self, sequence: u64) {
        self.next = sequence.max(1);
        self.open = None;
    }

    /// Adds the records that come next and stand before `durable` to `into`, at most `most`; returns how many.
    /// `durable` is what [`Durable::next`] says, or [`settled`] where there is no writer in this process.
    ///
    /// # Errors
    /// When the disk fails (try again), the journal is damaged, or records that come next are not there any more. What
    /// was added before that counts.
    pub fn read(&mut self, durable: u64, most: usize, into: &mut Vec<Record>) -> Result<usize, JournalError> {
        let enough = into.len() + most;
        let before = into.len();
        let mut looks = 0;
        while into.len() < enough && self.next < durable {
            if self.read_on(durable, enough, into)? {
                looks = 0;
                continue;
            }
            // Either the segment has ended here, and the next look goes on in the one behind it, or this is damage.
            looks += 1;
            if looks == LOOKS_MAX {
                return Err(self.damaged());
            }
            self.open = None;
        }
        Ok(into.len() - before)
    }

    /// Reads one chunk; `false` when the next record is not there.
    fn read_on(&mut self, durable: u64, enough: usize, into: &mut Vec<Record>) -> Result<bool, JournalError> {
        if self.open.as_ref().is_none_or(|open| open.end == Some(self.next)) {
            self.open = Some(self.find()?);
        }
        let Some(open) = &mut self.open else {
            return Ok(false);
        };
        let until = durable.min(open.end.unwrap_or(u64::MAX));
        let wanted = (until - self.next)
            .min((enough - into.len()) as u64)
            .min(CHUNK_RECORDS as u64) as usize;
        let chunk = &mut self.chunk[..wanted * RECORD_BYTES];
        let read = match open.bytes.read_up_to(open.header.offset(self.next), chunk) {
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => return Ok(false),
            Err(error) => return Err(JournalError::disk(self.disk.describe(&open.name), "read", error)),
        };
        let first = self.next;
        for bytes in chunk[..read].as_chunks::<RECORD_BYTES>().0 {
            match Record::decode(bytes) {
                Ok(record) if record.sequence == self.next && record.front_end == open.header.front_end => {
                    into.push(record);
                    self.next += 1;
                }
                _ => break,
            }
        }
        Ok(self.next > first)
    }

    /// The segment that holds the next record.
    fn find(&self) -> Result<Open<D>, JournalError> {
        let headers = headers(&self.disk)?;
        // The last one: a segment without records has the sequence of its successor.
        let index = headers
            .iter()
            .rposition(|header| header.first_sequence <= self.next);
        let Some((index, header)) = index.and_then(|index| Some((index, *headers.get(index)?))) else {
            return Err(JournalError::Gone {
                place: self.disk.describe(""),
                wanted: self.next,
                first: headers.first().map_or(0, |header| header.first_sequence),
            });
        };
        let (bytes, name) = Bytes::of(&self.disk, &header)
            .map_err(|error| JournalError::disk(self.disk.describe(&header.file_name()), "open", error))?;
        let end = headers.get(index + 1).map(|next| next.first_sequence);
        Ok(Open {
            header,
            end,
            name,
            bytes,
        })
    }

    fn damaged(&self) -> JournalError {
        let (place, offset) = match &self.open {
            Some(open) => (self.disk.describe(&open.name), open.header.offset(self.next)),
            None => (self.disk.describe(""), 0),
        };
        JournalError::damaged(
            place,
            offset,
            self.next,
            "the record was durable and cannot be read",
        )
    }
}

/// The sequence up to which a journal is certainly durable, as its files say: the beginning of the last group. For readers
/// who are not in the writer's process.
///
/// # Errors
/// When the journal is damaged or cannot be read.
pub fn settled<D: Disk>(disk: &D) -> Result<u64, JournalError> {
    let headers = headers(disk)?;
    let Some(last) = headers.last() else { return Ok(1) };
    let mut chain: Chain = last.chain;
    let tail = Scan::new(disk, *last, None)?.run(&mut chain, |_| Ok(()))?;
    Ok(tail.group_start)
}

/// The first sequence that a journal still has.
///
/// # Errors
/// When the folder cannot be read.
pub fn first_sequence<D: Disk>(disk: &D) -> Result<u64, JournalError> {
    let failed = |error| JournalError::disk(disk.describe(""), "list", error);
    match segment::names(disk).map_err(failed)?.first() {
        Some(name) => Ok(Header::read(disk, name)?.first_sequence),
        None => Ok(1),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
