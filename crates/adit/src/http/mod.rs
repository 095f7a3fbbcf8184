//! The dashboard, the API, the metrics, and the shapes that other tools read.
//!
//! | Path | What |
//! |---|---|
//! | `/` and the pages below it | the dashboard, for people |
//! | `/api/v1/...` | the API; `/api/v1/openapi.json` describes it |
//! | `/metrics` | [metrics](crate::observe::metrics) for Prometheus |
//! | `/api/pool`, `/pool/pool.status`, `/umbrel-api`, .. | what public-pool, ckpool and Umbrel have |
//!
//! Reading needs no password, so it is for loopback and trusted networks. Orders (`POST /api/v1/admin/..`) need the
//! token of the data folder. There is no cookie, so no request can be forged from another site; and such a site can read
//! nothing either: names and origins that are not ours are refused.

mod api;
mod chart;
pub mod ckpool;
mod compat;
mod files;
mod guard;
mod host;
mod problem;
mod routes;
mod serve;
mod token;

pub use serve::{Server, Views, bind, bind_if_asked};
pub use token::{FILE as TOKEN_FILE, Token};
