//! The journal of this front end, on its way to the accountants.
//!
//! The journal stays what counts: shipping reads along behind it, never holds it up, and does not believe the
//! transport ([`Cursor`]). What no accountant has booked stays on this disk.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use adit_ledger::tail::{Consumer, Durable, first_sequence};
use adit_ledger::{FileDisk, Follower, JournalError, Record};
use async_nats::jetstream::context::PublishAckFuture;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior};
use utoipa::ToSchema;

use super::batch;
use super::bus::{Bus, BusError, Settings, failed};
use super::cursor::{Cursor, Have};
use crate::shutdown::Shutdown;

/// Batches whose acknowledgement is awaited.
const IN_FLIGHT_MAX: usize = 8;
/// Pause after something went wrong.
const PAUSE: Duration = Duration::from_secs(1);
/// How long an accountant may take to say where it is, at the start.
const HEARD_WITHIN: Duration = Duration::from_secs(3);
/// Between two looks at the connection.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// What is said while there is no server.
const AWAY: &str = "NATS does not answer";
/// Longest wait for what was shipped when the pool stops.
const LAST_MAX: Duration = Duration::from_secs(3);

/// What an accountant says of a front end, as it travels.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct HaveMessage {
    pub(super) next: u64,
    pub(super) hungry: bool,
    /// Why it counts no more of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<String>,
}

/// How shipping fares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Shipping {
    /// Whether there is a server.
    pub connected: bool,
    /// Records that are durable here.
    pub durable: u64,
    /// Records that the transport has taken.
    pub shipped: u64,
    /// Records that an accountant has in its database, as far as one has said.
    pub booked: u64,
    /// Records that had to be shipped more than once.
    pub reshipped: u64,
    /// What is wrong; empty when nothing is.
    pub trouble: String,
}

/// The thread that ships.
#[derive(Debug)]
pub struct Shipper {
    thread: JoinHandle<()>,
    picture: watch::Receiver<Shipping>,
}

impl Shipper {
    /// Ships the journal in the folder `journal` until `shutdown`, and what is durable by then.
    ///
    /// # Errors
    /// When there is no room for another reader of the journal, or no thread.
    pub fn start(
        settings: Settings,
        journal: FileDisk,
        durable: Durable,
        shutdown: Shutdown,
    ) -> std::io::Result<Self> {
        let consumer = durable
            .consumer("accountants")
            .ok_or_else(|| std::io::Error::other("too many readers of the journal"))?;
        let (tell, picture) = watch::channel(Shipping::default());
        let thread = std::thread::Builder::new()
            .name("adit-ship".into())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                match runtime {
                    Ok(runtime) => {
                        runtime.block_on(run(settings, journal, durable, consumer, tell, shutdown))
                    }
                    Err(error) => tracing::error!(%error, "the journal is not shipped"),
                }
            })?;
        Ok(Self { thread, picture })
    }

    /// How it fares.
    #[must_use]
    pub fn picture(&self) -> watch::Receiver<Shipping> {
        self.picture.clone()
    }

    /// Waits for its end, after the shutdown that it was started with.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the thread that ships the journal broke");
        }
    }
}

async fn run(
    settings: Settings,
    journal: FileDisk,
    durable: Durable,
    consumer: Consumer,
    picture: watch::Sender<Shipping>,
    mut shutdown: Shutdown,
) {
    let front_end = durable.front_end();
    let name = format!("adit front end {front_end}");
    let bus = tokio::select! {
        bus = Bus::connect(&settings, &name) => bus,
        () = shutdown.requested() => return,
    };
    let bus = match bus {
        Ok(bus) => bus,
        Err(error) => {
            tracing::error!(%error, "the journal is not shipped");
            return picture.send_modify(|it| it.trouble = error.0);
        }
    };
    let first = first_sequence(&journal).unwrap_or(1);
    let bell = Arc::new(Notify::new());
    let ring = Arc::clone(&bell);
    durable.watch(Arc::new(move || ring.notify_one()));
    let mut ship = Ship {
        follower: Follower::new(journal, first),
        cursor: Cursor::new(first),
        bus,
        durable,
        consumer,
        picture,
        flying: VecDeque::new(),
        before: None,
        refused: None,
        heard: false,
        quiet_until: Instant::now(),
        bell,
    };
    loop {
        let ended = match ship.bus.connected() {
            true => ship.session(&mut shutdown).await,
            false => Err(BusError(AWAY.into())),
        };
        match ended {
            Ok(()) => break,
            Err(error) => {
                ship.trouble(&error.0);
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = shutdown.requested() => break,
                }
            }
        }
    }
    // The pool has written its last record by then; what does not get through goes at the next start.
    let _ = tokio::time::timeout(LAST_MAX, ship.finish()).await;
}

/// A batch that was handed to the transport.
struct Flying {
    /// The sequence behind it.
    next: u64,
    taken: std::pin::Pin<Box<dyn Future<Output = Result<(), BusError>> + Send>>,
}

struct Ship {
    bus: Bus,
    follower: Follower<FileDisk>,
    cursor: Cursor,
    durable: Durable,
    consumer: Consumer,
    picture: watch::Sender<Shipping>,
    flying: VecDeque<Flying>,
    /// The last record that was shipped: the next batch begins with it.
    before: Option<Record>,
    /// Why an accountant counts no more.
    refused: Option<String>,
    /// Whether an accountant has said where it is.
    heard: bool,
    quiet_until: Instant,
    /// Rung after every commit.
    bell: Arc<Notify>,
}

