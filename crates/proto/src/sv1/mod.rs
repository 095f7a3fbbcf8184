//! Stratum V1: lines of JSON, and a machine that serves its miners from a mining server of Stratum V2.
//!
//! ```text
//!   lines -> line, request -> server::Server -> mining::server::Input
//!   lines <- say, Job::encode_notify <- server::Server <- mining::server::Output
//! ```
//!
//! [`client::Client`] is the other side: what a proxy has of a pool that speaks nothing else.
//!
//! One miner is one extended channel. There is no written standard: the dialect is what firmware and pools agree on
//! in practice, with BIP310 for what is negotiated; docs/sv1.md says what is served and why.

pub mod client;
pub mod difficulty;
pub mod hex;
mod id;
pub mod line;
pub mod refusal;
pub mod request;
pub mod say;
pub mod server;
pub mod user;

pub use client::Client;
pub use id::Id;
pub use server::Server;
