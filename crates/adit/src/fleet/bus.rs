//! The way to NATS: one connection, and what things are called there.

use std::fmt;
use std::time::Duration;

use async_nats::jetstream::kv::{self, CreateErrorKind, UpdateErrorKind};
use async_nats::jetstream::{self, consumer, stream};
use async_nats::{Client, ConnectOptions};
use futures::TryStreamExt;
use percent_encoding::percent_decode_str;

use crate::config::table::NatsKeys;

/// How long a question to the server may take.
pub(super) const ANSWER: Duration = Duration::from_secs(5);
/// How long the server may take to let us in.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the first connection is waited for; it may come later.
const AT_FIRST: Duration = Duration::from_secs(1);
/// Longest pause before the next try.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How often a silent server is asked for a sign of life: one that hangs is given up after two.
const PING: Duration = Duration::from_secs(5);
/// How long a message may be without its acknowledgement before it is delivered again.
const ACK_WAIT: Duration = Duration::from_secs(10);
/// Messages of a front end on their way to an accountant: with full ones, about as many records as it can hold.
const PENDING_MAX: i64 = 64;

/// Where NATS is and how much of the journals it keeps.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// `nats://HOST:PORT`, `tls://..`, with user and password where they are needed; several are separated by commas.
    pub url: String,
    /// First word of all subjects and buckets, so that several pools can share a server.
    pub prefix: String,
    /// How long the transport keeps records that nobody has fetched.
    pub keep: Duration,
    /// Copies of them in a cluster.
    pub replicas: usize,
}

