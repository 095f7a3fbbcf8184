//! Miners of Stratum V1 on the port of a whole pool: what they get, what they may not do, and what stays when it dies.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

#[path = "../support/stratum_v1.rs"]
mod device;
mod doors;
mod floods;
mod kill;
mod mining;
#[path = "../support/mod.rs"]
mod support;
mod tls;
