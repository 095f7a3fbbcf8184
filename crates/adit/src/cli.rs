//! The command line: what may be typed, and which configuration keys the flags stand for.

use std::net::SocketAddr;
use std::path::PathBuf;

use adit_net::Url;
use adit_noise::AuthorityKey;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{Place, Settings, Sources};
use crate::exit::Exit;
use crate::keys::{IssueArgs, Suite};

const EXIT_CODES: &str = "\
Exit status:
  0  done
  1  failed; the message says why, and what to do
  2  the command line or the configuration is wrong
  3  the server to be probed cannot be reached";

/// Stratum V2, every role, one binary. Without a command it is `adit up`.
#[derive(Clone, Debug, Parser)]
#[command(name = "adit", version, args_conflicts_with_subcommands = true, after_help = EXIT_CODES)]
#[command(after_long_help = format!("{EXIT_CODES}\n\n{}", crate::config::help()))]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    up: UpArgs,
}

impl Cli {
    /// What is to be done.
    pub fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Up(self.up))
    }
}

/// What adit does.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Node, pool and mining device in one process: mines on an embedded chain, or on your node.
    Up(UpArgs),
    /// A mining pool: devices and proxies connect to it.
    Pool(PoolArgs),
    /// A job negotiator: our own templates on other people's pools; alone on our own node when none is well.
    Negotiator(NegotiatorArgs),
    /// A template provider: other pools and job negotiators mine on our node.
    Provider(ProviderArgs),
    /// A mining proxy: many devices of any kind on other people's pools, over a handful of connections.
    Proxy(ProxyArgs),
    /// What a node gives to mine, and whether a coinbase fits it.
    Template(TemplateArgs),
    /// A CPU mining device: connects to a pool and mines.
    Device(DeviceArgs),
    /// The pool's keys and certificates.
    Keys(KeysArgs),
    /// The record of accepted shares.
    Ledger(LedgerArgs),
    /// Who is paid: the next coinbase, what a channel mines, balances.
    Payout(PayoutArgs),
    /// Counts what several front ends ship, into one database.
    Accountant(AccountantArgs),
    /// Who the front ends are, and how they fare.
    Fleet(FleetArgs),
    /// Load generator against any pool.
    Load(LoadArgs),
    /// Asks any Stratum V2 server what it keeps of the protocol.
    Probe(ProbeArgs),
    /// Tells whoever is to be told (notify.*) that this is a test; says what became of it.
    NotifyTest(NotifyTestArgs),
    /// Tells a running adit that its node has a new block: blocknotify=adit notify 127.0.0.1:PORT %s.
    Notify(NotifyArgs),
}

impl Command {
    /// Whether results and errors are wanted as JSON.
    pub fn json(&self) -> bool {
        match self {
            Self::Up(args) => args.json,
            Self::Pool(_)
            | Self::Provider(_)
            | Self::Negotiator(_)
            | Self::Proxy(_)
            | Self::Notify(_)
            | Self::NotifyTest(_) => false,
            Self::Template(args) => args.json,
            Self::Device(args) => args.json,
            Self::Keys(args) => args.json,
            Self::Ledger(args) => args.json,
            Self::Payout(args) => args.json,
            Self::Accountant(_) => false,
            Self::Fleet(args) => args.json,
            Self::Load(args) => args.json,
            Self::Probe(args) => args.json,
        }
    }

    /// The checked configuration: file, environment, and this command's flags.
    ///
    /// # Errors
    /// When the file cannot be read, or anything in the configuration is wrong.
    pub fn settings(&self, environment: Vec<(String, String)>) -> Result<Settings, Exit> {
        Settings::load(&self.sources(environment)?)
    }

