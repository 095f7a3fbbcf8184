//! Job distribution over sockets (`docs/job-distribution.md`): one negotiation, and many connections that mine its job.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

mod proxies;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;

use adit::config::{Receivers, Settings};
use adit::device::{self, Live};
use adit::negotiator::Negotiator;
use adit::pool::branch::{Branch, Orders};
use adit::pool::distributing::Distribution;
use adit::provider::Provider;
use adit::shutdown::{Shutdown, Stop};
use adit_net::Url;
use adit_noise::AuthorityKey;
use adit_proto::declare::Coinbase;
use adit_proto::distribute::board::{self, Board};
use adit_proto::distribute::client::{self, Client};
use adit_proto::distribute::receiver::{self, Channel, Mine, Receiver};
use adit_proto::distribute::{Active, Pool, Solved, State, Tip, coinbase};
use adit_proto::extranonce::Layout;
use adit_testkit::MINE_TO;
use adit_wire::common::{self, SetupConnection, flags, protocol};
use adit_wire::declare::{AllocateMiningJobToken, DeclareMiningJob, ToClient as Declared};
use adit_wire::distribute::{NewDistributedJob, SubmitSolution};
use adit_wire::message::Message;
use adit_wire::mining::{SetCustomMiningJob, ToClient};
use adit_wire::refusal::WithdrawJob;
use adit_wire::{B0_32, B0_64K, B0_255, Seq0_64K, Seq0_255};
use bitcoin::Amount;
use support::miner::{How, Miner};
use support::peer::{self, Peer};
use support::{House, SOON, solve_alone};
use tokio::sync::{mpsc, watch};

/// What a block without transactions is worth on the embedded chain.
const SUBSIDY: u64 = 5_000_000_000;
/// Receivers, each with a connection of its own to the pool.
const RECEIVERS: u64 = 50;
/// Sequence of the one input of a negotiated coinbase: no pool's own job has it.
const SEQUENCE: u32 = 0xffff_fff0;
/// As whom everybody mines.
const FARM: &str = "farm";

/// Messages and their bytes, headers included.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Tally {
    messages: u64,
    bytes: u64,
}

impl Tally {
    fn count(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut frame = Vec::new();
        write(&mut frame);
        self.messages += 1;
        self.bytes += frame.len() as u64;
    }
}

/// A pool for miners, and beside it a distributor on a port of its own.
struct Distributor {
    house: House,
    board: Board,
    states: watch::Sender<Arc<State>>,
    solutions: mpsc::Receiver<Box<Solved>>,
    _orders: watch::Sender<Orders>,
}

impl Distributor {
    async fn open(receivers: Receivers) -> Self {
        let (orders, work) = watch::channel(Orders::Wait);
        let (states, states_rx) = watch::channel(Arc::default());
        let (solutions_tx, solutions) = mpsc::channel(16);
        let branch = Branch {
            layout: Layout::branch(8).unwrap(),
            orders: work,
            mined: mpsc::channel(16).0,
            events: None,
            picture: None,
            distribution: Some(Distribution {
                states: states_rx,
                solutions: solutions_tx,
                receivers,
            }),
        };
        Self {
            house: House::open_branch(&[], branch).await,
            board: Board::new(),
            states,
            solutions,
            _orders: orders,
        }
    }

    fn say(&mut self, input: board::Input) {
        let mut outputs = Vec::new();
        self.board.handle(input, &mut outputs);
        for output in outputs {
            if let board::Output::State(state) = output {
                self.states.send_replace(state);
            }
        }
    }
}

fn setup(protocol: u8, flags: u32) -> SetupConnection {
    SetupConnection {
        protocol,
        ..peer::setup(flags)
    }
}

/// A connection for `protocol`, or why there is none.
async fn join(url: &Url, protocol: u8, flags: u32) -> Result<Peer, String> {
    let mut peer = Peer::greet(url).await;
    peer.say(&setup(protocol, flags)).await;
    match peer.hear().await.common() {
        common::ToClient::SetupConnectionSuccess(_) => Ok(peer),
        common::ToClient::SetupConnectionError(error) => Err(error.error_code.to_string()),
        other => panic!("expected an answer, heard {other:?}"),
    }
}

