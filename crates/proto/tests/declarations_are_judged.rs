//! What a job declaration server does with declarations, honest and malicious (spec 6.4).
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

mod declaring;

use adit_proto::Fault;
use adit_proto::declare::server::{ARRIVING_FREE, Event, Input, Output, Refused, Settings};
use adit_proto::declare::{BLOCK_BYTES_MAX, Budget, Coinbase, Token};
use adit_wire::common::flags::DECLARE_TX_DATA;
use adit_wire::declare::*;
use adit_wire::refusal::DeclareMiningJob as Refusal;
use adit_wire::{B0_64K, Str0_255};
use declaring::*;

fn ids(transactions: &[Vec<u8>]) -> Vec<[u8; 32]> {
    transactions.iter().map(|it| wtxid(it)).collect()
}

fn some(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|n| transaction(n, 300)).collect()
}

fn know(desk: &mut Desk, transactions: &[Vec<u8>]) {
    desk.mempool
        .extend(transactions.iter().map(|it| (wtxid(it), it.clone())));
}

/// REQ-JD-008, REQ-JD-011, REQ-JD-033, REQ-JD-034, REQ-JD-044: what the mempool has is not asked for; the rest is, by
/// its place without the coinbase, and then the whole block goes to the node. REQ-JD-006: every answer repeats the
/// request's id.
#[test]
fn unknown_transactions_are_asked_for_and_the_whole_block_is_checked() {
    let mut desk = Desk::new(DECLARE_TX_DATA);
    let all = some(5);
    know(&mut desk, &[all[0].clone(), all[2].clone(), all[3].clone()]);
    let token = desk.token();
    let sent = desk.say(declare(41, token, ids(&all)));
    assert_eq!(asked(&sent), [1, 4]);
    assert!(desk.server.provided_bytes_max() > 600);
    let sent = desk.say(provide(41, vec![all[1].clone(), all[4].clone()]));
    assert_eq!(succeeded(&sent), 41);
    let (_, job) = desk.checks.pop().unwrap();
    let block: bitcoin::Block = bitcoin::consensus::deserialize(&job.unsolved_block(7)).unwrap();
    assert!(block.check_merkle_root() && block.txdata[0].is_coinbase());
    let inside: Vec<_> = block.txdata[1..]
        .iter()
        .map(bitcoin::consensus::serialize)
        .collect();
    assert_eq!(inside, all);
    assert_eq!(desk.server.provided_bytes_max(), 0, "nothing more is wanted");
}

/// REQ-JD-013, REQ-JD-035: the new token is another one; the old one is used up.
#[test]
fn a_token_declares_once() {
    let mut desk = Desk::new(DECLARE_TX_DATA);
    let token = desk.token();
    let sent = desk.say(declare(1, token, Vec::new()));
    match &sent[..] {
        [ToClient::DeclareMiningJobSuccess(success)] => assert_ne!(*success.new_mining_job_token, token.0),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        refused(&desk.say(declare(2, token, Vec::new()))),
        "invalid-mining-job-token"
    );
}

/// REQ-JD-015: tokens that were never given out, of any length.
#[test]
fn a_guessed_token_is_refused() {
    let mut desk = Desk::new(DECLARE_TX_DATA);
    desk.token();
    let guess = declare(1, Token([3; 16]), Vec::new());
    assert_eq!(refused(&desk.say(guess.clone())), "invalid-mining-job-token");
    for length in [0, 15, 17, 255] {
        let mut short = guess.clone();
        short.mining_job_token = adit_wire::B0_255::new(&vec![3; length]).unwrap();
        assert_eq!(refused(&desk.say(short)), "invalid-mining-job-token");
    }
}

/// Two declarations on one token, the first still open: exactly one succeeds.
#[test]
fn two_declarations_on_one_token_have_one_success() {
    let mut desk = Desk::new(DECLARE_TX_DATA);
    desk.slow_node = true;
    let token = desk.token();
    assert!(desk.say(declare(1, token, Vec::new())).is_empty());
    assert!(
        desk.say(declare(2, token, Vec::new())).is_empty(),
        "it waits for its turn"
    );
    let answer = desk.answer(1);
    let sent = desk.try_give(answer).unwrap();
    assert_eq!(succeeded(&sent[..1]), 1);
    assert_eq!(refused(&sent[1..]), "invalid-mining-job-token");
}

