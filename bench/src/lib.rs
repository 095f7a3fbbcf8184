//! Side by side with peers: what ours costs, what the reference implementation costs, in one run.
//!
//! * [`library`] calls the crates of both, in alternating batches, measured in CPU time of the thread: noise of the
//!   machine meets both, and time in which somebody else had the core counts for nobody.
//! * [`pools`] runs the two pools as processes on one Bitcoin Core node under one load generator.
//! * [`proxies`] does the same with the two proxies, below one pool.
//! * [`table`] prints what came of it beside the goals; [`machine`] says where it was measured.
//!
//! Nothing here ships. A peer that is not installed is printed as absent, never guessed.
#![allow(
    clippy::disallowed_methods,
    reason = "measurements of real time and real processes; nothing here is a machine"
)]

pub mod library;
pub mod machine;
pub mod measure;
pub mod pools;
pub mod proxies;
pub mod table;

/// Why a measurement could not be made, for people.
pub type Failure = Box<dyn std::error::Error>;
