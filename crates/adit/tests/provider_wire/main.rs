//! The template provider over the wire: what clients get, and what rude ones cost the others.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

#[path = "../support/mod.rs"]
mod support;

mod client;
mod rude;
mod serving;