/// REQ-JD-005: a flood of token requests is slowed down, answered late, and at last ends the connection; never more
/// than the burst is answered at once.
#[test]
fn a_flood_of_token_requests_is_slowed_and_then_ended() {
    let mut desk = Desk::new(0);
    let ask = |request_id| AllocateMiningJobToken {
        user_identifier: Str0_255::try_from(ALICE).unwrap(),
        request_id,
    };
    let mut answered = 0;
    let end = (0..100_000).find_map(|n| match desk.try_say(ask(n)) {
        Ok(sent) => {
            answered += sent.len();
            None
        }
        Err(fault) => Some((n, fault)),
    });
    assert_eq!(answered, 16);
    assert!(matches!(end, Some((80, Fault::Misbehaved(_)))), "{end:?}");
    assert_eq!(desk.tokens.len(), 8);
    // Those that wait are answered in time, none twice.
    desk.now = desk.server.deadline().unwrap();
    assert_eq!(desk.try_give(Input::Deadline).unwrap().len(), 1);
}

/// 65,535 unknown wtxids: no block has so many, so nothing is looked up, asked for or kept.
#[test]
fn a_list_longer_than_any_block_costs_nothing() {
    let mut desk = Desk::new(DECLARE_TX_DATA);
    let token = desk.token();
    let many = (0..65_535u32).map(|n| [&n.to_le_bytes()[..], &[1; 28]].concat().try_into().unwrap());
    let sent = desk.say(declare(1, token, many.collect()));
    assert_eq!(refused(&sent), "invalid-job-param-value-wtxid_list");
    assert_eq!((desk.lookups, desk.budget.used(), desk.server.bytes()), (0, 0, 0));
}

/// A wtxid twice, and the coinbase's in the list.
#[test]
fn a_list_with_a_transaction_twice_or_the_coinbase_is_refused() {
    let mut desk = Desk::new(DECLARE_TX_DATA);
    let token = desk.token();
    for list in [vec![[1; 32], [2; 32], [1; 32]], vec![[0; 32], [2; 32]]] {
        let sent = desk.say(declare(1, token, list));
        assert_eq!(refused(&sent), "invalid-job-param-value-wtxid_list");
    }
    assert_eq!(desk.lookups, 0);
}

/// REQ-JD-012: what is provided must be what was asked for, in that order, no more
/// and no less.
#[test]
fn provided_transactions_must_be_those_that_were_asked_for() {
    let all = some(3);
    let coinbase_tx = coinbase().transaction(&[0; 15]);
    let wrong: [Vec<Vec<u8>>; 6] = [
        vec![all[1].clone(), all[0].clone(), all[2].clone()],
        vec![all[0].clone(), all[1].clone()],
        vec![all[0].clone(), all[1].clone(), all[2].clone(), all[2].clone()],
        vec![all[0].clone(), all[1].clone(), transaction(9, 300)],
        vec![all[0].clone(), all[1].clone(), b"no transaction".to_vec()],
        vec![all[0].clone(), all[1].clone(), coinbase_tx],
    ];
    for list in wrong {
        let mut desk = Desk::new(DECLARE_TX_DATA);
        let token = desk.token();
        assert_eq!(asked(&desk.say(declare(1, token, ids(&all)))), [0, 1, 2]);
        assert_eq!(refused(&desk.say(provide(1, list))), "missing-txs");
        assert_eq!((desk.checks.len(), desk.budget.used()), (0, 0));
    }
}

#[test]
fn transactions_that_nobody_asked_for_end_the_connection() {
    let mut desk = Desk::new(DECLARE_TX_DATA);
    assert_eq!(
        desk.server.provided_bytes_max(),
        0,
        "such a frame is not even read"
    );
    assert!(matches!(
        desk.try_say(provide(1, some(1))),
        Err(Fault::Misbehaved(_))
    ));
    let mut desk = Desk::new(DECLARE_TX_DATA);
    let token = desk.token();
    asked(&desk.say(declare(1, token, ids(&some(1)))));
    assert!(matches!(
        desk.try_say(provide(2, some(1))),
        Err(Fault::Misbehaved(_))
    ));
}

/// A transaction of 16 MiB is not even decoded; one of more than a block, and more transactions than fit into a block.
#[test]
fn oversized_transactions_are_refused_and_nothing_of_them_stays() {
    let whole = adit_wire::B0_16M::new(&vec![2; (16 << 20) - 1]).unwrap();
    assert!(adit_wire::TransactionList::new(vec![whole]).is_err());
    let big = vec![vec![2; 4_100_000]];
    let many: Vec<_> = (0..5).map(|n| transaction(n, 820_000)).collect();
    for (list, named) in [(big, vec![[7; 32]]), (many.clone(), ids(&many))] {
        let mut desk = Desk::new(DECLARE_TX_DATA);
        let token = desk.token();
        asked(&desk.say(declare(1, token, named)));
        assert!(desk.server.provided_bytes_max() < BLOCK_BYTES_MAX + 1024);
        assert_eq!(refused(&desk.say(provide(1, list))), "invalid-job");
        assert_eq!((desk.budget.used(), desk.server.bytes()), (0, 0));
    }
}

