//! Job distribution between a distributor and its receivers (`docs/job-distribution.md`).

mod distribution;

use std::sync::Arc;

use adit_proto::Fault;
use adit_proto::distribute::board::{Board, Input};
use adit_proto::distribute::client::{self, Client};
use adit_proto::distribute::server::{self, Event};
use adit_proto::distribute::{FUTURES_MAX, State, coinbase};
use adit_proto::target::Target;
use adit_wire::B0_32;
use adit_wire::common::flags::REQUIRES_ACTIVE_JOBS;
use adit_wire::distribute::{SubmitSolution, ToClient};
use adit_wire::refusal::WithdrawJob;
use bitcoin::hashes::{Hash, sha256d};
use distribution::{FULL_SIZE, NBITS, Pair, job, pool, states, tip};
use proptest::prelude::*;

/// A distributor with a pool and, after `inputs`, its newest state.
fn board(inputs: Vec<Input>) -> (Board, Arc<State>) {
    let mut board = Board::new();
    let all = std::iter::once(Input::Pool(Some(pool(1)))).chain(inputs);
    let (states, _) = states(&mut board, all);
    let last = states.last().expect("a state").clone();
    (board, last)
}

/// A job for a new block comes ahead of it and is set going by SetNewPrevHash, as in the mining protocol; another job of the
/// same block is to be mined as soon as it is there.
#[test]
fn jobs_come_ahead_of_their_block_and_change_on_it() {
    let mut pair = Pair::new(0);
    let mut board = Board::new();
    let (steps, numbers) = states(
        &mut board,
        [
            Input::Pool(Some(pool(1))),
            Input::Job(job(1), tip(1)),
            Input::Job(job(2), tip(1)),
            Input::Future(job(3)),
            Input::Activate {
                job_id: 3,
                tip: tip(2),
            },
        ],
    );
    assert_eq!(numbers, [1, 2, 3]);
    let expected: [&[&str]; 5] = [
        &["SetPool"],
        &["NewDistributedJob", "SetNewPrevHash"],
        &["NewDistributedJob"],
        &["NewDistributedJob"],
        &["SetNewPrevHash"],
    ];
    for (state, expected) in steps.iter().zip(expected) {
        pair.tell(state);
        assert_eq!(pair.names(), expected);
        assert_eq!(pair.client.state().active, state.active);
    }
    let active = pair.client.state().active.clone().expect("a job");
    assert_eq!((active.job.job_id, active.tip), (3, tip(2)));
    assert_eq!(active.job.mining_job_token.to_vec(), [3; 16]);
}

/// A receiver that comes late is told in one breath what to mine, and nothing of what was before.
#[test]
fn a_late_receiver_gets_the_current_job_at_once() {
    let (_, state) = board(vec![
        Input::Job(job(1), tip(1)),
        Input::Job(job(2), tip(2)),
        Input::Job(job(3), tip(2)),
        Input::Future(job(4)),
    ]);
    let mut late = Pair::new(0);
    late.tell(&state);
    let expected = [
        "SetPool",
        "NewDistributedJob",
        "SetNewPrevHash",
        "NewDistributedJob",
    ];
    assert_eq!(late.names(), expected);
    assert_eq!(late.client.state().active, state.active);
    assert_eq!(late.client.state().futures, state.futures);
}

/// REQUIRES_ACTIVE_JOBS: nothing has to be kept for later.
#[test]
fn who_cannot_keep_jobs_gets_none_for_later() {
    let mut pair = Pair::new(REQUIRES_ACTIVE_JOBS);
    let mut board = Board::new();
    let future = Input::Future(job(1));
    let (before, numbers) = states(&mut board, [Input::Pool(Some(pool(1))), future]);
    before.iter().for_each(|state| pair.tell(state));
    assert_eq!(pair.names(), ["SetPool"]);
    let activate = Input::Activate {
        job_id: numbers[0],
        tip: tip(1),
    };
    let (then, _) = states(&mut board, [activate]);
    pair.tell(&then[0]);
    assert_eq!(pair.names(), ["NewDistributedJob", "SetNewPrevHash"]);
}

