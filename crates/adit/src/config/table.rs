//! Every configuration key, once: name, type, default, range, unit and what it is for.
//!
//! From these rows come the typed groups of [`Settings`](super::Settings), the reading of TOML,
//! environment and flags, `adit --help`, and docs/configuration.md.

use std::path::PathBuf;

use adit_net::{Keyless, Plaintext};
use adit_noise::draft2022::{Aeads, SignatureForm};
use adit_proto::declare::client::Mode;

use super::field::{Field, Range};
use super::origin::Problem;
use super::source::Config;
use super::values::{
    Aliases, BlockNodes, DrainTo, ExtensionIds, Hosts, HttpListen, JobsFrom, Level, Listen, LogFormat,
    NatsPrefix, NatsUrl, NegotiationMode, NetworkChoice, Nodes, Other, Places, PreferNode, ProxyMode,
    Receivers, Scheme, SmallDevices, Tag, Upstreams, WorkFloor,
};
use crate::books::Db;
use crate::tell::Secret;

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Full name: `shares.vardiff`.
    pub path: &'static str,
    /// As it would be typed in a flag.
    pub default: &'static str,
    /// Smallest and largest number, or length in bytes.
    pub range: Range,
    /// What a number counts; empty where that is plain.
    pub unit: &'static str,
    /// What it is for, on one line.
    pub doc: &'static str,
    expected: fn(Range) -> String,
}

impl Key {
    /// What may be given.
    pub fn expected(&self) -> String {
        (self.expected)(self.range)
    }

    /// Its name in the environment: `ADIT_SHARES__VARDIFF`.
    pub fn environment(&self) -> String {
        format!("ADIT_{}", self.path.replace('.', "__").to_ascii_uppercase())
    }

    /// Whether SIGHUP changes it in a running process.
    pub fn is_live(&self) -> bool {
        LIVE.contains(&self.path) || LIVE_TABLES.contains(&self.split().0)
    }

    /// The table it stands in, empty at the top, and its name there.
    pub fn split(&self) -> (&'static str, &'static str) {
        self.path.rsplit_once('.').unwrap_or(("", self.path))
    }
}

