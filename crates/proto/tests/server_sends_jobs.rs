//! Work in, jobs out: who gets which message, in which order, and which jobs stay good.

mod pool;

use adit_proto::mining::server::{Input, JOBS_PER_TIP, Output};
use adit_wire::U256;
use adit_wire::common::flags::*;
use adit_wire::mining::*;
use adit_wire::refusal::SubmitShares as Refusal;
use pool::*;
use std::collections::HashSet;

/// REQ-MIN-073, REQ-MIN-071, REQ-MIN-081, REQ-MIN-082
#[test]
fn a_group_gets_one_message_whatever_its_members() {
    let mut pool = Pool::new(0);
    pool.work(&job(1, 1));
    let channels = [pool.standard(), pool.standard(), pool.extended()];
    let group = pool.device.channels[&channels[0]].group;
    let out = pool.work(&job(1, 2));
    let [ToClient::NewExtendedMiningJob(later)] = &sent(&out)[..] else {
        panic!("{out:?}")
    };
    assert_eq!((later.channel_id, later.min_ntime), (group, Some(NTIME)));
    let out = pool.work(&job(2, 3));
    let [
        ToClient::NewExtendedMiningJob(future),
        ToClient::SetNewPrevHash(start),
    ] = &sent(&out)[..]
    else {
        panic!("{out:?}")
    };
    assert_eq!((future.channel_id, future.min_ntime), (group, None));
    assert_eq!((start.channel_id, start.job_id), (group, future.job_id));
    for channel in channels {
        let job = pool.device.active(channel);
        assert_eq!(job, future.job_id);
        pool.submit(channel, job).unwrap();
    }
}

#[test]
fn an_extended_channel_alone_in_its_group_is_spoken_to_by_its_own_id() {
    let mut pool = Pool::new(0);
    pool.work(&job(1, 1));
    let id = pool.extended();
    let [ToClient::NewExtendedMiningJob(job)] = &sent(&pool.work(&job(1, 2)))[..] else {
        panic!()
    };
    assert_eq!(job.channel_id, id);
}