/// A withdrawn job is not mined any more, and the reason is told; the next one is mined again.
#[test]
fn a_withdrawn_job_ends_until_the_next_one() {
    let mut pair = Pair::new(0);
    let (mut board, state) = board(vec![Input::Job(job(1), tip(1))]);
    pair.tell(&state);
    let ends = [
        Input::Withdraw(7, WithdrawJob::RefusedByPool),
        Input::Withdraw(1, WithdrawJob::RefusedByPool),
        Input::Job(job(2), tip(1)),
        Input::End(WithdrawJob::StaleChainTip),
        Input::End(WithdrawJob::StaleChainTip),
    ];
    let (steps, _) = states(&mut board, ends);
    assert_eq!(steps.len(), 3, "what changes nothing is told to nobody");
    pair.sent.clear();
    let mut reasons = Vec::new();
    for state in &steps {
        pair.tell(state);
        assert_eq!(pair.client.state().active, state.active);
        reasons.push(pair.client.state().ended);
    }
    assert_eq!(pair.names(), ["WithdrawJob", "NewDistributedJob", "WithdrawJob"]);
    let (pool_says, stale) = (WithdrawJob::RefusedByPool, WithdrawJob::StaleChainTip);
    assert_eq!(reasons, [Some(pool_says), None, Some(stale)]);
}

/// Another pool, or none, ends every job: no token is good at two pools.
#[test]
fn another_pool_ends_every_job() {
    let mut pair = Pair::new(0);
    let (mut board, state) = board(vec![Input::Job(job(1), tip(1)), Input::Future(job(2))]);
    pair.tell(&state);
    for next in [Some(pool(2)), None] {
        let (steps, _) = states(&mut board, [Input::Pool(next.clone())]);
        pair.tell(&steps[0]);
        let known = pair.client.state();
        assert_eq!(known.pool.as_deref(), next.as_ref());
        assert_eq!((known.active.as_ref(), known.futures.len()), (None, 0));
        let (steps, _) = states(&mut board, [Input::Job(job(3), tip(1))]);
        if next.is_none() {
            assert!(steps.is_empty(), "there are no jobs without a pool");
        } else {
            pair.tell(&steps[0]);
            assert!(pair.client.state().active.is_some());
        }
    }
}

/// The pool of a job is known by its key; without one, by its place.
#[test]
fn a_pool_is_known_by_its_key() {
    let with_key = pool(3333);
    assert!(with_key.is(b"other.example", 1, Some(&[7; 32])));
    assert!(!with_key.is(b"pool.example", 3333, Some(&[8; 32])));
    assert!(!with_key.is(b"pool.example", 3333, None));
    let without = adit_proto::distribute::Pool {
        key: None,
        ..with_key
    };
    assert!(without.is(b"pool.example", 3333, None));
    assert!(!without.is(b"pool.example", 3334, None));
    assert!(!without.is(b"pool.example", 3333, Some(&[7; 32])));
}

/// A solution of the present job; every second nonce is good on regtest.
fn solve(state: &State) -> SubmitSolution {
    let active = state.active.as_ref().expect("a job");
    let extranonce = [9; FULL_SIZE as usize];
    let coinbase = coinbase(&active.job, &extranonce, None).expect("a coinbase");
    let path: Vec<[u8; 32]> = active.job.merkle_path.iter().map(|branch| branch.0).collect();
    let root = adit_proto::merkle::fold(sha256d::Hash::hash(&coinbase).to_byte_array(), &path);
    let (version, ntime) = (active.job.version, active.tip.min_ntime);
    let nonce = (0..)
        .find(|nonce: &u32| {
            let parts: [&[u8]; 6] = [
                &version.to_le_bytes(),
                &active.tip.prev_hash.0,
                &root,
                &ntime.to_le_bytes(),
                &NBITS.to_le_bytes(),
                &nonce.to_le_bytes(),
            ];
            Target::from_nbits(NBITS).is_met_by(&sha256d::Hash::hash(&parts.concat()).to_byte_array())
        })
        .expect("every second one");
    SubmitSolution {
        job_id: active.job.job_id,
        extranonce: B0_32::new(&extranonce).expect("short"),
        version,
        ntime,
        nonce,
    }
}

