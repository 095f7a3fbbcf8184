//! Job negotiation with a whole pool over loopback TCP: an honest miner, and what the malicious and the unlucky do.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

mod support;

use std::time::Duration;

use adit_proto::declare::Coinbase;
use adit_wire::common::{self, SetupConnection, flags};
use adit_wire::declare::PushSolution;
use adit_wire::mining::SetCustomMiningJob;
use adit_wire::{B0_32, B0_64K, B0_255, Seq0_64K, Seq0_255, U256};
use bitcoin::{Amount, TxOut};
use support::negotiator::{EXTRANONCE, Negotiator, SUBSIDY, declares, output, solve};
use support::peer::{self, Peer};
use support::{House, records};

/// REQ-MIN-012, REQ-JD-003, REQ-JD-022, REQ-JD-036, REQ-JD-048: token, declaration, job, shares; and the ledger has what
/// was promised, without the token. REQ-JD-041: a pushed solution is the node's tip.
#[tokio::test]
async fn a_declared_job_is_mined_and_its_block_published() {
    let house = House::open(&[]).await;
    let mut alice = Negotiator::start(house.pool.url(), "alice", flags::DECLARE_TX_DATA).await;
    let (token, coinbase) = alice.declared().await;
    let again = alice.allocate().await;
    assert_eq!(
        Coinbase::read_outputs(&again.coinbase_tx_outputs).unwrap()[0].script_pubkey,
        coinbase.outputs[0].script_pubkey,
        "every token asks for the same outputs"
    );
    let job = alice.custom(&token, &coinbase);
    let id = alice.set(&job).await.unwrap();
    assert_eq!(
        alice.set(&job).await,
        Err("invalid-mining-job-token".into()),
        "used once"
    );
    alice.miner.submit_on(id, [1, 2, 3]).await;
    alice.miner.settle().await;
    assert_eq!(
        (alice.miner.acknowledged.len(), alice.miner.refused.len()),
        (3, 0)
    );

    let before = house.pool.status().borrow().node.tip.clone();
    alice.declarer.say(&solve(&alice.miner, &coinbase)).await;
    house
        .picture("the pushed block is the tip", |now| now.node.tip != before)
        .await;
    let last = house
        .picture("it is accepted", |now| {
            now.blocks.accepted == 1 && now.negotiation.custom_accepted == 1
        })
        .await;
    assert_eq!(
        (last.negotiation.declared, last.negotiation.custom_accepted),
        (1, 1)
    );
    assert_eq!((last.blocks.found, last.blocks.rejected), (1, 0));
    let data = house.data.path().to_owned();
    let pool = house.pool;
    pool.stop().await.unwrap();
    let records = records(&data);
    let verdicts: Vec<_> = records.iter().filter(|it| it["kind"] == "custom").collect();
    assert_eq!(
        verdicts.len(),
        1,
        "what has no good token has no record: {verdicts:?}"
    );
    let note = verdicts[0]["note"].as_str().unwrap();
    assert!(
        note.starts_with("accepted full-template credit 10000 of 10000"),
        "{note}"
    );
    let clear: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(!note.contains(&clear));
    let ours = records
        .iter()
        .filter(|it| it["kind"] == "share" && it["name"] == "alice");
    assert_eq!(ours.count(), 3);
    let block = records.iter().find(|it| it["kind"] == "block").expect("a block");
    assert_eq!(block["value"].as_u64(), Some(SUBSIDY));
}

/// Token theft: Bob has Alice's tokens, the one to declare with and the one to set, and they are good for nothing; Alice
/// still succeeds with both. A guess is as good.
#[tokio::test]
async fn a_stolen_token_is_good_for_its_owner_only() {
    let house = House::open(&[]).await;
    let mut alice = Negotiator::start(house.pool.url(), "alice", flags::DECLARE_TX_DATA).await;
    let mut bob = Negotiator::start(house.pool.url(), "bob", flags::DECLARE_TX_DATA).await;
    let token = alice.allocate().await;
    let coinbase = alice.coinbase(&token, SUBSIDY);
    for stolen in [&token.mining_job_token[..], &[9; 16], &[]] {
        let refused = bob.declare(stolen, &coinbase).await.unwrap_err();
        assert_eq!(refused.0, "invalid-mining-job-token");
    }
    let new = alice.declare(&token.mining_job_token, &coinbase).await.unwrap();
    let job = bob.custom(&new, &coinbase);
    assert_eq!(bob.set(&job).await, Err("invalid-mining-job-token".into()));
    let job = alice.custom(&new, &coinbase);
    assert!(alice.set(&job).await.is_ok());
    house.close().await;
}

