//! This front end among the others: its number, its signs of life, and whether all of them do the same.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adit_ledger::FileDisk;
use adit_ledger::disk::{Disk, read_whole, replace};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::bus::{Bus, Settings};
use super::exchange::Sharing;
use super::lease::{self, BEAT_EVERY, Beat, Holding, Lease, LeaseError, fresh_name};
use super::ship::Shipping;
use crate::exit::Exit;
use crate::observe::Status;
use crate::shutdown::{Shutdown, Stop};

/// Name of the file in the data folder that says what it is called and which number is its own.
pub const FILE: &str = "front_end";
const FILE_BYTES_MAX: u64 = 1024;
/// How long NATS may take to answer at the start.
const START_WITHIN: Duration = Duration::from_secs(30);
/// Signs of life between two looks at the others.
const LOOK_BEATS: u64 = 2;
/// How long front ends may build on different blocks before that is an alarm.
const APART_MAX: Duration = Duration::from_secs(30);

/// The front ends as this one sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Fleet {
    /// This one's number.
    pub front_end: u16,
    /// Whether the last sign of life was heard: then nobody else can have the number.
    pub held: bool,
    /// All front ends, this one included, by number.
    pub front_ends: Vec<Holding>,
    /// What somebody should look at.
    pub alarms: Vec<String>,
}

/// What the data folder remembers.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Remembered {
    ledger: String,
    /// The number that it has held, once.
    front_end: Option<u16>,
}

/// Says how blocks are paid, as a checksum: an operator may change it while the pool runs.
pub type Policy = Box<dyn Fn() -> String + Send + Sync>;

/// A front end whose number is its own, before it has begun.
#[derive(Debug)]
pub struct Joined {
    bus: Bus,
    lease: Option<Lease>,
    mine: Holding,
}

/// A running front end's part in the fleet.
#[derive(Debug)]
pub struct Member {
    task: JoinHandle<Option<Lease>>,
    stop: Stop,
    picture: watch::Receiver<Fleet>,
    lost: watch::Receiver<Option<String>>,
}

impl Joined {
    /// Takes the number `front_end` for the data folder `data`.
    ///
    /// # Errors
    /// When the number belongs to somebody else; when NATS does not answer and this folder has never held the number.
    pub async fn take(nats: &Settings, data: &Path, front_end: u16) -> Result<Self, Exit> {
        let name = format!("adit front end {front_end}");
        let bus = Bus::connect(nats, &name).await;
        let bus = bus.map_err(|error| Exit::failed(error.to_string()).help("look at nats.url"))?;
        let disk = FileDisk::create(data).map_err(|error| no_folder(data, &error))?;
        let mut known = Remembered::read(&disk).map_err(|error| no_folder(data, &error))?;
        let mine = Holding {
            front_end,
            ledger: known.ledger.clone(),
            instance: fresh_name(),
            host: host(),
            software: concat!("adit ", env!("CARGO_PKG_VERSION")).into(),
            ..Holding::default()
        };
        let lease = match taken(&bus, &mine).await {
            Ok(lease) => Some(lease),
            Err(error @ (LeaseError::Taken(_) | LeaseError::Running(_))) => return Err(refused(&error)),
            Err(LeaseError::Away(error)) if known.front_end == Some(front_end) => {
                tracing::warn!(
                    %error,
                    "nobody confirms that front end {front_end} is ours alone; this folder has held it before, so it goes on"
                );
                None
            }
            Err(LeaseError::Away(error)) => {
                return Err(Exit::failed(format!("front end {front_end} cannot be had: {error}"))
                    .help("start NATS, or look at nats.url: a front end needs it once, when it takes its number for the first time"));
            }
        };
        if known.front_end != Some(front_end) {
            known.front_end = Some(front_end);
            known.write(&disk).map_err(|error| no_folder(data, &error))?;
        }
        Ok(Self { bus, lease, mine })
    }

    /// The way to the others.
    pub(crate) fn bus(&self) -> Bus {
        self.bus.clone()
    }

