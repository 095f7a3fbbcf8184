//! Any node that answers `getblocktemplate` (BIP22, BIP23, BIP145): Bitcoin Core of every age, Knots, btcd.
//!
//! Each call is an HTTP request of its own with a deadline (`client`), so nothing is lost with a
//! connection. One task follows the node's templates (`watch`): a long poll waits for the next one while
//! a glance every second sees a new tip that the long poll missed, and a node that hangs. `zmq` hears of
//! new blocks from the node's publisher and `notice` from its `-blocknotify` command, where that is configured. `inquire` looks transactions up and has blocks checked
//! for who wants to declare jobs. Solutions are made into whole blocks,
//! from templates that are kept with their transactions (`kept`), and sent by `submitblock`.
//!
//! What `getblocktemplate` cannot say is settled here: the weight and signature operations that our
//! coinbase needs are kept free by leaving transactions out from the end, where nothing else depends on
//! them (`template`).

mod client;
mod inquire;
mod notice;
mod secure;
mod submit;
mod template;
mod watch;
mod zmq;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, watch as signal};
use tokio::task::JoinSet;

use self::client::Client;
pub use self::secure::Tls;
use crate::accepted::Accepted;
use crate::health::Health;
use crate::kept::Store;
use crate::lookup::Recent;
use crate::{Constraints, Event, Request, Requests, SubmitError, TemplateId, TemplateSource};

/// What people call such a node.
const NODE: &str = "the node";
/// Requests under way at a time; a pool has a handful.
const REQUESTS_MAX: usize = 64;
/// How long submissions under way may take at an orderly end.
const CLOSE_LIMIT: Duration = Duration::from_secs(12);

/// How the node knows us.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// The file that the node writes at every start (`.cookie` in its data folder).
    Cookie(PathBuf),
    /// Nobody asks for a name there.
    Nobody,
    /// `rpcuser` and `rpcpassword`, or `rpcauth`.
    Password {
        /// Name.
        user: String,
        /// Secret: never printed.
        password: String,
    },
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cookie(path) => write!(f, "cookie {}", path.display()),
            Self::Nobody => f.write_str("nobody"),
            Self::Password { user, .. } => write!(f, "user {user}"),
        }
    }
}

/// Where on its server a node answers. Some who sell access put the secret there: it is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpPath(pub String);

impl Default for HttpPath {
    fn default() -> Self {
        Self("/".into())
    }
}

impl std::fmt::Debug for HttpPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0 == "/" { "/" } else { "/.." })
    }
}

/// Where the node is and what templates shall be like.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `host:port` of the node's RPC server.
    pub address: String,
    /// Where on that server.
    pub path: HttpPath,
    /// It stands behind TLS.
    pub tls: Option<Tls>,
    /// How the node knows us.
    pub login: Login,
    /// Whether it is asked for templates; one that is not only gets blocks.
    pub templates: bool,
    /// `tcp://host:port` of the node's publisher of `hashblock`, if there is one.
    pub zmq: Option<String>,
    /// Where the node's `-blocknotify` command sends a datagram, on this machine, if it does.
    pub notify: Option<SocketAddr>,
    /// What the node must call its chain (`main`, `signet`, `regtest`, ..); none takes any.
    pub chain: Option<String>,
    /// On an unchanged tip a new template must bring this many satoshis more in fees.
    pub fee_delta_sat: u64,
    /// On an unchanged tip templates are at least this far apart, milliseconds.
    pub interval_ms: u64,
    /// Room for the outputs that we add to the coinbase (spec 7.1), until another is asked for.
    pub constraints: Constraints,
}

impl Settings {
    /// Reserves as Bitcoin Core's own; templates every 30 seconds that bring 1000 satoshis more.
    pub fn new(address: impl Into<String>, login: Login) -> Self {
        Self {
            address: address.into(),
            path: HttpPath::default(),
            tls: None,
            login,
            templates: true,
            zmq: None,
            notify: None,
            chain: None,
            fee_delta_sat: 1_000,
            interval_ms: 30_000,
            constraints: Constraints::default(),
        }
    }
}

/// Templates from, and blocks to, one node by JSON-RPC.
#[derive(Clone, Debug)]
pub struct Rpc {
    settings: Settings,
}

impl Rpc {
    /// A source that connects when it runs.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }
}

impl TemplateSource for Rpc {
    async fn run(self, mut requests: Requests, events: mpsc::Sender<Event>) {
        let shared = Rc::new(Shared::new(self.settings, events));
        let watching = tokio::task::spawn_local(watch::run(Rc::clone(&shared)));
        let mut at_work = JoinSet::new();
        while let Some(request) = requests.recv().await {
            if at_work.len() >= REQUESTS_MAX {
                let _ = at_work.join_next().await;
            }
            at_work.spawn_local(serve(Rc::clone(&shared), request));
            while at_work.try_join_next().is_some() {}
        }
        watching.abort();
        // Nobody asks any more. Blocks under way are still submitted.
        let _ = tokio::time::timeout(CLOSE_LIMIT, async {
            while at_work.join_next().await.is_some() {}
        })
        .await;
    }
}

async fn serve(shared: Rc<Shared>, request: Request) {
    match request {
        Request::Submit(solution, answer) => drop(answer.send(submit::solution(&shared, &solution).await)),
        Request::SubmitBlock(block, answer) => drop(answer.send(submit::block(&shared, &block).await)),
        Request::Status(block, answer) => drop(answer.send(submit::status(&shared, block).await)),
        Request::Transactions(wtxids, answer) => {
            drop(answer.send(inquire::transactions(&shared, wtxids).await))
        }
        Request::CheckBlock(block, answer) => drop(answer.send(inquire::check(&shared, block).await)),
        Request::Constraints(rooms, answer) => {
            shared.constraints.send_replace(rooms);
            let _ = answer.send(Ok(()));
        }
        Request::Reorganise(_, answer) => drop(answer.send(Err(SubmitError::Unsupported))),
    }
}

/// What the tasks of one source share; borrowed for moments, never across an await.
struct Shared {
    settings: Settings,
    client: Client,
    health: Health,
    store: RefCell<Store<()>>,
    accepted: RefCell<Accepted>,
    recent: RefCell<Recent>,
    waiting: Rc<inquire::Waiting>,
    /// Held while the node checks a block: it does one such thing at a time.
    checking: Mutex<()>,
    /// What templates are made for.
    constraints: signal::Sender<Vec<Constraints>>,
    last_id: Cell<u64>,
}

impl Shared {
    fn new(settings: Settings, events: mpsc::Sender<Event>) -> Self {
        Self {
            client: Client::new(&settings),
            constraints: signal::Sender::new(vec![settings.constraints]),
            settings,
            health: Health::new(NODE, events),
            store: RefCell::new(Store::default()),
            accepted: RefCell::new(Accepted::default()),
            recent: RefCell::default(),
            waiting: Rc::default(),
            checking: Mutex::new(()),
            last_id: Cell::new(0),
        }
    }

    fn next_id(&self) -> TemplateId {
        self.last_id.set(self.last_id.get().saturating_add(1));
        TemplateId(self.last_id.get())
    }
}
