//! What judging a share and fanning a job out cost, beside the bare hashing of the same blocks.
//!
//! `cargo run --release -p adit-proto --example share_costs`

use adit_proto::Time;
use adit_proto::coinbase::{Body, Coinbase};
use adit_proto::extranonce::{Extranonce, FullSize, Space};
use adit_proto::job::{Fields, Job};
use adit_proto::merkle;
use adit_proto::mining::server::{Input, Output, Server, Settings};
use adit_proto::setup::Established;
use adit_proto::share::{Claim, Head, Seen, Terms, judge_extended, judge_standard};
use adit_proto::target::Target;
use adit_wire::common::flags::REQUIRES_STANDARD_JOBS;
use adit_wire::mining::{OpenStandardMiningChannel, SubmitSharesExtended, SubmitSharesStandard};
use adit_wire::{B0_32, Str0_255, U256};
use bitcoin::{Amount, ScriptBuf, TxOut};
use std::hint::black_box;
use std::sync::Arc;

const NTIME: u32 = 1_800_000_000;
const NOW: Time = Time(1_800_000_100_000_000);
const ROUNDS: usize = 60;
const SHARES: u32 = 2_000;

fn main() {
    let compression = best_ns(ROUNDS, 20_000, raw(20_000));
    println!("one compression (chained)          {compression:8.1} ns");

    let path = [[7u8; 32]; 12];
    let fold = best_ns(ROUNDS, 500, || {
        let mut root = [1; 32];
        for _ in 0..500 {
            root = merkle::fold(root, &path);
        }
        black_box(root);
    });
    row(
        "merkle fold, 12 branches",
        fold,
        best_ns(ROUNDS, 500, blocks(36, 500)),
    );

    let standard = best_ns(ROUNDS, SHARES, judging_standard(false));
    let rolled = best_ns(ROUNDS, SHARES, judging_standard(true));
    let hashes = best_ns(ROUNDS, SHARES, blocks(3, SHARES));
    row("judge standard", standard, hashes);
    row("judge standard, version rolled", rolled, hashes);

    // Two outputs, and the many of a coinbase that pays who mines together (docs/payouts.md).
    for (branches, outputs) in [(0, 2), (12, 2), (12, 20), (12, 100)] {
        let job = paying(outputs, branches);
        // Coinbase from its midstate, branches, header; each with its second hash.
        let count = coinbase_blocks(&job) + 1 + 3 * branches + 3;
        let extended = best_ns(ROUNDS, SHARES, judging_extended(outputs, branches));
        let label = format!("judge extended, {branches} branches, {outputs} outputs");
        row(&label, extended, best_ns(ROUNDS, SHARES, blocks(count, SHARES)));
    }

    row(
        "Server::handle, standard share",
        best_ns(ROUNDS, SHARES, serving(false)),
        standard,
    );
    let extended = best_ns(ROUNDS, SHARES, judging_extended(2, 12));
    row(
        "Server::handle, extended share, 12",
        best_ns(ROUNDS, SHARES, serving(true)),
        extended,
    );

    let job = job(1, 12);
    let count = coinbase_blocks(&job) + 1 + 36;
    let fanned = best_ns(ROUNDS, 1_000, fan_out());
    row(
        "job to a header-only channel",
        fanned,
        best_ns(ROUNDS, 1_000, blocks(count, 1_000)),
    );
}

fn row(label: &str, ns: f64, floor: f64) {
    println!(
        "{label:40} {ns:8.1} ns   floor {floor:8.1} ns   ratio {:5.2}",
        ns / floor
    );
}

#[expect(clippy::disallowed_methods, reason = "a stopwatch, not logic")]
fn best_ns(rounds: usize, count: u32, mut work: impl FnMut()) -> f64 {
    (0..rounds)
        .map(|_| {
            let start = std::time::Instant::now();
            work();
            start.elapsed().as_nanos() as f64 / f64::from(count)
        })
        .fold(f64::INFINITY, f64::min)
}

/// `count` compressions of the library, each of its own block.
fn raw(count: u32) -> impl FnMut() {
    blocks(1, count)
}

