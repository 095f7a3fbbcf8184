//! `adit accountant`: what all front ends ship, into one database.
//!
//! Each front end is counted by a lane of its own. Of several accountants on one database, one counts a front end and the
//! others wait for it to end. Everything that matters is in the database: an accountant keeps nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adit_net::Clock;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::bus::{Bus, Settings};
use super::lane::{Lane, Place};
use super::lease::{self, Holding};
use crate::books::Db;
use crate::exit::Exit;
use crate::shutdown::{Shutdown, Stop};

/// Between two looks for front ends that are new.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A front end that shows no sign of life for so long is called silent: some five were due.
const SILENT: Duration = Duration::from_secs(10);
/// Front ends of one accountant; more need another one, on the same database or another.
const LANES_MAX: usize = 1024;

/// What an accountant does, front end by front end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccountantPicture {
    /// Whether there is a NATS server.
    pub connected: bool,
    /// Each front end's lane.
    pub front_ends: BTreeMap<u16, LanePicture>,
    /// Who they are, as they say themselves.
    pub holders: Vec<Holding>,
    /// Those that have not stopped and show no sign of life.
    pub silent: Vec<u16>,
}

/// What it does for one front end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct LanePicture {
    /// Where the front end's devices connect, as it says.
    pub url: String,
    /// Whether this accountant counts it, another one does, or none can.
    pub place: Place,
    /// The last record in the database.
    pub last: u64,
    /// Records counted since this accountant began.
    pub counted: u64,
    /// Records that wait for others before them.
    pub held: u64,
    /// Its last counted record's time, Unix microseconds.
    pub last_us: u64,
    /// Messages that were no batches.
    pub spoiled: u64,
    /// What is wrong; empty when nothing is.
    pub trouble: String,
}

/// The pictures that lanes paint.
pub(super) type Pictures = Arc<Mutex<BTreeMap<u16, LanePicture>>>;

/// A running accountant.
#[derive(Debug)]
pub struct Accountant {
    task: tokio::task::JoinHandle<()>,
    stop: Stop,
    picture: watch::Receiver<Arc<AccountantPicture>>,
}

impl Accountant {
    /// Connects and counts from then on; NATS and the database may come later. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the address of NATS is of no use, or the database does not let us in or is of a newer version.
    pub async fn start(nats: Settings, db: Db) -> Result<Self, Exit> {
        let bus = Bus::connect(&nats, "adit accountant").await.map_err(|error| {
            Exit::failed(error.to_string()).help("give the address of a NATS server: --nats nats://HOST:4222")
        })?;
        let (stop, shutdown) = Shutdown::new();
        let (tell, picture) = watch::channel(Arc::new(AccountantPicture::default()));
        let task = tokio::spawn(run(bus, nats, db, tell, shutdown));
        Ok(Self { task, stop, picture })
    }

    /// What it does, once a second.
    #[must_use]
    pub fn picture(&self) -> watch::Receiver<Arc<AccountantPicture>> {
        self.picture.clone()
    }

    /// Ends; what is not counted comes again.
    pub async fn stop(self) {
        self.stop.stop();
        if self.task.await.is_err() {
            tracing::error!("the accountant broke");
        }
    }
}

async fn run(
    bus: Bus,
    nats: Settings,
    db: Db,
    tell: watch::Sender<Arc<AccountantPicture>>,
    mut shutdown: Shutdown,
) {
    let pictures = Pictures::default();
    let mut life = Life::default();
    let mut lanes: BTreeMap<u16, Lane> = BTreeMap::new();
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            () = shutdown.requested() => break,
            _ = look.tick() => {}
        }
        let known = tokio::select! {
            () = shutdown.requested() => break,
            known = lease::all(&bus) => known,
        };
        match known {
            Ok(holders) => {
                life.note(holders.clone());
                for holder in holders {
                    note(&pictures, &holder);
                    if lanes.contains_key(&holder.front_end) || lanes.len() == LANES_MAX {
                        continue;
                    }
                    match Lane::start(
                        holder.front_end,
                        nats.clone(),
                        db.clone(),
                        Arc::clone(&pictures),
                        &shutdown,
                    ) {
                        Ok(lane) => {
                            lanes.insert(holder.front_end, lane);
                        }
                        Err(error) => {
                            tracing::error!(front_end = holder.front_end, %error, "no thread for a front end")
                        }
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "front ends are not known just now"),
        }
        paint(&bus, &pictures, &life, &tell);
    }
    let lanes: Vec<Lane> = lanes.into_values().collect();
    if tokio::task::spawn_blocking(|| lanes.into_iter().for_each(Lane::join))
        .await
        .is_err()
    {
        tracing::error!("a front end's lane broke");
    }
    paint(&bus, &pictures, &life, &tell);
}

/// Signs of life, by our own clock.
#[derive(Default)]
struct Life {
    holders: Vec<Holding>,
    /// The last one that differed from the one before, and when it was seen.
    last: BTreeMap<u16, (u64, Instant)>,
}

impl Life {
    fn note(&mut self, holders: Vec<Holding>) {
        let now = Instant::now();
        for holder in &holders {
            let (beats, since) = self.last.entry(holder.front_end).or_insert((holder.beats, now));
            if *beats != holder.beats {
                (*beats, *since) = (holder.beats, now);
            }
        }
        self.holders = holders;
    }

    fn silent(&self) -> Vec<u16> {
        let holders = self.holders.iter().filter(|holder| !holder.stopped);
        let silent = |it: &&Holding| {
            let last = self.last.get(&it.front_end);
            last.is_some_and(|(_, since)| since.elapsed() > SILENT)
        };
        holders.filter(silent).map(|holder| holder.front_end).collect()
    }
}

fn note(pictures: &Pictures, holder: &Holding) {
    let mut pictures = pictures.lock().unwrap_or_else(PoisonError::into_inner);
    holder
        .url
        .clone_into(&mut pictures.entry(holder.front_end).or_default().url);
}

fn paint(bus: &Bus, pictures: &Pictures, life: &Life, tell: &watch::Sender<Arc<AccountantPicture>>) {
    let front_ends = pictures.lock().unwrap_or_else(PoisonError::into_inner).clone();
    tell.send_replace(Arc::new(AccountantPicture {
        connected: bus.connected(),
        front_ends,
        holders: life.holders.clone(),
        silent: life.silent(),
    }));
}

/// Runs an accountant until `shutdown`.
///
/// # Errors
/// As [`Accountant::start`].
pub async fn serve(
    nats: Settings,
    db: Db,
    mut shutdown: Shutdown,
    started: impl FnOnce(&Accountant) -> Result<(), Exit>,
) -> Result<Arc<AccountantPicture>, Exit> {
    let clock = Clock::system();
    let began = clock.now();
    let accountant = Accountant::start(nats, db).await?;
    started(&accountant)?;
    let picture = accountant.picture();
    shutdown.requested().await;
    accountant.stop().await;
    let last = Arc::clone(&picture.borrow());
    let counted: u64 = last.front_ends.values().map(|lane| lane.counted).sum();
    tracing::info!(
        counted,
        seconds = (clock.now() - began).as_secs(),
        "accountant stopped"
    );
    Ok(last)
}
