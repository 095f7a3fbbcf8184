//! Status, metrics and the live page over HTTP; reads only.
//!
//! | Path | What |
//! |---|---|
//! | `/` | a page for people |
//! | `/api/v1/status` | [`Status`](crate::observe::Status) with its health, as JSON |
//! | `/metrics` | [metrics](crate::observe::metrics) for Prometheus |
//!
//! There is nothing to change and no cookie, so no request can be forged for a profit. What a page of
//! another site could do is read: names that are not ours are refused.

mod host;
mod routes;
mod serve;

pub use serve::{Server, bind};
