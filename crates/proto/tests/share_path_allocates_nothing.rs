//! The steady state of the share path: no allocation from message to outputs.

mod pool;

use adit_proto::mining::server::{Input, Output, WorkerName};
use adit_wire::mining::ToServer;
use pool::*;

#[test]
fn judging_crediting_and_acknowledging_a_share_allocates_nothing() {
    for (extended, workers) in [(false, false), (true, false), (true, true)] {
        let mut pool = Pool::new(0);
        pool.work(&job(1, 1));
        let id = if extended {
            pool.extended()
        } else {
            pool.standard()
        };
        let active = pool.device.active(id);
        let worker = WorkerName::new("rig1").unwrap();
        let given = |message: ToServer| match message {
            ToServer::SubmitSharesExtended(share) if workers => Input::WorkerShare { share, worker },
            message => Input::Message(message),
        };
        // Enough to have grown every buffer; the set of hashes has room for 3,584 at 2,000.
        let mut solved: Vec<_> = (0..3_000)
            .map(|_| pool.device.solve(id, active, 0))
            .map(given)
            .collect();
        let counted = solved.split_off(2_000);
        let mut out: Vec<Output> = Vec::with_capacity(64);
        let mut through = 0;
        let mut serve = |inputs: Vec<Input>| {
            for input in inputs {
                out.clear();
                pool.server.handle(pool.now, input, &mut out).unwrap();
                through += shares(&out).len() as u64;
                if through % 10 == 0 {
                    pool.server
                        .handle(pool.now, Input::Committed { through }, &mut out)
                        .unwrap();
                }
            }
            through
        };
        assert_eq!(serve(solved), 2_000);
        // Without the helper of the tests, which collects.
        let mut out: Vec<Output> = Vec::with_capacity(64);
        let mut good = 0;
        let info = allocation_counter::measure(|| {
            for input in counted {
                out.clear();
                pool.server.handle(pool.now, input, &mut out).unwrap();
                good += u64::from(matches!(out.first(), Some(Output::Share(_))));
                if good % 10 == 0 {
                    let through = 2_000 + good;
                    pool.server
                        .handle(pool.now, Input::Committed { through }, &mut out)
                        .unwrap();
                }
            }
        });
        assert_eq!(good, 1_000);
        assert_eq!(
            info.count_total, 0,
            "extended: {extended}, with workers: {workers}"
        );
    }
}

/// A whole idle connection with its channel and job, but for the job itself, which all share.
#[test]
fn an_idle_channel_costs_little_memory() {
    for flags in [0, adit_wire::common::flags::REQUIRES_STANDARD_JOBS] {
        let job = job(1, 1);
        let mut server = server(settings(), flags, 0);
        let mut out: Vec<Output> = Vec::with_capacity(64);
        let info = allocation_counter::measure(|| {
            let open = Input::Message(open_standard(1, 0.0, adit_wire::U256::MAX).into());
            server.handle(START, open, &mut out).unwrap();
            server.handle(START, Input::Work(job), &mut out).unwrap();
            out.clear();
        });
        let bytes = info.bytes_current + size_of_val(&server) as i64;
        assert!(bytes < 2_048, "{bytes} bytes");
        assert_eq!(server.channel_count(), 1);
    }
}