#[test]
fn transactions_that_do_not_come_are_waited_for_no_longer_than_that() {
    let mut desk = Desk::new(DECLARE_TX_DATA);
    let token = desk.token();
    asked(&desk.say(declare(1, token, ids(&some(2)))));
    desk.now = desk.server.deadline().unwrap();
    assert_eq!(refused(&desk.try_give(Input::Deadline).unwrap()), "missing-txs");
    assert_eq!((desk.budget.used(), desk.server.deadline()), (0, None));
}

/// Who is asked for transactions holds no room for them until they come; a message that is not whole yet is counted as it
/// grows, and given back with it. Where there is no room the declaration is refused and the connection ends.
#[test]
fn room_is_taken_as_transactions_arrive_and_not_before() {
    let budget = Budget::new(8 << 20);
    let mut desks: Vec<_> = (0..100)
        .map(|_| Desk::with(Settings::default(), budget.clone(), DECLARE_TX_DATA))
        .collect();
    for desk in &mut desks {
        let token = desk.token();
        asked(&desk.say(declare(1, token, vec![[7; 32]])));
        assert!(desk.server.provided_bytes_max() > 3_900_000);
    }
    assert!(budget.used() < 1 << 20, "{}", budget.used());
    let arriving = |bytes| Input::Arriving { bytes };
    let before = budget.used();
    assert_eq!(desks[0].try_give(arriving(ARRIVING_FREE)).unwrap(), []);
    assert_eq!(budget.used(), before, "a read's worth is everybody's");
    for bytes in [100_000, 2_000_000, 3_900_000] {
        assert_eq!(desks[0].try_give(arriving(bytes)).unwrap(), []);
        assert_eq!(budget.used(), before + bytes);
    }
    assert!(desks[0].server.bytes() > 3_900_000);
    let mut out = Vec::new();
    desks[1].try_give(arriving(3_000_000)).unwrap();
    let fault = desks[2].server.handle(START, arriving(3_000_000), &mut out);
    assert!(matches!(fault, Err(Fault::Expired(_))), "{fault:?}");
    assert!(
        matches!(&out[..], [Output::Send(ToClient::DeclareMiningJobError(it)), ..] if &*it.error_code == b"internal-error")
    );
    // What came whole takes the room of its transactions, and no other.
    assert_eq!(
        refused(&desks[0].say(provide(1, vec![vec![2; 3_900_000]]))),
        "missing-txs"
    );
    assert_eq!(desks[1].try_give(arriving(0)).unwrap(), []);
    drop(desks);
    assert_eq!(budget.used(), 0);
}

/// At most two declarations at a time, however many come.
#[test]
fn a_third_declaration_at_once_is_refused() {
    let mut desk = Desk::new(DECLARE_TX_DATA);
    desk.slow_node = true;
    let tokens = [desk.token(), desk.token(), desk.token()];
    assert!(desk.say(declare(1, tokens[0], Vec::new())).is_empty());
    assert!(desk.say(declare(2, tokens[1], Vec::new())).is_empty());
    assert_eq!(
        refused(&desk.say(declare(3, tokens[2], Vec::new()))),
        "rate-limited"
    );
    assert_eq!((desk.lookups, desk.checks.len()), (1, 1), "one check at a time");
    let answer = desk.answer(1);
    assert_eq!(succeeded(&desk.try_give(answer).unwrap()), 1);
    assert_eq!(desk.checks.len(), 2);
}