/// A block goes to the distributor, who has its transactions, also when its job was withdrawn in the meantime. Junk costs a
/// hash and nothing more.
#[test]
fn a_block_reaches_the_distributor_and_junk_does_not() {
    let mut pair = Pair::new(0);
    let (mut board, state) = board(vec![Input::Job(job(1), tip(1))]);
    pair.tell(&state);
    let solution = solve(&state);
    let (steps, _) = states(&mut board, [Input::End(WithdrawJob::StaleChainTip)]);
    pair.tell(&steps[0]);
    let said = pair.say(client::Input::Solution(solution.clone()));
    let [server::Output::Solution(solved)] = &said[..] else {
        panic!("{said:?}");
    };
    let header: bitcoin::block::Header = bitcoin::consensus::deserialize(&solved.header).expect("a header");
    assert_eq!(header.block_hash().to_byte_array(), solved.hash);
    assert!(header.validate_pow(header.target()).is_ok());
    assert_eq!(Some(&solved.active), state.active.as_ref());

    let wrong = |change: fn(&mut SubmitSolution)| {
        let mut wrong = solution.clone();
        change(&mut wrong);
        wrong
    };
    let short = |it: &mut SubmitSolution| it.extranonce = B0_32::new(&[9; 14]).expect("short");
    for junk in [
        wrong(|it| it.job_id = 99),
        wrong(|it| it.version |= 0x4000_0000),
        wrong(|it| it.ntime -= 1),
        wrong(short),
    ] {
        let job_id = junk.job_id;
        let said = pair.say(client::Input::Solution(junk));
        assert_eq!(said, [server::Output::Event(Event::NoSolution { job_id })]);
    }
}

/// The coinbase that a pool makes of a distributed job is the one that its distributor counts with.
#[test]
fn the_coinbase_is_a_transaction_with_and_without_its_witness() {
    let extranonce = [9; FULL_SIZE as usize];
    let stripped = coinbase(&job(1), &extranonce, None).expect("a coinbase");
    let whole = coinbase(&job(1), &extranonce, Some(&[0; 32])).expect("a coinbase");
    let [stripped, whole]: [bitcoin::Transaction; 2] =
        [stripped, whole].map(|bytes| bitcoin::consensus::deserialize(&bytes).expect("a transaction"));
    assert!(whole.is_coinbase() && stripped.is_coinbase());
    assert_eq!(whole.compute_txid(), stripped.compute_txid());
    assert_eq!(whole.input[0].witness.len(), 1);
    assert_eq!(whole.input[0].script_sig.len(), 4 + usize::from(FULL_SIZE));
    assert_eq!(coinbase(&job(1), &[9; 14], None), None);
}

/// The distributor learns once for each job that a receiver's pool does not take it.
#[test]
fn a_refusal_is_told_once() {
    let mut pair = Pair::new(0);
    let (_, state) = board(vec![Input::Job(job(1), tip(1))]);
    pair.tell(&state);
    let refused = || client::Input::Refused {
        job_id: 1,
        code: "stale-chain-tip".try_into().expect("short"),
    };
    let code = "stale-chain-tip".try_into().expect("short");
    let event = Event::Refused { job_id: 1, code };
    assert_eq!(pair.say(refused()), [server::Output::Event(event)]);
    assert_eq!(pair.say(refused()), []);
}

