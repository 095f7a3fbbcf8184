//! One front end's records, from the transport into the database.

use std::sync::PoisonError;
use std::thread::JoinHandle;
use std::time::Duration;

use adit_ledger::Record;
use async_nats::jetstream::consumer::{self, pull};
use async_nats::jetstream::message::{AckKind, Acker};
use futures::StreamExt;
use serde::Serialize;
use tokio::runtime::Runtime;
use utoipa::ToSchema;

use super::accountant::{LanePicture, Pictures};
use super::batch;
use super::bus::{Bus, BusError, Settings, failed};
use super::sequencer::Sequencer;
use super::ship::HaveMessage;
use crate::books::{Db, Store, StoreError, Value};
use crate::shutdown::Shutdown;

/// Records of one transaction.
const APPLY_MAX: usize = 16 * 1024;
/// Messages of one fetch.
const FETCH_MAX: usize = 16;
/// How long a fetch waits for the first of them; then the front end is told what is lacking.
const FETCH_WAIT: Duration = Duration::from_secs(1);
/// Pause after something went wrong, and between two tries for a lane that another accountant has.
const PAUSE: Duration = Duration::from_secs(1);

/// Fetches without a message before the place in the stream is looked for again.
const IDLE_MAX: u32 = 5;

/// First half of the locks by which accountants share front ends: "adit".
const LOCKS: u32 = u32::from_be_bytes(*b"adit");

/// Who counts a front end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Nobody here, until what is wrong is mended.
    #[default]
    Waiting,
    /// Another accountant; this one stands by.
    StandingBy,
    /// This accountant.
    Counting,
}

/// A front end's thread.
#[derive(Debug)]
pub(super) struct Lane {
    thread: JoinHandle<()>,
}

impl Lane {
    pub(super) fn start(
        front_end: u16,
        nats: Settings,
        db: Db,
        pictures: Pictures,
        shutdown: &Shutdown,
    ) -> std::io::Result<Self> {
        let shutdown = shutdown.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new()
            .name(format!("adit-books-{front_end}"))
            .spawn(move || {
                Work {
                    front_end,
                    db,
                    pictures,
                    runtime,
                    shutdown,
                }
                .run(&nats);
            })?;
        Ok(Self { thread })
    }

    pub(super) fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("a front end's lane broke");
        }
    }
}

/// Why counting paused.
enum Pause {
    Bus(BusError),
    Store(StoreError),
    /// Another accountant counts.
    StandBy,
    /// Nothing came for a while.
    Nothing,
}

impl From<BusError> for Pause {
    fn from(error: BusError) -> Self {
        Self::Bus(error)
    }
}

impl From<StoreError> for Pause {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

struct Work {
    front_end: u16,
    db: Db,
    pictures: Pictures,
    runtime: Runtime,
    shutdown: Shutdown,
}

type Messages = consumer::Consumer<pull::Config>;

impl Work {
    fn run(self, nats: &Settings) {
        let name = format!("adit accountant of front end {}", self.front_end);
        let bus = match self.runtime.block_on(Bus::connect(nats, &name)) {
            Ok(bus) => bus,
            Err(error) => return self.trouble(&error.0),
        };
        while !self.shutdown.is_requested() {
            let ended = match bus.connected() {
                true => self.count(&bus),
                false => Err(Pause::Bus(BusError("NATS does not answer".into()))),
            };
            match ended {
                Ok(()) => break,
                Err(Pause::StandBy) => self.picture(|it| it.place = Place::StandingBy),
                Err(Pause::Nothing) => continue,
                Err(Pause::Bus(error)) => self.trouble(&error.0),
                Err(Pause::Store(error)) => {
                    // The front end shows it to its operator as well; a database that is away is none of its business.
                    if !error.may_pass() {
                        self.say(&bus, 0, false, Some(error.to_string()));
                    }
                    self.trouble(&format!("{error}: {}", error.help()));
                }
            }
            self.pause(PAUSE);
        }
    }

    /// Counts until shutdown, or until something goes wrong.
    fn count(&self, bus: &Bus) -> Result<(), Pause> {
        let mut store = self.db.open()?;
        let alone = alone(&mut *store, self.front_end)?;
        let position = store.position(self.front_end)?;
        self.picture(|it| {
            it.last = position.last;
            it.last_us = position.last_us;
            it.trouble.clear();
        });
        if !alone {
            return Err(Pause::StandBy);
        }
        let consumer = self.runtime.block_on(bus.consumer(self.front_end))?;
        let mut sequencer = Sequencer::new(position.last + 1);
        self.picture(|it| it.place = Place::Counting);
        self.say(bus, sequencer.next(), false, None);
        let mut idle = 0;
        while !self.shutdown.is_requested() {
            let came = self.fetch(&consumer, &mut sequencer)?;
            idle = if came { 0 } else { idle + 1 };
            if idle >= IDLE_MAX || !bus.connected() {
                // Nothing comes from a stream that was wiped: begin again.
                return Err(Pause::Nothing);
            }
            let counted = self.apply(&mut *store, &mut sequencer)?;
            // Nothing more comes, or what comes is of no use without what is lacking.
            let hungry = !came || (!counted && sequencer.held() > 0);
            self.say(bus, sequencer.next(), hungry, None);
        }
        Ok(())
    }

