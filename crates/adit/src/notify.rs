//! `adit notify`: tells a running adit that its node has a new block, for the node's `-blocknotify`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::exit::Exit;

/// Sends one datagram with `block` to where a source listens (`notify=` of an `rpc:` node). Nobody answers it: a pool that
/// does not run needs no notice.
///
/// # Errors
/// When the system does not send it.
pub fn run(to: SocketAddr, block: &str) -> Result<(), Exit> {
    let from: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::LOCALHOST, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::LOCALHOST, 0).into(),
    };
    let sent = UdpSocket::bind(from).and_then(|socket| socket.send_to(block.as_bytes(), to));
    sent.map(drop).map_err(|error| {
        Exit::failed(format!("cannot send a notice to {to}: {error}"))
            .help("give the address on this machine that stands behind notify= of the rpc: node")
    })
}
