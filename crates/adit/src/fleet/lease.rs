//! Who holds which front-end number: a part of every extranonce, so that two holders would give the same work twice and
//! have it credited twice.
//!
//! A number belongs to a data folder, for good: its journal goes on in that folder, and its start epoch keeps old work from
//! being credited again. So nothing runs out and nothing moves by itself. A second folder with the same number refuses
//! to start, and so does a copy of the folder while the first one lives: every write names the revision it stands on, and
//! whoever writes second finds out.

use std::fmt;
use std::time::Duration;

use adit_net::random;
use async_nats::jetstream::kv;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::bus::{Bus, BusError, failed};

/// Between two signs of life.
pub const BEAT_EVERY: Duration = Duration::from_secs(2);
/// A holder that shows no sign of life for so long has ended.
const SILENT: Duration = Duration::from_secs(7);
/// A table that is younger may have been wiped: whoever held a number gets this time to say so.
const SETTLE: Duration = Duration::from_secs(12);
/// A key that is no number: what is written there says what time it is at the server.
const CLOCK: &str = "clock";
/// Looks at a number that changes under our hands, before we give up.
const TRIES_MAX: usize = 16;

/// A front end, as all others see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Holding {
    /// Its number.
    pub front_end: u16,
    /// Its data folder: 16 random bytes, as hex.
    pub ledger: String,
    /// The process: 16 random bytes, as hex.
    pub instance: String,
    /// Its machine.
    pub host: String,
    /// Where devices connect.
    pub url: String,
    /// Software and version.
    pub software: String,
    /// Counts signs of life.
    pub beats: u64,
    /// Whether it has stopped in order.
    pub stopped: bool,
    /// Height of the block that it builds on; 0 before there is one.
    pub height: u32,
    /// That block.
    pub tip: String,
    /// SHA-256 of how its blocks are paid, as hex: the same for all, or they disagree.
    pub policy: String,
    /// A checksum of how pooled blocks are shared out just now, as hex: the same for all, within the seconds between two
    /// splits. Empty where that is not agreed on.
    #[serde(default)]
    pub split: String,
    /// Hashes a second of its devices.
    pub hash_rate: u64,
    /// Its open channels.
    pub channels: u64,
    /// Records in its journal.
    pub durable: u64,
    /// Those of them that an accountant has counted, as far as one has said.
    pub booked: u64,
}

/// Why a number cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseError {
    /// It belongs to another data folder.
    Taken(Box<Holding>),
    /// The same data folder, or a copy of it, is in use elsewhere.
    Running(Box<Holding>),
    /// The transport does not answer.
    Away(BusError),
}

impl fmt::Display for LeaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(by) => write!(
                f,
                "front end {} belongs to another data folder (on {}, {})",
                by.front_end, by.host, by.url
            ),
            Self::Running(by) => write!(
                f,
                "front end {} runs already on {} ({}), with this data folder or the one that this is a copy of",
                by.front_end, by.host, by.url
            ),
            Self::Away(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LeaseError {}

impl From<BusError> for LeaseError {
    fn from(error: BusError) -> Self {
        Self::Away(error)
    }
}

/// A number that is ours.
#[derive(Debug)]
pub struct Lease {
    bus: Bus,
    /// The table, as long as it answers: it may be wiped, and is made again then.
    store: Option<kv::Store>,
    revision: u64,
    mine: Holding,
}

/// What became of a sign of life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beat {
    /// The number is ours.
    Held,
    /// The transport did not answer; the number is ours as far as anybody can know.
    Unheard(BusError),
    /// Somebody else has it: nothing more may be given out.
    Lost(Box<Holding>),
}

