//! Stratum V2 as decisions: machines without I/O, and the pure leaves they are made of.
//!
//! A machine has one door: `handle(now, input, out)` changes it and pushes what is to be done;
//! `deadline()` says when it wants to be woken. Time, randomness and bytes are arguments, so a list
//! of `(Time, Input)` is a bug report, a fuzz case and a test at once: replayed, it gives the same
//! outputs.
//!
//! * [`mining`]: jobs to miners, shares from miners (spec 5).
//! * [`declare`]: jobs that miners make of transactions of their own choice (spec 6).
//! * [`template`]: templates from providers, solutions to them (spec 7).
//! * [`distribute`]: negotiated jobs to whoever mines them (`docs/job-distribution.md`).
//! * [`setup`]: the first exchange of a connection (spec 3.6).
//! * [`extension`]: which extensions a connection uses, and messages of others (spec 3.4).
//! * [`relay`]: channels below, each with a channel of its own above: a transparent proxy.
//! * [`sv1`]: miners of Stratum V1, served from the mining machine.
//! * The leaves: [`target`], [`merkle`], [`coinbase`], [`extranonce`], [`job`], [`plan`], [`share`],
//!   [`vardiff`].

pub mod coinbase;
pub mod declare;
pub mod distribute;
pub mod extension;
pub mod extranonce;
mod fault;
pub mod job;
pub mod merkle;
pub mod mining;
pub mod plan;
pub mod relay;
pub mod setup;
mod sha;
pub mod share;
pub mod sv1;
pub mod target;
pub mod template;
mod time;
pub mod vardiff;

pub use fault::Fault;
pub use time::Time;
