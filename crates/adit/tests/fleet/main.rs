//! Several front ends, one database: with a real NATS server, which is killed, wiped, cut off and paused.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

mod figures;
mod folder;
#[path = "../http/mod.rs"]
mod http;
mod leases;
mod processes;
mod shipping;
#[path = "../support/mod.rs"]
mod support;
mod together;
mod transport;
mod turns;