/// An extended channel with jobs of its own.
async fn miner(url: &Url) -> Miner {
    let peer = Peer::join(url, flags::REQUIRES_WORK_SELECTION).await;
    Miner::open(peer, How::Extended, FARM).await
}

/// Sets a job: the pool's number of it, or its code.
async fn set(miner: &mut Miner, job: &SetCustomMiningJob) -> Result<u32, String> {
    miner.peer.say(job).await;
    loop {
        match miner.peer.hear_mining().await {
            ToClient::SetCustomMiningJobSuccess(success) => return Ok(success.job_id),
            ToClient::SetCustomMiningJobError(error) => return Err(error.error_code.to_string()),
            // The pool's own templates go on.
            ToClient::NewExtendedMiningJob(_) => {}
            other => panic!("expected a verdict, heard {other:?}"),
        }
    }
}

/// One negotiation in full-template mode: what is distributed, and what it took.
async fn negotiate(url: &Url, miner: &Miner) -> (NewDistributedJob, Tip, Tally, Peer) {
    let mut tally = Tally::default();
    let mut declarer = join(url, protocol::JOB_DECLARATION, flags::DECLARE_TX_DATA)
        .await
        .unwrap();
    let ask = AllocateMiningJobToken {
        user_identifier: FARM.try_into().unwrap(),
        request_id: 1,
    };
    declarer.say(&ask).await;
    tally.count(|out| ask.encode_frame(out));
    let heard = declarer.hear_declare().await;
    tally.count(|out| heard.encode_frame(out));
    let Declared::AllocateMiningJobTokenSuccess(token) = heard else {
        panic!("expected a token")
    };
    let size = miner.prefix.len() + miner.size;
    let mut outputs = Coinbase::read_outputs(&token.coinbase_tx_outputs).expect("outputs");
    outputs[0].value = Amount::from_sat(SUBSIDY);
    // BIP34 stands at the start of the pool's own scriptSig.
    let own = miner.parts.as_ref().expect("a job").coinbase_tx_prefix.to_vec();
    let height = match own[42] {
        length @ 1..=8 => own[42..=42 + usize::from(length)].to_vec(),
        op => vec![op],
    };
    let coinbase = Coinbase {
        version: 2,
        script_prefix: [&height[..], &[u8::try_from(size).unwrap()]].concat(),
        extranonce_size: size,
        sequence: SEQUENCE,
        outputs,
        witness: None,
        locktime: 0,
    };
    let declare = DeclareMiningJob {
        request_id: 2,
        mining_job_token: token.mining_job_token,
        version: miner.version,
        coinbase_tx_prefix: B0_64K::new(&coinbase.prefix()).unwrap(),
        coinbase_tx_suffix: B0_64K::new(&coinbase.suffix()).unwrap(),
        wtxid_list: Seq0_64K::new(Vec::new()).unwrap(),
        excess_data: B0_64K::default(),
    };
    declarer.say(&declare).await;
    tally.count(|out| declare.encode_frame(out));
    let heard = declarer.hear_declare().await;
    tally.count(|out| heard.encode_frame(out));
    let Declared::DeclareMiningJobSuccess(success) = heard else {
        panic!("expected a verdict, heard {heard:?}")
    };
    let job = NewDistributedJob {
        job_id: 0,
        min_ntime: None,
        mining_job_token: success.new_mining_job_token,
        full_extranonce_size: u16::try_from(size).unwrap(),
        version: miner.version,
        coinbase_tx_version: coinbase.version,
        coinbase_prefix: B0_255::new(&coinbase.script_prefix).unwrap(),
        coinbase_tx_input_n_sequence: coinbase.sequence,
        coinbase_tx_outputs: B0_64K::new(&bitcoin::consensus::serialize(&coinbase.outputs)).unwrap(),
        coinbase_tx_locktime: coinbase.locktime,
        merkle_path: Seq0_255::new(Vec::new()).unwrap(),
    };
    let tip = Tip {
        prev_hash: miner.tip.prev_hash,
        min_ntime: miner.tip.min_ntime,
        nbits: miner.tip.nbits,
    };
    (job, tip, tally, declarer)
}