/// REQ-JD-025, REQ-JD-030: outputs that do not pay the pool: missing, without value, a byte off; more than there is. And
/// what is fine: further outputs, in another order.
#[tokio::test]
async fn outputs_must_pay_the_pool_what_there_is() {
    let house = House::open(&[]).await;
    let mut alice = Negotiator::start(house.pool.url(), "alice", flags::DECLARE_TX_DATA).await;
    let token = alice.allocate().await;
    let good = alice.coinbase(&token, SUBSIDY);
    let payout = good.outputs[0].clone();
    let mut off = payout.script_pubkey.to_bytes();
    *off.last_mut().unwrap() ^= 1;
    let suffix = "invalid-job-param-value-coinbase_tx_suffix";
    let cases: [(&str, Vec<TxOut>, &str); 5] = [
        ("missing", vec![output(SUBSIDY, vec![0x51])], suffix),
        (
            "zero",
            vec![
                output(0, payout.script_pubkey.to_bytes()),
                output(SUBSIDY, vec![0x51]),
            ],
            suffix,
        ),
        ("a byte off", vec![output(SUBSIDY, off)], suffix),
        (
            "most is kept",
            vec![
                output(1, payout.script_pubkey.to_bytes()),
                output(SUBSIDY - 1, vec![0x51]),
            ],
            suffix,
        ),
        (
            "a satoshi too much",
            vec![output(SUBSIDY + 1, payout.script_pubkey.to_bytes())],
            "invalid-job",
        ),
    ];
    for (what, outputs, code) in cases {
        let token = alice.allocate().await;
        let coinbase = Coinbase {
            outputs,
            ..good.clone()
        };
        let refused = alice
            .declare(&token.mining_job_token, &coinbase)
            .await
            .unwrap_err();
        assert_eq!(refused.0, code, "{what}: {refused:?}");
        assert!(!refused.1.is_empty(), "{what} says more");
    }
    let outputs = vec![
        output(0, vec![0x6a, 1, 1]),
        output(SUBSIDY / 4, vec![0x52]),
        output(SUBSIDY - SUBSIDY / 4, payout.script_pubkey.to_bytes()),
        output(0, vec![0x6a, 1, 2]),
    ];
    let coinbase = Coinbase { outputs, ..good };
    let new = alice.declare(&token.mining_job_token, &coinbase).await.unwrap();
    let job = alice.custom(&new, &coinbase);
    assert!(alice.set(&job).await.is_ok());
    let data = house.data.path().to_owned();
    house.pool.stop().await.unwrap();
    let credit = records(&data)
        .iter()
        .filter_map(|it| it["note"].as_str().map(str::to_owned))
        .find(|note| note.starts_with("accepted"))
        .expect("a promise");
    assert!(credit.contains("credit 7500 of 10000"), "{credit}");
}