/// `repeat` times `count` compressions, one call a message of two blocks as far as possible: the same
/// library, nothing else.
fn blocks(count: usize, repeat: u32) -> impl FnMut() {
    let data = vec![sha2::digest::generic_array::GenericArray::from([5u8; 64]); 2];
    move || {
        let mut state = [9u32; 8];
        for _ in 0..repeat {
            let mut left = count;
            while left >= 3 {
                sha2::compress256(&mut state, black_box(&data));
                sha2::compress256(&mut state, black_box(&data[..1]));
                left -= 3;
            }
            for _ in 0..left {
                sha2::compress256(&mut state, black_box(&data[..1]));
            }
        }
        black_box(state);
    }
}

fn judging_standard(rolled: bool) -> impl FnMut() {
    let (job, mut seen, mut nonce, mut tip) = (job(1, 0), Seen::new(1 << 20), 0u32, 0u64);
    let mut head = Head::new(&job, [3; 32], 0x2000_0000);
    move || {
        tip += 1;
        seen.turn_to(&tip_hash(tip));
        for _ in 0..SHARES {
            nonce += 1;
            let claim = Claim {
                nonce,
                ntime: NTIME,
                version: 0x2000_0000 | if rolled { (nonce & 0xffff) << 13 } else { 0 },
            };
            black_box(judge_standard(
                &terms(&job),
                black_box(&mut head),
                &claim,
                &mut seen,
            ))
            .ok();
        }
        assert!(seen.len() >= SHARES as usize);
    }
}

fn judging_extended(outputs: usize, branches: usize) -> impl FnMut() {
    let (job, mut seen, mut nonce, mut tip) = (paying(outputs, branches), Seen::new(1 << 20), 0u32, 0u64);
    move || {
        tip += 1;
        seen.turn_to(&tip_hash(tip));
        for _ in 0..SHARES {
            nonce += 1;
            let rolled = u64::from(nonce).to_be_bytes();
            let extranonce = Extranonce::rolled([1; 7], &rolled, FullSize::DEFAULT);
            let claim = Claim {
                nonce,
                ntime: NTIME,
                version: 0x2000_0000,
            };
            if let Some(extranonce) = extranonce {
                black_box(judge_extended(&terms(&job), &extranonce, &claim, &mut seen)).ok();
            }
        }
        assert!(seen.len() >= SHARES as usize);
    }
}

/// The whole machine: from a decoded message to the outputs, acknowledgements included.
fn serving(extended: bool) -> impl FnMut() {
    let mut server = server(0);
    let mut out = Vec::new();
    let open = open();
    let opened = if extended {
        let open = adit_wire::mining::OpenExtendedMiningChannel {
            request_id: 1,
            user_identity: open.user_identity,
            nominal_hash_rate: 0.0,
            max_target: U256::MAX,
            min_extranonce_size: 8,
        };
        server.handle(NOW, Input::Message(open.into()), &mut out)
    } else {
        server.handle(NOW, Input::Message(open.into()), &mut out)
    };
    assert!(opened.is_ok());
    let (mut nonce, mut tip, mut job_id) = (0u32, 0u64, 0u32);
    let mut extranonce = B0_32::default();
    let jobs: Vec<Arc<Job>> = (1..100).map(|tip| Arc::new(job(tip, 12))).collect();
    move || {
        tip += 1;
        job_id += 1;
        if let Some(job) = jobs.get(tip as usize) {
            server.handle(NOW, Input::Work(Arc::clone(job)), &mut out).ok();
        }
        for _ in 0..SHARES {
            nonce += 1;
            let (channel_id, sequence_number, ntime, version) = (2, nonce, NTIME, 0x2000_0000);
            out.clear();
            let message = if extended {
                if let Ok(bytes) = B0_32::new(&u64::from(nonce).to_be_bytes()) {
                    extranonce = bytes;
                }
                let share = SubmitSharesExtended {
                    channel_id,
                    sequence_number,
                    job_id,
                    nonce,
                    ntime,
                    version,
                    extranonce,
                };
                share.into()
            } else {
                SubmitSharesStandard {
                    channel_id,
                    sequence_number,
                    job_id,
                    nonce,
                    ntime,
                    version,
                }
                .into()
            };
            server.handle(NOW, Input::Message(message), &mut out).ok();
            assert!(matches!(out.first(), Some(Output::Share(_))), "{out:?}");
            if nonce.is_multiple_of(64) {
                server
                    .handle(
                        NOW,
                        Input::Committed {
                            through: nonce.into(),
                        },
                        &mut out,
                    )
                    .ok();
            }
        }
    }
}

