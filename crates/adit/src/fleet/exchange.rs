//! What front ends tell each other of their books, so that every one of them pays for the work of all.
//!
//! ```text
//!   our book ──► Common::say ──► Exchange ──► NATS: sheets, then the manifest      (adit_ledger::statement)
//!   their manifests ──► lacking sheets ──► Mirror of each ──► Common::heard ──► treasury
//! ```
//!
//! As with the journals, the transport is not believed: what it has forgotten is written again, what cannot be read now is read
//! the next time, and until then the last that was whole holds.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use adit_ledger::AccountId;
use adit_ledger::statement::{Garbled, MANIFEST_BYTES_MAX, Manifest, Mirror, Publisher, Statement};
use adit_net::Clock;
use async_nats::jetstream::kv;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::bus::{Bus, BusError, failed};
use super::lease;
use super::turn::Turn;
use crate::shutdown::Shutdown;

/// Front ends whose statements are read; there are 65,536 numbers.
const FRONT_ENDS_MAX: usize = 1_024;
/// Looks at the others per time that a statement holds.
const LOOKS: u32 = 4;
/// Longest wait for what others have to say before a payment.
const WAIT_MAX: Duration = Duration::from_secs(25);
/// The same in times that a statement holds: whoever speaks at all has spoken then.
const WAIT: u32 = 3;
/// Orders that may wait to be told.
const ASKS_MAX: usize = 4;

/// What was heard of the others.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Looks that were taken, with or without an answer.
    pub looks: u64,
    /// The last whole statement of each.
    pub statements: BTreeMap<u16, Arc<Statement>>,
    /// What is in the way; empty when nothing is.
    pub trouble: String,
}

/// How blocks are shared out over all front ends, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Sharing {
    /// Whether blocks are shared out by the work of all front ends.
    pub common: bool,
    /// Front ends whose work counts in the split that holds, this one included.
    pub front_ends: usize,
    /// A checksum of that split, as hex: front ends that pay alike have the same.
    pub split: String,
    /// What is in the way; empty when nothing is.
    pub trouble: String,
}

/// The side of the treasury and of the cashier.
#[derive(Clone, Debug)]
pub struct Common {
    say: watch::Sender<Option<Arc<Statement>>>,
    heard: watch::Receiver<Heard>,
    sharing: watch::Sender<Sharing>,
    asks: mpsc::Sender<Ask>,
}

/// What a cashier has to know, or says.
#[derive(Debug)]
enum Ask {
    /// May it pay?
    Pay(Payer),
    /// Our turn is over.
    Paid,
}

/// A cashier that waits until all others are heard, and until it is our turn where `turn` says that it has to be.
#[derive(Debug)]
struct Payer {
    turn: bool,
    answer: oneshot::Sender<Result<(), String>>,
}

/// The side of whoever carries it.
#[derive(Debug)]
pub struct Carrier {
    said: watch::Receiver<Option<Arc<Statement>>>,
    tell: watch::Sender<Heard>,
    sharing: watch::Receiver<Sharing>,
    asked: mpsc::Receiver<Ask>,
    clock: Clock,
}

/// Both sides. Statements are numbered by `clock`.
pub fn pair(clock: &Clock) -> (Common, Carrier) {
    let (say, said) = watch::channel(None);
    let (tell, heard) = watch::channel(Heard::default());
    let (note, sharing) = watch::channel(Sharing::default());
    let (asks, asked) = mpsc::channel(ASKS_MAX);
    let common = Common {
        say,
        heard,
        sharing: note,
        asks,
    };
    let carrier = Carrier {
        said,
        tell,
        sharing,
        asked,
        clock: clock.clone(),
    };
    (common, carrier)
}

impl Common {
    /// Tells the others.
    pub fn say(&self, statement: Arc<Statement>) {
        self.say.send_replace(Some(statement));
    }

    /// What they have said.
    pub fn heard(&self) -> Heard {
        self.heard.borrow().clone()
    }