    /// Everything that the configuration is made of, read now.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn sources(&self, environment: Vec<(String, String)>) -> Result<Sources, Exit> {
        let mut sources = Sources {
            environment,
            ..Sources::default()
        };
        match self {
            Self::Up(args) => args.give(&mut sources)?,
            Self::Pool(args) => args.give(&mut sources)?,
            Self::Provider(args) => args.give(&mut sources)?,
            Self::Negotiator(args) => args.give(&mut sources)?,
            Self::Proxy(args) => {
                sources.listens_everywhere = true;
                args.give(&mut sources)?;
            }
            Self::Template(args) => args.give(&mut sources)?,
            Self::Device(args) => args.give(&mut sources)?,
            Self::Keys(args) => args.common.give(args.data.as_ref(), &mut sources)?,
            Self::Ledger(args) => args.give(&mut sources)?,
            Self::Payout(args) => args.give(&mut sources)?,
            Self::Accountant(args) => args.give(&mut sources)?,
            Self::Fleet(args) => args.give(&mut sources)?,
            Self::Load(args) => args.common.give(None, &mut sources)?,
            Self::Probe(args) => args.common.give(None, &mut sources)?,
            Self::NotifyTest(args) => {
                sources.pays_nobody = true;
                args.common.give(None, &mut sources)?;
            }
            Self::Notify(_) => {}
        }
        Ok(sources)
    }
}

/// Configuration, for every command.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Configuration")]
pub struct Common {
    /// Configuration file in TOML [default: none; environment: ADIT_CONFIG]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Set any configuration key, such as shares.vardiff=false; may be repeated. --help lists all keys
    #[arg(long, value_name = "KEY=VALUE", global = true)]
    pub set: Vec<String>,
}

impl Common {
    fn give(&self, data: Option<&PathBuf>, sources: &mut Sources) -> Result<(), Exit> {
        let variable = |(name, value): &(String, String)| {
            (name == "ADIT_CONFIG" && !value.is_empty()).then(|| PathBuf::from(value))
        };
        if let Some(path) = self
            .config
            .clone()
            .or_else(|| sources.environment.iter().find_map(variable))
        {
            let text = std::fs::read_to_string(&path).map_err(|error| {
                Exit::usage(format!(
                    "cannot read the configuration file {}: {error}",
                    path.display()
                ))
                .help("give an existing file with --config, or none: every key has a default")
            })?;
            sources.file = Some((path.display().to_string(), text));
        }
        if let Some(data) = data {
            sources.flag("data", data.display().to_string(), "--data");
        }
        for set in &self.set {
            let (key, value) = set.split_once('=').ok_or_else(|| {
                Exit::usage(format!("--set {set}: no value"))
                    .help("write --set KEY=VALUE, such as --set shares.vardiff=false")
            })?;
            sources.flag(key.trim(), value.trim(), format!("--set {key}"));
        }
        Ok(())
    }
}

