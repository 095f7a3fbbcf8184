//! The whole pool over real encrypted sockets: what devices see, what strangers can do, what people are shown.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

mod blocks;
mod devices;
mod doors;
mod drain;
mod extensions;
mod floods;
#[path = "../http/mod.rs"]
mod http;
mod jobs;
mod setup;
mod slow;
mod status;
#[path = "../support/mod.rs"]
mod support;
