//! Every role of Stratum V2 as a library; the `adit` binary is a command line over it.
//!
//! A role is `run(settings, ..., shutdown) -> Result<(), Exit>`: checked [`config::Settings`] in, an
//! [`exit::Exit`] with advice out, and a [`shutdown::Shutdown`] that ends it cleanly.

pub mod books;
pub mod cli;
pub mod config;
pub mod device;
pub mod exit;
pub mod fleet;
pub mod http;
pub mod keys;
pub mod ledger;
pub mod load;
pub mod negotiator;
pub mod notify;
pub mod observe;
pub mod payout;
pub mod pool;
pub mod probe;
pub mod provider;
pub mod proxy;
mod receiver;
pub mod reload;
pub mod service;
pub mod shutdown;
mod source;
pub mod tell;
pub mod template;
pub mod up;
pub mod uplink;