    /// Waits until they were looked at once, or nobody looks.
    pub async fn first_look(&self) {
        // Without a carrier nothing is ever heard.
        let _ = self.heard.clone().wait_for(|heard| heard.looks > 0).await;
    }

    /// Says by what blocks are shared out from now on.
    pub fn note(&self, sharing: Sharing) {
        self.sharing.send_replace(sharing);
    }

    /// Makes sure that what the others owe is known: each of them that lives was heard.
    ///
    /// # Errors
    /// In words, when that is not so within some steps.
    pub async fn know(&self) -> Result<(), String> {
        self.ask(false).await
    }

    /// The same, and takes the turn: until [`Self::paid`] no other front end makes a batch, and what the last one that did
    /// has booked is known.
    ///
    /// # Errors
    /// In words, when that is not so within some steps.
    pub async fn turn(&self) -> Result<(), String> {
        self.ask(true).await
    }

    /// Ends the turn: what was made is in the book.
    pub async fn paid(&self) {
        // Without a carrier the turn ends by itself.
        let _ = self.asks.send(Ask::Paid).await;
    }

    async fn ask(&self, turn: bool) -> Result<(), String> {
        let nobody = "nobody hears what other front ends say any more: this one is stopping";
        let (answer, answered) = oneshot::channel();
        let asked = self.asks.send(Ask::Pay(Payer { turn, answer })).await;
        asked.map_err(|_| nobody.to_owned())?;
        answered.await.unwrap_or_else(|_| Err(nobody.into()))
    }

    /// What blocks of the others have left unpaid, satoshis by account; negative where they paid too much.
    pub fn carries_elsewhere(&self) -> HashMap<AccountId, i64> {
        let mut sums: HashMap<AccountId, i64> = HashMap::new();
        for statement in self.heard.borrow().statements.values() {
            for (account, sat) in statement.carries.iter() {
                let sum = sums.entry(*account).or_default();
                *sum = sum.saturating_add(*sat);
            }
        }
        sums
    }
}

impl Carrier {
    /// For those who look on.
    pub fn sharing(&self) -> watch::Receiver<Sharing> {
        self.sharing.clone()
    }

    /// As if the others had said something.
    #[cfg(test)]
    pub(crate) fn tell(&self, change: impl FnOnce(&mut Heard)) {
        self.tell.send_modify(change);
    }

    /// Carries what `front_end` says and hears until `shutdown`. A statement holds for `every`.
    pub async fn run(self, bus: Bus, front_end: u16, every: Duration, mut shutdown: Shutdown) {
        let Self {
            mut said,
            tell,
            mut asked,
            clock,
            ..
        } = self;
        let mut waiting: Vec<(Payer, Instant)> = Vec::new();
        let mut exchange = Exchange {
            bus,
            front_end,
            clock,
            stores: None,
            publisher: Publisher::default(),
            written: None,
            mirrors: BTreeMap::new(),
        };
        loop {
            let looked = tokio::select! {
                () = shutdown.requested() => return,
                looked = exchange.look() => looked,
            };
            let trouble = looked.err().map(|error| exchange.lost(&error));
            tell.send_modify(|heard| {
                heard.looks += 1;
                heard.trouble = trouble.unwrap_or_default();
                heard.statements = exchange.statements();
            });
            if !waiting.is_empty() {
                let trouble = tell.borrow().trouble.clone();
                waiting = tokio::select! {
                    () = shutdown.requested() => return,
                    waiting = exchange.serve(waiting, &trouble) => waiting,
                };
            }
            let news = tokio::select! {
                () = shutdown.requested() => return,
                () = tokio::time::sleep(every / LOOKS) => continue,
                ask = asked.recv() => match ask {
                    Some(Ask::Pay(payer)) => {
                        waiting.push((payer, Instant::now() + (every * WAIT).min(WAIT_MAX)));
                        continue;
                    }
                    Some(Ask::Paid) => {
                        exchange.paid().await;
                        continue;
                    }
                    None => return,
                },
                news = said.changed() => news,
            };
            if news.is_err() {
                return;
            }
            let statement = said.borrow_and_update().clone();
            let Some(statement) = statement else { continue };
            let spoken = tokio::select! {
                () = shutdown.requested() => return,
                spoken = exchange.speak(statement) => spoken,
            };
            if let Err(error) = spoken {
                let trouble = exchange.lost(&error);
                tell.send_modify(|heard| heard.trouble = trouble);
            }
            tokio::select! {
                () = shutdown.requested() => return,
                () = tokio::time::sleep(every / LOOKS) => {}
            }
        }
    }
}

