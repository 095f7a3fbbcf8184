//! SetCustomMiningJob on a mining connection: who may, which shares are paid, and until when (spec 5.3.18 to 5.3.20).
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

mod pool;

use std::sync::Arc;

use adit_proto::coinbase::{Body as CoinbaseBody, Halves};
use adit_proto::declare::Worth;
use adit_proto::job::{Fields, Job};
use adit_proto::mining::server::{
    AccountId, Asked, CUSTOM_JOBS_MAX, CUSTOM_PENDING_MAX, Input, Output, Promise, Settings,
};
use adit_wire::common::flags::{REQUIRES_STANDARD_JOBS, REQUIRES_WORK_SELECTION};
use adit_wire::mining::*;
use adit_wire::refusal::SetCustomMiningJob as Refusal;
use adit_wire::{B0_64K, B0_255, Seq0_255, U256};
use bitcoin::{Amount, ScriptBuf, TxOut};
use pool::*;

fn miner() -> Pool {
    let settings = Settings {
        custom: true,
        start_epoch: 0x0a0b_0c0d,
        ..settings()
    };
    let mut pool = Pool::with(settings, REQUIRES_WORK_SELECTION);
    pool.work(&easy_job(1, 1));
    pool
}

fn custom(channel_id: u32, request_id: u32) -> SetCustomMiningJob {
    let outputs = vec![TxOut {
        value: Amount::from_sat(5_000_000_000),
        script_pubkey: ScriptBuf::from_bytes(vec![0x51; 22]),
    }];
    let fields = fields(1, 1);
    SetCustomMiningJob {
        channel_id,
        request_id,
        mining_job_token: B0_255::new(&[7; 16]).unwrap(),
        version: 0x2000_0000,
        prev_hash: U256(fields.prev_hash),
        min_ntime: NTIME,
        nbits: NBITS_EASY,
        coinbase_tx_version: 2,
        coinbase_prefix: B0_255::new(&[3, 1, 2, 3, 19]).unwrap(),
        coinbase_tx_input_n_sequence: 0xffff_fffe,
        coinbase_tx_outputs: B0_64K::new(&bitcoin::consensus::serialize(&outputs)).unwrap(),
        coinbase_tx_locktime: 0,
        merkle_path: Seq0_255::new(vec![U256([4; 32])]).unwrap(),
    }
}

fn asked(out: &[Output]) -> Asked {
    match out {
        [Output::Custom(asked)] => Asked::clone(asked),
        other => panic!("{other:?}"),
    }
}

/// The pool's yes, for a job on generation `tip`.
fn promise(asked: &Asked, tip: u64, account: &str, credit_bp: u16) -> Arc<Promise> {
    let coinbase = &asked.coinbase;
    let job = Job::new(Fields {
        nbits: NBITS_EASY,
        header_timestamp: asked.message.min_ntime,
        min_ntime: asked.message.min_ntime,
        merkle_path: asked.message.merkle_path.iter().map(|it| it.0).collect(),
        coinbase: CoinbaseBody::Given(Halves {
            prefix: coinbase.prefix(),
            suffix: coinbase.suffix(),
            size: coinbase.extranonce_size,
            value: 5_000_000_000,
            witness: None,
        }),
        ..fields(tip, 1 << 63)
    });
    let worth = Worth {
        pool: 1,
        total: 1,
        credit_bp,
    };
    Arc::new(Promise {
        job: Arc::new(job.unwrap()),
        account: AccountId::of(account.as_bytes()),
        worth,
    })
}

fn verdict(message: &SetCustomMiningJob, verdict: Result<Arc<Promise>, Refusal>) -> Input {
    Input::CustomVerdict {
        channel_id: message.channel_id,
        request_id: message.request_id,
        verdict,
    }
}

fn refusals(out: &[Output]) -> Vec<(u32, u32, String)> {
    let refusal = |message| match message {
        ToClient::SetCustomMiningJobError(it) => Some((
            it.channel_id,
            it.request_id,
            it.error_code.as_str().unwrap().to_owned(),
        )),
        _ => None,
    };
    sent(out).into_iter().filter_map(refusal).collect()
}

fn job_id(out: &[Output]) -> u32 {
    match &sent(out)[..] {
        [ToClient::SetCustomMiningJobSuccess(it)] => it.job_id,
        other => panic!("{other:?}"),
    }
}

/// Sets a job and has it accepted; the device learns it from its own message alone.
fn accepted(pool: &mut Pool, channel: u32, request: u32, credit_bp: u16) -> u32 {
    let asked = asked(&pool.say(custom(channel, request)));
    let yes = promise(&asked, 1, "a.b", credit_bp);
    let id = job_id(&pool.give(verdict(&asked.message, Ok(yes))));
    learn(pool, channel, id, &asked);
    id
}