/// `adit notify-test`.
#[derive(Clone, Debug, Args)]
pub struct NotifyTestArgs {
    /// Only this way: webhook, ntfy, telegram or mail [default: all that are configured]
    #[arg(long, value_name = "WAY")]
    pub way: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Flags for the keys that most people need, of `up` and `pool`.
#[derive(Clone, Debug, Default, Args)]
pub struct Serving {
    /// Folder for secrets, ledger and found blocks [default: ~/.adit]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Where devices connect [default: 127.0.0.1:3333]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Where status, metrics and the live page are served, or off [default: 127.0.0.1:3380]
    #[arg(long, value_name = "ADDR")]
    pub http: Option<String>,
    /// Where templates come from: embedded, embedded:LOG2 (a block takes 2^LOG2 hashes), ipc:PATH or tdp:URL; may be
    /// repeated, the preferred one first
    #[arg(long, value_name = "SPEC")]
    pub node: Vec<String>,
    /// Address or descriptor that earns the blocks; not needed on the embedded chain
    #[arg(long, value_name = "ADDRESS")]
    pub payout: Option<String>,
    /// Text in the coinbase of our blocks, at most 32 characters
    #[arg(long, value_name = "TEXT")]
    pub tag: Option<String>,
    /// Database of what people ask about: sqlite:PATH, postgres://USER:PASSWORD@HOST/DATABASE, or off
    /// [default: books.sqlite in the data folder]
    #[arg(long, value_name = "DB")]
    pub db: Option<String>,
    /// Where the journal is shipped, as one of several front ends: nats://HOST:4222 (docs/fleet.md) [default: nowhere]
    #[arg(long, value_name = "URL")]
    pub nats: Option<String>,
    #[command(flatten)]
    common: Common,
}

impl Serving {
    fn give(&self, sources: &mut Sources) -> Result<(), Exit> {
        self.common.give(self.data.as_ref(), sources)?;
        sources.given([
            ("listen", "--listen", &self.listen),
            ("http.listen", "--http", &self.http),
            ("node", "--node", &nodes(&self.node)),
            ("payout.address", "--payout", &self.payout),
            ("coinbase.tag", "--tag", &self.tag),
            ("books.db", "--db", &self.db),
            ("nats.url", "--nats", &self.nats),
        ]);
        Ok(())
    }
}

/// Repeated `--node` as one value.
fn nodes(specs: &[String]) -> Option<String> {
    (!specs.is_empty()).then(|| specs.join(","))
}

/// `adit up`
#[derive(Clone, Debug, Default, Args)]
pub struct UpArgs {
    /// Threads that mine [default: all cores but one]
    #[arg(long, value_name = "N")]
    pub threads: Option<u32>,
    /// Stop after this many accepted blocks
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub until_blocks: Option<u64>,
    /// Print the result as one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    serving: Serving,
}

impl UpArgs {
    fn give(&self, sources: &mut Sources) -> Result<(), Exit> {
        self.serving.give(sources)?;
        threads(self.threads, sources);
        Ok(())
    }
}

/// `adit pool`
#[derive(Clone, Debug, Default, Args)]
#[command(after_long_help = crate::config::help())]
pub struct PoolArgs {
    /// Threads that serve connections [default: one for each core]
    #[arg(long, value_name = "N")]
    pub workers: Option<u32>,
    /// Start no pool: have the one that runs on the data folder send its miners to HOST:PORT (HOST, :PORT, same)
    /// and end when all have left [default place: pool.drain_to, or same]
    #[arg(long, value_name = "HOST:PORT", num_args = 0..=1, value_parser = place)]
    pub drain: Option<Option<Place>>,
    #[command(flatten)]
    serving: Serving,
}

impl PoolArgs {
    fn give(&self, sources: &mut Sources) -> Result<(), Exit> {
        self.serving.give(sources)?;
        if let Some(workers) = self.workers {
            sources.flag("pool.workers", workers.to_string(), "--workers");
        }
        Ok(())
    }
}

fn place(text: &str) -> Result<Place, String> {
    text.parse().map_err(|()| format!("give {}", Place::EXPECTED))
}

/// `adit notify`
#[derive(Clone, Debug, Args)]
pub struct NotifyArgs {
    /// What stands behind notify= of the rpc: node
    #[arg(value_name = "ADDR:PORT")]
    pub to: SocketAddr,
    /// The block's hash
    #[arg(value_name = "HASH", default_value = "")]
    pub block: String,
}

/// `adit negotiator`
#[derive(Clone, Debug, Default, Args)]
pub struct NegotiatorArgs {
    /// A pool: stratum2+tcp://HOST:PORT/KEY, with ,jds=HOST:PORT where jobs are declared on another port; may be repeated,
    /// the preferred one first
    #[arg(long, value_name = "URL")]
    pub upstream: Vec<String>,
    /// What pools get to know: full-template or coinbase-only [default: full-template]
    #[arg(long, value_name = "MODE")]
    pub mode: Option<String>,
    /// The name to mine under at the pools [default: adit]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    #[command(flatten)]
    serving: Serving,
}

impl NegotiatorArgs {
    fn give(&self, sources: &mut Sources) -> Result<(), Exit> {
        self.serving.give(sources)?;
        upstreams(&self.upstream, self.user.as_ref(), sources);
        if let Some(mode) = &self.mode {
            sources.flag("negotiator.mode", mode, "--mode");
        }
        Ok(())
    }
}

/// `adit provider`
#[derive(Clone, Debug, Default, Args)]
pub struct ProviderArgs {
    /// Where templates come from: embedded, embedded:LOG2 (a block takes 2^LOG2 hashes), ipc:PATH or tdp:URL; may be
    /// repeated, the preferred one first
    #[arg(long, value_name = "SPEC")]
    pub node: Vec<String>,
    /// Where pools and job negotiators connect [default: 127.0.0.1:8442]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Folder that holds the provider's own folder: secrets and found blocks [default: ~/.adit]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Where status and metrics are served [default: nowhere]
    #[arg(long, value_name = "ADDR")]
    pub http: Option<String>,
    #[command(flatten)]
    common: Common,
}

impl ProviderArgs {
    fn give(&self, sources: &mut Sources) -> Result<(), Exit> {
        sources.pays_nobody = true;
        self.common.give(self.data.as_ref(), sources)?;
        sources.given([
            ("provider.listen", "--listen", &self.listen),
            ("http.listen", "--http", &self.http),
            ("node", "--node", &nodes(&self.node)),
        ]);
        Ok(())
    }
}

/// `adit proxy`
///
/// Unlike a pool it listens on every address of this machine, port 3333, unless --listen says otherwise: miners are on other ones.
#[derive(Clone, Debug, Default, Args)]
pub struct ProxyArgs {
    /// A pool: stratum2+tcp://HOST:PORT/KEY, stratum+tcp://HOST:PORT or stratum+ssl://HOST:PORT; may be repeated, the
    /// preferred one first. With ,weight=N behind it, it gets that part of the work; ,user=NAME is the name there, and
    /// ,password=TEXT comes last
    #[arg(long, value_name = "URL")]
    pub upstream: Vec<String>,
    /// Where jobs come from that others have negotiated with that pool (job distribution); without one the pool's own are mined
    #[arg(long, value_name = "URL")]
    pub jobs: Option<Url>,
    /// The name to mine under at the pools: an account, or an address [default: adit]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// How devices share pools: aggregate (one channel for all, SV1 too) or transparent (a channel at the pool for each,
    /// under the device's own name) [default: aggregate]
    #[arg(long, value_name = "MODE")]
    pub mode: Option<String>,
    /// Make jobs of templates of our own node and negotiate them with the pools, as adit negotiator does; needs --node and
    /// --payout
    #[arg(long, conflicts_with = "jobs")]
    pub negotiate: bool,
    #[command(flatten)]
    serving: Serving,
}

impl ProxyArgs {
    fn give(&self, sources: &mut Sources) -> Result<(), Exit> {
        // A node is for who wants to mine alone when no pool is left, or to make jobs of its own.
        sources.nodeless = !self.negotiate;
        self.serving.give(sources)?;
        upstreams(&self.upstream, self.user.as_ref(), sources);
        if let Some(jobs) = &self.jobs {
            sources.flag("upstream.jobs", jobs.to_string(), "--jobs");
        }
        if let Some(mode) = &self.mode {
            sources.flag("proxy.mode", mode, "--mode");
        }
        Ok(())
    }
}

/// Repeated `--upstream`, and the name to mine under.
fn upstreams(pools: &[String], user: Option<&String>, sources: &mut Sources) {
    if !pools.is_empty() {
        sources.flag("upstream.pools", pools.join(" "), "--upstream");
    }
    if let Some(user) = user {
        sources.flag("upstream.user", user, "--user");
    }
}

/// `adit template`
#[derive(Clone, Debug, Args)]
pub struct TemplateArgs {
    /// What to do
    #[command(subcommand)]
    pub action: TemplateAction,
    /// The node: embedded, ipc:PATH or tdp:URL
    #[arg(long, value_name = "SPEC", global = true)]
    pub node: Vec<String>,
    /// Address or descriptor that the coinbase shall pay
    #[arg(long, value_name = "ADDRESS", global = true)]
    pub payout: Option<String>,
    /// The data folder, where an embedded chain is [default: ~/.adit]
    #[arg(long, value_name = "DIR", global = true)]
    pub data: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    #[command(flatten)]
    common: Common,
}

/// What to do with a template.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum TemplateAction {
    /// Print the current one: height, tip, transactions, fees, weight, outputs, merkle path.
    Show,
    /// Hold a coinbase against it; exit status 1 when a block would be lost.
    Check {
        /// A whole coinbase transaction in hexadecimal [default: the one that our pool would mine]
        #[arg(long, value_name = "HEX")]
        coinbase: Option<String>,
    },
}