/// A name for a data folder or a process.
pub fn fresh_name() -> String {
    let bytes: [u8; 16] = random::bytes();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Lease {
    /// Takes the number of `mine`. May wait some seconds, to see whether an earlier holder lives.
    ///
    /// # Errors
    /// See [`LeaseError`].
    pub async fn take(bus: &Bus, mine: Holding) -> Result<Self, LeaseError> {
        let store = bus.holders().await?;
        settled(&store).await?;
        for _ in 0..TRIES_MAX {
            let revision = match entry(&store, mine.front_end).await? {
                None => write(&store, &mine, 0).await?,
                Some((_, holder)) if holder.ledger != mine.ledger => {
                    return Err(LeaseError::Taken(Box::new(holder)));
                }
                Some((revision, holder)) => {
                    if !holder.stopped && lives(&store, mine.front_end, revision).await? {
                        return Err(LeaseError::Running(Box::new(holder)));
                    }
                    write(&store, &mine, revision).await?
                }
            };
            if let Some(revision) = revision {
                return Ok(Self {
                    bus: bus.clone(),
                    store: Some(store),
                    revision,
                    mine,
                });
            }
        }
        Err(LeaseError::Away(BusError(
            "the front end's number changes hands all the time".into(),
        )))
    }

    /// What we are called.
    pub const fn mine(&self) -> &Holding {
        &self.mine
    }

    /// Shows a sign of life, with what is new of us.
    pub async fn beat(&mut self, change: impl FnOnce(&mut Holding)) -> Beat {
        change(&mut self.mine);
        self.mine.beats += 1;
        match self.show().await {
            Ok(beat) => beat,
            Err(error) => {
                self.store = None;
                Beat::Unheard(error)
            }
        }
    }

    /// Says that we have stopped in order. The number stays with this data folder.
    pub async fn stop(mut self) {
        let _ = self.beat(|mine| mine.stopped = true).await;
    }

    async fn show(&mut self) -> Result<Beat, BusError> {
        let store = match &self.store {
            Some(store) => store.clone(),
            None => self.bus.holders().await?,
        };
        self.store = Some(store.clone());
        if self.write(&store).await? {
            return Ok(Beat::Held);
        }
        // Our write stood on a revision that is not the last one: an answer that was lost, a table that was wiped, or
        // another holder.
        match entry(&store, self.mine.front_end).await? {
            None => self.revision = 0,
            Some((revision, holder)) if holder.instance == self.mine.instance => self.revision = revision,
            Some((_, holder)) => return Ok(Beat::Lost(Box::new(holder))),
        }
        match self.write(&store).await? {
            true => Ok(Beat::Held),
            false => Err(BusError("the table of front ends changes under our hands".into())),
        }
    }

    /// Whether we have written.
    async fn write(&mut self, store: &kv::Store) -> Result<bool, BusError> {
        let revision = write(store, &self.mine, self.revision).await?;
        self.revision = revision.unwrap_or(self.revision);
        Ok(revision.is_some())
    }
}

/// All front ends that were ever seen, by number.
///
/// # Errors
/// When the transport does not answer.
pub async fn all(bus: &Bus) -> Result<Vec<Holding>, BusError> {
    let store = bus.holders().await?;
    let mut all = Vec::new();
    for number in Bus::numbers(&store, "the table of front ends").await? {
        if let Some((_, holding)) = entry(&store, number).await? {
            all.push(holding);
        }
    }
    all.sort_by_key(|holding| holding.front_end);
    Ok(all)
}

/// Frees a number whose data folder is gone for good. Whoever holds it and lives keeps it.
///
/// # Errors
/// When it is in use, nobody has it, or the transport does not answer; in words.
pub async fn release(bus: &Bus, front_end: u16) -> Result<Holding, LeaseError> {
    let store = bus.holders().await?;
    let Some((revision, holder)) = entry(&store, front_end).await? else {
        return Err(LeaseError::Away(BusError(format!(
            "nobody holds front end {front_end}"
        ))));
    };
    if !holder.stopped && lives(&store, front_end, revision).await? {
        return Err(LeaseError::Running(Box::new(holder)));
    }
    let gone = store
        .delete_expect_revision(front_end.to_string(), Some(revision))
        .await;
    gone.map_err(|error| failed("the number was not freed", error))?;
    Ok(holder)
}

/// Waits until every holder has had the time to write into a table that was wiped. Only the server's clock counts.
async fn settled(store: &kv::Store) -> Result<(), BusError> {
    let about = |error: &dyn fmt::Display| failed("the table of front ends", error);
    let status = store.status().await.map_err(|error| about(&error))?;
    let put = store.put(CLOCK, Vec::new().into()).await;
    put.map_err(|error| about(&error))?;
    let now = store.entry(CLOCK).await.map_err(|error| about(&error))?;
    let age = now.map_or(0, |now| (now.created - status.info.created).whole_milliseconds());
    let age = u64::try_from(age).map_or(Duration::ZERO, Duration::from_millis);
    tokio::time::sleep(SETTLE.saturating_sub(age)).await;
    Ok(())
}

/// Whether whoever wrote `revision` writes again.
async fn lives(store: &kv::Store, front_end: u16, revision: u64) -> Result<bool, BusError> {
    let until = Instant::now() + SILENT;
    while Instant::now() < until {
        tokio::time::sleep(BEAT_EVERY / 4).await;
        if entry(store, front_end)
            .await?
            .is_some_and(|(now, _)| now != revision)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn entry(store: &kv::Store, front_end: u16) -> Result<Option<(u64, Holding)>, BusError> {
    let entry = Bus::entry(store, &front_end.to_string(), "the table of front ends").await?;
    let Some(entry) = entry else { return Ok(None) };
    let holding = serde_json::from_slice(&entry.value)
        .map_err(|error| failed("an entry of the table of front ends cannot be read", error))?;
    Ok(Some((entry.revision, holding)))
}

/// The new revision; `None` when somebody was faster. 0 stands for no revision.
async fn write(store: &kv::Store, mine: &Holding, revision: u64) -> Result<Option<u64>, BusError> {
    let what = match revision {
        0 => "the number was not taken",
        _ => "no sign of life",
    };
    let json = serde_json::to_vec(mine).unwrap_or_default();
    Bus::swap(store, &mine.front_end.to_string(), json, revision, what).await
}