/// The pool as a distributor names it.
fn named(url: &Url) -> Pool {
    Pool {
        host: url.host.as_str().try_into().unwrap(),
        port: url.port,
        key: url.key.as_ref().map(AuthorityKey::to_bytes),
        user_identity: FARM.try_into().unwrap(),
        min_extranonce_size: 4,
    }
}

/// Distributor's side and pool's side of one receiver.
struct Receiving {
    jobs: Peer,
    client: Client,
    receiver: Receiver,
    miner: Miner,
    told: Tally,
}

impl Receiving {
    async fn start(distributor: &Url, pool: &Url) -> Self {
        let miner = miner(pool).await;
        let mut receiver = Receiver::new();
        let channel = Channel {
            id: miner.channel_id,
            full_size: miner.prefix.len() + miner.size,
        };
        receiver.handle(receiver::Input::Channel(Some(channel)), &mut Vec::new());
        Self {
            jobs: join(distributor, protocol::JOB_DISTRIBUTION, 0).await.unwrap(),
            client: Client::new(),
            receiver,
            miner,
            told: Tally::default(),
        }
    }

    /// The next thing that the distributor wants of it.
    async fn hear(&mut self) -> client::Output {
        loop {
            let message = self.jobs.hear_distribute().await;
            self.told.count(|out| message.encode_frame(out));
            let mut heard = Vec::new();
            self.client
                .handle(client::Input::Message(message), &mut heard)
                .unwrap();
            match heard.pop() {
                None | Some(client::Output::Pool(None)) => {}
                Some(output) => return output,
            }
        }
    }

    /// Works on the next distributed job: what the pool calls it.
    async fn work(&mut self, pool: &Url) -> Result<u32, String> {
        let active = loop {
            match self.hear().await {
                client::Output::Job(active) => break active,
                client::Output::Pool(Some(named)) => {
                    let key = pool.key.as_ref().map(AuthorityKey::to_bytes);
                    assert!(named.is(pool.host.as_bytes(), pool.port, key.as_ref()));
                }
                other => panic!("unexpected {other:?}"),
            }
        };
        let mut out = Vec::new();
        self.receiver.handle(receiver::Input::Job(active), &mut out);
        let Some(receiver::Output::Custom(message)) = out.pop() else {
            panic!("expected a job for the pool")
        };
        let request_id = message.request_id;
        let answer = set(&mut self.miner, &message).await;
        let input = match &answer {
            Ok(job_id) => receiver::Input::JobTaken {
                request_id,
                job_id: *job_id,
            },
            Err(code) => receiver::Input::JobRefused {
                request_id,
                code: Some(code.as_str().try_into().unwrap()),
            },
        };
        self.receiver.handle(input, &mut out);
        match out.pop() {
            Some(receiver::Output::Mine(Mine::Custom { job_id, .. })) => Ok(job_id),
            Some(receiver::Output::Refused { code, .. }) => Err(code.to_string()),
            other => panic!("unexpected {other:?}"),
        }
    }
}

