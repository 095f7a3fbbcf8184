//! More than one machine: front ends that ship their journals to accountants, over NATS JetStream.
//!
//! ```text
//!   front end 1: journal ──► Shipper ──┐                      ┌─► lane 1 ──┐
//!   front end 2: journal ──► Shipper ──┼──► NATS JetStream ──►├─► lane 2 ──┼──► database
//!                ▲                     │                      └─► ...      │
//!                └──────────── "I have everything up to .." ◄──────────────┘
//! ```
//!
//! NATS is transport, never the ledger. A share is acknowledged when it is in the local journal; what the transport loses,
//! doubles, reorders or forgets is healed from there, since accountants say what they have.

pub mod accountant;
pub mod batch;
pub mod bus;
pub mod command;
pub mod cursor;
pub mod exchange;
mod lane;
pub mod lease;
pub mod member;
mod page;
pub mod sequencer;
pub mod ship;
pub mod turn;

pub use accountant::Accountant;
pub use bus::{Bus, BusError, Settings};
pub use exchange::{Common, Sharing};
pub use lane::Place;
pub use lease::{Beat, Holding, Lease, LeaseError};
pub use member::{Fleet, Joined, Member};
pub use ship::{Shipper, Shipping};