/// What the device makes of its own job (spec 5.3.19).
fn learn(pool: &mut Pool, channel: u32, id: u32, asked: &Asked) {
    let view = pool.device.channels.get_mut(&channel).unwrap();
    let body = Body::Parts(NewExtendedMiningJob {
        channel_id: channel,
        job_id: id,
        min_ntime: None,
        version: asked.message.version,
        version_rolling_allowed: true,
        merkle_path: asked.message.merkle_path.clone(),
        coinbase_tx_prefix: B0_64K::new(&asked.coinbase.prefix()).unwrap(),
        coinbase_tx_suffix: B0_64K::new(&asked.coinbase.suffix()).unwrap(),
    });
    let known = Known {
        target: view.target,
        prefix: view.prefix.clone(),
        min_ntime: Some(asked.message.min_ntime),
        prev_hash: Some((asked.message.prev_hash, asked.message.nbits)),
        version: asked.message.version,
        body,
    };
    view.jobs.insert(id, known);
}

/// REQ-MIN-087: who did not ask for work selection, or asks where there is none, is refused.
#[test]
fn custom_jobs_need_the_flag() {
    let mut plain = Pool::with(
        Settings {
            custom: true,
            ..settings()
        },
        0,
    );
    plain.work(&easy_job(1, 1));
    let mut off = Pool::with(settings(), REQUIRES_WORK_SELECTION);
    off.work(&easy_job(1, 1));
    for mut pool in [plain, off] {
        let channel = pool.extended();
        let out = pool.say(custom(channel, 9));
        assert_eq!(refusals(&out), [(channel, 9, "jd-not-supported".to_owned())]);
    }
}

/// REQ-MIN-085: only extended channels and groups with one.
#[test]
fn custom_jobs_are_for_extended_channels() {
    let mut pool = miner();
    let standard = pool.standard();
    for id in [standard, 99] {
        let out = pool.say(custom(id, 1));
        assert_eq!(refusals(&out), [(id, 1, "invalid-channel-id".to_owned())]);
    }
    let mut header_only = Pool::with(
        Settings {
            custom: true,
            ..settings()
        },
        REQUIRES_WORK_SELECTION | REQUIRES_STANDARD_JOBS,
    );
    let standard = header_only.standard();
    assert_eq!(refusals(&header_only.say(custom(standard, 1))).len(), 1);
}

/// REQ-MIN-088, REQ-MIN-089: answers come in any order, each with the ids of its question; a bad token is the desk's word.
#[test]
fn every_answer_names_its_question() {
    let mut pool = miner();
    let (first, second) = (pool.extended(), pool.extended());
    let one = asked(&pool.say(custom(first, 1)));
    let two = asked(&pool.say(custom(second, 2)));
    let out = pool.give(verdict(&two.message, Err(Refusal::InvalidMiningJobToken)));
    assert_eq!(
        refusals(&out),
        [(second, 2, "invalid-mining-job-token".to_owned())]
    );
    match &sent(&pool.give(verdict(&one.message, Ok(promise(&one, 1, "a.b", 10_000)))))[..] {
        [ToClient::SetCustomMiningJobSuccess(it)] => assert_eq!((it.channel_id, it.request_id), (first, 1)),
        other => panic!("{other:?}"),
    }
    // Nobody waits for it any more.
    assert!(
        pool.give(verdict(&two.message, Err(Refusal::InvalidNbits)))
            .is_empty()
    );
}

/// REQ-MIN-091, REQ-MIN-094: a share under the returned id counts at once, for its work; in proportion where a part of
/// the revenue is kept (REQ-JD-027). A block of it comes whole.
#[test]
fn shares_of_an_accepted_job_are_paid_at_once() {
    let mut pool = miner();
    let channel = pool.extended();
    let (whole, half) = (
        accepted(&mut pool, channel, 1, 10_000),
        accepted(&mut pool, channel, 2, 5_000),
    );
    assert_eq!(pool.submit(channel, whole).unwrap().work, 4);
    assert_eq!(pool.submit(channel, half).unwrap().work, 2);
    let share = pool.device.search(channel, whole, 0, |hash| {
        adit_proto::target::Target::from_nbits(NBITS_EASY).is_met_by(hash)
    });
    let out = pool.say(share);
    let found = out.iter().find_map(|it| match it {
        Output::Block(found) => Some(found.clone()),
        _ => None,
    });
    let found = found.expect("a block");
    let coinbase: bitcoin::Transaction = bitcoin::consensus::deserialize(&found.coinbase).unwrap();
    assert!(coinbase.is_coinbase() && coinbase.output.len() == 1);
    assert_eq!(found.job.fields().template, 1 << 63);
    let own = pool.device.active(channel);
    assert_eq!(
        pool.submit(channel, own).unwrap().work,
        4,
        "the pool's job is as good as ever"
    );
}

