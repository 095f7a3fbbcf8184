//! What a service manager is told (sd_notify): that we are ready, alive, reading the configuration again, or stopping.
//!
//! Where nobody listens (`NOTIFY_SOCKET`) nothing is said. *Alive* is proven, not claimed: every worker has turned its loop
//! and the hub has taken a picture since the last time; a process that only looks alive is restarted by its manager.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;

use crate::observe::Status;
use crate::shutdown::Shutdown;

/// Looks at the pulse in one watchdog interval. One that is missed is no death yet.
const LOOKS: u32 = 3;
/// The pulse is looked at no more often: every part beats twice a second.
const LOOK_MIN: Duration = Duration::from_secs(2);

/// Beats of the parts of a running pool.
#[derive(Debug)]
pub struct Pulse {
    workers: Vec<(Arc<AtomicU64>, u64)>,
    hub: watch::Receiver<Arc<Status>>,
    picture_us: u64,
}

impl Pulse {
    /// Of these workers, which count their turns, and of a hub that takes pictures.
    pub fn new(workers: Vec<Arc<AtomicU64>>, hub: watch::Receiver<Arc<Status>>) -> Self {
        Self {
            workers: workers.into_iter().map(|beats| (beats, 0)).collect(),
            picture_us: 0,
            hub,
        }
    }

    /// What has not moved since this was asked last; nothing when all is well.
    pub fn stands_still(&mut self) -> Option<String> {
        let picture_us = self.hub.borrow().taken_at_us;
        let hub = std::mem::replace(&mut self.picture_us, picture_us) == picture_us;
        let mut still = Vec::new();
        for (number, (beats, last)) in self.workers.iter_mut().enumerate() {
            let now = beats.load(Ordering::Relaxed);
            if std::mem::replace(last, now) == now {
                still.push(format!("worker {number}"));
            }
        }
        still.extend(hub.then(|| "the hub".to_owned()));
        (!still.is_empty()).then(|| still.join(", "))
    }
}

/// Whoever was asked for can be used from now on.
pub fn ready(what: &str) {
    say(&[NotifyState::Ready, NotifyState::Status(what)]);
}

/// The configuration is read again; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => say(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the service manager is not told of the reload"),
    }
}

/// It is over soon.
pub fn stopping(what: &str) {
    say(&[NotifyState::Stopping, NotifyState::Status(what)]);
}

/// Shows the watchdog that all parts are alive until `shutdown`, and then that we stop.
pub async fn keep_alive(mut pulse: Pulse, mut shutdown: Shutdown) {
    let watchdog = sd_notify::watchdog_enabled();
    let every = watchdog.map(|interval| (interval / LOOKS).max(LOOK_MIN));
    let mut still = String::new();
    loop {
        let next = async {
            match every {
                Some(every) => tokio::time::sleep(every).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.requested() => break,
            () = next => {}
        }
        match pulse.stands_still() {
            None => {
                still.clear();
                say(&[NotifyState::Watchdog]);
            }
            Some(now) if still != now => {
                tracing::error!(parts = %now, "stands still; the watchdog is not told that we live");
                still = now;
            }
            Some(_) => {}
        }
    }
    stopping("stopping");
}

fn say(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager does not listen");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_stands_still_is_named() {
        let (publish, hub) = watch::channel(Arc::new(Status::default()));
        let beats = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
        let mut pulse = Pulse::new(beats.to_vec(), hub);
        let turn = |workers: &[usize], picture: u64| {
            for worker in workers {
                beats[*worker].fetch_add(1, Ordering::Relaxed);
            }
            publish.send_replace(Arc::new(Status {
                taken_at_us: picture,
                ..Status::default()
            }));
        };
        turn(&[0, 1], 1);
        assert_eq!(pulse.stands_still(), None);
        turn(&[0], 2);
        assert_eq!(pulse.stands_still().as_deref(), Some("worker 1"));
        turn(&[0, 1], 2);
        assert_eq!(pulse.stands_still().as_deref(), Some("the hub"));
        turn(&[], 2);
        assert_eq!(
            pulse.stands_still().as_deref(),
            Some("worker 0, worker 1, the hub")
        );
        turn(&[0, 1], 3);
        assert_eq!(pulse.stands_still(), None);
    }
}