impl TemplateArgs {
    fn give(&self, sources: &mut Sources) -> Result<(), Exit> {
        sources.pays_nobody = true;
        self.common.give(self.data.as_ref(), sources)?;
        sources.given([
            ("node", "--node", &nodes(&self.node)),
            ("payout.address", "--payout", &self.payout),
        ]);
        Ok(())
    }
}

/// How a device or load generator mines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Channel {
    /// Standard channel: header-only mining.
    #[default]
    Standard,
    /// Extended channel: rolls the extranonce itself.
    Extended,
}

/// `adit device`
#[derive(Clone, Debug, Args)]
pub struct DeviceArgs {
    /// The pool: stratum2+tcp://HOST:PORT/KEY
    #[arg(long, value_name = "URL")]
    pub upstream: Url,
    /// Where jobs come from that others have negotiated with that pool (job distribution); with --channel extended
    #[arg(long, value_name = "URL")]
    pub jobs: Option<Url>,
    /// The name to mine under [default: adit.device]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Its own name behind an extended channel, as the ledger has it then: USER.WORKER [default: none]
    #[arg(long, value_name = "NAME")]
    pub worker: Option<String>,
    /// Threads that mine [default: all cores but one]
    #[arg(long, value_name = "N")]
    pub threads: Option<u32>,
    /// Kind of channel
    #[arg(long, value_enum, default_value_t)]
    pub channel: Channel,
    /// Stop after this many accepted shares
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub until_shares: Option<u64>,
    /// Print the result as one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    common: Common,
}

