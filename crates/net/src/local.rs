//! Which addresses belong to this machine or to a private network, and which is ours there.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

/// The address by which others on the network reach this machine: the one that packets to anywhere would leave from. None
/// without a network. Nothing is sent.
#[must_use]
pub fn network_address() -> Option<IpAddr> {
    // An address for documentation (RFC 5737): all that matters is the way there.
    const ANYWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(ANYWHERE).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified()).then_some(address)
}

/// This machine.
pub(crate) fn is_loopback(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback(),
    }
}

/// This machine or a private network: nobody on the Internet has such an address.
pub(crate) fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}
