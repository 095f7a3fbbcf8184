//! Share accounting that survives: records, journal, book.
//!
//! *An accepted share is on disk before the miner is told so.* This crate is where that sentence is
//! kept. It knows no networks, no SQL and no floats, and it is synchronous: one thread owns the
//! journal ([`Writer`]), everybody else hands over batches and is told when they became durable.
//!
//! ```text
//!  worker ── Lane::send ──┐                           ┌─► Lane::committed, notify
//!  worker ── Lane::send ──┼─► Writer ─► Journal ─► Disk: one write, one fdatasync a group
//!  worker ── Lane::send ──┘                ├─► Book (sum of the durable records)
//!                                          └─► Follower: what consumers read, any number of them
//! ```
//!
//! The bytes on disk are described in `docs/ledger.md`.

pub mod archive;
pub mod blocks;
pub mod book;
pub mod checkpoint;
pub mod disk;
pub mod epoch;
pub mod export;
pub mod journal;
pub mod lock;
pub mod money;
mod opened;
pub mod payout;
mod reader;
pub mod record;
pub mod statement;
pub mod tail;
pub mod verify;
pub mod window;
pub mod writer;

pub use blocks::{BlockStore, FoundBlock};
pub use book::{AccountBook, Book};
pub use disk::{Disk, File, FileDisk, MemDisk};
pub use journal::{Journal, JournalError};
pub use lock::DataLock;
pub use money::Money;
pub use opened::{OpenError, Opened, open};
pub use record::{AccountId, Entry, Record, Share, WorkerId};
pub use statement::Statement;
pub use tail::{Durable, Follower};
pub use window::Window;
pub use writer::{Lane, State, Writer};