impl DeviceArgs {
    fn give(&self, sources: &mut Sources) -> Result<(), Exit> {
        self.common.give(None, sources)?;
        threads(self.threads, sources);
        if let Some(user) = &self.user {
            sources.flag("device.user", user, "--user");
        }
        if let Some(worker) = &self.worker {
            sources.flag("device.worker", worker, "--worker");
        }
        Ok(())
    }
}

fn threads(threads: Option<u32>, sources: &mut Sources) {
    if let Some(threads) = threads {
        sources.flag("device.threads", threads.to_string(), "--threads");
    }
}

/// `adit keys`
#[derive(Clone, Debug, Args)]
pub struct KeysArgs {
    /// What to do
    #[command(subcommand)]
    pub action: KeysAction,
    /// The data folder [default: ~/.adit]
    #[arg(long, value_name = "DIR", global = true)]
    pub data: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    #[command(flatten)]
    common: Common,
}

/// What to do with keys and certificates.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum KeysAction {
    /// Make a new authority in the data folder.
    New {
        /// Replace the authority that is there: every device that knows its key will refuse this pool
        #[arg(long)]
        force: bool,
    },
    /// Show the public keys and the pool's addresses.
    Show {
        /// Draw the QR code of an address, however narrow the terminal is
        #[arg(long, value_name = "SUITE", num_args = 0..=1, require_equals = true, default_missing_value = "current")]
        qr: Option<Suite>,
        /// Host name or address for the URLs [default: the address the pool listens on]
        #[arg(long, value_name = "HOST")]
        host: Option<String>,
    },
    /// Make an authority in a folder of its own, which may be on another machine.
    Authority {
        /// The folder
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Print this server's public keys, for an authority elsewhere to sign; makes them if there are none.
    Request {
        /// Where to write them [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Issue certificates for a server's public keys.
    Issue(IssueArgs),
    /// Install certificates that were issued elsewhere; a running pool shows them within seconds.
    Install {
        /// What `adit keys issue` printed
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Even if they are of another authority than devices know this pool by
        #[arg(long)]
        force: bool,
    },
    /// Say what a file, key or URL is, how long it is good, and who vouches for it.
    Inspect {
        /// A file, an authority key, a URL, or a certificate in hex
        #[arg(value_name = "WHAT")]
        what: String,
        /// Check certificates against this authority key [default: that of the data folder]
        #[arg(long, value_name = "KEY")]
        authority: Option<AuthorityKey>,
    },
}

/// `adit ledger`
#[derive(Clone, Debug, Args)]
pub struct LedgerArgs {
    /// What to do
    #[command(subcommand)]
    pub action: LedgerAction,
    /// The data folder [default: ~/.adit]
    #[arg(long, value_name = "DIR", global = true)]
    pub data: Option<PathBuf>,
    /// The database made from it: sqlite:PATH, postgres://USER:PASSWORD@HOST/DATABASE, or off [default: books.sqlite in
    /// the data folder]
    #[arg(long, value_name = "DB", global = true)]
    pub db: Option<String>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    #[command(flatten)]
    common: Common,
}

impl LedgerArgs {
    fn give(&self, sources: &mut Sources) -> Result<(), Exit> {
        sources.pays_nobody = true;
        self.common.give(self.data.as_ref(), sources)?;
        if let Some(db) = &self.db {
            sources.flag("books.db", db, "--db");
        }
        Ok(())
    }
}

/// What to do with the ledger; none changes the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum LedgerAction {
    /// Check every record, and that journal, book and database agree; exit status 1 when something is damaged or differs.
    Verify,
    /// Make the database again from the journal, while no pool runs on it; takes the old one's place at the end.
    Rebuild,
    /// Who did the most work.
    Top {
        /// How many names
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        count: u32,
        /// How many workers of each name, as far as a proxy tells them apart; they are parts of their name's sums
        #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=100_000))]
        workers: u32,
    },
    /// Every record, oldest first: CSV, or one JSON object a line.
    Export,
}