    /// Shows signs of life from then on. `url` is where devices connect.
    #[must_use]
    pub fn start(
        mut self,
        url: String,
        policy: Policy,
        status: watch::Receiver<Arc<Status>>,
        shipping: watch::Receiver<Shipping>,
        sharing: watch::Receiver<Sharing>,
    ) -> Member {
        self.mine.url = url;
        self.mine.policy = policy();
        let (stop, shutdown) = Shutdown::new();
        let (tell, picture) = watch::channel(Fleet {
            front_end: self.mine.front_end,
            ..Fleet::default()
        });
        let (lose, lost) = watch::channel(None);
        let run = Run {
            joined: self,
            policy,
            status,
            shipping,
            sharing,
            tell,
            lose,
            apart: None,
            uneven: None,
        };
        Member {
            task: tokio::spawn(run.run(shutdown)),
            stop,
            picture,
            lost,
        }
    }
}

impl Member {
    /// The fleet as it is seen from here.
    #[must_use]
    pub fn picture(&self) -> watch::Receiver<Fleet> {
        self.picture.clone()
    }

    /// Becomes the reason when the number is lost: nothing more may be given out then.
    #[must_use]
    pub fn lost(&self) -> watch::Receiver<Option<String>> {
        self.lost.clone()
    }

    /// Says that this front end has stopped in order. Its number stays with its folder.
    pub async fn stop(self) {
        self.stop.stop();
        if let Ok(Some(lease)) = self.task.await {
            // The next start need not wait; without an answer it will.
            let _ = tokio::time::timeout(BEAT_EVERY, lease.stop()).await;
        }
    }
}

/// Waits for the reason why a number is lost; for ever, while it is held.
pub async fn loss(lost: &mut watch::Receiver<Option<String>>) -> String {
    match lost.wait_for(Option::is_some).await {
        Ok(reason) => reason.clone().unwrap_or_default(),
        Err(_) => std::future::pending().await,
    }
}

async fn taken(bus: &Bus, mine: &Holding) -> Result<Lease, LeaseError> {
    let until = Instant::now() + START_WITHIN;
    loop {
        match Lease::take(bus, mine.clone()).await {
            Err(LeaseError::Away(error)) if Instant::now() < until => {
                tracing::info!(%error, "waiting for NATS");
                tokio::time::sleep(BEAT_EVERY).await;
            }
            other => return other,
        }
    }
}

fn refused(error: &LeaseError) -> Exit {
    let help = match error {
        LeaseError::Taken(_) => {
            "give this front end a number of its own (pool.front_end); or, when the other folder is gone for good, free \
             the number with `adit fleet release NUMBER`"
        }
        _ => "stop the other one first, or begin this one with a data folder and a number of its own",
    };
    Exit::failed(error.to_string()).help(help)
}

fn no_folder(data: &Path, error: &std::io::Error) -> Exit {
    Exit::failed(format!("cannot use {}: {error}", data.join(FILE).display()))
        .help("adit must be able to write there; if the file is damaged, remove it and free the number (`adit fleet release`)")
}

/// What this machine is called, for people.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() {
        "an unnamed machine".into()
    } else {
        name.into()
    }
}

impl Remembered {
    fn read(disk: &FileDisk) -> std::io::Result<Self> {
        let file = match disk.open_read(FILE) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let fresh = Self {
                    ledger: fresh_name(),
                    front_end: None,
                };
                fresh.write(disk)?;
                return Ok(fresh);
            }
            Err(error) => return Err(error),
        };
        serde_json::from_slice(&read_whole(&file, FILE_BYTES_MAX)?).map_err(std::io::Error::other)
    }

    fn write(&self, disk: &FileDisk) -> std::io::Result<()> {
        let mut json = serde_json::to_vec(self)?;
        json.push(b'\n');
        replace(disk, FILE, &json)
    }
}

struct Run {
    joined: Joined,
    policy: Policy,
    status: watch::Receiver<Arc<Status>>,
    shipping: watch::Receiver<Shipping>,
    sharing: watch::Receiver<Sharing>,
    tell: watch::Sender<Fleet>,
    lose: watch::Sender<Option<String>>,
    /// Since when front ends build on different blocks.
    apart: Option<Instant>,
    /// Since when they share them out differently.
    uneven: Option<Instant>,
}

impl Run {
    async fn run(mut self, mut shutdown: Shutdown) -> Option<Lease> {
        let mut beat = tokio::time::interval(BEAT_EVERY);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut beats = 0u64;
        loop {
            tokio::select! {
                () = shutdown.requested() => return self.joined.lease,
                _ = beat.tick() => {}
            }
            self.note();
            let held = tokio::select! {
                () = shutdown.requested() => return self.joined.lease,
                held = self.beat() => held,
            };
            let others = match beats.is_multiple_of(LOOK_BEATS) && held {
                true => lease::all(&self.joined.bus).await.ok(),
                false => None,
            };
            beats += 1;
            self.paint(held, others);
        }
    }