impl Settings {
    /// As configured; `None` where a pool stands alone.
    pub fn of(keys: &NatsKeys) -> Option<Self> {
        Some(Self {
            url: keys.url.0.clone()?,
            prefix: keys.prefix.0.clone(),
            keep: Duration::from_secs(u64::from(keys.keep_hours) * 3600),
            replicas: keys.replicas as usize,
        })
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("url", &self.place())
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// The servers without user and password.
    pub fn place(&self) -> String {
        places(&self.url)
    }
}

/// Host and port of one server, without user and password; `None` when it cannot be read.
pub fn place(url: &str) -> Option<String> {
    let addr: async_nats::ServerAddr = url.trim().parse().ok()?;
    Some(format!("{}:{}", addr.host(), addr.port()))
}

/// The same of all servers of a list.
pub fn places(urls: &str) -> String {
    let known = |url| place(url).unwrap_or_else(|| "an address that cannot be read".into());
    let places: Vec<_> = urls.split(',').map(known).collect();
    places.join(", ")
}

/// A connection. It comes back by itself, for ever.
#[derive(Clone, Debug)]
pub struct Bus {
    client: Client,
    jetstream: jetstream::Context,
    settings: Settings,
}

/// Why the transport did not do what it was asked; all of it may pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusError(pub String);

impl fmt::Display for BusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BusError {}

/// User and password, or a token, as the first address names them: they are the same on all servers of a cluster.
fn allowed(server: Option<&async_nats::ServerAddr>) -> ConnectOptions {
    let options = ConnectOptions::new();
    let Some((server, user)) = server.and_then(|server| Some((server, server.username()?))) else {
        return options;
    };
    match server.password() {
        Some(password) => options.user_and_password(plain(user), plain(password)),
        None => options.token(plain(user)),
    }
}

/// Text as it was before it became part of a URL.
fn plain(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// What went wrong, and where.
pub(super) fn failed(what: &str, error: impl fmt::Display) -> BusError {
    BusError(format!("NATS: {what}: {error}"))
}

impl Bus {
    /// Connects, now or later: an absent server is no error. `name` is shown to its operator. The connection lives in the
    /// runtime that this is called in.
    ///
    /// # Errors
    /// When the address is of no use.
    pub async fn connect(settings: &Settings, name: &str) -> Result<Self, BusError> {
        let servers = settings.url.split(',').map(str::trim).map(str::parse);
        let servers = servers
            .collect::<Result<Vec<async_nats::ServerAddr>, _>>()
            .map_err(|error| failed("the address", error))?;
        let client = allowed(servers.first())
            .name(name)
            .connection_timeout(CONNECT)
            .request_timeout(Some(ANSWER))
            .ping_interval(PING)
            .retry_on_initial_connect()
            .reconnect_delay_callback(|tries| {
                let factor = u32::try_from(tries).unwrap_or(u32::MAX);
                (Duration::from_millis(50).saturating_mul(factor)).min(PAUSE_MAX)
            })
            .event_callback(async |event| tracing::debug!(%event, "NATS"))
            .connect(servers)
            .await
            .map_err(|error| failed("no connection", error))?;
        // A server that is there is not to be called absent.
        let _ = tokio::time::timeout(AT_FIRST, client.flush()).await;
        let jetstream = jetstream::ContextBuilder::new()
            .timeout(ANSWER)
            .ack_timeout(ANSWER)
            .build(client.clone());
        Ok(Self {
            client,
            jetstream,
            settings: settings.clone(),
        })
    }

    /// The connection itself.
    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    /// Its durable side.
    pub(super) const fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    /// Whether there is a server just now.
    pub fn connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// Where the records of a front end go.
    pub(super) fn journal(&self, front_end: u16) -> String {
        format!("{}.journal.{front_end}", self.settings.prefix)
    }

    /// Where accountants say what they have of a front end.
    pub(super) fn have(&self, front_end: u16) -> String {
        format!("{}.have.{front_end}", self.settings.prefix)
    }

    /// The stream of all journals, made when it is not there.
    pub(super) async fn stream(&self) -> Result<stream::Stream, BusError> {
        let config = stream::Config {
            name: format!("{}_journals", self.settings.prefix),
            subjects: vec![format!("{}.journal.*", self.settings.prefix)],
            max_age: self.settings.keep,
            storage: stream::StorageType::File,
            // What is counted is taken away at once.
            retention: stream::RetentionPolicy::WorkQueue,
            num_replicas: self.settings.replicas,
            discard: stream::DiscardPolicy::Old,
            // The same records may come again with right.
            duplicate_window: Duration::from_millis(100),
            ..stream::Config::default()
        };
        let made = self.jetstream.get_or_create_stream(config).await;
        made.map_err(|error| failed("the stream of journals", error))
    }

    /// What is left to fetch of one front end's records, for whoever counts them.
    pub(super) async fn consumer(
        &self,
        front_end: u16,
    ) -> Result<consumer::Consumer<consumer::pull::Config>, BusError> {
        let name = format!("books-{front_end}");
        let config = consumer::pull::Config {
            durable_name: Some(name.clone()),
            filter_subject: self.journal(front_end),
            ack_policy: consumer::AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: PENDING_MAX,
            ..consumer::pull::Config::default()
        };
        let made = self.stream().await?.get_or_create_consumer(&name, config).await;
        made.map_err(|error| failed("the place in a front end's journal", error))
    }

    /// Who holds which number, made when it is not there.
    pub(super) async fn holders(&self) -> Result<kv::Store, BusError> {
        self.bucket("front_ends").await
    }

    /// What front ends say of their books: a manifest of each.
    pub(super) async fn manifests(&self) -> Result<kv::Store, BusError> {
        self.bucket("statements").await
    }

    /// The sheets that these manifests name.
    pub(super) async fn sheets(&self) -> Result<kv::Store, BusError> {
        self.bucket("sheets").await
    }

    /// The front ends that a table has an entry of. `what` says which table that is.
    pub(super) async fn numbers(store: &kv::Store, what: &str) -> Result<Vec<u16>, BusError> {
        let keys = store.keys().await.map_err(|error| failed(what, error))?;
        let keys: Vec<String> = keys.try_collect().await.map_err(|error| failed(what, error))?;
        // Other keys have other meanings.
        Ok(keys.iter().filter_map(|key| key.parse().ok()).collect())
    }

    /// What a table has under a key, if it has something.
    pub(super) async fn entry(
        store: &kv::Store,
        key: &str,
        what: &str,
    ) -> Result<Option<kv::Entry>, BusError> {
        let entry = store.entry(key).await.map_err(|error| failed(what, error))?;
        Ok(entry.filter(|entry| entry.operation == kv::Operation::Put))
    }

    /// Writes what stands on `revision` of a key, 0 where there is none. The new revision; `None` when somebody was faster.
    pub(super) async fn swap(
        store: &kv::Store,
        key: &str,
        value: Vec<u8>,
        revision: u64,
        what: &str,
    ) -> Result<Option<u64>, BusError> {
        if revision == 0 {
            return match store.create(key, value.into()).await {
                Ok(revision) => Ok(Some(revision)),
                Err(error) if error.kind() == CreateErrorKind::AlreadyExists => Ok(None),
                Err(error) => Err(failed(what, error)),
            };
        }
        match store.update(key, value.into(), revision).await {
            Ok(revision) => Ok(Some(revision)),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(None),
            Err(error) => Err(failed(what, error)),
        }
    }

    async fn bucket(&self, name: &str) -> Result<kv::Store, BusError> {
        let bucket = format!("{}_{name}", self.settings.prefix);
        match self.jetstream.get_key_value(&bucket).await {
            Ok(store) => Ok(store),
            Err(_) => {
                // As a bucket is made; the client's own way to make one asks for more than servers before 2.10 say.
                let config = stream::Config {
                    name: format!("KV_{bucket}"),
                    subjects: vec![format!("$KV.{bucket}.>")],
                    max_messages_per_subject: 1,
                    discard: stream::DiscardPolicy::New,
                    storage: stream::StorageType::File,
                    num_replicas: self.settings.replicas,
                    allow_rollup: true,
                    deny_delete: true,
                    allow_direct: true,
                    ..stream::Config::default()
                };
                let made = self.jetstream.get_or_create_stream(config).await;
                let about = |error: &dyn fmt::Display| failed(&format!("the table {name}"), error);
                made.map_err(|error| about(&error))?;
                let store = self.jetstream.get_key_value(&bucket).await;
                store.map_err(|error| about(&error))
            }
        }
    }
}
