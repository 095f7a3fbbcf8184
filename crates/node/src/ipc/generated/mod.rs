//! Made by `cargo xtask capnp`: Bitcoin Core's interfaces. Do not edit the other files by hand.

#[rustfmt::skip]
pub mod common_capnp;
#[rustfmt::skip]
pub mod core30_capnp;
#[rustfmt::skip]
pub mod core32_capnp;
#[rustfmt::skip]
pub mod echo_capnp;
#[rustfmt::skip]
pub mod init_capnp;
#[rustfmt::skip]
pub mod mining_capnp;
#[rustfmt::skip]
pub mod proxy_capnp;
#[rustfmt::skip]
pub mod rpc_capnp;