/// REQ-JDIST-003: fifty receivers mine one declared job, each over its own connection to the pool: one token,
/// one declaration and one check by the pool's node, where fifty negotiators would have needed fifty of each. A block that
/// one of them finds goes to the distributor as well. When the job is withdrawn all mine the pool's own, on the same channels.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_connections_work_from_one_declaration() {
    let house = House::open(&[("negotiation.shared_tokens", "true")]).await;
    let pool = house.pool.url().clone();
    let mut distributor = Distributor::open(Receivers::Loopback).await;
    let jobs = distributor.house.pool.url().clone();
    let mut own = miner(&pool).await;
    let (job, tip, negotiation, _declarer) = negotiate(&pool, &own).await;
    distributor.say(board::Input::Pool(Some(named(&pool))));

    // Half of them are there before the job, half come late.
    let mut all = Vec::new();
    for number in 0..RECEIVERS {
        if number == RECEIVERS / 2 {
            distributor.say(board::Input::Job(Box::new(job.clone()), tip));
        }
        all.push(Receiving::start(&jobs, &pool).await);
    }
    let mut told = Tally::default();
    for receiving in &mut all {
        let id = receiving.work(&pool).await.unwrap();
        receiving.miner.submit_on(id, [1, 2]).await;
        told.messages += receiving.told.messages;
        told.bytes += receiving.told.bytes;
    }
    for receiving in &mut all {
        receiving.miner.settle().await;
        assert_eq!(receiving.miner.acknowledged.len(), 2);
        assert_eq!(receiving.miner.refused, []);
    }
    let (_, _, of_another, _other) = negotiate(&pool, &own).await;
    println!(
        "negotiated once: {negotiation:?}; distributed to {RECEIVERS}: {told:?}; each for itself: {RECEIVERS} times {of_another:?}"
    );
    // A token and a declaration with their answers; SetPool, the job, its SetNewPrevHash for each receiver.
    assert_eq!(negotiation.messages, 4);
    assert_eq!(told.messages, RECEIVERS * 3);

    let solution = solve(all[3].client.state().active.as_ref().unwrap(), &all[3].miner);
    all[3].jobs.say(&solution).await;
    let solved = tokio::time::timeout(SOON, distributor.solutions.recv());
    let solved = solved.await.expect("the block arrives").unwrap();
    let header: bitcoin::block::Header = bitcoin::consensus::deserialize(&solved.header).unwrap();
    assert!(header.validate_pow(header.target()).is_ok());

    let page = distributor.house.picture("fifty receivers", |now| {
        now.distribution
            .is_some_and(|it| (it.receivers, it.jobs) == (RECEIVERS, RECEIVERS))
    });
    let page = page.await.distribution.unwrap();
    assert_eq!(
        (page.joined, page.solutions, page.junk, page.dropped_slow),
        (RECEIVERS, 1, 0, 0)
    );
    // What the receivers counted on their side, and SetPool of those who were there before there was a pool.
    assert!(page.bytes >= told.bytes, "{page:?} {told:?}");

    distributor.say(board::Input::End(WithdrawJob::RefusedByPool));
    for receiving in &mut all {
        let ended = receiving.hear().await;
        assert!(matches!(ended, client::Output::Ended { .. }), "{ended:?}");
        let mut out = Vec::new();
        receiving.receiver.handle(receiver::Input::NoJob, &mut out);
        assert_eq!(out, [receiver::Output::Mine(Mine::Own)]);
        receiving.miner.mine([3]).await;
    }
    own.mine([4]).await;
    let counts = house.picture("all is counted", |now| {
        now.negotiation.custom_accepted >= RECEIVERS
    });
    let counts = counts.await.negotiation;
    // The second declaration is the one that was made for the comparison.
    assert_eq!(
        (counts.declared, counts.custom_accepted, counts.custom_refused),
        (2, RECEIVERS, 0)
    );
    drop(all);
    let last = house.close().await;
    assert_eq!(
        (last.shares.accepted, last.shares.rejected),
        (3 * RECEIVERS + 1, 0)
    );
    distributor.house.close().await;
}

/// A block of a job without transactions.
fn solve(active: &Active, miner: &Miner) -> SubmitSolution {
    let extranonce = [&miner.prefix[..], &vec![7; miner.size]].concat();
    let stripped = coinbase(&active.job, &extranonce, None).unwrap();
    let header = solve_alone(
        active.job.version,
        (active.tip.prev_hash, active.tip.min_ntime, active.tip.nbits),
        &stripped,
    );
    SubmitSolution {
        job_id: active.job.job_id,
        extranonce: B0_32::new(&extranonce).unwrap(),
        version: active.job.version,
        ntime: header.time,
        nonce: header.nonce,
    }
}

