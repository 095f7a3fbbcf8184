//! Extensions of a connection (spec 3.4): which are in use, and what becomes of messages of others.
//!
//! ```text
//!   client                                       server
//!   Start -> RequestExtensions ----------------> a required one is missing, or none is supported:
//!   ExpectAnswer                                     <- RequestExtensions.Error, nothing is in use
//!      | <---------- RequestExtensions.Success   the supported ones of the request are in use
//!   Settled
//!      | silence: Fault::Expired, and the next connection waits longer, then does without (`Patience`)
//!      | ChannelEndpointChanged: nothing is in use until it is negotiated again
//! ```
//!
//! Which extensions exist is [`adit_wire::extension::TABLE`]; what a message of an unknown one is worth says [`route`].

mod client;
mod patience;
mod route;
mod server;

pub use client::{Client, Event as ClientEvent, Input as ClientInput, Output as ClientOutput, Wishes};
pub use patience::{CONNECT_MIN, Patience};
pub use route::{Discard, Route, forward, route};
pub use server::{Input as ServerInput, Output as ServerOutput, Server, Settings as ServerSettings};
