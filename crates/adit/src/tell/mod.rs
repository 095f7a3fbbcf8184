//! Being told: what happens to the pool, to whoever is not looking.
//!
//! ```text
//!   pictures ──► Watcher ──► Teller's queue ──► one thread ──► webhook, ntfy, Telegram, mail
//! ```
//!
//! The pool waits for nobody here: the queue is bounded and drops its oldest, attempts end in ten seconds, and what does
//! not arrive is tried again with growing patience until its time is over.

mod notice;
mod secret;
mod watch;
mod ways;

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use adit_net::Clock;
use adit_proto::Time;
use tokio::sync::watch as channel;

pub use notice::{Kind, Notice};
pub use secret::Secret;
pub use watch::{Patience, Watcher};
pub use ways::{Fail, Way, is_any};

use crate::config::table::NotifyKeys;
use crate::exit::Exit;
use crate::observe::Status;
use crate::shutdown::Shutdown;

/// Notices that wait for one way; more push the oldest out.
const WAITING_MAX: usize = 64;
/// First and longest wait after a failed attempt.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// A notice is no news after this.
const NEWS: Duration = Duration::from_secs(6 * 3600);
/// Between two looks at the picture.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Hands notices to a thread that sends them. Dropping it ends the thread after the attempt that it is making.
pub struct Teller {
    shared: Arc<Shared>,
}

struct Shared {
    inbox: Mutex<Inbox>,
    news: Condvar,
}

#[derive(Default)]
struct Inbox {
    waiting: VecDeque<Notice>,
    /// Pushed out since it was last said.
    dropped: u64,
    ended: bool,
}

/// A way and what waits for it.
struct Desk {
    way: Way,
    waiting: VecDeque<Notice>,
    failures: u32,
    due: Time,
}

impl Teller {
    /// Starts the thread.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(ways: Vec<Way>, clock: Clock) -> Result<Self, Exit> {
        let shared = Arc::new(Shared {
            inbox: Mutex::default(),
            news: Condvar::new(),
        });
        let desks = ways.into_iter().map(|way| Desk {
            way,
            waiting: VecDeque::new(),
            failures: 0,
            due: Time(0),
        });
        let (desks, theirs) = (desks.collect(), Arc::clone(&shared));
        std::thread::Builder::new()
            .name("adit-notify".into())
            .spawn(move || work(desks, &theirs, &clock))
            .map_err(|error| Exit::failed(format!("cannot start the thread that tells: {error}")))?;
        Ok(Self { shared })
    }

    /// Puts a notice into the queue; never waits.
    pub fn tell(&self, notice: Notice) {
        let mut inbox = self.shared.lock();
        if inbox.waiting.len() >= WAITING_MAX {
            inbox.waiting.pop_front();
            inbox.dropped += 1;
        }
        inbox.waiting.push_back(notice);
        drop(inbox);
        self.shared.news.notify_one();
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.news.notify_one();
    }
}

