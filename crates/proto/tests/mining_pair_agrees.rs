//! Client and server of the mining protocol, each fed with the bytes that the other puts out, under a virtual clock.

#[path = "pool/mod.rs"]
mod pool;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use adit_proto::Time;
use adit_proto::mining::client::{
    Client, Event, Input as ClientInput, Kind, Open, Output as ClientOutput, Settings, Share, Work,
};
use adit_proto::mining::server::{Input as ServerInput, Output as ServerOutput, Server};
use adit_wire::common::flags;
use adit_wire::mining::{ToClient, ToServer};
use adit_wire::{B0_32, Header, Str0_255, U256};
use bitcoin::hashes::{Hash, sha256d};
use proptest::prelude::*;

/// Everything between two machines but the network.
struct Pair {
    now: Time,
    server: Server,
    client: Client,
    to_server: VecDeque<Vec<u8>>,
    to_client: VecDeque<Vec<u8>>,
    /// What each channel mines.
    works: BTreeMap<u32, Work>,
    last_index: u64,
    nonce: u32,
    sent: u64,
    accepted: u64,
    hashes: BTreeSet<[u8; 32]>,
}

impl Pair {
    fn new(flags: u32) -> Self {
        Self {
            now: pool::START,
            server: pool::server(pool::settings(), flags, 0),
            client: Client::new(Settings {
                channels_max: 16,
                ..Settings::default()
            }),
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            works: BTreeMap::new(),
            last_index: 0,
            nonce: 0,
            sent: 0,
            accepted: 0,
            hashes: BTreeSet::new(),
        }
    }

    fn server(&mut self, input: ServerInput) {
        let mut out = Vec::new();
        self.server
            .handle(self.now, input, &mut out)
            .expect("a client without fault");
        for output in out {
            let mut frame = Vec::new();
            match output {
                ServerOutput::Send(message) => message.encode_frame(&mut frame),
                ServerOutput::Job(job) => job.encode(&mut frame),
                ServerOutput::Share(share) => self.last_index = share.index,
                ServerOutput::Custom(_) => panic!("no custom jobs here"),
                ServerOutput::Mined(_) => panic!("nobody asked for it"),
                ServerOutput::Block(_) | ServerOutput::Event(_) => {}
            }
            if !frame.is_empty() {
                self.to_client.push_back(frame);
            }
        }
        self.settle();
    }

