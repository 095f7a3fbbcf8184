//! A hundred clients declare whole blocks at once: a pool as a process of its own, so that its memory can be measured.

use std::time::Duration;

use adit_net::Url;
use adit_wire::common::flags;
use adit_wire::declare::{AllocateMiningJobToken, DeclareMiningJob, ToClient};
use adit_wire::{Message, Seq0_64K, U256};
use bitcoin::{Transaction, Witness};
use tokio::time::Instant;

use crate::lists::{provided, transaction, wtxid};
use crate::support::negotiator::{Negotiator, SUBSIDY, declarer};
use crate::support::peer::{Heard, Peer};
use crate::support::process::Process;

/// Who declares whole blocks.
const CROWD: u32 = 100;
/// Transactions of each of their blocks, and bytes of each of these: together what a block can hold.
const TRANSACTIONS: u32 = 10;
const TRANSACTION_BYTES: usize = 385_000;
/// What all declared jobs together may hold.
const MEMORY_BYTES: u64 = 64 << 20;
/// What the process may take besides: two workers' buffers for one message each, its copies while it is read, blocks on their
/// way to the node, and what the allocator keeps.
const BESIDES_BYTES: u64 = 96 << 20;
/// How long an honest miner may wait for its job.
const HONEST_WAIT: Duration = Duration::from_secs(2);
/// Where the machine is so slow that it waits long without any crowd: so many times as long.
const HONEST_TIMES: u32 = 8;

/// Transactions that are in nobody's block and nobody else's declaration; their bytes are witness, which weighs one.
fn block_of(client: u32) -> Vec<Transaction> {
    let number = |n| transaction(client * TRANSACTIONS + n);
    let big = |n: u32| {
        let mut it = number(n);
        it.input[0].witness = Witness::from_slice(&[vec![n as u8; TRANSACTION_BYTES]]);
        it
    };
    (0..TRANSACTIONS).map(big).collect()
}

/// A client up to the point where its transactions are asked for, and its answer, sealed.
async fn ready(url: &Url, template: &DeclareMiningJob, client: u32) -> (Peer, Vec<u8>) {
    let mut peer = declarer(url, flags::DECLARE_TX_DATA).await;
    let name = format!("crowd{client}");
    let ask = AllocateMiningJobToken {
        user_identifier: name.as_str().try_into().unwrap(),
        request_id: 1,
    };
    peer.say(&ask).await;
    let ToClient::AllocateMiningJobTokenSuccess(token) = peer.hear_declare().await else {
        panic!("expected a token")
    };
    let all = block_of(client);
    let ids: Vec<U256> = all.iter().map(wtxid).collect();
    let declare = DeclareMiningJob {
        mining_job_token: token.mining_job_token,
        wtxid_list: Seq0_64K::new(ids).unwrap(),
        ..template.clone()
    };
    peer.say(&declare).await;
    let answer = peer.hear_declare().await;
    assert!(
        matches!(answer, ToClient::ProvideMissingTransactions(_)),
        "{answer:?}"
    );
    let bytes: Vec<Vec<u8>> = all.iter().map(bitcoin::consensus::serialize).collect();
    let mut frame = Vec::new();
    provided(declare.request_id, &bytes).encode_frame(&mut frame);
    let sealed = peer.seal(&frame);
    (peer, sealed)
}

/// A token, a declaration and a job of an honest miner: how long that takes.
async fn round(alice: &mut Negotiator) -> Duration {
    let started = Instant::now();
    let token = alice.allocate().await;
    let coinbase = alice.coinbase(&token, SUBSIDY);
    let new = alice.declare(&token.mining_job_token, &coinbase).await;
    let new = new.expect("a small job needs no room to speak of");
    let job = alice.custom(&new, &coinbase);
    alice.set(&job).await.unwrap();
    started.elapsed()
}

/// A line of /proc/PID/status, in bytes.
fn memory(id: u32, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("a process");
    let found = status
        .lines()
        .find_map(|it| it.strip_prefix(line)?.strip_prefix(':'));
    let kilobytes = found.expect("a line").trim().trim_end_matches(" kB");
    kilobytes.parse::<u64>().expect("a number") * 1024
}

/// Whole blocks from a hundred clients at once: some are checked and refused, some find no room and are told so, the memory of
/// the process grows by no more than was configured and a fixed sum besides, and an honest miner has its jobs within two
/// seconds all the while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_whole_blocks_at_once_leave_an_honest_miner_served() {
    let home = tempfile::tempdir().unwrap();
    let pool = Process::pool(
        home.path(),
        &format!("--node embedded:40 --set negotiation.memory_bytes={MEMORY_BYTES}"),
    );
    let url = pool.url();
    let mut alice = Negotiator::start(&url, "alice", flags::DECLARE_TX_DATA).await;
    let token = alice.allocate().await;
    let coinbase = alice.coinbase(&token, SUBSIDY);
    let template = alice.declaration(&token.mining_job_token, &coinbase);
    let mut crowd = Vec::new();
    for client in 0..CROWD {
        crowd.push(ready(&url, &template, client).await);
    }
    let mut quiet = Duration::ZERO;
    for _ in 0..3 {
        quiet = quiet.max(round(&mut alice).await);
    }
    let before = memory(pool.id(), "VmRSS");
    let mut attack = tokio::task::JoinSet::new();
    for (mut peer, sealed) in crowd {
        attack.spawn(async move {
            peer.say_bytes(&sealed).await;
            let heard = peer.hear().await;
            let code = match &heard {
                Heard::Declare(ToClient::DeclareMiningJobError(error)) => error.error_code.to_string(),
                Heard::End => "end".to_owned(),
                other => panic!("unexpected {other:?}"),
            };
            (code, peer)
        });
    }
    let (mut slowest, mut rounds) = (Duration::ZERO, 0);
    let (mut checked, mut no_room, mut held) = (0, 0, Vec::new());
    while !attack.is_empty() || rounds < 3 {
        slowest = slowest.max(round(&mut alice).await);
        rounds += 1;
        while let Some(ended) = attack.try_join_next() {
            let (code, peer) = ended.unwrap();
            match code.as_str() {
                "invalid-job" => checked += 1,
                "internal-error" | "end" => no_room += 1,
                other => panic!("unexpected {other}"),
            }
            held.push(peer);
        }
        // As fast as tokens are given out in the long run.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let most = memory(pool.id(), "VmHWM");
    println!(
        "slowest job {slowest:?} of {rounds}, {quiet:?} without a crowd; {checked} blocks checked, {no_room} without room; memory {before} before, {most} at most"
    );
    assert_eq!(checked + no_room, CROWD);
    assert!(checked > 0, "whoever has room is served");
    assert!(
        slowest < HONEST_WAIT.max(quiet * HONEST_TIMES),
        "{slowest:?}, {quiet:?} without a crowd"
    );
    assert!(
        most - before <= MEMORY_BYTES + BESIDES_BYTES,
        "{before} before, {most} at most"
    );
    drop(held);
    pool.kill();
}