/// REQ-JD-029: what is set must be what was declared: outputs in another order, or of other values, and every other field
/// by its name; the token is not used up by it.
#[tokio::test]
async fn a_job_that_was_changed_after_its_declaration_is_refused_by_its_field() {
    let house = House::open(&[]).await;
    let mut alice = Negotiator::start(house.pool.url(), "alice", flags::DECLARE_TX_DATA).await;
    let token = alice.allocate().await;
    let mut coinbase = alice.coinbase(&token, SUBSIDY);
    coinbase.outputs.push(output(0, vec![0x6a, 1, 1]));
    let new = alice.declare(&token.mining_job_token, &coinbase).await.unwrap();
    let mut moved = coinbase.clone();
    moved.outputs.swap(0, 1);
    let mut less = coinbase.clone();
    less.outputs[0].value = Amount::from_sat(SUBSIDY - 1);
    let good = alice.custom(&new, &coinbase);
    let outputs =
        |coinbase: &Coinbase| B0_64K::new(&bitcoin::consensus::serialize(&coinbase.outputs)).unwrap();
    let field = |name: &str| format!("invalid-job-param-value-{name}");
    type Change<'a> = Box<dyn Fn(&mut SetCustomMiningJob) + 'a>;
    let cases: Vec<(String, Change<'_>)> = vec![
        (
            field("coinbase_tx_outputs"),
            Box::new(|it| it.coinbase_tx_outputs = outputs(&moved)),
        ),
        (
            field("coinbase_tx_outputs"),
            Box::new(|it| it.coinbase_tx_outputs = outputs(&less)),
        ),
        (
            field("coinbase_tx_version"),
            Box::new(|it| it.coinbase_tx_version = 1),
        ),
        (
            field("coinbase_prefix"),
            Box::new(|it| it.coinbase_prefix = B0_255::new(&[1, 2, 3]).unwrap()),
        ),
        (
            field("coinbase_tx_input_nSequence"),
            Box::new(|it| it.coinbase_tx_input_n_sequence = 1),
        ),
        (
            field("coinbase_tx_locktime"),
            Box::new(|it| it.coinbase_tx_locktime = 9),
        ),
        (
            field("merkle_path"),
            Box::new(|it| it.merkle_path = Seq0_255::new(vec![U256([1; 32])]).unwrap()),
        ),
        (field("version"), Box::new(|it| it.version ^= 1)),
        (field("nbits"), Box::new(|it| it.nbits = 0x207f_ffff)),
        (field("min_ntime"), Box::new(|it| it.min_ntime = 1)),
        (field("min_ntime"), Box::new(|it| it.min_ntime = u32::MAX)),
        ("invalid-channel-id".to_owned(), Box::new(|it| it.channel_id = 99)),
    ];
    for (code, change) in cases {
        let mut job = good.clone();
        change(&mut job);
        assert_eq!(alice.set(&job).await, Err(code));
    }
    assert!(alice.set(&good).await.is_ok());
    house.close().await;
}

/// A former tip is late, which is no offence; a block that our node does not know is waited for, and then refused. The
/// connections stay, and the next job is taken.
#[tokio::test]
async fn a_job_on_another_tip_is_refused_and_nobody_is_cut_off() {
    let house = House::open(&[]).await;
    let mut alice = Negotiator::start(house.pool.url(), "alice", flags::DECLARE_TX_DATA).await;
    let (token, coinbase) = alice.declared().await;
    let late = alice.custom(&token, &coinbase);
    let allocated = alice.allocate().await;
    house.pool.node().reorganise(0).await.unwrap();
    alice.miner.next_tip().await;
    assert_eq!(alice.set(&late).await, Err("stale-chain-tip".into()));
    let refused = alice
        .declare(&allocated.mining_job_token, &coinbase)
        .await
        .unwrap_err();
    assert_eq!(
        refused.0, "stale-chain-tip",
        "its height is that of the last block"
    );
    let (token, coinbase) = alice.declared().await;
    let mut unknown = alice.custom(&token, &coinbase);
    unknown.prev_hash = U256([3; 32]);
    assert_eq!(
        alice.set(&unknown).await,
        Err("stale-chain-tip".into()),
        "after a while"
    );
    let good = alice.custom(&token, &coinbase);
    assert!(alice.set(&good).await.is_ok());
    house.close().await;
}