/// `adit payout`
#[derive(Clone, Debug, Args)]
pub struct PayoutArgs {
    /// What to do
    #[command(subcommand)]
    pub action: PayoutAction,
    /// The data folder [default: ~/.adit]
    #[arg(long, value_name = "DIR", global = true)]
    pub data: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    #[command(flatten)]
    common: Common,
}

/// What to do with payouts.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum PayoutAction {
    /// The next coinbase line by line: of the pool that runs, or else as the book has it.
    Preview {
        /// What the coinbase would pay, in satoshis, where no pool runs
        #[arg(long, value_name = "SAT", default_value_t = 312_500_000, value_parser = clap::value_parser!(u64).range(..=2_100_000_000_000_000))]
        value: u64,
    },
    /// What a channel mines at this moment, taken apart; without one, the channels that are open.
    Prove {
        /// The channel's number in the ledger
        #[arg(value_name = "CHANNEL")]
        channel: Option<String>,
    },
    /// What everybody has earned, has received and is owed: CSV, or JSON.
    Balances,
    /// What can be paid now, as outputs: CSV of address and satoshis, JSON, or what wallets make a PSBT of. Changes nothing,
    /// unless a batch is named: that is booked as sent, and told again as it is when it is named again.
    Export {
        /// Book it under this name: a pool runs, and balances go down by what is listed
        #[arg(long, value_name = "NAME")]
        batch: Option<String>,
        /// Print the outputs as `bitcoin-cli walletcreatefundedpsbt` and `createpsbt` take them
        #[arg(long, conflicts_with = "json")]
        psbt: bool,
        /// Smallest payment, in satoshis [default: payout.minimum_sat]
        #[arg(long, value_name = "SAT", value_parser = clap::value_parser!(u64).range(1..=2_100_000_000_000_000))]
        minimum: Option<u64>,
    },
    /// The batches of payments, the first one first.
    Batches,
    /// A batch's transaction is in the chain.
    Settle {
        /// The batch's name
        #[arg(value_name = "BATCH")]
        batch: String,
        /// The transaction's id
        #[arg(value_name = "TXID")]
        txid: String,
        /// Height of its block
        #[arg(long, value_name = "HEIGHT", default_value_t = 0)]
        height: u32,
    },
    /// A batch's transaction will never be in the chain: what it was to pay is owed again.
    Cancel {
        /// The batch's name
        #[arg(value_name = "BATCH")]
        batch: String,
    },
}

