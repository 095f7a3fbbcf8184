//! Distributor, receivers and the mining servers of every device, as machines; the pool is a few answers.

use std::collections::HashSet;
use std::sync::Arc;

use adit_proto::Time;
use adit_proto::coinbase::{Body, Halves};
use adit_proto::distribute::board::{self, Board};
use adit_proto::distribute::client::{self, Client};
use adit_proto::distribute::receiver::{self, Channel, Mine, Receiver};
use adit_proto::distribute::server::{self, Server};
use adit_proto::distribute::{Active, Pool, Tip, halves};
use adit_proto::extranonce::{Layout, Space};
use adit_proto::job::{Fields, Job};
use adit_proto::mining::server as mining;
use adit_proto::setup::Established;
use adit_wire::common::flags::REQUIRES_STANDARD_JOBS;
use adit_wire::declare::{
    AllocateMiningJobToken, AllocateMiningJobTokenSuccess, DeclareMiningJob, DeclareMiningJobSuccess,
    ProvideMissingTransactions, ProvideMissingTransactionsSuccess,
};
use adit_wire::distribute::NewDistributedJob;
use adit_wire::mining::{OpenStandardMiningChannel, SetCustomMiningJobSuccess, ToClient};
use adit_wire::types::{B0_16M, TransactionList};
use adit_wire::{B0_64K, B0_255, Message, Seq0_64K, Seq0_255, Str0_255, U256};

/// Bytes of the extranonce that the pool chooses, and of those that it leaves.
const POOL_PREFIX: usize = 7;
const LEFT: usize = 8;
/// Transactions of a template that the pool's node does not know: one in this many.
const UNKNOWN_ONE_IN: u32 = 100;
/// Bytes of each of them.
const TRANSACTION_BYTES: usize = 400;
/// Jobs on one block.
const JOBS_PER_BLOCK: u32 = 20;
const NTIME: u32 = 1_800_000_000;
const NOW: Time = Time(1_800_000_000_000_000);

/// How large the farm is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) proxies: u32,
    pub(crate) devices: u32,
    pub(crate) jobs: u32,
    pub(crate) transactions: u32,
}

/// Messages and their bytes, headers included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

impl Tally {
    fn count(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut frame = Vec::new();
        write(&mut frame);
        self.messages += 1;
        self.bytes += frame.len() as u64;
    }

    pub(crate) fn times(self, by: u64) -> Self {
        Self {
            messages: self.messages * by,
            bytes: self.bytes * by,
        }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            messages: self.messages + other.messages,
            bytes: self.bytes + other.bytes,
        }
    }
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) blocks: u64,
    /// One negotiator and the pool.
    pub(crate) negotiation: Tally,
    /// Distributor and all receivers.
    pub(crate) distribution: Tally,
    /// SetCustomMiningJob and its answer, all receivers.
    pub(crate) custom: Tally,
    /// Jobs from the proxies to their devices.
    pub(crate) devices: Tally,
    /// Different Merkle roots that devices got with the last job.
    pub(crate) roots: usize,
}

/// A mining proxy: receiver of one distributor, pool of its devices.
struct Proxy {
    number: u32,
    distributor: Server,
    client: Client,
    receiver: Receiver,
    devices: Vec<mining::Server>,
}

/// The whole farm.
pub(crate) struct Farm {
    size: Size,
    proxies: Vec<Proxy>,
    roots: HashSet<U256>,
    figures: Figures,
}

impl Farm {
    pub(crate) fn new(size: Size) -> Self {
        let proxies = (0..size.proxies)
            .map(|number| Proxy::new(number, size.devices / size.proxies))
            .collect();
        Self {
            size,
            proxies,
            roots: HashSet::new(),
            figures: Figures::default(),
        }
    }

    /// All jobs, one after the other.
    pub(crate) fn run(mut self) -> Figures {
        let mut board = Board::new();
        self.spread(&mut board, board::Input::Pool(Some(pool())));
        for number in 0..self.size.jobs {
            let block = number / JOBS_PER_BLOCK + 1;
            self.figures.blocks = u64::from(block);
            self.roots.clear();
            negotiate(number, self.size.transactions, &mut self.figures.negotiation);
            let job = Box::new(job(number, self.size.transactions));
            self.spread(&mut board, board::Input::Job(job, tip(block)));
        }
        self.figures.roots = self.roots.len();
        self.figures
    }

    /// A change of what is distributed reaches every device.
    fn spread(&mut self, board: &mut Board, input: board::Input) {
        let mut outputs = Vec::new();
        board.handle(input, &mut outputs);
        for output in outputs {
            let board::Output::State(state) = output else {
                continue;
            };
            for proxy in &mut self.proxies {
                let input = server::Input::State(Arc::clone(&state));
                proxy.hear(input, &mut self.figures, &mut self.roots);
            }
        }
    }
}