/// What no distributor may say ends the connection, and the receiver falls back.
#[test]
fn a_distributor_that_makes_no_sense_is_left() {
    let mut pair = Pair::new(0);
    let (_, state) = board(vec![Input::Job(job(1), tip(1)), Input::Future(job(2))]);
    pair.tell(&state);
    let said = pair.sent.clone();
    let faults = |list: Vec<ToClient>| {
        let mut client = Client::new();
        list.into_iter()
            .map(|it| client.handle(client::Input::Message(it), &mut Vec::new()))
            .find_map(Result::err)
    };
    assert_eq!(faults(said.clone()), None);
    let mut no_token = (*job(3)).clone();
    no_token.mining_job_token = adit_wire::B0_255::default();
    let mut long_script = (*job(3)).clone();
    long_script.full_extranonce_size = 97;
    let many = (10..=11 + FUTURES_MAX as u32).map(|job_id| {
        let mut more = (*job(3)).clone();
        more.job_id = job_id;
        ToClient::from(more)
    });
    let wrong = [
        vec![said[1].clone()],
        vec![said[0].clone(), ToClient::from(no_token)],
        vec![said[0].clone(), ToClient::from(long_script)],
        vec![said[0].clone(), said[1].clone(), said[1].clone()],
        said[..1].iter().cloned().chain(many).collect(),
    ];
    for list in wrong {
        assert!(
            matches!(faults(list.clone()), Some(Fault::Misbehaved(_))),
            "{list:?}"
        );
    }
}

fn any_input() -> impl Strategy<Value = Input> {
    let number = 0..12u32;
    let block = 0..3u8;
    prop_oneof![
        1 => (0..3u16).prop_map(|port| Input::Pool((port > 0).then(|| pool(port)))),
        4 => (any::<u8>(), block.clone()).prop_map(|(token, block)| Input::Job(job(token), tip(block))),
        3 => any::<u8>().prop_map(|token| Input::Future(job(token))),
        3 => (number.clone(), block).prop_map(|(job_id, block)| Input::Activate { job_id, tip: tip(block) }),
        1 => Just(Input::End(WithdrawJob::StaleChainTip)),
        1 => number.prop_map(|job_id| Input::Withdraw(job_id, WithdrawJob::RefusedByPool)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whenever a receiver comes, and however many states it sleeps through: it knows what the first one knows, which is
    /// what is distributed. A list of inputs always gives the same messages.
    #[test]
    fn late_receivers_know_what_early_ones_know(
        inputs in prop::collection::vec(any_input(), 0..40),
        joins in any::<prop::sample::Index>(),
        awake in prop::collection::vec(any::<bool>(), 40),
    ) {
        let mut board = Board::new();
        let (all, _) = states(&mut board, std::iter::once(Input::Pool(Some(pool(9)))).chain(inputs.clone()));
        let last = all.last().expect("a state");
        let (mut early, mut again) = (Pair::new(0), Pair::new(0));
        all.iter().for_each(|state| early.tell(state));
        all.iter().for_each(|state| again.tell(state));
        prop_assert_eq!(&early.sent, &again.sent);
        let mut late = Pair::new(0);
        all[joins.index(all.len())..].iter().for_each(|state| late.tell(state));
        let mut slow = Pair::new(0);
        all.iter().zip(&awake).filter(|(_, awake)| **awake).for_each(|(state, _)| slow.tell(state));
        slow.tell(last);
        for pair in [&early, &late, &slow] {
            let known = pair.client.state();
            prop_assert_eq!(&known.pool, &last.pool);
            prop_assert_eq!(&known.active, &last.active);
            let ids = |state: &State| {
                let mut ids: Vec<u32> = state.futures.iter().map(|job| job.job_id).collect();
                ids.sort_unstable();
                ids
            };
            prop_assert_eq!(ids(known), ids(last));
        }
        prop_assert!(late.bytes <= early.bytes);
    }
}
