//! The first exchange of a connection: SetupConnection and its answers (spec 3.6).
//!
//! ```text
//!   client                                server
//!   Start -> SetupConnection ---------->  ExpectSetup
//!   ExpectAnswer                          one of protocol, version or flags does not fit:
//!       <------- SetupConnection.Error         Refused, and the connection ends
//!       <------- SetupConnection.Success  Established
//!   Established
//! ```
//!
//! Both machines live as long as the connection: the server ignores a second SetupConnection, the client
//! understands Reconnect and ChannelEndpointChanged, which belong to every protocol.

mod client;
mod server;

use adit_wire::Str0_255;

pub use client::{Client, Event as ClientEvent, Input as ClientInput, Output as ClientOutput, Request};
pub use server::{Established, Input as ServerInput, Output as ServerOutput, Served, Server, Settings};

/// What a client says about itself in SetupConnection (spec 3.6.1). Peers may send any bytes here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Maker of the device, or name of the software.
    pub vendor: Str0_255,
    /// Model of the device.
    pub hardware_version: Str0_255,
    /// Version of the firmware or software.
    pub firmware: Str0_255,
    /// The device itself; empty unless the operator wants telemetry.
    pub device_id: Str0_255,
}
