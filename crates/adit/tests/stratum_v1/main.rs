//! Miners of Stratum V1 on the port of a whole pool: what they get, what they may not do, and what stays when it dies.

#[path = "../support/stratum_v1.rs"]
mod device;
mod doors;
mod floods;
mod kill;
mod mining;
#[path = "../support/mod.rs"]
mod support;
mod tls;
