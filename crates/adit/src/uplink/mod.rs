//! Between our miners and somebody else's pools: the connections upwards, and which of them is worked for.
//!
//! [`supervisor`] decides; [`Lines`] makes and ends connections on its word; [`mining`] is a mining connection with one
//! extended channel, `stratum_v1` the same to a pool of Stratum V1, [`declaring`] a job declaration connection. Whoever stands
//! on top (the job negotiator, a proxy) owns the supervisor and one task: connections are tasks of their own, which report
//! to it and take its commands over bounded channels.

mod commands;
pub mod declaring;
pub mod lines;
pub mod mining;
pub mod quiet;
pub mod stratum_v1;
pub mod supervisor;
pub mod upstream;

use std::time::Duration;

pub use lines::{Facts, Lines, Report, Said};
pub use supervisor::Cause;
pub use upstream::{Speech, Upstream};

/// How long whoever stops in order waits for the answers of upstreams to the last shares.
pub const FAREWELL: Duration = Duration::from_secs(2);
/// Bytes of the upstream's extranonce that are shared out below, where it leaves as many.
pub const BRANCH_BYTES: usize = 8;

/// Waits for the last answers, but not for ever.
pub async fn farewell(answers: impl Future<Output = ()>) {
    if tokio::time::timeout(FAREWELL, answers).await.is_err() {
        tracing::warn!("stopped without the upstream's answer to every last share");
    }
}