    /// What is new of us.
    fn note(&mut self) {
        let status = self.status.borrow();
        let mine = &mut self.joined.mine;
        mine.policy = (self.policy)();
        mine.height = u32::try_from(status.node.height).unwrap_or(0);
        status.node.tip.clone_into(&mut mine.tip);
        mine.hash_rate = status.hash_rate.m10 as u64;
        mine.channels = status.channels.standard + status.channels.extended;
        drop(status);
        let shipping = self.shipping.borrow();
        (mine.durable, mine.booked) = (shipping.durable, shipping.booked);
        self.sharing.borrow().split.clone_into(&mut mine.split);
    }

    /// Whether the number is known to be ours.
    async fn beat(&mut self) -> bool {
        let Joined { bus, lease, mine } = &mut self.joined;
        if !bus.connected() {
            return false;
        }
        let Some(held) = lease else {
            return match Lease::take(bus, mine.clone()).await {
                Ok(taken) => {
                    *lease = Some(taken);
                    true
                }
                Err(LeaseError::Away(_)) => false,
                Err(error) => {
                    self.lose(&error.to_string());
                    false
                }
            };
        };
        let news = mine.clone();
        let beat = held.beat(|it| {
            *it = Holding {
                beats: it.beats,
                ..news
            }
        });
        match beat.await {
            Beat::Held => true,
            Beat::Unheard(error) => {
                tracing::debug!(%error, "no sign of life");
                false
            }
            Beat::Lost(by) => {
                self.lose(&LeaseError::Running(by).to_string());
                false
            }
        }
    }

    fn lose(&self, reason: &str) {
        tracing::error!(reason, "this front end's number is somebody else's: it stops");
        self.lose.send_replace(Some(reason.to_owned()));
    }

    fn paint(&mut self, held: bool, others: Option<Vec<Holding>>) {
        let mut now = self.tell.borrow().clone();
        now.held = held;
        if let Some(others) = others {
            now.alarms = self.alarms(&others);
            now.front_ends = others;
        }
        self.tell.send_if_modified(|it| {
            for alarm in now.alarms.iter().filter(|alarm| !it.alarms.contains(alarm)) {
                tracing::warn!(%alarm, "front ends disagree");
            }
            let news = *it != now;
            *it = now;
            news
        });
    }

    fn alarms(&mut self, all: &[Holding]) -> Vec<String> {
        let mine = &self.joined.mine;
        let others = || {
            all.iter()
                .filter(|it| !it.stopped && it.front_end != mine.front_end)
        };
        let mut alarms: Vec<String> = others()
            .filter(|other| other.policy != mine.policy)
            .map(|other| {
                format!(
                    "front end {} ({}) pays its blocks in another way than this one: compare payout.* and coinbase.tag",
                    other.front_end, other.host
                )
            })
            .collect();
        let numbers = |differs: &dyn Fn(&Holding) -> bool| {
            let differing = others().filter(|other| differs(other));
            let numbers: Vec<String> = differing.map(|other| other.front_end.to_string()).collect();
            numbers.join(", ")
        };
        let apart = numbers(&|other| other.height > 0 && mine.height > 0 && other.tip != mine.tip);
        let uneven = numbers(&|other| {
            let both = !other.split.is_empty() && !mine.split.is_empty();
            both && other.policy == mine.policy && other.split != mine.split
        });
        if lasts(&mut self.apart, &apart) {
            alarms.push(format!(
                "this front end and {apart} build on different blocks: look at their nodes"
            ));
        }
        if lasts(&mut self.uneven, &uneven) {
            alarms.push(format!(
                "this front end and {uneven} share blocks out differently: look at their clocks, and whether they reach NATS"
            ));
        }
        alarms
    }
}

/// Whether the others in `with` have differed from us for too long.
fn lasts(since: &mut Option<Instant>, with: &str) -> bool {
    if with.is_empty() {
        *since = None;
        return false;
    }
    since.get_or_insert_with(Instant::now).elapsed() >= APART_MAX
}
