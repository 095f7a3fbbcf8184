//! The books: what people ask about, built from the journal.
//!
//! ```text
//!   ledger writer ──► journal ──► Follower ──► Consumer (one thread) ──► Store ──► SQLite or PostgreSQL
//!                        │                        sums a batch up (delta), one transaction      │
//!                        └── acknowledgements never wait for anything right of here            └─► query: API, page
//! ```
//!
//! The journal stays the only place where a share is acknowledged. A database is made from it, can be made again
//! at any time, and may be away for days: the consumer goes on where the database's position says.

pub mod apply;
mod bell;
pub mod check;
pub mod consumer;
mod delta;
pub mod error;
pub mod keeper;
pub mod place;
mod postgres;
mod prune;
pub mod query;
pub mod rebuild;
mod schema;
mod sqlite;
mod store;

pub use apply::{Applied, Position};
pub use consumer::{Consumer, View};
pub use delta::{RESOLUTIONS, Tally};
pub use error::StoreError;
pub use keeper::Keeper;
pub use place::{Db, FILE};
pub use prune::Keep;
pub use query::Books;
pub use store::{Dialect, Purpose, Row, Store, Upsert, Value};
