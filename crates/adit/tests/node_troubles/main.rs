//! Whole pools on nodes in trouble: what their operator is told, and that their miners go on.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

mod mistakes;
mod provider;
mod refused;
mod urls;

#[path = "../http/mod.rs"]
mod http;
#[path = "../support/mod.rs"]
mod support;
