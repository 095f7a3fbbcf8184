//! Far too much of something: tokens, solutions, and one token twice.

use adit_wire::common::flags;
use adit_wire::declare::{AllocateMiningJobToken, PushSolution, ToClient};
use adit_wire::{B0_32, Message};

use crate::lists::code;
use crate::support::House;
use crate::support::negotiator::{EXTRANONCE, Negotiator, SUBSIDY, solve};
use crate::support::peer::Heard;

/// Messages of a flood.
const FLOOD: u32 = 100_000;

/// Tokens that a connection may ask for at once, and that it may have.
const BURST: u64 = 16;
const LIVE_MAX: u64 = 8;

/// A hundred thousand token requests: no more than a burst is answered, far too fast is cut off, the tokens come back with the
/// connection, and another miner gets its own meanwhile. Who asks for many at a bearable pace has the last eight.
#[tokio::test]
async fn a_flood_of_100000_token_requests_is_cut_off() {
    let house = House::open(&[("limits.messages_per_second", "0")]).await;
    let mut alice = Negotiator::start(house.pool.url(), "alice", flags::DECLARE_TX_DATA).await;
    let mut mallory = Negotiator::start(house.pool.url(), "mallory", flags::DECLARE_TX_DATA).await;
    let mut frames = Vec::new();
    for request_id in 0..FLOOD {
        let user_identifier = "mallory".try_into().unwrap();
        let ask = AllocateMiningJobToken {
            user_identifier,
            request_id,
        };
        ask.encode_frame(&mut frames);
    }
    let mut tokens = 0;
    let flood = async {
        mallory.declarer.say_frames(&frames).await;
        for heard in mallory.declarer.hear_all().await {
            assert!(matches!(
                heard,
                Heard::Declare(ToClient::AllocateMiningJobTokenSuccess(_))
            ));
            tokens += 1;
        }
    };
    let (_, token) = tokio::join!(flood, alice.allocate());
    assert!(tokens <= BURST, "{tokens} tokens");
    let coinbase = alice.coinbase(&token, SUBSIDY);
    assert!(alice.declare(&token.mining_job_token, &coinbase).await.is_ok());
    let now = house
        .picture("only the token of alice's declared job lives", |now| {
            now.negotiation.tokens_live == 1
        })
        .await;
    assert!(now.negotiation.tokens <= BURST + 1, "{:?}", now.negotiation);
    let mut carol = Negotiator::start(house.pool.url(), "carol", flags::DECLARE_TX_DATA).await;
    let first = carol.allocate().await;
    for _ in 0..LIVE_MAX {
        carol.allocate().await;
    }
    let refused = carol
        .declare(&first.mining_job_token, &coinbase)
        .await
        .unwrap_err();
    assert_eq!(refused.0, "invalid-mining-job-token", "the oldest had to go");
    house
        .picture("eight of hers live", |now| {
            now.negotiation.tokens_live == 1 + LIVE_MAX
        })
        .await;
    house.close().await;
}

/// A hundred thousand junk solutions, all of them looked at or passed over, and the node hears of none; the block that comes
/// after a minute's pause would be taken, and so is the next job at once.
#[tokio::test]
async fn junk_solutions_cost_no_call_of_the_node() {
    let house = House::open(&[("limits.messages_per_second", "0")]).await;
    let mut alice = Negotiator::start(house.pool.url(), "alice", flags::DECLARE_TX_DATA).await;
    let (token, coinbase) = alice.declared().await;
    let job = alice.custom(&token, &coinbase);
    alice.set(&job).await.unwrap();
    let before = house
        .picture("the job is set", |now| now.negotiation.custom_accepted == 1)
        .await;
    let mut frames = Vec::new();
    for nonce in 0..FLOOD {
        let junk = PushSolution {
            extranonce: B0_32::new(&[3; EXTRANONCE]).unwrap(),
            prev_hash: alice.miner.tip.prev_hash,
            nonce,
            ntime: alice.miner.tip.min_ntime,
            // A block takes 2^18 hashes here, and a minute's worth of solutions is looked at.
            nbits: alice.miner.tip.nbits,
            version: alice.miner.version,
        };
        junk.encode_frame(&mut frames);
    }
    alice.declarer.say_frames(&frames).await;
    // The answer comes after all of the junk was read.
    let (token, coinbase) = alice.declared().await;
    let job = alice.custom(&token, &coinbase);
    alice.set(&job).await.unwrap();
    let after = house
        .picture("the next job is set", |now| now.negotiation.custom_accepted == 2)
        .await;
    assert_eq!(
        (after.negotiation.node_calls, after.negotiation.solutions),
        (before.negotiation.node_calls + 1, 0),
        "one call for the one honest declaration"
    );
    assert_eq!((after.blocks.found, after.blocks.rejected), (0, 0));
    house.close().await;
}

/// Two declarations with one token, sent in one write: exactly one success. And what was used cannot be used again.
#[tokio::test]
async fn a_token_that_is_replayed_is_good_once() {
    let house = House::open(&[]).await;
    let mut alice = Negotiator::start(house.pool.url(), "alice", flags::DECLARE_TX_DATA).await;
    let token = alice.allocate().await;
    let coinbase = alice.coinbase(&token, SUBSIDY);
    let mut frames = Vec::new();
    for _ in 0..2 {
        let job = alice.declaration(&token.mining_job_token, &coinbase);
        job.encode_frame(&mut frames);
    }
    alice.declarer.say_frames(&frames).await;
    let answers = [
        alice.declarer.hear_declare().await,
        alice.declarer.hear_declare().await,
    ];
    let successes: Vec<&[u8]> = answers
        .iter()
        .filter_map(|it| match it {
            ToClient::DeclareMiningJobSuccess(it) => Some(&*it.new_mining_job_token),
            _ => None,
        })
        .collect();
    assert_eq!(successes.len(), 1, "{answers:?}");
    let refusal = answers
        .iter()
        .find(|it| matches!(it, ToClient::DeclareMiningJobError(_)));
    assert_eq!(code(refusal.unwrap()), "invalid-mining-job-token");
    let job = alice.custom(successes[0], &coinbase);
    assert!(alice.set(&job).await.is_ok());
    assert_eq!(alice.set(&job).await, Err("invalid-mining-job-token".into()));
    let refused = alice
        .declare(&token.mining_job_token, &coinbase)
        .await
        .unwrap_err();
    assert_eq!(refused.0, "invalid-mining-job-token");
    house.close().await;
}

/// A block of the job before the last: its solution comes when the next one was just declared, and is published.
#[tokio::test]
async fn a_solution_of_the_previous_job_is_published() {
    let house = House::open(&[]).await;
    let mut alice = Negotiator::start(house.pool.url(), "alice", flags::DECLARE_TX_DATA).await;
    let (_, mut coinbase) = alice.declared().await;
    let solution = solve(&alice.miner, &coinbase);
    for kept in 1..4 {
        let token = alice.allocate().await;
        coinbase.outputs.truncate(1);
        coinbase
            .outputs
            .push(crate::support::negotiator::output(0, vec![0x6a, 1, kept]));
        alice.declare(&token.mining_job_token, &coinbase).await.unwrap();
    }
    alice.declarer.say(&solution).await;
    house
        .picture("it is accepted", |now| now.blocks.accepted == 1)
        .await;
    house.close().await;
}
