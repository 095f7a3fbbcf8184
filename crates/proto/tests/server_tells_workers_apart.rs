//! Extension 0x0002 at the server: shares that name a worker behind an aggregated channel.
#![allow(clippy::unwrap_used, reason = "a test fails where it breaks")]

mod pool;

use adit_proto::mining::server::{Event, Input, Output, Settings, Share, WorkerId, WorkerName};
use adit_wire::mining::*;
use core::time::Duration;
use pool::*;

fn name(name: &str) -> WorkerName {
    WorkerName::new(name).unwrap()
}

fn solved(pool: &mut Pool, channel: u32) -> SubmitSharesExtended {
    let job = pool.device.active(channel);
    match pool.device.solve(channel, job, 0) {
        ToServer::SubmitSharesExtended(share) => share,
        other => panic!("{other:?}"),
    }
}

fn submit(pool: &mut Pool, channel: u32, worker: &str) -> (Option<Share>, Vec<Event>) {
    let share = solved(pool, channel);
    let worker = name(worker);
    let out = pool.give(Input::WorkerShare { share, worker });
    let share_at = out.iter().position(|it| matches!(it, Output::Share(_)));
    let name_at = out
        .iter()
        .position(|it| matches!(it, Output::Event(Event::Worker { .. })));
    assert!(
        name_at.is_none() || name_at < share_at,
        "a name stands before its share"
    );
    let named = events(&out).into_iter();
    (
        shares(&out).first().copied(),
        named.filter(|it| matches!(it, Event::Worker { .. })).collect(),
    )
}

/// REQ-EXT-021, REQ-EXT-020: each share is booked to its worker, and its name is told once, before the first share; a
/// value of length 0 names nobody.
#[test]
fn a_share_is_booked_to_the_worker_it_names() {
    let mut pool = Pool::new(0);
    pool.work(&job(1, 1));
    let id = pool.extended();
    let (plain, account) = {
        let solved = solved(&mut pool, id);
        let share = pool.offer(solved.into()).unwrap();
        (share.worker, share.account)
    };
    assert_eq!(plain, None);
    for (round, worker) in ["rig1", "rig2", "rig1", ""].into_iter().enumerate() {
        let (share, told) = submit(&mut pool, id, worker);
        let share = share.unwrap();
        let expected = (!worker.is_empty()).then(|| WorkerId::of(&name(worker)));
        assert_eq!((share.worker, share.account), (expected, account));
        let news = expected.filter(|_| round < 2).map(|worker_id| Event::Worker {
            account,
            worker: worker_id,
            name: name(worker),
        });
        assert_eq!(told, news.into_iter().collect::<Vec<_>>(), "{worker}");
    }
}

/// The block that a worker finds is its own.
#[test]
fn a_block_names_its_worker() {
    let mut pool = Pool::new(0);
    pool.work(&easy_job(1, 1));
    let id = pool.extended();
    let found = (0..10_000).find_map(|_| {
        let share = solved(&mut pool, id);
        let worker = name("rig1");
        pool.give(Input::WorkerShare { share, worker })
            .into_iter()
            .find_map(|it| match it {
                Output::Block(found) => Some(found),
                _ => None,
            })
    });
    assert_eq!(found.unwrap().worker, Some(WorkerId::of(&name("rig1"))));
}

/// REQ-EXT-019: a message whose appended fields are malformed is refused and not judged.
#[test]
fn a_share_with_malformed_fields_is_refused() {
    let mut pool = Pool::new(0);
    pool.work(&job(1, 1));
    let id = pool.extended();
    let share = solved(&mut pool, id);
    let out = pool.give(Input::MalformedShare(share.clone()));
    assert_eq!(
        (errors(&out), shares(&out).len()),
        (vec!["invalid-user-identity".to_owned()], 0)
    );
    assert!(
        pool.offer(share.into()).is_ok(),
        "it was not taken for a duplicate"
    );
}

/// REQ-COM-032, C-39: with another endpoint the workers are introduced anew.
#[test]
fn a_changed_endpoint_is_met_anew() {
    let mut pool = Pool::new(0);
    pool.work(&job(1, 1));
    let id = pool.extended();
    assert_eq!(submit(&mut pool, id, "rig1").1.len(), 1);
    assert_eq!(submit(&mut pool, id, "rig1").1.len(), 0);
    pool.give(Input::EndpointChanged { channel_id: id });
    pool.give(Input::EndpointChanged { channel_id: 9_999 });
    assert_eq!(submit(&mut pool, id, "rig1").1.len(), 1);
}

/// Shares a minute that a channel of constant hash rate is led to when this many workers show.
fn settled_rate(workers: usize) -> f64 {
    // Every share costs this test real hashes: the clock runs as fast as a miner of 64 hashes a second would find them.
    const HASH_RATE: f64 = 64.0;
    let settings = Settings {
        vardiff: true,
        shares_per_minute: 6,
        work_min: 1,
        ..Settings::default()
    };
    let mut pool = Pool::with(settings, 0);
    pool.work(&job(1, 1));
    let open = open_extended(1, HASH_RATE as f32, adit_wire::U256::MAX, 0);
    let id = id_of(&pool.say(open));
    let (mut work, mut count, end) = (0u64, 0u32, START + Duration::from_secs(1_800));
    let mut measured = (0u32, START);
    while pool.now < end {
        let wait = if work == 0 { 1.0 } else { work as f64 / HASH_RATE };
        pool.now = pool.now + Duration::from_secs_f64(wait);
        pool.give(Input::Deadline);
        let (share, _) = submit(&mut pool, id, &format!("rig{}", count as usize % workers));
        work = share.unwrap().work;
        count += 1;
        if pool.now < START + Duration::from_secs(1_200) {
            measured = (count, pool.now);
        }
    }
    f64::from(count - measured.0) * 60.0 / pool.now.seconds_since(measured.1)
}

/// REQ-EXT-038: a channel with more workers finds more shares, so that each is seen as often as a device of its own.
#[test]
fn more_workers_behind_a_channel_mean_more_shares() {
    let (one, ten) = (settled_rate(1), settled_rate(10));
    assert!((4.0..9.0).contains(&one), "{one}");
    assert!((40.0..90.0).contains(&ten), "{ten}");
}