impl Ship {
    /// Ships until something goes wrong, or until shutdown.
    async fn session(&mut self, shutdown: &mut Shutdown) -> Result<(), BusError> {
        let front_end = self.durable.front_end();
        self.flying.clear();
        let ready = async {
            let subscribed = self.bus.client().subscribe(self.bus.have(front_end)).await;
            let haves = subscribed.map_err(|error| failed("no ear for accountants", error))?;
            // Makes the stream where it is not, or was wiped.
            self.bus.stream().await.map(|_| haves)
        };
        let mut haves = tokio::select! {
            haves = ready => haves?,
            () = shutdown.requested() => return Ok(()),
        };
        self.cursor.failed();
        self.turn();
        let bell = Arc::clone(&self.bell);
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        if !self.heard {
            self.quiet_until = Instant::now() + HEARD_WITHIN;
        }
        loop {
            let may_send = self.flying.len() < IN_FLIGHT_MAX && self.heard_or_waited_enough();
            let wanted = may_send && self.cursor.next() < self.durable.next();
            tokio::select! {
                biased;
                () = shutdown.requested() => return Ok(()),
                Some(message) = haves.next() => self.hear(&message.payload),
                taken = first_of(&mut self.flying) => {
                    self.cursor.acknowledged(taken?);
                    self.paint();
                }
                () = std::future::ready(()), if wanted => self.send().await?,
                () = bell.notified() => {}
                _ = look.tick() => self.paint(),
            }
        }
    }

    /// Ships what is durable, and waits until it is taken.
    async fn finish(&mut self) -> Result<(), BusError> {
        while self.cursor.taken() < self.durable.next() {
            if self.flying.len() < IN_FLIGHT_MAX && self.cursor.next() < self.durable.next() {
                self.send().await?;
                continue;
            }
            let taken = first_of(&mut self.flying).await?;
            self.cursor.acknowledged(taken);
        }
        Ok(())
    }

    fn heard_or_waited_enough(&self) -> bool {
        self.heard || Instant::now() >= self.quiet_until
    }

    /// Reads on where the cursor is.
    fn turn(&mut self) {
        let next = self.cursor.next();
        if self.follower.next_sequence() != next {
            // One earlier, where there is one: a batch begins with what came before it.
            self.follower.seek(next.saturating_sub(1).max(1));
            self.before = None;
        }
    }

    async fn send(&mut self) -> Result<(), BusError> {
        let records = self.read()?;
        let Some(last) = records.last() else { return Ok(()) };
        let next = last.sequence + 1;
        let subject = self.bus.journal(self.durable.front_end());
        let sent = self
            .bus
            .jetstream()
            .publish(subject, batch::encode(&records).into());
        let taken: PublishAckFuture = sent
            .await
            .map_err(|error| failed("a batch was not sent", error))?;
        self.before = Some(*last);
        self.cursor.shipped(next);
        self.flying.push_back(Flying {
            next,
            taken: Box::pin(async move {
                let taken = taken.await;
                taken
                    .map(drop)
                    .map_err(|error| failed("a batch was not taken", error))
            }),
        });
        Ok(())
    }

    /// The next batch.
    fn read(&mut self) -> Result<Vec<Record>, BusError> {
        let mut records: Vec<Record> = self.before.into_iter().collect();
        let room = batch::RECORDS_MAX - records.len();
        match self.follower.read(self.durable.next(), room, &mut records) {
            Ok(_) => Ok(records),
            Err(JournalError::Gone { first, wanted, .. }) => {
                self.follower.seek(first);
                self.before = None;
                self.cursor.shipped(first);
                Err(BusError(format!(
                    "records {wanted} to {} were taken away before an accountant had them: make its database again from this \
                     folder's journal (`adit ledger rebuild`)",
                    first - 1
                )))
            }
            Err(error) => Err(BusError(format!("the journal cannot be read: {error}"))),
        }
    }

    fn hear(&mut self, message: &[u8]) {
        let Ok(said) = serde_json::from_slice::<HaveMessage>(message) else {
            return tracing::warn!("what an accountant says cannot be read");
        };
        self.refused = said.refused;
        if self.refused.is_some() {
            return self.paint();
        }
        self.heard = true;
        let have = Have {
            next: said.next,
            hungry: said.hungry,
        };
        if self.cursor.heard(have, self.durable.next()) {
            // What is on its way is of no more interest: it comes again.
            self.flying.clear();
            self.turn();
        }
        self.consumer.settled(self.cursor.booked());
        self.paint();
    }

    fn trouble(&self, what: &str) {
        let news = self.picture.send_if_modified(|it| {
            let news = it.trouble != what;
            what.clone_into(&mut it.trouble);
            it.connected = self.bus.connected();
            news
        });
        if news {
            tracing::warn!(
                reason = what,
                "the journal is not shipped just now; it waits on this disk"
            );
        }
    }

    fn paint(&self) {
        let refused = self.refused.as_deref();
        let connected = self.bus.connected();
        let away = (!connected).then_some(AWAY);
        let now = Shipping {
            connected,
            durable: self.durable.next().saturating_sub(1),
            shipped: self.cursor.taken().saturating_sub(1),
            booked: self.cursor.booked().saturating_sub(1),
            reshipped: self.cursor.reshipped(),
            trouble: refused.or(away).unwrap_or_default().to_owned(),
        };
        self.picture.send_if_modified(|it| {
            let news = *it != now;
            if !now.trouble.is_empty() && it.trouble != now.trouble {
                tracing::warn!(reason = %now.trouble, "the journal is not booked just now; it waits on this disk");
            }
            *it = now;
            news
        });
    }
}

/// The sequence behind the oldest batch on its way, once it is taken; for ever, where there is none.
async fn first_of(flying: &mut VecDeque<Flying>) -> Result<u64, BusError> {
    let Some(first) = flying.front_mut() else {
        return std::future::pending().await;
    };
    let (next, taken) = (first.next, (&mut first.taken).await);
    flying.pop_front();
    taken.map(|()| next)
}