/// A pool that does not share tokens takes a job once: everybody else is refused, says so, and mines the pool's own jobs.
#[tokio::test(flavor = "multi_thread")]
async fn without_shared_tokens_receivers_mine_the_pools_own_jobs() {
    let house = House::open(&[]).await;
    let pool = house.pool.url().clone();
    let mut distributor = Distributor::open(Receivers::Loopback).await;
    let jobs = distributor.house.pool.url().clone();
    let own = miner(&pool).await;
    let (job, tip, _, _declarer) = negotiate(&pool, &own).await;
    distributor.say(board::Input::Pool(Some(named(&pool))));
    distributor.say(board::Input::Job(Box::new(job), tip));
    let mut first = Receiving::start(&jobs, &pool).await;
    let mut second = Receiving::start(&jobs, &pool).await;
    first.work(&pool).await.unwrap();
    assert_eq!(second.work(&pool).await, Err("invalid-mining-job-token".into()));
    assert!(!second.receiver.is_custom());
    second.miner.mine([1]).await;
}

/// REQ-JDIST-001, REQ-JDIST-002: who distributes nothing, or nothing to this peer, refuses the protocol and serves on.
#[tokio::test(flavor = "multi_thread")]
async fn who_distributes_nothing_says_so_at_setup() {
    let plain = House::open(&[]).await;
    let off = Distributor::open(Receivers::Off).await;
    for url in [plain.pool.url(), off.house.pool.url()] {
        let refused = join(url, protocol::JOB_DISTRIBUTION, 0).await.err();
        assert_eq!(refused.as_deref(), Some("unsupported-protocol"));
        assert!(join(url, protocol::MINING, 0).await.is_ok());
    }
    let on = Distributor::open(Receivers::Loopback).await;
    let flags = join(on.house.pool.url(), protocol::JOB_DISTRIBUTION, 1 << 7)
        .await
        .err();
    assert_eq!(flags.as_deref(), Some("unsupported-feature-flags"));
}

/// A device that mines distributed jobs, on a thread of its own.
struct Device {
    live: Arc<Live>,
    _stop: Stop,
}

impl Device {
    fn start(pool: &Url, distributor: &Url, hash_rate: f64) -> Self {
        let (stop, shutdown) = Shutdown::new();
        let live = Arc::new(Live::default());
        let settings = device::Settings {
            upstream: pool.clone(),
            user: FARM.to_owned(),
            threads: 1,
            channel: device::Channel::Extended,
            until_shares: None,
            dialling: adit_net::Dialling::default(),
            hash_rate: Some(hash_rate),
            extensions: device::Extensions::default(),
        };
        let running = device::run_with(settings, Some(distributor.clone()), Arc::clone(&live), shutdown);
        tokio::spawn(running);
        Self { live, _stop: stop }
    }

    /// Waits until it has so many more accepted shares.
    async fn goes_on(&self, more: u64) {
        let goal = self.live.accepted() + more;
        support::until("the device goes on", || self.live.accepted() >= goal).await;
    }
}

