//! Stratum V2 on the wire: bytes become messages and messages become bytes.
//!
//! * [`types`] the data types of spec 3.1, [`codec`] how they are read and written,
//! * [`frame`] the six-byte header of spec 3.2,
//! * [`common`], [`mining`], [`declare`], [`template`], [`distribute`], [`negotiation`]: one table of messages a
//!   protocol, each with the two direction enums `ToServer` and `ToClient`,
//! * [`extension`] the one table of extensions, [`tlv`] the fields they append (spec 3.4.3),
//! * [`refusal`] the error codes we send.
//!
//! This room is `no_std` + `alloc`. It knows nothing of time, sockets or Bitcoin consensus.
//!
//! ```
//! use adit_wire::{Message, frame::Header, mining};
//!
//! let share = mining::SubmitSharesStandard {
//!     channel_id: 1, sequence_number: 7, job_id: 3, nonce: 0xdead_beef, ntime: 1_700_000_000, version: 0x2000_0000,
//! };
//! let mut out = Vec::with_capacity(64);
//! share.encode_frame(&mut out);
//!
//! let (head, payload) = out.split_first_chunk::<6>().expect("a frame");
//! let header = Header::parse(*head);
//! assert!(header.channel_msg());
//! assert_eq!(mining::ToServer::decode(&header, payload), Ok(mining::ToServer::SubmitSharesStandard(share)));
//! ```
#![no_std]

extern crate alloc;

pub mod codec;
pub mod frame;
#[macro_use]
mod table;
pub mod common;
pub mod declare;
pub mod distribute;
pub mod extension;
pub mod message;
pub mod mining;
pub mod negotiation;
pub mod refusal;
pub mod template;
pub mod tlv;
pub mod types;

pub use codec::{DecodeError, Field, Reader, Reason};
pub use frame::Header;
pub use message::Message;
pub use types::*;

/// The tables of all protocols, as data.
pub const TABLES: [&[message::Row]; 6] = [
    common::ROWS,
    mining::ROWS,
    declare::ROWS,
    template::ROWS,
    distribute::ROWS,
    negotiation::ROWS,
];