    /// Takes what is there; gives whether there was anything.
    fn fetch(&self, consumer: &Messages, sequencer: &mut Sequencer<Acker>) -> Result<bool, BusError> {
        self.runtime.block_on(async {
            let batch = consumer
                .fetch()
                .max_messages(FETCH_MAX)
                .expires(FETCH_WAIT)
                .messages();
            let mut messages = batch.await.map_err(|error| failed("no messages", error))?;
            let (mut came, mut done) = (false, Vec::new());
            while let Some(message) = messages.next().await {
                let (message, acker) = message.map_err(|error| failed("no message", error))?.split();
                came = true;
                match batch::decode(&message.payload) {
                    Ok(records) if self.owns(&records) => sequencer.push(records, acker, &mut done),
                    Ok(_) => self.spoiled(acker, "it is another front end's").await,
                    Err(error) => self.spoiled(acker, &error.to_string()).await,
                }
            }
            acknowledge(done).await;
            Ok(came)
        })
    }

    fn owns(&self, records: &[Record]) -> bool {
        records
            .first()
            .is_some_and(|record| record.front_end == self.front_end)
    }

    async fn spoiled(&self, acker: Acker, why: &str) {
        tracing::warn!(
            front_end = self.front_end,
            why,
            "a message is of no use; its records will be asked for again"
        );
        self.picture(|it| it.spoiled += 1);
        // It is not delivered again. Whether the server hears it is no matter: it would be refused again.
        let _ = acker.ack_with(AckKind::Term).await;
    }

    /// Counts what is in order; gives whether there was anything.
    fn apply(&self, store: &mut dyn Store, sequencer: &mut Sequencer<Acker>) -> Result<bool, StoreError> {
        let mut any = false;
        loop {
            let ready = sequencer.ready(APPLY_MAX);
            let Some(last) = ready.last() else { break };
            let last_us = last.time_us;
            let applied = store.apply(self.front_end, &ready)?;
            store.settle()?;
            any |= applied.records > 0;
            let mut done = Vec::new();
            sequencer.counted(applied.last + 1, &mut done);
            self.runtime.block_on(acknowledge(done));
            self.picture(|it| {
                it.last = applied.last;
                it.counted += applied.records;
                it.last_us = last_us;
            });
        }
        let held = sequencer.held() as u64;
        self.picture(|it| it.held = held);
        Ok(any)
    }

    /// Tells the front end what the database has.
    fn say(&self, bus: &Bus, next: u64, hungry: bool, refused: Option<String>) {
        let said = HaveMessage {
            next,
            hungry,
            refused,
        };
        let Ok(json) = serde_json::to_vec(&said) else {
            return;
        };
        self.runtime.block_on(async {
            // It is said again in a moment.
            let _ = bus.client().publish(bus.have(self.front_end), json.into()).await;
        });
    }

    fn pause(&self, how_long: Duration) {
        let mut shutdown = self.shutdown.clone();
        self.runtime.block_on(async {
            tokio::select! {
                () = shutdown.requested() => {}
                () = tokio::time::sleep(how_long) => {}
            }
        });
    }

    fn trouble(&self, what: &str) {
        self.picture(|it| {
            if it.trouble != what {
                tracing::warn!(front_end = self.front_end, reason = what, "not counted just now");
            }
            it.place = Place::Waiting;
            what.clone_into(&mut it.trouble);
        });
    }

    fn picture(&self, change: impl FnOnce(&mut LanePicture)) {
        let mut pictures = self.pictures.lock().unwrap_or_else(PoisonError::into_inner);
        change(pictures.entry(self.front_end).or_default());
    }
}

/// Makes this connection the one that counts a front end, as long as it lives; gives whether it is. A file has one process
/// anyway.
fn alone(store: &mut dyn Store, front_end: u16) -> Result<bool, StoreError> {
    if store.dialect().for_update.is_empty() {
        return Ok(true);
    }
    let number = [Value::Int(i64::from(LOCKS) << 32 | i64::from(front_end))];
    let rows = store.rows(
        "SELECT CASE WHEN pg_try_advisory_lock($1) THEN 1::BIGINT ELSE 0::BIGINT END",
        &number,
    )?;
    Ok(rows
        .first()
        .is_some_and(|row| row.0.first() == Some(&Value::Int(1))))
}

/// What is counted, or of no use, is not delivered again. What is lost of this comes twice, and is known then.
async fn acknowledge(done: Vec<Acker>) {
    for acker in done {
        if let Err(error) = acker.ack().await {
            tracing::debug!(%error, "an acknowledgement was not sent");
        }
    }
}