/// REQ-JD-002, REQ-JD-037, REQ-JD-045: coinbase-only mode. The token of the allocation is set at once; the claim must be
/// one that can be believed, for this height; and credit without a block ends.
#[tokio::test]
async fn jobs_without_transactions_are_taken_within_limits() {
    let house = House::open(&[("negotiation.mode", "both"), ("negotiation.credit_millis", "1")]).await;
    let mut alice = Negotiator::start(house.pool.url(), "alice", 0).await;
    let token = alice.allocate().await;
    let good = alice.coinbase(&token, SUBSIDY);
    let rich = alice.coinbase(&token, 3 * SUBSIDY);
    let poor = alice.coinbase(&token, SUBSIDY / 3);
    let high = Coinbase {
        script_prefix: vec![3, 1, 2, 3],
        ..good.clone()
    };
    for (coinbase, field) in [
        (rich, "coinbase_tx_outputs"),
        (poor, "coinbase_tx_outputs"),
        (high, "coinbase_prefix"),
    ] {
        let job = alice.custom(&token.mining_job_token, &coinbase);
        assert_eq!(
            alice.set(&job).await,
            Err(format!("invalid-job-param-value-{field}"))
        );
    }
    let job = alice.custom(&token.mining_job_token, &good);
    let id = alice.set(&job).await.unwrap();
    // A thousandth of a block of 2^18 hashes; every share is one hash.
    alice.miner.submit_on(id, 0..300).await;
    alice.miner.settle().await;
    assert_eq!(alice.miner.refused.len(), 0);
    let refused = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let token = alice.allocate().await;
            let job = alice.custom(&token.mining_job_token, &good);
            if let Err(code) = alice.set(&job).await {
                return code;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    assert_eq!(refused.await.unwrap(), "credit-exhausted");
    // Declaring is for those who reveal their transactions.
    let refused = alice.declare(&token.mining_job_token, &good).await.unwrap_err();
    assert_eq!(refused.0, "missing-declare-tx-data-flag");
    house.close().await;
}

/// REQ-JD-045: what was credited without a block is remembered when the pool starts again on its data folder.
#[tokio::test]
async fn credit_without_a_block_outlives_a_restart() {
    let keys = [("negotiation.mode", "both"), ("negotiation.credit_millis", "1")];
    let House { data, pool } = House::open(&keys).await;
    let mut alice = Negotiator::start(pool.url(), "alice", 0).await;
    let token = alice.allocate().await;
    let good = alice.coinbase(&token, SUBSIDY);
    let job = alice.custom(&token.mining_job_token, &good);
    let id = alice.set(&job).await.unwrap();
    // A thousandth of a block of 2^18 hashes; every share is one hash.
    alice.miner.submit_on(id, 0..300).await;
    alice.miner.settle().await;
    drop(alice);
    pool.stop().await.unwrap();

    let settings = support::settings(data.path(), &keys);
    let again = async {
        loop {
            // The embedded chain lets go of its folder a moment after the pool has.
            match adit::pool::Pool::start(&settings, false).await {
                Ok(pool) => return pool,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let pool = tokio::time::timeout(support::SOON, again)
        .await
        .expect("it starts again");
    let house = House { data, pool };
    let mut alice = Negotiator::start(house.pool.url(), "alice", 0).await;
    let token = alice.allocate().await;
    let job = alice.custom(&token.mining_job_token, &good);
    assert_eq!(alice.set(&job).await, Err("credit-exhausted".into()));
    let mut bob = Negotiator::start(house.pool.url(), "bob", 0).await;
    let token = bob.allocate().await;
    let job = bob.custom(&token.mining_job_token, &good);
    assert!(bob.set(&job).await.is_ok(), "it is alice's");
    house.pool.stop().await.unwrap();
}

/// REQ-JD-021: a pool that wants to see transactions says so at once, with no unsupported bit; one that sees none does not
/// know the flag; one that negotiates nothing serves neither the protocol nor work selection.
#[tokio::test]
async fn the_mode_decides_whom_the_port_serves() {
    let refusal = async |mode: &str, setup: SetupConnection| {
        let house = House::open(&[("negotiation.mode", mode)]).await;
        let mut peer = Peer::greet(house.pool.url()).await;
        peer.say(&setup).await;
        let heard = peer.hear().await.common();
        house.close().await;
        match heard {
            common::ToClient::SetupConnectionError(error) => {
                (error.flags, String::from_utf8(error.error_code.to_vec()).unwrap())
            }
            _ => (0, "success".to_owned()),
        }
    };
    let tx_data = flags::DECLARE_TX_DATA;
    assert_eq!(
        refusal("full-template", declares(0)).await,
        (0, "missing-declare-tx-data-flag".into())
    );
    assert_eq!(refusal("full-template", declares(tx_data)).await.1, "success");
    assert_eq!(
        refusal("coinbase-only", declares(tx_data)).await,
        (1, "unsupported-feature-flags".into())
    );
    assert_eq!(refusal("both", declares(0)).await.1, "success");
    assert_eq!(
        refusal("off", declares(tx_data)).await,
        (0, "unsupported-protocol".into())
    );
    let selects = peer::setup(flags::REQUIRES_WORK_SELECTION);
    assert_eq!(
        refusal("off", selects).await,
        (2, "unsupported-feature-flags".into())
    );
}

/// A full-template pool takes no job that was not declared.
#[tokio::test]
async fn an_allocated_token_is_not_set_where_jobs_must_be_declared() {
    let house = House::open(&[]).await;
    let mut alice = Negotiator::start(house.pool.url(), "alice", flags::DECLARE_TX_DATA).await;
    let token = alice.allocate().await;
    let coinbase = alice.coinbase(&token, SUBSIDY);
    let job = alice.custom(&token.mining_job_token, &coinbase);
    assert_eq!(alice.set(&job).await, Err("job-not-yet-validated".into()));
    assert!(
        alice.declare(&token.mining_job_token, &coinbase).await.is_ok(),
        "it is still good"
    );
    house.close().await;
}

/// Attack: twenty connections declare blocks whose thousands of transactions nobody has, push junk solutions and provide
/// what nobody asked for, while one miner goes on as ever. The pool holds no more bytes than it may, asks its node once a
/// declaration at most, and the honest miner's jobs are taken promptly.
#[tokio::test]
async fn an_honest_miner_is_served_while_others_declare_nonsense() {
    let house = House::open(&[("negotiation.memory_bytes", "33554432")]).await;
    let url = house.pool.url().clone();
    let attack = tokio::spawn(async move {
        let mut attackers = Vec::new();
        for n in 0..20u32 {
            let mut mallory = Negotiator::start(&url, "mallory", flags::DECLARE_TX_DATA).await;
            let tokens = [
                mallory.allocate().await,
                mallory.allocate().await,
                mallory.allocate().await,
            ];
            for (round, token) in (0u32..).zip(tokens) {
                let coinbase = mallory.coinbase(&token, SUBSIDY);
                let mut job = mallory.declaration(&token.mining_job_token, &coinbase);
                let ids = (0..16_000u32).map(|id| {
                    U256(
                        [[n, round, id, 1].map(u32::to_le_bytes).concat(), vec![1; 16]]
                            .concat()
                            .try_into()
                            .unwrap(),
                    )
                });
                job.wtxid_list = Seq0_64K::new(ids.collect()).unwrap();
                mallory.declarer.say(&job).await;
                let junk = PushSolution {
                    extranonce: B0_32::new(&[n as u8; EXTRANONCE]).unwrap(),
                    prev_hash: mallory.miner.tip.prev_hash,
                    nonce: round,
                    ntime: 1,
                    nbits: mallory.miner.tip.nbits,
                    version: 2,
                };
                for _ in 0..50 {
                    mallory.declarer.say(&junk).await;
                }
            }
            attackers.push(mallory);
        }
        attackers
    });
    let mut alice = Negotiator::start(house.pool.url(), "alice", flags::DECLARE_TX_DATA).await;
    let (mut slowest, mut most) = (Duration::ZERO, 0);
    let mut taken = 0;
    while !attack.is_finished() || taken < 5 {
        let before = tokio::time::Instant::now();
        let token = alice.allocate().await;
        let coinbase = alice.coinbase(&token, SUBSIDY);
        match alice.declare(&token.mining_job_token, &coinbase).await {
            Ok(new) => {
                let job = alice.custom(&new, &coinbase);
                alice.set(&job).await.unwrap();
                taken += 1;
            }
            // The memory is all in use: said at once, and nothing is held.
            Err((code, details)) => assert_eq!(code, "internal-error", "{details}"),
        }
        slowest = slowest.max(before.elapsed());
        most = most.max(house.pool.status().borrow().negotiation.bytes);
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    let attackers = attack.await.unwrap();
    println!("slowest job {slowest:?}, most bytes {most}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    assert!(most <= 33_554_432, "{most}");
    drop(attackers);
    let last = house
        .picture("the bytes come back", |now| now.negotiation.bytes < 1 << 20)
        .await;
    assert!(
        last.negotiation.node_calls <= 60 + 2 * (taken + 50),
        "{:?}",
        last.negotiation
    );
    assert_eq!(last.negotiation.solutions, 0);
    house.close().await;
}
