//! The simulation behind the figures of `docs/job-distribution.md`, in small.

#[path = "../examples/farm/simulation.rs"]
mod simulation;

use simulation::{Farm, Size};

/// Every device behind every proxy mines the one negotiated job and no two of them the same header; what is paid for
/// negotiation does not grow with the farm.
#[test]
fn every_device_mines_the_one_negotiated_job() {
    let run = |proxies, devices| {
        Farm::new(Size {
            proxies,
            devices,
            jobs: 3,
            transactions: 2_000,
        })
        .run()
    };
    let (small, large) = (run(1, 10), run(5, 1_000));
    assert_eq!(large.roots, 1_000, "each device has a search space of its own");
    assert_eq!(small.negotiation, large.negotiation);
    assert_eq!(large.negotiation.messages, 3 * 6);
    // SetPool, the first job with its SetNewPrevHash, two more jobs.
    assert_eq!(large.distribution.messages, 5 * (1 + 2 + 2));
    assert_eq!(large.custom.messages, 5 * 3 * 2);
    // NewMiningJob for each, and one SetNewPrevHash at the start.
    assert_eq!(large.devices.messages, 1_000 * (3 + 1));
    let together = large.negotiation.and(large.distribution);
    assert!(together.bytes * 4 < large.negotiation.times(5).bytes);
}