impl Proxy {
    fn new(number: u32, devices: u32) -> Self {
        let layout = Layout::branch(LEFT).expect("room for a branch");
        let mut space = Space::of(layout, 0, 0..layout.slots_end());
        let settings = Arc::new(mining::Settings::default());
        let mut receiver = Receiver::new();
        let channel = Channel {
            id: 1,
            full_size: POOL_PREFIX + LEFT,
        };
        receiver.handle(receiver::Input::Channel(Some(channel)), &mut Vec::new());
        let device = |_| {
            let slot = space.lease(0).expect("a slot");
            mining::Server::new(NOW, Arc::clone(&settings), &established(), slot)
        };
        Self {
            number,
            distributor: Server::new(0),
            client: Client::new(),
            receiver,
            devices: (0..devices).map(device).collect(),
        }
    }

    /// The distributor's messages to the receiver, and what comes of them.
    fn hear(&mut self, input: server::Input, figures: &mut Figures, roots: &mut HashSet<U256>) {
        let (mut sent, mut heard, mut done) = (Vec::new(), Vec::new(), Vec::new());
        self.distributor.handle(input, &mut sent);
        for output in sent {
            let server::Output::Send(message) = output else {
                continue;
            };
            figures.distribution.count(|frame| message.encode_frame(frame));
            let input = client::Input::Message(message);
            self.client
                .handle(input, &mut heard)
                .expect("a distributor's message");
        }
        for output in heard {
            if let client::Output::Job(active) = output {
                self.receiver.handle(receiver::Input::Job(active), &mut done);
            }
        }
        for output in done {
            if let receiver::Output::Custom(message) = output {
                figures.custom.count(|frame| message.encode_frame(frame));
                self.taken(message.request_id, figures, roots);
            }
        }
    }

    /// The pool takes the job: the token is good on every connection.
    fn taken(&mut self, request_id: u32, figures: &mut Figures, roots: &mut HashSet<U256>) {
        let answer = SetCustomMiningJobSuccess {
            channel_id: 1,
            request_id,
            job_id: request_id,
        };
        figures.custom.count(|frame| answer.encode_frame(frame));
        let mut done = Vec::new();
        let taken = receiver::Input::JobTaken {
            request_id,
            job_id: request_id,
        };
        self.receiver.handle(taken, &mut done);
        for output in done {
            if let receiver::Output::Mine(Mine::Custom { active, .. }) = output {
                self.serve(&active, figures, roots);
            }
        }
    }

    /// The job goes to every device.
    fn serve(&mut self, active: &Active, figures: &mut Figures, roots: &mut HashSet<U256>) {
        let job = Arc::new(downstream(self.number, active));
        let mut out = Vec::new();
        for device in &mut self.devices {
            let is_new = device.channel_count() == 0;
            let work = mining::Input::Work(Arc::clone(&job));
            device.handle(NOW, work, &mut out).expect("work");
            if is_new {
                let open = mining::Input::Message(open().into());
                device.handle(NOW, open, &mut out).expect("a channel");
            }
            for output in out.drain(..) {
                let mining::Output::Send(message) = output else {
                    continue;
                };
                if let ToClient::NewMiningJob(job) = &message {
                    roots.insert(job.merkle_root);
                }
                if matches!(message, ToClient::NewMiningJob(_) | ToClient::SetNewPrevHash(_)) {
                    figures.devices.count(|frame| message.encode_frame(frame));
                }
            }
        }
    }
}

/// The distributed job as the devices of this proxy get it: the pool's extranonce prefix is a part of the coinbase.
fn downstream(proxy: u32, active: &Active) -> Job {
    let (mut prefix, suffix) = halves(&active.job).expect("a coinbase");
    prefix.extend_from_slice(&[0; POOL_PREFIX - 4]);
    prefix.extend_from_slice(&proxy.to_be_bytes());
    let fields = Fields {
        tip: u64::from(active.tip.min_ntime),
        template: u64::from(active.job.job_id),
        version: active.job.version,
        version_rolling_allowed: true,
        prev_hash: active.tip.prev_hash.0,
        nbits: active.tip.nbits,
        header_timestamp: active.tip.min_ntime,
        min_ntime: active.tip.min_ntime,
        merkle_path: active.job.merkle_path.iter().map(|branch| branch.0).collect(),
        coinbase: Body::from(Halves {
            prefix,
            suffix,
            size: LEFT,
            value: 0,
            witness: None,
        }),
        share_work_max: None,
        block_target: None,
        publish: false,
    };
    Job::new(fields).expect("a job")
}

