//! The binary as its operator has it: started, stopped, killed, started again.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

mod drain;
mod kill;
#[path = "../support/mod.rs"]
mod support;
mod up;