    fn client(&mut self, input: ClientInput) {
        let mut out = Vec::new();
        self.client
            .handle(self.now, input, &mut out)
            .expect("a server without fault");
        for output in out {
            match output {
                ClientOutput::Send(message) => {
                    let mut frame = Vec::new();
                    message.encode_frame(&mut frame);
                    self.to_server.push_back(frame);
                }
                ClientOutput::Work(work) => drop(self.works.insert(work.channel, work)),
                ClientOutput::Event(event) => self.event(event),
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Accepted { count, surplus, .. } => {
                assert_eq!(surplus, 0, "a share is acknowledged once");
                self.accepted += u64::from(count);
            }
            Event::Closed { channel, .. } => drop(self.works.remove(&channel)),
            Event::Opened { .. } | Event::Target { .. } | Event::ExtranoncePrefix { .. } => {}
            other => panic!("no refusals: {other:?}"),
        }
    }

    /// Carries frames until both are silent.
    fn settle(&mut self) {
        loop {
            if let Some(frame) = self.to_client.pop_front() {
                let (header, payload) = split(&frame);
                let message = ToClient::decode(&header, payload).expect("a message");
                self.client(ClientInput::Message(message));
            } else if let Some(frame) = self.to_server.pop_front() {
                let (header, payload) = split(&frame);
                let message = ToServer::decode(&header, payload).expect("a message");
                self.server(ServerInput::Message(message));
            } else {
                return;
            }
        }
    }

    fn open(&mut self, extended: bool) {
        let kind = if extended {
            Kind::Extended {
                min_extranonce_size: 4,
            }
        } else {
            Kind::Standard
        };
        let user_identity = Str0_255::try_from("pair").expect("short");
        let open = Open {
            kind,
            user_identity,
            nominal_hash_rate: 1e3,
            max_target: U256::MAX,
        };
        self.client(ClientInput::Open(open));
        self.settle();
    }

    /// Finds a share on one of the channels and sends it.
    fn share(&mut self, which: usize) {
        let Some(work) = self.works.values().nth(which % self.works.len().max(1)).cloned() else {
            return;
        };
        let extranonce = B0_32::new(&vec![7; work.extranonce_size()]).expect("short");
        let root = work.merkle_root(&extranonce);
        let ntime = work.max_ntime(self.now);
        let version = work.version ^ (work.version_mask & 0x0000_2000);
        loop {
            self.nonce += 1;
            let fields = [
                &version.to_le_bytes()[..],
                &work.prev_hash.0,
                &root.0,
                &ntime.to_le_bytes(),
            ]
            .concat();
            let header = [&fields[..], &work.nbits.to_le_bytes(), &self.nonce.to_le_bytes()].concat();
            let hash = sha256d::Hash::hash(&header).to_byte_array();
            if U256(hash) <= work.target && self.hashes.insert(hash) {
                break;
            }
        }
        let (channel, job_id, nonce) = (work.channel, work.job_id, self.nonce);
        self.client(ClientInput::Share(Share {
            channel,
            job_id,
            nonce,
            ntime,
            version,
            extranonce,
        }));
        self.sent += 1;
        self.settle();
    }

    fn commit(&mut self) {
        self.server(ServerInput::Committed {
            through: self.last_index,
        });
    }

    /// Lets time pass and both deadlines come.
    fn wait(&mut self, span: Duration) {
        self.now = self.now + span;
        if self.client.deadline().is_some_and(|at| at <= self.now) {
            self.client(ClientInput::Deadline);
        }
        if self.server.deadline().is_some_and(|at| at <= self.now) {
            self.server(ServerInput::Deadline);
        }
        self.settle();
    }
}

fn split(frame: &[u8]) -> (Header, &[u8]) {
    let (head, payload) = frame.split_first_chunk::<{ Header::LEN }>().expect("a frame");
    (Header::parse(*head), payload)
}

#[derive(Clone, Debug)]
enum Step {
    Open(bool),
    Share(usize),
    Template,
    Tip,
    Commit,
    Wait(u64),
    Move(usize),
    Close(usize),
    Update(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => any::<bool>().prop_map(Step::Open),
        8 => any::<usize>().prop_map(Step::Share),
        2 => Just(Step::Template),
        2 => Just(Step::Tip),
        3 => Just(Step::Commit),
        2 => (0u64..5_000).prop_map(Step::Wait),
        1 => any::<usize>().prop_map(Step::Move),
        1 => any::<usize>().prop_map(Step::Close),
        1 => any::<usize>().prop_map(Step::Update),
    ]
}

fn run(flags: u32, steps: &[Step]) -> Pair {
    let mut pair = Pair::new(flags);
    let (mut tip, mut template, mut opened) = (1, 1, 0);
    pair.server(ServerInput::Work(pool::job(tip, template)));
    let nth = |pair: &Pair, which: usize| pair.works.keys().nth(which % pair.works.len().max(1)).copied();
    for step in steps {
        match *step {
            // A header-only connection has standard channels only.
            Step::Open(extended) if opened < 12 => {
                opened += 1;
                pair.open(extended && flags == 0);
            }
            Step::Open(_) => {}
            Step::Share(which) => pair.share(which),
            Step::Template => {
                template += 1;
                pair.server(ServerInput::Work(pool::job(tip, template)));
            }
            Step::Tip => {
                (tip, template) = (tip + 1, template + 1);
                pair.server(ServerInput::Work(pool::job(tip, template)));
            }
            Step::Commit => pair.commit(),
            Step::Wait(ms) => pair.wait(Duration::from_millis(ms)),
            Step::Move(which) => {
                if let Some(channel_id) = nth(&pair, which) {
                    pair.server(ServerInput::MoveExtranonce { channel_id });
                }
            }
            Step::Close(which) => {
                if let Some(channel) = nth(&pair, which) {
                    // What was not durable yet is acknowledged before the channel goes.
                    pair.commit();
                    pair.wait(Duration::from_millis(500));
                    let reason = Str0_255::try_from("done").expect("short");
                    pair.client(ClientInput::Close { channel, reason });
                    pair.works.remove(&channel);
                    pair.settle();
                }
            }
            Step::Update(which) => {
                if let Some(channel) = nth(&pair, which) {
                    let (nominal_hash_rate, max_target) = (2e3, U256::MAX);
                    pair.client(ClientInput::Update {
                        channel,
                        nominal_hash_rate,
                        max_target,
                    });
                    pair.settle();
                }
            }
        }
    }
    pair.commit();
    pair.wait(Duration::from_millis(500));
    pair
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever happens, neither side finds a fault with the other, every share on the present work is good, and
    /// each is acknowledged exactly once: REQ-MIN-022, REQ-MIN-043, REQ-MIN-060, REQ-MIN-061, REQ-MIN-063, REQ-MIN-073,
    /// REQ-MIN-080, REQ-MIN-082, REQ-MIN-096.
    #[test]
    fn every_share_is_acknowledged_once(
        flags in prop_oneof![Just(0), Just(flags::REQUIRES_STANDARD_JOBS)],
        steps in proptest::collection::vec(step(), 0..80),
    ) {
        let pair = run(flags, &steps);
        prop_assert_eq!(pair.accepted, pair.sent);
    }
}

/// REQ-MIN-002, REQ-MIN-028, REQ-MIN-030: each channel has its own root from the first work on.
#[test]
fn channels_of_one_connection_search_apart() {
    for flags in [0, flags::REQUIRES_STANDARD_JOBS] {
        let steps: Vec<_> = (0..4).map(|_| Step::Open(false)).collect();
        let pair = run(flags, &steps);
        let roots: BTreeSet<_> = pair.works.values().map(|work| work.merkle_root(&[]).0).collect();
        assert_eq!((pair.works.len(), roots.len()), (4, 4));
    }
}