struct Exchange {
    bus: Bus,
    front_end: u16,
    clock: Clock,
    stores: Option<Stores>,
    publisher: Publisher,
    /// The number of the manifest that was written last.
    written: Option<u64>,
    mirrors: BTreeMap<u16, Mirror>,
}

/// Where statements are kept.
#[derive(Clone)]
struct Stores {
    /// By front end.
    manifests: kv::Store,
    /// By front end and slot.
    sheets: kv::Store,
}

impl Exchange {
    fn statements(&self) -> BTreeMap<u16, Arc<Statement>> {
        let said = self.mirrors.iter().map(|(of, mirror)| (*of, mirror.statement()));
        said.filter(|(_, statement)| statement.number > 0).collect()
    }

    /// After something failed: all is found out anew. Gives it in words.
    fn lost(&mut self, error: &BusError) -> String {
        tracing::debug!(%error, "front ends do not hear each other");
        self.stores = None;
        error.to_string()
    }

    async fn stores(&mut self) -> Result<Stores, BusError> {
        if !self.bus.connected() {
            return Err(BusError("NATS does not answer".into()));
        }
        if let Some(stores) = &self.stores {
            return Ok(stores.clone());
        }
        let stores = Stores {
            manifests: self.bus.manifests().await?,
            sheets: self.bus.sheets().await?,
        };
        self.stores = Some(stores.clone());
        Ok(stores)
    }

    /// Answers those that ask before a payment; gives back who has to wait, and until when. `trouble` is what the last look
    /// met with.
    async fn serve(&mut self, waiting: Vec<(Payer, Instant)>, trouble: &str) -> Vec<(Payer, Instant)> {
        let mut later = Vec::new();
        for (payer, until) in waiting {
            if payer.answer.is_closed() {
                continue;
            }
            let known = match trouble {
                "" => self.may_pay(payer.turn).await,
                trouble => Err(BusError(trouble.to_owned())),
            };
            let answer = match known {
                Ok(Err(_)) if Instant::now() < until => {
                    later.push((payer, until));
                    continue;
                }
                Ok(answer) => answer,
                Err(reason) => Err(format!(
                    "what other front ends have paid already cannot be known now, and nothing is paid twice: {reason}; ask \
                     again when that is mended"
                )),
            };
            let takes_turn = payer.turn && answer.is_ok();
            if payer.answer.send(answer).is_err() && takes_turn {
                // Who has gone meanwhile books nothing.
                self.paid().await;
            }
        }
        later
    }

    /// Whether everybody was heard whose blocks may have paid, and takes the turn if asked for; the reason if not, in words.
    async fn may_pay(&mut self, turn: bool) -> Result<Result<(), String>, BusError> {
        let said = self.statements();
        let lives =
            |it: &lease::Holding| !it.stopped && !it.split.is_empty() && it.front_end != self.front_end;
        let all = lease::all(&self.bus).await?;
        if let Some(silent) = all
            .iter()
            .find(|it| lives(it) && !said.contains_key(&it.front_end))
        {
            return Ok(Err(format!(
                "front end {number} ({}) has not said yet what its blocks have paid: ask again in a minute, or free its number \
                 (`adit fleet release {number}`) if it is gone for good",
                silent.host,
                number = silent.front_end,
            )));
        }
        if !turn {
            return Ok(Ok(()));
        }
        let stores = self.stores().await?;
        let heard = |of| said.get(&of).map(|statement| statement.number);
        let taken = Turn::take(&stores.manifests, self.front_end, self.clock.now().0, heard).await?;
        Ok(taken.map_err(|by| {
            format!(
                "front end {by} has made a batch just now, and was not heard of since: ask again in a minute, or in an hour \
                 if it is gone for good"
            )
        }))
    }