/// REQ-JD-016: each bad field is named. REQ-JD-032: halves without BIP141 fields are no coinbase of a job.
#[test]
fn a_bad_coinbase_is_refused_by_its_field() {
    let mut desk = Desk::new(DECLARE_TX_DATA);
    let token = desk.token();
    let good = declare(1, token, Vec::new());
    let mut said = |change: &dyn Fn(&mut DeclareMiningJob)| {
        let mut job = good.clone();
        change(&mut job);
        refused(&desk.say(job))
    };
    let cut = |field: &B0_64K, by: usize| B0_64K::new(&field[..field.len() - by]).unwrap();
    assert_eq!(
        said(&|job| job.coinbase_tx_prefix = B0_64K::new(&[1; 50]).unwrap()),
        "invalid-job-param-value-coinbase_tx_prefix"
    );
    assert_eq!(
        said(&|job| job.coinbase_tx_suffix = cut(&job.coinbase_tx_suffix, 1)),
        "invalid-job-param-value-coinbase_tx_suffix"
    );
    let stripped = coinbase().suffix();
    assert_eq!(
        said(&|job| job.coinbase_tx_suffix = B0_64K::new(&stripped).unwrap()),
        "invalid-job-param-value-coinbase_tx_suffix"
    );
    let high = Coinbase {
        script_prefix: vec![0xff; 5],
        ..coinbase()
    };
    assert_eq!(
        said(&|job| job.coinbase_tx_prefix = B0_64K::new(&halves(&high).0).unwrap()),
        "invalid-coinbase-tx-input"
    );
    assert_eq!(succeeded(&desk.say(good)), 1, "the token is still good");
}

/// REQ-JD-020: without DECLARE_TX_DATA nothing can be declared; tokens are given all the same.
#[test]
fn who_does_not_reveal_transactions_cannot_declare() {
    let mut desk = Desk::new(0);
    let token = desk.token();
    assert_eq!(
        refused(&desk.say(declare(1, token, Vec::new()))),
        "missing-declare-tx-data-flag"
    );
    assert_eq!(desk.lookups, 0);
}