/// REQ-MIN-011, REQ-MIN-070, REQ-MIN-075
#[test]
fn a_header_only_connection_gets_a_root_for_each_channel_and_nothing_else() {
    let mut pool = Pool::new(REQUIRES_STANDARD_JOBS);
    pool.work(&job(1, 1));
    let channels = [pool.standard(), pool.standard(), pool.standard()];
    let out = pool.work(&job(1, 2));
    assert_eq!(names(&out), ["NewMiningJob"; 3]);
    let roots: HashSet<[u8; 32]> = sent(&out)
        .iter()
        .map(|message| match message {
            ToClient::NewMiningJob(job) => job.merkle_root.0,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(roots.len(), 3, "a search space for each");
    let out = pool.work(&job(2, 3));
    assert_eq!(
        names(&out),
        [
            "NewMiningJob",
            "SetNewPrevHash",
            "NewMiningJob",
            "SetNewPrevHash",
            "NewMiningJob",
            "SetNewPrevHash"
        ]
    );
    for channel in channels {
        pool.submit(channel, pool.device.active(channel)).unwrap();
    }
}

/// REQ-MIN-074: the root of a header-only channel is that of the group job for the same prefix.
#[test]
fn roots_agree_with_the_group_job() {
    let mut single = Pool::new(REQUIRES_STANDARD_JOBS);
    let mut group = Pool::new(0);
    for pool in [&mut single, &mut group] {
        pool.work(&job(1, 1));
        pool.standard();
        pool.work(&job(1, 2));
    }
    let known = |pool: &Pool| {
        pool.device
            .channels
            .values()
            .next()
            .unwrap()
            .jobs
            .values()
            .last()
            .unwrap()
            .clone()
    };
    assert_eq!(
        merkle_root(&known(&single), &[]),
        merkle_root(&known(&group), &[])
    );
}

/// REQ-MIN-072: ids are never reused, and other channels' jobs are unknown to a channel.
#[test]
fn a_job_of_another_channel_is_unknown() {
    let mut pool = Pool::new(0);
    pool.work(&job(1, 1));
    let a = pool.standard();
    let early = pool.device.active(a);
    pool.work(&job(1, 2));
    let b = pool.standard();
    assert!(pool.submit(a, early).is_ok());
    let share = standard_share(b, early);
    assert_eq!(
        pool.offer(share.into()),
        code(Refusal::InvalidJobId),
        "b was never sent it"
    );
    for job in [0, 99, u32::MAX] {
        assert_eq!(
            pool.offer(standard_share(a, job).into()),
            code(Refusal::InvalidJobId)
        );
    }
}

/// REQ-MIN-067, REQ-MIN-080: stale is another word than unknown.
#[test]
fn jobs_live_until_the_next_tip() {
    let mut pool = Pool::new(0);
    pool.work(&job(1, 1));
    let id = pool.extended();
    let first = pool.device.active(id);
    pool.work(&job(1, 2));
    let second = pool.device.active(id);
    assert!(pool.submit(id, first).is_ok(), "past jobs are good");
    assert!(pool.submit(id, second).is_ok());
    pool.work(&job(2, 3));
    assert_eq!(pool.submit(id, first), code(Refusal::StaleShare));
    assert_eq!(pool.submit(id, second), code(Refusal::StaleShare));
    assert!(pool.submit(id, pool.device.active(id)).is_ok());
    assert!(
        pool.work(&job(1, 4)).is_empty(),
        "work on an older tip comes too late"
    );
}

/// Bounded, and past the bound stale.
#[test]
fn so_many_jobs_of_a_tip_are_kept() {
    let mut pool = Pool::new(0);
    pool.work(&job(1, 1));
    let id = pool.extended();
    let first = pool.device.active(id);
    for template in 2..=JOBS_PER_TIP as u64 {
        pool.work(&job(1, template));
    }
    assert!(pool.submit(id, first).is_ok());
    pool.work(&job(1, 100));
    assert_eq!(pool.submit(id, first), code(Refusal::StaleShare));
    assert!(pool.submit(id, first + 1).is_ok());
}

/// REQ-MIN-043, REQ-MIN-044, REQ-MIN-045
#[test]
fn a_new_prefix_is_for_later_jobs_only() {
    for flags in [0, REQUIRES_STANDARD_JOBS] {
        let mut pool = Pool::new(flags);
        pool.work(&job(1, 1));
        let mut channels = vec![pool.standard(), pool.standard()];
        if flags == 0 {
            channels.push(pool.extended());
        }
        for id in channels {
            let before = pool.device.channels[&id].clone();
            let out = pool.give(Input::MoveExtranonce { channel_id: id });
            assert_eq!(names(&out), ["SetExtranoncePrefix"]);
            let after = &pool.device.channels[&id];
            assert_ne!(before.prefix, after.prefix);
            assert_eq!(before.prefix.len(), after.prefix.len());
            let old = pool.device.active(id);
            let old_share = pool.submit(id, old).unwrap();
            pool.work(&job(1, 2 + u64::from(id)));
            let new_share = pool.submit(id, pool.device.active(id)).unwrap();
            assert_ne!(old_share.prefix, new_share.prefix);
            assert!(
                pool.submit(id, old).is_ok(),
                "still judged with the prefix it was sent with"
            );
            assert!(
                pool.give(Input::MoveExtranonce {
                    channel_id: before.group
                })
                .is_empty()
            );
        }
    }
}

/// REQ-MIN-076, REQ-MIN-077, REQ-MIN-078, REQ-MIN-107
#[test]
fn a_block_comes_before_its_share_and_whole() {
    for extended in [false, true] {
        let mut pool = Pool::new(0);
        pool.work(&easy_job(1, 9));
        let id = if extended {
            pool.extended()
        } else {
            pool.standard()
        };
        let network = adit_proto::target::Target::from_nbits(NBITS_EASY);
        let solved = pool
            .device
            .search(id, pool.device.active(id), 0, |hash| network.is_met_by(hash));
        let out = pool.say(solved);
        let [Output::Block(found), Output::Share(share)] = &out[..] else {
            panic!("{out:?}")
        };
        assert_eq!(found.hash, share.hash);
        assert_eq!(
            (found.account, found.job.fields().template, share.template),
            (share.account, 9, 9)
        );
        assert_eq!(share.work, 4, "a block is worth what its share is worth");
        let header: bitcoin::block::Header = bitcoin::consensus::deserialize(&found.header).unwrap();
        assert!(header.validate_pow(header.target()).is_ok());
        let coinbase: bitcoin::Transaction = bitcoin::consensus::deserialize(&found.coinbase).unwrap();
        assert!(coinbase.is_coinbase() && !coinbase.input[0].witness.is_empty());
        let txid = bitcoin::hashes::Hash::to_byte_array(coinbase.compute_txid());
        let root = adit_proto::merkle::fold(txid, &found.job.fields().merkle_path);
        assert_eq!(bitcoin::hashes::Hash::to_byte_array(header.merkle_root), root);
    }
}

fn standard_share(channel_id: u32, job_id: u32) -> SubmitSharesStandard {
    SubmitSharesStandard {
        channel_id,
        sequence_number: 1,
        job_id,
        nonce: 0,
        ntime: NTIME,
        version: 0x2000_0000,
    }
}

/// The job that each of these messages announces, for an extended channel or a group.
fn announced(out: &[Output]) -> Vec<NewExtendedMiningJob> {
    let jobs = sent(out).into_iter().filter_map(|message| match message {
        ToClient::NewExtendedMiningJob(job) => Some(job),
        _ => None,
    });
    jobs.collect()
}

/// REQ-MIN-001: whoever gets a job of a template gets the same transactions in the same order; only the room for the
/// extranonce in the coinbase differs.
#[test]
fn jobs_of_a_template_have_the_same_transactions() {
    let mut pool = Pool::new(0);
    pool.work(&job(1, 1));
    let mut all = Vec::new();
    for min_extranonce_size in [0, 4, 20] {
        let open = open_extended(
            u32::from(min_extranonce_size),
            0.0,
            U256::MAX,
            min_extranonce_size,
        );
        all.extend(announced(&pool.say(open)));
    }
    pool.standard();
    all.extend(announced(&pool.work(&job(1, 1))));
    assert!(all.len() >= 5, "{}", all.len());
    let first = &all[0];
    for job in &all {
        assert_eq!(job.merkle_path, first.merkle_path);
        assert_eq!(job.version, first.version);
        assert_eq!(job.coinbase_tx_suffix, first.coinbase_tx_suffix);
        let (one, other) = (
            job.coinbase_tx_prefix.as_bytes(),
            first.coinbase_tx_prefix.as_bytes(),
        );
        assert_eq!(one.len(), other.len());
        let differ = one.iter().zip(other).filter(|(a, b)| a != b).count();
        assert!(
            differ <= 2,
            "no more than the lengths of scriptSig and extranonce"
        );
    }
}

/// REQ-MIN-083: a future job is made of the template on whose tip it starts, so it cannot conflict with it; later
/// templates of that tip are jobs for now.
#[test]
fn a_future_job_starts_on_the_tip_that_it_was_made_for() {
    let mut pool = Pool::new(0);
    pool.work(&job(1, 1));
    pool.extended();
    for tip in 2..6 {
        let out = pool.work(&job(tip, tip * 10));
        let [
            ToClient::NewExtendedMiningJob(future),
            ToClient::SetNewPrevHash(start),
        ] = &sent(&out)[..]
        else {
            panic!("{out:?}")
        };
        assert_eq!((future.min_ntime, start.job_id), (None, future.job_id));
        let made_of = fields(tip, tip * 10);
        assert_eq!(start.prev_hash.0, made_of.prev_hash);
        let path: Vec<_> = future.merkle_path.iter().map(|hash| hash.0).collect();
        assert_eq!(path, made_of.merkle_path);
        let later = announced(&pool.work(&job(tip, tip * 10 + 1)));
        assert_eq!(later[0].min_ntime, Some(NTIME), "not in advance of anything");
    }
}
