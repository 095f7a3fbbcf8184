//! Packs old segments of the journal and takes them away when their time is over, on a thread of its own.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use adit_ledger::archive::{Settings, Tidied, tidy};
use adit_ledger::verify::JOURNAL_FOLDER;
use adit_ledger::{Durable, FileDisk};
use adit_net::Clock;

use super::bell::Bell;
use crate::exit::Exit;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The running thread.
#[derive(Debug)]
pub struct Keeper {
    bell: Arc<Bell>,
    clock: Clock,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts it for the journal in `data`, whose lock this process holds; `None` where nothing is to be done.
    ///
    /// # Errors
    /// When the thread cannot be made.
    pub fn start(
        data: &Path,
        settings: Settings,
        durable: Durable,
        clock: Clock,
    ) -> Result<Option<Self>, Exit> {
        if !settings.pack && settings.keep_us == 0 {
            return Ok(None);
        }
        let folder = data.join(JOURNAL_FOLDER);
        let disk = FileDisk::open(&folder)
            .map_err(|error| Exit::failed(format!("cannot open {}: {error}", folder.display())))?;
        let bell = Arc::new(Bell::default());
        let (stop, time) = (Arc::clone(&bell), clock.clone());
        let work = move || {
            let mut told = String::new();
            while stop.rung().is_none() {
                let done = tidy(&disk, settings, durable.needed(), time.now().0);
                match &done {
                    Ok(Tidied {
                        packed: 0,
                        removed: 0,
                    }) => {}
                    Ok(Tidied { packed, removed }) => {
                        tracing::info!(packed, removed, "old segments of the journal were tidied");
                    }
                    Err(error) if error.to_string() != told => {
                        told = error.to_string();
                        tracing::error!(%error, "old segments of the journal stay as they are");
                    }
                    Err(_) => {}
                }
                if !done.is_ok_and(|done| done != Tidied::default()) {
                    stop.pause(LOOK_EVERY);
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("adit-keeper".into())
            .spawn(work)
            .map_err(|error| Exit::failed(format!("cannot start the keeper of the journal: {error}")))?;
        Ok(Some(Self {
            bell,
            clock,
            thread: Some(thread),
        }))
    }

    fn end(&mut self) {
        self.bell.ring(self.clock.now().0);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the keeper of the journal broke");
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end();
    }
}