#[test]
fn a_block_that_the_node_refuses_is_refused_with_its_words() {
    let mut desk = Desk::new(DECLARE_TX_DATA);
    desk.verdict = Err(Refused::new(Refusal::InvalidJob, "bad-cb-amount"));
    let token = desk.token();
    let sent = desk.say(declare(1, token, Vec::new()));
    match &sent[..] {
        [ToClient::DeclareMiningJobError(error)] => {
            assert_eq!(error.error_code.as_str(), Some("invalid-job"));
            assert_eq!(&error.error_details[..], b"bad-cb-amount");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((desk.server.declared_count(), desk.server.bytes()), (0, 0));
    assert_eq!(desk.events, [Event::Refused(Refusal::InvalidJob)]);
}

/// Memory: whatever is declared, a connection holds at most 6 MiB, all of them together no more than there is, and
/// nothing when they end. Each connection declares eight blocks of 1.9 MB that share no transaction.
#[test]
fn memory_is_bounded_by_connection_and_in_total() {
    let budget = Budget::new(32 << 20);
    let settings = Settings::default();
    let most = settings.bytes_max;
    let mut desks: Vec<_> = (0..10)
        .map(|_| Desk::with(settings.clone(), budget.clone(), DECLARE_TX_DATA))
        .collect();
    let (mut peak, mut refusals, mut successes) = (0, 0, 0);
    for round in 0..8u64 {
        for (number, desk) in (0u64..).zip(&mut desks) {
            let base = (round * 100 + number) * 10;
            let all: Vec<_> = (0..5).map(|n| transaction(base + n, 380_000)).collect();
            desk.now.0 += 10_000_000;
            let token = desk.token();
            let mut sent = desk.say(declare(1, token, ids(&all)));
            assert!(desk.server.bytes() <= most, "{}", desk.server.bytes());
            peak = peak.max(budget.used());
            if let [ToClient::ProvideMissingTransactions(_)] = &sent[..] {
                sent = desk.say(provide(1, all));
            }
            match &sent[..] {
                [ToClient::DeclareMiningJobSuccess(_)] => successes += 1,
                other => {
                    assert_eq!(refused(other), "internal-error");
                    refusals += 1;
                }
            }
            desk.checks.clear();
            assert!(desk.server.bytes() <= most, "{}", desk.server.bytes());
            peak = peak.max(budget.used());
        }
    }
    assert!(peak <= budget.total() && peak > budget.total() / 2, "{peak}");
    assert!(refusals > 0 && successes > 10, "{refusals} {successes}");
    drop(desks);
    assert_eq!(budget.used(), 0);
}

/// REQ-JD-041, REQ-JD-042, REQ-JD-046: a solution of the last job is a block, one of an older job is tried, too; the
/// extranonce is the full one.
#[test]
fn solutions_of_the_last_eight_jobs_are_blocks() {
    let mut desk = Desk::new(DECLARE_TX_DATA);
    for n in 0..9u64 {
        desk.now.0 += 1_000_000;
        let all = vec![transaction(n, 200)];
        know(&mut desk, &all);
        let token = desk.token();
        succeeded(&desk.say(declare(1, token, ids(&all))));
    }
    assert_eq!(desk.server.declared_count(), 8);
    let jobs: Vec<_> = desk.checks.iter().map(|(_, job)| job.clone()).collect();
    for (place, job) in jobs.iter().enumerate() {
        let before = desk.solved.len();
        assert!(desk.say(solve(job)).is_empty());
        let found = desk.solved.len() > before;
        assert_eq!(found, place > 0, "the oldest of nine is forgotten");
    }
    let block: bitcoin::Block = bitcoin::consensus::deserialize(desk.solved.last().unwrap()).unwrap();
    assert!(block.check_merkle_root() && block.check_witness_commitment() || block.txdata.len() == 2);
    assert!(block.header.validate_pow(block.header.target()).is_ok());
    let script = block.txdata[0].input[0].script_sig.as_bytes();
    assert!(script.ends_with(&[5; 15]));
}

/// A hundred thousand junk solutions: a hash a job at most, nothing for the node, nothing kept.
#[test]
fn junk_solutions_cost_no_call_of_the_node() {
    let mut desk = Desk::new(DECLARE_TX_DATA);
    let token = desk.token();
    succeeded(&desk.say(declare(1, token, Vec::new())));
    let job = desk.checks[0].1.clone();
    let (checks, good) = (desk.checks.len(), solve(&job));
    let held = desk.server.bytes();
    for n in 0..100_000u32 {
        let junk = PushSolution {
            nonce: good.nonce.wrapping_add(n | 1),
            nbits: if n % 2 == 0 { good.nbits } else { 0x207f_ffff },
            extranonce: adit_wire::B0_32::new(&vec![5; (n % 33) as usize]).unwrap(),
            ..good.clone()
        };
        assert!(desk.say(junk).is_empty());
    }
    assert_eq!((desk.checks.len(), desk.lookups), (checks, 1));
    assert!(desk.solved.len() <= 4, "{} by chance, at most", desk.solved.len());
    assert_eq!(desk.server.bytes(), held);
    // The bucket refills: an honest solution is heard again.
    desk.now.0 += 60_000_000;
    let before = desk.solved.len();
    desk.say(good);
    assert_eq!(desk.solved.len(), before + 1);
}

/// A solution whose job was for another tip, or whose nBits are easier, is none.
#[test]
fn a_solution_of_another_tip_is_no_block() {
    let mut desk = Desk::new(DECLARE_TX_DATA);
    let token = desk.token();
    succeeded(&desk.say(declare(1, token, Vec::new())));
    let good = solve(&desk.checks[0].1.clone());
    for wrong in [
        PushSolution {
            prev_hash: adit_wire::U256([8; 32]),
            ..good.clone()
        },
        PushSolution {
            nbits: 0x207f_ffff,
            ..good.clone()
        },
        PushSolution {
            version: good.version ^ 1,
            ..good.clone()
        },
    ] {
        desk.say(wrong);
    }
    assert!(desk.solved.is_empty());
    desk.say(good);
    assert_eq!(desk.solved.len(), 1);
}

/// Mines with another library.
fn solve(job: &adit_proto::declare::Declared) -> PushSolution {
    use bitcoin::hashes::Hash;
    let coinbase: bitcoin::Transaction =
        bitcoin::consensus::deserialize(&job.coinbase.transaction(&[5; 15])).unwrap();
    let mut root = coinbase.compute_txid().to_byte_array();
    for branch in &job.merkle_path {
        root = bitcoin::hashes::sha256d::Hash::hash(&[root, *branch].concat()).to_byte_array();
    }
    let mut header = bitcoin::block::Header {
        version: bitcoin::block::Version::from_consensus(job.version as i32),
        prev_blockhash: bitcoin::BlockHash::from_byte_array(job.prev_hash),
        merkle_root: bitcoin::TxMerkleNode::from_byte_array(root),
        time: 1_800_000_000,
        bits: bitcoin::CompactTarget::from_consensus(job.nbits),
        nonce: 0,
    };
    while header.validate_pow(header.target()).is_err() {
        header.nonce += 1;
    }
    PushSolution {
        extranonce: adit_wire::B0_32::new(&[5; 15]).unwrap(),
        prev_hash: adit_wire::U256(job.prev_hash),
        nonce: header.nonce,
        ntime: header.time,
        nbits: job.nbits,
        version: job.version,
    }
}