impl PayoutArgs {
    fn give(&self, sources: &mut Sources) -> Result<(), Exit> {
        sources.pays_nobody = true;
        self.common.give(self.data.as_ref(), sources)
    }
}

/// `adit accountant`
#[derive(Clone, Debug, Default, Args)]
pub struct AccountantArgs {
    /// Where the journals are shipped: nats://HOST:4222
    #[arg(long, value_name = "URL")]
    pub nats: Option<String>,
    /// The database: postgres://USER:PASSWORD@HOST:PORT/DATABASE, or sqlite:PATH
    #[arg(long, value_name = "URL")]
    pub db: Option<String>,
    /// Serve page, API and metrics of the whole pool here
    #[arg(long, value_name = "ADDR")]
    pub http: Option<String>,
    #[command(flatten)]
    common: Common,
}

impl AccountantArgs {
    fn give(&self, sources: &mut Sources) -> Result<(), Exit> {
        sources.pays_nobody = true;
        self.common.give(None, sources)?;
        sources.given([
            ("nats.url", "--nats", &self.nats),
            ("books.db", "--db", &self.db),
            ("http.listen", "--http", &self.http),
        ]);
        Ok(())
    }
}

/// `adit fleet`
#[derive(Clone, Debug, Args)]
pub struct FleetArgs {
    /// What to do
    #[command(subcommand)]
    pub action: FleetAction,
    /// Where the journals are shipped: nats://HOST:4222
    #[arg(long, value_name = "URL", global = true)]
    pub nats: Option<String>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    #[command(flatten)]
    common: Common,
}

/// What to do about front ends.
#[derive(Clone, Debug, Subcommand)]
pub enum FleetAction {
    /// All front ends that hold a number.
    List,
    /// Frees a number whose data folder is gone for good, so that another front end can take it.
    Release {
        /// The number (pool.front_end).
        front_end: u16,
    },
}

impl FleetArgs {
    fn give(&self, sources: &mut Sources) -> Result<(), Exit> {
        sources.pays_nobody = true;
        self.common.give(None, sources)?;
        if let Some(nats) = &self.nats {
            sources.flag("nats.url", nats, "--nats");
        }
        Ok(())
    }
}

/// `adit load`
#[derive(Clone, Debug, Args)]
pub struct LoadArgs {
    /// The pool: stratum2+tcp://HOST:PORT/KEY, or stratum+tcp://HOST:PORT for Stratum V1
    #[arg(long, value_name = "URL")]
    pub upstream: crate::load::Address,
    /// Connections to open
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections: u32,
    /// How long to send shares
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Kind of channel
    #[arg(long, value_enum, default_value_t)]
    pub channel: Channel,
    /// Shares of one connection that may wait for their answer [default: the generator's choice]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub window: Option<u32>,
    /// Print the result as one JSON object
    #[arg(long)]
    pub json: bool,
    /// What only experts turn.
    #[command(flatten)]
    pub options: crate::load::Options,
    #[command(flatten)]
    common: Common,
}

/// `adit probe`
///
/// Exit status 0: no MUST is broken; 1: one is; 3: nobody is there.
#[derive(Clone, Debug, Args)]
pub struct ProbeArgs {
    /// The server: stratum2+tcp://HOST:PORT/KEY
    #[arg(value_name = "URL")]
    pub url: Url,
    /// Print the result as one JSON object
    #[arg(long, conflicts_with = "markdown")]
    pub json: bool,
    /// Print the result as a Markdown document with this title, such as "pool_sv2 0.7.0"
    #[arg(long, value_name = "TITLE")]
    pub markdown: Option<String>,
    /// The name to mine under, and the bounds.
    #[command(flatten)]
    pub options: crate::probe::Options,
    #[command(flatten)]
    common: Common,
}