/// `adit device --jobs`: it mines the distributed job when there is one, and the pool's own when the job is withdrawn and when
/// the distributor is gone, on one and the same channel, without a refused share.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_mines_distributed_jobs_and_falls_back() {
    let house = House::open(&[("negotiation.shared_tokens", "true"), ("node", "embedded:40")]).await;
    let pool = house.pool.url().clone();
    let mut distributor = Distributor::open(Receivers::Private).await;
    let jobs = distributor.house.pool.url().clone();
    let device = Device::start(&pool, &jobs, 20e3);
    device.goes_on(2).await;
    let own = miner(&pool).await;
    distributor.say(board::Input::Pool(Some(named(&pool))));
    let mut declarers = Vec::new();
    for taken in 1..=2 {
        let (job, tip, _, declarer) = negotiate(&pool, &own).await;
        declarers.push(declarer);
        distributor.say(board::Input::Job(Box::new(job), tip));
        let accepted = house.picture("the distributed job is set", |now| {
            now.negotiation.custom_accepted >= taken
        });
        assert_eq!(accepted.await.negotiation.custom_refused, 0);
        device.goes_on(3).await;
        distributor.say(board::Input::End(WithdrawJob::RefusedByPool));
        device.goes_on(3).await;
    }
    let (job, tip, _, _declarer) = negotiate(&pool, &own).await;
    distributor.say(board::Input::Job(Box::new(job), tip));
    house
        .picture("the last one", |now| now.negotiation.custom_accepted >= 3)
        .await;
    distributor.house.close().await;
    device.goes_on(5).await;
    assert_eq!(device.live.rejected(), 0);
    let peers = house.picture("one connection of the device", |now| {
        now.connections.accepted >= 2
    });
    // Its own, that of `own` and three declarers: the device never had to connect again.
    assert_eq!(peers.await.connections.accepted, 5);
}

/// Settings of a program of this test on the node of `provider`.
fn on_provider(data: &std::path::Path, provider: &Url, changes: &[(&str, &str)]) -> Settings {
    let node = format!("tdp:{provider}");
    let base = [("node", node.as_str()), ("payout.address", MINE_TO)];
    support::settings(data, &[&base, changes].concat())
}

/// The whole way with our own programs, in coinbase-only mode: a negotiator's job, which its pool has taken, is mined by a
/// device of its own connection; the block that it finds is published by the negotiator, who alone has the transactions.
/// REQ-JDIST-004: a device below the negotiator gets its jobs by the mining protocol and needs nothing of this.
#[tokio::test(flavor = "multi_thread")]
async fn a_negotiators_job_is_mined_by_others_and_their_block_is_in_the_chain() {
    let data = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let keys = [
        ("data", data[0].path().to_str().unwrap()),
        ("provider.listen", "127.0.0.1:0"),
        ("node", "embedded:21"),
        ("log.level", "error"),
    ];
    let provider = Provider::start(&Settings::with(&keys).unwrap()).await.unwrap();
    let pool_keys = [
        ("negotiation.mode", "both"),
        ("negotiation.shared_tokens", "true"),
        ("shares.per_minute", "600"),
    ];
    let pool = adit::pool::Pool::start(&on_provider(data[1].path(), provider.url(), &pool_keys), false)
        .await
        .unwrap();
    let upstream = pool.url().to_string();
    let negotiator_keys = [
        ("upstream.pools", upstream.as_str()),
        ("upstream.user", FARM),
        ("negotiator.mode", "coinbase-only"),
    ];
    let settings = on_provider(data[2].path(), provider.url(), &negotiator_keys);
    let negotiator = Negotiator::start(&settings, false).await.unwrap();
    let below = Miner::start(negotiator.url(), How::HeaderOnly, "below").await;
    assert!(below.job_id > 0);
    let device = Device::start(pool.url(), negotiator.url(), 20e3);
    // The negotiator's own SetCustomMiningJob, and the device's.
    support::picture(&pool, "both have set the job", |now| {
        now.negotiation.custom_accepted >= 2
    })
    .await;
    let before = provider.status().borrow().blocks.accepted;
    let mut status = provider.status();
    // The device mines the pool's own jobs for moments only: were its blocks lost, the chain would stand still.
    let found = status.wait_for(|now| now.blocks.accepted >= before + 3);
    tokio::time::timeout(SOON * 3, found)
        .await
        .expect("the blocks of the device are published")
        .unwrap();
    device.goes_on(1).await;
    drop((device, below));
    negotiator.stop().await.unwrap();
    pool.stop().await.unwrap();
    provider.stop().await.unwrap();
}