/// A custom job is its channel's and nobody else's.
#[test]
fn no_other_channel_has_the_job() {
    let mut pool = miner();
    let (mine, other) = (pool.extended(), pool.extended());
    let id = accepted(&mut pool, mine, 1, 10_000);
    let known = pool.device.channels[&mine].jobs[&id].clone();
    let view = pool.device.channels.get_mut(&other).unwrap();
    let prefix = view.prefix.clone();
    view.jobs.insert(id, Known { prefix, ..known });
    assert_eq!(pool.submit(other, id), Err("invalid-job-id".to_owned()));
    assert!(pool.submit(mine, id).is_ok());
}

/// REQ-MIN-086: on a group, the extended channels of the owner have the job; standard channels are passed over.
#[test]
fn a_group_with_standard_channels_has_the_job_on_its_extended_ones() {
    let mut pool = miner();
    let (first, second, standard) = (pool.extended(), pool.extended(), pool.standard());
    let group = pool.device.channels[&first].group;
    assert_eq!(pool.device.channels[&standard].group, group, "one group for all");
    let asked = asked(&pool.say(custom(group, 1)));
    assert_eq!(asked.accounts, [AccountId::of(b"a.b")]);
    let out = pool.give(verdict(&asked.message, Ok(promise(&asked, 1, "a.b", 10_000))));
    let id = job_id(&out);
    for channel in [first, second] {
        learn(&mut pool, channel, id, &asked);
        assert!(pool.submit(channel, id).is_ok());
    }
    let own = pool.device.active(standard);
    assert!(pool.submit(standard, own).is_ok());
    let share = SubmitSharesStandard {
        channel_id: standard,
        sequence_number: 900,
        job_id: id,
        nonce: 1,
        ntime: NTIME,
        version: 0x2000_0000,
    };
    assert_eq!(pool.offer(share.into()), Err("invalid-job-id".to_owned()));
    // Somebody else's channels do not have it, though they are in the group.
    let later = asked_for(&mut pool, group, 2);
    let out = pool.give(verdict(
        &later.message,
        Ok(promise(&later, 1, "somebody", 10_000)),
    ));
    let id = job_id(&out);
    learn(&mut pool, first, id, &later);
    assert_eq!(pool.submit(first, id), Err("invalid-job-id".to_owned()));
}

fn asked_for(pool: &mut Pool, id: u32, request: u32) -> Asked {
    asked(&pool.say(custom(id, request)))
}

/// A new tip ends custom jobs as it ends all others; a verdict that comes after it is for a stale one.
#[test]
fn a_new_tip_ends_custom_jobs() {
    let mut pool = miner();
    let channel = pool.extended();
    let id = accepted(&mut pool, channel, 1, 10_000);
    let late = asked(&pool.say(custom(channel, 2)));
    let share = pool.device.solve(channel, id, 0);
    pool.work(&easy_job(2, 2));
    assert_eq!(pool.offer(share), Err("stale-share".to_owned()));
    let out = pool.give(verdict(&late.message, Ok(promise(&late, 1, "a.b", 10_000))));
    assert_eq!(refusals(&out), [(channel, 2, "stale-chain-tip".to_owned())]);
}

/// The miner published its block first, and our node saw it before the share came: that share is paid and is a block, once;
/// every other share of the job is stale.
#[test]
fn the_share_that_made_the_tip_is_not_stale() {
    let mut pool = miner();
    let channel = pool.extended();
    let id = accepted(&mut pool, channel, 1, 5_000);
    let mut hash = [0; 32];
    let winner = pool.device.search(channel, id, 0, |found| {
        hash = *found;
        adit_proto::target::Target::from_nbits(NBITS_EASY).is_met_by(found)
    });
    let other = pool.device.solve(channel, id, 7);
    let next = Fields {
        nbits: NBITS_EASY,
        prev_hash: hash,
        ..fields(2, 2)
    };
    pool.work(&Arc::new(Job::new(next).unwrap()));
    assert_eq!(pool.offer(other), Err("stale-share".to_owned()));
    let out = pool.say(winner.clone());
    assert!(
        out.iter()
            .any(|it| matches!(it, Output::Block(found) if found.hash == hash))
    );
    let work = out.iter().find_map(|it| match it {
        Output::Share(share) => Some(share.work),
        _ => None,
    });
    assert_eq!(work, Some(2), "half of it is kept by its miner");
    assert_eq!(pool.offer(winner), Err("duplicate-share".to_owned()));
    // One tip later it is history.
    let id = pool.device.active(channel);
    assert!(pool.submit(channel, id).is_ok());
    pool.work(&easy_job(3, 3));
    assert!(pool.submit(channel, id).is_err());
}