impl Shared {
    /// Nothing panics while it is held; a poisoned one is as good.
    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Until the teller is dropped.
fn work(mut desks: Vec<Desk>, shared: &Shared, clock: &Clock) {
    loop {
        let due = desks
            .iter()
            .filter(|desk| !desk.waiting.is_empty())
            .map(|desk| desk.due)
            .min();
        let news = match await_news(shared, due.map(|due| due - clock.now())) {
            Some(news) => news,
            None => return,
        };
        for desk in &mut desks {
            desk.waiting.extend(news.iter().cloned());
            while desk.waiting.len() > WAITING_MAX {
                desk.waiting.pop_front();
            }
            if desk.due <= clock.now() {
                desk.attempt(clock);
            }
        }
    }
}

/// What has come, at the latest after `limit`; none when it is over.
fn await_news(shared: &Shared, limit: Option<Duration>) -> Option<Vec<Notice>> {
    let mut inbox = shared.lock();
    if inbox.waiting.is_empty() && !inbox.ended {
        inbox = match limit {
            Some(limit) => {
                let waited = shared.news.wait_timeout(inbox, limit);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => shared.news.wait(inbox).unwrap_or_else(PoisonError::into_inner),
        };
    }
    if inbox.ended {
        return None;
    }
    let dropped = std::mem::take(&mut inbox.dropped);
    if dropped > 0 {
        tracing::warn!(
            dropped,
            "more to tell than can be told: the oldest notices are gone"
        );
    }
    Some(inbox.waiting.drain(..).collect())
}

impl Desk {
    /// One attempt with the oldest notice that still is one.
    fn attempt(&mut self, clock: &Clock) {
        let old = |notice: &Notice| clock.now() - Time(notice.at_us) > NEWS;
        while self.waiting.front().is_some_and(old) {
            self.waiting.pop_front();
        }
        let Some(notice) = self.waiting.front() else {
            return;
        };
        let way = self.way.name();
        match self.way.send(notice) {
            Ok(()) => {
                tracing::debug!(way, title = %notice.title, "told");
                self.waiting.pop_front();
                (self.failures, self.due) = (0, clock.now());
            }
            Err(Fail::Never(why)) => {
                tracing::error!(way, %why, title = %notice.title, "nobody was told: look at notify.* and try `adit notify-test`");
                self.waiting.pop_front();
                (self.failures, self.due) = (0, clock.now());
            }
            Err(Fail::Later(why)) => {
                if self.failures == 0 {
                    tracing::warn!(way, %why, "nobody could be told yet; trying on");
                }
                self.due = clock.now() + wait(self.failures);
                self.failures = self.failures.saturating_add(1);
            }
        }
    }
}

/// Doubles from the first wait to the longest.
fn wait(failures: u32) -> Duration {
    let factor = 1u32.checked_shl(failures.min(16)).unwrap_or(u32::MAX);
    PATIENCE.0.saturating_mul(factor).min(PATIENCE.1)
}

/// Watches the pictures of a pool until `shutdown`, and tells. Nothing where no way is configured.
///
/// # Errors
/// When a way cannot be used as it is configured.
pub fn watch(
    keys: &NotifyKeys,
    clock: &Clock,
    mut status: channel::Receiver<Arc<Status>>,
    mut shutdown: Shutdown,
) -> Result<Option<tokio::task::JoinHandle<()>>, Exit> {
    let ways = Way::all(keys)?;
    if ways.is_empty() {
        return Ok(None);
    }
    let names: Vec<&str> = ways.iter().map(Way::name).collect();
    tracing::info!(ways = names.join(", "), "somebody is told what happens");
    let teller = Teller::start(ways, clock.clone())?;
    let mut watcher = Watcher::new(Patience {
        gone_s: keys.gone_s.into(),
        silent_s: keys.silent_s.into(),
        trouble_s: keys.trouble_s.into(),
    });
    Ok(Some(tokio::spawn(async move {
        let mut beat = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                () = shutdown.requested() => return,
                _ = beat.tick() => {
                    let now = Arc::clone(&status.borrow_and_update());
                    watcher.see(&now).into_iter().for_each(|notice| teller.tell(notice));
                }
            }
        }
    })))
}

/// What came of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Which way.
    pub way: &'static str,
    /// Why it failed; nothing where it did not.
    pub failed: Option<String>,
}

/// One attempt by each way, or by one of them, now. Waits for each no longer than ten seconds.
///
/// # Errors
/// When nothing is configured.
pub fn attempt(keys: &NotifyKeys, only: Option<&str>, clock: &Clock) -> Result<Vec<Attempt>, Exit> {
    let mut ways = Way::all(keys)?;
    ways.retain(|way| only.is_none_or(|only| way.name() == only));
    if ways.is_empty() {
        return Err(Exit::usage(
            "nobody is to be told: none of notify.webhook, ntfy, telegram, mail is configured",
        )
        .help("docs/operations.md says what each of them is to hold"));
    }
    let notice = Notice::test(clock.now().0);
    let attempt = |way: &Way| Attempt {
        way: way.name(),
        failed: match way.send(&notice) {
            Ok(()) => None,
            Err(Fail::Later(why) | Fail::Never(why)) => Some(why),
        },
    };
    Ok(ways.iter().map(attempt).collect())
}

/// `adit notify-test`: [`attempt`], told line by line.
///
/// # Errors
/// When nothing is configured, or a way failed.
pub fn test(
    keys: &NotifyKeys,
    only: Option<&str>,
    clock: &Clock,
    mut say: impl FnMut(&str),
) -> Result<(), Exit> {
    let attempts = attempt(keys, only, clock)?;
    for Attempt { way, failed } in &attempts {
        match failed {
            None => say(&format!("{way}  sent")),
            Some(why) => say(&format!("{way}  failed: {why}")),
        }
    }
    match attempts.iter().filter(|attempt| attempt.failed.is_some()).count() {
        0 => Ok(()),
        failed => Err(Exit::failed(format!("{failed} of them failed"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_grows_and_ends() {
        let waits: Vec<u64> = (0..10).map(|failures| wait(failures).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert_eq!(wait(u32::MAX).as_secs(), 300);
    }

    #[test]
    fn a_full_queue_drops_its_oldest_and_waits_for_nobody() {
        let shared = Arc::new(Shared {
            inbox: Mutex::default(),
            news: Condvar::new(),
        });
        let teller = Teller {
            shared: Arc::clone(&shared),
        };
        for at_us in 0..WAITING_MAX as u64 + 5 {
            teller.tell(Notice::test(at_us));
        }
        let inbox = shared.lock();
        assert_eq!((inbox.waiting.len(), inbox.dropped), (WAITING_MAX, 5));
        assert_eq!(inbox.waiting.front().map(|notice| notice.at_us), Some(5));
    }
}
