//! SubmitShares.Success: when the ledger says so, with exact counts and sums.

mod pool;

use adit_proto::mining::server::{Input, Output, Settings};
use adit_wire::U256;
use adit_wire::mining::*;
use core::time::Duration;
use pool::*;
use proptest::prelude::*;
use std::collections::HashMap;

fn successes(out: &[Output]) -> Vec<SubmitSharesSuccess> {
    sent(out)
        .into_iter()
        .filter_map(|it| {
            if let ToClient::SubmitSharesSuccess(it) = it {
                Some(it)
            } else {
                None
            }
        })
        .collect()
}

/// REQ-MIN-059, REQ-MIN-060, REQ-MIN-061, REQ-MIN-063, REQ-MIN-056
#[test]
fn nothing_is_acknowledged_before_it_is_durable_and_then_at_once() {
    let mut pool = Pool::new(0);
    pool.work(&job(1, 1));
    let (a, b) = (pool.standard(), pool.extended());
    let job = pool.device.active(a);
    for id in [a, a, b, a, b] {
        let solved = pool.device.solve(id, job, 0);
        let out = pool.say(solved);
        assert!(successes(&out).is_empty());
    }
    assert!(successes(&pool.give(Input::Committed { through: 0 })).is_empty());
    let acks = successes(&pool.give(Input::Committed { through: 3 }));
    assert_eq!(counts(&acks), [(a, 2, 2), (b, 3, 1)]);
    let acks = successes(&pool.give(Input::Committed { through: 5 }));
    assert_eq!(counts(&acks), [(a, 4, 1), (b, 5, 1)], "counters start again");
    assert!(successes(&pool.give(Input::Committed { through: 5 })).is_empty());
    assert!(successes(&pool.give(Input::Committed { through: u64::MAX })).is_empty());
}

/// The configured wait: a small batch waits for more, but not longer than that.
#[test]
fn a_small_batch_waits_no_longer_than_configured() {
    let mut pool = Pool::with(
        Settings {
            ack_shares_min: 3,
            ..settings()
        },
        0,
    );
    pool.work(&job(1, 1));
    let id = pool.extended();
    let job = pool.device.active(id);
    for _ in 0..5 {
        pool.submit(id, job).unwrap();
    }
    assert!(successes(&pool.give(Input::Committed { through: 2 })).is_empty());
    let deadline = START + Duration::from_millis(250);
    assert_eq!(pool.server.deadline(), Some(deadline));
    assert_eq!(
        counts(&successes(&pool.give(Input::Committed { through: 4 }))),
        [(id, 4, 4)]
    );
    pool.give(Input::Committed { through: 5 });
    pool.now = pool.server.deadline().unwrap();
    assert_eq!(counts(&successes(&pool.give(Input::Deadline))), [(id, 5, 1)]);
    assert_eq!(pool.server.deadline(), None);
}

fn counts(acks: &[SubmitSharesSuccess]) -> Vec<(u32, u32, u32)> {
    acks.iter()
        .map(|it| {
            (
                it.channel_id,
                it.last_sequence_number,
                it.new_submits_accepted_count,
            )
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// REQ-MIN-060: each durable share is counted once, for its channel, however batches fall. (Sums: see
    /// the property beside the acknowledgements themselves; work of 2^32 is not mined in a test.)
    #[test]
    fn counts_are_exact_over_any_batches(
        works in proptest::collection::vec(0u32..3, 1..60),
        commits in proptest::collection::vec(0u64..70, 0..20),
    ) {
        let mut pool = Pool::new(0);
        pool.work(&job(1, 1));
        let channels = [
            id_of(&pool.say(open_extended(1, 0.0, U256::MAX, 8))),
            id_of(&pool.say(open_extended(2, 0.0, U256(adit_proto::target::Target::from_work(9).0), 8))),
            id_of(&pool.say(open_standard(3, 0.0, U256(adit_proto::target::Target::from_work(31).0)))),
        ];
        let mut credited: HashMap<u32, (u32, u128)> = HashMap::new();
        let mut acknowledged: HashMap<u32, (u32, u128)> = HashMap::new();
        let mut commits = commits.into_iter();
        let mut note = |out: Vec<Output>| {
            for ack in successes(&out) {
                let sums = acknowledged.entry(ack.channel_id).or_default();
                sums.0 += ack.new_submits_accepted_count;
                sums.1 += u128::from(ack.new_shares_sum);
            }
        };
        for which in works {
            let id = channels[which as usize];
            let share = pool.submit(id, pool.device.active(id)).unwrap();
            let sums = credited.entry(id).or_default();
            sums.0 += 1;
            sums.1 += u128::from(share.work);
            if let Some(through) = commits.next() {
                note(pool.give(Input::Committed { through: through.min(share.index) }));
            }
        }
        note(pool.give(Input::Committed { through: u64::MAX }));
        let exact: HashMap<u32, (u32, u128)> =
            credited.into_iter().map(|(id, (count, work))| (id, (count, work >> 32))).collect();
        prop_assert_eq!(acknowledged, exact);
        prop_assert_eq!(pool.server.pending_count(), 0);
    }
}
