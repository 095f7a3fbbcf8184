//! A pool that does not let versions be rolled (spec 5.3.1).

mod pool;

use std::sync::Arc;

use adit_proto::job::{Fields, Job};
use adit_proto::mining::server::Settings;
use adit_wire::common::flags::*;
use adit_wire::mining::*;
use adit_wire::refusal::SubmitShares as Refusal;
use pool::*;

fn fixed_job(tip: u64, template: u64) -> Arc<Job> {
    Arc::new(
        Job::new(Fields {
            version_rolling_allowed: false,
            ..fields(tip, template)
        })
        .expect("a job"),
    )
}

fn fixed_pool() -> Pool {
    let mut pool = Pool::with(
        Settings {
            work_min: 1,
            ..settings()
        },
        0,
    );
    pool.server = server(
        Settings {
            work_min: 1,
            ..settings()
        },
        0,
        REQUIRES_FIXED_VERSION,
    );
    pool.device.fixed_version = true;
    pool.work(&fixed_job(1, 1));
    pool
}

/// REQ-MIN-016: every extended job of such a server says that its version stays as it is.
#[test]
fn jobs_forbid_what_the_setup_forbade() {
    let mut pool = fixed_pool();
    let mut outputs = vec![pool.say(open_extended(1, 0.0, adit_wire::U256::MAX, 4))];
    pool.standard();
    outputs.push(pool.work(&fixed_job(1, 2)));
    outputs.push(pool.work(&fixed_job(2, 3)));
    let jobs: Vec<_> = outputs
        .iter()
        .flat_map(|out| sent(out))
        .filter_map(|message| match message {
            ToClient::NewExtendedMiningJob(job) => Some(job.version_rolling_allowed),
            _ => None,
        })
        .collect();
    assert!(jobs.len() >= 3 && jobs.iter().all(|allowed| !allowed), "{jobs:?}");
}

/// The job's own version is good, any other bit is told apart from one that nobody may roll.
#[test]
fn a_rolled_version_is_refused_on_both_kinds_of_channel() {
    let mut pool = fixed_pool();
    for id in [pool.standard(), pool.extended()] {
        let job = pool.device.active(id);
        assert!(pool.submit(id, job).is_ok());
        for bit in [5, 13, 28, 31] {
            let rolled = pool.device.search(id, job, 1 << bit, |_| true);
            assert_eq!(
                pool.offer(rolled),
                code(Refusal::VersionRollingNotAllowed),
                "bit {bit}"
            );
        }
        assert!(pool.submit(id, job).is_ok());
    }
}