fn fan_out() -> impl FnMut() {
    let mut server = server(REQUIRES_STANDARD_JOBS);
    let mut out = Vec::new();
    for _ in 0..1_000 {
        server.handle(NOW, Input::Message(open().into()), &mut out).ok();
    }
    let mut templates = (1u64..).map(|template| {
        let mut fields = fields(1, 12);
        fields.template = template;
        Job::new(fields).map(Arc::new)
    });
    move || {
        out.clear();
        if let Some(Ok(job)) = templates.next() {
            server.handle(NOW, Input::Work(job), &mut out).ok();
        }
        assert!(out.len() >= 1_000);
    }
}

fn server(flags: u32) -> Server {
    let setup = Established {
        protocol: 0,
        version: 2,
        flags,
        success_flags: 0,
        endpoint_host: Str0_255::default(),
        endpoint_port: 0,
        device: Default::default(),
    };
    let settings = Settings {
        vardiff: false,
        channels_max: 1_000,
        pending_max: 1 << 20,
        ..Settings::default()
    };
    let Some(slot) = Space::new(1, 0..1).lease(0) else {
        unreachable!("the space has one slot")
    };
    Server::new(NOW, Arc::new(settings), &setup, slot)
}

fn open() -> OpenStandardMiningChannel {
    OpenStandardMiningChannel {
        request_id: 1,
        user_identity: Str0_255::default(),
        nominal_hash_rate: 0.0,
        max_target: U256::MAX,
    }
}

fn terms(job: &Job) -> Terms<'_> {
    Terms {
        job,
        target: &Target::MAX,
        work: 1,
        ntime_min: NTIME,
        ntime_max: NTIME + 7_200,
    }
}

fn tip_hash(tip: u64) -> [u8; 32] {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&tip.to_le_bytes());
    hash
}

/// Blocks of the coinbase that no midstate covers.
fn coinbase_blocks(job: &Job) -> usize {
    let coinbase = &job.fields().coinbase;
    let prefix = coinbase.prefix(FullSize::DEFAULT).len();
    let bytes = prefix + FullSize::DEFAULT.bytes() + coinbase.suffix().len();
    (bytes + 9).div_ceil(64) - prefix / 64
}

fn job(tip: u64, branches: usize) -> Job {
    made(fields(tip, branches))
}

/// A job whose coinbase has so many outputs.
fn paying(outputs: usize, branches: usize) -> Job {
    let mut fields = fields(1, branches);
    if let Body::Own(coinbase) = &mut fields.coinbase
        && let Some(output) = coinbase.outputs.first().cloned()
    {
        coinbase.value = output.value.to_sat() * outputs as u64;
        coinbase.outputs = vec![output; outputs];
    }
    made(fields)
}

fn made(fields: Fields) -> Job {
    match Job::new(fields) {
        Ok(job) => job,
        Err(error) => unreachable!("{error}"),
    }
}

/// The coinbase of the published measurements: 57 bytes before the extranonce, 133 after it.
fn fields(tip: u64, branches: usize) -> Fields {
    let output = |value, bytes| TxOut {
        value: Amount::from_sat(value),
        script_pubkey: ScriptBuf::from_bytes(vec![0x51; bytes]),
    };
    Fields {
        tip,
        template: tip,
        version: 0x2000_0000,
        version_rolling_allowed: true,
        prev_hash: tip_hash(tip),
        nbits: 0x1d00_ffff,
        header_timestamp: NTIME,
        min_ntime: NTIME,
        merkle_path: vec![[7; 32]; branches],
        coinbase: Body::Own(Coinbase {
            version: 2,
            script_prefix: vec![3, 1, 2, 3],
            tag: b"/adit/".to_vec(),
            start_epoch: 1,
            sequence: u32::MAX,
            value: 300,
            outputs: vec![output(100, 22), output(200, 22)],
            required_outputs: vec![output(0, 38)],
            locktime: 0,
            witness: Some([0; 32]),
        }),
        share_work_max: None,
        block_target: None,
        publish: true,
    }
}