macro_rules! table {
    ($(
        $(#[doc = $group_doc:literal])+
        [$prefix:literal] $Group:ident {
            $( $(#[doc = $doc:literal])+
            $name:ident: $ty:ty = $default:literal $(, $low:literal ..= $high:literal)? $(, unit $unit:literal)?; )*
        }
    )*) => {
        $(
            $(#[doc = $group_doc])+
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub struct $Group { $( $(#[doc = $doc])+ pub $name: $ty, )* }

            impl $Group {
                /// Reads the group; what is wrong goes to `problems`.
                pub(super) fn read(config: &Config, problems: &mut Vec<Problem>) -> Option<Self> {
                    $( let $name = config.read::<$ty>(concat!($prefix, stringify!($name)), problems); )*
                    Some(Self { $( $name: $name?, )* })
                }
            }
        )*

        static KEYS: &[Key] = &[ $( $( Key {
            path: concat!($prefix, stringify!($name)),
            default: $default,
            range: table!(@range $($low, $high)?),
            unit: concat!($($unit)?),
            doc: concat!($($doc),+),
            expected: <$ty as Field>::expected,
        }, )* )* ];

        /// The tables of the file with what each is for; the top has no name.
        pub(super) static TABLES: &[(&str, &str)] = &[ $( ($prefix, concat!($($group_doc),+)), )* ];
    };
    (@range) => { None };
    (@range $low:literal, $high:literal) => { Some(($low, $high)) };
}

/// Every key, in the order of the documentation.
pub fn keys() -> &'static [Key] {
    KEYS
}

/// Keys, and tables of keys, that SIGHUP changes in a running process. What they change is in `reload`.
const LIVE: &[&str] = &[
    "log.level",
    "payout.address",
    "coinbase.tag",
    "keys.certificate_warning_days",
];
const LIVE_TABLES: &[&str] = &["notify"];

/// The row of a full name.
pub(super) fn key(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

table! {
    /// Where things are.
    [""] Top {
        /// Folder of everything that adit keeps: secrets, ledger, found blocks. Made at first start.
        /// Where `XDG_DATA_HOME` is set, the default is `$XDG_DATA_HOME/adit`.
        data: PathBuf = "~/.adit";
        /// Where mining devices and proxies connect. `adit up` takes a free port instead when the
        /// default one is busy; a port that was asked for is never replaced.
        listen: Listen = "127.0.0.1:3333";
        /// Where templates come from and blocks go: `embedded` is a regtest chain inside the process,
        /// `embedded:40` one where a block takes 2^40 hashes, `ipc:/path/node.sock` a Bitcoin Core node,
        /// `rpc:USER:PASSWORD@HOST:8332` (or `rpc:HOST:8332?cookie=PATH`, with `&zmq=tcp://HOST:PORT`, with `&notify=127.0.0.1:PORT`) any node with getblocktemplate,
        /// `tdp:stratum2+tcp://HOST:PORT/KEY` a template provider. Several, the preferred one first, are a list.
        node: Nodes = "embedded";
        /// The Bitcoin network. `auto` is regtest for the embedded chain; for a node it is read from the
        /// folder of its socket (`.../regtest/node.sock`) or, failing that, from the payout address.
        network: NetworkChoice = "auto";
    }
    /// Status, metrics and the live page.
    ["http."] Http {
        /// Where HTTP is served, or `off`. There is no password: keep it on loopback or a trusted
        /// network. `adit up` takes a free port instead when the default one is busy.
        listen: HttpListen = "127.0.0.1:3380";
        /// Further host names by which browsers may ask. IP addresses, `localhost` and names that end
        /// in `.local` always may; others are refused, so that no web site can rebind its name to us.
        hosts: Hosts = "";
        /// Connections served at once; more wait in the kernel's queue.
        connections_max: u32 = "64", 1..=4096;
        /// A request must arrive within this, or its connection ends: nobody holds a place by trickling.
        request_ms: u64 = "5000", 100..=60000, unit "milliseconds";
        /// Accounts and workers that have series of their own in `/metrics`, those with the most hash rate. Each costs
        /// about 600 bytes; 0 is none, so that no name that a peer chose gets there.
        metrics_names_max: u32 = "100", 0..=1000;
        /// Folder in which status files are kept as ckpool has them (`pool/pool.status`, `users/NAME`), written once
        /// a minute for tools that read those. Empty: none are; `/pool/pool.status` and `/users/NAME` are served in any case.
        ckpool_files: String = "", 0..=4096;
    }
    /// Who is paid.
    ["payout."] PayoutKeys {
        /// Address or descriptor that earns the blocks, such as `bc1q...`, `wpkh(xpub.../0/7)`, `addr(...)`
        /// or `raw(HEX)`; checked against the network. Required, but on the embedded chain, which makes
        /// a throw-away one.
        address: String = "", 0..=4096;
        /// How blocks are paid (docs/payouts.md). `address`: all to `payout.address`, whatever miners are called. `solo`: to
        /// the miner who finds it, whose user name is the address. `pplns`: to all who did the last work, in the coinbase.
        /// `pool`: to `payout.address`, which owes those who did the last work.
        scheme: Scheme = "address";
        /// The scheme of miners who ask for it with `solo:` or `pool:` before their user name: `solo`, or `address`, `pplns`
        /// or `pool` where `payout.scheme` is `solo`.
        other: Other = "none";
        /// The pool's part of every block that is not paid by scheme `address`.
        fee_bp: u32 = "0", 0..=9000, unit "basis points";
        /// A part of the same blocks for somebody else.
        donation_bp: u32 = "0", 0..=9000, unit "basis points";
        /// Who that is: an address or descriptor.
        donation_address: String = "", 0..=4096;
        /// How much of the last work counts, of schemes `pplns` and `pool`: in blocks' worth, by the network's difficulty.
        window_blocks: u32 = "8", 1..=1000, unit "blocks";
        /// Smallest output of a `pplns` coinbase. What is less waits, with the pool, until it is more.
        minimum_sat: u64 = "10000", 546..=2100000000000000, unit "satoshis";
        /// Most outputs of a `pplns` coinbase, the pool's included. Each takes up to 51 bytes from the block's transactions.
        outputs_max: u32 = "100", 2..=1000;
        /// Devices that cannot take a long job message: parts of what they call themselves, each with `:BYTES` where it is not
        /// 8192. Their `pplns` coinbases have fewer outputs, for which others wait. A list.
        small_devices: SmallDevices = "bitaxe,esp-miner,nerdminer:2048,nerdaxe,nerdqaxe,lucky";
        /// Short names that stand for addresses, as `NAME=ADDRESS`: some firmware cuts long user names. A list.
        aliases: Aliases = "";
        /// The same in a file, `NAME ADDRESS` a line. Read at the start.
        aliases_file: String = "", 0..=4096;
        /// Between two looks at who did the last work. After three of them a changed split replaces the job that is mined.
        refresh_ms: u64 = "10000", 100..=600000, unit "milliseconds";
    }
    /// What we write into blocks.
    ["coinbase."] Coinbase {
        /// Text in the coinbase of our blocks, by which people recognise the pool.
        tag: Tag = "";
    }
    /// How work is handed out and judged.
    ["shares."] ShareKeys {
        /// Adjust the difficulty of each channel to the share rate. Without it every channel keeps the
        /// difficulty that its declared hash rate gave it at opening.
        vardiff: bool = "true";
        /// Shares a channel should find. More is smoother, less is cheaper.
        per_minute: u32 = "12", 1..=6000, unit "shares a minute";
        /// Expected hashes of the easiest share, whatever a device claims. `auto` is 1 on the embedded
        /// chain and regtest, and 65536 elsewhere: a device of 13 kH/s still finds 12 a minute, a NerdMiner
        /// of 50 kH/s one every 1.3 seconds if it wanted to, and nobody gets credit for no work.
        work_min: WorkFloor = "auto", 1..=9223372036854775807, unit "hashes";
        /// Longest time that an accepted share waits for others to be acknowledged with it.
        ack_delay_max_ms: u64 = "250", 0..=60000, unit "milliseconds";
        /// Shares of one connection, since the sixth last block, that are remembered to recognise duplicates;
        /// past them shares are refused. Each takes up to 21 bytes, and each has cost its work.
        seen_max: u32 = "1048576", 64..=67108864, unit "shares";
    }
    /// What one peer may take. An offender loses its connection, others notice nothing.
    ["limits."] Limits {
        /// Shares a channel may submit, sustained; short bursts of more are fine. 0 is no limit.
        /// The default is what a device sends at first that finds a thousand times what it declared.
        shares_per_second: u32 = "200", 0..=1000000, unit "shares a second";
        /// Connections of all peers together. 19000 leaves room in the usual limit of 20000 open files.
        connections_max: u32 = "19000", 1..=1000000;
        /// Connections from one IPv4 address or IPv6 /64 network. 0 is no limit; so is the default while
        /// we listen on loopback only. A large farm behind one address without a proxy needs more.
        connections_per_address_max: u32 = "2048", 0..=1000000;
        /// Channels of one connection.
        channels_max: u32 = "256", 1..=65535;
        /// Handshakes in progress at once on each worker; further connections are closed. However many there are,
        /// only one is computed between two turns of those who mine, so that a storm of reconnects
        /// cannot take the processor from them.
        handshakes_max: u32 = "8192", 1..=1000000;
        /// From accept to the end of the handshake.
        handshake_ms: u64 = "5000", 100..=600000, unit "milliseconds";
        /// From the end of the handshake to SetupConnection.
        setup_ms: u64 = "10000", 100..=600000, unit "milliseconds";
        /// From SetupConnection, or from the end of the last channel, to the next channel. Long, because a
        /// proxy holds its connection while all its devices are away, and some give up when it is cut.
        first_channel_ms: u64 = "3600000", 100..=86400000, unit "milliseconds";
        /// Output that may wait for a peer that does not read; beyond it the connection ends.
        queue_bytes_max: u32 = "262144", 16384..=67108864, unit "bytes";
        /// Messages that one connection may send, shares not counted; four times as many at once.
        /// 0 is no limit.
        messages_per_second: u32 = "500", 0..=1000000, unit "messages a second";
    }
    /// The record of accepted shares.
    ["ledger."] LedgerKeys {
        /// Size of one file of the journal.
        segment_bytes: u64 = "268435456", 1048576..=4294967296, unit "bytes";
        /// Longest time that the writer gathers shares before it syncs the disk. 0 syncs as soon as the
        /// last sync has ended, which gathers what arrived meanwhile.
        group_max_ms: u64 = "0", 0..=1000, unit "milliseconds";
        /// Pack old files of the journal (zstd); everything that reads them reads packed ones too.
        compress: bool = "true";
        /// How long old files of the journal are kept; 0 is for ever. What the database has not counted is never taken
        /// away, and what was taken away stays in the sums.
        keep_days: u32 = "0", 0..=36500, unit "days";
        /// Refused shares are summed up so long before they are written, by account and reason.
        rejects_every_s: u64 = "60", 1..=3600, unit "seconds";
    }
    /// The database of what people ask about, made from the journal (docs/books.md). While it is away shares are
    /// acknowledged as before.
    ["books."] BooksKeys {
        /// Where it is: `sqlite` is the file `books.sqlite` in the data folder, `sqlite:PATH` another one,
        /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE` (or `postgres:///DATABASE?host=/run/postgresql`) a PostgreSQL
        /// server, over a socket, loopback or a private network: the connection is not encrypted. `off` keeps none.
        db: Db = "sqlite";
        /// How long hash rates and refused shares are kept in steps of a minute; 0 is for ever.
        minutes_days: u32 = "1", 0..=36500, unit "days";
        /// The same in steps of ten minutes.
        tens_days: u32 = "30", 0..=36500, unit "days";
        /// The same in steps of an hour.
        hours_days: u32 = "0", 0..=36500, unit "days";
        /// How long sessions that have ended, and the best shares of each day, are kept; 0 is for ever.
        sessions_days: u32 = "90", 0..=36500, unit "days";
    }
    /// Several front ends, whose journals accountants gather (docs/fleet.md).
    ["nats."] NatsKeys {
        /// NATS servers with JetStream: `nats://HOST:4222` or `tls://HOST:4222`, with `USER:PASSWORD@` before the host where
        /// it is asked for; several, separated by commas, are one cluster. Nothing: this pool stands alone.
        url: NatsUrl = "";
        /// First word of everything that is named there, so that several pools can share a server.
        prefix: NatsPrefix = "adit";
        /// How long the server keeps records that no accountant has fetched. What it loses comes again from the journals.
        keep_hours: u32 = "72", 1..=8760, unit "hours";
        /// Copies that a cluster keeps.
        replicas: u32 = "1", 1..=5;
    }
    /// The pool's own shape.
    ["pool."] PoolKeys {
        /// Threads that serve connections; 0 is one for each core.
        workers: u32 = "0", 0..=1024;
        /// Number of this front end, a part of every extranonce. Pools that pay from one ledger or
        /// share a node need different ones; with `nats.url` each is held by one data folder only.
        front_end: u16 = "0", 0..=65535;
        /// Where SIGTERM, and `adit pool --drain` without a place, send all peers before the pool ends. It must be a pool of
        /// the same authority key, or they refuse it. Empty: SIGTERM stops at once. `same` is for a port
        /// that another process takes over.
        drain_to: DrainTo = "";
        /// Time over which peers are told to leave, so that they do not all arrive at once where they go;
        /// a small pool takes less.
        drain_ms: u64 = "20000", 0..=3600000, unit "milliseconds";
        /// How long a peer may stay after it was told to leave. Some firmware does not know Reconnect: its
        /// connection is closed then.
        drain_deadline_ms: u64 = "60000", 0..=3600000, unit "milliseconds";
        /// Forbid miners to roll bits of the header version (REQUIRES_FIXED_VERSION). Devices that must roll
        /// them are refused. A device above 4 GH/s then needs an extended channel to keep busy.
        fixed_version: bool = "false";
        /// Give extended channels only (REQUIRES_EXTENDED_CHANNELS): for a pool behind proxies. Header-only
        /// devices are refused.
        extended_only: bool = "false";
    }
    /// Jobs that miners make of transactions of their own choice (docs/negotiation.md).
    ["negotiation."] NegotiationKeys {
        /// What the pool takes: `full-template` jobs, whose transactions are declared and checked by the node,
        /// `coinbase-only` ones, whose transactions nobody here sees, `both`, or none (`off`).
        mode: NegotiationMode = "full-template";
        /// How long a token is good.
        token_ttl_s: u64 = "600", 10..=86400, unit "seconds";
        /// Whether the token of a job is good on every connection of its owner, for that one job and until the next tip, so
        /// that many receive what one has negotiated (docs/job-distribution.md). Otherwise it is good once.
        shared_tokens: bool = "false";
        /// Live tokens of all connections together; one connection has at most eight.
        tokens_max: u32 = "65536", 8..=16777216;
        /// Memory for declared jobs and their transactions, of all connections together; one connection holds at most
        /// 6 MiB. What does not fit is refused.
        memory_bytes: u64 = "268435456", 8388608..=1099511627776, unit "bytes";
        /// Most of the revenue that a job may keep from the pool's payout output. What is kept is not paid for: a
        /// share is credited in proportion to what the payout output gets.
        keep_max_bp: u32 = "5000", 0..=9999, unit "basis points";
        /// Least that a job's coinbase must be worth in all, against that of the pool's own template.
        value_min_bp: u32 = "5000", 0..=10000, unit "basis points";
        /// Most that the coinbase of a coinbase-only job may claim, against that of the pool's own template.
        claim_max_bp: u32 = "20000", 10000..=1000000, unit "basis points";
        /// Most credit of one identity on coinbase-only jobs that no block of it has covered, in thousandths of the
        /// expected hashes of a block: what an identity can take that invents its fees.
        credit_millis: u64 = "3000", 1..=1000000000000000;
        /// The same for all identities together.
        credit_total_millis: u64 = "10000", 1..=1000000000000000;
    }
    /// The template provider of `adit provider`: other people's pools and job negotiators on our node.
    ["provider."] ProviderKeys {
        /// Where pools and job negotiators connect.
        listen: Listen = "127.0.0.1:8442";
        /// Connections of all clients together. Each may cost a block's memory, 4 MB, when it does not read.
        connections_max: u32 = "64", 1..=10000;
    }
    /// The job negotiator of `adit negotiator`: our own templates on the pools of `upstream.pools`.
    ["negotiator."] NegotiatorKeys {
        /// What a pool gets to know: `full-template` reveals the transactions, so that it can check and publish blocks;
        /// `coinbase-only` never does, where the pool allows that.
        mode: Mode = "full-template";
        /// What of the revenue the negotiator keeps for its own payout address; the pool gets the rest, and credits work in
        /// that proportion, as far as its policy goes (`negotiation.keep_max_bp` at a pool of ours).
        keep_bp: u32 = "0", 0..=9999, unit "basis points";
        /// Who may receive the jobs that the upstream has taken, to mine them over connections of their own
        /// (docs/job-distribution.md): `off`, programs on this machine (`loopback`), also on private networks (`private`), or
        /// `anybody`.
        distribute: Receivers = "private";
    }
    /// Keys and certificates. The secrets themselves are files in the data folder, never settings.
    ["keys."] KeyKeys {
        /// Days that a server certificate is valid; it is renewed at half of them.
        certificate_days: u32 = "90", 1..=3650, unit "days";
        /// Where the authority is on another machine and nobody here can renew the certificate: days before its end
        /// from which the log, the status page and a metric ask for a new one.
        certificate_warning_days: u32 = "14", 0..=3650, unit "days";
        /// How wrong our clock may be when we check the certificate of a server.
        clock_leeway_s: u32 = "60", 0..=86400, unit "seconds";
    }
    /// What the port for miners speaks. It tells its callers apart by their first bytes: the current handshake, which is
    /// always spoken, that of the 2022 draft, frames without any, and Stratum V1 (`sv1.enabled`).
    ["security."] SecurityKeys {
        /// Speak the handshake of the 2022 draft (Noise_NX_25519) too.
        draft2022: bool = "true";
        /// Its algorithms, the preferred one first.
        draft2022_aeads: Aeads = "chachapoly+aesgcm";
        /// Length of its certificate on the wire: 74 as the draft of September 2022 has it, 76 for peers that go by that
        /// of May.
        draft2022_signature: SignatureForm = "74";
        /// Also let its peers in that cannot negotiate an algorithm, from before August 2022.
        draft2022_fallback: bool = "false";
        /// From whom frames without encryption are taken: `off` is nobody, `loopback` this machine, `private` also
        /// private networks. Who sits in between can read and change everything.
        plaintext: Plaintext = "off";
    }
    /// Miners of Stratum V1 on the same port. Their protocol has no encryption: who sits in between can read user names
    /// and shares, and can send the hash rate elsewhere. docs/sv1.md says what of it is spoken.
    ["sv1."] Sv1Keys {
        /// Serve them. Otherwise they are told that this port speaks Stratum V2.
        enabled: bool = "true";
        /// Difficulty at which a miner starts that wishes for none. It finds its own within a minute, be it
        /// an ESP32 or a whole rack.
        start_difficulty: u32 = "512", 1..=2147483648;
        /// Where they are served over TLS, or `off`: an address of its own. It needs the two files below.
        tls_listen: HttpListen = "off";
        /// PEM file of the certificate chain, the server's first. Read at the start.
        tls_certificate: String = "", 0..=4096;
        /// PEM file of its private key.
        tls_key: String = "", 0..=4096;
    }
    /// Servers that we connect to. The key in a URL says which handshake is spoken.
    ["upstream."] UpstreamKeys {
        /// What to do about a URL without a key, on this machine and private networks; others are never dialled.
        /// `refuse` does not connect, `plain` neither encrypts nor checks, `unverified` encrypts, but whoever sits
        /// in between may be the one who answers.
        keyless: Keyless = "refuse";
        /// Negotiate the algorithm with servers of the 2022 draft. `false` is for those from before August 2022.
        draft2022_negotiation: bool = "true";
        /// The pools of `adit proxy` and `adit negotiator`, the preferred one first: `stratum2+tcp://HOST:PORT/KEY`, and for the
        /// proxy also `stratum+tcp://HOST:PORT` and `stratum+ssl://HOST:PORT`. Behind it may stand `,weight=N`: a part of the work
        /// (docs/proxy.md), `,user=NAME`, `,jds=HOST:PORT` where jobs are declared on another port, and last of all
        /// `,password=TEXT`. A list; in flags and environment separated by spaces.
        pools: Upstreams = "";
        /// A job negotiator whose jobs `adit proxy` mines at the pool that they are for (docs/job-distribution.md), over
        /// its own connection; without one, or without a job, it mines the pool's own.
        jobs: JobsFrom = "";
        /// The name to mine under at pools: whom they pay.
        user: String = "adit", 1..=255;
        /// Where pools of Stratum V1 may send us by `client.reconnect`: `HOST:PORT`. Nobody knows who says it, so that it is
        /// followed nowhere else. A list; in flags and environment separated by spaces.
        reconnect_hosts: Places = "";
        /// PEM file of certificates that pools at `stratum+ssl://` may show, besides those of the usual authorities: for
        /// a pool that has signed its own. Read at the start.
        tls_trusted: String = "", 0..=4096;
        /// Bytes of the extranonce that a proxy shares out among its devices, from 4 to 32: as many as its pools leave. 0
        /// finds out: 12, or fewer where a pool leaves fewer. It stays the same while the proxy runs.
        extranonce_bytes: u32 = "0", 0..=32, unit "bytes";
        /// Hash rate that a pool is told when a channel is opened there. What is measured follows within seconds.
        hash_rate: u64 = "1000000000000", 1..=9223372036854775807, unit "hashes a second";
    }
    /// The mining proxy of `adit proxy` (docs/proxy.md).
    ["proxy."] ProxyKeys {
        /// `aggregate`: all devices share one channel of each pool, and the proxy judges and books their shares.
        /// `transparent`: each channel of a device has a channel of its own at the pool, over connections that many share.
        mode: ProxyMode = "aggregate";
    }
    /// Several nodes (`node` is a list).
    ["nodes."] NodeKeys {
        /// Which of the nodes on the same tip is mined on: the first that is well, or the one whose template pays more.
        prefer: PreferNode = "order";
        /// With `fees`: how much more a template must pay to change the node for it.
        gain_sat: u64 = "10000", 1..=2100000000000000, unit "satoshis";
        /// Nodes that get every found block, besides those that give templates. A list of `ipc:PATH`, `rpc:..` and
        /// `http(s)://USER:PASSWORD@HOST:PORT/`.
        blocks: BlockNodes = "";
    }
    /// A node over IPC (`node = "ipc:PATH"`) or JSON-RPC (`node = "rpc:.."`).
    ["ipc."] Ipc {
        /// Fees that a better template must add before work is replaced within one block.
        fee_delta_sat: u64 = "10000", 0..=2100000000000000, unit "satoshis";
        /// Shortest time between two templates on the same tip.
        interval_ms: u64 = "10000", 100..=3600000, unit "milliseconds";
    }
    /// The regtest chain inside the process (`node = "embedded"`).
    ["embedded."] Embedded {
        /// What the chain's transactions and its throw-away payout address are made from; the same seed
        /// gives the same.
        seed: u64 = "1";
        /// Transactions in each block, besides the coinbase.
        transactions: u32 = "24", 0..=10000, unit "transactions";
    }
    /// The CPU mining device of `adit device` and `adit up`.
    ["device."] Device {
        /// Threads that mine; 0 leaves one core to the rest, where there are several.
        threads: u32 = "0", 0..=1024;
        /// The name by which it opens its channel.
        user: String = "adit.device", 0..=255;
        /// Its own name behind an extended channel, appended to every share where the server agrees to
        /// extension 0x0002; the server's ledger then has it as `user.worker`. Empty: none is sent.
        worker: String = "", 0..=32;
    }
    /// Extensions of the protocol (spec 3.4). Negotiation, 0x0001, is always spoken and never listed.
    ["extensions."] Extensions {
        /// As a server: what clients are granted when they ask for it. adit implements 0x0002, the names
        /// of workers behind a channel.
        supported: ExtensionIds = "0x0002";
        /// As a server: what every client must ask for, or it is disconnected. As a client: what a server
        /// must grant, or it is left.
        required: ExtensionIds = "";
        /// As a client: what to ask for. 0x0002 is asked for in any case where `device.worker` is set.
        wanted: ExtensionIds = "";
        /// Whether ids from 0x4000 to 0x7fff may be listed. They are for trials: only on regtest.
        experimental: bool = "false";
    }
    /// What is logged. Logs go to stderr.
    ["log."] Log {
        /// How much is logged: each level has what those before it have, and more.
        level: Level = "info";
        /// Lines for people, or one JSON object a line.
        format: LogFormat = "text";
    }
    /// Who is told what happens while nobody looks (docs/operations.md). Each way is named by the file that holds its secret,
    /// which nobody else may read, or by `env:NAME`; a way that is not named is not gone.
    ["notify."] NotifyKeys {
        /// A web hook: its URL, and on a second line a bearer token if it wants one. Each notice is a JSON object.
        webhook: Secret = "";
        /// An ntfy topic: its URL, and on a second line an access token if it wants one.
        ntfy: Secret = "";
        /// A Telegram bot: its token, and on a second line the id of the chat.
        telegram: Secret = "";
        /// Where Telegram is: a server of one's own, perhaps.
        telegram_api: String = "https://api.telegram.org", 8..=255;
        /// A mail server: `smtps://USER:PASSWORD@HOST`, or `smtp://HOST:25` on this machine.
        mail: Secret = "";
        /// The address from which mail comes.
        mail_from: String = "", 0..=255;
        /// The address to which it goes, perhaps with a name: `You <you@example.org>`.
        mail_to: String = "", 0..=255;
        /// How long a worker must be away before that is told, and its return after that.
        gone_s: u32 = "300", 1..=604800, unit "seconds";
        /// How long a worker may be connected without a share.
        silent_s: u32 = "900", 10..=604800, unit "seconds";
        /// How long a node or an upstream must be in trouble before that is told.
        trouble_s: u32 = "60", 0..=86400, unit "seconds";
    }
}
