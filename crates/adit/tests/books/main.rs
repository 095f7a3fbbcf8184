//! The books: SQLite and PostgreSQL count every record of a journal once, whatever happens in between.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

mod counting;
mod following;
mod journal;
mod keeping;
mod making_again;
mod questions;
