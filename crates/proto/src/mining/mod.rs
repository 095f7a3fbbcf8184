//! The Mining Protocol (spec 5): one machine for each side of a connection.

pub mod client;
pub mod server;