/// REQ-MIN-065, REQ-MIN-104: the miner knew the newer block first. Its job waits for our work on that block, and is then
/// accepted: no verdict is given by an older tip.
#[test]
fn a_job_on_a_newer_block_waits_for_our_own() {
    let mut pool = miner();
    let channel = pool.extended();
    let early = asked(&pool.say(custom(channel, 1)));
    assert!(
        pool.give(verdict(&early.message, Ok(promise(&early, 2, "a.b", 10_000))))
            .is_empty()
    );
    let out = pool.work(&easy_job(2, 2));
    let names = names(&out);
    assert_eq!(names.last(), Some(&"SetCustomMiningJob.Success"), "{names:?}");
}

/// Bounds: eight questions at a time, thirty-two jobs on a tip.
#[test]
fn questions_and_jobs_are_bounded() {
    let mut pool = miner();
    let channel = pool.extended();
    let open: Vec<_> = (0..CUSTOM_PENDING_MAX as u32)
        .map(|n| asked(&pool.say(custom(channel, n))))
        .collect();
    let out = pool.say(custom(channel, 99));
    assert_eq!(refusals(&out), [(channel, 99, "rate-limited".to_owned())]);
    for asked in &open {
        pool.give(verdict(&asked.message, Err(Refusal::InvalidMerklePath)));
    }
    let ids: Vec<_> = (0..=CUSTOM_JOBS_MAX as u32)
        .map(|n| accepted(&mut pool, channel, 100 + n, 10_000))
        .collect();
    assert_eq!(pool.submit(channel, ids[0]), Err("stale-share".to_owned()));
    assert!(pool.submit(channel, ids[1]).is_ok());
    assert!(pool.submit(channel, ids[CUSTOM_JOBS_MAX]).is_ok());
}

/// REQ-MIN-090: nine bytes of prefix are taken, as the reference implementation sends more than eight, but never more than
/// a scriptSig holds beside the extranonce; outputs must be outputs.
#[test]
fn fields_that_make_no_coinbase_are_named() {
    let mut pool = miner();
    let channel = pool.extended();
    let mut said = |change: &dyn Fn(&mut SetCustomMiningJob)| {
        let mut message = custom(channel, 1);
        change(&mut message);
        refusals(&pool.say(message)).pop().map(|(_, _, code)| code)
    };
    let prefix = |bytes: usize| B0_255::new(&vec![3; bytes]).unwrap();
    assert_eq!(said(&|it| it.coinbase_prefix = prefix(9)), None);
    assert_eq!(
        said(&|it| it.coinbase_prefix = prefix(81)),
        None,
        "81 and 19 are 100"
    );
    for bytes in [0, 82, 255] {
        assert_eq!(
            said(&|it| it.coinbase_prefix = prefix(bytes)).as_deref(),
            Some("invalid-job-param-value-coinbase_prefix"),
            "{bytes}"
        );
    }
    for outputs in [&[][..], &[0], &[1, 2, 3], &[0xff; 40]] {
        assert_eq!(
            said(&|it| it.coinbase_tx_outputs = B0_64K::new(outputs).unwrap()).as_deref(),
            Some("invalid-job-param-value-coinbase_tx_outputs")
        );
    }
    assert_eq!(
        said(&|it| it.merkle_path = Seq0_255::new(vec![U256([0; 32]); 17]).unwrap()).as_deref(),
        Some("invalid-job-param-value-merkle_path")
    );
}

/// A custom job has no start epoch in its scriptSig, so that the extranonce prefix has it: what was mined before a restart
/// is other work than anything after it, on the same slot and the same job.
#[test]
fn extranonces_of_custom_work_hold_the_start_epoch() {
    let mut pool = miner();
    let channel = pool.extended();
    let view = &pool.device.channels[&channel];
    assert_eq!(view.prefix.len(), 11);
    assert_eq!(view.prefix[7..], [0x0a, 0x0b, 0x0c, 0x0d]);
    assert_eq!(view.rolled, 8);
    let mut plain = Pool::with(
        Settings {
            custom: true,
            ..settings()
        },
        0,
    );
    plain.work(&easy_job(1, 1));
    let other = plain.extended();
    assert_eq!(plain.device.channels[&other].prefix.len(), 7);
    let standard = pool.standard();
    assert_eq!(
        pool.device.channels[&standard].prefix[7..11],
        [0x0a, 0x0b, 0x0c, 0x0d]
    );
    let own = pool.device.active(standard);
    assert!(pool.submit(standard, own).is_ok());
}