    async fn paid(&mut self) {
        let now_us = self.clock.now().0;
        let ended = match self.stores().await {
            Ok(stores) => Turn::end(&stores.manifests, self.front_end, now_us).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "the others are not told that a batch is booked: they wait for it half a minute");
        }
    }

    async fn speak(&mut self, statement: Arc<Statement>) -> Result<(), BusError> {
        let stores = self.stores().await?;
        let there = manifest(&stores, self.front_end).await?;
        if there.map(|there| there.number) != self.written {
            // Another start of ours, or a table that was wiped.
            self.publisher = Publisher::default();
        }
        self.written = None;
        let mut publisher = std::mem::take(&mut self.publisher);
        let made = tokio::task::spawn_blocking(move || {
            let (sheets, manifest) = publisher.publish(&statement);
            let bytes = manifest.encode();
            (publisher, sheets, manifest.number, bytes)
        });
        let (publisher, sheets, number, bytes) = made.await.map_err(|error| BusError(error.to_string()))?;
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(BusError(
                "this front end has too many accounts for the others to hear of: let proxies join devices under one".into(),
            ));
        }
        for (slot, sheet) in sheets {
            let put = stores
                .sheets
                .put(format!("{}.{slot}", self.front_end), sheet.into());
            put.await
                .map_err(|error| failed("what we say was not taken", error))?;
        }
        let put = stores.manifests.put(self.front_end.to_string(), bytes.into());
        put.await
            .map_err(|error| failed("what we say was not taken", error))?;
        (self.publisher, self.written) = (publisher, Some(number));
        Ok(())
    }

    async fn look(&mut self) -> Result<(), BusError> {
        let stores = self.stores().await?;
        let numbers = Bus::numbers(&stores.manifests, "the statements of front ends").await?;
        let own = self.front_end;
        for of in numbers.into_iter().filter(|of| *of != own).take(FRONT_ENDS_MAX) {
            match self.hear(&stores, of).await? {
                Ok(()) => {}
                Err(garbled) => {
                    tracing::debug!(front_end = of, %garbled, "what another front end says is not whole now");
                }
            }
        }
        Ok(())
    }

    /// Brings the mirror of one front end up to date.
    async fn hear(&mut self, stores: &Stores, of: u16) -> Result<Result<(), Garbled>, BusError> {
        let Some(manifest) = manifest(stores, of).await? else {
            return Ok(Err(Garbled::Malformed));
        };
        let mut mirror = self.mirrors.remove(&of).unwrap_or_default();
        if mirror.statement().number == manifest.number {
            self.mirrors.insert(of, mirror);
            return Ok(Ok(()));
        }
        let mut fetched = HashMap::new();
        for part in mirror.lacks(&manifest) {
            let sheet = stores.sheets.get(format!("{of}.{}", part.slot)).await;
            match sheet {
                Ok(Some(bytes)) => fetched.insert(part.slot, Vec::from(bytes)),
                Ok(None) => None,
                Err(error) => {
                    self.mirrors.insert(of, mirror);
                    return Err(failed("a sheet of another front end", error));
                }
            };
        }
        let taken = tokio::task::spawn_blocking(move || {
            let taken = mirror.take(&manifest, &fetched).map(drop);
            (mirror, taken)
        });
        let (mirror, taken) = taken.await.map_err(|error| BusError(error.to_string()))?;
        self.mirrors.insert(of, mirror);
        Ok(taken)
    }
}

async fn manifest(stores: &Stores, of: u16) -> Result<Option<Manifest>, BusError> {
    let bytes = stores.manifests.get(of.to_string()).await;
    let bytes = bytes.map_err(|error| failed("what a front end says", error))?;
    Ok(bytes.and_then(|bytes| Manifest::decode(&bytes)))
}
