//! SIGHUP, or an order over HTTP: the configuration is read again, and what can change in a running pool changes.
//!
//! A configuration with a mistake changes nothing: the mistake is logged with its line, and the old one goes on. Which keys are live
//! is said by the table of keys ([`Key::is_live`](crate::config::Key::is_live)); what they do is here.

use std::sync::Arc;

use adit_net::Clock;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::cli::Command;
use crate::config::{Config, Key, Settings, Sources};
use crate::exit::Exit;
use crate::observe::{Status, logs};
use crate::pool::Live;
use crate::pool::admin::{Errand, Reloaded};
use crate::shutdown::{Shutdown, Stop};
use crate::{service, tell};

/// Reads what a command was started with, again and again.
#[derive(Clone, Debug)]
pub struct Reader {
    command: Command,
    environment: Vec<(String, String)>,
}

impl Reader {
    /// The environment does not change while a process runs; the file does.
    pub fn new(command: Command, environment: Vec<(String, String)>) -> Self {
        Self { command, environment }
    }

    /// The checked configuration as it is now.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn settings(&self) -> Result<Settings, Exit> {
        Settings::load(&self.sources()?)
    }

    fn sources(&self) -> Result<Sources, Exit> {
        self.command.sources(self.environment.clone())
    }

    /// The raw values; mistakes are somebody else's to find.
    fn config(&self) -> Config {
        let sources = self.sources().unwrap_or_default();
        Config::gather(&sources, &mut Vec::new())
    }
}

/// From now on SIGHUP is a wish and no end.
///
/// # Errors
/// When the signal handler cannot be installed.
pub fn hangups() -> Result<Signal, Exit> {
    signal(SignalKind::hangup()).map_err(|error| Exit::failed(format!("cannot listen to SIGHUP: {error}")))
}

/// Whoever is told, until it is dropped.
struct Told {
    _stop: Stop,
    _task: Option<JoinHandle<()>>,
}

impl Told {
    fn start(settings: &Settings, status: &watch::Receiver<Arc<Status>>) -> Result<Self, Exit> {
        let (stop, shutdown) = Shutdown::new();
        let task = tell::watch(&settings.notify, &Clock::system(), status.clone(), shutdown)?;
        Ok(Self {
            _stop: stop,
            _task: task,
        })
    }
}

/// Follows the wishes for a new configuration until `shutdown`; tells whoever is to be told meanwhile.
pub async fn serve(
    reader: Reader,
    settings: Settings,
    mut hangups: Signal,
    mut errands: mpsc::Receiver<Errand>,
    live: Live,
    status: watch::Receiver<Arc<Status>>,
    mut shutdown: Shutdown,
) {
    let mut _told = Told::start(&settings, &status)
        .inspect_err(|exit| tracing::error!(reason = %exit.message, "nobody is told what happens"))
        .ok();
    let (mut settings, mut config) = (settings, reader.config());
    loop {
        let answer = tokio::select! {
            () = shutdown.requested() => return,
            hangup = hangups.recv() => match hangup {
                Some(()) => None,
                None => return,
            },
            Some(errand) = errands.recv() => match errand {
                Errand::Reload(answer) => Some(answer),
                Errand::Notify(answer) => {
                    let _ = answer.send(settings.notify.clone());
                    continue;
                }
            },
        };
        service::reloading();
        let told = match read(&reader, &settings) {
            Ok((next, again)) => {
                let after = reader.config();
                let reloaded = compare(&config, &after);
                report(if answer.is_some() { "HTTP" } else { "SIGHUP" }, &reloaded);
                live.apply(&next).await;
                logs::set_level(next.log.level);
                if again {
                    _told = Told::start(&next, &status).ok();
                }
                (settings, config) = (next, after);
                Ok(reloaded)
            }
            Err(exit) => {
                tracing::error!(mistake = %exit.message, help = %exit.hint, "the configuration has a mistake: the old one goes on");
                Err(exit)
            }
        };
        service::ready("serving");
        if let Some(answer) = answer {
            // Whoever asked may have gone.
            let _ = answer.send(told);
        }
    }
}

/// The next settings, and whether others are to be told.
fn read(reader: &Reader, now: &Settings) -> Result<(Settings, bool), Exit> {
    let next = reader.settings()?;
    // Read also where the names have not changed: what they name may have.
    tell::Way::all(&next.notify)?;
    let again = next.notify != now.notify || tell::is_any(&next.notify);
    Ok((next, again))
}

/// What has changed, and what of it only a start will change.
fn compare(before: &Config, after: &Config) -> Reloaded {
    let changed = before.changed(after);
    let (now, later): (Vec<_>, Vec<_>) = changed.iter().partition(|key| key.is_live());
    let names = |keys: Vec<&&'static Key>| keys.into_iter().map(|key| key.path).collect();
    Reloaded {
        changed: names(now),
        later: names(later),
    }
}

fn report(cause: &str, reloaded: &Reloaded) {
    let (now, later) = (reloaded.changed.join(", "), reloaded.later.join(", "));
    tracing::info!(changed = %now, "{cause}: the configuration is read again");
    if !later.is_empty() {
        tracing::warn!(keys = %later, "these have changed, too, and count from the next start");
    }
}