fn pool() -> Pool {
    Pool {
        host: text("pool.example"),
        port: 3333,
        key: Some([7; 32]),
        user_identity: text("farm"),
        min_extranonce_size: LEFT as u16,
    }
}

fn tip(block: u32) -> Tip {
    Tip {
        prev_hash: U256([block as u8; 32]),
        min_ntime: NTIME + block,
        nbits: 0x1703_4219,
    }
}

/// A payout to the pool and a commitment to the witnesses.
fn outputs(number: u32) -> Vec<u8> {
    let payout = [
        &(312_500_000 + u64::from(number)).to_le_bytes()[..],
        &[22, 0, 20],
        &[5; 20],
    ]
    .concat();
    let commitment = [
        &[0; 8][..],
        &[38, 0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed],
        &[number as u8; 32],
    ]
    .concat();
    [vec![2], payout, commitment].concat()
}

fn job(number: u32, transactions: u32) -> NewDistributedJob {
    let branches = (transactions + 1).next_power_of_two().trailing_zeros();
    let path = (0..branches as u8)
        .map(|n| U256([n ^ number as u8; 32]))
        .collect();
    NewDistributedJob {
        job_id: 0,
        min_ntime: None,
        mining_job_token: token(number),
        full_extranonce_size: (POOL_PREFIX + LEFT) as u16,
        version: 0x2000_0000,
        coinbase_tx_version: 2,
        coinbase_prefix: B0_255::new(&[3, 0x40, 0xd1, 0x0d, 15]).expect("short"),
        coinbase_tx_input_n_sequence: 0xffff_fffe,
        coinbase_tx_outputs: B0_64K::new(&outputs(number)).expect("short"),
        coinbase_tx_locktime: 905_535,
        merkle_path: Seq0_255::new(path).expect("short"),
    }
}

fn token(number: u32) -> B0_255 {
    B0_255::new(&[number as u8; 16]).expect("short")
}

/// What a negotiator and a pool say to each other for one job in full-template mode.
fn negotiate(number: u32, transactions: u32, tally: &mut Tally) {
    let allocate = AllocateMiningJobToken {
        user_identifier: text("farm"),
        request_id: number,
    };
    let allocated = AllocateMiningJobTokenSuccess {
        request_id: number,
        mining_job_token: token(number),
        coinbase_tx_outputs: B0_64K::new(&outputs(number)[..32]).expect("short"),
    };
    let job = job(number, transactions);
    let (prefix, suffix) = halves(&job).expect("a coinbase");
    let wtxids = (0..transactions).map(|n| U256([n as u8; 32])).collect();
    let declare = DeclareMiningJob {
        request_id: number,
        mining_job_token: token(number),
        version: job.version,
        // With the marker, the flag and the witness of BIP141.
        coinbase_tx_prefix: B0_64K::new(&[&prefix[..], &[0, 1]].concat()).expect("short"),
        coinbase_tx_suffix: B0_64K::new(&[&suffix[..], &[0; 34]].concat()).expect("short"),
        wtxid_list: Seq0_64K::new(wtxids).expect("no block has more"),
        excess_data: B0_64K::default(),
    };
    let unknown = transactions / UNKNOWN_ONE_IN;
    let missing = ProvideMissingTransactions {
        request_id: number,
        unknown_tx_position_list: Seq0_64K::new((0..unknown as u16).collect()).expect("few"),
    };
    let transaction = B0_16M::new(&[1; TRANSACTION_BYTES]).expect("short");
    let provided = ProvideMissingTransactionsSuccess {
        request_id: number,
        transaction_list: TransactionList::new(vec![transaction; unknown as usize]).expect("few"),
    };
    let declared = DeclareMiningJobSuccess {
        request_id: number,
        new_mining_job_token: token(number),
    };
    tally.count(|frame| allocate.encode_frame(frame));
    tally.count(|frame| allocated.encode_frame(frame));
    tally.count(|frame| declare.encode_frame(frame));
    if unknown > 0 {
        tally.count(|frame| missing.encode_frame(frame));
        tally.count(|frame| provided.encode_frame(frame));
    }
    tally.count(|frame| declared.encode_frame(frame));
}

fn open() -> OpenStandardMiningChannel {
    OpenStandardMiningChannel {
        request_id: 1,
        user_identity: text("farm"),
        nominal_hash_rate: 2e14,
        max_target: U256::MAX,
    }
}

fn established() -> Established {
    Established {
        protocol: 0,
        version: 2,
        flags: REQUIRES_STANDARD_JOBS,
        success_flags: 0,
        endpoint_host: Str0_255::default(),
        endpoint_port: 0,
        device: Default::default(),
    }
}

fn text(short: &str) -> Str0_255 {
    Str0_255::try_from(short).expect("short")
}
